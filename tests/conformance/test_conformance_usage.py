"""Section 15: usage: what a run and all that it called used, the same whichever way it was run."""

from typing import Any

import pytest
from conformance_making import WAYS, add, adding, agent, caught, delete, deleting, go, in_turn

from flowcore import (
    Agent,
    GuardrailFunctionOutput,
    ModelRetrySettings,
    ModelSettings,
    RequestUsage,
    RunContextWrapper,
    RunHooks,
    Runner,
    RunState,
    Usage,
    function_tool,
    input_guardrail,
    retry_policies,
)
from flowcore.errors import ModelError
from flowcore.models.usage import InputTokensDetails, OutputTokensDetails
from flowcore.testing import ModelStep, ScriptedModel, function_call

ways = pytest.mark.parametrize("way", WAYS)


def used(inputs: int, outputs: int, **details: int) -> Usage:
    return Usage(
        requests=1, input_tokens=inputs, output_tokens=outputs, total_tokens=inputs + outputs,
        input_tokens_details=InputTokensDetails(details.get("cached", 0), details.get("written", 0)),
        output_tokens_details=OutputTokensDetails(details.get("reasoning", 0)),
    )  # fmt: skip


def step(output: Any, inputs: int, outputs: int, **details: int) -> ModelStep:
    return ModelStep(output, usage=used(inputs, outputs, **details))


def numbers(usage: Usage) -> tuple[int, int, int, int]:
    return usage.requests, usage.input_tokens, usage.output_tokens, usage.total_tokens


def requests(usage: Usage) -> list[tuple[int, int, int]]:
    return [(one.input_tokens, one.output_tokens, one.total_tokens) for one in usage.request_usage_entries]


# --- the class --------------------------------------------------------------------------------------------------------


def test_a_usage_begins_at_zero_with_details_and_no_entries():
    usage = Usage()
    assert numbers(usage) == (0, 0, 0, 0)
    assert (usage.input_tokens_details.cached_tokens, usage.input_tokens_details.cache_write_tokens) == (0, 0)
    assert usage.output_tokens_details.reasoning_tokens == 0
    assert usage.request_usage_entries == []


def test_add_sums_every_figure_and_keeps_an_entry_per_request():
    usage = Usage()
    usage.add(used(10, 2, cached=3, written=1, reasoning=1))
    usage.add(used(20, 5, cached=4, written=2, reasoning=2))
    assert numbers(usage) == (2, 30, 7, 37)
    assert (usage.input_tokens_details.cached_tokens, usage.input_tokens_details.cache_write_tokens) == (7, 3)
    assert usage.output_tokens_details.reasoning_tokens == 3
    assert requests(usage) == [(10, 2, 12), (20, 5, 25)]
    assert all(isinstance(one, RequestUsage) for one in usage.request_usage_entries)
    more = Usage()
    more.add(usage)
    assert requests(more) == requests(usage)


def test_a_request_without_tokens_is_no_entry():
    usage = Usage()
    usage.add(Usage(requests=1))
    assert (usage.requests, usage.request_usage_entries) == (1, [])


# --- a run's ----------------------------------------------------------------------------------------------------------


def two_turns() -> Agent:
    return agent(step(adding(), 10, 2, cached=3, written=1), step("3", 20, 5, reasoning=4), tools=[add])


@ways
async def test_the_context_wrappers_usage_sums_the_calls_and_has_an_entry_for_each(way):
    usage = (await go(way, two_turns())).context_wrapper.usage
    assert isinstance(usage, Usage)
    assert numbers(usage) == (2, 30, 7, 37)
    assert (usage.input_tokens_details.cached_tokens, usage.input_tokens_details.cache_write_tokens) == (3, 1)
    assert usage.output_tokens_details.reasoning_tokens == 4
    assert requests(usage) == [(10, 2, 12), (20, 5, 25)]
    assert usage.request_usage_entries[0].input_tokens_details.cached_tokens == 3
    assert usage.request_usage_entries[1].output_tokens_details.reasoning_tokens == 4


@ways
async def test_each_response_has_its_own_usage(way):
    result = await go(way, two_turns())
    assert [numbers(one.usage) for one in result.raw_responses] == [(1, 10, 2, 12), (1, 20, 5, 25)]


@ways
async def test_usage_is_the_same_run_streamed_and_resumed_here_and_elsewhere(way):
    def clerk() -> Agent:
        return agent(step(adding(), 10, 2, cached=3), step(deleting(), 20, 3), step("done", 30, 4, reasoning=2),
                     tools=[add, delete])  # fmt: skip

    steps = step(adding(), 10, 2, cached=3), step(adding("c2"), 20, 3), step("done", 30, 4, reasoning=2)
    plain = agent(*steps, tools=[add])
    whole = (await go(way, plain)).context_wrapper.usage
    for elsewhere in (False, True):
        mine = clerk()
        result = await go(way, mine)
        assert numbers(result.context_wrapper.usage) == (2, 30, 5, 35)
        state = result.to_state()
        if elsewhere:
            mine = clerk()
            state = await RunState.from_string(mine, state.to_string())
        assert numbers(state.usage) == (2, 30, 5, 35)
        state.approve(state.get_interruptions()[0])
        usage = (await go(way, mine, state)).context_wrapper.usage
        assert usage == whole
        assert requests(usage) == [(10, 2, 12), (20, 3, 23), (30, 4, 34)]


