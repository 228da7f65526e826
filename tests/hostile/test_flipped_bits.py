"""A store file whose bytes were changed gives what was recorded, or an error; never another value."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hostile_runs import broken, fill, questions
from stores_postgres import new_store, server

from flowcore.errors import FlowcoreError, StoreError
from flowcore.stores import SqliteStore
from flowcore.stores.base import IndexRow

TRIALS = 120


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("flipped")


@pytest.fixture(scope="module")
def sound(folder: Path) -> bytes:
    async def make() -> None:
        store = SqliteStore(folder / "sound.db")
        await fill(store)
        await store.close()

    asyncio.run(make())
    return (folder / "sound.db").read_bytes()


async def told(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The answer to every question, or the error that came instead, and what is known to be wrong with the file."""
    store = SqliteStore(path, synchronous="NORMAL", busy_timeout=1.0)
    try:
        flaws = [one.error for one in (await store.verify()).damages]
    except StoreError as error:
        flaws = [error.message]
    answers: dict[str, Any] = {}
    for name, question in questions(store).items():
        broken["world"] = not name.startswith("finish")
        try:
            answers[name] = await question()
        except FlowcoreError as error:  # whatever else is raised fails the test
            answers[name] = error
    await store.close()
    return answers, flaws


def damaged(sound: bytes, chance: random.Random) -> bytes:
    data, at = bytearray(sound), chance.randrange(len(sound))
    how = chance.choice(["bit", "bit", "bit", "byte", "zeros", "noise", "cut", "copy"])
    size = min(chance.choice([1, 8, 100, 4096]), len(data) - at)
    if how == "bit":
        data[at] ^= 1 << chance.randrange(8)
    elif how == "byte":
        data[at] = chance.randrange(256)
    elif how == "zeros":
        data[at : at + size] = bytes(size)
    elif how == "noise":
        data[at : at + size] = chance.randbytes(size)
    elif how == "copy":
        data[at : at + size] = data[(start := chance.randrange(len(data) - size)) : start + size]
    return bytes(data[:at] if how == "cut" else data)


def rows_of(answer: Any) -> list[Any]:
    return answer if isinstance(answer, list) else answer.runs if hasattr(answer, "runs") else [answer]


def plain(answer: Any) -> list[Any]:
    return [replace(one, waiting=0) if isinstance(one, IndexRow) else one for one in rows_of(answer)]


async def test_a_damaged_file_gives_what_was_recorded_or_an_error(sound: bytes, folder: Path) -> None:
    """Rows that a damaged index hides from lists, inboxes and sessions are the one thing that no error tells of:
    ``verify`` does. Journals, index rows and what is done with them are never other than they were."""
    (folder / "whole.db").write_bytes(sound)
    expected, flaws = await told(folder / "whole.db")
    assert flaws == []
    assert not [answer for answer in expected.values() if isinstance(answer, Exception)]
    seed = random.randrange(2**32)
    print("seed:", seed)
    chance = random.Random(seed)
    refused = 0
    for trial in range(TRIALS):
        path = folder / f"{trial}.db"
        path.write_bytes(damaged(sound, chance))
        answers, flaws = await told(path)
        for question, answer in answers.items():
            if isinstance(answer, FlowcoreError):
                assert flaws, f"seed {seed}, trial {trial}, {question!r}: {answer!r}"  # verify finds it, too
                refused += 1
            elif answer != expected[question]:
                if plain(answer) == plain(expected[question]) and flaws:
                    continue  # a request is hidden: it isn't counted
                where = f"seed {seed}, trial {trial}, {question!r}: {answer!r}"
                assert flaws, where
                assert not question.startswith(("read", "walk", "get", "finish")), where
                assert all(one is None or one in plain(expected[question]) or question == "pop"
                           for one in plain(answer)), where  # fmt: skip
        path.unlink()
    assert refused > TRIALS / 2


async def test_a_damaged_log_loses_its_end_and_nothing_else(folder: Path) -> None:
    """SQLite checks its write-ahead log itself: it reads it up to the first page that isn't whole."""
    source = folder / "logged.db"
    store = SqliteStore(source, synchronous="NORMAL")
    await fill(store)
    journals = {run: await store.read(run) for run in ("done", "waits", "fails")}
    main, log = source.read_bytes(), (folder / "logged.db-wal").read_bytes()
    await store.close()
    seed = random.randrange(2**32)
    print("seed:", seed)
    chance = random.Random(seed)
    for trial in range(25):
        path = folder / f"log{trial}.db"
        path.write_bytes(main)
        (folder / f"log{trial}.db-wal").write_bytes(damaged(log, chance))
        found = SqliteStore(path, synchronous="NORMAL")
        for run, journal in journals.items():
            try:
                facts = await found.read(run)
            except FlowcoreError:
                continue
            assert facts == journal[: len(facts)], f"seed {seed}, trial {trial}"
        await found.close()


RECORDS = [
    ("fact", "payload", "seq = 1", "read", "done"),
    ("fact", "node", "seq = 1", "read", "done"),
    ("letter", "value", "1 = 1", "inbox", "waits"),
    ("request", "data", "1 = 1", "requests", "waits"),
    ("request", "schema", "1 = 1", "requests", "waits"),
    ("session_item", "item", "1 = 1", "session_items", "s"),
    ("session_item", "item", "1 = 1", "session_pop", "s"),
    ("run", "error", "1 = 1", "get", "fails"),
    ("run", "label", "1 = 1", "get", "waits"),
]


async def ask_after(store: Any, verb: str, name: str) -> None:
    with pytest.raises(StoreError, match=r"its checksum doesn't fit; the store is damaged"):
        await getattr(store, verb)(name)
    if verb == "session_pop":
        with pytest.raises(StoreError, match="its checksum doesn't fit"):  # what can't be read stays
            await store.session_pop(name)
    await store.close()


@pytest.mark.parametrize(("table", "column", "where", "verb", "name"), RECORDS)
async def test_a_changed_letter_in_any_record_is_refused(
    table: str, column: str, where: str, verb: str, name: str, sound: bytes, tmp_path: Path
) -> None:
    (tmp_path / "runs.db").write_bytes(sound)
    connection = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
    value = f"CAST({column} AS TEXT)"
    changed = f"substr({value}, 1, 10) || 'X' || substr({value}, 12)" if column != "node" else "'elsewhere'"
    kept = f"CAST({changed} AS BLOB)" if column in ("payload", "value", "data", "schema", "item") else changed
    connection.execute(f"UPDATE {table} SET {column} = {kept} WHERE {where}")
    connection.close()
    await ask_after(SqliteStore(tmp_path / "runs.db"), verb, name)


@pytest.mark.parametrize(("table", "column", "where", "verb", "name"), RECORDS)
async def test_postgres_refuses_it_in_the_same_words(table: str, column: str, where: str, verb: str, name: str) -> None:
    store = new_store()
    await fill(store)
    one = f'"{store._names.schema}".{table}'
    server().ask(f"UPDATE {one} SET {column} = set_byte({column}, 2, 88) WHERE {where} AND length({column}) > 2")
    await ask_after(store, verb, name)
