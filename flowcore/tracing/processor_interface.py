"""What takes traces and spans: a processor is told of each, an exporter sends batches of them somewhere."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowcore.tracing.spans import Span
    from flowcore.tracing.traces import Trace


class TracingProcessor(ABC):
    """Is told when traces and spans start and end, in the thread where that happens. It mustn't block; what it raises
    is logged, and harms nobody.

    A span of a run is told of by the fact that records it, so it starts and ends when that fact is committed;
    ``span.started_at`` and ``span.ended_at`` are the times of what it tells. Parents start before their children.
    """

    @abstractmethod
    def on_trace_start(self, trace: Trace) -> None:
        """A trace started. A run that is resumed goes on with its trace, which doesn't start again."""

    @abstractmethod
    def on_trace_end(self, trace: Trace) -> None:
        """A trace ended. That of a run that waits hasn't; that of one which failed and was resumed ends once more."""

    @abstractmethod
    def on_span_start(self, span: Span[Any]) -> None:
        """A span started."""

    @abstractmethod
    def on_span_end(self, span: Span[Any]) -> None:
        """A span ended. One that was open when its run came from another process has no start here."""

    @abstractmethod
    def shutdown(self) -> None:
        """The process ends: hand on what is there."""

    @abstractmethod
    def force_flush(self) -> None:
        """Hand on what is there, now. Returns when that's done."""


class TracingExporter(ABC):
    """Sends traces and spans somewhere."""

    @abstractmethod
    def export(self, items: list[Trace | Span[Any]]) -> None:
        """Send some; may block. Called from one thread at a time."""
