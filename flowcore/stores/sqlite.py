"""The embedded store: one SQLite file, reachable by every process of this host."""

from __future__ import annotations

import math
import os
import threading
import time
import weakref
from collections.abc import Collection, Sequence
from datetime import datetime
from functools import partial
from typing import Any, get_args

from flowcore.errors import FlowcoreError, UserError
from flowcore.graph.values import dumps
from flowcore.machine.facts import Fact
from flowcore.stores import checks, sqlite_read, sqlite_rotation, sqlite_write
from flowcore.stores.base import Append, Claim, IndexRow, Letter, OpenRequest, Owner, Page, SessionItem
from flowcore.stores.rotation import Renewal
from flowcore.stores.sealing import Sealing, letter_place, sealed
from flowcore.stores.sqlite_file import StoreFile
from flowcore.stores.sqlite_schema import Synchronous
from flowcore.stores.sqlite_write import Packed
from flowcore.stores.verify import Kind, Verified, verify

PRUNE_PAGE = 1_000
"""Old runs that are looked up at a time."""


class SqliteStore:
    """Runs in an SQLite file at ``path``, which is made, with its directory, at the first use.

    ``synchronous``: under ``"FULL"`` what was committed survives a power cut: one writer thread shares each sync of
    the disk between all runs that wait for it. Under ``"NORMAL"`` it survives any death of the process, a power cut
    may cost the last moments, and an append costs some 20 µs in line. ``busy_timeout``: seconds that a write waits
    for another process's before it fails with StoreError; the event loop isn't blocked meanwhile.

    May be used from several threads and event loops, and after ``close`` again. A forked child can't use a store that
    its parent has open.
    """

    shared = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        synchronous: Synchronous = "FULL",
        busy_timeout: float = 5.0,
    ) -> None:
        text = os.fspath(path)
        if not isinstance(text, str) or not text or "\0" in text:
            raise UserError(f"SqliteStore({path!r}): give a file's path")
        if synchronous not in get_args(Synchronous):
            raise UserError(f"SqliteStore(synchronous={synchronous!r}): give 'FULL' or 'NORMAL'")
        self.path = os.path.abspath(text)
        self.synchronous: Synchronous = synchronous
        self.busy_timeout = busy_timeout
        self.inline = synchronous == "NORMAL"
        self.sealing: Sealing | None = None
        self._opening = threading.Lock()
        self._file: StoreFile | None = None
        self._end: weakref.finalize[Any, Any] | None = None

    def __repr__(self) -> str:
        return f"SqliteStore({self.path!r}, synchronous={self.synchronous!r})"

    def _open(self) -> StoreFile:
        file = self._file
        if file is None:
            with self._opening:
                file = self._file
                if file is None:
                    file = self._file = StoreFile(self.path, self.synchronous, self.busy_timeout)
                    self._end = weakref.finalize(self, file.abandon)
        return file

    async def close(self) -> None:
        """Write what waits and close the file. The runs stay; the next use opens it again."""
        with self._opening:
            file, self._file = self._file, None
            end, self._end = self._end, None
        if file is not None:
            if end is not None:
                end.detach()
            await file.close()

    # Verifying

    CURE = (
        "let no process use it, keep a copy, and rebuild its indexes with: sqlite3 FILE REINDEX; if it's damaged still,"
        " put it back from a copy, or save what can be read with: sqlite3 FILE .recover | sqlite3 NEW"
    )

    async def verify(self, *, limit: int | None = None, after: str | None = None) -> Verified:
        """Read everything, some 5 ms a megabyte, and say what is damaged: records that were changed, and what no read
        can find: rows that lists, inboxes and sessions miss, and a running run's last facts, because an index of the
        file was damaged.

        ``limit``: at most so many runs and sessions, on from an earlier page's ``after``; the file as a whole is
        looked at with the first page. Raises StoreError where the file can't be read at all.
        """
        return await verify(self, limit, after)

    async def flaws(self) -> list[str]:
        """What SQLite finds wrong with the whole file, and records that belong to no run."""
        return await self._open().read_apart(sqlite_read.flaws)

    async def names(self, kind: Kind, after: str | None, limit: int) -> list[str]:
        """Ids of runs, children too, or of sessions, in their order, above ``after``."""
        return await self._open().read(partial(sqlite_read.names, kind=kind, after=after, limit=limit))

    async def reseal(self, renewal: Renewal) -> int:
        """Put what ``renewal`` gives in the place of every sealed record; how many. See ``EncryptedStore.rotate``."""
        return await sqlite_rotation.reseal(self._open(), self.path, renewal)

    # Leases

    async def admit(self, member: Append, owner: Owner, below: Sequence[Append] = ()) -> Claim:
        """Make a new root run, held by ``owner``, with the children ``below``. Raises RunExists, for a fork
        RunNotFound."""
        for one in (member, *below):
            checks.check_run_id(one.run)
        packed, *children = [sqlite_write.pack(one, self.sealing) for one in (member, *below)]
        job = partial(sqlite_write.admit, packed=packed, owner=owner, below=children)
        return await self._open().write_soon(job)

    async def claim(self, run: str, owner: Owner) -> Claim:
        """Take the lease of a root run. Raises RunNotFound, RunConflict while it's held, UserError for a child."""
        checks.check_run_id(run)
        return await self._open().write_soon(partial(sqlite_write.claim, run=run, owner=owner, path=self.path))

    async def release(self, run: str, claim: Claim, known: int = 0) -> bool:
        """Give the lease of a root run back, unless more than ``known`` letters wait; whether it was given back."""
        checks.check_run_id(run)
        return await self._open().write_soon(partial(sqlite_write.release, run=run, claim=claim, known=known))

    def beat(self, owner: Owner) -> None:
        """Keep the owner's leases for another LEASE_SECONDS. Blocks; for a thread that has no event loop."""
        self._open().write_waiting(partial(sqlite_write.beat, owner=owner))

    # Journals

    async def append(self, batch: Sequence[Append], claim: Claim) -> list[Exception | None]:
        """Write a batch of one tree; one answer a member: None, or why it was refused."""
        packed = [self._pack(member) for member in batch]
        answers = self._append_now(packed, claim)
        if answers is None:
            job = partial(sqlite_write.append, batch=packed, claim=claim)
            answers = await self._open().write(job, guarded=True)
        return answers

    def append_now(self, batch: Sequence[Append], claim: Claim) -> list[Exception | None] | None:
        """``append`` without suspending. None: that can't be done now, nothing was written, use ``append``."""
        if not self.inline or self._file is None:
            return None
        return self._append_now([self._pack(member) for member in batch], claim)

    def _append_now(self, batch: Sequence[Packed | FlowcoreError], claim: Claim) -> list[Exception | None] | None:
        if not self.inline:
            return None
        plain = len(batch) == 1 and (not isinstance(batch[0], Packed) or batch[0].plain)
        size = sum(len(row.payload) for one in batch if isinstance(one, Packed) for row in one.rows)
        job = partial(sqlite_write.append, batch=batch, claim=claim)
        answer = self._open().write_now(job, plain=plain, size=size)
        return None if answer is None else answer.value

    def _pack(self, member: Append) -> Packed | FlowcoreError:
        try:
            return sqlite_write.pack(member, self.sealing)
        except FlowcoreError as error:
            return error

    async def read(self, run: str, after: int = -1) -> list[Fact]:
        """The facts with a seq above ``after``, in order. Raises RunNotFound; StoreError for a damaged journal."""
        checks.check_run_id(run)
        file, after = self._open(), max(after, -1)
        given: dict[str, Any] = {"run": run, "after": after, "path": self.path, "sealing": self.sealing}
        found = await file.read(partial(sqlite_read.small_facts, **given))
        if found is None:
            found = await file.read_apart(partial(sqlite_read.facts, **given))
        return found

    # Deleting

    async def delete(self, run: str) -> None:
        """Remove a root run and its tree; what forks share stays for them. Raises RunNotFound, RunConflict,
        UserError. The file doesn't shrink: what becomes free is used again.

        It's gone at once and as a whole; the facts of a large one are freed after that, in small transactions. What a
        process left of that, because it ended, the next ``delete`` or ``prune`` frees: until then the id isn't given
        again."""
        checks.check_run_id(run)
        file = self._open()
        done = await file.write_soon(partial(sqlite_write.delete, run=run))
        while not done:
            done = await file.write_soon(sqlite_write.free)

    async def prune(
        self, older_than: float | datetime, status: str | Collection[str] = "done", *, dry_run: bool = False
    ) -> list[str]:
        """``delete`` root runs of a standing that nobody holds and that are older. Returns their ids."""
        before, standings = checks.check_prune(older_than, status, time.time())
        file, found = self._open(), []
        for standing in standings:
            after: tuple[float, str] | None = (-math.inf, "")
            while after is not None:
                query = partial(sqlite_read.old, standing=standing, before=before, after=after, limit=PRUNE_PAGE)
                old, after = await file.read_apart(query)
                if dry_run:
                    found += old
                while old and not dry_run:
                    gone, old = await file.write_soon(partial(sqlite_write.prune, runs=old, before=before, of=standing))
                    found += gone
                done = dry_run
                while not done:
                    done = await file.write_soon(sqlite_write.free)
        return sorted(found)

    # The inbox

    async def signal(self, letter: Letter) -> bool:
        """Put a letter into the inbox of its run's tree. False: an answer to what isn't open. Raises RunNotFound."""
        checks.check_run_id(letter.run)
        value = dumps(checks.check_json(letter.value, f"{letter.kind} to run '{letter.run}'"))
        value = sealed(value, letter_place(letter.run, letter.id, letter.kind, letter.key, letter.at), self.sealing)
        return await self._open().write_soon(partial(sqlite_write.signal, letter=letter, value=value))

    async def inbox(self, root: str) -> list[Letter]:
        """The letters that wait for a tree, oldest first."""
        checks.check_run_id(root)
        return await self._open().read(partial(sqlite_read.inbox, root=root, path=self.path, sealing=self.sealing))

    async def waiting(self, owner: Owner) -> list[str]:
        """Root runs held by this owner for which letters wait."""
        return await self._open().read(partial(sqlite_read.waiting, owner=owner))

    # The index

    async def get(self, run: str) -> IndexRow:
        """One run's index row. Raises RunNotFound."""
        checks.check_run_id(run)
        return await self._open().read(partial(sqlite_read.get, run=run, path=self.path))

    async def runs(
        self,
        *,
        standing: str | None = None,
        root: str | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Page:
        """Root runs, the latest first, or with ``root`` the runs of one tree, the oldest first. Reads no journal."""
        query = partial(sqlite_read.runs, standing=standing, root=root, limit=limit, after=after, path=self.path)
        return await self._open().read(query)

    async def find(self, prefix: str, *, root: str | None = None, limit: int = 20) -> list[IndexRow]:
        """Root runs, or those of one tree, whose ids begin so, in the order of their ids."""
        checks.check_run_id(prefix)
        return await self._open().read(partial(sqlite_read.find, prefix=prefix, root=root, limit=limit, path=self.path))

    async def abandoned(self, *, limit: int = 50, after: str | None = None) -> Page:
        """Root runs that should move and that nobody moves, the oldest first."""
        return await self._open().read(partial(sqlite_read.abandoned, limit=limit, after=after, path=self.path))

    async def requests(self, root: str | None = None, limit: int = 100) -> list[OpenRequest]:
        """Open requests of one tree, or of all, oldest first."""
        query = partial(sqlite_read.requests, root=root, limit=limit, path=self.path, sealing=self.sealing)
        return await self._open().read(query)

    async def due(self, now: float, limit: int = 100) -> list[str]:
        """Root runs that nobody holds and that have something to do by ``now``."""
        return await self._open().read(partial(sqlite_read.due, now=now, limit=limit))

    # Sessions

    async def session_items(
        self, session: str, *, upto: int | None = None, limit: int | None = None
    ) -> list[SessionItem]:
        """A session's items, oldest first: those at or before ``upto``; with ``limit`` only the latest so many."""
        checks.check_session_id(session)
        file, which = self._open(), sqlite_read.which_items(session, upto, limit)
        given: dict[str, Any] = {"session": session, "which": which, "path": self.path, "sealing": self.sealing}
        found = await file.read(partial(sqlite_read.small_session, **given))
        if found is None:
            found = await file.read_apart(partial(sqlite_read.session_items, **given))
        return found

    async def session_write(self, session: str, items: Sequence[Any]) -> None:
        """Add items from outside of a run."""
        checks.check_session_id(session)
        packed = [dumps(checks.check_json(item, f"session '{session}'")) for item in items]
        job = partial(sqlite_write.session_write, session=session, items=packed, sealing=self.sealing)
        await self._open().write_soon(job)

    async def session_pop(self, session: str) -> Any | None:
        """Remove and return the latest item; None if there's none."""
        checks.check_session_id(session)
        job = partial(sqlite_write.session_pop, session=session, path=self.path, sealing=self.sealing)
        return await self._open().write_soon(job)

    async def session_clear(self, session: str) -> None:
        """Remove all items."""
        checks.check_session_id(session)
        await self._open().write_soon(partial(sqlite_write.session_clear, session=session))
