"""Handoffs: an agent gives the conversation to another one."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeAlias

from pydantic import BaseModel, TypeAdapter, ValidationError
from typing_extensions import TypeVar

from flowcore.agents.context import RunContextWrapper, TContext
from flowcore.agents.schema import describe_errors, ensure_strict_json_schema
from flowcore.errors import ModelBehaviorError, UserError
from flowcore.graph.values import shorten
from flowcore.models.base import Item

TAgent = TypeVar("TAgent", default=Any)


@dataclass(frozen=True)
class HandoffInputData:
    """What a handoff's ``input_filter`` is given, and gives back.

    ``input_history``: the run's input, a text or items in wire form. ``pre_handoff_items``: what came before the reply
    that hands off. ``new_items``: that reply and the outputs of its calls. ``run_context``: the run. ``input_items``:
    what the next agent sees in place of ``new_items``, which then stay whole for the session; None: it sees those.

    An item is a run item (with ``type`` and ``to_input_item()``) or a dict in wire form; ``wire`` reads both.
    """

    input_history: str | tuple[Item, ...]
    pre_handoff_items: tuple[Any, ...]
    new_items: tuple[Any, ...]
    run_context: RunContextWrapper[Any] | None = None
    input_items: tuple[Any, ...] | None = None

    def clone(self, **changes: Any) -> HandoffInputData:
        """A copy with some fields changed."""
        return replace(self, **changes)


HandoffInputFilter: TypeAlias = Callable[[HandoffInputData], HandoffInputData | Awaitable[HandoffInputData]]
"""Chooses what the next agent sees, sync or async."""

HandoffHistoryMapper: TypeAlias = Callable[[list[Item]], list[Item]]
"""Makes the next agent's history of the whole conversation, items in wire form."""


def wire(item: Any) -> Item:
    """An item in wire form: of a dict, a run item (``to_input_item()``) or an object of the openai package.

    Raises UserError on anything else.
    """
    if isinstance(item, Mapping):
        return item if isinstance(item, dict) else dict(item)
    to_input_item = getattr(item, "to_input_item", None)
    if to_input_item is not None:
        return wire(to_input_item())
    if isinstance(item, BaseModel):
        return item.model_dump(exclude_unset=True)
    raise UserError(f"an item of a handoff is a run item or a dict in the wire form, not {shorten(item)}")


def history_items(history: str | tuple[Item, ...] | list[Item]) -> list[Item]:
    """``input_history`` as items in wire form: a text is one user message."""
    return [{"role": "user", "content": history}] if isinstance(history, str) else [wire(one) for one in history]


async def filtered(chooser: HandoffInputFilter, data: HandoffInputData) -> HandoffInputData:
    """What the filter ``chooser`` makes of ``data``. Raises UserError: it's no filter, or gives something else."""
    if not callable(chooser):
        raise UserError(f"Invalid input filter: {chooser!r}")
    chosen: Any = chooser(data)
    if inspect.isawaitable(chosen):
        chosen = await chosen
    if not isinstance(chosen, HandoffInputData):
        raise UserError(f"Invalid input filter result: {shorten(chosen)}; return a HandoffInputData")
    return chosen


@dataclass(eq=False)
class Handoff(Generic[TContext, TAgent]):
    """A handoff as the model sees it. ``on_invoke_handoff(ctx, arguments)`` gives the agent that goes on.

    ``nest_handoff_history``: whether the next agent sees the conversation as one summary message; None: as the run's
    config says. An ``input_filter``, the handoff's or the run's, goes before it.
    """

    tool_name: str
    tool_description: str
    input_json_schema: dict[str, Any]
    on_invoke_handoff: Callable[[RunContextWrapper[Any], str], Any]
    agent_name: str
    input_filter: HandoffInputFilter | None = None
    nest_handoff_history: bool | None = None
    strict_json_schema: bool = True
    is_enabled: Any = True
    agent: Any = field(default=None, repr=False, kw_only=True)

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
    on_handoff: Callable[..., Any] | None = None,
    input_type: Any = None,
    input_filter: HandoffInputFilter | None = None,
    nest_handoff_history: bool | None = None,
    is_enabled: Any = True,
) -> Handoff:
    """A handoff to ``agent``.

    ``on_handoff``: called when it happens, with the context, and with the validated input where ``input_type`` says
    that the model gives one. ``input_filter``: chooses what the next agent sees. ``nest_handoff_history``: it sees the
    conversation as a summary. ``is_enabled``: whether the model is offered it: a bool, or ``(context, agent) -> bool``.
    Raises UserError; calling it, ModelBehaviorError for input that isn't of the type.
    """
    if not isinstance(getattr(agent, "name", None), str):
        raise UserError(f"a handoff goes to an agent, not to {shorten(agent)}")
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
        nest_handoff_history=nest_handoff_history,
        is_enabled=is_enabled,
        agent=agent,
    )


def _check(on_handoff: Callable[..., Any] | None, input_type: Any) -> None:
    if input_type is not None and on_handoff is None:
        raise UserError("You must provide on_handoff when input_type is provided")
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


def _validated(adapter: TypeAdapter[Any], arguments: str | None, agent: str) -> Any:
    """The model's input, of exactly the type: nothing is converted that JSON itself can say."""
    if arguments is None:
        raise ModelBehaviorError("Handoff function expected non-null input, but got None")
    try:
        return adapter.validate_json(arguments or "{}", strict=True)
    except ValidationError as error:
        raise ModelBehaviorError(
            "Invalid JSON when parsing model output: "
            f"the handoff to '{agent}' was called with invalid input: {describe_errors(error)}"
        ) from error


def as_handoff(one: Any) -> Handoff:
    """A handoff from an agent or a handoff."""
    return one if isinstance(one, Handoff) else handoff(one)
