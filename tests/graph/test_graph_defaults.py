"""Policies for every node of a graph."""

from __future__ import annotations

from typing import Any

import pytest

from flowcore import END, START, Graph, GraphError, NodeTimeout, Retry, State, node, start
from flowcore.testing import ManualClock


class S(State):
    calls: int = 0
    told: str = ""


calls: list[str] = []


async def flaky(state: S) -> dict[str, Any]:
    calls.append("flaky")
    if len(calls) < 3:
        raise ConnectionError("down")
    return {"calls": len(calls)}


async def broken(state: S) -> None:
    raise ValueError("no")


async def tell(state: S, ctx: Any) -> dict[str, Any]:
    return {"told": ctx.cause["kind"]}


async def test_a_graphs_retry_is_that_of_every_node_without_one() -> None:
    calls.clear()

    @node(retry=1)
    async def once(state: S) -> None: ...

    graph = Graph("g", S, {START: once, once: flaky, flaky: END}, retry=Retry(stop=3, wait=5.0))
    assert (graph.nodes["once"].retry, graph.nodes["flaky"].retry) == (Retry(1), Retry(3, 5.0))
    result = await (await start(graph, clock=ManualClock()))
    assert result.state.calls == 3
    assert "flaky --> flaky : retry" in graph.mermaid()


async def test_a_graphs_error_edges_are_drawn_on_every_node_without_one() -> None:
    graph = Graph("g", S, {START: broken, broken: END, tell: END}, errors={ValueError: tell})
    assert "broken --> tell : ValueError" in graph.mermaid()
    assert "tell --> tell" not in graph.mermaid()
    assert (await (await start(graph))).state.told == "ValueError"


async def test_a_nodes_own_error_edge_goes_first() -> None:
    graph = Graph(
        "g", S, {START: broken, broken: {"done": tell, ValueError: END}, tell: END}, errors={ValueError: tell}
    )
    assert (await (await start(graph))).state.told == ""


async def test_a_graphs_timeout_is_that_of_every_node_without_one() -> None:
    import asyncio

    async def slow(state: S) -> None:
        await asyncio.sleep(5)

    run = await start(Graph("g", S, {START: slow, slow: END}, timeout=0.01))
    with pytest.raises(NodeTimeout):
        await run


def test_a_default_that_can_not_be_is_refused() -> None:
    with pytest.raises(GraphError, match="neither a number of attempts nor a Retry"):
        Graph("g", S, {START: flaky, flaky: END}, retry="often")
