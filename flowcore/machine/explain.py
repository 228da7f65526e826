"""Why a run walked as it did, and where two walks part. Read from facts and the graph alone.

A walk falls into *stretches*: what happened at one place from one move to the next. A crash, a wait and a stop in
between belong to their stretch, so that a run which was broken off and one which wasn't have the same ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from flowcore.graph.graph import Edge, Graph
from flowcore.graph.node import LIMIT, OVER_BUDGET, RETRY, TIMEOUT, Node
from flowcore.graph.outcomes import END
from flowcore.machine.facts import Effect, Fact, Request, Rested, Resumed, Signal, Started, Transition
from flowcore.machine.fold import Preview, fold, follow, migrated
from flowcore.machine.plan import over_budget
from flowcore.machine.snapshot import Snapshot


@dataclass(slots=True)
class Stretch:
    """What happened at (``node``, ``visit``) from one move to the next.

    ``now``: when the visit was opened (seconds since the epoch). ``effects``, ``requests``: by key, those of this
    stretch. ``answers``: accepted ones. ``rests``, ``resumes``: what came between. ``end``: the transition that ended
    it, or the ``Rested`` of a body that failed; None: the journal ends here.
    """

    node: str
    visit: int
    now: float
    effects: dict[str, Effect] = field(default_factory=dict)
    requests: dict[str, Request] = field(default_factory=dict)
    answers: list[Signal] = field(default_factory=list)
    rests: list[Rested] = field(default_factory=list)
    resumes: list[Resumed] = field(default_factory=list)
    end: Transition | Rested | None = None

    @property
    def error(self) -> dict[str, Any] | None:
        """``{kind, message}`` of what ended it, where an exception did."""
        return None if self.end is None else self.end.error


def is_end(fact: Fact) -> bool:
    """Whether a fact ends its stretch: a move, or a body that failed."""
    return type(fact) is Transition or (type(fact) is Rested and fact.standing == "failed" and fact.ran)


def stretches(facts: Iterable[Fact]) -> list[Stretch]:
    """A journal's stretches in order; the last one has no ``end`` unless the run is done."""
    opened: dict[tuple[str, int], float] = {}
    found: list[Stretch] = []
    for fact in facts:
        if type(fact) is Started:
            opened[fact.node, fact.visit] = fact.at
            found.append(Stretch(fact.node, fact.visit, fact.at))
        elif is_end(fact):
            last = found[-1]
            last.end = fact  # type: ignore[assignment]
            place = (fact.to, fact.to_visit) if type(fact) is Transition else (last.node, last.visit)
            if place[0] != END:
                found.append(Stretch(*place, opened.setdefault(place, fact.at)))
        elif type(fact) is Resumed and fact.place is not None:  # a migration took the run to a new visit
            place = (fact.place, 1 + max((visit for node, visit in opened if node == fact.place), default=0))
            found.append(Stretch(*place, opened.setdefault(place, fact.at)))
        else:
            _note(found[-1], fact)
    return found


def _note(into: Stretch, fact: Fact) -> None:
    if type(fact) is Effect:
        into.effects[fact.key] = fact
    elif type(fact) is Request:
        into.requests[fact.key] = fact
    elif type(fact) is Signal and fact.kind == "answer" and fact.accepted:
        into.answers.append(fact)
    elif type(fact) is Rested:
        into.rests.append(fact)
    elif type(fact) is Resumed:
        into.resumes.append(fact)


# --- where two walks part ---------------------------------------------------------------------------------------------


class Difference(NamedTuple):
    """Where two walks part: at the ``step``-th stretch (from 1), which is (``node``, ``visit``) in the first of them.

    ``what``: e.g. "label", "target", "field 'total'", "effect 'page'", "error", "place". ``one``, ``other``: what each
    has; None where it has none.
    """

    step: int
    node: str
    visit: int
    what: str
    one: Any
    other: Any

    def __str__(self) -> str:
        return (
            f"step {self.step}, node '{self.node}', visit {self.visit}: {self.what} differs:\n"
            f"  one:   {_short(self.one)}\n  other: {_short(self.other)}"
        )


