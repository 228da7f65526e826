"""Which declared edges a session took is counted from committed facts, and costs nothing when nobody counts."""

from __future__ import annotations

from typing import Any, Literal

from testing_agents import AGENTS

from flowcore.engine.run import start
from flowcore.engine.tree import Live
from flowcore.faces.agent import Agent
from flowcore.graph.graph import Graph
from flowcore.graph.outcomes import END, START, Goto
from flowcore.graph.state import State
from flowcore.stores.memory import MemoryStore
from flowcore.testing import ScriptedModel, edge_coverage, finish, replay, simulate


class S(State):
    n: int = 0


def judged(name: str = "judged") -> Graph:
    async def judge(state: S) -> Goto[Literal["low", "high"]]:
        return Goto("low") if state.n < 3 else Goto("high")

    async def low(state: S) -> None: ...

    return Graph(name, S, {START: judge, judge: {"low": low, "high": END, OSError: END}, low: END})


async def test_taken_edges_are_counted_and_the_others_reported() -> None:
    with edge_coverage() as coverage:
        await (await start(judged()))
        await (await start(judged(), {"n": 1}))
    (found,) = coverage.graphs
    assert found.taken == {("judge", "low", "low"): 2, ("low", "done", "END"): 2}
    assert found.uncovered == [("judge", "high", "END"), ("judge", "OSError", "END")]
    assert coverage.report() == (
        "judged: 2 of 4 edges (50 %)\n    judge --high--> END\n    judge --OSError--> END\nall graphs: 50 %"
    )


async def test_graphs_that_a_factory_makes_anew_are_one_table() -> None:
    with edge_coverage() as coverage:
        await (await start(judged("a")))
        await (await start(judged("b"), {"n": 5}))
        for name in ("c", "d", "e"):
            await (await start(judged(name)))
    (found,) = coverage.graphs
    assert found.title == "a, b, c and 2 more"
    assert found.percent == 75


async def test_all_agents_share_the_loops_table() -> None:
    with edge_coverage() as coverage:
        for make, input in AGENTS.values():
            await finish(await start(make(), input, limits={"max_turns": 9}))
    (loop,) = coverage.graphs
    assert len(loop.names) == len({make().name for make, _ in AGENTS.values()}) + 1  # the agent that is a tool
    assert ("run_tools", "needs_decision", "await_decision") not in loop.uncovered
    assert ("over_budget", "handled", "output_guardrails") in loop.uncovered


async def test_children_count_and_so_do_graphs_that_nothing_ran() -> None:
    async def call(state: S, ctx: Any) -> None:
        await ctx.child(judged(), {"n": 5}, "kid")

    outer = Graph("outer", S, {START: call, call: END})
    with edge_coverage([Agent("idle", model=ScriptedModel([])), judged()]) as coverage:
        await (await start(outer))
    by_title = {one.title: one for one in coverage.graphs}
    assert by_title["outer"].percent == 100
    assert by_title["judged"].taken == {("judge", "high", "END"): 1}
    assert by_title["idle"].percent == 0


async def test_what_was_never_executed_isnt_covered() -> None:
    with edge_coverage() as coverage:
        simulate(judged(), {"judge": "high"})
        assert coverage.graphs == []
        assert coverage.percent == 100


async def test_a_replay_counts_as_the_run_that_it_is() -> None:
    run = await start(judged(), store=MemoryStore())
    await run
    with edge_coverage() as coverage:
        await replay(run)
    assert coverage.graphs[0].taken[("judge", "low", "low")] == 1


async def test_it_costs_nothing_when_off_and_may_be_nested() -> None:
    plain = Live.commit
    with edge_coverage() as outer:
        assert Live.commit is not plain
        with edge_coverage() as inner:
            await (await start(judged()))
        await (await start(judged(), {"n": 5}))
    assert Live.commit is plain
    assert (inner.percent, outer.percent) == (50, 75)
