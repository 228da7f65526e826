"""``Runner``: run an agent, as people know it from the Agents SDK. Each verb starts the one machine and reads it its
own way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypedDict, Unpack, cast

from flowcore.agents.context import RunContextWrapper
from flowcore.agents.lifecycle import RunHooksBase, validate_run_hooks
from flowcore.agents.loop.call_model import CONVERSATION
from flowcore.agents.loop.judge import LISTED
from flowcore.agents.loop.saving import FOREIGN, told_session
from flowcore.agents.options import Options, RunErrorHandlers
from flowcore.agents.run_config import RunConfig
from flowcore.agents.session import Session, as_session, begun
from flowcore.engine.run import Run, start
from flowcore.errors import UserError
from flowcore.faces.agent import Agent, check_limits
from flowcore.faces.results import RunResult, RunResultStreaming
from flowcore.faces.run_state import RunState
from flowcore.faces.sync import run_sync
from flowcore.graph.values import shorten
from flowcore.sessions.store import StoreSession
from flowcore.stores.base import Store


class _Turns(int):
    """A number of turns that nobody asked for: a run that goes on keeps its own instead."""


DEFAULT_MAX_TURNS: int = _Turns(10)
"""How many turns (model calls) a run may take where nothing is said."""


class RunnerArguments(TypedDict, total=False):
    """What an ``AgentRunner``'s verbs take by keyword; ``Runner`` tells what they mean."""

    context: Any
    max_turns: int | None
    hooks: RunHooksBase[Any, Any] | None
    run_config: RunConfig | Mapping[str, Any] | None
    error_handlers: RunErrorHandlers | None
    previous_response_id: str | None
    auto_previous_response_id: bool
    conversation_id: str | None
    session: Session | str | None
    store: Store | None
    run_id: str | None
    limits: dict[str, Any] | None


class AgentRunner:
    """What ``Runner`` hands its calls to. Subclass it and ``set_default_agent_runner`` to put something around every
    run of a process."""

    async def run(self, starting_agent: Agent[Any], input: Any, **given: Unpack[RunnerArguments]) -> RunResult:
        """See ``Runner.run``."""
        going = _Going(starting_agent, input, given)
        run = await going.admit(False)
        result = RunResult(run, going.input, going.options, going.turns_of(run))
        del going, given, run  # a thousand runs at once need not hold what began them
        return await result._settle()

    def run_sync(self, starting_agent: Agent[Any], input: Any, **given: Unpack[RunnerArguments]) -> RunResult:
        """See ``Runner.run_sync``."""
        return run_sync(self.run(starting_agent, input, **given), "AgentRunner.run_sync()", "await Runner.run()")

    def run_streamed(
        self, starting_agent: Agent[Any], input: Any, **given: Unpack[RunnerArguments]
    ) -> RunResultStreaming:
        """See ``Runner.run_streamed``."""
        going = _Going(starting_agent, input, given)
        result = RunResultStreaming(going.current, going.input, going.options, going.most)
        result._begin(lambda: going.admit(True))
        return result


class _Default:
    runner: AgentRunner = AgentRunner()


def set_default_agent_runner(runner: AgentRunner | None) -> None:
    """Make ``Runner`` hand its calls to this one; None: to the one that flowcore comes with."""
    _Default.runner = AgentRunner() if runner is None else runner


def get_default_agent_runner() -> AgentRunner:
    """What ``Runner`` hands its calls to."""
    return _Default.runner


