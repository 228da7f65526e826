"""Rotation of an encrypted store's keys: all of it comes under the newest key, whatever happens meanwhile, and the
older one may go."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sealing_filling import KEY, ME, OTHER, SECRET, everything, fill, sqlite_at
from stores_postgres import new_store, server

from flowcore import END, START, Context, Goto, Graph, State, node, start
from flowcore.errors import StoreError, UserError
from flowcore.stores import EncryptedStore, MemoryStore, PostgresStore, SqliteStore
from flowcore.stores.keys import Keys
from flowcore.stores.rotation import LOOKS, Renewal
from flowcore.testing.store_suite.making import begin, fork_of, member, move

NEW, OLD = OTHER, KEY
OLD_ID = EncryptedStore(MemoryStore(keep_bytes=True), key=OLD).keys.newest
ROTATOR = Path(__file__).parent / "sealing_rotator.py"


class Place:
    """One place of runs, opened with whichever keys."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.path = folder / "runs.db"
        self.schema = new_store()._names.schema if kind == "postgres" else ""
        self.memory = MemoryStore(keep_bytes=True)

    @property
    def where(self) -> list[str]:
        return [server().dsn, self.schema] if self.kind == "postgres" else [str(self.path)]

    def store(self, *keys: str) -> EncryptedStore:
        self.memory.sealing = None
        inner: Any = self.memory
        if self.kind == "postgres":
            inner = PostgresStore(server().dsn, schema=self.schema)
        elif self.kind == "sqlite":
            inner = SqliteStore(self.path, synchronous="NORMAL")
        return EncryptedStore(inner, key=keys)

    def ask(self, sql: str) -> None:
        """A statement of somebody else's."""
        if self.kind == "postgres":
            server().ask(sql.replace("@.", f'"{self.schema}".'))
        else:
            with sqlite3.connect(self.path) as connection:
                connection.execute(sql.replace("@.", ""))
            connection.close()


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(request.param, tmp_path)


async def filled(store: EncryptedStore) -> list[Any]:
    """Fill a store and tell all that can be read of it: with a fork that shares facts of a run that was deleted."""
    await fill(store)
    claim = await store.admit(begin("gone"), ME)
    assert await store.append([member("gone", move(1, text=SECRET))], claim) == [None]
    await store.release("gone", claim)
    await store.admit(fork_of("fork", "gone", 1), ME)
    await store.delete("gone")
    return await told(store)


async def told(store: EncryptedStore) -> list[Any]:
    return [await everything(store), await everything(store, "other"), await everything(store, "fork")]


async def test_after_a_rotation_the_older_key_may_go(place: Place) -> None:
    before = await filled(place.store(OLD))
    store = place.store(NEW, OLD)
    rotation = await store.rotate()
    assert (rotation.key, rotation.resealed, rotation.done) == (store.keys.newest, 21, True)
    assert (rotation.old_keys, rotation.unreadable) == ({}, [])
    assert await told(store) == before
    again = await store.rotate()
    assert (again.resealed, again.done) == (0, True)
    await store.close()
    last = place.store(NEW)
    assert await told(last) == before
    assert (await last.session_pop("s"))["text"] == SECRET
    await last.close()
    first = place.store(OLD)
    with pytest.raises(StoreError, match="isn't given"):
        await first.read("fork")
    await first.close()


@pytest.mark.parametrize(("kind", "kills"), [("sqlite", [5, -2]), ("postgres", [9])])
async def test_killed_in_the_middle_nothing_is_lost_and_the_next_rotation_ends_it(
    kind: str, kills: list[int], tmp_path: Path
) -> None:
    place = Place(kind, tmp_path)
    first = place.store(OLD)
    before = await filled(first)
    await first.close()
    for calls in kills:
        command = [sys.executable, str(ROTATOR), *place.where, NEW, OLD, str(calls)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)  # noqa: ASYNC221 - nothing else runs
        assert done.returncode == -signal.SIGKILL, done.stderr
        store = place.store(NEW, OLD)
        assert await told(store) == before
        await store.close()
    store = place.store(NEW, OLD)
    rotation = await store.rotate()
    assert 0 < rotation.resealed < 21
    assert rotation.done
    await store.close()
    last = place.store(NEW)
    assert await told(last) == before
    await last.close()


# Runs meanwhile


class Count(State):
    n: int = 0
    text: str = ""


@node(limit=10)
async def step(state: Count, ctx: Context) -> Goto[Any]:
    """Rotate while this run goes on."""
    await ctx.context()
    return Goto("more" if state.n < 3 else "enough", n=state.n + 1, text=f"{SECRET} {state.n}")


