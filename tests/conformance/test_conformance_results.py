"""Section 3: results and their items, of a run and of a streamed run: finished, waiting, failed, cancelled, resumed."""

import asyncio
import gc
import weakref
from typing import Any

import pytest
from conformance_making import WAYS, add, adding, agent, caught, delete, deleting, go, in_turn, told
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage
from pydantic import BaseModel

from flowcore import (
    Agent,
    AgentsException,
    AgentToolInvocation,
    GuardrailFunctionOutput,
    HandoffInputData,
    ItemHelpers,
    MaxTurnsExceeded,
    MemoryStore,
    MessageOutputItem,
    ModelResponse,
    RunContextWrapper,
    RunErrorDetails,
    Runner,
    RunResult,
    RunResultStreaming,
    RunState,
    ToolApprovalItem,
    ToolCallItem,
    ToolCallOutputItem,
    ToolGuardrailFunctionOutput,
    ToolOutputImage,
    ToolOutputText,
    TracingProcessor,
    Usage,
    UserError,
    function_tool,
    handoff,
    input_guardrail,
    output_guardrail,
    set_trace_processors,
    tool_input_guardrail,
    tool_output_guardrail,
    trace,
)
from flowcore.extensions.handoff_filters import remove_all_tools
from flowcore.testing import ModelStep, ScriptedModel, function_call, message

ways = pytest.mark.parametrize("way", WAYS)


@input_guardrail
async def polite(ctx, agent, input):
    return GuardrailFunctionOutput("polite", False)


@output_guardrail
async def short(ctx, agent, output):
    return GuardrailFunctionOutput("short", False)


@tool_input_guardrail
async def allowed(data):
    return ToolGuardrailFunctionOutput.allow("fine")


@tool_output_guardrail
async def harmless(data):
    return ToolGuardrailFunctionOutput.allow("harmless")


@function_tool(tool_input_guardrails=[allowed], tool_output_guardrails=[harmless])
async def guarded(x: int) -> int:
    """Double."""
    return 2 * x


def full() -> Agent:
    """An agent with one of everything."""
    return agent(
        ModelStep(
            function_call("guarded", {"x": 1}, "c1"), response_id="r1",
            usage=Usage(1, 10, output_tokens=2, total_tokens=12),
        ),
        ModelStep("done", response_id="r2", usage=Usage(1, 20, output_tokens=3, total_tokens=23)),
        tools=[guarded], input_guardrails=[polite], output_guardrails=[short],
    )  # fmt: skip


# --- the fields -------------------------------------------------------------------------------------------------------


@ways
async def test_a_finished_result_has_every_field(way):
    app = object()
    result = await go(way, full(), "go", context=app)
    assert isinstance(result, RunResult if way == "run" else RunResultStreaming)
    assert result.input == "go"
    assert [item.type for item in result.new_items] == [
        "tool_call_item",
        "tool_call_output_item",
        "message_output_item",
    ]
    assert [type(one) for one in result.raw_responses] == [ModelResponse, ModelResponse]
    assert [one.response_id for one in result.raw_responses] == ["r1", "r2"]
    assert result.final_output == "done"
    (on_input,), (on_output,) = result.input_guardrail_results, result.output_guardrail_results
    assert (on_input.guardrail, on_input.output.output_info) == (polite, "polite")
    assert (on_output.guardrail, on_output.agent_output, on_output.agent.name) == (short, "done", "Assistant")
    (before,), (after,) = result.tool_input_guardrail_results, result.tool_output_guardrail_results
    assert (before.guardrail, before.output.output_info) == (allowed, "fine")
    assert (after.guardrail, after.output.output_info) == (harmless, "harmless")
    assert isinstance(result.context_wrapper, RunContextWrapper)
    assert result.context_wrapper.context is app
    assert result.context_wrapper.usage.total_tokens == 35


@ways
async def test_the_input_is_what_was_given_a_text_or_the_items(way):
    items = [{"role": "user", "content": "one"}, {"role": "user", "content": "two"}]
    assert (await go(way, agent("hi"), "go")).input == "go"
    assert (await go(way, agent("hi"), items)).input == items


@ways
async def test_last_agent_is_the_one_that_answered(way):
    billing = agent("from billing", name="Billing")
    triage = agent(function_call("transfer_to_billing", {}, "h1"), name="Triage", handoffs=[billing])
    billing.model = ScriptedModel(["from billing"])
    result = await go(way, triage)
    assert (result.last_agent, result.final_output) == (billing, "from billing")


