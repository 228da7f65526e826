"""§11: hooks, in exactly their order."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from conformance_making import WAYS, add, adding, agent, caught, decided, delete, deleting, go, in_turn

from flowcore import (
    Agent,
    AgentHookContext,
    AgentHooks,
    GuardrailFunctionOutput,
    InputGuardrail,
    ModelError,
    ModelResponse,
    OutputGuardrail,
    RunContextWrapper,
    RunHooks,
    Runner,
    RunState,
    ToolContext,
    ToolGuardrailFunctionOutput,
    ToolInputGuardrail,
    ToolOutputGuardrail,
    UserError,
    function_tool,
    handoff,
)
from flowcore.testing import ModelStep, function_call

BY_WAY = pytest.mark.parametrize("way", WAYS)
HOOKS = (
    "on_agent_start", "on_llm_start", "on_llm_end", "on_tool_start", "on_tool_end", "on_handoff", "on_agent_end",
)  # fmt: skip


class OfRun(RunHooks[Any]):
    """Notes what it hears of, and refuses contexts that aren't of the right kind."""

    def __init__(self, log: list[Any]) -> None:
        self.log = log

    async def on_llm_start(self, context, agent, system_prompt, input_items):
        assert type(context) is RunContextWrapper
        self.log.append(("run llm_start", agent.name, system_prompt, len(input_items)))

    async def on_llm_end(self, context, agent, response):
        assert isinstance(response, ModelResponse)
        self.log.append(("run llm_end", agent.name))

    async def on_agent_start(self, context, agent):
        assert type(context) is AgentHookContext
        self.log.append(("run start", agent.name))

    async def on_agent_end(self, context, agent, output):
        assert type(context) is AgentHookContext
        self.log.append(("run end", agent.name, output))

    async def on_handoff(self, context, from_agent, to_agent):
        assert type(context) is RunContextWrapper
        self.log.append(("run handoff", from_agent.name, to_agent.name))

    async def on_tool_start(self, context, agent, tool):
        assert type(context) is ToolContext
        self.log.append(("run tool_start", agent.name, tool.name, context.tool_call_id))

    async def on_tool_end(self, context, agent, tool, result):
        self.log.append(("run tool_end", agent.name, tool.name, result))


class OfAgent(AgentHooks[Any]):
    """The same, of one agent; ``name`` says whose they are."""

    def __init__(self, log: list[Any], name: str) -> None:
        self.log = log
        self.name = name

    async def on_llm_start(self, context, agent, system_prompt, input_items):
        self.log.append((f"{self.name} llm_start", agent.name, system_prompt, len(input_items)))

    async def on_llm_end(self, context, agent, response):
        self.log.append((f"{self.name} llm_end", agent.name))

    async def on_start(self, context, agent):
        assert type(context) is AgentHookContext
        self.log.append((f"{self.name} start", agent.name))

    async def on_end(self, context, agent, output):
        self.log.append((f"{self.name} end", agent.name, output))

    async def on_handoff(self, context, agent, source):
        self.log.append((f"{self.name} handoff", source.name, agent.name))

    async def on_tool_start(self, context, agent, tool):
        self.log.append((f"{self.name} tool_start", agent.name, tool.name, context.tool_call_id))

    async def on_tool_end(self, context, agent, tool, result):
        self.log.append((f"{self.name} tool_end", agent.name, tool.name, result))


def both(who: str, what: str, *more: Any) -> list[Any]:
    """The run's hook and the agent's, for one event."""
    return [(f"run {what}", who, *more), (f"{who} {what}", who, *more)]


def judged(log: list[Any]) -> OutputGuardrail[Any]:
    return OutputGuardrail(lambda ctx, agent, output: log.append("judged") or GuardrailFunctionOutput(None, False))


@BY_WAY
async def test_the_order_of_a_run_with_a_tool_and_a_handoff(way):
    log: list[Any] = []
    b = in_turn("b said", name="B", hooks=OfAgent(log, "B"), instructions="I am B", output_guardrails=[judged(log)])
    a = in_turn(adding("c1"), [adding("c2"), function_call("transfer_to_b", call_id="h")], name="A", tools=[add])
    a.hooks, a.handoffs = OfAgent(log, "A"), [b]
    await go(way, a, hooks=OfRun(log))
    assert log == [
        *both("A", "start"),
        *both("A", "llm_start", None, 1),
        *both("A", "llm_end"),
        *both("A", "tool_start", "add", "c1"),
        *both("A", "tool_end", "add", 3),
        *both("A", "llm_start", None, 3),
        *both("A", "llm_end"),
        *both("A", "tool_start", "add", "c2"),
        *both("A", "tool_end", "add", 3),
        ("run handoff", "A", "B"),
        ("B handoff", "A", "B"),  # the hooks of the agent that gets the conversation
        *both("B", "start"),
        *both("B", "llm_start", "I am B", 7),
        *both("B", "llm_end"),
        "judged",  # before anybody is told that it ended
        *both("B", "end", "b said"),
    ]


