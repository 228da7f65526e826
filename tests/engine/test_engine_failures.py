# ruff: noqa: PT011, E501 - the class alone is what is raised; a state's defaults are pydantic's; a table of messages
"""Runs that fail, are refused, or reach a limit; and how they go on."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

import pytest
from engine_graphs import S, limited

from flowcore.engine.run import resume, start
from flowcore.errors import (
    GraphChanged,
    GraphError,
    LimitExceeded,
    NotPaused,
    RunExists,
    RunFailed,
    RunNotFound,
    UndeclaredTransition,
    UpdateError,
    UserError,
)
from flowcore.graph.graph import Graph
from flowcore.graph.node import Retry, node
from flowcore.graph.outcomes import END, START, Ask, Goto, Of, Pause, Select
from flowcore.graph.state import State
from flowcore.machine.facts import Rested, Transition
from flowcore.stores.base import Store
from flowcore.testing import Crash, CrashingStore, ManualClock, kill_everywhere


def one(fn: Any, *, state: Any = S, **edges: Any) -> Graph:
    return Graph("one", state, {START: fn, fn: edges or {"ok": END, "other": END}})


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (Goto("nope"), UndeclaredTransition, r"graph 'one': node 'work' returned Goto\('nope'\), but its edges are 'ok', 'other'"),
        (Goto("retry"), UndeclaredTransition, r"returned Goto\('retry'\)"),
        (None, UndeclaredTransition, "node 'work' returned no label, but its edges are 'ok', 'other'"),
        (Goto("ok", nme=1), UpdateError, "graph 'one': node 'work' updates 'nme', but state 'S' has no such field; its fields are 'n'"),
        (Goto("ok", n="text"), UpdateError, "node 'work': state 'S': field 'n': .*valid integer"),
        (Goto("ok", n=True), UpdateError, "field 'n'"),
        (Goto("ok", log=["a", 1]), UpdateError, "field 'log'"),
        (Goto("ok", seen={"x": float("nan")}), UpdateError, "field 'seen': at 'x': nan has no JSON form"),
        (Goto("ok", n=Of("ghost")), UserError, "has no effect 'ghost'"),
        (Goto("ok", view=Select([("no", 1)], of="n")), UpdateError, "names no list field"),
        (42, GraphError, "node 'work' returned a int; return a Goto"),
        (Pause(Ask("q"), on="answered"), UndeclaredTransition, "'answered'"),
        (Pause(Ask("q"), on="ok", into="ghost"), UpdateError, r"returned Pause\(into='ghost'\)"),
        (Pause("ghost", on="ok"), GraphError, "no such request was opened"),
    ],
)  # fmt: skip
async def test_an_answer_that_the_graph_doesnt_admit_fails_the_run_at_its_place(
    answer: Any, kind: Any, message: str, store: Store
) -> None:
    broken = True

    async def work(state: S, ctx: Any) -> Any:
        return answer if broken else Goto("ok", n=5)

    run = await start(one(work), store=store, run_id="r")
    with pytest.raises(kind, match=message):
        await run
    assert (run.standing, run.place) == ("failed", "work")
    assert (await store.get("r")).error.startswith(kind.__name__)
    broken = False
    run = await resume("r", one(work), store=store)
    assert (await run).output["n"] == 5


async def test_a_failure_seen_from_another_process_is_told_by_its_record(store: Store) -> None:
    from flowcore.engine.run import load

    async def work(state: S) -> None:
        raise KeyError("gone")

    run = await start(one(work), store=store, run_id="r")
    with pytest.raises(KeyError):
        await run
    other = await load("r", one(work), store=store)
    with pytest.raises(RunFailed, match="KeyError: 'gone'") as raised:
        await other
    assert (raised.value.run_id, raised.value.kind, raised.value.place) == ("r", "KeyError", "work")


async def test_reading_a_run_that_fails_just_ends_and_awaiting_it_raises() -> None:
    async def work(state: S) -> None:
        raise KeyError("gone")

    run = await start(one(work))
    facts = [event.fact async for event in run]
    assert isinstance(facts[-1], Rested)
    with pytest.raises(KeyError):
        await run


async def test_a_reducer_that_raises_or_gives_the_wrong_type_fails_the_run(store: Store) -> None:
    def join(old: int, new: int) -> Any:
        if new == 1:
            raise ZeroDivisionError("join")
        return "text"

    class Odd(State):
        n: Annotated[int, join] = 0

    given = [1, 2]

    async def work(state: Odd) -> Any:
        return {"n": given.pop(0)}

    run = await start(one(work, state=Odd, ok=END), store=store)
    with pytest.raises(ZeroDivisionError):
        await run
    await run.resume()
    with pytest.raises(UpdateError, match="field 'n'"):
        await run
    assert run.state.n == 0


async def test_answers_that_the_state_doesnt_admit_fail_the_run_at_its_place() -> None:
    class Typed(State):
        answers: dict[str, int] = {}

    async def ask(state: Typed) -> Pause:
        return Pause(Ask("q"), on="ok", into="answers")

    run = await start(one(ask, state=Typed, ok=END))
    await run
    await run.answer("q", "no number")
    with pytest.raises(UpdateError, match="field 'answers'"):
        await run
    assert (run.standing, run.place) == ("failed", "ask")


async def test_a_retry_policy_that_raises_fails_the_run() -> None:
    def wait(call: Any) -> float:
        raise ZeroDivisionError("policy")

    @node(retry=Retry(3, wait))
    async def work(state: S) -> None:
        raise OSError

    run = await start(one(work, ok=END))
    with pytest.raises(ZeroDivisionError, match="policy"):
        await run
    assert run.standing == "failed"


async def test_attempts_waits_and_retry_after_are_written_down() -> None:
    from tenacity import stop_before_delay, wait_chain, wait_fixed

    class Busy(Exception):
        retry_after = 9.0

    clock = ManualClock(0.0)

    @node(retry=Retry(stop_before_delay(100), wait_chain(wait_fixed(1), wait_fixed(50)), (OSError, Busy)))
    async def work(state: S, ctx: Any) -> dict[str, Any]:
        if ctx.attempt == 1:
            raise Busy
        if ctx.attempt <= 3:
            raise OSError
        return {"n": ctx.attempt}

    run = await start(one(work, ok=END), clock=clock)
    with pytest.raises(OSError):  # 9 + 50 + 50 would be past 100 s
        await run
    moves = [fact for fact in run.facts if isinstance(fact, Transition)]
    assert [(fact.on, fact.attempt, fact.not_before) for fact in moves] == [("retry", 1, 9.0), ("retry", 2, 59.0)]
    await run.resume()
    assert (await run).output["n"] == 4


async def test_programming_errors_arent_retried_unless_asked() -> None:
    seen: list[int] = []

    @node(retry=5)
    async def work(state: S) -> None:
        seen.append(1)
        raise TypeError

    with pytest.raises(TypeError):
        await (await start(one(work, ok=END)))
    assert len(seen) == 1


async def test_automatic_resumes_from_failed_back_off(store: Store) -> None:
    clock = ManualClock(0.0)

    async def work(state: S, ctx: Any) -> dict[str, Any]:
        if ctx.attempt < 3:
            raise OSError
        return {"n": ctx.attempt}

    limits = {"retries": 2, "delay_between_retries": 4, "exponential_backoff": True}
    run = await start(one(work, ok=END), store=store, clock=clock, limits=limits)
    assert (await run).output["n"] == 3
    assert clock.waits == [4.0, 12.0]


async def test_a_limit_without_an_edge_fails_and_a_higher_one_goes_on(store: Store) -> None:
    @node(limit="turns")
    async def turn(state: S) -> str:
        return "again" if state.n < 4 else "ok"

    async def count(state: S) -> dict[str, Any]:
        return {"n": state.n + 1}

    graph = Graph("turns", S, {START: turn, turn: {"again": count, "ok": END}, count: turn})
    run = await start(graph, store=store, run_id="r", limits={"turns": 2})
    with pytest.raises(LimitExceeded, match="node 'turn' reached its limit of 2 visits and has no edge 'limit'"):
        await run
    with pytest.raises(LimitExceeded):
        await (await resume("r", graph, store=store))
    run = await resume("r", graph, store=store, limits={"turns": None})
    assert (await run).output["n"] == 4


async def test_a_cycle_of_limit_edges_alone_fails_instead_of_spinning() -> None:
    @node(limit=1)
    async def turn(state: S) -> None: ...

    async def back(state: S) -> None: ...

    run = await start(Graph("spin", S, {START: turn, turn: {"ok": back, "limit": back, "end": END}, back: turn}))
    with pytest.raises(UndeclaredTransition):
        await run

    @node(limit=1, name="turn")
    async def go(state: S) -> str:
        return "ok"

    run = await start(Graph("spin", S, {START: go, go: {"ok": back, "limit": back, "end": END}, back: "turn"}))
    with pytest.raises(LimitExceeded, match="nothing bounds that cycle"):
        await run


async def test_a_budget_without_an_edge_fails_the_run(store: Store) -> None:
    @node(limit=10)
    async def turn(state: S, ctx: Any) -> str:
        ctx.spend(total_tokens=10)
        return "again"

    graph = Graph("b", S, {START: turn, turn: {"again": turn, "ok": END}})
    run = await start(graph, store=store, limits={"max_tokens": 15})
    with pytest.raises(LimitExceeded, match=r"max_tokens=15 is used up \(20\)"):
        await run


@pytest.mark.parametrize("dies", [3, 4])
async def test_what_was_spent_and_the_time_at_work_count_on_after_a_crash(store: Store, dies: int) -> None:
    clock = ManualClock(0.0)

    @node(limit=20)
    async def turn(state: S, ctx: Any) -> str:
        clock.advance(10)
        ctx.spend(cost=0.5, total_tokens=10)
        return "again"

    graph = Graph("b", S, {START: turn, turn: {"again": turn, "ok": END}})
    dying: Any = CrashingStore(store, dies)
    with pytest.raises(Crash):
        await (
            await start(graph, store=dying, run_id="r", clock=clock, limits={"max_cost": 2, "max_tokens": 60})
        ).drive()
    await dying.bury()
    run = await resume("r", graph, store=store, clock=clock)
    with pytest.raises(LimitExceeded, match=r"max_cost=2 is used up \(2\)"):
        await run
    assert run.usage == {"cost": 2.0, "total_tokens": 40}
    run = await resume("r", graph, store=store, clock=clock, limits={"max_cost": None})
    with pytest.raises(LimitExceeded, match=r"max_tokens=60 is used up \(60\)"):
        await run
    again = await resume("r", graph, store=store, clock=clock, limits={"max_seconds": 75, "max_tokens": None})
    with pytest.raises(LimitExceeded, match="max_seconds=75 have passed"):
        await again
    assert again.usage["total_tokens"] == 80  # an attempt that left no fact took no time


async def test_days_that_a_person_took_are_no_use_of_the_time_budget() -> None:
    clock = ManualClock(0.0)

    async def ask(state: S) -> Pause:
        return Pause(Ask("q"), on="ok")

    async def after(state: S) -> None: ...

    graph = Graph("days", S, {START: ask, ask: {"ok": after}, after: END})
    run = await start(graph, clock=clock, limits={"max_seconds": 60})
    await run
    clock.advance(86_400)
    await run.answer("q")
    assert (await run).standing == "done"


async def test_limits_with_an_edge_take_it() -> None:
    assert (await (await start(limited()))).output["log"] == ["over"]


async def test_a_place_that_is_gone_is_refused_by_name(store: Store) -> None:
    async def old(state: S) -> None:
        raise OSError

    async def new(state: S) -> None: ...

    run = await start(one(old, ok=END), store=store, run_id="r")
    with pytest.raises(OSError):
        await run
    with pytest.raises(
        GraphChanged, match="stands at 'old', which graph 'one' doesn't have any more; its nodes are 'new'"
    ):
        await resume("r", one(new, ok=END), store=store)
    run = await resume("r", one(old, ok=END), store=store)  # the refusal left nobody in its way
    with pytest.raises(OSError):
        await run


async def test_a_state_that_lost_a_field_is_a_changed_graph(store: Store) -> None:
    class Less(State):
        total: int = 0

    async def work(state: Any) -> None:
        raise OSError

    run = await start(one(work, ok=END), {"n": 3}, store=store, run_id="r")
    with pytest.raises(OSError):
        await run
    with pytest.raises(GraphChanged, match="'n'"):
        await resume("r", one(work, state=Less, ok=END), store=store)


async def test_admitting_and_finding_runs(store: Store) -> None:
    async def work(state: S) -> None: ...

    graph = one(work, ok=END)
    await (await start(graph, store=store, run_id="r"))
    with pytest.raises(RunExists, match="r"):
        await start(graph, store=store, run_id="r")
    with pytest.raises(RunNotFound, match="ghost"):
        await resume("ghost", graph, store=store)
    with pytest.raises(NotPaused, match="run 'r' is done"):
        await resume("r", graph, store=store)
    with pytest.raises(UpdateError, match="state 'S' has no field 'x'"):
        await start(graph, {"x": 1}, store=store)
    with pytest.raises(UserError, match="not a int"):
        await start(4, store=store)
    run = await start(graph, store=store, run_id="after")  # nothing refused is left behind
    assert (await run).standing == "done"


async def test_a_nodes_own_store_errors_are_failures_of_the_node() -> None:
    from flowcore.errors import RunConflict, StoreError

    for error in (RunConflict("another run's"), StoreError("another store's")):

        async def work(state: S, ctx: Any) -> None:
            raise ctx.context

        run = await start(one(work, ok=END), context=error)
        with pytest.raises(type(error)):
            await run
        assert run.standing == "failed"


async def test_something_cancelled_inside_of_a_node_is_its_failure() -> None:
    async def work(state: S) -> None:
        task = asyncio.ensure_future(asyncio.Event().wait())
        asyncio.get_running_loop().call_soon(task.cancel)
        await task

    run = await start(one(work, ok=END))
    with pytest.raises(Exception, match="awaited something that was cancelled"):
        await run
    assert run.standing == "failed"


async def test_a_childs_failure_is_written_with_what_its_parent_makes_of_it() -> None:
    async def once_away(state: Any, ctx: Any) -> Goto[Literal["ok"]]:
        before = [fact for fact in await ctx.store.read(ctx.run_id) if isinstance(fact, Rested)]
        if not before:  # nobody knows of a failure: this is the first try
            raise RuntimeError("away")
        return Goto("ok", n=1)

    child = Graph("child", S, {START: once_away, once_away: {"ok": END}})

    async def ask(state: Any, ctx: Any) -> Goto[Literal["ok"]]:
        try:
            found = await ctx.child(child, {}, "c")
        except RuntimeError as error:
            return Goto("ok", log=[f"told that it's {error}"])
        return Goto("ok", log=[f"it gave {found}"])

    kills = await kill_everywhere(Graph("parent", S, {START: ask, ask: {"ok": END}}))
    assert kills.output["log"] == ["told that it's away"]
    (failed,) = [run for run, facts in kills.reference.items() if isinstance(facts[-1], Rested)]
    assert failed.endswith("/ask.1/c")
