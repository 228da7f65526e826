"""The tools that an agent has at a turn: its MCP servers', asked anew, and its own."""

from __future__ import annotations

from collections.abc import Awaitable
from itertools import count
from typing import Any

from flowcore.agents.agent import AgentSpec
from flowcore.agents.context import RunContextWrapper
from flowcore.agents.options import Options
from flowcore.agents.tools import FunctionTool
from flowcore.engine.context import Context

LISTING = "mcp_tools"
"""The kind of note that tells of a server's listing: once when it's asked, and once with its ``result`` or ``error``;
``id`` names the listing."""
_SERIAL = count()


async def listed_tools(
    ctx: Context, options: Options, agent: AgentSpec[Any], wrapper: RunContextWrapper[Any]
) -> list[Any]:
    """The tools of an agent that has MCP servers, kept for what this process does until the next turn. Raises UserError
    when two have one name, and what the servers raise."""

    async def noted(server: Any, listing: Awaitable[list[FunctionTool]]) -> list[FunctionTool]:
        about: dict[str, Any] = {"kind": LISTING, "id": next(_SERIAL), "server": str(server.name)}
        ctx.note(**about)
        try:
            tools = await listing
        except BaseException as error:
            ctx.note(**about, error=str(error) or type(error).__name__)
            raise
        ctx.note(**about, result=[getattr(tool, "mcp_tool_name", tool.name) for tool in tools])
        return tools

    servers = await agent.get_mcp_tools(wrapper, around=noted if ctx.observed else None)
    found = [*servers, *agent.tools]
    options.offered = {**options.offered, agent.name: found}
    return found