@BY_WAY
async def test_the_functions_of_a_handoff_are_called_before_its_hooks_and_the_filter_after(way):
    log: list[Any] = []

    def filtered(data):
        log.append("filtered")
        return data

    b = in_turn("b said", name="B")
    given = handoff(b, on_handoff=lambda ctx: log.append("on_handoff"), input_filter=filtered)
    await go(way, in_turn(function_call("transfer_to_b", call_id="h"), name="A", handoffs=[given]), hooks=OfRun(log))
    told = [one for one in log if isinstance(one, str) or "handoff" in one[0] or one == ("run start", "B")]
    assert told == ["on_handoff", ("run handoff", "A", "B"), "filtered", ("run start", "B")]


@BY_WAY
async def test_the_agents_handoff_hook_is_the_targets(way):
    log: list[Any] = []
    b = in_turn("b said", name="B", hooks=OfAgent(log, "B"))
    a = in_turn(function_call("transfer_to_b", call_id="h"), name="A", handoffs=[b], hooks=OfAgent(log, "A"))
    await go(way, a)
    assert [one for one in log if "handoff" in one[0]] == [("B handoff", "A", "B")]


@BY_WAY
async def test_a_start_is_told_again_after_a_handoff_to_the_same_agent(way):
    log: list[Any] = []
    a = in_turn(function_call("transfer_to_a", call_id="h"), "again", name="A")
    a.handoffs.append(a)
    await go(way, a, hooks=OfRun(log))
    assert [one for one in log if one[0] == "run start"] == [("run start", "A")] * 2


@BY_WAY
async def test_the_runs_hook_and_the_agents_are_called_at_the_same_time(way):
    meeting = asyncio.Barrier(2)

    class Run(RunHooks[Any]):
        async def on_agent_start(self, context, agent):
            await meeting.wait()

    class Own(AgentHooks[Any]):
        async def on_start(self, context, agent):
            await meeting.wait()

    async with asyncio.timeout(10):
        assert (await go(way, agent("x", hooks=Own()), hooks=Run())).final_output == "x"


@BY_WAY
async def test_the_hooks_of_a_turns_calls_are_each_calls_own(way):
    log: list[Any] = []
    clerk = agent([adding("c1"), adding("c2")], "done", tools=[add])
    await go(way, clerk, hooks=OfRun(log))
    started = [one for one in log if one[0] == "run tool_start"]
    assert sorted(started) == [
        ("run tool_start", "Assistant", "add", "c1"),
        ("run tool_start", "Assistant", "add", "c2"),
    ]


@BY_WAY
async def test_a_failing_tools_hook_is_told_what_the_model_is_told(way):
    log: list[Any] = []

    @function_tool
    def bad() -> str:
        """Bad."""
        raise ValueError("bad")

    await go(way, agent(function_call("bad", call_id="c1"), "done", tools=[bad]), hooks=OfRun(log))
    (ended,) = [one for one in log if one[0] == "run tool_end"]
    assert ended[3] == "An error occurred while running the tool. Please try again. Error: bad"


@BY_WAY
async def test_a_tool_that_ends_the_run_and_a_handlers_output_are_told_as_ends(way):
    log: list[Any] = []
    await go(way, agent(adding(), tools=[add], tool_use_behavior="stop_on_first_tool"), hooks=OfRun(log))
    assert log[-2:] == [("run tool_end", "Assistant", "add", 3), ("run end", "Assistant", "3")]
    log.clear()
    handlers = {"max_turns": lambda given: "handled"}
    await go(way, agent(adding(), "never", tools=[add]), hooks=OfRun(log), max_turns=1, error_handlers=handlers)
    assert log[-1] == ("run end", "Assistant", "handled")


@BY_WAY
async def test_no_hook_hears_of_a_call_that_its_guardrail_rejects_and_the_end_of_one_whose_output_is(way):
    def rejecting(data):
        return ToolGuardrailFunctionOutput.reject_content("no")

    for guardrails, heard in (
        ({"tool_input_guardrails": [ToolInputGuardrail(rejecting)]}, []),
        ({"tool_output_guardrails": [ToolOutputGuardrail(rejecting)]}, ["run tool_start", "run tool_end"]),
    ):
        log: list[Any] = []
        made = function_tool(lambda: "x", name_override="made", description_override="Made.", **guardrails)
        await go(way, agent(function_call("made", call_id="c1"), "done", tools=[made]), hooks=OfRun(log))
        tools = [one for one in log if "tool" in one[0]]
        assert [one[0] for one in tools] == heard
        assert not heard or tools[1][3] == "no"


@BY_WAY
async def test_no_hook_hears_of_a_run_that_a_blocking_guardrail_stopped(way):
    log: list[Any] = []
    judge = InputGuardrail(lambda ctx, agent, input: GuardrailFunctionOutput(None, True), run_in_parallel=False)
    await caught(way, agent("never", input_guardrails=[judge]), hooks=OfRun(log))
    assert log == []


# --- runs that wait, fail, and go on ----------------------------------------------------------------------------------


