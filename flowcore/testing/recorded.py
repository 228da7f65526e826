"""What stands in for the world in a re-execution: a model, tools, handoffs and a session that answer from the record.

Each finds the step that is being walked by the task that asks (``ENTRY``).
"""

from __future__ import annotations

import asyncio
import builtins
import copy
import dataclasses
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

import flowcore.errors as errors
from flowcore.agents.agent import AgentSpec
from flowcore.agents.as_tool import AgentTool
from flowcore.agents.handoffs import Handoff
from flowcore.agents.loop.state import Crew
from flowcore.agents.tools import FunctionTool
from flowcore.engine.context import Context
from flowcore.graph.graph import Graph
from flowcore.graph.values import copy_json
from flowcore.models.base import Model, ModelResponse
from flowcore.models.usage import Usage
from flowcore.stores.base import SessionItem
from flowcore.testing.recording import RecordedStep, Recording

TURNS = 50
"""Turns of the event loop that a body gets to end without an effect that isn't recorded: who cancelled it then
cancels it now."""


class Unrecorded(BaseException):
    """A body asked for something that the record doesn't have. Not an ``Exception``: no node's ``except`` takes it."""


class Entry:
    """One entry of a body in a re-execution: what of the record it may ask for."""

    def __init__(self, record: Recording, step: RecordedStep, ctx: Context) -> None:
        self.record = record
        self.step = step
        self.ctx = ctx

    async def missing(self, what: str) -> BaseException:
        """What to raise for something that isn't recorded: the error that the step ended with, else Unrecorded, once
        the body has had the time to end without it."""
        step = self.step
        if step.error is not None:
            return exception_of(step.error, self.ctx.graph, self.ctx.node, step.retried, self.ctx.run_id)
        for _ in range(TURNS):
            await asyncio.sleep(0)
        ctx = self.ctx
        return Unrecorded(f"node '{ctx.node}', visit {ctx.visit}: {what} isn't recorded, and nothing is done anew")

    async def reply(self) -> ModelResponse:
        """The model's reply in this step."""
        step = self.step
        if step.reply is None:
            raise await self.missing("a model's reply")
        usage = Usage.from_counts(step.usage or {})
        return ModelResponse(copy_json(said_by_model(step.reply)), usage, step.response_id)

    async def output(self, call_id: str, tool: str) -> Any:
        """What the model was told of a tool call."""
        if call_id not in self.step.outputs:
            raise await self.missing(f"the output of tool '{tool}' (call '{call_id}')")
        return copy_json(self.step.outputs[call_id])

    async def agent(self, tool: str) -> Any:
        """The agent that a handoff gave, as far as the loop asks."""
        if self.step.agent is None:
            raise await self.missing(f"handoff '{tool}'")
        return SimpleNamespace(name=self.step.agent)


def said_by_model(items: list[Any]) -> list[Any]:
    """The items of a reply without what joined the run before it, and what the loop told the model after it."""
    return [item for item in items if item.get("role") != "user"]


ENTRY: ContextVar[Entry] = ContextVar("flowcore_recorded_entry")
"""The entry whose body the current task runs."""


class RecordedModel(Model):
    """A model that says what the record says."""

    reads_only = True

    @property
    def model(self) -> str:
        """The name of the one that said it."""
        return ENTRY.get().step.model or "recorded"

    async def get_response(self, *args: Any, **kwargs: Any) -> ModelResponse:
        return await ENTRY.get().reply()

    async def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        yield await ENTRY.get().reply()


class _RecordedTool(FunctionTool):
    """A tool whose calls are found in the record."""

    async def invoke(self, ctx: Any, arguments: str, **more: Any) -> Any:
        return await ENTRY.get().output(ctx.tool_call_id, self.name)

    def wire_output(self, value: Any) -> Any:
        return value


class RecordedSession:
    """A run's session as it was when the run began; all else of the store is out of reach."""

    def __init__(self, record: Recording) -> None:
        self._record = record

    async def session_items(
        self, session: str, *, upto: int | None = None, limit: int | None = None
    ) -> list[SessionItem]:
        """The session's items until then; with ``limit=1`` only the position of the last."""
        record = self._record
        if limit is not None:
            last = record.session_upto
            return [SessionItem(last, record.history[-1] if record.history else None)] if last else []
        return [SessionItem(position, copy_json(item)) for position, item in enumerate(record.history)]

    def __getattr__(self, name: str) -> Any:
        raise Unrecorded(f"ctx.store.{name} isn't recorded, and nothing is done anew")


def recorded_crew(crew: Crew) -> Crew:
    """The agents of a graph with models, tools and handoffs that answer from the record."""
    return Crew(crew.first, {name: _recorded_agent(agent) for name, agent in crew.agents.items()}, crew.shown)


def _recorded_agent(agent: AgentSpec[Any]) -> AgentSpec[Any]:
    return agent.clone(
        model=RecordedModel(),
        instructions=None if callable(agent.instructions) else agent.instructions,  # it may ask the world
        tools=[_recorded_tool(tool) for tool in agent.tools],
        handoffs=[_recorded_handoff(one) for one in agent.resolved_handoffs],
    )


def _recorded_tool(tool: Any) -> Any:
    if not isinstance(tool, FunctionTool) or isinstance(tool, AgentTool):
        return tool  # an agent's run is a child, with a record of its own
    cls = _RecordedTool if type(tool) is FunctionTool else type("RecordedTool", (_RecordedTool, type(tool)), {})
    recorded = copy.copy(tool)
    recorded.__class__ = cls
    return recorded


def _recorded_handoff(one: Handoff) -> Handoff:
    async def give(context: Any, arguments: str) -> Any:
        return await ENTRY.get().agent(one.tool_name)

    return dataclasses.replace(one, on_invoke_handoff=give)


# --- recorded errors --------------------------------------------------------------------------------------------------


def exception_of(record: dict[str, Any], graph: Graph, node: str, retried: bool, run_id: str) -> Exception:
    """An exception that policies and edges take for the recorded one. Its class is looked for by name among the
    node's declared ones, flowcore's, Python's, and those that are loaded; nothing is imported."""
    kind, message = record["kind"], record["message"]
    base = next((cls for cls in _classes(graph, node) if cls.__name__ == kind), Exception)
    twin = _twin(base, kind)
    made = twin.__new__(twin)
    made.args = (message,)
    more = {"message": message, "status_code": record.get("status_code"), "retryable": retried, "run_id": run_id}
    for name, value in more.items():
        setattr(made, name, value)
    return made


def _twin(base: type[BaseException], kind: str) -> type[Exception]:
    """A subclass that needs none of its base's arguments and tells the recorded message."""
    return type(kind, (base,), {"__init__": lambda self, *args: None, "__str__": lambda self: self.args[0]})


def _classes(graph: Graph, node: str) -> Iterator[type[Exception]]:
    declared = [edge.error for edge in graph.out.get(node, {}).values() if edge.error is not None]
    places = [*declared, *vars(errors).values(), *vars(builtins).values(), *_below(Exception)]
    return (one for one in places if isinstance(one, type) and issubclass(one, Exception))


def _below(cls: type[Exception]) -> Iterator[type[Exception]]:
    for one in cls.__subclasses__():
        yield one
        yield from _below(one)
