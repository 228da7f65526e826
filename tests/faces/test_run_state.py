"""``RunState``: decided about, carried as JSON, and gone on with, here, elsewhere, and more than once."""

import asyncio
import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr, computed_field

from flowcore import (
    Agent,
    AlreadyResumed,
    GraphChanged,
    GuardrailFunctionOutput,
    MaxTurnsExceeded,
    MemoryStore,
    ModelError,
    NotOpen,
    NotPaused,
    Options,
    Run,
    RunContextWrapper,
    Runner,
    RunState,
    Secret,
    SqliteStore,
    StoreError,
    UserError,
    answer,
    function_tool,
    input_guardrail,
)
from flowcore.faces.items import ToolApprovalItem
from flowcore.faces.results import RunResult
from flowcore.faces.state_json import SCHEMA
from flowcore.machine.facts import Signal, Started
from flowcore.testing import ScriptedModel, function_call, journals

DONE: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_done():
    DONE.clear()


@function_tool(needs_approval=True)
async def delete(row: str) -> str:
    """Delete a row."""
    DONE.append(row)
    return f"deleted {row}"


@function_tool
async def read(row: str) -> str:
    """Read a row."""
    DONE.append(f"read {row}")
    return f"row {row}"


def deleting(row: str, call_id: str) -> dict[str, Any]:
    return function_call("delete", {"row": row}, call_id)


def agent(*steps: Any, name: str = "Clerk", **fields: Any) -> Agent:
    """An agent whose model finds the step that's due by the history, as one in another process would."""
    fields.setdefault("tools", [delete, read])
    return Agent(name=name, model=ScriptedModel.by_turn(list(steps)), **fields)


def one_approval(**fields: Any) -> Agent:
    return agent(deleting("a", "c1"), "done", **fields)


async def go_on(state: RunState[Any], **more: Any) -> RunResult:
    """What the runner does with a state."""
    options = Options(state.context)
    run = await state.go_on(options, **more)
    return await RunResult(run, state.original_input, options, state.max_turns)._settle()


