"""A run's record as plain data: what a re-execution needs to be told, and nothing that it can work out by itself.

It's made of journals, or written into a file by hand or by ``write_test_case``; ``play`` walks a graph by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, TypeVar

from flowcore.errors import UserError
from flowcore.graph.state import listed
from flowcore.graph.values import shorten
from flowcore.machine.explain import Stretch, stretches
from flowcore.machine.facts import Fact, Rested, Signal, Started, Transition

T = TypeVar("T")


@dataclass(slots=True)
class RecordedStep:
    """What happened at one place from one move to the next.

    ``now``: what ``ctx.now`` was (seconds since the epoch). ``effects``: values by key, ``used``: what each spent.
    ``reply``: the items that ``model`` said, ``usage`` and ``response_id`` of that call. ``outputs``: of tool calls, by
    call id. ``agent``: who a handoff went to. ``error``: ``{kind, message}`` of what was raised; ``retried``: another
    attempt was made. ``early``: answers that were there when the body began; ``answers``: those that came while the
    run waited. ``resumes``: the limits that each resume brought (or None). ``open``: "waits" or "broken" where the
    record ends here.
    """

    node: str
    now: float
    visit: int = 1
    reply: list[dict[str, Any]] | None = None
    usage: dict[str, Any] | None = None
    response_id: str | None = None
    model: str | None = None
    outputs: dict[str, Any] = field(default_factory=dict)
    agent: str | None = None
    effects: dict[str, Any] = field(default_factory=dict)
    used: dict[str, dict[str, Any]] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    retried: bool = False
    early: dict[str, Any] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)
    resumes: list[dict[str, Any] | None] = field(default_factory=list)
    open: Literal["", "waits", "broken"] = ""


@dataclass(slots=True)
class Recording:
    """One run: how it began, its steps, and its children's records by what follows the run's id in theirs.

    ``history``: what its session held before, where it had one; ``session_upto``: the last position of that.
    """

    run_id: str
    graph: str
    started: float
    input: dict[str, Any]
    limits: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    session_upto: int | None = None
    history: list[Any] = field(default_factory=list)
    steps: list[RecordedStep] = field(default_factory=list)
    children: dict[str, Recording] = field(default_factory=dict)

    @classmethod
    def of(cls, journals: Mapping[str, Sequence[Fact]], root: str | None = None) -> Recording:
        """The record in the journals of a tree of runs, by run id. ``root``: default, the shortest id."""
        root = min(journals, key=len) if root is None else root
        record = _record(root, journals[root])
        for run, facts in journals.items():
            if run != root:
                record.children[run[len(root) + 1 :]] = _record(run, facts)
        for path in record.children:
            record._forget_end_of(path)
        return record

    def _forget_end_of(self, path: str) -> None:
        """A child that has a record isn't told to its caller too: it's executed again."""
        parts = path.split("/")
        for depth, place in enumerate(parts[:-1]):
            above, key = "/".join(parts[:depth]), "/".join(parts[depth + 1 :])
            caller = self.children.get(above) if above else self
            for step in caller.steps if caller is not None else ():
                if f"{step.node}.{step.visit}" == place:
                    step.effects.pop(key, None)
                    step.used.pop(key, None)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Recording:
        """The inverse of ``to_data``. Raises UserError on names that it doesn't know."""
        record = _filled(cls, data)
        record.steps = [_filled(RecordedStep, one) for one in data.get("steps", ())]
        record.children = {path: cls.from_data(one) for path, one in data.get("children", {}).items()}
        return record

    def to_data(self) -> dict[str, Any]:
        """The record as plain data; what has its default is left out."""
        data = _bare(self)
        data["steps"] = [_bare(step) for step in self.steps]
        if self.children:
            data["children"] = {path: child.to_data() for path, child in self.children.items()}
        return data


def _bare(one: Any) -> dict[str, Any]:
    found = {}
    for f in fields(one):
        value = getattr(one, f.name)
        default = f.default_factory() if f.default_factory is not MISSING else f.default
        if f.name not in ("steps", "children") and (default is MISSING or value != default):
            found[f.name] = value
    return found


