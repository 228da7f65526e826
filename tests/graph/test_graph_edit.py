"""Graphs made of graphs: a node before, after or instead of one."""

from __future__ import annotations

from typing import Annotated, Any

import pytest

from flowcore import END, START, Agent, Goto, Graph, GraphError, State, append, node, otherwise, start, when
from flowcore.testing import ScriptedModel, function_call, kill_everywhere


class S(State):
    n: int = 0
    log: Annotated[list[str], append] = []


@node(limit=3)
async def one(state: S) -> dict[str, Any]:
    return {"n": state.n + 1, "log": ["one"]}


async def two(state: S) -> dict[str, Any]:
    return {"log": ["two"]}


async def extra(state: S) -> dict[str, Any]:
    return {"log": ["extra"]}


def graph() -> Graph:
    return Graph("g", S, {START: one, one: two, two: [when("n", ">=", 2, END), (OSError, END), otherwise(one)]})


async def log_of(made: Graph) -> list[str]:
    return list((await (await start(made))).state.log)


async def test_a_node_before_another_stands_on_every_way_into_it() -> None:
    assert await log_of(graph().insert(extra, before="one")) == ["extra", "one", "two", "extra", "one", "two"]


async def test_a_node_after_another_stands_on_one_edge() -> None:
    assert await log_of(graph().insert(extra, after="one")) == ["one", "extra", "two", "one", "extra", "two"]
    assert await log_of(graph().insert(extra, after="two", on="n >= 2")) == ["one", "two", "one", "two", "extra"]


async def test_a_node_takes_anothers_place() -> None:
    assert await log_of(graph().replace("two", extra)) == ["one", "extra", "one", "extra"]


async def test_the_graph_it_was_made_of_stays_as_it_is() -> None:
    first = graph()
    drawing = first.mermaid()
    first.insert(extra, before="one")
    assert first.mermaid() == drawing
    assert first.fingerprint != first.insert(extra, before="one").fingerprint


async def test_a_node_is_put_into_an_agents_loop() -> None:
    async def redact(state: Any, ctx: Any) -> dict[str, Any]:
        return {
            "verdicts": [{"guardrail": "redact", "kind": "own", "agent": state.agent, "tripped": False, "info": None}]
        }

    def made() -> Graph:
        agent = Agent(name="A", model=ScriptedModel.by_turn([function_call("nothing"), "done"]), tools=[nothing])
        return agent.graph.insert(redact, before="call_model")

    result = await (await start(made(), "hi"))
    assert result.output == "done"
    assert [step.node for step in result.path].count("redact") == 2
    assert (await kill_everywhere(made, "hi")).output == "done"


def nothing() -> str:
    """Do nothing."""
    return "nothing"


async def go_wrong(state: S) -> Goto[Any]:
    return Goto("nowhere")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: graph().insert(extra, before="nope"), "has no node 'nope'; its nodes are 'one', 'two'"),
        (lambda: graph().insert(extra, after="two"), "has several edges; say on which: 'n >= 2'"),
        (lambda: graph().insert(extra, after="one", on="no"), "has no edge 'no'; its edges are 'done'"),
        (lambda: graph().insert(extra), "either before= or after="),
        (lambda: graph().insert(one, before="two"), "has a node 'one' already"),
        (lambda: graph().replace("one", go_wrong), "returns 'nowhere'|nothing bounds the cycle"),
    ],
)
def test_what_can_not_be_put_in_is_refused(make: Any, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        make()
