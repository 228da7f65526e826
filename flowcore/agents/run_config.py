"""``RunConfig``: the settings of a whole run, and the small types that its functions are given."""

from __future__ import annotations

import inspect
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any, Generic, Literal, TypeAlias, TypedDict

from typing_extensions import TypeVar

from flowcore.agents.context import RunContextWrapper
from flowcore.agents.guardrails import InputGuardrail, OutputGuardrail
from flowcore.agents.handoffs import HandoffInputData
from flowcore.agents.session import SessionSettings
from flowcore.agents.session_input import SessionInputCallback
from flowcore.errors import UserError
from flowcore.graph.values import shorten
from flowcore.models.base import Item, Model, ModelProvider
from flowcore.models.provider import default_provider
from flowcore.models.settings import ModelSettings

TContext = TypeVar("TContext", default=Any)

SENSITIVE = "OPENAI_AGENTS_TRACE_INCLUDE_SENSITIVE_DATA"
"""The environment's word on whether traces carry inputs and outputs, where a config says nothing: "true"."""

ReasoningItemIdPolicy: TypeAlias = Literal["preserve", "omit"]
"""Whether reasoning items keep their ids when they're sent to a model again."""

ToolNotFoundBehavior: TypeAlias = Literal["raise_error", "return_error_to_model"]
"""What becomes of a call to a tool that isn't there."""

ToolNameCollisionPolicy: TypeAlias = Literal["warn", "error"]
"""What becomes of a function tool and a handoff with one name."""


class TracingConfig(TypedDict, total=False):
    """What of tracing one run has for itself."""

    api_key: str
    include_task_and_turn_spans: bool


@dataclass
class ModelInputData:
    """What a model call is about to be sent."""

    input: list[Item]
    instructions: str | None


@dataclass
class CallModelData(Generic[TContext]):
    """What a ``call_model_input_filter`` is given. ``context``: the app's object."""

    model_data: ModelInputData
    agent: Any
    context: TContext | None


CallModelInputFilter: TypeAlias = Callable[[CallModelData[Any]], ModelInputData | Awaitable[ModelInputData]]


@dataclass
class ToolErrorFormatterArgs(Generic[TContext]):
    """What a ``tool_error_formatter`` is given: the ``kind`` of trouble, the call, what the model would be told, and
    for "tool_exception" the ``error``."""

    kind: Literal["approval_rejected", "tool_not_found", "tool_exception"]
    tool_type: Literal["function", "custom"]
    tool_name: str
    call_id: str
    default_message: str
    run_context: RunContextWrapper[TContext]
    error: Exception | None = None


ToolErrorFormatter: TypeAlias = Callable[[ToolErrorFormatterArgs[Any]], str | Awaitable[str | None] | None]


@dataclass
class OutputGuardrailBlockedMessageArgs(Generic[TContext]):
    """What an ``output_guardrail_blocked_message`` function is given."""

    default_message: str
    guardrail_name: str
    agent: Any
    run_context: RunContextWrapper[TContext]


OutputGuardrailBlockedMessageFormatter: TypeAlias = Callable[[OutputGuardrailBlockedMessageArgs[Any]], str | None]


@dataclass
class ToolExecutionConfig:
    """How tools run. ``max_function_tool_concurrency``: how many calls of one reply at a time; None: all of them.
    ``pre_approval_tool_input_guardrails``: input guardrails of a tool look at a call before a person is asked about it,
    and again before it runs."""

    max_function_tool_concurrency: int | None = None
    pre_approval_tool_input_guardrails: bool = False

    def __post_init__(self) -> None:
        most = self.max_function_tool_concurrency
        if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
            raise ValueError(f"tool_execution.max_function_tool_concurrency must be at least 1, or None, not {most!r}")
        if not isinstance(self.pre_approval_tool_input_guardrails, bool):
            told = shorten(self.pre_approval_tool_input_guardrails)
            raise ValueError(f"tool_execution.pre_approval_tool_input_guardrails must be a bool, not {told}")


def includes_sensitive_data() -> bool:
    """Whether traces carry inputs and outputs where nothing else is said."""
    return os.environ.get(SENSITIVE, "true").strip().lower() in ("1", "true", "yes", "on")


