"""Calls that a provider's hosted MCP server wants to make: whether it may."""

from __future__ import annotations

import inspect
from typing import Any

from flowcore.agents.agent import AgentSpec
from flowcore.agents.context import RunContextWrapper
from flowcore.agents.hosted import HostedMCPTool, MCPToolApprovalRequest
from flowcore.agents.loop.calling import Call
from flowcore.agents.options import Options
from flowcore.errors import UserError
from flowcore.graph.values import shorten
from flowcore.models.base import Item


async def approval_response(
    options: Options, wrapper: RunContextWrapper[Any], agent: AgentSpec[Any], call: Call
) -> Item:
    """The answer to an approval request: a person's, where one was asked, else that of the app's function."""
    request = call.item
    if call.decision is not None:
        return _response(request, call.decision.approved, call.decision.message)
    label = request.get("server_label")
    for tool in agent.tools:
        if isinstance(tool, HostedMCPTool) and tool.on_approval_request is not None:
            if tool.tool_config.get("server_label") != label:
                continue
            said: Any = tool.on_approval_request(MCPToolApprovalRequest(wrapper, request))
            if inspect.isawaitable(said):
                said = await said
            if not isinstance(said, dict) or not isinstance(said.get("approve"), bool):
                raise UserError(f"hosted MCP server '{label}': on_approval_request gives {{'approve': bool}}, not"
                                f" {shorten(said)}")  # fmt: skip
            return _response(request, said["approve"], said.get("reason"))
    raise UserError(f"hosted MCP server '{label}' asks for approval, but agent '{agent.name}' doesn't have it any more")


def _response(request: Item, approve: bool, reason: str | None) -> Item:
    told: Item = {"type": "mcp_approval_response", "approval_request_id": request["id"], "approve": approve}
    return told if reason is None or approve else {**told, "reason": reason}
