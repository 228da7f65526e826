"""The two OpenAI models against a loopback server: what is sent, what comes of it, and every way it can fail."""

from __future__ import annotations

import asyncio
import email.utils
import time
from typing import Any

import openai
import pytest
from models_asking import WEATHER, Handoff, Hosted, Output, arguments, ask, deltas, kind, listen, model_for, text_of
from models_loopback import Loopback, answer_events, answer_json, answer_late

from flowcore.errors import ModelError, ModelRefusalError, ModelTimeoutError, UserError
from flowcore.models import (
    MCPToolChoice,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
)

UNKNOWN = {"type": "dream", "id": "x_1", "content": [{"deep": {"er": [1, None, "\u00e9\x00"]}}], "new": True}
SAID = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Hello.", "annotations": [], "later": {"a": 1}}],
    "beside": "kept",
}
USAGE = {
    "input_tokens": 11,
    "input_tokens_details": {"cached_tokens": 3},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 18,
}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "status": "completed",
    "error": None,
    "output": [SAID, UNKNOWN],
    "usage": USAGE,
}


def chat(message: dict[str, Any], finish_reason: str = "stop") -> dict[str, Any]:
    return {
        "id": "chatcmpl_1",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish_reason}],
        "usage": {
            "prompt_tokens": 11,
            "prompt_tokens_details": {"cached_tokens": 3},
            "completion_tokens": 7,
            "completion_tokens_details": {"reasoning_tokens": 2},
            "total_tokens": 18,
        },
    }


def chunk(finish_reason: str | None = None, **delta: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl_1",
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    }


def whole(verb: str) -> Any:
    return answer_json(RESPONSE if verb == "responses" else chat({"content": "Hello."}), x_request_id="req_1")


def streamed_half(verb: str, then: str) -> Any:
    if verb == "chat":
        return answer_events(chunk(role="assistant", content="Hel"), then=then)
    return answer_events(
        {"type": "response.created", "response": {"id": "resp_1", "output": []}},
        {
            "type": "response.output_text.delta",
            "item_id": "m",
            "output_index": 0,
            "content_index": 0,
            "delta": "Hel",
        },
        then=then,
    )


# What a reply becomes


async def test_a_reply_of_the_responses_api_is_kept_as_it_came(loopback: Loopback, loopback_client: Any) -> None:
    loopback.answers = [answer_json(RESPONSE, x_request_id="req_1")]
    response = await ask(
        OpenAIResponsesModel("m", loopback_client), "hi", settings=ModelSettings(preserve_raw_usage=True)
    )
    assert response.output == [SAID, UNKNOWN]
    assert response.response_id == "resp_1"
    assert response.request_id == "req_1"
    assert response.raw_usage == USAGE
    assert response.usage.to_counts() == {
        "requests": 1,
        "input_tokens": 11,
        "output_tokens": 7,
        "total_tokens": 18,
        "cached_tokens": 3,
        "reasoning_tokens": 2,
    }
    assert response.raw_output is not None
    assert type(response.raw_output[0]).__name__ == "ResponseOutputMessage"
    assert response.raw_output[0].content[0].text == "Hello."
    assert response.raw_output[1] is response.output[1], "an unknown type stays a dict"


async def test_a_streamed_reply_of_the_responses_api_is_the_unstreamed_one(
    loopback: Loopback, loopback_client: Any
) -> None:
    loopback.answers = [
        answer_events(
            {"type": "response.created", "response": {"id": "resp_1", "output": []}},
            {"type": "response.a_later_kind", "x": 1},
            {
                "type": "response.output_text.delta",
                "item_id": "m",
                "output_index": 0,
                "content_index": 0,
                "delta": "Hello.",
                "logprobs": [],
            },
            {"type": "response.completed", "response": RESPONSE},
            x_request_id="req_1",
        ),
        answer_json(RESPONSE, x_request_id="req_1"),
    ]
    model = OpenAIResponsesModel("m", loopback_client)
    events, streamed = await listen(model, "hi")
    assert streamed == await ask(model, "hi")
    assert [type(event).__name__ for event in events] == [
        "ResponseCreatedEvent",
        "dict",
        "ResponseTextDeltaEvent",
        "ResponseCompletedEvent",
    ]
    assert deltas(events) == ["Hello."]


