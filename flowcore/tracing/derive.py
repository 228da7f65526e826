"""``derive``: the facts of a tree of runs, in order, as spans. Pure: the same facts give the same spans, ids and times,
in whatever process and however the run was driven.

What a span tells is read from a fact, so it ends when its fact is committed. A span that is open while a run waits for
a person stays open, and ends when it ended; so its length isn't the time that was worked. The spans of a run that
failed or was cancelled end there; if it's resumed, new ones begin, in the same trace.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from flowcore.engine.observe import Noted
from flowcore.errors import UserError
from flowcore.graph.values import shorten
from flowcore.machine.facts import Effect, Fact, Request, Rested, Resumed, Started, Transition
from flowcore.machine.redact import Redactor
from flowcore.tracing.ids import trace_id_of
from flowcore.tracing.runs import RunSpans
from flowcore.tracing.spans import Span
from flowcore.tracing.traces import Trace


class Out(Protocol):
    """Who is told."""

    def on_span_start(self, span: Span[Any]) -> None: ...

    def on_span_end(self, span: Span[Any]) -> None: ...


class Silence:
    """Tells nobody: for facts that were told of before."""

    def on_span_start(self, span: Span[Any]) -> None:
        """Not told."""

    def on_span_end(self, span: Span[Any]) -> None:
        """Not told."""


class Collected:
    """Keeps the spans in the order in which they started."""

    def __init__(self) -> None:
        self.spans: list[Span[Any]] = []

    def on_span_start(self, span: Span[Any]) -> None:
        self.spans.append(span)

    def on_span_end(self, span: Span[Any]) -> None:
        """It's kept already."""


class SpanTree:
    """The spans of a root run and its children.

    ``first``: the root's first fact, whose ``meta["trace"]`` says how it's traced: ``workflow_name``, ``trace_id``,
    ``group_id``, ``metadata``, ``sensitive``, ``tasks``; and of a run that began inside of a trace (``joined``) the
    same of that one, and ``parent_id``, the span that it began in. ``graph``: what the root walks through, where that's
    known; it gives the agents' tools and handoffs. ``sensitive``: whether inputs and outputs go along, where the run
    doesn't say no.
    """

    def __init__(
        self, root: str, first: Started, out: Out, graph: Any = None, api_key: str | None = None, sensitive: bool = True
    ) -> None:
        meta = first.meta or {}
        config = meta.get("trace") or {}
        self.root = root
        self.out = out
        self.tasks = config.get("tasks") is not False
        self.joined = bool(config.get("joined"))
        named = config.get("workflow_name")
        self.task_name = str((None if self.joined else named) or meta.get("workflow") or first.graph)
        self.trace = Trace(
            str(named or self.task_name), config.get("trace_id") or trace_id_of(root), config.get("group_id"),
            config.get("metadata"), None, api_key,
        )  # fmt: skip
        self.asked: dict[str, set[str]] = {}
        self.secrets = Redactor()
        self.runs: dict[str, RunSpans] = {root: RunSpans(self, root, config.get("parent_id"), graph, sensitive)}

    def take(self, run: str, fact: Fact) -> None:
        """Take the next fact of a run of the tree in."""
        fact = self.secrets.fact(run, fact)
        known, kind = self.runs.get(run), type(fact)
        if known is None:
            known = self.runs[run] = self._child(run, fact)
        elif kind is Resumed and run != self.root:
            known.above = self._child(run, fact).above  # its parent may have begun a new round
        if kind is Request:
            self.asked.setdefault(run, set()).add(fact.key)  # type: ignore[union-attr, arg-type]
        known.take(fact)
        if known.ended and run != self.root and kind is Transition:
            del self.runs[run]
            self.asked.pop(run, None)

    def note(self, noted: Noted, clock: Callable[[], float] = time.time) -> None:
        """Take in what a node tells beside its facts. ``clock``: what the time is."""
        known = self.runs.get(noted.run)
        if self.secrets.active:
            noted = noted._replace(data={name: self.secrets.noted(one) for name, one in noted.data.items()})
        if known is not None and known.agent is not None:
            known.agent.note(noted, clock)

    def _child(self, run: str, fact: Fact) -> RunSpans:
        """A child run hangs under the span of the effect that it is of its parent."""
        for above, parent in self.runs.items():
            if run.startswith(f"{above}/"):
                node, visit, key = _place(run[len(above) + 1 :])
                if "/" in key and f"{above}/{node}.{visit}/{key.partition('/')[0]}" in self.runs:
                    continue  # a child's child
                began = getattr(fact, "started", fact.at)
                span = parent.effect_span(node, visit, key, began)
                if parent.agent is not None:
                    parent.agent.nested.add(key)
                return RunSpans(self, run, span, _graph_of(parent, key), parent.sensitive, parent.mute)
        return RunSpans(self, run, None, None)


