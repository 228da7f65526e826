# ruff: noqa: PT011 - the class alone is what is raised here
"""Reading a run while it moves."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from engine_graphs import S, fan_out, loop

from flowcore.engine import run as run_module
from flowcore.engine.events import Committed, Emitted
from flowcore.engine.run import start
from flowcore.errors import RunConflict
from flowcore.graph.graph import Graph
from flowcore.graph.node import node
from flowcore.graph.outcomes import END, START
from flowcore.stores.base import Store


def one(fn: Any) -> Graph:
    return Graph("one", S, {START: fn, fn: END})


async def test_a_reader_gets_every_fact_in_order_and_what_is_emitted_between(store: Store) -> None:
    async def work(state: S, ctx: Any) -> None:
        assert ctx.listening
        ctx.emit("first")
        await ctx.once("e", lambda: ctx.emit("second"))

    run = await start(one(work), store=store, run_id="r")
    events = [event async for event in run]
    assert [event.fact for event in events if isinstance(event, Committed)] == run.facts[1:]
    emitted = [event for event in events if isinstance(event, Emitted)]
    assert [(event.run, event.seq, event.attempt, event.n, event.data) for event in emitted] == [
        ("r", 0, 1, 0, "first"),
        ("r", 0, 1, 1, "second"),
    ]


async def test_nobody_listens_to_a_run_that_is_only_awaited() -> None:
    heard: list[bool] = []

    async def work(state: S, ctx: Any) -> None:
        heard.append(ctx.listening)
        ctx.emit("unheard")

    await (await start(one(work)))
    await (await start(one(work), stream=True))
    assert heard == [False, True]


async def test_a_reader_that_leaves_detaches_and_the_run_finishes(store: Store) -> None:
    run = await start(loop(), store=store)
    async for _ in run:
        break
    assert (await run).standing == "done"
    assert run._tree.out is None


async def test_two_readers_get_the_same(store: Store) -> None:
    run = await start(fan_out(), store=store)

    async def read() -> list[Any]:
        return [event async for event in run]

    one_, two = await asyncio.gather(read(), read())
    assert one_ == two
    assert len(one_) > 5


async def test_a_slow_reader_gets_joined_deltas_and_every_fact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "BUFFER", 10)

    def delta(item: str, text: str) -> dict[str, str]:
        return {"type": "delta", "item_id": item, "delta": text}

    @node(limit=100)
    async def work(state: S, ctx: Any) -> str:
        for i in range(100):
            ctx.emit(delta("a", f"{i},"))
            ctx.emit(delta("b", "x"))
        ctx.emit({"type": "done"})
        await asyncio.sleep(0)
        return "again" if state.n < 3 else "end"

    async def count(state: S) -> dict[str, Any]:
        return {"n": state.n + 1}

    run = await start(Graph("g", S, {START: work, work: {"again": count, "end": END}, count: work}))
    reader = run.__aiter__()
    events = [await anext(reader)]
    await asyncio.sleep(0.02)
    events += [event async for event in reader]
    facts = [event.fact for event in events if isinstance(event, Committed)]
    assert facts == run.facts[1:]
    emitted = [event for event in events if isinstance(event, Emitted)]
    assert len(emitted) < 60
    for entry in {event.seq for event in emitted}:
        mine = [event.data for event in emitted if event.seq == entry]
        whole = "".join(data["delta"] for data in mine if data.get("item_id") == "a")
        assert whole == "".join(f"{i}," for i in range(100))
        assert "".join(data["delta"] for data in mine if data.get("item_id") == "b") == "x" * 100
        assert mine[-1] == {"type": "done"}


async def test_a_reader_is_told_of_a_conflict(store: Store) -> None:
    from flowcore.engine.run import load

    run = await start(loop(), store=store, run_id="r")
    other = await load("r", loop(), store=store)
    with pytest.raises(RunConflict):
        async for _ in other:
            pass
    assert (await run).standing == "done"


async def test_a_reader_that_is_cancelled_leaves_the_run_alone(store: Store) -> None:
    gate = asyncio.Event()

    async def work(state: S) -> None:
        await gate.wait()

    run = await start(one(work), store=store)

    async def read() -> None:
        async for _ in run:
            pass

    reader = asyncio.ensure_future(read())
    await asyncio.sleep(0.005)
    reader.cancel()
    await asyncio.wait([reader])
    gate.set()
    assert (await run).standing == "done"


async def test_the_engine_logs_by_structlog_where_the_app_configured_it() -> None:
    import structlog
    from structlog.testing import capture_logs

    async def work(state: S) -> None:
        raise OSError

    async def quiet() -> None:
        with pytest.raises(OSError):
            await (await start(one(work), run_id="r"))

    structlog.reset_defaults()
    await quiet()
    structlog.configure()
    try:
        with capture_logs() as logs:
            await quiet()
    finally:
        structlog.reset_defaults()
    assert [(log["event"], log["run"]) for log in logs] == [("run admitted", "r"), ("run failed", "r")]