async def failing(agent: Agent, **more: Any) -> RunState[Any]:
    """The state of a run that fails."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - any: the state is what is tested
        await Runner.run(agent, "go", **more)
    return RunState.of(getattr(caught.value, "run_data").result)  # noqa: B009


def told(run: Run) -> list[Any]:
    """What the model was told of its calls."""
    return [item["output"] for item in run.state.items if item.get("type") == "function_call_output"]


def signals(run: Run) -> list[Signal]:
    return [fact for fact in run.facts if isinstance(fact, Signal)]


# --- decisions --------------------------------------------------------------------------------------------------------


async def test_an_approved_call_is_made_and_a_rejected_one_told():
    clerk = agent([deleting("a", "c1"), deleting("b", "c2"), deleting("c", "c3")], "done")
    state = RunState.of(await Runner.run(clerk, "go"))
    first, second, third = state.get_interruptions()
    state.approve(first)
    state.reject(second)
    state.reject(third, rejection_message="too risky")
    result = await go_on(state)
    assert result.final_output == "done"
    assert DONE == ["a"]
    assert told(result.run) == ["deleted a", "Tool execution was not approved.", "too risky"]


async def test_what_is_decided_runs_and_the_rest_is_asked_again():
    result = await Runner.run(agent([deleting("a", "c1"), deleting("b", "c2")], "done"), "go")
    state = RunState.of(result)
    state.approve(state.get_interruptions()[1])
    result = await go_on(state)
    assert DONE == ["b"]
    state = RunState.of(result)
    (left,) = state.get_interruptions()
    assert (left.call_id, left.agent.name) == ("c1", "Clerk")
    state.approve(left)
    assert (await go_on(state)).final_output == "done"
    assert DONE == ["b", "a"]


async def test_a_state_without_decisions_goes_on_to_the_same_question():
    state = RunState.of(await Runner.run(one_approval(), "go"))
    result = await go_on(state)
    assert [item.call_id for item in result.interruptions] == ["c1"]
    assert DONE == []


async def test_of_two_decisions_about_a_call_the_last_counts():
    state = RunState.of(await Runner.run(one_approval(), "go"))
    (item,) = state.get_interruptions()
    state.approve(item, always_approve=True)
    state.reject(item, rejection_message="no")
    result = await go_on(state)
    assert DONE == []
    assert told(result.run) == ["no"]


async def test_always_covers_the_other_open_calls_of_the_tool_but_not_those_decided_by_themselves():
    clerk = agent([deleting("a", "c1"), deleting("b", "c2"), deleting("c", "c3")], "done")
    state = RunState.of(await Runner.run(clerk, "go"))
    first, second, _ = state.get_interruptions()
    state.reject(second)
    state.approve(first, always_approve=True)
    result = await go_on(state)
    assert sorted(DONE) == ["a", "c"]
    assert {"approve": True, "always": True} in [one.value for one in signals(result.run)]


async def test_interruptions_are_detached_copies():
    state = RunState.of(await Runner.run(one_approval(), "go"))
    (item,) = state.get_interruptions()
    item.item["arguments"] = "{}"
    item.request.data["tool"] = "other"
    (again,) = state.get_interruptions()
    assert (again.arguments, again.request.data["tool"]) == ('{"row": "a"}', "delete")


@pytest.mark.parametrize("change", [{"arguments": '{"row": "all"}'}, {"name": "read"}, {"call_id": "c2"}])
async def test_a_decision_is_bound_to_tool_call_id_and_arguments(change):
    state = RunState.of(await Runner.run(one_approval(), "go"))
    (item,) = state.get_interruptions()
    item.item.update(change)
    with pytest.raises(UserError, match=r"isn't open in this state.*delete\(.*c1"):
        state.approve(item)
    assert (await go_on(state)).interruptions


async def test_an_item_of_another_run_is_refused_and_one_made_by_hand_is_found():
    clerk = one_approval()
    other = RunState.of(await Runner.run(clerk, "go")).get_interruptions()[0]
    state = RunState.of(await Runner.run(clerk, "go"))
    with pytest.raises(UserError, match="isn't open"):
        state.reject(other)
    with pytest.raises(UserError, match="get_interruptions"):
        state.approve("c1")
    state.approve(ToolApprovalItem(clerk, deleting("a", "c1")))
    assert (await go_on(state)).final_output == "done"


async def test_a_call_that_somebody_else_decided_about_meanwhile_is_not_decided_twice():
    store = MemoryStore()
    state = RunState.of(await Runner.run(one_approval(), "go", store=store))
    state.approve(state.get_interruptions()[0])
    await answer(store, state.run_id, "c1", False)
    with pytest.raises(NotOpen, match="answered already"):
        await go_on(state)
    assert (await go_on(RunState.of(await Runner.run(one_approval(), "go")))).interruptions
    assert DONE == []


# --- nested agents ----------------------------------------------------------------------------------------------------


def nested(*steps: Any) -> Agent:
    inner = agent(*steps, name="Inner")
    middle = agent(function_call("inner", {"input": "x"}, "m"), "middle done", name="Middle", tools=[inner.as_tool()])
    return agent(function_call("middle", {"input": "y"}, "t"), "done", name="Top", tools=[middle.as_tool()])


async def test_a_nested_agents_call_is_decided_in_the_run_that_asked():
    store = MemoryStore()
    state = RunState.of(await Runner.run(nested([deleting("a", "c1"), deleting("b", "c2")], "inner done"), "go"))
    first, second = state.get_interruptions()
    assert first.agent.name == "Inner"
    state.reject(first)
    state.approve(second)
    state = await RunState.from_string(nested([deleting("a", "c1"), deleting("b", "c2")], "inner done"),
                                       state.to_string(), store=store)  # fmt: skip
    result = await go_on(state)
    assert result.final_output == "done"
    assert DONE == ["b"]
    walks = await journals(store, result.run_id)
    assert len(walks) == 3
    assert all(sum(isinstance(fact, Started) for fact in facts) == 1 for facts in walks.values())
    inner = next(facts for run, facts in walks.items() if run.count("/run_tools") == 2)
    assert [one.key for one in inner if isinstance(one, Signal)] == ["c1", "c2"]


async def test_calls_of_the_same_id_in_two_nested_runs_are_two_questions():
    def make() -> Agent:
        inner = one_approval(name="Inner")
        calls = [function_call("inner", {"input": "x"}, "one"), function_call("inner", {"input": "y"}, "two")]
        return agent(calls, "done", name="Top", tools=[inner.as_tool()])

    state = RunState.of(await Runner.run(make(), "go"))
    first, second = state.get_interruptions()
    assert first.request.run != second.request.run
    with pytest.raises(UserError, match="asked twice"):
        state.approve(ToolApprovalItem(first.agent, deleting("a", "c1")))
    state.approve(first)
    state.reject(second)
    assert (await go_on(state)).final_output == "done"
    assert DONE == ["a"]


# --- several states of one result -------------------------------------------------------------------------------------


async def test_two_states_of_a_result_in_memory_are_two_walks_and_the_result_stays_as_it_is():
    result = await Runner.run(one_approval(), "go")
    yes, no = RunState.of(result), RunState.of(result)
    yes.approve(yes.get_interruptions()[0])
    no.reject(no.get_interruptions()[0])
    assert told((await go_on(yes)).run) == ["deleted a"]
    assert told((await go_on(no)).run) == ["Tool execution was not approved."]
    assert [item.call_id for item in result.interruptions] == ["c1"]
    assert result.run_id == yes.run_id == no.run_id


async def test_a_state_that_is_run_where_it_was_taken_gives_the_values_that_tools_gave():
    @function_tool
    def count() -> dict[str, int]:
        """Count."""
        return {"rows": 3}

    clerk = agent(function_call("count"), deleting("a", "c1"), "done", tools=[count, delete])
    state = (await Runner.run(clerk, "go")).to_state()
    elsewhere = await RunState.from_json(clerk, state.to_json())
    for one, value in ((state, {"rows": 3}), (elsewhere, "{'rows': 3}")):
        one.approve(one.get_interruptions()[0])
        result = await Runner.run(clerk, one)
        outputs = [item.output for item in result.new_items if item.type == "tool_call_output_item"]
        assert outputs == [value, "deleted a"]


async def test_a_fork_has_a_state_of_its_own():
    clerk = one_approval()
    result = await Runner.run(clerk, "go")
    asked = next(fact.seq for fact in result.run.facts if getattr(fact, "to", None) == "run_tools")
    options = Options()
    fork = await RunResult(await result.run.fork(asked, context=options), "go", options, 10)._settle()
    state = await RunState.from_json(clerk, RunState.of(fork).to_json())
    assert state.run_id == fork.run_id != result.run_id
    state.approve(state.get_interruptions()[0])
    assert (await go_on(state)).final_output == "done"
    with pytest.raises(UserError, match="isn't open"):
        RunState.of(result).approve(fork.interruptions[0])
    assert DONE == ["a"]


async def test_of_two_states_of_a_run_in_a_store_the_second_comes_too_late():
    store = MemoryStore()
    result = await Runner.run(one_approval(), "go", store=store)
    yes, no = RunState.of(result), RunState.of(result)
    yes.approve(yes.get_interruptions()[0])
    no.reject(no.get_interruptions()[0])
    assert (await go_on(yes)).final_output == "done"
    with pytest.raises(AlreadyResumed, match="has gone on since"):
        await go_on(no)
    with pytest.raises(AlreadyResumed):
        no.to_json()
    assert DONE == ["a"]


async def test_a_state_whose_process_died_while_it_was_run_is_run_again_from_the_same_json():
    store, copies = MemoryStore(), []

    @function_tool(needs_approval=True)
    async def erase(row: str) -> str:
        """Erase."""
        if not copies:
            copies.append(store.copy())  # what another process finds when this one dies here
        DONE.append(row)
        return "erased"

    def make() -> Agent:
        calls = [function_call("read", {"row": "b"}, "r1"), function_call("erase", {"row": "a"}, "c1")]
        return agent(calls, "done", tools=[erase, read])

    state = RunState.of(await Runner.run(make(), "go", store=store))
    state.approve(state.get_interruptions()[0])
    text = state.to_string()
    await go_on(await RunState.from_string(make(), text, store=store))
    (left,) = copies
    DONE.clear()
    result = await go_on(await RunState.from_string(make(), text, store=left))
    assert result.final_output == "done"
    assert DONE == ["a"]
    assert len(signals(result.run)) == 1
    with pytest.raises(AlreadyResumed):
        await go_on(await RunState.from_string(make(), text, store=left))


async def test_a_state_that_is_run_again_goes_on_with_its_run():
    state = RunState.of(await Runner.run(agent([deleting("a", "c1"), deleting("b", "c2")], "done"), "go"))
    state.approve(state.get_interruptions()[0])
    await go_on(state)
    (item,) = state.get_interruptions()
    assert item.call_id == "c2"
    state.approve(item)
    again = await RunState.from_json(one_approval(), state.to_json())
    assert [one.call_id for one in again.get_interruptions()] == ["c2"]
    assert (await go_on(state)).final_output == "done"
    with pytest.raises(NotPaused):
        await go_on(state)
    assert DONE == ["a", "b"]


async def test_two_who_run_one_state_at_once_do_not_both_go_on(tmp_path):
    store = SqliteStore(tmp_path / "runs.db")
    state = RunState.of(await Runner.run(one_approval(), "go", store=store))
    state.approve(state.get_interruptions()[0])
    text = state.to_string()
    states = [await RunState.from_string(one_approval(), text, store=store) for _ in range(4)]
    ends = await asyncio.gather(*(go_on(one) for one in states), return_exceptions=True)
    assert sum(isinstance(one, RunResult) for one in ends) == 1
    assert sum(isinstance(one, AlreadyResumed) for one in ends) == 3
    assert DONE == ["a"]
    await store.close()


# --- every kind of rest -----------------------------------------------------------------------------------------------


async def test_a_run_whose_model_failed_goes_on():
    state = await failing(Agent(name="A", model=ScriptedModel([ModelError("down"), "up again"])))
    assert state.standing == "failed"
    assert (await go_on(state)).final_output == "up again"


async def test_a_run_that_used_up_its_turns_goes_on_with_more_of_them():
    clerk = agent(function_call("read", {"row": "a"}, "r1"), "done")
    state = await failing(clerk, max_turns=1)
    assert (state.current_turn, state.max_turns) == (1, 1)
    with pytest.raises(MaxTurnsExceeded):
        await go_on(state)
    result = await go_on(state, limits={"max_turns": 5})
    assert result.final_output == "done"
    assert DONE == ["read a"]
    state = await failing(clerk, max_turns=1)
    state.max_turns = 3
    again = await RunState.from_json(clerk, state.to_json())
    assert (await go_on(again)).final_output == "done"


async def test_a_tool_that_failed_is_tried_again_and_its_finished_siblings_are_not():
    broken = [True]

    @function_tool(failure_error_function=None)
    async def flaky() -> str:
        """Fails once."""
        if broken:
            broken.pop()
            raise OSError("no net")
        return "well"

    calls = [function_call("read", {"row": "a"}, "r"), function_call("flaky", "{}", "f")]
    clerk = agent(calls, "done", tools=[read, flaky])
    state = await failing(clerk)
    assert (state.standing, DONE) == ("failed", ["read a"])
    assert (await go_on(await RunState.from_json(clerk, state.to_json()))).final_output == "done"
    assert DONE == ["read a"]


async def test_a_failed_nested_run_goes_on_where_it_failed():
    def make(*broken: Exception) -> Agent:
        inner = Agent(name="Inner", tools=[read], model=ScriptedModel.by_turn(
            [function_call("read", {"row": "a"}, "r"), broken[0] if broken else "inner done"]))  # fmt: skip
        tool = inner.as_tool(failure_error_function=None)
        return agent(function_call("inner", {"input": "x"}, "t"), "done", name="Top", tools=[tool])

    state = await failing(make(ModelError("down")))
    again = await RunState.from_string(make(), state.to_string())
    assert (await go_on(again)).final_output == "done"
    assert DONE == ["read a"]


@pytest.mark.parametrize(("mode", "standing"), [("after_turn", "stopped"), ("immediate", "cancelled")])
async def test_a_streamed_run_that_was_stopped_after_a_turn_or_cancelled_goes_on(mode, standing):
    began, enough = asyncio.Event(), asyncio.Event()

    @function_tool
    async def slow() -> str:
        """Slow."""
        DONE.append("begun")
        began.set()
        await enough.wait()
        DONE.append("ended")
        return "slow"

    clerk = agent(function_call("slow", "{}", "s1"), "done", tools=[slow])
    result = Runner.run_streamed(clerk, "go")
    await began.wait()
    result.cancel(mode)
    await asyncio.sleep(0)  # the letter is on its way
    if mode == "after_turn":
        enough.set()
    await result.run_loop_task
    state = RunState.of(result)
    assert state.standing == standing
    enough.set()
    assert (await go_on(await RunState.from_json(clerk, state.to_json()))).final_output == "done"
    assert {"after_turn": ["begun", "ended"], "immediate": ["begun", "begun", "ended"]}[mode] == DONE


async def test_a_run_that_still_goes_has_no_state():
    result = Runner.run_streamed(agent("done"), "go")
    async for _ in result.stream_events():
        with pytest.raises(UserError, match="still going"):
            RunState.of(result)
        break
    await result.run_loop_task


async def test_a_run_that_is_done_or_tripped_does_not_go_on():
    @input_guardrail(run_in_parallel=False)
    async def no(ctx, agent, input):
        return GuardrailFunctionOutput(None, True)

    state = await failing(agent("never", input_guardrails=[no]))
    with pytest.raises(UserError, match="fork"):
        await go_on(state)
    state = RunState.of(await Runner.run(agent("done"), "go"))
    with pytest.raises(NotPaused):
        await go_on(state)
    assert (await RunState.from_json(agent("done"), state.to_json())).standing == "done"


# --- input ------------------------------------------------------------------------------------------------------------


async def test_staged_input_is_handed_in_once_as_a_letter():
    state = RunState.of(await Runner.run(one_approval(), "go"))
    state.add_input("and be quick")
    state.add_input([{"role": "user", "content": "please"}])
    state.pending_input[0]["content"] = "changed"
    items = [{"role": "user", "content": "and be quick"}, {"role": "user", "content": "please"}]
    assert state.pending_input == items
    state = await RunState.from_json(one_approval(), state.to_json())
    assert state.pending_input == items
    result = await go_on(state)
    assert [one.value for one in signals(result.run)] == [items]
    assert state.pending_input == []
    await go_on(state)
    assert len(signals(result.run)) == 1


async def test_staged_input_can_be_taken_back():
    state = RunState.of(await Runner.run(one_approval(), "go"))
    state.add_input("no, wait")
    state.clear_pending_input()
    assert state.pending_input == []
    assert signals((await go_on(state)).run) == []


async def test_input_that_no_model_call_would_read_is_refused():
    done = RunState.of(await Runner.run(agent("done"), "go"))
    with pytest.raises(UserError, match="is done"):
        done.add_input("more")
    for ends in ("stop_on_first_tool", {"stop_at_tool_names": ["delete"]}, lambda ctx, results: None):
        state = RunState.of(await Runner.run(one_approval(tool_use_behavior=ends), "go"))
        with pytest.raises(UserError, match="may end the run: that of 'delete'"):
            state.add_input("more")
    state = RunState.of(await Runner.run(one_approval(tool_use_behavior={"stop_at_tool_names": ["read"]}), "go"))
    state.add_input("more")
    state = RunState.of(await Runner.run(one_approval(), "go", max_turns=1))
    with pytest.raises(UserError, match="no remaining model turns"):
        state.add_input("more")
    state.max_turns = 2
    state.add_input("more")
    with pytest.raises(UserError, match="no remaining model turns"):
        await go_on(state, limits={"max_turns": 1})
    state.approve(state.get_interruptions()[0])
    assert (await go_on(state)).final_output == "done"


# --- as JSON ----------------------------------------------------------------------------------------------------------

ELSEWHERE = """
import asyncio, json, sys
from flowcore import Agent, Options, RunState, SqliteStore, function_tool
from flowcore.faces.results import RunResult
from flowcore.testing import ScriptedModel, function_call

