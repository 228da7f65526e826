"""An agent's run as spans: task, agents, turns, generations, tool calls, guardrails, handoffs. Pure.

Read from the facts of the nodes in the agent's own table; nodes that a user put between them are read as any graph's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flowcore.agents.loop.listing import LISTING
from flowcore.agents.loop.state import CALLS
from flowcore.agents.namespaces import called_name
from flowcore.graph.state import pick
from flowcore.machine.facts import SPENT, Effect, Rested, Resumed, Transition
from flowcore.models.openai_types import typed_response
from flowcore.models.usage import Usage, by_details
from flowcore.tracing.span_data import (
    AgentSpanData,
    CustomSpanData,
    FunctionSpanData,
    GenerationSpanData,
    GuardrailSpanData,
    HandoffSpanData,
    MCPListToolsSpanData,
    ResponseSpanData,
    SpanData,
    TaskSpanData,
    TurnSpanData,
)
from flowcore.tracing.spans import Span, SpanError

if TYPE_CHECKING:
    from flowcore.engine.observe import Noted
    from flowcore.tracing.runs import Above, RunSpans

NODES = frozenset(
    {
        "prepare", "input_guardrails", "call_model", "refusal", "max_turns", "over_budget", "run_tools",
        "await_decision", "handoff", "output_guardrails", "finalize", "blocked",
    }
)  # fmt: skip
"""The nodes of the agent's table."""

_AFTER_TURN = frozenset({"output_guardrails", "blocked", "refusal", "max_turns", "over_budget", "finalize"})
_BODILESS = frozenset({"limit", "over_budget"})
_BEFORE_THE_MODEL = frozenset({"UserError", "GraphError", "UpdateError", "GraphChanged", "ReplayMismatch"})
"""Errors of call_model that aren't of the model's call."""
_PARTS = frozenset({"before", "input", "told"})
"""Effects that are parts of a tool's call: ``{its key}/…``."""
_TURN_USAGE = (
    ("input_tokens", "input_tokens"), ("output_tokens", "output_tokens"), ("cached_input_tokens", "cached_tokens"),
    ("cache_write_input_tokens", "cache_write_tokens"),
)  # fmt: skip
_TASK_USAGE = (*_TURN_USAGE, ("requests", "requests"), ("total_tokens", "total_tokens"))


class Generation(GenerationSpanData):
    """A model's call whose input is put together when it's asked for: ``first``, and what stands in a shared list from
    ``begin`` to ``end``. Without such a list it isn't told.

    ``settings``: a dict, or ``ModelSettings``, which are written out when they're asked for.
    """

    __slots__ = ("_begin", "_end", "_first", "_items", "_settings", "_spent", "instructions", "response_id")

    def __init__(
        self,
        first: Sequence[Any],
        items: Sequence[Any] | None,
        begin: int,
        end: int,
        instructions: str | None,
        output: Sequence[Any] | None,
        model: str | None,
        settings: Any,
        spent: Mapping[str, Any] | None,
        response_id: str | None = None,
    ) -> None:
        self.response_id = response_id
        self._first = first
        self._items = items
        self._begin = begin
        self._end = end
        self.instructions = instructions
        self.output = output
        self.model = model
        self._settings = settings
        self._spent = spent

    @property
    def usage(self) -> dict[str, Any] | None:  # type: ignore[override]  # made when it's read
        return None if self._spent is None else dict(self._spent)

    @property
    def input(self) -> list[Any] | None:  # type: ignore[override]  # made when it's read
        seen = self.seen
        if seen is None or not self.instructions:
            return seen
        return [{"role": "system", "content": self.instructions}, *seen]

    @property
    def seen(self) -> list[Any] | None:
        """The input without the instructions."""
        return None if self._items is None else [*self._first, *self._items[self._begin : self._end]]

    @property
    def model_config(self) -> Mapping[str, Any] | None:  # type: ignore[override]  # made when it's read
        settings = self._settings
        traceable = getattr(settings, "to_traceable_dict", None)  # settings as the loop has them
        told: Mapping[str, Any] | None = settings if traceable is None else traceable()
        return told


