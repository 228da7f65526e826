"""Run items: what happened in an agent's run, as objects. Made from the journal when they're asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self
from weakref import ref

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from flowcore.agents.agent import AgentSpec as Agent
from flowcore.agents.items import as_item, function_output, input_form, new_input_list
from flowcore.agents.loop.call_model import MODEL
from flowcore.agents.loop.state import AgentState
from flowcore.agents.options import Options
from flowcore.agents.origins import UNKNOWN, Described, ToolOrigin, described_tools
from flowcore.agents.tools import output_to_wire
from flowcore.errors import AgentsException, UserError
from flowcore.faces.meanwhile import NOTHING, Meanwhile
from flowcore.graph.node import ENGINE_LABELS
from flowcore.graph.values import copy_json, dumps
from flowcore.machine.facts import Effect, Fact, Transition
from flowcore.machine.redact import KEY, Redactor, hide_arguments, redactor_of
from flowcore.models.base import Item, ModelResponse
from flowcore.models.openai_types import typed_items
from flowcore.models.usage import Usage


class Hider:
    """Hides in reprs what is secret in the run that items are of. ``facts``: the run's, a list that may grow."""

    __slots__ = ("_facts", "_redactor", "_seen")

    def __init__(self, facts: Sequence[Fact]) -> None:
        self._facts = facts
        self._redactor: Redactor | None = None
        self._seen = 0

    def __call__(self, item: Item) -> Item | None:
        """The item as it may be shown; None where nothing of the run is secret."""
        if self._seen != len(self._facts):
            self._seen = len(self._facts)
            self._redactor = redactor_of({"": self._facts})
        return None if self._redactor is None else self._redactor.hide(item)


class RunItem:
    """One item. ``agent``: whose it is. ``raw_item``: what the model's client or a tool made. ``to_input_item()``: a
    dict in wire form that a model takes as input again. ``item``: the dict as it came.

    By hand it's made of an agent and a raw item, an object of the openai package or a dict. A run makes it of the dict
    that stands in its journal (``of``); ``raw_item`` is then the very object that the model's client made in this
    process, else one of the openai package's, made of the dict when it's asked for; a type that it doesn't know stays a
    dict. Items are compared by identity. The repr of a run's item hides what is marked secret; that of one made by hand
    doesn't.
    """

    __slots__ = ("__weakref__", "_agent", "_hider", "_item", "_raw")
    type = "item"
    _typed = True
    """Whether a raw item that isn't there yet is one of the openai package."""

    def __init__(self, agent: Agent[Any], raw_item: Any) -> None:
        self._agent: Any = agent
        self._item: Item | None = raw_item if isinstance(raw_item, dict) else None
        self._raw = raw_item
        self._hider: Hider | None = None

    @classmethod
    def of(cls, agent: Agent[Any], item: Item, raw: Any = None, **more: Any) -> Self:
        """The item of a dict in wire form, and of the object ``raw`` that it came from, if that is known."""
        made = cls(agent, item, **more)
        if raw is not None or cls._typed:
            made._raw = raw
        return made

    @property
    def agent(self) -> Agent[Any]:
        """Whose item it is. None when it was released and nobody else holds it."""
        return _held(self._agent)

    @property
    def item(self) -> Item:
        """The item in wire form, as it came."""
        if self._item is None:
            self._item = as_item(self._raw)
        return self._item

    @property
    def raw_item(self) -> Any:
        """The item as the model's client or a tool made it."""
        if self._raw is None:
            self._raw = typed_items([self.item])[0]
        return self._raw

    def to_input_item(self) -> Item:
        """The item as input for a next call: a copy, without what only a provider writes."""
        return input_form(self.item)

    def release_agent(self) -> None:
        """Hold the agent no longer; ``agent`` is there as long as somebody else holds it."""
        self._agent = _released(self._agent)

    def __repr__(self) -> str:
        agent = self.agent
        whose = None if agent is None else agent.name
        shown = self._hidden()
        if shown is None:
            shown = self._item if self._raw is None else self._raw
        return f"{type(self).__name__}(agent={whose!r}, raw_item={shown!r})"

    def _hidden(self) -> Item | None:
        """The item without what is secret in it; None where nothing may be."""
        return None if self._hider is None else self._hider(self.item)


def _held(agent: Any) -> Agent[Any]:
    held: Any = agent() if isinstance(agent, ref) else agent
    return held  # type: ignore[no-any-return]


def _released(agent: Any) -> Any:
    return agent if agent is None or isinstance(agent, ref) else ref(agent)


def _call_id(item: Item) -> str | None:
    """What names a call; calls that a provider makes have only an id."""
    return item.get("call_id") or item.get("id")


