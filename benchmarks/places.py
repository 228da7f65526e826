"""Where the benchmarks of stores keep their runs: a folder of their own, or a schema in a PostgreSQL database."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

sys.path.append(str(Path(__file__).parent.parent / "tests" / "stores"))


@contextmanager
def database(dsn: str | None, *, fsync: bool = True) -> Iterator[str]:
    """The DSN of a database: the given one, or that of a server that lives as long as this."""
    if dsn is not None:
        yield dsn
        return
    from stores_postgres import Server

    server = Server(fsync=fsync)
    try:
        yield server.dsn
    finally:
        server.end()


@contextmanager
def schema(dsn: str) -> Iterator[str]:
    """The name of a schema that is removed afterwards, whoever made it."""
    import psycopg

    name = f"flowcore_benchmark_{token_hex(6)}"
    try:
        yield name
    finally:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(f'DROP SCHEMA IF EXISTS "{name}" CASCADE'.encode())
