"""What a run of an agent gives: ``RunResult`` and ``RunResultStreaming``, views on the machine's run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from flowcore.agents.agent import AgentSpec as Agent
from flowcore.agents.context import RunContextWrapper
from flowcore.agents.guardrails import GuardrailFunctionOutput, InputGuardrailResult, OutputGuardrailResult
from flowcore.agents.loop.run_tools import APPROVAL
from flowcore.agents.loop.state import AgentState, Crew, final_output
from flowcore.agents.options import Options
from flowcore.engine.run import Run
from flowcore.errors import (
    AgentsException,
    InputGuardrailTripwireTriggered,
    OutputGuardrailTripwireTriggered,
    RunCancelled,
    RunFailed,
)
from flowcore.faces.items import RunItem, ToolApprovalItem, responses, run_items
from flowcore.faces.stream import StreamEvent
from flowcore.models.base import Item, ModelResponse
from flowcore.models.usage import Usage
from flowcore.stores.base import OpenRequest

if TYPE_CHECKING:
    import networkx

T = TypeVar("T")


@dataclass(eq=False)
class RunErrorDetails:
    """What a run had done when an exception ended it."""

    input: Any
    new_items: list[RunItem]
    raw_responses: list[ModelResponse]
    last_agent: Agent[Any]
    context_wrapper: RunContextWrapper[Any]
    input_guardrail_results: list[InputGuardrailResult]
    output_guardrail_results: list[OutputGuardrailResult]

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
        """The machine's run: its id, facts, state; ``await result.run.answer(...)`` and ``await result.run`` go on
        with it."""
        raise NotImplementedError

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
        state = self._state
        value = final_output(
            {name: getattr(state, name) for name in ("items", "tripped", "final", "output", "reply_at")}
        )
        schema = self.last_agent.output_schema
        if schema.is_plain_text():
            return value
        return schema.validate_json(value) if state.final == "message" else _restored(schema, value)

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

    @cached_property
    def context_wrapper(self) -> RunContextWrapper[Any]:
        """The app's object, and what the run used."""
        return RunContextWrapper(self._options.context, Usage.from_counts(self.run.usage))

    @property
    def interruptions(self) -> list[ToolApprovalItem]:
        """The calls that wait for a person, those of nested agents among them."""
        agents = self._crew.agents
        found = []
        for request in self._requests:
            if request.kind == APPROVAL:
                item = {"type": "function_call", "name": request.data["tool"], "call_id": request.data["call_id"],
                        "arguments": request.data["arguments"]}  # fmt: skip
                agent = agents.get(request.data["agent"], self.last_agent)
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
        """The input and what the run brought, as input for a next run."""
        return list(self._state.items)

    def _details(self) -> RunErrorDetails:
        return RunErrorDetails(
            self.input, self.new_items, self.raw_responses, self.last_agent, self.context_wrapper,
            self.input_guardrail_results, self.output_guardrail_results,
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
    """What ``Runner.run`` gives."""

    def __init__(self, run: Run, input: Any, options: Options, max_turns: int | None) -> None:
        super().__init__(input, options, max_turns)
        self._run = run

    @property
    def run(self) -> Run:
        return self._run

    async def settle(self) -> RunResult:
        """Move the run until it rests; the result. Raises what ended it badly."""
        await self._run.drive()
        self._requests = await self._run.requests() if self._run.standing == "waiting" else []
        self.__dict__.pop("context_wrapper", None)
        self._raise()
        return self


class RunResultStreaming(RunResultBase):
    """What ``Runner.run_streamed`` gives: at once, while the run goes on in a task. ``stream_events()`` hands out
    what happens."""

    def __init__(self, agent: Agent[Any], input: Any, options: Options, max_turns: int | None) -> None:
        super().__init__(input, options, max_turns)
        self.is_complete = False
        self.run_loop_exception: BaseException | None = None
        self.run_loop_task: asyncio.Task[None] | None = None
        self._agent = agent
        self._started: Run | None = None
        self._queue: asyncio.Queue[StreamEvent | None] = asyncio.Queue()

    @property
    def run(self) -> Run:
        if self._started is None:
            raise AgentsException("the run hasn't started yet: consume stream_events() first")
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
        """What happens, as it happens. Raises what ended the run badly, after the events before it."""
        while True:
            event = await self._queue.get()
            if event is None:
                self._queue.put_nowait(None)  # another consumer ends too
                break
            yield event
        if self.run_loop_exception is not None:
            raise self.run_loop_exception

    def cancel(self, mode: Literal["immediate", "after_turn"] = "immediate") -> None:
        """Cancel what runs now, or let the node that runs finish and rest. The run keeps its place and can be
        resumed."""
        if mode not in ("immediate", "after_turn"):
            raise ValueError(f"cancel(mode={mode!r}): it is 'immediate' or 'after_turn'")
        task, run = self.run_loop_task, self._started
        if task is None or task.done() or run is None:
            if task is not None:
                task.cancel()
            return
        self._stopping = asyncio.ensure_future(run.cancel() if mode == "immediate" else run.stop())


def _restored(schema: Any, value: Any) -> Any:
    try:
        return schema.from_jsonable(value)
    except AgentsException:
        return value  # a tool's output that ended the run need not be of the output type


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
