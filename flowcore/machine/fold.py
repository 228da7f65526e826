"""``fold``: facts into a run's state. Pure, and the cost of a fact is what is new in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from flowcore.errors import StoreError, UpdateError, UserError
from flowcore.graph.node import LIMIT, OVER_BUDGET, RETRY
from flowcore.graph.outcomes import END
from flowcore.graph.state import Schema, State, StateField, append, pick, replace
from flowcore.machine.facts import (
    Effect,
    Fact,
    Intent,
    Request,
    Rested,
    Resumed,
    Signal,
    Started,
    Transition,
)
from flowcore.machine.snapshot import BUDGETED, NOTHING, Question, Snapshot, Visit

V = TypeVar("V")


def fold(schema: Schema, s: Snapshot, fact: Fact) -> None:
    """Take one fact in. Raises StoreError when it can't follow the facts before it: the journal is damaged."""
    seq = fact.seq
    if seq != s.seq + 1:
        raise StoreError(f"run '{s.run}': fact {seq} can't follow fact {s.seq}; the journal has a gap")
    _FOLDS[type(fact)](schema, s, fact)
    s.seq = seq
    s.at = fact.at


def fold_all(schema: Schema, run: str, facts: Iterable[Fact]) -> Snapshot:
    """A run's state from its whole journal."""
    facts = facts if isinstance(facts, Sequence) else list(facts)
    begun = migrated(facts)
    s = Snapshot(run) if begun is None else outline(run, facts[: begun.seq])  # its values are all given anew
    for fact in facts if begun is None else facts[begun.seq :]:
        fold(schema, s, fact)
    return s


def migrated(facts: Iterable[Fact]) -> Resumed | None:
    """The last fact by which a run came to fit another graph than before."""
    last = None
    for fact in facts:
        if type(fact) is Resumed and fact.by == "migrate":
            last = fact
    return last


def outline(run: str, facts: Iterable[Fact]) -> Snapshot:
    """A run's state without its values, so without its graph: place, standing, visits, requests."""
    s = Snapshot(run)
    for fact in facts:
        follow(s, fact)
    return s


def follow(s: Snapshot, fact: Fact) -> None:
    """``fold`` without values, whatever graph they belong to."""
    if isinstance(fact, Started):
        fact = fact._replace(input={})
    elif isinstance(fact, (Transition, Resumed)):
        fact = fact._replace(update={}, how=None)
    if isinstance(fact, Resumed):
        fact = fact._replace(input=None)
    fold(_VALUELESS, s, fact)


def _started(schema: Schema, s: Snapshot, fact: Started) -> None:
    s.graph, s.fingerprint = fact.graph, fact.fingerprint
    s.root, s.parent = fact.root, fact.parent
    s.created = fact.at
    s.limits = dict(fact.limits)
    s.budgeted = not BUDGETED.isdisjoint(s.limits)
    s.meta = fact.meta or {}
    if fact.above is not None:
        s.above = fact.above
    s.values = schema.begin(fact.input)
    _open_visit(s, fact.node, fact.visit, fact.at)


def _transition(schema: Schema, s: Snapshot, fact: Transition) -> None:
    # Taken apart at once: a named tuple's fields cost more to ask for one by one.
    seq, _, at, node, number, on, to, to_visit, update, _, attempt, not_before, error, usage = fact
    visit = s.visit
    if visit.node != node or visit.number != number:
        visit = _visit_of(s, fact)
    if update:
        _join(schema, s, fact, update, visit)
    s.moved = seq
    if on in _BODILESS:
        s.spun = {**s.spun, node: dict(s.ran)}
    elif not visit.ran:
        _ran(s, visit)
    if visit.intents:
        _in_order(visit, error)
    if usage:
        _spend(s, usage)
    pause = s.pause
    if pause is not None:
        for key in [key for key, question in s.open.items() if question.request.key in visit.questions]:
            del s.open[key]
        s.pause = None
    if s.idle_since is not None:
        _moves(s, at)
    s.standing = "running"
    s.cause = error
    s.error = None
    s.not_before = not_before
    if to == END:
        s.standing = "done"
        s.open.clear()
        s.visit = Visit(END, 1, at)
        return
    there = s.visits.get(to)
    if there is not None and there.number == to_visit:
        s.visit = there
        if on == RETRY:
            there.attempt = attempt + 1
    else:
        _open_visit(s, to, to_visit, at)


