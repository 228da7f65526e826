"""Whole runs over a real server: thousands at once, connections that are lost, a server that stops in mid-run."""

from __future__ import annotations

import asyncio
import gc
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest
from stores_postgres import Cutter, LentStore, new_store, server

from flowcore import (
    END,
    START,
    Agent,
    Context,
    Goto,
    Graph,
    Runner,
    State,
    ToolContext,
    function_tool,
    node,
    resume,
    start,
)
from flowcore.engine import heartbeat, lease
from flowcore.engine.lease import WATCH_SECONDS
from flowcore.errors import RunConflict, StoreError
from flowcore.machine.facts import Effect
from flowcore.stores import PostgresStore
from flowcore.stores.base import LEASE_SECONDS
from flowcore.testing import ScriptedModel, function_call


class Counted(State):
    n: int = 0


@pytest.fixture
async def store() -> AsyncIterator[PostgresStore]:
    made = LentStore()
    yield made
    await made.close()


def counting(act: Any, upto: int) -> Graph:
    """So many effects, one after the other."""

    @node(limit=upto + 1)
    async def step(state: Counted, ctx: Context) -> Goto[Literal["again", "enough"]]:
        n = await ctx.once("act", act, state.n, ctx.idempotency_key("act"))
        return Goto("again" if n < upto else "enough", n=n)

    return Graph("counting", Counted, {START: step, step: {"again": step, "enough": END}})


def once_each(done: list[str], facts: list[Any]) -> bool:
    """Whether each effect happened once and was recorded once."""
    return len(done) == len(set(done)) == len([fact for fact in facts if isinstance(fact, Effect)])


# Many


async def test_two_thousand_runs_at_once_have_one_heartbeat_and_one_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted where all statements pass; the connections, by the server."""
    name = "two thousand"
    made = new_store()
    store = PostgresStore(named(made, name), schema=made._names.schema, connections=4)
    asked: Counter[str] = Counter()
    for verb in ("beat", "waiting"):
        monkeypatch.setattr(store, verb, counted(asked, verb, getattr(store, verb)))
    all_there = asyncio.Barrier(2_000)
    connections: list[int] = []

    async def act(n: int, key: str) -> int:
        if n == 1 and await all_there.wait() == 0:
            connections.append(count_connections(name))
        return n + 1

    graph = counting(act, 3)

    async def one(number: int) -> int:
        return int((await (await start(graph, Counted(), store=store, run_id=f"r{number}"))).output["n"])

    begun = time.monotonic()
    async with asyncio.timeout(110):
        results = await asyncio.gather(*map(one, range(2_000)))
    seconds = time.monotonic() - begun
    assert results == [3] * 2_000
    assert asked["waiting"] <= seconds / WATCH_SECONDS + 1
    assert asked["beat"] <= seconds / (LEASE_SECONDS / 4) + 1
    assert max(*connections, count_connections(name)) <= 4 + 3
    schema = store._names.schema
    assert server().ask(f'SELECT count(*) FROM "{schema}".owner') == [(1,)]
    sql = f'SELECT count(*) FROM "{schema}".run WHERE standing = %s AND owner IS NULL'
    assert server().ask(sql, "done") == [(2_000,)]
    await store.close()


def counted(asked: Counter[str], verb: str, ask: Any) -> Any:
    def count(*given: Any) -> Any:
        asked[verb] += 1
        return ask(*given)

    return count


def beating(store: PostgresStore) -> heartbeat.Heartbeat:
    """The heartbeat of this loop's runs in a store."""
    found = lease.holder_of(store)._heart
    assert found is not None
    return found


def named(store: PostgresStore, name: str) -> str:
    """A store's address; its connections are known to the server by this name."""
    return psycopg.conninfo.make_conninfo(store._address.conninfo, application_name=name)


def count_connections(name: str) -> int:
    [(found,)] = server().ask("SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", name)
    return int(found)


