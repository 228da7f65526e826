"""``run_tools`` and ``await_decision``: the calls of a reply, those that need a person's word among them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Literal

from flowcore.agents.agent import AgentSpec, ToolsToFinalOutputResult
from flowcore.agents.as_tool import AgentTool
from flowcore.agents.context import RunContextWrapper, ToolContext
from flowcore.agents.items import function_output
from flowcore.agents.loop.saving import save
from flowcore.agents.loop.state import AgentState
from flowcore.agents.options import Options, options_of
from flowcore.agents.tools import FunctionTool, FunctionToolResult, output_to_wire
from flowcore.engine.context import Context
from flowcore.errors import ModelBehaviorError, UserError
from flowcore.graph.outcomes import Goto, Of, Pause
from flowcore.models.base import Item

REJECTED = "Tool execution was not approved."
"""What the model reads of a call that was rejected without a message."""
APPROVAL = "tool_approval"
"""The kind of a request that asks whether a tool may be called."""

Outcome = Goto[Literal["done", "final", "handoff", "needs_decision"]]


class Call:
    """One call of the reply: the ``tool`` it's for, its ``key``, and whether it ``asks`` a person first."""

    __slots__ = ("asks", "item", "key", "tool")

    def __init__(self, position: int, item: Item, tool: FunctionTool) -> None:
        self.item = item
        self.tool = tool
        self.key = f"{position}:{item['call_id']}"
        self.asks = False

    @property
    def arguments(self) -> str:
        """As the model wrote them: JSON text."""
        return self.item.get("arguments") or ""


async def run_tools(state: AgentState, ctx: Context) -> Outcome:
    """Run the calls that may run. Each is recorded under its position and call id; at a later entry it's found
    there."""
    agent = ctx.bound.current(state)
    options = options_of(ctx)
    wrapper = options.wrapper(ctx)
    wrapper.turn_input = state.items  # in this process call_model may not have run
    calls, hands_off = _calls(state, agent)
    if len(calls) == 1 and calls[0].tool.needs_approval is False and calls[0].tool.on_crash == "retry":
        # A visit with one effect that leaves for good: its transition is the record.
        outputs: list[Any] = [await _perform(ctx, options, wrapper, agent, calls[0])]
        items: list[Any] = outputs
    else:
        ready = await _ask(ctx, agent, wrapper, calls)
        found = await asyncio.gather(*(_once(ctx, options, wrapper, agent, call) for call in ready))
        if len(ready) < len(calls):
            return Goto("needs_decision")
        outputs = list(found)
        items = [output if _is_told(ctx, call) else Of(call.key) for call, output in zip(calls, outputs, strict=True)]
    final = await _final(agent, wrapper, options, calls, outputs)
    if final is not None:
        return Goto("final", items=items, final="value", output=final.final_output)
    if hands_off:
        return Goto("handoff", items=items)
    return Goto("done", items=items, **save(state, ctx, outputs))


def _is_told(ctx: Context, call: Call) -> bool:
    """Whether a call's output isn't an effect of its own: what is told of a rejected call, or made of a child's
    output."""
    return isinstance(call.tool, AgentTool) or call.key not in ctx.visit_record.effects


async def await_decision(state: AgentState, ctx: Context) -> Pause:
    """Wait until any of the open questions is answered; the tools' visit goes on then."""
    return Pause(*ctx.open_requests, on="decided", enough="any")


def _calls(state: AgentState, agent: AgentSpec[Any]) -> tuple[list[Call], bool]:
    """The calls of the last reply, and whether it hands off as well. Raises ModelBehaviorError."""
    tools = {tool.name: tool for tool in agent.tools if isinstance(tool, FunctionTool)}
    handoffs = {one.tool_name for one in agent.resolved_handoffs}
    calls: list[Call] = []
    hands_off = False
    for position, item in enumerate(state.pending_calls()):
        tool = tools.get(item["name"])
        if tool is not None:
            calls.append(Call(position, item, tool))
        elif item["name"] in handoffs:
            hands_off = True
        else:
            raise ModelBehaviorError(f"Tool {item['name']} not found in agent {agent.name}")
    return calls, hands_off


async def _ask(ctx: Context, agent: AgentSpec[Any], wrapper: RunContextWrapper[Any], calls: list[Call]) -> list[Call]:
    """Open a request for each call that needs a decision; the calls that may go on now. Requests are opened before a
    call runs."""
    ready: list[Call] = []
    questions = ctx.visit_record.questions
    for call in calls:
        if call.key in ctx.visit_record.effects:
            ready.append(call)
            continue
        name = _request_key(call)
        if name not in questions:
            if not await call.tool.requires_approval(wrapper, call.arguments, call.item["call_id"]):
                ready.append(call)
                continue
            asked = {
                "tool": call.tool.name,
                "call_id": call.item["call_id"],
                "arguments": call.arguments,
                "agent": agent.name,
            }
            await ctx.request(name, asked, kind=APPROVAL)
        call.asks = True
        if name in ctx.answers:
            ready.append(call)
    return ready


