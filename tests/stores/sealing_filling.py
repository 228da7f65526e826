"""Stores with everything in them in which a user may have said something."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flowcore.machine.facts import Request, Rested
from flowcore.stores import EncryptedStore, SqliteStore, Store
from flowcore.stores.base import Letter, SessionWrite
from flowcore.testing.store_suite.making import begin, member, move, owner, question, row

ME = owner("me")
SECRET = "MARKER-rosebud"
KEY, OTHER = EncryptedStore.new_key(), EncryptedStore.new_key()


def sqlite_at(folder: Path, key: Any = KEY, **given: Any) -> EncryptedStore:
    return EncryptedStore(SqliteStore(folder / "runs.db", synchronous="NORMAL"), key=key, **given)


async def fill(store: Store) -> None:
    """A run with everything in which a user may have said the marker, and one like it."""
    for run in ("r", "other"):
        label = {"label": f"label {SECRET}", "error": f"error {SECRET}"}
        claim = await store.admit(begin(run, **label), ME)
        ask = Request(2, 1.0, 2.0, "first", 1, "k", "approval", {"text": SECRET})
        fail = Rested(3, 1.0, 2.0, "first", 1, "failed", error={"kind": "E", "message": SECRET})
        members = [
            member(run, move(1, text=SECRET), writes=[SessionWrite("s", 1, [{"text": SECRET, "of": run}])]),
            member(run, ask, opened=[question(run, "k", data={"text": SECRET})]),
            member(run, fail, index=row(run, standing="failed", **label)),
        ]
        for one in members:
            assert await store.append([one], claim) == [None]
        assert await store.signal(Letter(run, f"answer {run}", "answer", "k", {"text": SECRET}))
    await store.session_write("s", [{"text": SECRET}, {"text": SECRET}])


async def everything(store: Store, run: str = "r") -> list[Any]:
    """All that can be read of a run."""
    return [
        await store.read(run),
        await store.get(run),
        [one for one in (await store.runs()).runs if one.run == run],
        await store.find(run),
        await store.requests(run),
        await store.inbox(run),
        await store.session_items("s"),
    ]
