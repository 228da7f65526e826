"""The nodes where a run of an agent ends, or could: ``finalize``, ``blocked``, ``refusal``, ``max_turns``,
``over_budget``."""

from __future__ import annotations

import inspect
from typing import Any, Literal

from flowcore.agents.agent import AgentSpec
from flowcore.agents.items import output_message
from flowcore.agents.lifecycle import fire
from flowcore.agents.loop.calling import value_as_json
from flowcore.agents.loop.judge import input_of
from flowcore.agents.loop.state import AgentState, typed_output
from flowcore.agents.options import Options, RunErrorData, RunErrorHandlerInput, RunErrorHandlerResult, options_of
from flowcore.agents.output import AgentOutputSchemaBase
from flowcore.engine.context import Context
from flowcore.errors import AgentsException, BudgetExceeded, MaxTurnsExceeded, ModelRefusalError, UserError
from flowcore.graph.outcomes import Goto
from flowcore.graph.values import shorten
from flowcore.models.base import Item, ModelResponse


async def finalize(state: AgentState, ctx: Context) -> None:
    """The run has its output, and nobody objects."""
    agent = ctx.bound.current(state)
    options = options_of(ctx, state)
    if options.hooks is not None or agent.hooks is not None:
        told = options.hook_context(ctx), agent, typed_output(state, agent)
        await fire("on_agent_end", options.hooks, agent.hooks, *told)


async def blocked(state: AgentState, ctx: Context) -> None:
    """A guardrail tripped: an outcome, which the faces raise."""


async def refusal(state: AgentState, ctx: Context) -> Goto[Literal["handled"]]:
    """The model refused."""
    return Goto("handled", **await _instead(state, ctx, "model_refusal", ModelRefusalError(state.refused or "")))


async def max_turns(state: AgentState, ctx: Context) -> Goto[Literal["handled", "extended"]]:
    """The turns are used up; a resume with a higher limit goes on."""
    limit = ctx.limits.get("max_turns")
    if limit is None or ctx.turns < limit:
        return Goto("extended")
    error = MaxTurnsExceeded(f"Max turns ({limit}) exceeded")
    return Goto("handled", **await _instead(state, ctx, "max_turns", error))


async def over_budget(state: AgentState, ctx: Context) -> Goto[Literal["handled", "extended"]]:
    """A budget is used up; a resume with a higher one goes on."""
    reason = ctx.used_up
    if reason is None:
        return Goto("extended")
    return Goto("handled", **await _instead(state, ctx, "over_budget", BudgetExceeded(f"the run's budget {reason}")))


async def _instead(state: AgentState, ctx: Context, kind: str, error: AgentsException) -> dict[str, Any]:
    """What a handler makes the final output; without one the run fails here, keeping its place."""
    result = await handled(state, ctx, options_of(ctx, state), kind, error)
    if result is None:
        raise error
    agent = ctx.bound.current(state)
    update = final_update(agent, result)
    return {"items": told_of(agent, update, result), **update}


async def handled(
    state: AgentState, ctx: Context, options: Options, kind: str, error: AgentsException,
    reply: ModelResponse | None = None,
) -> RunErrorHandlerResult | None:  # fmt: skip
    """What the handler of this kind of error says; None: nothing, or there is none. ``reply``: one that the state
    doesn't hold yet. Raises UserError for output that the agent's type doesn't admit."""
    handler = (options.error_handlers or {}).get(kind)
    if handler is None:
        return None
    crew, late = ctx.bound, [] if reply is None else [reply]
    shown, items = crew.shown, [*state.items, *(item for one in late for item in one.output)]
    data = RunErrorData(
        input_of(state),
        [] if shown is None else shown.items(state, ctx.facts, crew.agents, crew.first, options, reply),
        items,
        items[state.begun :],
        [] if shown is None else [*shown.responses(state, ctx.facts), *late],
        crew.current(state),
    )
    answer = handler(RunErrorHandlerInput(error, options.wrapper(ctx), data))
    if inspect.isawaitable(answer):
        answer = await answer
    if answer is None or isinstance(answer, RunErrorHandlerResult):
        return answer
    if isinstance(answer, dict) and "final_output" in answer:
        unknown = set(answer) - {"final_output", "include_in_history"}
        if unknown:
            raise UserError(f"error handler '{kind}' gave {shorten(answer)}: {sorted(unknown)} isn't known")
        return RunErrorHandlerResult(**answer)
    return RunErrorHandlerResult(answer)


def told_of(agent: AgentSpec[Any], update: dict[str, Any], result: RunErrorHandlerResult) -> list[Item]:
    """The message that tells of a handler's output, if it wants one: as the model would have written it."""
    if not result.include_in_history:
        return []
    return [output_message(agent.output_schema.as_text(update["output"]))]


def final_update(agent: AgentSpec[Any], result: RunErrorHandlerResult) -> dict[str, Any]:
    """The update that makes a handler's answer the run's output. Raises UserError where the agent's type doesn't admit
    it."""
    schema = agent.output_schema
    try:
        output = value_as_json(result.final_output) if schema.is_plain_text() else _typed(schema, result.final_output)
    except Exception as error:
        raise UserError(
            f"an error handler of agent '{agent.name}' gave {shorten(result.final_output)}, which isn't a"
            f" {schema.name()}: {error}"
        ) from error
    return {"final": "value", "output": output}


def _typed(schema: AgentOutputSchemaBase, value: Any) -> Any:
    """The value as JSON: one of the output type, or what the type makes of it, as of the model's JSON."""
    try:
        return schema.to_jsonable(value)
    except UserError:
        return schema.to_jsonable(schema.from_jsonable(value))
