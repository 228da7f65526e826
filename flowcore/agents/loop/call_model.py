"""``call_model``: one turn of the current agent. Its instructions, tools and handoffs are resolved here, each time."""

from __future__ import annotations

import asyncio
import inspect
import warnings
from collections.abc import Collection, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from flowcore.agents.agent import AgentSpec, always_offered, offered
from flowcore.agents.handoffs import Handoff
from flowcore.agents.hosted import servers_for
from flowcore.agents.items import input_items, is_message, refusal_of, text_of, user_message
from flowcore.agents.lifecycle import fire, hears
from flowcore.agents.loop.ends import final_update, handled, told_of
from flowcore.agents.loop.judge import ask, input_judges, input_of, keys_of, subject_of
from flowcore.agents.loop.listing import listed_tools, mark_secrets, marked
from flowcore.agents.loop.saving import save, session_history
from flowcore.agents.loop.state import CALLS, AgentState
from flowcore.agents.loop.together import together
from flowcore.agents.namespaces import called_name, called_tool, qualified_tools
from flowcore.agents.options import Options, options_of
from flowcore.agents.prompts import Prompt
from flowcore.agents.run_config import CallModelData, ModelInputData, RunConfig
from flowcore.engine.context import Context
from flowcore.errors import ModelBehaviorError, UserError
from flowcore.graph.node import RETRY, Retry
from flowcore.graph.outcomes import Goto, Of
from flowcore.graph.state import listed
from flowcore.graph.values import shorten
from flowcore.machine.facts import Effect, Rested, Transition
from flowcore.models.base import Item, Model, ModelResponse, ModelTracing
from flowcore.models.default_models import settings_for
from flowcore.models.openai_errors import timed_out
from flowcore.models.provider import default_provider
from flowcore.models.replies import Heard, as_reply, kind_of
from flowcore.models.retry import SAFE_EVENTS, context_for, decide
from flowcore.models.settings import ModelSettings
from flowcore.models.usage import Usage

Outcome = Goto[Literal["tool_calls", "handoff", "output", "again", "invalid_output", "refused", "tripped"]]
INVALID = "invalid_final_output"
"""The error handler that is asked about output that its type doesn't admit."""
MODEL = "model"
"""The key of the model call where guardrails run beside it."""
CONVERSATION = "conversation"
"""The run's ``meta`` tells here how a provider keeps the conversation: ``conversation_id``, ``previous_response_id``
and ``auto``."""
_TRACING = ModelTracing.DISABLED


@dataclass(slots=True)
class Turn:
    """What is resolved for one model call.

    ``added``: input that was sent to the run and that the model hasn't seen. ``raised``: what the model's call raised;
    errors of anything else aren't tried again.
    ``streamed``: something of the reply was handed out.
    ``usage``: what the reply used, where it came to this process.
    """

    agent: AgentSpec[Any]
    model: Model
    model_name: str
    settings: ModelSettings
    instructions: str | None
    prompt: Prompt | None
    tools: Sequence[Any]
    handoffs: Sequence[Handoff]
    added: Sequence[Item]
    previous_response_id: str | None = None
    conversation_id: str | None = None
    raised: BaseException | None = None
    streamed: bool = False
    usage: Usage | None = None

    def again(self, call: Any) -> bool:
        """Whether what the entry raised is what the model's call raised: only that is tried again."""
        return self.raised is call.outcome.exception()