def _request_key(call: Call) -> str:
    """What a person names the request by: the call id."""
    return str(call.item["call_id"])


async def _once(
    ctx: Context, options: Options, wrapper: RunContextWrapper[Any], agent: AgentSpec[Any], call: Call
) -> Any:
    """A call's output item, recorded; or what is told of a call that was rejected."""
    if call.asks:
        approved, message = _decision(ctx.answers[_request_key(call)])
        if not approved:
            return function_output(call.item["call_id"], message or REJECTED)
    if isinstance(call.tool, AgentTool):
        return await _perform(ctx, options, wrapper, agent, call)  # the child's end is the record

    async def perform(name: str, arguments: str) -> Item:
        return await _perform(ctx, options, wrapper, agent, call)

    return await ctx.once(call.key, perform, call.tool.name, call.arguments, on_crash=call.tool.on_crash)


def _decision(answer: Any) -> tuple[bool, str | None]:
    """Whether an answer approves, and what it says. Answers: a bool, or ``{"approve": bool, "message": text}``."""
    if isinstance(answer, Mapping):
        message = answer.get("message")
        return answer.get("approve") is True, None if message is None else str(message)
    return answer is True, None


async def _perform(
    ctx: Context, options: Options, wrapper: RunContextWrapper[Any], agent: AgentSpec[Any], call: Call
) -> Item:
    """Call the tool; its output item."""
    tool, call_id = call.tool, call.item["call_id"]
    if isinstance(tool, AgentTool):
        return function_output(call_id, await _call_agent(ctx, options, tool, call))
    tool_ctx = ToolContext.from_agent_context(
        wrapper,
        call_id,
        call.item,
        agent,
        tool_name=tool.name,
        tool_arguments=call.arguments,
        run_config=options.config,
        idempotency_key=ctx.idempotency_key(call.key),
    )
    value = await tool.invoke(tool_ctx, call.arguments)
    options.values[call_id] = value
    return function_output(call_id, tool.wire_output(value))


async def _call_agent(ctx: Context, options: Options, tool: AgentTool, call: Call) -> Any:
    """An agent as a tool: a child run under this call's key. Bad arguments are told to the model."""
    try:
        asked = tool.input_of(call.arguments)
    except ModelBehaviorError as error:
        return f"An error occurred while parsing tool arguments. Please try again with valid JSON. Error: {error}"
    turns = 10 if tool.max_turns is None else tool.max_turns
    config = Options(options.context, options.config, None)
    output = await ctx.child(tool.agent, asked, call.key, limits={"max_turns": turns}, context=config)
    if tool.extract is not None:
        output = tool.extract(output)
    return output_to_wire("" if output is None else output)


async def _final(
    agent: AgentSpec[Any],
    wrapper: RunContextWrapper[Any],
    options: Options,
    calls: list[Call],
    outputs: list[Item],
) -> ToolsToFinalOutputResult | None:
    """Whether the tools' results end the run, by the agent's ``tool_use_behavior``."""
    how = agent.tool_use_behavior
    if how == "run_llm_again" or not calls:
        return None
    if how == "stop_on_first_tool":
        return ToolsToFinalOutputResult(True, outputs[0]["output"])
    if isinstance(how, Mapping):
        stops = how.get("stop_at_tool_names", ())
        for call, output in zip(calls, outputs, strict=True):
            if call.tool.name in stops:
                return ToolsToFinalOutputResult(True, output["output"])
        return None
    results = [
        FunctionToolResult(call.tool, options.values.get(call.item["call_id"], output["output"]), output)
        for call, output in zip(calls, outputs, strict=True)
    ]
    answer = how(wrapper, results)
    if hasattr(answer, "__await__"):
        answer = await answer
    if not isinstance(answer, ToolsToFinalOutputResult):
        raise UserError(
            f"agent '{agent.name}': its tool_use_behavior gave a {type(answer).__name__}; give a"
            " ToolsToFinalOutputResult"
        )
    if not answer.is_final_output:
        return None
    return ToolsToFinalOutputResult(True, agent.output_schema.to_jsonable(_plain(agent, answer.final_output)))


def _plain(agent: AgentSpec[Any], value: Any) -> Any:
    """A plain-text agent's output is text, whatever its tools gave."""
    return str(value) if agent.output_schema.is_plain_text() and not isinstance(value, str) else value
