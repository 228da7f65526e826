"""What is only true of a server: lost answers and connections, restarts, other processes, plans, other tables."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import time
import traceback
import uuid
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import stores_postgres
from stores_postgres import Cutter, new_store, server

from flowcore.errors import RunConflict, RunExists, RunNotFound, StoreError, UserError
from flowcore.stores import (
    PostgresStore,
    checksums,
    open_store,
    postgres_pool,
    postgres_read,
    postgres_steps,
    postgres_write,
)
from flowcore.stores.base import Claim, IndexRow, Letter, SessionWrite
from flowcore.testing.store_suite.making import asking, begin, fork_of, member, move, owner, question, row

ME, OTHER = owner("me"), owner("other")


def kill_connections() -> None:
    """Every connection of a store ends, as by an administrator."""
    server().ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'flowcore'")


# Lost answers and connections


async def _append(store: PostgresStore) -> None:
    claim = await store.claim("r", ME)
    assert await store.append([member("r", move(1))], claim) == [None]


async def _append_more(store: PostgresStore) -> None:
    claim = await store.claim("r", ME)
    one = member("r", move(1), opened=[question("r", "q")], writes=[SessionWrite("s", 1, ["item"])])
    assert await store.append([one, member("r", move(2), closed=["q"])], claim) == [None, None]


async def _admit(store: PostgresStore) -> None:
    claim = await store.admit(begin("new"), ME)
    assert await store.append([member("new", move(1))], claim) == [None]


async def _claim(store: PostgresStore) -> None:
    claim = await store.claim("r", ME)
    assert claim.epoch == 2
    assert await store.append([member("r", move(1))], claim) == [None]


async def _release(store: PostgresStore) -> None:
    claim = await store.claim("r", ME)
    assert await store.release("r", claim)


async def _signal(store: PostgresStore) -> None:
    assert await store.signal(Letter("r", "1", "input", None, "hello"))


async def _delete(store: PostgresStore) -> None:
    await store.delete("r")


LOST: list[tuple[Callable[[PostgresStore], Any], bytes, int, dict[str, Any]]] = [
    (_append, b"SELECT 1\0", 1, {"facts": 2}),
    (_append_more, b"COMMIT\0", 0, {"facts": 3, "items": 1}),
    (_admit, b"SELECT 1\0", 0, {"facts": 3}),
    (_claim, b"SELECT 1\0", 0, {"facts": 2}),
    (_release, b"SELECT 1\0", 1, {"facts": 1}),
    (_signal, b"SELECT 1\0", 0, {"facts": 1, "letters": 1}),
    (_delete, b"COMMIT\0", 0, {"facts": 0}),
]


@pytest.mark.parametrize(("act", "mark", "first", "holds"), LOST, ids=lambda one: getattr(one, "__name__", None))
async def test_a_connection_lost_after_its_commit_changes_nothing(
    tmp_path: Path, act: Any, mark: bytes, first: int, holds: dict[str, int]
) -> None:
    calm = new_store()
    assert await calm.release("r", await calm.admit(begin("r"), ME))
    async with Cutter(tmp_path, server()) as cutter:
        store = PostgresStore(cutter.dsn, schema=calm._names.schema)
        await store.due(0.0)  # connected
        await (await store._lane().pool.appender()).execute("SELECT")
        if first:  # what comes before isn't lost
            claimed = store.claim

            async def claim_then_lose(*given: Any) -> Any:
                found = await claimed(*given)
                cutter.lose(mark)
                return found

            store.claim = claim_then_lose  # type: ignore[method-assign]
        else:
            cutter.lose(mark)
        await act(store)
        assert cutter.cuts == 1
        await store.close()
    sql = '(SELECT count(*) FROM "{0}".fact), (SELECT count(*) FROM "{0}".session_item)'
    sql += ', (SELECT count(*) FROM "{0}".letter), (SELECT count(*) FROM "{0}".request)'
    [found] = server().ask("SELECT " + sql.format(calm._names.schema))
    assert found == (holds["facts"], holds.get("items", 0), holds.get("letters", 0), 0)
    await calm.close()


async def test_a_lost_connection_is_replaced_before_anybody_notices() -> None:
    store = new_store()
    claim = await store.admit(begin("r"), ME)
    for seq in range(1, 4):
        assert await store.append([member("r", move(seq))], claim) == [None]
        kill_connections()
        assert len(await store.read("r")) == seq + 1
        kill_connections()
    await store.close()


async def test_a_server_that_is_gone_is_a_store_error_and_once_it_is_back_all_goes_on() -> None:
    store = new_store(timeout=2.0)
    claim = await store.admit(begin("r"), ME)
    server().halt()
    try:
        with pytest.raises(StoreError, match="Postgres database 'postgres'"):
            await store.append([member("r", move(1))], claim)
        with pytest.raises(StoreError):
            await store.read("r")
    finally:
        server().start()
    assert await store.append([member("r", move(1))], claim) == [None]
    assert len(await store.read("r")) == 2
    await store.close()


# Who writes at the same time


async def test_what_is_ready_at_the_same_time_shares_a_transaction() -> None:
    store = new_store()
    await store.due(0.0)
    lane = store._lane()

    async def whole(run: str) -> None:
        claim = await store.admit(begin(run), ME)
        for seq in range(1, 6):
            assert await store.append([member(run, move(seq))], claim) == [None]
        ended = member(run, move(6), index=row(run, standing="done"), writes=[SessionWrite("s", 6, [run])])
        assert await store.append([ended], claim) == [None]
        assert await store.release(run, claim)

    runs = [f"r{number}" for number in range(200)]
    await asyncio.gather(*map(whole, runs))
    assert lane.commits <= 25  # for 1,600 admissions, appends and releases
    assert [len(await store.read(run)) for run in runs[:3]] == [7, 7, 7]
    assert {one.item for one in await store.session_items("s")} == set(runs)
    await store.close()


async def test_of_what_shares_a_transaction_only_what_is_refused_is_refused() -> None:
    store = new_store()
    runs = ["kept", "stale", "asked", "base"]
    claims = {run: await store.admit(begin(run), ME) for run in runs}
    assert await store.append([member("base", move(1))], claims["base"]) == [None]
    assert await store.release("base", claims["base"])
    assert await store.signal(Letter("asked", "1", "input"))
    stale = replace(claims["stale"], epoch=9)
    answers = await asyncio.gather(
        store.admit(begin("new"), ME),
        store.admit(begin("kept"), ME),
        store.admit(fork_of("fork", "base", 1), ME),
        store.admit(fork_of("long", "base", 2), ME),
        store.admit(fork_of("none", "nobody", 2), ME),
        store.append([member("stale", move(1)), asking("stale", 2, "q")], stale),
        store.append([asking("asked", 1, "q"), member("asked", move(2)), member("asked", move(9))], claims["asked"]),
        store.release("base", claims["base"]),
        store.release("nobody", claims["base"]),
        return_exceptions=True,
    )
    told = [[*map(type, one)] if isinstance(one, list) else type(one) for one in answers]
    no = RunConflict
    assert told == [Claim, RunExists, Claim, no, RunNotFound, [no, no], [type(None), type(None), no], no, RunNotFound]
    assert [await store.release("asked", claims["asked"], known) for known in (0, 1)] == [False, True]
    assert [len(await store.read(run)) for run in ("new", "fork", "kept", "stale", "asked")] == [1, 3, 1, 1, 3]
    assert [one.run for one in await store.requests()] == ["asked"]
    await store.close()


async def test_batches_signals_and_sessions_of_two_stores_never_lock_each_other_out() -> None:
    first = new_store()
    second = PostgresStore(server().dsn, schema=first._names.schema)
    claims = {}
    for number in range(10):
        for store, name in ((first, "a"), (second, "b")):
            claims[store, f"{name}{number}"] = await store.admit(begin(f"{name}{number}"), ME)

    async def write(store: PostgresStore, run: str, back: bool) -> None:
        sessions = ["s1", "s2", "s3"][:: -1 if back else 1]
        for seq in range(1, 6):
            one = member(run, move(seq), writes=[SessionWrite(name, seq, [run]) for name in sessions])
            assert await store.append([one], claims[store, run]) == [None]

    async def send(store: PostgresStore, run: str) -> None:
        for number in range(5):
            assert await store.signal(Letter(run, f"{id(store)}{number}", "input"))

    await asyncio.gather(
        *(write(store, run, index % 2 == 0) for index, (store, run) in enumerate(claims)),
        *(send(store, run) for _, run in claims for store in (first, second)),
    )
    for name in ("s1", "s2", "s3"):
        assert len(await first.session_items(name)) == 100
    assert len(await second.inbox("a3")) == 10
    assert server().ask("SELECT deadlocks FROM pg_stat_database WHERE datname = 'postgres'") == [(0,)]
    await first.close()
    await second.close()


async def test_of_many_who_claim_a_run_one_gets_it() -> None:
    stores = [new_store()]
    stores += [PostgresStore(server().dsn, schema=stores[0]._names.schema) for _ in range(3)]
    assert await stores[0].release("r", await stores[0].admit(begin("r"), ME))
    who = [owner(f"owner {number}") for number in range(12)]
    found = await asyncio.gather(
        *(stores[number % 4].claim("r", one) for number, one in enumerate(who)), return_exceptions=True
    )
    assert sorted(type(one).__name__ for one in found) == ["Claim"] + ["RunConflict"] * 11
    for store in stores:
        await store.close()


def test_processes_that_start_at_once_make_one_schema_and_write_side_by_side() -> None:
    script, schema = stores_postgres.__file__, f"race {uuid.uuid4()}"
    workers = [subprocess.Popen([sys.executable, script, server().dsn, schema]) for _ in range(2)]
    assert [worker.wait(60) for worker in workers] == [0, 0]
    assert server().ask(f'SELECT count(*) FROM "{schema}".fact') == [(102,)]
    assert server().ask(f'SELECT count(*) FROM "{schema}".session_item') == [(20,)]


async def test_an_append_whose_caller_was_cancelled_hurts_nobody() -> None:
    store = new_store()
    claims = [await store.admit(begin(run), ME) for run in ("r", "s")]
    gone = asyncio.ensure_future(store.append([member("r", move(1))], claims[0]))
    other = asyncio.ensure_future(store.append([member("s", move(1))], claims[1]))
    await asyncio.sleep(0)
    gone.cancel()
    assert await other == [None]
    assert await store.append([member("r", move(1))], claims[0]) == [None]  # written already, or now
    await store.close()


async def test_a_writer_that_is_cancelled_before_it_begins_leaves_no_append_waiting() -> None:
    store = new_store()
    claim = await store.admit(begin("r"), ME)
    broken = asyncio.ensure_future(store.append([member("r", move(1))], claim))
    await asyncio.sleep(0)
    store._lane()._writer.cancel()  # type: ignore[union-attr]
    with pytest.raises(StoreError, match="broken off"):
        await broken
    assert await store.append([member("r", move(1))], claim) == [None]
    await store.close()


async def test_what_is_cancelled_at_whatever_moment_leaves_no_connection_in_its_transaction() -> None:
    store = new_store(connections=3)
    await store.due(0.0)
    for moment in range(40):
        before = asyncio.all_tasks()
        four = [asyncio.ensure_future(store.admit(begin(f"{moment}.{number}"), ME)) for number in range(4)]
        await asyncio.sleep(moment * 0.0003)
        left = {*four, *asyncio.all_tasks() - before}  # as when the loop ends: what the store does by itself, too
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        claim = await store.admit(begin(f"{moment}"), ME)
        assert await store.append([member(f"{moment}", move(1))], claim) == [None]
        assert await store.signal(Letter(f"{moment}", "1", "input"))
        assert await store.release(f"{moment}", claim, 1)
    sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'flowcore' AND xact_start IS NOT NULL"
    assert server().ask(sql) == [(0,)]
    await store.close()


async def test_who_is_cancelled_leaves_at_once_and_what_was_asked_is_done() -> None:
    store = new_store()
    claim = await store.admit(begin("r"), ME)
    releasing = asyncio.ensure_future(store.release("r", claim))
    await asyncio.sleep(0)
    releasing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await releasing
    await store.close()  # waits for what is under way
    again = PostgresStore(server().dsn, schema=store._names.schema)
    assert (await again.claim("r", OTHER)).epoch == 2
    await again.close()


async def test_a_value_that_the_database_cannot_keep_refuses_its_member_alone() -> None:
    store = new_store()
    claim = await store.admit(begin("r"), ME)
    answers = await store.append(
        [member("r", move(1), index=row("r", turns=2**70)), member("r", move(1), index=row("r", turns=7))], claim
    )
    assert isinstance(answers[0], StoreError)
    assert answers[1] is None
    await store.close()


async def test_what_is_deleted_is_gone_at_once_and_freed_in_pieces_by_whoever_deletes_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(postgres_write, "PIECE_ROWS", 20)
    store = new_store()
    facts = [move(seq) for seq in range(1, 50)]
    claim = await store.admit(member("a", *begin("a").facts, *facts, index=row("a", standing="done")), ME)
    child = member("a/n.1/k", *begin("a/n.1/k", "a").facts, *facts[:10], root="a", writes=[SessionWrite("s", 1, ["x"])])
    assert await store.append([child], claim) == [None]
    await store.release("a", claim)
    await store.release("f", await store.admit(fork_of("f", "a", 3), ME))
    table = store._names.table
    assert not await store._pool().do(postgres_write.delete(store._names, "a"))  # and its process ends
    for run in ("a", "a/n.1/k"):
        with pytest.raises(RunNotFound):
            await store.read(run)
    with pytest.raises(RunExists):
        await store.admit(begin("a"), ME)
    assert server().ask(f"SELECT count(*) FROM {table('fact')}") == [(62 - 20,)]
    assert await store.prune(1e9) == []
    assert server().ask(f"SELECT count(*) FROM {table('fact')}") == [(5,)]
    assert server().ask(f"SELECT id, base_seq, loose FROM {table('kept')}") == [(b"a", None, False)]
    assert [fact.seq for fact in await store.read("f")] == [0, 1, 2, 3, 4]
    assert [one.item for one in await store.session_items("s")] == ["x"]
    await store.delete("f")
    await store.admit(begin("a"), ME)
    assert server().ask(f"SELECT count(*) FROM {table('fact')}") == [(1,)]
    await store.close()


# Loops, threads and forks


def test_one_store_is_used_from_many_event_loops_and_leaves_nothing_open() -> None:
    store = new_store()

    async def use(run: str) -> None:
        claim = await store.admit(begin(run), ME)
        assert await asyncio.gather(store.append([member(run, move(1))], claim), store.get(run))

    async def two_at_once() -> None:
        await asyncio.gather(use("here"), asyncio.to_thread(lambda: asyncio.run(use("there"))))
        await store.close()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(3):
            asyncio.run(use(f"r{number}"))
        asyncio.run(two_at_once())
        gc.collect()
    sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'flowcore'"
    end = time.monotonic() + 30
    while server().ask(sql) != [(0,)] and time.monotonic() < end:  # the server takes a moment to see it
        time.sleep(0.01)
    assert server().ask(sql) == [(0,)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # forking is the test
def test_a_forked_child_connects_by_itself_and_its_parent_goes_on() -> None:
    store = new_store()
    runner = asyncio.Runner()
    claim = runner.run(store.admit(begin("r"), ME))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if asyncio.run(store.append([member("r", move(1))], claim)) == [None] else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert runner.run(store.append([member("r", move(2))], claim)) == [None]
    assert len(runner.run(store.read("r"))) == 3
    runner.run(store.close())
    runner.close()


# The schema


@pytest.mark.parametrize("schema", ['a "quoted" %s; DROP', "ünïcode $1 '", "x" * 63, "Flow$body"])
async def test_a_schema_may_have_any_name(schema: str) -> None:
    store = PostgresStore(server().dsn, schema=schema)
    claim = await store.admit(begin("r"), ME)
    assert await store.append([member("r", move(1)), asking("r", 2, "q")], claim) == [None, None]
    assert await store.signal(Letter("r", "1", "answer", "q", 1))
    assert await store.waiting(ME) == ["r"]
    assert await store.release("r", claim, 1)
    assert [one.run for one in (await store.runs()).runs] == ["r"]
    await store.delete("r")
    await store.close()


@pytest.mark.parametrize("schema", ["", "x" * 64, "a\0b", "pg_own", "\ud800"])
def test_a_schema_name_that_postgres_would_not_take_is_refused(schema: str) -> None:
    with pytest.raises(UserError, match="schema"):
        PostgresStore("postgresql://localhost/x", schema=schema)


async def test_other_tables_in_the_database_are_left_alone_and_never_taken_for_ours() -> None:
    server().ask("CREATE SCHEMA theirs CREATE TABLE run (name text) CREATE TABLE mine (name text)")
    store = PostgresStore(server().dsn, schema="theirs")
    with pytest.raises(StoreError, match="another application's tables"):
        await store.get("r")
    await store.close()
    server().ask("DROP TABLE theirs.run")
    store = PostgresStore(server().dsn, schema="theirs")
    await store.admit(begin("r"), ME)
    await store.close()
    assert server().ask("SELECT count(*) FROM theirs.mine") == [(0,)]


async def test_a_newer_schema_is_refused_and_both_versions_are_named() -> None:
    store = new_store()
    await store.due(0.0)
    await store.close()
    server().ask(f'UPDATE "{store._names.schema}".flowcore_store SET version = 7')
    with pytest.raises(StoreError, match=r"newer flowcore wrote it \(schema 7, this one knows 3\)"):
        await store.due(0.0)
    server().ask(f'UPDATE "{store._names.schema}".flowcore_store SET version = 1')
    with pytest.raises(StoreError, match="schema version 1, from before flowcore's first release"):
        await store.due(0.0)
    await store.close()


async def test_a_schema_of_the_version_before_is_brought_up_to_date_and_serves_older_processes_on() -> None:
    made, store = new_store(), new_store()
    claim = await made.admit(begin("called"), ME)
    assert await made.append([member("called", move(1), index=row("called", standing="waiting"))], claim) == [None]
    await made.release("called", claim)
    await made.admit(begin("held", at=90.0), owner("far"))
    assert await made.signal(Letter("called", "1", "input"))
    await made.close()
    names, old = made._names, store._names
    server().ask(f'CREATE SCHEMA "{old.schema}"; ' + old.script(postgres_steps.STEPS[1]).decode())
    for table in ("fact", "run", "owner", "letter"):
        columns = "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s"
        there = ", ".join(f'"{name}"' for (name,) in server().ask(columns, old.schema, table))
        server().ask(
            f"INSERT INTO {old.table(table)} ({there}) OVERRIDING SYSTEM VALUE SELECT {there} FROM {names.table(table)}"
        )
    assert await store.due(0.0) == ["called"]
    claim = await store.claim("called", ME)
    assert await store.append([member("called", move(2), consumed=["1"])], claim) == [None]
    assert await store.release("called", claim)
    assert await store.due(0.0) == []
    schema = f'"{old.schema}"'
    sent = f"SELECT {schema}.signal('called', '2', 'input', NULL, 1.0, '00000000null')"
    assert server().ask(sent) == [("sent",)]  # by a process that connected before the migration
    assert await store.due(0.0) == ["called"]
    assert (await store.claim("called", ME)).epoch == 3
    given = f"SELECT given FROM {schema}.release('called', 3, 1)"
    assert server().ask(given) == [(True,)]
    assert await store.due(0.0) == []
    assert [fact.seq for fact in await store.read("called")] == [0, 1, 2]
    await store.close()


# What is told


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://somebody:s3cret%40x@127.0.0.1:1/db",
        "host=127.0.0.1 port=1 password='s3cret@x' dbname=db",
        "postgresql://somebody:s3cret@x@[nowhere/db",
        "password='s3cret@x' nonsense",
        "mysql://somebody:s3cret@x/db",
        "postgresql+asyncpg://somebody:s3cret@x/db",
    ],
)
async def test_no_error_tells_the_password(dsn: str) -> None:
    async def use() -> None:
        store = open_store(dsn) if "://" in dsn else PostgresStore(dsn)
        assert "s3cret" not in repr(store)
        await store.get("r")

    with pytest.raises((StoreError, UserError)) as caught:
        await use()
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_without_the_driver_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    postgres_pool.driver.cache_clear()
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(UserError, match=r"pip install 'flowcore\[postgres\]'"):
        open_store("postgres://localhost/x")
    postgres_pool.driver.cache_clear()


# Plans


async def test_a_page_of_100_000_runs_is_read_by_an_index_and_reads_no_journal() -> None:
    store = new_store()
    await store.due(0.0)
    schema = f'"{store._names.schema}"'
    fixed, sums = [], []
    for n in range(1, 100_001):
        standing: Any = "done" if n % 3 else "waiting"
        one = IndexRow(f"run{n}", f"run{n}", None, "g", "f", standing, "n", n, n, turns=1, tokens=1)
        fixed.append(checksums.fixed_sum(one.run, one.run, None, n, None, None))
        sums.append(checksums.changing_sum(one.run, one, 0))
    server().ask(
        f"""INSERT INTO {schema}.run SELECT name, name, NULL, NULL, 1, NULL, 0, 'g', 'f',
        CASE WHEN n %% 3 = 0 THEN 'waiting' ELSE 'done' END, 'n', n, n, NULL, 1, 1, '', NULL, NULL, NULL, 0, fixed, sum
        FROM (
            SELECT n, fixed, sum, convert_to('run' || n, 'UTF8') AS name
            FROM unnest(%s::bigint[], %s::bigint[]) WITH ORDINALITY AS one (fixed, sum, n)
        ) AS made""",
        fixed,
        sums,
    )
    page = await store.runs(standing="waiting", limit=50)
    assert [one.run for one in page.runs[:2]] == ["run99999", "run99996"]
    least = min([await _seconds(store.runs(standing="waiting", limit=50, after=page.after)) for _ in range(5)])
    assert least < 0.1  # some 2 ms, on a machine that does nothing else

    async def plan(connection: Any, again: bool) -> str:
        given = {"standing": "waiting", "created": 5e4, "run": b"", "limit": 50, "root": None}
        sql = b"EXPLAIN ANALYZE " + store._names.sql(postgres_read.RUNS[True, False])
        return "\n".join([line for (line,) in await (await connection.execute(sql, given)).fetchall()])

    told = await store._pool().do(plan)
    assert "run_standing" in told
    assert "Seq Scan" not in told
    journals = [line for line in told.splitlines() if "fact_pkey" in line]
    assert journals
    assert all("never executed" in line for line in journals)
    await store.close()


async def _seconds(what: Any) -> float:
    began = time.perf_counter()
    await what
    return time.perf_counter() - began


# The command line


def test_the_command_line_takes_a_dsn(tmp_path: Path) -> None:
    (tmp_path / "ask.py").write_text(GRAPH)
    where = ["--store", server().dsn]

    def flowcore(*words: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "flowcore", *words, *where]
        env = {**os.environ, "COLUMNS": "200"}
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=env)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    flowcore("run", "ask.py", "hello", "--run-id", "r", "--no-input", code=3)
    assert "waiting" in flowcore("runs")
    flowcore("approve", "r")
    assert "go ahead" in flowcore("resume", "r", "ask.py")
    assert "done" in flowcore("show", "r")


GRAPH = """
from flowcore import Agent, function_tool
from flowcore.testing import ScriptedModel, function_call

@function_tool(needs_approval=True)
def pay(cents: int) -> str:
    return "paid"

model = ScriptedModel.by_turn([[function_call("pay", {"cents": 5})], "go ahead"])
graph = Agent(name="payer", model=model, tools=[pay])
"""
