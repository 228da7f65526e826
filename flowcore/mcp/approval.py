"""``require_approval``: read once, when the server is declared, into a bool, a table of names, or a function."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from flowcore.agents.context import RunContextWrapper
from flowcore.agents.tools import NeedsApproval
from flowcore.errors import UserError
from flowcore.mcp.options import LocalMCPApprovalCallable, RequireApproval

if TYPE_CHECKING:
    from mcp.types import Tool

Policy: TypeAlias = "bool | dict[str, bool] | LocalMCPApprovalCallable"
"""A setting, read. A name that isn't in the table needs no approval."""


def read_approval(setting: RequireApproval) -> Policy:
    """The policy of a ``require_approval`` setting. Raises ``UserError`` for one that says nothing."""
    if setting is None:
        return False
    if isinstance(setting, bool):
        return setting
    if isinstance(setting, Mapping):
        return _lists(setting) if _is_lists(setting) else _table(setting)
    if callable(setting):
        return setting
    return _word(setting, "require_approval")


def _word(value: Any, where: str) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("always", "never"):
        return bool(value == "always")
    raise UserError(f"Invalid require_approval value at {where}: expected 'always' or 'never', got {value!r}.")


def _table(setting: Mapping[str, Any]) -> dict[str, bool]:
    return {str(name): _word(value, f"require_approval[{name!r}]") for name, value in setting.items()}


def _is_lists(setting: Mapping[str, Any]) -> bool:
    entries = (setting.get("always"), setting.get("never"))
    return any(isinstance(entry, Mapping) and "tool_names" in entry for entry in entries)


def _lists(setting: Mapping[str, Any]) -> dict[str, bool]:
    broken = "Invalid require_approval tool list policy: "
    unknown = sorted(set(setting) - {"always", "never"})
    if unknown:
        raise UserError(f"{broken}unexpected keys {unknown!r}; expected only 'always' and 'never'.")
    always, never = _names(setting, "always"), _names(setting, "never")
    both = sorted(set(always) & set(never))
    if both:
        raise UserError(f"{broken}tool names cannot appear in both always and never: {both!r}.")
    return {**dict.fromkeys(always, True), **dict.fromkeys(never, False)}


def _names(setting: Mapping[str, Any], policy: str) -> list[str]:
    entry = setting.get(policy, {})
    if not isinstance(entry, Mapping):
        raise UserError(
            f"Invalid require_approval.{policy}: expected an object with tool_names, got {type(entry).__name__}."
        )
    where, names = f"require_approval.{policy}.tool_names", entry.get("tool_names", [])
    if not isinstance(names, list):
        raise UserError(
            f"Invalid require_approval tool_names at {where}: expected a list of strings, got {type(names).__name__}."
        )
    for index, name in enumerate(names):
        if not isinstance(name, str):
            raise UserError(
                f"Invalid require_approval tool name at {where}[{index}]: expected a string, got {type(name).__name__}."
            )
    return names


def needs_approval(policy: Policy, tool: Tool, agent: Any) -> NeedsApproval:
    """A tool's ``needs_approval`` under ``policy``. A function can't be asked without an agent: every call waits."""
    if isinstance(policy, bool):
        return policy
    if isinstance(policy, dict):
        return policy.get(tool.name, False)
    return True if agent is None else _asking(policy, tool, _reference(agent))


def _reference(agent: Any) -> Callable[[], Any]:
    """A way to the agent that doesn't keep it alive: a server may outlive many agents, and keeps their tools."""
    try:
        return weakref.ref(agent)
    except TypeError:
        return lambda: agent


def _asking(policy: LocalMCPApprovalCallable, tool: Tool, agent: Callable[[], Any]) -> NeedsApproval:
    async def ask(context: RunContextWrapper[Any], parameters: dict[str, Any], call_id: str) -> bool:
        asker = agent()
        if asker is None:  # nobody can say: then a person does
            return True
        answer = policy(context, asker, tool)
        return bool(await answer if inspect.isawaitable(answer) else answer)

    return ask
