"""However a script is run, it's the same run: awaited, streamed, taken on by states here and elsewhere, closed, killed.

Scripts are made at random, the same ones each time. Ways in which no process dies observe the same in everything:
items, usage, hooks, spans, sessions, exceptions and what these carry. A run whose processes die walks the same walk,
and does nothing again that had finished.

Hooks announce. Each is told before the fact that it's about is recorded, so where a process dies in between it's told
once more; once the fact is there it isn't. So after any deaths hooks have heard of all that they hear of in a calm run,
some of it more than once, and of nothing else.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import symmetry_ways as ways
from hypothesis import HealthCheck, Phase, given, settings
from symmetry_scripts import Agent, Call, Go, Guard, Handoff, Reply, Script, Tool, scripts

from flowcore.testing import Crash

SCRIPTS = 500
"""Random scripts that are run in each way; in one of them the process dies after every fact."""
KILLED = 150
"""Random scripts that are run once for each of their facts, and killed after it."""

# Scripts differ in size, and making one takes most of the time of a small one: neither is a fault of the test. A
# failure is told as it was found: its script can be pasted below, and cut by hand.
SETTINGS = settings(
    deadline=None, database=None, derandomize=True, phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)  # fmt: skip


async def in_every_way(script: Script) -> None:
    """Raises AssertionError where one way isn't as ``Runner.run``."""
    _without_the_dead()
    awaited = await ways.Awaited(script).go()
    for way in (ways.Streamed, ways.Left, ways.StatedHere, ways.StatedElsewhere):
        await _named(way, lambda way=way: _as(awaited, way(script)))
    for way in (ways.Closed, ways.Reopened):
        await _named(way, lambda way=way: _walks_as(awaited, way(script)))


async def killed_everywhere(script: Script) -> None:
    """Raises AssertionError where a run that's killed after one of its facts isn't as ``Runner.run``."""
    _without_the_dead()
    awaited = await ways.Awaited(script).go()
    calm = ways.Reopened(script, [None])
    await calm.go()
    assert calm.outside.store is not None
    journals = await ways.journals(calm.outside.store, ways.ID) if calm.run is not None else {}
    for after in range(1, sum(map(len, journals.values())) + 1):
        await _named(
            f"killed after fact {after}", lambda after=after: _walks_as(awaited, ways.Reopened(script, [after]))
        )


async def _as(awaited: ways.Seen, way: ways.Way) -> None:
    stated, elsewhere = isinstance(way, ways.Stated), isinstance(way, ways.StatedElsewhere)
    ways.same(awaited, await way.go(), followed=not stated, one_process=not elsewhere)


async def _walks_as(awaited: ways.Seen, way: ways.Reopened) -> None:
    seen = await way.go()
    if not seen.doubted:
        ways.same_walked(awaited, seen)
        ways.announced(awaited, seen)
    if way.calm:
        ways.hold(ways.in_order(awaited.hooks), ways.in_order(seen.hooks), "hooks")
        ways.hold(ways.recorded(awaited.spans), ways.recorded(seen.spans), "spans")
        ways.hold(awaited.traces, seen.traces, "traces")
        ways.hold(dict(awaited.executed), dict(seen.executed), "executed")
    ways.not_again(way)


async def _named(name: Any, work: Any) -> None:
    try:
        await work()
    except AssertionError as error:
        error.add_note(name if isinstance(name, str) else f"in the way {name.__name__}")
        raise


