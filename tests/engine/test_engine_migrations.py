"""Stored runs of an older graph: migrated where that's declared, else refused by name."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Annotated, Any, Literal

import pytest

from flowcore.engine.carry import bring, journals
from flowcore.engine.run import Run, answer, load, resume, start
from flowcore.errors import GraphChanged, GraphError, NotOpen, UserError
from flowcore.graph.graph import Graph
from flowcore.graph.node import node
from flowcore.graph.outcomes import END, START, Ask, Goto, Pause
from flowcore.graph.state import State, add, append
from flowcore.machine.facts import Resumed
from flowcore.stores import MemoryStore
from flowcore.stores.base import Store
from flowcore.testing import Crash, CrashingStore, replay


class First(State):
    total: Annotated[int, add] = 10
    log: Annotated[list[str], append] = []
    day: date = date(2026, 1, 1)


class Second(State):
    amount: int
    log: Annotated[list[str], append] = []


class Third(State):
    cents: int = 0
    note: str = ""
    log: Annotated[list[str], append] = []


async def collect(state: First, ctx: Any) -> dict[str, Any]:
    return {"total": await ctx.once("sum", lambda: 5), "log": ["collected"]}


async def ask(state: Any) -> Pause:
    return Pause(Ask("ok", {"pay": 1}), on="answered")


async def pay(state: Any) -> dict[str, Any]:
    return {"log": ["paid"]}


def first() -> Graph:
    return Graph("order", First, {START: collect, collect: ask, ask: {"answered": pay}, pay: END})


def second() -> Graph:
    return Graph("order", Second, {START: ask, ask: {"answered": pay}, pay: END})


def third() -> Graph:
    @node
    async def confirm(state: Third) -> Goto[Literal["yes"]]:
        return Goto("yes", log=[f"confirmed {state.cents}"])

    return Graph("order", Third, {START: ask, ask: {"answered": confirm}, confirm: {"yes": pay}, pay: END})


def to_second(state: dict[str, Any], place: str) -> dict[str, Any]:
    return {"amount": state["total"], "log": [*state["log"], f"of {state['day']} at {place}"]}


def to_third(state: dict[str, Any]) -> dict[str, Any]:
    return {"cents": state["amount"] * 100, "log": state["log"]}


def now(state: type = Second) -> Graph:
    """Today's graph, with the way from each of the older ones."""
    graph = third()
    graph.migrate(second().fingerprint, state=state)(to_third)
    graph.migrate(first().fingerprint, to=second().fingerprint, state=First)(to_second)
    return graph


async def waiting(graph: Graph, store: Store, input: Any = None) -> Run:
    run = await start(graph, input, store=store, run_id="r")
    assert (await run).standing == "waiting"
    return run


async def test_a_chain_of_migrations_is_asked_once_and_written_down(store: Store) -> None:
    await waiting(first(), store)
    graph = now()
    seen = await load("r", graph, store=store)
    assert (seen.state.cents, seen.place, seen.standing) == (1500, "ask", "waiting")
    assert len(await store.read("r")) == 5  # who only looks writes nothing

    run = await resume("r", graph, store=store)
    told = (await store.read("r"))[-1]
    assert isinstance(told, Resumed)
    assert (told.by, told.fingerprint, told.place) == ("migrate", graph.fingerprint, None)
    assert told.input == {"cents": 1500, "log": ["collected", "of 2026-01-01 at ask"]}
    assert (await store.get("r")).fingerprint == graph.fingerprint
    assert (await run).standing == "waiting"

    run = await resume("r", third(), store=store)  # no migration is declared any more: it isn't needed
    await run.answer("ok")
    result = await run
    assert result.output["log"] == ["collected", "of 2026-01-01 at ask", "confirmed 1500", "paid"]
    assert [step.on for step in result.path] == ["done", "migrate", "answered", "yes", "done"]
    walk = result.graph
    assert [walk.nodes[one]["on"] for one in walk] == ["done", "migrate", "answered", "yes", "done"]
    assert [one.on for one in run.explain()] == ["done", "answered", "yes", "done"]
    assert sum(isinstance(one, Resumed) and one.by == "migrate" for one in run.facts) == 1
    assert (await load("r", third(), store=store)).state == run.state


async def test_a_process_that_dies_with_the_migration_written_leaves_it_written_once(store: Store) -> None:
    await waiting(first(), store)
    await answer(store, "r", "ok")
    crashing: Any = CrashingStore(store, 1)
    with pytest.raises(Crash):
        await resume("r", now(), store=crashing)
    await crashing.bury()
    result = await (await resume("r", third(), store=store))
    assert [step.on for step in result.path] == ["done", "migrate", "answered", "yes", "done"]


async def test_a_run_of_the_version_between_takes_the_last_step_alone(store: Store) -> None:
    run = await waiting(second(), store, {"amount": 3})
    run = await resume("r", now(), store=store)
    await run.answer("ok")
    assert (await run).output["log"] == ["confirmed 300", "paid"]


