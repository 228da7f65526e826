"""Section 13: stream events: their names, fields and order, and who reads them."""

import asyncio
import gc
from typing import Any

import pytest
from conformance_making import add, adding, agent, delete, deleting, in_turn, until_raised
from openai.types.responses import ResponseCompletedEvent, ResponseTextDeltaEvent

from flowcore import (
    Agent,
    AgentUpdatedStreamEvent,
    GuardrailFunctionOutput,
    InputGuardrailTripwireTriggered,
    MaxTurnsExceeded,
    MemoryStore,
    ModelBehaviorError,
    RawResponsesStreamEvent,
    RunHooks,
    RunItemStreamEvent,
    Runner,
    RunState,
    function_tool,
    handoff,
    input_guardrail,
)
from flowcore.extensions.handoff_filters import remove_all_tools
from flowcore.testing import function_call, message


async def all_of(result: Any) -> list[Any]:
    return [event async for event in result.stream_events()]


def names(events: list[Any]) -> list[str]:
    """Events in short: raw ones by their first and last type alone."""
    found: list[str] = []
    for event in events:
        if event.type == "raw_response_event":
            name = "completed" if event.data.type == "response.completed" else "raw"
        else:
            name = event.name if event.type == "run_item_stream_event" else f"agent {event.new_agent.name}"
        if not found or found[-1] != name or name not in ("raw",):
            found.append(name)
    return found


# --- the classes ------------------------------------------------------------------------------------------------------


async def test_a_raw_event_has_the_providers_data_and_its_type():
    events = await all_of(Runner.run_streamed(in_turn("one two"), "go"))
    raw = [event for event in events if isinstance(event, RawResponsesStreamEvent)]
    assert {event.type for event in raw} == {"raw_response_event"}
    deltas = [event.data.delta for event in raw if isinstance(event.data, ResponseTextDeltaEvent)]
    assert "".join(deltas) == "one two"
    assert isinstance(raw[-1].data, ResponseCompletedEvent)
    assert raw[0].data.type == "response.created"


async def test_an_item_event_has_a_name_an_item_and_its_type():
    result = Runner.run_streamed(agent(adding(), "3", tools=[add]), "go")
    events = [event for event in await all_of(result) if isinstance(event, RunItemStreamEvent)]
    assert [event.name for event in events] == ["tool_called", "tool_output", "message_output_created"]
    assert [event.item.type for event in events] == [item.type for item in result.new_items]
    assert {event.type for event in events} == {"run_item_stream_event"}
    assert events[1].item.output == 3


async def test_an_agent_event_has_the_new_agent_and_comes_first():
    clerk = in_turn("hi")
    events = await all_of(Runner.run_streamed(clerk, "go"))
    assert isinstance(events[0], AgentUpdatedStreamEvent)
    assert (events[0].new_agent, events[0].type) == (clerk, "agent_updated_stream_event")
    assert sum(isinstance(event, AgentUpdatedStreamEvent) for event in events) == 1


def test_events_are_made_by_hand_as_in_a_fake():
    clerk = Agent(name="A")
    assert AgentUpdatedStreamEvent(new_agent=clerk).new_agent is clerk
    assert RawResponsesStreamEvent(data={"type": "custom"}).data == {"type": "custom"}
    made = RunItemStreamEvent(name="tool_called", item=None)  # type: ignore[arg-type]
    assert made.name == "tool_called"


# --- order ------------------------------------------------------------------------------------------------------------


async def test_a_turn_is_raw_then_completed_then_called_then_output():
    events = await all_of(Runner.run_streamed(agent(adding(), "3", tools=[add]), "go"))
    assert names(events) == [
        "agent Assistant", "raw", "completed", "tool_called", "tool_output",
        "raw", "completed", "message_output_created",
    ]  # fmt: skip


async def test_calls_are_all_told_before_their_outputs_which_come_in_the_order_of_the_calls():
    release = asyncio.Event()

    @function_tool
    async def first() -> str:
        """First."""
        await release.wait()
        return "first"

    @function_tool
    async def second() -> str:
        """Second."""
        release.set()
        return "second"

    calls = [function_call("first", {}, "c1"), function_call("second", {}, "c2")]
    events = await all_of(Runner.run_streamed(agent(calls, "done", tools=[first, second]), "go"))
    told = [event for event in events if event.type == "run_item_stream_event"][:4]
    items = [(event.name, event.item.call_id) for event in told]
    assert items == [("tool_called", "c1"), ("tool_called", "c2"), ("tool_output", "c1"), ("tool_output", "c2")]


