"""``ToolOutputTrimmer``: a ``call_model_input_filter`` that shortens what tools said in earlier turns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic_core import to_jsonable_python

from flowcore.errors import UserError
from flowcore.models.base import Item

UNKNOWN = "unknown_tool"
"""The name of a tool whose call isn't there."""


@dataclass
class ToolOutputTrimmer:
    """Shortens long tool outputs that are older than the last turns; nothing that is stored changes.

    ``recent_turns``: as many turns, counted from the end by the user's messages, stay whole. ``max_output_chars``:
    outputs up to this many characters stay whole. ``preview_chars``: as many of their first characters are kept.
    ``trimmable_tools``: names, bare or with their namespace, of the tools that it's for; None: all.
    Raises ValueError for a number that is too small.
    """

    recent_turns: int = 2
    max_output_chars: int = 500
    preview_chars: int = 200
    trimmable_tools: str | Iterable[str] | None = None

    def __post_init__(self) -> None:
        for name, least in (("recent_turns", 1), ("max_output_chars", 1), ("preview_chars", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be >= {least}, got {getattr(self, name)}")
        names = self.trimmable_tools
        if names is not None:
            self.trimmable_tools = frozenset([names] if isinstance(names, str) else names)

    def __call__(self, data: Any) -> Any:
        """``data.model_data`` with shorter outputs. ``data``: a ``CallModelData``; UserError on anything else."""
        model_data = getattr(data, "model_data", None)
        if model_data is None:
            raise UserError(f"a ToolOutputTrimmer is a call_model_input_filter; it was given a {type(data).__name__}")
        return replace(model_data, input=self.trimmed(model_data.input))

    def trimmed(self, items: Sequence[Item]) -> list[Item]:
        """The items, those that are shortened as copies."""
        old = _begin_of_recent(items, self.recent_turns)
        names = {str(item["call_id"]): _names(item) for item in items[:old] if _is_call(item)}
        return [*(self._shortened(item, names) for item in items[:old]), *items[old:]]

    def _shortened(self, item: Item, names: Mapping[str, tuple[str, ...]]) -> Item:
        kind = item.get("type")
        if kind == "tool_search_output":
            return self._search(item) if self._is_for(("tool_search",)) else item
        if kind != "function_call_output":
            return item
        own = names.get(str(item.get("call_id")), ())
        if not self._is_for(own):
            return item
        output = item.get("output")
        name = own[0] if own else UNKNOWN
        short = self._parts(name, output) if isinstance(output, list) else self._text(name, output)
        return item if short is None else {**item, "output": short}

    def _is_for(self, names: tuple[str, ...]) -> bool:
        chosen: Any = self.trimmable_tools
        return chosen is None or not chosen.isdisjoint(names)

    def _text(self, name: str, output: Any) -> str | None:
        text = output if isinstance(output, str) else str(output)
        if len(text) <= self.max_output_chars:
            return None
        head = f"[Trimmed: {name} output — {len(text)} chars → {self.preview_chars} char preview]\n"
        short = head + text[: self.preview_chars] + "..."
        return short if len(short) < len(text) else None

    def _parts(self, name: str, parts: list[Any]) -> str | None:
        """Content parts: the text's beginning, and how many other parts were dropped."""
        size = sum(_size(part) for part in parts)
        if size <= self.max_output_chars:
            return None
        text = "\n".join(part["text"] for part in parts if _is_text(part))
        dropped: dict[str, int] = {}
        for part in parts:
            if not _is_text(part):
                kind = str(part.get("type")) if isinstance(part, Mapping) else type(part).__name__
                dropped[kind] = dropped.get(kind, 0) + 1
        told = [name, f"payload {size}"]
        if text:
            told.append(f"preview {min(self.preview_chars, len(text))}")
        if dropped:
            told.append("dropped " + ", ".join(f"{count} {kind}" for kind, count in dropped.items()))
        short = f"[Trimmed: {'; '.join(told)}]"
        if text:
            short += f"\n{text[: self.preview_chars]}" + ("..." if len(text) > self.preview_chars else "")
        return short if len(short) < size else None

    def _search(self, item: Item) -> Item:
        """Tools that a search found: their names and types of parameters stay, their words are shortened."""
        tools = item.get("tools")
        if not isinstance(tools, list) or len(_json(tools)) <= self.max_output_chars:
            return item
        short = [self._tool(tool) for tool in tools]
        return {**item, "tools": short} if len(_json(short)) < len(_json(tools)) else item

    def _tool(self, tool: Any) -> Any:
        if not isinstance(tool, Mapping):
            return tool
        short = dict(tool)
        description = short.get("description")
        if isinstance(description, str) and len(description) > self.preview_chars:
            short["description"] = description[: self.preview_chars] + "..."
        if "parameters" in short:
            short["parameters"] = _wordless(short["parameters"])
        if isinstance(short.get("tools"), list):  # of a namespace
            short["tools"] = [self._tool(one) for one in short["tools"]]
        return short


def _begin_of_recent(items: Sequence[Item], turns: int) -> int:
    """Where the last ``turns`` turns begin; 0 where there are no more than that."""
    for position in range(len(items) - 1, -1, -1):
        if items[position].get("role") == "user":
            turns -= 1
            if turns == 0:
                return position
    return 0


def _is_call(item: Item) -> bool:
    return item.get("type") == "function_call" and "call_id" in item


def _names(call: Item) -> tuple[str, ...]:
    name, namespace = str(call.get("name") or UNKNOWN), call.get("namespace")
    return (f"{namespace}.{name}", name) if namespace else (name,)


def _is_text(part: Any) -> bool:
    return isinstance(part, Mapping) and isinstance(part.get("text"), str)


def _size(part: Any) -> int:
    """Characters of a part's content: of its text, else of its longest value (a URL, base64 data)."""
    if not isinstance(part, Mapping):
        return len(str(part))
    return max((len(value) for key, value in part.items() if key != "type" and isinstance(value, str)), default=0)


def _json(value: Any) -> str:
    return json.dumps(to_jsonable_python(value, fallback=str))


_WORDS = frozenset({"description", "title", "examples", "$comment"})


def _wordless(schema: Any) -> Any:
    """A JSON schema without what only explains it; properties may have any name."""
    if isinstance(schema, list):
        return [_wordless(one) for one in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {
        key: {name: _wordless(one) for name, one in value.items()}
        if key in ("properties", "$defs") and isinstance(value, Mapping)
        else _wordless(value)
        for key, value in schema.items()
        if key not in _WORDS
    }