def _place(rest: str) -> tuple[str, int, str]:
    """A child's ``node.visit/key``, taken apart."""
    place, _, key = rest.partition("/")
    node, _, visit = place.rpartition(".")
    return node, int(visit) if visit.isdigit() else 0, key


def _graph_of(parent: RunSpans, key: str) -> Any:
    """The graph of an agent that is the tool of a call."""
    agent = parent.agent
    call = None if agent is None else agent.calls.get(key)
    spec = None if agent is None else agent._spec()
    if call is None or spec is None:
        return None
    tool = next((one for one in spec.tools if getattr(one, "name", None) == call.get("name")), None)
    return getattr(getattr(tool, "agent", None), "graph", None)


def spans_of(what: Any, graph: Any = None) -> list[Span[Any]]:
    """The spans of a stored run, derived afterwards, in the order in which they started.

    ``what``: a run's facts, something with ``.facts`` (a ``Result``, a ``Run``), or the journals of a tree of runs by
    run id, as ``flowcore.testing.journals(store, run_id)`` reads them; only those hold what children did. ``graph``:
    the agent or graph of the root, for the agents' tools and handoffs. Raises UserError on anything else.

    They're the spans of the live trace, by the same ids, without what no fact holds: a model call's settings and
    instructions, and what a session or a filter made of its input (it's the run's own items here); MCP servers'
    listings and ``mcp_data``; errors of tools that were told to the model; and spans that code made.
    """
    journals = _journals(what)
    if not journals:
        return []
    root = min(journals, key=len)
    first = journals[root][0]
    if not isinstance(first, Started):
        raise UserError(f"the facts of run '{root}' don't begin with its first one: give the whole journal")
    out = Collected()
    tree = SpanTree(root, first, out, getattr(graph, "graph", graph))
    for run, fact in in_order(root, journals):
        tree.take(run, fact)
    return out.spans


def _journals(what: Any) -> Mapping[str, Sequence[Fact]]:
    if isinstance(what, Mapping):
        return what
    facts = getattr(what, "facts", what)
    if not isinstance(facts, (list, tuple)):
        raise UserError(f"spans_of takes facts, a run, or the journals of a tree by run id, not {shorten(what)}")
    if not facts:
        return {}
    id = getattr(what, "run_id", None) or getattr(what, "id", None)
    forks = [fact.root for fact in facts if isinstance(fact, Resumed) and fact.by == "fork" and fact.root]
    return {str(id or (forks[-1] if forks else getattr(facts[0], "root", ""))): facts}


def in_order(root: str, journals: Mapping[str, Sequence[Fact]]) -> Iterable[tuple[str, Fact]]:
    """The facts of a tree, each child's between its parent's, in an order in which they may have happened."""
    children: dict[str, list[str]] = {}
    for run in sorted(journals, key=len):
        above = [one for one in journals if run.startswith(f"{one}/")]
        if above:
            children.setdefault(max(above, key=len), []).append(run)
    left = dict.fromkeys(journals, 0)

    def walk(run: str, until: Rested | None) -> Iterable[tuple[str, Fact]]:
        facts = journals[run]
        while left[run] < len(facts):
            at = left[run]
            fact = facts[at]
            if until is not None and at and _comes_after(fact, facts[at - 1], until, run in children[root]):
                return
            for child in children.get(run, ()):
                if _before(run, child, fact):
                    yield from walk(child, fact if isinstance(fact, Rested) else None)
            left[run] += 1
            yield run, fact
        if until is None:
            for child in children.get(run, ()):
                yield from walk(child, None)

    return walk(root, None)


def _comes_after(fact: Fact, before: Fact, rest: Rested, of_root: bool) -> bool:
    """Whether a child's fact was written after its parent's rest: it then says that the parent took it up again."""
    if not isinstance(fact, Resumed) or fact.by != "parent":
        return False
    if isinstance(before, Rested) and before.standing in ("failed", "cancelled", "stopped"):
        return True
    return of_root and fact.above is not None and fact.above >= rest.seq


def _before(run: str, child: str, fact: Fact) -> bool:
    """Whether what a child did until now came before a fact of its parent."""
    if isinstance(fact, Effect):
        end = f"{run}/{fact.node}.{fact.visit}/{fact.key}"
        return fact.child == child or end == f"{child}/told"  # what the model was told of a nested run that failed
    here = child.startswith(f"{run}/{fact.node}.{fact.visit}/")
    return here and (isinstance(fact, Transition) or (isinstance(fact, Rested) and fact.standing != "waiting"))