RING = Graph("ring", Count, {START: step, step: {"more": step, "enough": END}})


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_a_run_whose_process_still_seals_with_the_older_key_goes_on_through_rotations(
    kind: str, tmp_path: Path
) -> None:
    place = Place(kind, tmp_path)
    writer, rotator = place.store(OLD, NEW), place.store(NEW, OLD)
    resealed: list[int] = []

    async def rotate() -> None:
        rotation = await rotator.rotate()
        assert rotation.done
        resealed.append(rotation.resealed)

    result = await (await start(RING, store=writer, run_id="r", context=rotate))
    assert (result.standing, result.state.text) == ("done", f"{SECRET} 3")
    assert len(resealed) == 4
    assert min(resealed) > 0
    await rotate()
    last = place.store(NEW)
    assert [fact.seq for fact in await last.read("r")] == list(range(5))
    assert (await last.get("r")).standing == "done"
    for store in (writer, rotator, last):
        await store.close()


async def test_while_somebody_seals_with_an_older_key_it_is_told_to_be_needed(tmp_path: Path) -> None:
    class Busy(SqliteStore):
        async def reseal(self, renewal: Renewal) -> int:
            await writer.session_write("s", ["one more"])
            return await super().reseal(renewal)

    writer = sqlite_at(tmp_path, [OLD, NEW])
    store = EncryptedStore(Busy(tmp_path / "runs.db"), key=[NEW, OLD])
    rotation = await store.rotate()
    assert (rotation.old_keys, rotation.resealed, rotation.done) == ({OLD_ID: 1}, LOOKS, False)
    await writer.close()
    await store.close()


MEANWHILE = {
    "letter": ("DELETE FROM @.letter WHERE run = 'r'", -1),
    "item": ("DELETE FROM @.session_item WHERE position = 4", -1),
    "fact": ("DELETE FROM @.fact WHERE run = 'other'", -4),
}


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
@pytest.mark.parametrize("what", list(MEANWHILE))
async def test_what_changed_since_it_was_read_is_left_as_it_became(
    kind: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(kind, tmp_path)
    first = place.store(OLD)
    await fill(first)
    await first.close()
    sql, less = MEANWHILE[what]
    seal: Callable[..., bytes] = Keys.seal
    asked: list[str] = []

    def sealed(self: Keys, data: bytes, of: Any) -> bytes:
        found = seal(self, data, of)
        if of[0] == what and not asked:
            asked.append(sql)
            place.ask(sql)
        return found

    monkeypatch.setattr(Keys, "seal", sealed)
    store = place.store(NEW, OLD)
    rotation = await store.rotate()
    assert (asked, rotation.resealed, rotation.done) == ([sql], 18 + less, True)
    await store.close()
    last = place.store(NEW)
    assert len(await last.inbox("r")) == (0 if what == "letter" else 1)
    assert len(await last.session_items("s")) == (3 if what == "item" else 4)
    await last.close()


# What can't be rotated


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_what_cannot_be_opened_is_told_and_left_and_all_else_is_rotated(kind: str, tmp_path: Path) -> None:
    place = Place(kind, tmp_path)
    first = place.store(OLD)
    await fill(first)
    await first.close()
    there = "run = 'r' AND seq = 2"
    place.ask(f"UPDATE @.fact SET at = at + 1 WHERE {there}")
    place.ask("UPDATE @.session_item SET item = 'plain' WHERE position = 1")
    place.ask("UPDATE @.run SET tokens = 9 WHERE id = 'other'")
    store = place.store(NEW, OLD)
    rotation = await store.rotate()
    assert (rotation.resealed, rotation.old_keys, rotation.done) == (15, {OLD_ID: 1}, False)
    moved, plain, index = rotation.unreadable
    assert "fact ('r', 2)" in moved
    assert "sealed for another place" in moved
    assert "isn't encrypted" in plain
    assert "its index row" in index
    place.ask(f"UPDATE @.fact SET at = at - 1 WHERE {there}")
    assert (await store.rotate()).old_keys == {}
    assert len(await store.read("r")) == 4
    await store.close()


async def test_a_key_that_is_not_given_is_told_once(tmp_path: Path) -> None:
    first = sqlite_at(tmp_path, OLD)
    await fill(first)
    await first.close()
    store = sqlite_at(tmp_path, NEW)
    rotation = await store.rotate()
    [told] = rotation.unreadable
    assert f"sealed with key '{OLD_ID}', which isn't given" in told
    assert (rotation.resealed, rotation.old_keys) == (0, {OLD_ID: 20})
    await store.close()


async def test_a_store_of_ones_own_that_cannot_do_it_says_so() -> None:
    class Own:
        inline, shared, sealing = True, False, None

    with pytest.raises(UserError, match=r"a Own has no reseal\(renewal\)"):
        await EncryptedStore(Own(), key=NEW).rotate()  # type: ignore[arg-type]