folder, mode = sys.argv[1:3]


@function_tool(needs_approval=True)
async def delete(row: str) -> str:
    "Delete a row."
    with open(folder + "/calls", "a") as calls:
        calls.write(row + "\\n")
    return "deleted " + row


def clerk():
    steps = [[function_call("delete", {"row": "a"}, "c1"), function_call("delete", {"row": "b"}, "c2")], "inner done"]
    inner = Agent(name="Inner", model=ScriptedModel.by_turn(steps), tools=[delete])
    model = ScriptedModel.by_turn([function_call("inner", {"input": "x"}, "t"), "done"])
    return Agent(name="Top", model=model, tools=[inner.as_tool()])


async def main():
    from flowcore import Runner

    store = SqliteStore(folder + "/runs.db") if mode.endswith("store") else None
    if mode.startswith("begin"):
        state = RunState.of(await Runner.run(clerk(), "go", store=store, context={"who": "me"}))
    else:
        text = open(folder + "/state.json").read()
        state = await RunState.from_string(clerk(), text, store=store)
        assert state.context == {"who": "me"}
        item = state.get_interruptions()[0]
        state.approve(item)
        options = Options(state.context)
        run = await state.go_on(options)
        result = await RunResult(run, "go", options, 10)._settle()
        print(result.final_output)
        if run.standing == "done":
            return
        state = RunState.of(result)
    with open(folder + "/state.json", "w") as out:
        out.write(state.to_string())


