"""A tree of runs carried as JSON: out of one store, into another, and back to where it lives."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import pytest
from engine_graphs import CASES, YES, Case, S, asking, asking_any, loop, nested

from flowcore.engine.carried import carried_from
from flowcore.engine.carry import at_once, bring, check, collect, journals, letter, requests_of, take_over
from flowcore.engine.run import Run, answer, load, send, start
from flowcore.errors import AlreadyResumed, GraphChanged, NotOpen, RunError, StoreError
from flowcore.graph.graph import Graph
from flowcore.graph.outcomes import END, START, Ask, Goto, Pause
from flowcore.machine.facts import Signal
from flowcore.stores.base import Store
from flowcore.stores.memory import MemoryStore
from flowcore.testing import Crash, CrashingStore, ManualClock, finish, same_walk
from flowcore.testing import journals as stored


async def carried(run: Run) -> dict[str, Any]:
    """A run's tree, through text."""
    data: dict[str, Any] = json.loads(json.dumps(await journals(run)))
    return data


async def begun(graph: Graph, store: Store | None = None, **more: Any) -> Run:
    """A run at its first rest."""
    run = await start(graph, store=store, run_id="r", clock=ManualClock(), **more)
    await run.drive()
    return run


async def crashed(case: Case, after: int) -> tuple[Store, bool]:
    """What is left of a run whose process died after so many facts; whether it did."""
    store = MemoryStore(keep_bytes=True)
    crashing: Any = CrashingStore(store, after)
    before = asyncio.all_tasks()
    died = False
    try:
        run = await start(case.make(), case.input, store=crashing, run_id="r", clock=ManualClock(), limits=case.limits)
        await finish(run, case.answers)
    except Crash:
        died = True
    for task in asyncio.all_tasks() - before:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return store.copy(), died


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_wherever_a_run_was_broken_off_it_goes_on_elsewhere_and_is_the_same_walk(case: Case) -> None:
    whole, died = await crashed(case, 10_000)
    assert not died
    reference = await stored(whole, "r")
    for after in range(1, sum(map(len, reference.values())) + 1):
        left, _ = await crashed(case, after)
        data = await carried(await load("r", case.make(), store=left, clock=ManualClock()))
        run = await bring(data, case.make(), clock=ManualClock())
        assert run.store is not left
        if run.standing != "done":
            await finish(await run.resume(), case.answers)
        assert run.standing == case.standing
        same_walk(reference, await stored(run.store, "r"))


async def test_a_tree_is_admitted_with_its_index_requests_and_letters(make_store: Callable[[], Store]) -> None:
    here, there = make_store(), make_store()
    run = await begun(nested(), here, label="mine")
    await answer(here, "r", "one", True)
    await send(here, "r", "input", value=[1])
    data = await carried(run)
    brought = await bring(data, nested(), store=there, clock=ManualClock())
    for mine, theirs in zip((await here.runs(root="r")).runs, (await there.runs(root="r")).runs, strict=True):
        assert replace(theirs, owner=None) == mine
    assert await there.requests(root="r") == await here.requests(root="r") == requests_of(carried_from(data))
    assert await there.inbox("r") == await here.inbox("r")
    assert await stored(there, "r") == await stored(here, "r")
    await brought.drive()
    assert [one.kind for one in brought.facts if isinstance(one, Signal)] == ["input"]
    assert "one" not in [one.key for one in await brought.requests()]
    assert await carried(await load("r", nested(), store=here)) == data


async def test_a_deadline_goes_along(make_store: Callable[[], Store]) -> None:
    async def ask(state: S, ctx: Any) -> Pause:
        return Pause(Ask("x"), until=ctx.now + 60, late="late")

    def make() -> Graph:
        return Graph("late", S, {START: ask, ask: {"answered": END, "late": END}})

    async def asks(state: S, ctx: Any) -> None:
        await ctx.child(make(), None, "c")

    outer = Graph("outer", S, {START: asks, asks: END})
    for graph in (make(), outer):
        there = make_store()
        clock = ManualClock()
        run = await bring(await carried(await begun(graph)), graph, store=there, clock=clock)
        await run.drive()
        assert [one.due for one in (await there.runs(root="r")).runs] == [clock.now + 60] * (1 + (graph is outer))
        clock.advance(61)
        assert await there.due(clock.now) == ["r"]
        await run.drive()
        assert run.standing == "done"


