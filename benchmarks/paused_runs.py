"""Many paused runs: what starting, answering, resuming and listing cost, whatever lies in the store beside them.

    uv run python benchmarks/paused_runs.py [--runs 10000 100000 1000000] [--store sqlite|postgres|DSN] [--json]

One real run that waits for a person is copied so many times: all its rows under other ids, at other times, with their
checksums, written in bulk past the store. Then, each time with another run and at each size: a new run from its start
to its pause, an answer, that run's resume to its end, pages of 100 by status (the first, one in the middle, the
last), of a status that nobody has, of open requests, and what operators and schedulers ask. Milliseconds, medians.
`--store postgres` starts a server.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from flowcore import END, START, Ask, Goto, Graph, Pause, PostgresStore, SqliteStore, State, answer, resume, start
from flowcore.graph.values import dumps
from flowcore.machine.facts import Fact
from flowcore.stores import checks, checksums
from flowcore.stores.base import IndexRow, OpenRequest, Owner, Store
from flowcore.stores.sealing import encode_fact, request_place, sealed

sys.path.append(str(Path(__file__).parent))
from places import database, schema

PAGE = 100
KNUTH = 2_654_435_761
"""Odd, so n * KNUTH modulo 2**32 is another number for each n: ids come in no order, as made-up ones do."""


class Draft(State):
    topic: str
    text: str = ""
    word: dict[str, bool] = {}


async def write(state: Draft) -> dict[str, str]:
    return {"text": f"All that is known about {state.topic}. " * 3}


async def review(state: Draft) -> Pause:
    return Pause(Ask("ok", {"text": state.text}, bool), into="word")


async def judge(state: Draft) -> Goto[Literal["good"]]:
    return Goto("good")


GRAPH = Graph("paused", Draft, {START: write, write: review, review: {"answered": judge}, judge: {"good": END}})


# Filling a store


class Copies:
    """The rows of copies of a paused run, table by table, in the order of the stores' columns."""

    def __init__(self, row: IndexRow, facts: list[Fact], asked: OpenRequest) -> None:
        self.row = replace(row, owner=None)
        self.rows = [encode_fact(row.run, fact, None)._replace(payload=b"") for fact in facts]
        self.payloads = [encode_fact(row.run, fact, None).payload[checksums.DIGITS :] for fact in facts]
        self.asked = asked

    def fact(self, n: int) -> Iterator[tuple[Any, ...]]:
        """What stands in ``fact``, but for the nonce."""
        run = name(n)
        for row, payload in zip(self.rows, self.payloads, strict=True):
            yield run, *checksums.summed_row(run, row._replace(payload=payload))

    def index(self, n: int) -> dict[str, Any]:
        """What stands in ``run``, but for what belongs to a lease."""
        run, row = name(n), self.row
        moved = replace(row, run=run, root=run, created=row.created - n * 1e-3, updated=row.updated - n * 1e-3)
        head = self.rows[-1].seq
        return {
            "id": run, "root": run, "graph": row.graph, "fingerprint": row.fingerprint, "standing": row.standing,
            "node": row.node, "created": moved.created, "updated": moved.updated, "turns": row.turns,
            "tokens": row.tokens, "label": row.label, "head": head,
            "fixed": checksums.fixed_sum(run, run, None, moved.created, None, None),
            "sum": checksums.changing_sum(run, moved, head),
        }  # fmt: skip

    def request(self, n: int) -> tuple[Any, ...]:
        """What stands in ``request``, but for a digest."""
        run, one = name(n), self.asked
        opened = one.opened - n * 1e-3
        data, form = (
            sealed(dumps(part), request_place(which, run, one.key, one.kind, one.node, opened), None)
            for which, part in (("data", one.data), ("schema", one.schema))
        )
        return run, run, one.key, one.kind, one.node, opened, data, form


def name(n: int) -> str:
    """The id of the n-th copy."""
    return f"{n * KNUTH % 2**32:08x}-paused"