async def call_model(state: AgentState, ctx: Context) -> Outcome:
    """Call the model and say what its reply asks for. Guardrails that run beside it are heard before any transition."""
    ctx.retry = None  # an error of hooks or instructions isn't the model's, whatever its type
    agent = ctx.bound.current(state)
    options = options_of(ctx, state)
    inputs = ctx.inputs
    added: Sequence[Item] = ()
    if inputs:
        added = [item for sent in inputs[state.inputs_taken :] for item in input_items(sent)]
    if state.fresh and _announces(ctx, None):
        await fire("on_agent_start", options.hooks, agent.hooks, options.hook_context(ctx), agent)
    turn = await _resolve(state, ctx, agent, options, added)
    new: list[Any]
    blocking, beside, subject = _judges(state, ctx, agent, options, added)
    update: dict[str, Any] = {}
    keys = keys_of([*blocking, *beside]) if blocking or beside else []
    tripped = None
    if blocking:  # of input that joined the run: that of its start was judged in a node of its own
        asked = [ask(ctx, options, key, "input", agent, judge, subject)
                 for key, judge in zip(keys, blocking, strict=False)]  # fmt: skip
        tripped = next((one for one in await together(asked) if one["tripped"]), None)
    if tripped is None and not keys:
        reply = await _call(ctx, turn, options, *await _begun(state, ctx, turn, options, ()))
        new = reply["output"]
    elif tripped is None:
        tripped, reply = await _beside(state, ctx, turn, options, beside, keys[len(blocking) :], subject)
    if keys:
        update["verdicts"] = [Of(key) for key in keys if key in ctx.visit_record.effects]
    if tripped is not None:
        if added:
            update["items"] = added
        return Goto("tripped", tripped=tripped, **update, **await save(state, ctx, options, list(added)))
    if keys:
        new = [Of(MODEL, "output", i) for i in range(len(reply["output"]))]
    try:
        on, more, told = _classify(state, turn, reply["output"], options)
    except InvalidOutput as error:
        on, more, told = await _mended(state, ctx, turn, reply, options, error)
    update["items"] = [*added, *new, *told] if added or told else new
    update["reply_at"] = len(state.items) + len(added)
    _note_progress(state, ctx, turn, reply, update)
    update.update(more)
    if keys:  # nobody objects to the input: the session has it from here on
        update.update(await save(state, ctx, options))
    return Goto(on, **update)


def _note_progress(state: AgentState, ctx: Context, turn: Turn, reply: dict[str, Any], update: dict[str, Any]) -> None:
    """What of this turn the next one has to know, where it changed."""
    if turn.added:
        update["inputs_taken"] = len(ctx.inputs)
    if state.fresh:
        update["fresh"] = False
    if turn.model_name != state.model:
        update["model"] = turn.model_name
    if turn.model.span != state.span:
        update["span"] = turn.model.span
    if reply["response_id"] is not None:
        update["response_id"] = reply["response_id"]
    if CONVERSATION in ctx.meta:
        update["sent"] = update["reply_at"] + len(reply["output"])


def _announces(ctx: Context, after: Collection[str] | None) -> bool:
    """Whether hooks are told that the turn begins: once for each visit, and when the run goes on after it failed or was
    cancelled there, so that a hook that raised is never passed over; not when the model's call is tried again.

    ``after``: the effects that aren't begun before it's told (None: any effect); where one is recorded, hooks know.
    """
    for fact in reversed(ctx.journal):
        if type(fact) is Transition:
            return fact.on != RETRY
        if type(fact) is Rested and fact.standing in ("failed", "cancelled"):
            return True
        if type(fact) is Effect and (after is None or fact.key in after):
            return False
    return True


def _judges(
    state: AgentState, ctx: Context, agent: AgentSpec[Any], options: Options, added: Sequence[Item]
) -> tuple[Sequence[Any], Sequence[Any], Any]:
    """The guardrails of input that nobody has judged yet: those that come before the call, those beside it, and what
    they look at. The run's first input is judged by its first agent, what joins it later by the current one."""
    first = len(state.items) == state.begun and agent.name == ctx.bound.first
    if not first and not added:
        return (), (), None
    blocking = input_judges(agent, options, parallel=False) if added else ()
    beside = input_judges(agent, options, parallel=True)
    if not first:
        return blocking, beside, subject_of(added)
    return blocking, beside, subject_of([*state.items, *added]) if added else input_of(state)


async def _resolve(
    state: AgentState, ctx: Context, agent: AgentSpec[Any], options: Options, added: Sequence[Item]
) -> Turn:
    config = options.config
    wrapper = options.here
    chosen = config.model if config.model is not None else agent.model
    model = chosen if isinstance(chosen, Model) else (config.model_provider or default_provider()).get_model(chosen)
    settings = agent.model_settings
    if chosen is None or config.model is not None:
        settings = settings_for(settings, agent.model, chosen, model)
    if config.model_settings is not None:
        settings = settings.resolve(config.model_settings)
    if agent.reset_tool_choice and settings.tool_choice is not None and agent.name in state.used_tools:
        settings = replace(settings, tool_choice=None)
    tools: Sequence[Any]
    if agent.mcp_servers:
        listed = await listed_tools(ctx, options, agent, wrapper)
        if not marked(ctx, agent, listed):
            await mark_secrets(ctx, agent, listed)
        tools = await offered(listed, wrapper, agent)
    else:
        if not marked(ctx, agent, agent.tools):
            await mark_secrets(ctx, agent, agent.tools)
        tools = agent.tools if always_offered(agent.tools) else await offered(agent.tools, wrapper, agent)
    handoffs = agent.resolved_handoffs
    if handoffs and not always_offered(handoffs):
        handoffs = await offered(handoffs, wrapper, agent)
    if tools and handoffs:
        tools = _apart(tools, handoffs, agent, config)
    prompt = None
    if agent.prompt is None:
        instructions = await agent.get_system_prompt(wrapper)
    else:
        instructions, prompt = await asyncio.gather(agent.get_system_prompt(wrapper), agent.get_prompt(wrapper))
    name = getattr(model, "model", None) or type(model).__name__
    turn = Turn(agent, model, name, settings, instructions, prompt, tools, handoffs, added)
    kept = ctx.meta.get(CONVERSATION)
    if kept is not None:
        turn.conversation_id = kept["conversation_id"]
        if turn.conversation_id is None:
            turn.previous_response_id = state.response_id or kept["previous_response_id"]
    return turn


