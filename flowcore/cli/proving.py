"""``graph --prove CLAIM``: claims about a graph in words, held against it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from flowcore.errors import UserError
from flowcore.graph.graph import Graph

CLAIMS = (
    "always_before A B",
    "never_reaches B [from A] [without C]",
    "bounded [LIMIT=N ...]",
    "requires_approval TOOL",
)
"""The claims, as they're written."""


Claim: TypeAlias = Callable[[Graph], tuple[bool, str]]
"""Whether it holds of a graph, and what to say of it. Raises GraphError for unknown names."""


def parsed(claim: str) -> Claim:
    """A claim in words, to be held against graphs. Raises UserError for words that are no claim."""
    words = claim.split()
    match words:
        case ["always_before", first, then]:
            return lambda graph: _told(claim, graph.always_before(_place(first), then))
        case ["never_reaches", target, *rest]:
            named = _rest(claim, rest)
            return lambda graph: _told(claim, graph.never_reaches(target, **named))
        case ["requires_approval", tool]:
            return lambda graph: _told(claim, graph.requires_approval(tool))
        case ["bounded", *limits]:
            given = _limits(claim, limits)
            return lambda graph: _bound(claim, graph.bounded(**given))
    raise _unknown(claim)


def _bound(claim: str, bound: Any) -> tuple[bool, str]:
    return bool(bound), f"{claim}: {bound}"


def _told(claim: str, proof: Any) -> tuple[bool, str]:
    return bool(proof), f"{claim}: {'holds' if proof else 'FAILS'}\n  {proof}"


def _place(word: str) -> Any:
    """A node, or an edge written ``node.label``."""
    node, dot, label = word.partition(".")
    return (node, label) if dot else node


def _rest(claim: str, words: Sequence[str]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    if len(words) % 2:
        raise _unknown(claim)
    for name, value in zip(words[::2], words[1::2], strict=True):
        if name == "from":
            named["start"] = value
        elif name == "without":
            named["without"] = _place(value)
        else:
            raise _unknown(claim)
    return named


def _limits(claim: str, words: Sequence[str]) -> dict[str, int | None]:
    named: dict[str, int | None] = {}
    for word in words:
        name, _, value = word.partition("=")
        if not (value.isdecimal() or value == "none"):
            raise _unknown(claim)
        named[name] = None if value == "none" else int(value)
    return named


def _unknown(claim: str) -> UserError:
    return UserError(f"--prove {claim!r} is no claim; claims are: {'; '.join(CLAIMS)}")
