"""Edges by data: when, otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from flowcore import END, START, Graph, GraphError, Json, State, UpdateError, node, start
from flowcore.graph.conditions import Condition, otherwise, when
from flowcore.testing import kill_everywhere


class Draft(State):
    score: int = 0
    kind: str = "a"
    notes: list[str] = []
    found: dict[str, Json] = {}


@node(limit=9)
async def write(state: Draft) -> dict[str, Any]:
    return {"score": state.score + 3}


async def review(state: Draft) -> dict[str, Any]:
    return {"notes": [*state.notes, "seen"]}


async def polish(state: Draft) -> None:
    return None


def looping() -> Graph:
    return Graph(
        "draft",
        Draft,
        {
            START: write,
            write: review,
            review: [when("score", ">=", 8, polish), when("kind", "in", ["z"], END), otherwise(write)],
            polish: END,
        },
    )


async def test_the_first_condition_that_holds_is_taken() -> None:
    result = await (await start(looping()))
    assert [step.on for step in result.path] == ["done", "otherwise", "done", "otherwise", "done", "score >= 8", "done"]
    result = await (await start(looping(), {"kind": "z"}))
    assert result.path[-1].on == "kind in ['z']"


async def test_conditions_see_the_state_with_the_nodes_update_joined_in() -> None:
    async def set_it(state: Draft) -> dict[str, Any]:
        return {"score": 10, "found": {"deep": {"er": 1}}}

    graph = Graph(
        "g", Draft, {START: set_it, set_it: [when("found.deep.er", "==", 1, polish), otherwise(END)], polish: END}
    )
    assert [step.node for step in (await (await start(graph))).path] == ["set_it", "polish"]


async def test_conditions_survive_a_kill_at_every_fact() -> None:
    assert (await kill_everywhere(looping)).standing == "done"


def test_the_conditions_are_drawn_as_they_read() -> None:
    assert "review --> polish : score >= 8" in looping().mermaid()
    assert "review --> write : otherwise" in looping().mermaid()


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([when("scor", ">=", 8, END), otherwise(END)], "asks `scor >= 8`, but state 'Draft' has no field 'scor'"),
        ([when("score", ">=", "8", END), otherwise(END)], "asks `score >= '8'`, which can't hold"),
        ([when("score", ">=", 8, END)], r"end with otherwise\(...\), and only there"),
        ([otherwise(END), when("score", ">=", 8, END)], r"end with otherwise\(...\), and only there"),
        ([when("score", ">", 1, END), ("ok", END), otherwise(END)], "labelled edges are a dict"),
    ],
)
def test_what_can_not_be_a_condition_is_refused(edges: list[Any], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        Graph("g", Draft, {START: review, review: edges})


@pytest.mark.parametrize("arguments", [("score", "~", 1, END), ("score", "==", 1), ("score", "in", 3, END)])
def test_a_condition_says_what_it_misses(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(GraphError, match=r"when\('score'"):
        when(*arguments)


async def test_a_node_with_conditions_returns_no_label() -> None:
    label = "score >= 8"

    async def open_about_it(state: Draft) -> Any:
        return "score >= 8"

    with pytest.raises(GraphError, match="node 'open_about_it' returns 'score >= 8'"):
        Graph("g", Draft, {START: open_about_it, open_about_it: [when("score", ">=", 8, END), otherwise(END)]})

    async def sly(state: Draft) -> Any:
        return label

    run = await start(Graph("g", Draft, {START: sly, sly: [when("score", ">=", 8, END), otherwise(END)]}))
    with pytest.raises(GraphError, match="are conditions on the state; return what is new, no label"):
        await run


async def test_an_error_edge_may_stand_among_conditions() -> None:
    async def breaks(state: Draft) -> None:
        raise OSError("down")

    edges = [when("score", ">=", 8, END), (OSError, polish), otherwise(END)]
    graph = Graph("g", Draft, {START: breaks, breaks: edges, polish: END})
    assert [step.on for step in (await (await start(graph))).path] == ["OSError", "done"]


@pytest.mark.parametrize(
    ("op", "value", "field", "holds"),
    [
        ("==", 1, 1, True), ("!=", 1, 1, False), ("<", 2, 1, True), ("<=", 1, 1, True), (">", 0, 1, True),
        ("in", [1, 2], 1, True), ("not in", [1], 1, False), ("contains", "b", "abc", True),
        ("is empty", None, [], True), ("is not empty", None, [1], True),
    ],
)  # fmt: skip
def test_each_operator(op: str, value: Any, field: Any, holds: bool) -> None:
    assert Condition("f", op, value).holds(lambda _: field) is holds


def test_things_that_cannot_be_compared_are_an_error_that_names_the_condition() -> None:
    with pytest.raises(UpdateError, match="the condition `f < 3` can't be asked of 'x'"):
        Condition("f", "<", 3).holds(lambda _: "x")
