"""§1 of the reference, Runner: each row as a sentence, in both verbs where they could part."""

import asyncio
import inspect
import signal
import warnings
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pytest
from conformance_making import WAYS, add, adding, agent, caught, delete, deleting, go, in_turn, told
from openai import BadRequestError
from pydantic import BaseModel

from flowcore import (
    DEFAULT_MAX_TURNS,
    Agent,
    AgentHooks,
    AgentRunner,
    GuardrailFunctionOutput,
    HandoffOutputItem,
    MaxTurnsExceeded,
    ModelBehaviorError,
    ModelError,
    ModelRefusalError,
    ModelResponse,
    ModelSettings,
    NotPaused,
    Options,
    OutputGuardrailTripwireTriggered,
    Prompt,
    RunConfig,
    RunContextWrapper,
    RunErrorData,
    RunErrorHandlerInput,
    RunErrorHandlerResult,
    RunHooks,
    Runner,
    RunResult,
    RunResultStreaming,
    RunState,
    SQLiteSession,
    Usage,
    UserError,
    function_tool,
    get_default_agent_runner,
    handoff,
    input_guardrail,
    output_guardrail,
    run_demo_loop,
    set_default_agent_runner,
    start,
)
from flowcore.agents.loop.call_model import CONVERSATION
from flowcore.models.retry import ModelRetrySettings
from flowcore.testing import ManualClock, ModelStep, ScriptedModel, function_call, message, refusal

both_ways = pytest.mark.parametrize("way", WAYS)
every_verb = pytest.mark.parametrize("verb", ["run", "run_sync", "run_streamed"])


class Log(RunHooks[Any]):
    """What the run's hooks are told, in order."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    async def on_agent_start(self, context, agent):
        self.lines.append(f"agent_start {agent.name}")

    async def on_agent_end(self, context, agent, output):
        self.lines.append(f"agent_end {agent.name} {output!r}")

    async def on_llm_start(self, context, agent, system_prompt, input_items):
        self.lines.append("llm_start")

    async def on_llm_end(self, context, agent, response):
        self.lines.append(f"llm_end {context.usage.requests}")

    async def on_tool_start(self, context, agent, tool):
        self.lines.append(f"tool_start {tool.name}")

    async def on_tool_end(self, context, agent, tool, result):
        self.lines.append(f"tool_end {tool.name} {result!r}")

    async def on_handoff(self, context, from_agent, to_agent):
        self.lines.append(f"handoff {from_agent.name}>{to_agent.name}")


def kinds(items: Any) -> list[str]:
    """Items in short: their type, of messages that aren't the model's the role."""
    return [item.get("type", item.get("role")) for item in items]


def inputs(model: Any) -> list[list[str]]:
    """What each call of a model was sent."""
    return [kinds(call.input) for call in model.calls]


# --- Runner.run, run_sync, run_streamed -------------------------------------------------------------------------------

NAMES = [
    "starting_agent", "input", "context", "max_turns", "hooks", "run_config", "error_handlers", "previous_response_id",
    "auto_previous_response_id", "conversation_id", "session",
]  # fmt: skip
DEFAULTS = {
    "context": None, "max_turns": 10, "hooks": None, "run_config": None, "error_handlers": None,
    "previous_response_id": None, "auto_previous_response_id": False, "conversation_id": None, "session": None,
}  # fmt: skip
OURS = {"store", "run_id", "limits"}


@pytest.mark.parametrize("verb", ["run", "run_sync"])
def test_run_and_run_sync_take_agent_and_input_and_the_rest_by_keyword(verb):
    takes = inspect.signature(getattr(Runner, verb)).parameters
    assert list(takes)[: len(NAMES)] == NAMES
    assert set(takes) - set(NAMES) == OURS
    assert {name: takes[name].default for name in DEFAULTS} == DEFAULTS
    by_keyword = {name for name, one in takes.items() if one.kind is inspect.Parameter.KEYWORD_ONLY}
    assert by_keyword == set(takes) - {"starting_agent", "input"}


def test_run_streamed_takes_all_but_the_error_handlers_by_position():
    takes = inspect.signature(Runner.run_streamed).parameters
    order = [name for name in NAMES if name != "error_handlers"]
    assert list(takes)[: len(NAMES)] == [*order, "error_handlers"]
    assert {name: takes[name].default for name in DEFAULTS} == DEFAULTS
    assert all(takes[name].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for name in order)
    assert all(takes[name].kind is inspect.Parameter.KEYWORD_ONLY for name in {"error_handlers", *OURS})


def test_run_is_a_coroutine_and_the_other_verbs_are_not():
    assert inspect.iscoroutinefunction(Runner.run)
    assert not inspect.iscoroutinefunction(Runner.run_sync)
    assert not inspect.iscoroutinefunction(Runner.run_streamed)
    assert all(inspect.ismethod(getattr(Runner, verb)) for verb in ("run", "run_sync", "run_streamed"))  # classmethods


@both_ways
async def test_an_input_of_text_is_one_user_message(way):
    clerk = agent("hello")
    result = await go(way, clerk, "hi")
    assert clerk.model.calls[0].input == [{"role": "user", "content": "hi"}]
    assert result.input == "hi"
    assert result.final_output == "hello"


@both_ways
async def test_an_input_of_items_is_sent_as_it_is(way):
    items = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "yes?"},
        {"role": "user", "content": "go"},
    ]
    clerk = in_turn("hello")
    result = await go(way, clerk, items)
    assert clerk.model.calls[0].input == items
    assert result.input == items


@both_ways
async def test_the_context_is_the_apps_object_for_tools_instructions_and_hooks(way):
    app = object()
    seen: list[Any] = []

    def instructions(context, agent):
        seen.append(context.context)
        return "x"

    @function_tool
    def look(context: RunContextWrapper[Any]) -> str:
        """Look."""
        seen.append(context.context)
        return "seen"

    class Hooks(RunHooks[Any]):
        async def on_agent_start(self, context, agent):
            seen.append(context.context)

    clerk = agent(function_call("look", {}, "c"), "done", tools=[look], instructions=instructions)
    result = await go(way, clerk, context=app, hooks=Hooks())
    assert seen == [app] * 4
    assert result.context_wrapper.context is app


@both_ways
async def test_a_wrapper_as_the_context_stands_for_the_object_in_it(way):
    outer = RunContextWrapper({"app": 1})
    result = await go(way, agent("done"), context=outer)
    assert result.context_wrapper.context is outer.context
    assert result.context_wrapper.usage.requests == 1


@both_ways
async def test_agent_hooks_as_the_runs_hooks_are_a_type_error(way):
    with pytest.raises(TypeError, match="RunHooks"):
        await go(way, agent("x"), hooks=AgentHooks())


@both_ways
async def test_a_run_config_may_be_a_dict_of_its_fields(way):
    clerk = in_turn("never")
    other = ScriptedModel(["from the config"])
    result = await go(way, clerk, run_config={"model": other, "model_settings": {"temperature": 0.5}})
    assert result.final_output == "from the config"
    assert other.calls[0].model_settings.temperature == 0.5


@both_ways
async def test_an_unknown_run_config_key_is_a_type_error(way):
    with pytest.raises(TypeError, match="nope"):
        await go(way, agent("x"), run_config={"nope": 1})


# --- run_sync ---------------------------------------------------------------------------------------------------------


def _loops() -> tuple[Agent, list[Any]]:
    seen: list[Any] = []

    @function_tool
    async def look() -> str:
        """Look."""
        seen.append(asyncio.get_running_loop())
        return "seen"

    return Agent(name="A", model=ScriptedModel(lambda call: _look_once(call)), tools=[look]), seen


def _look_once(call: Any) -> Any:
    return "done" if kinds(call.input)[-1] == "function_call_output" else function_call("look", {}, "c")


@contextmanager
def a_default_loop(loop: asyncio.AbstractEventLoop | None):
    """A thread's default loop for a while."""
    asyncio.set_event_loop(loop)
    try:
        yield loop
    finally:
        asyncio.set_event_loop(None)
        if loop is not None:
            loop.close()


