"""What ``check`` finds before any run: each finding names the node, the cure and a line."""

from __future__ import annotations

import asyncio
import functools
import linecache
import time
from collections.abc import Callable
from typing import Annotated, Any, Literal

import pytest

from flowcore.errors import GraphError, NodeTimeout
from flowcore.graph import outcomes
from flowcore.graph.check import Finding
from flowcore.graph.graph import Graph, continues
from flowcore.graph.node import node
from flowcore.graph.outcomes import END, START, Ask, Goto, Of, Pause, Replace
from flowcore.graph.state import State, append


class S(State):
    n: int = 0
    text: str = ""
    log: Annotated[list[str], append] = []


def graph_with(fn: Any, *labels: str, **more: Any) -> Graph:
    """A graph, not built yet, of one node with these edges to END."""
    graph = Graph("g", S)
    graph.edge(START, fn)
    for label in labels or ("done",):
        graph.edge(fn, label, END)
    return graph


def findings(fn: Any, *labels: str) -> list[Finding]:
    return graph_with(fn, *labels).check()


def codes(fn: Any, *labels: str, level: str = "error") -> list[str]:
    return [one.code for one in findings(fn, *labels) if one.level == level]


def refused(table: dict[Any, Any]) -> str:
    with pytest.raises(GraphError) as caught:
        Graph("g", S, table)
    return str(caught.value)


def passing(name: str, **policies: Any) -> Any:
    async def body(state: S) -> Any:
        return Goto(state.text)

    return node(name=name, **policies)(body)


# -- what the answers say ----------------------------------------------------------------------------------------------


def test_a_misspelt_field_in_a_goto_is_found_with_its_line() -> None:
    async def work(state: S) -> Any:
        return Goto("done", txt="hello")

    (finding,) = findings(work)
    assert finding.level == "error"
    assert finding.code == "unknown-field"
    assert finding.node == "work"
    assert "'txt'" in finding.message
    assert "'n', 'text', 'log'" in finding.message
    file, line = finding.source.rsplit(":", 1)
    assert 'Goto("done", txt=' in linecache.getline(file, int(line))


def test_a_graph_with_a_misspelt_field_refuses_to_build() -> None:
    def work(state: S) -> Any:
        return {"txt": "hello"}

    assert "updates 'txt'" in refused({START: work, work: END})


def test_every_way_of_writing_an_answer_is_read() -> None:
    def dictionary(state: S) -> Any:
        return {"n": 1, "nn": 2, **{"whatever": 3}}

    def keywords(state: S) -> Any:
        return dict(nn=2)  # noqa: C408 - the call is what is read

    def attribute(state: S) -> Any:
        return outcomes.Goto("done", nn=2)

    def subscripted(state: S) -> Any:
        return Goto[Literal["done"]]("done", nn=2)

    def either(state: S) -> Any:
        return Goto("done", n=1) if state.n else Goto("done", nn=1)

    def deep(state: S) -> Any:
        for _ in range(3):
            try:
                if state.n:
                    return {"nn": 1}
            finally:
                pass
        return None

    class Callable_:
        __name__ = "called"

        async def __call__(self, state: S) -> Any:
            return {"nn": 1}

        def method(self, state: S) -> Any:
            return {"nn": 1}

    cases: list[Any] = [dictionary, keywords, attribute, subscripted, either, deep, Callable_(), Callable_().method]
    for case in [*cases, functools.partial(dictionary)]:
        assert codes(case) == ["unknown-field"], case


def test_an_unknown_label_is_found_whether_it_is_in_a_goto_or_alone() -> None:
    def goto(state: S) -> Any:
        return Goto("dne")

    def alone(state: S) -> Any:
        return "dne"

    assert codes(goto) == codes(alone) == ["unknown-label"]
    assert "returns Goto 'dne', but its edges are 'done'" in findings(goto)[0].message


def test_a_label_of_the_engine_cant_be_taken_by_a_body() -> None:
    @node(limit=3)
    def work(state: S) -> Any:
        return Goto("limit") if state.n else Goto("done")

    assert codes(work, "done", "limit") == ["unknown-label"]


def test_a_literal_of_the_wrong_type_is_found() -> None:
    def wrong(state: S) -> Any:
        return Goto("done", n="three", log=["fine"])

    def alright(state: S) -> Any:
        return Goto("done", n=3, text="x", log=["a", "b"])

    assert codes(wrong) == ["wrong-value"]
    assert codes(alright) == []


def test_an_answer_without_a_label_needs_one_ordinary_edge() -> None:
    def nothing(state: S) -> None:
        return None

    def some(state: S) -> Any:
        return {"n": 1}

    assert codes(nothing, "a", "b") == codes(some, "a", "b") == ["no-label"]
    assert codes(nothing) == codes(some) == []


def test_a_pause_is_read_too() -> None:
    def wait(state: S) -> Pause:
        return Pause(Ask("q"), on="yes", late="never", into="answer")

    assert codes(wait, "yes") == ["unknown-label", "unknown-field"]

    def plain(state: S) -> Pause:
        return Pause(Ask("q"))

    assert codes(plain, "yes") == ["unknown-label"]
    assert codes(plain, "answered") == []


