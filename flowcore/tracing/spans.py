"""``Span``: one thing that took time. Its data is exported only when somebody asks."""

from __future__ import annotations

import time
from contextvars import Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypedDict, TypeVar

from flowcore.tracing.ids import Place, gen_span_id, iso, span_id_of
from flowcore.tracing.scope import enter_span, leave_span
from flowcore.tracing.span_data import SpanData
from flowcore.tracing.traces import NoOpTrace, Trace

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
        "_above", "_id", "_place", "_processor", "_round", "_token", "_trace", "end_time", "error", "span_data",
        "start_time",
    )  # fmt: skip

    def __init__(
        self,
        trace: Trace,
        above: Span[Any] | str | None,
        span_data: TSpanData,
        processor: TracingProcessor | None = None,
        span_id: str | None = None,
        place: Place | None = None,
        round: tuple[str, int] | None = None,
        start_time: float | None = None,
        error: SpanError | None = None,
    ) -> None:
        """``above``: the span that it hangs under, or its id; None: right under the trace. ``place``, ``round``: of
        a span of a run; its id is computed from them when it's asked for."""
        self._trace = trace
        self._id = span_id
        self._place = place
        self._round = round
        self._above = above
        self.span_data = span_data
        self.error = error
        self.start_time = start_time
        self.end_time: float | None = None
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
            place, round = self._place, self._round
            id = self._id = gen_span_id() if place is None or round is None else span_id_of(place, *round)
        return id

    @property
    def parent_id(self) -> str | None:
        """The id of the span that it hangs under."""
        above = self._above
        return above.span_id if isinstance(above, Span) else above

    @property
    def trace_id(self) -> str:
        """Its trace's id."""
        return self._trace.trace_id

    @property
    def trace_metadata(self) -> dict[str, Any] | None:
        """Its trace's."""
        return self._trace.metadata

    @property
    def trace_group_id(self) -> str | None:
        """Its trace's."""
        return self._trace.group_id

    @property
    def tracing_api_key(self) -> str | None:
        """Its trace's."""
        return self._trace.tracing_api_key

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
        super().__init__(_NO_TRACE, None, span_data, span_id="no-op")

    def export(self) -> dict[str, Any] | None:
        return None


_NO_TRACE = NoOpTrace()