def test_run_sync_uses_the_threads_default_loop_and_leaves_it_open():
    clerk, seen = _loops()
    with a_default_loop(asyncio.new_event_loop()) as loop:
        Runner.run_sync(clerk, "go")
        Runner.run_sync(clerk, "go")
        assert seen == [loop, loop]
        assert not loop.is_closed()
        assert asyncio.get_event_loop() is loop


def test_run_sync_makes_a_loop_where_there_is_none_or_a_closed_one_and_keeps_it():
    clerk, seen = _loops()
    with a_default_loop(None):
        Runner.run_sync(clerk, "go")
        Runner.run_sync(clerk, "go")
    closed = asyncio.new_event_loop()
    closed.close()
    with a_default_loop(closed):
        Runner.run_sync(clerk, "go")
    assert seen[0] is seen[1]
    assert closed not in seen
    assert not any(loop.is_closed() for loop in seen)


async def test_run_sync_inside_a_running_loop_is_a_runtime_error():
    told = r"AgentRunner\.run_sync\(\) cannot be called when an event loop is already running"
    with pytest.raises(RuntimeError, match=told):
        Runner.run_sync(agent("x"), "go")


def test_run_sync_runs_in_the_callers_context_each_time():
    variable: ContextVar[int] = ContextVar("variable", default=0)
    seen: list[int] = []

    def instructions(context, agent):
        seen.append(variable.get())
        return "x"

    for value in (1, 2):
        token = variable.set(value)
        Runner.run_sync(agent("done", instructions=instructions), "go")
        variable.reset(token)
    assert seen == [1, 2]


def test_ctrl_c_in_run_sync_cancels_the_run_and_waits_for_it():
    ended: list[str] = []

    @function_tool
    async def slow() -> str:
        """Slow."""
        try:
            signal.raise_signal(signal.SIGINT)
            await asyncio.Event().wait()
        finally:
            ended.append("tool")
        return "never"

    with pytest.raises(KeyboardInterrupt):
        Runner.run_sync(agent(function_call("slow", {}, "c"), "never", tools=[slow]), "go")
    assert ended == ["tool"]
    assert Runner.run_sync(agent("and on"), "go").final_output == "and on"


# --- run_streamed -----------------------------------------------------------------------------------------------------


async def test_run_streamed_returns_at_once_and_runs_in_a_task_of_the_loop():
    clerk = agent("done")
    result = Runner.run_streamed(clerk, "go", {"app": 1}, 3)
    assert isinstance(result, RunResultStreaming)
    assert isinstance(result.run_loop_task, asyncio.Task)
    assert (result.is_complete, result.final_output, result.current_agent, result.max_turns) == (False, None, clerk, 3)
    assert clerk.model.calls == []
    await result.run_loop_task
    assert (result.is_complete, result.final_output) == (True, "done")
    assert result.context_wrapper.context == {"app": 1}


def test_run_streamed_outside_of_a_loop_is_a_runtime_error():
    with pytest.raises(RuntimeError, match="event loop"):
        Runner.run_streamed(agent("x"), "go")


# --- turns ------------------------------------------------------------------------------------------------------------


@both_ways
async def test_ten_turns_are_what_a_run_may_take_where_nothing_is_said(way):
    assert DEFAULT_MAX_TURNS == 10
    clerk = Agent(name="A", model=ScriptedModel(lambda call: adding(f"c{call.turn}")), tools=[add])
    error = await caught(way, clerk)
    assert type(error) is MaxTurnsExceeded
    assert str(error) == error.message == "Max turns (10) exceeded"
    assert len(clerk.model.calls) == 10


@both_ways
async def test_a_turn_is_one_model_call_with_its_tools(way):
    clerk = agent([adding("c1"), adding("c2")], "done", tools=[add])
    result = await go(way, clerk, max_turns=2)
    assert result.final_output == "done"
    assert len(clerk.model.calls) == 2