def _apart(
    tools: Sequence[Any], handoffs: Sequence[Handoff], agent: AgentSpec[Any], config: RunConfig
) -> Sequence[Any]:
    """The tools without those that a handoff of the same name stands for. Raises UserError if the config says so."""
    taken = {one.tool_name for one in handoffs}
    both = [tool.name for tool in tools if tool.name in taken]
    if not both:
        return tools
    told = (
        f"agent '{agent.name}': {listed(both)} names a tool and a handoff; rename one"
        " (handoff(..., tool_name_override=...))"
    )
    if config.tool_name_collision_policy == "error":
        raise UserError(told)
    warnings.warn(f"{told}. Until then the handoff is offered", stacklevel=2)
    return [tool for tool in tools if tool.name not in taken]


async def _begun(
    state: AgentState, ctx: Context, turn: Turn, options: Options, after: Collection[str]
) -> tuple[Sequence[Item], str | None]:
    """What the model sees, once hooks were told of it. ``after``: the effects that are begun then."""
    hooks, own = options.hooks, turn.agent.hooks
    items, instructions = await _input(state, ctx, turn, options)
    if (hooks is not None or own is not None) and hears("on_llm_start", hooks, own) and _announces(ctx, after):
        await fire("on_llm_start", hooks, own, options.wrapper(ctx), turn.agent, instructions, list(items))
    return items, instructions


async def _call(
    ctx: Context, turn: Turn, options: Options, items: Sequence[Item], instructions: str | None
) -> dict[str, Any]:
    """One reply, as the journal keeps it: ``{output, response_id}``; what it used is spent."""
    hooks, own = options.hooks, turn.agent.hooks
    if ctx.observed:
        _tell(ctx, turn, options, items, instructions)
    listening = ctx.listening
    asking = _asking(turn, items, instructions, ctx, listening)
    try:
        seconds = turn.settings.timeout
        reply = await (asking if seconds is None else _within(seconds, asking, turn))
    except Exception as error:
        turn.raised = error
        retry = turn.settings.retry
        asked = context_for(
            turn.model, error, ctx.attempt, retry, stream=listening, response_started=turn.streamed,
            previous_response_id=turn.previous_response_id, conversation_id=turn.conversation_id,
        )  # fmt: skip
        delay = await decide(retry, asked, ctx.random.random())
        if delay is not None:
            ctx.retry = Retry(1_000, delay, turn.again, exact=True)  # `decide` has counted the attempts
        ctx.spend(requests=1)  # it was made, whatever came of it
        raise
    counts = reply.usage.to_counts()
    counts.setdefault("requests", 1)
    ctx.spend(**counts)
    turn.usage = reply.usage
    if reply.raw_output is not None:
        options.came(ctx.visit, len(turn.added), reply.raw_output)
    if hooks is not None or own is not None:
        await fire("on_llm_end", hooks, own, options.wrapper(ctx), turn.agent, reply)
    return {"output": reply.output, "response_id": reply.response_id}


async def _asking(
    turn: Turn, items: Sequence[Item], instructions: str | None, ctx: Context, listening: bool
) -> ModelResponse:
    """The model's reply, by either verb."""
    schema: Any = turn.agent.output_schema
    if schema.is_plain_text():
        schema = None
    model = turn.model
    if not model.reads_only and type(items) is not list:
        items = list(items)  # it may add to its list; the items are the state's
    given = (instructions, items, turn.settings, turn.tools, schema, turn.handoffs, _TRACING)
    if listening:
        return await _streamed(turn, given, ctx)
    reply = await model.get_response(
        system_instructions=instructions,
        input=items,
        model_settings=turn.settings,
        tools=turn.tools,
        output_schema=schema,
        handoffs=turn.handoffs,
        tracing=_TRACING,
        previous_response_id=turn.previous_response_id,
        conversation_id=turn.conversation_id,
        prompt=turn.prompt,
    )
    return as_reply(reply, model)


