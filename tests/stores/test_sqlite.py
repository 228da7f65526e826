"""What is only true of a file: other processes, threads, damage, and when things are committed."""

from __future__ import annotations

import asyncio
import gc
import os
import sqlite3
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from flowcore.errors import RunConflict, RunExists, RunNotFound, StoreError, UserError
from flowcore.stores import MemoryStore, SqliteStore, Store, open_store, sqlite_write
from flowcore.stores.base import LEASE_SECONDS, Claim, Letter, Owner, SessionWrite
from flowcore.stores.sqlite_file import CHECKPOINT_PAGES
from flowcore.testing.store_suite.making import begin, dead_owner, far_owner, fork_of, member, move, owner, row

ME, OTHER = owner("me"), owner("other")
SCRIPT = Path(__file__).with_name("stores_process.py")


@contextmanager
def file_of(store: SqliteStore) -> Iterator[sqlite3.Connection]:
    """A look into the file past the store."""
    connection = sqlite3.connect(store.path, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def locked(store: SqliteStore) -> Iterator[None]:
    """Another writer keeps the file."""
    with file_of(store) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def names_in(folder: str | Path) -> list[str]:
    return sorted(os.listdir(folder))


def size_of(path: str) -> int:
    return os.path.getsize(path)


def process(what: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(SCRIPT), what, str(path)], stdout=subprocess.PIPE, text=True
    )


# The file


async def test_a_file_that_is_no_database_is_named_in_the_error(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no database at all, but a text that is long enough to be looked at" * 20)
    store = SqliteStore(path)
    for _ in range(2):
        with pytest.raises(StoreError, match=rf"{path}: it is not a database"):
            await store.get("r")
    with pytest.raises(StoreError, match="not a database"):
        await store.admit(begin("r"), ME)
    await store.close()
    assert path.read_text().startswith("no database")


async def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE mine (x)")
    connection.close()
    before = path.read_bytes()
    store = SqliteStore(path)
    with pytest.raises(StoreError, match="not a flowcore store"):
        await store.runs()
    await store.close()
    assert path.read_bytes() == before


async def test_a_newer_flowcores_file_is_refused(sqlite: SqliteStore) -> None:
    await sqlite.admit(begin("r"), ME)
    await sqlite.close()
    with file_of(sqlite) as connection:
        connection.execute("PRAGMA user_version=99")
    with pytest.raises(StoreError, match=r"newer flowcore wrote it \(schema 99"):
        await sqlite.get("r")


@pytest.mark.parametrize("version", [1, 4])
async def test_a_file_of_an_earlier_version_is_brought_up_to_date(sqlite: SqliteStore, version: int) -> None:
    await sqlite.admit(begin("r"), dead_owner("dead"))
    claim = await sqlite.admit(begin("called"), ME)
    assert await sqlite.append([member("called", move(1), index=row("called", standing="waiting"))], claim) == [None]
    await sqlite.release("called", claim)
    assert await sqlite.signal(Letter("called", "1", "input"))
    await sqlite.close()
    with file_of(sqlite) as connection:
        connection.execute("DROP TRIGGER letter_came")
        connection.execute("DROP TRIGGER letter_went")
        connection.execute("DROP INDEX kept_loose")
        connection.execute("ALTER TABLE kept DROP COLUMN loose")
        later = {4: (["run_called", "run_loose"], ["letters"])}
        later[1] = (["run_held", "request_opened", *later[4][0]], ["head", "fixed", "sum", "letters"])
        for index in later[version][0]:
            connection.execute(f"DROP INDEX {index}")
        for column in later[version][1]:
            connection.execute(f"ALTER TABLE run DROP COLUMN {column}")
        if version == 1:  # without their checksums
            connection.execute("UPDATE fact SET payload = substr(payload, 9)")
            connection.execute("UPDATE letter SET value = substr(value, 9)")
        connection.execute(f"PRAGMA user_version={version}")
    assert [index.run for index in (await sqlite.abandoned()).runs] == ["r"]
    assert len(await sqlite.read("r")) == 1
    assert await sqlite.due(0.0) == ["called", "r"]
    claim = await sqlite.claim("called", ME)
    assert await sqlite.append([member("called", move(2), consumed=["1"])], claim) == [None]
    assert await sqlite.release("called", claim)
    assert await sqlite.due(0.0) == ["r"]
    with file_of(sqlite) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (6,)


async def test_a_directory_is_made_and_a_file_in_its_place_is_an_error(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "a" / "b" / "runs.db")
    await store.admit(begin("r"), ME)
    await store.close()
    assert names_in(tmp_path / "a" / "b") == ["runs.db"]
    for wrong in (tmp_path / "a", tmp_path / "a" / "b" / "runs.db" / "c.db"):
        store = SqliteStore(wrong)
        with pytest.raises(StoreError, match=str(wrong)):
            await store.runs()
        await store.close()


async def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "runs.db").close()
    store = SqliteStore(tmp_path / "runs.db")
    await store.admit(begin("r"), ME)
    await store.close()


