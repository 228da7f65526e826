"""What is current: the trace and the span that code opened, and the place of the run that it stands in.

A place in a run (a tool's call, a node's visit) has its span without anybody setting it: the innermost wins.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from weakref import WeakValueDictionary

from flowcore.engine.observe import HERE, Where

if TYPE_CHECKING:
    from flowcore.tracing.spans import Span
    from flowcore.tracing.traces import Trace


class Opened(NamedTuple):
    """A trace or span that code made current, and where in a run it stood then."""

    what: Any
    here: Where | None


class Followed(Protocol):
    """Knows the spans of a tree of runs."""

    @property
    def trace(self) -> Trace: ...

    def span_at(self, where: Where) -> Span[Any] | None:
        """The span of a place, started if it wasn't; None where the place has none."""


FOLLOWED: WeakValueDictionary[str, Followed] = WeakValueDictionary()
"""Who follows which run of this process, by the run's id."""

_TRACE: ContextVar[Opened | None] = ContextVar("flowcore_trace", default=None)
_SPAN: ContextVar[Opened | None] = ContextVar("flowcore_span", default=None)


def current_trace() -> Trace | None:
    """The trace that code runs in."""
    opened, here = _TRACE.get(), HERE.get()
    if here is not None and (opened is None or opened.here != here):
        followed = FOLLOWED.get(here.run)
        if followed is not None:
            return followed.trace
    return None if opened is None else opened.what


def current_span() -> Span[Any] | None:
    """The span that code runs in."""
    opened, here = _SPAN.get(), HERE.get()
    if here is not None and (opened is None or opened.here != here or opened.what is None):
        followed = FOLLOWED.get(here.run)
        if followed is not None:
            trace = _TRACE.get()
            inner = trace is not None and trace.here == here and trace.what is not followed.trace
            return None if inner else followed.span_at(here)
    return None if opened is None else opened.what


def enter_trace(trace: Trace) -> tuple[Token[Any], Token[Any]]:
    """Make a trace current; nothing is open in it."""
    here = HERE.get()
    return _TRACE.set(Opened(trace, here)), _SPAN.set(None)


def leave_trace(tokens: tuple[Token[Any], Token[Any]]) -> None:
    """Undo ``enter_trace``."""
    _reset(_SPAN, tokens[1])
    _reset(_TRACE, tokens[0])


def enter_span(span: Span[Any]) -> Token[Any]:
    """Make a span current."""
    return _SPAN.set(Opened(span, HERE.get()))


def leave_span(token: Token[Any]) -> None:
    """Undo ``enter_span``."""
    _reset(_SPAN, token)


def _reset(var: ContextVar[Opened | None], token: Token[Any]) -> None:
    try:
        var.reset(token)
    except ValueError:  # ended in another context than it began in, e.g. by a generator's finalizer
        pass