@ways
async def test_last_response_id_is_that_of_the_last_reply_and_none_without_one(way):
    assert (await go(way, full())).last_response_id == "r2"
    assert (await go(way, agent("hi"))).last_response_id is None


@ways
async def test_agent_tool_invocation_is_none_but_for_a_nested_agent(way):
    seen = []

    async def extract(result):
        seen.append(result.agent_tool_invocation)
        return "told"

    inner = agent("inner", name="Inner")
    asked = function_call("inner", {"input": "x"}, "t1")
    outer = agent(asked, "done", tools=[inner.as_tool("inner", "Inner.", custom_output_extractor=extract)])
    result = await go(way, outer)
    assert result.agent_tool_invocation is None
    assert seen == [AgentToolInvocation("inner", "t1", asked["arguments"])]
    assert (seen[0].tool_name, seen[0].tool_call_id) == ("inner", "t1")


class City(BaseModel):
    name: str


@ways
async def test_final_output_as_only_casts_or_raises_type_error_where_asked(way):
    result = await go(way, agent('{"name": "Bern"}', output_type=City))
    assert result.final_output_as(City) == City(name="Bern")
    assert result.final_output_as(City, raise_if_incorrect_type=True) == City(name="Bern")
    assert result.final_output_as(str) == City(name="Bern")
    with pytest.raises(TypeError, match="Final output is not of type str"):
        result.final_output_as(str, raise_if_incorrect_type=True)


# --- to_input_list ----------------------------------------------------------------------------------------------------


@ways
async def test_to_input_list_is_the_input_and_the_new_items_as_plain_dicts_that_a_next_run_takes(way):
    result = await go(way, agent(adding(), "3", tools=[add]))
    items = result.to_input_list()
    assert [item.get("type", item.get("role")) for item in items] == [
        "user", "function_call", "function_call_output", "message"
    ]  # fmt: skip
    assert all(type(item) is dict for item in items)
    assert items == result.to_input_list(mode="normalized") == result.to_input_list(mode="preserve_all")
    items.append({"role": "user", "content": "again"})
    again = in_turn("yes")
    assert (await go(way, again, items)).final_output == "yes"
    assert again.model.calls[0].input == items


@ways
async def test_to_input_list_refuses_another_mode(way):
    result = await go(way, agent("hi"))
    with pytest.raises(ValueError, match=r"'sideways'.*preserve_all.*normalized"):
        result.to_input_list(mode="sideways")


def filtered(**more: Any) -> tuple[Agent, Agent]:
    billing = in_turn("from billing", "later", name="Billing")
    calls = [message("moment"), function_call("transfer_to_billing", {}, "h1")]
    triage = in_turn(adding(), calls, name="Triage", tools=[add], handoffs=[handoff(billing, **more)])
    return triage, billing


def kinds(items: list[Any]) -> list[str]:
    return [item.get("type", item.get("role")) for item in items]


WHOLE = ["user", "function_call", "function_call_output", "message", "function_call", "function_call_output", "message"]


@ways
async def test_preserve_all_keeps_what_a_handoff_filter_hid_and_normalized_is_what_was_sent_on(way):
    triage, billing = filtered(input_filter=remove_all_tools)
    result = await go(way, triage)
    assert kinds(result.to_input_list()) == WHOLE
    normalized = result.to_input_list(mode="normalized")
    assert kinds(normalized) == ["user", "message", "message"]
    assert normalized[:-1] == billing.model.calls[0].input
    assert [item.type for item in result.new_items].count("tool_call_item") == 1


@ways
async def test_normalized_is_the_summary_where_the_history_was_nested_and_the_whole_stays(way):
    triage, billing = filtered(nest_handoff_history=True)
    result = await go(way, triage)
    assert kinds(result.to_input_list()) == WHOLE
    normalized = result.to_input_list(mode="normalized")
    assert normalized[:-1] == billing.model.calls[0].input
    assert "<CONVERSATION HISTORY>" in str(normalized[0]["content"])
    assert kinds(normalized)[-1] == "message"


@ways
async def test_items_that_a_filter_made_are_in_the_normalized_list(way):
    def shorten(data: HandoffInputData) -> HandoffInputData:
        return data.clone(input_history="short", pre_handoff_items=(), new_items=())

    triage, billing = filtered(input_filter=shorten)
    result = await go(way, triage)
    assert kinds(result.to_input_list()) == WHOLE
    assert result.to_input_list(mode="normalized")[0] == {"role": "user", "content": "short"}
    assert billing.model.calls[0].input == [{"role": "user", "content": "short"}]