async def test_nothing_is_made_before_the_first_use(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "runs.db")
    assert names_in(tmp_path) == []


async def test_closing_brings_everything_into_one_file_and_the_store_can_be_used_again(
    sqlite: SqliteStore,
) -> None:
    await sqlite.admit(begin("r"), ME)
    await sqlite.close()
    await sqlite.close()
    assert names_in(os.path.dirname(sqlite.path)) == ["runs.db"]
    assert len(await sqlite.read("r")) == 1


async def test_a_store_that_is_collected_closes_itself_without_a_warning(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store = SqliteStore(tmp_path / "runs.db", synchronous="NORMAL")
        claim = await store.admit(begin("r"), ME)
        await store.append([member("r", move(1))], claim)
        before = threading.active_count()
        del store
        gc.collect()
        deadline = time.monotonic() + 5
        while threading.active_count() >= before and time.monotonic() < deadline:  # noqa: ASYNC110 (a thread's end sets no event)
            await asyncio.sleep(0.01)
        gc.collect()
    assert names_in(tmp_path) == ["runs.db"]
    assert len(await SqliteStore(tmp_path / "runs.db").read("r")) == 2


def test_a_process_may_end_without_closing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", str(SCRIPT), "leave", str(tmp_path / "runs.db")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert names_in(tmp_path) == ["runs.db"]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("UPDATE fact SET payload = x'00ff' WHERE seq = 1", "fact 1"),
        ("UPDATE fact SET payload = 7 WHERE seq = 1", "fact 1"),
        ("UPDATE fact SET kind = 'unheard' WHERE seq = 1", "fact 1: its checksum doesn't fit"),
        ("UPDATE fact SET at = at + 1 WHERE seq = 1", "fact 1: its checksum doesn't fit"),
        (
            "UPDATE fact SET payload = (SELECT payload FROM fact WHERE seq = 2) WHERE seq = 0",
            "fact 0: its checksum doesn't fit",
        ),
        ("DELETE FROM fact WHERE seq = 1", "fact 1 is missing"),
        ("DELETE FROM fact WHERE seq = 2", "fact 2 is missing"),
        ("DELETE FROM fact", "fact 0 is missing"),
    ],
)
async def test_a_damaged_journal_is_an_error_that_names_run_and_file(
    sqlite: SqliteStore, damage: str, said: str
) -> None:
    claim = await sqlite.admit(begin("r"), ME)
    await sqlite.append([member("r", move(1), move(2), index=row("r"))], claim)
    with file_of(sqlite) as connection:
        connection.execute(damage)
    with pytest.raises(StoreError, match=said) as caught:
        await sqlite.read("r")
    assert "run 'r'" in str(caught.value)
    assert sqlite.path in str(caught.value)


async def test_a_file_that_loses_its_tables_is_a_store_error(sqlite: SqliteStore) -> None:
    claim = await sqlite.admit(begin("r"), ME)
    with file_of(sqlite) as connection:
        connection.execute("DROP TABLE fact")
    for ask in (sqlite.read("r"), sqlite.append([member("r", move(1))], claim)):
        with pytest.raises(StoreError, match="no such table"):
            await ask


# Leases


async def test_a_stalled_writer_whose_lease_was_taken_cannot_append(sqlite: SqliteStore) -> None:
    stalled = await sqlite.admit(begin("r"), far_owner("far"))
    with file_of(sqlite) as connection:
        connection.execute("UPDATE owner SET expires = expires - ?", (LEASE_SECONDS + 1,))
    assert (await sqlite.get("r")).owner is None
    assert await sqlite.due(0.0) == ["r"]
    taken = await sqlite.claim("r", ME)
    sqlite.beat(far_owner("far"))
    [refused] = await sqlite.append([member("r", move(1))], stalled)
    assert isinstance(refused, RunConflict)
    with pytest.raises(RunConflict):
        await sqlite.release("r", stalled)
    assert await sqlite.append([member("r", move(1))], taken) == [None]