@both_ways
async def test_the_tools_of_the_last_turn_run_before_max_turns_is_raised(way):
    error = await caught(way, agent(adding(), "never", tools=[add]), max_turns=1)
    assert str(error) == "Max turns (1) exceeded"
    assert [item.type for item in error.run_data.new_items] == ["tool_call_item", "tool_call_output_item"]


@both_ways
async def test_max_turns_zero_raises_before_the_model_is_called(way):
    clerk, log = agent("never"), Log()
    error = await caught(way, clerk, max_turns=0, hooks=log)
    assert (type(error), str(error)) == (MaxTurnsExceeded, "Max turns (0) exceeded")
    assert clerk.model.calls == []
    assert log.lines == []
    assert (error.run_data.input, error.run_data.new_items) == ("go", [])


@both_ways
async def test_max_turns_none_is_no_limit(way):
    model = ScriptedModel([*(adding(f"c{i}") for i in range(14)), "done"])
    result = await go(way, Agent(name="A", model=model, tools=[add]), max_turns=None)
    assert (result.final_output, len(model.calls), result.max_turns) == ("done", 15, None)


# --- loop order -------------------------------------------------------------------------------------------------------


@both_ways
async def test_a_turn_goes_from_guardrails_over_the_model_to_its_tools(way):
    log = Log()

    def note(line: str, value: Any = None) -> Any:
        log.lines.append(line)
        return value

    @input_guardrail(run_in_parallel=False)
    def before(context, agent, input):
        return note("blocking guardrail", GuardrailFunctionOutput(None, False))

    @output_guardrail
    def after(context, agent, output):
        return note("output guardrail", GuardrailFunctionOutput(None, False))

    @function_tool(is_enabled=lambda context, agent: note("tools", True))
    def tool() -> str:
        """A tool."""
        return note("tool", "r")

    def model(call):
        return note("model", "done" if call.turn else function_call("tool", {}, "c"))

    clerk = Agent(
        name="A", instructions=lambda context, agent: note("instructions", "sys"), tools=[tool],
        input_guardrails=[before], output_guardrails=[after], model=ScriptedModel(model),
    )  # fmt: skip
    config = RunConfig(call_model_input_filter=lambda data: note("filter", data.model_data))
    await go(way, clerk, hooks=log, run_config=config)
    assert log.lines == [
        "blocking guardrail", "agent_start A", "tools", "instructions", "filter", "llm_start", "model", "llm_end 1",
        "tool_start tool", "tool", "tool_end tool 'r'",
        "tools", "instructions", "filter", "llm_start", "model", "llm_end 2",
        "output guardrail", "agent_end A 'done'",  # an end is announced of output that nobody objects to
    ]  # fmt: skip


@both_ways
async def test_the_agents_start_is_announced_once_for_all_its_turns_in_a_row(way):
    log = Log()
    await go(way, agent(adding("c1"), adding("c2"), "done", tools=[add]), hooks=log)
    assert [line for line in log.lines if line.startswith("agent_start")] == ["agent_start Assistant"]


@both_ways
async def test_the_prompt_and_the_system_prompt_are_asked_for_at_the_same_time(way):
    met = asyncio.Barrier(2)

    async def instructions(context, agent):
        await met.wait()
        return "sys"

    async def prompt(data):
        await met.wait()
        return {"id": "pmpt_1"}

    clerk = agent("done", instructions=instructions, prompt=prompt)
    async with asyncio.timeout(5):
        await go(way, clerk)
    call = clerk.model.calls[0]
    assert (call.system_instructions, call.prompt["id"]) == ("sys", "pmpt_1")


@both_ways
async def test_usage_is_added_before_on_llm_end(way):
    seen: list[tuple[int, list[int]]] = []

    class Hooks(RunHooks[Any]):
        async def on_llm_end(self, context, agent, response):
            usage = context.usage
            seen.append((usage.total_tokens, [one.total_tokens for one in usage.request_usage_entries]))

    model = ScriptedModel([adding(), "done"], usage=Usage(requests=1, input_tokens=2, output_tokens=3, total_tokens=5))
    await go(way, Agent(name="A", model=model, tools=[add]), hooks=Hooks())
    assert seen == [(5, [5]), (10, [5, 5])]


@both_ways
async def test_a_failed_model_call_is_tried_again_within_its_turn(way):
    failing = ModelError("busy", status_code=503, retryable=True)
    settings = ModelSettings(retry=ModelRetrySettings(max_retries=1, backoff={"initial_delay": 0}))
    log = Log()
    clerk = in_turn(failing, "done", model_settings=settings)
    result = await go(way, clerk, max_turns=1, hooks=log)
    assert result.final_output == "done"
    assert log.lines == ["agent_start Assistant", "llm_start", "llm_end 2", "agent_end Assistant 'done'"]


# --- classification ---------------------------------------------------------------------------------------------------


@both_ways
async def test_a_handoff_waits_while_an_approval_is_pending_and_the_other_tools_have_run(way):
    b = agent("never", "b here", name="B")
    a = agent(
        [function_call("transfer_to_b", {}, "h"), deleting(), adding()], name="A", tools=[add, delete], handoffs=[b]
    )
    result = await go(way, a)
    assert [item.call_id for item in result.interruptions] == ["d1"]
    assert result.last_agent is a
    state = result.to_state()
    state.approve(state.get_interruptions()[0])
    result = await go(way, a, state)
    assert (result.final_output, result.last_agent) == ("b here", b)
    outputs = {
        one["call_id"]: one["output"] for one in b.model.calls[0].input if one.get("type") == "function_call_output"
    }
    assert outputs == {"h": '{"assistant": "B"}', "d1": "deleted a", "c1": "3"}


@both_ways
async def test_function_tools_of_a_reply_run_before_its_handoff(way):
    b = agent("never", "b here", name="B")
    log = Log()
    a = agent([function_call("transfer_to_b", {}, "h"), adding()], name="A", tools=[add], handoffs=[b])
    result = await go(way, a, hooks=log)
    assert result.final_output == "b here"
    assert log.lines == [
        "agent_start A", "llm_start", "llm_end 1", "tool_start add", "tool_end add 3", "handoff A>B",
        "agent_start B", "llm_start", "llm_end 2", "agent_end B 'b here'",
    ]  # fmt: skip