@ways
async def test_a_waiting_results_input_list_has_no_question_to_a_person(way):
    result = await go(way, agent(deleting(), "done", tools=[delete]))
    assert [item.type for item in result.new_items] == ["tool_call_item", "tool_approval_item"]
    assert kinds(result.to_input_list()) == ["user", "function_call"]


@ways
async def test_the_reasoning_id_policy_holds_for_the_input_list(way):
    thought = {"type": "reasoning", "id": "rs_1", "summary": []}
    steps = [thought, message("hi")]
    kept = await go(way, in_turn(steps))
    assert kept.to_input_list()[1]["id"] == "rs_1"
    omitted = await go(way, in_turn(steps), run_config={"reasoning_item_id_policy": "omit"})
    assert "id" not in omitted.to_input_list()[1]


# --- interruptions, to_state ------------------------------------------------------------------------------------------


@ways
async def test_a_waiting_result_has_no_output_and_lists_its_interruptions(way):
    result = await go(way, agent([deleting("a", "d1"), adding(), deleting("b", "d2")], "done", tools=[add, delete]))
    assert result.final_output is None
    assert [(item.name, item.call_id, item.arguments) for item in result.interruptions] == [
        ("delete", "d1", '{"row": "a"}'), ("delete", "d2", '{"row": "b"}')
    ]  # fmt: skip
    assert all(isinstance(item, ToolApprovalItem) for item in result.interruptions)
    assert result.last_agent.name == "Assistant"
    assert len(result.raw_responses) == 1


@ways
async def test_a_finished_result_has_no_interruptions(way):
    assert (await go(way, agent("hi"))).interruptions == []


@ways
async def test_max_turns_of_a_result_is_the_runs_and_after_a_resume_the_states(way):
    clerk = agent(deleting(), "done", tools=[delete])
    result = await go(way, clerk, max_turns=4)
    assert result.max_turns == 4
    state = result.to_state()
    state.approve(state.get_interruptions()[0])
    assert (await go(way, clerk, state)).max_turns == 4
    assert (await go(way, agent("hi"))).max_turns == 10
    assert (await go(way, agent("hi"), max_turns=None)).max_turns is None


@ways
async def test_of_one_result_several_states_are_forked_and_the_result_stays(way):
    clerk = agent(deleting(), "done", tools=[delete])
    result = await go(way, clerk)
    yes, no = result.to_state(), result.to_state()
    yes.approve(yes.get_interruptions()[0])
    no.reject(no.get_interruptions()[0])
    assert told(await go(way, clerk, yes)) == ["deleted a"]
    assert told(await go(way, clerk, no)) == ["Tool execution was not approved."]
    assert [item.call_id for item in result.interruptions] == ["d1"]


@ways
async def test_a_resumed_results_items_are_those_of_the_whole_run_and_the_approval_stays_among_them(way):
    clerk = agent(adding(), deleting(), "done", tools=[add, delete])
    result = await go(way, clerk)
    state = result.to_state()
    state.approve(state.get_interruptions()[0])
    result = await go(way, clerk, state)
    assert [item.type for item in result.new_items] == [
        "tool_call_item", "tool_call_output_item", "tool_call_item", "tool_approval_item", "tool_call_output_item",
        "message_output_item",
    ]  # fmt: skip
    assert result.input == "go"
    assert len(result.raw_responses) == 3
    assert result.final_output == "done"
    assert kinds(result.to_input_list()) == [
        "user", "function_call", "function_call_output", "function_call", "function_call_output", "message"
    ]  # fmt: skip


@ways
async def test_a_resumed_results_guardrail_results_are_those_of_the_whole_run(way):
    clerk = agent([function_call("guarded", {"x": 1}, "c1"), deleting()], "done", tools=[guarded, delete],
                  input_guardrails=[polite], output_guardrails=[short])  # fmt: skip
    state = (await go(way, clerk)).to_state()
    state = await RunState.from_string(clerk, state.to_string())
    state.approve(state.get_interruptions()[0])
    result = await go(way, clerk, state)
    for found, guardrail in (
        (result.input_guardrail_results, polite), (result.output_guardrail_results, short),
        (result.tool_input_guardrail_results, allowed), (result.tool_output_guardrail_results, harmless),
    ):  # fmt: skip
        assert [one.guardrail for one in found] == [guardrail]
    assert result.input_guardrail_results[0].output.output_info == "polite"


