"""Which of a server's tools are offered."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flowcore.agents.context import RunContextWrapper
from flowcore.errors import UserError
from flowcore.mcp.options import ToolFilter, ToolFilterContext

if TYPE_CHECKING:
    from mcp.types import Tool

logger = logging.getLogger("flowcore.mcp")
FIELDS = {"allowed_tool_names", "blocked_tool_names"}


def check_filter(tool_filter: ToolFilter) -> None:
    """Raises ``UserError`` for a filter that can't be."""
    if isinstance(tool_filter, Mapping):
        unknown = sorted(set(tool_filter) - FIELDS)
        if unknown:
            raise UserError(f"tool_filter has unknown keys {unknown!r}; it takes {sorted(FIELDS)!r}")
    elif tool_filter is not None and not callable(tool_filter):
        raise UserError(f"tool_filter must be a dict of names, a function or None, not {type(tool_filter).__name__}")


async def filtered(
    tools: list[Tool],
    tool_filter: ToolFilter,
    server_name: str,
    run_context: RunContextWrapper[Any] | None,
    agent: Any,
) -> list[Tool]:
    """The tools that the filter lets through. One whose filter fails isn't offered.

    Raises ``UserError`` for a function without the run and the agent that it's to be asked about.
    """
    if tool_filter is None:
        return tools
    if isinstance(tool_filter, Mapping):
        allowed = tool_filter.get("allowed_tool_names")
        blocked = tool_filter.get("blocked_tool_names", ())
        return [tool for tool in tools if (allowed is None or tool.name in allowed) and tool.name not in blocked]
    if run_context is None or agent is None:
        raise UserError("run_context and agent are required for dynamic tool filtering")
    context = ToolFilterContext(run_context, agent, server_name)
    kept: list[Tool] = []
    for tool in tools:
        try:
            answer = tool_filter(context, tool.model_copy(deep=True))  # a filter can't change what is cached
            if await answer if inspect.isawaitable(answer) else answer:
                kept.append(tool)
        except Exception:
            logger.exception("MCP server '%s': tool_filter failed for tool '%s': not offered", server_name, tool.name)
    return kept
