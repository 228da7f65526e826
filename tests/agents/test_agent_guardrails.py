"""Guardrails: what trips, when, and what a trip stops."""

import asyncio
from typing import Any

import pytest
from agents_making import agent, begin, function_call, labels

from flowcore import (
    Agent,
    GuardrailFunctionOutput,
    InputGuardrailTripwireTriggered,
    MaxTurnsExceeded,
    MemoryStore,
    ModelError,
    NotPaused,
    OutputGuardrailTripwireTriggered,
    RunConfig,
    Runner,
    UserError,
    function_tool,
    input_guardrail,
    load,
    output_guardrail,
)
from flowcore.machine.facts import Effect
from flowcore.testing import ManualClock, ModelStep, ScriptedModel


def judging(trips: Any = False, *, seen: list[Any] | None = None, wait: float = 0, **options: Any) -> Any:
    """An input guardrail that trips, or not."""

    @input_guardrail(**options)
    async def judge(ctx, agent, input):
        if wait:
            await asyncio.sleep(wait)
        if seen is not None:
            seen.append(input)
        return GuardrailFunctionOutput({"looked at": input}, trips)

    return judge


def weighing(trips: bool = False, seen: list[Any] | None = None) -> Any:
    """An output guardrail that trips, or not."""

    @output_guardrail
    def weigh(ctx, agent, output):
        if seen is not None:
            seen.append(output)
        return GuardrailFunctionOutput("weighed", trips)

    return weigh


async def session_of(store: Any, name: str = "s") -> list[Any]:
    return [one.item for one in await store.session_items(name)]


@function_tool
async def spend(n: int) -> str:
    """Spend."""
    SPENT.append(n)
    return "spent"


SPENT: list[int] = []


@pytest.fixture(autouse=True)
def _nothing_spent():
    SPENT.clear()


async def test_a_blocking_guardrail_trips_before_the_model_is_called():
    model = ScriptedModel(["never"])
    clerk = Agent(name="A", model=model, input_guardrails=[judging(True, run_in_parallel=False)])
    with pytest.raises(InputGuardrailTripwireTriggered) as caught:
        await Runner.run(clerk, "go")
    assert model.calls == []
    found = caught.value.guardrail_result
    assert found.guardrail is clerk.input_guardrails[0]
    assert found.output.output_info == {"looked at": "go"}
    assert labels(caught.value.run_data.result.run)[1:] == ["input_guardrails:tripped", "blocked:done"]


async def test_a_blocked_run_is_final():
    clerk = Agent(name="A", model=ScriptedModel(["x"]), input_guardrails=[judging(True, run_in_parallel=False)])
    with pytest.raises(InputGuardrailTripwireTriggered) as caught:
        await Runner.run(clerk, "go")
    result = caught.value.run_data.result
    assert result.run.standing == "done"
    assert result.final_output is None
    with pytest.raises(NotPaused):
        await result.resume()


async def test_a_parallel_trip_cancels_the_model_call_at_once_and_no_tool_starts():
    cancelled = []

    async def slow(asked):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(1)
            raise

    clerk = Agent(name="A", model=ScriptedModel(slow), tools=[spend], input_guardrails=[judging(True, wait=0.01)])
    async with asyncio.timeout(5):
        with pytest.raises(InputGuardrailTripwireTriggered) as caught:
            await Runner.run(clerk, "go")
    assert cancelled == [1]
    assert labels(caught.value.run_data.result.run)[-2:] == ["call_model:tripped", "blocked:done"]


async def test_a_trip_that_comes_after_the_reply_still_comes_before_any_tool():
    clerk = agent(function_call("spend", {"n": 1}), tools=[spend], input_guardrails=[judging(True, wait=0.05)])
    with pytest.raises(InputGuardrailTripwireTriggered):
        await Runner.run(clerk, "go")
    assert SPENT == []


async def test_a_guardrail_beside_a_call_that_is_tried_again_is_asked_once():
    seen = []
    busy = ModelError("busy", status_code=503, retryable=True)
    clerk = Agent(name="A", model=ScriptedModel([busy, busy, "fine"]), input_guardrails=[judging(seen=seen)])
    run = await begin(clerk, clock=ManualClock())
    assert (run.standing, seen) == ("done", ["go"])
    assert labels(run).count("call_model:retry") == 2


async def test_a_trip_goes_before_the_error_of_the_call_beside_it_which_isnt_made_again():
    model = ScriptedModel([ModelError("busy", status_code=503, retryable=True), "never"])
    clerk = Agent(name="A", model=model, input_guardrails=[judging(True, wait=0.01)])
    run = await begin(clerk, clock=ManualClock())
    assert labels(run)[2:] == ["call_model:tripped", "blocked:done"]
    assert len(model.calls) == 1


@pytest.mark.parametrize("parallel", [True, False])
async def test_a_guardrail_that_raises_fails_the_run_which_asks_it_again_when_resumed(parallel):
    asked = []

    @input_guardrail(run_in_parallel=parallel)
    async def judge(ctx, agent, input):
        asked.append(1)
        if len(asked) == 1:
            raise OSError("unreachable")
        return GuardrailFunctionOutput(None, False)

    model = ScriptedModel(["fine"])
    run = await begin(Agent(name="A", model=model, input_guardrails=[judge]))
    assert (run.standing, asked) == ("failed", [1])
    assert isinstance(run.exception, OSError)
    assert (await (await run.resume())).output == "fine"
    assert (len(asked), len(model.calls)) == (2, 1)