@ways
async def test_a_failed_runs_result_tells_what_there_was(way):
    error = await caught(way, agent(adding(), RuntimeError("down"), tools=[add]))
    result = error.run_data.result
    assert result.final_output is None
    assert [item.type for item in result.new_items] == ["tool_call_item", "tool_call_output_item"]
    assert result.interruptions == []
    assert kinds(result.to_input_list()) == ["user", "function_call", "function_call_output"]
    assert len(result.raw_responses) == 1


# --- release_agents, str ----------------------------------------------------------------------------------------------


@ways
async def test_release_agents_leaves_weak_references_in_items(way):
    result = await go(way, agent(adding(), "3", tools=[add]))
    item = result.new_items[0]
    result.release_agents()
    assert item.agent is result.last_agent  # somebody holds it still
    assert isinstance(item._agent, weakref.ref)


@ways
async def test_released_without_the_items_they_hold_their_agents(way):
    result = await go(way, agent("hi"))
    item = result.new_items[0]
    result.release_agents(release_new_items=False)
    assert item.agent is result.last_agent
    assert not isinstance(item._agent, weakref.ref)


@ways
async def test_an_agent_goes_when_its_result_was_released_and_nobody_else_holds_it(way):
    async def items() -> tuple[Any, Any]:
        clerk = agent("hi")
        result = await go(way, clerk)
        result.release_agents()
        return result.new_items[0], weakref.ref(clerk)

    item, clerk = await items()
    await asyncio.sleep(0)
    gc.collect()
    assert clerk() is None
    assert item.agent is None
    assert ItemHelpers.text_message_output(item) == "hi"


@ways
async def test_items_that_somebody_keeps_keep_their_agent_when_the_result_is_gone(way):
    async def items() -> Any:
        return (await go(way, agent("hi"))).new_items

    (kept,) = await items()
    await asyncio.sleep(0)
    gc.collect()
    assert kept.agent.name == "Assistant"
    kept.release_agent()
    gc.collect()
    assert kept.agent is None


async def test_the_text_of_a_result_sums_it_up():
    text = str(await go("run", full()))
    for line in (
        "RunResult:", '- Last agent: Agent(name="Assistant", ...)', "- Final output (str):\n    done",
        "- 3 new item(s)", "- 2 raw response(s)", "- 1 input guardrail result(s)", "- 1 output guardrail result(s)",
    ):  # fmt: skip
        assert line in text


async def test_the_text_of_a_streamed_result_sums_it_up_before_and_after():
    result = Runner.run_streamed(full(), "go", max_turns=5)
    before = str(result)
    for line in (
        "RunResultStreaming:", '- Current agent: Agent(name="Assistant", ...)', "- Current turn: 0", "- Max turns: 5",
        "- Is complete: False", "- Final output (NoneType):\n    None", "- 0 new item(s)",
    ):  # fmt: skip
        assert line in before
    async for _ in result.stream_events():
        pass
    after = str(result)
    for line in ("- Current turn: 2", "- Is complete: True", "- Final output (str):\n    done", "- 3 new item(s)"):
        assert line in after


async def test_a_text_cannot_move_the_terminals_cursor():
    assert "\x1b" not in str(await go("run", agent("\x1b[2Jgone")))
    assert "a\n    b" in str(await go("run", agent("a\nb")))


async def test_the_text_of_run_data_sums_the_run_up():
    error = await caught("run", agent(adding(), "3", tools=[add]), max_turns=1)
    text = str(error.run_data)
    for line in (
        "RunErrorDetails:", '- Last agent: Agent(name="Assistant", ...)', "- 2 new item(s)", "- 1 raw response(s)",
        "- 0 input guardrail result(s)", "- 0 output guardrail result(s)", "- 0 tool input guardrail result(s)",
        "- 0 tool output guardrail result(s)",
    ):  # fmt: skip
        assert line in text


def test_run_data_can_be_made_by_hand():
    clerk = Agent(name="Clerk")
    made = RunErrorDetails(
        input="go", new_items=[], raw_responses=[], last_agent=clerk, context_wrapper=RunContextWrapper(None),
        input_guardrail_results=[], output_guardrail_results=[],
    )  # fmt: skip
    assert (made.tool_input_guardrail_results, made.tool_output_guardrail_results) == ([], [])
    assert 'Agent(name="Clerk", ...)' in str(made)


# --- what only a streamed result has ----------------------------------------------------------------------------------