def _filled(cls: type[T], data: Mapping[str, Any]) -> T:
    names = [f.name for f in fields(cls)]  # type: ignore[arg-type]
    unknown = [name for name in data if name not in names]
    if unknown:
        raise UserError(f"a {cls.__name__} has no {listed(unknown)}; it has {listed(names)}")
    try:
        return cls(**{name: value for name, value in data.items() if name not in ("steps", "children")})
    except TypeError as error:
        raise UserError(f"{shorten(dict(data))} is no {cls.__name__}: {error}") from None


def _record(run: str, facts: Sequence[Fact]) -> Recording:
    first = facts[0] if facts else None
    if type(first) is not Started:
        raise UserError(f"run '{run}': its facts don't begin with the first one; give the whole journal")
    record = Recording(run, first.graph, first.at, dict(first.input), dict(first.limits), dict(first.meta or {}))
    before: Stretch | None = None
    model: str | None = None
    for stretch in stretches(facts):
        step = _step(stretch)
        if stretch.node == "call_model" and type(stretch.end) is Transition:
            model = stretch.end.update.get("model", model)
            step.model = model
        record.steps.append(step)
        _place_answers(record.steps, before, stretch)
        before = stretch
        if stretch.node == "prepare" and type(stretch.end) is Transition and "session" in record.meta:
            record.session_upto = stretch.end.update.get("session_upto")
    return record


def _step(stretch: Stretch) -> RecordedStep:
    step = RecordedStep(stretch.node, stretch.now, stretch.visit)
    for key, effect in stretch.effects.items():
        step.effects[key] = effect.value
        if effect.usage:
            step.used[key] = effect.usage
    end = stretch.end
    if end is None:
        step.open = "waits" if _waits(stretch) and not stretch.answers else "broken"
    else:
        step.error = end.error
    step.resumes = [one.limits for one in stretch.resumes if one.by == "resume"]
    if type(end) is Transition:
        step.retried = end.on == "retry"
        if end.error is None:
            _note_agent(step, end)
    return step


def _waits(stretch: Stretch) -> bool:
    return any(one.standing == "waiting" for one in stretch.rests)


def _note_agent(step: RecordedStep, end: Transition) -> None:
    """What of an agent's transition came from outside: the model's reply, the tools' outputs, the handoff's choice."""
    items = [one for one in end.update.get("items") or () if isinstance(one, dict) and "type" in one]
    if end.node == "call_model" and "items" in end.update:
        if not (end.how and "items" in end.how):  # else the reply is an effect of its own
            step.reply = items[:-1] if end.update.get("final") == "value" and len(items) > 1 else items
            step.usage = end.usage
            step.response_id = end.update.get("response_id")
    elif end.node == "run_tools":
        outputs = [one for one in items if one["type"] == "function_call_output" and not _is_effect(step, one)]
        step.outputs = {one["call_id"]: one["output"] for one in outputs}
    elif end.node == "handoff":
        step.agent = end.update.get("agent")


def _is_effect(step: RecordedStep, item: Mapping[str, Any]) -> bool:
    return any(key.endswith(f":{item['call_id']}") for key in step.effects)


def _place_answers(steps: list[RecordedStep], before: Stretch | None, stretch: Stretch) -> None:
    """Put a stretch's answers where a re-execution has to give them: before a body begins, or while the run waits."""
    step = steps[-1]
    if before is not None and not _waits(before):  # what came while the last body ran, this one finds
        for signal in before.answers:
            if not _is_early(before, signal):
                step.early[str(signal.key)] = signal.value
    for signal in stretch.answers:
        key = str(signal.key)
        if _waits(stretch):
            step.answers[key] = signal.value
        elif _is_early(stretch, signal):
            late = before is not None and _waits(before)
            (steps[-2].answers if late else step.early)[key] = signal.value


def _is_early(stretch: Stretch, signal: Signal) -> bool:
    end: Transition | Rested | None = stretch.end
    return signal.key not in stretch.requests and (end is None or signal.at <= end.started)
