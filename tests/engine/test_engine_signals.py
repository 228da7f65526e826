# ruff: noqa: PT011, PT012 - the class alone is what is raised; a timeout around a run
"""Answers, cancels and stops, from wherever they come."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from engine_graphs import YES, S, asking, asking_any, nested

from flowcore.engine.run import answer, load, resume, send, start
from flowcore.errors import NotOpen, RunCancelled
from flowcore.graph.graph import Graph
from flowcore.graph.node import node
from flowcore.graph.outcomes import END, START, Ask, Goto, Pause
from flowcore.machine.facts import Effect, Rested, Resumed, Signal, Transition
from flowcore.stores.base import Store
from flowcore.testing import ManualClock, finish


def one(fn: Any, **edges: Any) -> Graph:
    return Graph("one", S, {START: fn, fn: edges or {"ok": END}})


async def until(what: Any) -> None:
    """Return when something is so, however slow the disk is."""
    async with asyncio.timeout(30):
        while not what():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.001)


async def opened(gate: asyncio.Event, when: Any) -> None:
    await until(when)
    gate.set()


async def running(run: Any, there: Any = None) -> asyncio.Task[Any]:
    """The task of a drive that is in a node's body (or for which ``there()`` holds)."""
    task = asyncio.ensure_future(run.drive())
    there = there or (lambda: run._live.task is not None or run.standing == "waiting")
    await until(lambda: task.done() or there())
    return task


async def test_a_cancel_reaches_a_running_node_at_once_and_breaks_its_effects_off(store: Store) -> None:
    entered: list[str] = []
    broken: list[str] = []

    async def long(name: str) -> None:
        entered.append(name)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            broken.append(name)
            raise

    hold = True

    async def work(state: S, ctx: Any) -> dict[str, Any]:
        await ctx.once("before", lambda: 1)
        if hold:
            await asyncio.gather(ctx.once("a", long, "a"), ctx.once("b", long, "b"))
        return {"n": 1}

    run = await start(one(work), store=store, run_id="r")
    task = await running(run, lambda: len(entered) == 2)
    before = time.monotonic()
    await run.cancel()
    assert await task == "cancelled"
    assert time.monotonic() - before < 10  # and not the minute
    assert sorted(broken) == ["a", "b"]
    with pytest.raises(RunCancelled, match="run 'r' was cancelled at 'work'; resume it to go on"):
        await run
    hold = False
    again = await resume("r", one(work), store=store)
    assert (await again).output["n"] == 1
    assert [fact.key for fact in again.facts if isinstance(fact, Effect)] == ["before"]


async def test_a_cancel_from_another_handle_reaches_the_owner(store: Store) -> None:
    async def work(state: S) -> None:
        await asyncio.sleep(60)

    run = await start(one(work), store=store, run_id="r")
    task = await running(run)
    other = await load("r", one(work), store=store)
    before = time.monotonic()
    await other.cancel()
    assert await task == "cancelled"
    assert time.monotonic() - before < 10


async def test_a_cancel_of_a_parent_breaks_its_children_off_and_they_go_on_later(store: Store) -> None:
    hold, entered = True, asyncio.Event()

    async def small(state: S, ctx: Any) -> dict[str, Any]:
        await ctx.once("kept", lambda: 1)
        entered.set()
        if hold:
            await asyncio.sleep(60)
        return {"n": 4}

    async def work(state: S, ctx: Any) -> dict[str, Any]:
        out = await ctx.child(one(small), {}, "c")
        return {"n": out["n"]}

    run = await start(one(work), store=store, run_id="r")
    task = await running(run, entered.is_set)
    await run.cancel()
    assert await task == "cancelled"
    assert (await store.get("r/work.1/c")).standing == "cancelled"
    hold = False
    assert (await (await resume("r", one(work), store=store))).output["n"] == 4


async def test_cancelling_the_task_from_outside_leaves_the_run_resumable(store: Store) -> None:
    hold, entered = True, asyncio.Event()

    async def work(state: S, ctx: Any) -> None:
        await ctx.once("kept", lambda: 1)
        entered.set()
        if hold:
            await asyncio.sleep(60)

    run = await start(one(work), store=store, run_id="r")
    task = await running(run, entered.is_set)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    hold = False
    assert (await (await resume("r", one(work), store=store))).standing == "done"
    hold = True
    entered.clear()
    other = await start(one(work), store=store, run_id="t")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3600) as scope:
            asyncio.ensure_future(entered.wait()).add_done_callback(lambda _: scope.reschedule(0))
            await other
    assert (await store.get("t")).standing == "cancelled"


