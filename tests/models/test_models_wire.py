"""What else goes over the wire: media, hosted tools, stored prompts, what a server keeps; and what can't."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from models_asking import WEATHER, Tool, ask, listen
from models_loopback import Loopback, answer_events, answer_json

from flowcore.agents.hosted import FileSearchTool, HostedMCPTool, ToolSearchTool, WebSearchTool
from flowcore.agents.tools import ToolOutputFileContent, ToolOutputImage, ToolOutputText
from flowcore.errors import UserError
from flowcore.models import LocalModel, ModelSettings, OpenAIChatCompletionsModel, OpenAIResponsesModel
from flowcore.models.local_protocol import Question, messages_for

PNG = "data:image/png;base64,iVBORw0KGgo="
RESPONSE = {
    "id": "resp_1",
    "status": "completed",
    "output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello."}]}],
}
CHAT = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}]}

TEXT = {"type": "input_text", "text": "Look:"}
IMAGE = {"type": "input_image", "image_url": PNG, "detail": "low"}
UPLOADED_IMAGE = {"type": "input_image", "file_id": "file_1", "detail": "auto"}
FILE = {"type": "input_file", "file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"}
FILE_AT = {"type": "input_file", "file_url": "https://files.example/a.pdf"}
AUDIO = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}


@dataclass
class Deferred(Tool):
    defer_loading: bool = True
    allowed_callers: Any = None
    output_json_schema: Any = None
    tool_namespace: str | None = None
    tool_namespace_description: str | None = None


def user(*parts: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


# Media


async def test_media_travel_as_they_are_through_responses(loopback: Loopback, loopback_client: Any) -> None:
    loopback.answers = [answer_json(RESPONSE)]
    items = [
        *user(TEXT, IMAGE, UPLOADED_IMAGE, FILE, FILE_AT, AUDIO),
        {"type": "function_call", "call_id": "c", "name": "shoot", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": [TEXT, IMAGE, FILE]},
        {"type": "mcp_list_tools", "id": "m", "server_label": "deep", "tools": []},
        {"type": "of_tomorrow", "what": {"ever": [1]}},
    ]
    await ask(OpenAIResponsesModel("m", loopback_client), items)
    assert loopback.bodies[0]["input"] == items


async def test_media_take_their_form_in_a_chat(loopback: Loopback, loopback_client: Any) -> None:
    loopback.answers = [answer_json(CHAT)]
    shot = [
        ToolOutputText(text="Done."),
        ToolOutputImage(image_url=PNG),
        ToolOutputFileContent(file_id="f", filename="n"),
    ]
    await ask(
        OpenAIChatCompletionsModel("m", loopback_client),
        [
            *user(TEXT, IMAGE, FILE, AUDIO),
            {"type": "function_call", "call_id": "c", "name": "shoot", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": [part.to_wire() for part in shot]},
        ],
    )
    asked, called, answered, attached = loopback.bodies[0]["messages"]
    assert asked["content"] == [
        {"type": "text", "text": "Look:"},
        {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
        {"type": "file", "file": {"file_data": FILE["file_data"], "filename": "a.pdf"}},
        AUDIO,
    ]
    assert called["tool_calls"][0]["id"] == "c"
    assert answered == {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "Done."}]}
    assert attached == {
        "role": "user",
        "content": [
            {"type": "image_url", "image_url": {"url": PNG}},
            {"type": "file", "file": {"file_id": "f", "filename": "n"}},
        ],
    }


@pytest.mark.parametrize(
    ("input", "told"),
    [
        (user(UPLOADED_IMAGE), "input_image with a file_id"),
        (user(FILE_AT), "input_file with a file_url"),
        ([{"type": "file_search_call", "id": "fs_1"}], "item of type 'file_search_call'"),
        ([{"type": "mcp_approval_response", "approve": True}], "item of type 'mcp_approval_response'"),
    ],
)
async def test_a_chat_names_what_it_has_no_form_for(loopback_client: Any, input: Any, told: str) -> None:
    with pytest.raises(UserError, match=told):
        await ask(OpenAIChatCompletionsModel("m", loopback_client), input)


@pytest.mark.real_model
@pytest.mark.parametrize("part", [IMAGE, FILE, AUDIO])
async def test_the_embedded_model_reads_text_only_and_says_so(local_model: LocalModel, part: Any) -> None:
    with pytest.raises(UserError, match=rf"LocalModel reads text only, not {part['type']}"):
        await ask(local_model, user(TEXT, part))
    pictured = [
        {"type": "function_call", "call_id": "c", "name": "shoot", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": [TEXT, part]},
    ]
    with pytest.raises(UserError, match="reads text only"):
        await ask(local_model, pictured)


TOLD_IN_PARTS = [
    {"role": "user", "content": "What is the code?"},
    {"type": "function_call", "call_id": "c", "name": "get_code", "arguments": "{}"},
    {
        "type": "function_call_output",
        "call_id": "c",
        "output": [{"type": "input_text", "text": "The code is"}, {"type": "input_text", "text": "7321."}],
    },
]


@pytest.mark.real_model
async def test_a_real_server_takes_a_tools_output_in_parts(live_model: Any) -> None:
    response = await ask(live_model, TOLD_IN_PARTS, settings=ModelSettings(max_tokens=8, temperature=0))
    assert response.usage.output_tokens > 0


def test_the_embedded_model_is_told_a_tools_output_in_one_text() -> None:
    messages = messages_for(None, TOLD_IN_PARTS, Question((), True, None))
    assert messages[-1] == {"role": "user", "content": "The tool get_code answered: The code is\n7321."}


# Hosted tools, namespaces, prompts, what the server keeps


async def test_hosted_tools_ask_for_what_they_want_to_be_told(loopback: Loopback, loopback_client: Any) -> None:
    loopback.answers = [answer_json(RESPONSE)]
    tools = [
        FileSearchTool(["vs"], include_search_results=True),
        FileSearchTool(["other"], include_search_results=True),
        WebSearchTool(search_content_types=["image"]),
        HostedMCPTool({"type": "mcp", "server_label": "deep", "server_url": "https://mcp.example"}),
    ]
    settings = ModelSettings(response_include=["reasoning.encrypted_content", "file_search_call.results"])
    await ask(OpenAIResponsesModel("m", loopback_client), "hi", tools=tools, settings=settings)
    (sent,) = loopback.bodies
    assert [tool["type"] for tool in sent["tools"]] == ["file_search", "file_search", "web_search", "mcp"]
    assert sent["include"] == ["reasoning.encrypted_content", "file_search_call.results", "web_search_call.results"]


async def test_tools_of_a_namespace_stand_together(loopback: Loopback, loopback_client: Any) -> None:
    loopback.answers = [answer_json(RESPONSE)]
    crm = {"tool_namespace": "crm", "tool_namespace_description": "Customers."}
    tools = [
        Deferred("find", **crm),
        WEATHER,
        Deferred("pay", defer_loading=False, allowed_callers=["programmatic"], output_json_schema={"a": 1}, **crm),
        ToolSearchTool(),
    ]
    await ask(OpenAIResponsesModel("m", loopback_client), "hi", tools=tools)
    crm_sent, weather, search = loopback.bodies[0]["tools"]
    assert (crm_sent["type"], crm_sent["name"], crm_sent["description"]) == ("namespace", "crm", "Customers.")
    find, pay = crm_sent["tools"]
    assert (find["name"], find["defer_loading"]) == ("find", True)
    assert (pay["allowed_callers"], pay["output_schema"]) == (["programmatic"], {"a": 1})
    assert "defer_loading" not in pay
    assert (weather["name"], search) == ("get_weather", {"type": "tool_search"})
    chat = OpenAIChatCompletionsModel("m", loopback_client)
    with pytest.raises(UserError, match="namespace 'crm'"):
        await ask(chat, "hi", tools=tools)
    with pytest.raises(UserError, match="'code_only' may be called by code only"):
        await ask(chat, "hi", tools=[Deferred("code_only", allowed_callers=["programmatic"])])
    loopback.answers = [answer_json(CHAT)]
    await ask(chat, "hi", tools=[Deferred("later", output_json_schema={"a": 1})])
    assert set(loopback.bodies[-1]["tools"][0]["function"]) == {"name", "description", "parameters", "strict"}


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_stored_prompt_brings_its_own_model_unless_one_is_named(
    loopback: Loopback, loopback_client: Any, streamed: bool
) -> None:
    completed = answer_events({"type": "response.completed", "response": RESPONSE})
    loopback.answers = [completed if streamed else answer_json(RESPONSE)]
    call = listen if streamed else ask
    prompt = {"id": "pmpt_1", "version": None, "variables": {"name": "Ada"}}
    default = OpenAIResponsesModel("m", loopback_client, model_is_explicit=False)
    await call(default, "hi", prompt=prompt)
    await call(default, "hi")
    await call(OpenAIResponsesModel("m", loopback_client), "hi", prompt=prompt)
    brought, named, both = loopback.bodies
    assert brought["prompt"] == {"id": "pmpt_1", "variables": {"name": "Ada"}}
    assert "model" not in brought
    assert (named["model"], both["model"]) == ("m", "m")
    for wrong in ("pmpt_1", {"version": "2"}):
        with pytest.raises(UserError, match="a prompt is a dict with an 'id'"):
            await call(default, "hi", prompt=wrong)


@pytest.mark.parametrize("streamed", [False, True])
async def test_what_the_server_keeps_is_named(loopback: Loopback, loopback_client: Any, streamed: bool) -> None:
    completed = answer_events({"type": "response.completed", "response": RESPONSE})
    loopback.answers = [completed if streamed else answer_json(RESPONSE)]
    call = listen if streamed else ask
    model = OpenAIResponsesModel("m", loopback_client)
    await call(model, "hi", previous_response_id="resp_0")
    await call(model, "hi", conversation_id="conv_1")
    assert loopback.bodies[0]["previous_response_id"] == "resp_0"
    assert loopback.bodies[1]["conversation"] == "conv_1"


@pytest.mark.parametrize(
    "given", [{"previous_response_id": "resp_1"}, {"conversation_id": "conv_1"}, {"prompt": {"id": "pmpt_1"}}]
)
async def test_a_chat_refuses_what_only_responses_keeps(loopback_client: Any, given: dict[str, Any]) -> None:
    for call in (ask, listen):
        with pytest.raises(UserError, match=f"knows no {next(iter(given))}"):
            await call(OpenAIChatCompletionsModel("m", loopback_client), "hi", **given)
