"""A run's walk as a networkx graph."""

from __future__ import annotations

import pytest

from flowcore import END, START, Agent, Context, Graph, Json, State, Usage, function_tool, map, node, start
from flowcore.testing import ModelStep, ReplayDiverged, ScriptedModel, function_call, replay


@function_tool
def look() -> str:
    """Look."""
    return "seen"


async def test_a_walks_nodes_tell_turn_tokens_agent_and_duration() -> None:
    other = Agent(name="Other", model=ScriptedModel(["bye"]))
    steps = [ModelStep(function_call("look"), usage=Usage(1, 5, output_tokens=2, total_tokens=7)),
             function_call("transfer_to_other")]  # fmt: skip
    agent = Agent(name="First", tools=[look], handoffs=[other], model=ScriptedModel(steps))
    run = await start(agent, "hi")
    await run
    walk = run.graph
    called = [data for _, data in walk.nodes(data=True) if data["node"] == "call_model"]
    assert [data["turn"] for data in called] == [1, 2, 3]
    assert [data["agent"] for data in called] == ["First", "First", "Other"]
    assert called[0]["tokens"] == 7
    assert all(data["duration"] >= 0 for data in called)
    assert len(walk) == len(run.path())
    assert [data["on"] for _, _, data in walk.edges(data=True)] == [step.on for step in run.path()][:-1]


class S(State):
    todo: list[int] = []
    done: list[Json] = []


async def double(item: int) -> int:
    return item * 2


async def test_children_are_nested_in_the_transition_of_the_visit_that_ran_them() -> None:
    fan = map(double, over="todo", into="done", name="each")
    run = await start(Graph("g", S, {START: fan, fan: END}), {"todo": [1, 2]}, run_id="r")
    await run
    (data,) = [data for _, data in run.graph.nodes(data=True)]
    assert data["children"] == {"0": "r/each.1/0", "1": "r/each.1/1"}
    (data,) = [data for _, data in (await run.nested_graph()).nodes(data=True)]
    assert [child["on"] for _, child in data["children"]["0"].nodes(data=True)] == ["done"]


def test_a_fan_out_is_drawn_as_one() -> None:
    fan = map(double, over="todo", into="done", name="each")
    assert "note right of each : map of double" in Graph("g", S, {START: fan, fan: END}).mermaid()


async def test_a_run_replays_itself_and_fails_at_the_first_difference() -> None:
    calls: list[int] = []

    async def work(state: S, ctx: Context) -> dict[str, list[int]]:
        return {"done": [await ctx.once("roll", lambda: calls.append(1) or len(calls), returns=int)]}

    graph = Graph("g", S, {START: work, work: END})
    run = await start(graph)
    await run
    played = await run.replay()
    assert played.standing == "done"
    assert calls == [1], "nothing recorded is done again"

    async def other(state: S, ctx: Context) -> dict[str, list[int]]:
        return {"done": [await ctx.once("roll", lambda: 1, returns=int), 7]}

    changed = Graph("g", S, {START: node(name="work")(other), "work": END})
    with pytest.raises(ReplayDiverged, match="done"):
        await replay(run, changed)
