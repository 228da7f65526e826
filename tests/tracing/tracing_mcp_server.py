"""An MCP server over stdio, with a tool that works and one that doesn't."""

from __future__ import annotations

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

server: MCPServer = MCPServer("files")


@server.tool(structured_output=False)
def read(name: str) -> str:
    """Reads."""
    return f"content of {name}"


@server.tool(structured_output=False)
def lose(name: str) -> str:
    """Fails."""
    raise ToolError(f"no {name}")


server.run("stdio")
