"""``MCPUtil``: servers' tools as function tools, for those who don't leave it to the agent. Others know the options
from here, too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from flowcore.agents.context import RunContextWrapper
from flowcore.agents.tools import FunctionTool, ToolErrorFunction, default_tool_error_function
from flowcore.errors import UserError
from flowcore.mcp.base import MCPServer
from flowcore.mcp.options import MCPToolCustomDataContext as MCPToolCustomDataContext
from flowcore.mcp.options import MCPToolMetaContext as MCPToolMetaContext
from flowcore.mcp.options import ToolFilterContext as ToolFilterContext
from flowcore.mcp.options import ToolFilterStatic as ToolFilterStatic
from flowcore.mcp.options import create_static_tool_filter as create_static_tool_filter
from flowcore.mcp.tools import MCPFunctionTool, invoke, make_tool

if TYPE_CHECKING:
    from mcp.types import Tool


class MCPUtil:
    """Servers' tools as function tools."""

    @classmethod
    async def get_all_function_tools(
        cls,
        servers: Sequence[MCPServer],
        convert_schemas_to_strict: bool,
        run_context: RunContextWrapper[Any],
        agent: Any,
        failure_error_function: ToolErrorFunction | None = default_tool_error_function,
        include_server_in_tool_names: bool = False,
        reserved_tool_names: Iterable[str] | None = None,
    ) -> list[FunctionTool]:
        """The tools of all servers. Options: see ``MCPServer.function_tools``.

        Raises ``UserError`` where two servers have a tool of the same name.
        """
        tools: list[FunctionTool] = []
        reserved, names = set(reserved_tool_names or ()), set[str]()
        for server in servers:
            found = await server.function_tools(
                run_context,
                agent,
                convert_schemas_to_strict,
                failure_error_function,
                include_server_in_tool_names,
                reserved_tool_names=reserved | names,
            )
            twice = sorted({tool.name for tool in found} & names)
            if twice:
                raise UserError(
                    f"Duplicate tool names found across MCP servers: {', '.join(map(repr, twice))}. Set"
                    " mcp_config={'include_server_in_tool_names': True} on the agent, or pass"
                    " include_server_in_tool_names=True, to put each server's name before its tools' names"
                )
            names |= {tool.name for tool in found}
            tools.extend(found)
        return tools

    @classmethod
    async def get_function_tools(
        cls,
        server: MCPServer,
        convert_schemas_to_strict: bool,
        run_context: RunContextWrapper[Any],
        agent: Any,
        failure_error_function: ToolErrorFunction | None = default_tool_error_function,
        include_server_in_tool_names: bool = False,
        tool_name_override: Callable[[Tool], str] | None = None,
        reserved_tool_names: Iterable[str] | None = None,
    ) -> list[FunctionTool]:
        """The tools of one server; ``tool_name_override`` gives their names, before any prefix."""
        if tool_name_override is None:
            return await server.function_tools(
                run_context,
                agent,
                convert_schemas_to_strict,
                failure_error_function,
                include_server_in_tool_names,
                reserved_tool_names=reserved_tool_names or (),
            )
        listed = await server.list_tools(run_context, agent)
        return [
            make_tool(tool, server, convert_schemas_to_strict, agent, failure_error_function, tool_name_override(tool))
            for tool in listed
        ]

    @classmethod
    def to_function_tool(
        cls,
        tool: Tool,
        server: MCPServer,
        convert_schemas_to_strict: bool,
        agent: Any = None,
        failure_error_function: ToolErrorFunction | None = default_tool_error_function,
        tool_name_override: str | None = None,
    ) -> MCPFunctionTool:
        """One tool. Without ``agent``, a tool whose approval is a function's to say always waits for a person."""
        return make_tool(tool, server, convert_schemas_to_strict, agent, failure_error_function, tool_name_override)

    @classmethod
    async def invoke_mcp_tool(
        cls,
        server: MCPServer,
        tool: Tool,
        context: RunContextWrapper[Any],
        input_json: str,
        *,
        meta: dict[str, Any] | None = None,
        tool_display_name: str | None = None,
    ) -> Any:
        """Call a tool and give what the model is told. Arguments and errors: see ``flowcore.mcp.tools.invoke``."""
        return (await invoke(server, tool, context, input_json, meta=meta, shown=tool_display_name))[0]
