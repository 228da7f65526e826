"""Run items: what each tells, that they can be made by hand, and what they are as input again."""

import gc

import pytest
from faces_making import ADD, add, agent, delete
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage
from pydantic import BaseModel, TypeAdapter

from flowcore import (
    AgentsException,
    CompactionItem,
    HandoffCallItem,
    HandoffOutputItem,
    InputItem,
    ItemHelpers,
    MCPApprovalRequestItem,
    MCPApprovalResponseItem,
    MCPListToolsItem,
    MessageOutputItem,
    ReasoningItem,
    RunItem,
    Runner,
    ToolApprovalItem,
    ToolCallItem,
    ToolCallOutputItem,
    ToolOrigin,
    ToolOriginType,
    ToolOutputImage,
    ToolOutputText,
    ToolSearchCallItem,
    ToolSearchOutputItem,
    UserError,
)
from flowcore.agents.origins import describe
from flowcore.mcp.tools import MCPFunctionTool
from flowcore.testing import function_call, message, refusal

CALL = ResponseFunctionToolCall(type="function_call", name="add", arguments='{"a": 1}', call_id="c1", id="f1")
TEXT = ResponseOutputMessage.model_validate({"id": "m1", **message("hello")})
ANYBODY = agent("x")
KINDS = {
    MessageOutputItem: "message_output_item",
    ToolCallItem: "tool_call_item",
    HandoffCallItem: "handoff_call_item",
    ReasoningItem: "reasoning_item",
    CompactionItem: "compaction_item",
    MCPListToolsItem: "mcp_list_tools_item",
    MCPApprovalRequestItem: "mcp_approval_request_item",
    MCPApprovalResponseItem: "mcp_approval_response_item",
    ToolSearchCallItem: "tool_search_call_item",
    ToolSearchOutputItem: "tool_search_output_item",
    ToolApprovalItem: "tool_approval_item",
    InputItem: "input_item",
}


@pytest.mark.parametrize("cls", KINDS)
def test_an_item_is_made_by_hand_of_an_agent_and_a_raw_item(cls):
    raw = {"type": "anything", "id": "x"}
    item = cls(agent=ANYBODY, raw_item=raw)
    assert (item.agent, item.raw_item, item.item, item.type) == (ANYBODY, raw, raw, KINDS[cls])
    assert item.raw_item is raw
    assert isinstance(item, RunItem)
    assert cls(ANYBODY, raw).raw_item is raw
    assert cls(ANYBODY, raw) != item
    assert {item: 1}[item] == 1


def test_an_item_is_made_of_an_object_of_the_openai_package():
    item = ToolCallItem(agent=ANYBODY, raw_item=CALL, description="Add.", title="Adding")
    assert item.raw_item is CALL
    assert (item.tool_name, item.call_id, item.description, item.title) == ("add", "c1", "Add.", "Adding")
    assert item.to_input_item() == {
        "type": "function_call", "name": "add", "arguments": '{"a": 1}', "call_id": "c1", "id": "f1",
    }  # fmt: skip


def test_a_misspelled_member_is_refused():
    with pytest.raises(TypeError, match="descripton"):
        ToolCallItem(agent=ANYBODY, raw_item=CALL, descripton="Add.")


def test_a_hosted_call_is_known_by_its_id_and_an_mcp_call_by_its_name_too():
    search = ToolCallItem(ANYBODY, {"type": "web_search_call", "id": "ws1"})
    assert (search.tool_name, search.call_id, search.tool_origin) == (None, "ws1", None)
    call = ToolCallItem(ANYBODY, {"type": "mcp_call", "id": "m1", "name": "find", "arguments": "{}"})
    assert (call.tool_name, call.call_id) == ("find", "m1")


async def test_calls_and_outputs_tell_of_their_tool():
    helper = agent("fine", name="Helper")
    calls = [ADD, function_call("ask_helper", {"input": "?"}, "c2"), {"type": "web_search_call", "id": "w1"}]
    clerk = agent(calls, "done", tools=[add, helper.as_tool("ask_helper", "Ask the helper.")])
    items = (await Runner.run(clerk, "go")).new_items
    own = ToolOrigin(ToolOriginType.FUNCTION)
    theirs = ToolOrigin(ToolOriginType.AGENT_AS_TOOL, agent_name="Helper", agent_tool_name="ask_helper")
    assert [(one.description, one.title, one.tool_origin) for one in items if isinstance(one, ToolCallItem)] == [
        ("Add two numbers.", None, own),
        ("Ask the helper.", None, theirs),
        (None, None, None),
    ]
    outputs = [one for one in items if isinstance(one, ToolCallOutputItem)]
    assert [(one.call_id, one.tool_origin, one.custom_data) for one in outputs] == [
        ("c1", own, None),
        ("c2", theirs, None),
    ]
    assert outputs[0].output == 3


