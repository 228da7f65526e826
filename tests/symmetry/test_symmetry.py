"""However a script is run, it's the same run: awaited, streamed, taken on by states here and elsewhere, killed.

Scripts are made at random, the same ones each time. Ways of one process, and states, observe the same in everything:
items, usage, hooks, spans, sessions, exceptions and what these carry. A run that's killed after each fact in turn walks
the same walk, and does nothing again that had finished.
"""

from __future__ import annotations

import asyncio

import pytest
import symmetry_ways as ways
from hypothesis import HealthCheck, assume, given, settings
from symmetry_scripts import Script, scripts

SCRIPTS = 500
"""Random scripts that each way of one process runs."""
KILLED = 40
"""Random scripts that are killed after every one of their facts."""
ALIKE = {
    "streamed": ways.Streamed,
    "streamed, and left by its reader": ways.Left,
    "by a state at each rest": ways.StatedHere,
    "by a state as JSON in a new process": ways.StatedElsewhere,
}

# Making a script takes most of the time of a small one, and they differ in size: neither is a fault of the test.
QUIETLY = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("way", ALIKE)
def test_a_run_is_the_same_however_it_is_run(way: str) -> None:
    @settings(max_examples=SCRIPTS, deadline=None, database=None, derandomize=True, suppress_health_check=QUIETLY)
    @given(scripts())
    def holds(script: Script) -> None:
        async def both() -> None:
            ways.same(await ways.Awaited(script).go(), await ALIKE[way](script).go())

        asyncio.run(both())

    holds()


@pytest.mark.timeout(600)
def test_a_run_that_is_killed_after_any_fact_walks_the_same_walk_and_does_nothing_again() -> None:
    @settings(max_examples=KILLED, deadline=None, database=None, derandomize=True, suppress_health_check=QUIETLY)
    @given(scripts())
    def holds(script: Script) -> None:
        assume(not races(script))

        async def all_of_them() -> None:
            reference = await ways.Awaited(script).go()
            calm = ways.Reopened(script, [None])
            await calm.go()
            assert calm.outside.store is not None
            journals = await ways.journals(calm.outside.store, ways.ID) if calm.run is not None else {}
            for after in range(1, sum(map(len, journals.values())) + 1):
                killed = ways.Reopened(script, [after])
                try:
                    ways.same_walked(reference, await killed.go())
                    ways.not_again(killed)
                except AssertionError as error:
                    error.add_note(f"killed after fact {after}")
                    raise

        asyncio.run(all_of_them())

    holds()


def races(script: Script) -> bool:
    """Whether an end of this script hangs on which of two things that run at once is through first: a guardrail that
    objects beside a model call that fails, or beside another guardrail. After a kill it may be the other one."""
    for agent in (*script.agents, *script.helpers):
        beside = [one for one in agent.input_guards if one.verdict != "pass"]
        fails = any(reply.fails or reply.error for reply in agent.replies)
        if len(beside) > 1 or (agent.input_guards and fails) or (beside and len(agent.input_guards) > 1):
            return True
        if len([one for one in agent.output_guards if one != "pass"]) > 1:
            return True
    return False