async def test_a_fork_is_carried_with_the_facts_that_it_shares() -> None:
    base = await begun(loop())
    await base.drive()
    fork = await base.fork(2, run_id="f")
    await fork.drive()
    again = await bring(await carried(fork), loop(), clock=ManualClock())
    assert again.facts == fork.facts
    assert again.base == fork.base == ("r", 2)


async def test_a_store_that_has_the_run_gives_a_handle_on_it(store: Store) -> None:
    run = await begun(asking(), store)
    data = await carried(run)
    again = await bring(data, asking(), store=store, clock=ManualClock())
    assert (again.store, again.id, again.facts) == (store, "r", run.facts)
    await finish(await again.resume(), YES)
    with pytest.raises(AlreadyResumed, match="has gone on since this was taken from it, and is done now"):
        await bring(data, asking(), store=store)
    assert (await bring(await carried(again), asking(), store=store)).standing == "done"


async def test_a_store_whose_run_is_behind_or_differs_refuses(store: Store) -> None:
    run = await begun(asking(), store)
    data = await carried(run)
    ahead = await bring(data, asking(), clock=ManualClock())
    await finish(ahead, YES)
    with pytest.raises(StoreError, match=r"the store has 4 facts of it, and \d+ were carried"):
        await bring(await carried(ahead), asking(), store=store)
    data["runs"][0]["facts"][0]["input"]["n"] = 3
    with pytest.raises(StoreError, match="what the store has of it differs"):
        await bring(data, asking(), store=store)


async def test_a_child_that_has_gone_on_is_seen(store: Store) -> None:
    run = await begun(nested(), store)
    data = await carried(run)
    await answer(store, "r", "one", True)
    await run.drive()
    with pytest.raises(AlreadyResumed):
        await bring(data, nested(), store=store)


async def test_a_run_that_doesnt_fit_the_graph_is_refused() -> None:
    data = await carried(await begun(asking_any()))

    async def other(state: S) -> None: ...

    with pytest.raises(GraphChanged, match="stands at 'decide'"):
        await bring(data, Graph("asking_any", S, {START: other, other: END}))


async def test_a_child_is_carried_with_its_root_only(store: Store) -> None:
    await begun(nested(), store)
    child = next(row.run for row in (await store.runs(root="r")).runs if row.run != "r" and row.graph == "asking")
    with pytest.raises(RunError, match="is a child run: carry its root 'r'"):
        await collect(await load(child, asking(), store=store))


async def test_what_is_carried_can_be_read_where_nothing_can_be_awaited(store: Store) -> None:
    run = await begun(nested(), store)
    assert at_once(lambda: journals(run)) == await journals(run)

    async def fails() -> None:
        await store.get("r")
        raise StoreError("no fact")

    with pytest.raises(StoreError, match="no fact"):
        at_once(fails)


# --- letters ----------------------------------------------------------------------------------------------------------


def replies(run: Run) -> Any:
    return letter(run.id, "answer", "one", True, 3, 0.0), letter(run.id, "input", None, ["x"], 3, 0.0)


async def test_a_letter_that_is_handed_in_again_is_the_same_one(store: Store) -> None:
    first = await begun(asking(), store)
    await take_over(first, replies(first))
    await first._let_go()
    assert len(await store.inbox("r")) == 2
    again = await load("r", asking(), store=store)
    await take_over(again, replies(again))
    assert len(await store.inbox("r")) == 2
    await again.resume()
    await again.drive()
    await take_over(again, replies(again))
    await again.drive()
    assert [one.kind for one in again.facts if isinstance(one, Signal)] == ["answer", "input"]
    with pytest.raises(NotOpen, match=r"'one' was answered already.*open are: 'two'"):
        await take_over(again, [letter("r", "answer", "one", False, 3, 0.0)])
    await (await load("r", asking(), store=store)).resume()  # nobody holds it


async def test_who_comes_second_is_told_so(store: Store) -> None:
    run = await begun(asking(), store)
    one, other = await load("r", asking(), store=store), await load("r", asking(), store=store)
    await take_over(one, [])
    with pytest.raises(AlreadyResumed, match="held by this process"):
        await take_over(other, [])
    await one.answer("one", True)
    await one.resume()
    await one.drive()
    with pytest.raises(AlreadyResumed, match="has gone on since"):
        await take_over(other, [])
    with pytest.raises(AlreadyResumed, match="has gone on since"):
        await take_over(run, [])
    await take_over(one, [])


