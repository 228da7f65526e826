"""Ids of traces and spans: made up for what code opens, computed for what the journal tells."""

from __future__ import annotations

import hashlib
import uuid
from datetime import UTC, datetime
from typing import TypeAlias


def gen_trace_id() -> str:
    """A new trace's id: ``trace_`` and 32 hex digits."""
    return f"trace_{uuid.uuid4().hex}"


def gen_span_id() -> str:
    """A new span's id: ``span_`` and 24 hex digits."""
    return f"span_{uuid.uuid4().hex[:24]}"


def gen_group_id() -> str:
    """A new group's id: ``group_`` and 24 hex digits."""
    return f"group_{uuid.uuid4().hex[:24]}"


def trace_id_of(run: str) -> str:
    """The id of the trace of a root run that was given none: the same in every process."""
    return "trace_" + hashlib.blake2b(run.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


Place: TypeAlias = str | tuple[str, int, str]
"""Of a span in a run: an effect's node, visit and key, or a name."""


def span_id_of(place: Place, run: str, round: int = 1) -> str:
    """The id of the span of a place in a run, in the run's nth round: the same in every process."""
    if not isinstance(place, str):
        node, visit, key = place
        place = f"{node}.{visit}/{key}"
    place = f"{run}/{place}" if round == 1 else f"{run}/{place}#{round}"
    return "span_" + hashlib.blake2b(place.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def iso(seconds: float) -> str:
    """A time in seconds since the epoch as ISO 8601 text, in UTC, to the microsecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")