async def test_a_streamed_result_can_be_read_before_it_begins():
    clerk = full()
    app = object()
    result = Runner.run_streamed(clerk, "go", context=app)
    assert (result.current_agent, result.last_agent) == (clerk, clerk)
    assert (result.current_turn, result.max_turns, result.is_complete) == (0, 10, False)
    assert (result.final_output, result.final_output_as(str)) == (None, None)
    assert (result.new_items, result.raw_responses, result.interruptions) == ([], [], [])
    assert (result.input_guardrail_results, result.output_guardrail_results) == ([], [])
    assert (result.tool_input_guardrail_results, result.tool_output_guardrail_results) == ([], [])
    assert (result.last_response_id, result.agent_tool_invocation, result.run_loop_exception) == (None, None, None)
    assert result.to_input_list() == [{"role": "user", "content": "go"}]
    assert (result.context_wrapper.context, result.context_wrapper.usage.requests) == (app, 0)
    result.release_agents()
    with pytest.raises(UserError, match="hasn't begun"):
        result.to_state()
    async for _ in result.stream_events():
        pass
    assert result.final_output == "done"


async def test_current_agent_and_current_turn_follow_the_run():
    billing = in_turn("done", name="Billing")
    triage = in_turn(
        adding(), function_call("transfer_to_billing", {}, "h1"), name="Triage", tools=[add], handoffs=[billing]
    )
    result = Runner.run_streamed(triage, "go")
    seen = [(result.current_turn, result.current_agent.name)]
    seen += [(result.current_turn, result.current_agent.name) async for _ in result.stream_events()]
    assert seen[0] == (0, "Triage")
    assert {(1, "Triage"), (2, "Triage"), (2, "Billing"), (3, "Billing")} <= set(seen)
    assert [turn for turn, _ in seen] == sorted(turn for turn, _ in seen)
    assert (result.current_turn, result.current_agent) == (3, billing)


async def test_final_output_is_none_and_is_complete_false_until_it_is_done():
    result = Runner.run_streamed(agent("hi"), "go")
    async for _ in result.stream_events():
        if not result.is_complete:
            assert result.run.standing == "done" or result.final_output is None
    assert (result.is_complete, result.final_output) == (True, "hi")


async def test_run_loop_task_is_the_task_that_drives_and_can_be_awaited_instead_of_the_stream():
    result = Runner.run_streamed(agent("hi"), "go")
    assert isinstance(result.run_loop_task, asyncio.Task)
    await result.run_loop_task
    assert (result.is_complete, result.final_output, result.run_loop_exception) == (True, "hi", None)


async def test_run_loop_exception_is_what_ended_the_run_without_reading_the_stream():
    result = Runner.run_streamed(agent(adding(), "3", tools=[add]), "go", max_turns=1)
    await asyncio.wait([result.run_loop_task])
    assert isinstance(result.run_loop_exception, MaxTurnsExceeded)
    assert result.is_complete
    assert len(result.new_items) == 2


async def test_trace_is_the_one_that_the_run_belongs_to():
    class Nothing(TracingProcessor):
        def on_trace_start(self, trace): ...
        def on_trace_end(self, trace): ...
        def on_span_start(self, span): ...
        def on_span_end(self, span): ...
        def shutdown(self): ...
        def force_flush(self): ...

    set_trace_processors([Nothing()])
    try:
        with trace("Own workflow", group_id="g") as own:
            result = Runner.run_streamed(agent("hi"), "go")
            async for _ in result.stream_events():
                pass
    finally:
        set_trace_processors([])
    assert (result.trace.trace_id, result.trace.name, result.trace.group_id) == (own.trace_id, "Own workflow", "g")


async def test_trace_is_none_where_tracing_is_off():
    result = Runner.run_streamed(agent("hi"), "go", run_config={"tracing_disabled": True})
    async for _ in result.stream_events():
        pass
    assert result.trace is None


async def test_a_run_that_was_never_admitted_still_has_a_text_and_an_agent():
    result = Runner.run_streamed(agent("hi"), [])
    with pytest.raises(UserError, match="empty list"):
        async for _ in result.stream_events():
            pass
    assert result.is_complete
    assert result.last_agent.name == "Assistant"
    assert "Is complete: True" in str(result)


# --- cancel -----------------------------------------------------------------------------------------------------------