async def test_items_are_taken_from_the_stream_when_the_last_event_has_none(
    loopback: Loopback, loopback_client: Any
) -> None:
    loopback.answers = [
        answer_events(
            {"type": "response.output_item.done", "output_index": 0, "item": SAID},
            {"type": "response.completed", "response": {**RESPONSE, "output": []}},
        )
    ]
    _, response = await listen(OpenAIResponsesModel("m", loopback_client), "hi")
    assert response.output == [SAID]


async def test_a_chats_reply_becomes_items(loopback: Loopback, loopback_client: Any) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}, "signature": "s"}
    message = {"content": "Hello.", "reasoning_content": "Hm.", "tool_calls": [call, {**call, "id": "call_2"}]}
    loopback.answers = [answer_json(chat(message, "tool_calls"), x_request_id="req_1")]
    response = await ask(OpenAIChatCompletionsModel("m", loopback_client), "hi")
    reasoning, said, first, second = response.output
    assert reasoning["summary"] == [{"type": "summary_text", "text": "Hm."}]
    assert said["content"] == [{"type": "output_text", "text": "Hello.", "annotations": []}]
    assert (first["type"], first["name"], first["arguments"]) == ("function_call", "f", "{}")
    assert [first["call_id"], second["call_id"]] == ["call_1", "call_2"]
    assert first["provider_data"] == {"signature": "s"}
    assert response.request_id == "req_1"
    assert response.usage.to_counts()["reasoning_tokens"] == 2