async def paused(store: Store) -> str:
    """A new run, started and come to its pause."""
    run = await start(GRAPH, {"topic": "bees"}, store=store)
    await run
    assert run.standing == "waiting"
    return run.id


async def copies_of(store: Store, run: str) -> Copies:
    """What copies of this run are made from."""
    [asked] = await store.requests(root=run)
    return Copies(await store.get(run), await store.read(run), asked)


Fill = Callable[[Copies, range], Awaitable[None]]


def batches(numbers: range, size: int) -> Iterator[list[int]]:
    """So many at a time."""
    rest = iter(numbers)
    while some := list(islice(rest, size)):
        yield some


async def fill_sqlite(path: Path, copies: Copies, numbers: range) -> None:
    """Insert copies into a store file that nobody else writes to."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA cache_size=-500000")
    for some in batches(numbers, 50_000):
        connection.execute("BEGIN")
        facts = (row for n in some for row in copies.fact(n))
        connection.executemany(
            'INSERT INTO fact (run, seq, kind, node, visit, "on", "to", at, payload, nonce)'
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'copied')",
            facts,
        )
        columns = list(copies.index(0))
        connection.executemany(
            f"INSERT INTO run ({', '.join(columns)}, epoch, known) VALUES (:{', :'.join(columns)}, 1, 0)",
            (copies.index(n) for n in some),
        )
        connection.executemany(
            "INSERT INTO request (root, run, key, kind, node, opened, data, schema) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (copies.request(n) for n in some),
        )
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


async def fill_postgres(dsn: str, where: str, copies: Copies, numbers: range) -> None:
    """Copy into a schema, and let the server look at what there is now, as it does by itself some time later."""
    import psycopg

    from flowcore.stores.postgres_pack import digest, utf8

    def texts(values: Any) -> list[Any]:
        return [utf8(one) if isinstance(one, str) else one for one in values]

    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:

        async def copy(table: str, columns: str, rows: Iterator[list[Any]]) -> None:
            types = [known[table, column.strip('"')] for column in columns.split(", ")]
            sql = f'COPY "{where}".{table} ({columns}) FROM STDIN (FORMAT BINARY)'.encode()
            async with connection.cursor() as cursor, cursor.copy(sql) as copying:
                copying.set_types(types)
                for row in rows:
                    await copying.write_row(
                        [one.decode() if kind == "text" else one for one, kind in zip(row, types, strict=True)]
                    )

        found = await connection.execute(
            "SELECT table_name, column_name, udt_name FROM information_schema.columns WHERE table_schema = %s", (where,)
        )
        known = {(table, column): kind for table, column, kind in await found.fetchall()}
        for some in batches(numbers, 50_000):
            facts = (texts((*row, "copied")) for n in some for row in copies.fact(n))
            await copy("fact", 'run, seq, kind, node, visit, "on", "to", at, payload, nonce', facts)
            rows = (texts((*copies.index(n).values(), 1, 0)) for n in some)
            await copy("run", ", ".join((*copies.index(0), "epoch", "known")), rows)
            asked = (texts(copies.request(n)) for n in some)
            open_ones = ([*one, digest(one[1], one[2])] for one in asked)
            await copy("request", "root, run, key, kind, node, opened, data, schema, digest", open_ones)
        for table in ("fact", "run", "request"):
            await connection.execute(f'VACUUM (ANALYZE) "{where}".{table}'.encode())
        await connection.execute("CHECKPOINT")


# Measuring


async def figures_at(store: Store, count: int, chosen: list[str]) -> dict[str, float]:
    """Medians in a store that has so many copies; each of those chosen ends meanwhile."""
    found: dict[str, list[float]] = {}

    async def note(which: str, work: Awaitable[Any]) -> Any:
        began = time.perf_counter()
        told = await work
        found.setdefault(which, []).append((time.perf_counter() - began) * 1e3)
        return told

    async def going_on(run: str) -> None:
        result = await (await resume(run, GRAPH, store=store))
        assert result.standing == "done"

    async def page(which: str, expected: int, **given: Any) -> None:
        shown = await note(f"list {which}", store.runs(limit=PAGE, **given))
        assert len(shown.runs) == expected

    middle, near_end = [checks.write_cursor(await store.get(name(n))) for n in (count // 2, count - PAGE // 2 - 1)]
    gc.collect()
    for run in chosen:
        await note("start a run, to its pause", paused(store))
        await note("answer a run", answer(store, run, "ok", True))
        await note("resume it, to its end", going_on(run))
        await page("waiting runs, the first page", PAGE, standing="waiting")
        await page("waiting runs, a page in the middle", PAGE, standing="waiting", after=middle)
        await page("waiting runs, the last page", PAGE // 2, standing="waiting", after=near_end)
        await page("failed runs, of which there are none", 0, standing="failed")
        await page("all runs, the first page", PAGE)
        assert len(await note("open requests, the first page", store.requests(limit=PAGE))) == PAGE
        assert await note("find a run by how its id begins", store.find(name(count - 1)[:-3]))
        assert await note("due", store.due(time.time())) == []
        assert (await note("abandoned", store.abandoned())).runs == []
        assert await note("what a process's watch asks", store.waiting(Owner.this_process())) == []
    return {which: statistics.median(some[1:]) for which, some in found.items()}  # the first ones prepare statements


async def measure(store: Store, fill: Fill, sizes: list[int], times: int = 20) -> list[dict[str, Any]]:
    """All figures, size by size; the store is empty before, and grows meanwhile."""
    chance = random.Random(5)
    copies = await copies_of(store, await paused(store))
    found: list[dict[str, Any]] = []
    filled = 0
    for size in sorted(sizes):
        began = time.perf_counter()
        await fill(copies, range(filled, size))
        seconds = time.perf_counter() - began
        fresh = range(filled, filled + (size - filled) // 3)  # before the middle, and not ended yet
        filled = size
        chosen = [name(n) for n in chance.sample(fresh, times + 1)]
        found.append({"runs": size, "filling took, s": seconds, "ms": await figures_at(store, size, chosen)})
    return found


async def in_file(sizes: list[int], times: int) -> list[dict[str, Any]]:
    """``measure`` in an SQLite file, with the store's own settings."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.db"
        store = SqliteStore(path)
        try:
            return await measure(store, partial(fill_sqlite, path), sizes, times)
        finally:
            await store.close()


