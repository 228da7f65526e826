"""Calls that a provider's hosted MCP server wants to make: whether it may."""

from __future__ import annotations

from typing import Any

from flowcore.agents.agent import AgentSpec
from flowcore.agents.context import RunContextWrapper
from flowcore.agents.hosted import approval_response, servers_for
from flowcore.agents.loop.calling import Call
from flowcore.errors import UserError
from flowcore.models.base import Item


def decided_by_app(agent: AgentSpec[Any], call: Call) -> bool:
    """Whether the app's own function decides about the call, and no person."""
    return any(tool.on_approval_request is not None for tool in servers_for(agent, call.item))


async def response_to(wrapper: RunContextWrapper[Any], agent: AgentSpec[Any], call: Call) -> Item:
    """The answer to an approval request: a person's, where one was asked, else that of the app's function."""
    if call.decision is not None:
        return approval_response(call.item["id"], call.decision.approved, call.decision.message)
    for tool in servers_for(agent, call.item):
        answer = await tool.answer(wrapper, call.item)
        if answer is not None:
            return answer
    raise UserError(
        f"hosted MCP server '{call.item.get('server_label')}' asks for approval, but agent '{agent.name}' doesn't have"
        " it any more"
    )
