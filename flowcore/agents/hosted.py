"""Tools that run at OpenAI, inside the model's reply: declared here, never called here. The Responses API alone has
them."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NotRequired, Required, TypeAlias, TypedDict

from flowcore.agents.context import RunContextWrapper
from flowcore.errors import UserError
from flowcore.models.base import Item
from flowcore.models.openai_types import typed_items
from flowcore.models.settings import to_wire


class WebSearchToolImageSettings(TypedDict, total=False):
    """How many images a web search gives, and whether with captions."""

    max_results: int
    caption: bool


class ImageGenerationToolConfig(TypedDict, total=False):
    """What an image generation may be told."""

    type: Required[Literal["image_generation"]]
    action: Literal["generate", "edit", "auto"]
    background: Literal["transparent", "opaque", "auto"]
    input_fidelity: Literal["high", "low"] | None
    input_image_mask: dict[str, str]
    model: str
    moderation: Literal["auto", "low"]
    output_compression: int
    output_format: Literal["png", "webp", "jpeg"]
    partial_images: int
    quality: Literal["low", "medium", "high", "xhigh", "max", "auto"]
    size: str


def _given(**fields: Any) -> dict[str, Any]:
    return {name: to_wire(value) for name, value in fields.items() if value is not None}


@dataclass
class FileSearchTool:
    """Searches vector stores.

    ``vector_store_ids``: which. ``max_num_results``: 1 to 50; None or 0 leaves it to OpenAI.
    ``include_search_results``: whether the reply holds what was found. ``ranking_options``, ``filters``: as the API has
    them. Raises ``UserError`` for a number of results that can't be.
    """

    vector_store_ids: list[str]
    max_num_results: int | None = None
    include_search_results: bool = False
    ranking_options: Any = None
    filters: Any = None
    name: ClassVar[str] = "file_search"

    def __post_init__(self) -> None:
        count = self.max_num_results
        if count is not None and (isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= 50):
            raise UserError(f"FileSearchTool max_num_results must be 1 to 50, or None, not {count!r}.")

    @property
    def includes(self) -> tuple[str, ...]:
        """What the request asks to be told beside the reply."""
        return ("file_search_call.results",) if self.include_search_results else ()

    def to_wire(self) -> dict[str, Any]:
        """The tool as it travels."""
        return _given(
            type="file_search",
            vector_store_ids=list(self.vector_store_ids),
            max_num_results=self.max_num_results or None,
            ranking_options=self.ranking_options,
            filters=self.filters,
        )


@dataclass
class WebSearchTool:
    """Searches the web.

    ``user_location``: ``{"type": "approximate", "city": ...}``. ``filters``: ``{"allowed_domains": [...]}``.
    ``external_web_access``: False takes what is cached only. ``search_content_types``: "text", "image";
    ``image_settings``: of the latter.
    """

    user_location: Any = None
    filters: Any = None
    search_context_size: Literal["low", "medium", "high"] = "medium"
    external_web_access: bool | None = None
    search_content_types: list[Literal["text", "image"]] | None = None
    image_settings: WebSearchToolImageSettings | None = None
    name: ClassVar[str] = "web_search"

    @property
    def includes(self) -> tuple[str, ...]:
        """What the request asks to be told beside the reply."""
        return ("web_search_call.results",) if "image" in (self.search_content_types or ()) else ()

    def to_wire(self) -> dict[str, Any]:
        """The tool as it travels."""
        return _given(
            type="web_search",
            filters=self.filters,
            user_location=self.user_location,
            search_context_size=self.search_context_size,
            external_web_access=self.external_web_access,
            search_content_types=self.search_content_types,
            image_settings=self.image_settings,
        )


def _config(config: Any, kind: str, tool: str) -> dict[str, Any]:
    wire = to_wire(config)
    if not isinstance(wire, Mapping) or wire.get("type") != kind:
        raise UserError(
            f"{tool}: tool_config is a dict with 'type': {kind!r}, as the Responses API has it, not {config!r}"
        )
    return dict(wire)


@dataclass
class CodeInterpreterTool:
    """Runs code in a container at OpenAI. ``tool_config``: ``{"type": "code_interpreter", "container": ...}``.

    Raises ``UserError`` for a config of another type.
    """

    tool_config: Any
    name: ClassVar[str] = "code_interpreter"

    def __post_init__(self) -> None:
        self.tool_config = _config(self.tool_config, "code_interpreter", "CodeInterpreterTool")

    def to_wire(self) -> dict[str, Any]:
        """The tool as it travels."""
        return dict(self.tool_config)


@dataclass
class ImageGenerationTool:
    """Makes images. ``tool_config``: ``{"type": "image_generation", ...}``.

    Raises ``UserError`` for a config of another type.
    """

    tool_config: Any
    name: ClassVar[str] = "image_generation"

    def __post_init__(self) -> None:
        self.tool_config = _config(self.tool_config, "image_generation", "ImageGenerationTool")

    def to_wire(self) -> dict[str, Any]:
        """The tool as it travels."""
        return dict(self.tool_config)


@dataclass
class ToolSearchTool:
    """Lets the model look for tools that are declared with ``defer_loading``.

    ``execution``: "server", or "client" where your own code searches; ``description`` and ``parameters`` are the
    latter's.
    """

    description: str | None = None
    execution: Literal["server", "client"] | None = None
    parameters: Any = None
    name: ClassVar[str] = "tool_search"

    def to_wire(self) -> dict[str, Any]:
        """The tool as it travels."""
        return _given(
            type="tool_search", description=self.description, execution=self.execution, parameters=self.parameters
        )


@dataclass
class MCPToolApprovalRequest:
    """What ``HostedMCPTool.on_approval_request`` is asked with: the run's context, and the model's
    ``mcp_approval_request`` (``data.id``, ``.server_label``, ``.name``, ``.arguments`` as JSON text)."""

    ctx_wrapper: RunContextWrapper[Any]
    data: Any


class MCPToolApprovalFunctionResult(TypedDict):
    """Whether a call is approved; the ``reason`` where it isn't."""

    approve: bool
    reason: NotRequired[str]