def _short(value: Any, most: int = 500) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= most else text[: most - 1] + "…"


def difference(one: Sequence[Fact], other: Sequence[Fact]) -> Difference | None:
    """The first thing in which two walks differ, None where they don't.

    Times, ids, crashes, stops and the order of effects within a stretch don't count.
    """
    a, b = stretches(one), stretches(other)
    first = _differ_at_start(one, other)
    if first is not None:
        return first
    orders = _order(one), _order(other)
    for step, (left, right) in enumerate(zip(a, b, strict=False), 1):
        found = _differ(left, right, orders)
        if found is not None:
            return Difference(step, left.node, left.visit, *found)
    if len(a) != len(b):
        step = min(len(a), len(b))
        last = a[step - 1] if step else Stretch("START", 0, 0.0)
        return Difference(step, last.node, last.visit, "the end", f"{len(a)} steps", f"{len(b)} steps")
    return None


def _differ_at_start(one: Sequence[Fact], other: Sequence[Fact]) -> Difference | None:
    a, b = one[0] if one else None, other[0] if other else None
    if type(a) is Started and type(b) is Started:
        for name in sorted({*a.input, *b.input}):
            if a.input.get(name) != b.input.get(name) or (name in a.input) != (name in b.input):
                return Difference(1, a.node, a.visit, f"input '{name}'", a.input.get(name), b.input.get(name))
    return None


def _order(facts: Sequence[Fact]) -> dict[int, int]:
    """The transitions' seqs by their order: what a ``Select`` names is found again in a walk with other rests."""
    order = {fact.seq: place for place, fact in enumerate(fact for fact in facts if type(fact) is Transition)}
    return {0: -1, **order}


def _differ(a: Stretch, b: Stretch, orders: tuple[dict[int, int], dict[int, int]]) -> tuple[str, Any, Any] | None:
    if (a.node, a.visit) != (b.node, b.visit):
        return "place", f"{a.node}.{a.visit}", f"{b.node}.{b.visit}"
    if type(a.end) is not type(b.end):
        return "label", _ending(a), _ending(b)
    if type(a.end) is Transition and type(b.end) is Transition and a.end.on != b.end.on:
        return "label", _ending(a), _ending(b)
    found = _differ_in_effects(a, b) or _differ_in_requests(a, b)
    if found is not None:
        return found
    if type(a.end) is Transition and type(b.end) is Transition:
        return _differ_in_ends(a.end, b.end, orders)
    return _pair("error", _error(a.end), _error(b.end))


def _ending(stretch: Stretch) -> str:
    end = stretch.end
    if type(end) is Transition:
        return f"{end.on!r} to '{end.to}'"
    if end is not None:
        return f"failed: {end.error and end.error['kind']}: {end.error and end.error['message']}"
    rest = stretch.rests[-1].standing if stretch.rests else "running"
    return f"no move yet ({rest})"


def _error(end: Transition | Rested | None) -> tuple[Any, Any] | None:
    return None if end is None or end.error is None else (end.error["kind"], end.error["message"])


def _pair(what: str, one: Any, other: Any) -> tuple[str, Any, Any] | None:
    return None if one == other else (what, one, other)


def _differ_in_effects(a: Stretch, b: Stretch) -> tuple[str, Any, Any] | None:
    for key in sorted({*a.effects, *b.effects}):
        one, other = a.effects.get(key), b.effects.get(key)
        if one is None or other is None:
            return f"effect '{key}'", _there(one), _there(other)
        if one.args != other.args and (one.child is None) == (other.child is None):
            return f"arguments of effect '{key}'", f"hash {one.args}", f"hash {other.args}"
        if one.value != other.value:
            return f"effect '{key}'", one.value, other.value
    return None


