"""A PostgreSQL store's connections in one event loop, and what is done with them.

No task stays behind when nothing is asked, and connections of a loop that has ended can be closed without it (a
pool with tasks of its own can't do either). Whoever waits for a connection waits for its turn; only connecting has a
time limit.
"""

from __future__ import annotations

import asyncio
import os
import select
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from flowcore.errors import StoreError, UserError
from flowcore.stores.postgres_arrays import adapt
from flowcore.stores.postgres_schema import Names, prepare

if TYPE_CHECKING:
    from psycopg import AsyncConnection

T = TypeVar("T")
Connection: TypeAlias = "AsyncConnection[tuple[Any, ...]]"
Job = Callable[[Connection, bool], Awaitable[T]]
"""What is done in one go; True: an earlier try of it may have been committed."""

TRIES = 3
"""How often a job is done again that lost its connection or a deadlock."""
_ALIVE = {"keepalives_idle": 10, "keepalives_interval": 3, "keepalives_count": 3, "tcp_user_timeout": 20_000}
"""A server that is gone without a word is noticed after some 20 s (libpq's connection options)."""
# Plans don't depend on how young the tables' statistics are: every statement here goes by an index. A process that was
# stopped in mid-transaction keeps nobody waiting for long.
SETTINGS = """
SET default_transaction_isolation = 'read committed'; SET default_transaction_read_only = off;
SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
SET jit = off; SET plan_cache_mode = force_generic_plan;
SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '10s'; SET statement_timeout = 0"""


@lru_cache(maxsize=1)
def driver() -> ModuleType:
    """psycopg. Raises UserError where it isn't installed."""
    try:
        import psycopg
        import psycopg.conninfo
    except ImportError as error:
        raise UserError(f"PostgresStore: {error}; install it with: pip install 'flowcore[postgres]'") from error
    return psycopg


class Address:
    """Where a database is. ``place`` names it in errors, without user and password. Raises UserError."""

    def __init__(self, dsn: str, schema: str, timeout: float) -> None:
        psycopg = driver()
        try:
            parts = psycopg.conninfo.conninfo_to_dict(dsn)
        except psycopg.Error:  # its text may quote the password
            raise UserError(
                "PostgresStore: its DSN isn't valid; give postgresql://user:password@host:port/database with what is"
                " special in user and password percent-encoded"
            ) from None
        self.names = Names(schema)
        self.timeout = timeout
        given = {**_ALIVE, "connect_timeout": max(2, round(timeout)), "application_name": "flowcore", **parts}
        self.conninfo: str = psycopg.conninfo.make_conninfo(**given)
        secrets = {str(parts.get("password") or ""), os.environ.get("PGPASSWORD", "")}
        self._secrets = sorted(secrets - {""}, key=len, reverse=True)
        host = parts.get("host") or parts.get("hostaddr") or os.environ.get("PGHOST") or "localhost"
        port = f":{parts['port']}" if parts.get("port") else ""
        name = parts.get("dbname") or os.environ.get("PGDATABASE")
        self.place = f"Postgres database{f' {name!r}' if name else ''} at {host}{port}, schema '{schema}'"

    def error(self, error: BaseException) -> StoreError:
        """What the driver says, as a StoreError that names the database and no password."""
        text = " ".join(str(error).split()) or type(error).__name__
        for secret in self._secrets:
            text = text.replace(secret, "…")
        return StoreError(f"{self.place}: {text}")


