"""What an agent's run gives to whoever isn't a face: a graph that has it as a node, a caller of `start`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from flowcore import END, START, Agent, Graph, State, start
from flowcore.testing import ScriptedModel


class Verdict(BaseModel):
    score: int
    why: str = ""


class Review(State):
    input: str
    output: Verdict | None = None
    numbers: list[int] = []


async def test_a_typed_agents_run_gives_its_type_as_json() -> None:
    agent = Agent(output_type=Verdict, model=ScriptedModel(['{"score": 3, "why": "fine"}']))
    assert (await (await start(agent, "x"))).output == {"score": 3, "why": "fine"}
    wrapped: Any = Agent(output_type=list[int], model=ScriptedModel(['{"response": [1, 2]}']))
    assert (await (await start(wrapped, "x"))).output == [1, 2]


async def test_a_typed_agent_is_a_node_whose_field_has_that_type() -> None:
    judge: Agent[Any] = Agent(name="Judge", output_type=Verdict, model=ScriptedModel(['{"score": 8, "why": "good"}']))
    result = await (await start(Graph("g", Review, {START: judge, judge: END}), {"input": "a text"}))
    assert result.state.output == Verdict(score=8, why="good")