async def test_a_node_that_swallows_the_cancel_is_still_followed_by_a_rest() -> None:
    async def stubborn(state: S) -> dict[str, Any]:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass
        return {"n": 1}

    async def after(state: S) -> None:
        await asyncio.sleep(0)  # the swallowed cancel mustn't surface here

    run = await start(Graph("two", S, {START: stubborn, stubborn: after, after: END}))
    task = await running(run)
    await run.cancel()
    assert await task == "cancelled"
    assert (run.place, run.state.n) == ("after", 1)
    await run.resume()
    assert (await run).standing == "done"


async def test_a_stop_lets_the_node_finish(store: Store) -> None:
    gate = asyncio.Event()
    seen: list[str] = []

    async def first(state: S) -> None:
        await gate.wait()
        seen.append("first")

    async def second(state: S) -> None:
        seen.append("second")

    graph = Graph("two", S, {START: first, first: second, second: END})
    run = await start(graph, store=store, run_id="r")
    task = await running(run)
    await run.stop()
    gate.set()
    assert await task == "stopped"
    assert (seen, run.place) == (["first"], "second")
    assert (await run.result()).standing == "stopped"
    assert (await (await resume("r", graph, store=store))).standing == "done"


async def test_leaving_a_run_stops_it(store: Store) -> None:
    gate = asyncio.Event()

    async def first(state: S) -> None:
        await gate.wait()

    async def second(state: S) -> None:
        raise AssertionError

    graph = Graph("two", S, {START: first, first: second, second: END})
    async with await start(graph, store=store, run_id="r") as run:
        task = await running(run)
        opening = asyncio.ensure_future(opened(gate, lambda: run._live.snapshot.stop_asked))
    assert (await task, run.standing, run.place) == ("stopped", "stopped", "second")
    await opening
    async with await start(graph, store=store, run_id="unused"):
        pass
    assert (await store.get("unused")).owner is None


async def test_a_run_that_nobody_drives_takes_a_cancel_at_once(store: Store) -> None:
    run = await start(asking(), store=store, run_id="r")
    await run
    await run.cancel()
    assert run.standing == "cancelled"
    held = await start(asking(), store=store, run_id="held")
    await held.cancel()
    assert held.standing == "cancelled"


async def test_a_cancel_or_stop_of_a_waiting_run_keeps_what_it_waits_for(store: Store) -> None:
    entered: list[int] = []

    async def ask(state: S) -> Pause:
        entered.append(1)
        return Pause(Ask("q"), on="ok", into="answers")

    run = await start(one(ask), store=store, run_id="r")
    await run
    await run.stop()
    run = await resume("r", one(ask), store=store)
    assert (await run).standing == "waiting"
    await run.cancel()
    run = await resume("r", one(ask), store=store)
    await run.answer("q", 5)
    assert (await run).output["answers"] == {"q": 5}
    assert entered == [1]


async def test_a_cancel_that_comes_with_an_answer_for_a_child_is_obeyed(store: Store) -> None:
    async def work(state: S, ctx: Any) -> dict[str, Any]:
        return {"log": (await ctx.child(asking(), {}, "c"))["log"]}

    run = await start(one(work), store=store, run_id="r")
    await run
    await send(store, "r", "cancel")
    for request in await run.requests():
        await answer(store, request.run, request.key)
    run = await resume("r", one(work), store=store)
    assert await run.drive() == "cancelled"
    assert (await (await resume("r", one(work), store=store))).output["log"] == ["one", "two"]


async def test_a_stale_cancel_doesnt_meet_the_next_resume(store: Store) -> None:
    broken = [True]

    async def work(state: S) -> None:
        if broken.pop():
            raise OSError

    run = await start(one(work), store=store, run_id="r")
    with pytest.raises(OSError):
        await run
    await send(store, "r", "cancel")
    broken.append(False)
    assert (await (await resume("r", one(work), store=store))).standing == "done"


