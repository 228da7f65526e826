"""Calls that need a person's word, in an agent's run and in those of its agents-as-tools."""

import asyncio
from typing import Any

import pytest
from agents_making import agent, begin, function_call, labels, outputs, reopened

from flowcore import (
    Agent,
    GuardrailFunctionOutput,
    MemoryStore,
    NotOpen,
    Runner,
    Usage,
    UserError,
    answer,
    function_tool,
    input_guardrail,
    resume,
)
from flowcore.machine.facts import Request, Started
from flowcore.testing import ModelStep, ScriptedModel, journals

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


async def test_a_call_that_needs_approval_waits_and_the_others_run_meanwhile():
    clerk = agent([deleting("a", "c1"), function_call("read", {"row": "b"}, "c2")], "done", tools=[delete, read])
    result = await Runner.run(clerk, "go")
    assert result.run.standing == "waiting"
    assert result.run.place == "await_decision"
    assert DONE == ["read b"]
    assert result.final_output is None
    (item,) = result.interruptions
    assert (item.name, item.arguments, item.call_id, item.agent) == ("delete", '{"row": "a"}', "c1", clerk)
    assert [one.type for one in result.new_items][2:] == ["tool_approval_item", "tool_call_output_item"]
    assert outputs(result.to_input_list()) == ["row b"]
    await result.run.answer(item.call_id, True)
    result = await result.resume()
    assert result.final_output == "done"
    assert result.interruptions == []
    assert DONE == ["read b", "a"]
    assert outputs(result.to_input_list()) == ["deleted a", "row b"]


async def test_a_rejected_call_is_told_to_the_model():
    for value, told in (
        (False, "Tool execution was not approved."),
        ({"approve": False, "message": "too risky"}, "too risky"),
        ({"message": "no verdict"}, "no verdict"),
        ("yes", "Tool execution was not approved."),
    ):
        result = await Runner.run(agent(deleting("a", "c1"), "ok", tools=[delete]), "go")
        await result.run.answer("c1", value)
        result = await result.resume()
        assert outputs(result.to_input_list()) == [told]
    assert DONE == []


async def test_an_answer_may_approve_by_mapping():
    result = await Runner.run(agent(deleting("a", "c1"), "ok", tools=[delete]), "go")
    await result.run.answer("c1", {"approve": True})
    assert (await result.resume()).final_output == "ok"
    assert DONE == ["a"]


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_function_decides_which_calls_need_approval(is_async):
    def risky(ctx, parameters, call_id):
        return parameters["row"] == "all"

    async def risky_async(ctx, parameters, call_id):
        return risky(ctx, parameters, call_id)

    @function_tool(needs_approval=risky_async if is_async else risky)
    async def erase(row: str) -> str:
        """Erase."""
        DONE.append(row)
        return "erased"

    calls = [function_call("erase", {"row": "one"}, "c1"), function_call("erase", {"row": "all"}, "c2")]
    result = await Runner.run(agent(calls, "done", tools=[erase]), "go")
    assert DONE == ["one"]
    assert [item.call_id for item in result.interruptions] == ["c2"]


async def test_what_is_decided_runs_and_the_rest_waits_on():
    clerk = agent([deleting("a", "c1"), deleting("b", "c2")], "done", tools=[delete])
    result = await Runner.run(clerk, "go")
    assert [item.call_id for item in result.interruptions] == ["c1", "c2"]
    await result.run.answer("c2", True)
    result = await result.resume()
    assert DONE == ["b"]
    assert [item.call_id for item in result.interruptions] == ["c1"]
    assert result.run.place == "await_decision"
    await result.run.answer("c1", False)
    result = await result.resume()
    assert result.final_output == "done"
    assert outputs(result.to_input_list()) == ["Tool execution was not approved.", "deleted b"]
    assert labels(result.run).count("run_tools:needs_decision") == 2


async def test_going_on_without_an_answer_waits_on():
    result = await Runner.run(agent(deleting("a", "c1"), "done", tools=[delete]), "go")
    facts = len(result.run.facts)
    again = await result.resume()
    assert [item.call_id for item in again.interruptions] == ["c1"]
    assert len(result.run.facts) == facts


