"""The nodes where a run of an agent ends, or could: ``finalize``, ``blocked``, ``refusal``, ``max_turns``,
``over_budget``."""

from __future__ import annotations

import inspect
from typing import Any, Literal

from flowcore.agents.items import output_message
from flowcore.agents.loop.state import AgentState
from flowcore.agents.options import RunErrorData, RunErrorHandlerInput, RunErrorHandlerResult, options_of
from flowcore.engine.context import Context
from flowcore.errors import AgentsException, BudgetExceeded, MaxTurnsExceeded, ModelRefusalError
from flowcore.graph.outcomes import Goto


async def finalize(state: AgentState, ctx: Context) -> None:
    """The run has its output."""


async def blocked(state: AgentState, ctx: Context) -> None:
    """A guardrail tripped: an outcome, which the faces raise."""


async def refusal(state: AgentState, ctx: Context) -> Goto[Literal["handled"]]:
    """The model refused."""
    return Goto("handled", **await _handled(state, ctx, "model_refusal", ModelRefusalError(state.refused or "")))


async def max_turns(state: AgentState, ctx: Context) -> Goto[Literal["handled", "extended"]]:
    """The turns are used up; a resume with a higher limit goes on."""
    limit = ctx.limits.get("max_turns")
    if limit is None or ctx.turns < limit:
        return Goto("extended")
    return Goto("handled", **await _handled(state, ctx, "max_turns", MaxTurnsExceeded(f"Max turns ({limit}) exceeded")))


async def over_budget(state: AgentState, ctx: Context) -> Goto[Literal["handled", "extended"]]:
    """A budget is used up; a resume with a higher one goes on."""
    reason = ctx.used_up
    if reason is None:
        return Goto("extended")
    return Goto("handled", **await _handled(state, ctx, "over_budget", BudgetExceeded(f"the run's budget {reason}")))


async def _handled(state: AgentState, ctx: Context, kind: str, error: AgentsException) -> dict[str, Any]:
    """What a handler makes the final output; without one the run fails here, keeping its place."""
    options = options_of(ctx, state)
    handler = (options.error_handlers or {}).get(kind)
    answer = None
    if handler is not None:
        data = RunErrorData(list(state.items[: state.begun]), list(state.items), ctx.bound.current(state))
        answer = handler(RunErrorHandlerInput(error, options.wrapper(ctx), data))
        if inspect.isawaitable(answer):
            answer = await answer
    if answer is None:
        raise error
    if isinstance(answer, dict) and "final_output" in answer:
        answer = RunErrorHandlerResult(**answer)
    result = answer if isinstance(answer, RunErrorHandlerResult) else RunErrorHandlerResult(answer)
    agent = ctx.bound.current(state)
    output = agent.output_schema.to_jsonable(result.final_output)
    text = output if isinstance(output, str) else str(result.final_output)
    items = [output_message(text)] if result.include_in_history else []
    return {"items": items, "final": "value", "output": output}