async def test_what_has_ended_in_a_visit_isnt_run_again_after_a_migration(store: Store) -> None:
    calls = []

    def graph(state: type, broken: bool) -> Graph:
        async def work(state: Any, ctx: Any) -> dict[str, Any]:
            await ctx.once("paid", lambda: calls.append(1))
            if broken:
                raise OSError("broken")
            return {"log": [f"attempt {ctx.attempt}"]}

        return Graph("work", state, {START: work, work: END})

    run = await start(graph(First, broken=True), store=store, run_id="r")
    with pytest.raises(OSError, match="broken"):
        await run
    after = graph(Third, broken=False)
    after.migrate(graph(First, broken=True).fingerprint, state=First)(lambda state: {"log": state["log"]})
    result = await (await resume("r", after, store=store))
    assert (calls, result.output["log"]) == ([1], ["attempt 2"])


@pytest.mark.parametrize("failed", [True, False])
async def test_a_migration_may_lead_to_another_place(store: Store, failed: bool) -> None:
    async def old(state: First) -> Any:
        if failed:
            raise OSError("broken")
        return Pause(Ask("ok"), on="done")

    async def new(state: First, ctx: Any) -> dict[str, Any]:
        return {"log": [f"attempt {ctx.attempt}"]}

    before = Graph("g", First, {START: old, old: END})
    after = Graph("g", First, {START: new, new: END})
    run = await start(before, store=store, run_id="r")
    if failed:
        with pytest.raises(OSError, match="broken"):
            await run
    else:
        await run
    with pytest.raises(GraphChanged) as refused:
        await resume("r", after, store=store)
    mend = f"@graph.migrate('{before.fingerprint}')"
    for word in ("stands at 'old'", "its nodes are 'new'", mend, "The run keeps its place"):
        assert word in str(refused.value)
    after.migrate(before.fingerprint)(lambda state, place: (state, "new"))
    assert (await load("r", after, store=store)).standing == ("stopped" if failed else "running")
    run = await resume("r", after, store=store)
    if not failed:
        with pytest.raises(NotOpen):
            await answer(store, "r", "ok")
    result = await run
    assert result.output["log"] == ["attempt 1"]
    assert [tuple(step) for step in result.path] == [("old", "migrate", "new"), ("new", "done", "END")]
    assert "new" in run.drawing().mermaid()
    with pytest.raises(UserError, match="was migrated to another graph with fact"):
        await replay(run)


async def test_a_done_run_is_migrated_only_to_be_looked_at(store: Store) -> None:
    run = await waiting(first(), store)
    await run.answer("ok")
    await run
    seen = await load("r", now(), store=store)
    assert ((await seen.result()).output["cents"], seen.place) == (1500, END)
    assert all(not isinstance(fact, Resumed) for fact in seen.facts)
    with pytest.raises(GraphChanged, match="doesn't fit graph 'order'"):
        await load("r", third(), store=store)


async def test_earlier_moments_and_forks_of_a_migrated_run(store: Store) -> None:
    await waiting(first(), store)
    run = await resume("r", now(), store=store)
    await run
    at = next(fact.seq for fact in run.facts if type(fact).__name__ == "Transition")
    assert run.at(at).state.total == 15
    fork = await run.fork(at, run_id="f", update={"note": "forked"})
    assert fork.state.note == "forked"
    assert (await fork).standing == "waiting"
    await fork.answer("ok")
    assert (await fork).output["cents"] == 1500
    told = [step.on for step in (await load("f", third(), store=store)).path()]
    assert told == ["done", "migrate", "answered", "yes", "done"]
    plain = await load("r", third(), store=store)
    with pytest.raises(GraphChanged, match=f"declare @graph.migrate\\('{first().fingerprint}', state="):
        plain.at(at)


async def test_a_run_that_is_carried_is_migrated_where_it_arrives(store: Store) -> None:
    data = await journals(await waiting(first(), store))
    run = await bring(data, now(), store=MemoryStore(keep_bytes=True))
    await (await run.resume())
    await run.answer("ok")
    assert (await run).output["cents"] == 1500
    assert sum(isinstance(fact, Resumed) and fact.by == "migrate" for fact in await run.store.read("r")) == 1


async def test_a_child_that_waits_is_migrated_by_its_own_graph(store: Store) -> None:
    def above(child: Graph) -> Graph:
        async def outer(state: State, ctx: Any) -> dict[str, Any]:
            one, two = await asyncio.gather(ctx.child(child, None, "a"), ctx.child(child, None, "b"))
            return {"log": one["log"] + two["log"]}

        return Graph("above", Third, {START: outer, outer: END})

    await (await start(above(first()), store=store, run_id="r"))
    run = await resume("r", above(now()), store=store)
    await run
    for child in ("a", "b"):
        await answer(store, f"r/outer.1/{child}", "ok")
    result = await run
    assert result.standing == "done"
    assert [one.partition(" ")[0] for one in result.output["log"]] == ["collected", "of", "confirmed", "paid"] * 2


