"""The three stores that everything is killed over: memory that keeps bytes, SQLite, PostgreSQL."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

from stores_postgres import LentStore

from flowcore.stores import MemoryStore, SqliteStore, Store

THREE = ("memory", "sqlite", "postgres")
SHM = Path("/dev/shm")
"""A disk for what dies with its processes and needn't survive a power cut: syncing it costs nothing."""


def quick_folder() -> str | None:
    """Where temporary files go that are synced often."""
    return str(SHM) if SHM.is_dir() else None


class Server(LentStore):
    """A store that is never closed between kills: what it has lies on the server, whoever is connected."""

    async def close(self) -> None:
        """Stay connected."""

    async def end(self) -> None:
        """Close it for good."""
        await super().close()


class Making:
    """A function that gives an empty store at each call: of PostgreSQL the same one, whose runs have other ids, or with
    ``apart`` one in a schema of its own (its sessions are its own, too)."""

    apart = False

    def __init__(self, name: str) -> None:
        self.name = name
        self._numbers = itertools.count()
        self._folder = tempfile.TemporaryDirectory(prefix="flowcore-kills-", dir=quick_folder())
        self._server: Server | None = None
        self._others: list[LentStore] = []

    def every(self, many: int) -> int:
        """Of a large run: after each how-many-th fact it's killed; on a server, where a run takes longer, not after
        each."""
        return many if self.name == "postgres" else 1

    def __call__(self) -> Store:
        if self.name == "memory":
            return MemoryStore(keep_bytes=True)
        if self.name == "sqlite":
            return SqliteStore(Path(self._folder.name) / f"{next(self._numbers)}.db")
        if self.apart:
            self._others.append(LentStore())
            return self._others[-1]
        if self._server is None:
            self._server = Server()
        return self._server

    async def end(self) -> None:
        """Remove what was made."""
        if self._server is not None:
            await self._server.end()
        for store in self._others:
            await store.close()
        self._folder.cleanup()
