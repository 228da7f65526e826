"""litellm, for real, against a loopback server: what is sent through it, what comes of it, and how it fails."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator
from importlib.util import find_spec
from typing import Any

import pytest
from models_asking import WEATHER, Hosted, Output, ask, deltas, listen, text_of
from models_loopback import Loopback, answer_events, answer_json, answer_late

from flowcore import Agent, RunConfig, Runner
from flowcore.errors import ModelError, ModelTimeoutError, UserError
from flowcore.models import LitellmModel, LitellmProvider, ModelSettings, MultiProvider
from flowcore.models.retry import context_for

pytestmark = [
    pytest.mark.skipif(find_spec("litellm") is None, reason="the extra litellm isn't installed here"),
    # litellm's own ways with its clients and its models; ours are held to "error" everywhere else.
    pytest.mark.filterwarnings("ignore"),
]

CALL = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Rome"}'}}
THOUGHT = [{"type": "thinking", "thinking": "Rome, then.", "signature": "s1g"}]


def whole(finish_reason: str = "stop", **message: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl_1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish_reason}],
        "usage": {
            "prompt_tokens": 11,
            "prompt_tokens_details": {"cached_tokens": 3},
            "completion_tokens": 7,
            "total_tokens": 18,
        },
    }


def chunk(finish_reason: str | None = None, **delta: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl_1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    }


@pytest.fixture(autouse=True)
async def closed_afterwards() -> AsyncIterator[None]:
    yield
    litellm = sys.modules.get("litellm")
    if litellm is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            await litellm.close_litellm_async_clients()


@pytest.fixture
def model(loopback: Loopback) -> LitellmModel:
    return LitellmModel("openai/m", base_url=loopback.url, api_key="k")


@pytest.mark.parametrize(("name", "cost"), [("openai/gpt-4o-mini", 5.625e-06), ("openai/m", 0.0)])
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_call_costs_what_litellms_prices_say_where_it_knows_them(
    loopback: Loopback, name: str, cost: float, streamed: bool
) -> None:
    told = whole(content="Hi.")
    events = [chunk(content="Hi."), chunk("stop"), {**chunk(), "choices": [], "usage": told["usage"]}]
    loopback.answers = [answer_events(*events) if streamed else answer_json(told)]
    model = LitellmModel(name, base_url=loopback.url, api_key="k")
    response = await ask(model, "hi") if not streamed else (await listen(model, "hi"))[-1]
    assert response.usage.cost == pytest.approx(cost)


async def test_a_reply_comes_back_as_items(loopback: Loopback, model: LitellmModel) -> None:
    loopback.answers = [answer_json(whole("tool_calls", content="Let me see.", tool_calls=[CALL]))]
    response = await ask(
        model,
        "hi",
        system="Be brief.",
        tools=[WEATHER],
        output=Output({"type": "object", "properties": {}}),
        settings=ModelSettings(
            temperature=0.5, max_tokens=5, tool_choice="get_weather", preserve_raw_usage=True, extra_args={"seed": 7}
        ),
    )
    said, call = response.output
    assert said["content"][0]["text"] == "Let me see."
    assert (call["type"], call["call_id"], call["name"]) == ("function_call", "call_1", "get_weather")
    assert (response.usage.input_tokens, response.usage.input_tokens_details.cached_tokens) == (11, 3)
    assert response.raw_usage is not None
    (sent,) = loopback.bodies
    assert sent["model"] == "m"
    assert sent["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
    assert (sent["temperature"], sent["max_tokens"], sent["seed"]) == (0.5, 5, 7)
    assert sent["tools"][0]["function"]["name"] == "get_weather"
    assert sent["tool_choice"] == {"type": "function", "function": {"name": "get_weather"}}
    assert sent["response_format"]["type"] == "json_schema"
    assert loopback.headers[0]["authorization"] == "bearer k"


async def test_a_streamed_reply_gives_events_and_the_same_items(loopback: Loopback, model: LitellmModel) -> None:
    loopback.answers = [
        answer_events(
            chunk(role="assistant", content=""),
            chunk(content="Hel"),
            chunk(content="lo."),
            chunk("stop"),
            {**chunk(), "choices": [], "usage": whole()["usage"]},
            "[DONE]",
        )
    ]
    events, response = await listen(model, "hi")
    assert "".join(deltas(events)) == text_of(response) == "Hello."
    assert (response.usage.requests, response.usage.input_tokens) == (1, 11)
    assert loopback.bodies[0]["stream_options"] == {"include_usage": True}


async def test_a_whole_run_goes_through_the_prefix(loopback: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_BASE", loopback.url)
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    loopback.answers = [answer_json(whole(content="Hello."))]
    clerk = Agent(name="clerk", model="litellm/openai/m")
    for provider in (MultiProvider(), None):
        result = await Runner.run(clerk, "hi", run_config=RunConfig(model_provider=provider))
        assert result.final_output == "Hello."
    other = Agent(name="other", model="openai/m")
    assert (await Runner.run(other, "hi", run_config=RunConfig(model_provider=LitellmProvider()))).final_output
    assert {body["model"] for body in loopback.bodies} == {"m"}


async def test_what_a_provider_signed_goes_back_to_it(loopback: Loopback, model: LitellmModel) -> None:
    loopback.answers = [
        answer_json(whole("tool_calls", content=None, tool_calls=[CALL], thinking_blocks=THOUGHT)),
        answer_json(whole(content="Sunny.")),
    ]
    first = await ask(model, "weather?")
    reasoning, call = first.output
    assert reasoning["provider_data"] == {"thinking_blocks": THOUGHT}
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "sun"}
    await ask(model, [{"role": "user", "content": "weather?"}, *first.output, output])
    said = loopback.bodies[1]["messages"][1]
    assert said["role"] == "assistant"
    assert said["thinking_blocks"] == THOUGHT
    assert said["tool_calls"][0]["id"] == "call_1"


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_failure_is_ours_and_was_asked_for_once(
    loopback: Loopback, model: LitellmModel, streamed: bool
) -> None:
    busy = {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}
    loopback.answers = [answer_json(busy, 429, retry_after="7", x_request_id="req_9")]
    with pytest.raises(ModelError, match=r"model 'openai/m' through litellm: HTTP 429.*slow down") as caught:
        await (listen if streamed else ask)(model, "hi")
    error = caught.value
    assert (error.status_code, error.code, error.retry_after) == (429, "rate_limit_exceeded", 7.0)
    assert (error.retryable, error.request_id) == (True, "req_9")
    assert len(loopback.bodies) == 1
    advised = context_for(model, error, 1, None)
    assert (advised.normalized.retry_after, advised.replay_safety) == (7.0, "safe")


async def test_a_bad_request_isnt_worth_another_and_a_broken_stream_is(loopback: Loopback, model: LitellmModel) -> None:
    loopback.answers = [
        answer_json({"error": {"message": "no"}}, 400),
        answer_events(chunk(content="Hel"), then="hang_up"),
    ]
    with pytest.raises(ModelError, match="HTTP 400") as caught:
        await ask(model, "hi")
    assert not caught.value.retryable
    with pytest.raises(ModelError) as caught:
        await listen(model, "hi")
    assert caught.value.retryable


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_answer_that_is_too_slow_is_a_timeout(loopback: Loopback, model: LitellmModel, streamed: bool) -> None:
    slow = answer_events(chunk(content="Hel"), then="wait") if streamed else answer_late(30, answer_json(whole()))
    loopback.answers = [slow]
    with pytest.raises(ModelTimeoutError):
        await asyncio.wait_for((listen if streamed else ask)(model, "hi", settings=ModelSettings(timeout=0.5)), 20)


async def test_what_litellm_and_chats_dont_know_is_refused(model: LitellmModel) -> None:
    with pytest.raises(UserError, match="conversation_id"):
        await ask(model, "hi", conversation_id="conv_1")
    with pytest.raises(UserError, match="web_search"):
        await ask(model, "hi", tools=[Hosted({"type": "web_search"})])
    with pytest.raises(ModelError, match="LLM Provider NOT provided"):
        await ask(LitellmModel("nobody/m"), "hi")


def test_without_litellm_its_extra_is_named() -> None:
    code = (
        "import asyncio, sys; sys.modules['litellm'] = None\n"
        "from flowcore import Agent, Runner, UserError\n"
        "from flowcore.extensions.models.litellm_provider import LitellmProvider\n"
        "from flowcore.extensions.models.litellm_model import LitellmModel\n"
        "try: Runner.run_sync(Agent(name='a', model=LitellmModel('x/y')), 'hi')\n"
        "except UserError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'flowcore[litellm]'" in done.stdout