def _without_the_dead() -> None:
    """A process that's dead says nothing: what it left behind may still try to give back its lease."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(
        lambda loop, told: None if isinstance(told.get("exception"), Crash) else loop.default_exception_handler(told)
    )


@pytest.mark.timeout(900)
def test_a_run_is_the_same_however_it_is_run() -> None:
    @settings(SETTINGS, max_examples=SCRIPTS)
    @given(scripts())
    def holds(script: Script) -> None:
        asyncio.run(in_every_way(script))

    holds()


@pytest.mark.timeout(900)
def test_a_run_that_is_killed_after_any_fact_walks_the_same_walk_and_does_nothing_again() -> None:
    @settings(SETTINGS, max_examples=KILLED)
    @given(scripts())
    def holds(script: Script) -> None:
        asyncio.run(killed_everywhere(script))

    holds()


# -- what was once found ----------------------------------------------------------------------------------------------

ASKS = Tool("t0", approval="always")
FOUND = {
    "two calls raise: which error it is hung on which was faster": Script(
        (Agent((Tool("t0", "slow raises"), Tool("t1", "raise", steps=1)), replies=(Reply((Call("t0"), Call("t1"))),)),)
    ),
    "a nested run fails beside one that waits": Script(
        (Agent((Tool("t0", "agent"), Tool("t1", "raise", steps=2)), replies=(Reply((Call("t0"), Call("t1"))),)),),
        (Agent((ASKS,), replies=(Reply((Call("t0"),)),)),),
        tries=2,
    ),
    "a guardrail raises beside a reply that's found later: a second generation was traced": Script(
        (Agent(replies=(Reply(("text",)),), input_guards=(Guard("raise"),)),), tries=1
    ),
    "one guardrail speaks in two processes: its later result stood for the first": Script(
        (Agent((ASKS,), replies=(Reply((Call("t0"),)),)),), run_guards=(Guard(parallel=False),), added=("more",)
    ),
    "stopped where nothing else happens: a visit without a fact was one of the walk": Script(
        (Agent(replies=(Reply(("hosted",)),)),), max_turns=2
    ),
    "a handoff's filter chooses: chosen items were named by the number of a fact": Script(
        (Agent(handoffs=(Handoff(0),), replies=(Reply((Go(0),)),)),), run_filter=True, max_turns=3
    ),
    "input that joins: its id was the number of a fact": Script(
        (Agent((ASKS,), replies=(Reply((Call("t0"),)),)),), added=("more",)
    ),
    "one guardrail trips and another raises: it hung on which was faster": Script(
        (Agent(replies=(Reply(("hosted",)),), input_guards=(Guard("trip"), Guard("raise"))),)
    ),
    "a guardrail trips late beside a call that fails: the call was made again before it was heard": Script(
        (Agent(replies=(Reply(("text",), 1),), input_guards=(Guard("trip", late=True),)),)
    ),
    "a call of nobody's tool beside one that asks: it couldn't be reopened": Script(
        (Agent((ASKS,), replies=(Reply((Call("nobody"), Call("t0"))),)),), unknown_told=True
    ),
    "a reply that can't be used, beside a guardrail: it's paid twice where it's made twice": Script(
        (Agent((Tool("t0"),), replies=(Reply((Call("nobody"),)),), input_guards=(Guard(late=True),)),)
    ),
    "a call that a crash leaves in doubt fails the run": Script(
        (Agent((Tool("t0", on_crash="fail"),), replies=(Reply((Call("t0"),)),)),)
    ),
    "a call that a crash leaves in doubt fails the run beside another that fails": Script(
        (
            Agent(
                (Tool("t0", on_crash="fail"), Tool("t1", "raise")),
                replies=(Reply((Call("t1"), Call("t0"))),),
            ),
        )
    ),
    "two calls are in doubt after each death, and tried again: it didn't end": Script(
        (Agent((Tool("t0", on_crash="ask"),), replies=(Reply((Call("t0"), Call("t0", "other"))),)),)
    ),
    "a guardrail had passed when the process died: hooks weren't told of the call beside it": Script(
        (Agent(replies=(Reply(("text",)),), input_guards=(Guard(),), hooks=True),)
    ),
    "a guardrail had tripped when the process died: the other one wasn't heard": Script(
        (Agent(replies=(Reply(("text",)),), input_guards=(Guard(late=True), Guard("trip"))),), hooks=True
    ),
    "closed between two tries of a model's call: hooks were told of it again": Script(
        (Agent(replies=(Reply(("text",), 4),), hooks=True, dynamic=True),), tries=1
    ),
    "a nested run had failed when the process died: it was tried once more": Script(
        (Agent((Tool("t0", "agent"),), replies=(Reply((Call("t0"),)),)),),
        (Agent((Tool("t0", "flaky"),), replies=(Reply((Call("t0"),)),)),),
    ),
    "a call fails after it was approved: what its sibling gave wasn't told any more": Script(
        (Agent((Tool("t0"), Tool("t1", "raise", approval="always")), replies=(Reply((Call("t0"), Call("t1"))),)),),
        tries=1,
    ),
    "a state forgot the values that tools gave": Script(
        (Agent((ASKS, Tool("t1", "data")), replies=(Reply((Call("t1"),)), Reply((Call("t0"),)))),)
    ),
}


@pytest.mark.parametrize("found", FOUND)
async def test_what_was_once_different_is_the_same(found: str) -> None:
    await in_every_way(FOUND[found])
    await killed_everywhere(FOUND[found])
