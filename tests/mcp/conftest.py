"""Servers that the room's tests share: each is one process for the whole session."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from mcp_making import Http

from flowcore.mcp import MCPServer


def _served(kind: str, folder: Path) -> Iterator[Http]:
    server = Http(kind, folder / "log")
    yield server
    server.kill()


@pytest.fixture(scope="session")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Http]:
    yield from _served("http", tmp_path_factory.mktemp("http"))


@pytest.fixture(scope="session")
def sse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Http]:
    yield from _served("sse", tmp_path_factory.mktemp("sse"))


@pytest.fixture(scope="session")
def legacy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Http]:
    yield from _served("legacy-http", tmp_path_factory.mktemp("legacy"))


@pytest.fixture
async def server(http: Http) -> AsyncIterator[MCPServer]:
    """A connected client of the shared HTTP server."""
    async with http.client() as client:
        yield client