async def test_a_run_that_died_after_the_callers_letters_is_still_the_callers() -> None:
    copies: list[MemoryStore] = []
    store = MemoryStore(keep_bytes=True)

    async def ask(state: S, ctx: Any) -> Pause:
        return Pause(Ask("one"), into="answers")

    async def work(state: S, ctx: Any) -> Goto[Literal["ok"]]:
        copies.append(store.copy())
        return Goto("ok")

    graph = Graph("dies", S, {START: ask, ask: {"answered": work}, work: {"ok": END}})
    run = await begun(graph, store)
    data = await carried(run)
    mine = letter("r", "answer", "one", True, 3, 0.0)
    await take_over(run, [mine])
    await run.drive()
    with pytest.raises(AlreadyResumed):
        await bring(data, graph, store=copies[0])
    again = await bring(data, graph, store=copies[0], sent={mine.id})
    await take_over(again, [mine])
    await again.drive()
    assert again.standing == "done"
    with pytest.raises(AlreadyResumed):
        await bring(data, graph, store=store, sent={mine.id})


# --- what others may have written -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value", "match"),
    [
        ((), [], "isn't an object"),
        ((), {"x": float("inf")}, "isn't plain JSON"),
        (("format",), 2, "newer flowcore"),
        (("facts",), "1", "there's no such version"),
        (("more",), 1, "has a field that isn't one of"),
        (("run",), "other", "its first journal isn't that of the run"),
        (("fingerprint",), "0", "another graph"),
        (("runs", 0, "facts"), [], "doesn't begin with 'started'"),
        (("runs", 0, "facts", 1, "fact"), "exec", "of no known kind"),
        (("runs", 0, "facts", 1, "fact"), [], "of no known kind"),
        (("runs", 0, "facts", 1, "seq"), 7, "doesn't have the fields of"),
        (("runs", 0, "facts", 1, "at"), 1e300, "'at' isn't what"),
        (("runs", 0, "facts", 1, "visit"), True, "'visit' isn't what"),
        (("runs", 0, "facts", 1, "visit"), 9, "which isn't its last one"),
        (("runs", 0, "facts", 0, "root"), "other", "that of another run"),
        (("runs", 0, "facts", 0, "limits"), {"max_tokens": "many"}, "its limit 'max_tokens' isn't a number"),
        (("runs", 0, "facts", 0, "input"), {"n": "text"}, "damaged"),
        (("runs", 0, "facts", -1, "pause"), {}, "'pause' is malformed"),
        (("runs", 0, "facts", -1, "error"), {}, "'error' tells no kind"),
        (("runs", 0, "facts", -1, "usage"), {"x": []}, "'usage' counts"),
        (("runs", 1, "run"), "s/child", "isn't a child of its root"),
        (("runs", 1, "run"), "r/\n", "isn't a run's id"),
        (("runs", 1, "facts", 0, "parent"), "r/nobody", "that of another run"),
        (("letters",), [{"run": "x"}], "isn't among its own"),
        (("letters",), [{"run": "r", "id": "1", "kind": "stop", "value": 3, "at": 0}], "no signal"),
        (("session",), {"id": "", "field": "n", "read": 0, "items": []}, "session's 'id'"),
        (("session",), {"id": "s", "field": "n", "read": 2, "items": []}, "'read' is malformed"),
    ],
)
async def test_what_is_no_tree_of_runs_is_refused(path: Any, value: Any, match: str) -> None:
    data: Any = await carried(await begun(nested()))
    at = data
    for key in path[:-1]:
        at = at[key]
    if path:
        at[path[-1]] = value
    else:
        data = value
    with pytest.raises(StoreError, match=match):
        await bring(data, nested())


async def test_a_tree_without_a_journal_that_its_runs_need_is_refused() -> None:
    data = await carried(await begun(nested()))
    deepest = max(data["runs"], key=lambda one: one["run"].count("/"))
    above = deepest["run"].rpartition("/")[0].rpartition("/")[0]
    data["runs"] = [one for one in data["runs"] if one["run"] != above]
    with pytest.raises(StoreError, match="journal"):
        check(carried_from(data), nested())
