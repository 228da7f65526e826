"""The provider: makes traces and spans, and knows who is told of them.

Runs are looked at only while somebody is told: the first processor registers the observer, the last one's leaving takes
it away.
"""

from __future__ import annotations

import atexit
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from flowcore.engine.log import log
from flowcore.engine.observe import OBSERVERS
from flowcore.tracing import ids
from flowcore.tracing.config import TracingConfig
from flowcore.tracing.observer import RunObserver
from flowcore.tracing.processor_interface import TracingProcessor
from flowcore.tracing.scope import current_span, current_trace
from flowcore.tracing.span_data import SpanData
from flowcore.tracing.spans import NoOpSpan, Span
from flowcore.tracing.traces import NoOpTrace, Trace

TSpanData = TypeVar("TSpanData", bound=SpanData)


class ProcessorList(TracingProcessor):
    """Tells several processors, in order. What one of them raises is logged."""

    def __init__(self) -> None:
        self.processors: tuple[TracingProcessor, ...] = ()

    def on_trace_start(self, trace: Trace) -> None:
        for one in self.processors:
            try:
                one.on_trace_start(trace)
            except Exception as error:
                _failed(one, error)

    def on_trace_end(self, trace: Trace) -> None:
        for one in self.processors:
            try:
                one.on_trace_end(trace)
            except Exception as error:
                _failed(one, error)

    def on_span_start(self, span: Span[Any]) -> None:
        for one in self.processors:
            try:
                one.on_span_start(span)
            except Exception as error:
                _failed(one, error)

    def on_span_end(self, span: Span[Any]) -> None:
        for one in self.processors:
            try:
                one.on_span_end(span)
            except Exception as error:
                _failed(one, error)

    def shutdown(self) -> None:
        for one in self.processors:
            _quietly(one, one.shutdown)

    def force_flush(self) -> None:
        for one in self.processors:
            _quietly(one, one.force_flush)


def _quietly(processor: TracingProcessor, work: Callable[[], None]) -> None:
    try:
        work()
    except Exception as error:
        _failed(processor, error)


def _failed(processor: TracingProcessor, error: Exception) -> None:
    log("trace processor failed", level="error", processor=type(processor).__name__, error=repr(error))


class TraceProvider(ABC):
    """Makes traces and spans. Subclass it to make your own; ``set_trace_provider`` puts it in place."""

    @abstractmethod
    def register_processor(self, processor: TracingProcessor) -> None:
        """Tell one more processor."""

    @abstractmethod
    def set_processors(self, processors: Sequence[TracingProcessor]) -> None:
        """Tell these processors, and no others."""

    @abstractmethod
    def create_trace(
        self,
        name: str,
        trace_id: str | None = None,
        group_id: str | None = None,
        metadata: dict[str, Any] | None = None,
        disabled: bool = False,
        tracing: TracingConfig | None = None,
    ) -> Trace:
        """A trace that hasn't started."""

    @abstractmethod
    def create_span(
        self,
        span_data: TSpanData,
        span_id: str | None = None,
        parent: Trace | Span[Any] | None = None,
        disabled: bool = False,
    ) -> Span[TSpanData]:
        """A span that hasn't started. ``parent``: default the current span, else the current trace."""

    @abstractmethod
    def set_disabled(self, disabled: bool) -> None:
        """Whether new traces and spans are told of."""

    @property
    @abstractmethod
    def disabled(self) -> bool:
        """Whether nobody is told of new traces and spans."""

    @property
    @abstractmethod
    def processor(self) -> TracingProcessor | None:
        """Who is told of the spans of runs; None: nobody, and runs aren't looked at."""

    def get_current_trace(self) -> Trace | None:
        """The trace that code runs in."""
        return current_trace()

    def get_current_span(self) -> Span[Any] | None:
        """The span that code runs in."""
        return current_span()

    def gen_trace_id(self) -> str:
        return ids.gen_trace_id()

    def gen_span_id(self) -> str:
        return ids.gen_span_id()

    def gen_group_id(self) -> str:
        return ids.gen_group_id()

    def force_flush(self) -> None:
        """Let every processor hand on what it has, now."""
        if self.processor is not None:
            self.processor.force_flush()

    def shutdown(self) -> None:
        """The process ends."""
        if self.processor is not None:
            self.processor.shutdown()


class DefaultTraceProvider(TraceProvider):
    """The provider that is there from the start. It has no processor until one is added."""

    def __init__(self) -> None:
        self._list = ProcessorList()
        self._disabled = os.environ.get("OPENAI_AGENTS_DISABLE_TRACING", "").lower() in ("1", "true")

    def register_processor(self, processor: TracingProcessor) -> None:
        self.set_processors([*self._list.processors, processor])

    def set_processors(self, processors: Sequence[TracingProcessor]) -> None:
        self._list.processors = tuple(processors)
        look_on()

    @property
    def processor(self) -> TracingProcessor | None:
        return self._list if self._list.processors else None

    @property
    def disabled(self) -> bool:
        return self._disabled

    def set_disabled(self, disabled: bool) -> None:
        self._disabled = disabled

    def create_trace(
        self,
        name: str,
        trace_id: str | None = None,
        group_id: str | None = None,
        metadata: dict[str, Any] | None = None,
        disabled: bool = False,
        tracing: TracingConfig | None = None,
    ) -> Trace:
        if disabled or self._disabled:
            return NoOpTrace()
        return Trace(name, trace_id, group_id, metadata, self._list, (tracing or {}).get("api_key"))

    def create_span(
        self,
        span_data: TSpanData,
        span_id: str | None = None,
        parent: Trace | Span[Any] | None = None,
        disabled: bool = False,
    ) -> Span[TSpanData]:
        if disabled or self._disabled:
            return NoOpSpan(span_data)
        if parent is None:
            parent = current_span() or current_trace()
        if parent is None:
            log("a span was made outside of any trace; open one with trace()", level="warning", span=span_data.type)
            return NoOpSpan(span_data)
        if isinstance(parent, (NoOpTrace, NoOpSpan)):
            return NoOpSpan(span_data)
        if isinstance(parent, Span):
            return Span(parent._trace, parent, span_data, self._list, span_id)
        return Span(parent, None, span_data, self._list, span_id)


_PROVIDER: TraceProvider = DefaultTraceProvider()
_OBSERVER = RunObserver(lambda: _PROVIDER)


def get_trace_provider() -> TraceProvider:
    """The provider in place."""
    return _PROVIDER


def set_trace_provider(provider: TraceProvider) -> None:
    """Put another provider in place."""
    global _PROVIDER
    _PROVIDER = provider
    look_on()


def look_on() -> None:
    """Look at runs iff somebody is told of them; a provider of one's own calls it when its processors change."""
    wanted, there = _PROVIDER.processor is not None, _OBSERVER in OBSERVERS
    if wanted and not there:
        OBSERVERS.append(_OBSERVER)
        atexit.unregister(_at_exit)
        atexit.register(_at_exit)
    elif there and not wanted:
        OBSERVERS.remove(_OBSERVER)


def _at_exit() -> None:
    _PROVIDER.shutdown()
