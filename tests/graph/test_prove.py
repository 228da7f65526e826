"""Proofs read as one line of a test, and show a walk where they don't hold."""

from __future__ import annotations

import itertools
from typing import Annotated, Any

import networkx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcore import Agent, function_tool, map, subgraph
from flowcore.errors import GraphError
from flowcore.graph.conditions import otherwise, when
from flowcore.graph.graph import Graph, continues
from flowcore.graph.node import Retry, node
from flowcore.graph.outcomes import END, START, Goto
from flowcore.graph.state import State, append


class S(State):
    text: str = ""
    n: int = 0


def passing(name: str, **policies: Any) -> Any:
    async def body(state: S) -> Any:
        return Goto(state.text)

    return node(name=name, **policies)(body)


def refunds(**policies: Any) -> Graph:
    triage, approve, refund = passing("triage"), passing("approve", **policies), passing("refund")
    table: dict[Any, Any] = {
        START: triage,
        triage: {"small": approve, "large": approve, "none": END},
        approve: {"yes": refund, "no": END},
        refund: END,
    }
    if "limit" in policies:
        table[approve]["limit"] = refund
    return Graph("refunds", S, table)


# -- before ----------------------------------------------------------------------------------------------------------


def test_a_node_that_no_walk_goes_around_is_proved() -> None:
    proof = refunds().always_before("approve", "refund")
    assert proof
    assert proof.counterexample is None
    assert str(proof) == "proved: every walk to 'refund' goes through 'approve' before"


def test_a_way_around_is_shown() -> None:
    proof = refunds().always_before("refund", END)
    assert not proof
    assert str(proof.counterexample) == "START -> triage --none--> END"
    assert proof.counterexample is not None
    assert proof.counterexample.nodes == ["START", "triage", "END"]
    assert repr(proof) == (
        "<disproved: every walk to 'END' goes through 'refund' before; not so on START -> triage --none--> END>"
    )


def test_an_edge_can_be_what_comes_before() -> None:
    assert refunds().always_before(("approve", "yes"), "refund")
    assert not refunds().always_before(("triage", "small"), "refund")
    assert "'triage' --small-->" in str(refunds().always_before(("triage", "small"), "refund"))


def test_a_visit_whose_body_never_ran_comes_before_nothing() -> None:
    """A limit of 0, a run limit (it may be 0) and a budget lead past the body."""
    assert refunds(limit=2).always_before("approve", "refund")
    assert refunds(limit=0).always_before("approve", "refund").counterexample is not None
    proof = refunds(limit="approvals").always_before("approve", "refund")
    assert str(proof.counterexample) == "START -> triage --small--> approve --limit--> refund"
    a, b = passing("a"), passing("b")
    assert not Graph("g", S, {START: a, a: {"x": b, "over_budget": b}, b: END}).always_before("a", "b")


def test_an_unknown_node_is_refused_with_the_known_ones() -> None:
    with pytest.raises(GraphError, match="has no node 'aprove'; its nodes are 'triage', 'approve', 'refund'"):
        refunds().always_before("aprove", "refund")
    with pytest.raises(GraphError, match="has no node 'money'"):
        refunds().never_reaches("money")
    with pytest.raises(GraphError, match="node 'approve' has no edge 'maybe'; its edges are 'yes', 'no'"):
        refunds().always_before(("approve", "maybe"), "refund")


def test_never_reaches_is_about_walks_from_anywhere() -> None:
    graph = refunds()
    assert graph.never_reaches("refund", without="approve")
    assert graph.never_reaches("refund", without=["triage", "approve"])
    assert graph.never_reaches("refund", without=("approve", "yes"))
    assert graph.never_reaches("triage", "approve")
    assert str(graph.never_reaches("refund", "approve").counterexample) == "approve --yes--> refund"
    assert not graph.never_reaches("refund")
    assert str(graph.never_reaches("refund", "triage", without="approve")) == (
        "proved: no walk from 'triage' reaches 'refund' without 'approve'"
    )


@st.composite
def tables(draw: st.DrawFn) -> Graph:
    count = draw(st.integers(2, 6))
    nodes = [passing(f"n{i}", limit=3) for i in range(count)]
    graph = Graph("g", S)
    graph.edge(START, nodes[0])
    for one in nodes:
        for i, to in enumerate(draw(st.lists(st.sampled_from([*nodes, END]), min_size=1, max_size=3, unique=True))):
            graph.edge(one, f"e{i}", to)
    return graph


