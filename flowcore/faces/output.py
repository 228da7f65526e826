"""``RunOutput`` and the events of ``Agent.run``: the run's journal in the words that people know from Agno."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

from flowcore.agents.agent import AgentSpec
from flowcore.agents.context import APPROVAL
from flowcore.agents.options import Options
from flowcore.engine.events import Emitted, Event
from flowcore.engine.run import Run
from flowcore.errors import FlowcoreError
from flowcore.faces.items import ToolCallItem, ToolCallOutputItem
from flowcore.faces.results import RunResult
from flowcore.faces.stream import (
    ModelRetryStreamEvent,
    RawResponsesStreamEvent,
    RunItemStreamEvent,
    StreamEvent,
    Translator,
)
from flowcore.models.base import Item
from flowcore.stores.base import OpenRequest


class RunStatus(StrEnum):
    """How a run stands."""

    pending = "PENDING"
    running = "RUNNING"
    completed = "COMPLETED"
    paused = "PAUSED"
    cancelled = "CANCELLED"
    error = "ERROR"


class RunEvent(StrEnum):
    """The kinds of events."""

    run_started = "RunStarted"
    run_content = "RunContent"
    run_completed = "RunCompleted"
    run_error = "RunError"
    run_cancelled = "RunCancelled"
    run_paused = "RunPaused"
    run_retry = "RunRetry"
    tool_call_started = "ToolCallStarted"
    tool_call_completed = "ToolCallCompleted"


@dataclass(slots=True)
class RunMetrics:
    """What a run used: tokens, requests, seconds at work (nobody's days are in it) and, streamed, to the first piece of
    the answer; what it cost, where the provider tells or litellm knows."""

    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    requests: int = 0
    duration: float | None = None
    time_to_first_token: float | None = None
    cost: float | None = None


@dataclass(slots=True)
class ToolExecution:
    """A tool's call: its arguments by name, ``result`` as the model was told."""

    tool_call_id: str | None
    tool_name: str | None
    tool_args: Any
    result: Any = None
    requires_confirmation: bool = False
    confirmed: bool | None = None


@dataclass(slots=True)
class RunOutput:
    """What a run gave. ``content``: the output, of the output type if there is one; the error's text after an
    ``error``."""

    run_id: str
    agent_id: str | None
    agent_name: str
    session_id: str | None
    user_id: str | None
    input: Any
    content: Any
    content_type: str
    messages: list[Item]
    metrics: RunMetrics
    tools: list[ToolExecution]
    status: RunStatus
    model: str | None
    metadata: dict[str, Any] | None
    created_at: int
    requirements: list[OpenRequest]
    error: Exception | None = field(repr=False)
    run: Run = field(repr=False)

    @property
    def is_paused(self) -> bool:
        """Whether the run waits for a decision."""
        return self.status is RunStatus.paused

    def get_content_as_string(self) -> str:
        """The content as text."""
        return self.content if isinstance(self.content, str) else str(self.content)


@dataclass(slots=True)
class BaseRunOutputEvent:
    """What all events tell."""

    run_id: str
    agent_id: str | None
    agent_name: str
    session_id: str | None
    event: str = ""


@dataclass(slots=True)
class RunStartedEvent(BaseRunOutputEvent):
    """The run was admitted."""

    model: str | None = None


@dataclass(slots=True)
class RunContentEvent(BaseRunOutputEvent):
    """A piece of the answer."""

    content: Any = None
    content_type: str = "str"


@dataclass(slots=True)
class RunCompletedEvent(BaseRunOutputEvent):
    """The run has its output."""

    content: Any = None
    content_type: str = "str"
    metrics: RunMetrics | None = None


@dataclass(slots=True)
class RunErrorEvent(BaseRunOutputEvent):
    """The run failed; it keeps its place."""

    content: str = ""
    error_type: str = ""


@dataclass(slots=True)
class RunCancelledEvent(BaseRunOutputEvent):
    """The run was cancelled; it keeps its place."""

    reason: str = ""


@dataclass(slots=True)
class RunPausedEvent(BaseRunOutputEvent):
    """The run waits for a decision."""

    tools: list[ToolExecution] = field(default_factory=list)
    requirements: list[OpenRequest] = field(default_factory=list)


@dataclass(slots=True)
class RunRetryEvent(BaseRunOutputEvent):
    """A model call failed midway and is made again: the content since the last tool's result is void."""

    content: str = ""
    attempt: int = 1


@dataclass(slots=True)
class ToolCallStartedEvent(BaseRunOutputEvent):
    """The model asked for a tool."""

    tool: ToolExecution | None = None


@dataclass(slots=True)
class ToolCallCompletedEvent(BaseRunOutputEvent):
    """A tool gave its result."""

    tool: ToolExecution | None = None
    content: Any = None


RunOutputEvent: TypeAlias = (
    RunStartedEvent
    | RunContentEvent
    | RunCompletedEvent
    | RunErrorEvent
    | RunCancelledEvent
    | RunPausedEvent
    | RunRetryEvent
    | ToolCallStartedEvent
    | ToolCallCompletedEvent
)

_Base: TypeAlias = tuple[str, str | None, str, str | None]
"""What all events begin with."""

_STATUS = {
    "running": RunStatus.running,
    "waiting": RunStatus.paused,
    "stopped": RunStatus.paused,
    "failed": RunStatus.error,
    "cancelled": RunStatus.cancelled,
    "done": RunStatus.completed,
}


async def output_of(
    run: Run, agent: AgentSpec[Any], input: Any, options: Options, raise_on_error: bool, first: float | None = None
) -> RunOutput:
    """A run's output as of now. A tripped guardrail is an error too. Raises what ended the run only if
    ``raise_on_error``. ``first``: when the first piece of the answer came."""
    result = RunResult(run, input, options, None)
    error: Exception | None = None
    content: Any = None
    try:
        await result._settle()
        content = result.final_output
    except Exception as raised:
        if raise_on_error:
            raise
        error = raised
        content = raised.message if isinstance(raised, FlowcoreError) else str(raised)
    status = _STATUS[run.standing]
    if error is not None and status is not RunStatus.cancelled:
        status = RunStatus.error
    usage = run.usage
    facts = run.facts
    meta = run.meta
    return RunOutput(
        run_id=run.id,
        agent_id=agent.id or agent.name,
        agent_name=agent.name,
        session_id=meta.get("session"),
        user_id=meta.get("user"),
        input=input,
        content=content,
        content_type=type(content).__name__,
        messages=result.to_input_list(),
        metrics=RunMetrics(
            int(usage.get("input_tokens", 0)),
            int(usage.get("output_tokens", 0)),
            int(usage.get("total_tokens", 0)),
            int(usage.get("requests", 0)),
            _at_work(run),
            None if first is None else first - facts[0].started,
            usage.get("cost"),
        ),
        tools=_tools(result),
        status=status,
        model=_model_of(agent),
        metadata=meta.get("metadata"),
        created_at=int(facts[0].at),
        requirements=list(result._requests),
        error=error,
        run=run,
    )


def _at_work(run: Run) -> float:
    """Seconds from a run's start to its last fact, without those in which it rested: nobody's days are among them."""
    s = run._live.snapshot
    return max(0.0, (s.at if s.idle_since is None else s.idle_since) - s.created - s.idle)


def _model_of(agent: AgentSpec[Any]) -> str | None:
    """The name of an agent's model, where it has one."""
    name = agent.model if isinstance(agent.model, str) else getattr(agent.model, "model", None)
    return name if isinstance(name, str) else None


def _tools(result: RunResult) -> list[ToolExecution]:
    found: dict[str | None, ToolExecution] = {}
    for item in result.new_items:
        if isinstance(item, ToolCallItem):
            found[item.call_id] = _execution(item.item)
        elif isinstance(item, ToolCallOutputItem) and item.call_id in found:
            found[item.call_id].result = item.item["output"]
    for request in result._requests:
        if request.kind == APPROVAL and request.data["call_id"] in found:
            found[request.data["call_id"]].requires_confirmation = True
    return list(found.values())


def _execution(item: Item) -> ToolExecution:
    arguments = item.get("arguments")
    try:
        arguments = json.loads(arguments or "{}")
    except (TypeError, ValueError):
        pass  # the model wrote no JSON: shown as it wrote it
    return ToolExecution(item.get("call_id"), item.get("name"), arguments)


async def events_of_run(
    run: Run, agent: AgentSpec[Any], input: Any, options: Options, everything: bool, raise_on_error: bool
) -> AsyncIterator[RunOutputEvent]:
    """A run's events. Without ``everything`` only content and how it ended badly or waits, and its tools."""
    base = (run.id, agent.id or agent.name, agent.name, run.meta.get("session"))
    if everything:
        yield RunStartedEvent(*base, RunEvent.run_started, _model_of(agent))
    translator = Translator(run, options)
    calls: dict[Any, ToolExecution] = {}
    first = _FirstText(run)
    run._tree.listen(first)
    try:
        async for event in run:
            for one in translator.events_of(event):
                shaped = _shaped(one, base, calls)
                if shaped is not None:
                    yield shaped
    finally:
        run._tree.leave(first)
    output = await output_of(run, agent, input, options, raise_on_error, first.at)
    if output.status is RunStatus.error:
        kind = getattr(output.error, "kind", "") or type(output.error).__name__  # RunFailed tells of another one
        yield RunErrorEvent(*base, RunEvent.run_error, str(output.content), kind)
    elif output.status is RunStatus.cancelled:
        yield RunCancelledEvent(*base, RunEvent.run_cancelled, str(output.content))
    elif output.status is RunStatus.paused:
        yield RunPausedEvent(*base, RunEvent.run_paused, output.tools, output.requirements)
    elif everything:
        yield RunCompletedEvent(*base, RunEvent.run_completed, output.content, output.content_type, output.metrics)


def _shaped(one: StreamEvent, base: _Base, calls: dict[Any, ToolExecution]) -> RunOutputEvent | None:
    """A stream event in the words of ``Agent.run``; None for one that it doesn't tell."""
    if isinstance(one, RawResponsesStreamEvent):
        text = _delta(one.raw)
        return RunContentEvent(*base, RunEvent.run_content, text) if text else None
    if isinstance(one, ModelRetryStreamEvent):
        return RunRetryEvent(*base, RunEvent.run_retry, str(one.error.get("message", "")), one.attempt)
    if not isinstance(one, RunItemStreamEvent):
        return None
    item = one.item.item
    if one.name == "tool_called":
        tool = calls[item.get("call_id")] = _execution(item)
        return ToolCallStartedEvent(*base, RunEvent.tool_call_started, tool)
    if one.name == "tool_output" and item["call_id"] in calls:
        tool = calls[item["call_id"]]
        tool.result = item["output"]
        return ToolCallCompletedEvent(*base, RunEvent.tool_call_completed, tool, tool.result)
    return None


class _FirstText:
    """When the first piece of a run's text came, whenever it's read."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.at: float | None = None

    def __call__(self, event: Event) -> None:
        if self.at is None and isinstance(event, Emitted) and event.run == self.run.id and _delta(event.data):
            self.at = self.run._tree.clock.time()


def _delta(data: Any) -> str | None:
    kind = data.get("type") if isinstance(data, dict) else getattr(data, "type", None)
    if kind != "response.output_text.delta":
        return None
    delta = data["delta"] if isinstance(data, dict) else data.delta
    return delta if isinstance(delta, str) else None
