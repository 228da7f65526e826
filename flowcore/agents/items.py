"""Items: plain dicts of the wire form. Making them, and reading what's in them; nothing here validates or converts
one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from pydantic import BaseModel

from flowcore.errors import UserError
from flowcore.graph.values import copy_json, dumps, shorten
from flowcore.models.base import Item, given_back

TResponseInputItem: TypeAlias = Item
"""An item that a model is given, by the name that the Agents SDK has for it."""
TResponseOutputItem: TypeAlias = Any
"""An item that a model made: a dict of the wire form, or an object of the openai package."""
TResponseStreamEvent: TypeAlias = Any
"""An event of a provider's stream: a dict of the wire form, or an object of the openai package."""


def input_items(input: Any) -> list[Item]:
    """A run's input as items.

    A text or a dict without ``role`` or ``type`` (as JSON) is one user message; so is a pydantic model. A list holds
    items, or
    texts, which are joined by newlines into one message. Raises UserError on anything else.
    """
    if isinstance(input, str):
        return [user_message(input)]
    if isinstance(input, BaseModel):
        return [user_message(input.model_dump_json())]
    if isinstance(input, Mapping):
        if "role" in input or "type" in input:
            return [dict(input)]
        return [user_message(dumps(dict(input)).decode("utf-8", "surrogatepass"))]
    if isinstance(input, Sequence):
        if not input:
            raise UserError("the input is an empty list: give a text, or at least one item")
        if all(isinstance(one, str) for one in input):
            return [user_message("\n".join(input))]
        return [as_item(one) for one in input]
    raise UserError(f"the input is a text, a list of items, a dict or a pydantic model, not {shorten(input)}")


def user_message(text: str) -> Item:
    """A user's message."""
    return {"role": "user", "content": text}


def output_message(text: str) -> Item:
    """An assistant's message."""
    return {
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": []}],
    }


def function_output(call_id: str, output: Any) -> Item:
    """What a tool or a handoff gave."""
    return {"type": "function_call_output", "call_id": call_id, "output": output}


def is_message(item: Item) -> bool:
    """Whether an item is a message of the assistant."""
    return item.get("role") == "assistant" and item.get("type", "message") == "message"


def text_of(item: Item) -> str:
    """The text of a message."""
    content = item.get("content")
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or "" for part in content or () if part.get("type") in _TEXTS)


def new_input_list(input: Any) -> list[Item]:
    """An input as a new list of items that may be changed: a text is one user message; of a list, copies."""
    if isinstance(input, str):
        return [user_message(input)]
    return [copy_json(as_item(one)) for one in input]


_TEXTS = frozenset({"output_text", "text", "input_text"})


def refusal_of(item: Item) -> str | None:
    """What a message refuses with, if it does."""
    content = item.get("content")
    if isinstance(content, list):
        for part in content:
            if part.get("type") == "refusal":
                return str(part.get("refusal") or "")
    return None


def last_message(items: Iterable[Item]) -> Item | None:
    """The last message of the assistant among some items."""
    found = None
    for item in items:
        if is_message(item):
            found = item
    return found


NOT_SHELL_INPUT = frozenset({"status", "shell_output", "provider_data"})
"""Keys of a shell's output that a provider doesn't take back."""


def input_form(item: Item) -> Item:
    """A copy of an item that is valid as input again: without what only a provider writes. Raises ValueError where
    something in it isn't JSON."""
    copy: Item = given_back(copy_json(item))
    if copy.get("type") == "shell_call_output":
        for key in NOT_SHELL_INPUT.intersection(copy):
            del copy[key]
    return copy


def as_item(one: Any) -> Item:
    """A dict of the wire form from one, or from an object of the openai package (only what is set in it)."""
    if isinstance(one, Mapping):
        return dict(one)
    made = one.to_dict() if hasattr(one, "to_dict") else None
    if made is None and isinstance(one, BaseModel):
        made = one.model_dump(by_alias=True, exclude_unset=True)
    if isinstance(made, dict):
        return made
    raise UserError(
        f"an item of the input is a dict in the wire form, or an object of the openai package, not {shorten(one)}"
    )
