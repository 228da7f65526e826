"""What a long run weighs: bytes a turn, stored bytes beside the live state, and how long folding takes.

    uv run python benchmarks/growth.py [--json] [--turns 10000]

An agent whose model calls one tool a turn, and a bare graph in a ring, in memory as bytes and in a file. A turn is a
call of the model with all that follows; its bytes are those of the rows that it adds: payload and header columns.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Any

from flowcore import Agent, MemoryStore, RunConfig, Runner, SqliteStore, function_tool, load
from flowcore.graph.values import dumps
from flowcore.machine.fold import fold_all
from flowcore.machine.wire import encode
from flowcore.testing import ScriptedModel, function_call, message

PAGE = "A paragraph of what a page says, as long as such things are. " * 8
TURN = "call_model"


@function_tool
async def read(page: int, why: str) -> str:
    """Read a page."""
    return PAGE


READER: Agent = Agent(name="Reader", instructions="You read.", tools=[read])


def scripted(turns: int) -> ScriptedModel:
    """A model that reads for ``turns`` turns and then answers."""
    call, end = [function_call("read", {"page": 1, "why": "to know what is on it"})], [message("done")]
    return ScriptedModel(lambda asked: call if asked.turn < turns else end, record=False)


async def agent(store: Any, turns: int) -> Any:
    """A run of ``turns`` turns; the handle on it."""
    result = await Runner.run(
        READER, "go", store=store, run_id="r", max_turns=None, run_config=RunConfig(model=scripted(turns))
    )
    assert result.final_output == "done"
    return await load("r", READER, store=store)


def bytes_by_turn(facts: Any) -> list[int]:
    """The bytes that each turn of a run added: payloads and header columns."""
    found: list[int] = []
    for fact in facts:
        row = encode(fact)
        size = len(row.payload) + sum(len(str(part)) for part in row[:-1] if part is not None)
        if row.kind == "transition" and row.node == TURN:
            found.append(0)
        if found:
            found[-1] += size
    return found


def live_bytes(run: Any) -> int:
    """The bytes of the state as it is now, as JSON."""
    fields = run.definition.schema.fields
    return sum(len(dumps(fields[name].codec.admit(value)[0])) for name, value in run._live.snapshot.values.items())


def fold_seconds(run: Any, rounds: int = 5) -> float:
    """The fastest of some folds of a run's whole journal, from facts in memory: what a resume costs beside reading."""
    best = float("inf")
    for _ in range(rounds):
        gc.collect()
        began = time.perf_counter()
        fold_all(run.definition.schema, run.id, run.facts)
        best = min(best, time.perf_counter() - began)
    return best


def file_bytes(path: Path) -> int:
    """What a store file holds, its log brought in."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return os.path.getsize(path)


async def weigh(turns: int) -> dict[str, Any]:
    """All figures of an agent's run of so many turns."""
    run = await agent(MemoryStore(keep_bytes=True), turns)
    sizes = bytes_by_turn(run.facts)
    marks = [mark for mark in (1, 10, 100, 1_000, 10_000) if mark <= turns]
    live = live_bytes(run)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.db"
        store = SqliteStore(path, synchronous="NORMAL")
        await store.runs(limit=1)
        empty = file_bytes(path)
        await agent(store, turns)
        await store.close()
        size = file_bytes(path) - empty
    return {
        "turns": turns,
        "bytes_at_turn": {str(mark): sizes[mark - 1] for mark in marks},
        "live_bytes": live,
        "stored_to_live": round(sum(sizes) / live, 2),
        "file_to_live": round(size / live, 2),
        "fold_ms": round(fold_seconds(run) * 1e3, 1),
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--turns", type=int, default=10_000)
    given = parser.parse_args()
    rows = [asyncio.run(weigh(turns)) for turns in sorted({1_000, given.turns})]
    if given.json:
        print(json.dumps(rows))
        return
    for row in rows:
        print(f"{row['turns']:,} turns; live state {row['live_bytes']:,} bytes")
        print("  bytes at turn: " + ", ".join(f"{mark}: {size:,}" for mark, size in row["bytes_at_turn"].items()))
        print(f"  stored: {row['stored_to_live']} x the live state; in a file {row['file_to_live']} x")
        print(f"  folding it takes {row['fold_ms']} ms")


if __name__ == "__main__":
    main()
