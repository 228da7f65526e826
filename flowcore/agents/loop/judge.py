"""``input_guardrails`` and ``output_guardrails``: the judging before and after; and the verdicts beside a model
call."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

from flowcore.agents.agent import AgentSpec
from flowcore.agents.guardrails import info_as_json
from flowcore.agents.loop.saving import save
from flowcore.agents.loop.state import AgentState, typed_output
from flowcore.agents.options import Options, options_of
from flowcore.engine.context import Context
from flowcore.graph.outcomes import Goto, Of


def input_judges(state: AgentState, ctx: Context, agent: AgentSpec[Any], options: Options, parallel: bool) -> list[Any]:
    """The input guardrails that apply: only to a run's first agent, whose own come before the run's."""
    if agent.name != ctx.bound.first:
        return []
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
        if kind == "input":
            found = await judge.run(agent, subject, wrapper)
        else:
            found = await judge.run(wrapper, agent, subject)
        options.results.append(found)
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
    judges = input_judges(state, ctx, agent, options, parallel=False)
    if not judges:
        return Goto("passed")
    subject = input_of(state)
    keys = keys_of(judges)
    asked = (ask(ctx, options, key, "input", agent, judge, subject) for key, judge in zip(keys, judges, strict=True))
    verdicts = await asyncio.gather(*asked)
    for verdict in verdicts:
        if verdict["tripped"]:
            return Goto("tripped", verdicts=[Of(key) for key in keys], tripped=verdict, **save(state, ctx))
    return Goto("passed", verdicts=[Of(key) for key in keys])


def input_of(state: AgentState) -> Any:
    """The run's input as guardrails get it: the text if it was one, else the items."""
    items = state.items[: state.begun]
    if len(items) == 1 and items[0].get("role") == "user" and isinstance(items[0].get("content"), str):
        return items[0]["content"]
    return list(items)


async def output_guardrails(state: AgentState, ctx: Context) -> Goto[Literal["passed", "tripped"]]:
    """The guardrails that see the final output, before anybody else does."""
    agent = ctx.bound.current(state)
    options = options_of(ctx, state)
    judges = [*agent.output_guardrails, *(options.config.output_guardrails or ())]
    if not judges:
        return Goto("passed", **save(state, ctx))
    output = typed_output(state, agent)
    keys = keys_of(judges)
    asked = (ask(ctx, options, key, "output", agent, judge, output) for key, judge in zip(keys, judges, strict=True))
    verdicts = await asyncio.gather(*asked)
    for verdict in verdicts:
        if verdict["tripped"]:
            before = save(state, ctx, upto=state.reply_at)  # the input at least; nothing of what was rejected
            return Goto("tripped", verdicts=[Of(key) for key in keys], tripped=verdict, **before)
    return Goto("passed", verdicts=[Of(key) for key in keys], **save(state, ctx))
