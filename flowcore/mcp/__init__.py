"""Tools, prompts and resources of MCP servers. Needs the extra ``mcp``, from the first ``connect`` on."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES: dict[str, tuple[str, ...]] = {
    "flowcore.mcp.manager": ("MCPServerManager",),
    "flowcore.mcp.options": (
        "LocalMCPApprovalCallable",
        "MCPToolCustomDataContext",
        "MCPToolCustomDataExtractor",
        "MCPToolMetaContext",
        "MCPToolMetaResolver",
        "RequireApproval",
        "ToolFilter",
        "ToolFilterCallable",
        "ToolFilterContext",
        "ToolFilterStatic",
        "create_static_tool_filter",
    ),
    "flowcore.mcp.base": ("MCPServer",),
    "flowcore.mcp.tools": ("MCPFunctionTool",),
    "flowcore.mcp.transports": (
        "MCPServerSse",
        "MCPServerSseParams",
        "MCPServerStdio",
        "MCPServerStdioParams",
        "MCPServerStreamableHttp",
        "MCPServerStreamableHttpParams",
    ),
    "flowcore.mcp.util": ("MCPUtil",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'flowcore.mcp' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value
