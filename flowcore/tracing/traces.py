"""``Trace``: what belongs to one workflow, from its start to its end."""

from __future__ import annotations

from contextvars import Token
from types import TracebackType
from typing import TYPE_CHECKING, Any

from flowcore.tracing.ids import gen_trace_id
from flowcore.tracing.scope import enter_trace, leave_trace

if TYPE_CHECKING:
    from flowcore.tracing.processor_interface import TracingProcessor


class Trace:
    """A trace. ``with trace:`` starts it, makes it current, and finishes it; runs and spans inside belong to it.

    ``name``: the workflow's. ``trace_id``; ``group_id``: links traces, e.g. of one conversation; ``metadata``.
    """

    __slots__ = ("_ended", "_processor", "_started", "_token", "group_id", "metadata", "name", "trace_id",
                 "tracing_api_key")  # fmt: skip

    def __init__(
        self,
        name: str,
        trace_id: str | None = None,
        group_id: str | None = None,
        metadata: dict[str, Any] | None = None,
        processor: TracingProcessor | None = None,
        tracing_api_key: str | None = None,
    ) -> None:
        self.name = name
        self.trace_id = trace_id or gen_trace_id()
        self.group_id = group_id
        self.metadata = metadata
        self.tracing_api_key = tracing_api_key
        self._processor = processor
        self._started = False
        self._ended = False
        self._token: tuple[Token[Any], Token[Any]] | None = None

    def __repr__(self) -> str:
        return f"<Trace {self.name!r} {self.trace_id}>"

    def start(self, mark_as_current: bool = False) -> None:
        """Begin. ``mark_as_current``: runs and spans from here on belong to it. Nothing happens where it has begun."""
        if self._started:
            return
        self._started = True
        if self._processor is not None:
            self._processor.on_trace_start(self)
        if mark_as_current:
            self._token = enter_trace(self)

    def finish(self, reset_current: bool = False) -> None:
        """End. ``reset_current``: what was current before is again."""
        if self._started and not self._ended:
            self._ended = True
            if self._processor is not None:
                self._processor.on_trace_end(self)
        if reset_current and self._token is not None:
            leave_trace(self._token)
            self._token = None

    def __enter__(self) -> Trace:
        self.start(mark_as_current=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish(reset_current=kind is not GeneratorExit)

    def export(self) -> dict[str, Any] | None:
        """The trace as a dict, without its spans; None for a disabled one."""
        return {
            "object": "trace",
            "id": self.trace_id,
            "workflow_name": self.name,
            "group_id": self.group_id,
            "metadata": self.metadata,
        }

    def to_json(self, *, include_tracing_api_key: bool = False) -> dict[str, Any] | None:
        """``export()``, and the exporter's key if that's asked for."""
        exported = self.export()
        if exported is not None and include_tracing_api_key and self.tracing_api_key:
            exported["tracing_api_key"] = self.tracing_api_key
        return exported


class NoOpTrace(Trace):
    """A disabled trace: nobody is told of it, nor of what belongs to it."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("no-op", "no-op")

    def export(self) -> dict[str, Any] | None:
        return None
