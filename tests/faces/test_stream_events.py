"""Stream events: their names, their order, and that they can be made by hand."""

import pytest
from faces_making import ADD, add, agent, delete

from flowcore import (
    AgentUpdatedStreamEvent,
    HostedMCPTool,
    MessageOutputItem,
    RawResponsesStreamEvent,
    RunItemStreamEvent,
    Runner,
    ToolOrigin,
    ToolOriginType,
)
from flowcore.testing import function_call, message


async def told(result):
    """Events in short: the agent's name, an item event's name, or "raw" once for all raw ones in a row."""
    found = []
    async for event in result.stream_events():
        if event.type == "agent_updated_stream_event":
            found.append(event.new_agent.name)
        elif event.type == "run_item_stream_event":
            found.append(event.name)
        elif found[-1:] != ["raw"]:
            found.append("raw")
    return found


async def test_a_turn_tells_the_raw_events_then_its_calls_then_their_outputs():
    clerk = agent([message("one moment"), ADD, function_call("add", {"a": 3, "b": 4}, "c2")], "done", tools=[add])
    assert await told(Runner.run_streamed(clerk, "go")) == [
        "Assistant", "raw", "message_output_created", "tool_called", "tool_called", "tool_output", "tool_output",
        "raw", "message_output_created",
    ]  # fmt: skip


async def test_a_handoff_is_requested_and_occurs_and_is_no_tool_call():
    billing = agent("paid", name="Billing")
    triage = agent(function_call("transfer_to_billing", "{}", "h1"), name="Triage", handoffs=[billing])
    assert await told(Runner.run_streamed(triage, "go")) == [
        "Triage", "raw", "handoff_requested", "handoff_occured", "Billing", "raw", "message_output_created",
    ]  # fmt: skip


HOSTED = {
    "reasoning_item_created": {"type": "reasoning", "id": "r", "summary": []},
    "tool_search_called": {"type": "tool_search_call", "id": "s", "arguments": {}, "execution": "server"},
    "tool_search_output_created": {"type": "tool_search_output", "id": "o", "tools": [], "execution": "server"},
    "mcp_list_tools": {"type": "mcp_list_tools", "id": "l", "server_label": "s", "tools": []},
    "mcp_approval_requested": {
        "type": "mcp_approval_request", "id": "a", "server_label": "s", "name": "n", "arguments": "{}",
    },
    "mcp_approval_response": {"type": "mcp_approval_response", "approval_request_id": "a", "approve": True},
    "tool_called": {"type": "web_search_call", "id": "w", "status": "completed"},
    "tool_output": {"type": "shell_call_output", "call_id": "c", "output": []},
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTED)
async def test_what_a_provider_does_has_events_of_its_own(name):
    server = HostedMCPTool({"type": "mcp", "server_label": "s", "server_url": "https://example.org"})
    clerk = agent([HOSTED[name], message("done")], tools=[server])
    assert await told(Runner.run_streamed(clerk, "go")) == ["Assistant", "raw", name, "message_output_created"]


async def test_items_without_a_name_have_no_event():
    strange = [{"type": "compaction", "id": "c", "encrypted_content": "x"}, {"type": "brand_new", "id": "n"}]
    result = Runner.run_streamed(agent([*strange, message("done")]), "go")
    assert await told(result) == ["Assistant", "raw", "message_output_created"]
    assert [item.type for item in result.new_items] == ["compaction_item", "unknown_item", "message_output_item"]


async def test_an_output_that_comes_after_a_pause_still_tells_its_tools_origin():
    clerk = agent(function_call("delete", {"row": "7"}, "d1"), "done", tools=[delete])
    result = Runner.run_streamed(clerk, "go")
    assert await told(result) == ["Assistant", "raw", "tool_called"]
    await result.run.answer("d1", True)
    outputs = [
        event.item
        async for event in result.resume_streamed().stream_events()
        if event.type == "run_item_stream_event" and event.name == "tool_output"
    ]
    assert [one.tool_origin for one in outputs] == [ToolOrigin(ToolOriginType.FUNCTION)]


def test_events_are_made_by_hand():
    clerk = agent("hello")
    item = MessageOutputItem(agent=clerk, raw_item=message("hello"))
    event = RunItemStreamEvent(name="message_output_created", item=item)
    assert (event.name, event.item, event.type) == ("message_output_created", item, "run_item_stream_event")
    assert AgentUpdatedStreamEvent(new_agent=clerk).new_agent is clerk
    delta = RawResponsesStreamEvent(data={"type": "response.output_text.delta", "delta": "he"})
    assert (delta.data.delta, delta.type) == ("he", "raw_response_event")
    thing = object()
    assert RawResponsesStreamEvent(data=thing).data is thing
    strange = {"type": "response.brand_new"}
    assert RawResponsesStreamEvent(data=strange).data == strange