class Pool:
    """Up to ``size`` connections for whoever asks, one more for appends, and one for what can't wait for its turn."""

    def __init__(self, address: Address, size: int) -> None:
        self.address = address
        self.pid = os.getpid()
        self._size = size
        self._turns = asyncio.Semaphore(size)
        self._first = asyncio.Semaphore(1)
        self._idle: list[Connection] = []
        self._appender: Connection | None = None
        self._all: set[Connection] = set()
        self._ready = asyncio.Lock()
        self._prepared = False
        self._closed = False
        self._end = weakref.finalize(self, _finish, self._all, self.pid)

    # Connections

    @asynccontextmanager
    async def connection(self, first: bool = False) -> AsyncIterator[Connection]:
        """One connection, alone. Raises StoreError when there can't be one."""
        async with self._first if first else self._turns:
            one = self._take() or await self._connect()
            try:
                yield one
            finally:
                if self._usable(one):
                    self._idle.append(one)
                else:
                    self._drop(one)

    async def appender(self) -> Connection:
        """The one for appends."""
        one = self._appender
        if one is None or not (self._usable(one) and _is_quiet(one)):
            if one is not None:
                self._drop(one)
            self._appender = None
            self._appender = one = await self._connect()
        return one

    def _take(self) -> Connection | None:
        while self._idle:
            one = self._idle.pop()
            if self._usable(one) and _is_quiet(one):
                return one
            self._drop(one)
        return None

    def _usable(self, one: Connection) -> bool:
        """Whether nothing of its last use is left. One whose user was cancelled as its pipeline ended is idle and still
        in the pipeline: what it's told next would be done, and keep its locks, but not be committed."""
        pq, state = driver().pq, one.pgconn
        return (
            not (self._closed or one.closed)
            and state.transaction_status == pq.TransactionStatus.IDLE
            and state.pipeline_status == pq.PipelineStatus.OFF
        )

    def is_broken(self, one: Connection) -> bool:
        """Whether a connection is lost, or stuck in its pipeline or transaction: nobody knows what it has done."""
        return not self._usable(one)

    def _drop(self, one: Connection) -> None:
        self._all.discard(one)
        one.pgconn.finish()

    async def _connect(self) -> Connection:
        """A new connection, ready for use. One that is cut while it's made ready has done nothing: another is made."""
        psycopg = driver()
        if self._closed:
            raise StoreError(f"{self.address.place}: the store was closed meanwhile")
        for tried in range(1, TRIES + 1):
            one: Connection | None = None
            try:
                async with asyncio.timeout(self.address.timeout):
                    one = await psycopg.AsyncConnection.connect(self.address.conninfo, autocommit=True)
                    assert one is not None
                    self._all.add(one)
                    adapt(one)
                    await one.execute(SETTINGS)
                async with self._ready:
                    if not self._prepared:
                        await prepare(one, self.address.names, self.address.place)
                        self._prepared = True
                return one
            except BaseException as error:
                cut = one is not None and one.closed
                if one is not None:
                    self._drop(one)
                if isinstance(error, TimeoutError):
                    raise StoreError(f"{self.address.place}: no connection within {self.address.timeout:g} s") from None
                if not isinstance(error, psycopg.Error):
                    raise
                if tried == TRIES or not (cut and isinstance(error, psycopg.OperationalError)):
                    raise self.address.error(error) from None
        raise AssertionError

    # Doing something

    async def do(self, job: Job[T], *, again: bool = True, first: bool = False) -> T:
        """Do a job. It's done again after a lost connection or a deadlock; where the connection was lost so that
        nobody knows whether it was done, only with ``again``. ``first``: before whatever else waits for a connection.
        Raises what the job raises, and StoreError.

        Who is cancelled leaves at once; the job is done to its end, so that its connection serves the next."""
        task = asyncio.get_running_loop().create_task(self._do(job, again, first), name="flowcore-postgres-job")
        return await asyncio.shield(task)

    async def _do(self, job: Job[T], again: bool, first: bool) -> T:
        psycopg = driver()
        unsure = False
        for tried in range(1, TRIES + 1):
            async with self.connection(first) as one:
                try:
                    return await job(one, unsure)
                except psycopg.Error as error:
                    lost = isinstance(error, psycopg.OperationalError) and self.is_broken(one)
                    if tried == TRIES or not ((lost and again) or is_crossed(error)):
                        raise self.address.error(error) from None
                    unsure = unsure or lost
                except UnicodeDecodeError:
                    told = f"{self.address.place}: a text in it isn't UTF-8; the store is damaged"
                    raise StoreError(told, lasting=True) from None
        raise AssertionError

    async def close(self) -> None:
        """Close every connection once what is under way has ended; what waits for its turn fails."""
        self._closed = True
        turns = [self._first, *[self._turns] * self._size]
        for turn in turns:
            await turn.acquire()
        self.abandon()
        for turn in turns:
            turn.release()

    def abandon(self) -> None:
        """``close``, from wherever: the loop may have ended."""
        self._closed = True
        self._end()

    @property
    def names(self) -> Names:
        """The schema's."""
        return self.address.names


def is_crossed(error: BaseException) -> bool:
    """Whether two transactions stood in each other's way, and this one was undone."""
    return isinstance(error, (driver().errors.DeadlockDetected, driver().errors.SerializationFailure))


def _is_quiet(one: Connection) -> bool:
    """Whether an idle connection has nothing to tell: what it would tell is that it's at its end."""
    try:
        watch = select.poll()
        watch.register(one.pgconn.socket, select.POLLIN)
        return not watch.poll(0)
    except AttributeError:  # no poll here
        return not select.select([one.pgconn.socket], [], [], 0)[0]


def _finish(connections: set[Connection], pid: int) -> None:
    """Close connections without their loop. A forked child leaves its parent's alone."""
    if pid == os.getpid():
        for one in list(connections):
            one.pgconn.finish()
    connections.clear()
