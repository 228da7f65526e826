"""What tracing costs: nothing where nobody is told, little and the same at every turn where somebody is."""

from __future__ import annotations

import asyncio
import cProfile
import pstats
import runpy
from pathlib import Path
from typing import Any

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "tracing.py"


def calls_of(work: Any) -> int:
    """How many Python calls a coroutine function makes."""
    profile = cProfile.Profile()
    profile.enable()
    asyncio.run(work())
    profile.disable()
    return int(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]


def test_a_traced_turn_takes_little_more_than_an_untraced_one() -> None:
    """benchmarks/tracing.py prints how much; the bound here is one that a busy machine keeps, too."""
    bench = runpy.run_path(str(BENCHMARK))
    ratios = []
    for _ in range(5):  # the machine may be busy: one quiet round is enough
        ratios.append(bench["measure"](repeats=10, rounds=3)["ratio"])
        if ratios[-1] <= 1.8:
            return
    raise AssertionError(f"traced turns took {ratios} times as long")


def test_a_traced_turn_makes_as_many_calls_late_as_early() -> None:
    traced = runpy.run_path(str(BENCHMARK))["traced"]
    asyncio.run(traced(3))  # what is made once is made now
    early = calls_of(lambda: traced(15)) - calls_of(lambda: traced(5))
    late = calls_of(lambda: traced(505)) - calls_of(lambda: traced(495))
    assert late <= early * 1.05, f"{early} calls in ten turns at the start, {late} after 500"


def test_after_the_last_processor_has_left_a_turn_makes_as_many_calls_as_ever() -> None:
    bench = runpy.run_path(str(BENCHMARK))
    agent, traced = bench["agent"], bench["traced"]
    asyncio.run(agent(3))
    before = calls_of(lambda: agent(20))
    asyncio.run(traced(3))
    assert calls_of(lambda: agent(20)) <= before * 1.01
