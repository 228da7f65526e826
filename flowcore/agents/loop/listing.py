"""The tools that an agent has at a turn: its MCP servers', asked anew, and its own."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from itertools import count
from typing import Any

from flowcore.agents.agent import AgentSpec
from flowcore.agents.context import RunContextWrapper
from flowcore.agents.loop.state import tool_secrets
from flowcore.agents.options import Options
from flowcore.agents.tools import FunctionTool
from flowcore.engine.context import Context
from flowcore.machine.facts import Effect
from flowcore.machine.redact import KEY

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


def marked(ctx: Context, agent: AgentSpec[Any], tools: Sequence[Any]) -> bool:
    """Whether ``mark_secrets`` has looked at these tools of the agent."""
    seen = ctx.scratch.get(KEY)
    return seen is not None and seen.get(agent.name) == tools


async def mark_secrets(ctx: Context, agent: AgentSpec[Any], tools: Sequence[Any]) -> None:
    """Write down, before the model is called, what is secret of an agent and its tools that the journal doesn't tell
    yet: of tools that were found or given since the run began, and of marks that are newer than the run."""
    ctx.scratch.setdefault(KEY, {})[agent.name] = list(tools)
    fields = sorted(agent.output_schema.secret_fields())
    found = {**tool_secrets(tools), "replies": {agent.name: fields} if fields else {}}
    if not any(found.values()):
        return
    told = [(ctx.meta or {}).get(KEY, {})]
    told += [fact.value for fact in ctx.journal if type(fact) is Effect and fact.secret == "marks"]
    outputs = set(found["outputs"]).difference(*(one.get("outputs", ()) for one in told))
    new: dict[str, Any] = {"outputs": sorted(outputs)}
    for kind in ("arguments", "replies"):
        known = {name: names for one in told for name, names in one.get(kind, {}).items()}
        new[kind] = {name: names for name, names in found[kind].items() if known.get(name) != names}
    if any(new.values()):
        await ctx.mark_secret(KEY, {**{kind: one for kind, one in new.items() if one}, "agent": agent.name})