def _join(schema: Schema, s: Snapshot, fact: Transition | Resumed, update: dict[str, Any], visit: Visit) -> None:
    how, fields, seq = fact.how, schema.fields, fact.seq
    new: dict[str, Any] = {}
    grown: Sequence[tuple[str, Any]] = ()
    for name, wire in update.items():
        field = fields.get(name)
        if how is None and field is not None and type(wire) is field.plain:
            new[name] = wire
            continue
        field, live, joined = _stage(schema, s, name, wire, fact, visit)
        if joined is _GROWS:
            grown = [*grown, (name, live)]
        else:
            new[name] = field.hold(joined, seq)
    values = s.values  # nothing was changed so far, so a reducer that raised left no trace
    values.update(new)
    for name, live in grown:
        values[name].grow(live, seq)


def _open_visit(s: Snapshot, node: str, number: int, at: float) -> None:
    before = s.visits.get(node)
    if before is not None and before.questions:
        for key in before.questions:
            s.open.pop(key, None)
    s.visit = s.visits[node] = Visit(node, number, at)
    s.opened[node] = number


def _ran(s: Snapshot, visit: Visit) -> None:
    if not visit.ran:
        visit.ran = True
        s.ran[visit.node] = s.ran.get(visit.node, 0) + 1


def _effect(schema: Schema, s: Snapshot, fact: Effect) -> None:
    visit = _visit_of(s, fact)
    visit.effects = _with(visit.effects, fact.key, fact)
    _ran(s, visit)
    if fact.usage:
        _spend(s, fact.usage)


def _intent(schema: Schema, s: Snapshot, fact: Intent) -> None:
    visit = _visit_of(s, fact)
    visit.intents = _with(visit.intents, fact.key, fact)
    _ran(s, visit)


def _request(schema: Schema, s: Snapshot, fact: Request) -> None:
    visit, question = _visit_of(s, fact), Question(fact)
    visit.questions = _with(visit.questions, fact.key, question)
    s.open[fact.key] = question


def _signal(schema: Schema, s: Snapshot, fact: Signal) -> None:
    if fact.kind == "answer" and fact.accepted and fact.key is not None:
        question = s.open.pop(fact.key)
        question.answered = True
        question.answer = fact.value
    elif fact.kind == "cancel":
        s.cancel_asked = True
    elif fact.kind == "stop":
        s.stop_asked = fact.value or True
    elif fact.kind == "input":
        s.inputs = [*s.inputs, fact.value]


def _rested(schema: Schema, s: Snapshot, fact: Rested) -> None:
    visit = _visit_of(s, fact)
    if fact.ran:
        _ran(s, visit)
        s.pause = fact.pause
        s.waiting_children = fact.children or ()
        s.due = fact.due
        if fact.standing == "failed":
            _in_order(visit, fact.error)
    if fact.abandoned:
        for asking in s.visits.values():
            asking.questions = {key: one for key, one in asking.questions.items() if one.answered}
        s.open.clear()
    s.standing = fact.standing
    if s.idle_since is None:
        s.idle_since = fact.at
    s.error = fact.error
    s.stop_asked = s.cancel_asked = False
    if fact.usage:
        _spend(s, fact.usage)


