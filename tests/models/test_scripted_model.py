"""The scripted model, with which everything else is tested."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from models_asking import WEATHER, ask, deltas, kind, listen, text_of

from flowcore.errors import ModelError, UserError
from flowcore.models import ModelResponse, ModelRetryAdvice, ModelRetryAdviceRequest, ModelSettings, Usage
from flowcore.models.openai_types import typed_items
from flowcore.testing.scripted import (
    InvalidModelStep,
    ModelCall,
    ModelStep,
    ScriptedModel,
    UnconsumedModelSteps,
    UnexpectedModelCall,
    assistant_message,
    count_replies,
    function_call,
    message,
    refusal,
)

USER = {"role": "user", "content": "hi"}


async def test_steps_are_said_in_order() -> None:
    reply = ModelResponse([message("whole", id="m")], Usage(requests=2))
    model = ScriptedModel(["text", function_call("f", {"a": 1}), [message("a"), function_call("g")], reply])
    assert text_of(await ask(model, [USER])) == "text"
    (call,) = (await ask(model, [USER, USER])).output
    assert call == {
        "type": "function_call",
        "name": "f",
        "arguments": '{"a": 1}',
        "call_id": "call_2_0",
        "status": "completed",
    }
    assert [item["type"] for item in (await ask(model, "hi")).output] == ["message", "function_call"]
    assert await ask(model, "hi") is reply
    assert text_of(await ask(ScriptedModel(message("alone")), "hi")) == "alone"  # type: ignore[arg-type]


async def test_an_error_is_raised_as_an_instance_or_a_class() -> None:
    model = ScriptedModel([ModelError("busy", retryable=True), KeyError, ModelStep(ValueError("late"))])
    for expected in (ModelError, KeyError, ValueError):
        with pytest.raises(expected):
            await ask(model, "hi")


async def test_a_step_may_be_a_function_of_the_call() -> None:
    async def later(call: ModelCall) -> str:
        await asyncio.sleep(0)
        return f"turn {call.turn}, tools {[tool.name for tool in call.tools]}"

    model = ScriptedModel([lambda call: later, later])
    assert text_of(await ask(model, "hi")) == "turn 0, tools []"
    assert text_of(await ask(model, "hi", tools=[WEATHER])) == "turn 1, tools ['get_weather']"
    always = ScriptedModel(lambda call: f"{len(call.input)} items")
    assert text_of(await ask(always, [USER, USER])) == "2 items"


async def test_running_out_of_steps_is_a_clear_error() -> None:
    model = ScriptedModel(["one"])
    await ask(model, "hi")
    with pytest.raises(UserError, match=r"has 1 steps, and this is call 2.*ends with 'hi'"):
        await ask(model, "hi")
    with pytest.raises(UserError, match="is no step"):
        await ask(ScriptedModel([5]), "hi")  # type: ignore[list-item]


async def test_a_new_process_goes_on_in_the_middle_by_turn() -> None:
    def script() -> ScriptedModel:
        return ScriptedModel.by_turn([function_call("f"), [message("m"), function_call("g")], "done"])

    history: list[Any] = [USER]
    for turn in range(3):
        response = await ask(script(), history)  # each call in a process of its own, as it were
        assert response == await ask(script(), history)
        history += response.output
        if turn < 2:
            history.append({"type": "function_call_output", "call_id": history[-1]["call_id"], "output": "x"})
    assert history[-1]["content"][0]["text"] == "done"
    assert len({item["call_id"] for item in history if item.get("type") == "function_call"}) == 2
    with pytest.raises(UserError, match="this is turn 4"):
        await ask(script(), history)


async def test_by_turn_takes_a_function_and_a_count_of_ones_own() -> None:
    model = ScriptedModel.by_turn(lambda call: f"turn {call.turn}", count=lambda items: len(items) * 10)
    assert text_of(await ask(model, [USER])) == "turn 10"


def test_replies_are_counted_by_unbroken_runs_of_what_models_make() -> None:
    output = {"type": "function_call_output", "call_id": "c", "output": ""}
    assert count_replies("hi") == 0
    assert count_replies([USER, message("a"), function_call("f"), output, function_call("g"), output]) == 2
    assert count_replies([USER, message("a"), USER, {"role": "assistant", "content": "b"}]) == 2


async def test_both_verbs_end_in_the_same_reply() -> None:
    steps = [[message("two words"), function_call("f", {"a": 1}), refusal("no")]]
    events, streamed = await listen(ScriptedModel(steps), "hi")
    assert streamed == await ask(ScriptedModel(steps), "hi")
    assert deltas(events) == ["two", " words"]
    assert kind(events[0]) == "response.created"
    assert kind(events[-1]) == "response.completed"
    assert events[-1]["response"]["output"] == streamed.output
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


async def test_a_step_may_set_its_deltas_its_usage_and_its_delay() -> None:
    usage = Usage(requests=1, input_tokens=5, total_tokens=5)
    model = ScriptedModel([ModelStep("hello", deltas=["h", "ello"], usage=usage, delay=0.05), "x"])
    began = time.monotonic()
    events, response = await listen(model, "hi")
    assert time.monotonic() - began >= 0.04
    assert deltas(events) == ["h", "ello"]
    assert response.usage == usage
    assert (await ask(model, "hi")).usage == Usage(requests=1)


async def test_calls_are_recorded_as_they_were_then() -> None:
    model = ScriptedModel(["a", "b"])
    history = [USER]
    await ask(model, history, system="Be brief.", tools=[WEATHER], previous_response_id="r")
    history.append(USER)
    await listen(model, history)
    assert [len(call.input) for call in model.calls] == [1, 2]
    assert [call.stream for call in model.calls] == [False, True]
    assert model.calls[0].system_instructions == "Be brief."
    assert model.calls[0].previous_response_id == "r"
    assert model.last_call is model.calls[1]
    assert model.first_call is model.calls[0]
    assert [call.streamed for call in model.calls] == [False, True]
    silent = ScriptedModel(["a"], record=False)
    await ask(silent, "hi")
    assert silent.calls == []
    assert silent.first_call is silent.last_call is None


async def test_a_script_that_runs_twice_gives_new_dicts() -> None:
    model = ScriptedModel.by_turn([function_call("f", call_id="mine")])
    first, second = await ask(model, "hi"), await ask(model, "hi")
    assert first.output == second.output
    assert first.output[0] is not second.output[0]


# The names that the OpenAI Agents SDK's tests use


async def test_a_script_can_be_written_while_it_runs() -> None:
    model = ScriptedModel(default_usage=Usage(requests=1, input_tokens=3, total_tokens=3))
    model.enqueue([assistant_message("one", item_id="m_1")])
    model.extend(["two", "three"])
    assert model.remaining_steps == 3
    first = await ask(model, "hi")
    assert (first.output[0]["id"], first.usage.input_tokens) == ("m_1", 3)
    model.set_default_usage(None)
    assert (await ask(model, "hi")).usage == Usage(requests=1)
    with pytest.raises(UnconsumedModelSteps, match="1 of its 3 steps") as left:
        model.assert_complete()
    assert left.value.remaining_steps == 1
    await ask(model, "hi")
    model.assert_complete()
    with pytest.raises(UnexpectedModelCall) as more:
        await ask(model, "more")
    assert (more.value.call.input, more.value.call_index) == ("more", 3)
    with pytest.raises(UserError, match="its script is a function"):
        ScriptedModel(lambda call: "x").enqueue("y")
    with pytest.raises(UserError, match="are the same"):
        ScriptedModel([], usage=Usage(), default_usage=Usage())


async def test_a_step_may_be_a_dict_and_say_everything_of_a_reply() -> None:
    call = function_call("f", {}, call_id="c", item_id="fc", namespace="n")
    assert (call["id"], call["call_id"], call["namespace"], call["arguments"]) == ("fc", "c", "n", "{}")
    steps: list[Any] = [
        {"output": [call], "response_id": "resp_1", "request_id": "req_1", "raw_usage": {"a": 1}},
        {"responder": lambda call: {"output": f"turn {call.turn}", "response_id": "resp_2"}},
        {"error": ValueError("no")},
        {"outputs": []},
    ]
    model = ScriptedModel(steps)
    first = await ask(model, "hi", settings=ModelSettings(preserve_raw_usage=True))
    assert (first.output, first.response_id, first.request_id, first.raw_usage) == (
        [call],
        "resp_1",
        "req_1",
        {"a": 1},
    )
    second = await ask(model, "hi")
    assert (text_of(second), second.response_id) == ("turn 1", "resp_2")
    with pytest.raises(ValueError, match="no"):
        await ask(model, "hi")
    with pytest.raises(InvalidModelStep, match="'outputs'"):
        await ask(model, "hi")


async def test_an_error_brings_its_advice() -> None:
    error = ValueError("busy")
    advice = ModelRetryAdvice(suggested=True, retry_after=2)
    model = ScriptedModel([ModelStep.raise_error(error, retry_advice=advice), ModelStep.respond(lambda call: "fine")])
    with pytest.raises(ValueError, match="busy"):
        await ask(model, "hi")
    assert model.get_retry_advice(ModelRetryAdviceRequest(error, 1, False)) is advice
    assert model.get_retry_advice(ModelRetryAdviceRequest(ValueError("busy"), 1, False)) is None
    assert text_of(await ask(model, "hi")) == "fine"


async def test_a_streamed_step_has_exactly_its_events() -> None:
    done = {"id": "resp_9", "output": [message("hey", id="m")], "usage": {"input_tokens": 4, "total_tokens": 4}}
    events = [{"type": "response.created"}, {"type": "response.completed", "response": done}]

    async def made(call: ModelCall) -> Any:
        for event in events:
            yield event

    for step in (ModelStep.stream(events), ModelStep.stream(made)):
        said, response = await listen(ScriptedModel([step]), "hi")
        assert said == events
        assert (text_of(response), response.response_id, response.usage.input_tokens) == ("hey", "resp_9", 4)
    assert text_of(await ask(ScriptedModel([ModelStep.stream(events, output="plain")]), "hi")) == "plain"


async def test_openais_own_objects_are_items_too() -> None:
    said = typed_items([message("hey", id="m")])
    assert (await ask(ScriptedModel([said]), "hi")).output[0]["content"][0]["text"] == "hey"
