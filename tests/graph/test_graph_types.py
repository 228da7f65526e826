"""States that are dataclasses; inputs and outputs with types of their own."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from flowcore import END, START, Graph, GraphError, Json, State, UpdateError, append, start
from flowcore.testing import kill_everywhere


@dataclass
class Count:
    start: int
    n: int = 0
    log: Annotated[list[str], append] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Tight:
    n: int = 0


async def bump(state: Any) -> dict[str, Any]:
    return {"n": state.n + 1}


async def count(state: Count) -> dict[str, Any]:
    return {"n": state.start + 1, "log": ["counted"]}


def counting(**more: Any) -> Graph:
    return Graph("count", Count, {START: count, count: END}, **more)


async def test_a_state_may_be_a_dataclass() -> None:
    result = await (await start(counting(), {"start": 2}))
    assert isinstance(result.state, Count)
    assert (result.state.n, result.state.log, result.output) == (
        3,
        ["counted"],
        {"start": 2, "n": 3, "log": ["counted"]},
    )
    assert (await (await start(counting(), Count(5)))).state.n == 6
    assert (await kill_everywhere(counting, {"start": 1})).standing == "done"


async def test_a_dataclass_state_is_read_only_for_nodes() -> None:
    async def write(state: Count) -> None:
        state.n = 9

    run = await start(Graph("g", Count, {START: write, write: END}), {"start": 1})
    with pytest.raises((TypeError, dataclasses.FrozenInstanceError)):
        await run
    assert run.state.n == 0


async def test_a_frozen_dataclass_with_slots_will_do() -> None:
    result = await (await start(Graph("g", Tight, {START: bump, bump: END})))
    assert result.state.n == 1


async def test_a_dataclass_states_updates_are_checked_like_any_others() -> None:
    async def wrong(state: Count) -> Any:
        values: dict[str, Any] = {"n": "x"}
        return values

    run = await start(Graph("g", Count, {START: wrong, wrong: END}), {"start": 1})
    with pytest.raises(UpdateError, match="field 'n'"):
        await run
    with pytest.raises(UpdateError, match="needs 'start' to start"):
        await start(counting())


class Question(BaseModel):
    start: int


class Answer(BaseModel):
    n: int


async def test_input_and_output_may_have_types_of_their_own() -> None:
    graph = counting(input_type=Question, output_type=Answer)
    result = await (await start(graph, Question(start=2)))
    assert result.output == {"n": 3}
    assert (await (await start(graph, {"start": 3}))).output == {"n": 4}
    assert (await kill_everywhere(lambda: counting(input_type=Question, output_type=Answer), {"start": 3})).output == {
        "n": 4
    }
    with pytest.raises(UpdateError, match="input type 'Question'"):
        await start(graph, {"start": "many"})
    with pytest.raises(UpdateError, match="expected one or a dict"):
        await start(graph, 3)


class Elsewhere(BaseModel):
    other: int


class Open(State):
    anything: Json = None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: counting(input_type=Elsewhere), "has fields that state 'Count' doesn't have: 'other'"),
        (lambda: counting(input_type=Answer), "lacks 'start', which state 'Count' needs to start"),
        (lambda: counting(output_type=int), "is no pydantic model and no dataclass"),
        (lambda: counting(input_type=Question, takes="start"), "nothing else says what it takes"),
        (lambda: Graph("g", int, {}), "a state is a pydantic model .* or a dataclass"),
    ],
)
def test_types_that_do_not_fit_are_refused(make: Any, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        make()