def _resumed(schema: Schema, s: Snapshot, fact: Resumed) -> None:
    if fact.limits:
        s.limits.update(fact.limits)
        s.budgeted = not BUDGETED.isdisjoint(s.limits)
    if fact.above is not None:
        s.above = fact.above
    if fact.by == "fork":
        _forked(schema, s, fact)
        return
    if fact.by == "migrate":
        _migrated(schema, s, fact)
        return
    if s.standing == "failed":
        s.visit.attempt += 1
        s.cause = s.error
    if fact.by == "retries":
        s.auto_resumes += 1
    elif fact.by == "resume":
        s.auto_resumes = 0
    s.standing = "running" if s.pause is None else "waiting"
    if s.idle_since is not None and s.pause is None:
        _moves(s, fact.at)
    s.waiting_children = ()
    s.due = None
    if fact.by not in _WAITED_FOR:  # a cancel that came with an answer holds
        s.stop_asked = s.cancel_asked = False
    s.error = None
    s.not_before = fact.not_before


def _forked(schema: Schema, s: Snapshot, fact: Resumed) -> None:
    """The prefix becomes this run's own. It stands as it stood; the time since then counts as rest."""
    base = fact.base or ""
    if fact.input is not None:
        s.values = schema.begin(fact.input)
    if fact.update:
        _join(schema, s, fact, fact.update, s.visit)
    here = {(visit.node, visit.number): base for visit in s.visits.values() if visit.ran}
    s.elders = {**here, **s.elders}
    s.base = (base, fact.seq - 1)
    s.root, s.parent = fact.root or s.run, fact.parent
    s.meta = {name: value for name, value in s.meta.items() if not name.startswith("session")}
    if fact.session is not None:
        s.meta["session"] = fact.session
    if s.idle_since is None:
        s.idle += max(0.0, fact.at - s.at)
    s.stop_asked = s.cancel_asked = False


def _migrated(schema: Schema, s: Snapshot, fact: Resumed) -> None:
    """The state in a new shape. At another place a new visit begins, and what the run waited for there is over."""
    s.fingerprint = fact.fingerprint or s.fingerprint
    s.values = schema.begin(fact.input or {})
    if fact.update:
        _join(schema, s, fact, fact.update, s.visit)
    if fact.place is None:
        return
    for key in s.visit.questions:
        s.open.pop(key, None)
    s.pause, s.waiting_children, s.due, s.not_before = None, (), None, None
    s.error = s.cause = None
    s.moved = fact.seq
    if s.standing == "failed":
        s.standing = "stopped"
    elif s.standing == "waiting":
        s.standing = "running"
        _moves(s, fact.at)
    _open_visit(s, fact.place, s.opened.get(fact.place, 0) + 1, fact.at)


def _moves(s: Snapshot, at: float) -> None:
    if s.idle_since is not None:
        s.idle += max(0.0, at - s.idle_since)
        s.idle_since = None


def _in_order(visit: Visit, error: dict[str, Any] | None) -> None:
    """An entry ended and had let its effects end: none of those that it began is in doubt any more, but those whose
    error doesn't say that nothing happened. What an earlier entry left in doubt (``in_doubt``) still is."""
    if error is None or error.get("kind") not in _LEAVES_DOUBT:
        still = () if error is None else error.get("in_doubt") or ()
        visit.intents = {key: one for key, one in visit.intents.items() if one.on_crash == "check" or key in still}


def _with(known: Mapping[str, V], key: str, value: V) -> Mapping[str, V]:
    """A visit's mapping with one more entry; it grows in place once it's the visit's own."""
    if known is NOTHING or not isinstance(known, dict):
        return {key: value}
    known[key] = value
    return known


def _visit_of(s: Snapshot, fact: Fact) -> Visit:
    visit = s.visits.get(fact.node)
    if visit is None or visit.number != fact.visit:
        raise StoreError(
            f"run '{s.run}': fact {fact.seq} belongs to visit {fact.visit} of '{fact.node}', which isn't its last one"
        )
    return visit


def _spend(s: Snapshot, usage: dict[str, Any]) -> None:
    for name, count in usage.items():
        s.usage[name] = s.usage.get(name, 0) + count


