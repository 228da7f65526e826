"""What encryption at rest costs: an append and a turn, with and without, in time and in bytes; and a rotation of keys.

    uv run python benchmarks/encryption.py [--rounds 15] [--json]

An append is one transition of some 400 bytes or of 4 kB, by a single run, through an SQLite store at NORMAL; in turn
and in the same process through one that is encrypted. A turn is a model's reply that calls a tool and the tool's
output, by an instant scripted model. Bytes are those of the payloads, and of the whole file once it's closed. A
rotation seals all that the file then holds with another key. Figures are medians over rounds; those of time are CPU
time, which a busy machine or disk changes little, but for the rotation's.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from flowcore import Agent, EncryptedStore, RunConfig, Runner, SqliteStore, function_tool
from flowcore.machine.facts import Started, Transition
from flowcore.stores.base import Append, Claim, Owner, Store
from flowcore.testing import ScriptedModel, function_call, message

TEXT = "A paragraph of what a node may have written into its state. "
SIZES = {"400 bytes": 6, "4 kB": 66}
"""Texts of a transition, by what that makes of it."""
KEY, NEWER = EncryptedStore.new_key(), EncryptedStore.new_key()


def store_at(folder: str, name: str, *keys: str) -> Store:
    """A store of its own; encrypted, where there are keys."""
    plain = SqliteStore(Path(folder) / f"{name}.db", synchronous="NORMAL")
    return EncryptedStore(plain, key=keys) if keys else plain


async def begun(store: Store, run: str) -> Claim:
    """A run with its first fact."""
    first = Started(0, 1.0, 1.0, "write", 1, "bench", "f", {}, {}, run)
    return await store.admit(Append(run, run, [first]), Owner.this_process())


# Appends


async def appends(folder: str, texts: int, rounds: int, each: int) -> dict[str, float]:
    """CPU microseconds of an append, plain and encrypted."""
    stores = {"plain": store_at(folder, f"plain {texts}"), "encrypted": store_at(folder, f"sealed {texts}", KEY)}
    claims = {name: await begun(store, "one") for name, store in stores.items()}
    seq, times = 0, []
    for number in range(rounds + 1):
        took = {}
        facts = [Transition(seq + 1 + i, 1.0, 1.0, "write", 1, "more", "write", 2, {"text": TEXT * texts})
                 for i in range(each)]  # fmt: skip
        seq += each
        gc.collect()
        for name, store in stores.items():
            batches = [[Append("one", "one", [fact])] for fact in facts]
            began = time.process_time()
            for batch in batches:
                assert await store.append(batch, claims[name]) == [None]
            took[name] = (time.process_time() - began) / each * 1e6
        if number:  # the first opens files and prepares statements
            times.append(took)
    for store in stores.values():
        await store.close()
    return {name: statistics.median(took[name] for took in times) for name in stores}


# Turns


@function_tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


ADDER: Agent = Agent(name="Adder", instructions="You add.", tools=[add])


async def run(store: Store, turns: int, run_id: str) -> None:
    """An agent's run that calls a tool so many times."""
    call, end = [function_call("add", {"a": 1, "b": 2})], [message("done")]
    model = ScriptedModel(lambda asked: call if asked.turn < turns else end, record=False)
    result = await Runner.run(
        ADDER, "go", max_turns=None, run_config=RunConfig(model=model), store=store, run_id=run_id
    )
    assert result.final_output == "done"


async def turns(folder: str, rounds: int, many: int) -> dict[str, float]:
    """CPU microseconds of a turn, plain and encrypted."""
    stores = {"plain": store_at(folder, "plain"), "encrypted": store_at(folder, "sealed", KEY)}
    times = []
    for number in range(rounds + 1):
        took = {}
        gc.collect()
        for name, store in stores.items():
            began = time.process_time()
            await run(store, many, f"r{number}")
            took[name] = (time.process_time() - began) / many * 1e6
        if number:
            times.append(took)
    for store in stores.values():
        await store.close()
    return {name: statistics.median(took[name] for took in times) for name in stores}


def sizes(folder: str, name: str, turns: int) -> tuple[float, float]:
    """Bytes a turn: of payloads, and of the closed file."""
    path = Path(folder) / f"{name}.db"
    connection = sqlite3.connect(path)
    [(payloads,)] = connection.execute("SELECT sum(length(payload)) FROM fact")
    connection.close()
    return payloads / turns, path.stat().st_size / turns


async def rotation(folder: str) -> tuple[int, float]:
    """Records of the encrypted file that were sealed anew, and how many a second."""
    store: Any = store_at(folder, "sealed", NEWER, KEY)
    began = time.perf_counter()
    done = await store.rotate()
    seconds = time.perf_counter() - began
    await store.close()
    assert done.done
    return done.resealed, done.resealed / seconds


def measure(rounds: int = 15, each: int = 1_000, many: int = 200) -> dict[str, float]:
    """All figures by name."""
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for size, texts in SIZES.items():
            found = asyncio.run(appends(folder, texts, rounds, each))
            for name, figure in found.items():
                figures[f"append of {size}, {name}, µs of CPU"] = figure
        for name, figure in asyncio.run(turns(folder, rounds, many)).items():
            figures[f"a turn, {name}, µs of CPU"] = figure
        for name, file in (("plain", "plain"), ("encrypted", "sealed")):
            payloads, whole = sizes(folder, file, many * (rounds + 1))
            figures[f"a turn's payloads, {name}, bytes"] = payloads
            figures[f"a turn in the file, {name}, bytes"] = whole
        count, speed = asyncio.run(rotation(folder))
        figures["rotation, records"] = count
        figures["rotation, records/s"] = speed
    return figures


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--rounds", type=int, default=15, help="rounds of which the median is taken")
    options = parser.parse_args()
    figures = measure(options.rounds)
    if options.json:
        print(json.dumps(figures, ensure_ascii=False))
        return
    for name, figure in figures.items():
        print(f"{figure:12,.1f}  {name}")


if __name__ == "__main__":
    main()