async def test_an_answer_is_accepted_only_once_and_only_for_what_is_asked():
    result = await Runner.run(agent(deleting("a", "c1"), "done", tools=[delete]), "go")
    with pytest.raises(NotOpen, match="'c1'"):
        await result.run.answer("c9", True)
    await result.run.answer("c1", True)
    with pytest.raises(NotOpen):
        await result.run.answer("c1", False)
    result = await result.resume()
    with pytest.raises(NotOpen):
        await result.run.answer("c1", True)
    assert DONE == ["a"]


async def test_a_request_tells_the_call_id_tool_and_arguments_it_is_bound_to():
    result = await Runner.run(agent(deleting("a", "c1"), "done", tools=[delete]), "go")
    (request,) = await result.run.requests()
    assert request.data == {"tool": "delete", "call_id": "c1", "arguments": '{"row": "a"}', "agent": "Clerk"}


async def test_a_call_id_that_a_model_uses_twice_in_a_reply_is_two_questions():
    clerk = agent([deleting("a", "c1"), deleting("all", "c1")], "done", tools=[delete])
    result = await Runner.run(clerk, "go")
    requests = await result.run.requests()
    assert [(one.key, one.data["arguments"]) for one in requests] == [
        ("c1", '{"row": "a"}'),
        ("c1#1", '{"row": "all"}'),
    ]
    await result.run.answer("c1", True)
    result = await result.resume()
    assert DONE == ["a"]
    await result.run.answer("c1#1", False)
    assert (await result.resume()).final_output == "done"
    assert DONE == ["a"]


async def test_a_call_id_used_again_in_a_later_turn_is_asked_about_again():
    clerk = agent(deleting("a", "c1"), deleting("b", "c1"), "done", tools=[delete])
    result = await Runner.run(clerk, "go")
    await result.run.answer("c1", True)
    result = await result.resume()
    assert result.interruptions[0].arguments == '{"row": "b"}'
    assert DONE == ["a"]
    await result.run.answer("c1", True)
    result = await result.resume()
    assert result.final_output == "done"
    assert [item.output for item in result.new_items if item.type == "tool_call_output_item"] == [
        "deleted a",
        "deleted b",
    ]


async def test_an_approval_that_arrives_while_another_tool_runs_isnt_lost():
    began, go_on = asyncio.Event(), asyncio.Event()

    @function_tool
    async def slow() -> str:
        """Slow."""
        began.set()
        await go_on.wait()
        return "slow"

    clerk = agent([deleting("a", "c1"), function_call("slow", "{}", "c2")], "done", tools=[delete, slow])
    running = asyncio.create_task(begin(clerk, run_id="r", store=(store := MemoryStore())))
    await began.wait()
    await answer(store, "r", "c1", True)
    await asyncio.sleep(0.05)
    go_on.set()
    run = await running
    assert run.standing == "done"
    assert DONE == ["a"]


async def test_two_approvals_of_which_one_arrives_early_lose_neither():
    began, go_on = asyncio.Event(), asyncio.Event()

    @function_tool
    async def slow() -> str:
        """Slow."""
        began.set()
        await go_on.wait()
        return "slow"

    calls = [deleting("a", "c1"), deleting("b", "c2"), function_call("slow", "{}", "c3")]
    running = asyncio.create_task(
        begin(agent(calls, "done", tools=[delete, slow]), run_id="r", store=(store := MemoryStore()))
    )
    await began.wait()
    await answer(store, "r", "c1", True)
    await asyncio.sleep(0.05)
    go_on.set()
    run = await running
    assert run.standing == "waiting"
    assert DONE == ["a"]
    await run.answer("c2", True)
    assert (await run).output == "done"
    assert DONE == ["a", "b"]


async def test_an_answer_may_come_from_another_process_and_the_run_go_on_there():
    store = MemoryStore(keep_bytes=True)
    make = lambda: agent(deleting("a", "c1"), "done", tools=[delete])  # noqa: E731
    run = await begin(make(), store=store)
    await answer(store, run.id, "c1", True)
    again = await resume(run.id, make(), store=store)
    assert (await again).output == "done"
    assert DONE == ["a"]


async def test_a_handoff_in_a_reply_that_waits_is_done_after_the_decision():
    model = ScriptedModel.by_turn([[function_call("transfer_to_b"), deleting("a", "c1")], "b here"])
    a = Agent(name="A", model=model, tools=[delete], handoffs=[b := Agent(name="B", model=model)])
    result = await Runner.run(a, "go")
    assert result.last_agent is a
    await result.run.answer("c1", True)
    result = await result.resume()
    assert result.last_agent is b
    assert DONE == ["a"]


