"""Proofs over a graph's table, for one line of a test: each answers truly or falsely, and shows a counterexample.

They are about every walk that the table admits, whatever the nodes' bodies do: an edge that is declared may be taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from flowcore.errors import GraphError
from flowcore.graph.node import LIMIT, OVER_BUDGET
from flowcore.graph.outcomes import END, START
from flowcore.graph.paths import shortest

if TYPE_CHECKING:
    from flowcore.graph.graph import Edge, Graph

Through: TypeAlias = str | tuple[str, str]
"""A node, by its name, or one of its edges: ``(node, label)``."""


class Path(tuple["Edge", ...]):
    """Edges, one after the other. Reads as ``START -> a --ok--> b``."""

    __slots__ = ()

    def __str__(self) -> str:
        if not self:
            return ""
        steps = (f" -> {e.target}" if e.source == START else f" --{e.on}--> {e.target}" for e in self)
        return self[0].source + "".join(steps)

    __repr__ = __str__

    @property
    def nodes(self) -> list[str]:
        """The names in order, START and END among them."""
        return [edge.source for edge in self[:1]] + [edge.target for edge in self]


class Proof:
    """Whether a claim holds of every walk. ``claim`` and ``reason`` are sentences; ``counterexample`` is a walk of
    which it doesn't hold, None when it holds of all."""

    __slots__ = ("claim", "counterexample", "reason")

    def __init__(self, claim: str, counterexample: Path | None = None, reason: str = "") -> None:
        self.claim = claim
        self.counterexample = counterexample
        self.reason = reason

    def __bool__(self) -> bool:
        return self.counterexample is None

    def __str__(self) -> str:
        if self:
            return f"proved: {self.claim}"
        why = f" ({self.reason})" if self.reason else ""
        return f"disproved: {self.claim}; not so on {self.counterexample}{why}"

    def __repr__(self) -> str:
        return f"<{self}>"


class Tool(NamedTuple):
    """A tool that a graph's node may call, as data: what ``requires_approval`` is about.

    ``owner``: the agent that has it. ``approval``: "always", "sometimes" or "never". ``node``: where it's called.
    ``inner``: where a call runs another graph, an object that has it as ``.graph``; ``limits``: those it's given then.
    """

    name: str
    owner: str
    approval: str
    node: str
    inner: Any = None
    limits: tuple[tuple[str, Any], ...] = ()


def always_before(graph: Graph, first: Through, then: str) -> Proof:
    """Every walk from START to the node ``then`` runs the body of ``first`` (or takes that edge) before.

    A visit that a limit or a budget ends before the body begins isn't one in which it ran.
    """
    claim = f"every walk to {_told(then)} goes through {_told(first)} before"
    return Proof(claim, _around(graph, [first], START, then))


def never_reaches(graph: Graph, then: str, *, start: str, without: Through | Sequence[Through] | None) -> Proof:
    """No walk from ``start`` reaches ``then`` without running one of ``without`` between (see ``always_before``)."""
    avoided = _listed(without)
    besides = f" without {' or '.join(map(_told, avoided))}" if avoided else ""
    claim = f"no walk from {start if start == START else _told(start)} reaches {_told(then)}{besides}"
    return Proof(claim, _around(graph, avoided, start, then))


def _listed(without: Through | Sequence[Through] | None) -> list[Through]:
    if without is None:
        return []
    if isinstance(without, str):
        return [without]
    if isinstance(without, tuple) and len(without) == 2 and all(isinstance(one, str) for one in without):
        return [(str(without[0]), str(without[1]))]
    return [one if isinstance(one, str) else (one[0], one[1]) for one in without]


def _told(what: Through) -> str:
    return f"'{what}'" if isinstance(what, str) else f"'{what[0]}' --{what[1]}-->"


def _around(graph: Graph, avoided: Iterable[Through], start: str, goal: str) -> Path | None:
    """A shortest walk from ``start`` to ``goal`` on which no body of ``avoided`` runs."""
    graph.build()
    nodes: set[str] = set()
    edges: set[tuple[str, str]] = set()
    for one in avoided:
        if isinstance(one, str):
            nodes.add(known(graph, one))
        else:
            _known_edge(graph, one)
            edges.add(one)
    known(graph, goal, END)
    known(graph, start, START)

    def links(place: str) -> Iterator[tuple[str, Edge]]:
        skips = place in nodes and place != start
        for edge in graph.out.get(place, {}).values():
            if (place, edge.on) not in edges and (not skips or passes_by(graph, edge)):
                yield edge.target, edge

    found = shortest([start], goal, links)
    return None if found is None else Path(found)


def passes_by(graph: Graph, edge: Edge) -> bool:
    """Whether an edge may be taken though its source's body has never run: over a budget, or at a limit of 0."""
    if edge.on == LIMIT:
        limit = graph.nodes[edge.source].limit
        return limit == 0 or not isinstance(limit, int)
    return edge.on == OVER_BUDGET


def known(graph: Graph, name: str, also: str = "") -> str:
    """The name of a node, or ``also``. Raises GraphError."""
    if name in graph.nodes or (also and name == also):
        return name
    hint = ""
    if any(tool.name == name for tool in graph.tools):
        hint = f"; it's a tool: see requires_approval({name!r})"
    raise GraphError(
        f"graph '{graph.name}' has no node {name!r}; its nodes are {', '.join(map(repr, graph.nodes))}{hint}"
    )


def _known_edge(graph: Graph, edge: tuple[str, str]) -> None:
    edges = graph.out[known(graph, edge[0])]
    if edge[1] not in edges:
        raise GraphError(
            f"graph '{graph.name}': node '{edge[0]}' has no edge {edge[1]!r}; its edges are"
            f" {', '.join(map(repr, edges))}"
        )


def requires_approval(graph: Graph, tool: str) -> Proof:
    """Whoever calls the tool, here or in an agent that is called as a tool, every call waits for a decision."""
    tools = list(_tools(graph, "", set()))
    calls = [(where, one, inside) for where, one, inside in tools if one.name == tool]
    if not calls:
        names = ", ".join(sorted({repr(one.name) for _, one, _ in tools})) or "none"
        raise GraphError(f"graph '{graph.name}' has no tool {tool!r}; its tools are {names}")
    claim = f"every call of '{tool}' waits for an approval"
    for where, one, inside in calls:
        if one.approval != "always":
            path = _around(inside, [], START, one.node) or Path()
            return Proof(claim, path, f"'{one.owner}' calls it with approval: {one.approval}{where}")
    return Proof(claim)


def _tools(graph: Graph, where: str, seen: set[int]) -> Iterator[tuple[str, Tool, Graph]]:
    """The tools of a graph and of those that its tools run; ``where``: how one gets there, in words."""
    for tool in graph.tools:
        yield where, tool, graph
        if tool.inner is not None and id(tool.inner) not in seen:
            seen.add(id(tool.inner))
            yield from _tools(tool.inner.graph, f"; called as the tool '{tool.name}' of '{tool.owner}'", seen)
