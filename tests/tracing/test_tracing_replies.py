"""Calls of a model behind the Responses API have spans of kind "response", whatever becomes of the run."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
from tracing_making import Kept, forms, of_facts, refund, weather

from flowcore import (
    Agent,
    GuardrailFunctionOutput,
    InputGuardrail,
    MemoryStore,
    ModelRetrySettings,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    ResponseSpanData,
    Runner,
    Usage,
    answer,
    load,
    start,
)
from flowcore.errors import ModelError
from flowcore.testing import Crash, CrashingStore, ModelStep, ScriptedModel, function_call, journals, message
from flowcore.tracing.derive import spans_of

sys.path.append(str(Path(__file__).parent.parent / "models"))
from models_loopback import Loopback, answer_json

SPENT = Usage(requests=1, input_tokens=10, output_tokens=3, total_tokens=13)
COUNTS = {
    "requests": 1, "input_tokens": 10, "output_tokens": 3, "total_tokens": 13,
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens_details": {"reasoning_tokens": 0},
}  # fmt: skip


class Responses(ScriptedModel):
    """A scripted model that stands for one behind the Responses API."""

    span = "response"


def said(*outputs: Any) -> Responses:
    steps = [
        one if isinstance(one, Exception) else ModelStep(output=[one], usage=SPENT, response_id=f"resp_{n}")
        for n, one in enumerate(outputs)
    ]
    return Responses.by_turn(steps)


@pytest.fixture
async def loopback() -> AsyncIterator[Loopback]:
    server = Loopback()
    await server.start()
    yield server
    await server.stop()


REPLY = {
    "id": "resp_1", "object": "response", "status": "completed", "model": "m", "error": None,
    "output": [{"id": "msg_1", **message("Hello.")}],
    "usage": {"input_tokens": 10, "output_tokens": 3, "total_tokens": 13},
}  # fmt: skip
CHAT = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello."}}],
}  # fmt: skip


async def test_the_api_that_a_model_is_behind_says_the_kind_of_span(kept: Kept, loopback: Loopback) -> None:
    loopback.answers = [answer_json(REPLY), answer_json(CHAT)]
    async with openai.AsyncOpenAI(base_url=loopback.url, api_key="test") as client:
        await Runner.run(Agent(name="A", instructions="Be.", model=OpenAIResponsesModel("m", client)), "hi")
        await Runner.run(Agent(name="A", model=OpenAIChatCompletionsModel("m", client)), "hi")
    assert len(kept.of("generation")) == 1
    [span] = kept.of("response")
    assert isinstance(span.span_data, ResponseSpanData)
    assert span.span_data.export() == {"type": "response", "response_id": "resp_1", "usage": COUNTS}
    assert span.span_data.input == [{"role": "user", "content": "hi"}]
    response = span.span_data.response
    assert (response.id, response.model, response.instructions) == ("resp_1", "m", "Be.")
    assert response.output[0].content[0].text == "Hello."
    assert response.usage.total_tokens == 13


async def test_without_sensitive_data_a_response_span_tells_usage_alone(kept: Kept) -> None:
    run_config = {"trace_include_sensitive_data": False}
    await Runner.run(Agent(name="A", model=said(message("Hello."))), "hi", run_config=run_config)
    data = kept.of("response")[0].span_data
    assert (data.response, data.input) == (None, None)
    assert data.export() == {"type": "response", "response_id": None, "usage": COUNTS}


async def test_each_try_has_its_own_response_span_with_what_it_used(kept: Kept) -> None:
    model = Responses([ModelError("away", retryable=True), ModelStep([message("Hello.")], SPENT, "resp_1")])
    retry = ModelRetrySettings(max_retries=1, backoff={"initial_delay": 0})
    agent: Any = Agent(name="A", model=model, model_settings=ModelSettings(retry=retry))
    result = await Runner.run(agent, "hi")
    failed, good = kept.of("response")
    assert failed.error["message"] == "Error calling the model"
    assert (failed.span_data.response, failed.span_data.export()["usage"]["requests"]) == (None, 1)
    assert good.span_data.export() == {"type": "response", "response_id": "resp_1", "usage": COUNTS}
    assert of_facts(forms(spans_of(result.run, agent))) == of_facts(forms(kept.ended))


def everything() -> Agent[Any]:
    """Two turns behind the Responses API, the first beside a guardrail; one call waits for a person."""
    calls = [function_call("refund", {"order": 1}, "c1"), function_call("weather", {"city": "Rome"}, "c2")]
    steps = [ModelStep(calls, SPENT, "resp_0"), ModelStep([message("Done.")], SPENT, "resp_1")]

    async def judge(context: Any, agent: Any, input: Any) -> GuardrailFunctionOutput:
        return GuardrailFunctionOutput(None, False)

    return Agent(
        name="A", model=Responses.by_turn(steps), tools=[refund, weather], input_guardrails=[InputGuardrail(judge)]
    )


async def finish(run: Any) -> None:
    await run.drive()
    for request in await run.requests():
        await answer(run.store, request.run, request.key, True)
    await run.drive()


async def test_a_crash_after_any_fact_changes_no_response_span(kept: Kept) -> None:
    calm = MemoryStore(keep_bytes=True)
    counting = CrashingStore(calm)
    await finish(await start(everything(), "hi", run_id="r", store=counting))
    reference = of_facts(forms(kept.ended))
    replies = [one["span_data"]["response_id"] for one in reference.values() if one["span_data"]["type"] == "response"]
    assert replies == ["resp_0", "resp_1"]
    assert of_facts(forms(spans_of(await journals(calm, "r"), everything()))) == reference
    for k in range(1, counting.written + 1):
        kept.__init__()  # type: ignore[misc]
        left = MemoryStore(keep_bytes=True)
        crashing = CrashingStore(left, k)
        before = asyncio.all_tasks()
        try:
            await finish(await start(everything(), "hi", run_id="r", store=crashing))
        except Crash:
            pass
        tasks = asyncio.all_tasks() - before
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await crashing.bury()
        seen = of_facts(forms(kept.ended))
        kept.ended.clear()
        await finish(await load("r", everything(), store=left))
        found = {**seen, **of_facts(forms(kept.ended))}
        assert found == {id: reference[id] for id in found}, k
        assert of_facts(forms(spans_of(await journals(left, "r"), everything()))) == reference, k
