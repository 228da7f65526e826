"""What a run of an agent gives: ``RunResult`` and ``RunResultStreaming``, views on the machine's run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from flowcore.agents.agent import AgentSpec as Agent
from flowcore.agents.as_tool import AgentTool
from flowcore.agents.context import RunContextWrapper
from flowcore.agents.guardrails import GuardrailFunctionOutput, InputGuardrailResult, OutputGuardrailResult
from flowcore.agents.loop.run_tools import APPROVAL
from flowcore.agents.loop.state import AgentState, Crew, typed_output
from flowcore.agents.options import Options
from flowcore.engine.run import Run
from flowcore.errors import (
    AgentsException,
    InputGuardrailTripwireTriggered,
    OutputGuardrailTripwireTriggered,
    RunCancelled,
    RunFailed,
    UserError,
)
from flowcore.faces.items import RunItem, ToolApprovalItem, responses, run_items
from flowcore.faces.stream import AgentUpdatedStreamEvent, StreamEvent, Translator
from flowcore.graph.values import copy_json
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

    ``result`` is the run's: ``await error.run_data.result.resume(limits={"max_turns": 20})`` goes on with it.
    """

    input: Any
    new_items: list[RunItem]
    raw_responses: list[ModelResponse]
    last_agent: Agent[Any]
    context_wrapper: RunContextWrapper[Any]
    input_guardrail_results: list[InputGuardrailResult]
    output_guardrail_results: list[OutputGuardrailResult]
    result: RunResultBase = field(repr=False)

    def __str__(self) -> str:
        agent = self.last_agent.name
        return f"{len(self.new_items)} new items, {len(self.raw_responses)} model responses, agent '{agent}'"


class RunResultBase:
    """What both results share. Everything is read from the run's journal when it's asked for."""

    def __init__(self, input: Any, options: Options, max_turns: int | None) -> None:
        self.input = input
        self.max_turns = max_turns
        self._options = options
        self._requests: list[OpenRequest] = []

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

    @property
    def new_items(self) -> list[RunItem]:
        """What the run brought: messages, calls, outputs, handoffs, in order."""
        run = self.run
        items = run_items(self._state, run.facts, self._crew.agents, self._crew.first, self._options)
        return [*items, *self.interruptions]

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
        return self._options.wrapper(self.run)

    @property
    def interruptions(self) -> list[ToolApprovalItem]:
        """The calls that wait for a person, those of nested agents among them."""
        found = []
        for request in self._requests if self.run.standing == "waiting" else ():
            if request.kind == APPROVAL:
                item = {"type": "function_call", "name": request.data["tool"], "call_id": request.data["call_id"],
                        "arguments": request.data["arguments"]}  # fmt: skip
                agent = _agent_called(request.data["agent"], self._crew.agents) or self.last_agent
                found.append(ToolApprovalItem(agent, item, request=request))
        return found

    @property
    def input_guardrail_results(self) -> list[InputGuardrailResult]:
        """What the input guardrails found."""
        return [
            one for one in _verdicts(self._state, self._crew, self._options) if isinstance(one, InputGuardrailResult)
        ]

    @property
    def output_guardrail_results(self) -> list[OutputGuardrailResult]:
        """What the output guardrails found."""
        return [
            one for one in _verdicts(self._state, self._crew, self._options) if isinstance(one, OutputGuardrailResult)
        ]

    def to_input_list(self) -> list[Item]:
        """The input and what the run brought, as input for a next run. Copies: change them as you like."""
        return [copy_json(item) for item in self._state.items]

    def _details(self) -> RunErrorDetails:
        return RunErrorDetails(
            self.input, self.new_items, self.raw_responses, self.last_agent, self.context_wrapper,
            self.input_guardrail_results, self.output_guardrail_results, self,
        )  # fmt: skip

    def _raise(self) -> None:
        """Raise what ended the run, if it ended badly."""
        run = self.run
        error: BaseException | None = None
        if run.standing == "done":
            error = _trip(self._state, self._crew, self._options)
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
        if isinstance(error, AgentsException):
            error.run_data = self._details()
        raise error

    def __str__(self) -> str:
        return (
            f"{type(self).__name__}:\n- Last agent: Agent(name={self.last_agent.name!r})\n"
            f"- Final output: {self.final_output!r}\n"
            f"- {len(self.new_items)} new item(s)\n- {len(self.raw_responses)} raw response(s)\n- Run id: {self.run_id}"
        )


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
        self._requests = await self._run.requests() if self._run.standing == "waiting" else []
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
            self._requests = await run.requests() if run.standing == "waiting" else []
            if run.standing != "cancelled":  # the caller knows
                self._raise()
        except Exception as error:
            self.run_loop_exception = error

    def _hand_out(self, event: StreamEvent) -> None:
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
    def current_agent(self) -> Agent[Any]:
        """The agent whose turn it is."""
        return self._agent if self._started is None else self.last_agent

    @property
    def current_turn(self) -> int:
        """How many turns began."""
        return 0 if self._started is None else self._started._live.snapshot.turns(nodes=self._started._live.nodes)

    @property
    def final_output(self) -> Any:
        return None if self._started is None else super().final_output

    async def stream_events(self) -> AsyncIterator[StreamEvent]:
        """What happens, as it happens; to each reader from the beginning. Raises what ended the run badly, after the
        events before it."""
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
        if self.run_loop_exception is not None:
            raise self.run_loop_exception

    def cancel(self, mode: Literal["immediate", "after_turn"] = "immediate") -> None:
        """Cancel what runs now, or let the turn that runs finish: the model's call, its tools, the session. The run
        keeps its place; ``await result.resume()`` goes on with it. The stream ends without an error."""
        if mode not in ("immediate", "after_turn"):
            raise ValueError(f"cancel(mode={mode!r}): it is 'immediate' or 'after_turn'")
        run = self._started
        if run is None:
            self._cancelled = True
        elif not self.is_complete:
            self._stopping = asyncio.ensure_future(run.cancel() if mode == "immediate" else run.stop(before=[TURN]))


