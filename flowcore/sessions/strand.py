"""Blocking work off the event loop: one job after the other, in the order given."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Strand:
    """Runs jobs on the running loop's pool of threads, never two at once. Any thread and any loop may hand one in."""

    def __init__(self) -> None:
        self._jobs: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._guard = threading.Lock()
        self._busy = False

    async def run(self, job: Callable[[], T]) -> T:
        """The job's answer, or what it raises. Cancelled before its turn, it isn't done; cancelled meanwhile, the
        cancel waits for its end: afterwards nothing of it is under way."""
        loop = asyncio.get_running_loop()
        answer: Future[T] = Future()
        with self._guard:
            self._jobs.append((job, answer))
            if not self._busy:
                loop.run_in_executor(None, self._work)
                self._busy = True
        waiting = asyncio.wrap_future(answer, loop=loop)
        try:
            return await asyncio.shield(waiting)
        except asyncio.CancelledError:
            if not answer.cancel():
                await _settle(waiting)
            raise

    def _work(self) -> None:
        while True:
            with self._guard:
                if not self._jobs:
                    self._busy = False
                    return
                job, answer = self._jobs.popleft()
            if not answer.set_running_or_notify_cancel():
                continue
            try:
                value = job()
            except BaseException as error:
                answer.set_exception(error)
            else:
                answer.set_result(value)
            del job, answer  # who waits for the next one doesn't keep this one's values


async def _settle(waiting: asyncio.Future[Any]) -> None:
    """Wait for it, however often that is cancelled."""
    while not waiting.done():
        try:
            await asyncio.wait([waiting])
        except asyncio.CancelledError:
            continue
    if not waiting.cancelled():
        waiting.exception()  # looked at: the cancel is what is raised
