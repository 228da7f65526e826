"""``run_tools`` and ``await_decision``: the calls of a reply, those that need a person's word among them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from pydantic_core import to_jsonable_python

from flowcore.agents.agent import AgentSpec, ToolsToFinalOutputResult
from flowcore.agents.as_tool import AgentTool
from flowcore.agents.context import RunContextWrapper, ToolContext
from flowcore.agents.items import function_output
from flowcore.agents.loop.saving import save
from flowcore.agents.loop.state import AgentState, told_output
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
    """One call of the reply: the ``tool`` it's for, its ``key``, the key of the ``question`` whether it may be made,
    and whether it ``asks`` that."""

    __slots__ = ("asks", "item", "key", "question", "tool")

    def __init__(self, position: int, item: Item, tool: FunctionTool, question: str) -> None:
        self.item = item
        self.tool = tool
        self.key = f"{position}:{item['call_id']}"
        self.question = question
        self.asks = False

    @property
    def arguments(self) -> str:
        """As the model wrote them: JSON text."""
        return self.item.get("arguments") or ""


class Done(NamedTuple):
    """A call's end: its output ``item``, how the transition names it (``told``), and the tool's ``value`` as JSON,
    where that may end the run."""

    item: Item
    told: Any
    value: Any


async def run_tools(state: AgentState, ctx: Context) -> Outcome:
    """Run the calls that may run. Each is recorded under its position and call id; at a later entry it's found
    there."""
    agent = ctx.bound.current(state)
    options = options_of(ctx, state)
    wrapper = options.wrapper(ctx)
    calls, hands_off = _calls(state, agent)
    if agent.tool_use_behavior == "run_llm_again" and len(calls) == 1 and _leaves_at_once(calls[0].tool):
        item = (await _perform(ctx, options, wrapper, agent, calls[0]))[0]  # the visit's only effect
        done = [Done(item, item, None)]
    else:
        ready = await _ask(ctx, agent, wrapper, calls)
        done = await asyncio.gather(*(_once(ctx, options, wrapper, agent, call) for call in ready))
        if len(ready) < len(calls):
            return Goto("needs_decision", undecided=[call.question for call in calls if call not in ready])
    final = await _final(agent, wrapper, calls, done)
    items = [one.told for one in done]
    if final is not None:
        return Goto("final", items=items, final="value", output=final.final_output)
    if hands_off:
        return Goto("handoff", items=items)
    return Goto("done", items=items, **save(state, ctx, [one.item for one in done]))


def _leaves_at_once(tool: FunctionTool) -> bool:
    """Whether a single call of it needs no record of its own: the visit then ends with it, and the transition is the
    record."""
    return tool.needs_approval is False and tool.on_crash == "retry"


async def await_decision(state: AgentState, ctx: Context) -> Pause:
    """Wait until any of the open questions is answered, maybe it is already; the tools' visit goes on then."""
    return Pause(*state.undecided, on="decided", enough="any")


def _calls(state: AgentState, agent: AgentSpec[Any]) -> tuple[list[Call], bool]:
    """The calls of the last reply, and whether it hands off as well. Raises ModelBehaviorError."""
    tools = {tool.name: tool for tool in agent.tools if isinstance(tool, FunctionTool)}
    handoffs = {one.tool_name for one in agent.resolved_handoffs}
    calls: list[Call] = []
    questions: set[str] = set()
    hands_off = False
    for position, item in enumerate(state.pending_calls()):
        tool = tools.get(item["name"])
        if tool is not None:
            question = str(item["call_id"])
            if question in questions:  # a model that used a call id twice: an answer is for one call
                question = f"{question}#{position}"
            questions.add(question)
            calls.append(Call(position, item, tool, question))
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
        if call.question not in questions:
            if not await call.tool.requires_approval(wrapper, call.arguments, call.item["call_id"]):
                ready.append(call)
                continue
            asked = {
                "tool": call.tool.name,
                "call_id": call.item["call_id"],
                "arguments": call.arguments,
                "agent": agent.name,
            }
            await ctx.request(call.question, asked, kind=APPROVAL)
        call.asks = True
        if call.question in ctx.answers:
            ready.append(call)
    return ready


