"""The agent loop as a graph. Its table is the one of the house plan; each node is a function in a file of its own."""

from __future__ import annotations

from typing import Any

from flowcore.agents.agent import AgentSpec, reachable
from flowcore.agents.as_tool import AgentTool
from flowcore.agents.items import input_items
from flowcore.agents.loop.call_model import call_model
from flowcore.agents.loop.calling_agents import turns_of
from flowcore.agents.loop.ends import blocked, finalize, max_turns, over_budget, refusal
from flowcore.agents.loop.handoff import handoff
from flowcore.agents.loop.judge import input_guardrails, output_guardrails
from flowcore.agents.loop.prepare import prepare
from flowcore.agents.loop.run_tools import await_decision, run_tools
from flowcore.agents.loop.state import AgentState, Crew, Shown, final_output
from flowcore.agents.tools import FunctionTool
from flowcore.errors import GraphChanged, ModelError
from flowcore.graph.graph import Graph, continues
from flowcore.graph.node import Retry, node
from flowcore.graph.outcomes import END, START
from flowcore.graph.prove import Tool

MODEL_ATTEMPTS = Retry(stop=3, retry=ModelError)
"""What a model call gets where the settings say nothing; ``call_model`` sets the waits, and what is tried again."""

_CALL_MODEL = node(limit="max_turns", retry=MODEL_ATTEMPTS)(call_model)

_TABLE = Graph(
    "agent",
    AgentState,
    {
        START: prepare,
        prepare: {"ready": input_guardrails},
        input_guardrails: {"passed": _CALL_MODEL, "tripped": blocked},
        _CALL_MODEL: {
            "tool_calls": run_tools,
            "handoff": handoff,
            "output": output_guardrails,
            "again": _CALL_MODEL,
            "invalid_output": _CALL_MODEL,
            "retry": continues(_CALL_MODEL),
            "refused": refusal,
            "tripped": blocked,
            "limit": max_turns,
            "over_budget": over_budget,
        },
        refusal: {"handled": output_guardrails},
        max_turns: {"handled": output_guardrails, "extended": _CALL_MODEL},
        over_budget: {"handled": output_guardrails, "extended": _CALL_MODEL},
        run_tools: {
            "done": _CALL_MODEL,
            "final": output_guardrails,
            "handoff": handoff,
            "needs_decision": await_decision,
            "tripped": blocked,
        },
        await_decision: {"decided": continues(run_tools)},
        handoff: {"done": _CALL_MODEL},
        output_guardrails: {"passed": finalize, "tripped": blocked},
        finalize: END,
        blocked: END,
    },
    takes="items",
    convert=input_items,
    gives=final_output,
    limits={"max_turns": 10},
)


def graph_of(agent: AgentSpec[Any], shown: Shown | None = None) -> Graph:
    """The graph of an agent: the table, bound to the agents that it may hand off to. Made once for what it's made
    of. ``shown``: how functions inside of a run are shown what it brought."""
    if agent._graph is not None and all(
        one.name == name and one.tools == tools and one.handoffs == handoffs
        for one, name, tools, handoffs in agent._graph[0]
    ):
        made: Graph = agent._graph[1]
        return made
    crew = reachable(agent)
    tools = [_as_data(one, tool) for one in crew.values() for tool in one.tools]
    drawn = (f"{tool.name} (approval: {tool.approval})" for tool in tools)
    parts = {"run_tools": list(dict.fromkeys(drawn))}  # agents may share a tool
    if len(crew) > 1:
        parts["handoff"] = [f"to {name}" for name in crew if name != agent.name]
    marks = [f"agent:{name}" for name in crew]
    marks += [f"tool:{tool.owner}.{tool.name}" for tool in tools]
    bound = Crew(agent.name, crew, shown)
    graph = _TABLE.with_(
        name=agent.name,
        bound=bound,
        parts=parts,
        tools=tuple(tools),
        marks=tuple(marks),
        verify=Verifier(bound),
        gives=bound.output,
    )
    agent._graph = ([(one, one.name, list(one.tools), list(one.handoffs)) for one in crew.values()], graph)
    return graph


def _as_data(agent: AgentSpec[Any], tool: Any) -> Tool:
    """A tool as proofs and drawings see it; what a provider hosts is called without asking here."""
    approval = tool.approval if isinstance(tool, FunctionTool) else "never"
    if isinstance(tool, AgentTool):
        return Tool(tool.name, agent.name, approval, "run_tools", tool.agent, tuple(turns_of(tool).items()))
    return Tool(tool.name, agent.name, approval, "run_tools")


class Verifier:
    """Refuses a stored run whose agent or pending tool is gone."""

    def __init__(self, crew: Crew) -> None:
        self.crew = crew

    def __call__(self, state: AgentState, node: str) -> None:
        name = state.agent or self.crew.first
        agent = self.crew.agents.get(name)
        if agent is None:
            raise GraphChanged(
                f"the run's current agent is '{name}', which '{self.crew.first}' doesn't lead to any more"
            )
        if node not in ("run_tools", "await_decision"):
            return
        if agent.mcp_servers:  # what they have isn't known before they're asked
            return
        known = {tool.name for tool in agent.tools} | {one.tool_name for one in agent.resolved_handoffs}
        calls = [call for call in state.pending_calls() if call["type"] == "function_call"]
        known |= set(state.unknown)  # nobody's when the model called them, and the model is told so
        gone = sorted({call["name"] for call in calls if call["name"] not in known})
        if gone:
            raise GraphChanged(
                f"the run waits to call {', '.join(map(repr, gone))}, which agent '{name}' no longer has"
            )
