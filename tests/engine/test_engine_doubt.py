"""Effects in doubt: a crash came between an effect's start and its record. Who is asked, what can be said, and what
follows."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

import pytest
from engine_graphs import S

from flowcore.engine.fanout import map as over_all
from flowcore.engine.run import Run, answer, resume, start
from flowcore.errors import ChildrenFailed, EffectInDoubt, NotOpen, UpdateError
from flowcore.graph.graph import Graph
from flowcore.graph.node import node
from flowcore.graph.outcomes import END, START, Ask, Pause
from flowcore.graph.state import State, append
from flowcore.graph.values import Json
from flowcore.stores.base import Store
from flowcore.testing import Crash, CrashingStore, ManualClock


class World:
    """Payments that were really made, under which idempotency key; ``kill`` pulls the process away in the middle."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.paid: list[str] = []
        self.deadly = 0
        self.store: Any = None

    def new_process(self) -> Any:
        self.store = CrashingStore(self.inner)
        return self.store

    async def pay(self, name: str) -> str:
        self.paid.append(name)
        if self.deadly:
            self.deadly -= 1
            self.store.left = 0
        return f"receipt of {name}"

    async def dies(self, run: Run) -> None:
        """Move a run until its process is gone."""
        with pytest.raises(Crash):
            await run
        await self.store.bury()


def one(fn: Any) -> Graph:
    return Graph("one", S, {START: fn, fn: END})


def paying(world: World, on_crash: Literal["retry", "ask", "fail"] = "ask", returns: Any = Json) -> Graph:
    async def work(state: S, ctx: Any) -> dict[str, Any]:
        key = ctx.idempotency_key("pay")
        return {"log": [str(await ctx.once("pay", world.pay, key, returns=returns, on_crash=on_crash))]}

    return one(work)


KEY = "r/work.1/pay"


async def in_doubt(world: World, graph: Graph) -> Run:
    """A run whose payment was made and not recorded, taken up by a new process, at rest."""
    world.deadly = 1
    await world.dies(await start(graph, store=world.new_process(), run_id="r"))
    run = await resume("r", graph, store=world.new_process())
    assert await run.drive() == "waiting"
    return run


async def test_a_person_says_do_it_again(store: Store) -> None:
    world = World(store)
    run = await in_doubt(world, paying(world))
    (request,) = await run.requests()
    assert (request.key, request.kind, request.node) == ("in-doubt:pay", "in_doubt", "work")
    assert request.data == {
        "key": "pay", "idempotency_key": KEY, "choices": ["retry", "value", "fail"], "attempt": 1
    }  # fmt: skip
    assert world.paid == [KEY]
    await run.answer(value="retry")
    assert (await run).output["log"] == [f"receipt of {KEY}"]
    assert world.paid == [KEY, KEY]  # under one key: the world can tell that it's the same payment


async def test_a_person_supplies_what_it_gave(store: Store) -> None:
    world = World(store)
    run = await in_doubt(world, paying(world))
    await run.answer(value={"value": "the bank says: receipt 7"})
    assert (await run).output["log"] == ["the bank says: receipt 7"]
    assert world.paid == [KEY]


async def test_a_person_lets_it_fail_and_whoever_resumes_is_asked_again(store: Store) -> None:
    world = World(store)
    graph = paying(world)
    run = await in_doubt(world, graph)
    await run.answer(value="fail")
    with pytest.raises(EffectInDoubt, match=f"{KEY}: given up, as answered; resume to be asked again"):
        await run
    assert run.standing == "failed"
    run = await resume("r", graph, store=world.new_process())
    assert (await run).standing == "waiting"
    assert [one.key for one in await run.requests()] == ["in-doubt:pay#2"]
    await run.answer(value={"value": "x"})
    assert (await run).output["log"] == ["x"]
    assert world.paid == [KEY]


