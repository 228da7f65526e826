"""Drawings of a graph, made from the table that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowcore.graph.outcomes import END, START

if TYPE_CHECKING:
    import networkx

    from flowcore.graph.graph import Graph
    from flowcore.graph.node import Node


def mermaid(graph: Graph) -> str:
    """A Mermaid ``stateDiagram-v2``: an arrow for each edge, a note for each policy."""
    lines = ["stateDiagram-v2"]
    lines += [f"    {name} : {name}" + _inside(graph, name) for name in graph.nodes]
    for edge in graph.edges:
        source = "[*]" if edge.source == START else edge.source
        target = "[*]" if edge.target == END else edge.target
        label = "" if edge.source == START else f" : {edge.on}{' (continues)' if edge.continues else ''}"
        lines.append(f"    {source} --> {target}{label}")
    for name, node in graph.nodes.items():
        note = policies(node)
        if note:
            lines.append(f"    note right of {name} : {', '.join(note)}")
    return "\n".join(lines) + "\n"


def _inside(graph: Graph, name: str) -> str:
    parts = graph.parts.get(name)
    return "".join(rf"\n{part}" for part in parts) if parts else ""


def policies(node: Node) -> list[str]:
    """A node's policies in words."""
    words = []
    if node.retry is not None:
        stop = node.retry.stop
        words.append(f"retry up to {stop} attempts" if isinstance(stop, int) else "retry by policy")
    if node.limit is not None:
        words.append(f"limit {node.limit}")
    if node.timeout is not None:
        words.append(f"timeout {node.timeout:g} s")
    if node.waits:
        words.append("may wait")
    return words


def to_networkx(graph: Graph) -> networkx.MultiDiGraph[str]:
    """Nodes by name (``START`` and ``END`` among them), edges keyed by label with ``continues``."""
    import networkx  # 400 ms: only who asks for it pays

    drawn: networkx.MultiDiGraph[str] = networkx.MultiDiGraph(name=graph.name)
    drawn.add_node(START)
    for name, node in graph.nodes.items():
        drawn.add_node(name, policies=policies(node), parts=graph.parts.get(name, []), source=node.source)
    drawn.add_node(END)
    for edge in graph.edges:
        drawn.add_edge(edge.source, edge.target, key=edge.on, on=edge.on, continues=edge.continues)
    return drawn
