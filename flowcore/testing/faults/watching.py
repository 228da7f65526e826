"""What a process that may be killed writes into its ledger, and the points around its effects."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from flowcore.engine import drive as driving
from flowcore.engine import heartbeat
from flowcore.engine.context import Context
from flowcore.stores import postgres_write, sqlite_write
from flowcore.testing.faults.ledger import Ledger
from flowcore.testing.faults.points import Points


class Watch:
    """This process's ledger and points; ``pause``: seconds that a tool of the workload takes."""

    def __init__(self) -> None:
        self.ledger: Ledger | None = None
        self.points = Points()
        self.pause = 0.0

    def begin(self, ledger: Ledger, points: Points, pause: float) -> None:
        """From now on, every body and every effect of this process is noted."""
        self.ledger, self.points, self.pause = ledger, points, pause
        once, enter = Context.once, driving.enter  # type: ignore[attr-defined]

        async def watched_once(ctx: Context, key: str, fn: Callable[..., Any], *args: Any, **given: Any) -> Any:
            async def watched(*args: Any) -> Any:
                self._noted("begin", "effect", ctx.idempotency_key(key))
                value = fn(*args)
                if inspect.isawaitable(value):
                    value = await value
                self._noted("end", "effect", ctx.idempotency_key(key))
                return value

            return await once(ctx, key, watched, *args, **given)

        async def watched_enter(live: Any, task: asyncio.Task[Any] | None, started: float) -> None:
            visit = live.snapshot.visit
            self._noted("begin", "entry", f"{live.id}/{visit.node}.{visit.number}")
            await enter(live, task, started)

        patch.object(Context, "once", watched_once).start()
        patch.object(driving, "enter", watched_enter).start()

    async def work(self, key: str) -> None:
        """What a tool of the workload does in the world: it's noted, and takes its time."""
        self._noted("begin", "tool", key)
        await asyncio.sleep(self.pause)
        self._noted("end", "tool", key)

    def _noted(self, moment: Any, what: Any, key: str) -> None:
        if self.ledger is not None:
            self.ledger.note(moment, what, key)
        self.points.reach(f"{what} {'begun' if moment == 'begin' else 'happened'}")


WATCH = Watch()
"""This process's."""


def short_leases(seconds: float) -> None:
    """Let this process's leases last so long, and be renewed four times in that time."""
    for module in (heartbeat, sqlite_write, postgres_write):
        patch.object(module, "LEASE_SECONDS", seconds).start()
    patch.object(heartbeat, "MARGIN_SECONDS", seconds / 5).start()
    patch.object(heartbeat, "LOOK_SECONDS", seconds / 15).start()
