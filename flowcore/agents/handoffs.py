"""Handoffs: an agent gives the conversation to another one."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from flowcore.agents.context import RunContextWrapper
from flowcore.agents.schema import ensure_strict_json_schema
from flowcore.errors import ModelBehaviorError, UserError
from flowcore.graph.values import explain
from flowcore.models.base import Item


@dataclass(frozen=True)
class HandoffInputData:
    """What a handoff's ``input_filter`` is given, and gives back: items in wire form.

    ``input_history``: the run's input. ``pre_handoff_items``: what came before the reply that hands off.
    ``new_items``: that reply and the
    outputs of its calls.
    """

    input_history: tuple[Item, ...]
    pre_handoff_items: tuple[Item, ...]
    new_items: tuple[Item, ...]
    run_context: RunContextWrapper[Any] | None = None

    def clone(self, **changes: Any) -> HandoffInputData:
        """A copy with some fields changed."""
        return replace(self, **changes)


@dataclass(eq=False)
class Handoff:
    """A handoff as the model sees it. ``on_invoke_handoff(ctx, arguments)`` gives the agent that goes on."""

    tool_name: str
    tool_description: str
    input_json_schema: dict[str, Any]
    on_invoke_handoff: Callable[[RunContextWrapper[Any], str], Any]
    agent_name: str
    input_filter: Callable[[HandoffInputData], Any] | None = None
    strict_json_schema: bool = True
    is_enabled: Any = True
    agent: Any = field(default=None, repr=False)

    @staticmethod
    def default_tool_name(agent: Any) -> str:
        """``transfer_to_<agent>``, in lower case, with ``_`` for what isn't a letter, digit or ``_``."""
        return re.sub(r"[^a-z0-9_]", "_", f"transfer_to_{agent.name}".lower())

    @staticmethod
    def default_tool_description(agent: Any) -> str:
        """What the model reads of a handoff without a description of its own."""
        return f"Handoff to the {agent.name} agent to handle the request. {agent.handoff_description or ''}".rstrip()

    def get_transfer_message(self, agent: Any) -> str:
        """What the model reads as the call's output."""
        return json.dumps({"assistant": agent.name})

    async def enabled(self, context: RunContextWrapper[Any], agent: Any) -> bool:
        """Whether the handoff is offered now."""
        if isinstance(self.is_enabled, bool):
            return self.is_enabled
        answer = self.is_enabled(context, agent)
        return bool(await answer) if inspect.isawaitable(answer) else bool(answer)


def handoff(
    agent: Any,
    tool_name_override: str | None = None,
    tool_description_override: str | None = None,
    *,
    on_handoff: Callable[..., Any] | None = None,
    input_type: Any = None,
    input_filter: Callable[[HandoffInputData], Any] | None = None,
    is_enabled: Any = True,
) -> Handoff:
    """A handoff to ``agent``.

    ``on_handoff``: called when it happens, with the context, and with the validated input where ``input_type`` says
    that the model gives
    one. ``input_filter``: chooses what the next agent sees. Raises UserError.
    """
    _check(on_handoff, input_type)
    adapter = TypeAdapter(input_type) if input_type is not None else None

    async def invoke(context: RunContextWrapper[Any], arguments: str) -> Any:
        if on_handoff is not None:
            given = (_validated(adapter, arguments, agent.name),) if adapter is not None else ()
            answer = on_handoff(context, *given)
            if inspect.isawaitable(answer):
                await answer
        return agent

    schema = ensure_strict_json_schema(adapter.json_schema() if adapter else {"type": "object", "properties": {}})
    return Handoff(
        tool_name=tool_name_override or Handoff.default_tool_name(agent),
        tool_description=tool_description_override or Handoff.default_tool_description(agent),
        input_json_schema=schema,
        on_invoke_handoff=invoke,
        agent_name=agent.name,
        input_filter=input_filter,
        is_enabled=is_enabled,
        agent=agent,
    )


def _check(on_handoff: Callable[..., Any] | None, input_type: Any) -> None:
    if input_type is not None and on_handoff is None:
        raise UserError("You must provide on_handoff when you provide input_type")
    if on_handoff is None:
        return
    if not callable(on_handoff):
        raise UserError("on_handoff must be callable")
    wanted = 1 if input_type is None else 2
    if len(inspect.signature(on_handoff).parameters) != wanted:
        raise UserError(
            "on_handoff must take one argument: context"
            if wanted == 1
            else "on_handoff must take two arguments: context and input"
        )


def _validated(adapter: TypeAdapter[Any], arguments: str, agent: str) -> Any:
    try:
        return adapter.validate_json(arguments or "{}")
    except ValidationError as error:
        raise ModelBehaviorError(f"the handoff to '{agent}' was called with invalid input: {explain(error)}") from error


def as_handoff(one: Any) -> Handoff:
    """A handoff from an agent or a handoff."""
    return one if isinstance(one, Handoff) else handoff(one)