async def test_a_streamed_chat_gives_the_events_and_the_items_of_a_response(
    loopback: Loopback, loopback_client: Any
) -> None:
    def called(index: int, **call: Any) -> dict[str, Any]:
        return chunk(tool_calls=[{"index": index, **call}])

    loopback.answers = [
        answer_events(
            chunk(role="assistant", content=""),
            chunk(content="Hel"),
            chunk(content="lo."),
            called(0, id="call_1", type="function", function={"name": "f", "arguments": ""}),
            called(0, function={"arguments": '{"a":'}),
            called(1, id="call_2", type="function", function={"name": "g", "arguments": "{}"}, signature="s"),
            called(0, function={"arguments": "1}"}),
            chunk("tool_calls"),
            {"id": "chatcmpl_1", "choices": [], "usage": chat({})["usage"]},
            "[DONE]",
        )
    ]
    events, response = await listen(OpenAIChatCompletionsModel("m", loopback_client), "hi")
    assert [kind(event) for event in events] == [
        "response.created",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.delta",
        "response.content_part.done",
        "response.output_item.done",
        "response.output_item.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert deltas(events) == ["Hel", "lo."]
    said, first, second = response.output
    assert said["content"][0]["text"] == "Hello."
    assert (first["call_id"], first["name"], first["arguments"]) == ("call_1", "f", '{"a":1}')
    assert (second["call_id"], second["arguments"], second["provider_data"]) == ("call_2", "{}", {"signature": "s"})
    assert response.usage.to_counts()["input_tokens"] == 11
    assert events[-1]["response"]["output"] == response.output
    assert [event["item"]["id"] for event in events if kind(event) == "response.output_item.done"] == [
        item["id"] for item in response.output
    ]
    assert loopback.bodies[0]["stream_options"] == {"include_usage": True}


async def test_a_refusal_is_a_part_of_the_message_streamed_or_not(loopback: Loopback, loopback_client: Any) -> None:
    loopback.answers = [
        answer_json(chat({"content": None, "refusal": "I won't."})),
        answer_events(chunk(refusal="I "), chunk(refusal="won't."), chunk("stop")),
        answer_json(chat({"content": None}, "content_filter")),
        answer_events(chunk("content_filter")),
    ]
    model = OpenAIChatCompletionsModel("m", loopback_client)
    response = await ask(model, "hi")
    events, streamed = await listen(model, "hi")
    assert (
        response.output[0]["content"] == streamed.output[0]["content"] == [{"type": "refusal", "refusal": "I won't."}]
    )
    assert [kind(event) for event in events].count("response.refusal.delta") == 2
    filtered = await ask(model, "hi")
    _, filtered_streamed = await listen(model, "hi")
    assert filtered.output[0]["content"] == filtered_streamed.output[0]["content"]
    assert filtered.output[0]["content"][0]["type"] == "refusal"
    assert ModelRefusalError("x").refusal == "x"


async def test_a_reply_of_nothing_is_a_message_of_nothing(loopback: Loopback, loopback_client: Any) -> None:
    loopback.answers = [answer_json(chat({"content": ""})), answer_events(chunk("stop"))]
    model = OpenAIChatCompletionsModel("m", loopback_client)
    for response in (await ask(model, "hi"), (await listen(model, "hi"))[1]):
        assert [part["text"] for part in response.output[0]["content"]] == [""]


# What is sent


async def test_the_history_travels_as_it_is_and_is_not_touched(loopback: Loopback, loopback_client: Any) -> None:
    loopback.answers = [answer_json(RESPONSE)]
    history = [{"role": "user", "content": "hi"}, SAID, UNKNOWN]
    before = repr(history)
    await ask(OpenAIResponsesModel("m", loopback_client), history)
    assert loopback.bodies[0] == {"model": "m", "input": history}
    assert repr(history) == before


async def test_what_only_the_provider_writes_into_an_item_isnt_sent_back(
    loopback: Loopback, loopback_client: Any
) -> None:
    loopback.answers = [answer_json(RESPONSE)]
    thought = {"type": "reasoning", "id": "rs_1", "summary": []}
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", "status": "completed"}
    history = [thought | {"status": None}, call | {"created_by": "agent"}]
    await ask(OpenAIResponsesModel("m", loopback_client), history)
    assert loopback.bodies[0]["input"] == [thought, call]
    assert "created_by" in history[1]


async def test_text_that_no_wire_can_carry_is_mended_not_fatal(loopback: Loopback, loopback_client: Any) -> None:
    loopback.answers = [answer_json(RESPONSE)]
    lone = [{"role": "user", "content": "a\udc80b \ud83d\ude00"}]
    await ask(OpenAIResponsesModel("m", loopback_client), lone)
    assert loopback.bodies[0]["input"] == [{"role": "user", "content": "a\ufffdb \U0001f600"}]
    with pytest.raises(UserError, match="can't be written as JSON"):
        await ask(OpenAIResponsesModel("m", loopback_client), "hi", settings=ModelSettings(temperature=float("nan")))


async def test_a_responses_request_says_all_that_was_asked(loopback: Loopback, loopback_client: Any) -> None:
    loopback.answers = [answer_json(RESPONSE)]
    settings = ModelSettings(
        temperature=0.5,
        top_p=0.9,
        tool_choice="get_weather",
        parallel_tool_calls=False,
        truncation="auto",
        max_tokens=5,
        reasoning={"effort": "low"},
        verbosity="low",
        metadata={"a": "b"},
        store=False,
        prompt_cache_retention="24h",
        response_include=["reasoning.encrypted_content"],
        top_logprobs=2,
        extra_query={"q": "1"},
        extra_body={"later": True},
        extra_headers={"x-mine": "yes"},
        extra_args={"service_tier": "flex"},
        context_management=[{"type": "compaction"}],
    )
    hosted = Hosted({"type": "web_search"})
    await ask(
        OpenAIResponsesModel("m", loopback_client),
        "hi",
        system="Be brief.",
        settings=settings,
        tools=[WEATHER, hosted],
        handoffs=[Handoff("transfer_to_b")],
        output=Output({"type": "object"}),
        previous_response_id="resp_0",
        conversation_id="conv_1",
        prompt={"id": "pmpt_1"},
    )
    assert loopback.paths == ["/v1/responses?q=1"]
    assert loopback.headers[0]["x-mine"] == "yes"
    assert loopback.bodies[0] == {
        "model": "m",
        "input": "hi",
        "instructions": "Be brief.",
        "tools": [
            {
                "type": "function",
                "name": "get_weather",
                "description": "The weather in a city.",
                "parameters": WEATHER.params_json_schema,
                "strict": True,
            },
            {"type": "web_search"},
            {
                "type": "function",
                "name": "transfer_to_b",
                "description": "A handoff.",
                "parameters": {"type": "object", "properties": {}},
                "strict": True,
            },
        ],
        "tool_choice": {"type": "function", "name": "get_weather"},
        "parallel_tool_calls": False,
        "text": {
            "format": {"type": "json_schema", "name": "final_output", "schema": {"type": "object"}, "strict": True},
            "verbosity": "low",
        },
        "temperature": 0.5,
        "top_p": 0.9,
        "max_output_tokens": 5,
        "truncation": "auto",
        "reasoning": {"effort": "low"},
        "metadata": {"a": "b"},
        "store": False,
        "include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
        "top_logprobs": 2,
        "context_management": [{"type": "compaction"}],
        "prompt_cache_retention": "24h",
        "previous_response_id": "resp_0",
        "conversation": "conv_1",
        "prompt": {"id": "pmpt_1"},
        "service_tier": "flex",
        "later": True,
    }


async def test_a_chat_request_says_all_that_was_asked(loopback: Loopback, loopback_client: Any) -> None:
    loopback.answers = [answer_json(chat({"content": "x"}))]
    settings = ModelSettings(
        temperature=0.5,
        frequency_penalty=0.1,
        presence_penalty=0.2,
        tool_choice="required",
        parallel_tool_calls=True,
        max_tokens=5,
        reasoning=openai.types.shared.Reasoning(effort="low"),
        top_logprobs=2,
    )
    await ask(
        OpenAIChatCompletionsModel("m", loopback_client),
        "hi",
        system="Be brief.",
        settings=settings,
        tools=[WEATHER],
        output=Output({"type": "object"}),
    )
    assert loopback.paths == ["/v1/chat/completions"]
    assert loopback.bodies[0] == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "get_weather",
                    "description": "The weather in a city.",
                    "parameters": WEATHER.params_json_schema,
                    "strict": True,
                },
            }
        ],
        "tool_choice": "required",
        "parallel_tool_calls": True,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "final_output", "schema": {"type": "object"}, "strict": True},
        },
        "temperature": 0.5,
        "frequency_penalty": 0.1,
        "presence_penalty": 0.2,
        "max_tokens": 5,
        "reasoning_effort": "low",
        "logprobs": True,
        "top_logprobs": 2,
    }


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("get_weather", {"type": "function", "name": "get_weather"}),
        ("web_search", {"type": "web_search"}),
        (MCPToolChoice("deep", "ask"), {"type": "mcp", "server_label": "deep", "name": "ask"}),
        ({"type": "custom", "name": "x"}, {"type": "custom", "name": "x"}),
    ],
)
async def test_a_tool_choice_takes_its_wire_form(
    loopback: Loopback, loopback_client: Any, choice: Any, sent: Any
) -> None:
    loopback.answers = [answer_json(RESPONSE)]
    model = OpenAIResponsesModel("m", loopback_client)
    await ask(model, "hi", tools=[WEATHER], settings=ModelSettings(tool_choice=choice))
    assert loopback.bodies[0]["tool_choice"] == sent


