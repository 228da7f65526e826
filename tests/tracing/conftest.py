"""Tracing for one test: a processor that keeps what it's told, and nobody told afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tracing_making import Kept

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