@both_ways
async def test_tool_use_behavior_comes_before_text_of_the_same_reply(way):
    clerk = agent([message("text"), adding()], "never", tools=[add], tool_use_behavior="stop_on_first_tool")
    assert (await go(way, clerk)).final_output == "3"


@both_ways
async def test_text_beside_a_tool_call_isnt_the_output(way):
    result = await go(way, in_turn([message("working on it"), adding()], "done", tools=[add]))
    assert result.final_output == "done"
    assert [item.type for item in result.new_items] == [
        "message_output_item", "tool_call_item", "tool_call_output_item", "message_output_item",
    ]  # fmt: skip


@both_ways
@pytest.mark.parametrize("output_type", [None, int])
async def test_a_refusal_is_an_error_of_its_own(way, output_type):
    error = await caught(way, agent(refusal("not that"), output_type=output_type))
    assert type(error) is ModelRefusalError
    assert error.refusal == "not that"
    assert str(error) == "Model refused to produce output: not that"


# --- the final output -------------------------------------------------------------------------------------------------


@both_ways
async def test_empty_text_ends_a_run_of_plain_text(way):
    clerk = agent("")
    result = await go(way, clerk)
    assert (result.final_output, len(clerk.model.calls)) == ("", 1)


@both_ways
async def test_an_empty_reply_ends_a_run_of_plain_text_and_is_a_reply(way):
    result = await go(way, agent([]))
    assert result.final_output == ""
    assert result.new_items == []
    assert [reply.output for reply in result.raw_responses] == [[]]


@both_ways
async def test_a_reply_of_hosted_tools_alone_is_another_turn(way):
    search = {"type": "web_search_call", "id": "ws", "status": "completed", "action": {"type": "search", "query": "x"}}
    clerk = in_turn(search, "found")
    result = await go(way, clerk)
    assert (result.final_output, len(clerk.model.calls)) == ("found", 2)


@both_ways
async def test_empty_text_where_an_output_type_is_wanted_is_another_turn(way):
    clerk = in_turn("", '{"response": 5}', output_type=int)
    result = await go(way, clerk)
    assert (result.final_output, len(clerk.model.calls)) == (5, 2)


@both_ways
async def test_output_that_its_type_doesnt_admit_is_a_model_behavior_error(way):
    clerk = in_turn("no json", output_type=int)
    error = await caught(way, clerk, run_config=RunConfig(reasks=0))
    assert type(error) is ModelBehaviorError
    assert error.message.startswith("Invalid JSON when parsing model output")
    assert len(clerk.model.calls) == 1


@both_ways
async def test_the_model_is_asked_again_for_output_of_its_type_before_that_is_an_error(way):
    clerk = in_turn("no json", '{"response": "x"}', '{"response": 5}', output_type=int)
    assert (await go(way, clerk)).final_output == 5
    stubborn = in_turn("no json", "no json", "no json", "never", output_type=int)
    assert type(await caught(way, stubborn)) is ModelBehaviorError
    assert len(stubborn.model.calls) == 3


@both_ways
async def test_the_last_message_of_a_reply_is_the_output(way):
    assert (await go(way, agent([message("one"), message("two")]))).final_output == "two"


# --- several handoffs -------------------------------------------------------------------------------------------------


@both_ways
async def test_of_several_handoffs_the_first_wins_and_the_others_are_told_so(way):
    b, c = agent("never", "b here", name="B"), agent("never", name="C")
    calls = [function_call("transfer_to_b", {}, "h1"), adding(), function_call("transfer_to_c", {}, "h2")]
    result = await go(way, agent(calls, name="A", tools=[add], handoffs=[b, c]))
    assert (result.final_output, result.last_agent) == ("b here", b)
    assert c.model.calls == []
    outputs = {
        one["call_id"]: one["output"] for one in result.to_input_list() if one.get("type") == "function_call_output"
    }
    assert outputs == {
        "c1": "3",
        "h1": '{"assistant": "B"}',
        "h2": "Multiple handoffs detected, ignoring this one.",
    }
    assert [item.target_agent for item in result.new_items if isinstance(item, HandoffOutputItem)] == [b]


# --- unknown tools ----------------------------------------------------------------------------------------------------


@both_ways
async def test_a_call_of_a_tool_that_isnt_there_is_a_model_behavior_error(way):
    ran: list[int] = []

    @function_tool
    def pay() -> str:
        """Pay."""
        ran.append(1)
        return "paid"

    clerk = agent([function_call("pay", {}, "c"), function_call("nope", {}, "n")], name="Clerk", tools=[pay])
    error = await caught(way, clerk)
    assert type(error) is ModelBehaviorError
    assert error.message == "Tool nope not found in agent Clerk"
    assert ran == []  # nothing of a reply that can't be followed is done


@both_ways
async def test_the_model_is_told_of_a_tool_that_isnt_there_where_the_config_says_so(way):
    config = RunConfig(tool_not_found_behavior="return_error_to_model")
    result = await go(way, agent([function_call("nope", {}, "n"), adding()], "done", tools=[add]), run_config=config)
    assert told(result) == ["Tool 'nope' not found.", "3"]
    assert result.final_output == "done"


# --- conversations that the provider keeps ----------------------------------------------------------------------------


def keeping(*steps: Any, **fields: Any) -> Agent:
    """An agent whose model gives each reply an id: r1, r2, ..."""
    numbered = [ModelStep(step, response_id=f"r{i}") for i, step in enumerate(steps, 1)]
    return Agent(name="A", model=ScriptedModel(numbered), **fields)


def referred(model: Any) -> list[tuple[str | None, str | None]]:
    return [(call.conversation_id, call.previous_response_id) for call in model.calls]


KEPT = [
    ({"conversation_id": "conv"}, [("conv", None), ("conv", None)]),
    ({"previous_response_id": "r0"}, [(None, "r0"), (None, "r1")]),
    ({"auto_previous_response_id": True}, [(None, None), (None, "r1")]),
]
kept_ways = pytest.mark.parametrize(("kept", "refers"), KEPT, ids=[next(iter(one)) for one, _ in KEPT])


