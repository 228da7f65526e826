"""Namespaces of tools: a group with a name and a description of its own, which the model may search as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from flowcore.agents.tools import FunctionTool
from flowcore.errors import UserError
from flowcore.models.base import Item


def tool_namespace(*, name: str, description: str | None, tools: Sequence[FunctionTool]) -> list[FunctionTool]:
    """Copies of ``tools`` that stand in the namespace ``name``: each is then known as ``name.tool``.

    The namespace is drawn from the tools when a request is made; tools of the same name may stand in several
    namespaces. Only for models of the Responses API. Raises ``UserError``: a name or a description that is empty, or
    what is no function tool.
    """
    named = _text(name, "namespace name")
    described = _text(description, "description")
    for tool in tools:
        if not isinstance(tool, FunctionTool):
            raise UserError(
                f"tool_namespace() only supports FunctionTool instances. Namespace '{named}' holds {_what(tool)}."
            )
        if tool.name == named:
            raise UserError(
                f"the namespace `{named}.{named}` stands for a tool that is found by searching and has no namespace:"
                f" rename the namespace '{named}' or its tool '{named}'"
            )
    return [replace(tool, tool_namespace=named, tool_namespace_description=described) for tool in tools]


def _text(value: Any, what: str) -> str:
    text = value.strip() if isinstance(value, str) else ""
    if not text:
        raise UserError(f"tool_namespace() requires a non-empty {what}.")
    return text


def _what(value: Any) -> str:
    return f"a {type(value).__name__}"


# --- which tool a call is for -----------------------------------------------------------------------------------------


def qualified_tools(tools: Iterable[Any]) -> dict[str, FunctionTool]:
    """The function tools among ``tools`` by their qualified names; of several with one plain name it's the last.

    Raises UserError where a namespace makes a name ambiguous, or has several descriptions.
    """
    found: dict[str, FunctionTool] = {}
    described: dict[str, str | None] = {}
    for tool in tools:
        if not isinstance(tool, FunctionTool):
            continue
        name, namespace = tool.qualified_name, tool.tool_namespace
        other = found.get(name)
        if other is not None and (namespace or other.tool_namespace):
            raise UserError(
                f"Ambiguous function tool configuration: the qualified name `{name}` is used by multiple tools."
                " Rename the tool in the namespace, or the one with a dot in its name."
            )
        if namespace and described.setdefault(namespace, tool.tool_namespace_description) != (
            tool.tool_namespace_description
        ):
            raise UserError(f"All tools in namespace '{namespace}' must share the same description.")
        found[name] = tool
    return found


def colliding(tools: Iterable[Any]) -> list[str]:
    """Qualified names that several function tools have, sorted."""
    names = Counter(tool.qualified_name for tool in tools if isinstance(tool, FunctionTool))
    return sorted(name for name, count in names.items() if count > 1)


def called_name(call: Item) -> str:
    """The qualified name that a ``function_call`` item gives."""
    name, namespace = str(call.get("name") or ""), call.get("namespace")
    return f"{namespace}.{name}" if namespace else name


def called_tool(tools: Mapping[str, FunctionTool], call: Item) -> FunctionTool | None:
    """The tool of ``qualified_tools`` that a ``function_call`` item is for, None where there is none.

    A tool without a namespace that was found by searching is called in a namespace of its own name.
    """
    if call.get("namespace") is None:
        return tools.get(call.get("name") or "")
    tool = tools.get(called_name(call))
    if tool is None and call.get("namespace") and call.get("namespace") == call.get("name"):
        bare = tools.get(str(call["name"]))
        return bare if bare is not None and bare.defer_loading else None
    return tool
