"""A picture in DOT, Graphviz' language. Nothing here calls Graphviz."""

from __future__ import annotations

from flowcore.graph.outcomes import END, START
from flowcore.graph.picture import Arrow, Box, Picture, printable

_LINES = {"start": "", "ordinary": "", "engine": ' color="#6b7280"', "error": ' color="#b91c1c"'}


def dot(drawn: Picture) -> str:
    """The text of a ``digraph``. With a run: counts, bold arrows where it went, its standing as a cluster's label."""
    lines = [f'{_quoted(START)} [shape=circle label="" width=0.15 style=filled fillcolor=black];']
    lines += [_box(drawn, box) for box in drawn.boxes]
    if any(one.target == END for one in drawn.arrows):
        lines.append(f'{_quoted(END)} [shape=doublecircle label="" width=0.12 style=filled fillcolor=black];')
    lines += [_arrow(one) for one in drawn.arrows]
    if drawn.standing is not None:
        lines = ["subgraph cluster_run {", f"    label={_quoted(drawn.frame)};", *("    " + one for one in lines), "}"]
    head = ["rankdir=TB;", 'node [shape=box style="rounded,filled" fillcolor=white fontname="monospace"];']
    body = [*head, 'edge [fontname="monospace" fontsize=10];', *lines]
    return "\n".join([f"digraph {_quoted(drawn.title)} {{", *("    " + line for line in body), "}"]) + "\n"


def _box(drawn: Picture, box: Box) -> str:
    times = f" ×{box.visits}" if box.visits is not None and box.visits > 1 else ""
    more = ' style="rounded,filled,dashed"' if box.waits else ""
    if box.visits:
        more += ' fillcolor="#dbeafe"'
    if drawn.place == box.name:
        more += ' color="#c2410c" penwidth=3'
    label = "\n".join([box.name + times, *box.parts, *box.notes])
    return f"{_quoted(box.name)} [label={_quoted(label)}{more}];"


def _arrow(one: Arrow) -> str:
    more = _LINES[one.kind]
    if one.continues:
        more += " style=dashed"
    if not one.declared:
        more += ' style=dotted color="#b91c1c"'
    if one.taken:
        more += " penwidth=2.5"
    return f"{_quoted(one.source)} -> {_quoted(one.target)} [label={_quoted(one.text)}{more}];"


def _quoted(text: str) -> str:
    shown = printable(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{shown}"'
