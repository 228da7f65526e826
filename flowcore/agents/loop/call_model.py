"""``call_model``: one turn of the current agent. Its instructions, tools and handoffs are resolved here, each time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from flowcore.agents.agent import AgentSpec
from flowcore.agents.handoffs import Handoff
from flowcore.agents.items import is_message, refusal_of, text_of, user_message
from flowcore.agents.loop.judge import ask, input_judges, input_of, keys_of
from flowcore.agents.loop.saving import save, session_history
from flowcore.agents.loop.state import AgentState
from flowcore.agents.options import Options, options_of
from flowcore.agents.tools import FunctionTool
from flowcore.engine.context import Context
from flowcore.engine.retry import worth_retrying
from flowcore.errors import ModelBehaviorError
from flowcore.graph.node import Retry
from flowcore.graph.outcomes import Goto, Of
from flowcore.models.base import Item, Model, ModelResponse, ModelTracing
from flowcore.models.provider import get_model
from flowcore.models.settings import ModelRetryBackoffSettings, ModelSettings
from flowcore.models.usage import Usage

Outcome = Goto[Literal["tool_calls", "handoff", "output", "again", "invalid_output", "refused", "tripped"]]
MODEL = "model"
"""The key of the model call where guardrails run beside it."""


DELAYS = ModelRetryBackoffSettings(initial_delay=0.5, max_delay=8.0)
"""The waits between a call's attempts where the settings say nothing, in seconds."""


@dataclass(slots=True)
class Turn:
    """What is resolved for one model call."""

    agent: AgentSpec[Any]
    model: Model
    settings: ModelSettings
    instructions: str | None
    tools: Sequence[Any]
    handoffs: Sequence[Handoff]
    raised: BaseException | None = None
    """What the model's call raised; errors of anything else aren't tried again."""


async def call_model(state: AgentState, ctx: Context) -> Outcome:
    """Call the model and say what its reply asks for. Guardrails that run beside it are heard before any transition."""
    agent = ctx.bound.current(state)
    options = options_of(ctx, state)
    turn = await _resolve(state, ctx, agent, options)
    ctx.retry = _retry(ctx, turn)
    first = len(state.items) == state.begun  # nothing but the input, which nobody has judged yet
    judges = input_judges(state, ctx, agent, options, parallel=True) if first else []
    if not judges:
        reply = await _call(state, ctx, turn, options)
        new: list[Any] = reply["output"]
        verdicts = []
    else:
        keys = keys_of(judges)
        tripped, reply = await _beside(state, ctx, turn, options, judges, keys)
        verdicts = [Of(key) for key in keys if key in ctx.visit_record.effects]
        if tripped is not None:
            return Goto("tripped", verdicts=verdicts, tripped=tripped, **save(state, ctx))
        new = [Of(MODEL, "output", i) for i in range(len(reply["output"]))]
    on, more, told = _classify(state, turn, reply["output"], options)
    update: dict[str, Any] = {"items": [*new, *told], "reply_at": len(state.items), **more}
    if verdicts:
        update["verdicts"] = verdicts
    if reply["response_id"] is not None:
        update["response_id"] = reply["response_id"]
    return Goto(on, **update)


async def _resolve(state: AgentState, ctx: Context, agent: AgentSpec[Any], options: Options) -> Turn:
    config = options.config
    wrapper = options.wrapper(ctx)
    settings = agent.model_settings
    if config.model_settings is not None:
        settings = settings.resolve(config.model_settings)
    if agent.reset_tool_choice and settings.tool_choice is not None and agent.name in state.used_tools:
        settings = replace(settings, tool_choice=None)
    model = config.model if config.model is not None else agent.model
    if not isinstance(model, Model):
        model = config.model_provider.get_model(model) if config.model_provider is not None else get_model(model)
    tools = agent.tools
    if any(isinstance(tool, FunctionTool) and tool.is_enabled is not True for tool in tools):
        tools = [tool for tool in tools if not isinstance(tool, FunctionTool) or await tool.enabled(wrapper, agent)]
    handoffs = agent.resolved_handoffs
    if any(one.is_enabled is not True for one in handoffs):
        handoffs = [one for one in handoffs if await one.enabled(wrapper, agent)]
    return Turn(agent, model, settings, await agent.get_system_prompt(wrapper), tools, handoffs)


def _retry(ctx: Context, turn: Turn) -> Retry:
    """The policy of this call: the settings' own where they have one, else three attempts with growing waits. Only what
    the model raised is tried again."""
    wanted = turn.settings.retry
    delays = DELAYS
    attempts, ask = 3, None
    if wanted is not None:
        attempts, ask = (wanted.max_retries or 0) + 1, wanted.policy
        delays = wanted.backoff or ModelRetryBackoffSettings()

    def again(call: Any) -> bool:
        error = turn.raised
        return (
            error is not None
            and error is call.outcome.exception()
            and (worth_retrying(error) if ask is None else bool(ask(call)))
        )

    return Retry(attempts, lambda call: delays.delay(call.attempt_number, ctx.random.random()), again)


