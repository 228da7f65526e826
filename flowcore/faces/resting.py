"""What is known of an agent's run at rest: where it stands, and what it asks a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flowcore.agents.agent import AgentSpec as Agent
from flowcore.agents.as_tool import AgentTool
from flowcore.agents.context import APPROVAL, kept_as
from flowcore.agents.loop.state import AgentState
from flowcore.engine.forms import IN_DOUBT
from flowcore.errors import UserError
from flowcore.faces.spending import Below, summed
from flowcore.graph.graph import Graph
from flowcore.graph.values import shorten
from flowcore.machine.facts import Standing
from flowcore.machine.snapshot import Snapshot
from flowcore.models.base import Item
from flowcore.stores.base import OpenRequest


@dataclass(frozen=True, slots=True)
class View:
    """What is known of the run as it rests. ``length``: of its journal. ``calls``: names of the tools that the last
    reply calls and that haven't told their output yet."""

    run: str
    length: int
    standing: Standing
    place: str
    agent: str
    original: list[Item]
    calls: list[str]
    tripped: bool
    usage: dict[str, Any]
    turns: int
    limits: dict[str, Any]
    meta: dict[str, Any]
    requests: list[OpenRequest]

    @classmethod
    def of(cls, s: Snapshot, graph: Graph, requests: Sequence[OpenRequest], below: Below) -> View:
        state: AgentState = graph.schema.view(s.values)
        place = s.visit.node
        pending = state.pending_calls() if place in ("run_tools", "await_decision") else []
        return cls(
            s.run, s.seq + 1, s.standing, place, state.agent, list(state.items[: state.begun or None]),
            [str(call["name"]) for call in pending], state.tripped is not None, summed(s.usage, below.usage),
            s.turns(nodes=graph.nodes.items()), dict(s.limits), dict(s.meta),
            [one for one in requests if asks_about_call(one)],
        )  # fmt: skip


def asks_about_call(request: OpenRequest) -> bool:
    """Whether a request is about a tool's call: may it be made, or, after a crash, did it happen."""
    return request.kind == APPROVAL or (request.kind == IN_DOUBT and isinstance(request.data.get("tool"), str))


def asked_by(request: OpenRequest) -> dict[str, Any]:
    """What a request asks. Raises UserError unless it's about a tool's call."""
    data = request.data
    names = ("tool", "call_id", "arguments", "agent")
    if not isinstance(data, dict) or not all(isinstance(data.get(name), str) for name in names):
        raise UserError("this state asks about a call that it doesn't name: it's damaged")
    return data


def bound_to(request: OpenRequest) -> tuple[str, str, str]:
    asked = asked_by(request)
    return asked["tool"], asked["call_id"], asked["arguments"]


def call_of(asked: Mapping[str, Any]) -> Item:
    """The call that a request asks about, in wire form."""
    call = {"name": asked["tool"], "arguments": asked["arguments"]}
    if isinstance(asked.get("server_label"), str):
        return {"type": "mcp_approval_request", "id": asked["call_id"], **call, "server_label": asked["server_label"]}
    item: Item = {"type": "function_call", **call, "call_id": asked["call_id"]}
    return {**item, "namespace": asked["namespace"]} if isinstance(asked.get("namespace"), str) else item


def tool_of(request: OpenRequest) -> str:
    """Under what a decision about all calls of a request's tool is kept."""
    asked = asked_by(request)
    return kept_as(asked["tool"], asked.get("server_label"))


def told_of(request: OpenRequest) -> str:
    asked = asked_by(request)
    return f"{asked['tool']}({shorten(asked['arguments'])}) as '{asked['call_id']}', asked by agent '{asked['agent']}'"


def agent_called(name: str, agents: Mapping[str, Agent[Any]]) -> Agent[Any] | None:
    """The agent of this name among some agents and those that they have as tools or hand off to, however deep."""
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


def graph_of(agent: Any) -> Graph:
    graph = getattr(agent, "graph", None)
    if not isinstance(agent, Agent) or not isinstance(graph, Graph):
        raise UserError(f"a state belongs to an Agent's run: give the agent that it began with, not {shorten(agent)}")
    return graph
