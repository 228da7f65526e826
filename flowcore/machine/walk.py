"""A run's walk, read from its facts: the path, the networkx graph, and the normal form by which walks are compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from flowcore.graph.draw import Drawing
from flowcore.graph.graph import Graph
from flowcore.graph.outcomes import END, START
from flowcore.graph.picture import Arrow, Box, Picture, picture, walked
from flowcore.machine.facts import SPENT, Effect, Fact, Request, Rested, Resumed, Signal, Started, Transition

if TYPE_CHECKING:
    import networkx


MIGRATE = "migrate"
"""How a step of a walk is called that no edge stands for: the run was migrated to another graph."""


class Step(NamedTuple):
    """One transition of a walk: the edge ``on`` was taken from ``node`` to ``to``."""

    node: str
    on: str
    to: str


def path(facts: Iterable[Fact]) -> list[Step]:
    """The transitions in order, and where a migration took the run to another graph: ``Step(node, "migrate", to)``."""
    steps: list[Step] = []
    for fact in facts:
        if type(fact) is Transition:
            steps.append(Step(fact.node, fact.on, fact.to))
        elif type(fact) is Resumed and fact.by == MIGRATE:
            steps.append(Step(fact.node, MIGRATE, fact.place or fact.node))
    return steps


def walk_graph(
    facts: Sequence[Fact], graph: Graph | None = None, children: Mapping[str, Sequence[Fact]] | None = None
) -> networkx.DiGraph[int]:
    """The walk as a networkx graph: one node for each transition (by seq), one edge to the next, labelled with what
    was taken.

    Node attributes: node, visit, on, to, attempt, started, at, duration (seconds), usage and tokens (of the
    transition and the effects of its visit since the last one), error, agent (the one whose turn it was, in an agent's
    run), turn (how many turns had begun, where ``graph`` says what counts as one), children (by key: the id of the
    child run, or with ``children``, journals by run id, its own walk's graph). A migration to another graph is a node
    too, whose ``on`` is "migrate".
    """
    import networkx  # 400 ms: only who asks for it pays

    walk: networkx.DiGraph[int] = networkx.DiGraph()
    last: Transition | None = None
    agent: str | None = None
    turns: set[tuple[str, int]] = set()
    spent: dict[str, Any] = {}
    below: dict[str, Any] = {}
    for fact in facts:
        if isinstance(fact, Effect) and fact.child is not None:
            there = (children or {}).get(fact.child)
            below[fact.key] = fact.child if there is None else walk_graph(there, None, children)
        usage = getattr(fact, "usage", None) or {}
        spent = {name: spent.get(name, 0) + usage.get(name, 0) for name in {**spent, **usage}}
        if type(fact) is Resumed and fact.by == MIGRATE:
            fact = _as_move(fact)
        if type(fact) is not Transition:
            continue
        declared = graph.nodes.get(fact.node) if graph is not None else None
        if declared is not None and declared.limit == "max_turns" and fact.on not in ("limit", "over_budget"):
            turns.add((fact.node, fact.visit))
        walk.add_node(
            fact.seq,
            node=fact.node, visit=fact.visit, on=fact.on, to=fact.to, attempt=fact.attempt, started=fact.started,
            at=fact.at, duration=fact.at - fact.started, usage=spent, tokens=spent.get("total_tokens", 0),
            error=fact.error, agent=agent, turn=len(turns), children=below,
        )  # fmt: skip
        spent, below = {}, {}
        changed = fact.update.get("agent")
        agent = changed if isinstance(changed, str) else agent
        if last is not None:
            walk.add_edge(last.seq, fact.seq, on=last.on)
        last = fact
    return walk


def _as_move(fact: Resumed) -> Transition:
    """A migration, as a move."""
    return Transition(
        fact.seq, fact.started, fact.at, fact.node, fact.visit, MIGRATE, fact.place or fact.node, fact.visit, {}
    )


def drawing(facts: Sequence[Fact], graph: Graph | None = None) -> Drawing:
    """One run drawn: nodes by visits, edges by how often they were taken, the place marked, the standing as a frame.

    With ``graph`` over all that could have happened; without it only what did is drawn.
    """
    taken, visits, started = _counts(facts)
    if graph is None:
        arrows = [Arrow(START, "start", name, kind="start") for name in started]
        arrows += [Arrow(*edge) for edge in taken]
        boxes = tuple(Box(name) for name in visits)
        drawn = Picture(next((fact.graph for fact in facts if type(fact) is Started), ""), boxes, tuple(arrows))
    else:
        drawn = picture(graph)
    standing, place = standing_of(facts)
    for one in drawn.arrows:
        if one.source == START:
            taken = {(START, one.on, one.target): started.get(one.target, 0), **taken}
    return Drawing(walked(drawn, taken, visits, standing, place))


def _counts(facts: Iterable[Fact]) -> tuple[dict[tuple[str, str, str], int], dict[str, int], dict[str, int]]:
    """How often each edge was taken, how many visits each node had, and where the run started."""
    taken: dict[tuple[str, str, str], int] = {}
    visits: dict[str, int] = {}
    started: dict[str, int] = {}
    for fact in facts:
        if type(fact) is Started:
            visits[fact.node] = fact.visit
            started[fact.node] = 1
        elif type(fact) is Transition:
            edge = (fact.node, fact.on, fact.to)
            taken[edge] = taken.get(edge, 0) + 1
            if fact.to != END:
                visits[fact.to] = max(visits.get(fact.to, 0), fact.to_visit)
        elif type(fact) is Resumed and fact.place is not None:
            visits[fact.place] = visits.get(fact.place, 0) + 1
    return taken, visits, started


def standing_of(facts: Iterable[Fact]) -> tuple[str, str]:
    """``(standing, place)`` after these facts."""
    standing, place, paused = "running", START, False
    for fact in facts:
        if isinstance(fact, Started):
            place = fact.node
        elif isinstance(fact, Transition):
            standing, place, paused = "done" if fact.to == END else "running", fact.to, False
        elif isinstance(fact, Rested):
            standing = fact.standing
            paused = fact.pause is not None if fact.ran else paused
        elif isinstance(fact, Resumed) and fact.by == MIGRATE:
            if fact.place is not None:
                place, paused = fact.place, False
                standing = {"failed": "stopped", "waiting": "running"}.get(standing, standing)
        elif isinstance(fact, Resumed):
            standing = "waiting" if paused else "running"
    return standing, place


def same_form(facts: Sequence[Fact]) -> list[Any]:
    """What of a journal makes its walk: two ways of running the same thing give equal forms.

    Left out: times, ids of letters, nonces, intents, what failed tries used, rests and resumes (of forks too, but not
    what they change), and ``retries``' own. Grouped by visit in order of opening; within a visit effects, requests and
    answers by key, then its transitions in order.
    """
    order: list[tuple[str, int]] = []
    effects: dict[tuple[str, int], list[Any]] = {}
    moves: dict[tuple[str, int], list[Any]] = {}
    nth: dict[int, int] = {}
    for fact in facts:
        if isinstance(fact, Effect) and fact.key.startswith(SPENT):
            continue
        place = (fact.node, fact.visit)
        changed = isinstance(fact, Resumed) and (fact.update or fact.input is not None)
        answers = isinstance(fact, Signal) and fact.kind == "answer" and fact.accepted
        if (changed or answers or isinstance(fact, (Started, Transition, Effect, Request))) and place not in moves:
            order.append(place)
            effects[place], moves[place] = [], []
        if changed or isinstance(fact, (Started, Transition)):
            nth[fact.seq] = len(nth)
        if isinstance(fact, Started):
            moves[place].append(("started", fact.graph, fact.input))
        elif isinstance(fact, Transition):
            error = fact.error and (fact.error["kind"], fact.error["message"])
            update = _chosen(fact.update, fact.how, nth)
            moves[place].append(
                ("transition", fact.on, fact.to, fact.to_visit, update, fact.how, fact.attempt, error, fact.usage)
            )
        elif isinstance(fact, Resumed) and changed:
            what = (fact.input, _chosen(fact.update, fact.how, nth), fact.how)
            moves[place].append((MIGRATE, fact.place, *what) if fact.by == MIGRATE else ("forked", *what))
        elif isinstance(fact, Effect):
            effects[place].append((fact.key, "effect", fact.value, fact.args))
        elif isinstance(fact, Request):
            effects[place].append((fact.key, "request", fact.kind, fact.data))
        elif isinstance(fact, Signal) and fact.kind == "answer" and fact.accepted:
            answered = next(
                (p for p in reversed(order) if any(e[0] == fact.key and e[1] == "request" for e in effects[p])), place
            )
            effects[answered].append((fact.key, "answer", fact.value))
    return [(place, sorted(effects[place], key=lambda one: one[:2]), moves[place]) for place in order]


def _chosen(update: Any, how: Mapping[str, str] | None, nth: Mapping[int, int]) -> Any:
    """An update whose chosen elements are named by which of the moves brought them: rests and letters count along in
    a fact's number, and are no part of the walk."""
    chosen = [name for name, way in (how or {}).items() if way == "select"]
    if not chosen:
        return update
    picks = {
        name: [[nth[one[0]], one[1]] if type(one) is list else one for one in update[name]["pick"]] for name in chosen
    }
    return {**update, **{name: {**update[name], "pick": pick} for name, pick in picks.items()}}
