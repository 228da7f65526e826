"""What a failed try used is written down when it fails, whatever else its entry still does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flowcore import Agent, InputGuardrail, MemoryStore, RunContextWrapper, Runner, Usage, function_tool
from flowcore.agents.guardrails import GuardrailFunctionOutput
from flowcore.engine.run import load, start
from flowcore.errors import ModelError, UserError
from flowcore.graph.graph import Graph
from flowcore.graph.outcomes import END, START
from flowcore.graph.state import State
from flowcore.models import ModelRetrySettings, ModelSettings
from flowcore.testing import ScriptedModel, function_call, journals, replay

SPENT = Usage(requests=1, input_tokens=10, output_tokens=3, total_tokens=13)
LITTLE = Usage(requests=1, input_tokens=4, output_tokens=1, total_tokens=5)
PASSED = GuardrailFunctionOutput(None, False)


class Held:
    """Something that waits until it's let go."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.go = asyncio.Event()

    async def wait(self, *_: Any) -> Any:
        self.begun.set()
        await self.go.wait()
        return PASSED


async def stored_usage(store: MemoryStore, run: str, least: int) -> dict[str, Any]:
    """What the store's bytes say that the run used, once they say something; nothing else has to happen for it."""
    for _ in range(2_000):
        await asyncio.sleep(0)
        facts = (await journals(store, run))[run]
        used: dict[str, Any] = {}
        for fact in facts:
            for name, count in (getattr(fact, "usage", None) or {}).items():
                used[name] = used.get(name, 0) + count
        if used.get("total_tokens", 0) >= least:
            return used
    raise AssertionError("nothing was written down")


async def test_what_a_failed_effect_spent_is_committed_beside_one_that_goes_on() -> None:
    held, store = Held(), MemoryStore()

    async def work(state: State, ctx: Any) -> None:
        async def fails() -> None:
            await held.begun.wait()
            ctx.spend(total_tokens=7)
            raise OSError("no")

        await asyncio.gather(ctx.once("slow", lambda: held.wait()), ctx.once("bad", fails))

    graph = Graph("g", State, {START: work, work: END})
    run = await start(graph, store=store, run_id="r")
    moving = asyncio.ensure_future(run.drive())
    assert await stored_usage(store, "r", 7) == {"total_tokens": 7}
    loaded = await load("r", graph, store=store)  # as another process would find it now
    assert (loaded.standing, loaded.usage) == ("running", {"total_tokens": 7})
    held.go.set()
    await moving
    assert run.usage == {"total_tokens": 7}  # once


def guarded(model: Any, *judges: Any, **more: Any) -> Agent:
    return Agent(name="A", model=model, input_guardrails=[InputGuardrail(one) for one in judges], **more)


async def test_a_reply_that_can_t_be_used_is_paid_though_a_guardrail_still_speaks() -> None:
    held, store = Held(), MemoryStore()
    model = ScriptedModel([function_call("nobody", {})], usage=SPENT)
    running = asyncio.ensure_future(Runner.run(guarded(model, held.wait), "go", store=store, run_id="r"))
    assert await stored_usage(store, "r", 13) == {
        "requests": 1, "input_tokens": 10, "output_tokens": 3, "total_tokens": 13,
    }  # fmt: skip
    held.go.set()
    with pytest.raises(Exception, match="Tool nobody not found") as raised:
        await running
    data = raised.value.run_data
    assert (data.context_wrapper.usage.requests, data.context_wrapper.usage.total_tokens) == (1, 13)
    await replay(data.result.run.facts, data.last_agent)  # raises where anything is different


async def test_a_guardrail_that_fails_after_its_nested_run_is_paid_though_the_model_still_speaks() -> None:
    held, store = Held(), MemoryStore()
    inner = Agent(name="Judge", model=ScriptedModel(["ok"], usage=LITTLE))

    async def judge(context: Any, agent: Any, input: Any) -> Any:
        await held.begun.wait()
        context.usage.add((await Runner.run(inner, "look")).context_wrapper.usage)
        raise OSError("no")

    async def slow(call: Any) -> str:
        await held.wait()
        return "Hello."

    running = asyncio.ensure_future(Runner.run(guarded(ScriptedModel(slow), judge), "go", store=store, run_id="r"))
    assert (await stored_usage(store, "r", 5))["total_tokens"] == 5
    held.go.set()
    with pytest.raises(OSError, match="no"):
        await running


async def test_a_tool_that_fails_after_its_nested_run_is_paid_though_its_sibling_goes_on() -> None:
    held, store = Held(), MemoryStore()
    inner = Agent(name="Inner", model=ScriptedModel(["ok"], usage=LITTLE))

    @function_tool(failure_error_function=None)
    async def asks(context: RunContextWrapper) -> str:
        await held.begun.wait()
        context.usage.add((await Runner.run(inner, "look")).context_wrapper.usage)
        raise OSError("no")

    @function_tool
    async def slow() -> str:
        await held.wait()
        return "done"

    model = ScriptedModel([[function_call("asks", {}), function_call("slow", {})]])
    agent = Agent(name="A", model=model, tools=[asks, slow])
    running = asyncio.ensure_future(Runner.run(agent, "go", store=store, run_id="r"))
    assert (await stored_usage(store, "r", 5))["total_tokens"] == 5
    held.go.set()
    with pytest.raises(UserError, match="no"):
        await running


async def test_a_call_that_is_tried_again_beside_a_guardrail_is_counted_once_a_try() -> None:
    async def passes(*_: Any) -> Any:
        return PASSED

    model = ScriptedModel([ModelError("away", retryable=True), "Hello."], usage=SPENT)
    retrying = ModelSettings(retry=ModelRetrySettings(max_retries=1, backoff={"initial_delay": 0}))
    agent = guarded(model, passes, model_settings=retrying)
    result = await Runner.run(agent, "go")
    assert (result.context_wrapper.usage.requests, result.context_wrapper.usage.total_tokens) == (2, 13)
    assert [one.usage.total_tokens for one in result.raw_responses] == [13]
    await replay(result.run.facts, agent)
