"""``simulate``: walk a graph with no node executed, through the machine's own ``plan`` and ``fold``. No event loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

from flowcore.engine import entry
from flowcore.engine.admit import started
from flowcore.engine.context import Context
from flowcore.engine.failure import record_of
from flowcore.engine.tree import Live
from flowcore.errors import GraphError, LimitExceeded, NodeTimeout, UserError
from flowcore.graph.graph import Graph
from flowcore.graph.node import ENGINE_LABELS, Node
from flowcore.graph.outcomes import Pause
from flowcore.graph.state import listed
from flowcore.graph.values import Json, codec_of
from flowcore.machine.facts import Fact, Request, Signal, Standing
from flowcore.machine.plan import Enter, Fail, GoOn, Rest, Sleep, Take, plan
from flowcore.machine.walk import Step, path
from flowcore.testing.clock import ManualClock

MOST = 10_000
"""Commands after which a simulation is taken for one that doesn't end."""


@dataclass(slots=True)
class Simulation:
    """What a simulated walk came to: as a run's result, for ``assert_path`` and ``assert_state``.

    ``output``: the graph's output once ``standing`` is "done". ``open``: requests that nobody answered.
    """

    definition: Graph
    standing: Standing
    output: Any
    state: Any
    error: dict[str, Any] | None
    open: list[Request]
    facts: list[Fact]

    @property
    def path(self) -> list[Step]:
        """The transitions in order."""
        return path(self.facts)

    @property
    def place(self) -> str:
        """The node where it stands; END when it's done."""
        steps = self.path
        return steps[-1].to if steps else self.facts[0].node


def simulate(
    graph: Any,
    outcomes: Mapping[str, Any] | None = None,
    *,
    input: Any = None,
    answers: Mapping[str, Any] | Callable[[Request], Any] | None = None,
    limits: dict[str, Any] | None = None,
    spend: Mapping[str, Mapping[str, float]] | None = None,
    clock: ManualClock | None = None,
) -> Simulation:
    """Walk a graph (or whatever has a ``.graph``) by the outcomes that its nodes are said to have; no node is run.

    ``outcomes``: by node, its answer at every entry; a list has one for each entry, a function ``(state) -> answer``
    is asked. An answer is what a node may return (a label, ``Goto`` with what is new, a dict, None, a ``Pause``), or
    an exception or its class, which is raised: it's retried, takes its edge, or fails the run. A node with a single
    ordinary edge needs none. ``answers``: to requests, by key or by a function; a request without one stays open.
    ``spend``: by node, what each entry uses, e.g. ``{"call_model": {"total_tokens": 900}}``. ``clock``: moved on
    where the run would sleep. Edges by data are chosen by the state.

    Raises UserError for a node with several edges and no outcome, UndeclaredTransition and UpdateError as a run would
    fail with.
    """
    definition = getattr(graph, "graph", graph)
    if not isinstance(definition, Graph):
        raise UserError(f"simulate walks through a Graph or something with a .graph, not a {type(graph).__name__}")
    walk = _Walk(definition.build(), outcomes or {}, answers, spend or {}, clock or ManualClock())
    walk.begin(input, limits or {})
    for _ in range(MOST):
        if not walk.step():
            return walk.simulation()
    raise UserError(
        f"graph '{definition.name}': the simulation hasn't ended after {MOST} steps; it stands at"
        f" '{walk.live.snapshot.visit.node}'"
    )


