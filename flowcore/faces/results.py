"""What a run of an agent gives: ``RunResult`` and ``RunResultStreaming``, views on the machine's run."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from textwrap import indent
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel

from flowcore.agents.agent import AgentSpec as Agent
from flowcore.agents.context import APPROVAL, RunContextWrapper
from flowcore.agents.guardrails import InputGuardrailResult, OutputGuardrailResult
from flowcore.agents.items import input_form, input_items
from flowcore.agents.loop.state import AgentState, Crew, typed_output
from flowcore.agents.loop.verdicts import results_of, tripwire_of
from flowcore.agents.options import AgentToolInvocation, Options
from flowcore.agents.origins import describe
from flowcore.agents.tool_guardrails import ToolInputGuardrailResult, ToolOutputGuardrailResult, from_json
from flowcore.engine.run import Run
from flowcore.errors import (
    AgentsException,
    RunCancelled,
    RunFailed,
    UserError,
)
from flowcore.faces.items import (
    HandoffOutputItem,
    MCPApprovalRequestItem,
    MCPApprovalResponseItem,
    RunItem,
    ToolApprovalItem,
    ToolCallItem,
    ToolCallOutputItem,
    ToolInDoubtItem,
    reply_items,
    responses,
    run_items,
)
from flowcore.faces.meanwhile import NOTHING, Meanwhile, meanwhile
from flowcore.faces.resting import agent_called, asks_about_call, call_of
from flowcore.faces.run_state import RunState
from flowcore.faces.spending import Below, Spent, below, nested_requests
from flowcore.faces.stream import AgentUpdatedStreamEvent, StreamEvent, Translator
from flowcore.graph.secret import MASK
from flowcore.machine.facts import Fact, Request
from flowcore.machine.redact import hide_fields
from flowcore.models.base import Item, ModelResponse
from flowcore.stores.base import OpenRequest

if TYPE_CHECKING:
    import networkx

T = TypeVar("T")
TURN = "call_model"
"""The node with which a turn begins."""


@dataclass(eq=False)
class RunErrorDetails:
    """What a run had done when an exception ended it.

    ``result`` is the run's: ``error.run_data.result.to_state()`` goes on with it.
    """

    input: Any
    new_items: list[RunItem]
    raw_responses: list[ModelResponse]
    last_agent: Agent[Any]
    context_wrapper: RunContextWrapper[Any]
    input_guardrail_results: list[InputGuardrailResult]
    output_guardrail_results: list[OutputGuardrailResult]
    tool_input_guardrail_results: list[ToolInputGuardrailResult] = field(default_factory=list)
    tool_output_guardrail_results: list[ToolOutputGuardrailResult] = field(default_factory=list)
    result: RunResultBase = field(default=None, repr=False)  # type: ignore[assignment]  # None only if made by hand

    def __repr__(self) -> str:
        return f"RunErrorDetails(last_agent={self.last_agent.name!r}, new_items={self.new_items!r})"

    def __str__(self) -> str:
        return "\n".join(
            [
                f'{type(self).__name__}:\n- Last agent: Agent(name="{self.last_agent.name}", ...)', *_counted(self),
                f"- {len(self.tool_input_guardrail_results)} tool input guardrail result(s)",
                f"- {len(self.tool_output_guardrail_results)} tool output guardrail result(s)",
            ]
        )  # fmt: skip


class RunResultBase:
    """What both results share. Everything is read from the run's journal when it's asked for."""

    _below = Below()

    def __init__(self, input: Any, options: Options, max_turns: int | None) -> None:
        self.input = input
        self.max_turns = max_turns
        self._options = options
        self._requests: Sequence[OpenRequest] = ()
        self._items: tuple[int, Sequence[RunItem]] = (-2, ())

    @property
    def run(self) -> Run:
        """The machine's run: its id, facts, state, and ``answer``, ``cancel``, ``stop``."""
        raise NotImplementedError

    async def resume(self, *, limits: dict[str, Any] | None = None) -> RunResult:
        """Go on with the run, and return what came of it.

        A waiting run takes in what was answered meanwhile (``await result.run.answer(item.call_id, True)``); one that
        failed, was cancelled or stopped gets another try at its place. ``limits`` replace those of the same name.
        Raises NotPaused when it's done, and what ``Runner.run`` raises.
        """
        run = await self.run.resume(limits=limits)
        return await RunResult(run, self.input, self._options, _max_turns(run, None))._settle()

    def resume_streamed(self, *, limits: dict[str, Any] | None = None) -> RunResultStreaming:
        """``resume``, streamed: the result is there at once, and the run goes on in a task of the running loop."""
        run = self.run
        again = RunResultStreaming(self.last_agent, self.input, self._options, _max_turns(run, limits))
        again._begin(lambda: run.resume(limits=limits))
        return again

    @property
    def _state(self) -> AgentState:
        state: AgentState = self.run.state
        return state

    @property
    def _crew(self) -> Crew:
        crew: Crew = self.run.definition.bound
        return crew

    @property
    def run_id(self) -> str:
        """The run's id, for ``flowcore show``, ``resume`` and ``answer``."""
        return self.run.id

    @property
    def graph(self) -> networkx.DiGraph[int]:
        """The walk as a networkx graph: one node per transition, edges labelled."""
        return self.run.graph

    def to_state(self) -> RunState[Any]:
        """The run as it rests, to decide about what it waits for, to carry elsewhere, and to go on with:
        ``Runner.run(agent, state)``. Raises UserError while it moves."""
        return RunState.of(self)

    @property
    def new_items(self) -> list[RunItem]:
        """What the run brought: messages, calls, outputs, handoffs, calls that were asked about, in order. While some
        calls of a turn wait, the outputs of those that have ended are among it."""
        run = self.run
        seq = run._live.snapshot.seq
        if self._items[0] != seq:
            self._items = (seq, brought(self._state, run.facts, self._crew, self._options, self._meanwhile))
        asked = [one for one in self.interruptions if one.request.kind == APPROVAL]
        return [*self._items[1], *(one for one in asked if one.request.run != run.id)]

    @property
    def _meanwhile(self) -> Meanwhile:
        """What calls gave while others of their turn wait; it stays known until the turn is over."""
        return meanwhile(self.run.facts)

    def release_agents(self, release_new_items: bool = True) -> None:
        """Let the items hold their agents no longer; ``item.agent`` is there as long as somebody else holds it."""
        if release_new_items:
            for item in self.new_items:
                item.release_agent()

    @property
    def agent_tool_invocation(self) -> AgentToolInvocation | None:
        """The call that this run serves, where an agent is a tool of another."""
        return self._options.invocation

    @property
    def raw_responses(self) -> list[ModelResponse]:
        """The model's replies."""
        return responses(self._state, self.run.facts)

    @property
    def final_output(self) -> Any:
        """The output, of the last agent's output type; None while there is none."""
        run = self.run
        if run.standing != "done" or self._state.tripped is not None:
            return None
        return typed_output(self._state, self.last_agent)

    def final_output_as(self, cls: type[T], raise_if_incorrect_type: bool = False) -> T:
        """The output, said to be a ``cls``. Raises TypeError if asked to and it isn't."""
        output = self.final_output
        if raise_if_incorrect_type and not isinstance(output, cls):
            raise TypeError(f"Final output is not of type {cls.__name__}")
        return output  # type: ignore[no-any-return]

    @property
    def last_agent(self) -> Agent[Any]:
        """The agent that the run stands with."""
        return self._crew.current(self._state)

    @property
    def last_response_id(self) -> str | None:
        """The provider's id of the last reply."""
        return self._state.response_id

    @property
    def context_wrapper(self) -> RunContextWrapper[Any]:
        """The app's object, and what the run used as of now: the very wrapper that tools are handed."""
        run = self.run
        wrapper = self._options.wrapper(Spent(run, self._below) if self._below.usage else run)
        usage: Any = wrapper.usage
        usage.nested = nested_requests(run.store, run.id)
        return wrapper

    @property
    def interruptions(self) -> list[ToolApprovalItem]:
        """The calls that wait for a person, those of nested agents among them; those of which nobody knows whether
        they happened before a crash are ``ToolInDoubtItem``s."""
        found = []
        for request in self._requests if self.run.standing == "waiting" else ():
            if asks_about_call(request):
                agent = agent_called(request.data["agent"], self._crew.agents) or self.last_agent
                kind = ToolApprovalItem if request.kind == APPROVAL else ToolInDoubtItem
                found.append(kind.of(agent, call_of(request.data), request=request))
        return found

    @property
    def input_guardrail_results(self) -> list[InputGuardrailResult]:
        """What the input guardrails found."""
        return [one for one in self._verdicts() if isinstance(one, InputGuardrailResult)]

    @property
    def output_guardrail_results(self) -> list[OutputGuardrailResult]:
        """What the output guardrails found."""
        return [one for one in self._verdicts() if isinstance(one, OutputGuardrailResult)]

    @property
    def tool_input_guardrail_results(self) -> list[ToolInputGuardrailResult]:
        """What tools' input guardrails found."""
        return [one for one in self._tool_verdicts() if isinstance(one, ToolInputGuardrailResult)]

    @property
    def tool_output_guardrail_results(self) -> list[ToolOutputGuardrailResult]:
        """What tools' output guardrails found."""
        return [one for one in self._tool_verdicts() if isinstance(one, ToolOutputGuardrailResult)]

    def _verdicts(self) -> list[Any]:
        state = self._state
        return results_of(state.verdicts, self._crew, self._options, state) if state.verdicts else []

    def _tool_verdicts(self) -> list[Any]:
        verdicts = [*self._state.verdicts, *self._meanwhile.verdicts]
        records: list[Any] = [one for one in verdicts if str(one["kind"]).startswith("tool_")]
        return (
            from_json(records, [tool for agent in self._crew.agents.values() for tool in agent.tools])
            if records
            else []
        )

    def to_input_list(self, *, mode: Literal["preserve_all", "normalized"] = "preserve_all") -> list[Item]:
        """The input and what the run brought, as input for a next run. Copies: change them as you like. Of a run that
        waits it's no valid input yet: calls that wait have no output.

        ``mode="normalized"``: what the model would see of it, where a handoff chose that; then it's what the agent went
        on with, and what came after. Reasoning items lose their ids where the run's config says so.
        """
        if mode not in ("preserve_all", "normalized"):
            raise ValueError(f"to_input_list(mode={mode!r}): it is 'preserve_all' or 'normalized'")
        state = self._state
        items: Sequence[Item] = state.items
        if mode == "normalized" and state.view is not None:
            items = [*state.view, *state.items[state.view_at :]]
        so_far = self._meanwhile.items
        if so_far:
            items = [*items, *so_far]
        omit = self._options.config.reasoning_item_id_policy == "omit"
        return [
            {name: value for name, value in input_form(item).items() if name != "id"}
            if omit and item.get("type") == "reasoning"
            else input_form(item)
            for item in items
        ]

    def _details(self) -> RunErrorDetails:
        return RunErrorDetails(
            self.input, self.new_items, self.raw_responses, self.last_agent, self.context_wrapper,
            self.input_guardrail_results, self.output_guardrail_results,
            self.tool_input_guardrail_results, self.tool_output_guardrail_results, self,
        )  # fmt: skip

    def _raise(self) -> None:
        """Raise what ended the run, if it ended badly."""
        run = self.run
        error: BaseException | None = None
        if run.standing == "done":
            trip = self._state.tripped
            error = None if trip is None else tripwire_of(trip, self._crew, self._options, self._state)
        elif run.standing == "failed":
            error = run.exception
            if error is None:
                record = run._live.snapshot.error or {"kind": "", "message": ""}
                error = RunFailed(
                    f"{record['kind']}: {record['message']}", run_id=run.id, kind=record["kind"], place=run.place
                )
        elif run.standing == "cancelled":
            error = RunCancelled(f"run '{run.id}' was cancelled at '{run.place}'", run_id=run.id)
        if error is None:
            return
        try:
            error.run_data = self._details()  # type: ignore[attr-defined]
        except AttributeError:  # an exception with slots of its own
            pass
        raise error

    def __str__(self) -> str:
        return "\n".join([f"{type(self).__name__}:", *self._told(), _told_output(self._printed()), *_counted(self)])

    def _printed(self) -> Any:
        """The output as it may be printed."""
        output = self.final_output
        schema = self.last_agent.output_schema
        secret = schema.secret_fields()
        if not secret or output is None:
            return output
        try:
            return hide_fields(schema.to_jsonable(output), secret)
        except AgentsException:  # it isn't of that type
            return MASK

    def _told(self) -> list[str]:
        """What a text says first: lines."""
        return [f'- Last agent: Agent(name="{self.last_agent.name}", ...)', f"- Run id: {self.run_id}"]


