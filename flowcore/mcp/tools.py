"""A server's tools as function tools: made once per tool, and what one call of them does."""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
import logging
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from flowcore.agents.context import RunContextWrapper, ToolContext
from flowcore.agents.schema import JsonSchema, ensure_strict_json_schema
from flowcore.agents.tools import FunctionTool, FunctionToolCustomDataContext, ToolErrorFunction
from flowcore.errors import AgentsException, MCPToolCancellationError, ModelBehaviorError, UserError
from flowcore.graph.secret import MASK, is_secret_schema
from flowcore.mcp.approval import needs_approval
from flowcore.mcp.naming import shown_name
from flowcore.mcp.options import MCPToolCustomDataContext, MCPToolMetaContext
from flowcore.mcp.results import output_of

if TYPE_CHECKING:
    from mcp.types import CallToolResult, Tool

    from flowcore.mcp.base import MCPServer

logger = logging.getLogger("flowcore.mcp")


@dataclass(eq=False)
class MCPFunctionTool(FunctionTool):
    """A tool of an MCP server. ``mcp_server_name``, ``mcp_tool_name``: where it comes from, by the names used there.
    ``mcp_title``: the title that the server gives it, for people."""

    mcp_server_name: str = field(default="", kw_only=True)
    mcp_tool_name: str = field(default="", kw_only=True)
    mcp_title: str | None = field(default=None, kw_only=True)


def make_tool(
    tool: Tool,
    server: MCPServer,
    strict: bool,
    agent: Any,
    failure_error_function: ToolErrorFunction | None,
    name: str | None = None,
) -> MCPFunctionTool:
    """The function tool of a server's tool. A schema that can't be strict stays as it was, and isn't strict. What its
    schemas call ``writeOnly``, as pydantic does ``SecretStr``, is secret: an argument, or the whole output.

    ``agent``: whom an approval function is asked about; without one every call it would be asked about waits.
    """
    schema, is_strict = _schema(tool, strict)
    title = tool.title or (tool.annotations.title if tool.annotations else None) or None
    call = _Invocation(server, tool, name or tool.name)
    return MCPFunctionTool(
        name=name or tool.name,
        description=tool.description or title or "",
        params_json_schema=schema,
        on_invoke_tool=call,
        strict_json_schema=is_strict,
        needs_approval=needs_approval(server.approval_policy, tool, agent),
        tool_input_guardrails=_copied(server.tool_input_guardrails),
        tool_output_guardrails=_copied(server.tool_output_guardrails),
        failure_error_function=server.failure_function(failure_error_function),
        custom_data_extractor=None if server.custom_data_extractor is None else call.custom_data,
        secret_output=is_secret_schema(tool.output_schema),
        mcp_server_name=shown_name(server.name),
        mcp_tool_name=tool.name,
        mcp_title=title,
    )


def _copied(guardrails: list[Any] | None) -> list[Any] | None:
    return None if guardrails is None else list(guardrails)


def _schema(tool: Tool, strict: bool) -> tuple[JsonSchema, bool]:
    schema: JsonSchema = copy.deepcopy(tool.input_schema)
    schema.setdefault("properties", {})  # what the OpenAI API asks for and MCP doesn't
    if not strict:
        return schema, False
    try:
        return ensure_strict_json_schema(schema), True
    except Exception as error:  # a server's schema may be anything
        logger.info("MCP tool '%s': its schema can't be strict: %s", tool.name, error)
        return schema, False


@dataclass(eq=False)
class _Invocation:
    """``on_invoke_tool`` of a server's tool, and the app's data of the calls that are under way."""

    server: MCPServer
    tool: Tool
    shown: str
    data: weakref.WeakKeyDictionary[ToolContext[Any], Mapping[str, Any] | None] = field(
        default_factory=weakref.WeakKeyDictionary
    )

    async def __call__(self, context: ToolContext[Any], arguments: str) -> Any:
        output, self.data[context] = await invoke(
            self.server, self.tool, context, arguments, meta=self.tool.meta, shown=self.shown
        )
        return output

    def custom_data(self, context: FunctionToolCustomDataContext) -> Mapping[str, Any] | None:
        """The ``custom_data_extractor`` of the function tool."""
        return self.data.pop(context.tool_context, None)


async def invoke(
    server: MCPServer,
    tool: Tool,
    context: RunContextWrapper[Any],
    input_json: str,
    *,
    meta: dict[str, Any] | None = None,
    shown: str | None = None,
) -> tuple[Any, Mapping[str, Any] | None]:
    """Call a server's tool: what the model is told, and the app's own data.

    ``input_json``: the arguments as the model wrote them. ``meta``: sent as ``_meta``, over what the server's
    ``tool_meta_resolver`` gives. A result that the server calls an error is told like any other.

    Raises ``ModelBehaviorError`` (arguments that aren't a JSON object), ``UserError`` (the server can't be reached),
    ``MCPToolCancellationError``, ``MCPError`` (the server refused or didn't answer in time), ``AgentsException`` (the
    rest, naming tool and server).
    """
    shown = shown or tool.name
    arguments = _arguments(shown, input_json, is_secret_schema(tool.input_schema))
    try:
        meta = await _meta(server, context, tool.name, arguments, meta)
        result = await _uncancelled(server, tool.name, arguments, meta)
    except AgentsException:
        raise
    except Exception as error:
        if _answered(error):
            raise
        raise AgentsException(
            f"Error invoking MCP tool {shown} on server '{shown_name(server.name)}': {error}"
        ) from error
    output = output_of(result, server.use_structured_content)
    return output, await _custom_data(server, context, tool.name, shown, arguments, result, output)