async def _once(
    ctx: Context, options: Options, wrapper: RunContextWrapper[Any], agent: AgentSpec[Any], call: Call
) -> Done:
    """A call's end, recorded; or what is told of a call that was rejected."""
    if call.asks:
        approved, message = _decision(ctx.answers[call.question])
        if not approved:
            item = function_output(call.item["call_id"], message or REJECTED)
            return Done(item, item, item["output"])
    if isinstance(call.tool, AgentTool):
        item, value = await _perform(ctx, options, wrapper, agent, call)  # the child's end is the record
        return Done(item, item, _as_json(value))
    ends = agent.tool_use_behavior != "run_llm_again"

    async def perform(name: str, arguments: str) -> Any:
        item, value = await _perform(ctx, options, wrapper, agent, call)
        return {"item": item, "value": _as_json(value)} if ends else item

    record = await ctx.once(call.key, perform, call.tool.name, call.arguments, on_crash=call.tool.on_crash)
    if ends:
        return Done(record["item"], Of(call.key, "item"), record["value"])
    return Done(record, Of(call.key), None)


def _as_json(value: Any) -> Any:
    """A tool's value as data; what isn't data is told by its text."""
    return to_jsonable_python(value, by_alias=False, fallback=str, inf_nan_mode="strings")


def _decision(answer: Any) -> tuple[bool, str | None]:
    """Whether an answer approves, and what it says. Answers: a bool, or ``{"approve": bool, "message": text}``."""
    if isinstance(answer, Mapping):
        message = answer.get("message")
        return answer.get("approve") is True, None if message is None else str(message)
    return answer is True, None


async def _perform(
    ctx: Context, options: Options, wrapper: RunContextWrapper[Any], agent: AgentSpec[Any], call: Call
) -> tuple[Item, Any]:
    """Call the tool; its output item and its value."""
    tool, call_id = call.tool, call.item["call_id"]
    if isinstance(tool, AgentTool):
        told = await _call_agent(ctx, options, tool, call)
        return function_output(call_id, output_to_wire(told)), told
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
    options.values[ctx.visit, call_id] = value
    return function_output(call_id, tool.wire_output(value)), value


async def _call_agent(ctx: Context, options: Options, tool: AgentTool, call: Call) -> Any:
    """An agent as a tool: a child run under this call's key. Bad arguments are told to the model."""
    try:
        asked = tool.input_of(call.arguments)
    except ModelBehaviorError as error:
        return f"An error occurred while parsing tool arguments. Please try again with valid JSON. Error: {error}"
    turns = 10 if tool.max_turns is None else tool.max_turns
    config = Options(options.context, options.config, None)
    graph = tool.agent.graph.with_(gives=told_output)
    told = await ctx.child(graph, asked, call.key, limits={"max_turns": turns}, context=config)
    if "tripped" in told:
        return (
            "An error occurred while running the tool. Please try again."
            f" Error: guardrail '{told['tripped']}' of agent '{tool.agent.name}' triggered its tripwire"
        )
    output = told["output"]
    if tool.extract is not None:
        output = tool.extract(output)
        if inspect.isawaitable(output):
            output = await output
    return "" if output is None else output


async def _final(
    agent: AgentSpec[Any], wrapper: RunContextWrapper[Any], calls: list[Call], done: list[Done]
) -> ToolsToFinalOutputResult | None:
    """Whether the tools' results end the run, by the agent's ``tool_use_behavior``. What it's given is what is
    recorded: the values as JSON."""
    how = agent.tool_use_behavior
    if how == "run_llm_again" or not calls:
        return None
    if how == "stop_on_first_tool":
        return _output_of(agent, done[0])
    if isinstance(how, Mapping):
        stops = how.get("stop_at_tool_names", ())
        return next(
            (_output_of(agent, one) for call, one in zip(calls, done, strict=True) if call.tool.name in stops), None
        )
    results = [FunctionToolResult(call.tool, one.value, one.item) for call, one in zip(calls, done, strict=True)]
    answer = how(wrapper, results)
    if inspect.isawaitable(answer):
        answer = await answer
    if not isinstance(answer, ToolsToFinalOutputResult):
        raise UserError(
            f"agent '{agent.name}': its tool_use_behavior gave a {type(answer).__name__}; give a"
            " ToolsToFinalOutputResult"
        )
    if not answer.is_final_output:
        return None
    schema, value = agent.output_schema, answer.final_output
    if schema.is_plain_text():
        return ToolsToFinalOutputResult(True, value if isinstance(value, str) else str(value))
    try:
        return ToolsToFinalOutputResult(True, schema.to_jsonable(schema.from_jsonable(value)))
    except (UserError, TypeError):
        return ToolsToFinalOutputResult(True, schema.to_jsonable(value))


def _output_of(agent: AgentSpec[Any], one: Done) -> ToolsToFinalOutputResult:
    """The output that a tool's result is: text of an agent whose output is text, else the value."""
    told = one.item["output"]
    if agent.output_schema.is_plain_text():
        return ToolsToFinalOutputResult(True, told if isinstance(told, str) else str(one.value))
    return ToolsToFinalOutputResult(True, one.value)
