# ruff: noqa: PT011, RUF043 - the class alone is what is raised; messages as people read them
"""Effects, children, and what a node is given."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from engine_graphs import S, asking, loop

from flowcore.engine.run import load, resume, start
from flowcore.errors import EffectInDoubt, GraphError, NotOpen, ReplayMismatch, RunError, UpdateError
from flowcore.graph.graph import Graph
from flowcore.graph.node import node
from flowcore.graph.outcomes import END, START, Ask, Pause
from flowcore.machine.facts import Effect, Intent, Request
from flowcore.stores.base import Store
from flowcore.stores.memory import MemoryStore
from flowcore.testing import Crash, CrashingStore, ManualClock


def one(fn: Any, **edges: Any) -> Graph:
    return Graph("one", S, {START: fn, fn: {"ok": END, **edges}})


async def test_a_payment_beside_a_failing_effect_is_paid_once(store: Store) -> None:
    paid: list[str] = []
    broken = True

    async def pay(ctx: Any) -> str:
        await asyncio.sleep(0.002)
        ctx.emit("paying")
        paid.append(ctx.idempotency_key("pay"))
        return "receipt"

    async def fails() -> str:
        if broken:
            raise OSError("no")
        return "fine"

    async def work(state: S, ctx: Any) -> dict[str, Any]:
        return {"log": list(await asyncio.gather(ctx.once("pay", pay, ctx), ctx.once("other", fails)))}

    run = await start(one(work), store=store, run_id="r")
    with pytest.raises(OSError, match="no") as raised:
        await run
    assert "run 'r' stands at 'work'" in raised.value.__notes__[0]
    broken = False
    again = await resume("r", one(work), store=store)
    assert (await again).output["log"] == ["receipt", "fine"]
    assert paid == ["r/work.1/pay"]


async def test_an_effect_that_ends_after_the_body_may_emit_but_not_begin_another() -> None:
    refused: list[str] = []

    async def slow(ctx: Any) -> int:
        await asyncio.sleep(0.002)
        ctx.emit("still here")
        try:
            await ctx.once("more", lambda: 1)
        except RunError as error:
            refused.append(error.message)
        return 1

    async def work(state: S, ctx: Any) -> None:
        async def fails() -> None:
            raise OSError

        await asyncio.gather(ctx.once("slow", slow, ctx), ctx.once("bad", fails))

    run = await start(one(work))
    emitted = [event.data async for event in run if not hasattr(event, "fact")]
    assert emitted == ["still here"]
    assert "entry is over" in refused[0]
    assert [fact.key for fact in run.facts if isinstance(fact, Effect)] == ["slow"]


async def test_a_context_is_refused_after_its_entry() -> None:
    kept: list[Any] = []

    async def work(state: S, ctx: Any) -> None:
        kept.append(ctx)

    await (await start(one(work)))
    for refused in (kept[0].once("x", int), kept[0].child(loop(), {}, "c"), kept[0].request("q")):
        with pytest.raises(RunError, match="node 'work': this context's entry is over"):
            await refused
    with pytest.raises(RunError):
        kept[0].emit("x")


async def test_the_same_key_twice_in_an_entry_is_refused() -> None:
    async def work(state: S, ctx: Any) -> None:
        await ctx.once("k", int)
        await ctx.once("k", int)

    with pytest.raises(GraphError, match="node 'work' used the key 'k' twice in one entry"):
        await (await start(one(work)))


async def test_an_effect_found_with_other_arguments_is_a_replay_mismatch() -> None:
    given = ["a"]

    async def work(state: S, ctx: Any) -> None:
        await ctx.once("k", lambda x: x, given[0])
        if given[0] == "a":
            raise OSError

    run = await start(one(work))
    with pytest.raises(OSError):
        await run
    given[0] = "b"
    await run.resume()
    with pytest.raises(ReplayMismatch, match="node 'work', visit 1: 'k' is recorded with other arguments"):
        await run


async def test_a_child_found_with_another_input_is_a_replay_mismatch() -> None:
    given = [1]

    async def work(state: S, ctx: Any) -> None:
        await ctx.child(asking(), {"n": given[0]}, "c")

    store = MemoryStore()
    assert (await (await start(one(work), store=store, run_id="r"))).standing == "waiting"
    given[0] = 2
    run = await resume("r", one(work), store=store)
    await run.answer("one")
    with pytest.raises(ReplayMismatch, match="child run 'r/work.1/c' was begun with another input"):
        await run


async def test_a_value_that_isnt_json_fails_the_run_and_can_be_mended(store: Store) -> None:
    values: list[Any] = [object(), {1: 2}, float("nan"), b"x", "fine"]

    async def work(state: S, ctx: Any) -> dict[str, Any]:
        return {"log": [await ctx.once("k", lambda: values.pop(0))]}

    run = await start(one(work), store=store, run_id="r")
    for what in ("class object", "the key 1", "nan", "class bytes"):
        with pytest.raises(UpdateError, match=what):
            await run
        await run.resume()
    assert (await run).output["log"] == ["fine"]


async def test_a_recorded_value_given_out_is_the_bodys_own() -> None:
    async def work(state: S, ctx: Any) -> dict[str, Any]:
        mine = await ctx.once("k", lambda: {"a": [1]})
        mine["a"].append(2)
        return {"items": [mine]}

    run = await start(one(work))
    await run
    effect = next(fact for fact in run.facts if isinstance(fact, Effect))
    assert effect.value == {"a": [1]}


async def test_typed_effects_come_back_as_their_type() -> None:
    import datetime

    seen: list[Any] = []

    async def work(state: S, ctx: Any) -> None:
        seen.append(await ctx.once("k", lambda: datetime.date(2024, 1, 2), returns=datetime.date))
        if len(seen) == 1:
            raise OSError

    run = await start(one(work))
    with pytest.raises(OSError):
        await run
    await run.resume()
    await run
    assert seen == [datetime.date(2024, 1, 2)] * 2


async def test_time_and_chance_are_the_same_at_every_entry_of_a_visit(store: Store) -> None:
    seen: list[Any] = []

    async def work(state: S, ctx: Any) -> None:
        seen.append((ctx.now, ctx.random.random(), ctx.uuid(), ctx.uuid()))
        if len(seen) < 3:
            raise OSError

    clock = ManualClock()
    run = await start(one(work), store=store, run_id="r", clock=clock)
    for _ in range(2):
        with pytest.raises(OSError):
            await run
        clock.advance(100)
        run = await resume("r", one(work), store=store, clock=clock)
    await run
    assert seen[0] == seen[1] == seen[2]
    assert seen[0][2] != seen[0][3]


async def test_a_parents_usage_includes_its_childrens() -> None:
    async def small(state: S, ctx: Any) -> None:
        ctx.spend(total_tokens=5)

    async def work(state: S, ctx: Any) -> None:
        ctx.spend(total_tokens=1)
        await asyncio.gather(ctx.child(one(small), {}, "a"), ctx.child(one(small), {}, "b"))
        assert ctx.usage["total_tokens"] == 10  # what this entry itself spent is written with its outcome

    assert (await (await start(one(work)))).usage == {"total_tokens": 11}


async def test_a_childs_failure_can_be_caught_and_a_later_entry_tries_it_again(store: Store) -> None:
    broken = [True]

    async def small(state: S) -> dict[str, Any]:
        if broken[0]:
            raise OSError("small")
        return {"n": 7}

    async def work(state: S, ctx: Any) -> dict[str, Any]:
        out = await ctx.child(one(small), {}, "c")
        return {"n": out["n"]}

    run = await start(one(work), store=store, run_id="r")
    with pytest.raises(OSError, match="small"):
        await run
    broken[0] = False
    run = await resume("r", one(work), store=store)
    assert (await run).output["n"] == 7
    assert (await store.get("r/work.1/c")).standing == "done"


async def test_a_childs_timeout_breaks_nothing_off_in_its_parent() -> None:
    @node(timeout=0.002)
    async def slow(state: S) -> None:
        await asyncio.Event().wait()

    async def pay() -> str:
        await asyncio.sleep(0.01)
        return "paid"

    @node(timeout=10)
    async def work(state: S, ctx: Any) -> None:
        await asyncio.gather(ctx.child(one(slow), {}, "c"), ctx.once("pay", pay))

    run = await start(one(work, timeout=END))
    with pytest.raises(TimeoutError, match="'slow'"):
        await run
    assert [fact.key for fact in run.facts if isinstance(fact, Effect)] == ["pay"]


async def test_children_in_a_task_group_suspend_and_go_on(store: Store) -> None:
    async def work(state: S, ctx: Any) -> dict[str, Any]:
        async with asyncio.TaskGroup() as group:
            one = group.create_task(ctx.child(asking(), {}, "a"))
            two = group.create_task(ctx.child(loop(), {}, "b"))
        return {"n": two.result()["n"], "log": one.result()["log"]}

    run = await start(one(work), store=store)
    assert (await run).standing == "waiting"
    await run.answer("one")
    await run.answer("two")
    assert (await run).output["log"] == ["one", "two"]


async def _crash_in_mid_flight(graph: Graph, store: Store, facts: int) -> None:
    crashing: Any = CrashingStore(store, facts)
    with pytest.raises(Crash):
        await (await start(graph, store=crashing, run_id="r"))
    await crashing.bury()


async def test_an_effect_in_doubt_asks_a_person_each_time_it_is(store: Store) -> None:
    calls: list[int] = []

    async def work(state: S, ctx: Any) -> dict[str, Any]:
        return {"n": await ctx.once("pay", lambda: calls.append(1) or len(calls), on_crash="ask")}

    await _crash_in_mid_flight(one(work), store, 2)  # Started and Intent
    run = await resume("r", one(work), store=store)
    result = await run
    assert (result.standing, [request.kind for request in result.requests]) == ("waiting", ["in_doubt"])
    assert result.requests[0].data["idempotency_key"] == "r/work.1/pay"
    await run.answer("in-doubt:pay", "retry")
    del run
    crashing: Any = CrashingStore(store, 3)  # Signal, Resumed, Intent
    with pytest.raises(Crash):
        await (await resume("r", one(work), store=crashing))
    await crashing.bury()
    run = await resume("r", one(work), store=store)
    result = await run
    assert [request.key for request in result.requests] == ["in-doubt:pay#2"]
    await run.answer(None, {"value": 42})
    assert (await run).output["n"] == 42
    assert len(calls) <= 2


async def test_an_effect_in_doubt_fails_where_it_says_so(store: Store) -> None:
    async def work(state: S, ctx: Any) -> None:
        await ctx.once("pay", lambda: 1, on_crash="fail")

    await _crash_in_mid_flight(one(work), store, 2)
    run = await resume("r", one(work), store=store)
    for _ in range(2):
        with pytest.raises(EffectInDoubt, match="r/work.1/pay: a crash came after this effect had begun"):
            await run
        await run.resume()


async def test_an_effect_that_raised_isnt_in_doubt() -> None:
    tries: list[int] = []

    def pay() -> int:
        tries.append(1)
        if len(tries) == 1:
            raise OSError("refused")
        return 3

    @node(retry=2)
    async def work(state: S, ctx: Any) -> dict[str, Any]:
        return {"n": await ctx.once("pay", pay, on_crash="ask")}

    run = await start(one(work))
    assert (await run).output["n"] == 3
    assert not [fact for fact in run.facts if isinstance(fact, Request)]
    assert len([fact for fact in run.facts if isinstance(fact, Intent)]) == 2


async def test_nested_values_of_the_state_are_read_only() -> None:
    async def work(state: Any, ctx: Any) -> dict[str, Any]:
        for wrong in (
            lambda: state.items[0].update(x=1),
            lambda: state.items[0]["deep"].append(1),
            lambda: state.items.append({}),
            lambda: setattr(state, "n", 1),
            lambda: state.seen.clear(),
        ):
            with pytest.raises(TypeError, match="read-only"):
                wrong()
        assert state.model_dump()["items"] == [{"deep": [1, {"k": "v"}]}]
        return {"items": [state.items[0]], "n": len(state.model_copy(deep=True).items)}

    run = await start(one(work), {"items": [{"deep": [1, {"k": "v"}]}]})
    assert (await run).output["items"] == [{"deep": [1, {"k": "v"}]}] * 2


async def test_a_sync_node_may_be_a_lambda_around_an_async_function() -> None:
    async def inner(state: S) -> dict[str, Any]:
        return {"n": 3}

    outer = node(name="outer")(lambda state, ctx: inner(state))
    assert (await (await start(one(outer)))).output["n"] == 3


async def test_a_default_that_is_made_anew_is_written_down(store: Store) -> None:
    import uuid

    from pydantic import Field

    class Fresh(S):
        token: str = Field(default_factory=lambda: uuid.uuid4().hex)

    async def work(state: Fresh) -> None: ...

    graph = Graph("fresh", Fresh, {START: work, work: END})
    run = await start(graph, store=store, run_id="r")
    token = run.state.token
    await run
    assert (await load("r", graph, store=store)).state.token == token


async def test_a_sync_node_that_is_too_slow_is_left_to_itself() -> None:
    gate = threading.Event()
    refused: list[str] = []

    @node(timeout=0.005)
    def block(state: S, ctx: Any) -> None:
        gate.wait(5)
        try:
            ctx.emit("too late")
        except RunError as error:
            refused.append(error.message)

    run = await start(one(block, timeout=END))
    assert (await run).path[-1].on == "timeout"
    gate.set()
    for _ in range(200):
        if refused:
            break
        await asyncio.sleep(0.005)
    assert "entry is over" in refused[0]


async def test_what_a_thread_emits_reaches_the_reader() -> None:
    def block(state: S, ctx: Any) -> None:
        ctx.emit("from a thread")

    assert [event.data async for event in await start(one(block)) if not hasattr(event, "fact")] == ["from a thread"]


async def test_the_requests_of_a_child_that_was_left_for_good_are_closed(store: Store) -> None:
    async def work(state: S, ctx: Any) -> None:
        child = asyncio.ensure_future(ctx.child(asking(), {}, "c"))
        await asyncio.wait([child])
        assert child.exception() is not None  # it waits
        raise ValueError

    async def wait(state: S) -> Pause:
        return Pause(Ask("mine"), on="ok")

    graph = Graph("g", S, {START: work, work: {"ok": END, ValueError: wait}, wait: {"ok": END}})
    run = await start(graph, store=store, run_id="r")
    assert [request.key for request in (await run).requests] == ["mine"]
    assert (await store.get("r/work.1/c")).standing == "cancelled"
    with pytest.raises(NotOpen):
        await run.answer("one")
    await run.answer("mine")
    assert (await run).standing == "done"