def _max_turns(run: Run, limits: dict[str, Any] | None) -> int | None:
    most: int | None = {**run._live.snapshot.limits, **(limits or {})}.get("max_turns")
    return most


def _agent_called(name: str, agents: Mapping[str, Agent[Any]]) -> Agent[Any] | None:
    """The agent of this name among some agents and those that they have as tools, however deep."""
    seen: set[int] = set()
    level = list(agents.values())
    while level:
        below: list[Agent[Any]] = []
        for agent in level:
            if agent.name == name:
                return agent
            seen.add(id(agent))
            below += [tool.agent for tool in agent.tools if isinstance(tool, AgentTool)]
            below += [one.agent for one in agent.resolved_handoffs if one.agent is not None]
        level = [agent for agent in below if id(agent) not in seen]
    return None


def _verdicts(state: AgentState, crew: Crew, options: Options) -> list[Any]:
    """Guardrail results: those of this process as they were, others rebuilt from the journal."""
    here = list(options.results)
    return [_result(verdict, crew, options, here) for verdict in state.verdicts]


def _result(verdict: dict[str, Any], crew: Crew, options: Options, here: list[Any]) -> Any:
    name, kind = verdict["guardrail"], verdict["kind"]
    for result in here:
        is_input = isinstance(result, InputGuardrailResult)
        if result.guardrail.get_name() == name and is_input == (kind == "input"):
            here.remove(result)
            return result
    agent = crew.agents.get(verdict["agent"])
    config = options.config
    own = [] if agent is None else agent.input_guardrails if kind == "input" else agent.output_guardrails
    more = config.input_guardrails if kind == "input" else config.output_guardrails
    guardrail = next((one for one in [*own, *(more or ())] if one.get_name() == name), None)
    output = GuardrailFunctionOutput(verdict["info"], verdict["tripped"])
    if kind == "input":
        return InputGuardrailResult(guardrail, output)
    return OutputGuardrailResult(guardrail, None, agent, output)


def _trip(state: AgentState, crew: Crew, options: Options) -> AgentsException | None:
    verdict = state.tripped
    if verdict is None:
        return None
    here = [one for one in options.results if one.output.tripwire_triggered]
    result = _result(verdict, crew, options, here)
    cls = InputGuardrailTripwireTriggered if verdict["kind"] == "input" else OutputGuardrailTripwireTriggered
    return cls(result)
