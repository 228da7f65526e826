"""The shapes that the benchmarks promise: flat, whatever the machine. Times are printed by benchmarks/, not
asserted."""

import asyncio
import cProfile
import pstats
import runpy
from pathlib import Path

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def calls_of(work) -> int:
    """How many Python calls a coroutine function makes."""
    profile = cProfile.Profile()
    profile.enable()
    asyncio.run(work())
    profile.disable()
    return pstats.Stats(profile).total_calls


def calls_at_turn(agent, turn: int, span: int = 5) -> float:
    longer = calls_of(lambda: agent(turn + span))
    shorter = calls_of(lambda: agent(turn - span))
    return (longer - shorter) / (2 * span)


def test_a_turn_makes_as_many_calls_at_turn_500_as_at_turn_10():
    agent = runpy.run_path(str(BENCHMARKS / "turn.py"))["agent"]
    asyncio.run(agent(3))  # what is made once is made now
    early, late = calls_at_turn(agent, 10), calls_at_turn(agent, 500)
    assert late <= early * 1.05, f"{early:.0f} calls a turn at turn 10, {late:.0f} at turn 500"


def test_a_turn_takes_as_long_at_turn_1000_as_at_turn_10():
    bench = runpy.run_path(str(BENCHMARKS / "turn.py"))
    at_turn, agent = bench["at_turn"], bench["agent"]
    growths = []
    for _ in range(5):  # the machine may be busy: one quiet round is enough to see that the cost is flat
        growths.append(at_turn(agent, 1_000, 1) / at_turn(agent, 10, 1))
        if growths[-1] <= 1.2:
            return
    raise AssertionError(f"from turn 10 to turn 1,000 a turn's cost grew by {growths}")


def test_a_bare_transition_makes_as_many_calls_late_as_early():
    bench = runpy.run_path(str(BENCHMARKS / "turn.py"))
    start, loop_of = bench["start"], bench["loop_of"]

    async def run(visits: int) -> None:
        await (await start(loop_of(visits)))

    early = calls_of(lambda: run(60)) - calls_of(lambda: run(20))
    late = calls_of(lambda: run(1_040)) - calls_of(lambda: run(1_000))
    assert late <= early * 1.05
