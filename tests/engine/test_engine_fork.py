"""Time travel: a run as of a fact, and runs that go on from there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, Literal

import pytest
from engine_graphs import CASES, THREE, YES, S, asking, asking_any, loop, nested, retry
from stores_postgres import LentStore, server

from flowcore.engine.run import Run, load, resume, start
from flowcore.errors import GraphError, NotOpen, RunError, RunExists, RunNotFound, UpdateError, UserError
from flowcore.graph.graph import Graph
from flowcore.graph.node import Retry, node
from flowcore.graph.outcomes import END, START, Goto
from flowcore.graph.state import State, append
from flowcore.machine.facts import Effect, Fact, Request, Resumed, Transition
from flowcore.machine.wire import encode
from flowcore.stores.base import Store
from flowcore.stores.memory import MemoryStore
from flowcore.testing import CrashingStore, ManualClock, finish, journals, kill_everywhere, same_walk


async def ended(graph: Graph, store: Store, id: str = "base", answers: Any = None, **given: Any) -> Run:
    """A run that has come to rest."""
    run = await start(graph, given.pop("input", None), store=store, run_id=id, clock=ManualClock(), **given)
    await finish(run, answers)
    return run


def moves(facts: list[Fact], to: str | None = None, on: str | None = None) -> list[int]:
    """The seqs of transitions that a fork may begin at."""
    return [
        fact.seq
        for fact in facts
        if isinstance(fact, Transition) and fact.to != END and to in (None, fact.to) and on in (None, fact.on)
    ]


async def own(store: Any, run: str) -> int:
    """How many facts the store keeps for a run alone, counted in rows."""
    if isinstance(store, MemoryStore):
        return len(store._journals[run].facts)
    if isinstance(store, LentStore):
        return server().ask(f'SELECT count(*) FROM "{store.schema}".fact WHERE run = %s', run.encode())[0][0]
    query = "SELECT count(*) FROM fact WHERE run = ?"
    return await store._open().read(lambda connection: connection.execute(query, (run,)).fetchone()[0])


# Looking


async def test_a_run_is_seen_as_it_was_at_any_fact(store: Store) -> None:
    run = await ended(loop(), store)
    assert [run.at(fact.seq).state.n for fact in run.facts] == [0, 1, 1, 2, 2, 3, 3]
    moment = run.at(3)
    assert (moment.seq, moment.place, moment.standing) == (3, "judge", "running")
    assert [step.to for step in moment.path] == ["judge", "count", "judge"]
    assert moment.state.log == ["turn 0", "turn 1"]
    with pytest.raises(TypeError, match="read-only"):
        moment.state.n = 7
    assert run.at(6).standing == "done"
    assert run.state.n == 3


@pytest.mark.parametrize("seq", [-1, 7, True, None, "3"])
async def test_a_fact_that_there_is_not_is_told_with_those_that_there_are(store: Store, seq: Any) -> None:
    run = await ended(loop(), store)
    with pytest.raises(UserError, match="its facts are 0 to 6"):
        run.at(seq)
    with pytest.raises(UserError, match="its facts are 0 to 6"):
        await run.fork(at=seq)


# Forking


async def test_a_fork_goes_on_from_a_transition_and_shares_what_was_before(store: Store) -> None:
    run = await ended(loop(), store)
    fork = await run.fork(at=3, update={"n": 0, "log": ["forked"]}, run_id="f")
    assert (fork.id, fork.standing, fork.place, fork.base) == ("f", "running", "judge", ("base", 3))
    assert fork.state.log == ["turn 0", "turn 1", "forked"]
    result = await fork
    assert result.output["log"] == ["turn 0", "turn 1", "forked", "turn 0", "turn 1", "turn 2", "bye"]
    assert result.output["total"] == 10
    assert (await store.read("f"))[:4] == (await store.read("base"))[:4]
    assert await own(store, "f") == len(result.facts) - 4
    assert await own(store, "base") == 7
    assert run.base is None
    index = await store.get("f")
    assert (index.base, index.base_seq, index.standing, index.parent) == ("base", 3, "done", None)
    assert [(row.run, row.base) for row in (await store.runs()).runs] == [("f", "base"), ("base", None)]
    assert (await store.read("f", 2))[0].seq == 3
    assert (await store.read("f", 4))[0].seq == 5
    again = await load("f", loop(), store=store)
    assert (again.base, again.state) == (fork.base, fork.state)


async def test_what_the_base_does_afterwards_is_not_the_forks(store: Store) -> None:
    run = await start(loop(), store=store, run_id="base", clock=ManualClock())
    early = await run.fork(at=0, run_id="early", input={"n": 2})
    assert (await run).output["n"] == 3
    assert (await early).output == {**(await run).output, "total": 2, "log": ["turn 2", "bye"]}


async def test_a_fork_without_changes_ends_like_its_base(make_store: Callable[[], Store]) -> None:
    for name, case in CASES.items():
        store = make_store()
        run = await ended(case.make(), store, "base", case.answers, input=case.input, limits=case.limits)
        reference = {"": (await journals(store, "base"))["base"]}
        for at in [0, *moves(run.facts)]:
            if name == "fan_out" and at == 0:
                continue  # it selects elements by the seq of their fact, which is one more in a fork
            fork = await run.fork(at=at, run_id=f"f{at}")
            assert await finish(fork, case.answers) == case.standing, (name, at)
            assert same_walk(reference, {"": await store.read(fork.id)}), (name, at)
            assert same_walk(reference, {"": (await load(fork.id, case.make(), store=store)).facts})
        await store.close()


async def test_a_fork_begins_between_visits_and_the_error_names_where(store: Store) -> None:
    run = await ended(retry(), store)
    kinds = [type(fact) for fact in run.facts]
    assert kinds[1] is Effect
    with pytest.raises(UserError, match=r"inside visit 1 of 'flaky'.*take 0 \(the start\) or 2 \('flaky' --retry-->"):
        await run.fork(at=1)
    last = run.facts[-1].seq
    with pytest.raises(UserError, match=rf"ended with fact {last}.*take {last - 1} "):
        await run.fork(at=last)
    assert len((await store.runs()).runs) == 1


async def test_a_fork_is_admitted_once_and_only_of_a_root(store: Store) -> None:
    run = await ended(nested(), store, answers=YES)
    with pytest.raises(RunExists):
        await run.fork(at=0, run_id="base")
    child = await load("base/outer.1/m2", asking(), store=store)
    with pytest.raises(RunError, match="fork its root 'base'"):
        await child.fork(at=0)


async def test_an_update_is_held_against_the_state_before_anything_is_written(store: Store) -> None:
    run = await ended(loop(), store)
    with pytest.raises(UpdateError, match="fork of run 'base' at fact 1 updates 'x', but state 'S' has no such field"):
        await run.fork(at=1, update={"x": 1})
    with pytest.raises(UpdateError, match="'log'"):
        await run.fork(at=1, update={"log": "no list"})
    with pytest.raises(UpdateError, match="by input and by update"):
        await run.fork(at=1, update={"n": 1}, input={"n": 2})
    with pytest.raises(GraphError):
        await run.fork(at=1, input="text")
    assert len((await store.runs()).runs) == 1


class Chat(State):
    items: Annotated[list[str], append] = []


async def test_new_input_joins_the_field_that_the_graph_takes_and_replaces_it_at_the_start(store: Store) -> None:
    async def say(state: Chat) -> dict[str, Any]:
        return {"items": [f"heard {len(state.items)}"]}

    async def again(state: Chat) -> None: ...

    graph = Graph("chat", Chat, {START: say, say: again, again: END}, takes="items", convert=lambda text: [text])
    run = await ended(graph, store, input="hello")
    later = await run.fork(at=1, input="and?")
    assert (await later).output == {"items": ["hello", "heard 1", "and?"]}
    other = await run.fork(at=0, input="hi", update={"items": ["there"]})
    assert (await other).output == {"items": ["hi", "there", "heard 2"]}
    key = other.state.items.keys()[1]
    assert key.seq == 1
    assert (await load(other.id, graph, store=store)).state == other.state


async def test_limits_are_replaced_and_the_days_in_between_are_no_time_of_the_run(store: Store) -> None:
    clock = ManualClock()
    run = await start(loop(), store=store, run_id="base", limits={"max_seconds": 100}, clock=clock)
    await run
    clock.advance(86_400)
    fork = await run.fork(at=1)
    assert (await fork).standing == "done"
    tight = await run.fork(at=1, limits={"max_seconds": 0})
    assert await tight.drive() == "failed"


async def test_a_run_that_is_driven_elsewhere_is_forked(store: Store) -> None:
    there, go = asyncio.Event(), asyncio.Event()

    async def wait(state: S) -> None:
        there.set()
        await go.wait()

    async def first(state: S) -> dict[str, Any]:
        return {"n": 1}

    graph = Graph("g", S, {START: first, first: wait, wait: END})
    run = await start(graph, store=store, run_id="base")
    task = asyncio.ensure_future(run.drive())
    await there.wait()
    seen = await load("base", graph, store=store)
    fork = await seen.fork(at=1, update={"n": 5})
    assert (await store.get("base")).owner is not None
    go.set()
    assert (await fork).output["n"] == 5
    assert await task == "done"
    assert run.state.n == 1


async def test_a_fork_of_a_fork_shares_both_prefixes(store: Store) -> None:
    run = await ended(loop(), store)
    one = await run.fork(at=2, update={"log": ["one"]}, run_id="one")
    await one
    two = await one.fork(at=4, update={"log": ["two"]}, run_id="two")
    assert two.base == ("one", 4)
    assert (await two).output["log"] == ["turn 0", "one", "turn 1", "two", "turn 2", "bye"]
    at_fork = await one.fork(at=3, run_id="same")
    assert (await at_fork).output == (await one).output
    before = await two.fork(at=1, run_id="before")
    assert (await before).output == (await run).output
    for fork in (one, two, at_fork, before):
        assert [fact.seq for fact in await store.read(fork.id)] == list(range(len(fork.facts)))
        assert [fact.seq for fact in await store.read(fork.id, 1)] == list(range(2, len(fork.facts)))
        again = await load(fork.id, loop(), store=store)
        assert again.state == fork.state


async def test_a_fork_in_another_store_has_the_facts_themselves(store: Store) -> None:
    run = await ended(loop(), store)
    elsewhere = MemoryStore()
    fork = await run.fork(at=3, store=elsewhere, run_id="f")
    assert (await fork).output == (await run).output
    assert (await elsewhere.get("f")).base is None
    assert await own(elsewhere, "f") == len(fork.facts)
    with pytest.raises(RunNotFound):
        await store.get("f")


# Requests


async def test_requests_that_were_open_are_open_in_the_fork(store: Store) -> None:
    run = await start(asking_any(), store=store, run_id="base", clock=ManualClock())
    await run.drive()
    [at] = moves(run.facts, "decide")
    fork = await run.fork(at=at, run_id="f")
    assert {(one.run, one.key) for one in await fork.requests()} == {("f", "a"), ("f", "b")}
    await fork.drive()
    await fork.answer("a", 1)
    await fork.drive()
    assert {(one.run, one.key) for one in await store.requests()} == {("f", "b"), ("base", "a"), ("base", "b")}
    late = await fork.fork(at=moves(fork.facts, "work")[-1], run_id="late")
    assert [one.key for one in await late.requests()] == ["b"]
    with pytest.raises(NotOpen):
        await late.answer("a")
    for one in (run, fork, late):
        assert await finish(one, YES) == "done"
    assert fork.state.log == late.state.log
    assert sum(isinstance(fact, Request) for fact in late.facts) == 2
    assert await store.requests() == []


# Children


class Once:
    """Raises at its first call."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __call__(self, key: str) -> str:
        self.calls.append(key)
        if len(self.calls) == 1:
            raise OSError("the first call fails")
        return key


