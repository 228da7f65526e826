"""Tool calls that a crash broke off, as an agent's run shows them: interruptions that a yes doesn't settle."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flowcore import Agent, Runner, RunState, ToolApprovalItem, ToolContext, ToolInDoubtItem, function_tool
from flowcore.agents.options import Options
from flowcore.engine.run import resume
from flowcore.errors import EffectInDoubt, UserError
from flowcore.faces.results import RunResult
from flowcore.stores.memory import MemoryStore
from flowcore.testing import Crash, CrashingStore, ScriptedModel, function_call


class Bank:
    """Pays, and dies right after that as long as ``deadly``; ``paid``: the idempotency keys."""

    def __init__(self, nested: bool = False) -> None:
        self.paid: list[str] = []
        self.deadly = True
        self.inner = MemoryStore(keep_bytes=True)
        self.store: Any = CrashingStore(self.inner)

        @function_tool(on_crash="ask")
        async def pay(ctx: ToolContext[Any], cents: int) -> str:
            """Pay."""
            self.paid.append(ctx.idempotency_key)
            if self.deadly:
                self.deadly, self.store.left = False, 0
            return f"paid {cents}"

        clerk = Agent(
            name="clerk", tools=[pay], model=ScriptedModel([function_call("pay", '{"cents": 5}', "c1"), "ok"])
        )
        if nested:
            tool = clerk.as_tool("clerk", "Ask the clerk.")
            boss = ScriptedModel([function_call("clerk", '{"input": "pay"}', "n1"), "ok"])
            clerk = Agent(name="boss", tools=[tool], model=boss)
        self.agent = clerk

    async def in_doubt(self) -> RunResult:
        """The result of a run whose process died right after it had paid, as whoever resumes it gets it."""
        with pytest.raises(Crash):
            await Runner.run(self.agent, "go", store=self.store, run_id="r")
        await self.store.bury()
        options = Options()
        again = await resume("r", self.agent, store=self.inner, context=options)
        result = await RunResult(again, "go", options, None).resume()
        assert again.standing == "waiting"
        return result


async def test_a_call_in_doubt_is_an_interruption_that_says_what_it_is() -> None:
    bank = Bank()
    result = await bank.in_doubt()
    (item,) = result.interruptions
    assert isinstance(item, ToolInDoubtItem)
    assert isinstance(item, ToolApprovalItem)
    assert (item.type, item.name, item.call_id, item.arguments) == ("tool_in_doubt_item", "pay", "c1", '{"cents": 5}')
    assert item.idempotency_key == bank.paid[0] == "r/run_tools.1/0:c1"
    assert item.agent.name == "clerk"
    assert not [one for one in result.new_items if isinstance(one, ToolApprovalItem)]


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize(("said", "output", "times"), [("retry", "paid 5", 2), ("value", "the bank says yes", 1)])
async def test_it_is_resolved_through_the_state(nested: bool, kept: bool, said: str, output: str, times: int) -> None:
    bank = Bank(nested)
    state = (await bank.in_doubt()).to_state()
    (item,) = state.get_interruptions()
    if said == "retry":
        state.resolve(item, "retry")
    else:
        state.resolve(item, value="the bank says yes")
    if kept:
        state = await RunState.from_json(bank.agent, json.loads(json.dumps(state.to_json())))
    result = await Runner.run(bank.agent, state)
    assert result.final_output == "ok"
    assert len(bank.paid) == times
    if not nested:
        assert [one.output for one in result.new_items if one.type == "tool_call_output_item"] == [output]


@pytest.mark.parametrize("nested", [False, True])
async def test_one_that_is_given_up_fails_the_run_and_no_model_is_told(nested: bool) -> None:
    bank = Bank(nested)
    state = (await bank.in_doubt()).to_state()
    state.resolve(state.get_interruptions()[0], "fail")
    with pytest.raises(EffectInDoubt, match="given up, as answered") as raised:
        await Runner.run(bank.agent, state)
    again = await raised.value.run_data.result.resume()  # type: ignore[attr-defined]
    (item,) = again.interruptions
    state = again.to_state()
    state.resolve(item, value="yes")
    assert (await Runner.run(bank.agent, state)).final_output == "ok"
    assert len(bank.paid) == 1


async def test_neither_a_yes_nor_a_no_settles_it() -> None:
    bank = Bank()
    state = (await bank.in_doubt()).to_state()
    (item,) = state.get_interruptions()
    for decide in (state.approve, state.reject):
        with pytest.raises(UserError, match="may have happened before a crash: neither a yes nor a no settles it"):
            decide(item)
    for wrong in ({}, {"how": "again"}, {"how": "retry", "value": 1}):
        with pytest.raises(UserError, match="resolve"):
            state.resolve(item, **wrong)
    state.resolve(item, "retry")
    damaged = state.to_json()
    damaged["decisions"][0]["in_doubt"] = "approve"
    with pytest.raises(UserError, match="'decisions' are malformed"):
        await RunState.from_json(bank.agent, damaged)


async def test_what_waits_for_approval_isnt_in_doubt() -> None:
    @function_tool(needs_approval=True)
    def refund() -> str:
        """Pay back."""
        return "done"

    agent = Agent(name="a", tools=[refund], model=ScriptedModel([function_call("refund", "{}"), "ok"]))
    state = (await Runner.run(agent, "go")).to_state()
    with pytest.raises(UserError, match="isn't in doubt, it waits for approve"):
        state.resolve(state.get_interruptions()[0], "retry")
