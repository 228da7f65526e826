"""What a run of an agent is given again in each process: the app's object, the run's configuration, and what isn't
data.

Nodes find it as ``ctx.context``. Nothing of it is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Protocol

from flowcore.agents.context import RunContextWrapper
from flowcore.agents.guardrails import InputGuardrail, OutputGuardrail
from flowcore.errors import UserError
from flowcore.models.base import Item, Model
from flowcore.models.provider import ModelProvider
from flowcore.models.settings import ModelSettings

if TYPE_CHECKING:
    from flowcore.agents.loop.state import AgentState
    from flowcore.engine.context import Context


@dataclass
class RunConfig:
    """Settings of a whole run.

    ``model``, ``model_settings``: go before each agent's own. ``model_provider``: resolves names. ``input_guardrails``,
    ``output_guardrails``: join the agent's. ``workflow_name``: shown in lists and traces.
    """

    model: str | Model | None = None
    model_provider: ModelProvider | None = None
    model_settings: ModelSettings | None = None
    input_guardrails: list[InputGuardrail] | None = None
    output_guardrails: list[OutputGuardrail] | None = None
    workflow_name: str = "Agent workflow"
    reasks: int = 2
    """How often a model is asked again after output that its type doesn't admit, before ModelBehaviorError."""

    @classmethod
    def of(cls, given: RunConfig | Mapping[str, Any] | None) -> RunConfig:
        """A config from a config, a dict of its fields, or None. Raises TypeError on unknown names."""
        if given is None:
            return _DEFAULT
        if isinstance(given, RunConfig):
            return given
        unknown = set(given) - {one.name for one in fields(cls)}
        if unknown:
            raise TypeError(f"RunConfig has no field {', '.join(sorted(map(repr, unknown)))}")
        return cls(**given)


_DEFAULT = RunConfig()


@dataclass
class RunErrorData:
    """What a run had done when an error handler was asked: its ``input``, its items with that (``history``), in wire
    form, and the agent whose turn it was."""

    input: list[Item]
    history: list[Item]
    last_agent: Any


@dataclass
class RunErrorHandlerInput:
    """What an error handler is given: the error, the context, and what the run had done."""

    error: Exception
    context: RunContextWrapper[Any]
    run_data: RunErrorData


@dataclass
class RunErrorHandlerResult:
    """What an error handler may give: the run's final output instead of the error."""

    final_output: Any
    include_in_history: bool = True


ErrorHandlers = Mapping[str, Callable[[RunErrorHandlerInput], Any]]
HANDLED = ("max_turns", "model_refusal", "over_budget")


class HasUsage(Protocol):
    """What knows what a run has used: a node's context, or the run."""

    @property
    def usage(self) -> dict[str, Any]: ...


@dataclass(eq=False)
class Options:
    """One process's share of an agent's run.

    ``context``: the app's object. ``values``: the Python values that tools gave in this process, by the visit of
    ``run_tools`` and the call id. ``raw``: the provider's own objects, by the visit of ``call_model`` and their place
    in the reply. ``results``: guardrail results of this process. ``history``: what the session held before the run,
    ``history_of``: which, and up to where. ``run``: the run that they serve.
    """

    context: Any = None
    config: RunConfig = field(default_factory=RunConfig)
    error_handlers: ErrorHandlers | None = None
    values: dict[tuple[int, str], Any] = field(default_factory=dict)
    raw: dict[tuple[int, int], Any] = field(default_factory=dict)
    results: list[Any] = field(default_factory=list)
    history: list[Item] | None = None
    history_of: tuple[str, int] | None = None
    run: str | None = None
    _wrapper: RunContextWrapper[Any] | None = None

    def __post_init__(self) -> None:
        unknown = set(self.error_handlers or ()) - set(HANDLED)
        if unknown:
            raise UserError(
                f"error_handlers has no {', '.join(sorted(map(repr, unknown)))}; it knows {', '.join(HANDLED)}"
            )

    def wrapper(self, run: HasUsage) -> RunContextWrapper[Any]:
        """What guardrails, tools and instructions are handed; its usage is the run's as of now."""
        wrapper = self._wrapper
        if wrapper is None:
            wrapper = self._wrapper = RunContextWrapper(self.context)
        counts = run.usage
        usage = wrapper.usage
        if usage.requests != counts.get("requests", 0) or usage.total_tokens != counts.get("total_tokens", 0):
            usage.take(counts)  # in place: who holds the wrapper sees it
        return wrapper


def options_of(ctx: Context, state: AgentState) -> Options:
    """The run's options, with the items as of this entry in what functions are handed; made from the plain object that
    ``start`` was given, where no face began the run."""
    given = ctx.context
    options = given if isinstance(given, Options) else ctx.scratch.get("options")
    if options is None:
        options = ctx.scratch["options"] = Options(context=given)
    if options.run != ctx.run_id:
        options = _own(options, ctx)
    options.wrapper(ctx).turn_input = state.items
    return options


def _own(options: Options, ctx: Context) -> Options:
    """The options as this run's own: a fork that was given its base's keeps what it learns apart from it."""
    if options.run is None:
        options.run = ctx.run_id
        return options
    own = ctx.scratch.get("options")
    if own is None or own.run != ctx.run_id:
        own = ctx.scratch["options"] = Options(options.context, options.config, options.error_handlers, run=ctx.run_id)
    return own