async def test_without_tools_nothing_is_said_about_choosing(loopback: Loopback, loopback_model: Any, verb: str) -> None:
    loopback.answers = [whole(verb)]
    await ask(loopback_model, "hi", settings=ModelSettings(tool_choice="auto", parallel_tool_calls=True))
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(loopback.bodies[0])


async def test_a_chat_refuses_what_only_the_responses_api_has(loopback_client: Any) -> None:
    model = OpenAIChatCompletionsModel("m", loopback_client)
    with pytest.raises(UserError, match="previous_response_id"):
        await ask(model, "hi", previous_response_id="resp_1")
    with pytest.raises(UserError, match="web_search"):
        await ask(model, "hi", tools=[Hosted({"type": "web_search"})])
    with pytest.raises(UserError, match="can't be given to a model as a tool"):
        await ask(model, "hi", tools=[object()])


# What may go wrong


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_rate_limit_is_a_retryable_error_that_was_asked_for_once(
    loopback: Loopback, loopback_model: Any, streamed: bool
) -> None:
    loopback.answers = [
        answer_json(
            {"error": {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"}},
            429,
            retry_after="7",
            x_request_id="req_9",
        )
    ]
    with pytest.raises(ModelError, match=r"(?s)model 'm' at http.*HTTP 429.*slow down.*wait 7 s") as caught:
        await (listen if streamed else ask)(loopback_model, "hi")
    error = caught.value
    assert (error.status_code, error.code, error.retry_after) == (429, "rate_limit_exceeded", 7.0)
    assert (error.retryable, error.request_id) == (True, "req_9")
    assert error.body == {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"}
    assert isinstance(error.__cause__, openai.RateLimitError)
    assert len(loopback.bodies) == 1, "a retry is an edge of our graph"


@pytest.mark.parametrize(
    ("status", "retryable"),
    [(400, False), (401, False), (404, False), (408, True), (409, True), (422, False), (500, True), (503, True)],
)
async def test_a_status_tells_whether_to_try_again(
    loopback: Loopback, loopback_model: Any, status: int, retryable: bool
) -> None:
    loopback.answers = [answer_json({"error": {"message": "no"}}, status)]
    with pytest.raises(ModelError) as caught:
        await ask(loopback_model, "hi")
    assert (caught.value.status_code, caught.value.retryable) == (status, retryable)
    assert caught.value.retry_after is None


async def test_how_long_to_wait_is_read_in_every_form(loopback: Loopback, loopback_model: Any) -> None:
    date = email.utils.formatdate(time.time() + 30, usegmt=True)
    loopback.answers = [
        answer_json({}, 503, retry_after_ms="1500", retry_after="9"),
        answer_json({}, 503, retry_after="0.5"),
        answer_json({}, 503, retry_after=date),
        answer_json({}, 503, retry_after="soon"),
        answer_json({}, 503, retry_after="-1"),
    ]
    waits = []
    for _ in loopback.answers:
        with pytest.raises(ModelError) as caught:
            await ask(loopback_model, "hi")
        waits.append(caught.value.retry_after)
    assert waits[:2] == [1.5, 0.5]
    assert waits[2] is not None
    assert 25 < waits[2] <= 30
    assert waits[3:] == [None, None]


@pytest.mark.parametrize("then", ["end", "hang_up"])
async def test_a_stream_that_ends_too_early_is_a_retryable_error(
    loopback: Loopback, loopback_model: Any, verb: str, then: str
) -> None:
    loopback.answers = [streamed_half(verb, then)]
    with pytest.raises(ModelError) as caught:
        await listen(loopback_model, "hi")
    assert caught.value.retryable
    assert caught.value.status_code is None


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_answer_that_is_too_slow_is_a_timeout(
    loopback: Loopback, loopback_model: Any, verb: str, streamed: bool
) -> None:
    loopback.answers = [streamed_half(verb, "wait") if streamed else answer_late(30, whole(verb))]
    began = time.monotonic()
    with pytest.raises(ModelTimeoutError, match=r"within 0\.3 seconds") as caught:
        await (listen if streamed else ask)(loopback_model, "hi", settings=ModelSettings(timeout=0.3))
    assert time.monotonic() - began < 5
    assert caught.value.timeout_seconds == 0.3
    assert caught.value.retryable
    await asyncio.wait_for(loopback.client_left.wait(), 5)


async def test_a_timeout_never_strikes_in_the_readers_own_wait(loopback: Loopback, loopback_client: Any) -> None:
    loopback.answers = [answer_events(chunk(content="a"), chunk(content="b"), chunk("stop"), "[DONE]")]
    model = OpenAIChatCompletionsModel("m", loopback_client)
    positional, _ = arguments("hi", settings=ModelSettings(timeout=0.4))
    stream = model.stream_response(*positional)
    await anext(stream)
    await asyncio.sleep(0.5)  # it isn't cut off here, in the reader's own wait
    with pytest.raises(ModelTimeoutError):
        await _read_on(stream)


async def _read_on(stream: Any) -> None:
    async for _ in stream:
        pass


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_cancelled_call_hangs_up_at_once(
    loopback: Loopback, loopback_model: Any, verb: str, streamed: bool
) -> None:
    loopback.answers = [streamed_half(verb, "wait") if streamed else answer_late(30, whole(verb))]
    task = asyncio.create_task((listen if streamed else ask)(loopback_model, "hi"))
    await asyncio.wait_for(loopback.asked.wait(), 5)
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(loopback.client_left.wait(), 5)


async def test_a_reader_who_leaves_hangs_up_at_once(loopback: Loopback, loopback_model: Any, verb: str) -> None:
    loopback.answers = [streamed_half(verb, "wait")]
    positional, _ = arguments("hi")
    stream = loopback_model.stream_response(*positional)
    await anext(stream)
    await stream.aclose()
    await asyncio.wait_for(loopback.client_left.wait(), 5)


async def test_no_server_is_a_retryable_error(unused_tcp_port: int, verb: str) -> None:
    async with openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{unused_tcp_port}/v1", api_key="k") as client:
        with pytest.raises(ModelError, match="check the network") as caught:
            await ask(model_for(verb, client), "hi")
    assert caught.value.retryable
    assert caught.value.status_code is None


async def test_an_error_inside_the_answer_is_an_error(loopback: Loopback, loopback_model: Any, verb: str) -> None:
    trouble = {"code": "server_error", "message": "it broke"}
    failed = {"id": "resp_1", "status": "failed", "error": trouble, "output": []}
    if verb == "responses":
        streamed = [
            answer_events({"type": "error", **trouble}),
            answer_events({"type": "response.failed", "response": failed}),
        ]
        loopback.answers = [*streamed, answer_json(failed)]
    else:
        loopback.answers = [answer_events({"error": trouble}), answer_json({"error": trouble})]
    for answer in list(loopback.answers):
        call = ask if answer is loopback.answers[-1] else listen
        with pytest.raises(ModelError, match="it broke") as caught:
            await call(loopback_model, "hi")
        assert (caught.value.code, caught.value.retryable) == ("server_error", True)


@pytest.mark.parametrize("text", ["<html>hello</html>", "[]", "{}"])
async def test_an_answer_of_something_else_says_to_check_the_address(
    loopback: Loopback, loopback_model: Any, text: str
) -> None:
    loopback.answers = [answer_json(text)]
    with pytest.raises(ModelError, match=r"can't be read|check OPENAI_BASE_URL") as caught:
        await ask(loopback_model, "hi")
    assert not caught.value.retryable


async def test_a_stream_of_something_else_is_an_error(loopback: Loopback, loopback_model: Any) -> None:
    loopback.answers = [answer_events("no json")]
    with pytest.raises(ModelError, match="can't be read"):
        await listen(loopback_model, "hi")


async def test_a_missing_key_is_told_with_all_the_ways_to_mend_it(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ADMIN_KEY"):
        monkeypatch.delenv(name, raising=False)
    model = OpenAIResponsesModel("m") if verb == "responses" else OpenAIChatCompletionsModel("m")
    with pytest.raises(UserError, match=r"OPENAI_API_KEY.*OPENAI_BASE_URL.*model.*flowcore\[local\]"):
        await ask(model, "hi")


async def test_a_server_of_ones_own_needs_no_key(
    loopback: Loopback, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_BASE_URL", loopback.url)
    loopback.answers = [whole(verb)]
    model = OpenAIResponsesModel("m") if verb == "responses" else OpenAIChatCompletionsModel("m")
    assert text_of(await ask(model, "hi")) == "Hello."
    assert loopback.headers[0]["connection"] == "close", "without TLS, each request has a connection of its own"
    await model.close()


def test_one_model_serves_several_event_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    model = OpenAIChatCompletionsModel("m")

    async def once() -> str:
        server = Loopback()
        await server.start()
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        server.answers = [answer_json(chat({"content": "Hello."}))]
        said = text_of(await ask(model, "hi"))
        await model.close()
        await server.stop()
        return said

    assert [asyncio.run(once()), asyncio.run(once())] == ["Hello.", "Hello."]