def failing_child(paid: list[str], once: Once) -> Graph:
    """A child that pays, fails, and is taken up again when its parent's node is retried."""

    async def pay(state: S, ctx: Any) -> dict[str, Any]:
        return {"log": [await ctx.once("pay", lambda: paid.append(ctx.idempotency_key("pay")) or "paid")]}

    async def ship(state: S, ctx: Any) -> dict[str, Any]:
        return {"log": [ctx.random.random() and once("ship") and "shipped"]}

    kid = Graph("kid", S, {START: pay, pay: ship, ship: END})

    @node(retry=Retry(3))
    async def outer(state: S, ctx: Any) -> dict[str, Any]:
        draw = await ctx.once("draw", str, ctx.random.random())
        found = await ctx.child(kid, {}, "kid")
        return {"log": [*found["log"], "drawn" if draw else ""]}

    return Graph("shop", S, {START: outer, outer: END})


async def test_a_child_that_had_not_ended_is_forked_with_its_root_and_repeats_nothing(store: Store) -> None:
    paid: list[str] = []
    run = await ended(failing_child(paid, Once()), store)
    [at] = moves(run.facts, on="retry")
    fork = await run.fork(at=at, run_id="f")
    rows = {row.run: (row.base, row.base_seq, row.standing) for row in (await store.runs(root="f")).runs}
    assert rows["f/outer.1/kid"] == ("base/outer.1/kid", 3, "failed")
    assert (await fork).output["log"] == ["paid", "shipped", "drawn"]
    assert paid == ["base/outer.1/kid/pay.1/pay"]
    assert await own(store, "f/outer.1/kid") == 3
    assert (await store.get("f/outer.1/kid")).parent == "f"
    assert (await own(store, "base/outer.1/kid")) == len(await store.read("base/outer.1/kid"))
    twice = await fork.fork(at=at, run_id="twice")
    assert (await twice).output == fork.state.model_dump()
    after = await fork.fork(at=at + 1, run_id="after")
    assert (await after).output == fork.state.model_dump()
    assert len(paid) == 1


