"""One connection to a SQLite database of sessions: opened at its first use, used off the event loop, one job at a
time. Several objects, threads and processes may share a file: writes take the lock first, and wait for it."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from flowcore.errors import StoreError
from flowcore.sessions.strand import Strand

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], T]

BUSY_SECONDS = 30.0
"""How long a job waits for another process's lock."""
_inherited: list[sqlite3.Connection] = []
"""Connections that a forked child got from its parent: not even closing them is safe there."""


class Database:
    """See the module's text. ``prepare`` makes the tables, inside a transaction. ``kind``: who it is, for errors."""

    def __init__(self, path: str | os.PathLike[str], prepare: Job[None], kind: str) -> None:
        self.path = os.fspath(path)
        self.kind = kind
        self._prepare = prepare
        self._strand = Strand()
        self._using = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._pid = os.getpid()
        self._closed = False

    async def read(self, job: Job[T]) -> T:
        """Do a job that writes nothing. Raises StoreError, RuntimeError once it's closed, and what the job raises."""
        self._refuse_if_closed()
        return await self._line().run(lambda: self._with(job))

    async def write(self, job: Job[T]) -> T:
        """Do a job in a transaction: all of it or nothing. Raises as ``read``."""
        self._refuse_if_closed()
        return await self._line().run(lambda: self._with(lambda connection: _transaction(connection, job)))

    def close(self) -> None:
        """Close the connection, once a job under way is done. Later jobs raise RuntimeError."""
        self._closed = True
        with self._using:
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None

    async def aclose(self) -> None:
        """``close``, after the jobs that were handed in before and without holding up the loop."""
        await self._line().run(self.close)

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise RuntimeError(f"{self.kind} is closed; make a new one")

    def _line(self) -> Strand:
        if self._pid != os.getpid():  # in a forked child: the parent's threads and locks aren't here
            self._strand, self._using = Strand(), threading.Lock()
            if self._connection is not None and self.path != ":memory:":
                _inherited.append(self._connection)
                self._connection = None
            self._pid = os.getpid()
        return self._strand

    def _with(self, job: Job[T]) -> T:
        with self._using:
            self._refuse_if_closed()
            try:
                if self._connection is None:
                    self._connection = self._open()
                return job(self._connection)
            except sqlite3.Error as error:
                raise self._told(error) from error

    def _open(self) -> sqlite3.Connection:
        if self.path != ":memory:":
            try:
                Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(f"{self.kind} {self.path}: its directory can't be made: {error}") from None
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            connection = sqlite3.connect(self.path, BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            try:
                connection.execute("PRAGMA journal_mode=WAL").fetchone()
                _transaction(connection, self._prepare)
            except BaseException as error:
                connection.close()
                # Two that turn one new file to WAL at once: one is told "busy" without being let wait.
                if is_busy(error) and time.monotonic() < deadline:
                    time.sleep(0.01)
                    continue
                raise
            weakref.finalize(self, _close_in, os.getpid(), connection)
            return connection

    def _told(self, error: sqlite3.Error) -> StoreError:
        if is_busy(error):
            return StoreError(
                f"{self.kind} {self.path}: another process kept it locked for {BUSY_SECONDS:g} s ({error}); try again"
            )
        return StoreError(f"{self.kind} {self.path}: {error}")


def _transaction(connection: sqlite3.Connection, job: Job[T]) -> T:
    connection.execute("BEGIN IMMEDIATE")
    try:
        value = job(connection)
        connection.execute("COMMIT")
        return value
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _close_in(pid: int, connection: sqlite3.Connection) -> None:
    """Close what nobody uses any more, but only where it was opened."""
    if pid == os.getpid():
        connection.close()


def is_busy(error: BaseException) -> bool:
    """Whether SQLite says that somebody else has the lock."""
    return (
        isinstance(error, sqlite3.OperationalError)
        and getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
    )
