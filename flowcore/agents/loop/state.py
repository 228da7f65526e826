"""The state of an agent's run, and whom its nodes belong to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from flowcore.agents.items import last_message, text_of
from flowcore.errors import AgentsException, GraphChanged
from flowcore.graph.state import State, append, merge
from flowcore.graph.values import Json
from flowcore.models.base import Item

if TYPE_CHECKING:
    from flowcore.agents.agent import AgentSpec


class AgentState(State):
    """An agent's run.

    ``items``: everything that happened, in wire form, the input first (``begun`` items of it). ``view``: what the
    model sees of the first ``view_at`` items where a handoff filter chose; later items join it. ``agent``: the current
    agent. ``reply_at``: where in ``items`` the last reply begins. ``saved``: how many items the session has.
    ``session``: the one that it read when it began, and ``session_upto`` its last position then; ``history_kept``:
    which of the session's items until then the model sees where a filter chose (None: all). ``undecided``: requests
    that the last tools' entry left open. ``verdicts``: what guardrails said. ``final``: how the output comes about,
    "message" or "value" (then it's ``output``).
    """

    items: Annotated[list[dict[str, Json]], append] = []
    begun: int = 0
    view: list[dict[str, Json]] | None = None
    view_at: int = 0
    agent: str = ""
    reply_at: int = 0
    saved: int = 0
    session: str | None = None
    session_upto: int | None = None
    history_kept: list[int] | None = None
    undecided: list[str] = []
    response_id: str | None = None
    reasks: int = 0
    used_tools: Annotated[dict[str, bool], merge] = {}
    verdicts: Annotated[list[dict[str, Json]], append] = []
    tripped: dict[str, Json] | None = None
    refused: str | None = None
    final: str = "message"
    output: Json = None

    def pending_calls(self) -> list[Item]:
        """The function calls of the last reply that have no output yet."""
        reply = self.items[self.reply_at :]
        answered = {item["call_id"] for item in reply if item.get("type") == "function_call_output"}
        return [item for item in reply if item.get("type") == "function_call" and item["call_id"] not in answered]


def final_output(values: Mapping[str, Any]) -> Any:
    """The run's output as JSON: the last message's text, or the value that ended the run."""
    if values["tripped"] is not None:
        return None
    if values["final"] == "value":
        return values["output"]
    message = last_message(values["items"][values["reply_at"] :])
    return "" if message is None else text_of(message)


def told_output(values: Mapping[str, Any]) -> Any:
    """What a run tells the agent whose tool it is: ``{"output": …}``, or ``{"tripped": the guardrail's name}``."""
    tripped = values["tripped"]
    return {"output": final_output(values)} if tripped is None else {"tripped": tripped["guardrail"]}


def typed_output(state: AgentState, agent: AgentSpec[Any]) -> Any:
    """The run's output as its agent's output type has it. A tool's value that ended the run need not be of that type:
    then it stays JSON."""
    value = final_output({name: getattr(state, name) for name in ("items", "tripped", "final", "output", "reply_at")})
    schema = agent.output_schema
    if schema.is_plain_text():
        return value
    if state.final == "message":
        return schema.validate_json(value)
    try:
        return schema.from_jsonable(value)
    except AgentsException:
        return value


@dataclass(frozen=True)
class Crew:
    """The agents of a graph: ``first`` begins, and handoffs lead to the others."""

    first: str
    agents: dict[str, AgentSpec[Any]]

    def output(self, values: Mapping[str, Any]) -> Any:
        """The run's output as JSON: of the last agent's output type where it has one, else text."""
        value = final_output(values)
        agent = self.agents.get(values["agent"] or self.first)
        if agent is None or value is None or values["final"] != "message" or agent.output_schema.is_plain_text():
            return value
        return agent.output_schema.to_jsonable(agent.output_schema.validate_json(value))

    def current(self, state: AgentState) -> AgentSpec[Any]:
        """The agent whose turn it is. Raises GraphChanged when the graph no longer has it."""
        name = state.agent or self.first
        try:
            return self.agents[name]
        except KeyError:
            raise GraphChanged(f"the run's agent '{name}' isn't one of {', '.join(self.agents)}") from None
