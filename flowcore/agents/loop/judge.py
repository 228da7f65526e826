"""``input_guardrails`` and ``output_guardrails``: the judging before and after; and the verdicts beside a model
call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from flowcore.agents.agent import AgentSpec
from flowcore.agents.guardrails import info_as_json
from flowcore.agents.items import function_output
from flowcore.agents.loop.saving import save
from flowcore.agents.loop.state import AgentState, typed_output
from flowcore.agents.loop.together import together
from flowcore.agents.options import Options, options_of
from flowcore.agents.run_config import OutputGuardrailBlockedMessageArgs
from flowcore.engine.context import Context
from flowcore.engine.log import log
from flowcore.graph.outcomes import Goto, Of
from flowcore.graph.values import shorten
from flowcore.models.base import Item

LISTED = "listed"
"""The run's ``meta`` says here that its input was given as a list of items, and not as a text."""
WITHHELD = "Output withheld by an output guardrail."
"""What stands in a session for the output of a tool that ended the run and was rejected."""


def input_judges(agent: AgentSpec[Any], options: Options, parallel: bool) -> list[Any]:
    """The input guardrails of an agent and of the run that look at new input, the agent's own first."""
    judges = [*agent.input_guardrails, *(options.config.input_guardrails or ())]
    return [judge for judge in judges if judge.run_in_parallel is parallel]


def keys_of(judges: Sequence[Any]) -> list[str]:
    """The effects' keys: a guardrail's place and name."""
    return [f"guardrail:{i}:{judge.get_name()}" for i, judge in enumerate(judges)]


async def ask(
    ctx: Context, options: Options, key: str, kind: str, agent: AgentSpec[Any], judge: Any, subject: Any
) -> Any:
    """One verdict, recorded: ``{guardrail, kind, agent, tripped, info}``."""

    async def look() -> Any:
        wrapper = options.wrapper(ctx)
        try:
            if kind == "input":
                found = await judge.run(agent, subject, wrapper)
            else:
                found = await judge.run(wrapper, agent, subject)
        finally:
            options.wrapper(ctx)  # what it added to the usage is written down with its verdict, or that it failed
        options.found((found,))
        return {
            "guardrail": judge.get_name(),
            "kind": kind,
            "agent": agent.name,
            "tripped": bool(found.output.tripwire_triggered),
            "info": info_as_json(found.output.output_info),
        }

    return await ctx.once(key, look)


async def input_guardrails(state: AgentState, ctx: Context) -> Goto[Literal["passed", "tripped"]]:
    """The guardrails that come before the model is called."""
    agent = ctx.bound.current(state)
    options = options_of(ctx, state)
    judges = input_judges(agent, options, parallel=False)
    if not judges:
        return Goto("passed", **await _admitted(state, ctx, options, agent))
    subject = input_of(state)
    keys = keys_of(judges)
    asked = [ask(ctx, options, key, "input", agent, judge, subject) for key, judge in zip(keys, judges, strict=True)]
    verdicts = await together(asked)
    for verdict in verdicts:
        if verdict["tripped"]:
            saved = await save(state, ctx, options)
            return Goto("tripped", verdicts=[Of(key) for key in keys], tripped=verdict, **saved)
    admitted = await _admitted(state, ctx, options, agent)
    return Goto("passed", verdicts=[Of(key) for key in keys], **admitted)


async def _admitted(state: AgentState, ctx: Context, options: Options, agent: AgentSpec[Any]) -> dict[str, Any]:
    """The input is in its session once nobody objects; those that judge beside the model call speak later."""
    return {} if input_judges(agent, options, parallel=True) else await save(state, ctx, options)


def input_of(state: AgentState) -> Any:
    """The run's input as functions get it: the text if it was one, else the items."""
    return subject_of(state.items[: state.begun], state.listed)


def subject_of(items: Sequence[Item], listed: bool = False) -> Any:
    """Input as guardrails get it: the text of a single user message, unless it was given as items (``listed``), else
    the items."""
    if not listed and len(items) == 1 and items[0].get("role") == "user" and isinstance(items[0].get("content"), str):
        return items[0]["content"]
    return list(items)


async def output_guardrails(state: AgentState, ctx: Context) -> Goto[Literal["passed", "tripped"]]:
    """The guardrails that see the final output, before anybody else does."""
    agent = ctx.bound.current(state)
    options = options_of(ctx, state)
    judges = [*agent.output_guardrails, *(options.config.output_guardrails or ())]
    if not judges:
        return Goto("passed", **await save(state, ctx, options))
    output = typed_output(state, agent)
    keys = keys_of(judges)
    asked = [ask(ctx, options, key, "output", agent, judge, output) for key, judge in zip(keys, judges, strict=True)]
    verdicts = await together(asked)
    for verdict in verdicts:
        if verdict["tripped"]:
            rest = _withheld(state, ctx, options, agent, verdict["guardrail"])
            before = await save(state, ctx, options, rest, upto=state.reply_at)  # nothing of what was rejected
            return Goto("tripped", verdicts=[Of(key) for key in keys], tripped=verdict, **before)
    return Goto("passed", verdicts=[Of(key) for key in keys], **await save(state, ctx, options))


def _withheld(state: AgentState, ctx: Context, options: Options, agent: AgentSpec[Any], guardrail: str) -> list[Item]:
    """What a session keeps of a reply whose output was rejected and that it doesn't have yet: where tools gave it,
    their calls and, instead of their outputs, that it's withheld. A message is left out."""
    reply = state.items[max(state.reply_at, state.saved) :]
    calls = [item for item in reply if item.get("type") == "function_call"]
    if not calls:
        return []
    told = _blocked_message(ctx, options, agent, guardrail)
    kept = [item for item in reply if item.get("type") not in ("message", "function_call_output")]
    return [*kept, *(function_output(str(call["call_id"]), told) for call in calls)]


def _blocked_message(ctx: Context, options: Options, agent: AgentSpec[Any], guardrail: str) -> str:
    """What stands for an output that was rejected. A function that fails doesn't hide the verdict: it's logged."""
    message = options.config.output_guardrail_blocked_message
    if not callable(message):
        return WITHHELD if message is None else message
    try:
        told = message(OutputGuardrailBlockedMessageArgs(WITHHELD, guardrail, agent, options.wrapper(ctx)))
    except Exception as error:
        log("output_guardrail_blocked_message failed", level="error", agent=agent.name, error=repr(error))
        return WITHHELD
    if told is None or (isinstance(told, str) and told):
        return told or WITHHELD
    log("output_guardrail_blocked_message gave no text", level="error", agent=agent.name, given=shorten(told))
    return WITHHELD
