"""Signals while runs move: Ctrl-C stops them politely, a second one cancels them, a closed terminal makes them rest."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Coroutine, Iterable, Sequence
from types import TracebackType
from typing import Any, NoReturn

from flowcore.cli.exits import STOPPED
from flowcore.cli.screen import Screen
from flowcore.engine.run import Run
from flowcore.errors import FlowcoreError

GRACE_SECONDS = 1.0
"""How long a cancelled command waits for threads that nobody can break off (sync tools)."""


class Interrupts:
    """While it's entered, signals are requests to the runs that are in the list by then."""

    def __init__(self, runs: Sequence[Run], screen: Screen) -> None:
        self._runs = runs
        self._screen = screen
        self.pressed = 0
        """How often a person has asked for the end."""
        self._asking: set[asyncio.Task[None]] = set()
        self._handled: list[signal.Signals] = []
        self.ended = False
        """Whether the terminal or the system wants the whole command to end."""

    def __enter__(self) -> Interrupts:
        loop = asyncio.get_running_loop()
        for number, act in ((signal.SIGINT, self._interrupt), (signal.SIGTERM, self._end), (_SIGHUP, self._hang_up)):
            if number is None or signal.getsignal(number) is signal.SIG_IGN:
                continue  # as under nohup: whoever started us wants it so
            try:
                loop.add_signal_handler(number, act)
                self._handled.append(number)
            except (NotImplementedError, ValueError, RuntimeError):
                pass  # this platform or thread has no such signals: Ctrl-C cancels the task, and the run rests too
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop = asyncio.get_running_loop()
        for number in self._handled:
            loop.remove_signal_handler(number)
        self._handled.clear()

    def _interrupt(self) -> None:
        self.pressed += 1
        if self.pressed == 1:
            them, rest, it = self._words()
            self._screen.tell(f"stopping: {them} may finish, then {rest} (Ctrl-C again cancels {it})", "magenta")
            self._ask(run.stop() for run in self._runs)
        elif self.pressed == 2:
            them, _, it = self._words()
            be = "it is" if it == "it" else "they are"
            self._screen.tell(f"cancelling {them} (Ctrl-C again leaves {it} as {be})", "magenta")
            self._ask(run.cancel() for run in self._runs)
        else:
            leave(STOPPED)  # as a crash would: what is committed is kept, and a resume goes on from there

    def _end(self) -> None:
        self.ended = True
        self._ask(run.cancel() for run in self._runs)

    def _words(self) -> tuple[str, str, str]:
        """What is at work, what comes of it, and what they are."""
        if len(self._runs) == 1:
            return f"'{self._runs[0].place}'", "the run rests", "it"
        return f"the nodes of {len(self._runs)} runs", "the runs rest", "them"

    def _hang_up(self) -> None:
        self._screen.close()
        self._end()

    def _ask(self, works: Iterable[Coroutine[Any, Any, None]]) -> None:
        for work in works:
            task = asyncio.get_running_loop().create_task(work)
            self._asking.add(task)
            task.add_done_callback(self._asked)

    def _asked(self, task: asyncio.Task[None]) -> None:
        self._asking.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, FlowcoreError):
            self._screen.tell(f"the run couldn't be told: {error.message}", "red")


_SIGHUP = getattr(signal, "SIGHUP", None)  # not on Windows


def leave_soon(code: int) -> None:
    """Leave with this code after the grace, if the process hasn't ended by then."""
    timer = threading.Timer(GRACE_SECONDS, leave, [code])
    timer.daemon = True
    timer.start()


def leave(code: int) -> NoReturn:
    """Leave at once, without waiting for threads."""
    os._exit(code)
