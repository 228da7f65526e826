"""The public names, for type checkers. `tests/mcp/test_mcp_facade.py` holds it against `__init__.py`."""

from flowcore.mcp.base import MCPServer as MCPServer
from flowcore.mcp.manager import MCPServerManager as MCPServerManager
from flowcore.mcp.options import LocalMCPApprovalCallable as LocalMCPApprovalCallable
from flowcore.mcp.options import MCPToolCustomDataContext as MCPToolCustomDataContext
from flowcore.mcp.options import MCPToolCustomDataExtractor as MCPToolCustomDataExtractor
from flowcore.mcp.options import MCPToolMetaContext as MCPToolMetaContext
from flowcore.mcp.options import MCPToolMetaResolver as MCPToolMetaResolver
from flowcore.mcp.options import RequireApproval as RequireApproval
from flowcore.mcp.options import ToolFilter as ToolFilter
from flowcore.mcp.options import ToolFilterCallable as ToolFilterCallable
from flowcore.mcp.options import ToolFilterContext as ToolFilterContext
from flowcore.mcp.options import ToolFilterStatic as ToolFilterStatic
from flowcore.mcp.options import create_static_tool_filter as create_static_tool_filter
from flowcore.mcp.tools import MCPFunctionTool as MCPFunctionTool
from flowcore.mcp.transports import MCPServerSse as MCPServerSse
from flowcore.mcp.transports import MCPServerSseParams as MCPServerSseParams
from flowcore.mcp.transports import MCPServerStdio as MCPServerStdio
from flowcore.mcp.transports import MCPServerStdioParams as MCPServerStdioParams
from flowcore.mcp.transports import MCPServerStreamableHttp as MCPServerStreamableHttp
from flowcore.mcp.transports import MCPServerStreamableHttpParams as MCPServerStreamableHttpParams
from flowcore.mcp.util import MCPUtil as MCPUtil

__all__ = [
    "LocalMCPApprovalCallable",
    "MCPFunctionTool",
    "MCPServer",
    "MCPServerManager",
    "MCPServerSse",
    "MCPServerSseParams",
    "MCPServerStdio",
    "MCPServerStdioParams",
    "MCPServerStreamableHttp",
    "MCPServerStreamableHttpParams",
    "MCPToolCustomDataContext",
    "MCPToolCustomDataExtractor",
    "MCPToolMetaContext",
    "MCPToolMetaResolver",
    "MCPUtil",
    "RequireApproval",
    "ToolFilter",
    "ToolFilterCallable",
    "ToolFilterContext",
    "ToolFilterStatic",
    "create_static_tool_filter",
]
