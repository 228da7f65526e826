"""A graph is executed again against the record of a run, and the first difference is named; nothing is touched."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from engine_graphs import CASES, Case
from testing_agents import AGENTS, TOUCHED, Answer, refund, weather

from flowcore.agents.options import Options
from flowcore.agents.run_config import RunConfig
from flowcore.agents.tools import function_tool
from flowcore.engine import fanout
from flowcore.engine.run import Run, load, resume, start
from flowcore.errors import UserError
from flowcore.faces.agent import Agent
from flowcore.faces.runner import Runner
from flowcore.graph.graph import Graph, continues
from flowcore.graph.node import node
from flowcore.graph.outcomes import END, START, Ask, Goto, Pause
from flowcore.graph.state import State
from flowcore.graph.values import Json
from flowcore.stores.memory import MemoryStore
from flowcore.testing import (
    Crash,
    CrashingStore,
    ManualClock,
    Recording,
    ReplayDiverged,
    ScriptedModel,
    assert_path,
    diff,
    finish,
    function_call,
    journals,
    play,
    play_sync,
    replay,
    run_path,
)


class S(State):
    n: int = 0
    text: str = ""


async def ran(graph: Any, input: Any = None, *, most: int = 20, **more: Any) -> Run:
    """A run with a clock that stands still, driven to its end."""
    run = await start(graph, input, store=MemoryStore(keep_bytes=True), clock=ManualClock(), **more)
    await finish(run, most=most)
    return run


async def parts(of: Any, graph: Any = None, **more: Any) -> str:
    """How a replay differs, in words."""
    with pytest.raises(ReplayDiverged) as caught:
        await replay(of, graph, **more)
    return str(caught.value)


# --- every graph, every stand -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
async def test_each_of_the_engines_graphs_replays(name: str) -> None:
    case = CASES[name]
    store = MemoryStore(keep_bytes=True)
    run = await start(case.make(), case.input, store=store, clock=ManualClock(), limits=case.limits)
    await finish(run, case.answers)
    played = await replay(run)
    assert (played.standing, played.off) == (case.standing, "")
    assert played.path == run.path()
    assert played.output == (await run.result()).output
    assert diff(run, played) is None
    assert await replay(await journals(store, run.id), case.make())


@pytest.mark.parametrize("name", CASES)
async def test_a_run_that_was_killed_at_any_fact_and_resumed_replays(name: str) -> None:
    case = CASES[name]
    for k in range(1, 40):
        store = MemoryStore(keep_bytes=True)
        crashed = await _killed(case, store, k)
        run = await load("killed", case.make(), store=store, clock=ManualClock())
        await replay(run)  # what there is of it
        if run.standing in ("running", "waiting"):
            run = await resume("killed", case.make(), store=store, clock=ManualClock())
            await finish(run, case.answers)
        assert (await replay(run)).standing == case.standing
        if not crashed:
            return
    raise AssertionError("it never ended")


async def _killed(case: Case, store: MemoryStore, k: int) -> bool:
    crashing: Any = CrashingStore(store, k)
    before = asyncio.all_tasks()
    try:
        run = await start(
            case.make(), case.input, store=crashing, run_id="killed", clock=ManualClock(), limits=case.limits
        )
        await finish(run, case.answers)
    except Crash:
        pass
    left = asyncio.all_tasks() - before
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    await crashing.bury()
    return bool(crashing.left is not None and crashing.left <= 0)


@pytest.mark.parametrize("name", AGENTS)
async def test_each_agents_run_replays_without_model_tool_or_guardrail(name: str) -> None:
    make, input = AGENTS[name]
    agent = make()
    run = await start(agent, input, store=MemoryStore(keep_bytes=True), clock=ManualClock(), limits={"max_turns": 9})
    for _ in range(5):
        await run.drive()
        seen = len(TOUCHED)
        played = await replay(run)
        assert (played.standing, played.off, len(TOUCHED)) == (run.standing, "", seen)
        assert played.output == (await run.result()).output
        asked = await run.requests()
        if not asked:
            break
        await run.answer(asked[0].key, len(asked) > 1)
    assert run.standing == ("failed" if name == "failed" else "done")


async def test_a_run_that_failed_and_was_resumed_replays_with_both_of_its_tries() -> None:
    agent = AGENTS["failed"][0]()
    run = await ran(agent, "hi")
    assert run.standing == "failed"
    await run.resume()
    await run.drive()
    played = await replay(run)
    assert (played.standing, played.output) == ("done", "never said")


async def test_a_run_whose_limit_was_raised_replays() -> None:
    turns = [function_call("weather", {"city": "Rome"})]
    agent = Agent("a", tools=[weather], model=ScriptedModel([turns, turns, turns, "done"]))
    run = await ran(agent, "hi", limits={"max_turns": 2})
    assert run.standing == "failed"
    await replay(run)
    await run.resume(limits={"max_turns": 4})
    await run.drive()
    played = await replay(run)
    assert played.output == "done"
    assert ("max_turns", "extended", "call_model") in played.path


async def test_a_session_is_as_it_was_when_the_run_began() -> None:
    store = MemoryStore(keep_bytes=True)
    agent = Agent("a", model=ScriptedModel(["one", "two", "three"]))
    await Runner.run(agent, "hello", session="s", store=store)
    result = await Runner.run(agent, "again", session="s", store=store)
    await Runner.run(agent, "later", session="s", store=store)
    assert (await replay(result)).output == "two"
    assert len(await store.session_items("s")) == 6


async def test_a_streamed_run_replays_as_one_that_wasnt() -> None:
    agent = AGENTS["two tools"][0]()
    result = Runner.run_streamed(agent, "hi", store=MemoryStore())
    async for _ in result.stream_events():
        pass
    assert (await replay(result)).output == "both"


async def test_a_run_of_the_other_face_replays() -> None:
    output = await AGENTS["approval"][0]().arun("hi", store=MemoryStore())
    assert (await replay(output)).standing == "waiting"


async def test_a_stop_and_a_cancel_leave_no_trace_in_a_replay() -> None:
    gate, begun = asyncio.Event(), asyncio.Event()

    async def slow(state: S, ctx: Any) -> dict[str, Any]:
        first = await ctx.once("first", lambda: 1)
        begun.set()
        await gate.wait()
        return {"n": first + await ctx.once("second", lambda: 2)}

    graph = Graph("g", S, {START: slow, slow: END})
    run = await start(graph, store=MemoryStore(), clock=ManualClock())
    moving = asyncio.ensure_future(run.drive())
    await begun.wait()
    await run.cancel()
    assert await moving == "cancelled"
    assert (await replay(run)).off.startswith("the record ends")
    await run.resume()
    gate.set()
    await run.drive()
    assert (await replay(run)).output == {"n": 3, "text": ""}


async def test_an_answer_that_came_while_the_body_ran_is_found_by_the_next_entry() -> None:
    async def work(state: S, ctx: Any) -> Goto[Any]:
        await ctx.request("q")
        if "q" in ctx.answers:
            return Goto("done", n=ctx.answers["q"])
        await ctx.once("answering", answering)
        return Goto("again")

    async def answering() -> None:
        await run.answer("q", 7)
        await asyncio.sleep(0.01)

    @node(limit=5)
    async def turn(state: S) -> None: ...

    graph = Graph("g", S, {START: work, work: {"again": turn, "done": END}, turn: {"back": continues(work)}})
    run = await start(graph, store=MemoryStore(), clock=ManualClock())
    await run.drive()
    assert (await run.result()).output == {"n": 7, "text": ""}
    assert (await replay(run)).output == {"n": 7, "text": ""}


async def test_a_wait_that_ended_by_time_replays_at_once() -> None:
    async def ask(state: S, ctx: Any) -> Pause:
        return Pause(Ask("q"), on="yes", until=ctx.now + 3_600, late="late")

    async def late(state: S, ctx: Any) -> dict[str, Any]:
        return {"text": f"{ctx.now:.0f}"}

    graph = Graph("g", S, {START: ask, ask: {"yes": END, "late": late}, late: END})
    clock = ManualClock(1_000.0)
    run = await start(graph, store=MemoryStore(), clock=clock)
    await run.drive()
    assert (await replay(run)).standing == "waiting"
    clock.advance(4_000)
    await run.drive()
    played = await replay(run)
    assert played.path == [("ask", "late", "late"), ("late", "done", "END")]
    assert played.output == {"n": 0, "text": "5000"}


class Many(State):
    todo: list[int] = []
    done: list[Json] = []
    errors: list[dict[str, Json]] = []
    both: dict[str, Json] = {}
    text: str = ""


async def test_fan_outs_replay_child_by_child_those_that_failed_too() -> None:
    asked: list[int] = []

    async def square(n: int, ctx: Any) -> int:
        async def ask(n: int) -> int:
            asked.append(n)
            if n == 3:
                raise OSError("three is odd")
            return n * n

        return int(await ctx.once("ask", ask, n))

    async def left(state: S, ctx: Any) -> dict[str, Any]:
        return {"n": await ctx.once("left", lambda: 1)}

    async def right(state: S, ctx: Any) -> Pause:
        return Pause(Ask("right?"), on="yes")

    wing, other = Graph("left", S, {START: left, left: END}), Graph("right", S, {START: right, right: {"yes": END}})
    squares = fanout.map(square, over="todo", into="done", errors="errors", failures=1)
    sides = fanout.parallel({"left": wing, "right": other}, into="both", input="text")
    graph = Graph("many", Many, {START: squares, squares: sides, sides: END})
    wing.takes = other.takes = "text"
    run = await ran(graph, {"todo": [1, 2, 3, 4]})
    assert (run.standing, asked) == ("done", [1, 2, 3, 4])
    played = await replay(run)
    assert asked == [1, 2, 3, 4]
    assert played.output == (await run.result()).output
    assert played.output["done"] == [1, 4, None, 16]
    assert len(played.journals) == 7


# --- time and chance --------------------------------------------------------------------------------------------------


async def test_time_and_chance_come_from_the_record() -> None:
    async def looks(state: S, ctx: Any) -> dict[str, Any]:
        return {"text": f"{ctx.now!r} {ctx.random.random()} {ctx.uuid()} {ctx.idempotency_key('k')}"}

    run = await start(Graph("g", S, {START: looks, looks: END}), store=MemoryStore())
    await run
    assert (await replay(run)).output == (await run.result()).output


async def test_waits_and_timeouts_of_the_record_arent_slept_through() -> None:
    @node(timeout=0.02)
    async def slow(state: S) -> None:
        await asyncio.sleep(60)

    async def late(state: S) -> None: ...

    graph = Graph("g", S, {START: slow, slow: {"ok": END, "timeout": late}, late: END})
    run = await start(graph, store=MemoryStore())
    await run
    asked = asyncio.get_running_loop().time()
    assert_path(await replay(run), [("slow", "timeout"), "late"])
    assert asyncio.get_running_loop().time() - asked < 5


# --- the first difference ---------------------------------------------------------------------------------------------


def graph_of(body: Callable[[S, Any], Any]) -> Graph:
    async def first(state: S) -> dict[str, Any]:
        return {"n": 1}

    async def work(state: S, ctx: Any) -> Any:
        return await body(state, ctx)

    async def last(state: S) -> None: ...

    return Graph("g", S, {START: first, first: work, work: {"yes": last, "no": last, OSError: last}, last: END})


async def _pays(state: S, ctx: Any) -> Goto[str]:
    paid = await ctx.once("pay", lambda amount: amount * 2, 21)
    return Goto("yes", n=paid)


async def test_another_label_is_named_with_node_and_visit() -> None:
    async def otherwise(state: S, ctx: Any) -> Goto[str]:
        return Goto("no", n=await ctx.once("pay", lambda amount: 0, 21))

    run = await ran(graph_of(_pays))
    told = await parts(run, graph_of(otherwise))
    assert f"run '{run.id}' replays differently" in told
    assert "step 2, node 'work', visit 1: label differs:\n  one:   'yes' to 'last'\n  other: 'no' to 'last'" in told


async def test_another_update_is_named_with_its_field() -> None:
    async def otherwise(state: S, ctx: Any) -> Goto[str]:
        return Goto("yes", n=await ctx.once("pay", lambda amount: 0, 21) + 1)

    told = await parts(await ran(graph_of(_pays)), graph_of(otherwise))
    assert "step 2, node 'work', visit 1: field 'n' differs:\n  one:   42\n  other: 43" in told


async def test_an_effect_with_other_arguments_is_named() -> None:
    async def otherwise(state: S, ctx: Any) -> Goto[str]:
        return Goto("yes", n=await ctx.once("pay", lambda amount: 0, 22))

    told = await parts(await ran(graph_of(_pays)), graph_of(otherwise))
    assert "node 'work', visit 1: arguments of effect 'pay' differs" in told


async def test_an_effect_that_isnt_recorded_is_an_error_and_isnt_done() -> None:
    done: list[int] = []

    async def otherwise(state: S, ctx: Any) -> Goto[str]:
        try:
            await asyncio.gather(ctx.once("pay", done.append, 21), ctx.once("mail", done.append, 1))
        except Exception:
            raise AssertionError("it was swallowed") from None
        return Goto("yes")

    told = await parts(await ran(graph_of(_pays)), graph_of(otherwise))
    assert done == []
    assert "node 'work', visit 1: effect 'mail' isn't recorded, and nothing is done anew" in told

    async def twice(state: S, ctx: Any) -> Goto[str]:
        async with asyncio.TaskGroup() as group:
            group.create_task(ctx.once("mail", done.append, 1))
        return Goto("yes")

    assert "effect 'mail' isn't recorded" in await parts(await ran(graph_of(_pays)), graph_of(twice))
    assert done == []


async def test_an_effect_that_isnt_made_any_more_is_named() -> None:
    async def otherwise(state: S, ctx: Any) -> Goto[str]:
        return Goto("yes", n=42)

    told = await parts(await ran(graph_of(_pays)), graph_of(otherwise))
    assert "effect 'pay' differs:\n  one:   42\n  other: not recorded" in told


async def test_a_body_that_fails_today_is_named_with_its_error() -> None:
    async def otherwise(state: S, ctx: Any) -> Goto[str]:
        raise ZeroDivisionError("today")

    told = await parts(await ran(graph_of(_pays)), graph_of(otherwise))
    assert "label differs:\n  one:   'yes' to 'last'\n  other: failed: ZeroDivisionError: today" in told


async def test_an_effects_recorded_failure_is_raised_again_as_its_class() -> None:
    async def breaks(state: S, ctx: Any) -> Goto[str]:
        await ctx.once("before", lambda: 1)
        await ctx.once("disk", _full)
        return Goto("yes")

    def _full() -> None:
        raise PermissionError(13, "denied")

    run = await ran(graph_of(breaks))
    assert ("work", "OSError", "last") in run_path(run)
    assert (await replay(run)).path == run.path()


async def test_another_place_is_where_the_walk_leaves_the_record() -> None:
    run = await ran(graph_of(_pays))

    async def first(state: S) -> dict[str, Any]:
        return {"n": 1}

    async def detour(state: S) -> None: ...

    told = await parts(run, Graph("g", S, {START: first, first: detour, detour: END}))
    assert "step 1, node 'first', visit 1: target differs:\n  one:   work.1\n  other: detour.1" in told


async def test_a_child_that_differs_is_named_by_its_run() -> None:
    def family(inner: Any) -> Graph:
        async def caller(state: S, ctx: Any) -> dict[str, Any]:
            return {"n": (await ctx.child(graph_of(inner), {"n": 1}, "kid"))["n"]}

        return Graph("family", S, {START: caller, caller: END})

    async def otherwise(state: S, ctx: Any) -> Goto[str]:
        return Goto("yes", n=await ctx.once("pay", lambda amount: 0, 21) + 1)

    run = await ran(family(_pays))
    assert (await replay(run)).output == {"n": 42, "text": ""}
    told = await parts(run, family(otherwise))
    assert f"child run '{run.id}/caller.1/kid' replays differently" in told
    assert "node 'work', visit 1: field 'n' differs" in told
    assert (await replay(run.facts, family(otherwise))).output == {"n": 42, "text": ""}  # its end is all that's there


async def test_an_agent_that_changed_is_told() -> None:
    agent = AGENTS["one tool"][0]()
    run = await ran(agent, "hi")
    gone = Agent("one_tool", model=agent.model)
    assert "failed: ModelBehaviorError: Tool weather not found" in await parts(run, gone)
    typed = Agent("one_tool", tools=[weather], output_type=Answer)
    assert "label differs:\n  one:   'output' to 'output_guardrails'\n  other: 'invalid_output'" in await parts(
        run, typed
    )

    @function_tool(name_override="weather", needs_approval=True)
    def careful(city: str) -> str:
        """The weather."""
        raise AssertionError("touched")

    assert "node 'run_tools', visit 1: label differs" in await parts(run, Agent("one_tool", tools=[careful]))


async def test_the_runs_own_model_isnt_asked_even_if_the_context_names_one() -> None:
    agent = AGENTS["one tool"][0]()
    run = await ran(agent, "hi")
    nobody = ScriptedModel([])
    options = Options("app", RunConfig(model=nobody))
    assert (await replay(run, context=options)).output == "warm"
    assert nobody.calls == []
    assert options.config.model is nobody


async def test_replays_side_by_side_dont_disturb_each_other_or_anybody_else() -> None:
    async def caller(state: S, ctx: Any) -> dict[str, Any]:
        got = await asyncio.gather(*(ctx.child(graph_of(_pays), {"n": i}, f"k{i}") for i in range(3)))
        return {"n": sum(one["n"] for one in got)}

    async def greedy(state: S, ctx: Any) -> dict[str, Any]:
        await asyncio.gather(*(ctx.child(graph_of(_pays), {"n": i}, f"k{i}") for i in range(4)))
        return {}

    bystander = asyncio.ensure_future(asyncio.sleep(60))
    run = await ran(Graph("g", S, {START: caller, caller: END}))
    other = Graph("g", S, {START: node(name="caller")(greedy), "caller": END})
    tries = [replay(run), replay(run, other), replay(run), replay(run, other)]
    one, two, three, four = await asyncio.gather(*tries, return_exceptions=True)
    assert (one.output, three.output) == ({"n": 126, "text": ""},) * 2  # type: ignore[union-attr]
    for failed in (two, four):
        assert isinstance(failed, ReplayDiverged)
        assert "node 'caller', visit 1: child 'k3' isn't recorded" in str(failed)
    assert not bystander.done()
    bystander.cancel()
    assert {task for task in asyncio.all_tasks() if "flowcore" in task.get_name()} == set()


async def test_a_replay_needs_a_run_and_its_graph() -> None:
    run = await ran(graph_of(_pays))
    with pytest.raises(UserError, match="replay needs the graph that ran"):
        await replay(run.facts)
    with pytest.raises(UserError, match="a walk is read from a run"):
        await replay(run.facts[1:], graph_of(_pays))


# --- recordings as data -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", AGENTS)
async def test_a_recording_survives_being_written_as_data(name: str) -> None:
    make, input = AGENTS[name]
    agent = make()
    run = await ran(agent, input)
    record = Recording.of(await journals(run.store, run.id))
    assert Recording.from_data(record.to_data()) == record
    played = await play(record.to_data(), agent)
    assert played.path == run.path()
    assert (played.standing, played.output) == (run.standing, (await run.result()).output)


async def test_a_recording_is_played_by_a_graph_that_changed_until_it_asks_for_more() -> None:
    run = await ran(graph_of(_pays))
    record = Recording.of({run.id: run.facts})

    async def otherwise(state: S, ctx: Any) -> Goto[str]:
        return Goto("no", n=await ctx.once("pay", lambda amount: 0, "other arguments") + 1)

    played = await play(record, graph_of(otherwise))
    assert played.path == [("first", "done", "work"), ("work", "no", "last"), ("last", "done", "END")]
    assert played.output == {"n": 43, "text": ""}

    async def more(state: S, ctx: Any) -> Goto[str]:
        return Goto("yes", n=await ctx.once(str(uuid.uuid4()), lambda: 0))

    with pytest.raises(ReplayDiverged, match="isn't recorded"):
        await play(record, graph_of(more))


async def test_a_sync_play_inside_of_a_loop_says_what_to_use() -> None:
    run = await ran(graph_of(_pays))
    record = Recording.of({run.id: run.facts})
    with pytest.raises(UserError, match=r"await play\(\)"):
        play_sync(record, graph_of(_pays))
    played = await asyncio.to_thread(play_sync, record, graph_of(_pays))
    assert played.output == {"n": 42, "text": ""}


async def test_a_recording_with_unknown_names_is_refused() -> None:
    with pytest.raises(UserError, match=r"a RecordedStep has no 'nod'; it has 'node', 'now'"):
        Recording.from_data({"run_id": "r", "graph": "g", "started": 0.0, "input": {}, "steps": [{"nod": "a"}]})
    with pytest.raises(UserError, match="is no Recording"):
        Recording.from_data({"run_id": "r"})


def test_the_tools_of_these_tests_ask_for_approval_where_they_should() -> None:
    assert (refund.approval, weather.approval) == ("always", "never")
