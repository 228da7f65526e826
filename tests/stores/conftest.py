"""An SQLite store in each of its modes, made fresh."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flowcore.stores import SqliteStore


@pytest.fixture(params=["FULL", "NORMAL"])
async def sqlite(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqliteStore]:
    made = SqliteStore(tmp_path / "runs.db", synchronous=request.param)
    yield made
    await made.close()