@dataclass
class RunConfig:
    """Settings of a whole run.

    ``model``, ``model_settings``: go before each agent's own. ``model_provider``: resolves names; a
    ``MultiProvider`` where nothing is said. ``handoff_input_filter``: of handoffs that have none.
    ``nest_handoff_history``: at a handoff the conversation before it becomes one message, which
    ``handoff_history_mapper(items) -> items`` may write.
    ``input_guardrails``, ``output_guardrails``: join the agent's. ``workflow_name``, ``trace_id``, ``group_id``,
    ``trace_metadata``, ``tracing_disabled``, ``tracing``, ``trace_include_sensitive_data``: of its traces.
    ``session_input_callback(history, new) -> items``: what the model sees of a session and the new input.
    ``session_settings``: go before the session's own. ``call_model_input_filter``: has the last word on what a model
    call is sent; it changes nothing of the run's items. ``tool_error_formatter``: what the model is told of calls that
    were rejected, unknown, or raised; None: the default. ``reasoning_item_id_policy``: "omit" leaves out ids of
    reasoning items. ``tool_execution``, ``tool_not_found_behavior``, ``tool_name_collision_policy``: see there.
    ``output_guardrail_blocked_message``: stands for the output of a tool that ended the run and was rejected.

    Raises TypeError for what is of another type, or has unknown fields; ValueError for a value that can't be; UserError
    for ``sandbox``, which flowcore doesn't have.
    """

    model: str | Model | None = None
    model_provider: ModelProvider | None = field(default_factory=default_provider)
    model_settings: ModelSettings | None = None
    handoff_input_filter: Callable[[HandoffInputData], Any] | None = None
    nest_handoff_history: bool = False
    handoff_history_mapper: Callable[[list[Item]], list[Item]] | None = None
    input_guardrails: list[InputGuardrail] | None = None
    output_guardrails: list[OutputGuardrail] | None = None
    tracing_disabled: bool = False
    tracing: TracingConfig | None = None
    trace_include_sensitive_data: bool = field(default_factory=includes_sensitive_data)
    workflow_name: str = "Agent workflow"
    trace_id: str | None = None
    group_id: str | None = None
    trace_metadata: dict[str, Any] | None = None
    session_input_callback: SessionInputCallback | None = None
    call_model_input_filter: CallModelInputFilter | None = None
    tool_error_formatter: ToolErrorFormatter | None = None
    session_settings: SessionSettings | None = None
    reasoning_item_id_policy: ReasoningItemIdPolicy | None = None
    sandbox: None = None
    tool_execution: ToolExecutionConfig | None = None
    tool_not_found_behavior: ToolNotFoundBehavior = "raise_error"
    tool_name_collision_policy: ToolNameCollisionPolicy = "warn"
    output_guardrail_blocked_message: str | OutputGuardrailBlockedMessageFormatter | None = None
    reasks: int = 2
    """How often a model is asked again after output that its type doesn't admit, before ModelBehaviorError."""

    def __post_init__(self) -> None:
        if self.sandbox is not None:
            raise UserError("RunConfig(sandbox=...): flowcore has no sandboxes; run the tools' work where it's safe")
        for name, cls in (("model_settings", ModelSettings), ("session_settings", SessionSettings),
                          ("tool_execution", ToolExecutionConfig)):  # fmt: skip
            value = getattr(self, name)
            if isinstance(value, Mapping):
                setattr(self, name, _made(cls, name, value))
            elif not (value is None or isinstance(value, cls)):
                raise TypeError(
                    f"RunConfig: {name} must be a {cls.__name__} or a dict of its fields, not {shorten(value)}"
                )
        for name, known in _WORDS.items():
            if getattr(self, name) not in known:
                words = " or ".join(map(repr, known))
                raise ValueError(f"RunConfig: {name} must be either {words}, not {getattr(self, name)!r}")
        for name in _FUNCTIONS:
            value = getattr(self, name)
            if not (value is None or callable(value)):
                raise TypeError(f"RunConfig: {name} must be a function or None, not {shorten(value)}")
        self._check_blocked_message()

    def _check_blocked_message(self) -> None:
        said = self.output_guardrail_blocked_message
        name = "output_guardrail_blocked_message"
        if said == "":
            raise ValueError(f"RunConfig: {name} must be non-empty")
        if not (said is None or isinstance(said, str) or callable(said)):
            raise TypeError(f"RunConfig: {name} must be a string, callable, or None, not {shorten(said)}")
        if inspect.iscoroutinefunction(said):
            raise TypeError(f"RunConfig: {name} must be synchronous: nothing may wait between a verdict and its record")

    @classmethod
    def of(cls, given: RunConfig | Mapping[str, Any] | None) -> RunConfig:
        """A config from a config, a dict of its fields, or None. Raises TypeError on unknown names."""
        if given is None:
            return _default(includes_sensitive_data())
        if isinstance(given, RunConfig):
            return given
        if not isinstance(given, Mapping):
            raise TypeError(f"run_config is a RunConfig or a dict of its fields, not {shorten(given)}")
        unknown = set(given) - {one.name for one in fields(cls)}
        if unknown:
            raise TypeError(f"RunConfig has no field {', '.join(sorted(map(repr, unknown)))}")
        return cls(**given)

    def trace_meta(self) -> dict[str, Any]:
        """What a run's traces need to know of it, as the run's meta keeps it: what isn't so by itself."""
        told: dict[str, Any] = {
            "trace_id": self.trace_id,
            "group_id": self.group_id,
            "metadata": self.trace_metadata,
            "disabled": self.tracing_disabled or None,
            "sensitive": None if self.trace_include_sensitive_data else False,
            "tasks": None if (self.tracing or {}).get("include_task_and_turn_spans", True) else False,
        }
        return {name: value for name, value in told.items() if value is not None}


def _made(cls: type[Any], name: str, given: Mapping[str, Any]) -> Any:
    """One of a config's parts from a dict of its fields. Raises TypeError on unknown ones."""
    known = [one.name for one in fields(cls)]
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise TypeError(
            f"Unknown run_config.{name} settings: {', '.join(unknown)}; {cls.__name__} has {', '.join(known)}"
        )
    return cls(**given)


_WORDS: dict[str, tuple[Any, ...]] = {
    "reasoning_item_id_policy": (None, "preserve", "omit"),
    "tool_not_found_behavior": ("raise_error", "return_error_to_model"),
    "tool_name_collision_policy": ("warn", "error"),
}
_FUNCTIONS = (
    "handoff_input_filter", "handoff_history_mapper", "session_input_callback", "call_model_input_filter",
    "tool_error_formatter",
)  # fmt: skip


@lru_cache(maxsize=2)
def _default(sensitive: bool) -> RunConfig:
    """The config where nothing is said, by what the environment says."""
    return RunConfig(trace_include_sensitive_data=sensitive)