def slow() -> tuple[Any, list[str], asyncio.Event, asyncio.Event]:
    """A tool that waits, what it did, and when it began and may end."""
    done: list[str] = []
    began, release = asyncio.Event(), asyncio.Event()

    @function_tool
    async def wait(x: int) -> str:
        """Wait."""
        done.append("began")
        began.set()
        await release.wait()
        done.append("ended")
        return "waited"

    return wait, done, began, release


async def test_cancel_immediate_cancels_what_runs_and_clears_the_stream():
    wait, done, began, _ = slow()
    clerk = agent(function_call("wait", {"x": 1}, "c1"), "done", tools=[wait])
    result = Runner.run_streamed(clerk, "go")
    async for event in result.stream_events():
        if event.type == "run_item_stream_event" and event.name == "tool_called":
            await began.wait()
            result.cancel()
    assert done == ["began"]
    assert (result.is_complete, result.run_loop_exception, result.final_output) == (True, None, None)


async def test_cancel_immediate_is_complete_at_once_and_queued_events_are_dropped():
    result = Runner.run_streamed(agent(adding(), "3", tools=[add]), "go")
    seen = 0
    async for _ in result.stream_events():
        seen += 1
        if seen == 2:
            result.cancel()
            assert result.is_complete
    assert seen == 2


async def test_a_cancelled_run_goes_on_from_its_state():
    wait, done, began, release = slow()
    clerk = agent(function_call("wait", {"x": 1}, "c1"), "done", tools=[wait])
    result = Runner.run_streamed(clerk, "go")
    async for event in result.stream_events():
        if event.type == "run_item_stream_event":
            await began.wait()
            result.cancel("immediate")
    release.set()
    await result.run_loop_task
    state = await RunState.from_string(clerk, result.to_state().to_string())
    again = await Runner.run(clerk, state)
    assert again.final_output == "done"
    assert done == ["began", "began", "ended"]


@pytest.mark.parametrize("steps", [2, 3])
async def test_cancel_after_turn_finishes_model_tools_and_session_and_stops_before_the_next_turn(steps):
    store = MemoryStore()
    wait, done, _, release = slow()
    calls = [function_call("wait", {"x": i}, f"c{i}") for i in range(steps - 1)]
    clerk = agent(*calls, "done", tools=[wait])
    result = Runner.run_streamed(clerk, "go", session="s", store=store)
    async for event in result.stream_events():
        if event.type == "run_item_stream_event" and event.name == "tool_called":
            result.cancel(mode="after_turn")
            assert not result.is_complete
            release.set()
    assert done == ["began", "ended"]
    assert (result.final_output, result.is_complete) == (None, True)
    assert [item.type for item in result.new_items] == ["tool_call_item", "tool_call_output_item"]
    assert kinds([one.item for one in await store.session_items("s")]) == [
        "user",
        "function_call",
        "function_call_output",
    ]
    assert result.run.standing == "stopped"
    again = await Runner.run(clerk, result.to_state())
    assert again.final_output == "done"
    assert len(again.raw_responses) == steps
    assert len(kinds([one.item for one in await store.session_items("s")])) == 2 * steps


async def test_cancel_after_turn_of_the_last_turn_lets_the_run_be_done():
    result = Runner.run_streamed(agent("hi"), "go")
    async for event in result.stream_events():
        if event.type == "raw_response_event":
            result.cancel("after_turn")
    assert (result.final_output, result.is_complete) == ("hi", True)


async def test_cancel_after_turn_at_what_is_read_of_a_turn_ends_with_that_turn_however_quick_its_tools_are():
    result = Runner.run_streamed(agent(adding("c1"), adding("c2"), adding("c3"), "done", tools=[add]), "go")
    async for event in result.stream_events():
        if event.type == "run_item_stream_event" and event.item.type == "tool_call_item" and event.item.call_id == "c2":
            result.cancel("after_turn")
    assert [item.call_id for item in result.new_items] == ["c1", "c1", "c2", "c2"]


async def test_cancel_after_turn_before_the_first_turn_stops_before_it():
    result = Runner.run_streamed(agent("hi"), "go")
    async for event in result.stream_events():
        if event.type == "agent_updated_stream_event":
            result.cancel("after_turn")
    assert (result.current_turn, result.final_output) == (0, None)
    assert (await Runner.run(result.last_agent, result.to_state())).final_output == "hi"


@pytest.mark.parametrize("mode", ["immediate", "after_turn"])
async def test_a_cancel_of_what_is_done_does_nothing(mode):
    result = await go("streamed", agent("hi"))
    result.cancel(mode)
    assert (result.final_output, result.is_complete) == ("hi", True)


