"""``edge_coverage``: which declared edges of which graphs a test session took, from the facts that were committed.

Off, it costs nothing: only while a coverage is collected, ``Live.commit`` is one that tells it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from flowcore.engine.tree import Live
from flowcore.graph.graph import Graph
from flowcore.graph.outcomes import START
from flowcore.machine.facts import Fact, Transition

EdgeName = tuple[str, str, str]
"""``(source, label, target)``."""
Told = tuple[list[str], list[EdgeName], list[int]]
"""Of one table: the graphs' names, its edges, how often each was taken."""
SHOWN = 3
"""Graph names that a report lists of one table."""


@dataclass
class GraphCoverage:
    """One table of edges: ``names`` of the graphs that have it, and how often each edge was taken.

    The edge out of START isn't counted: every run takes it.
    """

    names: list[str]
    edges: list[EdgeName]
    taken: Counter[EdgeName] = field(default_factory=Counter)

    @property
    def uncovered(self) -> list[EdgeName]:
        """The edges that nothing took, in order of declaration."""
        return [edge for edge in self.edges if not self.taken[edge]]

    @property
    def percent(self) -> float:
        """Edges taken, in percent."""
        return 100.0 * (len(self.edges) - len(self.uncovered)) / len(self.edges) if self.edges else 100.0

    @property
    def title(self) -> str:
        """The graphs' names."""
        more = f" and {len(self.names) - SHOWN} more" if len(self.names) > SHOWN else ""
        return ", ".join(self.names[:SHOWN]) + more


class EdgeCoverage:
    """What a session took, by table. Graphs with equal tables (the same factory called twice, all agents) are one."""

    def __init__(self) -> None:
        self._tables: dict[frozenset[EdgeName], GraphCoverage] = {}
        self._known: WeakKeyDictionary[Graph, GraphCoverage] = WeakKeyDictionary()

    @property
    def graphs(self) -> list[GraphCoverage]:
        """One coverage for each table, in order of appearance."""
        return list(self._tables.values())

    @property
    def percent(self) -> float:
        """Edges taken of all, in percent; 100 where there's none."""
        declared = sum(len(one.edges) for one in self.graphs)
        return 100.0 * (declared - sum(len(one.uncovered) for one in self.graphs)) / declared if declared else 100.0

    def add(self, graph: Graph) -> GraphCoverage:
        """Count a graph in, though nothing may ever run it."""
        known = self._known.get(graph)
        if known is None:
            edges = [(edge.source, edge.on, edge.target) for edge in graph.build().edges if edge.source != START]
            known = self._known[graph] = self._table([graph.name], edges)
        return known

    def _table(self, names: Iterable[str], edges: list[EdgeName]) -> GraphCoverage:
        table = self._tables.setdefault(frozenset(edges), GraphCoverage([], edges))
        table.names += [name for name in names if name not in table.names]
        return table

    def see(self, graph: Graph, facts: Iterable[Fact]) -> None:
        """Count the edges that these facts took."""
        coverage = self.add(graph)
        for fact in facts:
            if type(fact) is Transition:
                coverage.taken[fact.node, fact.on, fact.to] += 1

    def told(self) -> list[Told]:
        """All of it as lists, strings and numbers: another process's ``hear`` takes them in."""
        return [(one.names, one.edges, [one.taken[edge] for edge in one.edges]) for one in self.graphs]

    def hear(self, told: Iterable[Told]) -> None:
        """Add what another process counted."""
        for names, edges, taken in told:
            named = [(source, on, target) for source, on, target in edges]
            self._table(names, named).taken.update(dict(zip(named, taken, strict=True)))

    def report(self) -> str:
        """The uncovered edges of each graph, as text."""
        lines = []
        for one in self.graphs:
            missed = one.uncovered
            lines.append(f"{one.title}: {len(one.edges) - len(missed)} of {len(one.edges)} edges ({one.percent:.0f} %)")
            lines += [f"    {source} --{on}--> {target}" for source, on, target in missed]
        total = f"all graphs: {self.percent:.0f} %" if self.graphs else "no graph was run"
        return "\n".join([*lines, total])


_COLLECTING: list[EdgeCoverage] = []
_commit: Callable[..., Any] = Live.commit


async def _observed(live: Live, *facts: Fact, **more: Any) -> None:
    """``Live.commit``, and what it committed is seen."""
    await _commit(live, *facts, **more)
    for coverage in _COLLECTING:
        coverage.see(live.graph, facts)


def begin(coverage: EdgeCoverage) -> None:
    """Collect into a coverage from now on."""
    _COLLECTING.append(coverage)
    Live.commit = _observed  # type: ignore[method-assign, assignment]


def end(coverage: EdgeCoverage) -> None:
    """Collect into it no longer."""
    _COLLECTING.remove(coverage)
    if not _COLLECTING:
        Live.commit = _commit  # type: ignore[method-assign]


@contextmanager
def edge_coverage(graphs: Sequence[Any] = ()) -> Iterator[EdgeCoverage]:
    """Collect which edges are taken by the runs inside of the ``with``. ``graphs``: to be counted even if none runs.

    >>> with edge_coverage() as coverage:
    ...     pass
    >>> print(coverage.report())
    no graph was run
    """
    coverage = EdgeCoverage()
    for one in graphs:
        coverage.add(getattr(one, "graph", one))
    begin(coverage)
    try:
        yield coverage
    finally:
        end(coverage)
