"""Observers: what they're told, and where code stands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from flowcore import END, START, Context, Graph, Json, State, start
from flowcore.engine.events import Committed
from flowcore.engine.observe import HERE, OBSERVERS, Noted, Where
from flowcore.engine.run import Run
from flowcore.machine.facts import Intent, Started


class Told:
    """Keeps what it's told."""

    def __init__(self) -> None:
        self.before: list[Any] = []
        self.told: list[Any] = []

    def admitted(self, meta: dict[str, Any]) -> dict[str, Any]:
        return {"seen": True}

    def watch(self, live: Any) -> Any:
        self.before = list(live.facts)
        return self.told.append


@pytest.fixture
def told() -> Iterator[Told]:
    observer = Told()
    OBSERVERS.append(observer)
    yield observer
    OBSERVERS.remove(observer)


class Words(State):
    said: list[Json] = []
    written: str = ""


def graph_of(fn: Any) -> Graph:
    return Graph("watched", Words, {START: fn, fn: END})


async def begun(fn: Any) -> Run:
    return await start(graph_of(fn))


async def test_an_observer_is_told_each_committed_fact_and_what_is_noted(told: Told) -> None:
    async def say(state: Words, ctx: Context) -> dict[str, Any]:
        assert not ctx.listening  # an observer is no reader: nothing streams for it
        ctx.note("greet", prompt="hi")
        return {"said": [await ctx.once("greet", lambda: "hello")]}

    run = await begun(say)
    await run
    assert run.meta == {"seen": True}
    assert [type(fact) for fact in told.before] == [Started]
    assert [one.fact for one in told.told if isinstance(one, Committed)] == run.facts[1:]
    assert Noted(run.id, "say", 1, "greet", {"prompt": "hi"}) in told.told


async def test_an_observer_that_raises_does_no_harm(told: Told) -> None:
    told.watch = lambda live: lambda what: 1 / 0  # type: ignore[method-assign]

    async def say(state: Words, ctx: Context) -> dict[str, Any]:
        return {"written": "yes"}

    assert (await (await begun(say))).state.written == "yes"


async def test_running_code_knows_where_it_stands_for_observers(told: Told) -> None:
    seen: list[Where | None] = []

    async def say(state: Words, ctx: Context) -> None:
        seen.append(HERE.get())
        await ctx.once("inside", lambda: seen.append(HERE.get()))
        seen.append(HERE.get())

    run = await begun(say)
    await run
    place = Where(run.id, "say", 1)
    assert seen == [place, place._replace(key="inside"), place]
    assert HERE.get() is None


async def test_an_effect_that_raised_is_looked_up_in_the_world_before_it_is_tried_again() -> None:
    world: list[str] = []

    async def write() -> str:
        world.append("x")
        raise ConnectionError("the answer was lost")

    async def check() -> dict[str, Any] | None:
        return {"value": "found"} if world else None

    async def say(state: Words, ctx: Context) -> dict[str, Any]:
        return {"written": await ctx.once("write", write, on_crash=check)}

    run = await begun(say)
    with pytest.raises(ConnectionError):
        await run
    assert [fact.on_crash for fact in run.facts if isinstance(fact, Intent)] == ["check"]
    await run.resume()
    assert (await run).state.written == "found"
    assert world == ["x"]