async def test_a_heartbeat_keeps_all_leases_of_its_owner(sqlite: SqliteStore) -> None:
    await sqlite.admit(begin("r"), far_owner("far"))
    with file_of(sqlite) as connection:
        connection.execute("UPDATE owner SET expires = expires - ?", (LEASE_SECONDS + 1,))
        sqlite.beat(far_owner("far"))
        with pytest.raises(RunConflict):
            await sqlite.claim("r", ME)
        connection.execute("UPDATE owner SET expires = expires - 200000")
        sqlite.beat(ME)
        assert connection.execute("SELECT id FROM owner").fetchall() == [("me",)]
    await sqlite.claim("r", ME)


def test_a_killed_process_loses_its_lease_at_once(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    holder = process("hold", path)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"

        async def take() -> Claim:
            store = SqliteStore(path)
            try:
                return await store.claim("r", Owner.this_process())
            finally:
                await store.close()

        with pytest.raises(RunConflict, match=f"process {holder.pid}"):
            asyncio.run(take())
        holder.kill()
        holder.wait()
        assert asyncio.run(take()).epoch == 2
    finally:
        holder.kill()
        holder.communicate()


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    racers = [process("race", path) for _ in range(4)]
    assert [racer.communicate()[0] for racer in racers] == ["done\n"] * 4
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*), max(seq) FROM fact GROUP BY run").fetchall() == [(301, 300)] * 4
    connection.close()


# Commits


async def test_runs_that_wait_share_a_commit(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "runs.db")
    claims = await asyncio.gather(*(store.admit(begin(f"r{n}"), ME) for n in range(100)))
    file = store._open()
    before = file.commits
    for seq in range(1, 6):
        answers = await asyncio.gather(
            *(store.append([member(f"r{n}", move(seq))], claim) for n, claim in enumerate(claims))
        )
        assert answers == [[None]] * 100
    assert file.commits - before <= 15
    assert file.direct == 0
    await store.close()


async def test_in_a_shared_commit_each_caller_has_its_own_answer(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "runs.db")
    claims = await asyncio.gather(*(store.admit(begin(f"r{n}"), ME) for n in range(10)))
    answers = await asyncio.gather(
        *(store.append([member(f"r{n}", move(1 + n % 2))], claim) for n, claim in enumerate(claims)),
        store.admit(begin("r0"), OTHER),
        store.claim("r1", OTHER),
        store.admit(begin("s"), OTHER),
        return_exceptions=True,
    )
    assert [answer[0] is None for answer in answers[:10]] == [True, False] * 5
    assert [type(answer).__name__ for answer in answers[10:]] == ["RunExists", "RunConflict", "Claim"]
    assert len(await store.read("r0")) == 2
    await store.close()


async def test_under_normal_an_append_is_done_on_the_callers_thread(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "runs.db", synchronous="NORMAL")
    claim = await store.admit(begin("r"), ME)
    file = store._open()
    commits, direct = file.commits, file.direct
    for seq in range(1, 11):
        assert store.append_now([member("r", move(seq))], claim) == [None]
    assert (file.commits, file.direct) == (commits, direct + 10)
    await store.close()


async def test_a_busy_file_is_waited_for_by_the_thread_and_never_by_the_loop(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "runs.db", synchronous="NORMAL")
    claim = await store.admit(begin("r"), ME)
    with locked(store):
        assert store.append_now([member("r", move(1))], claim) is None
        began = time.monotonic()
        waiting = asyncio.ensure_future(store.append([member("r", move(1))], claim))
        sending = asyncio.ensure_future(store.signal(Letter("r", "1", "stop")))
        await asyncio.sleep(0.05)
        assert time.monotonic() - began < 1.0
        assert not waiting.done()
        assert len(await store.read("r")) == 1
    assert await waiting == [None]
    assert await sending
    commits = store._open().commits
    assert store.append_now([member("r", move(2))], claim) == [None]
    assert store._open().commits == commits
    await store.close()


async def test_a_file_that_stays_busy_is_a_store_error_and_the_same_append_succeeds_later(sqlite: SqliteStore) -> None:
    claim = await sqlite.admit(begin("r"), ME)
    await sqlite.close()
    impatient = SqliteStore(sqlite.path, synchronous=sqlite.synchronous, busy_timeout=0.05)
    await impatient.get("r")
    with locked(sqlite):
        answers = await asyncio.gather(
            impatient.append([member("r", move(1))], claim),
            asyncio.to_thread(impatient.beat, ME),
            return_exceptions=True,
        )
        assert [type(answer) for answer in answers] == [StoreError, StoreError]
        assert "busy_timeout" in str(answers[0])
        assert answers[0] is not answers[1]
    assert await impatient.append([member("r", move(1))], claim) == [None]
    await impatient.close()


