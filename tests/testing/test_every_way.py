"""``every_way`` runs an agent in all ways, and tells where one of them is another run."""

from __future__ import annotations

from typing import Any

import pytest

from flowcore import Agent, MaxTurnsExceeded, SQLiteSession, UserError, function_tool
from flowcore.testing import ScriptedModel, every_way, function_call


@function_tool
async def add(a: int, b: int) -> int:
    """Add."""
    return a + b


@function_tool(needs_approval=True)
async def delete(row: str) -> str:
    """Delete."""
    return f"deleted {row}"


ADD = function_call("add", {"a": 1, "b": 2})


def clerk(*steps: Any, **more: Any) -> Agent[Any]:
    return Agent("Clerk", model=ScriptedModel.by_turn(list(steps)), tools=[add, delete], **more)


def asking() -> Agent[Any]:
    return clerk([ADD, function_call("delete", {"row": "a"}), function_call("delete", {"row": "b"})], "done")


def nesting() -> Agent[Any]:
    helper = asking()
    helper.name = "Helper"
    model = ScriptedModel.by_turn([[function_call("helper", {"input": "x"}), ADD], "done"])
    return Agent("Boss", model=model, tools=[helper.as_tool("helper"), add])


@pytest.mark.parametrize("make", [asking, nesting])
async def test_a_run_that_asks_is_the_same_in_every_way(make: Any) -> None:
    ways = await every_way(make, "go", decide=lambda item: "b" not in item.arguments)
    assert ways.error is None
    assert ways.result.final_output == "done"
    assert ways.kills > 10


async def test_decisions_may_hold_for_all_calls_and_say_why() -> None:
    no = {"approve": False, "message": "not today", "always": True}
    ways = await every_way(asking, "go", decide=lambda item: no)
    told = [one.output for one in ways.result.new_items if one.type == "tool_call_output_item"]
    assert told == [3, "not today", "not today"]


async def test_an_error_is_the_same_in_every_way_too() -> None:
    ways = await every_way(lambda: clerk(ADD, ADD, ADD), "go", given=lambda: {"max_turns": 2})
    assert isinstance(ways.error, MaxTurnsExceeded)


async def test_a_run_that_is_another_one_when_its_streamed_is_told() -> None:
    def speaking() -> Agent[Any]:
        return Agent("A", model=ScriptedModel(lambda call: "streamed" if call.stream else "whole"))

    with pytest.raises(AssertionError, match="streamed, its final output is 'streamed'; awaited it's 'whole'"):
        await every_way(speaking, "go")


async def test_a_tool_that_says_something_else_after_a_kill_is_told() -> None:
    said = iter(range(1_000))

    @function_tool
    def count() -> str:
        """Count."""
        return str(next(said))

    with pytest.raises(AssertionError):
        await every_way(
            lambda: Agent("A", model=ScriptedModel.by_turn([function_call("count"), "ok"]), tools=[count]), "go"
        )


async def test_a_store_or_a_session_elsewhere_is_refused() -> None:
    with pytest.raises(UserError, match="run_id is what each way has of its own"):
        await every_way(asking, "go", given=lambda: {"run_id": "mine"})
    session = SQLiteSession("s")
    with pytest.raises(UserError, match="name a session by its id"):
        await every_way(asking, "go", given=lambda: {"session": session})
    session.close()
