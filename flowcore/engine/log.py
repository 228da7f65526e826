"""The engine's own log: what happened to runs and leases, by structlog. Silent unless the app configured structlog, or
a sink was put in."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeAlias

Sink: TypeAlias = Callable[[str, str, dict[str, Any]], None]
"""Takes a level ("info", "warning", "error"), an event and its fields. It must not raise."""

SINKS: list[Sink] = []
"""Who is told beside structlog."""


def log(event: str, *, level: str = "info", **fields: Any) -> None:
    """Say one thing, e.g. ``log("run failed", level="warning", run=id)``. Costs a dict look-up where nobody listens."""
    for sink in SINKS:
        sink(level, event, fields)
    structlog: Any = sys.modules.get("structlog")  # an app that configured it has imported it
    if structlog is not None and structlog.is_configured():
        getattr(structlog.get_logger("flowcore"), level)(event, **fields)
