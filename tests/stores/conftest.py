"""Every store, made fresh."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from stores_postgres import new_store

from flowcore.stores import EncryptedStore, MemoryStore, SqliteStore, Store

KEY = EncryptedStore.new_key()

MAKERS: dict[str, Callable[[Path], Store]] = {
    "memory": lambda folder: MemoryStore(),
    "memory-bytes": lambda folder: MemoryStore(keep_bytes=True),
    "sqlite-full": lambda folder: SqliteStore(folder / "runs.db"),
    "sqlite-normal": lambda folder: SqliteStore(folder / "runs.db", synchronous="NORMAL"),
    "postgres": lambda folder: new_store(),
    "encrypted-sqlite": lambda folder: EncryptedStore(SqliteStore(folder / "runs.db", synchronous="NORMAL"), key=KEY),
    "encrypted-memory": lambda folder: EncryptedStore(MemoryStore(keep_bytes=True), key=KEY),
    "encrypted-postgres": lambda folder: EncryptedStore(new_store(), key=KEY),
}


@pytest.fixture(params=list(MAKERS))
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    made = MAKERS[request.param](tmp_path)
    yield made
    await made.close()


@pytest.fixture(params=["FULL", "NORMAL"])
async def sqlite(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqliteStore]:
    made = SqliteStore(tmp_path / "runs.db", synchronous=request.param)
    yield made
    await made.close()