async def test_a_cancel_knows_no_other_mode():
    result = Runner.run_streamed(agent("hi"), "go")
    with pytest.raises(ValueError, match="'later'"):
        result.cancel("later")
    result.cancel()


async def test_a_cancel_before_the_run_began_leaves_a_stream_that_ends():
    result = Runner.run_streamed(agent("hi"), "go")
    result.cancel()
    assert [event async for event in result.stream_events()] == []
    assert (result.is_complete, result.final_output) == (True, None)


async def test_a_cancelled_turn_is_not_a_failed_one():
    result = Runner.run_streamed(agent(adding(), "3", tools=[add]), "go")
    async for _ in result.stream_events():
        result.cancel()
    await result.run_loop_task
    assert result.run_loop_exception is None
    assert result.run.standing == "cancelled"


# --- items ------------------------------------------------------------------------------------------------------------


@ways
async def test_every_item_has_agent_raw_item_type_and_its_input_form(way):
    thought = {"type": "reasoning", "id": "rs_1", "summary": []}
    result = await go(way, in_turn([thought, adding()], "3", tools=[add]))
    reasoning, call, output, said = result.new_items
    assert [one.type for one in result.new_items] == [
        "reasoning_item", "tool_call_item", "tool_call_output_item", "message_output_item"
    ]  # fmt: skip
    assert all(one.agent.name == "Assistant" for one in result.new_items)
    assert isinstance(call.raw_item, ResponseFunctionToolCall)
    assert isinstance(said.raw_item, ResponseOutputMessage)
    assert isinstance(output.raw_item, dict)
    assert reasoning.raw_item.id == "rs_1"
    assert all(type(one.to_input_item()) is dict for one in result.new_items)
    assert [one.to_input_item() for one in result.new_items] == result.to_input_list()[1:]
    call.release_agent()
    assert call.agent is result.last_agent


@ways
async def test_a_tool_call_item_tells_tool_call_id_description_title_and_origin(way):
    result = await go(way, agent(adding(), "3", tools=[add]))
    call = result.new_items[0]
    assert isinstance(call, ToolCallItem)
    assert (call.tool_name, call.call_id, call.description) == ("add", "c1", "Add two numbers.")
    assert call.title is None
    assert call.tool_origin.type.value == "function"


@ways
async def test_a_tool_call_output_item_has_the_python_value_call_id_custom_data_and_origin(way):
    @function_tool(custom_data_extractor=lambda data: {"seen": True})
    async def cut(x: int) -> City:
        """Cut."""
        return City(name="Bern")

    result = await go(way, agent(function_call("cut", {"x": 1}, "c1"), "3", tools=[cut]))
    output = result.new_items[1]
    assert isinstance(output, ToolCallOutputItem)
    assert output.output == City(name="Bern")
    assert (output.call_id, output.custom_data) == ("c1", {"seen": True})
    assert output.tool_origin.type.value == "function"
    assert output.raw_item["output"] == str(City(name="Bern"))


@ways
async def test_handoff_items_tell_source_and_target(way):
    billing = in_turn("done", name="Billing")
    triage = in_turn(function_call("transfer_to_billing", {}, "h1"), name="Triage", handoffs=[billing])
    call, output, said = (await go(way, triage)).new_items
    assert (call.type, output.type) == ("handoff_call_item", "handoff_output_item")
    assert (output.source_agent, output.target_agent) == (triage, billing)
    assert (call.agent, output.agent, said.agent) == (triage, triage, billing)
    assert call.raw_item.name == "transfer_to_billing"


@ways
async def test_a_tool_approval_item_names_the_call_and_is_no_input(way):
    result = await go(way, agent(deleting(), "done", tools=[delete]))
    (item,) = result.interruptions
    assert (item.name, item.tool_name, item.qualified_name) == ("delete", "delete", "delete")
    assert (item.arguments, item.call_id, item.type) == ('{"row": "a"}', "d1", "tool_approval_item")
    assert item.raw_item.name == "delete"
    assert item.agent is result.last_agent
    with pytest.raises(AgentsException, match="cannot be converted"):
        item.to_input_item()


@ways
async def test_an_input_item_is_input_that_joined_the_run(way):
    clerk = agent(deleting(), "done", tools=[delete])
    state = (await go(way, clerk)).to_state()
    state.approve(state.get_interruptions()[0])
    state.add_input("and hurry")
    result = await go(way, clerk, state)
    (joined,) = [item for item in result.new_items if item.type == "input_item"]
    assert joined.raw_item == {"role": "user", "content": "and hurry"}
    assert joined.input_id
    assert joined.to_input_item() == {"role": "user", "content": "and hurry"}


