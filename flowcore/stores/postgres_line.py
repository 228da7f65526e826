"""A PostgreSQL store's connection for threads that may wait, and stand on no event loop: heartbeats go over it."""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, TypeAlias

from flowcore.stores.postgres_pool import SETTINGS, TRIES, Address, driver, is_crossed

if TYPE_CHECKING:
    from psycopg import Connection

    Wire: TypeAlias = Connection[tuple[Any, ...]]


class Line:
    """One connection, made at its first use and again after it was lost. A forked child has one of its own."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._turn = threading.Lock()
        self._open: list[Wire] = []
        weakref.finalize(self, _finish, self._open, self._pid)

    def do(self, sql: bytes, given: dict[str, Any]) -> None:
        """Execute a statement that may be done twice. Raises StoreError."""
        psycopg = driver()
        if self._pid != os.getpid():
            _inherited.append(self._open)
            self._begin()
        with self._turn:
            for tried in range(1, TRIES + 1):
                one = self._wire()
                try:
                    one.execute(sql, given)
                    return
                except psycopg.Error as error:
                    lost = one.closed
                    if lost:
                        self._end()
                    if tried == TRIES or not (lost or is_crossed(error)):
                        raise self._address.error(error) from None

    @property
    def is_open(self) -> bool:
        """Whether there is anything to close here."""
        return bool(self._open) and self._pid == os.getpid()

    def close(self) -> None:
        """Close the connection when nobody uses it. The next use makes another one."""
        with self._turn:
            self._end()

    def _wire(self) -> Wire:
        if not self._open:
            psycopg = driver()
            try:
                self._open.append(psycopg.Connection.connect(self._address.conninfo, autocommit=True))
                self._open[0].execute(SETTINGS)
            except psycopg.Error as error:
                self._end()
                raise self._address.error(error) from None
        return self._open[0]

    def _end(self) -> None:
        _finish(self._open, self._pid)


_inherited: list[object] = []
"""What a forked child got from its parent: not even closing it is safe there."""


def _finish(connections: list[Wire], pid: int) -> None:
    """A forked child leaves its parent's alone."""
    if pid == os.getpid():
        for one in connections:
            one.pgconn.finish()
    connections.clear()
