"""Spans to OpenTelemetry, by its conventions for generative AI. Needs ``pip install 'flowcore[otel]'``.

Times, parents and ids are the trace's own: the 32 hex digits of a trace's id, the first 16 of a span's. So a run that
goes on in another process goes on in the same OpenTelemetry trace.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

from flowcore.errors import UserError
from flowcore.tracing.processor_interface import TracingProcessor
from flowcore.tracing.span_data import (
    AgentSpanData,
    CustomSpanData,
    FunctionSpanData,
    GenerationSpanData,
    GuardrailSpanData,
    HandoffSpanData,
    MCPListToolsSpanData,
    ResponseSpanData,
    SpanData,
    TaskSpanData,
    TurnSpanData,
)
from flowcore.tracing.spans import NoOpSpan, Span
from flowcore.tracing.traces import NoOpTrace, Trace

try:
    from opentelemetry import context as otel_context
    from opentelemetry import trace as otel
    from opentelemetry.sdk.trace import Tracer as SdkTracer
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.id_generator import IdGenerator
except ImportError as error:  # the extra isn't there
    raise UserError("tracing to OpenTelemetry needs its SDK: pip install 'flowcore[otel]'") from error

Attributes = dict[str, Any]


class OpenTelemetryProcessor(TracingProcessor):
    """Hands every span that ends to OpenTelemetry.

    ``tracer_provider``: an SDK ``TracerProvider``, whose resource, sampler, limits and span processors apply; default
    the global one. ``include_content``: whether messages, arguments and outputs go along (what the trace doesn't
    include never does). Raises UserError where there is no SDK provider.
    """

    def __init__(self, tracer_provider: Any = None, *, include_content: bool = True) -> None:
        provider = otel.get_tracer_provider() if tracer_provider is None else tracer_provider
        if not isinstance(provider, TracerProvider):
            raise UserError(
                f"OpenTelemetryProcessor needs an SDK TracerProvider, not a {type(provider).__name__}: give one, or set"
                " the global one first (opentelemetry.trace.set_tracer_provider)"
            )
        tracer = provider.get_tracer("flowcore")
        if not isinstance(tracer, SdkTracer):
            raise UserError("OpenTelemetryProcessor: the provider gives no SDK tracer; is OTEL_SDK_DISABLED set?")
        self._provider = provider
        self._tracer = tracer
        self._ids = tracer.id_generator = _GivenIds()
        self._content = include_content
        self._lock = threading.Lock()
        self._around: dict[str, otel.SpanContext] = {}

    def on_trace_start(self, trace: Trace) -> None:
        """Notes the span of OpenTelemetry that it began in: the trace's outermost spans link to that."""
        if isinstance(trace, NoOpTrace):
            return
        around = otel.get_current_span().get_span_context()
        if around.is_valid:
            with self._lock:
                self._around[trace.trace_id] = around

    def on_trace_end(self, trace: Trace) -> None:
        with self._lock:
            self._around.pop(trace.trace_id, None)

    def on_span_start(self, span: Span[Any]) -> None:
        """A span is handed on when it ends."""

    def on_span_end(self, span: Span[Any]) -> None:
        if isinstance(span, NoOpSpan) or span.start_time is None:
            return
        trace_id = _trace_number(span.trace_id)
        context = otel_context.Context()
        if span.parent_id is not None:
            flags = otel.TraceFlags(otel.TraceFlags.SAMPLED)
            above = otel.SpanContext(trace_id, _span_number(span.parent_id), is_remote=False, trace_flags=flags)
            context = otel.set_span_in_context(otel.NonRecordingSpan(above), context)
        name, attributes = described(span.span_data, self._content)
        with self._lock:
            around = self._around.get(span.trace_id) if span.parent_id is None else None
        if span.trace_group_id is not None:
            attributes["gen_ai.conversation.id"] = span.trace_group_id
        if span.parent_id is None and span.trace_metadata:
            attributes.update(
                {f"flowcore.trace.metadata.{key}": _plain(one) for key, one in span.trace_metadata.items()}
            )
        if span.error is not None:
            data = span.error.get("data") or {}
            attributes["error.type"] = str(data.get("kind") or span.error["message"])
        with self._ids.lock:
            self._ids.next(trace_id, _span_number(span.span_id))
            made = self._tracer.start_span(
                name,
                context,
                _KINDS.get(type(span.span_data).__name__, otel.SpanKind.INTERNAL),
                {key: value for key, value in attributes.items() if value is not None},
                links=[otel.Link(around)] if around is not None else None,
                start_time=_nanoseconds(span.start_time),
            )
        if span.error is not None:
            made.set_status(otel.StatusCode.ERROR, span.error["message"])
        made.end(_nanoseconds(span.end_time if span.end_time is not None else span.start_time))

    def shutdown(self) -> None:
        """Hands on what is there; the provider is the app's to shut down."""
        self._provider.force_flush()

    def force_flush(self) -> None:
        self._provider.force_flush()


class _GivenIds(IdGenerator):
    """Gives the ids that it was told."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._trace = self._span = 0

    def next(self, trace: int, span: int) -> None:
        self._trace, self._span = trace, span

    def generate_trace_id(self) -> int:
        return self._trace

    def generate_span_id(self) -> int:
        return self._span


def _trace_number(trace_id: str) -> int:
    return _number(trace_id.removeprefix("trace_"), 32)


def _span_number(span_id: str) -> int:
    return _number(span_id.removeprefix("span_"), 16)


def _number(text: str, digits: int) -> int:
    """Hex digits as a number that isn't 0; of any other text a hash."""
    try:
        found = int(text[:digits], 16) if len(text) >= digits else 0
    except ValueError:
        found = 0
    if not found:
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=digits // 2)
        found = int.from_bytes(digest.digest(), "big") or 1
    return found


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)


