"""Every kind of session, and the server that some need."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from openai import AsyncOpenAI
from sessions_making import KINDS, Maker, World
from sessions_openai import OpenAIServer
from sessions_serving import redis_url, world

__all__ = ["redis_url", "world"]


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest, world: World) -> Maker:
    maker: Maker = getattr(world, request.param)
    return maker


@pytest.fixture
def openai_server() -> Iterator[OpenAIServer]:
    server = OpenAIServer()
    yield server
    server.stop()


@pytest.fixture
async def client(openai_server: OpenAIServer) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=openai_server.url, api_key="none", max_retries=0) as made:
        yield made
