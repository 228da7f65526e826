"""``RunConfig``: the settings of a whole run, and the small types that its functions are given."""

from __future__ import annotations

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
class ToolErrorFormatterArgs:
    """What a ``tool_error_formatter`` is given: the ``kind`` of trouble, the call, what the model would be told, and
    for "tool_exception" the ``error``."""

    kind: Literal["approval_rejected", "tool_not_found", "tool_exception"]
    tool_type: Literal["function", "custom"]
    tool_name: str
    call_id: str
    default_message: str
    run_context: RunContextWrapper[Any]
    error: Exception | None = None


ToolErrorFormatter: TypeAlias = Callable[[ToolErrorFormatterArgs], str | Awaitable[str | None] | None]


@dataclass
class OutputGuardrailBlockedMessageArgs:
    """What an ``output_guardrail_blocked_message`` function is given."""

    default_message: str
    guardrail_name: str
    agent: Any
    run_context: RunContextWrapper[Any]


OutputGuardrailBlockedMessageFormatter: TypeAlias = Callable[[OutputGuardrailBlockedMessageArgs], str | None]


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
            raise UserError(f"max_function_tool_concurrency is a number of calls from 1 on, or None, not {most!r}")


def _sensitive() -> bool:
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

    Raises UserError for values that can't be.
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
    trace_include_sensitive_data: bool = field(default_factory=_sensitive)
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
                setattr(self, name, cls(**value))
            elif not (value is None or isinstance(value, cls)):
                raise UserError(
                    f"RunConfig({name}=...) is a {cls.__name__} or a dict of its fields, not {shorten(value)}"
                )
        for name, known in _WORDS.items():
            if getattr(self, name) not in known:
                words = ", ".join(map(repr, known))
                raise UserError(f"RunConfig({name}={getattr(self, name)!r}): it's one of {words}")
        for name in _FUNCTIONS:
            value = getattr(self, name)
            if not (value is None or callable(value)):
                raise UserError(f"RunConfig({name}=...) is a function, not {shorten(value)}")

    @classmethod
    def of(cls, given: RunConfig | Mapping[str, Any] | None) -> RunConfig:
        """A config from a config, a dict of its fields, or None. Raises TypeError on unknown names."""
        if given is None:
            return _default(_sensitive())
        if isinstance(given, RunConfig):
            return given
        if not isinstance(given, Mapping):
            raise TypeError(f"run_config is a RunConfig or a dict of its fields, not {shorten(given)}")
        unknown = set(given) - {one.name for one in fields(cls)}
        if unknown:
            raise TypeError(f"RunConfig has no field {', '.join(sorted(map(repr, unknown)))}")
        return cls(**given)

    def trace_meta(self) -> dict[str, Any]:
        """What a run's traces need to know of it, as the run's meta keeps it."""
        return {
            "workflow_name": self.workflow_name,
            "trace_id": self.trace_id,
            "group_id": self.group_id,
            "metadata": self.trace_metadata,
            "disabled": self.tracing_disabled,
            "sensitive": self.trace_include_sensitive_data,
            "tasks": (self.tracing or {}).get("include_task_and_turn_spans", True),
        }


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
