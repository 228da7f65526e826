"""``bounded``: held against every walk that ``plan`` and ``fold`` admit, on small random graphs."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, note, settings
from hypothesis import strategies as st
from tenacity import stop_after_attempt, stop_after_delay, stop_never

from flowcore.errors import GraphError
from flowcore.graph.bound import Bound
from flowcore.graph.graph import Graph, continues
from flowcore.graph.node import ENGINE_LABELS, RETRY, Retry, node
from flowcore.graph.outcomes import END, START, Goto
from flowcore.graph.state import State
from flowcore.machine.facts import Started, Transition
from flowcore.machine.fold import fold
from flowcore.machine.plan import Enter, Take, plan
from flowcore.machine.snapshot import Snapshot


class S(State):
    text: str = ""


def passing(name: str, **policies: Any) -> Any:
    async def body(state: S) -> Any:
        return Goto(state.text)

    return node(name=name, **policies)(body)


class Endless(Exception):
    """A walk came back to where it was, with nothing used up."""


def longest_walk(graph: Graph, waits: int, budget: bool) -> int:
    """By trying everything: the most transitions that the machine writes until a run rests for good.

    ``waits``: how often each waiting node is left at most. ``budget``: it may be used up at any moment, as time is.
    Raises Endless.
    """
    graph.build()
    s = Snapshot("run")
    limits = {"max_tokens": 1} if budget else {}
    fold(graph.schema, s, Started(0, 0, 0, graph.first, 1, "g", "", {}, limits, "run"))
    known: dict[Any, int] = {}
    longest = _longest_from(graph, s, waits, budget, known, set())
    if budget:
        s.usage["total_tokens"] = 1
        longest = max(longest, _longest_from(graph, s, waits, budget, known, set()))
    return longest


def _longest_from(graph: Graph, s: Snapshot, waits: int, budget: bool, known: dict[Any, int], on: set[Any]) -> int:
    key = _key(graph, s)
    if key in known:
        return known[key]
    if key in on:
        raise Endless
    on.add(key)
    best = 0
    for fact in _next(graph, s, waits, budget):
        after = copy.deepcopy(s)
        fold(graph.schema, after, fact)
        best = max(best, 1 + _longest_from(graph, after, waits, budget, known, on))
    on.discard(key)
    known[key] = best
    return best


def _key(graph: Graph, s: Snapshot) -> Any:
    """All that decides how it goes on; the visits of nodes that nothing counts don't."""

    def counted(ran: dict[str, int]) -> Any:
        return tuple((name, ran.get(name, 0)) for name, one in graph.nodes.items() if one.limit is not None or one.waits)

    visits = tuple(sorted((v.node, v.ran, v.attempt) for v in s.visits.values()))
    spun = tuple(sorted((name, counted(ran)) for name, ran in s.spun.items()))
    return s.visit.node, s.standing, visits, counted(s.ran), spun, bool(s.usage.get("total_tokens"))


def _next(graph: Graph, s: Snapshot, waits: int, budget: bool) -> Iterator[Transition]:
    """Every transition that may come next."""
    command = plan(graph, s, 0.0)
    name = s.visit.node
    spends = (None, {"total_tokens": 1}) if budget and not s.usage.get("total_tokens") else (None,)
    if isinstance(command, Take):
        yield from (_fact(graph, s, command.on, spent) for spent in spends)
    if not isinstance(command, Enter):
        return
    one = graph.nodes[name]
    if one.waits and not s.visit.ran and s.ran.get(name, 0) >= waits:
        return  # nobody answers any more
    for on in graph.out[name]:
        if on == RETRY:
            if one.retry is None or s.visit.attempt >= one.retry.stop:
                continue
        elif on in ENGINE_LABELS:
            continue
        yield from (_fact(graph, s, on, spent) for spent in spends)


def _fact(graph: Graph, s: Snapshot, on: str, usage: Any) -> Transition:
    visit, edge = s.visit, graph.out[s.visit.node][on]
    opened = s.opened.get(edge.target, 0)
    to_visit = opened if edge.continues and opened else opened + 1
    return Transition(
        s.seq + 1, 0, 0, visit.node, visit.number, on, edge.target, to_visit, {}, attempt=visit.attempt, usage=usage
    )


@st.composite
def graphs(draw: st.DrawFn, over: bool = True, continuing: bool = True) -> Graph:
    """Small graphs with every policy, of which the checks admit all."""
    count = draw(st.integers(1, 4))
    names = [f"n{i}" for i in range(count)]
    graph = Graph("g", S)
    nodes = {}
    for name in names:
        limit = draw(st.sampled_from([None, None, 1, 2, 3]))
        retry = draw(st.sampled_from([None, None, None, 2]))
        waits = draw(st.sampled_from([False, False, False, True]))
        nodes[name] = passing(name, limit=limit, retry=retry, waits=waits)
    graph.edge(START, nodes["n0"])
    for name in names:
        targets = draw(st.lists(st.sampled_from([*names, END]), min_size=1, max_size=3, unique=True))
        for i, target in enumerate(targets):
            goes_on = continuing and target != END and draw(st.integers(0, 5)) == 0
            graph.edge(nodes[name], f"e{i}", nodes.get(target, END), continues=goes_on)
        if nodes[name].limit is not None and draw(st.booleans()):
            graph.edge(nodes[name], "limit", nodes.get(draw(st.sampled_from([*names, END])), END))
        if over and draw(st.integers(0, 3)) == 0:
            graph.edge(nodes[name], "over_budget", nodes.get(draw(st.sampled_from([*names, END])), END))
    try:
        return graph.build()
    except GraphError:
        assume(False)
        raise


SLOW = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow]
)


@SLOW
@given(graphs(), st.integers(0, 2))
def test_no_walk_of_the_machine_is_longer_than_the_bound(graph: Graph, waits: int) -> None:
    note(graph.mermaid())
    bound = graph.bounded(waits=waits)
    try:
        longest = longest_walk(graph, waits, graph.budgeted)
    except Endless:
        assert not bound
        return
    assert bound >= longest
    if bound.exact:
        assert bound == longest
        assert bound.longest is not None
        assert len(bound.longest) == longest


@SLOW
@given(graphs(over=False, continuing=False))
def test_a_bound_is_said_to_be_missing_only_where_a_walk_can_go_on_for_ever(graph: Graph) -> None:
    bound = graph.bounded(waits=2)
    if not bound:
        assert bound.counterexample is not None
        assume(all(edge.on != "limit" for edge in bound.counterexample))  # it may need more visits than there can be
        with pytest.raises(Endless):
            longest_walk(graph, 2, False)
