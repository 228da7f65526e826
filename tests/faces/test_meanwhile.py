"""While some calls of a turn wait, a run's result tells of those that have ended."""

from __future__ import annotations

from typing import Any

import pytest

from flowcore import (
    Agent,
    MemoryStore,
    RunItemStreamEvent,
    Runner,
    RunState,
    ToolCallOutputItem,
    ToolGuardrailFunctionOutput,
    UserError,
    function_tool,
    load,
    tool_output_guardrail,
)
from flowcore.faces.results import RunResult
from flowcore.testing import ScriptedModel, function_call
from flowcore.tracing import set_trace_processors

WAYS = ("run", "streamed", "reopened")


@tool_output_guardrail
def looks(data: Any) -> ToolGuardrailFunctionOutput:
    return ToolGuardrailFunctionOutput.allow({"of": data.context.tool_call_id})


@function_tool(tool_output_guardrails=[looks], custom_data_extractor=lambda given: {"of": given.output})
def free(x: int) -> dict[str, int]:
    return {"x": x}


@function_tool(needs_approval=True)
def gated(x: int) -> str:
    return f"gated {x}"


def agent(*steps: Any, **more: Any) -> Agent[Any]:
    calls = [
        function_call("free", {"x": 1}, "c1"), function_call("gated", {"x": 2}, "c2"),
        function_call("free", {"x": 3}, "c3"), function_call("gated", {"x": 4}, "c4"),
    ]  # fmt: skip
    fields: dict[str, Any] = {"tools": [free, gated], **more}
    return Agent(name="A", model=ScriptedModel.by_turn(list(steps) or [calls, "done"]), **fields)


async def go(way: str, agent: Agent[Any], input: Any, **more: Any) -> tuple[Any, list[str | None]]:
    """The result, and the outputs' call ids as a stream told of them."""
    if way == "run":
        return await Runner.run(agent, input, **more), []
    if way == "streamed":
        streamed = Runner.run_streamed(agent, input, **more)
        told = [
            event.item.call_id
            async for event in streamed.stream_events()
            if isinstance(event, RunItemStreamEvent) and isinstance(event.item, ToolCallOutputItem)
        ]
        return streamed, told
    result = await Runner.run(agent, input, **more)
    run = await load(result.run_id, agent, store=result.run.store)  # of its bytes, as another process has it
    return await RunResult(run, result.input, run._live.context or result._options.fresh(), None)._settle(), []


def outputs(result: Any) -> list[str | None]:
    found = [one.call_id for one in result.new_items if isinstance(one, ToolCallOutputItem)]
    listed = [one["call_id"] for one in result.to_input_list() if one.get("type") == "function_call_output"]
    assert (
        found
        == listed
        == [
            one["call_id"]
            for one in result.to_input_list(mode="normalized")
            if one.get("type") == "function_call_output"
        ]
    )
    return found


@pytest.mark.parametrize("way", WAYS)
async def test_calls_that_have_ended_are_told_while_others_wait(way: str) -> None:
    clerk, store = agent(), MemoryStore(keep_bytes=True)
    first, told = await go(way, clerk, "go", store=store)
    assert [one.call_id for one in first.interruptions] == ["c2", "c4"]
    assert outputs(first) == ["c1", "c3"]
    item = next(one for one in first.new_items if isinstance(one, ToolCallOutputItem))
    assert (item.agent.name, item.custom_data) == ("A", {"of": {"x": 1}})
    assert item.output == ({"x": 1} if way != "reopened" else "{'x': 1}")  # another process has what the model was told
    assert [one.output.output_info for one in first.tool_output_guardrail_results] == [{"of": "c1"}, {"of": "c3"}]

    state = first.to_state()
    state.approve(first.interruptions[1])
    second, told_next = await go(way, clerk, state)
    assert [one.call_id for one in second.interruptions] == ["c2"]
    assert outputs(second) == ["c1", "c3", "c4"]

    state = second.to_state()
    state.approve(second.interruptions[0])
    last, told_last = await go(way, clerk, state)
    assert outputs(last) == ["c1", "c2", "c3", "c4"]
    assert (last.final_output, len(last.tool_output_guardrail_results)) == ("done", 2)
    if way == "streamed":
        assert (told, told_next, told_last) == (["c1", "c3"], ["c4"], ["c2"])