async def test_however_many_runs_wait_for_a_late_heartbeat_it_is_one(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: Counter[str] = Counter()
    monkeypatch.setattr(store, "beat", counted(asked, "beat", store.beat))
    late = 0.0

    async def act(n: int, key: str) -> int:
        return n + 1

    runs = [await start(counting(act, 1), Counted(), store=store) for _ in range(40)]
    monkeypatch.setattr(heartbeat, "lease_time", lambda: time.monotonic() + late)
    beating(store).trust(heartbeat.lease_time())
    late = LEASE_SECONDS
    assert {result.standing for result in await asyncio.gather(*runs)} == {"done"}
    assert asked["beat"] <= 3


# Lost connections


@pytest.mark.parametrize("mark", [b"SELECT 1\0", b"COMMIT\0"], ids=["in one statement", "in a transaction"])
async def test_a_run_whose_connection_is_lost_after_each_commit_doesnt_conflict_with_itself(
    tmp_path: Path, mark: bytes
) -> None:
    done: list[str] = []
    calm = LentStore()
    async with Cutter(tmp_path, server()) as cutter:
        store = PostgresStore(cutter.dsn, schema=calm.schema)

        async def act(n: int, key: str) -> int:
            done.append(key)
            if mark.startswith(b"SELECT"):
                cutter.lose(mark)  # the effect's own record
            return n + 1

        class Session(State):
            n: int = 0

        @node(limit=9)
        async def step(state: Session, ctx: Context) -> Goto[Literal["again", "enough"]]:
            keys = ["act"]
            if not mark.startswith(b"SELECT"):  # the second and third wait for the first and go in a transaction
                keys += ["also", "last"]
                cutter.lose(mark)
            done_now = (ctx.once(key, act, state.n, ctx.idempotency_key(key)) for key in keys)
            n, *_ = await asyncio.gather(*done_now)
            await ctx.request(f"q{n}")
            if mark.startswith(b"SELECT"):
                cutter.lose(mark)
            return Goto("again" if n < 5 else "enough", n=n)

        graph = Graph("losing", Session, {START: step, step: {"again": step, "enough": END}})
        run = await start(graph, store=store, run_id="r")
        assert (await run).output == {"n": 5}
        assert cutter.cuts >= 5
        await store.close()
    facts = await calm.read("r")
    assert once_each(done, facts)
    assert [fact.seq for fact in facts] == list(range(len(facts)))
    assert (await calm.get("r")).owner is None
    await calm.close()


async def test_agents_go_on_while_the_servers_connections_are_terminated(store: PostgresStore) -> None:
    done: list[str] = []
    name = "terminated"
    broken = PostgresStore(named(store, name), schema=store._names.schema)

    @function_tool
    async def pay(ctx: ToolContext[Any], order: int) -> str:
        done.append(ctx.idempotency_key)
        if len(done) % 16 == 0:
            sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
            await asyncio.to_thread(server().ask, sql, name)
        return f"paid {order}"

    steps = [
        [function_call("pay", {"order": turn * 2}), function_call("pay", {"order": turn * 2 + 1})] for turn in range(3)
    ]
    clerk = Agent(name="Clerk", model=ScriptedModel.by_turn([*steps, "all paid"]), tools=[pay])
    results = await asyncio.gather(*(Runner.run(clerk, "pay", store=broken) for _ in range(8)))
    assert {result.final_output for result in results} == {"all paid"}
    assert len(done) == len(set(done)) == 8 * 3 * 2
    assert {row.standing for row in (await store.runs()).runs} == {"done"}
    await broken.close()


# A server that stops


@pytest.mark.parametrize("mode", ["immediate", "fast"])
async def test_a_run_goes_on_over_a_stop_of_the_server_and_repeats_nothing(store: PostgresStore, mode: str) -> None:
    done: list[str] = []
    starting: list[asyncio.Future[None]] = []

    async def act(n: int, key: str) -> int:
        done.append(key)
        if n == 3:
            await asyncio.to_thread(server().halt, mode)
            starting.append(asyncio.ensure_future(asyncio.to_thread(server().start)))
        return n + 1

    run = await start(counting(act, 8), Counted(), store=store, run_id="r")
    assert (await run).output == {"n": 8}
    await asyncio.gather(*starting)
    assert once_each(done, await store.read("r"))


async def test_a_run_whose_server_stays_away_rests_with_its_place_and_goes_on_there(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    late = 0.0
    monkeypatch.setattr(heartbeat, "lease_time", lambda: time.monotonic() + late)

    async def act(n: int, key: str) -> int:
        nonlocal late
        done.append(key)
        if n == 3 and not late:
            await asyncio.to_thread(server().halt)
            late = LEASE_SECONDS  # until it's given up
        return n + 1

    run = await start(counting(act, 8), Counted(), store=store, run_id="r")
    with pytest.raises((StoreError, RunConflict)):
        await run
    await asyncio.to_thread(server().start)
    facts = await store.read("r")
    assert [fact.key for fact in facts if isinstance(fact, Effect)] == ["act"] * 3
    recorded = done[:3]
    again = await resume("r", counting(act, 8), store=store)  # by this process: it gives back what it couldn't before
    assert again.place == "step"
    assert (await again).output == {"n": 8}
    assert not set(recorded) & set(done[3:])
    assert done[3] == done[4]  # in flight when the server went: once more, under its key


async def test_a_lease_that_couldnt_be_given_back_is_with_the_next_heartbeat(store: PostgresStore) -> None:
    async def act(n: int, key: str) -> int:
        return n + 1

    held = await start(counting(act, 1), Counted(), store=store, run_id="held")
    left = await start(counting(act, 1), Counted(), store=store, run_id="left")
    await asyncio.to_thread(server().halt)
    await left._let_go()
    await asyncio.to_thread(server().start)
    assert (await store.get("left")).owner == (await store.get("held")).owner
    await held._tree.holder.renew()
    assert (await store.get("left")).owner is None
    assert (await (await resume("left", counting(act, 1), store=store))).output == {"n": 1}


async def test_a_start_or_a_resume_that_is_cancelled_leaves_no_lease_behind(store: PostgresStore) -> None:
    async def act(n: int, key: str) -> int:
        return n + 1

    held = await start(counting(act, 1), Counted(), store=store)  # its heartbeat would keep the others
    for number in range(8):
        starting = asyncio.ensure_future(start(counting(act, 1), Counted(), store=store, run_id=f"r{number}"))
        for _ in range(number + 2):
            await asyncio.sleep(0)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        del starting  # one that was quicker than its cancel has a handle, which holds the run
    gc.collect()
    await store.close()  # waits for what is under way
    async with asyncio.timeout(30):
        while any(row.owner for row in (await store.runs()).runs if row.run != held.id):  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.01)
    for row in (await store.runs()).runs:
        if row.run != held.id:
            assert (await (await resume(row.run, counting(act, 1), store=store))).output == {"n": 1}
