"""Prompts that OpenAI stores: named by an agent, resolved before each model call. The Responses API alone has them."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, NotRequired, TypeAlias, TypedDict

from flowcore.agents.context import RunContextWrapper
from flowcore.errors import UserError


class Prompt(TypedDict):
    """A stored prompt: its ``id``, which ``version`` of it, and what its ``variables`` stand for."""

    id: str
    version: NotRequired[str]
    variables: NotRequired[dict[str, Any]]


@dataclass
class GenerateDynamicPromptData:
    """What a function that makes the prompt is given: the run's context, and the agent whose turn it is."""

    context: RunContextWrapper[Any]
    agent: Any


DynamicPromptFunction: TypeAlias = Callable[[GenerateDynamicPromptData], Prompt | Awaitable[Prompt]]
"""Makes the prompt of a turn, sync or async."""


async def resolve_prompt(
    prompt: Prompt | DynamicPromptFunction | None, context: RunContextWrapper[Any], agent: Any
) -> Prompt | None:
    """The prompt for a model call, for ``Model.get_response(prompt=...)``; None: the agent has none.

    Raises ``UserError`` for something that is no prompt.
    """
    said: Any = prompt
    if said is not None and not isinstance(said, Mapping) and callable(said):
        said = said(GenerateDynamicPromptData(context, agent))
        if inspect.isawaitable(said):
            said = await said
        if not isinstance(said, Mapping):
            raise UserError(f"Dynamic prompt function must return a Prompt, not {said!r}")
    if said is None:
        return None
    if not isinstance(said, Mapping) or not isinstance(said.get("id"), str):
        raise UserError(f"a prompt is a dict with an 'id' (and 'version', 'variables'), or a function, not {said!r}")
    return {name: value for name, value in said.items() if value is not None}  # type: ignore[return-value]
