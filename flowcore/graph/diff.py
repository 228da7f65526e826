"""What parts two graphs: nodes, edges, policies, state fields, tools; by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from flowcore.graph.node import Node, Retry
from flowcore.graph.outcomes import START

if TYPE_CHECKING:
    from flowcore.graph.graph import Edge, Graph
    from flowcore.graph.state import StateField


class Change(NamedTuple):
    """One difference. ``sign``: "+" (only in the other graph), "-" (only in this one) or "~" (in both, not the same).

    ``kind``: "node", "edge", "field" or "tool". ``before``, ``after``: what is said of it in this graph and the other.
    """

    sign: str
    kind: str
    name: str
    before: str = ""
    after: str = ""

    def __str__(self) -> str:
        told = f"{self.before} -> {self.after}" if self.sign == "~" else self.before or self.after
        return f"{self.sign} {self.kind} {self.name}{': ' if told else ''}{told}"


class Diff(tuple[Change, ...]):
    """The changes from one graph to another, one a line; false when there are none."""

    __slots__ = ()

    def __str__(self) -> str:
        return "\n".join(map(str, self)) or "no difference"

    def __repr__(self) -> str:
        return f"<Diff: {str(self) if len(self) < 2 else chr(10) + str(self)}>"


def diff(graph: Graph, other: Graph) -> Diff:
    """What has to change for ``graph`` to become ``other``."""
    graph.build()
    other.build()
    return Diff(
        [
            *_changes("node", _nodes(graph), _nodes(other)),
            *_changes("edge", _edges(graph), _edges(other)),
            *_changes("field", _fields(graph), _fields(other)),
            *_changes("tool", _tools(graph), _tools(other)),
        ]
    )


def _changes(kind: str, ours: Mapping[str, str], theirs: Mapping[str, str]) -> Iterator[Change]:
    for name, told in ours.items():
        if name not in theirs:
            yield Change("-", kind, name, before=told)
        elif theirs[name] != told:
            yield Change("~", kind, name, told or "no policy", theirs[name] or "no policy")
    for name, told in theirs.items():
        if name not in ours:
            yield Change("+", kind, name, after=told)


def _nodes(graph: Graph) -> dict[str, str]:
    return {name: policies_of(node) for name, node in graph.nodes.items()}


def _edges(graph: Graph) -> dict[str, str]:
    place = {_edge(edge): i for edges in graph.conditional.values() for i, edge in enumerate(edges)}
    return {
        _edge(edge): f"to {edge.target}{' (continues)' if edge.continues else ''}"
        + (f", asked as number {place[_edge(edge)] + 1}" if _edge(edge) in place else "")
        for edge in graph.edges
    }


def _edge(edge: Edge) -> str:
    return START if edge.source == START else f"{edge.source} --{edge.on}-->"


def _fields(graph: Graph) -> dict[str, str]:
    return {name: _field(field) for name, field in graph.schema.fields.items()}


def _field(field: StateField) -> str:
    if field.required:
        return f"{field.shape}, required"
    return field.shape if field.made else f"{field.shape}, default {field.default()!r}"


def _tools(graph: Graph) -> dict[str, str]:
    return {f"{tool.owner}.{tool.name}": f"approval {tool.approval}" for tool in graph.tools}


def policies_of(node: Node) -> str:
    """A node's policies, every part of them in words."""
    words = []
    if node.retry is not None:
        words.append(_retry(node.retry))
    for policy in ("limit", "timeout"):
        value = getattr(node, policy)
        if value is not None:
            words.append(f"{policy} {value}")
    if node.waits:
        words.append("may wait")
    return ", ".join(words)


def _retry(retry: Retry) -> str:
    words = [f"retry stop {_said(retry.stop)}"]
    if retry.wait:
        words.append(f"wait {_said(retry.wait)}")
    if retry.retry is not None:
        words.append(f"on {_said(retry.retry)}")
    return " ".join(words)


def _said(policy: Any) -> str:
    """A policy's value: tenacity's objects by class and numbers, functions by name."""
    if isinstance(policy, tuple):
        return " or ".join(map(_said, policy))
    if isinstance(policy, (str, int, float)):
        return str(policy)
    name = getattr(policy, "__name__", None)
    if name is not None:
        return str(name)
    inner = ", ".join(
        f"{key}={value}" for key, value in sorted(vars(policy).items()) if isinstance(value, (str, int, float))
    )
    return f"{type(policy).__name__}({inner})"