async def test_a_child_that_began_later_is_not_forked(store: Store) -> None:
    paid: list[str] = []
    run = await ended(failing_child(paid, Once()), store)
    fork = await run.fork(at=0, run_id="f")
    assert [row.run for row in (await store.runs(root="f")).runs] == ["f"]
    await fork
    assert paid == ["base/outer.1/kid/pay.1/pay", "f/outer.1/kid/pay.1/pay"]


def waiting_child() -> Graph:
    """A child waits while an effect beside it fails once: the visit is entered again by a retry."""

    @node(retry=Retry(3))
    async def outer(state: S, ctx: Any) -> dict[str, Any]:
        def fails() -> int:
            if ctx.attempt == 1:
                raise OSError("the first attempt fails")
            return 1

        found = await asyncio.gather(ctx.child(middle(), None, "kid"), ctx.once("flaky", fails))
        return {"log": found[0]["log"]}

    return Graph("waits", S, {START: outer, outer: END})


def middle() -> Graph:
    async def inner(state: S, ctx: Any) -> dict[str, Any]:
        return {"log": (await ctx.child(asking(), None, "deep"))["log"]}

    return Graph("middle", S, {START: inner, inner: END})


async def test_the_open_requests_of_open_children_are_the_forks_too(store: Store) -> None:
    run = await start(waiting_child(), store=store, run_id="base", clock=ManualClock())
    assert await run.drive() == "waiting"
    [at] = moves(run.facts, on="retry")
    fork = await run.fork(at=at, run_id="f")
    deep = "f/outer.1/kid/inner.1/deep"
    assert {(one.run, one.key) for one in await fork.requests()} == {(deep, "one"), (deep, "two")}
    assert (await store.get("f")).waiting == 2
    assert await finish(fork, YES) == "done"
    assert fork.state.log == ["one", "two"]
    assert len(await run.requests()) == 2
    assert await finish(run, YES) == "done"
    late = await run.fork(at=at, run_id="late")
    assert len(await late.requests()) == 2
    assert await finish(late, YES) == "done"
    assert same_walk(await journals(store, "late"), await journals(store, "f"))


