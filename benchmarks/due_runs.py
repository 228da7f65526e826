"""What a scheduler asks (`store.due`), whatever backlog lies in the store.

    uv run python benchmarks/due_runs.py [--runs 10000 100000 1000000] [--store sqlite|postgres|DSN] [--json]

Copies of a paused run, as in paused_runs.py, each number of them in a store of its own: a quarter has ended with a
letter that nobody takes in any more, a quarter sleeps until a time far off, half waits for a person. What is due then
(nothing is)? Half of the latter is answered, and nobody has gone on with it: what is due now (the 100 that come first)?
Milliseconds, medians.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from flowcore import PostgresStore, SqliteStore
from flowcore.stores.base import Store

sys.path.append(str(Path(__file__).parent))
from paused_runs import Fill, copies_of, fill_postgres, fill_sqlite, paused, table
from places import database, schema

AT_ONCE = 100
"""How many are asked for."""
Change = Callable[[str], Awaitable[None]]

# Ids begin with a hexadecimal digit, each as often as the others. Nobody reads these runs: their checksums may lie.
BACKLOG = """
UPDATE run SET standing = 'done' WHERE id < '4';
UPDATE run SET due = 1e12 WHERE id >= '4' AND id < '8';
INSERT INTO letter (root, id, run, kind, at, value{columns}) SELECT id, 'x', id, 'input', 1.0, 'null'{values} FROM run
WHERE id < '4'"""
ANSWERED = """
INSERT INTO letter (root, id, run, kind, at, value{columns}) SELECT id, 'x', id, 'input', 1.0, 'null'{values} FROM run
WHERE id >= '8' AND id < 'c'"""


async def change_sqlite(path: Path, script: str) -> None:
    """Execute statements past the store."""
    connection = sqlite3.connect(path)
    connection.executescript(script.format(columns="", values=""))
    connection.close()


async def change_postgres(dsn: str, where: str, script: str) -> None:
    """Execute statements past the store, and let the server look at what there is now."""
    import psycopg

    script = script.format(columns=", digest", values=r", sha256(id || '\x0078')")
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute(f'SET search_path = "{where}"; {script}'.encode())
        for name in (b"run", b"letter"):
            await connection.execute(b"VACUUM (ANALYZE) " + name)


async def asked(store: Store, expected: int, times: int) -> float:
    """Milliseconds until it's told what is due."""
    found = []
    for _ in range(times + 1):
        began = time.perf_counter()
        runs = await store.due(time.time(), AT_ONCE)
        found.append((time.perf_counter() - began) * 1e3)
        assert len(runs) == expected
    return statistics.median(found[1:])  # the first one prepares statements


async def measure(store: Store, fill: Fill, change: Change, runs: int, times: int) -> dict[str, Any]:
    """The figures of one store, which is empty before."""
    began = time.perf_counter()
    await fill(await copies_of(store, await paused(store)), range(runs))
    await change(BACKLOG)
    seconds = time.perf_counter() - began
    calm = await asked(store, 0, times)
    await change(ANSWERED)
    busy = await asked(store, AT_ONCE, times)
    figures = {"due, when nothing is": calm, "due, when a quarter is": busy}
    return {"runs": runs, "filling took, s": seconds, "ms": figures}


async def in_file(runs: int, times: int) -> dict[str, Any]:
    """``measure`` in an SQLite file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.db"
        store = SqliteStore(path)
        try:
            return await measure(store, partial(fill_sqlite, path), partial(change_sqlite, path), runs, times)
        finally:
            await store.close()


async def in_schema(dsn: str, runs: int, times: int) -> dict[str, Any]:
    """``measure`` in a schema of a PostgreSQL database."""
    with schema(dsn) as where:
        store = PostgresStore(dsn, schema=where)
        change = partial(change_postgres, dsn, where)
        try:
            return await measure(store, partial(fill_postgres, dsn, where), change, runs, times)
        finally:
            await store.close()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], help="1,000 at least")
    parser.add_argument("--store", default="sqlite", help="sqlite, postgres, or a database's DSN")
    parser.add_argument("--times", type=int, default=20, help="how often it's asked")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    given = parser.parse_args()
    if given.store == "sqlite":
        found = [asyncio.run(in_file(runs, given.times)) for runs in given.runs]
    else:
        with database(None if given.store == "postgres" else given.store) as dsn:
            found = [asyncio.run(in_schema(dsn, runs, given.times)) for runs in given.runs]
    print(json.dumps(found) if given.json else f"{given.store.partition(':')[0]}\n{table(found)}")


if __name__ == "__main__":
    main()