asyncio.run(main())
"""


@pytest.mark.parametrize("where", ["memory", "store"])
def test_a_state_goes_on_in_other_processes_and_each_tool_runs_once(tmp_path, where):
    (tmp_path / "elsewhere.py").write_text(ELSEWHERE)

    def process(mode: str) -> str:
        command = [sys.executable, "-W", "error", str(tmp_path / "elsewhere.py"), str(tmp_path), f"{mode} {where}"]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.strip()

    process("begin")
    before = (tmp_path / "state.json").read_text()
    assert process("go on") == "None"
    assert (tmp_path / "calls").read_text() == "a\n"
    assert process("go on") == "done"
    assert (tmp_path / "calls").read_text() == "a\nb\n"
    if where == "store":
        (tmp_path / "state.json").write_text(before)
        command = [sys.executable, str(tmp_path / "elsewhere.py"), str(tmp_path), "go on store"]
        assert "AlreadyResumed" in subprocess.run(command, capture_output=True, text=True, check=False).stderr
        assert (tmp_path / "calls").read_text() == "a\nb\n"


async def test_a_state_of_one_approval_is_small():
    text = RunState.of(await Runner.run(one_approval(), "go")).to_string()
    assert len(text) < 3_000


async def test_what_is_written_is_what_is_read():
    state = RunState.of(await Runner.run(agent([deleting("a", "c1"), deleting("b\ud800", "c2")], "done"), "go",
                                         context={"k": [1, None]}, max_turns=7))  # fmt: skip
    first, second = state.get_interruptions()
    state.approve(second, always_approve=True)
    state.reject(first, rejection_message="no")
    state.add_input("hello")
    again = await RunState.from_string(one_approval(), state.to_string())
    assert again.to_json() == state.to_json()
    assert json.loads(state.to_string()) == state.to_json()
    assert state.to_json()["$schemaVersion"] == SCHEMA
    assert (again.context, again.max_turns, again.current_turn) == ({"k": [1, None]}, 7, 1)
    assert (again._current_agent.name, again._max_turns, again.original_input) == ("Clerk", 7, "go")
    assert again.usage == state.usage
    assert again.usage.requests == 1
    assert again.workflow_name == "Agent workflow"


async def test_the_agents_are_found_by_name_and_one_that_is_gone_is_refused():
    def make(*handoffs: Agent) -> Agent:
        model = ScriptedModel.by_turn([function_call("transfer_to_b"), "never"])
        return Agent(name="A", model=model, handoffs=list(handoffs))

    b = agent("never", deleting("a", "c1"), "done", name="B")
    state = RunState.of(await Runner.run(make(b), "go"))
    assert state.current_agent is b
    again = await RunState.from_json(make(b), state.to_json())
    assert again.current_agent is b
    with pytest.raises(GraphChanged, match="'B'"):
        await RunState.from_json(make(), state.to_json())
    with pytest.raises(GraphChanged, match="'delete'"):
        await RunState.from_json(make(agent(name="B", tools=[read])), state.to_json())


async def test_a_store_that_hasnt_the_run_admits_it_and_one_that_is_behind_refuses(tmp_path):
    here, there = MemoryStore(), SqliteStore(tmp_path / "runs.db")
    result = await Runner.run(agent([deleting("a", "c1"), deleting("b", "c2")], "done"), "go", store=here)
    clerk = agent([deleting("a", "c1"), deleting("b", "c2")], "done")
    state = await RunState.from_json(clerk, RunState.of(result).to_json(), store=there)
    state.approve(state.get_interruptions()[0])
    moved = await go_on(state)
    assert moved.run.store is there
    assert (await there.get(result.run_id)).waiting == 1
    back = await RunState.from_json(clerk, RunState.of(moved).to_json(), store=here)
    with pytest.raises(StoreError, match="gone on elsewhere"):
        await go_on(back)
    back = RunState.of(moved)
    back.approve(back.get_interruptions()[0])
    assert (await go_on(back)).final_output == "done"
    assert DONE == ["a", "b"]
    await there.close()


@pytest.mark.parametrize("kept", [False, True])
def test_code_without_an_event_loop_has_states_too(tmp_path, kept):
    store = SqliteStore(tmp_path / "runs.db") if kept else None
    top = lambda: nested(deleting("a", "c1"), "inner done")  # noqa: E731
    result = Runner.run_sync(top(), "go", store=store)
    data = RunState.of(result).to_json()
    assert len(data["run"]["runs"]) == 3
    state = asyncio.run(RunState.from_json(top(), data, store=store))
    state.approve(state.get_interruptions()[0])
    assert asyncio.run(go_on(state)).final_output == "done"
    assert DONE == ["a"]


async def test_a_session_goes_along_with_the_run_that_reads_it():
    def make() -> Agent:
        model = ScriptedModel.by_turn(["hello", deleting("a", "c1"), "done", "later"])
        return Agent(name="A", model=model, tools=[delete])

    store, other = MemoryStore(), MemoryStore()
    await store.session_write("elsewhere", [{"role": "user", "content": "shifts the positions"}] * 3)
    await Runner.run(make(), "hi", session="s", store=store)
    state = RunState.of(await Runner.run(make(), "go", session="s", store=store))
    data = state.to_json()
    for target in (None, other):
        clerk = make()
        again = await RunState.from_json(clerk, data, store=target)
        again.approve(again.get_interruptions()[0])
        result = await go_on(again)
        assert result.final_output == "done"
        seen = clerk.model.calls[-1].input
        assert [item.get("content") for item in seen if item.get("role") == "user"] == ["hi", "go"]
        kept = [one.item for one in await result.run.store.session_items("s")]
        assert [item["content"] for item in kept if item.get("role") == "user"] == ["hi", "go"]
    full = MemoryStore()
    await full.session_write("s", [{"role": "user", "content": "another talk"}])
    with pytest.raises(StoreError, match="session 's' holds other items"):
        await go_on(await RunState.from_json(make(), data, store=full))


# --- the context ------------------------------------------------------------------------------------------------------


class Person(BaseModel):
    name: str


@dataclass
class Animal:
    name: str


class Thing:
    pass


@pytest.mark.parametrize(("context", "kept"), [(Person(name="x"), {"name": "x"}), (Animal("y"), {"name": "y"}),
                                               (Thing(), {})])  # fmt: skip
async def test_a_context_that_is_no_mapping_comes_back_as_its_fields_with_a_warning(context, kept):
    state = RunState.of(await Runner.run(one_approval(), "go", context=context))
    with pytest.raises(UserError, match="strict_context"):
        state.to_json(strict_context=True)
    with pytest.warns(UserWarning, match=type(context).__name__):
        data = state.to_json()
    with pytest.warns(UserWarning, match=type(context).__name__):
        assert (await RunState.from_json(one_approval(), data)).context == kept
    with pytest.raises(UserError, match="strict_context"):
        await RunState.from_json(one_approval(), data, strict_context=True)
    for other in (context, RunContextWrapper(context)):
        again = await RunState.from_json(one_approval(), data, context_override=other, strict_context=True)
        assert again.context is context


async def test_a_serializer_and_a_deserializer_bring_the_context_back():
    state = RunState.of(await Runner.run(one_approval(), "go", context=Animal("y")))
    data = state.to_json(context_serializer=lambda one: {"n": one.name}, strict_context=True)
    give = lambda told: Animal(told["n"])  # noqa: E731
    again = await RunState.from_json(one_approval(), data, context_deserializer=give, strict_context=True)
    assert again.context == Animal("y")
    with pytest.raises(UserError, match="gave a str"):
        state.to_json(context_serializer=lambda one: "text")
    with pytest.raises(UserError, match="Context serializer failed: ZeroDivisionError"):
        state.to_json(context_serializer=lambda one: {"x": 1 / 0})
    state.context = {"key": object()}
    with pytest.raises(UserError, match="isn't JSON"):
        state.to_json()


class Account(BaseModel):
    owner: str
    token: Annotated[str, Secret] = "s3cret-1"
    key: SecretStr = SecretStr("s3cret-2")

    @computed_field
    @property
    def pin(self) -> Annotated[str, Secret]:
        return "s3cret-3"


@dataclass
class Wallet:
    owner: str
    account: Account
    token: Annotated[str, Secret] = "s3cret-4"
    anything: Any = None


async def test_what_a_context_declares_as_secret_isn_t_taken_along():
    account = Account(owner="Ann")
    for context in (account, Wallet("Ann", account, anything=SecretStr("s3cret-5"))):
        state = RunState.of(await Runner.run(one_approval(), "go", context=context))
        with pytest.warns(UserWarning, match=type(context).__name__):
            data = state.to_json()
        assert data["context"]["value"]["owner"] == "Ann"
        assert "s3cret" not in json.dumps(data)


async def test_a_mapping_goes_along_whole_but_for_what_hides_itself():
    state = RunState.of(await Runner.run(one_approval(), "go", context={"token": SecretStr("s3cret")}))
    with pytest.raises(UserError, match=r"isn't JSON.*give context_serializer=") as raised:
        state.to_json()
    assert "s3cret" not in str(raised.value)
    assert state.to_json(context_serializer=lambda one: {})["context"]["value"] == {}


# --- what others may have written -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"$schemaVersion": "1.17"}, r"state of the OpenAI Agents SDK \(its schema 1.17\)"),
        ({"$schemaVersion": "flowcore/2"}, "newer flowcore"),
        ({"$schemaVersion": None}, "isn't a state"),
        ({"more": 1}, "fields that no state has"),
        ({"run": None}, "isn't an object"),
        ({"decisions": [{"run": "r", "key": "c1", "approve": "yes"}]}, "malformed"),
        ({"decisions": [{"run": "r", "key": "c1", "approve": True}]}, "doesn't ask about"),
        ({"input": ["text"]}, "item is an object"),
        ({"max_turns": "many"}, "max_turns"),
        ({"context": {"kind": "pickle"}}, "'context' is malformed"),
        ({"context": [float("nan")]}, "isn't plain JSON"),
    ],
)
async def test_a_state_that_isnt_one_is_refused(change, match):
    data = RunState.of(await Runner.run(one_approval(), "go")).to_json()
    with pytest.raises(UserError, match=match):
        await RunState.from_json(one_approval(), {**data, **change})


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, '{"$schemaVersion": NaN}', "\x00"])
async def test_text_that_isnt_a_state_is_refused(text):
    with pytest.raises(UserError, match=r"this state isn't|this isn't a state"):
        await RunState.from_string(one_approval(), text)


async def test_a_state_belongs_to_an_agent():
    data = RunState.of(await Runner.run(one_approval(), "go")).to_json()
    with pytest.raises(UserError, match="give the agent"):
        await RunState.from_json("Clerk", data)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in a JSON tree."""
    found = [path]
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        found += places(one, (*path, key))
    return found


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.sampled_from(["waiting", "done", "running", "run_tools", "answer", "__class__", "END", 10**400, "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


def test_a_state_with_any_value_replaced_goes_on_or_is_refused_but_never_crashes(tmp_path):
    file = tmp_path / "runs.db"

    async def state() -> dict[str, Any]:
        result = await Runner.run(nested([deleting("a", "c1"), deleting("b", "c2")], "inner done"), "go")
        return RunState.of(result).to_json()

    text = json.dumps(asyncio.run(state()))
    paths = [path for path in places(json.loads(text)) if path]

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(paths), JUNK, st.booleans(), st.booleans())
    def check(path, junk, drop, into_a_file):
        data = json.loads(text)
        at = data
        for key in path[:-1]:
            at = at[key]
        if drop:
            del at[path[-1]]
        else:
            at[path[-1]] = junk
        data["into a file"] = into_a_file
        asyncio.run(attempt(data))

    async def attempt(data: Any) -> None:
        file.unlink(missing_ok=True)
        store = SqliteStore(file, synchronous="NORMAL") if data.pop("into a file") else None
        try:
            top = nested([deleting("a", "c1"), deleting("b", "c2")], "inner done")
            loaded = await RunState.from_json(top, data, context_override={}, store=store)
            for item in loaded.get_interruptions():
                loaded.approve(item)
            run = await loaded.go_on(Options())
        except (UserError, GraphChanged, StoreError, NotPaused):
            return
        standing = await run.drive()  # whatever its nodes meet in it makes the run fail, not the engine
        assert standing in ("done", "failed", "waiting")
        if store is not None:
            await store.close()

    check()
