"""Ready-made input filters of handoffs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowcore.agents.handoffs import HandoffInputData, wire
from flowcore.agents.nesting import default_handoff_history_mapper, nest_handoff_history

__all__ = ["default_handoff_history_mapper", "nest_handoff_history", "remove_all_tools"]

_TOOLS = frozenset(
    {
        "mcp_approval_request",
        "mcp_approval_response",
        "mcp_list_tools",
        "program",
        "program_output",
        "reasoning",  # without the call that it led to, a provider refuses it
        "tool_search_output",
    }
)
"""Types of items that go with tools, beside those that end in ``_call`` and ``_call_output``."""


def remove_all_tools(handoff_input_data: HandoffInputData) -> HandoffInputData:
    """Without calls of tools, their outputs, and the reasoning that led to them: the next agent sees the messages."""
    data = handoff_input_data
    history = data.input_history
    return data.clone(
        input_history=history if isinstance(history, str) else _without(history),
        pre_handoff_items=_without(data.pre_handoff_items),
        new_items=_without(data.new_items),
        input_items=None if data.input_items is None else _without(data.input_items),
    )


def _without(items: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(item for item in items if not _is_of_tools(item))


def _is_of_tools(item: Any) -> bool:
    if getattr(item, "type", None) == "tool_approval_item":
        return True
    kind = str(wire(item).get("type") or "")
    return kind in _TOOLS or kind.endswith(("_call", "_call_output"))
