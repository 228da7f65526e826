"""Namespaces of tools: a group with a name and a description of its own, which the model may search as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from flowcore.agents.tools import FunctionTool
from flowcore.errors import UserError


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