@ways
async def test_a_failed_runs_usage_is_what_it_had_used(way):
    error = await caught(way, agent(step(adding(), 10, 2), ValueError("down"), tools=[add]))
    usage = error.run_data.context_wrapper.usage
    assert (usage.requests, usage.total_tokens) == (2, 12)
    assert requests(usage)[0] == (10, 2, 12)


@ways
@pytest.mark.parametrize("extract", [False, True])
async def test_a_nested_agents_usage_is_its_callers_too(way, extract):
    inner = in_turn(step(adding(), 5, 1), step("3", 6, 1), name="Inner", tools=[add])
    more = {"custom_output_extractor": lambda result: result.final_output} if extract else {}
    outer = agent(step(function_call("inner", {"input": "x"}, "t1"), 10, 2), step("done", 20, 3),
                  tools=[inner.as_tool("inner", "Inner.", **more)])  # fmt: skip
    usage = (await go(way, outer)).context_wrapper.usage
    assert numbers(usage) == (4, 41, 7, 48)
    assert sorted(requests(usage)) == [(5, 1, 6), (6, 1, 7), (10, 2, 12), (20, 3, 23)]


@ways
async def test_a_nested_agents_usage_counts_though_it_failed_and_its_caller_was_told(way):
    inner = in_turn(step(adding(), 5, 1), ValueError("down"), name="Inner", tools=[add])
    outer = agent(step(function_call("inner", {"input": "x"}, "t1"), 10, 2), step("done", 20, 3),
                  tools=[inner.as_tool("inner", "Inner.")])  # fmt: skip
    usage = (await go(way, outer)).context_wrapper.usage
    assert (usage.requests, usage.total_tokens) == (4, 41)


@ways
async def test_a_nested_agents_usage_counts_though_it_failed_and_the_run_with_it_and_once_when_it_goes_on(way):
    inner = in_turn(step(adding(), 5, 1), ValueError("down"), step("inner", 7, 1), name="Inner", tools=[add])
    outer = agent(step(function_call("inner", {"input": "x"}, "t1"), 10, 2), step("done", 20, 3),
                  tools=[inner.as_tool("inner", "Inner.", failure_error_function=None)])  # fmt: skip
    error = await caught(way, outer)
    result = await go(way, outer, error.run_data.result.to_state())
    usage = result.context_wrapper.usage
    assert (usage.requests, usage.total_tokens) == (5, 12 + 6 + 8 + 23)


@ways
async def test_a_waiting_nested_agents_usage_is_known_to_the_caller(way):
    inner = in_turn(step(deleting(), 5, 1), step("inner", 7, 1), name="Inner", tools=[delete])
    outer = agent(step(function_call("inner", {"input": "x"}, "t1"), 10, 2), step("done", 20, 3),
                  tools=[inner.as_tool("inner", "Inner.")])  # fmt: skip
    result = await go(way, outer)
    assert result.context_wrapper.usage.total_tokens == 18
    assert requests(result.context_wrapper.usage) == [(10, 2, 12), (5, 1, 6)]
    state = result.to_state()
    assert state.usage.total_tokens == 18
    state = await RunState.from_string(outer, state.to_string())
    assert state.usage.total_tokens == 18
    state.approve(state.get_interruptions()[0])
    usage = (await go(way, outer, state)).context_wrapper.usage
    assert numbers(usage) == (4, 42, 7, 49)


@ways
async def test_a_nested_agent_that_failed_before_a_pause_counts_once(way):
    inner = in_turn(step(adding(), 5, 1), ValueError("down"), name="Inner", tools=[add])
    calls = [function_call("inner", {"input": "x"}, "t1"), deleting("a", "d1")]
    outer = agent(step(calls, 10, 2), step(deleting("b", "d2"), 20, 3), step("done", 30, 4),
                  tools=[inner.as_tool("inner", "Inner."), delete])  # fmt: skip
    result = await go(way, outer)
    assert result.context_wrapper.usage.total_tokens == 18
    for total in (41, 75):
        state = await RunState.from_string(outer, result.to_state().to_string())
        state.approve(state.get_interruptions()[0])
        result = await go(way, outer, state)
        assert result.context_wrapper.usage.total_tokens == total
    found = sorted(requests(result.context_wrapper.usage))
    assert found == [(0, 0, 0), (5, 1, 6), (10, 2, 12), (20, 3, 23), (30, 4, 34)]


