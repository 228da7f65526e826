"""Stream events: what the machine hands on, in the words that people know."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from flowcore.agents.agent import AgentSpec as Agent
from flowcore.agents.items import TResponseStreamEvent
from flowcore.engine.events import Emitted, Event
from flowcore.engine.run import Run
from flowcore.faces.items import (
    HandoffCallItem,
    HandoffOutputItem,
    MCPApprovalRequestItem,
    MCPApprovalResponseItem,
    MCPListToolsItem,
    MessageOutputItem,
    Reader,
    ReasoningItem,
    RunItem,
    ToolCallItem,
    ToolCallOutputItem,
    ToolSearchCallItem,
    ToolSearchOutputItem,
)
from flowcore.faces.meanwhile import meanwhile
from flowcore.graph.node import RETRY
from flowcore.machine.facts import Rested, Transition
from flowcore.models.openai_types import typed_event


class RawResponsesStreamEvent:
    """An event of the model's provider, as it came (``raw``). ``data``: as an object of the openai package, made when
    it's read; a dict of a type that it doesn't know stays one."""

    __slots__ = ("raw",)
    type = "raw_response_event"

    def __init__(self, data: TResponseStreamEvent) -> None:
        self.raw = data

    @property
    def data(self) -> TResponseStreamEvent:
        if isinstance(self.raw, dict):
            self.raw = typed_event(self.raw)
        return self.raw

    def __repr__(self) -> str:
        return f"RawResponsesStreamEvent(data={self.raw!r})"


RunItemStreamEventName: TypeAlias = Literal[
    "message_output_created",
    "handoff_requested",
    "handoff_occured",
    "tool_called",
    "tool_search_called",
    "tool_search_output_created",
    "tool_output",
    "reasoning_item_created",
    "mcp_approval_requested",
    "mcp_approval_response",
    "mcp_list_tools",
]
"""What became of an item. (The spelling of "occured" is what programs compare with.)"""


@dataclass(eq=False)
class RunItemStreamEvent:
    """An item of the run, committed: a model's items when the whole reply is there, then what its calls gave."""

    name: RunItemStreamEventName
    item: RunItem
    type = "run_item_stream_event"


@dataclass(eq=False)
class AgentUpdatedStreamEvent:
    """Another agent's turn begins; the first event tells of the first one."""

    new_agent: Agent[Any]
    type = "agent_updated_stream_event"


@dataclass(eq=False)
class ModelRetryStreamEvent:
    """A model call that had streamed something failed and is made again: the raw events of its ``attempt`` (from 1) are
    void. ``error``: ``{kind, message}``."""

    attempt: int
    error: dict[str, Any]
    type = "model_retry_event"


StreamEvent: TypeAlias = RawResponsesStreamEvent | RunItemStreamEvent | AgentUpdatedStreamEvent | ModelRetryStreamEvent

_NAMES: dict[type[RunItem], RunItemStreamEventName] = {
    HandoffCallItem: "handoff_requested",
    HandoffOutputItem: "handoff_occured",
    MCPApprovalRequestItem: "mcp_approval_requested",
    MCPApprovalResponseItem: "mcp_approval_response",
    MCPListToolsItem: "mcp_list_tools",
    MessageOutputItem: "message_output_created",
    ReasoningItem: "reasoning_item_created",
    ToolCallItem: "tool_called",
    ToolCallOutputItem: "tool_output",
    ToolSearchCallItem: "tool_search_called",
    ToolSearchOutputItem: "tool_search_output_created",
}
"""The event of each class of items; of others there is none."""


class Translator:
    """Machine events of one agent's run into stream events."""

    def __init__(self, run: Run, options: Any) -> None:
        crew = run.definition.bound
        self.run = run
        state = run.state
        self.reader = Reader(crew.agents, crew.current(state).name, options, state.items, run._live.facts)
        self.agent = self.reader.agent
        self._told = meanwhile(run.facts).items
        """Outputs of calls whose turn isn't over that were handed out when the run came to rest."""
        self._said = False
        """Whether the attempt that goes on has emitted anything."""

    def events_of(self, event: Event) -> Iterator[StreamEvent]:
        """What an event of the machine is to a reader; nothing for a child's, or for a fact without items."""
        if event.run != self.run.id:
            return
        if isinstance(event, Emitted):
            data = event.data
            kind = data.get("type") if isinstance(data, dict) else getattr(data, "type", None)
            if isinstance(kind, str):
                self._said = True
                yield RawResponsesStreamEvent(data)
            return
        fact = event.fact
        if isinstance(fact, Transition) and self._said:
            self._said = False
            if fact.on == RETRY:
                yield ModelRetryStreamEvent(fact.attempt, fact.error or {})
        if isinstance(fact, Rested) and fact.standing == "waiting":
            yield from self._rested(fact)
        if not isinstance(fact, Transition) or not ("items" in fact.update or "agent" in fact.update):
            return
        items = new_items(self.run, fact.seq)
        made = self.reader.items_of(fact, items, getattr(self.run.state, "custom", None))
        yield from self._named(made if fact.node != "run_tools" or not self._told else self._untold(made))
        if self.reader.agent is not self.agent or fact.node == "handoff":  # an agent may hand off to itself
            self.agent = self.reader.agent
            yield AgentUpdatedStreamEvent(self.agent)

    def _rested(self, fact: Rested) -> Iterator[StreamEvent]:
        """The outputs of calls that have ended while others of their turn wait."""
        so_far = meanwhile([one for one in self.run.facts if one.seq <= fact.seq])
        if so_far.records:
            yield from self._named(self._untold(self.reader.given_so_far(so_far)))
            self._told = so_far.items

    def _untold(self, made: list[RunItem]) -> list[RunItem]:
        """The items that weren't handed out before."""
        told, self._told = self._told, []
        new = []
        for item in made:
            if item.item in told:
                told.remove(item.item)
            else:
                new.append(item)
        return new

    @staticmethod
    def _named(made: list[RunItem]) -> Iterator[StreamEvent]:
        for item in made:
            name = _NAMES.get(type(item))
            if name is not None:
                yield RunItemStreamEvent(name, item)


def new_items(run: Run, seq: int) -> list[Any]:
    """The items that a fact brought, read from the end: what is new, not what has been."""
    items = run.state.items
    found: list[Any] = []
    for position in range(len(items) - 1, -1, -1):
        key = items.key(position)
        if key.seq < seq:
            break
        if key.seq == seq:
            found.append(items[position])
    found.reverse()
    return found
