"""Sync over async: one event loop a thread, kept, so that a model's connections live on from call to call."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, TypeVar

from flowcore.errors import LoopRunning

T = TypeVar("T")


class _Held:
    """A thread's loop. It's closed when the thread ends, or the interpreter."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        weakref.finalize(self, _close, self.runner)


def _close(runner: asyncio.Runner) -> None:
    with contextlib.suppress(RuntimeError):  # another thread's loop may still run when the interpreter ends
        runner.close()


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


def _runner(what: str, instead: str) -> asyncio.Runner:
    if _is_running():
        raise LoopRunning(f"{what} cannot be called when an event loop is already running; use {instead}")
    if _LOCAL.held is None:
        _LOCAL.held = _Held()
    return _LOCAL.held.runner


def run_sync(work: Coroutine[Any, Any, T], what: str, instead: str) -> T:
    """Run a coroutine to its end in this thread's loop. Ctrl-C cancels it and waits for it. Raises UserError inside a
    running loop."""
    try:
        runner = _runner(what, instead)
    except LoopRunning:
        work.close()
        raise
    return runner.run(work)


def iterate_sync(stream: AsyncIterator[T], what: str, instead: str) -> Iterator[T]:
    """An async iterator as a sync one. Raises UserError inside a running loop, at once."""
    runner = _runner(what, instead)
    return _iterate(stream, runner)


def _iterate(stream: AsyncIterator[T], runner: asyncio.Runner) -> Iterator[T]:
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
            there, value = runner.run(one())
            if not there:
                return
            yield value  # type: ignore[misc]
    finally:
        if not _is_running():  # else it's the garbage collector that closes this; the loop closes the stream at its end
            runner.run(close())
