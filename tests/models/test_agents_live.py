"""The agent loop over real HTTP: against a live llama.cpp server through both OpenAI models, and a loopback for exact
cases."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from models_asking import model_for
from models_loopback import Loopback, answer_json
from test_models_live import busy

from flowcore import Agent, ModelError, ModelSettings, Runner, function_tool, start
from flowcore.machine.facts import Rested, Transition
from flowcore.models.local_server import LocalServer
from flowcore.models.settings import ModelRetryBackoffSettings, ModelRetrySettings

SHORT = ModelSettings(max_tokens=12, temperature=0)
QUICK = ModelRetrySettings(
    max_retries=2, backoff=ModelRetryBackoffSettings(initial_delay=0.001, max_delay=0.001, multiplier=1, jitter=False)
)


def clerk(model: Any, settings: ModelSettings = SHORT, **more: Any) -> Agent[Any]:
    return Agent(name="Clerk", instructions="Answer shortly.", model=model, model_settings=settings, **more)


def broken_for(verb: str) -> dict[str, Any]:
    """What this server has no answer but HTTP 500 for, found by trying."""
    return {"tools": "x"} if verb == "chat" else {"tools": [{"type": "function", "function": {"name": "x"}}]}


@pytest.mark.real_model
async def test_an_agent_answers_and_its_usage_is_counted(live_model: Any) -> None:
    result = await Runner.run(clerk(live_model), "Say hello.")
    assert isinstance(result.final_output, str)
    assert result.final_output
    usage = result.context_wrapper.usage
    assert usage.requests == 1
    assert usage.input_tokens > 0
    assert 0 < usage.output_tokens <= 12
    assert result.raw_responses[0].usage.total_tokens == usage.total_tokens


@pytest.mark.real_model
async def test_a_streamed_agent_gives_the_deltas_of_the_text(live_model: Any) -> None:
    result = Runner.run_streamed(clerk(live_model), "Say hello.")
    text = ""
    names = []
    async for event in result.stream_events():
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
            text += event.data.delta
        elif event.type == "run_item_stream_event":
            names.append(event.name)
    assert text == result.final_output
    assert names == ["message_output_created"]
    assert result.context_wrapper.usage.output_tokens > 0


@pytest.mark.real_model
async def test_a_conversation_goes_on_with_what_the_first_run_gave(live_model: Any) -> None:
    agent = clerk(live_model)
    first = await Runner.run(agent, "My name is Ada.")
    second = await Runner.run(agent, [*first.to_input_list(), {"role": "user", "content": "What is my name?"}])
    assert len(second.to_input_list()) == 4
    assert second.final_output


@pytest.mark.real_model
async def test_an_http_400_fails_the_run_at_its_place_without_a_retry(live_model: Any) -> None:
    with pytest.raises(ModelError, match="exceeds the available context size") as caught:
        await Runner.run(clerk(live_model), "hi " * 3000)
    assert caught.value.status_code == 400
    assert caught.value.run_data.last_agent.name == "Clerk"


@pytest.mark.real_model
async def test_an_http_500_is_retried_on_drawn_edges_and_then_fails(live_model: Any, verb: str) -> None:
    settings = ModelSettings(max_tokens=12, extra_body=broken_for(verb), retry=QUICK)
    agent = clerk(live_model, settings)
    run = await start(agent, "hi", limits={"max_turns": 3})
    assert await run.drive() == "failed"
    assert [(step.node, step.on) for step in run.path()][-2:] == [("call_model", "retry"), ("call_model", "retry")]
    assert run.place == "call_model"
    assert isinstance(run.exception, ModelError)
    assert run.exception.status_code == 500
    last = run.facts[-1]
    assert isinstance(last, Rested)
    assert last.attempt == 3


@pytest.mark.real_model
async def test_a_cancelled_agent_leaves_the_server_at_once(live_model: Any, llama: LocalServer) -> None:
    endless = ModelSettings(max_tokens=1500, extra_body={"ignore_eos": True})
    result = Runner.run_streamed(clerk(live_model, endless), "Count to a thousand.")
    async for event in result.stream_events():
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
            break
    assert await asyncio.to_thread(busy, llama)
    result.cancel()
    left = time.monotonic()
    while await asyncio.to_thread(busy, llama):
        assert time.monotonic() - left < 15, "the slot is still taken"  # 1,500 tokens take far longer
        await asyncio.sleep(0.05)
    await result.run_loop_task
    assert result.run.standing == "cancelled"
    assert result.run.place == "call_model"


def reply_for(verb: str, text: str) -> dict[str, Any]:
    if verb == "chat":
        return {
            "id": "c1", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
        }  # fmt: skip
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {
        "id": "resp_1", "object": "response", "created_at": 1, "model": "m", "status": "completed",
        "output": [{"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": content}],
        "usage": {"input_tokens": 5, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 2,
                  "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 7},
        "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
    }  # fmt: skip


async def test_two_503s_are_two_edges_and_one_request_each(loopback: Loopback, loopback_model: Any, verb: str) -> None:
    down = answer_json({"error": {"message": "overloaded"}}, 503, retry_after_ms="20")
    loopback.answers = [down, down, answer_json(reply_for(verb, "fine"))]
    result = await Runner.run(clerk(loopback_model, ModelSettings(retry=QUICK)), "hi")
    assert result.final_output == "fine"
    assert len(loopback.bodies) == 3
    retries = [fact for fact in result.run.facts if isinstance(fact, Transition) and fact.on == "retry"]
    assert [fact.attempt for fact in retries] == [1, 2]
    assert all(fact.error["status_code"] == 503 for fact in retries)
    assert all(fact.not_before - fact.at >= 0.019 for fact in retries), "Retry-After is the least that's waited"
    assert result.context_wrapper.usage.requests == 3  # those that failed were made too
    assert result.context_wrapper.usage.total_tokens == 7


async def test_the_items_of_a_turn_go_back_verbatim(loopback: Loopback, loopback_client: Any) -> None:
    @function_tool
    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "add", "arguments": '{"a":1, "b":2}',
            "status": "completed", "a_key_of_tomorrow": {"x": [1]}}  # fmt: skip
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "abc"}
    first = {**reply_for("responses", ""), "output": [reasoning, call]}
    loopback.answers = [answer_json(first), answer_json(reply_for("responses", "3"))]
    result = await Runner.run(clerk(model_for("responses", loopback_client), tools=[add]), "1 + 2?")
    assert result.final_output == "3"
    sent = loopback.bodies[1]["input"]
    assert sent[1:3] == [reasoning, call]
    assert sent[3] == {"type": "function_call_output", "call_id": "call_1", "output": "3"}
    assert result.last_response_id == "resp_1"
    assert type(result.new_items[1].raw_item).__name__ == "ResponseFunctionToolCall"
