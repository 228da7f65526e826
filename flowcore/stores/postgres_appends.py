"""Appends of one event loop: whatever is ready when the connection is free goes in one transaction, whichever runs it
belongs to. A tree has at most one append under way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from flowcore.errors import StoreError
from flowcore.stores.base import Claim
from flowcore.stores.postgres_pool import TRIES, Pool, driver, is_crossed
from flowcore.stores.postgres_write import Packed, append, is_ones_own

Answers = list[Exception | None]

GROUP_BATCHES = 500
"""Batches that go in one transaction at most."""
GROUP_BYTES = 8 * 1024 * 1024
"""Bytes of payload after which a transaction takes no further batch."""


class _Waiting(NamedTuple):
    batch: Sequence[Packed]
    claim: Claim
    future: asyncio.Future[Answers]


class Appends:
    """See the module's text. ``commits`` counts the transactions."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.commits = 0
        self._queue: list[_Waiting] = []
        self._writer: asyncio.Task[None] | None = None

    async def append(self, batch: Sequence[Packed], claim: Claim) -> Answers:
        """Write a batch with whatever else is ready. Raises StoreError."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answers] = loop.create_future()
        self._queue.append(_Waiting(batch, claim, future))
        if self._writer is None:
            self._writer = loop.create_task(self._write(), name="flowcore-postgres-append")
            self._writer.add_done_callback(self._ended)
        return await future

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
                for one, answers in zip(group, await self._group(group), strict=True):
                    if one.future.done():  # its caller was cancelled
                        continue
                    if isinstance(answers, Exception):
                        one.future.set_exception(answers)
                    else:
                        one.future.set_result(answers)
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
        """What goes in one transaction: of each tree at most one batch."""
        taken: list[_Waiting] = []
        roots: set[str] = set()
        size = 0
        for one in self._queue:
            if len(taken) == GROUP_BATCHES or size > GROUP_BYTES:
                break
            root = one.batch[0].member.root
            if root in roots:
                break
            roots.update(member.member.root for member in one.batch)
            size += sum(member.size for member in one.batch)
            taken.append(one)
        del self._queue[: len(taken)]
        return taken

    async def _group(self, group: Sequence[_Waiting]) -> list[Answers | StoreError]:
        """The answers for each of a group. What fails for one's own fault is parted from the others."""
        error = await self._transaction(group)
        if not isinstance(error, Exception):
            return [*error]
        if len(group) > 1 and (is_ones_own(error) or isinstance(error, driver().errors.LockNotAvailable)):
            return [answers for one in group for answers in await self._group([one])]
        if len(group) == 1 and is_ones_own(error):
            [one] = group
            if len(one.batch) == 1:
                return [[self._told(error)]]
            alone = [await self._group([_Waiting([member], one.claim, one.future)]) for member in one.batch]
            answers: Answers = []
            for [some] in alone:
                if isinstance(some, StoreError):
                    return [some]
                answers += some
            return [answers]
        return [self._told(error) for _ in group]

    async def _transaction(self, group: Sequence[_Waiting]) -> list[Answers] | Exception:
        """The group in one transaction, again after a lost connection: who finds it written has written it."""
        psycopg = driver()
        for tried in range(1, TRIES + 1):
            connection = None
            try:
                connection = await self.pool.appender()
                answers = await append(connection, self.pool.names, [(one.batch, one.claim) for one in group])
                self.commits += 1
                return answers
            except StoreError as error:
                return error
            except Exception as error:
                problem: Exception = error
                if not isinstance(error, psycopg.Error):
                    raise
                lost = connection is not None and self.pool.is_broken(connection)
                if tried == TRIES or not (lost or is_crossed(problem)):
                    return problem
        raise AssertionError

    def _told(self, error: Exception) -> StoreError:
        if isinstance(error, StoreError):
            return StoreError(error.message)
        return self.pool.address.error(error)
