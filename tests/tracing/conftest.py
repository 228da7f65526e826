"""Tracing for one test: a processor that keeps what it's told, and nobody told afterwards."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog
from secrets_looking import Looked
from tracing_making import Kept

from flowcore import enable_verbose_stdout_logging
from flowcore.engine.log import SINKS
from flowcore.engine.observe import OBSERVERS
from flowcore.tracing import set_trace_processors, set_tracing_disabled


@pytest.fixture
def kept() -> Iterator[Kept]:
    """Told of everything while the test runs."""
    processor = Kept()
    set_trace_processors([processor])
    yield processor
    set_trace_processors([])
    set_tracing_disabled(False)
    assert OBSERVERS == []


@pytest.fixture
def looked(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> Iterator[Looked]:
    """Verbose logs with all data, structlog's events and spans of one test."""
    monkeypatch.setenv("OPENAI_AGENTS_DONT_LOG_MODEL_DATA", "0")
    monkeypatch.setenv("OPENAI_AGENTS_DONT_LOG_TOOL_DATA", "0")
    logger = logging.getLogger("flowcore")
    before = (logger.level, list(logger.handlers), list(OBSERVERS), list(SINKS))
    found = Looked(kept)
    enable_verbose_stdout_logging()
    handler = logging.StreamHandler(found.lines)
    logger.addHandler(handler)
    structlog.configure(processors=[lambda one, verb, event: found.events.append(event) or ""])
    yield found
    structlog.reset_defaults()
    logger.setLevel(before[0])
    logger.handlers[:], OBSERVERS[:], SINKS[:] = before[1:]
