"""Where a tool comes from, and how it's described: what run items tell of the tool of a call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from flowcore.agents.as_tool import AgentTool
from flowcore.agents.tools import FunctionTool


class ToolOriginType(StrEnum):
    """What made a function tool."""

    FUNCTION = "function"
    MCP = "mcp"
    AGENT_AS_TOOL = "agent_as_tool"


@dataclass(frozen=True, slots=True)
class ToolOrigin:
    """Where a function tool comes from. ``mcp_server_name``: of an MCP server's. ``agent_name``, ``agent_tool_name``:
    of an agent's."""

    type: ToolOriginType
    mcp_server_name: str | None = None
    agent_name: str | None = None
    agent_tool_name: str | None = None

    def to_json_dict(self) -> dict[str, str]:
        """The origin as data, without what it has not."""
        named = {
            "type": self.type.value,
            "mcp_server_name": self.mcp_server_name,
            "agent_name": self.agent_name,
            "agent_tool_name": self.agent_tool_name,
        }
        return {name: value for name, value in named.items() if value is not None}

    @classmethod
    def from_json_dict(cls, data: Any) -> ToolOrigin | None:
        """The origin that ``to_json_dict`` made the data of; None where it isn't that."""
        if not isinstance(data, Mapping) or data.get("type") not in [one.value for one in ToolOriginType]:
            return None
        more = [data.get(name) for name in ("mcp_server_name", "agent_name", "agent_tool_name")]
        return cls(ToolOriginType(data["type"]), *(one if isinstance(one, str) else None for one in more))


class Described(NamedTuple):
    """What is told of a tool beside a call of it."""

    description: str | None = None
    title: str | None = None
    origin: ToolOrigin | None = None


UNKNOWN = Described()
"""Of a tool that nobody knows."""
_FUNCTION = ToolOrigin(ToolOriginType.FUNCTION)


def describe(tool: Any) -> Described:
    """What is told of a tool. One that a provider hosts has no origin."""
    server = getattr(tool, "mcp_server_name", None)  # the room of MCP stands above this one
    origin: ToolOrigin | None
    if server is not None:
        origin = ToolOrigin(ToolOriginType.MCP, mcp_server_name=server)
    elif isinstance(tool, AgentTool):
        origin = ToolOrigin(ToolOriginType.AGENT_AS_TOOL, agent_name=tool.agent.name, agent_tool_name=tool.name)
    else:
        origin = _FUNCTION if isinstance(tool, FunctionTool) else None
    return Described(getattr(tool, "description", None) or None, getattr(tool, "mcp_title", None), origin)


def described_tools(tools: Iterable[Any]) -> dict[str, Described]:
    """What is told of some tools, by their names."""
    return {tool.name: describe(tool) for tool in tools}