@given(tables())
def test_before_is_what_dominators_say(graph: Graph) -> None:
    try:
        graph.build()
    except GraphError:
        return
    drawn = graph.networkx()
    idoms = networkx.immediate_dominators(drawn, START)
    for first, then in itertools.permutations(graph.nodes, 2):
        above, here = set(), then
        while here != START:
            here = idoms[here]
            above.add(here)
        proof = graph.always_before(first, then)
        assert bool(proof) == (first in above)
        if proof.counterexample is not None:
            walk = proof.counterexample
            assert walk[0].source == START
            assert walk[-1].target == then
            assert first not in walk.nodes
            assert all(one.target == next_.source for one, next_ in itertools.pairwise(walk))
            assert all(edge in graph.edges for edge in walk)


# -- approval --------------------------------------------------------------------------------------------------------


@function_tool(needs_approval=True)
def refund(amount: int) -> str:
    """Pay money back."""
    return "paid"


@function_tool
def look_up(order: str) -> str:
    """Find an order."""
    return order


async def _large(ctx: Any, arguments: Any, call_id: str) -> bool:
    return bool(arguments["amount"] > 100)


def test_a_tool_that_always_asks_is_proved() -> None:
    graph = Agent(name="Support", tools=[refund, look_up]).graph
    assert graph.requires_approval("refund")
    proof = graph.requires_approval("look_up")
    assert not proof
    assert str(proof) == (
        "disproved: every call of 'look_up' waits for an approval; not so on START -> prepare --ready--> "
        "input_guardrails --passed--> call_model --tool_calls--> run_tools"
        " ('Support' calls it with approval: never)"
    )


def test_a_tool_that_only_sometimes_asks_is_not_proved() -> None:
    @function_tool(name_override="refund", needs_approval=_large)
    def sometimes(amount: int) -> str:
        """Pay money back."""
        return "paid"

    assert "approval: sometimes" in str(Agent(name="Support", tools=[sometimes]).graph.requires_approval("refund"))


def test_every_agent_that_may_call_the_tool_counts() -> None:
    @function_tool(name_override="refund")
    def unasked(amount: int) -> str:
        """Pay money back."""
        return "paid"

    careless = Agent(name="Careless", tools=[unasked])
    handing = Agent(name="Support", tools=[refund], handoffs=[careless])
    calling = Agent(name="Support", tools=[refund, careless.as_tool("careless", "Pays.")])
    for agent in (handing, calling):
        proof = agent.graph.requires_approval("refund")
        assert not proof
        assert "'Careless' calls it with approval: never" in proof.reason
    assert "called as the tool 'careless' of 'Support'" in calling.graph.requires_approval("refund").reason


def test_an_unknown_tool_is_refused_and_a_tool_is_no_node() -> None:
    graph = Agent(name="Support", tools=[refund, look_up]).graph
    with pytest.raises(GraphError, match="has no tool 'refnd'; its tools are 'look_up', 'refund'"):
        graph.requires_approval("refnd")
    with pytest.raises(GraphError, match=r"it's a tool: see requires_approval\('refund'\)"):
        graph.always_before("await_decision", "refund")


def test_nothing_is_proved_of_tools_whose_node_was_replaced() -> None:
    async def run_tools(state: Any) -> Any:
        return Goto("done")

    graph = Agent(name="Support", tools=[refund]).graph.replace("run_tools", run_tools)
    assert "refund" not in graph.mermaid()
    with pytest.raises(GraphError, match="has no tool 'refund'; its tools are none"):
        graph.requires_approval("refund")


def test_an_agents_run_is_bounded_by_its_turns() -> None:
    graph = Agent(name="Support", tools=[refund]).graph
    assert not graph.bounded(max_turns=None)
    bound = graph.bounded(max_turns=10, waits=3)
    assert bound.exact
    assert bound < 100
    assert graph.always_before("input_guardrails", "call_model")
    assert graph.always_before(("output_guardrails", "passed"), "finalize")