MCPToolApprovalFunction: TypeAlias = Callable[
    [MCPToolApprovalRequest], MCPToolApprovalFunctionResult | Awaitable[MCPToolApprovalFunctionResult]
]
"""Approves or rejects a call of a hosted MCP server's tool, sync or async."""


@dataclass
class HostedMCPTool:
    """Tools of an MCP server that OpenAI calls.

    ``tool_config``: ``{"type": "mcp", "server_label": ..., "server_url": ..., "require_approval": ...}``.
    ``on_approval_request``: approves or rejects the calls that ask for it; without one, a person has to.

    Raises ``UserError`` for a config of another type.
    """

    tool_config: Any
    on_approval_request: MCPToolApprovalFunction | None = field(default=None)
    name: ClassVar[str] = "hosted_mcp"

    def __post_init__(self) -> None:
        self.tool_config = _config(self.tool_config, "mcp", "HostedMCPTool")

    @property
    def server_label(self) -> str | None:
        """The server that this is about, as requests for approval name it."""
        label: str | None = self.tool_config.get("server_label")
        return label

    def to_wire(self) -> dict[str, Any]:
        """The tool as it travels."""
        return dict(self.tool_config)

    async def answer(self, ctx: RunContextWrapper[Any], request: Item) -> Item | None:
        """The ``mcp_approval_response`` to an ``mcp_approval_request`` item; None: there is no function to ask.

        Raises ``UserError`` when the function says neither yes nor no.
        """
        if self.on_approval_request is None:
            return None
        said: Any = self.on_approval_request(MCPToolApprovalRequest(ctx, typed_items([request])[0]))
        if inspect.isawaitable(said):
            said = await said
        if not isinstance(said, Mapping) or not isinstance(said.get("approve"), bool):
            raise UserError(
                f"HostedMCPTool '{self.server_label}': on_approval_request gave {said!r}; it has to give "
                "{'approve': True} or {'approve': False, 'reason': ...}"
            )
        return approval_response(request["id"], said["approve"], said.get("reason"))


def servers_for(agent: Any, request: Item) -> list[HostedMCPTool]:
    """The hosted servers of an agent that a request for approval is from."""
    label = request.get("server_label")
    return [one for one in agent.tools if isinstance(one, HostedMCPTool) and one.server_label == label]


def approval_response(request_id: str, approve: bool, reason: str | None = None) -> Item:
    """The input item that answers an ``mcp_approval_request``; a ``reason`` goes with a rejection."""
    item: Item = {"type": "mcp_approval_response", "approval_request_id": request_id, "approve": approve}
    return item | {"reason": reason} if reason and not approve else item