# --- agents as tools --------------------------------------------------------------------------------------------------

ONE = Usage(requests=1, input_tokens=1, output_tokens=1, total_tokens=2)


def nested(depth: int, *inner_steps: Any) -> tuple[Agent, list[ScriptedModel]]:
    """Agents around an agent that deletes, each with the next one as its tool."""
    models = [ScriptedModel(list(inner_steps), usage=ONE)]
    made = Agent(name="Level0", model=models[0], tools=[delete])
    for level in range(1, depth + 1):
        model = ScriptedModel(
            [function_call(f"level{level - 1}", {"input": f"ask {level}"}, "up"), f"{level} done"], usage=ONE
        )
        models.append(model)
        made = Agent(name=f"Level{level}", model=model, tools=[made.as_tool()])
    return made, models


async def test_an_agent_is_a_tool_of_another():
    top, models = nested(1, "inner done")
    result = await Runner.run(top, "go")
    assert result.final_output == "1 done"
    assert outputs(result.to_input_list()) == ["inner done"]
    assert models[0].calls[0].input == [{"role": "user", "content": "ask 1"}]
    assert result.context_wrapper.usage.requests == 3
    assert result.context_wrapper.usage.total_tokens == 6


@pytest.mark.parametrize("depth", [1, 2])
async def test_an_approval_of_a_nested_agent_goes_on_in_the_same_child(depth):
    store = MemoryStore()
    top, models = nested(depth, deleting("a", "c1"), "inner done")
    result = await Runner.run(top, "go", store=store)
    assert result.run.standing == "waiting"
    assert result.run.place == "run_tools"
    (item,) = result.interruptions
    assert (item.call_id, item.agent.name) == ("c1", "Level0")
    await result.run.answer(item.call_id, True)
    result = await result.resume()
    assert result.final_output == f"{depth} done"
    assert DONE == ["a"]
    assert [len(model.calls) for model in models] == [2] * (depth + 1)
    walks = await journals(store, result.run_id)
    assert len(walks) == depth + 1
    for facts in walks.values():
        assert sum(isinstance(fact, Started) for fact in facts) == 1
    assert result.context_wrapper.usage.requests == 2 * (depth + 1)


async def test_a_nested_approval_goes_on_in_another_process():
    store = MemoryStore(keep_bytes=True)

    def make() -> Agent:
        inner = agent(deleting("a", "c1"), "inner done", name="Inner", tools=[delete])
        return agent(function_call("inner", {"input": "x"}), "done", tools=[inner.as_tool()])

    run = await begin(make(), store=store)
    request = (await run.requests())[0]
    assert request.run == f"{run.id}/run_tools.1/0:call_1_0"
    await answer(store, run.id, "c1", True)
    again = await resume(run.id, make(), store=store)
    assert (await again).output == "done"
    assert DONE == ["a"]


async def test_a_nested_and_an_own_question_are_answered_in_any_order():
    for first in ("own", "inner"):
        DONE.clear()
        inner = agent(deleting("a", "inner"), "inner done", name="Inner", tools=[delete])
        calls = [function_call("inner", {"input": "x"}, "up"), deleting("b", "own")]
        result = await Runner.run(agent(calls, "done", tools=[inner.as_tool(), delete]), "go")
        assert {item.call_id for item in result.interruptions} == {"own", "inner"}
        await result.run.answer(first, True)
        result = await result.resume()
        assert len(result.interruptions) == 1
        await result.run.answer(result.interruptions[0].call_id, True)
        result = await result.resume()
        assert result.final_output == "done"
        assert sorted(DONE) == ["a", "b"]
        assert outputs(result.to_input_list()) == ["inner done", "deleted b"]


async def test_an_agent_tool_may_need_approval_itself():
    inner = agent("inner done", name="Inner")
    top = agent(function_call("inner", {"input": "x"}, "up"), "done", tools=[inner.as_tool(needs_approval=True)])
    result = await Runner.run(top, "go")
    assert inner.model.calls == []
    await result.run.answer("up", True)
    assert (await result.resume()).final_output == "done"


