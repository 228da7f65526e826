"""What a server of tools is, whatever it's reached by. An agent asks it once per turn for ``function_tools``."""

from __future__ import annotations

import abc
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from flowcore.agents.context import RunContextWrapper
from flowcore.agents.tools import FunctionTool, ToolErrorFunction, default_tool_error_function
from flowcore.mcp.approval import Policy, read_approval
from flowcore.mcp.naming import prefixed_name, shown_name
from flowcore.mcp.options import MCPToolCustomDataExtractor, MCPToolMetaResolver, RequireApproval
from flowcore.mcp.tools import MCPFunctionTool, ToolShelf, make_tool

if TYPE_CHECKING:
    from mcp.types import (
        CallToolResult,
        GetPromptResult,
        ListPromptsResult,
        ListResourcesResult,
        ListResourceTemplatesResult,
        ReadResourceResult,
        Tool,
    )


class _Unset:
    def __repr__(self) -> str:
        return "<the agent's>"


UNSET = _Unset()
"""``failure_error_function`` of a server that leaves it to the agent."""


class MCPServer(abc.ABC):
    """A server of tools, prompts and resources. Enter it (``async with``), or ``connect`` and ``cleanup`` it.

    ``use_structured_content``: tell the model a result's structured content instead of its content.
    ``require_approval``: which calls wait for a person: ``"always"``, ``"never"``, a bool, ``{tool: "always"}``,
    ``{"always": {"tool_names": [...]}, "never": {...}}``, or a function ``(context, agent, tool) -> bool``.
    ``failure_error_function``: what the model is told of an error, None raises it; unset, it's the agent's to say.
    ``tool_meta_resolver``: gives the ``_meta`` of a call. ``custom_data_extractor``: gives the app's data for a call's
    output item. Raises ``UserError`` for a ``require_approval`` that says nothing.
    """

    def __init__(
        self,
        use_structured_content: bool = False,
        require_approval: RequireApproval = None,
        failure_error_function: ToolErrorFunction | _Unset | None = UNSET,
        tool_meta_resolver: MCPToolMetaResolver | None = None,
        custom_data_extractor: MCPToolCustomDataExtractor | None = None,
        *,
        tool_input_guardrails: list[Any] | None = None,
        tool_output_guardrails: list[Any] | None = None,
    ) -> None:
        self.use_structured_content = use_structured_content
        self.approval_policy: Policy = read_approval(require_approval)
        self.tool_meta_resolver = tool_meta_resolver
        self.custom_data_extractor = custom_data_extractor
        self.tool_input_guardrails = tool_input_guardrails
        self.tool_output_guardrails = tool_output_guardrails
        self._failure_error_function = failure_error_function
        self._shelf = ToolShelf()

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """A readable name."""

    @abc.abstractmethod
    async def connect(self) -> None:
        """Connect, so that the server can be asked."""

    @abc.abstractmethod
    async def cleanup(self) -> None:
        """Let go of what ``connect`` took: processes, connections."""

    @abc.abstractmethod
    async def list_tools(self, run_context: RunContextWrapper[Any] | None = None, agent: Any = None) -> list[Tool]:
        """The tools that are offered to ``agent`` now."""

    @abc.abstractmethod
    async def call_tool(
        self, tool_name: str, arguments: dict[str, Any] | None, meta: dict[str, Any] | None = None
    ) -> CallToolResult:
        """Call a tool; ``meta`` goes along as ``_meta``."""

    @abc.abstractmethod
    async def list_prompts(self) -> ListPromptsResult:
        """The server's prompts."""

    @abc.abstractmethod
    async def get_prompt(self, name: str, arguments: dict[str, Any] | None = None) -> GetPromptResult:
        """One prompt, filled with ``arguments``."""

    async def list_resources(self, cursor: str | None = None) -> ListResourcesResult:
        """A page of the server's resources; ``cursor`` is the last page's ``next_cursor``."""
        raise NotImplementedError(f"MCP server '{self.name}' does not support list_resources.")

    async def list_resource_templates(self, cursor: str | None = None) -> ListResourceTemplatesResult:
        """A page of the server's resource templates; ``cursor`` is the last page's ``next_cursor``."""
        raise NotImplementedError(f"MCP server '{self.name}' does not support list_resource_templates.")

    async def read_resource(self, uri: str) -> ReadResourceResult:
        """The content of a resource."""
        raise NotImplementedError(f"MCP server '{self.name}' does not support read_resource.")

    @property
    def cached_tools(self) -> list[Tool] | None:
        """The tools listed last, where they're kept."""
        return None

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.cleanup()

    def failure_function(self, of_agent: ToolErrorFunction | None) -> ToolErrorFunction | None:
        """What the model is told of an error: by the server's own function, else by the agent's."""
        own = self._failure_error_function
        return of_agent if isinstance(own, _Unset) else own

    async def function_tools(
        self,
        run_context: RunContextWrapper[Any],
        agent: Any,
        strict: bool = False,
        failure_error_function: ToolErrorFunction | None = default_tool_error_function,
        include_server_in_tool_names: bool = False,
        *,
        reserved_tool_names: Iterable[str] = (),
    ) -> list[FunctionTool]:
        """The tools that ``agent`` is offered now, as function tools: the same objects until a tool is listed
        otherwise.

        ``strict``: make the schemas strict where that can be. ``failure_error_function``: what the model is told of an
        error, unless the server says otherwise; None raises it. ``include_server_in_tool_names``: tools are called
        ``mcp_<server>__<tool>``, and other than the ``reserved_tool_names``.
        """
        tools = await self.list_tools(run_context, agent)
        shelf, asked = self._shelf, None
        if callable(self.approval_policy):
            shelf, asked = shelf.of_agent(agent), agent
        listed = [(tool.name, tool) for tool in tools]
        if include_server_in_tool_names:
            listed = _prefixed(shown_name(self.name), tools, reserved_tool_names)

        def make(name: str, tool: Tool) -> MCPFunctionTool:
            return make_tool(tool, self, strict, asked, failure_error_function, name)

        return shelf.take((strict, id(failure_error_function), include_server_in_tool_names), listed, make)


def _prefixed(server: str, tools: list[Tool], reserved: Iterable[str]) -> list[tuple[str, Tool]]:
    taken, listed = set(reserved), []
    for tool in tools:
        name = prefixed_name(server, tool.name, taken)
        taken.add(name)
        listed.append((name, tool))
    return listed
