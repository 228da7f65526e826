"""The conformance kit, run over every store that we have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stores_postgres import new_store

from flowcore.stores import EncryptedStore, MemoryStore, PostgresStore, SqliteStore, Store
from flowcore.testing import StoreSuite

KEY = EncryptedStore.new_key()
Kept = dict[str, list[int]]


def by_run(rows: list[tuple[str, int]]) -> Kept:
    """The seqs of stored facts by the run that wrote them."""
    found: Kept = {}
    for run, seq in rows:
        found.setdefault(run, []).append(seq)
    return found


class TestMemoryStore(StoreSuite):
    processes = keeps_bytes = False
    examples = 30

    def make(self, folder: Path) -> MemoryStore:
        return MemoryStore(keep_bytes=self.keeps_bytes)

    async def kept(self, store: Any) -> Kept:
        kept = [journal for journals in store._kept.values() for journal in journals]
        every = [*store._journals.values(), *kept]
        return {one.index.run: list(range(one.first, one.first + len(one.facts))) for one in every if len(one.facts)}


class TestMemoryStoreOfBytes(TestMemoryStore):
    keeps_bytes = True


class TestSqliteStore(StoreSuite):
    examples = 60

    def make(self, folder: Path) -> SqliteStore:
        return SqliteStore(folder / "runs.db", synchronous="NORMAL")

    async def kept(self, store: Any) -> Kept:
        rows = await store._open().read(lambda c: c.execute("SELECT run, seq FROM fact ORDER BY run, seq").fetchall())
        return by_run(rows)


class TestSqliteStoreUnderFull(TestSqliteStore):
    examples = 5

    def make(self, folder: Path) -> SqliteStore:
        return SqliteStore(folder / "runs.db")


class TestPostgresStore(StoreSuite):
    examples = 4
    schemas: dict[Path, str] = {}

    def make(self, folder: Path) -> PostgresStore:
        if folder not in self.schemas:
            self.schemas[folder] = new_store()._names.schema
        return new_store(schema=self.schemas[folder], connections=1)

    async def kept(self, store: Any) -> Kept:
        sql = store._names.sql("SELECT run, seq FROM @.fact ORDER BY run, seq")

        async def ask(connection: Any, again: bool) -> Kept:
            rows = await (await connection.execute(sql)).fetchall()
            return by_run([(run.decode(), seq) for run, seq in rows])

        return await store._pool().do(ask)


class TestEncryptedMemoryStore(TestMemoryStoreOfBytes):
    examples = 5

    def make(self, folder: Path) -> Store:
        return EncryptedStore(super().make(folder), key=KEY)


class TestEncryptedSqliteStore(TestSqliteStore):
    examples = 5

    def make(self, folder: Path) -> Store:
        return EncryptedStore(super().make(folder), key=KEY)


class TestEncryptedPostgresStore(TestPostgresStore):
    examples = 1

    def make(self, folder: Path) -> Store:
        return EncryptedStore(super().make(folder), key=KEY)