class RunResult(RunResultBase):
    """What ``Runner.run`` gives: the output, or what the run waits for (``interruptions``).

    ::

        result = await Runner.run(agent, "delete the old rows")
        for item in result.interruptions:
            await result.run.answer(item.call_id, True)
        result = await result.resume()
    """

    def __init__(self, run: Run, input: Any, options: Options, max_turns: int | None) -> None:
        super().__init__(input, options, max_turns)
        self._run = run

    @property
    def run(self) -> Run:
        return self._run

    async def _settle(self) -> RunResult:
        """Move the run until it rests; the result. Raises what ended it badly."""
        await self._run.drive()
        self._requests = await self._run.requests() if self._run.standing == "waiting" else ()
        self._below = await below(self._run)
        self._raise()
        return self


class RunResultStreaming(RunResultBase):
    """What ``Runner.run_streamed`` gives: at once, while the run goes on in a task. ``stream_events()`` hands out
    what happens; it goes on whether somebody reads or not."""

    def __init__(self, agent: Agent[Any], input: Any, options: Options, max_turns: int | None) -> None:
        super().__init__(input, options, max_turns)
        self.is_complete = False
        self.run_loop_exception: Exception | None = None
        self.run_loop_task: asyncio.Task[None] | None = None
        self._agent = agent
        self._started: Run | None = None
        self._cancelled = False
        self._dropped = False
        self._events: list[StreamEvent] = []
        self._news = asyncio.Event()

    def _begin(self, admit: Callable[[], Awaitable[Run]]) -> None:
        """Go on in a task of the running loop."""
        self.run_loop_task = asyncio.get_running_loop().create_task(self._go(admit))
        self.run_loop_task.add_done_callback(self._ended)

    async def _go(self, admit: Callable[[], Awaitable[Run]]) -> None:
        """Drive the run, and keep what happens for the readers."""
        try:
            if self._cancelled:
                return
            run = self._started = await admit()
            if self._cancelled:
                await run.cancel()
                return
            translator = Translator(run, self._options)
            self._hand_out(AgentUpdatedStreamEvent(translator.agent))
            async for event in run:
                for one in translator.events_of(event):
                    self._hand_out(one)
            self._requests = await run.requests() if run.standing == "waiting" else ()
            self._below = await below(run)
            if run.standing != "cancelled":  # the caller knows
                self._raise()
        except Exception as error:
            self.run_loop_exception = error

    def _hand_out(self, event: StreamEvent) -> None:
        if not self._dropped:
            self._events.append(event)
            self._wake()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.is_complete = True
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    @property
    def run(self) -> Run:
        if self._started is None:
            if self.is_complete:
                raise UserError("the run wasn't admitted") from self.run_loop_exception
            raise UserError("the run hasn't begun yet: consume stream_events() first")
        return self._started

    @property
    def _state(self) -> AgentState:
        if self._started is not None:
            return super()._state
        try:  # as it is before anything happened
            items = input_items(self.input)
        except UserError:
            items = []
        return AgentState(items=items, begun=len(items))

    @property
    def _crew(self) -> Crew:
        crew: Crew = self._agent.graph.bound if self._started is None else super()._crew  # type: ignore[attr-defined]
        return crew

    @property
    def new_items(self) -> list[RunItem]:
        return [] if self._started is None else super().new_items

    @property
    def raw_responses(self) -> list[ModelResponse]:
        return [] if self._started is None else super().raw_responses

    @property
    def _meanwhile(self) -> Meanwhile:
        return NOTHING if self._started is None else super()._meanwhile

    @property
    def interruptions(self) -> list[ToolApprovalItem]:
        return [] if self._started is None else super().interruptions

    @property
    def context_wrapper(self) -> RunContextWrapper[Any]:
        return self._options.wrapper(_Unspent()) if self._started is None else super().context_wrapper

    @property
    def last_agent(self) -> Agent[Any]:
        return self._agent if self._started is None else super().last_agent

    @property
    def current_agent(self) -> Agent[Any]:
        """The agent whose turn it is."""
        return self.last_agent

    @property
    def current_turn(self) -> int:
        """How many turns began."""
        return 0 if self._started is None else self._started._live.snapshot.turns(nodes=self._started._live.nodes)

    @property
    def final_output(self) -> Any:
        return None if self._started is None else super().final_output

    @property
    def trace(self) -> Any:
        """The trace that the run belongs to, a ``flowcore.tracing.Trace``; None where nobody traces it here."""
        watches = () if self._started is None else self._started._tree.watches or ()
        return next((trace for one in watches if (trace := getattr(one, "trace", None)) is not None), None)

    def _told(self) -> list[str]:
        run = [] if self._started is None else [f"- Run id: {self.run_id}"]
        return [
            f'- Current agent: Agent(name="{self.current_agent.name}", ...)', *run,
            f"- Current turn: {self.current_turn}", f"- Max turns: {self.max_turns}",
            f"- Is complete: {self.is_complete}",
        ]  # fmt: skip

    async def stream_events(self) -> AsyncIterator[StreamEvent]:
        """What happens, as it happens; to each reader from the beginning. Raises what ended the run badly, after the
        events before it. At its end the run rests."""
        read = 0
        while True:
            news = self._news
            while read < len(self._events):
                read += 1
                yield self._events[read - 1]
            if self.is_complete:
                break
            if news is self._news:
                await news.wait()
        if self.run_loop_task is not None and not self.run_loop_task.done():  # what was cancelled ends now
            await asyncio.wait([self.run_loop_task])
        if self.run_loop_exception is not None:
            raise self.run_loop_exception

    def cancel(self, mode: Literal["immediate", "after_turn"] = "immediate") -> None:
        """Cancel what runs now, or let the turn that runs finish: the model's call, its tools, the session. The run
        keeps its place; ``await result.resume()`` goes on with it, or ``result.to_state()``. The stream ends without
        an error; events of a run that is cancelled at once which nobody has read yet are dropped."""
        if mode not in ("immediate", "after_turn"):
            raise ValueError(f"cancel(mode={mode!r}): it is 'immediate' or 'after_turn'")
        run = self._started
        if run is None:
            self._cancelled = True
        elif not self.is_complete:
            self._stopping = run.post("cancel") if mode == "immediate" else run.post("stop", before=[TURN])
        if mode == "immediate" and not self.is_complete:
            self._dropped = self.is_complete = True
            self._events.clear()
            self._wake()