def test_a_tool_of_an_mcp_server_says_which():
    async def invoke(ctx, arguments):
        return "found"

    made = MCPFunctionTool(
        name="find", description="Find.", params_json_schema={}, on_invoke_tool=invoke, strict_json_schema=False,
        mcp_server_name="files", mcp_tool_name="find", mcp_title="Finder",
    )  # fmt: skip
    assert describe(made) == ("Find.", "Finder", ToolOrigin(ToolOriginType.MCP, mcp_server_name="files"))


async def test_a_handoff_is_no_tool_call_and_tells_both_agents():
    billing = agent("paid", name="Billing")
    triage = agent(function_call("transfer_to_billing", "{}", "h1"), name="Triage", handoffs=[billing])
    call, done, said = (await Runner.run(triage, "go")).new_items
    assert isinstance(call, HandoffCallItem)
    assert not isinstance(call, ToolCallItem)
    assert (call.agent, call.call_id, call.raw_item.name) == (triage, "h1", "transfer_to_billing")
    assert (done.agent, done.source_agent, done.target_agent) == (triage, triage, billing)
    assert said.agent is billing


async def test_a_waiting_call_tells_what_would_be_done():
    clerk = agent(function_call("delete", {"row": "7"}, "d1"), "done", tools=[delete])
    (item,) = (await Runner.run(clerk, "go")).interruptions
    assert (item.name, item.tool_name, item.qualified_name) == ("delete",) * 3
    assert (item.arguments, item.call_id) == ('{"row": "7"}', "d1")
    assert (item.raw_item.name, item.raw_item.call_id) == ("delete", "d1")  # openai's own class
    assert item.tool_origin == ToolOrigin(ToolOriginType.FUNCTION)
    with pytest.raises(AgentsException, match="cannot be converted to an input item"):
        item.to_input_item()


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"type": "function_call", "name": "f", "call_id": "c", "namespace": "ns"}, ("f", "ns.f", None, "c")),
        ({"type": "custom_tool_call", "name": "f", "call_id": "c", "input": "raw"}, ("f", "f", "raw", "c")),
        ({"type": "mcp_approval_request", "name": "f", "id": "m", "arguments": {"a": 1}}, ("f", "f", '{"a":1}', "m")),
        ({"type": "shell_call", "call_id": "c"}, (None, None, None, "c")),
    ],
)
def test_an_approval_reads_every_kind_of_call(raw, expected):
    item = ToolApprovalItem(agent=ANYBODY, raw_item=raw)
    assert (item.name, item.qualified_name, item.arguments, item.call_id) == expected


def test_an_approval_goes_by_the_name_that_it_was_given():
    item = ToolApprovalItem(agent=ANYBODY, raw_item=CALL, tool_name="plus", tool_namespace="math")
    assert (item.name, item.tool_name, item.qualified_name) == ("plus", "plus", "math.plus")


def test_an_input_item_is_a_copy_without_what_only_a_provider_writes():
    raw = {"type": "function_call", "name": "f", "call_id": "c", "arguments": "{}", "created_by": "x", "own": [1]}
    made = ToolCallItem(ANYBODY, raw).to_input_item()
    assert made == {"type": "function_call", "name": "f", "call_id": "c", "arguments": "{}", "own": [1]}
    made["own"].append(2)
    assert raw["own"] == [1]
    assert CompactionItem(ANYBODY, {"type": "compaction", "created_by": "x"}).to_input_item() == {"type": "compaction"}
    thought = {"type": "reasoning", "id": "rs", "summary": [], "status": None}
    assert ReasoningItem(ANYBODY, thought).to_input_item() == {"type": "reasoning", "id": "rs", "summary": []}
    shell = {"type": "shell_call_output", "call_id": "c", "output": [], "status": "completed", "provider_data": {}}
    assert ToolCallOutputItem(ANYBODY, shell, output=[]).to_input_item() == {
        "type": "shell_call_output", "call_id": "c", "output": [],
    }  # fmt: skip
    reasoning = {"type": "reasoning", "id": "r", "summary": [], "encrypted_content": "x", "status": "completed"}
    assert ReasoningItem(ANYBODY, reasoning).to_input_item() == reasoning


async def test_a_runs_items_are_input_for_the_next_run():
    clerk = agent(ADD, "three", tools=[add])
    result = await Runner.run(clerk, "go")
    again = agent("and?")
    await Runner.run(again, [{"role": "user", "content": "go"}, *(one.to_input_item() for one in result.new_items)])
    assert again.model.calls[0].input == result.to_input_list()


def test_a_released_item_holds_its_agents_no_longer():
    one, other = agent("x", name="One"), agent("x", name="Other")
    raw = {"type": "function_call_output", "call_id": "h", "output": "{}"}
    moved = HandoffOutputItem(agent=one, raw_item=raw, source_agent=one, target_agent=other)
    said = MessageOutputItem(agent=one, raw_item=TEXT)
    for item in (moved, said):
        item.release_agent()
        item.release_agent()
    assert (moved.agent, moved.source_agent, moved.target_agent, said.agent) == (one, one, other, one)
    del one, other
    gc.collect()
    assert (moved.agent, moved.source_agent, moved.target_agent, said.agent) == (None,) * 4
    assert moved.to_input_item() == raw
    assert "agent=None" in repr(said)


