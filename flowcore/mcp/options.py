"""What a server may be told: which tools it offers, which wait for a person, what goes with a call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypeAlias, TypedDict

from flowcore.agents.context import RunContextWrapper

if TYPE_CHECKING:
    from mcp.types import Tool


# --- filters ----------------------------------------------------------------------------------------------------------


class ToolFilterStatic(TypedDict):
    """Tools by name: only the allowed ones, without the blocked ones."""

    allowed_tool_names: NotRequired[list[str]]
    blocked_tool_names: NotRequired[list[str]]


@dataclass
class ToolFilterContext:
    """What a filter function is handed beside the tool."""

    run_context: RunContextWrapper[Any]
    agent: Any
    server_name: str


ToolFilterCallable: TypeAlias = "Callable[[ToolFilterContext, Tool], bool | Awaitable[bool]]"
"""Whether a tool is offered: ``(context, tool) -> bool``, sync or async."""

ToolFilter: TypeAlias = "ToolFilterCallable | ToolFilterStatic | None"
"""Which of a server's tools are offered: a function, lists of names, or None for all."""


def create_static_tool_filter(
    allowed_tool_names: list[str] | None = None, blocked_tool_names: list[str] | None = None
) -> ToolFilterStatic | None:
    """A filter by names; None where neither list is given."""
    made = ToolFilterStatic()
    if allowed_tool_names is not None:
        made["allowed_tool_names"] = allowed_tool_names
    if blocked_tool_names is not None:
        made["blocked_tool_names"] = blocked_tool_names
    return made or None


# --- approval ---------------------------------------------------------------------------------------------------------


class RequireApprovalToolList(TypedDict, total=False):
    """Names of tools."""

    tool_names: list[str]


class RequireApprovalObject(TypedDict, total=False):
    """Which tools always wait for a person, and which never. Those that aren't named don't."""

    always: RequireApprovalToolList
    never: RequireApprovalToolList


RequireApprovalPolicy: TypeAlias = Literal["always", "never"]
"""Whether a tool's calls wait for a person."""

LocalMCPApprovalCallable: TypeAlias = "Callable[[RunContextWrapper[Any], Any, Tool], bool | Awaitable[bool]]"
"""Whether a call waits for a person: ``(context, agent, tool) -> bool``, sync or async."""

RequireApproval: TypeAlias = (
    "RequireApprovalPolicy | bool | RequireApprovalObject"
    " | Mapping[str, RequireApprovalPolicy | bool] | LocalMCPApprovalCallable | None"
)
"""Which calls wait for a person; None: none."""


# --- a call -----------------------------------------------------------------------------------------------------------


@dataclass
class MCPToolMetaContext:
    """What a ``tool_meta_resolver`` is handed: the call that it's for. ``arguments`` is a copy."""

    run_context: RunContextWrapper[Any]
    server_name: str
    tool_name: str
    arguments: dict[str, Any] | None


MCPToolMetaResolver: TypeAlias = Callable[
    [MCPToolMetaContext], dict[str, Any] | Awaitable[dict[str, Any] | None] | None
]
"""Gives the ``_meta`` that is sent with a call, None for none. Sync or async."""


@dataclass(frozen=True)
class MCPToolCustomDataContext:
    """What a server's ``custom_data_extractor`` is handed: the call and its result, read only.

    ``tool_display_name``: the name that the model knows. ``result_meta``, ``structured_content``, ``is_error``: as the
    server sent them. ``tool_output``: what the model is told.
    """

    run_context: RunContextWrapper[Any]
    server_name: str
    tool_name: str
    tool_display_name: str
    arguments: Mapping[str, Any]
    result_meta: Mapping[str, Any] | None
    structured_content: Mapping[str, Any] | None
    is_error: bool | None
    tool_output: Any


MCPToolCustomDataExtractor: TypeAlias = Callable[
    [MCPToolCustomDataContext], Mapping[str, Any] | Awaitable[Mapping[str, Any] | None] | None
]
"""Gives the app's own data for a call's output item; the model never sees it. Sync or async."""
