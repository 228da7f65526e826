"""Section 4: ``RunState``: pause, decide, carry, go on; run and streamed, here and in other processes."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conformance_making import WAYS, add, adding, agent, caught, delete, deleting, go, in_turn, told
from pydantic import BaseModel

from flowcore import (
    Agent,
    AlreadyResumed,
    GraphChanged,
    GuardrailFunctionOutput,
    InputGuardrailTripwireTriggered,
    MaxTurnsExceeded,
    MemoryStore,
    NotPaused,
    RunContextWrapper,
    Runner,
    RunResult,
    RunState,
    SqliteStore,
    ToolApprovalItem,
    ToolContext,
    UserError,
    function_tool,
    input_guardrail,
)
from flowcore.testing import ScriptedModel, function_call

ways = pytest.mark.parametrize("way", WAYS)
TWO = [deleting("a", "d1"), deleting("b", "d2")]


async def waiting(way: str, clerk: Agent, **more: Any) -> RunState[Any]:
    result = await go(way, clerk, **more)
    assert result.interruptions
    return result.to_state()


async def carried(clerk: Agent, state: RunState[Any]) -> RunState[Any]:
    """The state as another process has it."""
    return await RunState.from_string(clerk, state.to_string())


def decided(state: RunState[Any], *approve: bool) -> RunState[Any]:
    for item, yes in zip(state.get_interruptions(), approve, strict=False):
        if yes:
            state.approve(item)
        else:
            state.reject(item)
    return state


# --- approve and reject -----------------------------------------------------------------------------------------------


@ways
async def test_approve_is_per_call_id(way):
    clerk = agent(TWO, deleting("c", "d3"), "done", tools=[delete])
    state = await waiting(way, clerk)
    state.approve(state.get_interruptions()[0])
    result = await go(way, clerk, state)
    assert [item.call_id for item in result.interruptions] == ["d2"]
    result = await go(way, clerk, decided(result.to_state(), True))
    assert [item.call_id for item in result.interruptions] == ["d3"]
    assert told(result) == ["deleted a", "deleted b"]


@ways
@pytest.mark.parametrize("elsewhere", [False, True])
async def test_always_approve_is_sticky_for_the_tool_over_later_turns_and_processes(way, elsewhere):
    @function_tool(needs_approval=True)
    async def erase(row: str) -> str:
        """Erase."""
        return f"erased {row}"

    erasing = function_call("erase", {"row": "x"}, "e1")
    clerk = agent(deleting("a", "d1"), deleting("b", "d2"), erasing, deleting("c", "d3"), "done", tools=[delete, erase])
    state = await waiting(way, clerk)
    state.approve(state.get_interruptions()[0], always_approve=True)
    if elsewhere:
        state = await carried(clerk, state)
    result = await go(way, clerk, state)
    assert [item.name for item in result.interruptions] == ["erase"]  # another tool is asked about
    state = result.to_state()
    if elsewhere:
        state = await carried(clerk, state)
    result = await go(way, clerk, decided(state, True))
    assert result.final_output == "done"
    assert told(result) == ["deleted a", "deleted b", "erased x", "deleted c"]


@ways
async def test_always_reject_is_sticky_with_its_message(way):
    clerk = agent(deleting("a", "d1"), deleting("b", "d2"), "done", tools=[delete])
    state = await waiting(way, clerk)
    state.reject(state.get_interruptions()[0], always_reject=True, rejection_message="never delete")
    result = await go(way, clerk, await carried(clerk, state))
    assert result.final_output == "done"
    assert told(result) == ["never delete", "never delete"]


@ways
async def test_a_rejected_call_is_told_the_message_else_the_formatter_else_the_default_and_the_run_continues(way):
    def say(args: Any) -> str | None:
        assert (args.kind, args.tool_name, args.default_message) == (
            "approval_rejected", "delete", "Tool execution was not approved."
        )  # fmt: skip
        return "formatted" if args.call_id == "d2" else None

    calls = [deleting("a", "d1"), deleting("b", "d2"), deleting("c", "d3")]
    clerk = agent(calls, "done", tools=[delete])
    state = await waiting(way, clerk)
    first, second, third = state.get_interruptions()
    state.reject(first, rejection_message="own words")
    state.reject(second)
    state.reject(third)
    result = await go(way, clerk, state, run_config={"tool_error_formatter": say})
    assert told(result) == ["own words", "formatted", "Tool execution was not approved."]
    assert result.final_output == "done"


@ways
@pytest.mark.parametrize("change", [{"arguments": '{"row": "all"}'}, {"name": "other"}, {"call_id": "d9"}])
async def test_a_decision_is_bound_to_call_id_tool_and_arguments(way, change):
    clerk = agent(deleting(), "done", tools=[delete])
    state = await waiting(way, clerk)
    made = ToolApprovalItem(clerk, {**deleting(), **change})
    for decide in (state.approve, state.reject):
        with pytest.raises(UserError, match=r"isn't open in this state.*delete.*d1"):
            decide(made)
    state.approve(ToolApprovalItem(clerk, deleting()))
    assert told(await go(way, clerk, state)) == ["deleted a"]


@ways
async def test_an_approval_does_not_ride_on_a_later_call_with_the_same_id_and_other_arguments(way):
    clerk = in_turn(deleting("a", "same"), deleting("everything", "same"), "done", tools=[delete])
    state = await waiting(way, clerk)
    result = await go(way, clerk, decided(state, True))
    assert told(result) == ["deleted a"]
    assert [(item.call_id, item.arguments) for item in result.interruptions] == [("same", '{"row": "everything"}')]


@ways
async def test_two_calls_of_one_reply_with_the_same_id_are_two_questions(way):
    clerk = agent([deleting("a", "same"), deleting("b", "same")], "done", tools=[delete])
    state = await waiting(way, clerk)
    first, second = state.get_interruptions()
    state.approve(first)
    state.reject(second)
    assert told(await go(way, clerk, state)) == ["deleted a", "Tool execution was not approved."]


# --- interruptions ----------------------------------------------------------------------------------------------------


@ways
async def test_get_interruptions_gives_detached_copies(way):
    state = await waiting(way, agent(deleting(), "done", tools=[delete]))
    (item,) = state.get_interruptions()
    item.item["arguments"] = "{}"
    assert state.get_interruptions()[0].arguments == '{"row": "a"}'


@ways
async def test_resolved_calls_run_and_the_rest_interrupt_again(way):
    clerk = agent(TWO, "done", tools=[delete])
    state = await waiting(way, clerk)
    state.approve(state.get_interruptions()[1])
    result = await go(way, clerk, await carried(clerk, state))
    assert [item.call_id for item in result.interruptions] == ["d1"]
    result = await go(way, clerk, decided(result.to_state(), False))
    assert (result.final_output, told(result)) == ("done", ["Tool execution was not approved.", "deleted b"])


@ways
async def test_siblings_that_need_no_approval_run_before_the_pause_and_once(way):
    ran: list[int] = []

    @function_tool
    async def note(x: int) -> str:
        """Note."""
        ran.append(x)
        return "noted"

    clerk = agent([deleting(), function_call("note", {"x": 1}, "n1")], "done", tools=[delete, note])
    state = await waiting(way, clerk)
    assert ran == [1]
    result = await go(way, clerk, decided(await carried(clerk, state), True))
    assert (ran, told(result)) == ([1], ["deleted a", "noted"])


@ways
async def test_a_handoff_of_the_same_reply_waits_for_the_decision(way):
    other = in_turn("from B", name="B")
    clerk = agent([deleting(), function_call("transfer_to_b", {}, "h1")], name="A", tools=[delete], handoffs=[other])
    result = await go(way, clerk)
    assert result.last_agent is clerk
    result = await go(way, clerk, decided(result.to_state(), True))
    assert (result.last_agent, result.final_output) == (other, "from B")


@ways
async def test_a_state_of_the_second_agent_goes_on_with_it(way):
    other = agent(name="B", tools=[delete])
    other.model = ScriptedModel.by_turn([deleting(), "from B"], count=lambda items: sum(
        item.get("name") == "delete" for item in items))  # fmt: skip
    clerk = agent(function_call("transfer_to_b", {}, "h1"), name="A", handoffs=[other])
    state = await waiting(way, clerk)
    assert (state.current_agent, state.starting_agent) == (other, clerk)
    result = await go(way, clerk, decided(await carried(clerk, state), True))
    assert (result.last_agent, result.final_output) == (other, "from B")


# --- nested agents ----------------------------------------------------------------------------------------------------


def nesting(depth: int) -> Agent:
    inner = agent(TWO, "inner done", name="Level 0", tools=[delete])
    for level in range(1, depth + 1):
        tool = inner.as_tool("below", "Below.")
        inner = agent(function_call("below", {"input": "x"}, f"t{level}"), "done", name=f"Level {level}", tools=[tool])
    return inner


@ways
@pytest.mark.parametrize("depth", [1, 3])
async def test_a_nested_agents_questions_are_the_callers_and_are_routed_to_their_owner(way, depth):
    top = nesting(depth)
    result = await go(way, top)
    assert [(item.call_id, item.agent.name) for item in result.interruptions] == [("d1", "Level 0"), ("d2", "Level 0")]
    top = nesting(depth)
    state = await carried(top, result.to_state())
    state.approve(state.get_interruptions()[0])
    result = await go(way, top, state)
    assert [item.call_id for item in result.interruptions] == ["d2"]
    result = await go(way, top, decided(result.to_state(), False))
    assert result.final_output == "done"


@ways
async def test_a_nested_runs_approvals_are_its_own_and_not_its_callers(way):
    inner = agent(deleting("inner", "d1"), "inner done", name="Inner", tools=[delete])
    outer = agent(function_call("inner", {"input": "x"}, "t1"), deleting("outer", "d2"), "done", name="Outer",
                  tools=[inner.as_tool("inner", "Inner."), delete])  # fmt: skip
    state = await waiting(way, outer)
    state.approve(state.get_interruptions()[0], always_approve=True)
    result = await go(way, outer, state)
    assert [(item.call_id, item.agent.name) for item in result.interruptions] == [("d2", "Outer")]


# --- the context wrapper's say ----------------------------------------------------------------------------------------


@ways
async def test_a_tool_sees_what_was_decided_of_its_call(way):
    seen: list[Any] = []

    @function_tool(needs_approval=True)
    async def act(ctx: ToolContext[Any], x: int) -> str:
        """Act."""
        seen.append((ctx.is_tool_approved("act", ctx.tool_call_id), ctx.get_approval_status("act", ctx.tool_call_id)))
        seen.append((ctx.is_tool_approved("act", "other"), ctx.get_rejection_message("act", ctx.tool_call_id)))
        return "acted"

    clerk = agent(function_call("act", {"x": 1}, "c1"), "done", tools=[act])
    result = await go(way, clerk, decided(await waiting(way, clerk), True))
    assert seen == [(True, True), (None, None)]
    assert result.context_wrapper.is_tool_approved("act", "c1") is True
    assert result.context_wrapper.get_approval_status("act", "nobody") is None


@ways
async def test_the_wrapper_knows_a_rejection_and_its_message_in_another_process_too(way):
    clerk = agent([deleting("a", "d1"), deleting("b", "d2")], "done", tools=[delete])
    state = await waiting(way, clerk)
    first, second = state.get_interruptions()
    state.reject(first, rejection_message="no way")
    state.approve(second)
    result = await go(way, clerk, await carried(clerk, state))
    wrapper = result.context_wrapper
    assert [wrapper.is_tool_approved("delete", one) for one in ("d1", "d2")] == [False, True]
    assert [wrapper.get_rejection_message("delete", one) for one in ("d1", "d2")] == ["no way", None]


@ways
async def test_always_is_known_of_any_call_of_the_tool(way):
    clerk = agent(deleting("a", "d1"), deleting("b", "d2"), "done", tools=[delete])
    state = await waiting(way, clerk)
    state.reject(state.get_interruptions()[0], always_reject=True, rejection_message="never")
    wrapper = (await go(way, clerk, await carried(clerk, state))).context_wrapper
    assert wrapper.is_tool_approved("delete", "any") is False
    assert wrapper.get_rejection_message("delete", "any") == "never"


@ways
async def test_a_tool_approves_or_rejects_a_call_that_comes_by_approve_tool_and_reject_tool(way):
    @function_tool
    async def prepare(ctx: RunContextWrapper[Any], yes: bool) -> str:
        """Prepare."""
        item = ToolApprovalItem(clerk, deleting("a", "d1"))
        if yes:
            ctx.approve_tool(item)
        else:
            ctx.reject_tool(item, rejection_message="prepared to refuse")
        return "prepared"

    for yes, said in ((True, "deleted a"), (False, "prepared to refuse")):
        steps = function_call("prepare", {"yes": yes}, "p1"), deleting("a", "d1"), "done"
        clerk = agent(*steps, tools=[prepare, delete])
        result = await go(way, clerk)
        assert result.interruptions == []
        assert told(result) == ["prepared", said]


@ways
async def test_what_a_tool_approved_does_not_hold_for_other_arguments(way):
    @function_tool
    async def prepare(ctx: RunContextWrapper[Any]) -> str:
        """Prepare."""
        ctx.approve_tool(ToolApprovalItem(clerk, deleting("a", "d1")))
        return "prepared"

    clerk = agent(function_call("prepare", {}, "p1"), deleting("everything", "d1"), "done", tools=[prepare, delete])
    assert [item.arguments for item in (await go(way, clerk)).interruptions] == ['{"row": "everything"}']


@ways
async def test_always_approve_by_a_tool_holds_over_a_pause_in_another_process(way):
    @function_tool
    async def prepare(ctx: RunContextWrapper[Any]) -> str:
        """Prepare."""
        ctx.approve_tool(ToolApprovalItem(clerk, deleting("a", "x")), always_approve=True)
        return "prepared"

    @function_tool(needs_approval=True)
    async def erase(row: str) -> str:
        """Erase."""
        return "erased"

    erasing = function_call("erase", {"row": "x"}, "e1")
    clerk = agent(function_call("prepare", {}, "p1"), erasing, deleting(), "done", tools=[prepare, delete, erase])
    state = await waiting(way, clerk)
    result = await go(way, clerk, decided(await carried(clerk, state), True))
    assert told(result) == ["prepared", "erased", "deleted a"]


@ways
async def test_always_approve_by_a_tool_holds_for_for_all_calls_of_a_tool_in_the_run(way):
    @function_tool
    async def prepare(ctx: RunContextWrapper[Any]) -> str:
        """Prepare."""
        ctx.approve_tool(ToolApprovalItem(clerk, deleting("a", "x")), always_approve=True)
        return "prepared"

    clerk = agent(function_call("prepare", {}, "p1"), TWO, "done", tools=[prepare, delete])
    result = await go(way, clerk)
    assert told(result) == ["prepared", "deleted a", "deleted b"]
    again = agent(deleting(), "done", tools=[delete])
    assert (await go(way, again)).interruptions


# --- add_input --------------------------------------------------------------------------------------------------------


@ways
async def test_add_input_is_staged_shown_cleared_and_read_by_the_next_call(way):
    clerk = agent(deleting(), "done", tools=[delete])
    state = decided(await waiting(way, clerk), True)
    assert state.pending_input == []
    state.add_input("one")
    state.clear_pending_input()
    assert state.pending_input == []
    state.add_input("and hurry")
    state.add_input([{"role": "user", "content": "please"}])
    assert state.pending_input == [
        {"role": "user", "content": "and hurry"}, {"role": "user", "content": "please"}
    ]  # fmt: skip
    state.pending_input.clear()
    assert len(state.pending_input) == 2
    result = await go(way, clerk, await carried(clerk, state))
    last = clerk.model.calls[-1].input
    assert last[-2:] == [{"role": "user", "content": "and hurry"}, {"role": "user", "content": "please"}]
    assert last[-3]["type"] == "function_call_output"
    assert result.final_output == "done"
    assert [item.type for item in result.new_items].count("input_item") == 2


@ways
@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("where", ["agent", "run"])
async def test_guardrails_of_the_current_agent_judge_added_input(way, parallel, where):
    seen: list[Any] = []

    @input_guardrail(run_in_parallel=parallel)
    async def judge(ctx, agent, input):
        seen.append((agent.name, input))
        return GuardrailFunctionOutput(None, input == "bad")

    own = {"input_guardrails": [judge]} if where == "agent" else {}
    more = {"run_config": {"input_guardrails": [judge]}} if where == "run" else {}
    for text in ("fine", "bad"):
        seen.clear()
        clerk = agent(deleting(), "done", tools=[delete], **own)
        state = decided(await waiting(way, clerk, **more), True)
        state.add_input(text)
        if text == "fine":
            assert (await go(way, clerk, state, **more)).final_output == "done"
        else:
            with pytest.raises(InputGuardrailTripwireTriggered) as tripped:
                await go(way, clerk, state, **more)
            assert tripped.value.run_data.result.final_output is None
        assert seen == [("Assistant", "go"), ("Assistant", text)]


@ways
async def test_add_input_is_refused_where_no_model_call_would_read_it(way):
    done = (await go(way, agent("hi"))).to_state()
    with pytest.raises(UserError, match="Cannot add input to a terminal RunState"):
        done.add_input("more")
    used_up = await waiting(way, agent(deleting(), "done", tools=[delete]), max_turns=1)
    with pytest.raises(UserError, match="no remaining model turns"):
        used_up.add_input("more")
    used_up.max_turns = 2
    used_up.add_input("more")
    for how in ("stop_on_first_tool", {"stop_at_tool_names": ["delete"]}, lambda ctx, results: None):
        ends = await waiting(way, agent(deleting(), "done", tools=[delete], tool_use_behavior=how))
        with pytest.raises(UserError, match="whose tool result may end the run"):
            ends.add_input("more")
    elsewhere = agent(deleting(), "done", tools=[delete], tool_use_behavior={"stop_at_tool_names": ["x"]})
    (await waiting(way, elsewhere)).add_input("more")


@ways
async def test_input_may_be_added_to_a_failed_and_to_a_stopped_run(way):
    clerk = in_turn(adding(), ValueError("down"), "done", tools=[add])
    error = await caught(way, clerk)
    state = error.run_data.result.to_state()
    state.add_input("try again")
    result = await go(way, clerk, state)
    assert result.final_output == "done"
    assert clerk.model.calls[-1].input[-1] == {"role": "user", "content": "try again"}


# --- what a state tells, and what goes on -----------------------------------------------------------------------------


@ways
async def test_context_usage_turn_max_turns_and_input_come_from_the_state(way):
    class App:
        pass

    app, seen = App(), []

    @function_tool(needs_approval=True)
    async def act(ctx: RunContextWrapper[Any], x: int) -> str:
        """Act."""
        seen.append(ctx.context)
        return "acted"

    clerk = agent(function_call("act", {"x": 1}, "c1"), function_call("act", {"x": 2}, "c2"), "done", tools=[act])
    state = await waiting(way, clerk, context=app, max_turns=7)
    assert (state.current_turn, state.max_turns, state.original_input) == (1, 7, "go")
    assert (state.context, state.usage.requests) == (app, 1)
    result = await go(way, clerk, decided(state, True))
    assert result.max_turns == 7
    other = App()
    state = decided(result.to_state(), True)
    result = await go(way, clerk, state, context=other)
    assert seen == [app, other]
    assert result.context_wrapper.usage.requests == 3


@ways
async def test_turns_go_on_counting_over_a_pause_and_max_turns_may_be_given_again(way):
    clerk = agent(deleting("a", "d1"), deleting("b", "d2"), "done", tools=[delete])
    state = decided(await waiting(way, clerk, max_turns=2), True)
    result = await go(way, clerk, state)
    with pytest.raises(MaxTurnsExceeded, match=r"\(2\)"):
        await go(way, clerk, decided(result.to_state(), True))
    assert (await go(way, clerk, decided(result.to_state(), True), max_turns=3)).final_output == "done"


@ways
async def test_either_way_goes_on_with_a_state_of_the_other(way):
    other = "streamed" if way == "run" else "run"
    clerk = agent(deleting(), "done", tools=[delete])
    result = await go(other, clerk, decided(await waiting(way, clerk), True))
    assert result.final_output == "done"


@ways
async def test_a_state_that_is_done_is_not_run(way):
    clerk = agent("hi")
    state = (await go(way, clerk)).to_state()
    with pytest.raises(NotPaused, match="nothing to resume"):
        await go(way, clerk, state)


@ways
async def test_a_state_can_be_taken_where_ever_a_run_rests(way):
    clerk = in_turn(adding(), ValueError("down"), "done", tools=[add])
    error = await caught(way, clerk)
    assert error.run_data.result.to_state().standing == "failed"
    streamed = Runner.run_streamed(agent(adding(), "done", tools=[add]), "go")
    async for event in streamed.stream_events():
        if event.type == "run_item_stream_event":
            streamed.cancel("after_turn")
    assert streamed.to_state().standing == "stopped"


@ways
async def test_what_one_needs_approval_function_says_counts(way):
    async def big(ctx: Any, arguments: dict[str, Any], call_id: str) -> bool:
        assert call_id.startswith("c")
        return arguments["x"] > 10

    @function_tool(needs_approval=big)
    async def act(x: int) -> str:
        """Act."""
        return f"acted {x}"

    clerk = agent([function_call("act", {"x": 1}, "c1"), function_call("act", {"x": 11}, "c2")], "done", tools=[act])
    result = await go(way, clerk)
    assert [item.call_id for item in result.interruptions] == ["c2"]


@ways
async def test_an_agent_tool_may_need_approval_itself(way):
    inner = in_turn("inner done", name="Inner")
    tool = inner.as_tool("inner", "Inner.", needs_approval=True)
    outer = agent(function_call("inner", {"input": "x"}, "t1"), "done", tools=[tool])
    state = await waiting(way, outer)
    assert inner.model.calls == []
    assert told(await go(way, outer, decided(state, True))) == ["inner done"]


# --- JSON -------------------------------------------------------------------------------------------------------------


@ways
async def test_a_state_of_one_approval_is_small_json_with_a_version(way):
    state = await waiting(way, agent(deleting(), "done", tools=[delete]))
    data = state.to_json()
    assert data["$schemaVersion"] == "flowcore/1"
    assert len(state.to_string()) < 10_000
    assert json.loads(state.to_string()) == json.loads(json.dumps(data))


@ways
async def test_json_grows_with_what_is_new_not_with_what_has_been(way):
    def size(turns: int) -> Any:
        return agent(*[adding(f"c{i}") for i in range(turns)], deleting(), "done", tools=[add, delete])

    sizes = [len((await waiting(way, size(turns), max_turns=None)).to_string()) for turns in (10, 20, 40)]
    assert (sizes[2] - sizes[1]) == pytest.approx(2 * (sizes[1] - sizes[0]), rel=0.1)


@ways
async def test_a_mapping_context_is_kept_and_a_given_one_overrides_it(way):
    clerk = agent(deleting(), "done", tools=[delete])
    state = await waiting(way, clerk, context={"user": "Ann"})
    assert (await carried(clerk, state)).context == {"user": "Ann"}
    given = await RunState.from_json(clerk, state.to_json(), context_override={"user": "Bob"})
    assert given.context == {"user": "Bob"}


class Person(BaseModel):
    name: str


@dataclass
class Place:
    name: str


@pytest.mark.parametrize("context", [Person(name="Ann"), Place("Bern")])
async def test_a_model_or_dataclass_becomes_its_fields_with_a_warning_and_is_refused_where_strict(context):
    clerk = agent(deleting(), "done", tools=[delete])
    state = await waiting("run", clerk, context=context)
    with pytest.warns(UserWarning, match="context"):
        data = state.to_json()
    assert data["context"]["value"] == {"name": context.name}
    with pytest.raises(UserError, match="strict_context"):
        state.to_json(strict_context=True)
    kept = state.to_json(context_serializer=lambda made: {"name": made.name}, strict_context=True)
    again = await RunState.from_json(
        clerk, kept, context_deserializer=lambda told: type(context)(**told), strict_context=True
    )
    assert again.context == context


async def test_another_context_becomes_an_empty_one_with_a_warning():
    clerk = agent(deleting(), "done", tools=[delete])
    state = await waiting("run", clerk, context=object())
    with pytest.warns(UserWarning, match="context"):
        data = state.to_json()
    assert data["context"]["value"] == {}


async def test_an_exporters_key_is_written_only_where_that_is_asked_for():
    clerk = agent(deleting(), "done", tools=[delete])
    state = await waiting("run", clerk, run_config={"tracing": {"api_key": "secret"}})
    assert "secret" not in state.to_string()
    assert "secret" in state.to_string(include_tracing_api_key=True)
    again = await RunState.from_string(clerk, state.to_string(include_tracing_api_key=True))
    assert again.tracing_api_key == "secret"


@pytest.mark.parametrize("version", ["1.17", "1.0", "flowcore/2", "flowcore/0", "2", "", None, 7, ["flowcore/1"]])
async def test_a_state_of_another_version_is_refused(version):
    clerk = agent(deleting(), "done", tools=[delete])
    data = (await waiting("run", clerk)).to_json()
    with pytest.raises(UserError, match=r"[vV]ersion|schema"):
        await RunState.from_json(clerk, {**data, "$schemaVersion": version})
    del data["$schemaVersion"]
    with pytest.raises(UserError, match="Version"):
        await RunState.from_json(clerk, data)


NO_STATES = ["", "no", "[]", "null", "{}", '{"$schemaVersion": "flowcore/1"}', "[" * 10_000, "NaN"]


@pytest.mark.parametrize("text", NO_STATES)
async def test_text_that_is_no_state_is_refused_without_being_quoted(text):
    clerk = agent(deleting(), "done", tools=[delete])
    with pytest.raises(UserError) as refused:
        await RunState.from_string(clerk, text)
    assert len(str(refused.value)) < 300


async def test_damaged_json_is_refused_without_telling_what_it_holds():
    clerk = agent(deleting("hush"), "done", tools=[delete])
    whole = json.loads((await waiting("run", clerk)).to_string())
    paths: list[list[Any]] = []

    def walk(value: Any, path: list[Any]) -> None:
        paths.append(path)
        if isinstance(value, (dict, list)):
            for key, below in value.items() if isinstance(value, dict) else enumerate(value):
                walk(below, [*path, key])

    walk(whole["run"], ["run"])
    refused: list[str] = []
    for path in paths:
        for put in (None, "hush" * 3, -1, [], {}, {"hush": [1]}):
            data = json.loads(json.dumps(whole))
            at = data
            for key in path[:-1]:
                at = at[key]
            at[path[-1]] = put
            try:
                await RunState.from_json(clerk, data)
            except GraphChanged:  # that names the agents and tools which are gone
                refused.append("")
            except UserError as error:
                refused.append(str(error))
    assert len(refused) > len(paths)
    assert not [one for one in refused if "hush" in one]


async def test_the_agents_are_found_again_by_name_and_one_that_is_gone_is_refused():
    other = agent(name="B", tools=[delete])
    other.model = ScriptedModel([deleting(), "done"])
    clerk = agent(function_call("transfer_to_b", {}, "h1"), name="A", handoffs=[other])
    text = (await waiting("run", clerk)).to_string()
    alone = agent("x", name="A")
    with pytest.raises(GraphChanged, match="'B'"):
        await RunState.from_string(alone, text)
    toolless = agent("x", name="A", handoffs=[Agent(name="B")])
    with pytest.raises(GraphChanged, match="'delete'"):
        await RunState.from_string(toolless, text)


async def test_text_of_any_kind_survives_the_json():
    odd = "nul \x00 half \ud800 emoji 🙂"
    clerk = agent(deleting(odd), "done", tools=[delete])
    state = await waiting("run", clerk)
    state.reject(state.get_interruptions()[0], rejection_message=odd)
    result = await go("run", clerk, await carried(clerk, state))
    assert told(result) == [odd]


PROCESS = """
import asyncio, sys
sys.path.insert(0, {here!r})
from conformance_making import adding, add, agent, delete, deleting
from flowcore import Runner, RunState
from pathlib import Path

