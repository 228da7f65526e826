"""Making traces and spans by hand, and saying who is told of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flowcore.tracing.config import TracingConfig
from flowcore.tracing.processor_interface import TracingProcessor
from flowcore.tracing.provider import get_trace_provider
from flowcore.tracing.scope import current_span, current_trace
from flowcore.tracing.span_data import (
    AgentSpanData,
    CustomSpanData,
    FunctionSpanData,
    GenerationSpanData,
    GuardrailSpanData,
    HandoffSpanData,
    MCPListToolsSpanData,
    ResponseSpanData,
    SpeechGroupSpanData,
    SpeechSpanData,
    TaskSpanData,
    TranscriptionSpanData,
    TurnSpanData,
)
from flowcore.tracing.spans import Span
from flowcore.tracing.traces import Trace

Parent = Trace | Span[Any] | None
"""What a span hangs under; None: the current span, else the current trace."""


def trace(
    workflow_name: str,
    trace_id: str | None = None,
    group_id: str | None = None,
    metadata: dict[str, Any] | None = None,
    tracing: TracingConfig | None = None,
    disabled: bool = False,
) -> Trace:
    """A trace: ``with trace("name"):`` starts it, and runs inside belong to it. ``trace_id``: made up if absent
    (``gen_trace_id()``). ``disabled``: nobody is told of it, nor of what belongs to it."""
    return get_trace_provider().create_trace(workflow_name, trace_id, group_id, metadata, disabled, tracing)


def get_current_trace() -> Trace | None:
    """The trace that code runs in; inside of a run that is traced, the run's."""
    return current_trace()


def get_current_span() -> Span[Any] | None:
    """The span that code runs in; inside of a tool, the span of its call."""
    return current_span()


def agent_span(
    name: str,
    handoffs: list[str] | None = None,
    tools: list[str] | None = None,
    output_type: str | None = None,
    span_id: str | None = None,
    parent: Parent = None,
    disabled: bool = False,
) -> Span[AgentSpanData]:
    """A span of an agent's work."""
    data = AgentSpanData(name, handoffs, tools, output_type)
    return get_trace_provider().create_span(data, span_id, parent, disabled)


def task_span(
    name: str, span_id: str | None = None, parent: Parent = None, disabled: bool = False
) -> Span[TaskSpanData]:
    """A span of a whole run."""
    return get_trace_provider().create_span(TaskSpanData(name), span_id, parent, disabled)


def turn_span(
    turn: int, agent_name: str, span_id: str | None = None, parent: Parent = None, disabled: bool = False
) -> Span[TurnSpanData]:
    """A span of one turn."""
    return get_trace_provider().create_span(TurnSpanData(turn, agent_name), span_id, parent, disabled)


def generation_span(
    input: Sequence[Mapping[str, Any]] | None = None,
    output: Sequence[Mapping[str, Any]] | None = None,
    model: str | None = None,
    model_config: Mapping[str, Any] | None = None,
    usage: dict[str, Any] | None = None,
    span_id: str | None = None,
    parent: Parent = None,
    disabled: bool = False,
) -> Span[GenerationSpanData]:
    """A span of a model's call."""
    data = GenerationSpanData(input, output, model, model_config, usage)
    return get_trace_provider().create_span(data, span_id, parent, disabled)


def response_span(
    response: Any = None, span_id: str | None = None, parent: Parent = None, disabled: bool = False
) -> Span[ResponseSpanData]:
    """A span of a reply of the Responses API."""
    return get_trace_provider().create_span(ResponseSpanData(response), span_id, parent, disabled)


def function_span(
    name: str,
    input: str | None = None,
    output: str | None = None,
    span_id: str | None = None,
    parent: Parent = None,
    disabled: bool = False,
) -> Span[FunctionSpanData]:
    """A span of a tool's call."""
    return get_trace_provider().create_span(FunctionSpanData(name, input, output), span_id, parent, disabled)


def handoff_span(
    from_agent: str | None = None,
    to_agent: str | None = None,
    span_id: str | None = None,
    parent: Parent = None,
    disabled: bool = False,
) -> Span[HandoffSpanData]:
    """A span of a handoff."""
    return get_trace_provider().create_span(HandoffSpanData(from_agent, to_agent), span_id, parent, disabled)


def custom_span(
    name: str,
    data: dict[str, Any] | None = None,
    span_id: str | None = None,
    parent: Parent = None,
    disabled: bool = False,
) -> Span[CustomSpanData]:
    """A span of whatever you want to see; ``data`` is shown with it."""
    return get_trace_provider().create_span(CustomSpanData(name, data or {}), span_id, parent, disabled)


def guardrail_span(
    name: str, triggered: bool = False, span_id: str | None = None, parent: Parent = None, disabled: bool = False
) -> Span[GuardrailSpanData]:
    """A span of a guardrail."""
    return get_trace_provider().create_span(GuardrailSpanData(name, triggered), span_id, parent, disabled)


def mcp_tools_span(
    server: str | None = None,
    result: list[str] | None = None,
    span_id: str | None = None,
    parent: Parent = None,
    disabled: bool = False,
) -> Span[MCPListToolsSpanData]:
    """A span of asking an MCP server for its tools."""
    return get_trace_provider().create_span(MCPListToolsSpanData(server, result), span_id, parent, disabled)


def transcription_span(
    model: str | None = None,
    input: str | None = None,
    input_format: str | None = "pcm",
    output: str | None = None,
    model_config: Mapping[str, Any] | None = None,
    span_id: str | None = None,
    parent: Parent = None,
    disabled: bool = False,
) -> Span[TranscriptionSpanData]:
    """A span of speech that became text. ``input``: base64 of the audio."""
    data = TranscriptionSpanData(input, input_format, output, model, model_config)
    return get_trace_provider().create_span(data, span_id, parent, disabled)


def speech_span(
    model: str | None = None,
    input: str | None = None,
    output: str | None = None,
    output_format: str | None = "pcm",
    model_config: Mapping[str, Any] | None = None,
    first_content_at: str | None = None,
    span_id: str | None = None,
    parent: Parent = None,
    disabled: bool = False,
) -> Span[SpeechSpanData]:
    """A span of text that became speech. ``output``: base64 of the audio."""
    data = SpeechSpanData(input, output, output_format, model, model_config, first_content_at)
    return get_trace_provider().create_span(data, span_id, parent, disabled)


def speech_group_span(
    input: str | None = None, span_id: str | None = None, parent: Parent = None, disabled: bool = False
) -> Span[SpeechGroupSpanData]:
    """A span that groups speech spans."""
    return get_trace_provider().create_span(SpeechGroupSpanData(input), span_id, parent, disabled)


def add_trace_processor(span_processor: TracingProcessor) -> None:
    """Tell one more processor of every trace and span. Runs that begin to move from now on are traced."""
    get_trace_provider().register_processor(span_processor)


def set_trace_processors(processors: list[TracingProcessor]) -> None:
    """Tell these processors of every trace and span, and no others. An empty list ends tracing. Processors that were
    there before aren't shut down."""
    get_trace_provider().set_processors(processors)


def set_tracing_disabled(disabled: bool) -> None:
    """Whether nothing is traced from now on; goes before the environment's OPENAI_AGENTS_DISABLE_TRACING."""
    get_trace_provider().set_disabled(disabled)


def flush_traces() -> None:
    """Let every processor hand on what it has; returns when that's done."""
    get_trace_provider().force_flush()
