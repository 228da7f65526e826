"""Time moved by hand."""

from __future__ import annotations

import asyncio

from flowcore.engine.clock import Clock


class ManualClock(Clock):
    """A clock that stands still until it's moved. With ``auto`` whoever waits for a moment moves it there, so that no
    test sleeps.

    ``now``: seconds since the epoch. ``waits``: the moments that were waited for.
    """

    def __init__(self, now: float = 1_700_000_000.0, *, auto: bool = True) -> None:
        self.now = now
        self.auto = auto
        self.waits: list[float] = []
        self._moved: set[asyncio.Event] = set()

    def time(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Move time on, and wake who waits."""
        self.now += seconds
        for moved in list(self._moved):
            moved.set()

    async def wait(self, until: float, wake: asyncio.Event) -> None:
        self.waits.append(until)
        if self.auto:
            self.now = max(self.now, until)
            await asyncio.sleep(0)
            return
        while self.now < until and not wake.is_set():
            self._moved.add(wake)
            await wake.wait()
            self._moved.discard(wake)
            if self.now < until:
                return