async def in_schema(dsn: str, sizes: list[int], times: int) -> list[dict[str, Any]]:
    """``measure`` in a schema of a PostgreSQL database."""
    with schema(dsn) as where:
        store = PostgresStore(dsn, schema=where)
        try:
            return await measure(store, partial(fill_postgres, dsn, where), sizes, times)
        finally:
            await store.close()


def table(found: list[dict[str, Any]]) -> str:
    """A column for each size."""
    width = max(map(len, found[0]["ms"]))
    lines = [f"{'ms, with so many paused runs':{width}}" + "".join(f"{one['runs']:>12,}" for one in found)]
    lines += [f"{which:{width}}" + "".join(f"{one['ms'][which]:12.2f}" for one in found) for which in found[0]["ms"]]
    lines.append(f"{'(filling them in, s)':{width}}" + "".join(f"{one['filling took, s']:12.1f}" for one in found))
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], help="300 at least")
    parser.add_argument("--store", default="sqlite", help="sqlite, postgres, or a database's DSN")
    parser.add_argument("--times", type=int, default=20, help="how often each thing is measured")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    given = parser.parse_args()
    if given.store == "sqlite":
        found = asyncio.run(in_file(given.runs, given.times))
    else:
        with database(None if given.store == "postgres" else given.store) as dsn:
            found = asyncio.run(in_schema(dsn, given.runs, given.times))
    print(json.dumps(found) if given.json else f"{given.store.partition(':')[0]}\n{table(found)}")


if __name__ == "__main__":
    main()