def _there(effect: Effect | None) -> Any:
    return "not recorded" if effect is None else effect.value


def _differ_in_requests(a: Stretch, b: Stretch) -> tuple[str, Any, Any] | None:
    ours = {key: one for key, one in a.requests.items() if one.kind != "in_doubt"}
    theirs = {key: one for key, one in b.requests.items() if one.kind != "in_doubt"}
    for key in sorted({*ours, *theirs}):
        one, other = ours.get(key), theirs.get(key)
        if one is None or other is None or (one.kind, one.data, one.schema) != (other.kind, other.data, other.schema):
            return f"request '{key}'", one and (one.kind, one.data), other and (other.kind, other.data)
    return None


def _differ_in_ends(
    a: Transition, b: Transition, orders: tuple[dict[int, int], dict[int, int]]
) -> tuple[str, Any, Any] | None:
    for name in sorted({*a.update, *b.update}):
        one, other = _meant(a, name, orders[0]), _meant(b, name, orders[1])
        if one != other:
            return f"field '{name}'", one[1], other[1]
    return (
        _pair("target", f"{a.to}.{a.to_visit}", f"{b.to}.{b.to_visit}")
        or _pair("attempt", a.attempt, b.attempt)
        or _pair("error", _error(a), _error(b))
        or _pair("usage", a.usage, b.usage)
    )


def _meant(fact: Transition, name: str, order: dict[int, int]) -> tuple[str | None, Any]:
    """How a field is updated, and by what."""
    how = fact.how.get(name) if fact.how else None
    wire = fact.update.get(name, "no update")
    if how == "select":
        picks = [[order.get(one[0], one[0]), one[1]] if type(one) is list else one for one in wire["pick"]]
        wire = {**wire, "pick": picks}
    return how, wire


# --- why an edge was taken --------------------------------------------------------------------------------------------


class Choice(NamedTuple):
    """One transition: ``why`` its edge was taken, and ``lost``: the node's other declared edges, each with the reason.

    ``seq``, ``node``, ``visit``, ``attempt``, ``on``, ``to``: as in the fact.
    """

    seq: int
    node: str
    visit: int
    attempt: int
    on: str
    to: str
    why: str
    lost: dict[str, str]

    def __str__(self) -> str:
        lines = [f"{self.node}.{self.visit} --{self.on}--> {self.to}: {self.why}"]
        lines += [f"    not {label}: {reason}" for label, reason in self.lost.items()]
        return "\n".join(lines)


def explain(facts: Iterable[Fact], graph: Graph) -> list[Choice]:
    """Why each edge of a walk was taken, and why the node's other edges weren't. ``graph``: the one that ran.

    Raises StoreError and UpdateError where the facts don't fit the graph's state.
    """
    graph.build()
    facts = list(facts)
    begun = migrated(facts)
    since = 0 if begun is None else begun.seq
    s = Snapshot("explained")
    found = []
    for fact in facts:
        if type(fact) is Transition:
            found.append(_choice(graph, s, fact, fact.seq >= since))
        if fact.seq < since:  # of values in the shape of another graph
            follow(s, fact)
        else:
            fold(graph.schema, s, fact)
    return found


def _choice(graph: Graph, s: Snapshot, fact: Transition, known: bool) -> Choice:
    """``known``: whether the state's values are."""
    edges = graph.out.get(fact.node, {})
    taken, node = edges.get(fact.on), graph.nodes.get(fact.node)
    lost = {on: _why_not(edge, taken, node, fact, s) for on, edge in edges.items() if on != fact.on}
    why = _why(taken, node, fact, s) if taken is not None else "today's graph has no such edge"
    if known and taken in graph.conditional.get(fact.node, ()):
        by_data = _by_data(graph, s, fact)
        why = by_data.pop(fact.on)
        lost.update(by_data)
    return Choice(fact.seq, fact.node, fact.visit, fact.attempt, fact.on, fact.to, why, lost)