def described(data: SpanData, content: bool = True) -> tuple[str, Attributes]:
    """A span's name and attributes in OpenTelemetry. ``content``: with messages, arguments and outputs."""
    for kind, describe in _DESCRIBED:
        if isinstance(data, kind):
            return describe(data, content)
    return data.type, {f"flowcore.{key}": _plain(one) for key, one in data.export().items() if key != "type"}


def _agent(data: AgentSpanData, content: bool) -> tuple[str, Attributes]:
    return f"invoke_agent {data.name}", {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": data.name,
        "gen_ai.output.type": "text" if data.output_type in (None, "str") else "json",
        "flowcore.agent.tools": data.tools,
        "flowcore.agent.handoffs": data.handoffs,
    }


def _generation(data: GenerationSpanData, content: bool) -> tuple[str, Attributes]:
    settings = data.model_config or {}
    output = data.output
    return f"chat {data.model}" if data.model else "chat", {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": data.model,
        **{f"gen_ai.request.{name}": settings.get(name) for name in _SETTINGS if settings.get(name) is not None},
        **_usage(data.usage),
        "gen_ai.response.id": getattr(data, "response_id", None),
        "gen_ai.response.finish_reasons": None if output is None else [_finish(output)],
        "gen_ai.input.messages": _plain(data.input) if content and data.input is not None else None,
        "gen_ai.output.messages": _plain(output) if content and output is not None else None,
    }


def _finish(output: Any) -> str:
    """Why the model ended: to have tools called, or because it was done."""
    calls = any(str(one.get("type", "")).endswith("_call") for one in output if isinstance(one, Mapping))
    return "tool_calls" if calls else "stop"


def _response(data: ResponseSpanData, content: bool) -> tuple[str, Attributes]:
    told = getattr(data, "told", None)
    if told is not None:  # of a run: it tells more than a reply's object
        return _generation(told, content)
    response = data.response
    model = getattr(response, "model", None)
    return f"chat {model}" if model else "chat", {
        "gen_ai.operation.name": "chat",
        "gen_ai.response.id": getattr(response, "id", None),
        "gen_ai.response.model": model,
        **_usage(data.usage),
        "gen_ai.input.messages": _plain(data.input) if content and data.input is not None else None,
    }


def _function(data: FunctionSpanData, content: bool) -> tuple[str, Attributes]:
    return f"execute_tool {data.name}", {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": data.name,
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": getattr(data, "call_id", None),
        "gen_ai.tool.call.arguments": data.input if content else None,
        "gen_ai.tool.call.result": _plain(data.output) if content and data.output is not None else None,
        "mcp.server.name": (data.mcp_data or {}).get("server"),
    }


def _handoff(data: HandoffSpanData, content: bool) -> tuple[str, Attributes]:
    return f"handoff {data.to_agent}" if data.to_agent else "handoff", {
        "flowcore.handoff.from": data.from_agent,
        "flowcore.handoff.to": data.to_agent,
    }


def _guardrail(data: GuardrailSpanData, content: bool) -> tuple[str, Attributes]:
    return f"guardrail {data.name}", {
        "flowcore.guardrail.name": data.name,
        "flowcore.guardrail.triggered": data.triggered,
    }


def _task(data: TaskSpanData, content: bool) -> tuple[str, Attributes]:
    return data.name, {"flowcore.workflow.name": data.name, **_usage(data.usage)}


def _turn(data: TurnSpanData, content: bool) -> tuple[str, Attributes]:
    return f"turn {data.turn}", {"gen_ai.agent.name": data.agent_name, "flowcore.turn": data.turn, **_usage(data.usage)}


def _mcp_tools(data: MCPListToolsSpanData, content: bool) -> tuple[str, Attributes]:
    return "tools/list", {"mcp.method.name": "tools/list", "mcp.server.name": data.server, "mcp.tools": data.result}


def _custom(data: CustomSpanData, content: bool) -> tuple[str, Attributes]:
    told = data.data if content else {key: one for key, one in data.data.items() if key not in ("update", "value")}
    return data.name, {f"flowcore.{key}": _plain(one) for key, one in told.items()}


def _usage(usage: Mapping[str, Any] | None) -> Attributes:
    usage = usage or {}
    return {
        "gen_ai.usage.input_tokens": usage.get("input_tokens"),
        "gen_ai.usage.output_tokens": usage.get("output_tokens"),
        "gen_ai.usage.cache_read.input_tokens": usage.get("cached_tokens", usage.get("cached_input_tokens")),
    }


def _plain(value: Any) -> Any:
    """A value as an attribute: a scalar stays, anything else is JSON text."""
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    return json.dumps(value, default=str, ensure_ascii=False)


_SETTINGS = ("temperature", "top_p", "max_tokens", "frequency_penalty", "presence_penalty")
_KINDS = {"GenerationSpanData": otel.SpanKind.CLIENT, "Generation": otel.SpanKind.CLIENT,
          "Reply": otel.SpanKind.CLIENT, "ResponseSpanData": otel.SpanKind.CLIENT}  # fmt: skip
_DESCRIBED: tuple[tuple[type[SpanData], Callable[[Any, bool], tuple[str, Attributes]]], ...] = (
    (AgentSpanData, _agent),
    (GenerationSpanData, _generation),
    (ResponseSpanData, _response),
    (FunctionSpanData, _function),
    (HandoffSpanData, _handoff),
    (GuardrailSpanData, _guardrail),
    (TaskSpanData, _task),
    (TurnSpanData, _turn),
    (MCPListToolsSpanData, _mcp_tools),
    (CustomSpanData, _custom),
)