file = Path({file!r})
clerk = agent(deleting("a", "d1"), [adding(), deleting("b", "d2")], deleting("c", "d3"), "done", tools=[add, delete])

async def main():
    if not file.exists():
        result = await Runner.run(clerk, "go")
    else:
        state = await RunState.from_string(clerk, file.read_text())
        item = state.get_interruptions()[0]
        if item.call_id == "d1":
            state.reject(item)
        else:
            state.approve(item, always_approve=True)
        streamed = Runner.run_streamed(clerk, state)
        async for _ in streamed.stream_events():
            pass
        result = streamed
    file.write_text(result.to_state().to_string())
    print([one.call_id for one in result.interruptions], result.final_output, result.context_wrapper.usage.requests,
          [one["output"] for one in result.to_input_list() if one.get("type") == "function_call_output"])

asyncio.run(main())
"""


def test_a_run_goes_on_in_process_after_process(tmp_path):
    script = PROCESS.format(here=str(Path(__file__).parent), file=str(tmp_path / "state.json"))
    said = [
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
        for _ in range(3)
    ]
    no = "Tool execution was not approved."
    assert said == [
        "['d1'] None 1 []",
        f"['d2'] None 2 [{no!r}, '3']",
        f"[] done 4 [{no!r}, '3', 'deleted b', 'deleted c']",
    ]


@ways
async def test_a_state_of_a_run_in_a_store_goes_on_there_and_once(way, tmp_path):
    store = SqliteStore(tmp_path / "runs.db")
    clerk = agent(deleting(), "done", tools=[delete])
    state = await waiting(way, clerk, store=store, run_id="r")
    text = decided(state, True).to_string()
    again = await RunState.from_string(clerk, text, store=store)
    result: RunResult = await go(way, clerk, again)
    assert (result.final_output, result.run_id) == ("done", "r")
    with pytest.raises(AlreadyResumed, match="gone on since"):
        await go(way, clerk, await RunState.from_string(clerk, text, store=store))
    assert (await store.get("r")).standing == "done"
    await store.close()


@ways
async def test_a_session_has_a_turns_calls_and_outputs_once_over_a_pause(way):
    store = MemoryStore()
    clerk = agent([adding(), deleting()], "done", tools=[add, delete])
    state = await waiting(way, clerk, store=store, session="s")
    assert len(await store.session_items("s")) <= 1
    await go(way, clerk, decided(state, True))
    kinds = [one.item.get("type", one.item.get("role")) for one in await store.session_items("s")]
    assert kinds == ["user", *["function_call"] * 2, *["function_call_output"] * 2, "message"]