@both_ways
@kept_ways
async def test_only_what_is_new_is_sent_where_the_provider_keeps_the_conversation(way, kept, refers):
    clerk = keeping(adding(), "done", tools=[add])
    result = await go(way, clerk, **kept)
    assert inputs(clerk.model) == [["user"], ["function_call_output"]]
    assert referred(clerk.model) == refers
    assert result.last_response_id == "r2"
    assert kinds(result.to_input_list()) == ["user", "function_call", "function_call_output", "message"]


@both_ways
@kept_ways
@pytest.mark.parametrize("carried", [False, True], ids=["at once", "as JSON"])
async def test_a_resumed_run_sends_only_what_is_new_to_the_provider(way, kept, refers, carried):
    clerk = keeping([adding(), deleting()], "done", tools=[add, delete])
    state = (await go(way, clerk, **kept)).to_state()
    if carried:
        state = await RunState.from_json(clerk, state.to_json())
    state.approve(state.get_interruptions()[0])
    other = next(one for one in WAYS if one != way)
    result = await go(other, clerk, state)
    assert result.final_output == "done"
    assert inputs(clerk.model) == [["user"], ["function_call_output", "function_call_output"]]
    assert referred(clerk.model) == refers


@kept_ways
async def test_the_next_agent_goes_on_with_the_same_conversation(kept, refers):
    model = ScriptedModel([ModelStep(function_call("transfer_to_b", {}, "h"), response_id="r1"), "b here"])
    a = Agent(name="A", model=model, handoffs=[Agent(name="B", model=model)])
    await go("run", a, **kept)
    assert inputs(model) == [["user"], ["function_call_output"]]
    assert referred(model) == refers


@both_ways
@kept_ways
async def test_a_session_beside_it_is_a_user_error(way, kept, refers):
    clerk = agent("never")
    error = await caught(way, clerk, session=SQLiteSession("s"), **kept)
    assert type(error) is UserError
    assert "session can't be combined with conversation_id, previous_response_id or auto_previous" in error.message
    assert clerk.model.calls == []


@both_ways
@kept_ways
@pytest.mark.parametrize("where", ["agent", "config"])
async def test_output_guardrails_beside_it_are_a_user_error(way, kept, refers, where):
    @output_guardrail
    def fine(context, agent, output):
        return GuardrailFunctionOutput(None, False)

    clerk = agent("never", output_guardrails=[fine] if where == "agent" else [])
    error = await caught(way, clerk, run_config={"output_guardrails": [fine]} if where == "config" else None, **kept)
    assert type(error) is UserError
    assert "output guardrails, which can't be combined with conversation_id" in error.message
    assert clerk.model.calls == []


@both_ways
@kept_ways
@pytest.mark.parametrize("where", ["handoff", "config"])
async def test_a_handoff_input_filter_beside_it_is_a_user_error(way, kept, refers, where):
    b = agent("never", name="B")
    taken = handoff(b, input_filter=(lambda data: data) if where == "handoff" else None)
    config = RunConfig(handoff_input_filter=lambda data: data) if where == "config" else None
    a = keeping(function_call("transfer_to_b", {}, "h"), handoffs=[taken])
    error = await caught(way, a, run_config=config, **kept)
    assert type(error) is UserError
    assert "input filter" in error.message
    assert b.model.calls == []


@kept_ways
async def test_nesting_the_history_beside_it_has_no_effect_and_warns(kept, refers):
    b = agent("b here", name="B")
    a = keeping(function_call("transfer_to_b", {}, "h"), handoffs=[b])
    with pytest.warns(UserWarning, match="nest_handoff_history has no effect"):
        result = await go("run", a, run_config=RunConfig(nest_handoff_history=True), **kept)
    assert result.final_output == "b here"
    assert inputs(b.model) == [["function_call_output"]]


class Locked(BadRequestError):
    """The provider's answer while another request holds the conversation."""

    def __init__(self) -> None:
        Exception.__init__(self, "locked")
        self.message = "locked"
        self.status_code = 400
        self.code = "conversation_locked"
        self.body = {"code": "conversation_locked"}
        self.request_id = None
        self.response = None  # type: ignore[assignment]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("settings", [None, ModelRetrySettings(max_retries=1)], ids=["as they are", "one retry"])
async def test_a_locked_conversation_is_asked_again_after_1_2_and_4_seconds(stream, settings):
    clock = ManualClock()
    model = ScriptedModel([Locked(), Locked(), Locked(), "done"])
    clerk = Agent(name="A", model=model, model_settings=ModelSettings(retry=settings))
    meta = {CONVERSATION: {"conversation_id": "conv", "previous_response_id": None, "auto": False}}
    run = await start(clerk, "go", context=Options(None, RunConfig()), meta=meta, clock=clock, stream=stream)
    began = clock.now
    await run.drive()
    assert run.place == "END"
    assert clock.now - began == 7.0
    assert inputs(model) == [["user"]] * 4


# --- going on with a state --------------------------------------------------------------------------------------------


@both_ways
async def test_a_state_made_by_either_verb_is_gone_on_with_by_the_other(way):
    clerk = agent(deleting(), "done", tools=[delete])
    state = (await go(way, clerk, context={"app": 1})).to_state()
    state.approve(state.get_interruptions()[0])
    other = next(one for one in WAYS if one != way)
    result = await go(other, clerk, state)
    assert (result.final_output, result.input, told(result)) == ("done", "go", ["deleted a"])


def test_run_sync_goes_on_with_a_state_too():
    clerk = agent(deleting(), "done", tools=[delete])
    state = Runner.run_sync(clerk, "go").to_state()
    state.approve(state.get_interruptions()[0])
    assert Runner.run_sync(clerk, state).final_output == "done"


