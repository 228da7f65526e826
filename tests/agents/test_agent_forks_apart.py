"""A fork and its base in one process don't share what they learn."""

from __future__ import annotations

from flowcore import Agent, MemoryStore, Options, function_tool, start
from flowcore.testing import ScriptedModel, function_call


@function_tool
def roll() -> int:
    """Roll."""
    return next(ROLLS)


ROLLS = iter([3, 5])


async def test_a_fork_that_keeps_its_bases_options_keeps_its_tools_values_apart() -> None:
    agent = Agent(name="A", tools=[roll], model=ScriptedModel.by_turn([function_call("roll", call_id="c"), "done"]))
    options = Options()
    run = await start(agent, "go", store=MemoryStore(), context=options)
    await run
    called = next(fact.seq for fact in run.facts if getattr(fact, "on", None) == "tool_calls")
    fork = await run.fork(called)
    await fork
    outputs = [item["output"] for item in fork.state.items if item.get("type") == "function_call_output"]
    assert outputs == ["5"]
    assert list(options.values.values()) == [3]
