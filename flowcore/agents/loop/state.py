"""The state of an agent's run, and whom its nodes belong to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from flowcore.agents.items import is_message, last_message, text_of
from flowcore.agents.tools import FunctionTool
from flowcore.errors import AgentsException, GraphChanged
from flowcore.graph.state import State, append, merge
from flowcore.graph.values import Json
from flowcore.models.base import Item, ModelResponse

if TYPE_CHECKING:
    from flowcore.agents.agent import AgentSpec
    from flowcore.agents.options import Options
    from flowcore.machine.facts import Fact


class AgentState(State):
    """An agent's run.

    ``items``: everything that happened, in wire form, the input first (``begun`` items of it; ``listed``: it was given
    as items). ``view``: what the
    model sees of the first ``view_at`` items where a handoff filter chose; later items join it. ``agent``: the current
    agent. ``reply_at``: where in ``items`` the last reply begins. ``saved``: how many items the session ``saved_in``
    has. ``session``: the one that it read when it began, ``session_upto`` its last position then, and
    ``session_limit`` how many of its latest items count; ``history``: what a session held that isn't in the run's
    store; ``history_kept``:
    which of the items before the run the model sees where a filter chose (None: all). ``undecided``: requests
    that the last tools' entry left open. ``sticky``: by tool, decisions that hold for all its calls. ``verdicts``: what
    guardrails said. ``custom``: by call id, the app's own data for tools' outputs. ``model``: the name of the one that
    replied last, ``span`` the kind of span that a trace has of its calls. ``fresh``: the current agent hasn't had a
    turn since it got the conversation. ``unknown``: tools that the last reply called and that nobody had, where the
    model is told so. ``inputs_taken``: how many of the inputs that were sent to the run the model has seen. ``sent``:
    how many items the provider's conversation holds, where it keeps one. ``final``: how the output comes about,
    "message" or "value" (then it's
    ``output``).
    """

    items: Annotated[list[dict[str, Json]], append] = []
    begun: int = 0
    listed: bool = False
    view: list[dict[str, Json]] | None = None
    view_at: int = 0
    agent: str = ""
    reply_at: int = 0
    saved: int = 0
    saved_in: str | None = None
    session: str | None = None
    session_upto: int | None = None
    session_limit: int | None = None
    history: list[dict[str, Json]] | None = None
    history_kept: list[int] | None = None
    undecided: list[str] = []
    sticky: Annotated[dict[str, dict[str, Json]], merge] = {}
    custom: Annotated[dict[str, dict[str, Json]], merge] = {}
    model: str | None = None
    span: str = "generation"
    fresh: bool = True
    unknown: list[str] = []
    inputs_taken: int = 0
    sent: int = 0
    response_id: str | None = None
    reasks: int = 0
    used_tools: Annotated[dict[str, bool], merge] = {}
    verdicts: Annotated[list[dict[str, Json]], append] = []
    tripped: dict[str, Json] | None = None
    refused: str | None = None
    final: str = "message"
    output: Json = None

    def pending_calls(self) -> list[Item]:
        """The function calls of the last reply that have no output yet, and a hosted server's calls that wait for
        approval."""
        reply = self.items[self.reply_at :]
        calls: list[Item] = []
        answered: set[Any] = set()
        for item in reply:
            kind = item.get("type")
            if kind in CALLS:
                calls.append(item)
            elif kind == "function_call_output":
                answered.add(item["call_id"])
            elif kind == "mcp_approval_response":
                answered.add(item["approval_request_id"])
        return [item for item in calls if call_id_of(item) not in answered] if answered else calls


CALLS = ("function_call", "mcp_approval_request")
"""Types of items that wait for an answer of ours."""


def call_id_of(call: Item) -> str:
    """What an answer to a call refers to."""
    return str(call["id"] if call["type"] == "mcp_approval_request" else call["call_id"])


def final_output(values: Mapping[str, Any]) -> Any:
    """The run's output as JSON: the last message's text, or the value that ended the run."""
    if values["tripped"] is not None:
        return None
    if values["final"] == "value":
        return values["output"]
    message = last_message(values["items"][values["reply_at"] :])
    return "" if message is None else text_of(message)


def tool_secrets(tools: Sequence[Any]) -> dict[str, Any]:
    """The secret ``arguments`` of tools by their names, and the tools whose ``outputs`` are secret."""
    functions = [tool for tool in tools if isinstance(tool, FunctionTool)]
    return {
        "arguments": {tool.name: sorted(tool.secret_arguments) for tool in functions if tool.secret_arguments},
        "outputs": sorted({tool.name for tool in functions if tool.secret_output}),
    }


def _said(item: Item) -> str:
    """What a message of the assistant or a tool's output says as text."""
    if is_message(item):
        return text_of(item)
    output = item.get("output") if item.get("type") == "function_call_output" else None
    return output if isinstance(output, str) else ""


