"""``Runner``: run an agent, as people know it from the Agents SDK. Each verb starts the one machine and reads it its
own way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowcore.agents.options import ErrorHandlers, Options, RunConfig
from flowcore.engine.run import Run, start
from flowcore.errors import UserError
from flowcore.faces.agent import Agent, check_limits
from flowcore.faces.results import RunResult, RunResultStreaming
from flowcore.faces.sync import run_sync
from flowcore.graph.values import shorten
from flowcore.stores.base import Store

DEFAULT_MAX_TURNS = 10
"""How many turns (model calls) a run may take where nothing is said."""


class Runner:
    """Runs agents.

    All verbs take: ``input``, a text or a list of items; ``context``, the app's object for tools and instructions
    (never
    stored); ``max_turns``, None for no limit; ``run_config``, a ``RunConfig`` or a dict of its fields;
    ``error_handlers``,
    by "max_turns", "model_refusal", "over_budget"; ``session``, a session's id in the run's store; ``store``, where
    the run is kept: without one it dies with its result, or, where it has a session, lives as long as the agent;
    ``run_id``; ``limits``, further limits by name, e.g. ``{"max_tokens": 50_000}``: "max_input_tokens",
    "max_output_tokens", "max_cost", "max_requests" and "max_seconds" are the others.
    """

    @classmethod
    async def run(
        cls,
        starting_agent: Agent[Any],
        input: Any,
        *,
        context: Any = None,
        max_turns: int | None = DEFAULT_MAX_TURNS,
        run_config: RunConfig | Mapping[str, Any] | None = None,
        error_handlers: ErrorHandlers | None = None,
        session: str | None = None,
        store: Store | None = None,
        run_id: str | None = None,
        limits: dict[str, Any] | None = None,
    ) -> RunResult:
        """Run an agent until it has its output or waits for a decision.

        Raises MaxTurnsExceeded, ModelBehaviorError, ModelRefusalError, ModelError, UserError and the tripwire
        exceptions, each with
        ``run_data``; what a tool or guardrail raised otherwise is raised as it is. The run keeps its place.
        """
        options = Options(context, RunConfig.of(run_config), error_handlers)
        run = await _admit(starting_agent, input, options, max_turns, session, store, run_id, limits, False)
        return await RunResult(run, input, options, max_turns)._settle()

    @classmethod
    def run_sync(
        cls,
        starting_agent: Agent[Any],
        input: Any,
        *,
        context: Any = None,
        max_turns: int | None = DEFAULT_MAX_TURNS,
        run_config: RunConfig | Mapping[str, Any] | None = None,
        error_handlers: ErrorHandlers | None = None,
        session: str | None = None,
        store: Store | None = None,
        run_id: str | None = None,
        limits: dict[str, Any] | None = None,
    ) -> RunResult:
        """``run`` for code without an event loop. Raises UserError inside of one."""
        work = cls.run(
            starting_agent, input, context=context, max_turns=max_turns, run_config=run_config,
            error_handlers=error_handlers,
            session=session, store=store, run_id=run_id, limits=limits,
        )  # fmt: skip
        return run_sync(work, "Runner.run_sync()", "await Runner.run()")

    @classmethod
    def run_streamed(
        cls,
        starting_agent: Agent[Any],
        input: Any,
        context: Any = None,
        max_turns: int | None = DEFAULT_MAX_TURNS,
        run_config: RunConfig | Mapping[str, Any] | None = None,
        session: str | None = None,
        *,
        error_handlers: ErrorHandlers | None = None,
        store: Store | None = None,
        run_id: str | None = None,
        limits: dict[str, Any] | None = None,
    ) -> RunResultStreaming:
        """Start a run and return at once; it goes on in a task of the running loop. Read ``result.stream_events()``."""
        options = Options(context, RunConfig.of(run_config), error_handlers)
        result = RunResultStreaming(starting_agent, input, options, max_turns)
        result._begin(lambda: _admit(starting_agent, input, options, max_turns, session, store, run_id, limits, True))
        return result


async def _admit(
    agent: Agent[Any],
    input: Any,
    options: Options,
    max_turns: int | None,
    session: str | None,
    store: Store | None,
    run_id: str | None,
    limits: dict[str, Any] | None,
    stream: bool,
) -> Run:
    """Admit a run of an agent."""
    if not isinstance(agent, Agent):
        raise UserError(f"Runner runs an Agent, not {shorten(agent)}; for a Graph use flowcore.start")
    if max_turns is not None and (isinstance(max_turns, bool) or not isinstance(max_turns, int) or max_turns < 0):
        raise UserError(f"max_turns={max_turns!r} is neither a number of turns nor None")
    meta: dict[str, Any] = {"face": "runner", "workflow": options.config.workflow_name}
    if session is not None:
        meta["session"] = session
    check_limits(limits)
    return await start(
        agent,
        input,
        store=agent.store_for(store, session),
        run_id=run_id,
        context=options,
        limits={"max_turns": max_turns, **(limits or {})},
        meta=meta,
        stream=stream,
    )
