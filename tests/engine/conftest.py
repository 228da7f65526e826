from __future__ import annotations

import gc
import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flowcore.stores.base import Store
from flowcore.stores.memory import MemoryStore
from flowcore.stores.sqlite import SqliteStore

sys.path.append(str(Path(__file__).parent.parent / "stores"))
from stores_postgres import LentStore


@pytest.fixture(params=["memory", "normal", "full", "postgres"])
async def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Callable[[], Store]]:
    """A new empty store at each call."""
    made: list[Any] = []

    def make() -> Store:
        if request.param == "memory":
            made.append(MemoryStore(keep_bytes=True))
        elif request.param == "postgres":
            made.append(LentStore())
        else:
            made.append(SqliteStore(tmp_path / f"{len(made)}.db", synchronous=request.param.upper()))
        return made[-1]

    yield make
    for one in made:
        await one.close()


@pytest.fixture
def store(make_store: Callable[[], Store]) -> Store:
    return make_store()


@pytest.fixture(autouse=True)
def _nothing_is_left_behind(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No task is destroyed while it's pending, no exception goes unseen."""
    yield
    gc.collect(1)
    complaints = [one.getMessage() for one in caplog.records if one.name == "asyncio" and one.levelno >= logging.ERROR]
    assert not complaints, complaints
