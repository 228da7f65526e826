"""``verify`` reads all that a store keeps and says what is damaged, whatever that hides from other reads."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from stores_postgres import LentStore, new_store, server

from flowcore import END, START, Ask, Context, EncryptedStore, Graph, Pause, State, StoreError, UserError, start
from flowcore.stores import MemoryStore, PostgresStore, SqliteStore
from flowcore.stores.base import Letter
from flowcore.stores.postgres_read import BY_HEAP, BY_INDEX, COUNTED
from flowcore.stores.verify import Verified

KEY = EncryptedStore.new_key()


class S(State):
    text: str = ""


async def work(state: S) -> dict[str, Any]:
    return {"text": state.text * 2}


async def below(state: S, ctx: Context) -> dict[str, Any]:
    return await ctx.child(small, {"text": "small"}, "k")


async def ask(state: S) -> Pause:
    return Pause(Ask("q", {"asked": state.text}))


small = Graph("small", S, {START: work, work: END})
graph = Graph("big", S, {START: below, below: ask, ask: {"answered": END}})
NAMES = [f"run {n}" for n in range(4)]


async def fill(store: Any) -> None:
    for name in NAMES:
        await (await start(graph, {"text": name}, store=store, run_id=name, label=f"label of {name}"))
    await store.session_write("s1", [{"said": "one"}])
    await store.session_write("s2", [{"said": "two"}])
    assert await store.signal(Letter("run 2", "letter", "input", None, "more", 5.0))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the runs, and another that is encrypted."""
    folder = tmp_path_factory.mktemp("verify")

    async def make() -> None:
        for store in (SqliteStore(folder / "plain.db"), EncryptedStore(SqliteStore(folder / "sealed.db"), key=KEY)):
            await fill(store)
            await store.close()

    asyncio.run(make())
    return folder