@ways
async def test_failed_retries_count_as_requests(way):
    settings = ModelSettings(retry=ModelRetrySettings(max_retries=2, policy=retry_policies.network_error(),
                                                      backoff={"initial_delay": 0, "jitter": False}))  # fmt: skip
    clerk = in_turn(ModelError("reset", retryable=True), step("done", 10, 2), model_settings=settings)
    usage = (await go(way, clerk)).context_wrapper.usage
    assert numbers(usage) == (2, 10, 2, 12)
    assert requests(usage) == [(0, 0, 0), (10, 2, 12)]


@ways
async def test_a_run_inside_a_guardrail_or_a_tool_counts_where_it_shares_the_context(way):
    judge_model = in_turn(step("fine", 3, 1), name="Judge")

    @input_guardrail
    async def judge(ctx, agent, input):
        result = await Runner.run(judge_model, input, context=ctx.context)
        ctx.usage.add(result.context_wrapper.usage)
        return GuardrailFunctionOutput(None, False)

    clerk = in_turn(step("done", 10, 2), input_guardrails=[judge])
    usage = (await go(way, clerk)).context_wrapper.usage
    assert numbers(usage) == (2, 13, 3, 16)


@ways
async def test_a_tool_adds_what_it_used_itself(way):
    @function_tool
    async def spend(ctx: RunContextWrapper[Any], x: int) -> str:
        """Spend."""
        ctx.usage.add(used(3, 1))
        return "spent"

    clerk = agent(step(function_call("spend", {"x": 1}, "c1"), 10, 2), step("done", 20, 3), tools=[spend])
    usage = (await go(way, clerk)).context_wrapper.usage
    assert numbers(usage) == (3, 33, 6, 39)


@ways
async def test_what_a_tool_added_goes_along_with_a_state(way):
    @function_tool
    async def spend(ctx: RunContextWrapper[Any], x: int) -> str:
        """Spend."""
        ctx.usage.add(used(3, 1))
        return "spent"

    calls = [function_call("spend", {"x": 1}, "c1"), deleting()]
    clerk = agent(step(calls, 10, 2), step("done", 20, 3), tools=[spend, delete])
    state = await RunState.from_string(clerk, (await go(way, clerk)).to_state().to_string())
    assert numbers(state.usage) == (2, 13, 3, 16)
    state.approve(state.get_interruptions()[0])
    assert numbers((await go(way, clerk, state)).context_wrapper.usage) == (3, 33, 6, 39)


@ways
async def test_hooks_and_tools_see_what_was_used_until_then(way):
    seen: list[tuple[str, int, int]] = []

    class Hooks(RunHooks):
        async def on_llm_start(self, context, agent, system_prompt, input_items):
            seen.append(("start", context.usage.requests, context.usage.total_tokens))

        async def on_llm_end(self, context, agent, response):
            seen.append(("end", context.usage.requests, context.usage.total_tokens))

        async def on_tool_start(self, context, agent, tool):
            seen.append(("tool", context.usage.requests, context.usage.total_tokens))

    await go(way, two_turns(), hooks=Hooks())
    assert seen == [("start", 0, 0), ("end", 1, 12), ("tool", 1, 12), ("start", 1, 12), ("end", 2, 37)]


async def test_while_a_reply_streams_the_usage_is_that_of_the_replies_before():
    result = Runner.run_streamed(in_turn(step("one two three", 10, 2)), "go")
    before = set()
    async for event in result.stream_events():
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
            before.add(result.context_wrapper.usage.total_tokens)
    assert before == {0}
    assert result.context_wrapper.usage.total_tokens == 12


@ways
async def test_who_holds_the_wrapper_sees_its_usage_grow(way):
    held: list[Any] = []

    def instructions(ctx: Any, agent: Any) -> str:
        held.append(ctx)
        return "Be kind."

    clerk = two_turns()
    clerk.instructions = instructions
    result = await go(way, clerk)
    assert all(one.usage is result.context_wrapper.usage for one in held)
    assert held[0].usage.total_tokens == 37


@ways
async def test_there_is_no_limit_to_usage_but_one_that_is_asked_for(way):
    assert (await go(way, agent(step("done", 10**9, 10**9)))).context_wrapper.usage.total_tokens == 2 * 10**9


@ways
async def test_what_a_model_call_used_that_a_handoff_followed_counts(way):
    other = in_turn(step("done", 7, 1), name="B")
    first = in_turn(step(function_call("transfer_to_b", {}, "h1"), 10, 2), name="A", handoffs=[other])
    usage = (await go(way, first)).context_wrapper.usage
    assert numbers(usage) == (2, 17, 3, 20)


@ways
async def test_a_model_that_tells_no_usage_still_counts_as_a_request(way):
    clerk = Agent(name="A", model=ScriptedModel(["hi"]))
    usage = (await go(way, clerk)).context_wrapper.usage
    assert numbers(usage) == (1, 0, 0, 0)
