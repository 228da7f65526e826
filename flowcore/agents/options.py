"""What a run of an agent is given again in each process: the app's object, the run's configuration, and what isn't
data.

Nodes find it as ``ctx.context``. Nothing of it is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias

from flowcore.agents.context import AgentHookContext, RunContextWrapper, TContext
from flowcore.agents.lifecycle import RunHooksBase
from flowcore.agents.run_config import RunConfig
from flowcore.errors import UserError
from flowcore.machine.snapshot import NOTHING
from flowcore.models.base import Item, ModelResponse
from flowcore.models.usage import RunUsage

if TYPE_CHECKING:
    from flowcore.agents.loop.state import AgentState
    from flowcore.agents.session import Session
    from flowcore.engine.context import Context
    from flowcore.machine.facts import Fact


@dataclass
class RunErrorData:
    """What a run had done when an error handler was asked: its ``input``; what it brought, as ``new_items`` and in wire
    form (``output``); both together (``history``); the replies; and the agent whose turn it was."""

    input: Any
    new_items: list[Any]
    history: list[Item]
    output: list[Item]
    raw_responses: list[ModelResponse]
    last_agent: Any


@dataclass
class RunErrorHandlerInput(Generic[TContext]):
    """What an error handler is given: the error, the context, and what the run had done."""

    error: Exception
    context: RunContextWrapper[TContext]
    run_data: RunErrorData


@dataclass
class RunErrorHandlerResult:
    """What an error handler may give: the run's final output instead of the error. ``include_in_history``: as a message
    among the run's items too, and in its session."""

    final_output: Any
    include_in_history: bool = True


RunErrorHandler: TypeAlias = Callable[[RunErrorHandlerInput[Any]], Any]
RunErrorHandlers: TypeAlias = Mapping[str, RunErrorHandler]
HANDLED = ("max_turns", "model_refusal", "invalid_final_output", "over_budget")


@dataclass(frozen=True)
class AgentToolInvocation:
    """The call of an agent tool that a nested run serves."""

    tool_name: str
    tool_call_id: str
    tool_arguments: str


class HasUsage(Protocol):
    """What knows what a run has used: a node's context, or the run."""

    @property
    def usage(self) -> dict[str, Any]: ...
    @property
    def spent(self) -> dict[str, Any] | None: ...
    @property
    def journal(self) -> Sequence[Fact]: ...
    def note_usage(self, counts: dict[str, Any]) -> bool: ...


RUN_CONFIG: ContextVar[RunConfig | None] = ContextVar("flowcore_run_config", default=None)
"""The configuration of agents whose runs no face began, e.g. nodes of a graph, in this task and its children."""


