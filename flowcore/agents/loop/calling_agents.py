"""One call of an agent that is a tool: a child run under the call's key."""

from __future__ import annotations

import inspect
from typing import Any

from flowcore.agents.agent import AgentSpec
from flowcore.agents.as_tool import AgentTool, Follower
from flowcore.agents.context import RunContextWrapper
from flowcore.agents.guardrails import GuardrailFunctionOutput, InputGuardrailResult, OutputGuardrailResult
from flowcore.agents.items import function_output
from flowcore.agents.lifecycle import fire
from flowcore.agents.loop.calling import Call, value_as_json
from flowcore.agents.loop.saving import FOREIGN
from flowcore.agents.loop.state import told_output
from flowcore.agents.options import AgentToolInvocation, Options
from flowcore.agents.tools import output_to_wire
from flowcore.engine.context import Context
from flowcore.engine.run import load
from flowcore.engine.tree import Live
from flowcore.errors import (
    AgentsException,
    GraphError,
    InputGuardrailTripwireTriggered,
    ModelBehaviorError,
    OutputGuardrailTripwireTriggered,
    RunCancelled,
    RunConflict,
    StoreError,
)
from flowcore.graph.graph import Graph

NESTED_TURNS = 10
"""How many turns a nested run may take where nothing is said."""
NOT_TOLD = (RunConflict, RunCancelled, StoreError, GraphError)
"""What isn't the nested agent's failure: no model is told of it."""


async def call_agent(
    ctx: Context, options: Options, wrapper: RunContextWrapper[Any], agent: AgentSpec[Any], call: Call, tool: AgentTool
) -> dict[str, Any]:
    """Run the agent, or go on with its run; the call's record. What made it fail is told to the model, unless the tool
    says that it's raised: then the child keeps its place, and a resume of this run goes on with it."""
    tool_ctx = call.context(ctx, options, wrapper, agent)
    hooks, own = options.hooks, agent.hooks
    if (hooks is not None or own is not None) and not await ctx.has_child(call.key):
        await fire("on_tool_start", hooks, own, tool_ctx, agent, tool)
    try:
        value = await _run(ctx, options, call, tool)
    except NOT_TOLD:
        raise
    except Exception as error:
        if tool.failure_error_function is None:
            raise
        ctx.spend(**ctx.spent_by_child(call.key))
        ctx.note(call.key, error=str(error) or type(error).__name__)
        told = tool.failure_error_function(tool_ctx, error)
        value = await told if inspect.isawaitable(told) else told
    if hooks is not None or own is not None:
        await fire("on_tool_end", hooks, own, tool_ctx, agent, tool, value)
    options.values[ctx.visit, tool_ctx.tool_call_id] = value
    record: dict[str, Any] = {"item": function_output(tool_ctx.tool_call_id, output_to_wire(value))}
    if agent.tool_use_behavior != "run_llm_again":
        record["value"] = value_as_json(value)
    return record


async def _run(ctx: Context, options: Options, call: Call, tool: AgentTool) -> Any:
    """The nested run's output. Raises what made it fail, and its tripwires."""
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
    graph = tool.agent.graph.with_(gives=told_output)
    turns = NESTED_TURNS if tool.max_turns is None else tool.max_turns
    limits = {"max_turns": turns}
    if tool.follow is None:
        told = await ctx.child(graph, asked, call.key, limits=limits, meta=_meta(tool), context=child)
    else:
        told = await _followed(ctx, graph, asked, call, limits, tool, child)
    if "tripped" in told:
        raise _tripwire(told["tripped"], tool)
    if tool.read is None:
        output = told["output"]
        return "" if output is None else output
    run = await load(f"{ctx.run_id}/{ctx.node}.{ctx.visit}/{call.key}", tool.agent, store=ctx.store, context=child)
    return await tool.read(run, child)


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
        return await ctx.child(graph, asked, call.key, limits=limits, meta=_meta(tool), context=child, watch=watch)
    finally:
        for one in followers:
            await one.close()


def _meta(tool: AgentTool) -> dict[str, Any] | None:
    """What the nested run is to find in its meta."""
    meta: dict[str, Any] = {}
    if isinstance(tool.session, str):
        meta["session"] = tool.session
    elif tool.session is not None:
        meta[FOREIGN] = tool.session.session_id
    if tool.conversation is not None:
        meta["conversation"] = tool.conversation
    return meta or None


def _tripwire(verdict: dict[str, Any], tool: AgentTool) -> AgentsException:
    """The exception of a nested run that a guardrail ended."""
    name, agent = verdict["guardrail"], tool.agent
    told = f"guardrail '{name}' of agent '{agent.name}' triggered its tripwire"
    output = GuardrailFunctionOutput(verdict.get("info"), True)
    error: AgentsException
    if verdict["kind"] == "input":
        judge: Any = next((one for one in agent.input_guardrails if one.get_name() == name), None)
        error = InputGuardrailTripwireTriggered(InputGuardrailResult(judge, output))
    elif verdict["kind"] == "output":
        judge = next((one for one in agent.output_guardrails if one.get_name() == name), None)
        error = OutputGuardrailTripwireTriggered(OutputGuardrailResult(judge, None, agent, output))
    else:
        return ModelBehaviorError(told)
    error.message, error.args = told, (told,)
    return error