@pytest.mark.parametrize("way", WAYS)
async def test_a_rejection_is_told_while_another_call_waits_and_is_worded_once(way: str) -> None:
    asked: list[str] = []

    def word(args: Any) -> str:
        asked.append(args.call_id)
        return f"no to {args.call_id}, {len(asked)}"

    clerk = agent()
    config = {"tool_error_formatter": word}
    first, _ = await go(way, clerk, "go", run_config=config, store=MemoryStore(keep_bytes=True))
    state = first.to_state()
    state.reject(first.interruptions[0])
    second, _ = await go(way, clerk, state, run_config=config)
    assert outputs(second) == ["c1", "c2", "c3"]
    state = second.to_state()
    state.approve(second.interruptions[0])
    last, _ = await go(way, clerk, state, run_config=config)
    told = {one.call_id: one.raw_item["output"] for one in last.new_items if isinstance(one, ToolCallOutputItem)}
    assert (told["c2"], told["c4"], asked) == ("no to c2, 1", "gated 4", ["c2"])


@pytest.mark.parametrize("way", WAYS)
async def test_calls_beside_a_nested_agent_that_waits_are_told(way: str) -> None:
    inner = Agent(
        name="Inner", model=ScriptedModel.by_turn([function_call("gated", {"x": 9}, "n1"), "in"]), tools=[gated]
    )
    calls = [function_call("ask_inner", {"input": "hi"}, "a1"), function_call("free", {"x": 1}, "c1")]
    clerk = agent(calls, "done", tools=[free, inner.as_tool("ask_inner", "asks")])
    first, told = await go(way, clerk, "go", store=MemoryStore(keep_bytes=True))
    assert [one.agent.name for one in first.interruptions] == ["Inner"]
    assert outputs(first) == ["c1"]
    state = first.to_state()
    state.approve(first.interruptions[0])
    last, told_last = await go(way, clerk, state)
    assert (outputs(last), last.final_output) == (["a1", "c1"], "done")
    if way == "streamed":
        assert (told, told_last) == (["c1"], ["a1"])


async def test_a_state_from_json_tells_the_same() -> None:
    clerk = agent()
    first = await Runner.run(clerk, "go")
    state = first.to_state()
    state.approve(first.interruptions[0])
    elsewhere = agent()
    second = await Runner.run(elsewhere, await RunState.from_string(elsewhere, state.to_string()))
    assert outputs(second) == ["c1", "c2", "c3"]


async def test_what_was_told_stays_told_where_a_call_fails_then() -> None:
    @function_tool(needs_approval=True, failure_error_function=None)
    def gated(x: int) -> str:
        raise OSError("no")

    clerk = agent(tools=[free, gated])
    first = await Runner.run(clerk, "go")
    state = first.to_state()
    for item in first.interruptions:
        state.approve(item)
    with pytest.raises(UserError, match="no") as raised:
        await Runner.run(clerk, state)
    assert outputs(raised.value.run_data.result) == ["c1", "c3"]


async def test_a_turn_without_calls_that_ended_tells_nothing_more() -> None:
    first = await Runner.run(agent(function_call("gated", {"x": 2}, "c2"), "done"), "go")
    assert outputs(first) == []
    last = first.to_state()
    last.approve(first.interruptions[0])
    done = await Runner.run(first.last_agent, last)
    assert outputs(done) == ["c2"]


async def test_the_span_of_a_recorded_rejection_says_so() -> None:
    class Kept:
        def __init__(self) -> None:
            self.ended: list[Any] = []

        def on_span_end(self, span: Any) -> None:
            self.ended.append(span)

        def __getattr__(self, name: str) -> Any:
            return lambda *_: None

    kept = Kept()
    set_trace_processors([kept])
    try:
        clerk = agent()
        first = await Runner.run(clerk, "go")
        state = first.to_state()
        state.reject(first.interruptions[0])
        second = await Runner.run(clerk, state)
        state = second.to_state()
        state.approve(second.interruptions[0])
        await Runner.run(clerk, state)
    finally:
        set_trace_processors([])
    errors = {one.span_data.call_id: one.error for one in kept.ended if one.span_data.type == "function"}
    said = {"message": "Tool execution was not approved", "data": {"tool_name": "gated"}}
    assert errors == {"c1": None, "c2": said, "c3": None, "c4": None}