class _Walk:
    """A simulated walk: the engine's facts about outcomes that were said beforehand."""

    def __init__(
        self,
        graph: Graph,
        outcomes: Mapping[str, Any],
        answers: Mapping[str, Any] | Callable[[Request], Any] | None,
        spend: Mapping[str, Mapping[str, float]],
        clock: ManualClock,
    ) -> None:
        unknown = [name for name in (*outcomes, *spend) if name not in graph.nodes]
        if unknown:
            raise UserError(
                f"graph '{graph.name}' has no node {listed(unknown)} to simulate; its nodes are {listed(graph.nodes)}"
            )
        self.graph = graph
        self.clock = clock
        self.outcomes = outcomes
        self.answers = answers
        self.spend = spend
        self.entries: dict[str, int] = {}
        # A tree in which nothing is awaited or written: what is left of it are its root's name and its clock.
        tree = cast(Any, SimpleNamespace(root="simulation", clock=clock, out=None, lives={}))
        self.live = Live(tree, "simulation", graph, None)

    def begin(self, input: Any, limits: dict[str, Any]) -> None:
        self.live.member([started(self.live, input, limits, None)])

    def simulation(self) -> Simulation:
        s, graph = self.live.snapshot, self.graph
        output = graph.output(s.values) if s.standing == "done" else None
        state = graph.schema.view(s.values)
        asked = [question.request for question in s.open.values()]
        return Simulation(graph, s.standing, output, state, s.error, asked, self.live.facts)

    def step(self) -> bool:
        """Obey one command of ``plan``; False when there's none."""
        live, clock = self.live, self.clock
        command = plan(self.graph, live.snapshot, clock.time())
        if isinstance(command, Enter):
            self._enter()
        elif isinstance(command, Take):
            graph, node = self.graph, live.snapshot.visit.node
            wire, how = graph.schema.admit(command.update, (graph.name, node))
            live.member([live.transition(graph.out[node][command.on], wire, clock.time(), how=how)])
        elif isinstance(command, Sleep):
            clock.advance(max(0.0, command.until - clock.time()))
        elif isinstance(command, GoOn):
            not_before = clock.time() + command.delay if command.delay else None
            live.member([live.resumed(command.by, not_before=not_before)])
        elif isinstance(command, Fail):
            self._fail(LimitExceeded(f"graph '{self.graph.name}': {command.reason}"), None)
        elif isinstance(command, Rest):
            return self._answer() or self._let_pass(command)
        return True

    def _enter(self) -> None:
        live = self.live
        visit = live.snapshot.visit
        node = self.graph.nodes[visit.node]
        ctx = Context(live, node, visit, None)
        now = self.clock.time()
        outcome = self._outcome(node)
        if node.name in self.spend:
            ctx.spend(**self.spend[node.name])
        error = self._error(outcome)
        if error is None:
            if type(outcome) is str and outcome in ENGINE_LABELS:
                self._no_answer(node, outcome)
            live.member(entry._facts_of(live, ctx, node, outcome, now))
            return
        way = None if isinstance(error, GraphError) else entry._way_out(live, ctx, node, error, now)
        if way is None:
            self._fail(error, ctx)
        else:
            live.member([way])

    def _fail(self, error: Exception, ctx: Context | None) -> None:
        self.live.member([entry._rested(self.live, ctx, "failed", self.clock.time(), error=record_of(error))])

    def _outcome(self, node: Node) -> Any:
        """What the node is said to answer at this entry."""
        name = node.name
        nth = self.entries[name] = self.entries.get(name, 0) + 1
        if name not in self.outcomes:
            if self.graph.ordinary.get(name) is not None or name in self.graph.conditional:
                return None
            labels = listed(edge.on for edge in self.graph.out[name].values() if edge.on not in ENGINE_LABELS)
            raise UserError(
                f"graph '{self.graph.name}': node '{name}' has several edges, and simulate wasn't told which it takes;"
                f" give outcomes={{'{name}': ...}} with one of {labels}"
            )
        said = self.outcomes[name]
        if isinstance(said, list):
            if nth > len(said):
                raise UserError(
                    f"graph '{self.graph.name}': node '{name}' is entered for the {nth}. time, but its list has"
                    f" {len(said)} outcomes; add one, or find out why it's entered again"
                )
            said = said[nth - 1]
        if callable(said) and not _is_error(said):
            said = said(self.graph.schema.view(self.live.snapshot.values))
        return _fresh(said)

    def _error(self, outcome: Any) -> Exception | None:
        """The exception that an outcome stands for; a timeout is this run's own."""
        if not _is_error(outcome):
            return None
        if outcome is NodeTimeout or outcome is TimeoutError:
            node = self.live.snapshot.visit.node
            seconds = self.graph.nodes[node].timeout
            told = f"node '{node}' ran longer than its timeout" + (f" of {seconds:g} s" if seconds else "")
            return NodeTimeout(told, run_id=self.live.id)
        error: Exception = outcome() if isinstance(outcome, type) else outcome
        if isinstance(error, NodeTimeout) and error.run_id is None:
            error.run_id = self.live.id
        return error

    def _no_answer(self, node: Node, label: str) -> None:
        if self.graph.has(node.name, label) and label != "timeout":
            raise UserError(
                f"graph '{self.graph.name}': the engine takes '{label}' by itself, node '{node.name}' never answers it;"
                f" {_HOW[label]}"
            )

    def _answer(self) -> bool:
        """Answer what the run waits for; whether anything was answered."""
        s = self.live.snapshot
        if s.standing != "waiting" or self.answers is None:
            return False
        facts: list[Fact] = []
        for key, question in s.open.items():
            if callable(self.answers):
                value = self.answers(question.request)
            elif key in self.answers:
                value = self.answers[key]
            else:
                continue
            wire = codec_of(Json, f"answer '{key}'").admit(value)[0]
            now, seq = self.clock.time(), s.seq + 1 + len(facts)
            facts.append(Signal(seq, now, now, s.visit.node, s.visit.number, f"{seq}", "answer", key, wire))
        if facts:
            self.live.member(facts)
        return bool(facts)

    def _let_pass(self, rest: Rest) -> bool:
        """Let the time pass that ends the wait, if there's such."""
        if rest.due is None:
            return False
        self.clock.advance(max(0.0, rest.due - self.clock.time()))
        return True


_HOW = {
    "retry": "give an exception, and it's retried by the node's policy",
    "limit": "let the node be entered until its limit is reached, or give limits=",
    "over_budget": "give limits= and spend=",
}


def _is_error(one: Any) -> bool:
    return isinstance(one, Exception) or (isinstance(one, type) and issubclass(one, Exception))


def _fresh(said: Any) -> Any:
    """A Pause of its own for each entry: the engine fills one in."""
    if type(said) is not Pause:
        return said
    return Pause(
        *said.requests, on=said.on, into=said.into, until=said.until, late=said.late, enough=cast(Any, said.enough)
    )


__all__ = ["Simulation", "simulate"]