def test_an_items_text_names_its_agent_and_shows_the_item():
    assert repr(ToolSearchCallItem(ANYBODY, {"type": "x"})) == (
        "ToolSearchCallItem(agent='Assistant', raw_item={'type': 'x'})"
    )


def test_an_origin_is_data_and_back():
    origin = ToolOrigin(ToolOriginType.MCP, mcp_server_name="files")
    assert origin.to_json_dict() == {"type": "mcp", "mcp_server_name": "files"}
    assert ToolOrigin.from_json_dict(origin.to_json_dict()) == origin
    assert ToolOrigin.from_json_dict({"type": "nothing known"}) is None is ToolOrigin.from_json_dict(None)


def of_parts(*parts):
    return {"type": "message", "role": "assistant", "content": list(parts)}


def text(words):
    return {"type": "output_text", "text": words, "annotations": []}


NO = {"type": "refusal", "refusal": "no"}


@pytest.mark.parametrize("typed", [True, False], ids=["object", "dict"])
@pytest.mark.parametrize(
    ("parts", "content", "last", "whole", "refused"),
    [
        ([text("hi"), text(" you")], " you", " you", "hi you", None),
        ([NO], "no", None, None, "no"),
        ([text("a"), NO], "no", None, "a", "no"),
        ([], "", None, None, None),
    ],
)
def test_helpers_read_messages(typed, parts, content, last, whole, refused):
    made = of_parts(*parts)
    if typed:
        made = ResponseOutputMessage.model_validate({"id": "m", "status": "completed", **made})
    assert ItemHelpers.extract_last_content(made) == content
    assert ItemHelpers.extract_last_text(made) == last
    assert ItemHelpers.extract_text(made) == whole
    assert ItemHelpers.extract_refusal(made) == refused
    assert ItemHelpers.text_message_output(MessageOutputItem(ANYBODY, made)) == (whole or "")


def test_helpers_find_no_text_in_what_is_no_message():
    assert ItemHelpers.extract_last_content(CALL) == ""
    assert ItemHelpers.extract_last_text(CALL) is None
    assert ItemHelpers.extract_text(CALL) is None
    assert ItemHelpers.extract_refusal(refusal("no")) == "no"


def test_helpers_join_the_text_of_messages_alone():
    items = [MessageOutputItem(ANYBODY, TEXT), ToolCallItem(ANYBODY, CALL), MessageOutputItem(ANYBODY, message("!"))]
    assert ItemHelpers.text_message_outputs(items) == "hello!"


def test_an_input_becomes_a_list_of_copies():
    assert ItemHelpers.input_to_new_input_list("hi") == [{"role": "user", "content": "hi"}]
    assert ItemHelpers.input_to_new_input_list([]) == []
    given = [{"role": "user", "content": [text("x")]}]
    made = ItemHelpers.input_to_new_input_list(given)
    assert made == given
    made[0]["content"].clear()
    assert given[0]["content"]


@pytest.mark.parametrize("call", [CALL, CALL.model_dump()], ids=["object", "dict"])
@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("x", "x"),
        (3, "3"),
        (None, "None"),
        (ToolOutputText(text="t"), [{"type": "input_text", "text": "t"}]),
        (
            [ToolOutputText(text="t"), ToolOutputImage(image_url="u")],
            [{"type": "input_text", "text": "t"}, {"type": "input_image", "image_url": "u"}],
        ),
    ],
)
def test_an_output_item_answers_its_call(call, output, told):
    expected = {"type": "function_call_output", "call_id": "c1", "output": told}
    assert ItemHelpers.tool_call_output_item(call, output) == expected


def test_an_output_of_a_declared_type_is_told_as_its_json():
    class Sum(BaseModel):
        total: int

    adapter = TypeAdapter(Sum)
    made = ItemHelpers.tool_call_output_item(CALL, Sum(total=3), output_type_adapter=adapter)
    assert made["output"] == '{"total":3}'
    schema = {"type": "object", "properties": {"total": {"type": "integer"}}}
    assert ItemHelpers.tool_call_output_item(CALL, {"total": 3}, output_json_schema=schema)["output"] == '{"total":3}'
    with pytest.raises(UserError, match="isn't of its declared type"):
        ItemHelpers.tool_call_output_item(CALL, {"total": "many"}, output_type_adapter=adapter)
    with pytest.raises(UserError, match="declared as a JSON object, and is a int"):
        ItemHelpers.tool_call_output_item(CALL, 3, output_json_schema=schema)


def test_an_output_of_a_program_s_call_says_so():
    caller = {"type": "program", "caller_id": "p1"}
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", "caller": caller}
    assert ItemHelpers.tool_call_output_item(call, 1)["caller"] == caller
    item = {"type": "function_call_output"}
    assert ItemHelpers.copy_tool_call_caller(CALL, item) is item
