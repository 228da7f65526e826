"""Timers, delays and deadlines: they survive whoever waited for them, and fire late rather than never."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from engine_graphs import S

from flowcore import Agent, function_tool
from flowcore.agents.options import Options
from flowcore.engine import clock as engine_clock
from flowcore.engine.clock import Clock
from flowcore.engine.run import resume, start
from flowcore.faces.output import output_of
from flowcore.graph.graph import Graph
from flowcore.graph.node import Retry, node
from flowcore.graph.outcomes import END, START, Ask, Pause
from flowcore.machine.facts import Transition
from flowcore.stores.base import Store
from flowcore.testing import Crash, CrashingStore, ManualClock, ScriptedModel, function_call

DAY = 86_400.0


def naps() -> Graph:
    @node(retry=Retry(3, DAY))
    async def fetch(state: S, ctx: Any) -> dict[str, Any]:
        if ctx.attempt == 1:
            raise OSError("not yet")
        return {"log": ["fetched"]}

    async def nap(state: S, ctx: Any) -> Pause:
        return Pause(until=ctx.now + 2 * DAY, on="awake")

    async def ask(state: S, ctx: Any) -> Pause:
        return Pause(Ask("q"), on="said", until=ctx.now + DAY, late="late")

    async def late(state: S) -> dict[str, Any]:
        return {"log": ["late"]}

    return Graph(
        "naps",
        S,
        {START: fetch, fetch: nap, nap: {"awake": ask}, ask: {"said": END, "late": late}, late: END},
    )


def around(inner: Graph) -> Graph:
    async def work(state: S, ctx: Any) -> dict[str, Any]:
        both = await asyncio.gather(ctx.child(inner, {}, "a"), ctx.child(inner, {}, "b"))
        return {"log": [*both[0]["log"], *both[1]["log"]]}

    return Graph("around", S, {START: work, work: END})


@pytest.mark.parametrize("nested", [False, True])
async def test_a_run_that_would_sleep_for_long_is_given_back_and_due_again_in_time(store: Store, nested: bool) -> None:
    graph = around(naps()) if nested else naps()
    clock = ManualClock(0.0, auto=False)
    run = await start(graph, store=store, run_id="r", clock=clock)
    woken: list[float] = []
    for _ in range(10):
        standing = await run.drive(patience=60.0)
        if standing == "done":
            break
        row = await store.get("r")
        assert (row.owner, row.due is not None) == (None, True)
        assert await store.due(row.due - 1) == []
        assert await store.due(row.due) == ["r"]
        woken.append(row.due)
        clock.now = row.due + 5 * 60  # whoever looks comes late
        run = await resume("r", graph, store=store, clock=clock)
    assert [moment // DAY for moment in woken] == [1, 3, 4]
    assert (await run).output["log"] == ["fetched", "late"] * (2 if nested else 1)
    assert await store.due(1e12) == []
    assert clock.waits == []


@pytest.mark.parametrize("facts", [1, 2, 3, 5, 6])
async def test_timers_survive_a_crash_at_every_fact_and_fire_late_rather_than_never(store: Store, facts: int) -> None:
    graph = naps()
    crashing: Any = CrashingStore(store, facts)
    clock = ManualClock(0.0)
    try:
        run = await start(graph, store=crashing, run_id="r", clock=clock)
        for _ in range(3):
            await run
            clock.now += DAY
    except Crash:
        await crashing.bury()
    later = ManualClock(clock.now + 100 * DAY)
    assert await store.due(later.now) == ["r"]
    run = await resume("r", graph, store=store, clock=later)
    for _ in range(3):
        if await run.drive() == "done":
            break
        later.now += 2 * DAY
    assert run.state.log == ["fetched", "late"]
    waited = [fact for fact in run.facts if isinstance(fact, Transition) and fact.not_before is not None]
    assert len(waited) == 1  # one failure, one delay, whatever died


async def test_a_clock_that_is_set_back_delays_a_timer_and_one_set_forward_fires_it(store: Store) -> None:
    clock = ManualClock(10 * DAY, auto=False)
    run = await start(naps(), store=store, run_id="r", clock=clock)
    assert await run.drive(patience=1.0) == "running"
    clock.now = 2 * DAY  # set back: the time is still to come
    run = await resume("r", naps(), store=store, clock=clock)
    assert await run.drive(patience=1.0) == "running"
    clock.now = 20 * DAY
    assert await run.drive(patience=1.0) == "waiting"
    assert (run.place, (await store.get("r")).due) == ("nap", 22 * DAY)
    clock.now = 5 * DAY
    assert await run.drive(patience=1.0) == "waiting"
    clock.now = 30 * DAY
    assert await run.drive() == "waiting"
    clock.now = 1 * DAY  # a person answers before they were asked
    await run.answer("q")
    assert (await run).standing == "done"
    assert run._live.snapshot.idle >= 0
    assert all(fact.at >= 0 for fact in run.facts)


async def test_who_waits_looks_at_the_clock_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A laptop that was closed, a clock that was set forward: a timer doesn't wait for what is left of the sleep."""
    monkeypatch.setattr(engine_clock, "LONGEST_WAIT", 0.005)
    now = [1000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    asyncio.get_running_loop().call_later(0.02, lambda: now.__setitem__(0, 1e9))

    async def nap(state: S, ctx: Any) -> Pause:
        return Pause(until=ctx.now + 3600, on="ok")

    run = await start(Graph("g", S, {START: nap, nap: {"ok": END}}), clock=Clock())
    async with asyncio.timeout(30):
        assert (await run).standing == "done"


async def test_days_that_a_person_took_are_in_no_duration(store: Store) -> None:
    clock = ManualClock(0.0, auto=False)

    async def work(state: S) -> None:
        clock.now += 7

    async def ask(state: S) -> Pause:
        return Pause(Ask("q"), on="ok")

    async def after(state: S, ctx: Any) -> dict[str, Any]:
        clock.now += 5
        return {"n": 1}

    graph = Graph("g", S, {START: work, work: ask, ask: {"ok": after}, after: END}, limits={"max_seconds": 100})
    run = await start(graph, store=store, run_id="r", clock=clock)
    await run
    clock.now += 3 * DAY
    await run.answer()
    clock.now += DAY  # and somebody let it lie
    run = await resume("r", graph, store=store, clock=clock)
    assert (await run).standing == "done"
    walk = run.graph
    assert [walk.nodes[one]["duration"] for one in walk] == [7, 0, 5]


async def test_what_an_agents_run_took_leaves_out_the_days_of_a_person() -> None:
    clock = ManualClock(0.0, auto=False)

    @function_tool(needs_approval=True)
    def wait() -> str:
        """Take a while."""
        clock.now += 7
        return "ok"

    agent = Agent(name="a", tools=[wait], model=ScriptedModel([function_call("wait", "{}"), "done"]))
    run = await start(agent, "go", context=Options(), clock=clock)
    await run.drive()
    clock.now += 3 * DAY
    assert (await output_of(run, agent, "go", Options(), True)).metrics.duration == 0
    await run.answer()
    await run.drive()
    clock.now += DAY
    assert (await output_of(run, agent, "go", Options(), True)).metrics.duration == 7