@dataclass(eq=False)
class Options:
    """One process's share of an agent's run.

    ``context``: the app's object. ``hooks``: the run's. ``session``: one that lives outside of the run's store.
    ``invocation``, ``tool_input``: of a run that is an agent tool's call. ``values``: the Python values that tools gave
    in this process, by the visit of
    ``run_tools`` and the call id. ``raw``: the provider's own objects, by the visit of ``call_model`` and their place
    in the reply. ``results``: guardrail results of this process. ``history``: what the session held before the run,
    ``history_of``: which, and up to where. ``offered``: by agent, its tools and those that its MCP servers had at its
    last turn here. ``run``: the run that they serve.
    """

    context: Any = None
    config: RunConfig = field(default_factory=RunConfig)
    error_handlers: RunErrorHandlers | None = None
    hooks: RunHooksBase[Any, Any] | None = None
    session: Session | None = None
    invocation: AgentToolInvocation | None = None
    tool_input: Any = None
    values: dict[tuple[int, str], Any] = field(default_factory=dict)
    raw: Mapping[tuple[int, int], Any] = field(default_factory=lambda: NOTHING)
    results: Sequence[Any] = ()
    history: list[Item] | None = None
    history_of: tuple[str, int] | None = None
    offered: Mapping[str, list[Any]] = field(default_factory=lambda: NOTHING)
    run: str | None = None
    _wrapper: RunContextWrapper[Any] | None = None
    _read: int = -1
    """How many facts the wrapper's usage tells of, where it tells of nothing else."""

    def __post_init__(self) -> None:
        unknown = set(self.error_handlers or ()) - set(HANDLED)
        if unknown:
            raise UserError(
                f"error_handlers has no {', '.join(sorted(map(repr, unknown)))}; it knows {', '.join(HANDLED)}"
            )

    def found(self, results: Iterable[Any]) -> None:
        """Keep what guardrails found in this process."""
        self.results = (*self.results, *results)

    def came(self, visit: int, first: int, raw: Sequence[Any]) -> None:
        """Keep the provider's objects of a reply, whose items stand from ``first`` on in what the visit brings."""
        new = {(visit, i): one for i, one in enumerate(raw, first) if one is not None}
        if isinstance(self.raw, dict) and self.raw is not NOTHING:
            self.raw.update(new)
        elif new:
            self.raw = new

    def remember(self, other: Options) -> None:
        """Take over what this process learned of the same walk under other options."""
        self.values.update(other.values)
        if other.raw:
            self.raw = {**self.raw, **other.raw}
        self.results = (*other.results, *self.results)

    def fresh(self) -> Options:
        """The same, for another walk: what this process learned of the old one is left out."""
        return Options(
            self.context, self.config, self.error_handlers, self.hooks, self.session, self.invocation, self.tool_input
        )

    def wrapper(self, run: HasUsage) -> RunContextWrapper[Any]:
        """What guardrails, tools and instructions are handed; its usage is the run's as of now."""
        wrapper = self._wrapper
        if wrapper is None:
            wrapper = self._wrapper = RunContextWrapper(self.context, RunUsage(), tool_input=self.tool_input)
            wrapper.approvals.learn(getattr(run, "facts", ()))
        usage: Any = wrapper.usage
        facts, spent, given = run.journal, run.spent, usage.given
        known = len(facts)
        if given is None and spent is None and self._read == known and facts is usage.facts:
            return wrapper
        if given is not None and run.note_usage(given.to_counts()):
            usage.given, spent, given = None, run.spent, None
        counts = run.usage
        for more in (spent, given and given.to_counts()):
            if more:
                counts = {**counts, **{name: counts.get(name, 0) + count for name, count in more.items()}}
        usage.facts, usage.spent, usage.known = facts, spent, known
        self._read = known if spent is None and given is None else -1
        get = counts.get
        if (
            usage.requests != get("requests", 0)
            or usage.total_tokens != get("total_tokens", 0)
            or usage.cost != get("cost", 0.0)
        ):
            usage.take(counts)  # in place: who holds the wrapper sees it
        return wrapper

    @property
    def here(self) -> RunContextWrapper[Any]:
        """The wrapper as of this entry's beginning, for functions that are called before anything of it is recorded."""
        assert self._wrapper is not None, "options_of was asked before"
        return self._wrapper

    def hook_context(self, run: HasUsage) -> AgentHookContext[Any]:
        """What the hooks at an agent's start and end are handed."""
        wrapper = self.wrapper(run)
        return AgentHookContext(
            wrapper.context, wrapper.usage, wrapper.turn_input, wrapper.tool_input, wrapper.approvals
        )


def options_of(ctx: Context, state: AgentState) -> Options:
    """The run's options, with the items as of this entry in what functions are handed; made from the plain object that
    ``start`` was given, where no face began the run."""
    given = ctx.context
    options = given if isinstance(given, Options) else ctx.scratch.get("options")
    if options is None:
        options = ctx.scratch["options"] = Options(given, RUN_CONFIG.get() or RunConfig())
    if options.run != ctx.run_id:
        options = _own(options, ctx)
    options.wrapper(ctx).turn_input = state.items
    return options


def _own(options: Options, ctx: Context) -> Options:
    """The options as this run's own: a fork that was given its base's keeps what it learns apart from it."""
    if options.run is None:
        options.run = ctx.run_id
        return options
    own: Options | None = ctx.scratch.get("options")
    if own is None or own.run != ctx.run_id:
        own = ctx.scratch["options"] = options.fresh()
        own.run = ctx.run_id
    return own
