"""A third party's store, which keeps its runs somewhere else: here in another store; and stores that go wrong in one
way each. They're given to the conformance kit by `test_store_suite.py`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from flowcore.stores import MemoryStore

SHELVES: dict[Path, MemoryStore] = {}


class Ledger:
    """All that a store has to do, done by what is on the shelf of a folder."""

    inline = False
    shared = True

    def __init__(self, folder: Path) -> None:
        self.shelf = SHELVES.setdefault(folder, MemoryStore(keep_bytes=True))

    def append_now(self, batch: Any, claim: Any) -> None:
        return None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.shelf, name)


class LosesALetter(Ledger):
    async def signal(self, letter: Any) -> bool:
        """Takes every third letter, and drops it."""
        waiting = await self.shelf.inbox(letter.run)
        return True if len(waiting) == 2 else await self.shelf.signal(letter)


class LetsTwoOwnersIn(Ledger):
    async def claim(self, run: str, owner: Any) -> Any:
        """Asks nobody who is at it."""
        if run in self.shelf._trees:
            self.shelf._trees[run].owner = None
        return await self.shelf.claim(run, owner)


class GivesFactsOutOfOrder(Ledger):
    async def read(self, run: str, after: int = -1) -> Any:
        """The latest first."""
        return (await self.shelf.read(run, after))[::-1]


class AcceptsAStaleClaim(Ledger):
    async def append(self, batch: Any, claim: Any) -> Any:
        """Whoever has ever had the lease may write."""
        now = self.shelf._trees.get(batch[0].root)
        return await self.shelf.append(batch, replace(claim, epoch=now.epoch) if now else claim)


class ForgetsAnIndexRow(Ledger):
    async def runs(self, **which: Any) -> Any:
        """The fifth run is listed nowhere."""
        page = await self.shelf.runs(**which)
        page.runs = [row for row in page.runs if row.run != "r4"]
        return page