async def test_a_handoff_is_requested_and_occured_and_never_called():
    other = in_turn("done", name="B")
    first = in_turn(function_call("transfer_to_b", {}, "h1"), name="A", handoffs=[other])
    events = await all_of(Runner.run_streamed(first, "go"))
    assert names(events) == [
        "agent A", "raw", "completed", "handoff_requested", "handoff_occured", "agent B",
        "raw", "completed", "message_output_created",
    ]  # fmt: skip


async def test_a_tool_beside_a_handoff_is_called_and_gives_its_output_before_the_handoff_occurs():
    other = in_turn("done", name="B")
    calls = [adding(), function_call("transfer_to_b", {}, "h1")]
    events = await all_of(Runner.run_streamed(in_turn(calls, name="A", tools=[add], handoffs=[other]), "go"))
    assert [name for name in names(events) if name not in ("raw", "completed")] == [
        "agent A", "tool_called", "handoff_requested", "tool_output", "handoff_occured", "agent B",
        "message_output_created",
    ]  # fmt: skip


async def test_what_a_handoff_filter_hides_is_still_told():
    other = in_turn("done", name="B")
    first = in_turn(adding(), function_call("transfer_to_b", {}, "h1"), name="A", tools=[add],
                    handoffs=[handoff(other, input_filter=remove_all_tools)])  # fmt: skip
    events = await all_of(Runner.run_streamed(first, "go"))
    told = [name for name in names(events) if name not in ("raw", "completed")]
    assert told[1:4] == ["tool_called", "tool_output", "handoff_requested"]


@pytest.mark.parametrize(
    ("item", "name"),
    [
        ({"type": "reasoning", "id": "r", "summary": []}, "reasoning_item_created"),
        ({"type": "mcp_list_tools", "id": "m", "server_label": "s", "tools": []}, "mcp_list_tools"),
        ({"type": "tool_search_call", "id": "t", "status": "completed"}, "tool_search_called"),
        ({"type": "tool_search_output", "id": "t", "status": "completed"}, "tool_search_output_created"),
        ({"type": "web_search_call", "id": "w", "status": "completed"}, "tool_called"),
    ],
)
async def test_items_of_a_reply_have_their_names(item, name):
    events = await all_of(Runner.run_streamed(in_turn([item, message("done")]), "go"))
    assert name in names(events)


async def test_a_pause_ends_the_stream_after_the_calls_that_may_run_and_a_resume_tells_the_others():
    clerk = agent([adding(), deleting()], "done", tools=[add, delete])
    result = Runner.run_streamed(clerk, "go")
    events = await all_of(result)
    assert [name for name in names(events) if name not in ("raw", "completed")] == [
        "agent Assistant", "tool_called", "tool_called", "tool_output"
    ]  # fmt: skip
    state = await RunState.from_string(clerk, result.to_state().to_string())
    state.approve(state.get_interruptions()[0])
    again = Runner.run_streamed(clerk, state)
    assert [name for name in names(await all_of(again)) if name not in ("raw", "completed")] == [
        "agent Assistant", "tool_output", "message_output_created"
    ]  # fmt: skip
    assert again.final_output == "done"


async def test_a_resumed_stream_begins_with_the_agent_whose_turn_it_is():
    other = in_turn(deleting(), "done", name="B", tools=[delete])
    first = in_turn(function_call("transfer_to_b", {}, "h1"), name="A", handoffs=[other])
    result = Runner.run_streamed(first, "go")
    await all_of(result)
    state = result.to_state()
    state.approve(state.get_interruptions()[0])
    again = Runner.run_streamed(first, state)
    assert again.current_agent is other
    events = await all_of(again)
    assert events[0].new_agent is other


async def test_a_nested_agents_events_are_not_the_callers_but_on_streams():
    inner = in_turn("inner said", name="Inner")
    seen: list[Any] = []
    tool = inner.as_tool("inner", "Inner.", on_stream=seen.append)
    outer = agent(function_call("inner", {"input": "x"}, "t1"), "done", tools=[tool])
    events = await all_of(Runner.run_streamed(outer, "go"))
    assert [name for name in names(events) if name not in ("raw", "completed")] == [
        "agent Assistant", "tool_called", "tool_output", "message_output_created"
    ]  # fmt: skip
    assert {one["agent"].name for one in seen} == {"Inner"}
    assert {one["tool_call"].call_id for one in seen} == {"t1"}
    assert "message_output_created" in names([one["event"] for one in seen])


