"""Run items: what happened in an agent's run, as objects. Made from the journal when they're asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from flowcore.agents.agent import AgentSpec as Agent
from flowcore.agents.items import input_items, refusal_of, text_of
from flowcore.agents.loop.state import AgentState
from flowcore.agents.options import Options
from flowcore.machine.facts import Fact, Transition
from flowcore.models.base import Item, ModelResponse
from flowcore.models.openai_types import typed_items
from flowcore.models.usage import Usage


@dataclass(eq=False)
class RunItem:
    """One item. ``agent``: whose it is. ``to_input_item()``: its dict in wire form.

    ``raw_item``: the very object that the model's client made in this process, else one of the openai package's made
    from the dict;
    a type that it doesn't know stays a dict.
    """

    agent: Agent[Any] = field(repr=False)
    item: Item
    raw: Any = field(default=None, repr=False)
    type = "item"

    @property
    def raw_item(self) -> Any:
        if self.raw is None:
            self.raw = typed_items([self.item])[0]
        return self.raw

    def to_input_item(self) -> Item:
        """The item as input for a next call."""
        return self.item


class MessageOutputItem(RunItem):
    """A message of the model."""

    type = "message_output_item"


class ReasoningItem(RunItem):
    """What the model let see of its reasoning."""

    type = "reasoning_item"


class InputItem(RunItem):
    """Input that joined the run after its start."""

    type = "input_item"

    @property
    def raw_item(self) -> Any:
        return self.item


class UnknownItem(RunItem):
    """An item of a type that flowcore has no class for; kept as it came."""

    type = "unknown_item"


class ToolCallItem(RunItem):
    """A tool's call."""

    type = "tool_call_item"

    @property
    def tool_name(self) -> str | None:
        return self.item.get("name")

    @property
    def call_id(self) -> str | None:
        return self.item.get("call_id")


class HandoffCallItem(ToolCallItem):
    """A handoff, asked for."""

    type = "handoff_call_item"


@dataclass(eq=False)
class ToolCallOutputItem(RunItem):
    """What a tool gave. ``output``: the Python value in the process that ran the tool, else what the model was told."""

    output: Any = None
    type = "tool_call_output_item"

    @property
    def raw_item(self) -> Any:
        return self.item

    @property
    def call_id(self) -> str | None:
        return self.item.get("call_id")


@dataclass(eq=False)
class HandoffOutputItem(RunItem):
    """A handoff, done."""

    source_agent: Any = field(default=None, repr=False)
    target_agent: Any = field(default=None, repr=False)
    type = "handoff_output_item"

    @property
    def raw_item(self) -> Any:
        return self.item


@dataclass(eq=False)
class ToolApprovalItem(RunItem):
    """A call that waits for a person. ``request``: what to answer; ``result.run.answer(item.call_id, True)`` approves
    it."""

    request: Any = None
    type = "tool_approval_item"

    @property
    def name(self) -> str:
        return str(self.item["name"])

    tool_name = name
    qualified_name = name

    @property
    def arguments(self) -> str:
        return str(self.item.get("arguments") or "")

    @property
    def call_id(self) -> str:
        return str(self.item["call_id"])

    @property
    def raw_item(self) -> Any:
        return self.item


class ItemHelpers:
    """Reading items."""

    @staticmethod
    def text_message_output(item: RunItem) -> str:
        """A message's text."""
        return text_of(item.item)

    @staticmethod
    def text_message_outputs(items: Sequence[RunItem]) -> str:
        """The text of all messages, joined."""
        return "".join(text_of(one.item) for one in items if isinstance(one, MessageOutputItem))

    @staticmethod
    def extract_last_content(message: Any) -> str:
        """The text, or the refusal, of a message."""
        item = _as_dict(message)
        return text_of(item) or refusal_of(item) or ""

    @staticmethod
    def extract_last_text(message: Any) -> str | None:
        """The text of a message, None if it has none."""
        return text_of(_as_dict(message)) or None

    @staticmethod
    def input_to_new_input_list(input: Any) -> list[Item]:
        """An input as items."""
        return input_items(input)


