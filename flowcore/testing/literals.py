"""Values as Python text that a person can read, compare and edit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WIDTH = 110
"""Columns that a line may have."""


def literal(value: Any, indent: int = 0, width: int = WIDTH) -> str:
    """A value as Python text: containers that don't fit into ``width`` columns are broken into a line an element."""
    text = short(value)
    if len(text) + indent <= width or (not value and isinstance(value, (Mapping, list, tuple))):
        return text
    pad = " " * (indent + 4)
    if isinstance(value, Mapping):
        lines = [f"{short(key)}: {literal(inner, indent + 4, width)}" for key, inner in value.items()]
    elif isinstance(value, (list, tuple)):
        lines = [literal(inner, indent + 4, width) for inner in value]
    else:
        return text
    first, last = ("{", "}") if isinstance(value, Mapping) else ("(", ")") if isinstance(value, tuple) else ("[", "]")
    return first + "\n" + "".join(f"{pad}{line},\n" for line in lines) + " " * indent + last


def short(value: Any) -> str:
    """A value as Python text in one line."""
    if isinstance(value, str):
        text = repr(value)
        return f'"{text[1:-1]}"' if "'" not in value and '"' not in value else text
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{short(key)}: {short(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        inner = ", ".join(map(short, value))
        if isinstance(value, tuple):
            return f"({inner}{',' if len(value) == 1 else ''})"
        return f"[{inner}]"
    return repr(value)