async def test_the_streamed_text_is_the_output():
    result = Runner.run_streamed(in_turn("one two three"), "go")
    text = ""
    async for event in result.stream_events():
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
            text += event.data.delta
    assert text == result.final_output == "one two three"


# --- how a stream ends ------------------------------------------------------------------------------------------------


async def test_max_turns_is_raised_after_the_events_before_it():
    result = Runner.run_streamed(agent(adding(), "3", tools=[add]), "go", max_turns=1)
    seen, error = await until_raised(result)
    assert isinstance(error, MaxTurnsExceeded)
    assert names(seen)[-1] == "tool_output"
    assert (result.is_complete, type(result.run_loop_exception)) == (True, MaxTurnsExceeded)


@pytest.mark.parametrize("parallel", [True, False])
async def test_a_tripwire_is_raised_after_the_events_before_it(parallel):
    @input_guardrail(run_in_parallel=parallel)
    async def never(ctx, agent, input):
        return GuardrailFunctionOutput(None, True)

    result = Runner.run_streamed(in_turn("hi", input_guardrails=[never]), "go")
    with pytest.raises(InputGuardrailTripwireTriggered):
        await all_of(result)
    assert result.final_output is None
    assert [one.guardrail for one in result.input_guardrail_results] == [never]


@pytest.mark.parametrize("error", [ValueError("down"), ModelBehaviorError("odd")])
async def test_any_other_error_is_raised_after_the_events_before_it_to_every_reader(error):
    result = Runner.run_streamed(agent(adding(), error, tools=[add]), "go")
    for _ in range(2):
        seen, raised = await until_raised(result)
        assert raised is error
        assert "tool_output" in names(seen)


# --- who reads --------------------------------------------------------------------------------------------------------


async def test_several_consumers_at_once_each_see_everything():
    result = Runner.run_streamed(agent(adding(), "3", tools=[add]), "go")
    first, second, third = await asyncio.gather(*(all_of(result) for _ in range(3)))
    assert first == second == third
    assert names(first)[-1] == "message_output_created"


async def test_one_who_comes_late_sees_everything_too():
    result = Runner.run_streamed(agent(adding(), "3", tools=[add]), "go")
    early = await all_of(result)
    assert await all_of(result) == early


async def test_a_stream_that_is_left_early_still_finishes_and_persists():
    store = MemoryStore()
    result = Runner.run_streamed(agent(adding(), "3", tools=[add]), "go", store=store, session="s", run_id="r")
    async for event in result.stream_events():
        if event.type == "run_item_stream_event":
            break
    await result.run_loop_task
    assert (result.is_complete, result.final_output) == (True, "3")
    assert (await store.get("r")).standing == "done"
    assert len(await store.session_items("s")) == 4


async def test_a_stream_that_nobody_reads_finishes_and_persists():
    store = MemoryStore()
    done = asyncio.Event()

    class Hooks(RunHooks):
        async def on_agent_end(self, context, agent, output):
            done.set()

    Runner.run_streamed(agent(adding(), "3", tools=[add]), "go", store=store, session="s", run_id="r", hooks=Hooks())
    gc.collect()
    async with asyncio.timeout(5):
        await done.wait()
    assert len(await store.session_items("s")) == 4


async def test_one_reader_that_leaves_does_not_take_events_from_another():
    result = Runner.run_streamed(agent(adding(), "3", tools=[add]), "go")

    async def leave() -> None:
        async for _ in result.stream_events():
            break

    _, whole = await asyncio.gather(leave(), all_of(result))
    assert names(whole)[-1] == "message_output_created"


async def test_a_cancelled_reader_leaves_the_run_going():
    go_on = asyncio.Event()

    @function_tool
    async def wait() -> str:
        """Wait."""
        await go_on.wait()
        return "waited"

    result = Runner.run_streamed(agent(function_call("wait", {}, "c1"), "done", tools=[wait]), "go")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await all_of(result)
    go_on.set()
    await result.run_loop_task
    assert result.final_output == "done"


async def test_events_come_as_they_happen():
    go_on = asyncio.Event()

    @function_tool
    async def wait() -> str:
        """Wait."""
        await go_on.wait()
        return "waited"

    result = Runner.run_streamed(agent(function_call("wait", {}, "c1"), "done", tools=[wait]), "go")
    async for event in result.stream_events():
        if event.type == "run_item_stream_event" and event.name == "tool_called":
            assert not result.is_complete
            go_on.set()
    assert result.final_output == "done"
