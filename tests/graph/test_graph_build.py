# ruff: noqa: RUF043, E501, F821 - a state's defaults are pydantic's; messages as people read them; a name that comes later
"""Declaring a graph: what is refused when it's built, in which words, and what it's drawn as."""

from __future__ import annotations

import functools
from typing import Annotated, Any, Literal, Union

import pytest
from pydantic import AfterValidator, BaseModel
from tenacity import AsyncRetrying, stop_after_attempt

from flowcore.errors import GraphError, UndeclaredTransition, UpdateError
from flowcore.graph.graph import Edge, Graph, continues
from flowcore.graph.node import Node, Retry, node
from flowcore.graph.outcomes import END, START, Goto, Pause
from flowcore.graph.state import State, add, append, merge
from flowcore.graph.values import Json


class S(State):
    n: int = 0


async def a(state: S, ctx: Any) -> None: ...
async def b(state: S, ctx: Any) -> None: ...
async def c(state: S, ctx: Any) -> None: ...


@node(limit=3)
async def bounded(state: S, ctx: Any) -> None: ...


async def spelled(state: S, ctx: Any) -> Goto[Literal["yes", "no"]]: ...


async def waits(state: S, ctx: Any) -> Goto[Literal["yes"]] | Pause: ...


REFUSED: dict[str, tuple[Any, str]] = {
    "unknown target": (
        {START: a, a: "ghost"},
        r"graph 'g': edge 'a' --done--> 'ghost' names 'ghost', which is no node; the nodes are 'a'",
    ),
    "unknown source": ({START: a, a: END, "ghost": a}, "'ghost', which is no node"),
    "unreachable": ({START: a, a: END, b: END}, "node 'b' can't be reached from START; add an edge to it or remove it"),
    "dead end": ({START: a, a: {"ok": b, "end": END}}, r"node 'b' has no edge out; add one, e.g. \{b: END\}"),
    "an empty table is a dead end": ({START: a, a: {}}, "node 'a' has no edge out"),
    "no way to END": (
        {START: a, a: {"ok": END, "on": bounded}, bounded: bounded},
        "END can't be reached from node 'bounded'; add an edge that leads on",
    ),
    "label without edge": (
        {START: spelled, spelled: {"yes": END}},
        "node 'spelled' may return 'no' .its return annotation says so., but its edges are 'yes'; add an edge or fix",
    ),
    "edge never taken": (
        {START: spelled, spelled: {"yes": END, "no": END, "maybe": END}},
        "node 'spelled' has an edge 'maybe' that its return annotation never returns; remove the edge or add the label",
    ),
    "an exception is no label": ({START: spelled, spelled: {"yes": END, ValueError: END}}, "may return 'no'"),
    "self cycle": ({START: a, a: {"again": a, "end": END}}, "nothing bounds the cycle a -> a; give one of its nodes"),
    "cycle": ({START: a, a: b, b: {"again": a, "end": END}}, "nothing bounds the cycle a -> b -> a"),
    "cycle beside a bounded one": (
        {START: bounded, bounded: {"x": a, "e": END}, a: b, b: {"back": bounded, "again": a}},
        "nothing bounds the cycle a -> b -> a",
    ),
    "cycle by an error": ({START: a, a: {"ok": END, ValueError: a}}, "nothing bounds the cycle a -> a"),
    "no START": ({a: END}, r"no edge from START; declare exactly one: \{START: first_node\}"),
    "two STARTs": ({START: {"x": a, "y": b}, a: END, b: END}, "2 edges from START"),
    "START as target": ({START: a, a: START}, "START can't be an edge's target"),
    "END as source": ({START: a, a: END, END: a}, "END can't be an edge's source"),
    "retry without policy": (
        {START: a, a: {"ok": END, "retry": a}},
        "node 'a' has an edge 'retry' but no retry policy",
    ),
    "limit without policy": ({START: a, a: {"ok": END, "limit": END}}, "node 'a' has an edge 'limit' but no limit"),
    "timeout without policy": (
        {START: spelled, spelled: {"yes": END, "no": END, "timeout": END}},
        "node 'spelled' has an edge 'timeout' but no timeout",
    ),
    "a label that is none": ({START: a, a: {1: END}}, "an edge's label is a str or an exception class, not 1"),
    "a target that is none": ({START: a, a: 3}, "a node is a function"),
    "edges that are no dict": ([(START, a)], "edges is a dict"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_graph_that_cant_be_right_is_refused(why: str) -> None:
    table, message = REFUSED[why]
    with pytest.raises(GraphError, match=message) as raised:
        Graph("g", S, table)
    assert "'g'" in str(raised.value) or "node" in str(raised.value)


def test_a_refusal_names_the_file_and_line_of_the_node() -> None:
    with pytest.raises(GraphError, match=r"test_graph_build\.py:\d+"):
        Graph("g", S, {START: a, a: {"again": a, "end": END}})


def test_every_finding_is_told_at_once() -> None:
    with pytest.raises(GraphError) as raised:
        Graph("g", S, {START: a, a: END, b: END, c: END})
    assert str(raised.value).count("can't be reached") == 2


def test_two_nodes_with_one_name_are_refused() -> None:
    other = node(name="a")(b)
    with pytest.raises(GraphError, match=r"two nodes are called 'a' .*; rename one with @node\(name=...\)"):
        Graph("g", S, {START: a, a: other, other: END})


def test_two_edges_with_one_label_are_refused() -> None:
    graph = Graph("g", S).edge(START, a).edge(a, "ok", END)
    with pytest.raises(GraphError, match="node 'a' has two edges labelled 'ok'; keep one"):
        graph.edge(a, "ok", b)


def test_a_retry_elsewhere_is_refused() -> None:
    again = node(retry=2, name="again")(a)
    with pytest.raises(GraphError, match="an edge 'retry' to 'b'; a retry enters the same node again"):
        Graph("g", S, {START: again, again: {"ok": END, "retry": b}, b: END})


def test_a_limit_a_wait_or_an_outer_limit_bounds_a_cycle() -> None:
    Graph("g", S, {START: bounded, bounded: {"again": bounded, "end": END}})
    Graph("g", S, {START: waits, waits: {"yes": waits, "end": END}})
    Graph("g", S, {START: a, a: bounded, bounded: {"again": a, "end": END}})


def test_both_ways_of_declaring_give_the_same_graph() -> None:
    one = Graph("g", S, {START: a, a: {"ok": b, ValueError: c}, b: continues(bounded), c: END, bounded: END})
    two = Graph("g", S).edge(START, a).edge(a, "ok", b).edge(a, ValueError, c)
    two.edge(b, bounded, continues=True).edge(c, END).edge(bounded, END).build()
    assert one.edges == two.edges
    assert one.fingerprint == two.fingerprint
    assert one.mermaid() == two.mermaid()
    assert Edge("b", "done", "bounded", True) in one.edges
    with pytest.raises(GraphError, match="graph 'g' is built"):
        two.edge(a, "more", END)


def test_nodes_may_be_named_and_given_apart() -> None:
    graph = Graph("g", S, {START: "a", "a": "b", "b": END}, nodes=[a, b])
    assert list(graph.nodes) == ["a", "b"]


def test_a_callable_that_cant_be_hashed_is_one_node() -> None:
    class Odd:
        __hash__ = None  # type: ignore[assignment]

        async def __call__(self, state: S, ctx: Any) -> None: ...

    odd = Odd()
    graph = Graph("g", S).edge(START, odd).edge(odd, END).build()
    assert list(graph.nodes) == ["Odd"]
    assert graph.nodes["Odd"].is_async


def test_an_edge_for_an_answer_is_found_or_refused() -> None:
    graph = Graph("g", S, {START: a, a: {"ok": b, "no": END}, b: {"on": END, ValueError: END}})
    assert graph.edge_for("a", "ok").target == "b"
    assert graph.edge_for("b", None).on == "on"
    for label in ("nope", "ValueError", None):
        with pytest.raises(UndeclaredTransition, match="graph 'g': node '[ab]'"):
            graph.edge_for("b" if label == "ValueError" else "a", label)


def test_the_most_specific_exception_wins() -> None:
    graph = Graph("g", S, {START: a, a: {"ok": END, Exception: END, LookupError: END, KeyError: END}})
    for error, label in ((KeyError(), "KeyError"), (IndexError(), "LookupError"), (OSError(), "Exception")):
        edge = graph.edge_for_error("a", error)
        assert edge is not None
        assert edge.on == label
    assert graph.edge_for_error("a", KeyboardInterrupt()) is None


@pytest.mark.parametrize(
    "wrong",
    [lambda: None, lambda x, y, z: None, lambda state, *, needed: None, lambda *, state: None],
)
def test_a_node_takes_a_state_and_a_context(wrong: Any) -> None:
    with pytest.raises(GraphError, match=r"node 'n' has to be callable as n\(state, ctx\) or n\(state\)"):
        node(name="n")(wrong)


@pytest.mark.parametrize("right", [lambda state: None, lambda *both: None, lambda state, ctx, extra=1: None, functools.partial(lambda x, state, ctx: None, 1)])  # fmt: skip
def test_a_node_may_leave_the_context_out_or_have_more_with_defaults(right: Any) -> None:
    assert isinstance(node(name="n")(right), Node)


@pytest.mark.parametrize("name", ["START", "END", "has space", "1st", "<lambda>"])
def test_a_nodes_name_is_a_python_name(name: str) -> None:
    with pytest.raises(GraphError, match="can't be called"):
        node(name=name)(a)


@pytest.mark.parametrize("policy", [{"limit": -1}, {"limit": 1.5}, {"timeout": 0}, {"timeout": -2}, {"retry": "often"}])
def test_a_policy_that_means_nothing_is_refused(policy: Any) -> None:
    with pytest.raises(GraphError, match="node 'a'"):
        node(**policy)(a)


def test_a_retry_is_a_number_a_retry_or_tenacitys_own() -> None:
    stop = stop_after_attempt(4)
    assert node(retry=2)(a).retry == Retry(2)
    assert node(retry=Retry(stop))(a).retry == Retry(stop)
    assert node(retry=AsyncRetrying(stop=stop))(a).retry.stop is stop  # type: ignore[union-attr]
    graph = Graph("g", S, {START: (again := node(retry=2, name="again")(a)), again: END})
    assert graph.out["again"]["retry"] == Edge("again", "retry", "again", True)
    said = Graph("g", S, {START: again, again: {"ok": END, "retry": again}})
    assert said.out["again"]["retry"].continues


def test_annotations_may_be_text_unions_or_nothing_that_can_be_read() -> None:
    async def text(state: S) -> "Goto[Literal['x']]": ...  # noqa: UP037 - what is tested
    async def union(state: S) -> Union[Goto[Literal["x"]], Goto[Literal["y"]], Pause]: ...  # noqa: UP007
    async def bare(state: S) -> Goto: ...  # type: ignore[type-arg]
    async def ghost(state: S) -> "Ghost": ...  # type: ignore[name-defined]  # noqa: UP037
    async def maybe(state: S) -> Goto[Literal["x"]] | None: ...

    seen = [(one.labels, one.waits) for one in map(node, (text, union, bare, ghost, maybe))]
    assert seen == [({"x"}, False), ({"x", "y"}, True), (None, False), (None, False), (None, False)]


def test_a_closure_whose_names_come_later_can_be_a_node() -> None:
    async def early(state: S) -> Goto[Later]:
        return later

    made = node(early)
    later = Literal["x"]
    assert made.labels is None


def test_the_drawings_equal_the_table() -> None:
    @node(limit=3, retry=2, timeout=1.5)
    async def work(state: S, ctx: Any) -> None: ...

    graph = Graph(
        "g", S, {START: work, work: {"ok": waits, "limit": END}, waits: {"yes": continues(work), OSError: END}},
        parts={"work": ["tool_a", "tool_b"]},
    )  # fmt: skip
    assert graph.mermaid() == (
        "stateDiagram-v2\n"
        "    work : work\\ntool_a\\ntool_b\n"
        "    waits : waits\n"
        "    [*] --> work\n"
        "    work --> waits : ok\n"
        "    work --> [*] : limit\n"
        "    waits --> work : yes (continues)\n"
        "    waits --> [*] : OSError\n"
        "    work --> work : retry (continues)\n"
        "    note right of work : retry up to 2 attempts, limit 3, timeout 1.5 s, 'yes' continues its visit\n"
        "    note right of waits : may wait\n"
    )
    drawn = graph.networkx()
    assert set(drawn.nodes) == {START, "work", "waits", END}
    table = {(edge.source, edge.target, edge.on, edge.continues) for edge in graph.edges}
    assert {(u, v, key, data["continues"]) for u, v, key, data in drawn.edges(keys=True, data=True)} == table


def positive(value: int) -> int:
    return value


class Inner(BaseModel):
    x: int = 0


class Whole(State):
    n: Annotated[int, AfterValidator(positive)] = 0
    inner: Inner = Inner()
    log: Annotated[list[str], append] = []


def _fingerprint(state: type[BaseModel] = Whole, table: Any = None, **more: Any) -> str:
    return Graph("g", state, table or {START: a, a: {"ok": END, "no": b}, b: END}, **more).fingerprint


def test_the_fingerprint_changes_exactly_when_a_stored_run_may_no_longer_fit() -> None:
    base = _fingerprint()
    assert _fingerprint() == base
    assert _fingerprint(table={START: a, b: END, a: {"no": b, "ok": END}}) == base  # another order
    assert Graph("renamed", Whole, {START: a, a: {"ok": END, "no": b}, b: END}).fingerprint == base
    assert _fingerprint(table={START: a, a: {"ok": END, "not": b}, b: END}) != base
    assert _fingerprint(table={START: a, a: {"ok": END, "no": continues(b)}, b: END}) != base
    assert _fingerprint(marks=["tool:x"]) != base
    assert _fingerprint(marks=["x", "y"]) == _fingerprint(marks=["y", "x"])

    class Other(State):
        n: Annotated[int, AfterValidator(lambda value: value)] = 7
        inner: Inner = Inner()
        log: Annotated[list[str], append] = []

    assert _fingerprint(Other) == base  # a constraint and a default say nothing of what is stored

    class Joined(Other):
        log: list[str] = []

    class Typed(Other):
        n: str = ""  # type: ignore[assignment]

    class Nested(Other):
        class Inner(BaseModel):
            x: int = 0
            y: int = 0

        inner: Inner = Inner()  # type: ignore[assignment]

    assert len({base, _fingerprint(Joined), _fingerprint(Typed), _fingerprint(Nested)}) == 4


class Thing: ...


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (Any, "`Any` can't be stored as JSON"),
        (object, "`object`"),
        (Thing, "a value of class `Thing`"),
        (list, "`list` without the type of its elements"),
        (list[Any], "`Any`"),
        (dict[str, Thing], "a value of class `Thing`"),
        (int | Thing, "a value of class `Thing`"),
    ],
)
def test_a_type_that_json_cant_hold_is_refused_with_its_field(annotation: Any, message: str) -> None:
    state = type(
        "Bad",
        (State,),
        {"__annotations__": {"it": annotation}, "it": None, "model_config": {"arbitrary_types_allowed": True}},
    )
    with pytest.raises(GraphError, match=f"state 'Bad': field 'it': {message}"):
        Graph("g", state, {START: a, a: END})


