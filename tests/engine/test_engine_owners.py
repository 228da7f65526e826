"""Leases in time: an owner that stalls, one that can't reach the store, a node that runs longer than its lease.

Time is moved by hand: the process's lease clock goes on, and the store's record of the lease grows as old.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from engine_graphs import S
from stores_postgres import LentStore, server

from flowcore.engine import heartbeat, lease, log
from flowcore.engine.run import resume, start
from flowcore.errors import RunConflict, StoreError
from flowcore.graph.graph import Graph
from flowcore.graph.outcomes import END, START
from flowcore.machine.facts import Rested
from flowcore.stores.base import LEASE_SECONDS, Owner, Store
from flowcore.stores.postgres import PostgresStore
from flowcore.stores.sqlite import SqliteStore

SOMEBODY = Owner("somebody", "another-host", 1, "1")


def one(fn: Any) -> Graph:
    return Graph("one", S, {START: fn, fn: END})


class Hours:
    """The time that leases are held against; ``pass_by`` moves it, for this process and in the stores."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.stores: list[Any] = []

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        for store in self.stores:
            age(store, seconds)


def age(store: Any, seconds: float) -> None:
    """Make every lease of a store older."""
    if isinstance(store, LentStore):
        server().ask(f'UPDATE "{store.schema}".owner SET expires = expires - %s', seconds)
        return
    with sqlite3.connect(store.path) as connection:
        connection.execute("UPDATE owner SET expires = expires - ?", (seconds,))
    connection.close()


@pytest.fixture
def hours(monkeypatch: pytest.MonkeyPatch) -> Hours:
    made = Hours()
    monkeypatch.setattr(heartbeat, "lease_time", lambda: made.now)
    monkeypatch.setattr(heartbeat, "ALONE_AFTER", float("inf"))  # it beats when the loop says so
    monkeypatch.setattr(lease, "WATCH_SECONDS", 0.001)
    return made


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the engine's log says, as it comes."""
    said: list[str] = []
    monkeypatch.setattr(log, "SINKS", [lambda level, event, fields: said.append(event)])
    return said


@pytest.fixture(params=["sqlite", "postgres"])
async def shared(request: pytest.FixtureRequest, tmp_path: Path, hours: Hours) -> AsyncIterator[Any]:
    """A store that other processes reach."""
    store: Any = LentStore() if request.param == "postgres" else SqliteStore(tmp_path / "runs.db", synchronous="NORMAL")
    hours.stores.append(store)
    yield store
    await store.close()


def again(store: Any) -> Any:
    """The same store, as another process has it."""
    return again_in(store.schema) if isinstance(store, LentStore) else SqliteStore(store.path)


def again_in(schema: str) -> PostgresStore:
    """A Postgres store in a schema that there is."""
    return PostgresStore(server().dsn, schema=schema, connections=2)