@both_ways
async def test_turns_usage_limit_and_context_come_from_the_state(way):
    app = {"app": 1}
    clerk = agent(adding(), deleting(), "done", tools=[add, delete])
    state = (await go(way, clerk, context=app, max_turns=3)).to_state()
    state.approve(state.get_interruptions()[0])
    assert state.current_turn == 2
    result = await go(way, clerk, state)
    assert (result.final_output, result.max_turns) == ("done", 3)
    assert result.context_wrapper.usage.requests == 3
    assert result.context_wrapper.context is app
    assert len(result.raw_responses) == 3


@both_ways
async def test_a_context_that_is_given_replaces_only_the_apps_object(way):
    seen: list[Any] = []

    @function_tool(needs_approval=True)
    def look(context: RunContextWrapper[Any]) -> str:
        """Look."""
        seen.append(context.context)
        return "seen"

    clerk = agent(adding(), function_call("look", {}, "l"), "done", tools=[add, look])
    state = (await go(way, clerk, context="old")).to_state()
    state.approve(state.get_interruptions()[0])
    result = await go(way, clerk, state, context="new")
    assert seen == ["new"]
    assert result.context_wrapper.context == "new"
    assert result.context_wrapper.usage.requests == 3


@both_ways
async def test_max_turns_that_are_given_to_a_resume_count(way):
    clerk = agent(adding(), deleting(), "done", tools=[add, delete])
    state = (await go(way, clerk, max_turns=2)).to_state()
    state.approve(state.get_interruptions()[0])
    result = await go(way, clerk, state, max_turns=5)
    assert (result.final_output, result.max_turns) == ("done", 5)


@both_ways
async def test_a_resume_without_more_turns_runs_into_the_states_limit(way):
    clerk = agent(adding(), deleting(), "done", tools=[add, delete])
    state = (await go(way, clerk, max_turns=2)).to_state()
    state.approve(state.get_interruptions()[0])
    error = await caught(way, clerk, state)
    assert str(error) == "Max turns (2) exceeded"
    assert error.run_data.new_items[-1].output == "deleted a"  # the tool ran; only then the turns were used up
    again = error.run_data.result.to_state()
    again.max_turns = 3
    assert (await go(way, clerk, again)).final_output == "done"


@both_ways
async def test_a_run_that_used_its_turns_up_goes_on_with_more_and_does_nothing_twice(way):
    ran: list[int] = []

    @function_tool
    def pay() -> str:
        """Pay."""
        ran.append(1)
        return "paid"

    clerk = agent(function_call("pay", {}, "p"), "done", tools=[pay])
    error = await caught(way, clerk, max_turns=1)
    result = await go(way, clerk, error.run_data.result.to_state(), max_turns=2)
    assert (result.final_output, ran, len(clerk.model.calls)) == ("done", [1], 2)


@both_ways
async def test_a_run_whose_tool_failed_goes_on_where_it_failed(way):
    ran: list[str] = []

    @function_tool
    def pay() -> str:
        """Pay."""
        ran.append("pay")
        return "paid"

    @function_tool(failure_error_function=None)
    def fetch() -> str:
        """Fetch."""
        ran.append("fetch")
        if ran.count("fetch") == 1:
            raise OSError("down")
        return "fetched"

    clerk = agent([function_call("pay", {}, "p"), function_call("fetch", {}, "f")], "done", tools=[pay, fetch])
    error = await caught(way, clerk)
    assert str(error) == "Error running tool fetch: down"
    result = await go(way, clerk, error.run_data.result.to_state())
    assert result.final_output == "done"
    assert (ran.count("pay"), ran.count("fetch"), len(clerk.model.calls)) == (1, 2, 2)


@both_ways
async def test_a_run_that_is_done_isnt_gone_on_with(way):
    clerk = agent("done")
    state = (await go(way, clerk)).to_state()
    assert type(await caught(way, clerk, state)) is NotPaused


@both_ways
async def test_hooks_and_settings_of_the_resume_hold_from_there_on(way):
    clerk = agent(deleting(), "done", tools=[delete])
    state = (await go(way, clerk)).to_state()
    state.approve(state.get_interruptions()[0])
    log = Log()
    await go(way, clerk, state, hooks=log, run_config={"model_settings": {"temperature": 0.25}})
    assert log.lines == [
        "tool_start delete", "tool_end delete 'deleted a'", "llm_start", "llm_end 2", "agent_end Assistant 'done'",
    ]  # fmt: skip
    assert [call.model_settings.temperature for call in clerk.model.calls] == [None, 0.25]


@both_ways
async def test_the_agent_of_a_resume_is_the_one_that_the_run_began_with(way):
    model = ScriptedModel([function_call("transfer_to_b", {}, "h"), deleting(), "b here"])
    b = Agent(name="B", model=model, tools=[delete])
    a = Agent(name="A", model=model, handoffs=[b])
    state = (await go(way, a)).to_state()
    assert (state.starting_agent, state.current_agent) == (a, b)
    state.approve(state.get_interruptions()[0])
    result = await go(way, a, state)
    assert (result.final_output, result.last_agent) == ("b here", b)


@both_ways
@pytest.mark.parametrize(
    "given",
    [{"conversation_id": "other"}, {"previous_response_id": "other"}, {"run_id": "other"}, {"session": "other"}],
)
async def test_a_resume_takes_nothing_that_contradicts_what_the_run_has(way, given):
    clerk = agent(deleting(), "done", tools=[delete])
    state = (await go(way, clerk)).to_state()
    state.approve(state.get_interruptions()[0])
    error = await caught(way, clerk, state, **given)
    assert type(error) is UserError
    assert "goes on with its own" in error.message


@both_ways
async def test_a_resume_with_a_session_that_the_run_didnt_begin_with_is_refused(way):
    clerk = agent(deleting(), "done", tools=[delete])
    state = (await go(way, clerk)).to_state()
    state.approve(state.get_interruptions()[0])
    error = await caught(way, clerk, state, session=SQLiteSession("late"))
    assert type(error) is UserError
    assert "began without a session" in error.message


