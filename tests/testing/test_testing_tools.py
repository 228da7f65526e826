"""The tools that flowcore is tested with find what they're for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from flowcore.engine.run import start
from flowcore.graph.graph import Graph
from flowcore.graph.outcomes import END, START, Ask, Pause
from flowcore.graph.state import State
from flowcore.stores.base import Append, Claim
from flowcore.stores.memory import MemoryStore
from flowcore.testing import (
    Crash,
    CrashingStore,
    ManualClock,
    close_everywhere,
    finish,
    journals,
    kill_everywhere,
    same_walk,
    walk_form,
)


class S(State):
    n: int = 0


def graph(fn: Any) -> Graph:
    async def after(state: S) -> None: ...

    return Graph("g", S, {START: fn, fn: after, after: END})


async def two(state: S, ctx: Any) -> dict[str, Any]:
    await asyncio.gather(ctx.once("a", lambda: 1), ctx.once("b", lambda: 2))
    return {"n": 1}


async def test_kill_everywhere_kills_after_each_fact() -> None:
    kills = await kill_everywhere(graph(two), {"n": 5})
    assert kills.kills == len(kills.reference["reference"]) == 5
    assert kills.output == {"n": 1}


async def test_kill_everywhere_finds_a_node_that_isnt_the_same_again() -> None:
    entries: list[int] = []

    async def counts(state: S, ctx: Any) -> dict[str, Any]:
        entries.append(1)
        await ctx.once("a", lambda: 1)
        return {"n": len(entries)}

    with pytest.raises(AssertionError, match=r"killed after fact 1: it ended done with .* without the kill done with"):
        await kill_everywhere(graph(counts))


async def test_close_everywhere_closes_after_each_fact_and_answers_what_is_asked() -> None:
    async def ask(state: S) -> Pause:
        return Pause(Ask("sure"), on="ok")

    asking = Graph("asking", S, {START: two, two: ask, ask: {"ok": END}})
    closes = await close_everywhere(asking, {"n": 5}, answers={"sure": "yes"})
    assert (closes.standing, closes.output) == ("done", {"n": 1})
    assert closes.processes >= 4  # two effects of one node end together


async def test_close_everywhere_finds_what_a_process_keeps_to_itself() -> None:
    def keeping() -> Graph:
        kept: list[int] = []

        async def keep(state: S) -> None:
            kept.append(1)

        async def count(state: S) -> dict[str, Any]:
            return {"n": len(kept)}

        return Graph("keeping", S, {START: keep, keep: count, count: END})

    with pytest.raises(AssertionError, match=r"closed after every fact it ended done with {'n': 0} .* {'n': 1}"):
        await close_everywhere(keeping)


async def test_kill_everywhere_finds_a_store_that_loses_what_it_took() -> None:
    class Loses(MemoryStore):
        def append_now(self, batch: Sequence[Append], claim: Claim) -> Any:
            for member in batch:
                member.writes = ()
                if len(member.facts) == 1 and getattr(member.facts[0], "key", "") == "b":
                    member.facts = [member.facts[0]._replace(value="lost")]
            return super().append_now(batch, claim)

    async def sums(state: S, ctx: Any) -> dict[str, Any]:
        one = await ctx.once("b", lambda: 2)
        await ctx.once("c", lambda: 2)
        return {"n": one if isinstance(one, int) else -1}

    with pytest.raises(AssertionError):
        await kill_everywhere(graph(sums), store=lambda: Loses(keep_bytes=True))


async def test_walks_that_differ_are_shown_as_a_difference() -> None:
    one, other = await start(graph(two)), await start(graph(two))
    await one
    await other
    assert same_walk(one, other)
    assert walk_form(one) == walk_form(list(other.facts))

    async def two_(state: S, ctx: Any) -> dict[str, Any]:
        return {"n": 2}

    two_.__name__ = "two"
    third = await start(graph(two_))
    await third
    with pytest.raises(AssertionError, match=r"the walks differ:\n--- one\n\+\+\+ other"):
        same_walk(one, third)


async def test_a_crashing_store_commits_so_many_facts_and_then_nothing_happens() -> None:
    async def one(state: S, ctx: Any) -> None:
        await ctx.once("a", lambda: 1)

    store = MemoryStore(keep_bytes=True)
    crashing: Any = CrashingStore(store, 2)
    with pytest.raises(Crash):
        await (await start(graph(one), store=crashing, run_id="r"))
    assert len(await store.read("r")) == 2
    assert (await store.get("r")).owner is not None
    with pytest.raises(Crash):
        await crashing.get("r")
    await crashing.bury()
    assert (await store.get("r")).owner is None


async def test_finish_answers_by_key_or_by_a_function() -> None:
    async def ask(state: S) -> Pause:
        return Pause(Ask("q", {"default": 3}))

    for answers in ({"q": 1}, lambda request: request.data["default"], None):
        run = await start(Graph("g", S, {START: ask, ask: {"answered": END}}))
        assert await finish(run, answers) == "done"
    assert list(await journals(run.store, run.id)) == [run.id]


async def test_a_manual_clock_stands_still_until_it_is_moved() -> None:
    clock = ManualClock(10.0, auto=False)
    wake = asyncio.Event()
    task = asyncio.ensure_future(clock.wait(20.0, wake))
    await asyncio.sleep(0)
    clock.advance(5)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert clock.time() == 15.0
    clock.advance(5)
    await task
    auto = ManualClock(10.0)
    await auto.wait(20.0, wake)
    assert (auto.time(), auto.waits) == (20.0, [20.0])
