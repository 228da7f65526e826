"""``Span``: one thing that took time. Its data is exported only when somebody asks."""

from __future__ import annotations

import time
from contextvars import Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypedDict, TypeVar

from flowcore.tracing.ids import gen_span_id, iso, span_id_of
from flowcore.tracing.scope import enter_span, leave_span
from flowcore.tracing.span_data import SpanData

if TYPE_CHECKING:
    from flowcore.tracing.processor_interface import TracingProcessor

TSpanData = TypeVar("TSpanData", bound=SpanData)


class SpanError(TypedDict):
    """What went wrong. ``data``: more about it, or None."""

    message: str
    data: dict[str, Any] | None


class Span(Generic[TSpanData]):
    """A span of a trace. ``with span:`` starts it, makes it current, and finishes it.

    ``trace_id``, ``span_id``, ``parent_id`` (None right under the trace); ``span_data``, what it tells; ``error``;
    ``started_at`` and ``ended_at``, ISO 8601 text in UTC, None as long as it isn't so; ``start_time`` and
    ``end_time``, the same in seconds since the epoch. ``trace_metadata``, ``trace_group_id``: of its trace.
    """

    __slots__ = (
        "_id",
        "_place",
        "_processor",
        "_token",
        "end_time",
        "error",
        "parent_id",
        "span_data",
        "start_time",
        "trace_group_id",
        "trace_id",
        "trace_metadata",
        "tracing_api_key",
    )  # fmt: skip

    def __init__(
        self,
        trace_id: str,
        span_id: str | None,
        parent_id: str | None,
        span_data: TSpanData,
        processor: TracingProcessor | None = None,
        tracing_api_key: str | None = None,
        trace_metadata: dict[str, Any] | None = None,
        trace_group_id: str | None = None,
        place: str | None = None,
    ) -> None:
        """``place``: of a span of a run; its id is computed from it when it's asked for."""
        self.trace_id = trace_id
        self._id = span_id
        self._place = place
        self.parent_id = parent_id
        self.span_data = span_data
        self.error: SpanError | None = None
        self.start_time: float | None = None
        self.end_time: float | None = None
        self.tracing_api_key = tracing_api_key
        self.trace_metadata = trace_metadata
        self.trace_group_id = trace_group_id
        self._processor = processor
        self._token: Token[Any] | None = None

    def __repr__(self) -> str:
        return f"<Span {self.span_data.type} {getattr(self.span_data, 'name', '')!r} {self.span_id}>"

    def start(self, mark_as_current: bool = False) -> None:
        """Begin now, if it hasn't. ``mark_as_current``: spans made from here on are its children."""
        if self.start_time is not None:
            return
        self.start_time = time.time()
        if self._processor is not None:
            self._processor.on_span_start(self)
        if mark_as_current:
            self._token = enter_span(self)

    def finish(self, reset_current: bool = False) -> None:
        """End now. ``reset_current``: what was current before is again."""
        if self.end_time is None:
            self.end_time = time.time()
            if self._processor is not None:
                self._processor.on_span_end(self)
        if reset_current and self._token is not None:
            leave_span(self._token)
            self._token = None

    def __enter__(self) -> Span[TSpanData]:
        self.start(mark_as_current=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish(reset_current=kind is not GeneratorExit)

    def set_error(self, error: SpanError) -> None:
        """Say what went wrong."""
        self.error = error

    @property
    def span_id(self) -> str:
        """Its id."""
        id = self._id
        if id is None:
            id = self._id = gen_span_id() if self._place is None else span_id_of(self._place)
        return id

    @property
    def started_at(self) -> str | None:
        return None if self.start_time is None else iso(self.start_time)

    @property
    def ended_at(self) -> str | None:
        return None if self.end_time is None else iso(self.end_time)

    def export(self) -> dict[str, Any] | None:
        """The span as a dict; None for one of a disabled trace."""
        return {
            "object": "trace.span",
            "id": self.span_id,
            "trace_id": self.trace_id,
            "parent_id": self.parent_id,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
            "span_data": self.span_data.export(),
            "error": self.error,
        }


class NoOpSpan(Span[TSpanData]):
    """A span that nobody is told of."""

    __slots__ = ()

    def __init__(self, span_data: TSpanData) -> None:
        super().__init__("no-op", "no-op", None, span_data)

    def export(self) -> dict[str, Any] | None:
        return None
