"""Servers for the tests of models: a loopback for exact cases, and a real one that runs real weights."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from models_asking import model_for
from models_loopback import Loopback

from flowcore.models import LocalModel
from flowcore.models.local_server import LocalServer, ServerSize, shared_server
from flowcore.models.local_weights import find_weights

SIZE = {"n_ctx": 2048, "threads": 1}  # the other core runs other tests


@pytest.fixture
async def loopback() -> AsyncIterator[Loopback]:
    server = Loopback()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def loopback_client(loopback: Loopback) -> AsyncIterator[openai.AsyncOpenAI]:
    # It would retry by itself: the models have to switch that off.
    async with openai.AsyncOpenAI(base_url=loopback.url, api_key="test", max_retries=5) as client:
        yield client


@pytest.fixture(params=["responses", "chat"])
def verb(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def loopback_model(verb: str, loopback_client: openai.AsyncOpenAI) -> Any:
    return model_for(verb, loopback_client)


@pytest.fixture(scope="session")
def llama() -> LocalServer:
    return shared_server(ServerSize(find_weights(), SIZE["n_ctx"], SIZE["threads"], 1))


@pytest.fixture
async def live_model(verb: str, llama: LocalServer) -> AsyncIterator[Any]:
    # This server hangs up after a stream without saying so; our own clients know that of servers without TLS.
    headers = {"Connection": "close"}
    async with openai.AsyncOpenAI(
        base_url=llama.url, api_key=llama.api_key, max_retries=5, default_headers=headers
    ) as client:
        yield model_for(verb, client)


@pytest.fixture
async def local_model() -> AsyncIterator[LocalModel]:
    model = LocalModel(n_ctx=SIZE["n_ctx"], threads=SIZE["threads"], max_tokens=200)
    yield model
    await model.close()
