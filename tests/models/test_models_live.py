"""Both OpenAI models against a real server that runs real weights. Structure is asserted, never wording."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from typing import Any

import openai
import pytest
from models_asking import Output, arguments, ask, deltas, kind, listen, model_for, text_of

from flowcore.errors import ModelError
from flowcore.models import ModelSettings
from flowcore.models.local_server import LocalServer

pytestmark = pytest.mark.real_model

SHORT = ModelSettings(max_tokens=6, temperature=0, extra_body={"cache_prompt": False})


async def test_a_text_comes_back_with_its_usage(live_model: Any) -> None:
    response = await ask(live_model, "Say hello.", system="Be brief.", settings=SHORT)
    assert text_of(response)
    assert response.output[-1]["role"] == "assistant"
    assert response.usage.requests == 1
    assert 0 < response.usage.output_tokens <= 6
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens


async def test_a_streamed_text_is_the_unstreamed_one_in_pieces(live_model: Any) -> None:
    events, streamed = await listen(live_model, "Say hello.", settings=SHORT)
    whole = await ask(live_model, "Say hello.", settings=SHORT)
    assert kind(events[0]) == "response.created"
    assert kind(events[-1]) == "response.completed"
    assert len(deltas(events)) > 1
    assert "".join(deltas(events)) == text_of(streamed) == text_of(whole)
    assert streamed.usage == whole.usage


async def test_a_conversation_goes_on_with_its_own_items(live_model: Any) -> None:
    history: list[Any] = [{"role": "user", "content": [{"type": "input_text", "text": "Say hello."}]}]
    history += (await ask(live_model, history, settings=SHORT)).output
    history.append({"role": "user", "content": "Again."})
    longer = await ask(live_model, history, settings=SHORT)
    assert longer.usage.input_tokens > 20
    assert text_of(longer)


@pytest.mark.parametrize("verb", ["chat"])  # this server's Responses verb ignores text.format
async def test_an_answer_follows_its_schema(live_model: Any) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"enum": ["Paris", "Rome"]}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
        "required": ["city", "days"],
        "additionalProperties": False,
    }
    settings = ModelSettings(max_tokens=60, temperature=0)
    answer = json.loads(text_of(await ask(live_model, "A trip?", settings=settings, output=Output(schema))))
    assert answer["city"] in ("Paris", "Rome")
    assert 1 <= answer["days"] <= 9


async def test_a_history_over_the_context_is_a_typed_error(live_model: Any) -> None:
    with pytest.raises(ModelError, match=r"HTTP 400.*exceeds the available context size") as caught:
        await ask(live_model, "hi " * 3000, settings=SHORT)
    assert (caught.value.status_code, caught.value.retryable) == (400, False)
    assert caught.value.body["n_ctx"] == 2048


async def test_a_malformed_request_is_a_typed_error_streamed_too(live_model: Any) -> None:
    settings = ModelSettings(extra_body={"n": 3})
    for call in (ask, listen):
        with pytest.raises(ModelError, match="HTTP 400") as caught:
            await call(live_model, "hi", settings=settings)
        assert caught.value.status_code == 400


async def test_a_servers_own_failure_is_retryable(live_model: Any, verb: str) -> None:
    # Found by trying: what this server has no answer but HTTP 500 for.
    broken: dict[str, Any] = {"tools": "x"}
    if verb == "responses":
        broken = {"tools": [{"type": "function", "function": {"name": "x"}}]}
    with pytest.raises(ModelError, match="HTTP 500") as caught:
        await ask(live_model, "hi", settings=ModelSettings(extra_body=broken))
    assert caught.value.retryable


async def test_a_wrong_key_says_which_to_check(llama: LocalServer, verb: str) -> None:
    async with openai.AsyncOpenAI(base_url=llama.url, api_key="wrong") as client:
        with pytest.raises(ModelError, match=r"HTTP 401.*check OPENAI_API_KEY"):
            await ask(model_for(verb, client), "hi")


async def test_a_cancelled_call_frees_the_servers_slot(live_model: Any, llama: LocalServer) -> None:
    endless = ModelSettings(max_tokens=1500, extra_body={"ignore_eos": True})
    positional, _ = arguments("Count to a thousand.", settings=endless)
    stream = live_model.stream_response(*positional)
    first = asyncio.Event()

    async def read() -> None:
        async for event in stream:
            if kind(event) == "response.output_text.delta":
                first.set()

    task = asyncio.create_task(read())
    await asyncio.wait_for(first.wait(), 30)
    assert await asyncio.to_thread(busy, llama)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    left = time.monotonic()
    while await asyncio.to_thread(busy, llama):
        assert time.monotonic() - left < 15, "the slot is still taken"  # 1,500 tokens take far longer
        await asyncio.sleep(0.05)


def busy(llama: LocalServer) -> bool:
    request = urllib.request.Request(
        llama.url.removesuffix("/v1") + "/slots", headers={"Authorization": f"Bearer {llama.api_key}"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return any(slot["is_processing"] for slot in json.load(answer))