def _by_data(graph: Graph, s: Snapshot, fact: Transition) -> dict[str, str]:
    """By label, what became of a node's conditions: they're asked in order, of the state with the update joined in."""
    read = Preview(graph.schema, s, s.visits[fact.node], fact.update, fact.how)
    found: dict[str, str] = {}
    for edge in graph.conditional[fact.node]:
        field = None if edge.when is None else edge.when.field.partition(".")[0]
        if fact.on in found:
            found[edge.on] = f"'{fact.on}' is asked first"
        elif field is None:
            found[edge.on] = "no condition holds"
        else:
            found[edge.on] = f"{field} is {_short(repr(read(field)), 80)}"
    return found


def _why(taken: Edge, node: Node | None, fact: Transition, s: Snapshot) -> str:
    raised = _raised(fact)
    if fact.on == RETRY and raised:
        wait = f" after {fact.not_before - fact.at:g} s" if fact.not_before is not None else ""
        return f"attempt {fact.attempt} raised {raised}; its retry policy allows another one{wait}"
    if raised and taken.error is not None:
        return f"attempt {fact.attempt} raised {raised}"
    if raised:
        return raised
    if fact.on == LIMIT:
        return f"the limit was reached: {_count(node, s)}"
    if fact.on == OVER_BUDGET:
        return over_budget(s, fact.started) or "a budget was used up"
    if s.pause is not None:
        return _why_waited(s.pause, fact, s)
    return f"the node answered '{fact.on}'"


def _why_waited(pause: dict[str, Any], fact: Transition, s: Snapshot) -> str:
    answered = [key for key in pause["keys"] if key not in s.open]
    if fact.on == pause["on"] and answered:
        return f"answered: {', '.join(map(repr, answered))} ({pause['enough']} of {len(pause['keys'])} needed)"
    return f"the time that the pause was for had passed ({pause['until']:.3f})"


def _raised(fact: Transition) -> str:
    return "" if fact.error is None else f"{fact.error['kind']}: {fact.error['message']}"


def _count(node: Node | None, s: Snapshot) -> str:
    """How many visits ran, and how many may."""
    if node is None or node.limit is None:
        return "the node has no limit"
    most = s.limits.get(node.limit) if isinstance(node.limit, str) else node.limit
    name = f" ({node.limit})" if isinstance(node.limit, str) else ""
    if most is None:
        return f"the run sets no limit{name}"
    before = s.ran.get(node.name, 0) - s.visit.ran
    return f"{before} of {most} visits{name} had run before"


def _why_not(edge: Edge, taken: Edge | None, node: Node | None, fact: Transition, s: Snapshot) -> str:
    kind = fact.error["kind"] if fact.error else None
    if edge.error is not None:
        return _why_no_error(edge, taken, kind)
    if edge.on == RETRY:
        return f"the policy allowed no attempt after {fact.attempt}" if kind else "nothing was raised"
    if edge.on == LIMIT:
        return _count(node, s)
    if edge.on == OVER_BUDGET:
        return over_budget(s, fact.started) or "no budget was used up"
    if edge.on == TIMEOUT and node is not None and node.timeout is not None:
        return f"{kind} isn't its timeout" if kind else f"it ended within {node.timeout:g} s"
    if kind:
        return f"{kind} was raised"
    if fact.on in (LIMIT, OVER_BUDGET):
        return "the body didn't run"
    if s.pause is not None:
        return "the time hadn't passed" if edge.on == s.pause["late"] else "the pause doesn't name it"
    return f"the node answered '{fact.on}'"


def _why_no_error(edge: Edge, taken: Edge | None, kind: str | None) -> str:
    if kind is None:
        return "nothing was raised"
    if taken is not None and taken.on == RETRY:
        return "the retry policy goes first"
    if taken is not None and taken.error is not None and edge.error is not None and issubclass(taken.error, edge.error):
        return f"'{taken.on}' is more specific"
    return f"{kind} isn't a {edge.on}"