class Reply(ResponseSpanData):
    """A call of a model behind the Responses API. ``told``: the same as a generation; ``at``: when the reply was there.

    What the data switch leaves out of it, id and all, isn't here either.
    """

    __slots__ = ("_response", "at", "told")

    def __init__(self, told: Generation, at: float) -> None:
        self.told = told
        self.at = at
        self._response: Any = None

    @property
    def input(self) -> list[Any] | None:  # made when it's read
        return self.told.seen

    @property
    def usage(self) -> dict[str, Any] | None:  # type: ignore[override]  # made when it's read
        return None if self.told.usage is None else by_details(Usage.from_counts(self.told.usage))

    @property
    def response(self) -> Any:  # made when it's first read
        """The reply as an object of the openai package, as far as it was recorded; None of a call that failed."""
        told = self.told
        if self._response is None and told.output is not None:
            made = {
                "id": told.response_id, "object": "response", "created_at": self.at, "status": "completed",
                "model": told.model, "instructions": told.instructions, "output": told.output, "usage": self.usage,
            }  # fmt: skip
            self._response = typed_response({name: value for name, value in made.items() if value is not None})
        return self._response

    def export(self) -> dict[str, Any]:
        id = None if self.told.output is None else self.told.response_id
        return {"type": self.type, "response_id": id, "usage": self.usage}


class Turn(TurnSpanData):
    """A turn whose usage is put together when it's asked for. ``spent``: what it used, once it ended."""

    __slots__ = ("spent",)

    def __init__(self, turn: int, agent_name: str) -> None:
        self.turn = turn
        self.agent_name = agent_name
        self.metadata = None
        self.spent: Mapping[str, Any] | None = None

    @property
    def usage(self) -> dict[str, Any] | None:  # type: ignore[override]  # made when it's read
        spent = self.spent
        return None if spent is None else {name: spent.get(count, 0) for name, count in _TURN_USAGE}


class ToolCall(FunctionSpanData):
    """A tool's call that knows its id."""

    __slots__ = ("call_id",)

    def __init__(self, name: str, input: str | None, call_id: str) -> None:
        self.name = name
        self.input = input
        self.output = self.mcp_data = None
        self.call_id = call_id


