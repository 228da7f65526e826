"""Everything that is shown while a test runs."""

from __future__ import annotations

import io
import json
from typing import Any

from tracing_making import Kept

PASSWORD = "MARKER-hunter2"
TOKEN = 'MARKER-"tö\\ken'


class Looked:
    """Everything that is shown while a test runs: verbose logs with all data, structlog's events, spans."""

    def __init__(self, kept: Kept) -> None:
        self.kept = kept
        self.lines = io.StringIO()
        self.events: list[Any] = []

    def all(self) -> str:
        spans = json.dumps([[span.export(), span.error] for span in self.kept.started], default=str)
        traces = json.dumps([trace.export() for trace in self.kept.traces], default=str)
        return "\n".join((self.lines.getvalue(), spans, traces, str(self.events)))