@pytest.mark.parametrize("said", [True, "yes", "Retry", None, {"value": 1, "more": 2}, {}, ["retry"]])
async def test_what_isnt_one_of_the_three_ways_is_refused_and_the_question_stays(store: Store, said: Any) -> None:
    world = World(store)
    run = await in_doubt(world, paying(world))
    with pytest.raises(UpdateError, match=r'answer "retry" \(do it again\), {"value": RESULT}.*, or "fail"'):
        await run.answer(value=said)
    assert [one.key for one in await run.requests()] == ["in-doubt:pay"]


async def test_a_supplied_value_of_the_wrong_type_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(store)
    run = await in_doubt(world, paying(world, returns=str))
    assert (await run.requests())[0].data["returns"] == {"type": "string"}
    with pytest.raises(UpdateError, match="7 is not of type 'string'"):
        await run.answer(value={"value": 7})
    with monkeypatch.context() as bare:  # where nobody can hold it against the schema, the run does
        bare.setitem(__import__("sys").modules, "jsonschema", None)
        await run.answer(value={"value": 7})
    with pytest.raises(EffectInDoubt, match="what was answered can't be its value"):
        await run
    await run.resume()
    assert await run.drive() == "waiting"
    await run.answer(value={"value": "seven"})
    assert (await run).output["log"] == ["seven"]
    assert world.paid == [KEY]


async def test_it_is_answered_once_by_whoever_is_first(store: Store) -> None:
    world = World(store)
    run = await in_doubt(world, paying(world))
    await answer(store, "r", "in-doubt:pay", {"value": "first"})
    with pytest.raises(NotOpen, match="request 'in-doubt:pay' is not open"):
        await answer(store, "r", "in-doubt:pay", "retry")
    assert (await run).output["log"] == ["first"]


async def test_a_process_killed_while_in_doubt_asks_the_same_and_one_killed_in_the_retry_asks_anew(
    store: Store,
) -> None:
    world = World(store)
    graph = paying(world)
    run = await in_doubt(world, graph)
    for _ in range(2):
        del run
        run = await resume("r", graph, store=world.new_process())
        assert await run.drive() == "waiting"
        assert [one.key for one in await run.requests()] == ["in-doubt:pay"]
    await answer(store, "r", value="retry")
    world.deadly = 1
    await world.dies(run)
    run = await resume("r", graph, store=world.new_process())
    assert await run.drive() == "waiting"
    assert [one.key for one in await run.requests()] == ["in-doubt:pay#2"]
    await answer(store, "r", value={"value": "done"})
    assert (await run).output["log"] == ["done"]
    assert world.paid == [KEY, KEY]


async def test_where_it_must_fail_it_fails_at_each_resume_until_the_graph_says_ask(store: Store) -> None:
    world = World(store)
    world.deadly = 1
    graph = paying(world, "fail")
    await world.dies(await start(graph, store=world.new_process(), run_id="r"))
    for _ in range(2):
        run = await resume("r", graph, store=world.new_process())
        with pytest.raises(EffectInDoubt, match=f"{KEY}: .* it may have happened.*declare on_crash='ask' and resume"):
            await run
    run = await resume("r", paying(world, "ask"), store=world.new_process())
    assert await run.drive() == "waiting"
    await run.answer(value={"value": "it was paid"})
    assert (await run).output["log"] == ["it was paid"]
    assert world.paid == [KEY]