# Durability


@THREE
@pytest.mark.parametrize("name", ["loop", "asking_any", "nested", "retry"])
async def test_a_kill_after_any_fact_of_a_fork_changes_nothing(name: str, make_store: Callable[[], Store]) -> None:
    case = CASES[name]

    async def begin(store: CrashingStore, id: str) -> Run:
        base = await ended(case.make(), store.inner, "base", case.answers, input=case.input)
        seen = await load("base", case.make(), store=store, clock=ManualClock())
        return await seen.fork(at=[0, *moves(base.facts)][-1], run_id=id, update={"log": ["forked"]})

    kills = await kill_everywhere(case.make, store=make_store, answers=case.answers, begin=begin, clock=ManualClock())
    assert kills.standing == case.standing
    assert kills.kills >= 2


@THREE
async def test_a_kill_after_any_fact_of_a_fork_with_children_changes_nothing(make_store: Callable[[], Store]) -> None:
    async def begin(store: CrashingStore, id: str) -> Run:
        base = await start(waiting_child(), store=store.inner, run_id="base", clock=ManualClock())
        await base.drive()
        seen = await load("base", waiting_child(), store=store, clock=ManualClock())
        return await seen.fork(at=moves(base.facts, on="retry")[0], run_id=id)

    kills = await kill_everywhere(waiting_child, store=make_store, answers=YES, begin=begin, clock=ManualClock())
    assert kills.kills > 5


async def test_a_fork_goes_on_in_another_process(store: Store) -> None:
    run = await ended(loop(), store)
    fork = await run.fork(at=2, update={"log": ["forked"]}, run_id="f")
    async with fork:
        pass
    again = await resume("f", loop(), store=store)
    assert (await again).output["log"] == ["turn 0", "forked", "turn 1", "turn 2", "bye"]


# Size


async def test_a_fork_of_a_run_of_a_thousand_turns_costs_one_fact(store: Store) -> None:
    @node(limit=2_000)
    async def turn(state: S) -> Goto[Literal["again", "enough"]]:
        return Goto("again" if state.n < 1_000 else "enough", n=state.n + 1, log=["x" * 100])

    graph = Graph("long", S, {START: turn, turn: {"again": turn, "enough": END}})
    run = await ended(graph, store)
    sizes = []
    for at in (1, 1_000):
        fork = await run.fork(at=at)
        assert await own(store, fork.id) == 1
        first = fork.facts[-1]
        assert isinstance(first, Resumed)
        sizes.append(len(encode(first).payload))
        assert fork.state.n == at
    assert sizes[0] == sizes[1] < 300