async def test_input_guardrails_look_at_the_first_agents_first_input_only():
    seen = []
    model = ScriptedModel([function_call("transfer_to_b"), function_call("transfer_to_a"), "done"])
    b = Agent(name="B", model=model, input_guardrails=[judging(True)])
    a = Agent(name="A", model=model, handoffs=[b], input_guardrails=[judging(seen=seen)])
    b.handoffs.append(a)
    assert (await Runner.run(a, "go")).final_output == "done"
    assert seen == ["go"]


@pytest.mark.parametrize("parallel", [True, False])
async def test_a_run_that_began_without_a_turn_is_judged_when_it_gets_one(parallel):
    clerk = agent("never", input_guardrails=[judging(True, run_in_parallel=parallel)])
    with pytest.raises((MaxTurnsExceeded, InputGuardrailTripwireTriggered)) as caught:
        await Runner.run(clerk, "go", max_turns=0)
    if parallel:
        with pytest.raises(InputGuardrailTripwireTriggered):
            await caught.value.run_data.result.resume(limits={"max_turns": 5})


async def test_results_of_all_guardrails_stand_on_the_result_and_the_exception():
    own, runs = judging(run_in_parallel=False), judging(name="other")
    clerk = agent("fine", input_guardrails=[own], output_guardrails=[weighing()])
    config = RunConfig(input_guardrails=[runs], output_guardrails=[weighing(True)])
    with pytest.raises(OutputGuardrailTripwireTriggered) as caught:
        await Runner.run(clerk, "go", run_config=config)
    data = caught.value.run_data
    assert [one.guardrail for one in data.input_guardrail_results] == [own, runs]
    assert [one.output.tripwire_triggered for one in data.output_guardrail_results] == [False, True]
    assert data.output_guardrail_results[0].agent_output == "fine"
    assert caught.value.guardrail_result.guardrail is config.output_guardrails[0]


async def test_guardrail_results_are_read_from_the_journal_in_another_process():
    clerk = agent("fine", input_guardrails=[judging(name="j")])
    result = await Runner.run(clerk, "go")
    result._options.results = ()
    (found,) = result.input_guardrail_results
    assert found.guardrail is clerk.input_guardrails[0]
    assert found.output.output_info == {"looked at": "go"}


async def test_guardrails_are_given_the_text_or_the_items():
    seen = []
    clerk = agent("fine", "x", input_guardrails=[judging(seen=seen)])
    items = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
    await Runner.run(clerk, items)
    assert seen == [items]


async def test_an_output_guardrail_that_trips_keeps_the_rejected_output_out_of_the_session():
    store = MemoryStore()
    clerk = agent("secret", output_guardrails=[weighing(True)])
    with pytest.raises(OutputGuardrailTripwireTriggered):
        await Runner.run(clerk, "go", session="s", store=store)
    assert await session_of(store) == [{"role": "user", "content": "go"}]


async def test_turns_before_a_rejected_output_stay_in_the_session():
    store = MemoryStore()
    clerk = agent(function_call("spend", {"n": 1}), "secret", tools=[spend], output_guardrails=[weighing(True)])
    with pytest.raises(OutputGuardrailTripwireTriggered):
        await Runner.run(clerk, "go", session="s", store=store)
    kinds = [item.get("type", "message") for item in await session_of(store)]
    assert kinds == ["message", "function_call", "function_call_output"]


async def test_a_tripped_input_is_in_the_session():
    store = MemoryStore()
    for parallel in (True, False):
        clerk = agent("never", input_guardrails=[judging(True, run_in_parallel=parallel)])
        with pytest.raises(InputGuardrailTripwireTriggered):
            await Runner.run(clerk, "go", session=f"s{parallel}", store=store)
        assert await session_of(store, f"s{parallel}") == [{"role": "user", "content": "go"}]


async def test_output_guardrails_see_the_typed_output_also_of_a_tool():
    seen: list[Any] = []

    @function_tool
    async def count() -> list[int]:
        """Count."""
        return [1, 2]

    clerk = agent('{"response": [1]}', output_type=list[int], output_guardrails=[weighing(seen=seen)])
    await Runner.run(clerk, "go")
    tools = agent(
        function_call("count"), tools=[count], output_type=list[int], output_guardrails=clerk.output_guardrails
    )
    tools.tool_use_behavior = "stop_on_first_tool"
    await Runner.run(tools, "go")
    assert seen == [[1], [1, 2]]


async def test_output_guardrails_see_a_handlers_output():
    seen: list[Any] = []
    clerk = agent(output_guardrails=[weighing(seen=seen)])
    await Runner.run(clerk, "go", max_turns=0, error_handlers={"max_turns": lambda given: "over"})
    assert seen == ["over"]


async def test_a_guardrail_that_gives_something_else_is_refused():
    @input_guardrail(run_in_parallel=False)
    def wrong(ctx, agent, input):
        return True

    with pytest.raises(UserError, match="guardrail 'wrong' returned a bool"):
        await Runner.run(agent("x", input_guardrails=[wrong]), "go")


async def test_verdicts_are_effects_that_another_process_finds():
    store = MemoryStore(keep_bytes=True)
    clerk = agent("fine", input_guardrails=[judging(name="a"), judging(name="b")])
    run = await begin(clerk, store=store)
    keys = sorted(fact.key for fact in run.facts if isinstance(fact, Effect))
    assert keys == ["guardrail:0:a", "guardrail:1:b", "model"]
    again = await load(run.id, clerk, store=store)
    assert [verdict["guardrail"] for verdict in again.state.verdicts] == ["a", "b"]


async def test_the_call_beside_a_guardrail_counts_its_usage_once():
    clerk = agent(ModelStep("fine", delay=0.01), input_guardrails=[judging()])
    result = await Runner.run(clerk, "go")
    assert result.context_wrapper.usage.requests == 1
    assert result.raw_responses[0].usage.requests == 1