def test_what_is_dynamic_says_nothing() -> None:
    label, update = "nowhere", {"nn": 1}

    def helper() -> Any:
        return Goto("elsewhere", nn=1)

    def by_name(state: S) -> Any:
        return Goto(label, **update)

    def by_call(state: S) -> Any:
        return helper()

    def spread(state: S) -> Any:
        return {**update}

    def nested(state: S) -> Any:
        def inner() -> Any:
            return Goto("elsewhere", nn=1)

        return inner() and None

    def shadowed(state: S) -> Any:
        Goto: Callable[..., Any] = str
        return Goto("elsewhere")

    def keys(state: S) -> Any:
        return {label: 1}

    def replaced(state: S) -> Any:
        return Goto("done", text=Of("key"), log=Replace(["a"]))

    for case in (by_name, by_call, spread, nested, shadowed, keys, replaced):
        assert findings(case) == [], case.__name__


def test_a_goto_that_may_not_be_returned_only_warns() -> None:
    def work(state: S) -> Any:
        made = Goto("elsewhere")
        return made if state.n else Goto("done")

    assert codes(work) == []
    assert codes(work, level="warning") == ["unknown-label"]


def test_without_source_nothing_is_claimed() -> None:
    space: dict[str, Any] = {"Goto": Goto}
    exec("def made(state):\n    return Goto('nowhere', nn=1)\n", space)  # noqa: S102 - a function without a file

    assert findings(space["made"]) == []
    assert findings(node(name="short")(lambda state: Goto("nowhere"))) == []


def test_a_file_that_changed_after_its_import_is_not_believed(tmp_path: Any) -> None:
    file = tmp_path / "edited.py"
    before = "from flowcore import Goto\n\ndef work(state):\n    return Goto('done', n=1)\n"
    file.write_text(before)
    space: dict[str, Any] = {}
    exec(compile(before, str(file), "exec"), space)  # noqa: S102 - stands for an import
    file.write_text(before.replace("'done', n=1", "'dune', nn=1"))
    linecache.checkcache(str(file))

    assert findings(space["work"]) == []


def test_an_edge_that_no_answer_takes_is_told_as_a_warning() -> None:
    def work(state: S) -> Any:
        return Goto("a")

    assert codes(work, "a", "b") == []
    (finding,) = findings(work, "a", "b")
    assert (finding.level, finding.code) == ("warning", "edge-never-taken")
    assert "'b'" in finding.message


def test_a_complete_annotation_refuses_an_edge_that_is_never_taken() -> None:
    def work(state: S) -> Goto[Literal["a"]]:
        return Goto("a")

    assert codes(work, "a", "b") == ["edge-never-taken"]


# -- cycles -----------------------------------------------------------------------------------------------------------


def test_every_cycle_that_nothing_bounds_is_named() -> None:
    a, b, c, d = (passing(name) for name in "abcd")
    text = refused({START: a, a: {"x": b, "y": c}, b: {"x": a}, c: {"x": d, "y": END}, d: {"x": c}})
    assert "nothing bounds the cycle a -> b -> a" in text
    assert "nothing bounds the cycle c -> d -> c" in text


@pytest.mark.parametrize("policy", [{"limit": 3}, {"limit": "max_turns"}, {"waits": True}])
def test_a_limit_or_a_wait_bounds_a_cycle(policy: dict[str, Any]) -> None:
    a, b = passing("a", **policy), passing("b")
    Graph("g", S, {START: a, a: {"x": b, "y": END}, b: {"x": a}})


def test_a_budgets_edge_bounds_a_cycle() -> None:
    a, b = passing("a"), passing("b")
    Graph("g", S, {START: a, a: {"x": b, "over_budget": END}, b: {"x": a}})


def test_a_limit_bounds_nothing_where_its_visit_is_only_continued() -> None:
    a, b = passing("a", limit=3), passing("b")
    text = refused({START: a, a: {"x": b, "y": END}, b: {"x": continues(a)}})
    assert "a -> b -> a" in text
    assert "'x' continues a visit" in text


def test_an_error_edge_back_to_its_own_node_is_a_cycle() -> None:
    a = passing("a")
    assert "a -> a" in refused({START: a, a: {"x": END, ValueError: a}})


# -- the rest of the table ---------------------------------------------------------------------------------------------


def test_an_exception_that_takes_no_edge_is_found() -> None:
    a = passing("a")
    text = refused({START: a, a: {"x": END, asyncio.CancelledError: END}})
    assert "'CancelledError' that is never taken" in text
    assert "'GraphError' that is never taken" in refused({START: a, a: {"x": END, GraphError: END}})
    Graph("g", S, {START: a, a: {"x": END, NodeTimeout: END, Exception: END}})


def test_findings_stand_errors_first() -> None:
    def work(state: S) -> Any:
        made = Goto("elsewhere")
        return made if state.n else {"nn": 1}

    assert [one.level for one in findings(work)] == ["error", "warning"]


def test_two_hundred_nodes_are_checked_in_well_under_a_second() -> None:
    names = [f"n{i}" for i in range(200)]
    nodes = [passing(name, limit=3) for name in names]
    table: dict[Any, Any] = {START: nodes[0]}
    for i, one in enumerate(nodes):
        table[one] = {"on": nodes[i + 1] if i < 199 else END, "back": nodes[i // 2], "x": nodes[(i * 7) % 200]}
    began = time.process_time()
    Graph("g", S, table)
    assert time.process_time() - began < 2.0
