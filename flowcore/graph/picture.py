"""What every drawing shows, read once from the table that runs: boxes and arrows, and maybe a run's walk over them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from flowcore.graph.node import ENGINE_LABELS, RETRY, Node
from flowcore.graph.outcomes import END, START

if TYPE_CHECKING:
    from flowcore.graph.graph import Edge, Graph


class Box(NamedTuple):
    """A node. ``notes``: its policies in words; ``parts``: what's inside. ``visits``: of the drawn run, if there is
    one."""

    name: str
    notes: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    waits: bool = False
    policies: dict[str, Any] | None = None
    source: str = ""
    visits: int | None = None


class Arrow(NamedTuple):
    """An edge. ``kind``: "start", "ordinary", "engine" (retry, limit, timeout, over_budget) or "error". ``taken``: how
    often by the drawn run, if there is one; ``declared``: False where that run took an edge that the table lacks."""

    source: str
    on: str
    target: str
    continues: bool = False
    kind: str = "ordinary"
    taken: int | None = None
    declared: bool = True

    @property
    def text(self) -> str:
        """What is written at it: the label, whether it continues a visit, how often it was taken."""
        words = [] if self.kind == "start" else [self.on]
        if self.continues:
            words.append("(continues)")
        if self.taken is not None and self.taken > 1:
            words.append(f"×{self.taken}")
        return " ".join(words)


@dataclass(frozen=True)
class Picture:
    """``standing`` and ``place``: how and where the drawn run stands, None without one."""

    title: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    state: tuple[dict[str, Any], ...] = ()
    standing: str | None = None
    place: str | None = None

    @property
    def frame(self) -> str:
        """The run's standing in words; empty without a run."""
        if self.standing is None:
            return ""
        return self.standing if self.standing == "done" else f"{self.standing} at {self.place}"


def picture(graph: Graph) -> Picture:
    """A graph as it's declared so far; it isn't built by being looked at."""
    names = [*graph.nodes, *_only_named(graph)]
    boxes = tuple(_box(graph, name) for name in names)
    fields = tuple(
        {"name": name, "type": one.shape, "required": one.required} for name, one in graph.schema.fields.items()
    )
    return Picture(graph.name, boxes, tuple(_arrow(edge) for edge in graph.edges), fields)


def _only_named(graph: Graph) -> list[str]:
    named = dict.fromkeys(name for edge in graph.edges for name in (edge.source, edge.target))
    return [name for name in named if name not in graph.nodes and name not in (START, END)]


def _box(graph: Graph, name: str) -> Box:
    node = graph.nodes.get(name)
    if node is None:
        return Box(name, ("not a node",))
    goes_on = [f"'{e.on}'" for e in graph.edges if e.continues and e.target == name and e.on != RETRY]
    notes = [*policies(node), *([f"{', '.join(goes_on)} continues its visit"] if goes_on else [])]
    return Box(name, tuple(notes), tuple(graph.parts.get(name, ())), node.waits, _as_data(node), node.source)


def _arrow(edge: Edge) -> Arrow:
    kind = "start" if edge.source == START else "error" if edge.error else "ordinary"
    if edge.on in ENGINE_LABELS and kind == "ordinary":
        kind = "engine"
    return Arrow(edge.source, edge.on, edge.target, edge.continues, kind)


def policies(node: Node) -> list[str]:
    """A node's policies in words."""
    words = []
    if node.bodies:
        words.append(f"{node.kind} of {', '.join(name for name, _ in node.bodies)}")
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


def _as_data(node: Node) -> dict[str, Any]:
    stop = node.retry.stop if node.retry is not None else None
    retry = None if node.retry is None else {"attempts": stop if isinstance(stop, int) else None}
    children = {name: body.fingerprint for name, body in node.bodies}
    more: dict[str, Any] = {"kind": node.kind, "children": children} if children else {}
    return {**more, "retry": retry, "limit": node.limit, "timeout": node.timeout, "waits": node.waits}


def walked(
    drawn: Picture, taken: dict[tuple[str, str, str], int], visits: dict[str, int], standing: str, place: str
) -> Picture:
    """A picture with one run's walk over it; what the walk has and the picture lacks is drawn too, as undeclared."""
    there = {(one.source, one.on, one.target) for one in drawn.arrows}
    boxes = [one._replace(visits=visits.get(one.name, 0)) for one in drawn.boxes]
    known = {one.name for one in boxes} | {START, END}
    boxes += [Box(name, visits=count) for name, count in visits.items() if name not in known]
    arrows = [one._replace(taken=taken.get((one.source, one.on, one.target), 0)) for one in drawn.arrows]
    arrows += [
        Arrow(source, on, target, taken=count, declared=False, kind="start" if source == START else "ordinary")
        for (source, on, target), count in taken.items()
        if (source, on, target) not in there
    ]
    return replace(drawn, boxes=tuple(boxes), arrows=tuple(arrows), standing=standing, place=place)


def printable(text: str) -> str:
    """Text with what no drawing can hold written out: control characters, lone surrogates, turns of direction."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


_UNPRINTABLE = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
