"""Drawings of a graph, made from the table that runs. None needs the network, or a program that isn't Python."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from flowcore.graph.dot import dot
from flowcore.graph.mermaid import mermaid
from flowcore.graph.outcomes import END, START
from flowcore.graph.picture import Picture, picture, policies
from flowcore.graph.svg import svg

if TYPE_CHECKING:
    import networkx

    from flowcore.graph.graph import Graph

FORMAT = 1
"""The version of ``Drawing.data``. New keys may come without a new version; none is renamed or dropped."""


class Drawing:
    """A graph, or one run's walk over it, to be drawn. A notebook shows it by itself."""

    def __init__(self, drawn: Picture) -> None:
        self.picture = drawn

    def __repr__(self) -> str:
        of = f", {self.picture.frame}" if self.picture.standing else ""
        return f"<Drawing of {self.picture.title!r}: {len(self.picture.boxes)} nodes{of}>"

    def mermaid(self) -> str:
        """A Mermaid ``stateDiagram-v2``."""
        return mermaid(self.picture)

    def dot(self) -> str:
        """DOT, for Graphviz."""
        return dot(self.picture)

    def svg(self) -> str:
        """A standalone SVG document."""
        return svg(self.picture)

    def json(self) -> str:
        """``data`` as JSON text."""
        return json.dumps(self.data(), indent=2, ensure_ascii=True)

    def data(self) -> dict[str, Any]:
        """The drawing as plain data::

            {"format": 1, "name": str, "start": "START", "end": "END",
             "state": [{"name": str, "type": str, "required": bool}],
             "nodes": [{"name": str, "parts": [str], "source": "file:line",
                        "policies": {"retry": {"attempts": int | null} | null, "limit": int | str | null,
                                     "timeout": seconds | null, "waits": bool} | null}],
             "edges": [{"source": str, "on": str, "target": str, "continues": bool,
                        "kind": "start" | "ordinary" | "engine" | "error"}]}

        With a run also ``"run": {"standing": str, "place": str}``, on nodes ``"visits": int``, on edges ``"taken":
        int`` and ``"declared": bool``.
        """
        drawn = self.picture
        run = drawn.standing is not None
        nodes = [
            {"name": box.name, "parts": list(box.parts), "source": box.source, "policies": box.policies}
            | ({"visits": box.visits} if run else {})
            for box in drawn.boxes
        ]
        edges = [
            {"source": one.source, "on": one.on, "target": one.target, "continues": one.continues, "kind": one.kind}
            | ({"taken": one.taken, "declared": one.declared} if run else {})
            for one in drawn.arrows
        ]
        data = {
            "format": FORMAT, "name": drawn.title, "start": START, "end": END, "state": list(drawn.state),
            "nodes": nodes, "edges": edges,
        }  # fmt: skip
        return data | ({"run": {"standing": drawn.standing, "place": drawn.place}} if run else {})

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": repr(self), "image/svg+xml": self.svg(), "text/vnd.mermaid": self.mermaid()}


def drawing(graph: Graph) -> Drawing:
    """The drawing of a graph."""
    return Drawing(picture(graph))


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
