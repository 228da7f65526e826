"""``graph --prove CLAIM``: claims about a graph in words, held against it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from flowcore.errors import UserError
from flowcore.graph.graph import Graph

CLAIMS = (
    "always_before A B",
    "never_reaches B [from A] [without C]",
    "bounded [LIMIT=N ...]",
    "requires_approval TOOL",
)
"""The claims, as they're written."""


def prove(graph: Graph, claim: str) -> tuple[bool, str]:
    """Whether a claim holds, and what to say of it. Raises UserError for words that are no claim, GraphError for
    unknown names."""
    words = claim.split()
    match words:
        case ["always_before", first, then]:
            return _told(claim, graph.always_before(_place(first), then))
        case ["never_reaches", target, *rest]:
            return _told(claim, graph.never_reaches(target, **_rest(claim, rest)))
        case ["requires_approval", tool]:
            return _told(claim, graph.requires_approval(tool))
        case ["bounded", *limits]:
            bound = graph.bounded(**_limits(claim, limits))
            return bool(bound), f"{claim}: {bound}"
    raise _unknown(claim)


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


def _limits(claim: str, words: Sequence[str]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        try:
            named[name] = json.loads(value) if equals else None
        except ValueError:
            raise _unknown(claim) from None
        if not equals:
            raise _unknown(claim)
    return named


def _unknown(claim: str) -> UserError:
    return UserError(f"--prove {claim!r} is no claim; claims are: {'; '.join(CLAIMS)}")
