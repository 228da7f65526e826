"""The other rooms' real servers, for whole runs."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import openai
import pytest

sys.path += [str(Path(__file__).parent.parent / room) for room in ("sessions", "mcp", "models", "tracing")]

from models_loopback import Loopback
from sessions_openai import OpenAIServer
from sessions_serving import redis_url, world

__all__ = ["redis_url", "world"]


@pytest.fixture
async def loopback() -> AsyncIterator[Loopback]:
    server = Loopback()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def loopback_client(loopback: Loopback) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=loopback.url, api_key="test", max_retries=5) as client:
        yield client


@pytest.fixture
def openai_server() -> Iterator[OpenAIServer]:
    server = OpenAIServer()
    yield server
    server.stop()