async def test_a_full_disk_fails_all_that_wait_and_nothing_is_half_written(sqlite: SqliteStore) -> None:
    claim = await sqlite.admit(begin("r"), ME)
    await sqlite.get("r")
    file = sqlite._open()
    connections = [file._writer, file._caller.connection if file._caller else None]
    pages = [one.execute("PRAGMA page_count").fetchone()[0] for one in connections if one]
    for one in connections:
        if one:
            one.execute(f"PRAGMA max_page_count={max(pages)}")
    large = member("r", move(1), move(2, text="x" * 100_000))
    with pytest.raises(StoreError, match="full"):
        await sqlite.append([large], claim)
    assert len(await sqlite.read("r")) == 1
    for one in connections:
        if one:
            one.execute("PRAGMA max_page_count=1000000")
    assert await sqlite.append([large], claim) == [None]


async def test_the_log_is_brought_into_the_file_while_a_run_goes_on(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "runs.db", synchronous="NORMAL")
    claim = await store.admit(begin("r"), ME)
    for seq in range(1, 2 * CHECKPOINT_PAGES):
        answers = store.append_now([member("r", move(seq))], claim)
        if answers is None:
            answers = await store.append([member("r", move(seq))], claim)
        assert answers == [None]
        if seq % 100 == 0:
            await asyncio.sleep(0.001)
    assert size_of(store.path) > 100_000
    assert size_of(store.path + "-wal") < 4096 * 6 * CHECKPOINT_PAGES
    await store.close()


async def test_a_caller_that_is_cancelled_leaves_the_others_alone(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "runs.db")
    claim = await store.admit(begin("r"), ME)
    other = await store.admit(begin("s"), ME)
    leaving = asyncio.ensure_future(store.append([member("r", move(1))], claim))
    staying = asyncio.ensure_future(store.append([member("s", move(1))], other))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == [None]
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert await store.append([member("r", move(1))], claim) == [None]
    await store.close()


# Threads, loops and forks


def test_one_store_serves_one_loop_after_another(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "runs.db")
    for number in range(5):
        asyncio.run(store.admit(begin(f"r{number}"), ME))
    assert len(asyncio.run(store.runs()).runs) == 5
    asyncio.run(store.close())


@pytest.mark.parametrize("synchronous", ["FULL", "NORMAL"])
def test_one_store_serves_loops_in_8_threads(tmp_path: Path, synchronous: str) -> None:
    store = SqliteStore(tmp_path / "runs.db", synchronous=synchronous)  # type: ignore[arg-type]
    errors: list[BaseException] = []

    async def work(number: int) -> None:
        claim = await store.admit(begin(f"r{number}"), ME)
        for seq in range(1, 51):
            assert await store.append([member(f"r{number}", move(seq))], claim) == [None]
            assert len(await store.read(f"r{number}", seq - 1)) == 1
        assert await store.release(f"r{number}", claim)

    def thread(number: int) -> None:
        try:
            asyncio.run(work(number))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=thread, args=(number,)) for number in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert errors == []
    assert [len(asyncio.run(store.read(f"r{number}"))) for number in range(8)] == [51] * 8
    asyncio.run(store.close())


def test_many_stores_open_one_new_file_at_once(tmp_path: Path) -> None:
    errors: list[BaseException] = []

    async def work(number: int) -> None:
        store = SqliteStore(tmp_path / "runs.db", synchronous="NORMAL")
        await store.admit(begin(f"r{number}"), ME)
        await store.close()

    def thread(number: int) -> None:
        try:
            asyncio.run(work(number))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=thread, args=(number,)) for number in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert errors == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # forking is the test