class File:
    """A copy of a store file that something happens to."""

    def __init__(self, path: Path, original: Path) -> None:
        self.path = path
        path.write_bytes(original.read_bytes())

    def sql(self, *statements: str) -> None:
        connection = sqlite3.connect(self.path, isolation_level=None)
        for statement in statements:
            connection.execute(statement)
        connection.close()

    def flip(self, inside: bytes) -> None:
        """One bit of the first record that has these bytes."""
        data = bytearray(self.path.read_bytes())
        data[data.index(inside) + len(inside) // 2] ^= 4
        self.path.write_bytes(data)

    async def verify(self, **given: Any) -> Verified:
        store = SqliteStore(self.path)
        told = await store.verify(**given)
        await store.close()
        return told


@pytest.fixture
def file(sound: Path, tmp_path: Path) -> File:
    return File(tmp_path / "runs.db", sound / "plain.db")


@pytest.fixture
async def postgres() -> AsyncIterator[LentStore]:
    store = LentStore()
    await fill(store)
    yield store
    await store.close()


def found(told: Verified) -> dict[str, str]:
    """What is damaged, by what it's called; the last error of each."""
    return {one.name or one.kind: one.error for one in told.damages}


async def test_a_sound_store_is_read_from_end_to_end(file: File, postgres: LentStore, sound: Path) -> None:
    for told in (
        await file.verify(),
        await postgres.verify(),
        await EncryptedStore(SqliteStore(sound / "sealed.db"), key=KEY).verify(),
    ):
        assert told.sound
        assert (told.runs, told.sessions, told.after) == (8, 2, None)
        assert told.facts > 4 * 5


async def test_a_flipped_bit_in_a_file_is_found_and_the_other_runs_are_read(file: File) -> None:
    file.flip(b"label of run 1")
    told = await file.verify()
    assert found(told).keys() == {"run 1"}
    assert "its checksum doesn't fit; the store is damaged" in found(told)["run 1"]
    assert told.damages[0].root == "run 1"
    assert "put the store back from a copy" in told.damages[0].cure
    assert told.runs == 8


CHANGES = {
    "UPDATE {}fact SET node = {} WHERE run = {} AND seq = 1": "fact 1",
    "DELETE FROM {0}fact WHERE run = {2} AND seq = 1": "fact 1 is missing",
    "DELETE FROM {0}fact WHERE run = {2} AND seq = (SELECT max(seq) FROM {0}fact WHERE run = {2})": "is missing",
    "UPDATE {}run SET label = {} WHERE id = {}": "its index row",
    "UPDATE {}letter SET value = {} WHERE root = {}": "letter",
    "UPDATE {}request SET data = {} WHERE root = {}": "request",
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_changed_or_lost_record_is_told_with_its_run_in_any_store(
    change: str, file: File, postgres: LentStore
) -> None:
    file.sql(
        change.format("", "'x'" if "SET node" in change or "SET label" in change else "CAST('x' AS BLOB)", "'run 2'")
    )
    server().ask(change.format(f'"{postgres.schema}".', "'x'::bytea", "'run 2'::bytea"))
    for told in (await file.verify(), await postgres.verify()):
        assert found(told).keys() == {"run 2"}
        assert CHANGES[change] in found(told)["run 2"]
        assert told.runs == 8


async def test_a_damaged_child_and_a_damaged_session_are_told_by_their_names(file: File, postgres: LentStore) -> None:
    changes = [
        "UPDATE {}fact SET node = {} WHERE run = {} AND seq = 1",
        "UPDATE {}session_item SET item = {} WHERE session = {}",
    ]
    for change, column, name in zip(changes, ("'x'", "CAST('x' AS BLOB)"), ("run 3/below.1/k", "s2"), strict=True):
        file.sql(change.format("", column, f"'{name}'"))
        server().ask(change.format(f'"{postgres.schema}".', "'x'::bytea", f"'{name}'::bytea"))
    for told in (await file.verify(), await postgres.verify()):
        assert found(told).keys() == {"run 3/below.1/k", "s2"}
        assert [(one.kind, one.root) for one in told.damages] == [("run", "run 3"), ("session", None)]


async def test_records_whose_run_is_gone_are_told(file: File, postgres: LentStore) -> None:
    file.sql("DELETE FROM run WHERE id = 'run 2'")
    server().ask(f"""DELETE FROM "{postgres.schema}".run WHERE id = 'run 2'::bytea""")
    for told in (await file.verify(), await postgres.verify()):
        errors = [one.error for one in told.damages]
        for what in ("facts", "a letter", "a request", "a child"):
            assert f"{what} of run 'run 2', which isn't there" in errors


async def test_rows_that_a_damaged_index_of_a_file_hides_are_found(file: File) -> None:
    declared = "CREATE INDEX session_order ON session_item (session)"
    change = "UPDATE sqlite_master SET sql = '{}' WHERE name = 'session_order'"
    file.sql("PRAGMA writable_schema = ON", change.format(f"{declared} WHERE session = ''s1''"))
    store = SqliteStore(file.path)
    await store.session_write("s2", ["hidden"])  # the index isn't told of it
    await store.close()
    file.sql("PRAGMA writable_schema = ON", change.format(declared))
    store = SqliteStore(file.path)
    assert [one.item for one in await store.session_items("s2")] == [{"said": "two"}]
    await store.close()
    told = await file.verify()
    assert [one.kind for one in told.damages] == ["store"] * len(told.damages)
    assert "row 3 missing from index session_order" in str(told.damages)
    assert "sqlite3 FILE REINDEX" in told.damages[0].cure
    file.sql("REINDEX")
    assert (await file.verify()).sound


async def test_rows_that_a_damaged_index_of_a_server_hides_are_found(postgres: LentStore) -> None:
    """An index that was told nothing of a row, as after an operating system's sort order has changed."""
    ready = "UPDATE pg_index SET indisready = {}, indislive = {} WHERE indexrelid = '{}.session_order'::regclass"
    schema = f'"{postgres.schema}"'
    server().ask(ready.format("false", "true", schema))
    await postgres.session_write("s3", ["hidden"])
    server().ask(ready.format("true", "true", schema))
    assert await postgres.session_items("s3") == []
    told = await postgres.verify()
    assert found(told) == {"store": "index session_order leads to 2 of 3 rows"}
    assert "REINDEX TABLE" in told.damages[0].cure
    server().ask(f"REINDEX TABLE {schema}.session_item")
    assert (await postgres.verify()).sound


async def test_rows_are_counted_through_the_index_that_is_meant(postgres: LentStore) -> None:
    with psycopg.connect(server().dsn) as connection:
        connection.execute(BY_HEAP)
        connection.execute(BY_INDEX)
        for index, (_, sql) in COUNTED.items():
            plan = connection.execute(postgres._names.script(f"EXPLAIN {sql}")).fetchall()
            assert f" using {index} on " in str(plan), (index, plan)


async def test_a_store_is_verified_page_by_page(file: File, postgres: LentStore) -> None:
    file.sql("UPDATE fact SET node = 'x' WHERE run = 'run 3' AND seq = 1")
    store = SqliteStore(file.path)
    for one, damages in ((store, ["run 3"]), (postgres, [])):
        after, pages = None, []
        while not pages or after is not None:
            pages.append(await one.verify(limit=3, after=after))
            after = pages[-1].after
        assert [(page.runs, page.sessions) for page in pages] == [(3, 0), (3, 0), (2, 1), (0, 1)]
        assert [damage.name for page in pages for damage in page.damages] == damages
        assert (await one.verify(limit=10)).after is None
        with pytest.raises(UserError, match="give the `after` of an earlier page"):
            await one.verify(after="x")
        with pytest.raises(UserError, match="give a whole number above 0"):
            await one.verify(limit=0)
    await store.close()


async def test_an_encrypted_store_is_opened_with_its_keys(sound: Path, tmp_path: Path) -> None:
    file = File(tmp_path / "sealed.db", sound / "sealed.db")
    file.sql("UPDATE fact SET at = at + 1 WHERE run = 'run 1' AND seq = 2")
    store = EncryptedStore(SqliteStore(file.path), key=KEY)
    told = await store.verify()
    assert found(told).keys() == {"run 1"}
    assert "can't be opened with key" in found(told)["run 1"]
    await store.close()
    foreign = EncryptedStore(SqliteStore(file.path), key=EncryptedStore.new_key())
    told = await foreign.verify()
    assert {one.name for one in told.damages} >= {*NAMES, "s1", "s2"}
    assert all("which isn't given" in one.error for one in told.damages)
    assert {(one.cure.partition(";")[0], one.root) for one in told.damages} == {("verify it again with the key", None)}
    await foreign.close()
    plain = await file.verify()
    assert all("is encrypted; open the store as EncryptedStore" in one.error for one in plain.damages)
    with pytest.raises(UserError, match="keeps its runs in memory"):
        await EncryptedStore(MemoryStore(keep_bytes=True), key=KEY).verify()


async def test_a_server_that_is_gone_is_no_damage() -> None:
    store = new_store(timeout=1.0)
    gone = PostgresStore(server().dsn.replace("host=/", "host=/nowhere/"), timeout=1.0)
    with pytest.raises(StoreError):
        await gone.verify()
    await store.close()


async def test_a_damaged_run_can_still_be_given_up(file: File) -> None:
    file.sql("UPDATE run SET label = 'x' WHERE id = 'run 2'", "UPDATE fact SET node = 'x' WHERE run = 'run 2'")
    store = SqliteStore(file.path)
    assert not (await store.verify()).sound
    await store.delete("run 2")
    assert (await store.verify()).sound
    await store.close()
