"""Assertions on walks and states say what differs, and what would have been possible."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from engine_graphs import CASES

from flowcore.engine.run import Run, start
from flowcore.errors import UserError
from flowcore.faces.agent import Agent
from flowcore.faces.runner import Runner
from flowcore.graph.graph import Graph
from flowcore.graph.node import Retry, node
from flowcore.graph.outcomes import END, START, Ask, Goto, Pause
from flowcore.graph.state import State, append
from flowcore.testing import (
    ManualClock,
    ScriptedModel,
    assert_path,
    assert_state,
    diff,
    explain,
    finish,
    run_path,
    simulate,
)


class S(State):
    n: int = 0
    log: Annotated[list[str], append] = []
    seen: dict[str, dict[str, int]] = {}


def looped(most: int = 3) -> Graph:
    @node(limit=30)
    async def count(state: S) -> dict[str, Any]:
        return {"n": state.n + 1, "log": [f"turn {state.n}"], "seen": {"a": {"b": state.n}}}

    async def judge(state: S) -> Goto[Literal["again", "enough"]]:
        return Goto("again") if state.n < most else Goto("enough")

    return Graph("looped", S, {START: count, count: judge, judge: {"again": count, "enough": END}})


async def walked(graph: Any, **more: Any) -> Run:
    run = await start(graph, clock=ManualClock(), **more)
    await finish(run)
    return run


async def refusal(run: Any, expected: Any, **more: Any) -> str:
    with pytest.raises(AssertionError) as caught:
        assert_path(run, expected, **more)
    return str(caught.value)


async def test_a_path_is_read_from_a_run_its_result_and_its_facts() -> None:
    run = await walked(looped(1))
    for of in (run, await run, run.facts):
        assert run_path(of) == [("count", "done", "judge"), ("judge", "enough", "END")]


async def test_a_path_is_read_from_the_results_of_both_faces() -> None:
    agent = Agent("a", model=ScriptedModel(["hello", "hello"]))
    result, output = await Runner.run(agent, "hi"), await agent.arun("hi")
    wanted = ["prepare", "input_guardrails", ("call_model", "output"), ..., "END"]
    assert_path(result, wanted)
    assert_path(output, wanted)
    assert_state(result, agent="a", begun=1)
    assert_state(output, {"items.0.content": "hi"})


async def test_nodes_labels_targets_and_gaps_may_be_mixed() -> None:
    run = await walked(looped(2))
    for expected in (
        ["count", "judge", "count", "judge"],
        ["count", ("judge", "again"), "count", ("judge", "enough", "END")],
        ["count", "judge", "count", "judge", "END"],
        ["count", ..., ("judge", "enough")],
        [..., ("judge", "again"), ..., "END"],
        [...],
    ):
        assert_path(run, expected)
    assert_path(run, ["count", "count"], exact=False)
    assert_path(run, [("judge", "again"), ("judge", "enough")], exact=False)


async def test_the_first_difference_is_marked_between_both_walks() -> None:
    told = await refusal(await walked(looped(2)), ["count", ("judge", "enough"), "count"])
    assert told == (
        "graph 'looped': the walk parts from what was expected at step 2\n"
        "     expected            walked\n"
        "   1 count               count --done--> judge\n"
        ">  2 judge --enough-->   judge --again--> count\n"
        "   3 count               count --done--> judge\n"
        "   4                     judge --enough--> END\n"
        "expected was judge --enough-->, but it took judge --again--> count\n"
        "possible at 'judge': 'again' to count, 'enough' to END"
    )


async def test_a_label_that_no_edge_has_is_told_with_the_one_that_was_meant() -> None:
    told = await refusal(await walked(looped(1)), ["count", ("judge", "enuogh")])
    assert "'enuogh' is no edge of 'judge'; did you mean 'enough'?" in told
    assert "'cuont' is no node; the nodes are 'count', 'judge'" in await refusal(await walked(looped(1)), ["cuont"])


async def test_a_walk_that_goes_on_and_one_that_stops_early_are_told() -> None:
    assert "nothing more was expected, but it went on with judge --enough--> END" in await refusal(
        await walked(looped(1)), ["count"]
    )
    told = await refusal(await walked(CASES["fails"].make()), ["good", ("bad", "done")])
    assert "the run stands at 'bad' (failed: ValueError: never); expected was bad --done-->" in told


async def test_after_a_gap_the_difference_stands_in_one_row() -> None:
    told = await refusal(await walked(looped(2)), [("judge", "again"), ("judge", "again")], exact=False)
    assert "at step 5" in told
    told = await refusal((await walked(looped(1))).facts, ["count", ("judge", "again"), ...], graph=looped(1))
    assert "possible at 'judge': 'again' to count, 'enough' to END" in told


async def test_a_waiting_run_may_end_with_the_place_where_it_stands() -> None:
    run = await start(CASES["asking"].make())
    await run.drive()
    assert_path(run, [])
    assert_path(run, ["ask"])
    with pytest.raises(AssertionError, match=r"the run stands at 'ask' \(waiting\)"):
        assert_path(run, ["ask", "after"])


async def test_a_step_that_is_none_is_refused() -> None:
    with pytest.raises(UserError, match=r"a step is a node, \(node, label\)"):
        assert_path(await walked(looped(1)), [3])  # type: ignore[list-item]
    with pytest.raises(UserError, match="a walk is read from a run"):
        run_path("nothing")


async def test_the_state_is_compared_by_dotted_paths() -> None:
    run = await walked(looped(2))
    assert_state(run, n=2, log=["turn 0", "turn 1"])
    assert_state(await run, {"seen.a.b": 1, "log.1": "turn 1"}, n=2)
    with pytest.raises(AssertionError) as caught:
        assert_state(run, {"seen.a.b": 2}, n=3)
    assert str(caught.value) == (
        "the state differs:\n  seen.a.b:\n    expected 2\n    found    1\n  n:\n    expected 3\n    found    2"
    )
    with pytest.raises(UserError, match=r"seen\.a has no 'c'; it has 'b'"):
        assert_state(run, {"seen.a.c": 1})
    with pytest.raises(UserError, match=r"state 'S' has no 'm'; it has 'n', 'log', 'seen'"):
        assert_state(run, m=1)


async def test_a_long_value_is_shown_as_a_difference_of_lines() -> None:
    run = await walked(looped(20))
    with pytest.raises(AssertionError, match=r'(?s)-    "turn 3x",.*\+    "turn 3",'):
        assert_state(run, log=[f"turn {i}{'x' if i == 3 else ''}" for i in range(20)])


# --- why, and where they part -----------------------------------------------------------------------------------------


async def test_explain_says_why_each_edge_was_taken_and_why_the_others_werent() -> None:
    run = await walked(looped(2))
    first = explain(run)[1]
    assert first.on == "again"
    assert (
        str(first) == "judge.1 --again--> count: the node answered 'again'\n    not enough: the node answered 'again'"
    )
    assert explain(run.facts, looped(2)) == explain(run)
    with pytest.raises(UserError, match="which graph ran"):
        explain(run.facts)


async def test_explain_tells_limits_with_their_counts() -> None:
    limited = [(one.on, one.why, one.lost) for one in explain(await walked(CASES["limited"].make()))]
    assert limited[1] == ("again", "the node answered 'again'", {"limit": "1 of 2 visits had run before"})
    assert limited[2] == (
        "limit", "the limit was reached: 2 of 2 visits had run before", {"again": "the body didn't run"},
    )  # fmt: skip


async def test_explain_tells_retries_error_edges_and_timeouts() -> None:
    retried = explain(await walked(CASES["retry"].make()))
    assert retried[0].why == "attempt 1 raised OSError: attempt 1; its retry policy allows another one after 0.5 s"
    assert retried[2].lost == {"retry": "nothing was raised"}
    (raised, _) = explain(await walked(CASES["errors"].make()))
    assert raised.why == "attempt 1 raised KeyError: 'x'"
    assert raised.lost == {"ok": "KeyError was raised", "Exception": "'LookupError' is more specific"}
    (late, _) = explain(await walked(CASES["timeout"].make()))
    assert late.why == "NodeTimeout: node 'slow' ran longer than its timeout of 0.005 s"


async def test_explain_tells_what_ended_a_wait() -> None:
    async def ask(state: S, ctx: Any) -> Pause:
        return Pause(Ask("q"), on="yes", until=ctx.now + 60, late="too_late")

    graph = Graph("asks", S, {START: ask, ask: {"yes": END, "too_late": END}})
    answered, late = simulate(graph, {"ask": _pause()}, answers={"q": 1}), simulate(graph, {"ask": _pause()})
    (one,), (other,) = explain(answered), explain(late)
    assert (one.on, one.why) == ("yes", "answered: 'q' (all of 1 needed)")
    assert one.lost == {"too_late": "the time hadn't passed"}
    assert other.on == "too_late"
    assert other.why.startswith("the time that the pause was for had passed")


def _pause() -> Pause:
    return Pause(Ask("q"), on="yes", until=1_700_000_060.0, late="too_late")


async def test_explain_tells_the_budget_that_was_used_up() -> None:
    @node
    async def spends(state: S) -> None: ...

    async def over(state: S) -> None: ...

    @node(retry=Retry(stop=2))
    async def bounded(state: S) -> str:
        return "more"

    table = {START: spends, spends: {"go": bounded, "over_budget": over}, bounded: {"more": over}, over: END}
    walk = simulate(Graph("b", S, table), input={"n": 1}, limits={"max_cost": 0.0})
    assert explain(walk)[0].why == "max_cost=0 is used up (0)"


@pytest.mark.parametrize("name", CASES)
async def test_a_walk_doesnt_part_from_itself(name: str) -> None:
    case = CASES[name]
    runs = []
    for _ in range(2):
        run = await start(case.make(), case.input, clock=ManualClock(), limits=case.limits)
        await finish(run, case.answers)
        runs.append(run)
    assert diff(*runs) is None


async def test_diff_names_where_two_walks_part_and_what_differs() -> None:
    two, three = await walked(looped(2)), await walked(looped(3))
    found = diff(two, three)
    assert found is not None
    assert (found.step, found.node, found.visit, found.what) == (4, "judge", 2, "label")
    assert (found.one, found.other) == ("'enough' to 'END'", "'again' to 'count'")
    assert str(found).startswith("step 4, node 'judge', visit 2: label differs:")


async def test_diff_tells_inputs_fields_effects_and_requests() -> None:
    def made(key: str, value: Any, n: int = 1, asked: str = "x") -> Graph:
        async def only(state: S, ctx: Any) -> dict[str, Any]:
            await ctx.once(key, lambda: value)
            await ctx.request("r", asked)
            return {"n": n}

        return Graph("g", S, {START: only, only: END})

    one = await walked(made("k", 1))
    for other, what in (
        (await walked(made("k", 2)), "effect 'k'"),
        (await walked(made("j", 1)), "effect 'j'"),
        (await walked(made("k", 1, n=2)), "field 'n'"),
        (await walked(made("k", 1, asked="y")), "request 'r'"),
        (await walked(made("k", 1), input={"n": 9}), "input 'n'"),
    ):
        found = diff(one, other)
        assert found is not None
        assert found.what == what
