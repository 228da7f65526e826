"""An open store file: its connections, the one thread that writes, and when what is written is committed.

Writes wait in a queue; whatever waits when the thread wakes is committed in one transaction, whichever runs it belongs
to. Under NORMAL a write that nobody disputes is done at once on the caller's thread instead, which costs less than
waking another one. The caller's thread never waits for a lock.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeAlias, TypeVar

from flowcore.errors import FlowcoreError, StoreError
from flowcore.stores.sqlite_schema import Synchronous, connect, connect_impatient, is_busy, open_file, store_error
from flowcore.stores.sqlite_write import UNSTORABLE

T = TypeVar("T")
Job = Callable[[sqlite3.Cursor], T]

CHECKPOINT_PAGES = 1000
"""Pages of 4 kB, by rough count, that go to the log before the thread brings them in (SQLite's own default)."""

_open_files: weakref.WeakSet[StoreFile] = weakref.WeakSet()
_inherited: list[object] = []
"""Connections that a forked child got from its parent: not even closing them is safe there."""
_inherited_files: set[tuple[int, int]] = set()


_Waits: TypeAlias = asyncio.Future[Any] | Future[Any]


class _Task(NamedTuple):
    """A job and where its answer goes. ``guarded``: it keeps or undoes its parts by itself. ``loop``: of the future;
    None where a thread waits."""

    job: Job[Any]
    guarded: bool
    loop: asyncio.AbstractEventLoop | None
    future: _Waits


class _Answer(NamedTuple):
    value: Any
    error: Exception | None


_STOP, _CHECKPOINT = "stop", "checkpoint"


class StoreFile:
    """See the module's text. ``busy_timeout``: seconds that the thread, never a caller, waits for others' locks.

    ``commits`` counts the thread's transactions, ``direct`` those done on a caller's thread.
    """

    def __init__(self, path: str, synchronous: Synchronous, busy_timeout: float) -> None:
        self.path = path
        self.commits = 0
        self.direct = 0
        self._synchronous = synchronous
        self._busy_timeout = busy_timeout
        self._queue: SimpleQueue[_Task | str] = SimpleQueue()
        self._entering = threading.Lock()
        self._thread: threading.Thread | None = None
        self._forked = False
        # True until the file is open, and while something waits for the thread: callers then queue behind it.
        self._queued = True
        self._opened = False
        self._closed = False
        self._pages = 0
        self._directly = threading.Lock()
        self._reading = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self._caller: sqlite3.Cursor | None = None
        self._reader: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        _open_files.add(self)

    # Writing

    def write_now(self, job: Job[T], *, plain: bool = False, size: int = 0) -> _Answer | None:
        """Do a job on this thread; None if that can't be done at once, and then nothing was done.

        ``plain``: the job is one statement, which needs no transaction around it. ``size``: bytes that it writes.
        Raises what the job raises, and StoreError.
        """
        if self._queued or self._synchronous == "FULL" or not self._directly.acquire(blocking=False):
            return None
        try:
            cursor = self._caller
            if cursor is None:
                return None
            if plain:
                value = job(cursor)
            else:
                self._check_place()
                cursor.execute("BEGIN IMMEDIATE")
                value = job(cursor)
                cursor.execute("COMMIT")
        except (sqlite3.Error, *UNSTORABLE) as error:
            self._undo(cursor)
            if is_busy(error):
                return None
            raise store_error(self.path, error) from error
        except BaseException:
            self._undo(cursor)
            raise
        finally:
            self._directly.release()
        self.direct += 1
        self._pages += 2 + size // 4096
        if self._pages > CHECKPOINT_PAGES:
            self._pages = 0
            self._queue.put(_CHECKPOINT)
        return _Answer(value, None)

    async def write(self, job: Job[T], *, guarded: bool = False) -> T:
        """Do a job through the thread. Raises what the job raises, and StoreError."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._enter(_Task(job, guarded, loop, future))
        return await future

    def write_waiting(self, job: Job[T]) -> T:
        """``write`` from a thread that may wait, and that no event loop stands on."""
        future: Future[T] = Future()
        self._enter(_Task(job, False, None, future))
        return future.result()

    def _enter(self, task: _Task) -> None:
        self._refuse_if_unusable()
        with self._entering:
            self._refuse_if_unusable()
            if self._thread is None:
                _refuse_inherited(self.path)
                self._thread = threading.Thread(target=self._serve, name="flowcore-store", daemon=True)
                self._thread.start()
            self._queued = True
            self._queue.put(task)

    async def write_soon(self, job: Job[T]) -> T:
        """Do a job now if that's possible, else through the thread."""
        answer = self.write_now(job)
        return answer.value if answer is not None else await self.write(job)

    # Reading

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Ask on this thread, which takes microseconds, or apart where the file is locked. Raises StoreError."""
        if not self._opened:
            await self.write(_nothing)
        self._refuse_if_unusable()
        self._check_place()
        try:
            with self._reading:
                if self._reader is None:
                    raise StoreError(f"store file {self.path}: the store was closed meanwhile")
                return query(self._reader)
        except UnicodeDecodeError as error:
            raise store_error(self.path, error) from None
        except sqlite3.Error as error:
            if not is_busy(error):
                raise store_error(self.path, error) from error
        return await self.read_apart(query)

    async def read_apart(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Ask on another thread and connection: for what is large. Raises StoreError."""
        if not self._opened:
            await self.write(_nothing)
        return await asyncio.to_thread(self._read_apart, query)

    def _read_apart(self, query: Callable[[sqlite3.Connection], T]) -> T:
        self._check_place()  # a new connection would make a new file
        try:
            connection = connect(self.path, self._synchronous, self._busy_timeout)
            try:
                return query(connection)
            finally:
                connection.close()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise store_error(self.path, error) from error

    # Beginning and end

    def _refuse_if_unusable(self) -> None:
        if self._forked:
            raise StoreError(f"store file {self.path}: {_FORKED}")
        if self._closed:
            raise StoreError(f"store file {self.path}: the store was closed meanwhile")

    async def close(self) -> None:
        """Write what waits, bring the log into the file, and end the thread."""
        if not self._forked:
            with self._entering:
                self.abandon()
        if self._thread is not None and not self._forked:
            await asyncio.to_thread(self._thread.join)

    def abandon(self) -> None:
        """``close`` without waiting for it. The garbage collector may call it on any thread, so it takes no lock."""
        self._closed = self._queued = True
        if self._thread is None or self._forked:
            return
        self._queue.put(_STOP)
        if not threading.main_thread().is_alive():  # the interpreter is on its way out
            self._thread.join(timeout=self._busy_timeout)

    def forked(self) -> None:
        """In a child process: let go of everything without touching it."""
        if self._thread is None:
            return
        self._forked = self._queued = True
        _inherited.extend((self._writer, self._caller, self._reader))
        self._writer = self._caller = self._reader = None
        here = _identity(self.path)
        if here is not None:
            _inherited_files.add(here)

    # The thread

    def _serve(self) -> None:
        while True:
            tasks, orders = self._take()
            if tasks:
                answers = self._commit(tasks)
                if self._opened and self._queue.empty() and not self._closed:
                    self._queued = False  # a write that slips into the queue just now finds the thread awake
                self._settle(tasks, answers)
            if _STOP in orders:
                self._disconnect()
                return
            if _CHECKPOINT in orders:
                self._checkpoint()

    def _take(self) -> tuple[list[_Task], set[str]]:
        """Everything that waits, at least one thing."""
        tasks: list[_Task] = []
        orders: set[str] = set()
        one = self._queue.get()
        while True:
            if isinstance(one, str):
                orders.add(one)
            else:
                tasks.append(one)
            try:
                one = self._queue.get_nowait()
            except Empty:
                return tasks, orders

    def _commit(self, tasks: Sequence[_Task]) -> list[_Answer]:
        """Do the tasks in one transaction: an answer each, or the same error for all if it can't be committed."""
        cursor = None
        try:
            cursor = self._connect().cursor()
            self._check_place()
            cursor.execute("BEGIN IMMEDIATE")
            answers = [_do(task, cursor, self.path) for task in tasks]
            cursor.execute("COMMIT")
            self.commits += 1
            return answers
        except StoreError as error:
            return [_Answer(None, StoreError(error.message)) for _ in tasks]
        except sqlite3.Error as error:
            return [_Answer(None, store_error(self.path, error)) for _ in tasks]
        except BaseException as error:
            return [_Answer(None, StoreError(f"store file {self.path}: {error!r}")) for _ in tasks]
        finally:
            self._undo(cursor)

    def _undo(self, cursor: sqlite3.Cursor | None) -> None:
        if cursor is not None and cursor.connection.in_transaction:
            try:
                cursor.execute("ROLLBACK")
            except sqlite3.Error:  # SQLite has rolled back by itself, or the next BEGIN tells
                pass

    def _settle(self, tasks: Sequence[_Task], answers: Sequence[_Answer]) -> None:
        """Answer each caller on the loop that it waits on: one wake-up a loop."""
        by_loop: dict[asyncio.AbstractEventLoop | None, list[tuple[_Waits, _Answer]]] = {}
        for task, answer in zip(tasks, answers, strict=True):
            by_loop.setdefault(task.loop, []).append((task.future, answer))
        for loop, pairs in by_loop.items():
            if loop is None:
                _resolve(pairs)
                continue
            try:
                loop.call_soon_threadsafe(_resolve, pairs)
            except RuntimeError:  # the loop was closed: nobody waits any more
                pass

    def _connect(self) -> sqlite3.Connection:
        """The thread's connection; at the first time the others are opened too."""
        if self._writer is None:
            self._writer = open_file(self.path, self._synchronous, self._busy_timeout)
        if not self._opened:
            if self._caller is None:
                caller = connect_impatient(self.path, self._synchronous, self._busy_timeout)
                caller.execute("PRAGMA wal_autocheckpoint=0")  # the thread does it: it takes milliseconds
                self._caller = caller.cursor()
            if self._reader is None:
                self._reader = connect_impatient(self.path, self._synchronous, self._busy_timeout)
                self._reader.execute("PRAGMA query_only=ON")
            self._identity = _identity(self.path)
            self._opened = True
        return self._writer

    def _check_place(self) -> None:
        """SQLite goes on writing to a file that was moved or removed, where nobody finds it. A plain append isn't worth
        the look: a lease's renewal looks, too, and without it nothing is written for long."""
        if self._identity is not None and _identity(self.path) != self._identity:
            raise StoreError(
                f"store file {self.path}: it was moved, removed or replaced while it was open; put it back, or close"
                " the store and open it again"
            )

    def _checkpoint(self) -> None:
        try:
            self._connect().execute("PRAGMA wal_checkpoint(PASSIVE)")
        except (sqlite3.Error, StoreError):  # the log grows a little longer; a write that can't be done will tell
            pass

    def _disconnect(self) -> None:
        """Close every connection. The last one of a file brings its log in."""
        with self._directly:
            cursor, self._caller = self._caller, None
            if cursor is not None:
                cursor.connection.close()
        with self._reading:
            reader, self._reader = self._reader, None
            if reader is not None:
                reader.close()
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()


def _do(task: _Task, cursor: sqlite3.Cursor, path: str) -> _Answer:
    """One task of a shared transaction: its own refusals are its own, the file's errors are raised."""
    if task.guarded:
        return _Answer(task.job(cursor), None)
    cursor.execute("SAVEPOINT task")
    error: Exception
    try:
        value = task.job(cursor)
        cursor.execute("RELEASE task")
        return _Answer(value, None)
    except FlowcoreError as refusal:
        error = refusal
    except UnicodeDecodeError as damage:
        error = store_error(path, damage)
    except UNSTORABLE as unstorable:
        error = StoreError(f"a value can't be stored: {unstorable}")
    except sqlite3.Error:
        raise
    except Exception as mistake:
        error = mistake
    cursor.execute("ROLLBACK TO task")
    cursor.execute("RELEASE task")
    return _Answer(None, error)


def _resolve(pairs: Sequence[tuple[_Waits, _Answer]]) -> None:
    for future, answer in pairs:
        if future.done():  # its caller was cancelled
            continue
        if answer.error is not None:
            future.set_exception(answer.error)
        else:
            future.set_result(answer.value)


def _nothing(cursor: sqlite3.Cursor) -> None:
    """A job that only makes sure the file is open."""


_FORKED = (
    "it was open when this process was forked, and SQLite's locks don't survive that; open the store after the fork,"
    " or start processes by spawning them"
)


def _identity(path: str) -> tuple[int, int] | None:
    """Which file is at a path; None where there's none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _refuse_inherited(path: str) -> None:
    if not _inherited_files:
        return
    if _identity(path) in _inherited_files:
        raise StoreError(f"store file {path}: {_FORKED}")


def _after_fork() -> None:
    for file in list(_open_files):
        file.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
