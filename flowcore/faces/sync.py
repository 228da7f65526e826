"""Sync over async, in the thread's default event loop: the app's where it set one, else one of ours; kept either way,
so that what is bound to a loop (a model's connections, a session's locks) lives on from call to call."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
import warnings
import weakref
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, TypeVar

from flowcore.errors import LoopRunning

T = TypeVar("T")


class _Held:
    """What runs things in a thread's default loop. One that was made here is closed when the thread ends, or the
    interpreter; the app's own isn't."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
        held = self.loop = asyncio.new_event_loop() if loop is None else loop
        # A runner that makes its loop itself takes the thread's default away when it's closed, whosever it is by then.
        self.runner = asyncio.Runner(loop_factory=lambda: held)
        if loop is None:
            asyncio.set_event_loop(self.loop)
            weakref.finalize(self, _close, self.runner, self.loop)


def _close(runner: asyncio.Runner, loop: asyncio.AbstractEventLoop) -> None:
    with contextlib.suppress(RuntimeError):  # another thread's loop may still run when the interpreter ends
        runner.close()
        loop.close()


class _Local(threading.local):
    held: _Held | None = None


_LOCAL = _Local()


def _is_running() -> bool:
    """Whether this thread is inside of a running loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _default_loop() -> asyncio.AbstractEventLoop | None:
    """The thread's default loop, where it has an open one."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # it says that there is none, and that one would be made
        try:
            loop = asyncio.get_event_loop()
        except (RuntimeError, DeprecationWarning):
            return None
    return None if loop.is_closed() else loop


def _held(what: str, instead: str) -> _Held:
    if _is_running():
        raise LoopRunning(f"{what} cannot be called when an event loop is already running; use {instead}")
    held, loop = _LOCAL.held, _default_loop()
    if held is None or held.loop.is_closed() or loop not in (None, held.loop):
        held = _LOCAL.held = _Held(loop)
    return held


def run_sync(work: Coroutine[Any, Any, T], what: str, instead: str) -> T:
    """Run a coroutine to its end in this thread's loop, in the caller's context. Ctrl-C cancels it and waits for it.
    Raises UserError inside a running loop."""
    try:
        held = _held(what, instead)
    except LoopRunning:
        work.close()
        raise
    return held.runner.run(work, context=contextvars.copy_context())


def iterate_sync(stream: AsyncIterator[T], what: str, instead: str) -> Iterator[T]:
    """An async iterator as a sync one. Raises UserError inside a running loop, at once."""
    return _iterate(stream, _held(what, instead))


def _iterate(stream: AsyncIterator[T], held: _Held) -> Iterator[T]:
    context = contextvars.copy_context()

    async def one() -> tuple[bool, T | None]:
        try:
            return True, await anext(stream)
        except StopAsyncIteration:
            return False, None

    async def close() -> None:
        ending = getattr(stream, "aclose", None)
        if ending is not None:
            await ending()

    try:
        while True:
            there, value = held.runner.run(one(), context=context)
            if not there:
                return
            yield value  # type: ignore[misc]
    finally:
        if not _is_running():  # else it's the garbage collector that closes this; the loop closes the stream at its end
            held.runner.run(close(), context=context)
