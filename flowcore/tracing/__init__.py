"""Traces and spans, derived from the facts of runs.

Nothing is traced, and nothing leaves the machine, until a processor is added: ``add_trace_processor``. The names below
are resolved when they're first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES: dict[str, tuple[str, ...]] = {
    "flowcore.tracing.backend": ("BackendSpanExporter", "set_tracing_export_api_key"),
    "flowcore.tracing.config": ("TracingConfig",),
    "flowcore.tracing.create": (
        "add_trace_processor", "agent_span", "custom_span", "flush_traces", "function_span", "generation_span",
        "get_current_span", "get_current_trace", "guardrail_span", "handoff_span", "mcp_tools_span", "response_span",
        "set_trace_processors", "set_tracing_disabled", "speech_group_span", "speech_span", "task_span", "trace",
        "transcription_span", "turn_span",
    ),
    "flowcore.tracing.derive": ("spans_of",),
    "flowcore.tracing.ids": ("gen_group_id", "gen_span_id", "gen_trace_id"),
    "flowcore.tracing.logs": ("add_trace_ids",),
    "flowcore.tracing.otel": ("OpenTelemetryProcessor",),
    "flowcore.tracing.processor_interface": ("TracingExporter", "TracingProcessor"),
    "flowcore.tracing.processors": ("BatchTraceProcessor", "ConsoleSpanExporter"),
    "flowcore.tracing.provider": (
        "DefaultTraceProvider", "TraceProvider", "get_trace_provider", "set_trace_provider",
    ),
    "flowcore.tracing.span_data": (
        "AgentSpanData", "CustomSpanData", "FunctionSpanData", "GenerationSpanData", "GuardrailSpanData",
        "HandoffSpanData", "MCPListToolsSpanData", "ResponseSpanData", "SpanData", "SpeechGroupSpanData",
        "SpeechSpanData", "TaskSpanData", "TranscriptionSpanData", "TurnSpanData",
    ),
    "flowcore.tracing.spans": ("Span", "SpanError"),
    "flowcore.tracing.traces": ("Trace",),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'flowcore.tracing' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return __all__
