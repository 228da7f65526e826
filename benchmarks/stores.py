"""What a durable store costs: one append beside a raw INSERT and COMMIT, and what runs at once share.

    uv run python benchmarks/stores.py [--postgres DSN] [--only sqlite|postgres] [--no-fsync] [--rounds 40] [--json]

An append is one transition of some 400 bytes by a single run, written through the store. Beside it, in turn and in the
same process, stands an INSERT of the same row (the same columns and key, with the bytes made beforehand) into a table
of its own, in autocommit, through the same driver with the same settings. Then runs of a bare graph: one after another,
so many at once at FULL, and many at once on PostgreSQL, each of which waits until all have begun. Without a DSN a
PostgreSQL server is started; `--no-fsync` lets it not wait for the disk. Figures are medians over rounds; at NORMAL a
round is so long that both files bring their logs in meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from flowcore import END, START, Context, Goto, Graph, PostgresStore, SqliteStore, State, node, start
from flowcore.machine.facts import Started, Transition
from flowcore.stores.base import Append, Claim, Owner, Store
from flowcore.stores.sealing import encode_fact
from flowcore.stores.sqlite_schema import Synchronous, connect

sys.path.append(str(Path(__file__).parent))
from places import database, schema

TEXT = "A paragraph of what a node may have written into its state. " * 6
COLUMNS = 'run, seq, kind, node, visit, "on", "to", at, nonce, payload'
Raw = Callable[[tuple[Any, ...]], Awaitable[None]]

# One append


def transition(seq: int) -> Transition:
    """One that adds some 400 bytes."""
    return Transition(seq, 1.0, 1.0, "write", seq, "more", "write", seq + 1, {"text": TEXT})


def row_of(run: str, seq: int, nonce: str) -> tuple[Any, ...]:
    """What the store keeps of it."""
    *header, payload = encode_fact(run, transition(seq), None)
    return run, *header, nonce, payload


async def begun(store: Store, run: str) -> Claim:
    """A run with its first fact."""
    first = Started(0, 1.0, 1.0, "write", 1, "bench", "f", {}, {}, run)
    return await store.admit(Append(run, run, [first]), Owner.this_process())


async def beside(store: Store, raw: Raw, rounds: int, appends: int) -> dict[str, float]:
    """Microseconds of an append, of the raw one, and how many times as long the former takes."""
    claim = await begun(store, "one")
    seq, pairs = 0, []
    for number in range(rounds + 1):
        rows = [row_of("one", seq + 1 + i, claim.nonce) for i in range(appends)]
        batches = [[Append("one", "one", [transition(seq + 1 + i)])] for i in range(appends)]
        seq += appends
        gc.collect()
        began = time.perf_counter()
        for row in rows:
            await raw(row)
        between = time.perf_counter()
        for batch in batches:
            assert await store.append(batch, claim) == [None]
        ours, floor = time.perf_counter() - between, between - began
        if number:  # the first opens files and prepares statements
            pairs.append((ours / appends * 1e6, floor / appends * 1e6))
    return {
        "raw INSERT + COMMIT, µs": statistics.median(floor for _, floor in pairs),
        "append of a transition, µs": statistics.median(ours for ours, _ in pairs),
        "append, times the raw one": statistics.median(ours / floor for ours, floor in pairs),
    }


async def sqlite_append(synchronous: Synchronous, rounds: int, appends: int) -> dict[str, float]:
    """``beside`` in two files of one folder."""
    with tempfile.TemporaryDirectory() as folder:
        connection = connect(str(Path(folder) / "raw.db"), synchronous, 5.0)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"CREATE TABLE fact ({COLUMNS}, UNIQUE (run, seq))")
        sql = f"INSERT INTO fact ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

        async def raw(row: tuple[Any, ...]) -> None:
            connection.execute(sql, row)

        store = SqliteStore(Path(folder) / "runs.db", synchronous=synchronous)
        try:
            return await beside(store, raw, rounds, appends)
        finally:
            await store.close()
            connection.close()


async def postgres_append(dsn: str, rounds: int, appends: int) -> dict[str, float]:
    """``beside`` in two tables of one schema."""
    import psycopg

    with schema(dsn) as name:
        store = PostgresStore(dsn, schema=name)
        await store.due(0.0)
        connection = await psycopg.AsyncConnection.connect(dsn, autocommit=True)
        table = f'"{name}".raw'
        await connection.execute(f'CREATE TABLE {table} (LIKE "{name}".fact INCLUDING ALL)'.encode())
        sql = f"INSERT INTO {table} ({COLUMNS}) VALUES ({', '.join(['%b'] * 10)})".encode()

        async def raw(row: tuple[Any, ...]) -> None:
            run, seq, kind, at_node, visit, on, to, at, nonce, payload = row
            given = (run.encode(), seq, kind, at_node.encode(), visit, on.encode(), to.encode(), at, nonce, payload)
            await connection.execute(sql, given)

        try:
            return await beside(store, raw, rounds, appends)
        finally:
            await connection.close()
            await store.close()


# Runs at once


class Count(State):
    n: int = 0
    text: str = ""


class Gate:
    """Opens when so many have come."""

    def __init__(self, awaited: int) -> None:
        self.awaited = awaited
        self._open = asyncio.Event()

    async def passed(self) -> None:
        """Come, and wait for the others."""
        self.awaited -= 1
        if self.awaited <= 0:
            self._open.set()
        await self._open.wait()


@node(limit=1_000)
async def write(state: Count, ctx: Context) -> Goto[Any]:
    """One visit of ``visits``, the second of which begins when all runs have come to it."""
    gate, visits = ctx.context
    if state.n == 1:
        await gate.passed()
    return Goto("more" if state.n + 1 < visits else "enough", n=state.n + 1, text=TEXT)


RING = Graph("bench", Count, {START: write, write: {"more": write, "enough": END}})


async def serial(store: Store, runs: int, visits: int) -> float:
    """Seconds of runs one after another."""
    began = time.perf_counter()
    for _ in range(runs):
        await (await start(RING, store=store, context=(Gate(1), visits)))
    return time.perf_counter() - began


async def at_once(store: Store, runs: int, visits: int) -> float:
    """Seconds of so many runs at once, from the first one's start to the last one's end."""
    gate = Gate(runs)

    async def run() -> None:
        result = await (await start(RING, store=store, context=(gate, visits)))
        assert result.state.n == visits

    began = time.perf_counter()
    await asyncio.gather(*(run() for _ in range(runs)))
    return time.perf_counter() - began


async def shared(store: Store, runs: int, visits: int, rounds: int) -> dict[str, float]:
    """Transitions a second: of one run at a time, of many at once, and how many times as many that is."""
    await serial(store, 1, visits)
    few = max(1, runs // 40)
    pairs = []
    for _ in range(rounds):
        alone = few * visits / await serial(store, few, visits)
        pairs.append((runs * visits / await at_once(store, runs, visits), alone))
    return {
        "transitions/s, one run after another": statistics.median(alone for _, alone in pairs),
        f"transitions/s, {runs:,} runs at once": statistics.median(many for many, _ in pairs),
        f"{runs:,} runs at once, times the former": statistics.median(many / alone for many, alone in pairs),
    }


async def sqlite_shared(runs: int, visits: int, rounds: int) -> dict[str, float]:
    """``shared`` at FULL."""
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder) / "runs.db", synchronous="FULL")
        try:
            return await shared(store, runs, visits, rounds)
        finally:
            await store.close()


async def postgres_shared(dsn: str, runs: int, visits: int, rounds: int) -> dict[str, float]:
    """``shared`` in a schema."""
    with schema(dsn) as name:
        store = PostgresStore(dsn, schema=name)
        try:
            return await shared(store, runs, visits, rounds)
        finally:
            await store.close()


class Watched(PostgresStore):
    """Counts what a process asks however many runs it has."""

    def __init__(self, dsn: str, **given: Any) -> None:
        super().__init__(dsn, **given)
        self.beats = self.looks = 0

    def beat(self, owner: Owner) -> None:
        self.beats += 1
        super().beat(owner)

    async def waiting(self, owner: Owner) -> list[str]:
        self.looks += 1
        return await super().waiting(owner)


async def postgres_many(dsn: str, runs: int, visits: int) -> dict[str, float]:
    """So many runs at once in one process on one PostgreSQL: how fast, and what of the server they take."""
    import psycopg

    with schema(dsn) as name:
        own = psycopg.conninfo.make_conninfo(dsn, application_name=name)
        store = Watched(own, schema=name)
        await serial(store, 1, visits)
        most, seconds = 0, 0.0
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            task = asyncio.create_task(at_once(store, runs, visits))
            while not task.done():
                await asyncio.wait([task], timeout=0.2)
                sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
                [count] = await (await connection.execute(sql, (name,))).fetchone() or [0]
                most = max(most, count)
            seconds = await task
        await store.close()
    return {
        f"{runs:,} runs at once, s": seconds,
        f"{runs:,} runs at once, runs/s": runs / seconds,
        f"{runs:,} runs at once, transitions/s": runs * visits / seconds,
        f"{runs:,} runs at once, connections": most,
        f"{runs:,} runs at once, heartbeats/s": store.beats / seconds,
        f"{runs:,} runs at once, looks into the inboxes/s": store.looks / seconds,
    }


def measure(
    only: str | None = None, dsn: str | None = None, fsync: bool = True, rounds: int = 40, appends: int = 25,
    runs: int = 200, many: int = 2_000, visits: int = 10,
) -> dict[str, dict[str, float]]:  # fmt: skip
    """All figures by store and name."""
    found: dict[str, dict[str, float]] = {}
    few = max(1, rounds // 10)
    if only != "postgres":
        found["SQLite, NORMAL"] = asyncio.run(sqlite_append("NORMAL", rounds, 40 * appends))
        found["SQLite, FULL"] = {
            **asyncio.run(sqlite_append("FULL", rounds, appends)),
            **asyncio.run(sqlite_shared(runs, visits, few)),
        }
    if only != "sqlite":
        with database(dsn, fsync=fsync) as there:
            found["PostgreSQL" if fsync or dsn else "PostgreSQL, fsync off"] = {
                **asyncio.run(postgres_append(there, rounds, appends)),
                **asyncio.run(postgres_shared(there, runs, visits, few)),
                **asyncio.run(postgres_many(there, many, visits)),
            }
    return found


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--postgres", metavar="DSN", default=None, help="a database; without it a server is started")
    parser.add_argument("--only", choices=("sqlite", "postgres"))
    parser.add_argument("--no-fsync", action="store_true", help="the server that is started doesn't wait for its disk")
    parser.add_argument("--rounds", type=int, default=40, help="rounds of appends; of runs at once a tenth of them")
    parser.add_argument("--appends", type=int, default=25, help="appends a round, at NORMAL 40 times as many")
    parser.add_argument("--runs", type=int, default=200, help="runs at once that share commits")
    parser.add_argument("--many", type=int, default=2_000, help="runs at once on PostgreSQL")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    given = parser.parse_args()
    figures = measure(
        given.only, given.postgres, not given.no_fsync, given.rounds, given.appends, given.runs, given.many
    )
    if given.json:
        print(json.dumps(figures, ensure_ascii=False))
        return
    for store, found in figures.items():
        print(store)
        for name, figure in found.items():
            print(f"{figure:12,.1f}  {name}" if figure >= 10 else f"{figure:12.2f}  {name}")


if __name__ == "__main__":
    main()
