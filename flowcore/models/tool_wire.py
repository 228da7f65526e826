"""Tools, handoffs and the choice among them, in the wire form of the Responses API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flowcore.errors import UserError
from flowcore.models.base import HandoffSpec, OutputSchema
from flowcore.models.settings import MCPToolChoice, ModelSettings

HOSTED_TOOLS = frozenset(
    {
        "code_interpreter",
        "computer",
        "computer_use_preview",
        "file_search",
        "image_generation",
        "mcp",
        "web_search",
        "web_search_preview",
    }
)
"""Tools that run at OpenAI; as a ``tool_choice`` they stand for themselves."""

_FUNCTION_EXTRAS = {
    "defer_loading": "defer_loading",
    "allowed_callers": "allowed_callers",
    "output_json_schema": "output_schema",
}
"""What a function tool may say beside its schema, and how the Responses API, which alone knows it, calls it."""

OUTPUT_NAME = "final_output"
"""The name that an output schema has on the wire.

A type's own name may have characters that aren't allowed there.
"""


def tools_to_wire(tools: Sequence[Any], handoffs: Sequence[HandoffSpec]) -> list[dict[str, Any]]:
    """Tools, then handoffs as function tools; tools of one namespace stand together, where its first stood.

    Raises ``UserError`` for something that is no tool.
    """
    wire: list[dict[str, Any]] = []
    namespaces: dict[str, dict[str, Any]] = {}
    for tool in tools:
        name = getattr(tool, "tool_namespace", None)
        if name is None:
            wire.append(_tool_to_wire(tool))
            continue
        if name not in namespaces:
            told = getattr(tool, "tool_namespace_description", None) or ""
            namespaces[name] = {"type": "namespace", "name": name, "description": told, "tools": []}
            wire.append(namespaces[name])
        namespaces[name]["tools"].append(_tool_to_wire(tool))
    return wire + [
        function_tool(
            handoff.tool_name,
            handoff.tool_description,
            handoff.input_json_schema,
            handoff.strict_json_schema,
        )
        for handoff in handoffs
    ]


def function_tool(name: str, description: str, parameters: dict[str, Any], strict: bool) -> dict[str, Any]:
    """A function tool on the wire."""
    return {
        "type": "function",
        "name": name,
        "description": description,
        "parameters": parameters,
        "strict": strict,
    }


def _tool_to_wire(tool: Any) -> dict[str, Any]:
    if isinstance(tool, Mapping):
        return dict(tool)
    if hasattr(tool, "params_json_schema"):
        wire = function_tool(tool.name, tool.description, tool.params_json_schema, tool.strict_json_schema)
        extras = {told: getattr(tool, name, None) for name, told in _FUNCTION_EXTRAS.items()}
        return wire | {name: value for name, value in extras.items() if value}
    if hasattr(tool, "to_wire"):
        return dict(tool.to_wire())
    raise UserError(
        f"{tool!r} can't be given to a model as a tool: a function tool has name, description, "
        "params_json_schema and strict_json_schema, a hosted tool has to_wire()"
    )


def includes_of(tools: Sequence[Any]) -> list[str]:
    """What hosted tools want to be told beside the reply, for ``include``."""
    return [one for tool in tools for one in getattr(tool, "includes", ())]


def tool_choice_to_wire(settings: ModelSettings, tools: Sequence[Mapping[str, Any]]) -> Any:
    """``tool_choice`` on the wire; None when the settings leave it open."""
    choice = settings.tool_choice
    if isinstance(choice, MCPToolChoice):
        return {"type": "mcp", "server_label": choice.server_label, "name": choice.name}
    if choice is None or isinstance(choice, Mapping) or choice in ("auto", "required", "none"):
        return choice
    if choice in HOSTED_TOOLS and not any(tool.get("name") == choice for tool in tools):
        return {"type": choice}
    return {"type": "function", "name": choice}


def output_format(schema: OutputSchema | None) -> dict[str, Any] | None:
    """The JSON schema that the reply's text is to follow, on the wire; None for plain text."""
    if schema is None or schema.is_plain_text():
        return None
    return {
        "type": "json_schema",
        "name": OUTPUT_NAME,
        "schema": schema.json_schema(),
        "strict": schema.is_strict_json_schema(),
    }
