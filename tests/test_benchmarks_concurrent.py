"""The shapes that many runs at once keep: they overlap, none looks at the others, and none leaves work to the garbage
collector."""

import asyncio
import cProfile
import gc
import pstats
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

BENCHMARK = Path(__file__).parent.parent / "benchmarks" / "concurrent_runs.py"


@pytest.fixture(scope="module")
def bench():
    found = SimpleNamespace(**runpy.run_path(str(BENCHMARK)))
    asyncio.run(found.agent(1, 0.0))  # what is made once is made now
    return found


def test_runs_at_once_take_little_longer_than_a_bare_loops(bench):
    ratios = []
    for _ in range(5):  # the machine may be busy: one quiet round is enough to see that they overlap
        ours = bench.one_round(bench.agent, runs=50, turns=5, delay=0.05)
        ratios.append(ours.wall / bench.one_round(bench.bare, runs=50, turns=5, delay=0.05).wall)
        if ratios[-1] <= 1.6:
            return
    raise AssertionError(f"50 runs at once took {ratios} times as long as a bare loop's")


def test_a_run_makes_as_many_calls_among_200_as_among_20(bench):
    def calls_a_run(runs: int) -> float:
        profile = cProfile.Profile()
        profile.enable()
        bench.one_round(bench.agent, runs=runs, turns=2, delay=0.0)
        profile.disable()
        return pstats.Stats(profile).total_calls / runs

    few, many = calls_a_run(20), calls_a_run(200)
    assert many <= few * 1.05, f"{few:.0f} calls a run among 20, {many:.0f} among 200"


def test_a_run_that_is_done_is_freed_without_the_garbage_collector(bench):
    async def several() -> int:
        gc.collect()
        before = len(gc.get_objects())
        await asyncio.gather(*(bench.agent(3, 0.0) for _ in range(20)))
        await asyncio.sleep(0)  # the tasks themselves
        return len(gc.get_objects()) - before

    gc.disable()
    try:
        assert asyncio.run(several()) < 20, "each run left something that only the garbage collector can free"
    finally:
        gc.enable()
