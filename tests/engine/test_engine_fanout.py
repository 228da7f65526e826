"""Fan-out and join: map, parallel, subgraph."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from flowcore import (
    END,
    START,
    Agent,
    Ask,
    ChildrenFailed,
    Graph,
    GraphError,
    Json,
    MemoryStore,
    Pause,
    State,
    load,
    node,
    resume,
    start,
)
from flowcore.engine.events import Committed
from flowcore.engine.fanout import map, parallel, subgraph
from flowcore.machine.facts import Effect
from flowcore.testing import CrashingStore, ScriptedModel, finish, journals, kill_everywhere, same_walk
from flowcore.testing.crash import Crash


class Work(State):
    todo: list[Json] = []
    done: list[Json] = []
    failed: list[Json] = []
    branches: dict[str, Json] = {}
    input: str = ""
    output: str = ""


def one_node(declared: Any) -> Graph:
    return Graph("work", Work, {START: declared, declared: END})


async def shout(item: str) -> str:
    return item.upper()


async def test_results_stand_in_the_order_of_the_input_whatever_the_order_of_the_ends() -> None:
    async def late_first(item: int) -> int:
        for _ in range(10 - item):
            await asyncio.sleep(0)
        return item * item

    run = await start(one_node(map(late_first, over="todo", into="done")), {"todo": list(range(10))})
    assert (await run).state.done == [n * n for n in range(10)]


async def test_at_most_so_many_children_run_at_once() -> None:
    running, most = 0, 0

    async def count(item: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return item

    run = await start(one_node(map(count, over="todo", into="done", concurrency=3)), {"todo": list(range(12))})
    await run
    assert most == 3


def test_a_sync_function_is_a_body_too() -> None:
    async def go() -> list[Any]:
        run = await start(one_node(map(lambda item: item + 1, over="todo", into="done")), {"todo": [1, 2]})
        return (await run).state.done

    assert asyncio.run(go()) == [2, 3]


async def picky(item: str) -> str:
    if item == "bad":
        raise ValueError("a bad one")
    return item.upper()


async def test_the_first_failure_fails_the_node_and_a_resume_repeats_only_what_had_not_ended() -> None:
    calls: Counter[str] = Counter()
    broken = True

    async def fragile(item: str) -> str:
        calls[item] += 1
        if item == "b" and broken:
            raise OSError("down")
        return item.upper()

    run = await start(one_node(map(fragile, over="todo", into="done")), {"todo": ["a", "b", "c"]})
    with pytest.raises(OSError, match="down"):
        await run
    assert run.standing == "failed"
    broken = False
    result = await (await run.resume())
    assert result.state.done == ["A", "B", "C"]
    assert calls == {"a": 1, "b": 2, "c": 1}


async def test_failures_are_collected_with_their_place() -> None:
    fan = map(picky, over="todo", into="done", errors="failed", failures="collect")
    result = await (await start(one_node(fan), {"todo": ["x", "bad", "y"]}))
    assert result.state.done == ["X", None, "Y"]
    assert result.state.failed == [{"index": 1, "kind": "ValueError", "message": "a bad one"}]


async def test_so_many_failures_are_tolerated_and_no_more() -> None:
    fan = map(picky, over="todo", into="done", failures=1)
    result = await (await start(one_node(fan), {"todo": ["x", "bad"]}))
    assert result.state.done == ["X", None]
    run = await start(one_node(fan), {"todo": ["bad", "bad", "x"]})
    with pytest.raises(ChildrenFailed, match=r"2 of 3 children failed, 1 may; the first: ValueError: a bad one"):
        await run


class Form(State):
    input: Json
    word: dict[str, Json] = {}


async def ask(state: Form) -> Pause:
    return Pause(Ask("word", {"about": state.input}), on="done", into="word")


FORM = Graph("form", Form, {START: ask, ask: {"done": END}}, takes="input", gives="word")


async def test_a_pause_in_a_branch_pauses_the_parent_with_its_request_while_the_others_finish() -> None:
    finished = []

    async def quick(item: str) -> str:
        finished.append(item)
        return item

    both = parallel({"form": FORM, "quick": quick}, input="input", into="branches")
    run = await start(one_node(both), {"input": "tea?"})
    result = await run
    assert result.standing == "waiting"
    assert [(one.key, one.data) for one in result.requests] == [("word", {"about": "tea?"})]
    assert finished == ["tea?"]
    await run.answer("word", "yes")
    result = await run
    assert result.state.branches == {"form": {"word": "yes"}, "quick": "tea?"}
    assert finished == ["tea?"]


async def test_every_child_of_a_map_may_ask_and_is_answered_by_its_own() -> None:
    run = await start(one_node(map(FORM, over="todo", into="done")), {"todo": ["a", "b", "c"]})
    assert await finish(run, lambda request: request.data["about"] * 2) == "done"
    assert run.state.done == [{"word": "aa"}, {"word": "bb"}, {"word": "cc"}]


async def test_branches_may_have_fields_of_their_own() -> None:
    both = parallel(
        {"one": shout, "two": shout}, input={"one": "input", "two": "output"}, into={"one": "output", "two": "input"}
    )
    result = await (await start(one_node(both), {"input": "a", "output": "b"}))
    assert (result.state.output, result.state.input) == ("A", "B")


class Inner(State):
    input: str
    output: str = ""
    extra: int = 1


@node
async def fill(state: Inner) -> dict[str, Any]:
    return {"output": state.input * 2, "extra": 7}


INNER = Graph("inner", Inner, {START: fill, fill: END})


async def test_a_subgraph_gets_the_fields_that_it_shares_and_gives_what_is_asked_for() -> None:
    result = await (await start(one_node(subgraph(INNER, into={"output": "output"})), {"input": "ab"}))
    assert result.state.output == "abab"


async def test_an_agent_is_a_node() -> None:
    writer = Agent(name="Writer", model=ScriptedModel.by_turn(["a poem"]))

    async def shorten(state: Work) -> dict[str, Any]:
        return {"done": [state.output]}

    graph = Graph("mixed", Work, {START: writer, writer: shorten, shorten: END})
    result = await (await start(graph, {"input": "write"}))
    assert result.state.done == ["a poem"]
    assert result.usage["requests"] == 1


def sound() -> Graph:
    fan = map(picky, over="todo", into="done", errors="failed", failures="collect", name="each")
    both = parallel({"form": FORM, "quick": shout}, into="branches", input="input")
    last = Agent(name="Writer", model=ScriptedModel.by_turn(["written"]))
    return Graph("everything", Work, {START: fan, fan: both, both: last, last: END})


async def test_a_graph_of_fan_outs_survives_a_kill_at_every_fact() -> None:
    kills = await kill_everywhere(sound, {"todo": ["x", "bad", "y"], "input": "tea"})
    assert kills.standing == "done"
    assert kills.output["output"] == "written"


async def test_a_fan_out_of_1000_killed_at_random_repeats_none_that_had_ended() -> None:
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    calls: Counter[int] = Counter()

    async def work(item: int) -> int:
        calls[item] += 1
        await asyncio.sleep(0)
        return item

    graph = one_node(map(work, over="todo", into="done"))
    store = MemoryStore(keep_bytes=True)
    todo = list(range(1_000))
    at = sorted(chance.sample(range(50, 2_900), 3))
    run_id = "thousand"
    before = 0
    for k in at:
        ended = _ended(await _facts(store, run_id)) if before else set()
        calls_before = Counter(calls)
        crashing: Any = CrashingStore(store, k - before)
        others = asyncio.all_tasks()
        try:
            if before == 0:
                await (await start(graph, {"todo": todo}, store=crashing, run_id=run_id)).drive()
            else:
                await (await resume(run_id, graph, store=crashing)).drive()
        except Crash:
            pass
        left = asyncio.all_tasks() - others
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await crashing.bury()
        before = k
        assert all(calls[int(key)] == calls_before[int(key)] for key in ended), f"seed {seed}: an ended child ran again"
    ended = _ended(await _facts(store, run_id))
    calls_before = Counter(calls)
    run = await resume(run_id, graph, store=store)
    assert (await run).state.done == todo
    assert all(calls[int(key)] == calls_before[int(key)] for key in ended), f"seed {seed}"
    calm = MemoryStore(keep_bytes=True)
    await (await start(graph, {"todo": todo}, store=calm, run_id="calm"))
    assert same_walk(await calm.read("calm"), (await journals(store, run_id))[run_id])


async def _facts(store: MemoryStore, run_id: str) -> list[Any]:
    return await store.read(run_id)


def _ended(facts: list[Any]) -> set[str]:
    return {fact.key for fact in facts if isinstance(fact, Effect)}


async def test_a_reader_sees_the_childrens_events_under_their_path() -> None:
    run = await start(one_node(map(shout, over="todo", into="done", name="each")), {"todo": ["a"]}, run_id="r")
    runs = [event.run async for event in run if isinstance(event, Committed)]
    assert "r/each.1/0" in runs


async def test_a_loaded_fan_out_shows_its_children() -> None:
    store = MemoryStore(keep_bytes=True)
    graph = one_node(map(shout, over="todo", into="done", name="each"))
    await (await start(graph, {"todo": ["a", "b"]}, store=store, run_id="r"))
    assert [row.run for row in (await store.runs(root="r")).runs] == ["r", "r/each.1/0", "r/each.1/1"]
    assert (await (await load("r", graph, store=store)).result()).state.done == ["A", "B"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: one_node(map(shout, over="todos", into="done")), "uses field 'todos', but state 'Work' has no such"),
        (lambda: map(shout, over="todo", into="done", failures=-1), "it is 'fail', 'collect', or how many"),
        (lambda: map(shout, over="todo", into="done", concurrency=0), "a number of children, at least 1"),
        (lambda: parallel({}, into="branches"), "at least one branch"),
        (lambda: parallel({"a": shout}, into={"b": "output"}), "differ in 'a', 'b'"),
        (lambda: map("no", over="todo", into="done"), "a child is a Graph, an agent or a function"),
    ],
)
def test_what_cannot_be_a_fan_out_is_refused_with_its_cure(make: Any, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        make()


def test_the_fingerprint_covers_the_children() -> None:
    one = one_node(subgraph(INNER, into={"output": "output"}, name="child"))
    other = one_node(subgraph(FORM, into="branches", input="input", name="child"))
    assert one.fingerprint != other.fingerprint