def elsewhere(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Do something in another loop, as another process would while this one stands still."""
    raised: list[BaseException] = []

    def act() -> None:
        try:
            asyncio.run(work())
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=act)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


def beating(store: Any) -> heartbeat.Heartbeat:
    """The heartbeat of this loop's runs in a store."""
    found = lease.holder_of(store)._heart
    assert found is not None
    return found


async def until(what: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not what():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.001)


class Unreachable:
    """A store that can be cut off."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.inline = False
        self.shared = True
        self.cut = False

    def beat(self, owner: Owner) -> None:
        if self.cut:
            raise StoreError("can't reach it")
        self.inner.beat(owner)

    def __getattr__(self, name: str) -> Any:
        given = getattr(self.inner, name)

        async def ask(*args: Any, **named: Any) -> Any:
            if self.cut:
                raise StoreError("can't reach it")
            return await given(*args, **named)

        return ask


async def test_a_node_that_runs_for_ten_minutes_isnt_started_twice(shared: Any, hours: Hours) -> None:
    calls: list[int] = []
    entered, gate = asyncio.Event(), asyncio.Event()

    async def long(state: S, ctx: Any) -> dict[str, Any]:
        calls.append(1)
        entered.set()
        await gate.wait()
        return {"n": 1}

    task = asyncio.ensure_future(_drive(await start(one(long), store=shared, run_id="r")))
    await entered.wait()
    heart = beating(shared)
    for _ in range(120):
        hours.pass_by(5)
        await until(lambda: heart.trusted == hours.now)
        with pytest.raises(RunConflict):
            await shared.claim("r", SOMEBODY)
    assert await shared.due(2e9) == []
    gate.set()
    assert (await task, calls) == ("done", [1])


async def _drive(run: Any) -> Any:
    return await run.drive()


@pytest.mark.parametrize("beat_first", [True, False])
async def test_an_owner_that_wakes_up_after_its_run_was_taken_over_starts_no_further_effect(
    shared: Any, hours: Hours, beat_first: bool
) -> None:
    calls: list[str] = []
    woken, gate, breaks = asyncio.Event(), asyncio.Event(), [True]

    async def work(state: S, ctx: Any) -> dict[str, Any]:
        await ctx.once("a", lambda: calls.append("a"))
        if breaks.pop() if breaks else False:
            woken.set()
            await gate.wait()
        await ctx.once("b", lambda: calls.append("b"))
        return {"n": 7}

    run = await start(one(work), store=shared, run_id="r")
    task = asyncio.ensure_future(run.drive())
    await woken.wait()
    if not beat_first:
        gate.set()  # the node is first to run when the process goes on
    hours.pass_by(LEASE_SECONDS * 4)  # it was stopped for a minute
    elsewhere(lambda: _resumed(again(shared), work))
    with pytest.raises(RunConflict, match="couldn't renew its lease for 60 s"):
        await task
    gate.set()
    await asyncio.sleep(0)
    assert calls == ["a", "b"]
    assert (await run).output["n"] == 7  # the old handle shows what the new owner did
    assert run.facts == await shared.read("r")


async def _resumed(store: Any, work: Any) -> None:
    assert (await (await resume("r", one(work), store=store))).output["n"] == 7
    await store.close()


async def test_an_owner_that_wakes_up_and_still_has_its_run_goes_on(shared: Any, hours: Hours) -> None:
    async def work(state: S, ctx: Any) -> dict[str, Any]:
        await ctx.once("a", lambda: 1)
        hours.pass_by(3600)  # a laptop that was closed
        return {"n": await ctx.once("b", lambda: 2)}

    assert (await (await start(one(work), store=shared, run_id="r"))).output["n"] == 2
    held = await start(one(work), store=shared, run_id="s")
    hours.pass_by(3600)
    assert (await held).standing == "done"


async def test_an_owner_that_cant_reach_the_store_stops_its_runs_before_the_lease_ends(
    shared: Any, hours: Hours
) -> None:
    broken_off: list[str] = []
    entered: list[str] = []

    async def wait(name: str) -> None:
        entered.append(name)
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            broken_off.append(name)
            raise

    async def small(state: S, ctx: Any) -> None:
        await ctx.once("deep", wait, "deep")

    async def work(state: S, ctx: Any) -> None:
        await asyncio.gather(ctx.once("own", wait, "own"), ctx.child(one(small), {}, "c"))

    cut: Any = Unreachable(shared)
    run = await start(one(work), store=cut, run_id="r")
    held = await start(one(work), store=cut, run_id="held")
    task = asyncio.ensure_future(run.drive())
    await until(lambda: len(entered) == 2)
    cut.cut = True
    hours.now += LEASE_SECONDS - heartbeat.MARGIN_SECONDS - 0.1
    await asyncio.sleep(0.01)
    assert not task.done()
    hours.now += 0.2
    with pytest.raises(RunConflict, match="couldn't renew its lease for 12 s, and somebody else may go on"):
        await task
    assert sorted(broken_off) == ["deep", "own"]
    cut.cut = False
    age(shared, LEASE_SECONDS)
    assert sorted(await shared.due(2e9)) == ["held", "r"]
    task = asyncio.ensure_future(held.drive())  # nobody took it: this handle goes on with it
    await until(lambda: len(entered) == 4)
    await held.cancel()
    assert await task == "cancelled"


async def test_an_effect_that_ended_while_the_store_was_away_is_written_when_its_back(
    shared: Any, hours: Hours
) -> None:
    calls: list[int] = []
    cut: Any = Unreachable(shared)

    async def pay() -> int:
        cut.cut = True
        asyncio.get_running_loop().call_later(0.02, setattr, cut, "cut", False)
        hours.pass_by(5)
        calls.append(1)
        return 5

    async def work(state: S, ctx: Any) -> dict[str, Any]:
        return {"n": await ctx.once("pay", pay)}

    assert (await (await start(one(work), store=cut, run_id="r"))).output["n"] == 5
    assert calls == [1]


async def test_nothing_starts_while_nobody_knows_whose_the_run_is(shared: Any, hours: Hours) -> None:
    calls: list[str] = []
    cut: Any = Unreachable(shared)

    async def work(state: S, ctx: Any) -> None:
        await ctx.once("a", lambda: calls.append("a"))
        cut.cut = True
        hours.now += LEASE_SECONDS
        await ctx.once("b", lambda: calls.append("b"))

    run = await start(one(work), store=cut, run_id="r")
    with pytest.raises((RunConflict, StoreError)):
        await run
    assert calls == ["a"]
    cut.cut = False
    hours.now += 1
    assert (await shared.get("r")).standing == "running"


def blocked_until(what: Callable[[], Any]) -> None:
    """Stand in the event loop's way."""
    for _ in range(10_000):
        if what():
            return
        time.sleep(0.001)
    raise AssertionError("it didn't come to that")


async def test_a_node_that_blocks_the_event_loop_for_ten_minutes_isnt_started_twice(
    shared: Any, hours: Hours, logged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    alone(monkeypatch)

    async def held() -> None:
        store = again(shared)
        assert (await store.abandoned()).runs == []
        with pytest.raises(RunConflict):
            await store.claim("r", SOMEBODY)
        await store.close()

    async def block(state: S, ctx: Any) -> dict[str, Any]:
        calls.append(1)
        heart = beating(shared)
        for minute in range(10):
            for _ in range(10):
                hours.pass_by(6)
                blocked_until(lambda: heart.trusted == hours.now)
            if minute in (0, 9):
                elsewhere(held)
        return {"n": await ctx.once("then", lambda: 7)}

    run = await start(one(block), store=shared, run_id="r")
    assert (await run).output["n"] == 7
    assert calls == [1]
    assert logged.count("event loop blocked") == 1


async def test_a_heartbeat_that_wakes_up_before_its_event_loop_doesnt_let_an_effect_start_on_a_lost_run(
    shared: Any, hours: Hours, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    breaks: list[int] = [1]
    beats: list[int] = []
    runs, beat = threading.Event(), shared.beat

    def stopped(owner: Owner) -> None:
        runs.wait()  # the process is stopped
        beat(owner)
        beats.append(1)

    async def work(state: S, ctx: Any) -> dict[str, Any]:
        await ctx.once("a", lambda: calls.append("a"))
        if breaks.pop() if breaks else False:
            shared.beat = stopped
            hours.pass_by(LEASE_SECONDS * 4)
            elsewhere(lambda: _resumed(again(shared), work))
            runs.set()
            blocked_until(lambda: beats)
        await ctx.once("b", lambda: calls.append("b"))
        return {"n": 7}

    alone(monkeypatch)
    run = await start(one(work), store=shared, run_id="r")
    with pytest.raises(RunConflict, match="couldn't renew its lease for 60 s"):
        await run.drive()
    assert calls == ["a", "b"], "the second one by who took the run over"


async def test_a_lost_run_says_so_though_a_renewal_of_its_lease_fails_after_that(shared: Any, hours: Hours) -> None:
    first, begun = [1], []
    entered, woken, runs, beat = asyncio.Event(), asyncio.Event(), threading.Event(), shared.beat

    def stopped(owner: Owner) -> None:
        begun.append(1)
        runs.wait()
        beat(owner)

    async def late() -> None:
        entered.set()
        await woken.wait()

    async def work(state: S, ctx: Any) -> dict[str, Any]:
        if first.pop() if first else False:
            a = asyncio.ensure_future(ctx.once("a", late))
            await entered.wait()
            shared.beat = stopped
            hours.pass_by(LEASE_SECONDS * 4)
            elsewhere(lambda: _resumed(again(shared), work))
            await until(lambda: begun)  # by the watch, which ends with the last lease
            b = asyncio.ensure_future(ctx.once("b", lambda: None))
            woken.set()  # its record is refused
            await until(lambda: run._tree.broken is not None)
            runs.set()  # and only then is there an answer to who asked whether it may start
            await asyncio.gather(a, b, return_exceptions=True)
        await ctx.once("a", lambda: None)
        await ctx.once("b", lambda: None)
        return {"n": 7}

    run = await start(one(work), store=shared, run_id="r")
    with pytest.raises(RunConflict, match="claimed again"):
        await run.drive()


def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the thread beat by itself, and look often whether it's time."""
    monkeypatch.setattr(heartbeat, "ALONE_AFTER", 1 / 3)
    monkeypatch.setattr(heartbeat, "LOOK_SECONDS", 0.001)


def hearts() -> set[threading.Thread]:
    return {one for one in threading.enumerate() if one.name == "flowcore-heartbeat"}


async def test_the_heartbeats_thread_ends_with_the_last_lease(shared: Any) -> None:
    before = hearts()
    held = [await start(one(_nothing), store=shared) for _ in range(3)]
    (mine,) = hearts() - before
    for run in held:
        assert mine.is_alive()
        await run
    await shared.close()
    await asyncio.to_thread(mine.join, 10)
    assert not mine.is_alive()
    assert (await (await start(one(_nothing), store=shared))).standing == "done"


@pytest.mark.parametrize("how", ["the loop ends", "the loop is closed", "the handle is dropped", "tasks are cancelled"])
def test_the_heartbeats_thread_ends_with(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = hearts()
    store = SqliteStore(tmp_path / "runs.db")
    begin: Callable[[], Coroutine[Any, Any, Any]] = lambda: start(one(_nothing), store=store, run_id="r")  # noqa: E731
    loop = asyncio.new_event_loop()
    run = asyncio.run(begin()) if how == "the loop ends" else loop.run_until_complete(begin())
    (mine,) = hearts() - before or {threading.current_thread()}
    if how == "the handle is dropped":
        del run
    elif how == "tasks are cancelled":
        loop.run_until_complete(_cancel_all())
    elif how == "the loop is closed":
        keeping = asyncio.all_tasks(loop)
        loop.close()
    if mine is not threading.current_thread():
        mine.join(10)
    assert not hearts() - before
    if how == "tasks are cancelled":  # and begins again where it's missed
        assert loop.run_until_complete(_renewed(run, store))
    if how == "the loop is closed":
        for task in keeping:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
    else:
        loop.run_until_complete(_cancel_all())
        loop.close()
    asyncio.run(store.close())


async def _cancel_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def _renewed(run: Any, store: Any) -> bool:
    await run._tree.holder.renew()
    assert beating(store).sure
    return bool((await run).standing == "done")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there's no fork here")
async def test_a_forked_process_has_neither_the_heartbeat_nor_the_lease(shared: Any) -> None:
    run = await start(one(_nothing), store=shared, run_id="r")
    child = os.fork()
    if child == 0:
        os._exit(0 if run._tree.claim is None and not hearts() and not lease._HELD else 1)
    assert os.waitstatus_to_exitcode((await asyncio.to_thread(os.waitpid, child, 0))[1]) == 0
    assert (await run).standing == "done"


READS: dict[str, Callable[[Any], Coroutine[Any, Any, Any]]] = {
    "a session": lambda ctx: ctx.store.session_items("s"),
    "its child": lambda ctx: ctx.child(one(_nothing), {}, "c"),
    "whether there is a child": lambda ctx: ctx.has_child("c"),
}


async def _nothing(state: S) -> None:
    """A node without an effect."""


@pytest.mark.parametrize("read", READS.values(), ids=READS)
@pytest.mark.parametrize("lasts", [False, True], ids=["for a moment", "for longer than the lease"])
async def test_a_node_that_reads_the_store_while_its_away_has_used_no_attempt(
    shared: Any, hours: Hours, read: Any, lasts: bool
) -> None:
    attempts: list[int] = []
    cut: Any = Unreachable(shared)

    async def work(state: S, ctx: Any) -> None:
        attempts.append(ctx.attempt)
        await ctx.once("a", lambda: None)
        if len(attempts) == 1:
            cut.cut = True
            if lasts:
                hours.now += LEASE_SECONDS
            else:
                asyncio.get_running_loop().call_later(0.02, setattr, cut, "cut", False)
        await read(ctx)

    run = await start(one(work), store=cut, run_id="r")
    if lasts:
        with pytest.raises((RunConflict, StoreError)):
            await run
        cut.cut = False
        assert (await shared.get("r")).standing == "running"
        assert not [fact for fact in await shared.read("r") if isinstance(fact, Rested)]
        run = await resume("r", one(work), store=cut)
    assert (await run).standing == "done"
    assert attempts == ([1, 1] if lasts else [1])


async def test_what_a_damaged_store_cant_give_fails_the_node_that_reads_it(shared: Any, hours: Hours) -> None:
    async def work(state: S, ctx: Any) -> None:
        await ctx.store.session_items("s")

    await shared.session_write("s", ["an item"])
    if isinstance(shared, LentStore):
        server().ask(f'UPDATE "{shared.schema}".session_item SET item = %s', b"{")
    else:
        with sqlite3.connect(shared.path) as connection:
            connection.execute("UPDATE session_item SET item = ?", (b"{",))
        connection.close()
    run = await start(one(work), store=shared, run_id="r")
    with pytest.raises(StoreError):
        await run
    assert (run.standing, run.place) == ("failed", "work")