def _value_of(s: Snapshot, visit: Visit, spec: list[Any]) -> Any:
    effect = visit.effects.get(spec[0])
    if effect is None:
        raise UserError(f"visit {visit!r} has no effect '{spec[0]}'")
    return pick(effect.value, spec[1:], f"effect '{spec[0]}'")


def _stage(
    schema: Schema, s: Snapshot, name: str, wire: Any, fact: Transition | Resumed, visit: Visit
) -> tuple[StateField, Any, Any]:
    """``(field, what is new, the joined value)``; the last is ``_GROWS`` for a list that grows in place."""
    field = schema.fields.get(name)
    if field is None:
        raise StoreError(f"run '{s.run}': fact {fact.seq} updates '{name}', which the state doesn't have")
    how = fact.how.get(name) if fact.how else None
    if how is None:
        live = field.codec.decode(wire)
    elif how == "replace":
        live = field.codec.decode(wire)
        return field, live, live
    elif how == "of":
        live = field.codec.decode(_value_of(s, visit, wire))
    elif how == "parts":
        live = field.codec.decode(_parts(s, visit, wire))
    elif how == "select":
        live = _selected(schema, s, wire, fact.seq)
        return field, live, live
    else:
        raise StoreError(f"run '{s.run}': fact {fact.seq} updates '{name}' by '{how}', which is no way to")
    if field.reducer is append:
        return field, live, _GROWS
    return field, live, live if field.reducer is replace else field.join(s.values[name], live)


class Preview:
    """A state as it will be when an update is joined in, read field by field; nothing is changed."""

    def __init__(
        self, schema: Schema, s: Snapshot, visit: Visit, update: dict[str, Any], how: dict[str, str] | None
    ) -> None:
        self._schema = schema
        self._s = s
        self._visit = visit
        self._fact = Transition(s.seq + 1, s.at, s.at, visit.node, visit.number, "", "", 0, update, how)

    def __call__(self, name: str) -> Any:
        value = self._s.values[name]
        if name not in self._fact.update:
            return value
        _, live, joined = _stage(self._schema, self._s, name, self._fact.update[name], self._fact, self._visit)
        return [*value, *live] if joined is _GROWS else joined


def _parts(s: Snapshot, visit: Visit, wire: Any) -> Any:
    """A list or a dict of recorded values and new ones."""
    if isinstance(wire, dict):
        return {key: _value_of(s, visit, part["of"]) if "of" in part else part["new"] for key, part in wire.items()}
    return [_value_of(s, visit, part["of"]) if "of" in part else part["new"] for part in wire]


def _selected(schema: Schema, s: Snapshot, wire: dict[str, Any], seq: int) -> list[Any]:
    source = s.values[wire["of"]]
    by_key = dict(zip(source.keys(), source, strict=True)) if source else {}
    codec = schema.fields[wire["of"]].codec
    try:
        return [by_key[tuple(one)] if type(one) is list else codec.decode([one["new"]])[0] for one in wire["pick"]]
    except KeyError as error:
        raise UpdateError(f"Select names an element that '{wire['of']}' doesn't have: {error}") from None


_GROWS = object()

_BODILESS = frozenset({LIMIT, OVER_BUDGET})
"""Labels of transitions that the engine takes before a body runs."""

_WAITED_FOR = frozenset({"answer", "child", "due"})
"""What makes a run go on that nobody resumed."""

_LEAVES_DOUBT = frozenset({"NodeTimeout", "EffectInDoubt"})
"""Errors that end an entry whose effects may have been broken off."""

_VALUELESS = Schema(State)

_FOLDS: dict[type, Callable[[Schema, Snapshot, Any], None]] = {
    Started: _started,
    Transition: _transition,
    Effect: _effect,
    Intent: _intent,
    Request: _request,
    Signal: _signal,
    Rested: _rested,
    Resumed: _resumed,
}