def test_a_forked_child_may_not_use_a_file_that_was_open(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "runs.db")
    unused = SqliteStore(tmp_path / "unused.db")
    asyncio.run(store.admit(begin("r"), ME))
    child = os.fork()
    if child == 0:
        said = []
        for one in (store, SqliteStore(tmp_path / "runs.db")):
            try:
                asyncio.run(one.get("r"))
            except StoreError as error:
                said.append("forked" in str(error))
        asyncio.run(unused.admit(begin("r"), ME))
        os._exit(0 if said == [True, True] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert len(asyncio.run(store.read("r"))) == 1
    assert len(asyncio.run(unused.read("r"))) == 1
    asyncio.run(store.close())
    asyncio.run(unused.close())


# Lists


async def test_lists_are_found_by_an_index_and_read_no_journal(sqlite: SqliteStore) -> None:
    from flowcore.stores import sqlite_read

    await sqlite.admit(begin("r"), ME)
    given = {
        "standing": "done", "root": "r", "created": 1.0, "run": "r", "limit": 2, "now": 1.0, "alive": "[]",
        "before": 1.0, "first": b"r", "end": b"s",
    }  # fmt: skip
    operators = (sqlite_read.ABANDONED, sqlite_read.OLD, *sqlite_read._FIND.values())
    with file_of(sqlite) as connection:
        for sql in (
            *operators,
            *sqlite_read._RUNS.values(),
            sqlite_read.DUE,
            sqlite_read._WAITING.replace("?", ":run"),
        ):
            plan = "\n".join(row[3] for row in connection.execute("EXPLAIN QUERY PLAN " + sql, given))
            assert "SCAN run" not in plan.replace("SCAN run USING", ""), plan
            assert "SCAN fact" not in plan, plan
            assert "TEMP B-TREE FOR ORDER BY" not in plan or sql not in sqlite_read._RUNS.values(), plan


async def test_what_is_deleted_is_gone_at_once_and_freed_in_pieces_by_whoever_deletes_next(sqlite: SqliteStore) -> None:
    facts = [move(seq) for seq in range(1, 5_000)]
    claim = await sqlite.admit(member("a", *begin("a").facts, *facts, index=row("a", standing="done")), ME)
    child = member("a/n.1/k", *begin("a/n.1/k", "a").facts, *facts[:10], root="a", writes=[SessionWrite("s", 1, ["x"])])
    assert await sqlite.append([child], claim) == [None]
    await sqlite.release("a", claim)
    await sqlite.release("f", await sqlite.admit(fork_of("f", "a", 3), ME))
    file = sqlite._open()
    assert not await file.write_soon(partial(sqlite_write.delete, run="a"))  # and its process ends
    for run in ("a", "a/n.1/k"):
        with pytest.raises(RunNotFound):
            await sqlite.read(run)
    with pytest.raises(RunExists):
        await sqlite.admit(begin("a"), ME)
    with file_of(sqlite) as connection:
        (left,) = connection.execute("SELECT count(*) FROM fact").fetchone()
        assert 5_012 - left == sqlite_write.PIECE_ROWS
        assert await sqlite.prune(1e9) == []
        assert connection.execute("SELECT count(*) FROM fact").fetchone() == (5,)
        assert connection.execute("SELECT id, base_seq, loose FROM kept").fetchall() == [("a", None, 0)]
    assert [fact.seq for fact in await sqlite.read("f")] == [0, 1, 2, 3, 4]
    assert [one.item for one in await sqlite.session_items("s")] == ["x"]
    await sqlite.delete("f")
    await sqlite.admit(begin("a"), ME)
    with file_of(sqlite) as connection:
        assert connection.execute("SELECT count(*) FROM fact").fetchone() == (1,)


# Addresses


async def test_a_store_is_found_by_its_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert isinstance(open_store(":memory:"), MemoryStore)
    assert isinstance(open_store("sqlite://"), MemoryStore)
    for where in (tmp_path / "a.db", "a.db", str(tmp_path / "a.db"), "sqlite:///a.db", f"sqlite:///{tmp_path}/a.db"):
        store = open_store(where)
        assert isinstance(store, SqliteStore)
        assert store.path == str(tmp_path / "a.db")
        assert open_store(store) is store


@pytest.mark.parametrize("where", ["mysql://host/db", "sqlite://a.db", "", None, 7, "redis://x"])
def test_an_unknown_address_is_refused_with_what_is_known(where: object) -> None:
    with pytest.raises(UserError, match="sqlite:///path"):
        open_store(where)  # type: ignore[arg-type]


def test_a_wrong_setting_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'FULL' or 'NORMAL'"):
        SqliteStore(tmp_path / "runs.db", synchronous="OFF")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="path"):
        SqliteStore("")


def test_every_store_keeps_the_protocol(tmp_path: Path) -> None:
    stores: list[Store] = [MemoryStore(), SqliteStore(tmp_path / "runs.db")]
    assert [(store.inline, store.shared) for store in stores] == [(True, False), (False, True)]


def test_the_sqlite_module_is_imported_at_its_first_use() -> None:
    code = "import flowcore.stores, sys; sys.exit('sqlite3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