class _Unspent:
    """What a run that hasn't begun has used."""

    usage: ClassVar[dict[str, Any]] = {}
    journal: ClassVar[Sequence[Fact]] = ()
    spent = None

    def note_usage(self, counts: dict[str, Any]) -> bool:
        return False


def _counted(of: RunResultBase | RunErrorDetails) -> list[str]:
    """Lines that say how much a run brought."""
    return [
        f"- {len(of.new_items)} new item(s)", f"- {len(of.raw_responses)} raw response(s)",
        f"- {len(of.input_guardrail_results)} input guardrail result(s)",
        f"- {len(of.output_guardrail_results)} output guardrail result(s)",
    ]  # fmt: skip


def _told_output(output: Any) -> str:
    """An output as text, indented; what could move a terminal's cursor is escaped."""
    text = output.model_dump_json(indent=2) if isinstance(output, BaseModel) else str(output)
    shown = "".join(one if one in "\n\t" or unicodedata.category(one) != "Cc" else f"\\x{ord(one):02x}" for one in text)
    return f"- Final output ({type(output).__name__}):\n" + indent(shown, "    ")


def _max_turns(run: Run, limits: dict[str, Any] | None) -> int | None:
    most: int | None = {**run._live.snapshot.limits, **(limits or {})}.get("max_turns")
    return most


