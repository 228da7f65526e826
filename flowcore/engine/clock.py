"""Time, read at the rim: the one place where the engine asks what time it is."""

from __future__ import annotations

import asyncio
import time

LONGEST_WAIT = 60.0
"""Seconds after which who waits looks at the time again: somebody may have set the clock, or closed the laptop."""


class Clock:
    """The machine's clock. ``flowcore.testing.ManualClock`` is one whose time is moved by hand."""

    def time(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    async def wait(self, until: float, wake: asyncio.Event) -> None:
        """Sleep until a moment, or until ``wake`` is set, whichever comes first; or for a while: who is woken looks
        again."""
        try:
            # wait_for may lose a cancel before 3.12
            async with asyncio.timeout(min(max(0.0, until - self.time()), LONGEST_WAIT)):
                await wake.wait()
        except TimeoutError:
            pass


CLOCK = Clock()