def test_a_reducer_that_doesnt_fit_its_type_is_refused() -> None:
    for annotation, message in (
        (Annotated[int, append], "joined by `append` but its type is int; declare a list"),
        (Annotated[list[int], merge], r"joined by `merge` but its type is list\[int\]; declare a dict"),
        (Annotated[int, add, append], "has 2 reducers; keep one"),
    ):
        state = type("Bad", (State,), {"__annotations__": {"it": annotation}, "it": 0})
        with pytest.raises(GraphError, match=f"state 'Bad': field 'it'.*{message}"):
            Graph("g", state, {START: a, a: END})


def test_a_default_that_the_type_doesnt_admit_is_refused() -> None:
    state = type("Bad", (State,), {"__annotations__": {"it": int}, "it": "text"})
    with pytest.raises(GraphError, match="field 'it'.*mend the field's default"):
        Graph("g", state, {START: a, a: END})


def test_a_state_is_a_model_and_a_name_a_text() -> None:
    with pytest.raises(GraphError, match="a state is a pydantic model"):
        Graph("g", dict, {START: a, a: END})  # type: ignore[arg-type]
    with pytest.raises(GraphError, match="a graph's name"):
        Graph("", S)
    with pytest.raises(GraphError, match="state 'S' has no field 'x'"):
        Graph("g", S, {START: a, a: END}, gives="x")


def test_what_a_run_starts_from() -> None:
    class Needs(State):
        n: int
        seen: dict[str, Json] = {}

    graph = Graph("g", Needs, {START: a, a: END}, takes="n", gives="n")
    assert graph.initial(4) == {"n": 4}
    assert graph.initial({"n": 4}) == {"n": 4}
    assert graph.initial(Needs(n=2)) == {"n": 2, "seen": {}}
    with pytest.raises(UpdateError, match="field 'n'"):
        graph.initial("text")
    plain = Graph("g", Needs, {START: a, a: END})
    with pytest.raises(UpdateError, match="state 'Needs' needs 'n' to start"):
        plain.initial(None)
    with pytest.raises(UpdateError, match="starts from a dict of its state's fields"):
        plain.initial(4)