async def _call(state: AgentState, ctx: Context, turn: Turn, options: Options) -> dict[str, Any]:
    """One reply, as the journal keeps it: ``{output, response_id}``; what it used is spent."""
    schema = turn.agent.output_schema
    arguments = (
        turn.instructions,
        await _input(state, ctx, options),
        turn.settings,
        turn.tools,
        None if schema.is_plain_text() else schema,
        turn.handoffs,
        ModelTracing.DISABLED,
    )
    try:
        reply = await (_streamed(turn.model, arguments, ctx) if ctx.listening else turn.model.get_response(*arguments))
    except Exception as error:
        turn.raised = error
        raise
    _spend(ctx, reply.usage)
    if reply.raw_output is not None:
        options.raw.update(((ctx.visit, i), raw) for i, raw in enumerate(reply.raw_output))
    return {"output": reply.output, "response_id": reply.response_id}


async def _streamed(model: Model, arguments: tuple[Any, ...], ctx: Context) -> ModelResponse:
    """A reply whose events are handed out as they come."""
    reply = None
    async for event in model.stream_response(*arguments):
        if isinstance(event, ModelResponse):
            reply = event
        else:
            ctx.emit(event)
    if reply is None:
        raise ModelBehaviorError(f"{type(model).__name__}.stream_response ended without a ModelResponse")
    return reply


def _spend(ctx: Context, usage: Usage) -> None:
    counts = usage.to_counts()
    counts.setdefault("requests", 1)
    ctx.spend(**counts)


async def _input(state: AgentState, ctx: Context, options: Options) -> Sequence[Item]:
    """What the model sees: the session before the run, then the run's items or the view of them that a filter chose."""
    items: Sequence[Item] = state.items
    if state.view is not None:
        items = [*state.view, *state.items[state.view_at :]]
    history = await session_history(state, ctx, options)
    return [*history, *items] if history else items


async def _beside(
    state: AgentState, ctx: Context, turn: Turn, options: Options, judges: Sequence[Any], keys: Sequence[str]
) -> tuple[Any, Any]:
    """The model call beside the guardrails: ``(the verdict that tripped, None)`` or ``(None, the reply)``.

    A trip cancels the call. Verdicts of an earlier entry are found, so a retry asks nobody twice.
    """
    subject = input_of(state)
    for key in keys:
        found = ctx.visit_record.effects.get(key)
        if found is not None and found.value["tripped"]:
            return found.value, None
    calling: list[asyncio.Future[Any]] = []
    tripped = False

    async def model() -> Any:
        if tripped:
            raise asyncio.CancelledError
        calling.append(asyncio.ensure_future(_call(state, ctx, turn, options)))
        try:
            reply = await calling[0]
        finally:
            calling[0].cancel()
        _classify(
            state, turn, reply["output"], options
        )  # a reply that can't be used isn't recorded: a resume asks again
        return reply

    verdicts = [
        asyncio.ensure_future(ask(ctx, options, key, "input", turn.agent, judge, subject))
        for key, judge in zip(keys, judges, strict=True)
    ]
    reply = asyncio.ensure_future(ctx.once(MODEL, model))
    waiting: set[asyncio.Future[Any]] = {*verdicts, reply}
    try:
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                if one is not reply and not one.cancelled() and one.exception() is None and one.result()["tripped"]:
                    tripped = True
                    for call in calling:
                        call.cancel()
                    return one.result(), None
            for one in done:
                one.result()  # raises what the guardrail or the model raised
            if reply.done() and all(one.done() for one in verdicts):
                break
        return None, reply.result()
    finally:
        for one in (*verdicts, reply):
            one.cancel()  # these only wait; the effects themselves are settled when the entry ends
            one.add_done_callback(_seen)


def _seen(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()


def _classify(
    state: AgentState, turn: Turn, output: list[Item], options: Options
) -> tuple[Any, dict[str, Any], list[Item]]:
    """Which edge a reply takes, what else it updates, and what is told to the model. Raises ModelBehaviorError."""
    calls = [item for item in output if item.get("type") == "function_call"]
    if calls:
        handoffs = {one.tool_name for one in turn.handoffs}
        tools = {tool.name for tool in turn.tools if isinstance(tool, FunctionTool)}
        for call in calls:
            if call["name"] not in tools and call["name"] not in handoffs:
                raise ModelBehaviorError(f"Tool {call['name']} not found in agent {turn.agent.name}")
        if any(call["name"] not in handoffs for call in calls):
            used = {} if turn.agent.name in state.used_tools else {"used_tools": {turn.agent.name: True}}
            return "tool_calls", used, []
        return "handoff", {}, []
    message = next((item for item in reversed(output) if is_message(item)), None)
    if message is None:
        return ("again" if output or not turn.agent.output_schema.is_plain_text() else "output"), {}, []
    refused = refusal_of(message)
    if refused is not None:
        return "refused", {"refused": refused}, []
    return _final(state, turn, text_of(message), options)


def _final(state: AgentState, turn: Turn, text: str, options: Options) -> tuple[Any, dict[str, Any], list[Item]]:
    """A message: the output, if its type admits it."""
    schema = turn.agent.output_schema
    if schema.is_plain_text():
        return "output", {}, []
    if not text.strip():
        return "again", {}, []
    try:
        schema.validate_json(text)
    except ModelBehaviorError as error:
        if state.reasks >= options.config.reasks:
            raise
        told = f"That isn't a valid {schema.name()}: {error.message}. Answer with the JSON alone."
        return "invalid_output", {"reasks": state.reasks + 1}, [user_message(told)]
    return "output", {}, []
