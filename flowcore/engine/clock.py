"""Time, read at the rim: the one place where the engine asks what time it is."""

from __future__ import annotations

import asyncio
import time


class Clock:
    """The machine's clock. ``flowcore.testing.ManualClock`` is one whose time is moved by hand."""

    def time(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    async def wait(self, until: float, wake: asyncio.Event) -> None:
        """Sleep until a moment, or until ``wake`` is set, whichever comes first."""
        try:
            await asyncio.wait_for(wake.wait(), max(0.0, until - self.time()))
        except TimeoutError:
            pass


CLOCK = Clock()