async def test_answers_that_come_while_another_effect_runs_arent_lost(store: Store) -> None:
    gate = asyncio.Event()

    async def work(state: S, ctx: Any) -> dict[str, Any]:
        child, _ = await asyncio.gather(ctx.child(asking(), {}, "c"), ctx.once("slow", gate.wait))
        return {"log": child["log"]}

    run = await start(one(work), store=store)
    task = await running(run, lambda: any(one.snapshot.standing == "waiting" for one in run._tree.lives.values()))
    await run._tree.idle()
    for request in await run.requests():
        await run.answer(request.key)
    gate.set()
    assert await task == "done"


async def test_answers_that_come_while_the_asking_node_runs_arent_lost(store: Store) -> None:
    gate = asyncio.Event()

    @node(limit=3)
    async def work(state: S, ctx: Any) -> Goto[Any] | Pause:
        await ctx.request("q")
        await ctx.once("slow", gate.wait)
        return Pause("q", on="ok", into="answers")

    run = await start(one(work), store=store)
    task = await running(run, lambda: run._live.snapshot.open)
    await run._tree.idle()
    await run.answer("q", "early")
    gate.set()
    assert await task == "done"
    assert run.state.answers == {"q": "early"}


async def test_an_answer_to_what_isnt_open_tells_what_is(store: Store) -> None:
    run = await start(asking(), store=store, run_id="r")
    await run
    with pytest.raises(NotOpen, match="run 'r': request 'ghost' is not open; open are: 'one', 'two'") as raised:
        await run.answer("ghost")
    assert raised.value.open == ["one", "two"]
    with pytest.raises(NotOpen, match="several open requests: 'one' of r, 'two' of r; name one"):
        await run.answer()
    await run.answer("one")
    with pytest.raises(NotOpen):
        await run.answer("one", "twice")
    await run.answer("two")
    await run
    with pytest.raises(NotOpen, match="no request is open; open are: none"):
        await run.answer()


async def test_the_runs_own_request_comes_before_one_of_the_same_name_below(store: Store) -> None:
    async def work(state: S, ctx: Any) -> dict[str, Any]:
        await ctx.request("one")
        got = await ctx.child(asking(), {}, "c")
        return {"answers": ctx.answers, "log": got["log"]}

    run = await start(one(work), store=store, run_id="r")
    await run
    await run.answer("one", "mine")
    await answer(store, "r/work.1/c", "one", "its")
    await run.answer("two")
    assert (await run).output["answers"] == {"one": "mine"}


async def test_more_requests_than_one_page_can_be_answered() -> None:
    async def ask(state: S) -> Pause:
        return Pause(*(Ask(f"q{i}") for i in range(120)), on="ok")

    run = await start(one(ask))
    await run
    for i in range(120):
        await run.answer(f"q{i}")
    assert (await run).standing == "done"


async def test_the_answer_of_this_question_counts_not_of_an_older_one_of_that_name() -> None:
    @node(limit=5)
    async def a(state: S) -> Pause:
        return Pause(Ask("q"), on="ok", into="answers")

    @node(limit=5)
    async def b(state: S) -> Pause:
        return Pause(Ask("q"), on="ok", into="answers")

    async def look(state: S) -> Goto[Any]:
        return Goto("again" if len(state.log) < 1 else "end", log=[str(state.answers["q"])])

    run = await start(Graph("g", S, {START: a, a: {"ok": b}, b: {"ok": look}, look: {"again": a, "end": END}}))
    for value in ("a1", "b1", "a2", "b2"):
        await run.drive()
        await run.answer("q", value)
        if value == "a2":
            await run.drive()
            assert run.state.answers == {"q": "a2"}
    assert (await run).output["log"] == ["b1", "b2"]


async def test_a_late_pause_takes_its_edge_and_its_request_closes(store: Store) -> None:
    clock = ManualClock(100.0)

    async def ask(state: S) -> Pause:
        return Pause(Ask("q"), on="ok", into="answers", until=150.0, late="late")

    async def late(state: S) -> dict[str, Any]:
        return {"log": ["late"]}

    graph = Graph("late", S, {START: ask, ask: {"ok": END, "late": late}, late: END})
    run = await start(graph, store=store, run_id="r", clock=clock)
    assert (await run).standing == "waiting"
    assert (await store.get("r")).due == 150.0
    assert await store.due(149.0) == []
    assert await store.due(151.0) == ["r"]
    clock.advance(50)
    assert (await (await resume("r", graph, store=store, clock=clock))).output["log"] == ["late"]
    with pytest.raises(NotOpen):
        await answer(store, "r", "q")


