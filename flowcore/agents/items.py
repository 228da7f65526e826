"""Items: plain dicts of the wire form. Making them, and reading what's in them; nothing here validates or converts
one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from flowcore.errors import UserError
from flowcore.graph.values import dumps, shorten
from flowcore.models.base import Item


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
        return [_item(one) for one in input]
    raise UserError(f"the input is a text, a list of items, a dict or a pydantic model, not {shorten(input)}")


def _item(one: Any) -> Item:
    if isinstance(one, Mapping):
        return dict(one)
    to_dict = getattr(one, "to_dict", None) or getattr(one, "model_dump", None)
    if to_dict is not None:  # an object of the openai package
        return dict(to_dict())
    raise UserError(f"an item of the input is a dict in the wire form, not {shorten(one)}")


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
