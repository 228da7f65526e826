"""A line that a person types, read by the event loop: ``input()`` can lose a Ctrl-C that comes just before it reads."""

from __future__ import annotations

import asyncio
import signal
import sys

from flowcore.cli.screen import Screen


async def typed_line(screen: Screen, prompt: str, seconds: float | None = None) -> str | None:
    """The line; None at the end of input (Ctrl-D) or on Ctrl-C. Stdin has to be a terminal: it gives line by line.

    Raises TimeoutError after so many seconds.
    """
    loop = asyncio.get_running_loop()
    line: asyncio.Future[str | None] = loop.create_future()

    def read() -> None:
        if not line.done():
            try:
                line.set_result(sys.stdin.readline() or None)
            except OSError:  # the terminal is gone
                line.set_result(None)

    def leave() -> None:
        if not line.done():
            line.set_result(None)

    loop.add_signal_handler(signal.SIGINT, leave)
    loop.add_reader(sys.stdin, read)
    try:
        screen.prompt(prompt)
        return await asyncio.wait_for(line, seconds)
    finally:
        loop.remove_reader(sys.stdin)
        loop.remove_signal_handler(signal.SIGINT)