def _answered(error: Exception) -> bool:
    """Whether it's an error of the protocol: those are told as they are."""
    try:
        from mcp import MCPError
    except ImportError:  # a server of the app's own, that does without
        return False
    return isinstance(error, MCPError)


def _arguments(shown: str, input_json: str, secret: bool) -> dict[str, Any]:
    try:
        arguments = json.loads(input_json) if input_json else {}
    except (ValueError, RecursionError) as error:
        told = MASK if secret else input_json
        raise ModelBehaviorError(f"Invalid JSON input for tool {shown}: {told}") from (None if secret else error)
    if not isinstance(arguments, dict):
        raise ModelBehaviorError(f"Invalid JSON input for tool {shown}: expected a JSON object")
    return arguments


async def _settled(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


async def _meta(
    server: MCPServer,
    context: RunContextWrapper[Any],
    tool_name: str,
    arguments: dict[str, Any],
    fixed: dict[str, Any] | None,
) -> dict[str, Any] | None:
    resolver = server.tool_meta_resolver
    if resolver is None:
        return copy.deepcopy(fixed)
    asked = MCPToolMetaContext(context, server.name, tool_name, copy.deepcopy(arguments))
    made = await _settled(resolver(asked))
    if made is None:
        return copy.deepcopy(fixed)
    if not isinstance(made, dict):
        raise TypeError("MCP meta resolver must return a dict or None.")
    return copy.deepcopy({**made, **(fixed or {})})


async def _uncancelled(
    server: MCPServer, tool_name: str, arguments: dict[str, Any], meta: dict[str, Any] | None
) -> CallToolResult:
    """The call. A cancel that nobody asked of this task is the server's doing, and an error like others."""
    more: dict[str, Any] = {} if meta is None else {"meta": meta}
    try:
        return await server.call_tool(tool_name, arguments, **more)
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise MCPToolCancellationError(
            f"Failed to call tool '{tool_name}' on MCP server '{shown_name(server.name)}':"
            " tool execution was cancelled."
        ) from error


def _frozen(value: Any) -> Mapping[str, Any] | None:
    return MappingProxyType(copy.deepcopy(value)) if isinstance(value, dict) else None


async def _custom_data(
    server: MCPServer,
    context: RunContextWrapper[Any],
    tool_name: str,
    shown: str,
    arguments: dict[str, Any],
    result: CallToolResult,
    output: Any,
) -> Mapping[str, Any] | None:
    if server.custom_data_extractor is None:
        return None
    asked = MCPToolCustomDataContext(
        run_context=context,
        server_name=server.name,
        tool_name=tool_name,
        tool_display_name=shown,
        arguments=MappingProxyType(copy.deepcopy(arguments)),
        result_meta=_frozen(result.meta),
        structured_content=_frozen(result.structured_content),
        is_error=result.is_error,
        tool_output=copy.deepcopy(output),
    )
    data = await _settled(server.custom_data_extractor(asked))
    if data is not None and not isinstance(data, Mapping):
        raise UserError(
            f"MCP server '{shown_name(server.name)}': custom_data_extractor returned {type(data).__name__},"
            " not a mapping or None"
        )
    return None if data is None else dict(data)


class ToolShelf:
    """The function tools that were made of a server's listing: the same objects as long as a tool is listed the same.

    One shelf per way of making them; the few that were asked for last are kept.
    """

    KEPT = 16

    def __init__(self) -> None:
        self._shelves: dict[Any, dict[str, tuple[Tool, MCPFunctionTool]]] = {}
        self._by_agent: weakref.WeakKeyDictionary[Any, ToolShelf] = weakref.WeakKeyDictionary()

    def of_agent(self, agent: Any) -> ToolShelf:
        """The shelf of tools that are made for this agent alone."""
        try:
            return self._by_agent.setdefault(agent, ToolShelf())
        except TypeError:  # nothing can be kept beside it
            return ToolShelf()

    def take(
        self,
        key: Any,
        listed: list[tuple[str, Tool]],
        make: Callable[[str, Tool], MCPFunctionTool],
    ) -> list[FunctionTool]:
        """The tools, by name, in the order listed. ``key``: the way of making them, hashable."""
        before = self._shelves.pop(key, {})
        shelf: dict[str, tuple[Tool, MCPFunctionTool]] = {}
        for name, tool in listed:
            kept = before.get(name)
            if kept is None or (kept[0] is not tool and kept[0] != tool):
                kept = (tool, make(name, tool))
            shelf[name] = kept
        # What a filter hides in this turn may be asked for in the next; what is long gone isn't kept.
        self._shelves[key] = {**before, **shelf} if len(before) <= 2 * len(shelf) + self.KEPT else shelf
        while len(self._shelves) > self.KEPT:
            del self._shelves[next(iter(self._shelves))]
        return [kept[1] for kept in shelf.values()]