def typed_output(state: AgentState, agent: AgentSpec[Any]) -> Any:
    """The run's output as its agent's output type has it. A tool's value that ended the run need not be of that type:
    then it stays JSON. An output that a guardrail rejected is one too."""
    values = {name: getattr(state, name) for name in ("items", "final", "output", "reply_at")}
    value = final_output({**values, "tripped": None})
    if state.final == "message":
        return agent.output_schema.validate_json(value)
    return typed(agent, value)


def typed(agent: AgentSpec[Any], value: Any) -> Any:
    """JSON as the agent's output type has it, if it can."""
    schema = agent.output_schema
    if schema.is_plain_text():
        return value
    try:
        return schema.from_jsonable(value)
    except AgentsException:
        return value


class Shown(Protocol):
    """Makes what users know of what a run brought: run items and replies."""

    def items(
        self, state: AgentState, facts: Sequence[Fact], agents: dict[str, Any], first: str, options: Options,
        reply: ModelResponse | None = None,
    ) -> list[Any]: ...  # fmt: skip
    def responses(self, state: AgentState, facts: Sequence[Fact]) -> list[ModelResponse]: ...
    def handed_off(self, outputs: Sequence[Item], source: Any, target: Any) -> list[Any]: ...
    def given(self, agent: Any, tool: Any, output: Item, value: Any, custom: Any) -> Any: ...


@dataclass(frozen=True)
class Crew:
    """The agents of a graph: ``first`` begins, and handoffs lead to the others. ``shown``: how functions
    inside of a run are shown what it brought."""

    first: str
    agents: dict[str, AgentSpec[Any]]
    shown: Shown | None = None

    @property
    def secrets(self) -> dict[str, Any]:
        """What is secret of the declared tools and of what the agents say, as ``machine.redact.marks`` takes it."""
        replies = {name: agent.output_schema.secret_fields() for name, agent in self.agents.items()}
        said = {name: sorted(one) for name, one in replies.items() if one}
        return {**self._tool_secrets, "replies": said, "agent": self.first}

    @cached_property
    def _tool_secrets(self) -> dict[str, Any]:
        return tool_secrets([tool for agent in self.agents.values() for tool in agent.tools])

    def output(self, values: Mapping[str, Any]) -> Any:
        """The run's output as JSON: of the last agent's output type where it has one, else text."""
        value = final_output(values)
        agent = self.agents.get(values["agent"] or self.first)
        if agent is None or value is None or values["final"] != "message" or agent.output_schema.is_plain_text():
            return value
        return agent.output_schema.to_jsonable(agent.output_schema.validate_json(value))

    def told(self, values: Mapping[str, Any]) -> Any:
        """What a run tells the agent whose tool it is: ``{"output": …, "agent": who gave it}``, or ``{"tripped": the
        verdict}``.

        An empty text that no output guardrail has seen stands for the last message or tool output that says something.
        """
        if values["tripped"] is not None:
            return {"tripped": values["tripped"]}
        output = self.output(values)
        if output == "" and not any(verdict["kind"] == "output" for verdict in values["verdicts"]):
            output = next((text for item in reversed(values["items"][values["begun"] :]) if (text := _said(item))), "")
        return {"output": output, "agent": values["agent"] or self.first}

    def current(self, state: AgentState) -> AgentSpec[Any]:
        """The agent whose turn it is. Raises GraphChanged when the graph no longer has it."""
        name = state.agent or self.first
        try:
            return self.agents[name]
        except KeyError:
            raise GraphChanged(f"the run's agent '{name}' isn't one of {', '.join(self.agents)}") from None
