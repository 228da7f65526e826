"""The engine's own log: what happened to runs and leases, by structlog. Silent unless the app configured structlog."""

from __future__ import annotations

import sys
from typing import Any


def log(event: str, *, level: str = "info", **fields: Any) -> None:
    """Say one thing, e.g. ``log("run failed", level="warning", run=id)``. Costs a dict look-up where nobody listens."""
    structlog: Any = sys.modules.get("structlog")  # an app that configured it has imported it
    if structlog is not None and structlog.is_configured():
        getattr(structlog.get_logger("flowcore"), level)(event, **fields)
