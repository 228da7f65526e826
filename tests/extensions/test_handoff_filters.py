"""Filters and prompts that come with flowcore, on dicts and on the run items of the faces."""

from types import SimpleNamespace
from typing import Any

from flowcore.agents.handoffs import HandoffInputData
from flowcore.extensions import handoff_filters
from flowcore.extensions.handoff_filters import remove_all_tools
from flowcore.extensions.handoff_prompt import RECOMMENDED_PROMPT_PREFIX, prompt_with_handoff_instructions
from flowcore.faces.items import HandoffCallItem, MessageOutputItem, ReasoningItem, ToolCallItem, ToolCallOutputItem

AGENT: Any = SimpleNamespace(name="a")
SAID: dict[str, Any] = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hm"}]}
CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
GAVE = {"type": "function_call_output", "call_id": "c", "output": "o"}
OF_TOOLS = [CALL, GAVE, {"type": "reasoning", "id": "r", "summary": []}] + [
    {"type": kind}
    for kind in (
        "web_search_call",
        "file_search_call",
        "computer_call",
        "computer_call_output",
        "code_interpreter_call",
        "image_generation_call",
        "custom_tool_call",
        "custom_tool_call_output",
        "local_shell_call",
        "local_shell_call_output",
        "shell_call",
        "shell_call_output",
        "apply_patch_call",
        "apply_patch_call_output",
        "mcp_call",
        "mcp_list_tools",
        "mcp_approval_request",
        "mcp_approval_response",
        "tool_search_call",
        "tool_search_output",
    )
]


def test_everything_of_tools_is_removed_and_the_rest_stays_in_order():
    user, compacted = {"role": "user", "content": "x"}, {"type": "compaction", "id": "k"}
    data = HandoffInputData((user, *OF_TOOLS, compacted), (SAID, *OF_TOOLS), (*OF_TOOLS, SAID), None, (CALL, SAID))
    kept = remove_all_tools(data)
    assert kept.input_history == (user, compacted)
    assert kept.pre_handoff_items == (SAID,)
    assert kept.new_items == (SAID,)
    assert kept.input_items == (SAID,)


def test_a_text_stays_a_text():
    kept = remove_all_tools(HandoffInputData("hello", (), (CALL,)))
    assert (kept.input_history, kept.new_items, kept.input_items) == ("hello", (), None)


def test_run_items_go_by_what_they_hold():
    said = MessageOutputItem(AGENT, SAID)
    items = (
        ReasoningItem(AGENT, OF_TOOLS[2]),
        said,
        ToolCallItem(AGENT, CALL),
        ToolCallOutputItem(AGENT, GAVE, output="o"),
        HandoffCallItem(AGENT, CALL),
    )
    assert remove_all_tools(HandoffInputData("hello", items, items)).new_items == (said,)


def test_run_items_are_nested_like_dicts():
    new = (MessageOutputItem(AGENT, SAID), ToolCallItem(AGENT, CALL))
    by_item = handoff_filters.nest_handoff_history(HandoffInputData("hello", (), new))
    by_dict = handoff_filters.nest_handoff_history(HandoffInputData("hello", (), (SAID, CALL)))
    assert by_item.input_history == by_dict.input_history
    assert by_item.new_items == new


def test_a_prompt_begins_with_what_handoffs_are():
    prompt = prompt_with_handoff_instructions("Be kind.")
    assert prompt.startswith(RECOMMENDED_PROMPT_PREFIX)
    assert prompt.endswith("\n\nBe kind.")
    assert "transfer_to_<agent_name>" in prompt