class Runner:
    """Runs agents.

    All verbs take: ``input``, a text, a list of items, or a ``RunState`` to go on with; ``context``, the app's object
    for tools and instructions (never stored); ``max_turns``, None for no limit; ``hooks``, ``RunHooks`` of the run;
    ``run_config``, a ``RunConfig`` or a dict of its fields; ``error_handlers``, by "max_turns", "model_refusal",
    "invalid_final_output", "over_budget". A conversation that the provider keeps: ``conversation_id``, or
    ``previous_response_id``, or ``auto_previous_response_id`` to begin one; only what is new is sent then. ``session``:
    a ``Session``, or a session's id in the run's store. ``store``, where the run is kept: without one it dies with its
    result, or, where it has a session by id, lives as long as the agent; ``run_id``; ``limits``, further limits by
    name, e.g. ``{"max_tokens": 50_000}``: "max_input_tokens", "max_output_tokens", "max_cost", "max_requests" and
    "max_seconds" are the others.

    A ``RunState`` goes on with its own context, limits, session and conversation; what is given replaces them:
    ``max_turns`` too, so a run that used its turns up gets more.
    """

    @classmethod
    async def run(
        cls,
        starting_agent: Agent[Any],
        input: Any,
        *,
        context: Any = None,
        max_turns: int | None = DEFAULT_MAX_TURNS,
        hooks: RunHooksBase[Any, Any] | None = None,
        run_config: RunConfig | Mapping[str, Any] | None = None,
        error_handlers: RunErrorHandlers | None = None,
        previous_response_id: str | None = None,
        auto_previous_response_id: bool = False,
        conversation_id: str | None = None,
        session: Session | str | None = None,
        store: Store | None = None,
        run_id: str | None = None,
        limits: dict[str, Any] | None = None,
    ) -> RunResult:
        """Run an agent until it has its output or waits for a decision.

        Raises MaxTurnsExceeded, ModelBehaviorError, ModelRefusalError, ModelError, UserError and the tripwire
        exceptions; what a tool or guardrail raised otherwise is raised as it is. Each carries ``run_data``, and the run
        keeps its place: ``error.run_data.result.to_state()`` goes on with it, unless a guardrail ended it.
        """
        return await _Default.runner.run(
            starting_agent, input, context=context, max_turns=max_turns, hooks=hooks, run_config=run_config,
            error_handlers=error_handlers, previous_response_id=previous_response_id,
            auto_previous_response_id=auto_previous_response_id, conversation_id=conversation_id, session=session,
            store=store, run_id=run_id, limits=limits,
        )  # fmt: skip

    @classmethod
    def run_sync(
        cls,
        starting_agent: Agent[Any],
        input: Any,
        *,
        context: Any = None,
        max_turns: int | None = DEFAULT_MAX_TURNS,
        hooks: RunHooksBase[Any, Any] | None = None,
        run_config: RunConfig | Mapping[str, Any] | None = None,
        error_handlers: RunErrorHandlers | None = None,
        previous_response_id: str | None = None,
        auto_previous_response_id: bool = False,
        conversation_id: str | None = None,
        session: Session | str | None = None,
        store: Store | None = None,
        run_id: str | None = None,
        limits: dict[str, Any] | None = None,
    ) -> RunResult:
        """``run`` for code without an event loop. Raises RuntimeError (a UserError) inside of one."""
        return _Default.runner.run_sync(
            starting_agent, input, context=context, max_turns=max_turns, hooks=hooks, run_config=run_config,
            error_handlers=error_handlers, previous_response_id=previous_response_id,
            auto_previous_response_id=auto_previous_response_id, conversation_id=conversation_id, session=session,
            store=store, run_id=run_id, limits=limits,
        )  # fmt: skip

    @classmethod
    def run_streamed(
        cls,
        starting_agent: Agent[Any],
        input: Any,
        context: Any = None,
        max_turns: int | None = DEFAULT_MAX_TURNS,
        hooks: RunHooksBase[Any, Any] | None = None,
        run_config: RunConfig | Mapping[str, Any] | None = None,
        previous_response_id: str | None = None,
        auto_previous_response_id: bool = False,
        conversation_id: str | None = None,
        session: Session | str | None = None,
        *,
        error_handlers: RunErrorHandlers | None = None,
        store: Store | None = None,
        run_id: str | None = None,
        limits: dict[str, Any] | None = None,
    ) -> RunResultStreaming:
        """Start a run and return at once; it goes on in a task of the running loop. Read ``result.stream_events()``."""
        return _Default.runner.run_streamed(
            starting_agent, input, context=context, max_turns=max_turns, hooks=hooks, run_config=run_config,
            error_handlers=error_handlers, previous_response_id=previous_response_id,
            auto_previous_response_id=auto_previous_response_id, conversation_id=conversation_id, session=session,
            store=store, run_id=run_id, limits=limits,
        )  # fmt: skip


REASONING_IDS = "reasoning_item_id_policy"
"""The run's ``meta`` keeps the policy here, so that a run that goes on without a config of its own has it too."""
_KNOWN = frozenset(RunnerArguments.__annotations__)


