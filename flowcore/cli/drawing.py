"""A walk as a Mermaid diagram: the nodes that were visited and the edges that were taken, with counts. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from flowcore.graph.outcomes import END
from flowcore.machine.facts import Fact, Standing, Started, Transition


def mermaid_of_walk(facts: Sequence[Fact], standing: Standing, place: str) -> str:
    """A ``stateDiagram-v2`` of one run's own journal. Where it stands is marked, unless it's done."""
    nodes: dict[str, None] = {}
    edges: Counter[tuple[str, str, str]] = Counter()
    for fact in facts:
        if isinstance(fact, Started):
            nodes[fact.node] = None
            edges["[*]", "", fact.node] += 1
        elif isinstance(fact, Transition):
            nodes[fact.node] = None
            if fact.to != END:
                nodes[fact.to] = None
            edges[fact.node, fact.on, "[*]" if fact.to == END else fact.to] += 1
    lines = ["stateDiagram-v2", *(f"    {name} : {name}" for name in nodes)]
    for (source, on, to), times in edges.items():
        label = " ".join(filter(None, [_label(on), f"x{times}" if times > 1 else ""]))
        lines.append(f"    {source} --> {to}" + (f" : {label}" if label else ""))
    if standing != "done" and place in nodes:
        lines += [
            f"    note right of {place} : {standing}",
            "    classDef here stroke-width:3px",
            f"    class {place} here",
        ]
    return "\n".join(lines) + "\n"


def _label(on: str) -> str:
    """A label without what ends a statement of Mermaid."""
    return " ".join(on.replace(";", ",").replace(":", " ").split())
