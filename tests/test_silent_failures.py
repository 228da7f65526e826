"""What other graph engines let through in silence: here each is an error that says what to do."""

from __future__ import annotations

from typing import Annotated, Any

import pytest

from flowcore import (
    END,
    START,
    AlreadyResumed,
    Ask,
    Goto,
    Graph,
    GraphError,
    LimitExceeded,
    MemoryStore,
    NotPaused,
    Pause,
    Retry,
    State,
    UndeclaredTransition,
    UpdateError,
    append,
    load,
    node,
    parallel,
    resume,
    start,
)


class S(State):
    x: int = 0
    log: Annotated[list[str], append] = []


async def step(state: S) -> dict[str, Any]:
    return {"x": state.x + 1}


async def failing(graph: Graph, error: type[Exception], message: str) -> None:
    """The run fails with this error and keeps its place and its state."""
    store = MemoryStore(keep_bytes=True)
    run = await start(graph, store=store, run_id="r")
    with pytest.raises(error, match=message):
        await run
    kept = await load("r", graph, store=store)
    assert kept.standing == "failed"
    assert kept.place == run.place


async def test_an_edge_to_an_unknown_node_is_refused_when_the_graph_is_built() -> None:
    with pytest.raises(GraphError, match="names 'nope', which is no node; the nodes are 'step'"):
        Graph("g", S, {START: step, step: {"done": END, "far": "nope"}})


async def test_a_label_that_no_edge_has_fails_the_run_and_keeps_its_place() -> None:
    label: Any = "nope"

    async def lost(state: S) -> Goto[Any]:
        return Goto(label)

    message = r"node 'lost' returned Goto\('nope'\), but its edges are 'done'; add an edge or fix the label"
    await failing(Graph("g", S, {START: step, step: lost, lost: END}), UndeclaredTransition, message)


async def test_a_node_that_nothing_leads_to_is_refused() -> None:
    async def island(state: S) -> None: ...

    with pytest.raises(GraphError, match="node 'island' can't be reached from START"):
        Graph("g", S, {START: step, step: END, island: END})


async def test_a_key_that_the_state_does_not_have_is_named() -> None:
    key = "y"

    async def typo(state: S) -> dict[str, Any]:
        return {key: 1}

    await failing(Graph("g", S, {START: typo, typo: END}), UpdateError, "updates 'y', but state 'S' has no such field")


async def test_a_value_of_the_wrong_type_is_refused_when_it_is_written() -> None:
    value: Any = "str"

    async def wrong(state: S) -> dict[str, Any]:
        return {"x": value}

    await failing(Graph("g", S, {START: wrong, wrong: END}), UpdateError, "field 'x'")


async def test_a_finished_run_can_not_be_resumed() -> None:
    store = MemoryStore(keep_bytes=True)
    graph = Graph("g", S, {START: step, step: END})
    await (await start(graph, store=store, run_id="r"))
    with pytest.raises(NotPaused, match="is done: there is nothing to resume"):
        await resume("r", graph, store=store)


async def test_attempts_are_counted_over_resumes() -> None:
    calls = 0

    @node(retry=Retry(stop=2))
    async def flaky(state: S) -> None:
        nonlocal calls
        calls += 1
        raise ConnectionError("down")

    store = MemoryStore(keep_bytes=True)
    graph = Graph("g", S, {START: flaky, flaky: END})
    run = await start(graph, store=store, run_id="r")
    with pytest.raises(ConnectionError):
        await run
    assert calls == 2
    again = await resume("r", graph, store=store)
    with pytest.raises(ConnectionError):
        await again
    assert calls == 3, "a resume allows one more attempt, not all of them again"


async def test_a_limit_is_counted_over_the_run_and_survives_a_resume() -> None:
    @node(limit=3)
    async def around(state: S) -> Goto[Any]:
        return Goto("again", x=state.x + 1)

    graph = Graph("g", S, {START: around, around: {"again": around, "enough": END}})
    store = MemoryStore(keep_bytes=True)
    run = await start(graph, store=store, run_id="r")
    with pytest.raises(LimitExceeded, match="reached its limit of 3 visits"):
        await run
    again = await resume("r", graph, store=store)
    with pytest.raises(LimitExceeded):
        await again
    assert again.state.x == 3


async def test_of_two_that_resume_one_pause_one_goes_on() -> None:
    store = MemoryStore(keep_bytes=True)

    async def ask(state: S) -> Pause:
        return Pause(Ask("q"), on="done")

    graph = Graph("g", S, {START: ask, ask: {"done": END}})
    run = await start(graph, store=store, run_id="r")
    await run
    first = await resume("r", graph, store=store)
    with pytest.raises(AlreadyResumed):
        await resume("r", graph, store=store)
    await first.answer("q")
    assert (await first).standing == "done"


async def test_two_branches_that_write_one_field_are_refused_when_they_are_declared() -> None:
    with pytest.raises(GraphError, match="two branches write the same field"):
        parallel({"a": step, "b": step}, input="x", into={"a": "x", "b": "x"})