class AgentRun:
    """What is open of an agent's run, and what its next facts are about.

    ``due``: when the next turn began, as long as nothing of it has happened. ``calls``: the last reply's calls by key.
    ``told``: the keys of those that have ended. ``noted``: what was noted of the model's call, ``seen`` how long its
    input was then. ``said``: what was noted of calls, ``nested`` those that are runs. ``tools``: those that the agent's
    span names. ``kind``: of the spans of its model's calls, once that's recorded. ``lost``: what a try of the call used
    that failed beside guardrails.
    """

    __slots__ = (
        "agent", "agents", "attempts", "calls", "due", "items", "kind", "lost", "model", "name", "nested", "noted",
        "reply", "run",
        "said", "seen", "spent", "starts", "sticky", "task", "told", "tools", "turn", "turns", "view", "view_at",
    )  # fmt: skip

    def __init__(self, run: RunSpans, fact: Transition) -> None:
        self.run = run
        self.name = str(fact.update.get("agent") or (run.first.graph if run.first else ""))
        self.turns = 0
        self.agents = 1
        self.items: list[Any] = list(run.first.input.get("items") or ()) if run.first else []
        self.starts = {0: 0}
        self.view: Sequence[Any] = ()
        self.view_at = 0
        self.model: str | None = None
        self.kind: str | None = None
        self.lost: Mapping[str, Any] | None = None
        self.noted: dict[str, Any] | None = None
        self.seen = 0
        self.tools: Any = None
        self.sticky: dict[str, Any] = {}
        self.said: dict[str, dict[str, Any]] = {}
        self.calls: dict[str, Any] = {}
        self.told: set[str] = set()
        self.nested: set[str] = set()
        self.reply: Effect | None = None
        self.attempts = 0
        self.spent: Mapping[str, Any] | None = None
        self.due: float | None = None
        self.task: Span[Any] | None = None
        self.agent: Span[Any] | None = None
        self.turn: Span[Any] | None = None
        self.begin(run.first.started if run.first else fact.started)

    # -- what is open ---------------------------------------------------------------------------------------------

    def begin(self, at: float) -> None:
        """Open the task and the agent: at the start, and when a run whose spans had ended goes on."""
        tree = self.run.tree
        if tree.tasks:
            self.task = self.run.start("~task", TaskSpanData(tree.task_name), self.run.above, at)
        self._open_agent(at)
        if self.due is not None:
            self.due = at

    def _open_agent(self, at: float) -> None:
        self.tools = None
        self.agent = self.run.start(f"~agent.{self.agents}", self._described(), self.task or self.run.above, at)

    def _described(self) -> AgentSpanData:
        spec = self._spec()
        if spec is None:
            return AgentSpanData(self.name)
        return AgentSpanData(
            self.name,
            [one.agent_name for one in spec.resolved_handoffs],
            _names(spec.tools),
            spec.output_schema.name(),
        )

    def _spec(self) -> Any:
        """The current agent, where the graph is known."""
        crew = getattr(self.run.graph, "bound", None)
        return getattr(crew, "agents", {}).get(self.name)

    def _open_turn(self) -> None:
        """Something of the next turn happened."""
        if self.due is not None:
            self.turns += 1
            if self.run.tree.tasks and self.agent is not None:
                data = Turn(self.turns, self.name)
                self.turn = self.run.start(f"~turn.{self.turns}", data, self.agent, self.due)
            self.due = None

    def _end_turn(self, at: float) -> None:
        turn, spent = self.turn, self.spent
        self.spent = None
        if turn is not None:
            turn.span_data.spent = spent
            self.run.finish(turn, at)
            self.turn = None

    def end(self, at: float) -> None:
        """Everything ends: the run is over, or it failed."""
        self._end_turn(at)
        if self.agent is not None:
            self.run.finish(self.agent, at)
            self.agent = None
        task, usage = self.task, self.run.usage
        if task is not None:
            if usage:
                task.span_data.usage = {name: usage.get(count, 0) for name, count in _TASK_USAGE}
            self.run.finish(task, at)
            self.task = None

    def inner_span(self) -> Span[Any] | None:
        """The innermost of the open ones."""
        if self.due is not None:
            self._open_turn()
        return self.turn or self.agent

    def innermost(self) -> Above:
        """The same, or what the run hangs under."""
        return (self.turn if self.due is None and self.turn is not None else self.inner_span()) or self.run.above

    # -- facts ----------------------------------------------------------------------------------------------------

    def transition(self, fact: Transition) -> None:
        """A node was left."""
        seq, _, at, node, visit, on, to, to_visit, update, how, *_ = fact
        new: Sequence[Any] = ()
        if "items" in update:
            new = update["items"] if how is None else self._resolved(fact, "items")
        if node == "call_model":
            self._called(fact, new)
        elif node == "run_tools":
            self._tools_ran(fact, new)
        if on == "tripped":
            self._tripped(fact)
        if new:
            self.starts[seq] = len(self.items)
            self.items.extend(new)
        if "view" in update:
            self._viewed(fact)
        if "sticky" in update:
            self.sticky.update(update["sticky"])
        if node == "handoff":
            self._handed_off(fact, new)
        # What the edge leads to may end the turn, or begin the next.
        if to == "call_model":
            if node != to or to_visit != visit:
                if node != "input_guardrails" or (self.turn is None and self.due is None):
                    self._end_turn(at)
                    self.due = at
                self.attempts = 0
                self.noted = None
        elif to == "input_guardrails":
            self.due = at
        elif to in _AFTER_TURN:
            self.due = None
            self._end_turn(at)

    def _called(self, fact: Transition, new: Sequence[Any]) -> None:
        _, started, at, _, _, on, _, _, update, _, _, _, error, usage = fact
        if on in _BODILESS:
            return
        if self.due is not None:
            self._open_turn()
        if usage:
            self._spend(usage)
        if update.get("model"):
            self.model = str(update["model"])
        if update and on != "tripped":
            self.kind = str(update.get("span") or self.kind or "generation")
        if self.reply is not None:
            self._replied(self.reply)
        elif self._replied_before(fact):
            pass  # told when it was recorded; the model wasn't asked again
        elif error is not None:
            self._not_generated(fact, error)
        elif on != "tripped":
            made = [one for one in new if one.get("role") != "user"]  # what the model is told back isn't its own
            self._generated(started, at, made, usage, update.get("response_id"))
        self.calls = _calls_of(new)
        self.told.clear()
        self.nested.clear()
        self.said.clear()

    def _replied_before(self, fact: Transition | Rested) -> bool:
        """Whether an earlier entry of the visit has the model's reply, and its span."""
        visit, effects = self.run.effects.get(fact.node, (0, {}))
        return visit == fact.visit and "model" in effects

    def _replied(self, fact: Effect) -> None:
        """The model's call was an effect of its own, beside guardrails."""
        self.reply = None
        self.kind = str(fact.value.get("span") or self.kind or "generation")
        self._generated(fact.started, fact.at, fact.value.get("output"), fact.usage, fact.value.get("response_id"))

    def _generated(
        self, started: float, at: float, output: Sequence[Any] | None, usage: Mapping[str, Any] | None,
        response_id: str | None = None, error: SpanError | None = None,
    ) -> None:  # fmt: skip
        run, noted = self.run, self.noted
        first: Sequence[Any] = ()
        items: Sequence[Any] | None = None
        begin = end = 0
        instructions = None
        if run.sensitive and noted is None:
            first, items, begin, end = self.view, self.items, self.view_at, len(self.items)
        elif run.sensitive and noted is not None and "input" in noted:
            items, end, instructions = noted["input"], self.seen, noted.get("instructions")
        model, settings = (self.model, None) if noted is None else (noted.get("model"), noted.get("settings"))
        output = output if run.sensitive else None
        told = Generation(first, items, begin, end, instructions, output, model, settings, usage or None, response_id)
        data: SpanData = Reply(told, at) if self._kind() == "response" else told
        self.attempts += 1
        self.lost = None
        run.finish(run.start(f"~generation.{self.turns}.{self.attempts}", data, self.innermost(), started, error), at)

    def _not_generated(self, fact: Transition | Rested, error: dict[str, Any]) -> None:
        """The attempt failed; unless it did before the model was asked. What the model said may be the trouble too."""
        kind = error.get("kind")
        if kind not in _BEFORE_THE_MODEL:
            told = self.run.error("Error calling the model", kind=kind, error=error.get("message"))
            spent = fact.usage or self.lost
            self._generated(fact.started, fact.at, None, spent, None, None if kind == "ModelBehaviorError" else told)

    def _kind(self) -> str:
        """The kind of the span of a model's call: as it was noted, or recorded of this one or one before; of a first
        call that failed and was noted by nobody, as the agent's own model says."""
        noted = None if self.noted is None else self.noted.get("span")
        model = None if noted or self.kind else getattr(self._spec(), "model", None)
        return str(noted or self.kind or getattr(model, "span", "generation"))

    def _tools_ran(self, fact: Transition, new: Sequence[Any]) -> None:
        """Calls that no effect told of: a single one that left at once, those that a person rejected."""
        records: dict[str, dict[str, Any]] = {}
        for item in new:
            key = self._untold(item.get("call_id"), records)
            if key is not None:
                records[key] = {"item": item}
        update, node, visit, started = fact.update, fact.node, fact.visit, fact.started
        tripped = update.get("tripped")
        if isinstance(tripped, dict):
            key = self._untold(tripped.get("call_id"), records)
            if key is not None:
                records[key] = {"tripped": tripped}
        if records and "verdicts" in update:
            by_call = {self.calls[key]["call_id"]: one for key, one in records.items()}
            for verdict in self._resolved(fact, "verdicts"):
                by_call.get(verdict.get("call_id"), {}).setdefault("verdicts", []).append(verdict)
        for key, record in records.items():
            span = self.run.effect_span(node, visit, key, started)
            if key not in self.nested:  # that one began with its run, maybe at an earlier entry
                span.start_time = started
            if (self.run.answers or self.sticky) and self._rejected(key):
                record["rejected"] = True
            self._tool_ended(span, fact, key, record)

    def _untold(self, call_id: Any, but: Mapping[str, Any]) -> str | None:
        """The key of a call that hasn't ended; a model may use a call id twice."""
        for key, call in self.calls.items():
            if call["call_id"] == call_id and key not in self.told and key not in but:
                return key
        return None

    def _of_tool(self, fact: Effect, call: str) -> None:
        """An effect of a tool's call: the call itself, or a part of it: its guardrails before a person was asked; a
        nested run's input, its end, and what the model is told of it."""
        part, record = fact.key[len(call) :], fact.value
        span = self.run.effect_span(fact.node, fact.visit, call, fact.started)
        if part == "/input" or (part == "/before" and not (isinstance(record, dict) and "verdicts" in record)):
            return
        if fact.child is not None:
            if isinstance(record, dict) and record.get("tripped"):
                span.error = _tripwire(record["tripped"])
            return
        if not part:
            span.start_time = fact.started
        self._tool_ended(span, fact, call, record if isinstance(record, dict) else {})

    def _tool_ended(self, span: Span[Any], fact: Transition | Effect, key: str, record: Mapping[str, Any]) -> None:
        self.told.add(key)
        data, item = span.span_data, record.get("item")
        if self.run.sensitive and data.output is None and isinstance(item, dict):
            data.output = item.get("output")
        if record.get("verdicts"):
            self._judged(span, fact, key, record["verdicts"])
        if record.get("tripped") and span.error is None:
            span.error = _tripwire(record["tripped"])
        if record.get("rejected"):
            span.error = {
                "message": "Tool execution was not approved",
                "data": {"tool_name": self.calls[key].get("name")},
            }
        said = self.said.pop(key, None)
        if said is not None:
            data.mcp_data = said.get("mcp_data", data.mcp_data)
            if said.get("error") and span.error is None:
                span.error = self.run.error("Error running tool (non-fatal)", tool_name=data.name, error=said["error"])
        self.run.done(span, fact.node, fact.visit, key, fact.at)

    def _judged(self, span: Span[Any], fact: Transition | Effect, key: str, verdicts: Sequence[Any]) -> None:
        """A tool's guardrails, those of its input at the call's start and those of its output at its end: how long each
        took isn't recorded."""
        for i, verdict in enumerate(verdicts):
            at = fact.at if verdict.get("kind") == "tool_output" else span.start_time or fact.started
            data = GuardrailSpanData(str(verdict.get("guardrail")), verdict.get("behavior") != "allow")
            place = f"{fact.node}.{fact.visit}/{key}/~guardrail.{i}"
            self.run.finish(self.run.start(place, data, span, at), at)

    def _rejected(self, key: str) -> bool:
        """Whether a person said no to a call, or to all calls of its tool."""
        position, _, call_id = key.partition(":")
        answer = self.run.answers.get(f"{call_id}#{position}", self.run.answers.get(call_id))
        if answer is None:
            answer = self.sticky.get(called_name(self.calls[key]))
        return answer is False or (isinstance(answer, dict) and answer.get("approve") is False)

    def _handed_off(self, fact: Transition, new: Sequence[Any]) -> None:
        target = fact.update.get("agent")
        span = self.run.effect_span(fact.node, fact.visit, "handoff", fact.started)
        span.start_time = fact.started
        span.span_data.to_agent = target
        if len(new) > 1:
            asked = [self._target(call) for key, call in self.calls.items() if key not in self.told]
            span.error = {"message": "Multiple handoffs requested", "data": {"requested_agents": asked}}
        self.run.done(span, fact.node, fact.visit, "handoff", fact.at)
        if target is not None:
            self._end_turn(fact.at)
            if self.agent is not None:
                self.run.finish(self.agent, fact.at)
            self.name = str(target)
            self.agents += 1
            self._open_agent(fact.at)

    def _target(self, call: Mapping[str, Any]) -> str:
        """Whom a handoff's call asks for: the agent's name, or the tool's where the graph isn't known."""
        spec, name = self._spec(), str(call.get("name"))
        found = (
            one.agent_name for one in (spec.resolved_handoffs if spec is not None else ()) if one.tool_name == name
        )
        return next(found, name)

    def _tripped(self, fact: Transition) -> None:
        for span in (self.turn, self.agent):
            if span is not None and span.error is None:
                span.error = _tripwire(fact.update.get("tripped"))

    def effect(self, fact: Effect) -> None:
        """An effect of one of the agent's nodes finished."""
        node, value = fact.node, fact.value
        if node == "call_model" and fact.usage:
            self._spend(fact.usage)
            if fact.key == f"{SPENT}model":
                self.lost = fact.usage
        if node == "call_model" and fact.key == "model":
            self.reply = fact  # its span ends with the node: the model's name stands there
        elif isinstance(value, dict) and "guardrail" in value and "tripped" in value:
            span = self.run.effect_span(node, fact.visit, fact.key, fact.started)
            span.start_time = fact.started
            span.span_data = GuardrailSpanData(str(value["guardrail"]), bool(value["tripped"]))
            self.run.done(span, node, fact.visit, fact.key, fact.at)
        elif node == "run_tools" and (call := self._call_of(fact.key)) is not None:
            self._of_tool(fact, call)
        elif fact.child is not None:
            span = self.run.effect_span(node, fact.visit, fact.key, fact.started)
            self.run.done(span, node, fact.visit, fact.key, fact.at)

    def effect_data(self, node: str, key: str) -> tuple[SpanData, Above]:
        """The data and the parent of a new span of an effect."""
        parent = self.innermost() if node != "output_guardrails" or self.agent is None else self.agent
        call = self.calls.get(key) if node == "run_tools" else None
        if call is not None:
            arguments = call.get("arguments") if self.run.sensitive else None
            return ToolCall(call.get("name") or call["type"], arguments, call["call_id"]), parent
        if node == "handoff":
            return HandoffSpanData(self.name, None), parent
        if key.startswith("guardrail:"):
            return GuardrailSpanData(key.split(":", 2)[-1]), parent
        return CustomSpanData(key, {}), parent

    def key_at(self, node: str, key: str | None) -> str | None:
        """The key whose span the code at a place is in; None: in the turn's."""
        if node == "run_tools":
            if key is not None:
                return self._call_of(key)
            waiting = [one for one, call in self.calls.items() if one not in self.told and not self._hands_off(call)]
            return waiting[0] if len(waiting) == 1 else None
        if node == "handoff":
            return "handoff"
        return key if key is not None and key.startswith("guardrail:") else None

    def _call_of(self, key: str) -> str | None:
        """The key of the call that an effect of ``run_tools`` is, or is a part of."""
        if key in self.calls:
            return key
        call, _, part = key.rpartition("/")
        return call if part in _PARTS and call in self.calls else None

    def _hands_off(self, call: Mapping[str, Any]) -> bool:
        spec, name = self._spec(), str(call.get("name"))
        if spec is None:
            return name.startswith("transfer_to_")
        return any(one.tool_name == name for one in spec.resolved_handoffs)

    def failed(self, fact: Rested) -> None:
        """The run failed or was cancelled at one of its nodes."""
        run, error = self.run, fact.error or {}
        if fact.node == "call_model" and fact.ran:
            self._open_turn()
            if fact.usage:
                self._spend(fact.usage)
            if self.reply is not None:
                self._replied(self.reply)
            elif fact.standing == "failed" and not self._replied_before(fact):
                self._not_generated(fact, error)
        if fact.standing == "cancelled":
            if self.agent is not None and self.agent.error is None:
                self.agent.error = run.error("Run cancelled")
        else:
            if fact.node == "run_tools":
                self._tools_failed(fact, error)
            if self.agent is not None and self.agent.error is None:
                if error.get("kind") == "MaxTurnsExceeded":
                    self.agent.error = run.error("Max turns exceeded", max_turns=run.limits.get("max_turns"))
                else:
                    self.agent.error = run.error("Error in agent run", error=error.get("message"))
        if self.turn is not None:  # the same turn goes on if the run is resumed
            self.turns -= 1
            self.due = fact.at

    def _tools_failed(self, fact: Rested, error: dict[str, Any]) -> None:
        """The calls that have no end are those that failed; but for those that wait for a person."""
        asked = self.run.tree.asked.get(self.run.id, ())
        for key, call in self.calls.items():
            position, _, call_id = key.partition(":")
            questions = {call_id, f"{call_id}#{position}"}
            waits = any(one in asked and one not in self.run.answers for one in questions)
            if key in self.told or waits or self._hands_off(call):
                continue
            span = self.run.effect_span(fact.node, fact.visit, key, fact.started)
            span.error = self.run.error("Error running tool", tool_name=call.get("name"), error=error.get("message"))
            self.run.done(span, fact.node, fact.visit, key, fact.at)

    def forked(self, fact: Resumed) -> None:
        """A fork may have been given other input."""
        if fact.input is not None:
            self.items = list(fact.input.get("items") or ())
            self.starts = {fact.seq: 0}
        elif fact.update and "items" in fact.update:
            new = fact.update["items"]
            self.starts[fact.seq] = len(self.items)
            self.items = [*self.items, *new]

    def note(self, noted: Noted, clock: Callable[[], float]) -> None:
        """Something that isn't in the facts: of a model's call, of a tool's, or of an MCP server's listing."""
        data, kind = noted.data, noted.data.get("kind")
        if kind == "generation" and noted.node == "call_model":
            self.noted, self.seen = data, len(data.get("input") or ())  # the list may be one that grows
            self._open_turn()
            tools = data.get("tools")
            if tools is not self.tools and self.agent is not None:
                self.tools = tools
                self.agent.span_data.tools = _names(tools)
        elif kind == LISTING:
            self._listed(noted, clock())
        elif noted.node == "run_tools":
            key = self.key_at(noted.node, noted.key)
            if key is not None:
                self.said.setdefault(key, {}).update(data)

    def _listed(self, noted: Noted, at: float) -> None:
        """An MCP server is asked for its tools, or has answered (``result``) or failed (``error``)."""
        run, data = self.run, noted.data
        place = (noted.node, noted.visit, f"~mcp_tools:{data['id']}")
        if "result" not in data and "error" not in data:
            run.open[place] = run.start(None, MCPListToolsSpanData(data["server"]), self.innermost(), at)
            return
        span = run.open.pop(place, None)
        if span is not None:
            span.span_data.result = data.get("result")
            error = data.get("error")
            run.finish(span, at, None if error is None else run.error("Error listing MCP tools", error=error))

    # -- values ---------------------------------------------------------------------------------------------------

    def _spend(self, usage: Mapping[str, Any]) -> None:
        if self.spent is None:
            self.spent = usage
            return
        spent = self.spent = dict(self.spent)
        for name, count in usage.items():
            spent[name] = spent.get(name, 0) + count

    def _resolved(self, fact: Transition, field: str) -> list[Any]:
        """A list field's new elements, with what the visit's effects hold put in."""
        wire = fact.update[field]
        how = fact.how.get(field) if fact.how else None
        if how is None or how == "replace":
            return list(wire or ())
        if how == "select":
            return [self._element(one) for one in wire["pick"]]
        visit, effects = self.run.effects.get(fact.node, (0, {}))
        if visit != fact.visit:
            effects = {}
        if how == "of":
            return list(pick(effects.get(wire[0]), wire[1:], field))
        return [pick(effects.get(one["of"][0]), one["of"][1:], field) if "of" in one else one["new"] for one in wire]

    def _element(self, one: Any) -> Any:
        if isinstance(one, dict):
            return one["new"]
        return self.items[self.starts[one[0]] + one[1]]

    def _viewed(self, fact: Transition) -> None:
        """The model sees a selection from now on, and what joins it."""
        if fact.update["view"] is None:
            self.view, self.view_at = (), 0
            return
        self.view = self._resolved(fact, "view")
        self.view_at = int(fact.update.get("view_at", len(self.items)))


def _calls_of(reply: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A reply's function calls under the keys of their effects."""
    calls: dict[str, Any] = {}
    position = 0
    for item in reply:
        if item.get("type") in CALLS:
            if item.get("call_id"):
                calls[f"{position}:{item['call_id']}"] = item
            position += 1
    return calls


def _names(tools: Sequence[Any] | None) -> list[str] | None:
    return None if tools is None else [str(getattr(one, "name", type(one).__name__)) for one in tools]


def _tripwire(verdict: Any) -> SpanError:
    """The error of what a guardrail ended."""
    name = verdict.get("guardrail") if isinstance(verdict, dict) else None
    return {"message": "Guardrail tripwire triggered", "data": {"guardrail": name}}