@pytest.mark.parametrize("on_crash", ["ask", "fail"])
@pytest.mark.parametrize("beside", [True, False])
async def test_another_failure_of_the_visit_doesnt_settle_the_doubt(store: Store, on_crash: Any, beside: bool) -> None:
    world = World(store)
    breaks: list[bool] = []

    async def shaky() -> None:
        if breaks:
            breaks.pop()
            raise OSError("the network")

    async def work(state: S, ctx: Any) -> dict[str, Any]:
        if beside:
            _, got = await asyncio.gather(shaky(), ctx.once("pay", world.pay, "p", on_crash=on_crash))
        else:
            await shaky()  # before the body comes to its effect
            got = await ctx.once("pay", world.pay, "p", on_crash=on_crash)
        return {"log": [got]}

    world.deadly = 1
    await world.dies(await start(one(work), store=world.new_process(), run_id="r"))
    breaks.append(True)
    run = await resume("r", one(work), store=world.new_process())
    with pytest.raises(OSError, match="the network"):
        await run
    run = await resume("r", one(work), store=world.new_process())
    if on_crash == "fail":
        with pytest.raises(EffectInDoubt):
            await run
    else:
        assert await run.drive() == "waiting"
        await run.answer(value={"value": "said"})
        assert (await run).output["log"] == ["said"]
    assert world.paid == ["p"]


class M(State):
    names: list[str] = []
    paid: Annotated[list[Json], append] = []


@pytest.mark.parametrize("said", ["retry", "value", "fail"])
async def test_elements_of_a_map_are_asked_about_one_by_one(store: Store, said: str) -> None:
    world = World(store)

    async def pay(name: str, ctx: Any) -> str:
        got: str = await ctx.once("pay", world.pay, name, on_crash="ask")
        return got

    each = over_all(pay, over="names", into="paid")
    graph = Graph("all", M, {START: each, each: END})
    world.deadly = 1
    await world.dies(await start(graph, {"names": ["a", "b", "c"]}, store=world.new_process(), run_id="r"))
    before = list(world.paid)  # one of them at least, and of the others maybe only the intent is recorded
    run = await resume("r", graph, store=world.new_process())
    assert await run.drive() == "waiting"
    asked = {int(one.run[-1]): one for one in await run.requests()}
    assert {"abc".index(name) for name in before} <= asked.keys()
    for i, request in asked.items():
        assert request.data["idempotency_key"] == f"r/map_pay.1/{i}/pay.1/pay"
    for request in asked.values():
        await answer(store, request.run, request.key, {"value": "said"} if said == "value" else said)
    if said == "fail":
        with pytest.raises((EffectInDoubt, ChildrenFailed)):
            await run
        run = await resume("r", graph, store=world.new_process())
        assert await run.drive() == "waiting"
        for request in await run.requests():
            await answer(store, request.run, request.key, {"value": "said"})
    given = (await run).output["paid"]
    names = {i: f"receipt of {name}" for i, name in enumerate("abc")}
    assert given == [names[i] if said == "retry" or i not in asked else "said" for i in range(3)]
    after = [name for i, name in enumerate("abc") if said == "retry" or i not in asked]
    assert sorted(world.paid) == sorted([*before, *after])


async def test_an_idempotency_key_is_the_same_before_and_after_a_crash_a_failure_a_retry_and_a_pause(
    store: Store,
) -> None:
    world = World(store)
    seen: list[str] = []
    fails = [ValueError("not retried"), OSError("retried")]

    @node(retry=3)
    async def work(state: S, ctx: Any) -> Any:
        seen.append(ctx.idempotency_key("pay"))
        await ctx.once("pay", world.pay, ctx.idempotency_key("pay"))
        if fails:
            raise fails.pop()
        await ctx.child(one(ask), {}, "c")
        return {"log": world.paid}

    async def ask(state: S) -> Pause:
        return Pause(Ask("q"), on="done")

    world.deadly = 1
    await world.dies(await start(one(work), store=world.new_process(), run_id="r", clock=ManualClock()))
    with pytest.raises(ValueError, match="not retried"):
        await (await resume("r", one(work), store=world.new_process(), clock=ManualClock()))
    run = await resume("r", one(work), store=world.new_process(), clock=ManualClock())
    assert await run.drive() == "waiting"
    await run.answer()
    assert (await run).output["log"] == [KEY, KEY]
    assert (set(seen), len(seen)) == ({KEY}, 5)  # died, retried, failed, paused, done