@ways
@pytest.mark.parametrize(
    ("item", "type"),
    [
        ({"type": "compaction", "id": "cmp_1", "encrypted_content": "x"}, "compaction_item"),
        ({"type": "mcp_list_tools", "id": "m1", "server_label": "s", "tools": []}, "mcp_list_tools_item"),
        ({"type": "tool_search_call", "id": "t1", "status": "completed"}, "tool_search_call_item"),
        ({"type": "tool_search_output", "id": "t2", "status": "completed"}, "tool_search_output_item"),
        ({"type": "web_search_call", "id": "w1", "status": "completed"}, "tool_call_item"),
        ({"type": "brand_new", "id": "n1", "more": [1]}, "unknown_item"),
    ],
)
async def test_items_of_every_kind_are_kept_as_they_came(way, item, type):
    result = await go(way, in_turn([item, message("hi")]))
    assert result.new_items[0].type == type
    assert result.to_input_list()[1] == item


def test_a_model_response_gives_its_output_as_input_items_and_has_ids_and_raw_usage():
    reply = ModelResponse([adding()], Usage(), "resp_1")
    assert reply.to_input_items() == [adding()]
    assert (reply.response_id, reply.request_id, reply.raw_usage) == ("resp_1", None, None)
    by_name = ModelResponse(output=[], usage=Usage(), response_id=None, request_id="req_1", raw_usage={"a": 1})
    assert (by_name.request_id, by_name.raw_usage) == ("req_1", {"a": 1})


# --- ItemHelpers ------------------------------------------------------------------------------------------------------


SAID = message("one")
REFUSED = {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}
TWO = {**SAID, "content": [*SAID["content"], {"type": "output_text", "text": "two", "annotations": []}]}


def test_extract_last_content_is_the_text_or_refusal_of_the_last_part_and_empty_of_anything_else():
    assert ItemHelpers.extract_last_content(TWO) == "two"
    assert ItemHelpers.extract_last_content(REFUSED) == "no"
    assert ItemHelpers.extract_last_content(adding()) == ""


def test_extract_last_text_is_the_text_of_the_last_part_or_none():
    assert ItemHelpers.extract_last_text(TWO) == "two"
    assert ItemHelpers.extract_last_text(REFUSED) is None
    assert ItemHelpers.extract_last_text(adding()) is None


def test_extract_text_joins_all_parts_or_is_none():
    assert ItemHelpers.extract_text(TWO) == "onetwo"
    assert ItemHelpers.extract_text(REFUSED) is None
    assert ItemHelpers.extract_text(adding()) is None


def test_extract_refusal_is_what_a_message_refuses_with_or_none():
    assert ItemHelpers.extract_refusal(REFUSED) == "no"
    assert ItemHelpers.extract_refusal(SAID) is None


def test_input_to_new_input_list_makes_a_text_a_message_and_copies_a_list():
    assert ItemHelpers.input_to_new_input_list("go") == [{"role": "user", "content": "go"}]
    items = [{"role": "user", "content": [{"type": "input_text", "text": "go"}]}]
    made = ItemHelpers.input_to_new_input_list(items)
    made[0]["content"][0]["text"] = "changed"
    assert items[0]["content"][0]["text"] == "go"


@ways
async def test_text_message_output_reads_an_item_and_outputs_joins_those_of_a_result(way):
    result = await go(way, in_turn([message("first "), adding()], "second", tools=[add]))
    messages = [item for item in result.new_items if isinstance(item, MessageOutputItem)]
    assert [ItemHelpers.text_message_output(one) for one in messages] == ["first ", "second"]
    assert ItemHelpers.text_message_outputs(result.new_items) == "first second"


def test_tool_call_output_item_answers_a_call_in_wire_form():
    call = ResponseFunctionToolCall(type="function_call", name="add", arguments="{}", call_id="c1")
    assert ItemHelpers.tool_call_output_item(call, 3) == {
        "type": "function_call_output",
        "call_id": "c1",
        "output": "3",
    }
    assert ItemHelpers.tool_call_output_item(adding(), ToolOutputText(text="hi"))["output"] == [
        {"type": "input_text", "text": "hi"}
    ]
    picture = ItemHelpers.tool_call_output_item(adding(), [ToolOutputImage(image_url="https://example.org/a.png")])
    assert picture["output"][0]["type"] == "input_image"
