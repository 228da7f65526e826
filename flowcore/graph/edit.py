"""A graph made of another one: a node put before, after or instead of one. The given graph stays as it is; the new
one is checked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flowcore.errors import GraphError
from flowcore.graph.node import ENGINE_LABELS, Node, make_node, rename
from flowcore.graph.state import listed

if TYPE_CHECKING:
    from flowcore.graph.graph import Edge, Graph


def inserted_before(graph: Graph, name: str, node: Any) -> Graph:
    """``node`` stands on every way into ``name``; an edge that continues a visit of ``name`` still leads straight to
    it."""
    _known(graph, name)
    new = _as_node(graph, node)
    edges = [
        edge._replace(target=new.name) if edge.target == name and not edge.continues else edge for edge in graph.edges
    ]
    return _rebuilt(graph, [*graph.nodes.values(), new], edges, [(new.name, "done", name)])


def inserted_after(graph: Graph, name: str, node: Any, on: str | None) -> Graph:
    """``node`` stands on the edge ``on`` of ``name`` (its only ordinary one without ``on``)."""
    _known(graph, name)
    out = graph.out[name]
    if on is None:
        ordinary = graph.ordinary[name]
        if ordinary is None:
            raise GraphError(f"graph '{graph.name}': node '{name}' has several edges; say on which: {listed(out)}")
        on = ordinary.on
    if on not in out:
        raise GraphError(f"graph '{graph.name}': node '{name}' has no edge '{on}'; its edges are {listed(out)}")
    if on in ENGINE_LABELS and out[on].target == name:
        raise GraphError(
            f"graph '{graph.name}': nothing can stand on the edge '{on}' of '{name}': it re-enters the visit"
        )
    new = _as_node(graph, node)
    target = out[on].target
    edges = [
        edge._replace(target=new.name, continues=False) if edge.source == name and edge.on == on else edge
        for edge in graph.edges
    ]
    return _rebuilt(graph, [*graph.nodes.values(), new], edges, [(new.name, "done", target, out[on].continues)])


def replaced(graph: Graph, name: str, node: Any) -> Graph:
    """``node`` takes the place of ``name``, under that name and with its edges; its own policies hold. What was said
    of the old one's parts and tools isn't true of it."""
    _known(graph, name)
    new = rename(node if isinstance(node, Node) else make_node(node), name=name)
    other = _rebuilt(graph, [new if one.name == name else one for one in graph.nodes.values()], graph.edges, [])
    other.parts.pop(name, None)
    other.tools = tuple(tool for tool in other.tools if tool.node != name)
    return other


def _known(graph: Graph, name: str) -> None:
    graph.build()
    if name not in graph.nodes:
        raise GraphError(f"graph '{graph.name}' has no node '{name}'; its nodes are {listed(graph.nodes)}")


def _as_node(graph: Graph, node: Any) -> Node:
    new = node if isinstance(node, Node) else make_node(node)
    if new.name in graph.nodes:
        raise GraphError(
            f"graph '{graph.name}' has a node '{new.name}' already; rename the new one with @node(name=...)"
        )
    return new


def _rebuilt(graph: Graph, nodes: Iterable[Node], edges: Iterable[Edge], more: Iterable[tuple[Any, ...]]) -> Graph:
    """A graph of the same state, bound object and names with another table, checked anew."""
    other = graph.blank()
    for node in nodes:
        other._node(node)
    for edge in edges:
        on: Any = edge.on if edge.error is None else edge.error
        other._edge(edge.source, on, edge.target, edge.continues, edge.when)
        if edge.when is not None or edge.source in graph.conditional:
            other.conditional[edge.source] = [one for one in other.out[edge.source].values() if _by_data(graph, one)]
    for source, on, target, *goes_on in more:
        other._edge(source, on, target, bool(goes_on and goes_on[0]))
    return other.build()


def _by_data(graph: Graph, edge: Edge) -> bool:
    return any(edge.on == one.on for one in graph.conditional[edge.source])
