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
from flowcore.graph.graph import Graph
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
        return tuple(
            (name, ran.get(name, 0)) for name, one in graph.nodes.items() if one.limit is not None or one.waits
        )

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


# -- by example ------------------------------------------------------------------------------------------------------


def ring(limit: Any = 3, **policies: Any) -> Graph:
    a, b = passing("a", limit=limit, **policies), passing("b")
    return Graph("ring", S, {START: a, a: {"x": b, "y": END}, b: {"x": a}})


def test_a_straight_line_is_as_long_as_its_edges() -> None:
    a, b, c = (passing(name) for name in "abc")
    bound = Graph("line", S, {START: a, a: {"x": b, "y": c}, b: {"x": c}, c: END}).bounded()
    assert bound == 3
    assert bound.exact
    assert str(bound.longest) == "a --x--> b --x--> c --done--> END"
    assert str(bound) == "a run takes at most 3 transitions"


def test_a_limit_counts_the_visits_and_the_last_edge_into_it() -> None:
    assert ring(3).bounded() == 6  # a b a b a b, and a again: the run fails there
    assert ring(3).bounded() <= 6
    assert ring(0).bounded() == 0


def test_a_run_limit_is_given_by_name() -> None:
    graph = ring("max_turns")
    assert graph.bounded(max_turns=10) == 20
    assert graph.bounded({"max_turns": 10}) == 20
    for bound in (graph.bounded(), graph.bounded(max_turns=None)):
        assert not bound
        assert bound.transitions is None
        assert bound > 10**9
        assert str(bound.counterexample) == "START -> a --x--> b --x--> a"
        assert "bounded(max_turns=...)" in str(bound)
        with pytest.raises(OverflowError):
            int(bound)


def test_the_graphs_own_run_limits_hold_where_none_is_given() -> None:
    a, b = passing("a", limit="rounds"), passing("b")
    graph = Graph("g", S, {START: a, a: {"x": b, "y": END}, b: {"x": a}}, limits={"rounds": 2, "max_tokens": 9})
    assert graph.bounded() == 4
    assert graph.bounded(rounds=3) == 6
    assert not graph.bounded(rounds=None)


def test_a_limit_that_no_node_has_is_refused() -> None:
    with pytest.raises(GraphError, match="no node is limited by 'max_turn'; its run limits are 'max_turns'"):
        ring("max_turns").bounded(max_turn=10)
    with pytest.raises(GraphError, match="isn't a number of visits"):
        ring("max_turns").bounded(max_turns=-1)


def test_retries_count_by_their_policy() -> None:
    assert ring(3, retry=4).bounded() == 6 + 3 * 3
    assert ring(3, retry=Retry(stop_after_attempt(4))).bounded() == 15
    assert ring(3, retry=Retry(stop_after_attempt(4) | stop_after_delay(9))).bounded() == 15
    for stop in (stop_never, stop_after_delay(9), stop_after_attempt(4) & stop_after_delay(9)):
        bound = ring(3, retry=Retry(stop)).bounded()
        assert not bound
        assert str(bound.counterexample) == "START -> a --retry--> a"
        assert "doesn't count its attempts" in str(bound)


def test_a_wait_is_as_long_as_somebody_answers() -> None:
    a, b = passing("a", waits=True), passing("b")
    graph = Graph("chat", S, {START: b, b: {"x": a}, a: {"more": b, "bye": END}})
    assert not graph.bounded()
    assert "bounded(waits=n)" in str(graph.bounded())
    assert graph.bounded(waits=3) == 7  # b a, three times; then b, and a is waited at


def test_only_a_budget_is_no_number() -> None:
    a, b = passing("a"), passing("b")
    graph = Graph("g", S, {START: a, a: {"x": b, "y": END, "over_budget": END}, b: {"x": a}})
    assert "only a budget ends it" in str(graph.bounded())


def test_of_two_branches_the_longer_one_counts() -> None:
    a, b, c = passing("a"), passing("b", limit=5), passing("c", limit=7)
    bound = Graph("g", S, {START: a, a: {"x": b, "y": c}, b: {"x": b, "y": END}, c: {"x": c, "y": END}}).bounded()
    assert bound == 1 + 7
    assert bound.exact


def test_nested_cycles_multiply_nothing_that_a_run_counts_once() -> None:
    """A limit counts over the whole run, not for each round of an outer cycle."""
    outer, inner = passing("outer", limit=4), passing("inner", limit=10)
    bound = Graph(
        "g", S, {START: outer, outer: {"in": inner, "end": END}, inner: {"again": inner, "out": outer, "limit": END}}
    ).bounded()
    assert bound == 4 + 10 + 1
    assert bound.exact


def test_a_limits_edge_leads_on_once_where_nothing_else_bounds() -> None:
    a, b = passing("a", limit=2), passing("b")
    bound = Graph("g", S, {START: a, a: {"x": a, "y": END, "limit": b}, b: {"back": a, "end": END}}).bounded()
    assert bound == 2 + 1 + 1  # a a, limit to b, back to a: there the engine fails the run


def test_a_graph_of_two_hundred_nodes_is_bounded_in_well_under_a_second() -> None:
    nodes = [passing(f"n{i}", limit=3) for i in range(200)]
    table: dict[Any, Any] = {START: nodes[0]}
    for i, one in enumerate(nodes):
        table[one] = {"on": nodes[i + 1] if i < 199 else END, "back": nodes[i // 2], "x": nodes[(i * 7) % 200]}
    graph = Graph("g", S, table)
    graph.bounded()
    began = time.process_time()
    bound = graph.bounded()
    assert time.process_time() - began < 2.0
    assert bound <= 3 * 200 + 1


def test_bounds_are_compared_with_each_other_and_with_numbers() -> None:
    small, large, none = ring(2).bounded(), ring(3).bounded(), ring("max_turns").bounded()
    assert small < large < none
    assert small == ring(2).bounded()
    assert len({small, ring(2).bounded()}) == 1
    assert isinstance(small, Bound)
    assert int(small) == 4
    assert small != "four"
