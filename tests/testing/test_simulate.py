"""A graph is walked by outcomes that are said beforehand; no node of it runs."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

import pytest
from engine_graphs import CASES
from tenacity import wait_exponential

from flowcore.agents.tools import function_tool
from flowcore.engine.run import start
from flowcore.errors import NodeTimeout, UndeclaredTransition, UpdateError, UserError
from flowcore.faces.agent import Agent
from flowcore.graph.conditions import otherwise, when
from flowcore.graph.graph import Graph
from flowcore.graph.node import Retry, node
from flowcore.graph.outcomes import END, START, Ask, Goto, Pause
from flowcore.graph.state import State, append
from flowcore.testing import ManualClock, assert_path, assert_state, diff, explain, finish, simulate


class S(State):
    n: int = 0
    log: Annotated[list[str], append] = []
    answers: dict[str, bool] = {}


async def never(state: Any, ctx: Any) -> Any:
    raise AssertionError("a node ran")


def named(name: str, **policies: Any) -> Any:
    return node(name=name, **policies)(_copy(name))


def _copy(name: str) -> Any:
    async def body(state: Any, ctx: Any) -> Any:
        return await never(state, ctx)

    return body


def loop() -> Graph:
    count, judge, over = named("count", limit=3), named("judge"), named("over")
    return Graph(
        "loop",
        S,
        {START: count, count: {"ok": judge, "limit": over}, judge: {"again": count, "enough": END}, over: END},
    )


def test_no_node_is_executed_and_no_event_loop_needed() -> None:
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()
    walk = simulate(loop(), {"judge": ["again", "enough"]})
    assert_path(walk, ["count", ("judge", "again"), "count", ("judge", "enough"), "END"])
    assert (walk.standing, walk.place) == ("done", "END")


def test_limits_are_counted_and_their_edge_taken() -> None:
    walk = simulate(loop(), {"judge": "again"})
    assert_path(walk, [..., ("count", "limit", "over"), "over"])
    assert len(walk.path) == 8


def test_a_limit_of_the_run_is_given_by_name() -> None:
    turn, over = named("turn", limit="max_turns"), named("over")
    graph = Graph("g", S, {START: turn, turn: {"more": turn, "limit": over}, over: END})
    assert len(simulate(graph, limits={"max_turns": 4}).path) == 6


def test_a_limit_without_an_edge_fails_the_simulated_run() -> None:
    turn = named("turn", limit=2)
    walk = simulate(Graph("g", S, {START: turn, turn: {"more": turn, "out": END}}), {"turn": "more"})
    assert walk.standing == "failed"
    assert walk.error is not None
    assert "reached its limit of 2 visits" in walk.error["message"]


def test_outcomes_may_bring_what_is_new_and_look_at_the_state() -> None:
    walk = simulate(
        loop(),
        {
            "count": lambda state: Goto("ok", n=state.n + 1, log=[f"{state.n}"]),
            "judge": lambda state: "enough" if state.n == 2 else "again",
        },
        input={"n": 0},
    )
    assert_state(walk, n=2, log=["0", "1"])
    assert walk.output == {"n": 2, "log": ["0", "1"], "answers": {}}


def test_an_exception_is_retried_then_takes_its_edge() -> None:
    flaky, mend = named("flaky", retry=Retry(3, wait_exponential(2, min=2), OSError)), named("mend")
    graph = Graph("g", S, {START: flaky, flaky: {"ok": END, OSError: mend}, mend: END})
    clock = ManualClock(1_000.0)
    walk = simulate(graph, {"flaky": [OSError("busy"), OSError("busy"), "ok"]}, clock=clock)
    assert_path(walk, [("flaky", "retry"), ("flaky", "retry"), ("flaky", "ok")])
    assert clock.now == 1_006.0
    walk = simulate(graph, {"flaky": OSError})
    assert_path(walk, [("flaky", "retry"), ("flaky", "retry"), ("flaky", "OSError", "mend"), "mend"])
    walk = simulate(graph, {"flaky": KeyError("k")})
    assert (walk.standing, walk.place) == ("failed", "flaky")
    assert walk.error is not None
    assert walk.error["kind"] == "KeyError"


def test_a_timeout_takes_its_edge() -> None:
    slow = named("slow", timeout=5)
    graph = Graph("g", S, {START: slow, slow: {"ok": END, "timeout": named("late")}, "late": END})
    for outcome in (NodeTimeout, TimeoutError, NodeTimeout("too long")):
        assert_path(simulate(graph, {"slow": outcome}), [("slow", "timeout", "late"), "late"])


def asks() -> Graph:
    ask = node(name="ask", waits=True)(_copy("ask"))
    return Graph("asks", S, {START: ask, ask: {"yes": END, "late": END}})


def test_a_pause_waits_until_its_answers_are_given() -> None:
    pause = Pause(Ask("one"), Ask("two"), on="yes", into="answers")
    walk = simulate(asks(), {"ask": pause}, answers={"one": True})
    assert (walk.standing, [one.key for one in walk.open]) == ("waiting", ["two"])
    walk = simulate(asks(), {"ask": pause}, answers=lambda request: request.key == "one")
    assert_path(walk, [("ask", "yes")])
    assert_state(walk, answers={"one": True, "two": False})


def test_time_passes_where_only_time_ends_the_wait() -> None:
    clock = ManualClock(1_000.0)
    walk = simulate(asks(), {"ask": Pause(Ask("q"), on="yes", until=1_060.0, late="late")}, clock=clock)
    assert_path(walk, [("ask", "late")])
    assert clock.now == 1_060.0
    assert_path(simulate(asks(), {"ask": Pause(on="yes", until=1_090.0)}, clock=clock), [("ask", "yes")])


def test_budgets_are_spent() -> None:
    work, over = named("work", limit=10), named("over")
    graph = Graph("g", S, {START: work, work: {"more": work, "over_budget": over}, over: END})
    walk = simulate(graph, spend={"work": {"total_tokens": 400}}, limits={"max_tokens": 1_000})
    assert_path(walk, ["work", "work", "work", ("work", "over_budget"), "over"])


def test_undeclared_labels_and_fields_are_refused_as_the_engine_does() -> None:
    with pytest.raises(UndeclaredTransition, match=r"node 'judge' returned Goto\('maybe'\), but its edges are"):
        simulate(loop(), {"judge": "maybe"})
    with pytest.raises(UpdateError, match="updates 'm', but state 'S' has no such field"):
        simulate(loop(), {"count": Goto("ok", m=1)})
    with pytest.raises(UpdateError, match="field 'n'"):
        simulate(loop(), {"count": Goto("ok", n="1")})


def test_a_node_with_several_edges_needs_an_outcome() -> None:
    with pytest.raises(UserError, match=r"node 'judge' has several edges.*with one of 'again', 'enough'"):
        simulate(loop())


def test_what_is_said_wrongly_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="has no node 'jugde' to simulate; its nodes are 'count', 'judge', 'over'"):
        simulate(loop(), {"jugde": "again"})
    with pytest.raises(UserError, match=r"node 'judge' is entered for the 2\. time, but its list has 1 outcomes"):
        simulate(loop(), {"judge": ["again"]})
    with pytest.raises(UserError, match="the engine takes 'limit' by itself"):
        simulate(loop(), {"count": "limit"})
    with pytest.raises(UserError, match="simulate walks through a Graph"):
        simulate("loop")


def test_a_simulation_that_never_ends_is_told() -> None:
    wait = node(name="wait", waits=True)(_copy("wait"))
    graph = Graph("g", S, {START: wait, wait: {"more": wait, "out": END}})
    with pytest.raises(UserError, match="hasn't ended after 10000 steps; it stands at 'wait'"):
        simulate(graph, {"wait": "more"})


def test_an_agents_loop_is_simulated_like_any_other_graph() -> None:
    @function_tool
    def tool() -> str:
        """A tool."""
        return "never"

    agent = Agent("a", tools=[tool])
    walk = simulate(
        agent,
        {"input_guardrails": "passed", "call_model": ["tool_calls", "output"], "run_tools": "done",
         "output_guardrails": "passed"},
        input="hi", limits={"max_turns": 5},
    )  # fmt: skip
    assert_path(walk, [..., ("call_model", "tool_calls"), ("run_tools", "done"), ("call_model", "output"), ..., "END"])


async def test_a_simulated_walk_has_the_facts_of_a_run_that_went_the_same_way() -> None:
    async def count(state: S) -> dict[str, Any]:
        return {"n": state.n + 1}

    async def judge(state: S) -> Goto[Literal["again", "enough"]]:
        return Goto("again") if state.n < 3 else Goto("enough", log=["bye"])

    limited = node(limit=9)(count)
    graph = Graph("g", S, {START: limited, limited: judge, judge: {"again": limited, "enough": END}})
    run = await start(graph, clock=ManualClock())
    await finish(run)
    walk = simulate(
        graph,
        {"count": lambda state: {"n": state.n + 1}, "judge": ["again", "again", Goto("enough", log=["bye"])]},
    )
    assert diff(run, walk) is None
    assert [type(fact) for fact in run.facts] == [type(fact) for fact in walk.facts]


async def test_the_walk_of_a_run_with_retries_is_simulated_fact_for_fact() -> None:
    graph = CASES["limited"].make()
    run = await start(graph, clock=ManualClock())
    await finish(run)
    walk = simulate(graph, {"turn": {"total": 1}, "over": {"log": ["over"]}})
    assert diff(run, walk) is None


def test_edges_by_data_are_chosen_by_what_the_outcome_brings() -> None:
    score, out = named("score", limit=5), named("out")
    graph = Graph("g", S, {START: score, score: [when("n", ">=", 8, out), otherwise(score)], out: END})
    walk = simulate(graph, {"score": lambda state: {"n": state.n + 4}})
    assert_path(walk, [("score", "otherwise"), ("score", "n >= 8"), "out"])
    first, second, _ = explain(walk)
    assert (first.why, first.lost) == ("no condition holds", {"n >= 8": "n is 4"})
    assert (second.why, second.lost) == ("n is 8", {"otherwise": "'n >= 8' is asked first"})


def test_the_graphs_own_limits_hold_where_nothing_else_is_said() -> None:
    turn, over = named("turn", limit="max_turns"), named("over")
    graph = Graph("g", S, {START: turn, turn: {"more": turn, "limit": over}, over: END}, limits={"max_turns": 2})
    assert len(simulate(graph).path) == 4
    assert len(simulate(graph, limits={"max_turns": 3}).path) == 5
