"""What a run's tracing can be told."""

from __future__ import annotations

from typing import TypedDict


class TracingConfig(TypedDict, total=False):
    """``api_key``: of the exporter, for this trace; it's never stored. ``include_task_and_turn_spans``: default
    True."""

    api_key: str
    include_task_and_turn_spans: bool