def test_a_run_is_bounded_only_where_its_children_are() -> None:
    class T(State):
        input: str = ""
        items: list[str] = []
        output: str = ""
        outputs: list[str] = []

    @node(limit="rounds")
    async def turn(state: T) -> Goto:
        return Goto("again")

    round_trip = Graph(
        "trip", T, {START: turn, turn: {"again": turn, "enough": END, "limit": END}}, takes="input", gives="output"
    )
    both = {
        "one": subgraph(round_trip, into="output", name="one", limits={"rounds": 3}),
        "each": map(round_trip, over="items", into="outputs", name="each"),
    }
    endless = Graph("outer", T, {START: both["one"], "one": both["each"], "each": END})
    bound = endless.bounded()
    assert not bound
    assert bound.counterexample is not None
    assert bound.counterexample.nodes == [START, "one", "each"]
    assert bound.reason.startswith("its child 'each/trip' may not: the run limit 'rounds' isn't given")
    assert bound.children["one/trip"] == 4
    bounded = Graph("outer", T, {START: both["one"], "one": END})
    assert bounded.bounded() == 1
    told = "a run takes at most 1 transition; its child 'one/trip': a run takes at most 4 transitions"
    assert str(bounded.bounded()) == told
    with pytest.raises(GraphError, match="no node is limited by 'rounds'"):
        bounded.bounded(rounds=3)


def test_agents_that_are_tools_are_bounded_by_their_own_turns() -> None:
    helper = Agent(name="Helper", tools=[refund])
    boss = Agent(name="Boss", tools=[helper.as_tool("ask_helper", "It helps.", max_turns=2)])
    bound = boss.graph.bounded(waits=1)
    assert bound.children == {"run_tools/Boss.ask_helper": helper.graph.bounded(max_turns=2, waits=1)}
    assert "run_tools/Boss.ask_helper" not in boss.graph.bounded(max_turns=0, waits=1).children
    boss.tools.append(boss.as_tool("ask_boss", "It asks itself."))
    endless = boss.graph.bounded(waits=1)
    assert not endless
    assert endless.reason.endswith("nothing bounds how deep it goes: Boss -> Boss")


# -- difference ------------------------------------------------------------------------------------------------------


class T(State):
    text: str = "new"
    log: Annotated[list[str], append] = []


def test_equal_graphs_have_no_difference() -> None:
    assert not refunds().diff(refunds())
    assert str(refunds().diff(refunds())) == "no difference"


def test_a_difference_names_nodes_edges_policies_and_fields() -> None:
    a, b, c = passing("a", limit=3), passing("b", limit=9), passing("c")
    before = Graph("g", S, {START: a, a: {"x": b, "y": END, "z": END}, b: a})
    again = passing("a", limit=5, timeout=2.5, retry=Retry(4, wait=1.0, retry=OSError))
    after = Graph("g", T, {START: again, again: {"x": b, "y": c}, b: continues(again), c: {"no": END, "back": again}})

    assert str(before.diff(after)).splitlines() == [
        "~ node a: limit 3 -> retry stop 4 wait 1.0 on OSError, limit 5, timeout 2.5",
        "+ node c",
        "~ edge a --y-->: to END -> to c",
        "- edge a --z-->: to END",
        "~ edge b --done-->: to a -> to a (continues)",
        "+ edge c --no-->: to END",
        "+ edge c --back-->: to a",
        "+ edge a --retry-->: to a (continues)",
        "~ field text: str by replace, default '' -> str by replace, default 'new'",
        "- field n: int by replace, default 0",
        "+ field log: list[str] by append, default []",
    ]
    assert [one.sign for one in after.diff(before)].count("-") == [one.sign for one in before.diff(after)].count("+")


def test_the_order_of_conditions_is_a_difference() -> None:
    a, b = passing("b"), passing("c")

    def made(*order: Any) -> Graph:
        async def first(state: S) -> None: ...

        return Graph("g", S, {START: first, first: [*order, otherwise(END)], a: END, b: END})

    one, other = when("n", ">", 1, a), when("n", ">", 2, b)
    assert not made(one, other).diff(made(one, other))
    assert "~ edge first --n > 1-->: to b, asked as number 1 -> to b, asked as number 2" in str(
        made(one, other).diff(made(other, one))
    )


def test_a_difference_between_agents_names_their_tools() -> None:
    one, other = Agent(name="A", tools=[look_up]), Agent(name="A", tools=[refund])
    assert str(one.graph.diff(other.graph)) == "- tool A.look_up: approval never\n+ tool A.refund: approval always"