@both_ways
async def test_a_resume_with_the_runs_session_writes_on_in_it(way):
    session = SQLiteSession("s")
    clerk = agent(deleting(), "done", tools=[delete])
    state = (await go(way, clerk, session=session)).to_state()
    state.approve(state.get_interruptions()[0])
    await go(way, clerk, state, session=session)
    assert kinds(await session.get_items()) == ["user", "function_call", "function_call_output", "message"]


# --- the runner behind Runner -----------------------------------------------------------------------------------------


@pytest.fixture
def noted():
    """A runner of the app's, for a test."""
    seen: list[tuple[str, dict[str, Any]]] = []

    class Noting(AgentRunner):
        async def run(self, starting_agent, input, **given):
            seen.append(("run", given))
            return await super().run(starting_agent, input, **given)

        def run_sync(self, starting_agent, input, **given):
            seen.append(("run_sync", given))
            return super().run_sync(starting_agent, input, **given)

        def run_streamed(self, starting_agent, input, **given):
            seen.append(("run_streamed", given))
            return super().run_streamed(starting_agent, input, **given)

    set_default_agent_runner(Noting())
    yield seen
    set_default_agent_runner(None)


async def test_runner_hands_its_calls_to_the_default_agent_runner(noted):
    log = Log()
    await go("run", agent("x"), hooks=log, max_turns=4)
    await go("streamed", agent("x"), hooks=log, context=1)
    assert [verb for verb, _ in noted] == ["run", "run_streamed"]
    assert (noted[0][1]["max_turns"], noted[1][1]["context"]) == (4, 1)
    assert set(DEFAULTS) <= set(noted[0][1])


def test_run_sync_goes_through_the_default_agent_runners_run(noted):
    Runner.run_sync(agent("x"), "go")
    assert [verb for verb, _ in noted] == ["run_sync", "run"]


def test_none_gives_the_default_agent_runner_back(noted):
    assert type(get_default_agent_runner()) is not AgentRunner
    set_default_agent_runner(None)
    assert type(get_default_agent_runner()) is AgentRunner
    assert isinstance(Runner.run_sync(agent("x"), "go"), RunResult)
    assert noted == []


# --- error handlers ---------------------------------------------------------------------------------------------------


class Total(BaseModel):
    amount: int


def handling(kind: str, answer: Any) -> tuple[dict[str, Any], list[RunErrorHandlerInput]]:
    """Handlers of one kind of error, and what they are asked."""
    asked: list[RunErrorHandlerInput] = []

    def handler(data: RunErrorHandlerInput) -> Any:
        asked.append(data)
        return answer

    return {kind: handler}, asked


CASES = {
    "max_turns": (MaxTurnsExceeded, adding(), 1, ["tool_call_item", "tool_call_output_item"]),
    "model_refusal": (ModelRefusalError, refusal("not that"), 5, ["message_output_item"]),
    "invalid_final_output": (ModelBehaviorError, message("no json"), 5, ["message_output_item"]),
}


def failing(kind: str, **fields: Any) -> tuple[Agent, dict[str, Any]]:
    """An agent that runs into this error, and how it's run."""
    clerk = in_turn(
        CASES[kind][1], tools=[add], **({"output_type": int} if kind == "invalid_final_output" else {}), **fields
    )
    return clerk, {"max_turns": CASES[kind][2], "run_config": {"reasks": 0}}


handled_kinds = pytest.mark.parametrize("kind", list(CASES))


@both_ways
@handled_kinds
async def test_a_handler_is_asked_with_the_error_and_what_the_run_had_done(way, kind):
    clerk, given = failing(kind)
    handlers, asked = handling(kind, 7)
    await go(way, clerk, "hi", error_handlers=handlers, context="app", **given)
    (data,) = asked
    assert type(data.error) is CASES[kind][0]
    assert (data.context.context, data.context.usage.requests) == ("app", 1)
    run = data.run_data
    assert isinstance(run, RunErrorData)
    assert run.input == "hi"
    assert [item.type for item in run.new_items] == CASES[kind][3]
    assert [reply.usage.requests for reply in run.raw_responses] == [1]
    assert run.raw_responses[0].output == run.output[:1]
    assert run.history == [{"role": "user", "content": "hi"}, *run.output]
    assert len(run.output) == len(run.new_items)
    assert run.last_agent is clerk


@both_ways
@handled_kinds
async def test_without_a_handler_or_where_it_gives_none_the_error_is_raised(way, kind):
    for handlers in (None, {}, handling(kind, None)[0]):
        clerk, given = failing(kind)
        assert type(await caught(way, clerk, error_handlers=handlers, **given)) is CASES[kind][0]


@both_ways
@handled_kinds
@pytest.mark.parametrize(
    "answer", [7, {"final_output": 7}, {"final_output": 7, "include_in_history": True}, RunErrorHandlerResult(7)]
)
async def test_a_handlers_answer_is_the_output_in_the_hooks_the_history_and_the_session(way, kind, answer):
    session, log = SQLiteSession("s"), Log()
    clerk, given = failing(kind)
    result = await go(way, clerk, error_handlers=handling(kind, answer)[0], session=session, hooks=log, **given)
    assert result.final_output == 7
    assert log.lines[-1] == "agent_end Assistant 7"
    assert [item.type for item in result.new_items] == [*CASES[kind][3], "message_output_item"]
    text = '{"response":7}' if kind == "invalid_final_output" else "7"
    last = result.to_input_list()[-1]
    assert (last["role"], last["content"][0]["text"]) == ("assistant", text)
    assert kinds(await session.get_items()) == kinds(result.to_input_list())[-len(await session.get_items()) :]
    assert (await session.get_items())[-1]["content"][0]["text"] == text
    assert len(result.raw_responses) == 1


@both_ways
@handled_kinds
async def test_an_answer_may_stay_out_of_the_history(way, kind):
    session = SQLiteSession("s")
    clerk, given = failing(kind)
    answer = RunErrorHandlerResult(7, include_in_history=False)
    result = await go(way, clerk, error_handlers=handling(kind, answer)[0], session=session, **given)
    assert result.final_output == 7
    assert [item.type for item in result.new_items] == CASES[kind][3]
    assert kinds(await session.get_items())[-1] == kinds(result.to_input_list())[-1]
    assert "7" not in str(await session.get_items())


