"""Sync over async: one event loop a thread, kept, so that a model's connections live on from call to call."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import threading
import weakref
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, TypeVar

from flowcore.errors import UserError

T = TypeVar("T")


class _Loop(threading.local):
    runner: asyncio.Runner | None = None


_LOCAL = _Loop()
_RUNNERS: weakref.WeakSet[asyncio.Runner] = weakref.WeakSet()


def _runner(what: str, instead: str) -> asyncio.Runner:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        raise UserError(f"{what} cannot be called when an event loop is already running; use {instead}")
    if _LOCAL.runner is None:
        _LOCAL.runner = asyncio.Runner()
        _RUNNERS.add(_LOCAL.runner)
    return _LOCAL.runner


@atexit.register
def _close() -> None:
    for runner in list(_RUNNERS):
        with contextlib.suppress(RuntimeError):  # another thread's loop may still run
            runner.close()


def run_sync(work: Coroutine[Any, Any, T], what: str, instead: str) -> T:
    """Run a coroutine to its end in this thread's loop. Ctrl-C cancels it and waits for it. Raises UserError inside a
    running loop."""
    try:
        runner = _runner(what, instead)
    except UserError:
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
        runner.run(close())
