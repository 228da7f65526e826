"""Processors and exporters that are ready: batches in the background, and the console."""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from typing import Any

from flowcore.engine.log import log
from flowcore.errors import UserError
from flowcore.tracing.backend import BackendSpanExporter
from flowcore.tracing.processor_interface import TracingExporter, TracingProcessor
from flowcore.tracing.spans import Span
from flowcore.tracing.traces import Trace

__all__ = ["BackendSpanExporter", "BatchTraceProcessor", "ConsoleSpanExporter"]


class ConsoleSpanExporter(TracingExporter):
    """Prints traces and spans."""

    def export(self, items: list[Trace | Span[Any]]) -> None:
        for item in items:
            if isinstance(item, Trace):
                print(f"[Exporter] Export trace_id={item.trace_id}, name={item.name}")
            else:
                print(f"[Exporter] Export span: {item.export()}")


class BatchTraceProcessor(TracingProcessor):
    """Hands traces, when they start, and spans, when they end, to an exporter, in batches, from a thread of its own.

    ``max_queue_size``: how many wait at most; what comes when it's full is dropped and counted in ``dropped``.
    ``max_batch_size``: how many the exporter is given at once. ``schedule_delay``: seconds until what waits is sent.
    ``export_trigger_ratio``: of the queue, from where on it's sent at once. The thread begins with the first item; what
    waits is sent when the process ends. A forked child begins with an empty queue.
    """

    def __init__(
        self,
        exporter: TracingExporter,
        max_queue_size: int = 8192,
        max_batch_size: int = 128,
        schedule_delay: float = 5.0,
        export_trigger_ratio: float = 0.7,
    ) -> None:
        if max_queue_size < 1 or max_batch_size < 1 or schedule_delay <= 0 or not 0 < export_trigger_ratio <= 1:
            raise UserError(
                f"BatchTraceProcessor(max_queue_size={max_queue_size}, max_batch_size={max_batch_size},"
                f" schedule_delay={schedule_delay}, export_trigger_ratio={export_trigger_ratio}): sizes are at least 1,"
                " the delay is above 0 and the ratio above 0 and at most 1"
            )
        self.exporter = exporter
        self.dropped = 0
        self._size = max_queue_size
        self._batch = max_batch_size
        self._delay = schedule_delay
        self._trigger = max(1, int(max_queue_size * export_trigger_ratio))
        self._begin_anew()
        _PROCESSORS.add(self)

    def _begin_anew(self) -> None:
        self._queue: deque[Trace | Span[Any]] = deque()
        self._more = threading.Condition()
        self._exporting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._over = False

    def on_trace_start(self, trace: Trace) -> None:
        self._put(trace)

    def on_trace_end(self, trace: Trace) -> None:
        """A trace was handed on when it started."""

    def on_span_start(self, span: Span[Any]) -> None:
        """A span is handed on when it ends."""

    def on_span_end(self, span: Span[Any]) -> None:
        self._put(span)

    def shutdown(self, timeout: float | None = None) -> None:
        """Send what waits, and end the thread. ``timeout``: seconds to wait for it at most. What comes later is
        dropped."""
        with self._more:
            self._over = True
            self._more.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)
        if thread is None or not thread.is_alive():
            self.force_flush()

    def force_flush(self) -> None:
        """Send what waits, here and now."""
        while True:
            with self._exporting:  # what another thread sends at this moment is waited for
                batch = self._taken()
                if batch:
                    self._export(batch)
            if not batch:
                return

    def _put(self, item: Trace | Span[Any]) -> None:
        with self._more:
            waiting = len(self._queue)
            if waiting >= self._size or self._over:
                self.dropped += 1
                if self.dropped == 1:
                    log("traces are dropped: the queue is full or shut down", level="warning", queue=self._size)
                return
            self._queue.append(item)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="flowcore-traces", daemon=True)
                self._thread.start()
            if waiting + 1 == self._trigger:
                self._more.notify()

    def _work(self) -> None:
        while True:
            with self._more:
                if not self._over and len(self._queue) < self._trigger:
                    self._more.wait(self._delay)
                over = self._over
            self.force_flush()
            if over:
                return

    def _taken(self) -> list[Trace | Span[Any]]:
        with self._more:
            queue = self._queue
            return [queue.popleft() for _ in range(min(self._batch, len(queue)))]

    def _export(self, batch: list[Trace | Span[Any]]) -> None:
        try:
            self.exporter.export(batch)
        except Exception as error:
            log("traces couldn't be exported", level="error", items=len(batch), error=repr(error))


_PROCESSORS: weakref.WeakSet[BatchTraceProcessor] = weakref.WeakSet()


def _after_fork() -> None:
    """A child has neither the thread nor, maybe, a free lock; what waited is the parent's to send."""
    for one in list(_PROCESSORS):
        one._begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
