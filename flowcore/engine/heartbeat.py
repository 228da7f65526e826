"""The heartbeat: one thread for each owner, which keeps the owner's leases whatever its event loop is doing.

Why a thread. A tool or a node may block the event loop (``time.sleep``, computing in an ``async def``) for longer than
a lease lasts. Its run isn't dead, and nobody else may start it meanwhile; so what says "I live" can't be a task of that
loop.

Who beats when. The loop's watch (``lease.Holder``) orders a beat a quarter of a lease after the last one; the thread
does it, and the loop awaits its answer. When no order has come for a third of a lease, the thread beats by itself. It
calls ``Store.beat``, which blocks, and stands on no event loop.

What a beat makes sure. Before anything starts, ``sure`` is asked: the last trusted beat is not long ago. A beat is
trusted when it was done, answer included, while the one before it still held: then nobody else can have taken a run in
between. A late one (the process was stopped, the machine slept, the store was away) keeps what nobody has taken, but
makes nothing sure: the loop first asks the store whose each run is (``Holder.renew``), then says ``trust``. So a
process that wakes up after its lease was taken over starts no further effect, though its thread may be the first to
wake; what it appends is refused by the epoch anyway.

When it ends. At its next look (a quarter of a second) after the last lease was given back: runs that follow upon one
another share a thread, for making one costs half as much as a short run. Also with the loop's watch (``asyncio.run``
ends that with the loop), when it finds the loop closed, and with the process: the thread is a daemon. A forked child
has none, and no lease. A store whose runs are still held is used by it even after ``close``, as by the watch.

What it hides. A loop that is blocked for ever keeps its runs for ever. That's meant: what blocks it may be at work in
the world, and would be done twice. The log says ``event loop blocked``, with the runs, once each time; ``flowcore
show`` names the process that holds a run. ``cancel`` and ``stop`` wait in the inbox, and are obeyed when the loop
returns. Where it doesn't, end the process: its runs are free at once for others on the same host, for others elsewhere
when the lease is over.

What it can't see past. C code that keeps the interpreter's lock for longer than a lease stops this thread, too: run it
in a process of its own.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Collection
from queue import Empty, SimpleQueue
from typing import NamedTuple

from flowcore.engine.log import log
from flowcore.errors import StoreError
from flowcore.stores.base import LEASE_SECONDS, Owner, Store

MARGIN_SECONDS = 3.0
"""An owner that couldn't beat stops its runs this long before its leases end."""
LOOK_SECONDS = 0.25
"""How often the thread looks whether there's still a lease, and whether the loop still orders its beats."""
ALONE_AFTER = 1 / 3
"""The part of a lease after which it beats without an order."""


def lease_time() -> float:
    """Seconds on a clock that nobody sets and that goes on while the machine sleeps: what a lease's end is held
    against. (Linux's monotonic clock stands still then, as the others' don't.)"""
    return time.clock_gettime(_BOOTTIME) if _BOOTTIME is not None else time.monotonic()


_BOOTTIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)


def is_held(since: float) -> bool:
    """Whether a lease that was kept at this time is held for a while yet, nothing else being known."""
    return lease_time() - since < LEASE_SECONDS - MARGIN_SECONDS


class Beat(NamedTuple):
    """One that was done. ``at``: just before it. ``late``: seconds from the last trusted one to its answer."""

    at: float
    late: float

    @property
    def trusted(self) -> bool:
        """Whether the one before it still held."""
        return self.late < LEASE_SECONDS - MARGIN_SECONDS


