"""What a long run weighs: every turn adds what is new in it, the ten-thousandth as the first."""

from __future__ import annotations

import asyncio
import cProfile
import pstats
import runpy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowcore.engine.run import load, start
from flowcore.graph.graph import Graph
from flowcore.graph.node import node
from flowcore.graph.outcomes import END, START, Goto
from flowcore.graph.state import State
from flowcore.machine.fold import fold_all
from flowcore.machine.wire import encode
from flowcore.stores import MemoryStore, SqliteStore

BENCH = runpy.run_path(str(Path(__file__).parent.parent.parent / "benchmarks" / "growth.py"))
NUMBERS = 24
"""Bytes that a turn may add for its numbers' digits: seq, visits, and what is named by them."""


@pytest.fixture(scope="module")
def read_on() -> Any:
    """An agent's run of 1,000 turns, each with a tool call and a page that it gives."""
    return asyncio.run(BENCH["agent"](MemoryStore(keep_bytes=True), 1_000))


def test_an_agents_turn_adds_as_many_bytes_at_turn_1000_as_at_turn_10(read_on: Any) -> None:
    sizes = BENCH["bytes_by_turn"](read_on.facts)
    assert len(sizes) == 1_001
    assert max(sizes[:1_000]) - min(sizes[:1_000]) <= 2 * NUMBERS + 40  # the first says whose turn it is
    assert sizes[999] - sizes[9] <= NUMBERS


def test_what_is_stored_is_less_than_three_times_the_live_state(read_on: Any) -> None:
    assert sum(BENCH["bytes_by_turn"](read_on.facts)) <= 3 * BENCH["live_bytes"](read_on)
    tiny = runpy.run_path(BENCH["__file__"])["weigh"]
    tiny.__globals__["PAGE"] = "3"  # the least that a tool may say
    weighed = asyncio.run(tiny(300))
    assert weighed["stored_to_live"] <= weighed["file_to_live"] <= 3


def test_folding_takes_as_much_for_a_late_turn_as_for_an_early_one(read_on: Any) -> None:
    """50 ms for 1,000 turns are measured by benchmarks/growth.py; here only what a busy machine keeps too."""
    schema, facts = read_on.definition.schema, read_on.facts

    def calls(count: int) -> int:
        profile = cProfile.Profile()
        profile.runcall(fold_all, schema, "r", facts[:count])
        return pstats.Stats(profile).total_calls  # type: ignore[attr-defined, no-any-return]

    calls(10)
    assert calls(len(facts)) <= 10 * calls(len(facts) // 10) * 1.05
    began = time.process_time()
    fold_all(schema, "r", facts)
    assert time.process_time() - began < 2.0


class Count(State):
    n: int = 0
    text: str = ""


def ring(turns: int, look: Callable[[int], None]) -> Graph:
    @node(limit=turns + 1)
    async def turn(state: Count) -> Goto[Any]:
        look(state.n)
        return Goto("again" if state.n + 1 < turns else "end", n=state.n + 1, text=f"turn {state.n:06} " * 10)

    return Graph("ring", Count, {START: turn, turn: {"again": turn, "end": END}})


async def test_a_turn_adds_as_many_bytes_to_a_store_file_at_turn_10000_as_at_turn_1000(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    sizes: dict[int, int] = {}

    def look(n: int) -> None:
        if n in (0, 1_000, 2_000, 9_000, 9_999):
            sizes[n] = BENCH["file_bytes"](path)

    store = SqliteStore(path, synchronous="NORMAL")
    run = await start(ring(10_000, look), store=store, run_id="r")
    await run
    early, late = sizes[2_000] - sizes[1_000], sizes[9_999] - sizes[9_000]
    assert late / 999 <= early / 1_000 * 1.1
    turns = [len(encode(fact).payload) for fact in run.facts[1:]]
    assert turns[9_998] - turns[9] <= NUMBERS
    await store.close()
    again = SqliteStore(path)
    assert (await load("r", ring(10_000, look), store=again)).state.n == 10_000
    await again.close()
