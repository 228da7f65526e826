"""Log events that name the trace and the span they belong to, for structlog."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from flowcore.tracing.scope import current_span, current_trace


def add_trace_ids(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: adds ``trace_id`` and ``span_id`` where code runs inside of a trace.

    ``structlog.configure(processors=[add_trace_ids, ...])``
    """
    trace = current_trace()
    if trace is not None:
        event.setdefault("trace_id", trace.trace_id)
        span = current_span()
        if span is not None:
            event.setdefault("span_id", span.span_id)
    return event