async def test_a_pause_without_requests_sleeps_and_a_cancel_wakes_it(store: Store) -> None:
    clock = ManualClock(0.0, auto=False)

    async def nap(state: S) -> Pause:
        return Pause(until=1e6, on="ok")

    run = await start(one(nap), store=store, clock=clock)
    task = await running(run, lambda: clock.waits)
    assert clock.waits == [1e6]
    await run.cancel()
    async with asyncio.timeout(30):
        assert await task == "cancelled"
    await run.resume()
    task = await running(run, lambda: len(clock.waits) == 2)
    clock.advance(1e6)
    async with asyncio.timeout(30):
        assert await task == "done"


async def test_a_letter_that_nobody_takes_in_doesnt_spin_a_sleeping_or_waiting_run(store: Store) -> None:
    clock = ManualClock(0.0, auto=False)

    async def small(state: S) -> None: ...

    async def work(state: S, ctx: Any) -> dict[str, Any]:
        await ctx.child(one(small), {}, "done")
        await ctx.child(asking(), {}, "waits")
        return {}

    async def nap(state: S) -> Pause:
        return Pause(until=10.0, on="ok")

    graph = Graph("g", S, {START: work, work: nap, nap: {"ok": END}})
    run = await start(graph, store=store, run_id="r", clock=clock)
    assert await run.drive() == "waiting"
    await send(store, "r/work.1/done", "input", value=1)
    async with asyncio.timeout(30):
        assert await run.drive() == "waiting"
        resumed = len([fact for fact in run.facts if isinstance(fact, Resumed)])
        assert resumed <= 1
        for request in await run.requests():
            await run.answer(request.key)
        task = await running(run, lambda: clock.waits)
        assert clock.waits[-1] == 10.0
        clock.advance(10)
        assert await task == "done"
    assert await store.inbox("r") == []


async def test_a_childs_deadline_wakes_its_parent(store: Store) -> None:
    clock = ManualClock(0.0)

    async def ask(state: S) -> Pause:
        return Pause(Ask("q"), on="ok", until=50.0, late="late")

    async def late(state: S) -> dict[str, Any]:
        return {"log": ["late"]}

    small = Graph("small", S, {START: ask, ask: {"ok": END, "late": late}, late: END})

    async def work(state: S, ctx: Any) -> dict[str, Any]:
        return {"log": (await ctx.child(small, {}, "c"))["log"]}

    run = await start(one(work), store=store, run_id="r", clock=clock)
    await run
    assert (await store.get("r")).due == 50.0
    clock.advance(60)
    run = await resume("r", one(work), store=store, clock=clock)
    assert (await run).output["log"] == ["late"]


async def test_resuming_a_waiting_run_without_answers_rests_again(store: Store) -> None:
    await (await start(nested(), store=store, run_id="r"))
    before = len(await store.read("r"))
    for _ in range(2):
        run = await resume("r", nested(), store=store)
        assert (await run).standing == "waiting"
    assert len(await store.read("r")) == before
    assert len(run._tree.lives) <= 1 + 4  # children aren't loaded to wait


async def test_inputs_and_answers_from_another_thread_reach_the_run(store: Store) -> None:
    run = await start(asking_any(), store=store, run_id="r")
    await run.drive()
    thread = threading.Thread(target=lambda: asyncio.run(answer(store, "r", "a", 1)))
    thread.start()
    await asyncio.to_thread(thread.join)
    await run.drive()
    assert [request.key for request in await run.requests()] == ["b"]
    assert await finish(run, YES) == "done"


async def test_a_stopped_or_cancelled_walk_shows_its_rests() -> None:
    run = await start(asking())
    await run
    await run.stop()
    assert [fact.standing for fact in run.facts if isinstance(fact, Rested)] == ["waiting", "stopped"]
    assert [fact.kind for fact in run.facts if isinstance(fact, Signal)] == ["stop"]
    assert not [fact for fact in run.facts if isinstance(fact, Transition)]
