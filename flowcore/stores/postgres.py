"""The shared store: a schema in a PostgreSQL database, reachable by every process that has its address."""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
import weakref
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from flowcore.errors import FlowcoreError, UserError
from flowcore.graph.values import dumps
from flowcore.machine.facts import Fact
from flowcore.stores import checks, postgres_read, postgres_rotation, postgres_write
from flowcore.stores.base import Append, Claim, IndexRow, Letter, OpenRequest, Owner, Page, SessionItem
from flowcore.stores.postgres_appends import Appends
from flowcore.stores.postgres_group import Release, admission, admit_tree
from flowcore.stores.postgres_line import Line
from flowcore.stores.postgres_pack import Packed, pack, utf8
from flowcore.stores.postgres_pool import Address, Pool
from flowcore.stores.postgres_schema import Names
from flowcore.stores.postgres_write import PRUNE_AT_ONCE
from flowcore.stores.rotation import Renewal
from flowcore.stores.sealing import Sealing, letter_place, sealed
from flowcore.stores.verify import Kind, Verified, verify


class PostgresStore:
    """Runs in the PostgreSQL database (14 or later) at ``dsn``, in tables of its own in ``schema``, which are made at
    the first use. The extra ``postgres``.

    ``dsn``: ``postgresql://user:password@host:port/database`` or any of libpq's forms; what it leaves out comes from
    libpq's environment (``PGHOST``, ``PGPASSWORD``, …). It must lead to a server or to a pooler that keeps sessions.
    ``connections``: how many are open at most in each event loop, besides one for appends and one that watches the
    inbox, which wait for nobody; one more, whatever the loops, is for heartbeats. ``timeout``: seconds that connecting
    may take before a call fails with StoreError.

    Appends of many runs that are ready at the same time share a transaction. A lost connection is replaced, and what
    was under way is done again where that can't do it twice.

    May be used from several threads and event loops, after ``close`` again, and in a forked child, which connects by
    itself. No error and no log holds the password.
    """

    shared = True
    inline = False

    def __init__(self, dsn: str, *, schema: str = "flowcore", connections: int = 8, timeout: float = 5.0) -> None:
        if not isinstance(dsn, str) or not dsn or "\0" in dsn:
            raise UserError("PostgresStore: give a DSN: postgresql://user:password@host:port/database")
        if isinstance(connections, bool) or not isinstance(connections, int) or connections < 1:
            raise UserError(f"PostgresStore(connections={connections!r}): give a whole number above 0")
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout > 0:
            raise UserError(f"PostgresStore(timeout={timeout!r}): give seconds above 0")
        self._address = Address(dsn, schema, float(timeout))
        self._connections = connections
        self.sealing: Sealing | None = None
        self._lanes: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Appends] = weakref.WeakKeyDictionary()
        self._entering = threading.Lock()
        self._line = Line(self._address)
        self._pid = os.getpid()

    def __repr__(self) -> str:
        return f"PostgresStore({self._address.place})"

    @property
    def _names(self) -> Names:
        return self._address.names

    def _lane(self) -> Appends:
        """The running loop's connections."""
        if self._pid != os.getpid():  # a forked child leaves its parent's alone
            _inherited.append(self._lanes)
            self._lanes, self._pid, self._entering = weakref.WeakKeyDictionary(), os.getpid(), threading.Lock()
        loop = asyncio.get_running_loop()
        lane = self._lanes.get(loop)
        if lane is None:
            with self._entering:
                for other, old in list(self._lanes.items()):
                    if other.is_closed():
                        old.pool.abandon()
                        del self._lanes[other]
                lane = self._lanes[loop] = Appends(Pool(self._address, self._connections))
        return lane

    def _pool(self) -> Pool:
        return self._lane().pool

    async def close(self) -> None:
        """Write what waits in this loop and close every connection. The runs stay; the next use connects again."""
        if self._pid != os.getpid():
            return
        here = asyncio.get_running_loop()
        with self._entering:
            lanes = list(self._lanes.items())
            self._lanes.clear()
        if self._line.is_open:
            await asyncio.to_thread(self._line.close)
        for loop, lane in lanes:
            if loop is here:
                await lane.close()
            elif loop.is_running():
                await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(lane.close(), loop))
            else:
                lane.pool.abandon()

    # Verifying

    CURE = (
        "let no process use it, and rebuild its indexes with: REINDEX TABLE; if it's damaged still, put it back from a"
        " copy"
    )

    async def verify(self, *, limit: int | None = None, after: str | None = None) -> Verified:
        """Read everything, and say what is damaged: records that were changed, and what no read can find: rows that a
        damaged index hides.

        ``limit``: at most so many runs and sessions, on from an earlier page's ``after``; the tables as a whole are
        looked at with the first page. Raises StoreError where the database can't be reached.
        """
        return await verify(self, limit, after)

    async def flaws(self) -> list[str]:
        """Indexes that hide rows, and records that belong to no run."""
        return await self._pool().do(postgres_read.flaws(self._names))

    async def names(self, kind: Kind, after: str | None, limit: int) -> list[str]:
        """Ids of runs, children too, or of sessions, in their order, above ``after``."""
        return await self._pool().do(postgres_read.names_of(self._names, kind, after, limit))

    async def reseal(self, renewal: Renewal) -> int:
        """Put what ``renewal`` gives in the place of every sealed record; how many. See ``EncryptedStore.rotate``."""
        return await postgres_rotation.reseal(self._pool(), self._names, self._address.place, renewal)

    # Leases

    async def admit(self, member: Append, owner: Owner, below: Sequence[Append] = ()) -> Claim:
        """Make a new root run, held by ``owner``, with the children ``below``. Raises RunExists, for a fork
        RunNotFound."""
        if below:
            return await self._pool().do(admit_tree(self._names, member, owner, below, self.sealing))
        return await self._lane().admit(admission(member, owner, self.sealing))

    async def claim(self, run: str, owner: Owner) -> Claim:
        """Take the lease of a root run. Raises RunNotFound, RunConflict while it's held, UserError for a child."""
        checks.check_run_id(run)
        return await self._pool().do(postgres_write.claim(self._names, run, owner, self._address.place))

    async def release(self, run: str, claim: Claim, known: int = 0) -> bool:
        """Give the lease of a root run back, unless more than ``known`` letters wait; whether it was given back."""
        checks.check_run_id(run)
        return await self._lane().release(Release(run, claim, known))

    def beat(self, owner: Owner) -> None:
        """Keep the owner's leases for another LEASE_SECONDS. Blocks; for a thread that has no event loop."""
        self._line.do(*postgres_write.beat(self._names, owner))

    # Journals

    async def append(self, batch: Sequence[Append], claim: Claim) -> list[Exception | None]:
        """Write a batch of one tree; one answer a member: None, or why it was refused."""
        packed = [self._pack(member) for member in batch]
        good = [one for one in packed if isinstance(one, Packed)]
        answers = iter(await self._lane().append(good, claim) if good else [])
        return [next(answers) if isinstance(one, Packed) else one for one in packed]

    def _pack(self, member: Append) -> Packed | FlowcoreError:
        try:
            return pack(member, self.sealing)
        except FlowcoreError as error:
            return error

    def append_now(self, batch: Sequence[Append], claim: Claim) -> list[Exception | None] | None:
        """None: a server can't be asked without suspending."""
        return None

    async def read(self, run: str, after: int = -1) -> list[Fact]:
        """The facts with a seq above ``after``, in order. Raises RunNotFound; StoreError for a damaged journal."""
        checks.check_run_id(run)
        job = postgres_read.facts(self._names, run, max(after, -1), self._address.place, self.sealing)
        return await self._pool().do(job)

    # Deleting

    async def delete(self, run: str) -> None:
        """Remove a root run and its tree; what forks share stays for them. Raises RunNotFound, RunConflict,
        UserError.

        It's gone at once and as a whole; the facts of a large one are freed after that, in small transactions. What a
        process left of that, because it ended, the next ``delete`` or ``prune`` frees: until then the id isn't given
        again.
        """
        checks.check_run_id(run)
        done = await self._pool().do(postgres_write.delete(self._names, run))
        while not done:
            done = await self._pool().do(postgres_write.free(self._names))

    async def prune(
        self, older_than: float | datetime, status: str | Collection[str] = "done", *, dry_run: bool = False
    ) -> list[str]:
        """``delete`` root runs of a standing that nobody holds and that are older. Returns their ids."""
        before, standings = checks.check_prune(older_than, status, time.time())
        found: list[str] = []
        for standing in standings:
            after: tuple[float, str] | None = (-math.inf, "")
            while after is not None:
                query = postgres_read.old(self._names, standing, before, after, PRUNE_AT_ONCE)
                old, after = await self._pool().do(query)
                if old and not dry_run:
                    job = postgres_write.prune(self._names, old, before, standing)
                    old = await self._pool().do(job, again=False)
                done = dry_run
                while not done:
                    done = await self._pool().do(postgres_write.free(self._names))
                found += old
        return sorted(found)

    # The inbox

    async def signal(self, letter: Letter) -> bool:
        """Put a letter into the inbox of its run's tree. False: an answer to what isn't open. Raises RunNotFound."""
        checks.check_run_id(letter.run)
        value = dumps(checks.check_json(letter.value, f"{letter.kind} to run '{letter.run}'"))
        value = sealed(value, letter_place(letter.run, letter.id, letter.kind, letter.key, letter.at), self.sealing)
        return await self._pool().do(postgres_write.signal(self._names, letter, value))

    async def inbox(self, root: str) -> list[Letter]:
        """The letters that wait for a tree, oldest first."""
        checks.check_run_id(root)
        return await self._pool().do(postgres_read.inbox(self._names, root, self._address.place, self.sealing))

    async def waiting(self, owner: Owner) -> list[str]:
        """Root runs held by this owner for which letters wait."""
        return await self._pool().do(postgres_read.waiting(self._names, owner), first=True)

    # The index

    async def get(self, run: str) -> IndexRow:
        """One run's index row. Raises RunNotFound."""
        checks.check_run_id(run)
        return await self._pool().do(postgres_read.get(self._names, run, self._address.place))

    async def runs(
        self,
        *,
        standing: str | None = None,
        root: str | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Page:
        """Root runs, the latest first, or with ``root`` the runs of one tree, the oldest first. Reads no journal."""
        job = postgres_read.runs(self._names, standing, root, limit, after, self._address.place)
        return await self._pool().do(job)

    async def find(self, prefix: str, *, root: str | None = None, limit: int = 20) -> list[IndexRow]:
        """Root runs, or those of one tree, whose ids begin so, in the order of their ids."""
        checks.check_run_id(prefix)
        return await self._pool().do(postgres_read.find(self._names, prefix, root, limit, self._address.place))

    async def abandoned(self, *, limit: int = 50, after: str | None = None) -> Page:
        """Root runs that should move and that nobody moves, the oldest first."""
        return await self._pool().do(postgres_read.abandoned(self._names, limit, after, self._address.place))

    async def requests(self, root: str | None = None, limit: int = 100) -> list[OpenRequest]:
        """Open requests of one tree, or of all, oldest first."""
        job = postgres_read.requests(self._names, root, limit, self._address.place, self.sealing)
        return await self._pool().do(job)

    async def due(self, now: float, limit: int = 100) -> list[str]:
        """Root runs that nobody holds and that have something to do by ``now``."""
        return await self._pool().do(postgres_read.due(self._names, now, limit))

    # Sessions

    async def session_items(
        self, session: str, *, upto: int | None = None, limit: int | None = None
    ) -> list[SessionItem]:
        """A session's items, oldest first: those at or before ``upto``; with ``limit`` only the latest so many."""
        checks.check_session_id(session)
        job = postgres_read.session_items(self._names, session, upto, limit, self._address.place, self.sealing)
        return await self._pool().do(job)

    async def session_write(self, session: str, items: Sequence[Any]) -> None:
        """Add items from outside of a run."""
        checks.check_session_id(session)
        packed = [dumps(checks.check_json(item, f"session '{session}'")) for item in items]
        job = postgres_write.session_write(self._names, utf8(session), packed, self.sealing)
        await self._pool().do(job, again=False)

    async def session_pop(self, session: str) -> Any | None:
        """Remove and return the latest item; None if there's none."""
        checks.check_session_id(session)
        job = postgres_write.session_pop(self._names, utf8(session), self._address.place, self.sealing)
        return await self._pool().do(job, again=False)

    async def session_clear(self, session: str) -> None:
        """Remove all items."""
        checks.check_session_id(session)
        await self._pool().do(postgres_write.session_clear(self._names, utf8(session)))


_inherited: list[object] = []
"""Connections that a forked child got from its parent: not even closing them is safe there."""