def _as_dict(message: Any) -> Item:
    return message if isinstance(message, dict) else dict(message.to_dict())


class Reader:
    """Reads an agent's journal item by item: whose each is, and which class. Facts are taken in order, each once."""

    def __init__(self, agents: dict[str, Agent[Any]], first: str, options: Options) -> None:
        self.agents = agents
        self.agent = agents[first]
        self.options = options

    def items_of(self, fact: Transition, new: Sequence[Item]) -> list[RunItem]:
        """The items that a transition brought."""
        made = [self._item(fact, item, position) for position, item in enumerate(new)]
        target = fact.update.get("agent")
        if fact.node == "handoff" and target is not None:
            self.agent = self.agents[target]
        return made

    def _item(self, fact: Transition, item: Item, position: int) -> RunItem:
        agent = self.agent
        kind = item.get("type", "message")
        if kind == "function_call_output":
            call_id = item["call_id"]
            if position == 0 and fact.node == "handoff":  # the others are told that they're ignored
                target = self.agents.get(str(fact.update.get("agent")))
                return HandoffOutputItem(agent, item, source_agent=agent, target_agent=target)
            return ToolCallOutputItem(
                agent, item, output=self.options.values.get((fact.visit, call_id), item["output"])
            )
        if kind == "message" and item.get("role") == "user":
            return InputItem(agent, item)
        cls: type[RunItem] = _CLASSES.get(kind, UnknownItem)
        if kind == "function_call" and any(one.tool_name == item["name"] for one in agent.resolved_handoffs):
            cls = HandoffCallItem
        return cls(agent, item, self.options.raw.get((fact.visit, position)))


_CLASSES: dict[str, type[RunItem]] = {
    "message": MessageOutputItem,
    "reasoning": ReasoningItem,
    "function_call": ToolCallItem,
    "custom_tool_call": ToolCallItem,
    "web_search_call": ToolCallItem,
    "file_search_call": ToolCallItem,
    "computer_call": ToolCallItem,
    "code_interpreter_call": ToolCallItem,
    "image_generation_call": ToolCallItem,
    "mcp_call": ToolCallItem,
    "local_shell_call": ToolCallItem,
}


def items_by_fact(state: AgentState) -> dict[int, list[Item]]:
    """The state's items by the fact that brought them."""
    found: dict[int, list[Item]] = {}
    keys = state.items.keys()  # type: ignore[attr-defined]
    for key, item in zip(keys, state.items, strict=True):
        found.setdefault(key.seq, []).append(item)
    return found


def run_items(
    state: AgentState, facts: Sequence[Fact], agents: dict[str, Agent[Any]], first: str, options: Options
) -> list[RunItem]:
    """Everything that the run brought, its input left out."""
    reader = Reader(agents, first, options)
    by_fact = items_by_fact(state)
    made: list[RunItem] = []
    for fact in facts:
        if isinstance(fact, Transition):
            made += reader.items_of(fact, by_fact.get(fact.seq, ()))
    return made


def responses(state: AgentState, facts: Sequence[Fact]) -> list[ModelResponse]:
    """The model's replies, in order."""
    by_fact = items_by_fact(state)
    spent: dict[int, dict[str, Any]] = {}
    found: list[ModelResponse] = []
    for fact in facts:
        if getattr(fact, "node", None) != "call_model":
            continue
        if not isinstance(fact, Transition):
            usage = getattr(fact, "usage", None)
            if usage:
                spent[fact.visit] = usage
        elif fact.seq in by_fact and fact.on not in ("tripped", "limit", "over_budget"):
            output = [item for item in by_fact[fact.seq] if item.get("role") != "user"]
            usage = fact.usage or spent.get(fact.visit) or {}
            found.append(ModelResponse(output, Usage.from_counts(usage), fact.update.get("response_id")))
    return found