class _Going:
    """A run that is about to begin, or to go on. Raises TypeError and UserError for what can't be."""

    def __init__(self, agent: Agent[Any], input: Any, given: RunnerArguments) -> None:
        if not _KNOWN.issuperset(given):
            raise TypeError(f"Runner has no argument {', '.join(sorted(map(repr, set(given) - _KNOWN)))}")
        if not isinstance(agent, Agent):
            raise UserError(f"Runner runs an Agent, not {shorten(agent)}; for a Graph use flowcore.start")
        self.agent = agent
        self.state = input if isinstance(input, RunState) else None
        self.input = input if self.state is None else self.state.original_input
        self.given = given
        self.max_turns = given.get("max_turns", DEFAULT_MAX_TURNS)
        check_turns(self.max_turns)
        check_limits(given.get("limits"))
        self.store = given.get("store")
        self.session, self.elsewhere = self._session()
        context = given.get("context")
        if isinstance(context, RunContextWrapper):  # of another run: its usage and decisions are that run's
            context = context.context
        config = RunConfig.of(given.get("run_config"))
        if self.state is not None:
            self._check_state(self.state)
            context = self.state.context if context is None else context
            kept = self.state._view.meta.get(REASONING_IDS)
            if kept is not None and config.reasoning_item_id_policy is None:
                config = replace(config, reasoning_item_id_policy=kept)
            key = self.state.tracing_api_key
            if key is not None and "api_key" not in (config.tracing or {}):
                config = replace(config, tracing={**(config.tracing or {}), "api_key": key})
        self.options = Options(
            context,
            config,
            given.get("error_handlers"),
            hooks=validate_run_hooks(given.get("hooks")),
            session=self.elsewhere if isinstance(given_session := given.get("session"), str) else given_session,
        )

    def _session(self) -> tuple[str | None, Session | None]:
        """A session by its id in the run's store, or one that lives elsewhere."""
        session = self.given.get("session")
        if session is None or isinstance(session, str):
            return session, None
        began_elsewhere = self.state is not None and FOREIGN in self.state._view.meta
        if isinstance(session, StoreSession) and self.store in (None, session.store) and not began_elsewhere:
            self.store = session.store
            return session.session_id, None
        return None, as_session(session)

    def _check_state(self, state: RunState[Any]) -> None:
        """Raises UserError for what a run that goes on has already."""
        given = self.given
        kept = state._view.meta.get(CONVERSATION) or {}
        for name, own in (
            ("store", None), ("run_id", state.run_id), ("conversation_id", kept.get("conversation_id")),
            ("previous_response_id", kept.get("previous_response_id")),
            ("session", state._view.meta.get("session")),
        ):  # fmt: skip
            value: Any = self.session if name == "session" else given.get(name)
            if value is not None and value != own:
                raise UserError(
                    f"Runner.run(agent, state, {name}={value!r}): the run goes on with its own ({own!r}); leave it out"
                    + (", and give it to RunState.from_json" if name == "store" else "")
                )
        wanted = state._view.meta.get(FOREIGN)
        brought = None if self.elsewhere is None else getattr(self.elsewhere, "session_id", None)
        if wanted is not None and brought != wanted:
            raise UserError(told_session(state.run_id, wanted))
        if wanted is None and self.elsewhere is not None:
            own = state._view.meta.get("session")
            how = "began without a session" if own is None else f"has its session {own!r} in its store"
            raise UserError(f"Runner.run(agent, state, session=...): run '{state.run_id}' {how}; leave it out")

    @property
    def current(self) -> Agent[Any]:
        """The agent whose turn it is."""
        return self.agent if self.state is None else cast(Agent[Any], self.state.current_agent)

    @property
    def most(self) -> int | None:
        """How many turns it may take."""
        if self.state is not None and isinstance(self.max_turns, _Turns):
            return self.state.max_turns
        most: int | None = {"max_turns": self.max_turns, **(self.given.get("limits") or {})}["max_turns"]
        return most

    def turns_of(self, run: Run) -> int | None:
        """The limit of turns that the run has."""
        most: int | None = run._live.snapshot.limits.get("max_turns")
        return most

    async def admit(self, stream: bool) -> Run:
        """The run, ready to move."""
        limits = dict(self.given.get("limits") or {})
        if self.state is not None:
            if not isinstance(self.max_turns, _Turns):
                limits["max_turns"] = self.max_turns
            return await self.state.go_on(self.options, agent=self.agent, limits=limits, stream=stream)
        if self.elsewhere is not None:
            await begun(self.elsewhere)
        return await start(
            self.agent,
            self.input,
            store=self.agent.store_for(self.store, self.session),
            run_id=self.given.get("run_id"),
            context=self.options,
            limits={"max_turns": None if self.max_turns is None else int(self.max_turns), **limits},
            meta=self._meta(),
            stream=stream,
        )

    def _meta(self) -> dict[str, Any]:
        config, given = self.options.config, self.given
        meta: dict[str, Any] = {"face": "runner", "workflow": config.workflow_name}
        if isinstance(self.input, list):
            meta[LISTED] = True
        trace = config.trace_meta()
        if trace:
            meta["trace"] = trace
        if config.reasoning_item_id_policy is not None:
            meta[REASONING_IDS] = config.reasoning_item_id_policy
        if self.session is not None:
            meta["session"] = self.session
        if self.elsewhere is not None:
            meta[FOREIGN] = self.elsewhere.session_id
        kept = {
            "conversation_id": given.get("conversation_id"),
            "previous_response_id": given.get("previous_response_id"),
            "auto": given.get("auto_previous_response_id", False),
        }
        if any(kept.values()):
            self._check_kept(meta)
            meta[CONVERSATION] = kept
        return meta

    def _check_kept(self, meta: dict[str, Any]) -> None:
        """Raises UserError for what doesn't go together with a conversation that the provider keeps."""
        kept = "conversation_id, previous_response_id or auto_previous_response_id"
        if "session" in meta or FOREIGN in meta:
            raise UserError(f"a session can't be combined with {kept}: both keep the conversation; use one of them")
        judged = [one.name for one in self.agent.graph.bound.agents.values() if one.output_guardrails]
        if judged or self.options.config.output_guardrails:
            where = f"agent '{judged[0]}' has" if judged else "the run config has"
            raise UserError(
                f"{where} output guardrails, which can't be combined with {kept}: what they reject couldn't be taken"
                " out of the provider's conversation"
            )


def check_turns(most: Any) -> None:
    """Raises UserError for a limit of turns that can't be."""
    if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 0):
        raise UserError(f"max_turns={most!r} is neither a number of turns nor None")
