"""One run's facts as spans: its visits and effects, and what of it ends when. Pure.

An agent's run is one too; what its own nodes do is read by ``agent_runs``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from flowcore.graph.outcomes import END
from flowcore.machine.facts import Effect, Fact, Rested, Resumed, Signal, Started, Transition
from flowcore.tracing.agent_runs import NODES, AgentRun
from flowcore.tracing.ids import Place
from flowcore.tracing.span_data import CustomSpanData, SpanData
from flowcore.tracing.spans import NoOpSpan, Span, SpanError

if TYPE_CHECKING:
    from flowcore.tracing.derive import SpanTree


Above: TypeAlias = Span[Any] | str | None
"""The span that another hangs under, or its id; None: that is right under the trace."""


class RunSpans:
    """The spans of one run of a tree.

    ``above``: the span that it hangs under, or its id. ``graph``: what it walks through, where that's known.
    ``rounds``: how often it began or was resumed after its spans had ended; a later round's have ids of their own.
    ``round``: the run's id and the current one. ``entered``: when the current visit was, ``at``: the last fact's time.
    ``sensitive``: whether its spans carry inputs and outputs; ``mute``: whether nobody is told of them. A nested run
    may say no to either, and its own nested runs follow.
    """

    __slots__ = (
        "above", "agent", "answers", "at", "effects", "ended", "entered", "first", "graph", "id", "left", "limits",
        "mute", "open", "round", "rounds", "sensitive", "seq", "tree", "usage", "visit",
    )  # fmt: skip

    def __init__(
        self, tree: SpanTree, id: str, above: Above, graph: Any, sensitive: bool = True, mute: bool = False
    ) -> None:
        self.tree = tree
        self.sensitive = sensitive
        self.mute = mute
        self.id = id
        self.above = above
        self.graph = graph
        self.seq = -1
        self.rounds = 1
        self.round: tuple[str, int] | None = None
        self.ended = False
        self.entered = self.at = 0.0
        self.first: Started | None = None
        self.agent: AgentRun | None = None
        self.visit: Span[Any] | None = None
        self.open: dict[tuple[str, int, str], Span[Any]] = {}
        self.left: dict[str, tuple[int, int]] = {}
        self.effects: dict[str, tuple[int, dict[str, Any]]] = {}
        self.answers: dict[str, Any] = {}
        self.limits: dict[str, Any] = {}
        self.usage: dict[str, Any] = {}

    # -- facts ----------------------------------------------------------------------------------------------------

    def take(self, fact: Fact) -> None:
        """Take the next fact in."""
        kind = type(fact)
        if kind is Transition:
            self.transition(fact)  # type: ignore[arg-type]
            return
        self.seq = fact.seq
        if kind is Effect:
            self._effect(fact)  # type: ignore[arg-type]
        elif kind is Rested:
            self._rested(fact)  # type: ignore[arg-type]
        elif kind is Resumed:
            self._resumed(fact)  # type: ignore[arg-type]
        elif kind is Signal:
            if fact.kind == "answer" and fact.accepted and fact.key is not None:  # type: ignore[union-attr]
                self.answers[fact.key] = fact.value  # type: ignore[union-attr]
        elif isinstance(fact, Started):
            self.first = fact
            config = (fact.meta or {}).get("trace") or {}
            self.sensitive = self.sensitive and config.get("sensitive") is not False
            self.mute = self.mute or bool(config.get("disabled"))
            self.entered = fact.started
            self.limits = dict(fact.limits)
        self.at = fact.at

    def transition(self, fact: Transition) -> None:
        """Take the next fact in, a transition."""
        # Taken apart at once: a named tuple's fields cost more to ask for one by one.
        self.seq, _, at, node, visit, _, to, to_visit, update, _, _, not_before, _, usage = fact
        if usage:
            self.spend(usage)
        agent = self.agent
        if agent is None and node == "prepare" and "begun" in update:
            self._visit_ended(node, visit, at)
            agent = self.agent = AgentRun(self, fact)
        if agent is None or node not in NODES:
            self._left(fact)
        if agent is not None:
            agent.transition(fact)
        if to != node or to_visit != visit:
            asks = agent is not None and "await_decision" in (node, to)  # the tools' visit goes on then
            if self.open and not asks:
                self._break_off(at, "Broken off")
            self.entered = at if not_before is None else max(at, not_before)
        if to == END:
            if agent is not None:
                agent.end(at)
            self.ended = True
        self.at = at

    def _left(self, fact: Transition) -> None:
        """A node that is no agent's own was left, or is tried again."""
        if fact.on in ("limit", "over_budget") and self.visit is None:
            return  # the engine took the edge before a body ran
        span = self._visit(fact.node, fact.visit)
        if fact.to == fact.node and fact.to_visit == fact.visit:
            return
        data = span.span_data.data
        data["on"] = fact.on
        if fact.attempt > 1:
            data["attempts"] = fact.attempt
        if fact.update and self.sensitive:
            data["update"] = fact.update
        if fact.error is not None and span.error is None:
            span.error = self.error("Error in node", **fact.error)
        self._break_off(fact.at, "Broken off")
        self._visit_ended(fact.node, fact.visit, fact.at)

    def _visit(self, node: str, number: int) -> Span[Any]:
        """The span of the current visit of a node that is no agent's own."""
        if self.visit is None:
            left, times = self.left.get(node, (0, 0))
            place = f"{node}.{number}" if left != number else f"{node}.{number}@{times + 1}"
            data = {"graph": self.first.graph if self.first else "", "node": node, "visit": number}
            self.visit = self.start(place, CustomSpanData(node, data), self.parent(), self.entered)
        return self.visit

    def _visit_ended(self, node: str, number: int, at: float, error: SpanError | None = None) -> None:
        if self.visit is not None:
            self.finish(self.visit, at, error)
            left, times = self.left.get(node, (0, 0))
            self.left[node] = (number, times + 1 if left == number else 1)
            self.visit = None

    def _effect(self, fact: Effect) -> None:
        if fact.usage:
            self.spend(fact.usage)
        known = self.effects.get(fact.node)
        if known is None or known[0] != fact.visit:
            known = self.effects[fact.node] = (fact.visit, {})
        known[1][fact.key] = fact.value
        if self.agent is not None and fact.node in NODES:
            self.agent.effect(fact)
            return
        span = self.effect_span(fact.node, fact.visit, fact.key, fact.started)
        span.start_time = fact.started
        if self.sensitive:
            span.span_data.data["value"] = fact.value
        self.done(span, fact.node, fact.visit, fact.key, fact.at)

    def _rested(self, fact: Rested) -> None:
        if fact.usage:
            self.spend(fact.usage)
        if fact.standing not in ("failed", "cancelled") or self.ended:
            return
        error = self.error("Run cancelled")
        if fact.standing == "failed":
            error = self.error("Error in node", **(fact.error or {}))
        if self.agent is not None:
            self.agent.failed(fact)
        self._break_off(fact.at, "Run cancelled" if fact.standing == "cancelled" else "Error in child run")
        if fact.standing == "failed" and (self.agent is None or fact.node not in NODES):
            self._visit(fact.node, fact.visit)
        self._visit_ended(fact.node, fact.visit, fact.at, error)
        if self.agent is not None:
            self.agent.end(fact.at)
        self.ended = True

    def _resumed(self, fact: Resumed) -> None:
        if fact.limits:
            self.limits.update(fact.limits)
        if self.agent is not None and fact.by == "fork":
            self.agent.forked(fact)
        if self.ended:
            self.ended = False
            self.rounds += 1
            self.round = None
            self.entered = fact.at
            if self.agent is not None:
                self.agent.begin(fact.at)

    def _break_off(self, at: float, message: str) -> None:
        """End spans that nothing more will be told of."""
        for span in list(self.open.values()):
            self.finish(span, at, span.error or {"message": message, "data": None})
        self.open.clear()

    # -- spans ----------------------------------------------------------------------------------------------------

    def start(
        self, place: Place | None, data: SpanData, above: Above, at: float, error: SpanError | None = None
    ) -> Span[Any]:
        """Start the span of a place in the run; None: of something that no fact tells of."""
        tree, here = self.tree, self.round
        if here is None:
            here = self.round = (self.id, self.rounds)
        span: Span[Any] = Span(tree.trace, above, data, None, None, place, here, at, error)
        if not self.mute:
            tree.out.on_span_start(span)
        return span

    def finish(self, span: Span[Any], at: float, error: SpanError | None = None) -> None:
        """End a span."""
        span.end_time = at
        if error is not None and span.error is None:
            span.error = error
        if not self.mute:
            self.tree.out.on_span_end(span)

    def done(self, span: Span[Any], node: str, visit: int, key: str, at: float) -> None:
        """End the span of an effect."""
        self.open.pop((node, visit, key), None)
        self.finish(span, at)

    def parent(self) -> Above:
        """The span that a visit hangs under, or its id."""
        return self.above if self.agent is None else self.agent.innermost()

    def effect_span(self, node: str, visit: int, key: str, at: float) -> Span[Any]:
        """The span of an effect or a child run, started if it wasn't."""
        place = (node, visit, key)
        span = self.open.get(place)
        if span is None:
            if self.agent is not None and node in NODES:
                data, parent = self.agent.effect_data(node, key)
            else:
                data, parent = CustomSpanData(key, {}), self._visit(node, visit)
            span = self.open[place] = self.start(place, data, parent, at)
        return span

    def span_at(self, node: str, visit: int, key: str | None) -> Span[Any] | None:
        """The span of the code that runs at a place."""
        if self.mute:
            return NoOpSpan(CustomSpanData(node, {}))
        if self.ended:
            return None
        if self.agent is not None and node in NODES:
            key = self.agent.key_at(node, key)
            return self.agent.inner_span() if key is None else self.effect_span(node, visit, key, self.at)
        return self._visit(node, visit) if key is None else self.effect_span(node, visit, key, self.at)

    # -- small things ---------------------------------------------------------------------------------------------

    def spend(self, usage: Mapping[str, Any]) -> None:
        """Count what was used."""
        for name, count in usage.items():
            self.usage[name] = self.usage.get(name, 0) + count

    def error(self, what: str, **data: Any) -> SpanError:
        """An error as spans have it; texts that may quote inputs are left out where those are."""
        if not self.sensitive:
            data.pop("message", None)
            if "error" in data:
                data["error"] = "left out: the trace doesn't include sensitive data"
        return {"message": what, "data": data or None}