@both_ways
async def test_an_async_handler_is_awaited(way):
    async def handler(data: RunErrorHandlerInput) -> str:
        return f"sorry: {data.error}"

    clerk, given = failing("max_turns")
    result = await go(way, clerk, error_handlers={"max_turns": handler}, **given)
    assert result.final_output == "sorry: Max turns (1) exceeded"


@both_ways
@pytest.mark.parametrize("answer", [5, {"a": 1}, [1, 2], "text", True])
async def test_a_raw_answer_of_a_run_of_plain_text_stays_what_it_is(way, answer):
    clerk, given = failing("max_turns")
    result = await go(way, clerk, error_handlers=handling("max_turns", answer)[0], **given)
    assert result.final_output == answer


@both_ways
@pytest.mark.parametrize("answer", [Total(amount=3), {"amount": 3}])
async def test_an_answer_becomes_a_value_of_the_output_type(way, answer):
    clerk = in_turn(adding(), tools=[add], output_type=Total)
    handlers = handling("max_turns", RunErrorHandlerResult(answer))[0]
    result = await go(way, clerk, max_turns=1, error_handlers=handlers)
    assert result.final_output == Total(amount=3)
    assert result.to_input_list()[-1]["content"][0]["text"] == '{"amount":3}'


@both_ways
@handled_kinds
async def test_an_answer_that_the_output_type_doesnt_admit_is_a_user_error(way, kind):
    clerk, given = failing(kind)
    clerk.output_type = int
    error = await caught(way, clerk, error_handlers=handling(kind, "seven")[0], **given)
    assert type(error) is UserError
    assert "error handler" in error.message


@both_ways
async def test_an_answer_with_unknown_fields_is_a_user_error(way):
    clerk, given = failing("max_turns")
    answer = {"final_output": 7, "nope": 1}
    assert type(await caught(way, clerk, error_handlers=handling("max_turns", answer)[0], **given)) is UserError


@both_ways
async def test_a_handler_of_no_known_kind_is_refused(way):
    error = await caught(way, agent("x"), error_handlers={"tool_error": lambda data: 1})
    assert type(error) is UserError
    assert "max_turns, model_refusal, invalid_final_output" in error.message


@both_ways
async def test_what_a_handler_raises_is_raised(way):
    def handler(data):
        raise ZeroDivisionError("mine")

    clerk, given = failing("max_turns")
    assert type(await caught(way, clerk, error_handlers={"max_turns": handler}, **given)) is ZeroDivisionError


@both_ways
@handled_kinds
async def test_output_guardrails_judge_a_handlers_answer_and_a_rejected_one_isnt_kept(way, kind):
    seen: list[Any] = []

    @output_guardrail
    def no(context, agent, output):
        seen.append(output)
        return GuardrailFunctionOutput("no", True)

    session, log = SQLiteSession("s"), Log()
    clerk, given = failing(kind, output_guardrails=[no])
    error = await caught(way, clerk, error_handlers=handling(kind, 7)[0], session=session, hooks=log, **given)
    assert type(error) is OutputGuardrailTripwireTriggered
    assert seen == [7]
    assert not any(line.startswith("agent_end") for line in log.lines)  # an end is announced of output that counts
    kept = ["user", "function_call", "function_call_output"] if kind == "max_turns" else ["user"]
    assert kinds(await session.get_items()) == kept


@both_ways
async def test_a_handler_isnt_asked_about_another_agents_type_after_a_handoff(way):
    model = ScriptedModel([function_call("transfer_to_b", {}, "h"), adding()])
    b = Agent(name="B", model=model, tools=[add])
    a = Agent(name="A", model=model, handoffs=[b], output_type=Total)
    handlers, asked = handling("max_turns", "text of B")
    result = await go(way, a, max_turns=2, error_handlers=handlers)
    assert (result.final_output, asked[0].run_data.last_agent) == ("text of B", b)


@both_ways
async def test_a_handler_of_a_resume_answers_too(way):
    clerk = agent(deleting(), "never", tools=[delete])
    state = (await go(way, clerk, max_turns=1)).to_state()
    state.approve(state.get_interruptions()[0])
    result = await go(way, clerk, state, error_handlers=handling("max_turns", "enough")[0])
    assert (result.final_output, told(result)) == ("enough", ["deleted a"])


# --- run_demo_loop ----------------------------------------------------------------------------------------------------


def test_the_demo_loop_takes_an_agent_and_the_rest_by_keyword():
    takes = inspect.signature(run_demo_loop).parameters
    assert list(takes)[:4] == ["agent", "stream", "context", "max_turns"]
    assert (takes["stream"].default, takes["context"].default, takes["max_turns"].default) == (True, None, 10)
    by_keyword = {name for name, one in takes.items() if one.kind is inspect.Parameter.KEYWORD_ONLY}
    assert by_keyword == set(takes) - {"agent"}
    assert inspect.iscoroutinefunction(run_demo_loop)


# --- models that give whole replies, prompts --------------------------------------------------------------------------


@both_ways
async def test_a_stored_prompt_is_sent_with_each_call(way):
    clerk = agent(adding(), "done", tools=[add], prompt=Prompt(id="pmpt_1", version="2"))
    await go(way, clerk)
    assert [call.prompt["id"] for call in clerk.model.calls] == ["pmpt_1", "pmpt_1"]


@both_ways
async def test_a_reply_tells_its_ids_and_usage_in_the_result(way):
    usage = Usage(requests=1, input_tokens=1, output_tokens=2, total_tokens=3)
    reply = ModelResponse([message("done")], usage=usage, response_id="resp")
    result = await go(way, in_turn(reply))
    assert (result.last_response_id, result.raw_responses[0].response_id) == ("resp", "resp")
    assert result.raw_responses[0].usage.total_tokens == 3


def test_nothing_of_this_chapter_warns_by_itself():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Runner.run_sync(agent(adding(), "done", tools=[add]), "go").final_output == "done"