class MessageOutputItem(RunItem):
    """A message of the model."""

    __slots__ = ()
    type = "message_output_item"


class ReasoningItem(RunItem):
    """What the model let see of its reasoning."""

    __slots__ = ()
    type = "reasoning_item"


class CompactionItem(RunItem):
    """A conversation that the provider made short."""

    __slots__ = ()
    type = "compaction_item"


class ToolSearchCallItem(RunItem):
    """A search for tools that the model may load."""

    __slots__ = ()
    type = "tool_search_call_item"


class ToolSearchOutputItem(RunItem):
    """The tools that a search found."""

    __slots__ = ()
    type = "tool_search_output_item"


class MCPListToolsItem(RunItem):
    """The tools of an MCP server that the provider talks to."""

    __slots__ = ()
    type = "mcp_list_tools_item"


class MCPApprovalRequestItem(RunItem):
    """The provider asks whether an MCP tool may be called."""

    __slots__ = ()
    type = "mcp_approval_request_item"


class MCPApprovalResponseItem(RunItem):
    """What the provider was told of an MCP tool's call."""

    __slots__ = ()
    type = "mcp_approval_response_item"
    _typed = False


class InputItem(RunItem):
    """Input that joined the run after its start. ``input_id``: names it in this run."""

    __slots__ = ("input_id",)
    type = "input_item"
    _typed = False

    def __init__(self, agent: Agent[Any], raw_item: Any, input_id: str = "") -> None:
        super().__init__(agent, raw_item)
        self.input_id = input_id


class UnknownItem(RunItem):
    """An item of a type that flowcore has no class for; kept as it came."""

    __slots__ = ()
    type = "unknown_item"


class ToolCallItem(RunItem):
    """A tool's call. ``description`` and ``title``: the tool's. ``tool_origin``: where the tool comes from; None of one
    that the provider hosts."""

    __slots__ = ("description", "title", "tool_origin")
    type = "tool_call_item"

    def __init__(
        self,
        agent: Agent[Any],
        raw_item: Any,
        description: str | None = None,
        title: str | None = None,
        tool_origin: ToolOrigin | None = None,
    ) -> None:
        super().__init__(agent, raw_item)
        self.description = description
        self.title = title
        self.tool_origin = tool_origin

    @property
    def tool_name(self) -> str | None:
        """The tool's name; None of a hosted tool, whose call only has a type."""
        return self.item.get("name")

    @property
    def call_id(self) -> str | None:
        """The call's id."""
        return _call_id(self.item)


class HandoffCallItem(RunItem):
    """A handoff, asked for."""

    __slots__ = ()
    type = "handoff_call_item"

    @property
    def call_id(self) -> str | None:
        """The call's id."""
        return _call_id(self.item)