async def test_a_nested_agent_has_its_own_turns():
    @function_tool
    async def again() -> str:
        """Again."""
        return "more"

    model = ScriptedModel(lambda asked: function_call("again", "{}", f"c{len(asked.input)}"))
    inner = Agent(name="Inner", model=model, tools=[again])
    top = agent(
        function_call("inner", {"input": "x"}), "done", tools=[inner.as_tool(max_turns=3, failure_error_function=None)]
    )
    with pytest.raises(Exception, match=r"Max turns \(3\) exceeded") as caught:
        await Runner.run(top, "go")
    assert len(model.calls) == 3
    assert caught.value.run_data.result.run.place == "run_tools"


@pytest.mark.parametrize("is_async", [False, True])
async def test_an_extractor_makes_the_tools_output(is_async):
    async def extract_async(result):
        return f"<{result.final_output}>"

    inner = agent("inner done", name="Inner")
    tool = inner.as_tool("ask", "Ask.", extract_async if is_async else lambda result: f"<{result.final_output}>")
    result = await Runner.run(agent(function_call("ask", {"input": "x"}), "done", tools=[tool]), "go")
    assert outputs(result.to_input_list()) == ["<inner done>"]


async def test_a_nested_agent_shares_the_context_and_the_runs_config():
    seen = []
    inner = Agent(name="Inner", instructions=lambda ctx, agent: seen.append(ctx.context) or "")
    model = ScriptedModel([function_call("inner", {"input": "x"}), "inner done", "done"])
    top = Agent(name="Top", tools=[inner.as_tool()])
    result = await Runner.run(top, "go", context="app", run_config={"model": model})
    assert result.final_output == "done"
    assert seen == ["app"]


@pytest.mark.parametrize("arguments", ["{no", "{}", '{"input": 3}', "[]"])
async def test_an_agent_tool_called_wrongly_tells_the_model(arguments):
    inner = agent("never", name="Inner")
    result = await Runner.run(agent(function_call("inner", arguments), "oh", tools=[inner.as_tool()]), "go")
    told = outputs(result.to_input_list())[0]
    assert "Invalid JSON input for tool inner" in told or "parsing tool arguments" in told
    assert inner.model.calls == []


def test_what_an_agent_tool_doesnt_know_is_refused():
    with pytest.raises(TypeError, match="on_strem"):
        Agent(name="A").as_tool("a", "b", on_strem=print)


async def test_an_agent_tool_cant_be_called_outside_of_a_run():
    tool = Agent(name="A").as_tool()
    with pytest.raises(UserError, match="tool 'a' is an agent"):
        await tool.on_invoke_tool(type("Ctx", (), {"tool_name": "a"})(), "{}")


async def test_requests_stand_in_the_journal_once():
    clerk = agent([deleting("a", "c1"), deleting("b", "c2")], "done", tools=[delete])
    result = await Runner.run(clerk, "go")
    await result.run.answer("c1", True)
    await result.resume()
    await result.run.answer("c2", True)
    await result.resume()
    assert [fact.key for fact in result.run.facts if isinstance(fact, Request)] == ["c1", "c2"]
    again = await reopened(result.run, clerk)
    assert again.standing == "done"


async def test_usage_of_a_waiting_child_is_counted_once():
    top, _ = nested(1, deleting("a", "c1"), ModelStep("inner done", usage=ONE))
    result = await Runner.run(top, "go")
    await result.run.answer("c1", True)
    result = await result.resume()
    assert result.context_wrapper.usage.total_tokens == 8


async def test_a_nested_agents_tripped_guardrail_is_told_to_the_model():
    @input_guardrail
    async def no(ctx, agent, input):
        return GuardrailFunctionOutput(None, True)

    inner = agent("never", name="Inner", input_guardrails=[no])
    result = await Runner.run(agent(function_call("inner", {"input": "x"}), "oh", tools=[inner.as_tool()]), "go")
    assert result.final_output == "oh"
    assert "guardrail 'no' of agent 'Inner' triggered its tripwire" in outputs(result.to_input_list())[0]


async def test_a_nested_agents_output_of_a_type_is_told_as_json():
    inner = agent('{"response": [1, 2]}', name="Inner", output_type=list[int])
    result = await Runner.run(agent(function_call("inner", {"input": "x"}), "oh", tools=[inner.as_tool()]), "go")
    assert outputs(result.to_input_list()) == ["[1, 2]"]
