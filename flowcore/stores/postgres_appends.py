"""What one event loop appends, admits and gives back: whatever is ready when the connection is free goes in one
transaction, whichever runs it belongs to. A tree has at most one append under way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

from flowcore.errors import StoreError
from flowcore.stores.base import Claim
from flowcore.stores.postgres_group import Admission, Answer, Batch, Entry, Release, write
from flowcore.stores.postgres_pack import Packed
from flowcore.stores.postgres_pool import TRIES, Pool, driver, is_crossed

GROUP_ENTRIES = 500
"""Entries that go in one transaction at most."""
GROUP_BYTES = 8 * 1024 * 1024
"""Bytes of payload after which a transaction takes no further entry."""


class _Waiting(NamedTuple):
    entry: Entry
    future: asyncio.Future[Any]


class Appends:
    """See the module's text. ``commits`` counts the transactions."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.commits = 0
        self._queue: list[_Waiting] = []
        self._writer: asyncio.Task[None] | None = None

    async def append(self, members: Sequence[Packed], claim: Claim) -> list[Exception | None]:
        """Write a batch with whatever else is ready: an answer for each member. Raises StoreError."""
        answers: list[Exception | None] = await self._write_soon(Batch(members, claim))
        return answers

    async def admit(self, one: Admission) -> Claim:
        """Admit a run with whatever else is ready. Raises RunExists, RunNotFound, RunConflict, StoreError."""
        claim: Claim = await self._write_soon(one)
        return claim

    async def release(self, one: Release) -> bool:
        """Give a lease back with whatever else is ready. Raises RunNotFound, RunConflict, StoreError."""
        given: bool = await self._write_soon(one)
        return given

    def _write_soon(self, entry: Entry) -> asyncio.Future[Any]:
        """Who is cancelled leaves at once; what was asked is done."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._queue.append(_Waiting(entry, future))
        if self._writer is None:
            self._writer = loop.create_task(self._write(), name="flowcore-postgres-append")
            self._writer.add_done_callback(self._ended)
        return future

    async def close(self) -> None:
        """Write what waits and close the connections."""
        while self._writer is not None:
            await asyncio.wait([self._writer])
        await self.pool.close()

    async def _write(self) -> None:
        group: list[_Waiting] = []
        try:
            while self._queue:
                group = self._take()
                for one, answer in zip(group, await self._group([one.entry for one in group]), strict=True):
                    if one.future.done():  # its caller was cancelled
                        continue
                    if isinstance(answer, Exception):
                        one.future.set_exception(answer)
                    else:
                        one.future.set_result(answer)
        except BaseException as error:  # the loop ends: nobody knows what was written
            for one in (*group, *self._queue):
                if not one.future.done():
                    one.future.set_exception(
                        StoreError(f"{self.pool.address.place}: an append was broken off ({type(error).__name__})")
                    )
                    one.future.exception()
            self._queue.clear()
            raise
        finally:
            self._writer = None

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A writer that was cancelled before its first step never came to its own clearing up."""
        if self._writer is task:
            self._writer = None
            waiting, self._queue = self._queue, []
            for one in waiting:
                if not one.future.done():
                    one.future.set_exception(StoreError(f"{self.pool.address.place}: an append was broken off"))
                    one.future.exception()

    def _take(self) -> list[_Waiting]:
        """What goes in one transaction: about each tree at most one entry."""
        taken: list[_Waiting] = []
        names: set[str] = set()
        size = 0
        for one in self._queue:
            if len(taken) == GROUP_ENTRIES or size > GROUP_BYTES:
                break
            about = one.entry.about()
            if not names.isdisjoint(about):
                break
            names |= about
            size += one.entry.size
            taken.append(one)
        del self._queue[: len(taken)]
        return taken

    async def _group(self, group: Sequence[Entry]) -> list[Answer]:
        """The answers for each of a group. What fails for one's own fault is parted from the others."""
        answers = await self._transaction(group)
        if not isinstance(answers, Exception):
            return answers
        parts = is_ones_own(answers) or isinstance(answers, driver().errors.LockNotAvailable)
        if len(group) > 1 and parts:
            return [answer for one in group for answer in await self._group([one])]
        error = self._told(answers)
        if is_ones_own(answers) and isinstance(group[0], Batch):
            batch = group[0]
            if len(batch.members) == 1:
                return [[error]]
            return [await self._apart(batch)]
        return [self._told(answers) for _ in group]

    async def _apart(self, batch: Batch) -> Answer:
        """Each member of a batch by itself."""
        found: list[Exception | None] = []
        for member in batch.members:
            [some] = await self._group([Batch([member], batch.claim)])
            if not isinstance(some, list):
                return some
            found += some
        return found

    async def _transaction(self, group: Sequence[Entry]) -> list[Answer] | Exception:
        """The group in one transaction, again after a lost connection: who finds it written has written it."""
        psycopg = driver()
        unsure = False
        for tried in range(1, TRIES + 1):
            connection = None
            try:
                connection = await self.pool.appender()
                answers: list[Answer] = await write(connection, self.pool.names, group, unsure)
                self.commits += 1
                return answers
            except StoreError as error:
                return error
            except psycopg.Error as error:
                lost = connection is not None and self.pool.is_broken(connection)
                if tried == TRIES or not (lost or is_crossed(error)):
                    problem: Exception = error
                    return problem
                unsure = unsure or lost
        raise AssertionError

    def _told(self, error: Exception) -> StoreError:
        if isinstance(error, StoreError):
            return StoreError(error.message)
        return self.pool.address.error(error)


def is_ones_own(error: Exception) -> bool:
    """Whether a statement failed for what it was given, so that others' needn't fail with it."""
    psycopg = driver()
    kinds = (psycopg.DataError, psycopg.IntegrityError, psycopg.NotSupportedError, psycopg.errors.ProgramLimitExceeded)
    return isinstance(error, kinds)