async def _within(seconds: float, asking: Coroutine[Any, Any, ModelResponse], turn: Turn) -> ModelResponse:
    """A reply that comes in time, or ModelTimeoutError."""
    try:
        async with asyncio.timeout(seconds) as time:
            return await asking
    except TimeoutError as error:
        if not time.expired():
            raise
        raise timed_out(f"model '{turn.model_name}'", seconds) from error


def _tell(ctx: Context, turn: Turn, options: Options, items: Sequence[Item], instructions: str | None) -> None:
    """Tell observers what the facts don't say of a model call."""
    told: dict[str, Any] = {
        "kind": "generation",
        "model": turn.model_name,
        "span": turn.model.span,
        "settings": turn.settings,
        "tools": turn.tools,
    }
    if options.config.trace_include_sensitive_data:
        told["instructions"], told["input"] = instructions, items
    ctx.note(**told)


async def _streamed(turn: Turn, arguments: tuple[Any, ...], ctx: Context) -> ModelResponse:
    """A reply whose events are handed out as they come."""
    heard = Heard(turn.model)
    events = turn.model.stream_response(
        *arguments,
        previous_response_id=turn.previous_response_id,
        conversation_id=turn.conversation_id,
        prompt=turn.prompt,
    )
    async for event in events:
        if not isinstance(event, ModelResponse):
            ctx.emit(event)
            if not turn.streamed:
                turn.streamed = kind_of(event) not in SAFE_EVENTS
        heard.hear(event)
    return heard.reply()


async def _input(state: AgentState, ctx: Context, turn: Turn, options: Options) -> tuple[Sequence[Item], str | None]:
    """What the model sees: the session before the run, then the run's items or the view of them that a filter chose, or
    where a provider keeps the conversation, what is new to it. Nothing of it is copied unless the config asks."""
    config = options.config
    items: Sequence[Item] = state.items
    if CONVERSATION in ctx.meta:
        items = state.items[state.sent :]
    elif state.view is not None:
        items = [*state.view, *state.items[state.view_at :]]
    if state.session_upto or state.history is not None:
        items = [*await session_history(state, ctx, options), *items]
    if turn.added:
        items = [*items, *turn.added]
    if config.reasoning_item_id_policy == "omit":
        items = [_without_id(item) if item.get("type") == "reasoning" else item for item in items]
    if config.call_model_input_filter is None:
        return items, turn.instructions
    return await _filtered(turn, options, list(items))


def _without_id(item: Item) -> Item:
    return {name: value for name, value in item.items() if name != "id"}


async def _filtered(turn: Turn, options: Options, items: list[Item]) -> tuple[Sequence[Item], str | None]:
    """What the config's filter makes of a call's input. Raises UserError when it gives something else."""
    choose = options.config.call_model_input_filter
    assert choose is not None
    given = CallModelData(
        ModelInputData([dict(item) for item in items], turn.instructions), turn.agent, options.context
    )
    made = choose(given)
    if inspect.isawaitable(made):
        made = await made
    if not isinstance(made, ModelInputData) or not isinstance(made.input, list):
        raise UserError(f"call_model_input_filter must return ModelInputData, not {shorten(made)}")
    return made.input, made.instructions