class Heartbeat:
    """See the module's text. Made in the loop whose runs it keeps. ``since``: when the first lease was asked for.

    ``holder``: what is kept alive until the thread ends, for the next run. ``trusted``: when the last trusted beat was
    begun, by ``lease_time``.
    """

    def __init__(self, store: Store, owner: Owner, roots: Collection[str], since: float, holder: object) -> None:
        self.owner = owner
        self._store: Store | None = store
        self._roots = roots
        self._holder: object | None = holder
        self.trusted = self._unbroken = self._beaten = since
        self._told = self._ended = self._stopped = False
        self._loop = asyncio.get_running_loop()
        # A queue that the garbage collector may put into from anywhere, this thread included.
        self._orders: SimpleQueue[asyncio.Future[Beat] | None] = SimpleQueue()
        threading.Thread(target=self._serve, name="flowcore-heartbeat", daemon=True).start()

    @property
    def age(self) -> float:
        """Seconds since the last trusted beat."""
        return lease_time() - self.trusted

    @property
    def sure(self) -> bool:
        """Whether the leases are held for a while yet."""
        return lease_time() - self.trusted < LEASE_SECONDS - MARGIN_SECONDS

    @property
    def due(self) -> bool:
        """Whether the loop should order a beat."""
        return self.age > LEASE_SECONDS / 4

    async def beat(self) -> Beat:
        """Have the thread beat. Raises StoreError."""
        order: asyncio.Future[Beat] = self._loop.create_future()
        self._orders.put(order)
        return await order

    def trust(self, at: float) -> None:
        """Every run that is held was found to be this owner's after the beat that was begun at this time."""
        self.trusted = self._unbroken = at

    def doubt(self, since: float) -> None:
        """A lease that was asked for at this time is kept from now on. Where it was over before these beats took it
        up, whose it is has to be looked at."""
        if self._unbroken - since >= LEASE_SECONDS - MARGIN_SECONDS:
            self.trusted = min(self.trusted, since)

    def rest(self) -> None:
        """Nothing is held any more: beat no more, and end soon. The garbage collector may call this."""
        self._store = None

    def take_up(self, store: Store, since: float) -> bool:
        """Go on after ``rest``; whether the thread was still there. ``since``: when the first lease was asked for."""
        self.trusted = self._unbroken = self._beaten = since
        self._told = False
        self._store = store
        return not (self._ended or self._stopped)

    def stop(self) -> None:
        """End now. Nobody waits for the thread's end."""
        self._stopped = True
        self._orders.put(None)

    # The thread

    def _serve(self) -> None:
        self._work()
        self._holder = None

    def _work(self) -> None:
        while True:
            try:
                order = self._orders.get(timeout=LOOK_SECONDS)
            except Empty:
                if self._loop.is_closed() or self._is_over():
                    return
                if lease_time() - self._beaten > LEASE_SECONDS * ALONE_AFTER:
                    self._alone()
                continue
            if order is None:
                return
            self._told = False
            self._obey(order)

    def _is_over(self) -> bool:
        """Whether nothing is held. Who takes it up at this very moment either sees that it has ended, or is seen; or
        both, and then this one is told to stop."""
        self._ended = self._store is None
        if self._ended and self._store is not None:
            self._ended = False
        return self._ended

    def _beat(self) -> Beat:
        at, store = lease_time(), self._store
        if store is None:
            raise StoreError("the last lease was given back meanwhile")
        store.beat(self.owner)
        self._beaten = at
        beat = Beat(at, self.age)
        if beat.trusted:
            self.trusted = at
        return beat

    def _obey(self, order: asyncio.Future[Beat]) -> None:
        beat: Beat | None = None
        error: Exception | None = None
        try:
            beat = self._beat()
        except Exception as problem:
            error = problem
        try:
            self._loop.call_soon_threadsafe(_answer, order, beat, error)
        except RuntimeError:  # the loop was closed: nobody waits any more
            pass

    def _alone(self) -> None:
        """The loop orders nothing: it's blocked, or stands still until somebody runs it again."""
        if self._loop.is_running() and not self._told:
            self._told = True
            log("event loop blocked", level="warning", runs=self._names())
        try:
            self._beat()
        except Exception as error:  # tried again at the next look
            log("lease not renewed", level="warning", error=str(error), runs=self._names())

    def _names(self) -> list[str]:
        names = list(self._roots)  # the loop's thread may change them
        names.sort()
        return names


def _answer(order: asyncio.Future[Beat], beat: Beat | None, error: Exception | None) -> None:
    if order.done():  # whoever asked was cancelled
        return
    if error is not None:
        order.set_exception(error)
    elif beat is not None:
        order.set_result(beat)
