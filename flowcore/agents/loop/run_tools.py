"""``run_tools`` and ``await_decision``: the calls of a reply, those that need a person's word among them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

from flowcore.agents.agent import AgentSpec, ToolsToFinalOutputResult
from flowcore.agents.as_tool import AgentTool
from flowcore.agents.context import APPROVAL, Decision, RunContextWrapper
from flowcore.agents.loop.calling import Call, in_doubt, perform, record_of, rejected, unknown, value_as_json
from flowcore.agents.loop.calling_agents import call_agent
from flowcore.agents.loop.hosted_calls import decided_by_app, response_to
from flowcore.agents.loop.listing import listed_tools
from flowcore.agents.loop.saving import FOREIGN, save
from flowcore.agents.loop.state import AgentState, call_id_of
from flowcore.agents.loop.together import together
from flowcore.agents.namespaces import called_name, called_tool, qualified_tools
from flowcore.agents.options import Options, options_of
from flowcore.agents.origins import describe
from flowcore.agents.tool_guardrails import as_json, judge_input
from flowcore.agents.tools import FunctionTool, FunctionToolResult
from flowcore.engine.context import Context
from flowcore.errors import AgentsException, ModelBehaviorError, UserError
from flowcore.graph.outcomes import Goto, Of, Pause
from flowcore.machine.redact import KEY
from flowcore.models.base import Item

Outcome = Goto[Literal["done", "final", "handoff", "needs_decision", "tripped"]]


class Done(NamedTuple):
    """A call's end: its record ``{item, value, verdicts, custom, tripped}``, and the effect ``key`` that holds it
    (None: it isn't recorded yet)."""

    record: dict[str, Any]
    key: str | None = None

    @property
    def item(self) -> Item:
        """Its output as an item."""
        item: Item = self.record["item"]
        return item

    def named(self, name: str, *path: Any) -> Any:
        """A part of the record, as the transition names it: no byte is written twice."""
        if self.key is not None:
            return Of(self.key, name, *path)
        part = self.record[name]
        for step in path:
            part = part[step]
        return part


async def run_tools(state: AgentState, ctx: Context) -> Outcome:
    """Run the calls that may run. Each is recorded under its position and call id; at a later entry it's found
    there."""
    agent = ctx.bound.current(state)
    options = options_of(ctx, state)
    wrapper = options.here
    tools = agent.tools_by_name if not agent.mcp_servers else await _with_servers(ctx, agent, options, wrapper)
    calls, hands_off = _calls(state, agent, options, tools)
    if len(calls) == 1 and _leaves_at_once(calls[0], agent, ctx):
        make = _perform(state, ctx, options, wrapper, agent, calls[0])  # the visit's only effect
        done = [Done(await make)]
    else:
        ready = await _ask(state, ctx, options, agent, wrapper, calls)
        within = _gate(options)
        waits = len(ready) < len(calls)
        going = [_once(state, ctx, options, wrapper, agent, call, within, waits) for call in ready]
        done = await together(going)
        tripped = next((one.record["tripped"] for one in done if one.record.get("tripped")), None)
        if waits and tripped is None:
            update = _standing(state, wrapper)
            return Goto("needs_decision", undecided=[call.question for call in calls if call not in ready], **update)
    return await _leave(state, ctx, options, agent, wrapper, calls, done, hands_off)


async def _leave(
    state: AgentState, ctx: Context, options: Options, agent: AgentSpec[Any], wrapper: RunContextWrapper[Any],
    calls: list[Call], done: list[Done], hands_off: bool,
) -> Outcome:  # fmt: skip
    """Where the run goes when every call has its end."""
    ended: list[Done] = []
    tripped, learned = None, False
    for one in done:
        record = one.record
        if "item" in record:
            ended.append(one)
        learned = learned or "verdicts" in record or "custom" in record
        tripped = tripped or record.get("tripped")
    update = {"items": [one.named("item") for one in ended]}
    if learned:
        update.update(_learned(done))
    if wrapper.approvals.tools:
        update.update(_standing(state, wrapper))
    if tripped is not None:
        return Goto("tripped", tripped=tripped, **update, **await save(state, ctx, options, upto=state.reply_at))
    if hands_off:
        return Goto("handoff", **update)
    if agent.tool_use_behavior != "run_llm_again":
        final = await _final(ctx, options, agent, wrapper, calls, done)
        if final is not None:
            return Goto("final", final="value", output=final.final_output, **update)
    return Goto("done", **update, **await save(state, ctx, options, [one.item for one in ended]))


def _learned(done: Sequence[Done]) -> dict[str, Any]:
    """What guardrails said of the calls, and the app's own data of their outputs."""
    update: dict[str, Any] = {}
    verdicts = [one.named("verdicts", i) for one in done for i in range(len(one.record.get("verdicts", ())))]
    if verdicts:
        update["verdicts"] = verdicts
    custom = {one.item["call_id"]: one.named("custom") for one in done if "custom" in one.record}
    if custom:
        update["custom"] = custom
    return update


def _standing(state: AgentState, wrapper: RunContextWrapper[Any]) -> dict[str, Any]:
    """The decisions that hold for all calls of a tool and that the state doesn't have yet."""
    orders = wrapper.approvals.tools.items()
    new = {tool: one.as_answer() for tool, one in orders if state.sticky.get(tool) != one.as_answer()}
    return {"sticky": new} if new else {}


def _leaves_at_once(call: Call, agent: AgentSpec[Any], ctx: Context) -> bool:
    """Whether a single call needs no record of its own: the visit then ends with it, and the transition is the
    record."""
    tool = call.tool
    return (
        tool is not None
        and tool.needs_approval is False
        and tool.on_crash == "retry"
        and agent.tool_use_behavior == "run_llm_again"
        and FOREIGN not in ctx.meta
    )


async def await_decision(state: AgentState, ctx: Context) -> Pause:
    """Wait until any of the open questions is answered, maybe it is already; the tools' visit goes on then."""
    return Pause(*state.undecided, on="decided", enough="any")


def _gate(options: Options) -> asyncio.Semaphore | None:
    """How many calls run at a time, where the config says so."""
    execution = options.config.tool_execution
    most = None if execution is None else execution.max_function_tool_concurrency
    return None if most is None else asyncio.Semaphore(most)


async def _with_servers(
    ctx: Context, agent: AgentSpec[Any], options: Options, wrapper: RunContextWrapper[Any]
) -> Mapping[str, FunctionTool]:
    """The agent's tools and those of its MCP servers, by qualified name."""
    found = options.offered.get(agent.name)
    if found is None:  # another process than the one that called the model
        found = await listed_tools(ctx, options, agent, wrapper)
    return qualified_tools(found)


def _calls(
    state: AgentState, agent: AgentSpec[Any], options: Options, tools: Mapping[str, FunctionTool]
) -> tuple[list[Call], bool]:
    """The calls of the last reply, and whether it hands off as well. Raises ModelBehaviorError."""
    own_handoffs = agent.resolved_handoffs
    handoffs = {one.tool_name for one in own_handoffs} if own_handoffs else ()
    calls: list[Call] = []
    questions: set[str] = set()
    hands_off = False
    for position, item in enumerate(state.pending_calls()):
        of_function = item["type"] == "function_call"
        if of_function and item["name"] in handoffs:
            hands_off = True
            continue
        tool = called_tool(tools, item) if of_function else None
        if tool is None and of_function and options.config.tool_not_found_behavior == "raise_error":
            raise ModelBehaviorError(f"Tool {called_name(item)} not found in agent {agent.name}")
        question = call_id_of(item)
        if question in questions:  # a model that used a call id twice: an answer is for one call
            question = f"{question}#{position}"
        questions.add(question)
        calls.append(Call(position, item, tool, question))
    return calls, hands_off


# -- what needs a person's word ----------------------------------------------------------------------------------------


async def _ask(
    state: AgentState, ctx: Context, options: Options, agent: AgentSpec[Any], wrapper: RunContextWrapper[Any],
    calls: list[Call],
) -> list[Call]:  # fmt: skip
    """Open a request for each call that needs a decision; the calls that may go on now. Requests are opened before a
    call runs."""
    ready: list[Call] = []
    visit = ctx.visit_record
    orders = {tool: Decision.of(answer) for tool, answer in state.sticky.items()}
    for call in calls:
        if call.question in ctx.answers:
            decision = Decision.of(ctx.answers[call.question])
            if decision.always:
                orders[call.kept_as] = decision
    for call in calls:
        if call.key in visit.effects and not isinstance(call.tool, AgentTool):
            ready.append(call)
            continue
        if call.question not in visit.questions:
            if not await _needs_approval(ctx, options, wrapper, agent, call):
                ready.append(call)
                continue
            call.decision = orders.get(call.kept_as)
            if call.decision is not None:
                ready.append(call)
                continue
            asked: dict[str, Any] = {
                "tool": call.name,
                "call_id": call_id_of(call.item),
                "arguments": call.arguments,
                "agent": agent.name,
            }
            if isinstance(call.tool, FunctionTool) and call.tool.secret_arguments:
                asked[KEY] = sorted(call.tool.secret_arguments)
            origin = describe(call.tool).origin
            if origin is not None and origin.mcp_server_name is not None:  # nobody else could tell it elsewhere
                asked["origin"] = origin.to_json_dict()
            if call.label is not None:
                asked["server_label"] = call.label
            await ctx.request(call.question, asked, kind=APPROVAL)
        if call.question not in ctx.answers:
            known = orders.get(call.kept_as)
            known = known or wrapper.approvals.given(call.name, call_id_of(call.item), call.arguments, call.label)
            if known is not None:
                await ctx.answer(call.question, known.as_answer())
        if call.question in ctx.answers:
            call.decision = Decision.of(ctx.answers[call.question])
            ready.append(call)
            wrapper.approvals.tell(call.name, call_id_of(call.item), call.decision, call.label)
    if orders:
        wrapper.approvals.tools = {**wrapper.approvals.tools, **orders}
    return ready


async def _needs_approval(
    ctx: Context, options: Options, wrapper: RunContextWrapper[Any], agent: AgentSpec[Any], call: Call
) -> bool:
    """Whether a call waits for a person. Where the config wants it, its input guardrails look at it before it's asked
    about: one that they don't let pass isn't asked about, and doesn't run."""
    if call.tool is None:
        return call.item["type"] == "mcp_approval_request" and not decided_by_app(agent, call)
    try:
        if not await call.tool.requires_approval(wrapper, call.arguments, call.item["call_id"]):
            return False
    except Exception as error:
        call.tool.blame(error)
    execution = options.config.tool_execution
    if execution is None or not execution.pre_approval_tool_input_guardrails or not call.tool.tool_input_guardrails:
        return True

    async def look() -> Any:
        found = await judge_input(call.tool, call.context(ctx, options, wrapper, agent), agent)
        options.found(found.results)
        return record_of(call, found, as_json(found.results, call.tool, call.item["call_id"]))

    call.judged = await ctx.once(f"{call.key}/before", look)
    return call.judged is None or not ("item" in call.judged or "tripped" in call.judged)


# -- a call, recorded --------------------------------------------------------------------------------------------------


async def _once(
    state: AgentState, ctx: Context, options: Options, wrapper: RunContextWrapper[Any], agent: AgentSpec[Any],
    call: Call, within: asyncio.Semaphore | None, waits: bool,
) -> Done:  # fmt: skip
    """A call's end, recorded; or what is told of a call that isn't made, recorded where others wait (``waits``)."""
    if call.judged is not None and ("item" in call.judged or "tripped" in call.judged):
        return Done(call.judged, f"{call.key}/before")
    told = isinstance(call.tool, AgentTool)  # the child's end is recorded under the call's own key
    key = f"{call.key}/told" if told else call.key
    instead: Callable[..., Awaitable[dict[str, Any]]] | None = None
    if call.decision is not None and not call.decision.approved and call.tool is not None:
        instead = partial(rejected, options, wrapper, call, call.decision)
    elif call.tool is None and call.item["type"] == "function_call":
        instead = partial(unknown, options, wrapper, call)
    if instead is not None:
        if not waits and key not in ctx.visit_record.effects:
            return Done(await instead())
        return Done(await ctx.once(key, lambda *_: instead(), *(() if told else (call.name, call.arguments))), key)

    async def go(name: str, arguments: str) -> Any:
        return await _perform(state, ctx, options, wrapper, agent, call)

    if told:  # a child run is no effect within an effect: it's found by itself
        record = await _perform(state, ctx, options, wrapper, agent, call)
        return Done(await ctx.once(key, lambda: record), key)
    how = "retry" if call.tool is None else call.tool.on_crash
    doubt = in_doubt(ctx, options, wrapper, agent, call) if how == "ask" else None
    if within is None:
        return Done(await ctx.once(key, go, call.name, call.arguments, on_crash=how, doubt=doubt), key)
    async with within:
        return Done(await ctx.once(key, go, call.name, call.arguments, on_crash=how, doubt=doubt), key)


async def _perform(
    state: AgentState, ctx: Context, options: Options, wrapper: RunContextWrapper[Any], agent: AgentSpec[Any],
    call: Call,
) -> dict[str, Any]:  # fmt: skip
    """Make a call; its record."""
    if call.tool is None:
        return {"item": await response_to(wrapper, agent, call)}
    told_key = f"{call.key}/told"
    if isinstance(call.tool, AgentTool):
        found = ctx.visit_record.effects.get(told_key)
        if found is not None:
            record: dict[str, Any] = found.value
            return record
        with ctx.inside(call.key):
            return await call_agent(ctx, options, wrapper, agent, call, call.tool)
    return await perform(ctx, options, wrapper, agent, call)


# -- calls that end the run --------------------------------------------------------------------------------------------


async def _final(
    ctx: Context, options: Options, agent: AgentSpec[Any], wrapper: RunContextWrapper[Any], calls: list[Call],
    done: list[Done],
) -> ToolsToFinalOutputResult | None:  # fmt: skip
    """Whether the tools' results end the run, by the agent's ``tool_use_behavior``. A function is given the Python
    values that tools gave in this process, and JSON of those that are only recorded."""
    how = agent.tool_use_behavior
    results = [
        _result(ctx, options, agent, call.tool, one)
        for call, one in zip(calls, done, strict=True)
        if call.tool is not None
    ]
    if not results:
        return None
    if how == "stop_on_first_tool":
        return _output_of(agent, results[0].output)
    if isinstance(how, Mapping):
        stops = how.get("stop_at_tool_names", ())
        return next((_output_of(agent, one.output) for one in results if _stops(one.tool, stops)), None)
    answer = how(wrapper, results)
    if inspect.isawaitable(answer):
        answer = await answer
    if not isinstance(answer, ToolsToFinalOutputResult):
        raise UserError(
            f"agent '{agent.name}': its tool_use_behavior gave a {type(answer).__name__}; give a"
            " ToolsToFinalOutputResult"
        )
    return _output_of(agent, answer.final_output) if answer.is_final_output else None


def _result(ctx: Context, options: Options, agent: AgentSpec[Any], tool: FunctionTool, one: Done) -> FunctionToolResult:
    """A call's result, as users know it."""
    item, shown = one.item, ctx.bound.shown
    value = options.values.get((ctx.visit, item["call_id"]), one.record.get("value", item["output"]))
    run_item = item if shown is None else shown.given(agent, tool, item, value, one.record.get("custom"))
    return FunctionToolResult(tool, value, run_item)


def _stops(tool: FunctionTool, stops: Any) -> bool:
    """Whether a call of this tool ends the run, by its name with or without its namespace."""
    return tool.name in stops or tool.qualified_name in stops


def _output_of(agent: AgentSpec[Any], value: Any) -> ToolsToFinalOutputResult:
    """A value that ends the run as JSON: text of an agent whose output is text, else of its output type where it can
    be."""
    schema = agent.output_schema
    if schema.is_plain_text():
        return ToolsToFinalOutputResult(True, value if isinstance(value, str) else str(value))
    plain = value_as_json(value)
    for parsed in (False, True):
        try:
            return ToolsToFinalOutputResult(True, schema.to_jsonable(schema.from_jsonable(plain) if parsed else value))
        except (AgentsException, TypeError, ValueError):
            continue
    return ToolsToFinalOutputResult(True, plain)