async def _beside(
    state: AgentState, ctx: Context, turn: Turn, options: Options, judges: Sequence[Any], keys: Sequence[str],
    subject: Any,
) -> tuple[Any, Any]:  # fmt: skip
    """The model call beside the guardrails: ``(the verdict that tripped, None)`` or ``(None, the reply)``.

    A trip cancels the call. All guardrails are heard, whichever is faster: a trip goes before an error, a guardrail's
    error before the model's, and of several the first by place. Verdicts of an earlier entry are found, so a retry asks
    nobody twice.
    """
    known = ctx.visit_record.effects
    tripped = any(known[key].value["tripped"] for key in keys if key in known)
    asked = tripped or MODEL in known  # by an earlier entry
    items, instructions = ((), None) if asked else await _begun(state, ctx, turn, options, (MODEL, *keys))
    calling: list[asyncio.Future[Any]] = []

    async def model() -> Any:
        if tripped:
            raise asyncio.CancelledError
        calling.append(asyncio.ensure_future(_call(ctx, turn, options, items, instructions)))
        try:
            reply = await calling[0]
        finally:
            calling[0].cancel()
        try:
            _classify(state, turn, reply["output"], options)  # one that can't be used isn't recorded: it's asked again
        except InvalidOutput as error:
            if INVALID not in (options.error_handlers or {}):
                raise error.told from error
        return reply if turn.model.span == state.span else {**reply, "span": turn.model.span}

    verdicts = [
        asyncio.ensure_future(ask(ctx, options, key, "input", turn.agent, judge, subject))
        for key, judge in zip(keys, judges, strict=True)
    ]
    replies = [] if tripped else [asyncio.ensure_future(ctx.once(MODEL, model))]
    waiting: set[asyncio.Future[Any]] = {*verdicts, *replies}
    try:
        while waiting:
            _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if not tripped and any(_trips(one) for one in verdicts):
                tripped = True
                waiting.difference_update(replies)
                for call in calling:
                    call.cancel()
        if tripped:
            return next(one.result() for one in verdicts if _trips(one)), None
        for one in (*verdicts, *replies):
            one.result()  # raises what the guardrail or the model raised
        return None, replies[0].result()
    finally:
        for one in (*verdicts, *replies):
            one.cancel()  # these only wait; the effects themselves are settled when the entry ends
            one.add_done_callback(_seen)


def _trips(verdict: asyncio.Future[Any]) -> bool:
    return verdict.done() and not verdict.cancelled() and not verdict.exception() and verdict.result()["tripped"]


def _seen(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()


async def _mended(
    state: AgentState, ctx: Context, turn: Turn, reply: dict[str, Any], options: Options, error: InvalidOutput
) -> tuple[Any, dict[str, Any], list[Item]]:
    """What a handler of ``invalid_final_output`` makes of output that can't be, instead of what ``_classify`` says."""
    whole = ModelResponse(reply["output"], turn.usage or Usage(), reply["response_id"])
    result = await handled(state, ctx, options, INVALID, error.told, whole)
    if result is None:
        raise error.told from error
    update = final_update(turn.agent, result)
    return "output", update, told_of(turn.agent, update, result)


class InvalidOutput(Exception):
    """Output that its type doesn't admit, after the last time that the model was asked again. ``told``: what is
    raised."""

    def __init__(self, told: ModelBehaviorError) -> None:
        super().__init__(told.message)
        self.told = told


def _classify(
    state: AgentState, turn: Turn, output: list[Item], options: Options
) -> tuple[Any, dict[str, Any], list[Item]]:
    """Which edge a reply takes, what else it updates, and what is told to the model. Raises ModelBehaviorError."""
    calls = [item for item in output if item.get("type") in CALLS]
    if calls:
        handoffs = {one.tool_name for one in turn.handoffs} if turn.handoffs else ()
        tools = turn.agent.tools_by_name if turn.tools is turn.agent.tools else qualified_tools(turn.tools)
        ours, unknown = False, []
        for call in calls:
            if call["type"] == "mcp_approval_request":
                ours = True
                if not servers_for(turn.agent, call):
                    raise ModelBehaviorError(f"MCP server label {call.get('server_label')} not found")
            elif call["name"] not in handoffs:
                ours = True
                if called_tool(tools, call) is None:
                    unknown.append(call)
        if unknown and options.config.tool_not_found_behavior == "raise_error":
            raise ModelBehaviorError(f"Tool {called_name(unknown[0])} not found in agent {turn.agent.name}")
        if ours:
            used = _used(state, turn)
            return "tool_calls", {**used, "unknown": [call["name"] for call in unknown]} if unknown else used, []
        return "handoff", {}, []
    message = next((item for item in reversed(output) if is_message(item)), None)
    if message is None:
        used = _used(state, turn) if any(str(item.get("type")).endswith("_call") for item in output) else {}
        return ("again" if output or not turn.agent.output_schema.is_plain_text() else "output"), used, []
    refused = refusal_of(message)
    if refused is not None:
        return "refused", {"refused": refused}, []
    return _final(state, turn, text_of(message), options)


def _used(state: AgentState, turn: Turn) -> dict[str, Any]:
    """The update that notes that the agent has used a tool, of its own or of the provider's."""
    return {} if turn.agent.name in state.used_tools else {"used_tools": {turn.agent.name: True}}


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
            raise InvalidOutput(error) from error
        told = f"That isn't a valid {schema.name()}: {error.message}. Answer with the JSON alone."
        return "invalid_output", {"reasks": state.reasks + 1}, [user_message(told)]
    return "output", {}, []
