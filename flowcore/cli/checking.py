"""``graph``: check the graph of a file and draw it. Gives its exit code."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flowcore.cli import exits, proving
from flowcore.cli.records import dumped, graph_record
from flowcore.cli.screen import Screen
from flowcore.errors import GraphError
from flowcore.faces.loading import load
from flowcore.graph.graph import Graph
from flowcore.graph.picture import policies


def prove(screen: Screen, path: Path, spec: str, claims: Sequence[str]) -> int:
    """Hold claims against a file's graph and say of each whether it holds, with a counterexample where it doesn't."""
    parsed = [proving.parsed(claim) for claim in claims]
    try:
        graph = load(spec).graph
    except GraphError as error:
        return _tell_findings(screen, path, error)
    answers = [claim(graph) for claim in parsed]
    for _, told in answers:
        screen.result(told)
    return exits.DONE if all(holds for holds, _ in answers) else exits.FAILED


def draw(screen: Screen, path: Path, spec: str, format: str) -> int:
    """Check a file's graph and draw it; findings go to stderr, each with its place."""
    try:
        graph = load(spec).graph
    except GraphError as error:
        if format == "json":
            screen.result(dumped({"findings": [_told_finding(line, path) for line in error.message.splitlines()]}))
        return _tell_findings(screen, path, error)
    if format not in ("json", "text"):  # those two tell it themselves
        screen.tell(f"graph {graph.name} · fingerprint {graph.fingerprint}", "dim")
    for finding in graph.findings:
        screen.tell(f"{finding.source or path}: {finding.level}: {finding.message}", "yellow")
    if format == "json":
        screen.result(dumped(graph_record(graph)))
    else:
        made = {"mermaid": graph.mermaid, "dot": graph.dot, "svg": graph.svg}.get(format)
        screen.result((_as_text(graph) if made is None else made()).rstrip("\n"))
    return exits.FAILED if any(finding.level == "error" for finding in graph.findings) else exits.DONE


def _tell_findings(screen: Screen, path: Path, error: GraphError) -> int:
    for line in error.message.splitlines():
        found = _told_finding(line, path)
        screen.tell(f"{found['source']}: error: {found['message']}", "red")
    return exits.FAILED


_PLACE = re.compile(r"\s*\[(?P<source>[^\[\]]+:\d+)\]$")


def _told_finding(line: str, path: Path) -> dict[str, Any]:
    """A finding from a line of a GraphError, whose end names the node's source."""
    place = _PLACE.search(line)
    source = place["source"] if place else str(path)
    return {"level": "error", "message": _PLACE.sub("", line), "source": source}


def _as_text(graph: Graph) -> str:
    lines = [f"graph {graph.name} ({graph.fingerprint})"]
    for name, node in graph.nodes.items():
        notes = [*policies(node), *graph.parts.get(name, [])]
        lines.append(f"{name}" + (f"   [{'; '.join(notes)}]" if notes else ""))
        lines += [
            f"    {edge.on} -> {edge.target}" + (" (continues)" if edge.continues else "")
            for edge in graph.out.get(name, {}).values()
        ]
    return "\n".join(lines) + "\n"