_OUTCOMES = (ToolCallOutputItem, HandoffOutputItem, MCPApprovalResponseItem)


def _is_call(item: RunItem, call_id: str) -> bool:
    """Whether an item is the call of this id that was asked about."""
    if isinstance(item, MCPApprovalRequestItem):
        return item.item.get("id") == call_id
    return isinstance(item, ToolCallItem) and item.call_id == call_id


def brought(
    state: AgentState, facts: Sequence[Fact], crew: Crew, options: Options, so_far: Meanwhile = NOTHING
) -> list[RunItem]:
    """What a run brought, calls that were asked about among it; what ``prepare`` makes of the input isn't."""
    mine = [fact for fact in facts if fact.node != "prepare"]
    items = run_items(state, mine, crew.agents, crew.first, options, facts, so_far)
    asked = [fact for fact in facts if isinstance(fact, Request) and fact.kind == APPROVAL]
    for request in asked:
        data: Any = request.data
        called = [i for i, one in enumerate(items) if _is_call(one, data["call_id"])]
        if called:
            call, at = items[called[-1]], called[-1] + 1
            while at < len(items) and not isinstance(items[at], _OUTCOMES):
                at += 1  # behind what came with the call, before what came of it
            item = ToolApprovalItem.of(call.agent, call.item, request=None)
            item._hider = call._hider
            items.insert(at, item)
    return items


class _Shown:
    """How functions inside of a run are shown what it brought: as run items, without those that wait. ``reply``: one
    that the facts don't tell of yet."""

    def items(
        self, state: AgentState, facts: Sequence[Fact], agents: dict[str, Any], first: str, options: Options,
        reply: ModelResponse | None = None,
    ) -> list[Any]:  # fmt: skip
        mine = [fact for fact in facts if fact.node != "prepare"]
        made: list[Any] = run_items(state, mine, agents, first, options, facts)
        if reply is not None:
            made += reply_items(reply, agents, state.agent or first, options, facts)
        return made

    def responses(self, state: AgentState, facts: Sequence[Fact]) -> list[ModelResponse]:
        return responses(state, facts)

    def handed_off(self, outputs: Sequence[Item], source: Any, target: Any) -> list[Any]:
        first = HandoffOutputItem.of(source, outputs[0], source_agent=source, target_agent=target)
        return [first, *(ToolCallOutputItem.of(source, one, output=one["output"]) for one in outputs[1:])]

    def given(self, agent: Any, tool: Any, output: Item, value: Any, custom: Any) -> Any:
        return ToolCallOutputItem.of(agent, output, output=value, tool_origin=describe(tool).origin, custom_data=custom)


SHOWN = _Shown()