@BY_WAY
async def test_hooks_arent_repeated_when_a_run_that_waited_goes_on_elsewhere(way):
    log: list[Any] = []
    clerk = agent([deleting(), adding()], "done", name="A", tools=[delete, add], hooks=OfAgent(log, "A"))
    result = await go(way, clerk, hooks=OfRun(log))
    assert log == [
        *both("A", "start"),
        *both("A", "llm_start", None, 1),
        *both("A", "llm_end"),
        *both("A", "tool_start", "add", "c1"),
        *both("A", "tool_end", "add", 3),
    ]
    log.clear()
    await decided(way, clerk, result, hooks=OfRun(log))
    assert log == [
        *both("A", "tool_start", "delete", "d1"),
        *both("A", "tool_end", "delete", "deleted a"),
        *both("A", "llm_start", None, 5),
        *both("A", "llm_end"),
        *both("A", "end", "done"),
    ]


@BY_WAY
async def test_no_tools_hook_hears_of_a_call_that_was_rejected(way):
    log: list[Any] = []
    clerk = agent(deleting(), "done", name="A", tools=[delete])
    result = await go(way, clerk, hooks=OfRun(log))
    await decided(way, clerk, result, approve=False, hooks=OfRun(log))
    assert [one for one in log if "tool" in one[0]] == []


@BY_WAY
async def test_hooks_arent_repeated_where_the_visit_is_gone_on_with_after_a_sibling_failed(way):
    log: list[Any] = []
    failing = [1]

    @function_tool(failure_error_function=None)
    def bad() -> str:
        """Bad."""
        if failing:
            raise ValueError("bad")
        return "good"

    clerk = agent([adding("c1"), function_call("bad", call_id="c2")], "done", name="A", tools=[add, bad])
    error: Any = await caught(way, clerk, hooks=OfRun(log))
    failing.clear()
    log.clear()
    state = await RunState.from_string(clerk, error.run_data.result.to_state().to_string())
    await go(way, clerk, state, hooks=OfRun(log))
    assert log[:2] == [("run tool_start", "A", "bad", "c2"), ("run tool_end", "A", "bad", "good")]


@BY_WAY
async def test_a_model_call_that_is_tried_again_is_told_once(way):
    log: list[Any] = []
    clerk = in_turn(ModelStep(error=ModelError("down", retry_after=0.001, retryable=True)), "up", name="A")
    await go(way, clerk, hooks=OfRun(log))
    assert [one[0] for one in log] == ["run start", "run llm_start", "run llm_end", "run end"]


# --- what hooks may do ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HOOKS)
@BY_WAY
async def test_what_a_hook_raises_ends_the_run(way, name):
    class Raising(RunHooks[Any]):
        pass

    async def broken(self, *args, **kwargs):
        raise ValueError(name)

    setattr(Raising, name, broken)
    b = in_turn("b said", name="B")
    a = in_turn(adding(), function_call("transfer_to_b", call_id="h"), name="A", tools=[add], handoffs=[b])
    error = await caught(way, a, hooks=Raising())
    if "tool" in name:
        assert (type(error), str(error)) == (UserError, f"Error running tool add: {name}")
        assert isinstance(error.__cause__, ValueError)
    else:
        assert (type(error), str(error)) == (ValueError, name)


@BY_WAY
async def test_a_hook_that_changes_the_input_it_is_shown_changes_nothing(way):
    class Changing(RunHooks[Any]):
        async def on_llm_start(self, context, agent, system_prompt, input_items):
            input_items.append({"role": "user", "content": "more"})

    clerk = agent("x")
    await go(way, clerk, hooks=Changing())
    assert len(clerk.model.calls[0].input) == 1


@BY_WAY
async def test_hooks_are_given_the_apps_object_and_the_usage_so_far(way):
    seen = []

    class Looking(RunHooks[Any]):
        async def on_agent_start(self, context, agent):
            seen.append((context.context, context.usage.requests, context.turn_input[0]["content"]))

        async def on_agent_end(self, context, agent, output):
            seen.append((context.context, context.usage.requests))

    await go(way, agent(adding(), "done", tools=[add]), hooks=Looking(), context="app")
    assert seen == [("app", 0, "go"), ("app", 2)]


def test_agent_hooks_as_a_runs_hooks_are_refused():
    with pytest.raises(TypeError, match=r"Run hooks must be instances of RunHooks. Received agent-scoped hooks"):
        Runner.run_sync(agent("x"), "go", hooks=OfAgent([], "A"))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"Run hooks must be instances of RunHooks. Received int"):
        Runner.run_sync(agent("x"), "go", hooks=3)  # type: ignore[arg-type]


def test_run_hooks_as_an_agents_hooks_are_refused():
    with pytest.raises(TypeError, match="Agent hooks must be an AgentHooks instance or None, got OfRun"):
        Agent(name="A", hooks=OfRun([]))  # type: ignore[arg-type]


@BY_WAY
async def test_hooks_may_be_plain_methods_and_leave_out_what_they_dont_hear(way):
    class Few(RunHooks[Any]):
        heard: list[str] = []

        def on_agent_end(self, context, agent, output):  # type: ignore[override]
            self.heard.append(output)

    Few.heard.clear()
    await go(way, agent("x"), hooks=Few())
    assert Few.heard == ["x"]
