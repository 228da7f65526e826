"""The observer of runs: hands their facts to ``derive``, and the spans to the provider's processors."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pydantic_core import to_jsonable_python

from flowcore.agents.run_config import RunConfig, includes_sensitive_data
from flowcore.engine.events import Committed
from flowcore.engine.observe import Noted, Watch, Where
from flowcore.graph.outcomes import END
from flowcore.machine.facts import Fact, Resumed, Started, Transition
from flowcore.tracing.derive import Silence, SpanTree
from flowcore.tracing.scope import FOLLOWED, current_span, current_trace
from flowcore.tracing.span_data import CustomSpanData
from flowcore.tracing.spans import NoOpSpan, Span
from flowcore.tracing.traces import NoOpTrace, Trace

if TYPE_CHECKING:
    from flowcore.engine.tree import Live
    from flowcore.tracing.processor_interface import TracingProcessor
    from flowcore.tracing.provider import TraceProvider

_SILENCE = Silence()


class RunObserver:
    """Looks on at every run of this process, for the provider in place."""

    def __init__(self, provider: Callable[[], TraceProvider]) -> None:
        self.provider = provider

    def admitted(self, meta: dict[str, Any]) -> dict[str, Any]:
        """A run that begins inside of a trace belongs to it: what that is stands in ``meta["trace"]``."""
        given = meta.get("trace") or {}
        if not includes_sensitive_data() and "sensitive" not in given:
            given = {**given, "sensitive": False}
        trace = current_trace()
        if isinstance(trace, NoOpTrace):
            given = {**given, "disabled": True}
        elif trace is not None:
            span = current_span()
            given = {
                **given,
                "workflow_name": trace.name,
                "trace_id": trace.trace_id,
                "group_id": trace.group_id,
                "metadata": to_jsonable_python(trace.metadata, fallback=str),
                "parent_id": None if span is None else span.span_id,
                "joined": True,
            }
        return {"trace": given} if given else {}

    def watch(self, live: Live) -> Watch | None:
        """Follow a root run that begins to move; what happened before is known, and not told again."""
        provider = self.provider()
        out = provider.processor
        if out is None or provider.disabled:
            return None
        first = live.facts[0]
        assert isinstance(first, Started)
        trace, config = current_trace(), _config(live)
        disabled = ((first.meta or {}).get("trace") or {}).get("disabled") or (config and config.tracing_disabled)
        if disabled or isinstance(trace, NoOpTrace):
            return Untold(live.id)
        return Follower(live, out, trace, config)


class Untold:
    """Hides the trace around it from the code of a tree of runs that isn't traced: a sink for its facts."""

    __slots__ = ("__weakref__",)

    def __init__(self, run: str) -> None:
        FOLLOWED[run] = self

    def __call__(self, what: Committed | Noted) -> None:
        FOLLOWED.setdefault(what.run, self)

    @property
    def trace(self) -> Trace:
        """One that nobody is told of."""
        return NoOpTrace()

    def span_at(self, where: Where) -> Span[Any]:
        """One that nobody is told of."""
        return NoOpSpan(CustomSpanData(where.node, {}))


class Follower:
    """Follows one tree of runs: a sink for its facts."""

    __slots__ = ("__weakref__", "_live", "_lock", "_out", "_tree")

    def __init__(self, live: Live, out: TracingProcessor, around: Trace | None, config: RunConfig | None) -> None:
        first = live.facts[0]
        assert isinstance(first, Started)
        self._live = live
        self._out = out
        self._lock = threading.RLock()
        sensitive = includes_sensitive_data() if config is None else config.trace_include_sensitive_data
        key = None if config is None else (config.tracing or {}).get("api_key")
        tree = self._tree = SpanTree(live.id, first, _SILENCE, live.graph, key, sensitive)
        if tree.joined and around is not None and around.trace_id == tree.trace.trace_id:
            tree.trace.tracing_api_key = around.tracing_api_key
        last = live.facts[-1]
        self._catch_up(live.id, last.seq + 1)
        FOLLOWED[live.id] = self
        self._tree.out = out
        fork = isinstance(last, Resumed) and last.by == "fork"
        if (fork or last is first) and not self._tree.joined:
            out.on_trace_start(self._tree.trace)
        if fork:
            self._tell_what_is_open()

    def __call__(self, what: Committed | Noted) -> None:
        with self._lock:
            tree = self._tree
            if type(what) is not Committed:
                tree.note(what, self._live.tree.clock.time)  # type: ignore[arg-type]
                return
            run, fact = what
            known = tree.runs.get(run)
            usual = known is not None and type(fact) is Transition and fact.seq == known.seq + 1
            if usual and fact.to != END and not tree.secrets.active:  # type: ignore[union-attr]
                known.transition(fact)  # type: ignore[union-attr, arg-type]  # nothing begins with it, nothing ends
            else:
                self._take(run, fact)

    @property
    def trace(self) -> Trace:
        """The trace that the tree belongs to."""
        return self._tree.trace

    def span_at(self, where: Where) -> Span[Any] | None:
        """The span of the code at a place; asked by that code, from whatever thread."""
        with self._lock:
            known = self._tree.runs.get(where.run)
            return None if known is None else known.span_at(where.node, where.visit, where.key)

    def _take(self, run: str, fact: Fact) -> None:
        tree = self._tree
        known = tree.runs.get(run)
        seq = -1 if known is None else known.seq
        if fact.seq > seq + 1:  # somebody else moved it meanwhile, or in another process before
            self._catch_up(run, fact.seq)
        elif fact.seq <= seq:
            return
        if known is None:
            FOLLOWED[run] = self
        root = tree.runs[self._live.id]
        was = root.ended
        tree.take(run, fact)
        if root.ended and not was and not tree.joined:
            self._out.on_trace_end(tree.trace)

    def _catch_up(self, run: str, upto: int) -> None:
        """Take in silently what is told of elsewhere."""
        tree = self._tree
        live = self._live.tree.lives.get(run) if run != self._live.id else self._live
        if live is None:
            return
        known = tree.runs.get(run)
        seq = -1 if known is None else known.seq
        told, tree.out = tree.out, _SILENCE
        try:
            for fact in live.facts[seq + 1 : upto]:
                tree.take(run, fact)
        finally:
            tree.out = told

    def _tell_what_is_open(self) -> None:
        """A fork begins inside of spans that are its own, and new."""
        for known in self._tree.runs.values():
            agent = known.agent
            mine = () if agent is None else (agent.task, agent.agent, agent.turn)
            for span in (*mine, known.visit, *known.open.values()):
                if span is not None:
                    self._out.on_span_start(span)


def _config(live: Live) -> RunConfig | None:
    """The run's configuration, where it's an agent's and a face began it; its exporter's key is never stored."""
    config = getattr(live.context, "config", None)
    return config if isinstance(config, RunConfig) else None