class ToolCallOutputItem(RunItem):
    """What a tool gave. ``output``: the Python value in the process that ran the tool, else what the model was told.
    ``custom_data``: what the tool's ``custom_data_extractor`` made of it; the model never sees it."""

    __slots__ = ("custom_data", "output", "tool_origin")
    type = "tool_call_output_item"
    _typed = False

    def __init__(
        self,
        agent: Agent[Any],
        raw_item: Any,
        output: Any,
        tool_origin: ToolOrigin | None = None,
        custom_data: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(agent, raw_item)
        self.output = output
        self.tool_origin = tool_origin
        self.custom_data = custom_data

    @property
    def call_id(self) -> str | None:
        """The id of the call that this is the output of."""
        return _call_id(self.item)


class HandoffOutputItem(RunItem):
    """A handoff, done: from ``source_agent`` to ``target_agent``."""

    __slots__ = ("_source", "_target")
    type = "handoff_output_item"
    _typed = False

    def __init__(self, agent: Agent[Any], raw_item: Any, source_agent: Agent[Any], target_agent: Agent[Any]) -> None:
        super().__init__(agent, raw_item)
        self._source: Any = source_agent
        self._target: Any = target_agent

    @property
    def source_agent(self) -> Agent[Any]:
        """Who handed off."""
        return _held(self._source)

    @property
    def target_agent(self) -> Agent[Any]:
        """Who goes on."""
        return _held(self._target)

    def release_agent(self) -> None:
        super().release_agent()
        self._source = _released(self._source)
        self._target = _released(self._target)


class ToolApprovalItem(RunItem):
    """A call that waits for a person. ``request``: what to answer, of an item that a run made, whose ``raw_item`` is
    then one of the openai package; ``result.run.answer(item.call_id, True)`` approves it."""

    __slots__ = ("_name", "request", "tool_namespace", "tool_origin")
    type = "tool_approval_item"

    def __init__(
        self,
        agent: Agent[Any],
        raw_item: Any,
        tool_name: str | None = None,
        *,
        tool_namespace: str | None = None,
        tool_origin: ToolOrigin | None = None,
        request: Any = None,
    ) -> None:
        super().__init__(agent, raw_item)
        self._name = tool_name
        self.tool_namespace = tool_namespace if tool_namespace is not None else self.item.get("namespace")
        self.request = request
        if request is not None:
            self._raw = None
            asked = request.data if isinstance(request.data, dict) else {}
            tool_origin = tool_origin or ToolOrigin.from_json_dict(asked.get("origin"))
            tool_origin = tool_origin or described_tools(agent.tools).get(self.tool_name or "", UNKNOWN).origin
        self.tool_origin = tool_origin

    def _hidden(self) -> Item | None:
        asked = getattr(self.request, "data", None)
        if isinstance(asked, dict) and isinstance(asked.get(KEY), list) and "arguments" in self.item:
            return {**self.item, "arguments": hide_arguments(self.item["arguments"], asked[KEY])}
        return super()._hidden()

    @property
    def tool_name(self) -> str | None:
        """The tool's name."""
        return self._name if self._name is not None else self.item.get("name")

    @property
    def name(self) -> str | None:
        """The tool's name."""
        return self.tool_name

    @property
    def qualified_name(self) -> str | None:
        """The tool's name with its namespace, where it has one: ``namespace.name``."""
        name = self.tool_name
        return f"{self.tool_namespace}.{name}" if name and self.tool_namespace else name

    @property
    def server_label(self) -> str | None:
        """The provider's server that the call is for; None of a call that is made here."""
        label: str | None = self.item.get("server_label")
        return label

    @property
    def arguments(self) -> str | None:
        """The arguments as the model wrote them, JSON text, or a custom tool's input; None of a call that has none."""
        found = self.item.get("arguments", self.item.get("input"))
        return found if found is None or isinstance(found, str) else dumps(found).decode("utf-8", "surrogatepass")

    @property
    def call_id(self) -> str | None:
        """The call's id."""
        return _call_id(self.item)

    def to_input_item(self) -> Item:
        """Raises AgentsException: a question to a person is no model's input."""
        raise AgentsException(
            "ToolApprovalItem cannot be converted to an input item: it's a question to a person. Leave it out; the"
            " call that it asks about is an item of its own"
        )


class ToolInDoubtItem(ToolApprovalItem):
    """A call of a tool with ``on_crash="ask"`` that a crash broke off: it may have happened. No approval: a person says
    ``state.resolve(item, "retry")``, ``state.resolve(item, value=…)`` or ``state.resolve(item, "fail")``.
    ``idempotency_key``: under which the world may know the call."""

    __slots__ = ()
    type = "tool_in_doubt_item"

    @property
    def idempotency_key(self) -> str:
        """Under which the world may know the call."""
        return str(self.request.data["idempotency_key"])


class ItemHelpers:
    """Reading items, and making them."""

    @staticmethod
    def extract_last_content(message: Any) -> str:
        """The last part of a message, text or refusal; "" of anything else."""
        parts = _parts(message)
        return (_text(parts[-1]) or _refusal(parts[-1]) or "") if parts else ""

    @staticmethod
    def extract_last_text(message: Any) -> str | None:
        """The last part of a message, if it's text."""
        parts = _parts(message)
        return _text(parts[-1]) if parts else None

    @staticmethod
    def extract_text(message: Any) -> str | None:
        """The text of a message, all parts joined; None if there is none."""
        return "".join(_text(part) or "" for part in _parts(message)) or None

    @staticmethod
    def extract_refusal(message: Any) -> str | None:
        """What a message refuses with, if it does."""
        return "".join(_refusal(part) or "" for part in _parts(message)) or None

    @staticmethod
    def input_to_new_input_list(input: Any) -> list[Item]:
        """An input as items: a new list, of copies."""
        return new_input_list(input)

    @staticmethod
    def text_message_output(message: RunItem) -> str:
        """A message item's text."""
        return ItemHelpers.extract_text(message.item) or ""

    @staticmethod
    def text_message_outputs(items: Sequence[RunItem]) -> str:
        """The text of all messages among some items, joined."""
        return "".join(ItemHelpers.text_message_output(one) for one in items if isinstance(one, MessageOutputItem))

    @staticmethod
    def tool_call_output_item(
        tool_call: Any,
        output: Any,
        *,
        output_json_schema: dict[str, Any] | None = None,
        output_type_adapter: TypeAdapter[Any] | None = None,
    ) -> Item:
        """What a model is told of a call's output, in wire form. With a schema or an adapter the output is an object,
        told as its JSON. Raises UserError where it isn't."""
        if output_type_adapter is not None or output_json_schema is not None:
            output = _object_text(output, output_type_adapter)
        item = function_output(as_item(tool_call)["call_id"], output_to_wire(output))
        return ItemHelpers.copy_tool_call_caller(tool_call, item)

    @staticmethod
    def copy_tool_call_caller(tool_call: Any, output_item: Item) -> Item:
        """The output's item, saying as its call does which program made the call, if one did."""
        caller = as_item(tool_call).get("caller")
        return output_item if caller is None else {**output_item, "caller": caller}


def _parts(message: Any) -> Sequence[Any]:
    """A message's parts in wire form; none of anything else."""
    if isinstance(message, RunItem):
        message = message.item
    item = as_item(message)
    if item.get("type", "message") != "message":
        return ()
    content = item.get("content") or ()
    return [{"type": "output_text", "text": content}] if isinstance(content, str) else content


def _text(part: Item) -> str | None:
    return part.get("text") if part.get("type") in ("output_text", "text", "input_text") else None


def _refusal(part: Item) -> str | None:
    return part.get("refusal") if part.get("type") == "refusal" else None


def _object_text(output: Any, adapter: TypeAdapter[Any] | None) -> str:
    """An output that was declared as an object, as JSON text."""
    try:
        if adapter is not None:
            output = adapter.dump_python(adapter.validate_python(output), mode="json", by_alias=True)
    except (ValidationError, PydanticSerializationError) as error:
        raise UserError(f"the tool's output isn't of its declared type: {error}") from error
    if not isinstance(output, Mapping):
        raise UserError(f"the tool's output is declared as a JSON object, and is a {type(output).__name__}")
    return dumps(dict(output)).decode("utf-8", "surrogatepass")


class Reader:
    """Reads an agent's journal item by item: whose each is, and which class. Facts are taken in order, each once."""

    def __init__(
        self,
        agents: Mapping[str, Agent[Any]],
        first: str,
        options: Options,
        before: Sequence[Item] = (),
        facts: Sequence[Fact] = (),
    ) -> None:
        """``before``: the items that are there already, where the reading begins midway. ``facts``: the run's."""
        self._hider = Hider(facts) if facts else None
        self.agents = agents
        self.agent = agents[first]
        self.options = options
        self._known: dict[str, dict[str, Described]] = {}
        self._called: dict[str, str] = {
            _call_id(item) or "": item["name"] for item in before if item.get("type") in _CLASSES and "name" in item
        }

    def items_of(
        self, fact: Transition, new: Sequence[Item], custom: Mapping[str, dict[str, Any]] | None = None
    ) -> list[RunItem]:
        """The items that a transition brought. ``custom``: the app's own data of calls, by call id."""
        made = [self._item(fact, item, position, custom or {}) for position, item in enumerate(new)]
        for one in made:
            one._hider = self._hider
        target = fact.update.get("agent")
        if fact.node == "handoff" and target is not None:
            self.agent = self.agents[target]
        return made

    def given_so_far(self, so_far: Meanwhile) -> list[RunItem]:
        """The items of calls that have ended while others of their turn wait."""
        told = Transition(-1, 0.0, 0.0, "run_tools", so_far.visit, "", "", 0, {})
        return self.items_of(told, so_far.items, so_far.custom)

    def _item(self, fact: Transition, item: Item, position: int, custom: Mapping[str, dict[str, Any]]) -> RunItem:
        agent = self.agent
        kind = item.get("type", "message")
        raw = self.options.raw.get((fact.visit, position)) if fact.node == "call_model" else None
        if kind in _OUTPUTS:
            call_id = _call_id(item) or ""
            if position == 0 and fact.node == "handoff":  # the others are told that they're ignored
                target = self.agents.get(str(fact.update.get("agent")))
                return HandoffOutputItem.of(agent, item, source_agent=agent, target_agent=target)
            output = self.options.values.get((fact.visit, call_id), item.get("output"))
            origin = self._described(self._called.get(call_id)).origin
            data = custom.get(call_id)
            data = None if data is None else copy_json(data)
            return ToolCallOutputItem.of(agent, item, raw, output=output, tool_origin=origin, custom_data=data)
        if kind == "message" and item.get("role") in _ASKING:
            return InputItem.of(agent, item, input_id=item.get("id") or f"input_{fact.visit}_{position}")
        cls = _CLASSES.get(kind, UnknownItem)
        if cls is not ToolCallItem:
            return cls.of(agent, item, raw)
        name = item.get("name")
        if kind == "function_call" and any(one.tool_name == name for one in agent.resolved_handoffs):
            return HandoffCallItem.of(agent, item, raw)
        if name is not None:
            self._called[_call_id(item) or ""] = name
        told = self._described(name)
        return ToolCallItem.of(
            agent, item, raw, description=told.description, title=told.title, tool_origin=told.origin
        )

    def _described(self, name: str | None) -> Described:
        """What is known of the current agent's tool of this name: one that is declared, or was offered in this process
        (``Options.offered``: tools by the agent's name, those of MCP servers among them)."""
        if name is None:
            return UNKNOWN
        agent = self.agent
        known = self._known.get(agent.name)
        if known is None or name not in known:
            offered = getattr(self.options, "offered", {}).get(agent.name, ())
            known = self._known[agent.name] = described_tools((*agent.tools, *offered))
        return known.get(name, UNKNOWN)


_CLASSES: dict[str, type[RunItem]] = {
    "message": MessageOutputItem,
    "reasoning": ReasoningItem,
    "compaction": CompactionItem,
    "tool_search_call": ToolSearchCallItem,
    "tool_search_output": ToolSearchOutputItem,
    "mcp_list_tools": MCPListToolsItem,
    "mcp_approval_request": MCPApprovalRequestItem,
    "mcp_approval_response": MCPApprovalResponseItem,
    **dict.fromkeys(
        (
            "function_call", "custom_tool_call", "web_search_call", "file_search_call", "computer_call",
            "code_interpreter_call", "image_generation_call", "mcp_call", "local_shell_call", "shell_call",
            "apply_patch_call", "program",
        ),
        ToolCallItem,
    ),
}  # fmt: skip
_ASKING = frozenset(("user", "system", "developer"))
"""The roles of messages that no model made."""
_OUTPUTS = frozenset(
    (
        "function_call_output", "custom_tool_call_output", "computer_call_output", "local_shell_call_output",
        "shell_call_output", "apply_patch_call_output", "program_output",
    )
)  # fmt: skip
"""The outputs of calls."""


def items_by_fact(state: AgentState) -> dict[int, list[Item]]:
    """The state's items by the fact that brought them."""
    found: dict[int, list[Item]] = {}
    keys = state.items.keys()  # type: ignore[attr-defined]
    for key, item in zip(keys, state.items, strict=True):
        found.setdefault(key.seq, []).append(item)
    return found


def run_items(
    state: AgentState,
    facts: Sequence[Fact],
    agents: Mapping[str, Agent[Any]],
    first: str,
    options: Options,
    whole: Sequence[Fact] = (),
    so_far: Meanwhile = NOTHING,
) -> list[RunItem]:
    """Everything that the run brought, its input left out. ``whole``: the whole journal, where ``facts`` is less;
    ``so_far``: what calls gave while others wait."""
    reader = Reader(agents, first, options, facts=whole or facts)
    by_fact = items_by_fact(state)
    custom = getattr(state, "custom", None)
    made: list[RunItem] = []
    for fact in facts:
        if isinstance(fact, Transition):
            made += reader.items_of(fact, by_fact.get(fact.seq, ()), custom)
    return made + reader.given_so_far(so_far) if so_far.records else made


def reply_items(
    reply: ModelResponse, agents: Mapping[str, Agent[Any]], agent: str, options: Options, facts: Sequence[Fact] = ()
) -> list[RunItem]:
    """The items of a reply of this agent's model that no fact tells of yet. ``facts``: those of the run so far."""
    told = Transition(-1, 0.0, 0.0, "call_model", -1, "", "", 0, {})
    return Reader(agents, agent, options, facts=facts).items_of(told, reply.output)


_UNANSWERED = ENGINE_LABELS | {"tripped"}
"""Edges from a model call that brought no reply."""


def responses(state: AgentState, facts: Sequence[Fact]) -> list[ModelResponse]:
    """The model's replies, in order."""
    by_fact = items_by_fact(state)
    spent: dict[int, dict[str, Any]] = {}
    found: list[ModelResponse] = []
    for fact in facts:
        if getattr(fact, "node", None) != "call_model":
            continue
        if not isinstance(fact, Transition):
            if isinstance(fact, Effect) and fact.key == MODEL and fact.usage:
                spent[fact.visit] = fact.usage
        elif fact.on not in _UNANSWERED:
            output = [item for item in by_fact.get(fact.seq, ()) if item.get("role") != "user"]
            usage = fact.usage or spent.get(fact.visit) or {}
            found.append(ModelResponse(output, Usage.from_counts(usage), fact.update.get("response_id")))
    return found