async def test_a_run_isnt_led_away_from_children_that_havent_ended(store: Store) -> None:
    def above(name: str) -> Graph:
        async def outer(state: State, ctx: Any) -> None:
            await ctx.child(first(), None, "a")

        return Graph("above", Third, {START: node(name=name)(outer), name: END})

    await (await start(above("one"), store=store, run_id="r"))
    graph = above("two")
    graph.migrate(above("one").fingerprint)(lambda state, place: (state, "two"))
    with pytest.raises(GraphChanged, match="leads from 'one' to 'two', but children of it wait there \\('a'\\): keep"):
        await resume("r", graph, store=store)
    run = await resume("r", above("one"), store=store)
    await (await run.resume())
    await answer(store, "r/one.1/a", "ok")
    assert (await run).standing == "done"


async def test_a_run_isnt_led_away_from_an_effect_in_doubt(store: Store) -> None:
    def graph(name: str) -> Graph:
        async def work(state: State, ctx: Any) -> None:
            await ctx.once("pay", lambda: 1, on_crash="ask")

        return Graph("g", Third, {START: node(name=name)(work), name: END})

    crashing: Any = CrashingStore(store, 2)
    with pytest.raises(Crash):
        await (await start(graph("one"), store=crashing, run_id="r"))
    await crashing.bury()
    after = graph("two")
    after.migrate(graph("one").fingerprint)(lambda state, place: (state, "two"))
    with pytest.raises(GraphChanged, match="of 'pay' nobody knows whether it happened there"):
        await resume("r", after, store=store)


async def test_an_outcome_and_a_field_that_a_waiting_run_needs_are_refused_by_name(store: Store) -> None:
    class Asks(Third):
        answers: dict[str, bool] = {}

    def graph(label: str, state: type) -> Graph:
        async def ask(state: Any) -> Any:
            return Pause(Ask("ok"), on=label, into="".join(["answers"]))

        return Graph("g", state, {START: ask, ask: {label: END, "no": END}})

    await waiting(graph("answered", Asks), store)
    with pytest.raises(GraphChanged, match=r"waits at 'ask' to take 'answered', an outcome .* are 'said', 'no'; "):
        await resume("r", graph("said", Asks), store=store)
    with pytest.raises(GraphChanged, match="waits at 'ask' for answers into 'answers', a field that state 'Third'"):
        await resume("r", graph("answered", Third), store=store)


async def test_a_migration_that_goes_wrong_says_so_and_changes_nothing(store: Store) -> None:
    await waiting(first(), store)
    before = await store.read("r")

    async def refused(fn: Any, match: str, state: Any = First, graph: Any = None) -> None:
        graph = third()
        graph.migrate(first().fingerprint, state=state)(fn)
        with pytest.raises(GraphChanged, match=match):
            await resume("r", graph, store=store)

    await refused(lambda state: {"cents": state["gone"]}, "'<lambda>' from .* raised KeyError: 'gone'; mend it")
    await refused(lambda state: None, "returned None .*; return the new state as a dict, or")
    await refused(lambda state: {"total": 1}, "returned doesn't fit: .* no field 'total'")
    await refused(lambda state: {"cents": "many"}, "returned doesn't fit: .*'cents': expected int")
    await refused(lambda state, place: ({}, "gone"), "leads from 'ask' to 'gone', which graph 'order' doesn't have")
    await refused(lambda state: {}, "needs the state class of then: @graph.migrate", state=None)
    await refused(lambda state: {}, "names another state class than the one of then, 'Second'", state=Second)
    assert await store.read("r") == before
    assert (await resume("r", first(), store=store)).standing == "waiting"


def test_a_migration_is_checked_when_its_declared() -> None:
    graph, old, older = third(), second().fingerprint, first().fingerprint

    def fine(state: Any) -> Any: ...

    async def slow(state: Any) -> Any: ...

    for fingerprint, given, fn, match in [
        ("nope", {}, fine, "a fingerprint is 16 hexadecimal digits; `flowcore graph FILE` prints"),
        (graph.fingerprint, {}, fine, "that's what the graph is now"),
        (older, {"to": old}, fine, f"to='{old}' leads nowhere.*declare the newest migration first"),
        (old, {}, slow, "'slow' is async"),
        (old, {}, lambda: 1, "takes \\(\\); a migration takes \\(state\\) or \\(state, place\\)"),
        (old, {}, lambda a, b, c: 1, "takes \\(a, b, c\\)"),
        (old, {}, lambda a, *, b: 1, "takes \\(a, \\*, b\\)|takes \\(a, b\\)"),
        (old, {}, 3, "it decorates a function"),
        (old, {"state": int}, fine, "a state is a pydantic model"),
    ]:
        with pytest.raises(GraphError, match=match):
            graph.migrate(fingerprint, **given)(fn)  # type: ignore[arg-type]
    assert graph.migrate(old)(fine) is fine
    with pytest.raises(GraphError, match="'fine' migrates from there already"):
        graph.migrate(old)(fine)
    with pytest.raises(TypeError):
        graph.migrate(older, on="x")  # type: ignore[call-arg]
    assert graph.with_(name="other").migrate(older, to=old)(fine) is fine
    assert older not in graph.migrations
