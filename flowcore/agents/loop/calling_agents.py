"""One call of an agent that is a tool: a child run under the call's key."""

from __future__ import annotations

import inspect
import json
from typing import Any

from flowcore.agents.agent import AgentSpec
from flowcore.agents.as_tool import AgentTool, Follower
from flowcore.agents.context import RunContextWrapper, ToolContext
from flowcore.agents.lifecycle import fire
from flowcore.agents.loop.calling import Call, given, judged
from flowcore.agents.loop.judge import LISTED
from flowcore.agents.loop.saving import FOREIGN
from flowcore.agents.loop.state import Crew, typed
from flowcore.agents.loop.verdicts import tripwire_of
from flowcore.agents.options import AgentToolInvocation, Options
from flowcore.agents.session import begun
from flowcore.engine.context import Context
from flowcore.engine.run import load
from flowcore.engine.tree import Live
from flowcore.errors import (
    AgentsException,
    EffectInDoubt,
    GraphError,
    RunCancelled,
    RunConflict,
    StoreError,
)
from flowcore.graph.graph import Graph

NESTED_TURNS = 10
"""How many turns a nested run may take where nothing is said."""
NOT_TOLD = (RunConflict, RunCancelled, StoreError, GraphError, EffectInDoubt)
"""What isn't the nested agent's failure: no model is told of it."""


def turns_of(tool: AgentTool) -> dict[str, Any]:
    """The limits that a nested run is given."""
    return {"max_turns": NESTED_TURNS if tool.max_turns is None else tool.max_turns}


async def call_agent(
    ctx: Context, options: Options, wrapper: RunContextWrapper[Any], agent: AgentSpec[Any], call: Call, tool: AgentTool
) -> dict[str, Any]:
    """Run the agent, or go on with its run; the call's record. What made it fail is told to the model, unless the tool
    says that it's raised: then the child keeps its place, and a resume of this run goes on with it."""
    tool_ctx = call.context(ctx, options, wrapper, agent)
    hooks, own = options.hooks, agent.hooks
    try:
        verdicts, stopped = await _judged(ctx, options, agent, call, tool, tool_ctx)
        if stopped is not None:
            record: dict[str, Any] = stopped
            return record
        if (hooks is not None or own is not None) and not await ctx.has_child(call.key):
            await fire("on_tool_start", hooks, own, tool_ctx, agent, tool)
        value, told = await _told(ctx, options, call, tool, tool_ctx)
        return await given(ctx, options, agent, call, tool, tool_ctx, value, verdicts, told)
    except Exception as error:
        tool.blame(error)


async def _judged(
    ctx: Context, options: Options, agent: AgentSpec[Any], call: Call, tool: AgentTool, tool_ctx: ToolContext[Any]
) -> Any:
    """``judged``, recorded: the nested run may wait, and the call is gone on with then."""
    if not tool.tool_input_guardrails:
        return [], None
    return await ctx.once(f"{call.key}/judged", lambda: judged(options, agent, call, tool, tool_ctx))


async def _told(
    ctx: Context, options: Options, call: Call, tool: AgentTool, tool_ctx: ToolContext[Any]
) -> tuple[Any, Any]:
    """The nested run's output and what the model is told of it; of a run that failed, what the tool says of that."""
    try:
        return await _run(ctx, options, call, tool)
    except NOT_TOLD:
        raise
    except Exception as error:
        if tool.failure_error_function is None:
            raise
        ctx.spend(**ctx.spent_by_child(call.key))
        ctx.note(call.key, error=str(error) or type(error).__name__)
        told = tool.failure_error_function(tool_ctx, error)
        return (await told if inspect.isawaitable(told) else told), None


async def _run(ctx: Context, options: Options, call: Call, tool: AgentTool) -> tuple[Any, Any]:
    """The nested run's output, and what the model is told of it: of a type as JSON. Raises what made it fail, and its
    tripwires."""
    params = tool.params_of(call.arguments)
    if tool.builder is None:
        asked = await tool.input_of(params)
    else:  # the app's function: what it made is recorded, for the child is found with the same input
        asked = await ctx.once(f"{call.key}/input", lambda: tool.input_of(params))
    child = Options(
        options.context,
        tool.run_config or options.config,
        hooks=tool.hooks,
        session=None if isinstance(tool.session, str) else tool.session,
        invocation=AgentToolInvocation(call.item["name"], call.item["call_id"], call.arguments),
        tool_input=params if tool.structured else None,
    )
    graph = tool.agent.graph
    crew: Crew = graph.bound
    graph = graph.with_(gives=crew.told)
    limits = turns_of(tool)
    if tool.follow is None:
        told = await ctx.child(graph, asked, call.key, limits=limits, meta=await _meta(tool, asked), context=child)
    else:
        told = await _followed(ctx, graph, asked, call, limits, tool, child)
    if "tripped" in told:
        raise _tripwire(told["tripped"], tool, crew, child)
    if tool.read is None:
        output = "" if told["output"] is None else told["output"]
        text = output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)
        return typed(crew.agents[told["agent"]], output), text
    run = await load(f"{ctx.run_id}/{ctx.node}.{ctx.visit}/{call.key}", tool.agent, store=ctx.store, context=child)
    return await tool.read(run, child), None


async def _followed(
    ctx: Context, graph: Graph, asked: Any, call: Call, limits: dict[str, Any], tool: AgentTool, child: Options
) -> Any:
    """The nested run, with somebody who is told of it."""
    followers: list[Follower] = []

    def watch(live: Live) -> Follower:
        assert tool.follow is not None
        followers.append(tool.follow(live, child, call.item))
        return followers[-1]

    try:
        return await ctx.child(
            graph, asked, call.key, limits=limits, meta=await _meta(tool, asked), context=child, watch=watch
        )
    finally:
        for one in followers:
            await one.close()


async def _meta(tool: AgentTool, asked: Any) -> dict[str, Any] | None:
    """What the nested run is to find in its meta."""
    meta: dict[str, Any] = {LISTED: True} if isinstance(asked, list) else {}
    if isinstance(tool.session, str):
        meta["session"] = tool.session
    elif tool.session is not None:
        meta[FOREIGN] = await begun(tool.session)
    if tool.conversation is not None:
        meta["conversation"] = tool.conversation
    trace = {} if tool.run_config is None else tool.run_config.trace_meta()
    if trace:
        meta["trace"] = trace
    return meta or None


def _tripwire(verdict: dict[str, Any], tool: AgentTool, crew: Crew, child: Options) -> AgentsException:
    """The exception of a nested run that a guardrail ended: it says which, of whom."""
    error = tripwire_of(verdict, crew, child)
    whose = verdict.get("agent") or tool.agent.name
    error.message = f"guardrail '{verdict['guardrail']}' of agent '{whose}' triggered its tripwire"
    error.args = (error.message,)
    return error
