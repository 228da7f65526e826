"""Section 14: exceptions: what they are, what they carry, and that the run goes on from its state."""

import asyncio
from typing import Any

import pytest
from conformance_making import WAYS, add, adding, agent, caught, go, in_turn, told
from pydantic import BaseModel

from flowcore import (
    Agent,
    AgentHooks,
    AgentsException,
    GuardrailFunctionOutput,
    InputGuardrailTripwireTriggered,
    MaxTurnsExceeded,
    MCPToolCancellationError,
    MemoryStore,
    ModelBehaviorError,
    ModelInputData,
    ModelRefusalError,
    ModelTimeoutError,
    OutputGuardrailTripwireTriggered,
    RunErrorDetails,
    RunErrorHandlerInput,
    RunErrorHandlerResult,
    RunHooks,
    Runner,
    RunResult,
    RunState,
    ToolGuardrailFunctionOutput,
    ToolInputGuardrailTripwireTriggered,
    ToolOutputGuardrailTripwireTriggered,
    ToolsToFinalOutputResult,
    ToolTimeoutError,
    UserError,
    function_tool,
    handoff,
    input_guardrail,
    output_guardrail,
    tool_input_guardrail,
    tool_output_guardrail,
)
from flowcore.testing import ModelStep, ScriptedModel, function_call, refusal

ways = pytest.mark.parametrize("way", WAYS)


class Trouble(ValueError):
    """No exception of flowcore's, and none that a model's call is tried again for."""


# --- what each is -----------------------------------------------------------------------------------------------------


def test_each_is_an_agents_exception_without_run_data_until_a_run_raised_it():
    class Guardrail:
        pass

    class Result:
        guardrail = Guardrail()

    for error in (
        AgentsException("x"), MaxTurnsExceeded("x"), ModelBehaviorError("x"), ModelRefusalError("x"),
        ModelTimeoutError(timeout_seconds=1), UserError("x"), MCPToolCancellationError("x"), ToolTimeoutError("t", 1),
        InputGuardrailTripwireTriggered(Result()), OutputGuardrailTripwireTriggered(Result()),
        ToolInputGuardrailTripwireTriggered(Guardrail(), None), ToolOutputGuardrailTripwireTriggered(Guardrail(), None),
    ):  # fmt: skip
        assert isinstance(error, AgentsException)
        assert error.run_data is None


@pytest.mark.parametrize("cls", [MaxTurnsExceeded, ModelBehaviorError, UserError, MCPToolCancellationError])
def test_message_is_what_it_was_made_with(cls):
    error = cls("told")
    assert (error.message, str(error), error.args) == ("told", "told", ("told",))


def test_a_refusal_has_the_text_that_the_model_said():
    error = ModelRefusalError("I can't")
    assert (error.refusal, str(error)) == ("I can't", "Model refused to produce output: I can't")


def test_a_models_timeout_has_its_seconds():
    error = ModelTimeoutError(timeout_seconds=2.5)
    assert (error.timeout_seconds, str(error)) == (2.5, "Model call timed out after 2.5 seconds.")
    assert ModelTimeoutError("slow", timeout_seconds=1).message == "slow"
    assert (ModelTimeoutError(2.5).timeout_seconds, ModelTimeoutError(2.5).message) == (2.5, str(error))


def test_a_tools_timeout_has_its_name_and_seconds():
    error = ToolTimeoutError("slow", 1)
    assert (error.tool_name, error.timeout_seconds) == ("slow", 1)
    assert str(error) == "Tool 'slow' timed out after 1 seconds."


def test_tripwires_name_the_kind_of_guardrail_and_carry_it():
    @input_guardrail
    def judge(ctx, agent, input): ...

    @tool_input_guardrail
    def check(data): ...

    class Result:
        guardrail = judge

    tripped = InputGuardrailTripwireTriggered(Result())
    assert isinstance(tripped.guardrail_result, Result)
    assert str(tripped) == "Guardrail InputGuardrail triggered tripwire"
    output = ToolGuardrailFunctionOutput.raise_exception("bad")
    by_tool = ToolInputGuardrailTripwireTriggered(check, output)
    assert (by_tool.guardrail, by_tool.output) == (check, output)
    assert str(by_tool) == "Tool input guardrail ToolInputGuardrail triggered tripwire"


# --- run_data: every exception that ends a run ------------------------------------------------------------------------


@ways
async def test_run_data_tells_what_the_run_had_done(way):
    app = object()

    @input_guardrail(run_in_parallel=False)
    async def polite(ctx, agent, input):
        return GuardrailFunctionOutput("polite", False)

    clerk = agent(ModelStep(adding(), response_id="r1"), "3", tools=[add], input_guardrails=[polite])
    error = await caught(way, clerk, "go", max_turns=1, context=app)
    data = error.run_data
    assert isinstance(data, RunErrorDetails)
    assert data.input == "go"
    assert [item.type for item in data.new_items] == ["tool_call_item", "tool_call_output_item"]
    assert [one.response_id for one in data.raw_responses] == ["r1"]
    assert data.last_agent is clerk
    assert (data.context_wrapper.context, data.context_wrapper.usage.requests) == (app, 1)
    assert [one.guardrail for one in data.input_guardrail_results] == [polite]
    assert (data.output_guardrail_results, data.tool_input_guardrail_results, data.tool_output_guardrail_results) == (
        [],
        [],
        [],
    )


async def test_max_turns_exceeded_says_how_many():
    error = await caught("run", agent("hi"), max_turns=0)
    assert isinstance(error, MaxTurnsExceeded)
    assert error.message == "Max turns (0) exceeded"


# --- what ends a run, and goes on -------------------------------------------------------------------------------------


class Once:
    """Raises at its first call, and not again."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error or Trouble("first")
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        if self.calls == 1:
            raise self.error


def fails_in_the_model(once: Once) -> tuple[Agent, dict[str, Any]]:
    def step(call: Any) -> Any:
        once()
        return "done"

    return Agent(name="A", model=ScriptedModel(step)), {}


def fails_in_a_tool(once: Once) -> tuple[Agent, dict[str, Any]]:
    @function_tool(failure_error_function=None)
    async def act(x: int) -> str:
        """Act."""
        once()
        return "acted"

    return agent(function_call("act", {"x": 1}, "c1"), "done", tools=[act]), {}


def fails_in_the_instructions(once: Once) -> tuple[Agent, dict[str, Any]]:
    def instructions(ctx: Any, agent: Any) -> str:
        once()
        return "Be kind."

    return agent("done", instructions=instructions), {}


def fails_in_is_enabled(once: Once) -> tuple[Agent, dict[str, Any]]:
    def enabled(ctx: Any, agent: Any) -> bool:
        once()
        return True

    @function_tool(is_enabled=enabled)
    async def act(x: int) -> str:
        """Act."""
        return "acted"

    return agent("done", tools=[act]), {}


def fails_in_a_blocking_guardrail(once: Once) -> tuple[Agent, dict[str, Any]]:
    @input_guardrail(run_in_parallel=False)
    async def judge(ctx, agent, input):
        once()
        return GuardrailFunctionOutput(None, False)

    return agent("done", input_guardrails=[judge]), {}


def fails_in_a_parallel_guardrail(once: Once) -> tuple[Agent, dict[str, Any]]:
    @input_guardrail
    async def judge(ctx, agent, input):
        once()
        return GuardrailFunctionOutput(None, False)

    return agent("done", input_guardrails=[judge]), {}


def fails_in_an_output_guardrail(once: Once) -> tuple[Agent, dict[str, Any]]:
    @output_guardrail
    async def judge(ctx, agent, output):
        once()
        return GuardrailFunctionOutput(None, False)

    return agent("done", output_guardrails=[judge]), {}


def fails_in_a_tool_input_guardrail(once: Once) -> tuple[Agent, dict[str, Any]]:
    @tool_input_guardrail
    async def judge(data):
        once()
        return ToolGuardrailFunctionOutput.allow()

    @function_tool(tool_input_guardrails=[judge])
    async def act(x: int) -> str:
        """Act."""
        return "acted"

    return agent(function_call("act", {"x": 1}, "c1"), "done", tools=[act]), {}


def fails_in_a_tool_output_guardrail(once: Once) -> tuple[Agent, dict[str, Any]]:
    @tool_output_guardrail
    async def judge(data):
        once()
        return ToolGuardrailFunctionOutput.allow()

    @function_tool(tool_output_guardrails=[judge])
    async def act(x: int) -> str:
        """Act."""
        return "acted"

    return agent(function_call("act", {"x": 1}, "c1"), "done", tools=[act]), {}


def _hooked(name: str) -> Any:
    def make(once: Once) -> tuple[Agent, dict[str, Any]]:
        async def hook(self: Any, *args: Any, **more: Any) -> None:
            once()

        hooks = type("Hooks", (RunHooks,), {name: hook})()
        other = agent(adding(), "done", name="B", tools=[add])
        other.model = ScriptedModel.by_turn([adding(), "done"], count=lambda items: sum(
            item.get("name") == "add" for item in items))  # fmt: skip
        first = agent(function_call("transfer_to_b", {}, "h1"), name="A", handoffs=[other])
        return first, {"hooks": hooks}

    make.__name__ = f"fails_in_run_hook_{name}"
    return make


def _own_hooked(name: str) -> Any:
    def make(once: Once) -> tuple[Agent, dict[str, Any]]:
        async def hook(self: Any, *args: Any, **more: Any) -> None:
            once()

        hooks = type("Hooks", (AgentHooks,), {name: hook})()
        return agent(adding(), "done", tools=[add], hooks=hooks), {}

    make.__name__ = f"fails_in_agent_hook_{name}"
    return make


def fails_in_on_handoff(once: Once) -> tuple[Agent, dict[str, Any]]:
    other = in_turn("done", name="B")
    there = handoff(other, on_handoff=lambda ctx: once())
    return agent(function_call("transfer_to_b", {}, "h1"), handoffs=[there]), {}


def fails_in_a_handoff_filter(once: Once) -> tuple[Agent, dict[str, Any]]:
    def keep(data: Any) -> Any:
        once()
        return data

    other = in_turn("done", name="B")
    return agent(function_call("transfer_to_b", {}, "h1"), handoffs=[handoff(other, input_filter=keep)]), {}


def fails_in_a_history_mapper(once: Once) -> tuple[Agent, dict[str, Any]]:
    def keep(items: Any) -> Any:
        once()
        return items

    other = in_turn("done", name="B")
    config = {"nest_handoff_history": True, "handoff_history_mapper": keep}
    return agent(function_call("transfer_to_b", {}, "h1"), handoffs=[other]), {"run_config": config}


def fails_in_the_model_input_filter(once: Once) -> tuple[Agent, dict[str, Any]]:
    def keep(data: Any) -> ModelInputData:
        once()
        return data.model_data

    return agent("done"), {"run_config": {"call_model_input_filter": keep}}


def fails_in_the_session_callback(once: Once) -> tuple[Agent, dict[str, Any]]:
    def keep(history: Any, new: Any) -> Any:
        once()
        return [*history, *new]

    return agent("done"), {"run_config": {"session_input_callback": keep}, "session": "s", "store": MemoryStore()}


def fails_in_a_custom_data_extractor(once: Once) -> tuple[Agent, dict[str, Any]]:
    def extract(data: Any) -> dict[str, Any]:
        once()
        return {}

    @function_tool(custom_data_extractor=extract)
    async def act(x: int) -> str:
        """Act."""
        return "acted"

    return agent(function_call("act", {"x": 1}, "c1"), "done", tools=[act]), {}


def fails_in_an_output_extractor(once: Once) -> tuple[Agent, dict[str, Any]]:
    async def extract(result: Any) -> str:
        once()
        return "told"

    inner = in_turn("inner", name="Inner")
    tool = inner.as_tool("inner", "Inner.", custom_output_extractor=extract, failure_error_function=None)
    return agent(function_call("inner", {"input": "x"}, "t1"), "done", tools=[tool]), {}


def fails_in_a_nested_agent(once: Once) -> tuple[Agent, dict[str, Any]]:
    inner, _ = fails_in_the_model(once)
    tool = inner.as_tool("inner", "Inner.", failure_error_function=None)
    return agent(function_call("inner", {"input": "x"}, "t1"), "done", tools=[tool]), {}


def fails_in_needs_approval(once: Once) -> tuple[Agent, dict[str, Any]]:
    async def asks(ctx: Any, arguments: Any, call_id: str) -> bool:
        once()
        return False

    @function_tool(needs_approval=asks)
    async def act(x: int) -> str:
        """Act."""
        return "acted"

    return agent(function_call("act", {"x": 1}, "c1"), "done", tools=[act]), {}


def fails_in_tool_use_behavior(once: Once) -> tuple[Agent, dict[str, Any]]:
    def decide(ctx: Any, results: Any) -> ToolsToFinalOutputResult:
        once()
        return ToolsToFinalOutputResult(False)

    return agent(adding(), "done", tools=[add], tool_use_behavior=decide), {}


def fails_in_a_failure_error_function(once: Once) -> tuple[Agent, dict[str, Any]]:
    def say(ctx: Any, error: Exception) -> str:
        once()
        return "it broke"

    @function_tool(failure_error_function=say)
    async def act(x: int) -> str:
        """Act."""
        raise Trouble("always")

    return agent(function_call("act", {"x": 1}, "c1"), "done", tools=[act]), {}


FAILING = [
    fails_in_the_model, fails_in_a_tool, fails_in_the_instructions, fails_in_is_enabled,
    fails_in_a_blocking_guardrail, fails_in_a_parallel_guardrail, fails_in_an_output_guardrail,
    fails_in_a_tool_input_guardrail, fails_in_a_tool_output_guardrail,
    *map(_hooked, ("on_agent_start", "on_llm_start", "on_llm_end", "on_tool_start", "on_tool_end", "on_handoff")),
    _hooked("on_agent_end"),
    *map(_own_hooked, ("on_start", "on_llm_start", "on_llm_end", "on_tool_start", "on_tool_end", "on_end")),
    fails_in_on_handoff, fails_in_a_handoff_filter, fails_in_a_history_mapper, fails_in_the_model_input_filter,
    fails_in_the_session_callback, fails_in_a_custom_data_extractor, fails_in_an_output_extractor,
    fails_in_a_nested_agent, fails_in_needs_approval, fails_in_tool_use_behavior, fails_in_a_failure_error_function,
]  # fmt: skip


@ways
@pytest.mark.parametrize("make", FAILING, ids=lambda make: make.__name__)
async def test_what_an_apps_function_raises_is_raised_with_run_data_and_the_state_goes_on(way, make):
    once = Once()
    clerk, more = make(once)
    error = await caught(way, clerk, **more)
    assert error is once.error or error.__cause__ is once.error
    assert isinstance(error.run_data, RunErrorDetails)
    assert error.run_data.last_agent.name in ("A", "B", "Assistant")
    state = error.run_data.result.to_state()
    assert state.standing == "failed"
    more.pop("store", None), more.pop("session", None)
    result = await go(way, clerk, state, **more)
    assert result.final_output == "done"
    assert once.calls >= 2


@ways
@pytest.mark.parametrize("make", [fails_in_the_model, fails_in_a_tool, fails_in_a_nested_agent, fails_in_on_handoff],
                         ids=lambda make: make.__name__)  # fmt: skip
async def test_a_failed_runs_state_goes_on_in_another_process(way, make):
    once = Once()
    clerk, more = make(once)
    error = await caught(way, clerk, **more)
    text = error.run_data.result.to_state().to_string()
    result = await go(way, clerk, await RunState.from_string(clerk, text))
    assert result.final_output == "done"


@ways
async def test_a_tool_that_failed_beside_a_finished_one_runs_again_and_the_finished_one_does_not(way):
    paid: list[str] = []
    once = Once()

    @function_tool
    async def pay(to: str) -> str:
        """Pay."""
        paid.append(to)
        return "paid"

    @function_tool(failure_error_function=None)
    async def mail(to: str) -> str:
        """Mail."""
        once()
        return "mailed"

    calls = [function_call("pay", {"to": "Ann"}, "c1"), function_call("mail", {"to": "Ann"}, "c2")]
    clerk = agent(calls, "done", tools=[pay, mail])
    error = await caught(way, clerk)
    assert isinstance(error, UserError)
    assert isinstance(error.__cause__, Trouble)
    assert str(error) == "Error running tool mail: first"
    state = await RunState.from_string(clerk, error.run_data.result.to_state().to_string())
    result = await go(way, clerk, state)
    assert result.final_output == "done"
    assert (paid, once.calls) == (["Ann"], 2)
    assert told(result) == ["paid", "mailed"]
    assert len(result.raw_responses) == 2


@ways
async def test_max_turns_is_raised_on_a_resume_that_allows_more(way):
    clerk = agent(adding("c1"), adding("c2"), "done", tools=[add])
    error = await caught(way, clerk, max_turns=1)
    state = error.run_data.result.to_state()
    with pytest.raises(MaxTurnsExceeded, match=r"Max turns \(1\) exceeded"):
        await go(way, clerk, state)
    error = await caught(way, clerk, error.run_data.result.to_state(), max_turns=2)
    assert error.message == "Max turns (2) exceeded"
    assert len(error.run_data.raw_responses) == 2
    state = error.run_data.result.to_state()
    state.max_turns = None
    result = await go(way, clerk, state)
    assert (result.final_output, len(result.raw_responses)) == ("done", 3)


@ways
async def test_an_unknown_tool_is_the_models_behaviour_and_the_model_is_asked_again_on_a_resume(way):
    clerk = in_turn(function_call("nobody", {}, "c1"), "done", name="A")
    error = await caught(way, clerk)
    assert isinstance(error, ModelBehaviorError)
    assert error.message == "Tool nobody not found in agent A"
    result = await go(way, clerk, error.run_data.result.to_state())
    assert result.final_output == "done"


class City(BaseModel):
    name: str


@ways
async def test_invalid_output_is_the_models_behaviour_and_is_asked_again_on_a_resume(way):
    clerk = in_turn("no json", '{"name": "Bern"}', output_type=City)
    error = await caught(way, clerk, run_config={"reasks": 0})
    assert isinstance(error, ModelBehaviorError)
    assert "City" in error.message
    result = await go(way, clerk, error.run_data.result.to_state())
    assert result.final_output == City(name="Bern")


@ways
async def test_a_refusal_ends_the_run_with_what_the_model_said(way):
    clerk = in_turn(refusal("I can't"))
    error = await caught(way, clerk)
    assert isinstance(error, ModelRefusalError)
    assert error.refusal == "I can't"
    assert [item.type for item in error.run_data.new_items] == ["message_output_item"]
    handler = {"model_refusal": lambda data: "instead"}
    result = await go(way, clerk, error.run_data.result.to_state(), error_handlers=handler)
    assert result.final_output == "instead"


@ways
async def test_bad_arguments_of_a_handoff_are_the_models_behaviour_and_the_state_goes_on(way):
    other = in_turn("done", name="B")

    class Reason(BaseModel):
        why: str

    there = handoff(other, on_handoff=lambda ctx, reason: None, input_type=Reason)
    clerk = agent(function_call("transfer_to_b", "{", "h1"), handoffs=[there])
    error = await caught(way, clerk)
    assert isinstance(error, ModelBehaviorError)
    assert error.run_data.last_agent is clerk
    assert error.run_data.result.to_state().standing == "failed"


@ways
async def test_a_tools_timeout_that_is_raised_carries_run_data(way):
    slow = True

    @function_tool(timeout=0.01, timeout_behavior="raise_exception")
    async def act(x: int) -> str:
        """Act."""
        if slow:
            await asyncio.sleep(5)
        return "acted"

    clerk = agent(function_call("act", {"x": 1}, "c1"), "done", tools=[act])
    error = await caught(way, clerk)
    assert isinstance(error, ToolTimeoutError)
    assert (error.tool_name, error.timeout_seconds) == ("act", 0.01)
    state = error.run_data.result.to_state()
    slow = False
    assert (await go(way, clerk, state)).final_output == "done"


# --- tripwires are final ----------------------------------------------------------------------------------------------


def tripping(kind: str) -> tuple[Agent, type[AgentsException]]:
    @input_guardrail(run_in_parallel=kind == "parallel input")
    async def on_input(ctx, agent, input):
        return GuardrailFunctionOutput("why", kind.endswith(" input"))

    @output_guardrail
    async def on_output(ctx, agent, output):
        return GuardrailFunctionOutput("why", kind == "output")

    @tool_input_guardrail
    async def before(data):
        made = ToolGuardrailFunctionOutput
        return made.raise_exception("why") if kind == "before a tool" else made.allow()

    @tool_output_guardrail
    async def after(data):
        made = ToolGuardrailFunctionOutput
        return made.raise_exception("why") if kind == "after a tool" else made.allow()

    @function_tool(tool_input_guardrails=[before], tool_output_guardrails=[after])
    async def act(x: int) -> str:
        """Act."""
        return "acted"

    raised = {
        "parallel input": InputGuardrailTripwireTriggered, "blocking input": InputGuardrailTripwireTriggered,
        "output": OutputGuardrailTripwireTriggered, "before a tool": ToolInputGuardrailTripwireTriggered,
        "after a tool": ToolOutputGuardrailTripwireTriggered,
    }  # fmt: skip
    clerk = agent(function_call("act", {"x": 1}, "c1"), "done", tools=[act], input_guardrails=[on_input],
                  output_guardrails=[on_output])  # fmt: skip
    return clerk, raised[kind]


@ways
@pytest.mark.parametrize("kind", ["parallel input", "blocking input", "output", "before a tool", "after a tool"])
async def test_a_tripwire_carries_its_guardrail_and_run_data_and_is_final(way, kind):
    clerk, cls = tripping(kind)
    error = await caught(way, clerk)
    assert type(error) is cls
    if kind.endswith("tool"):
        assert error.output.output_info == "why"
        assert error.guardrail.get_name() in ("before", "after")
    else:
        assert error.guardrail_result.output.output_info == "why"
        assert error.guardrail_result.output.tripwire_triggered
    assert isinstance(error.run_data, RunErrorDetails)
    results = [*error.run_data.input_guardrail_results, *error.run_data.output_guardrail_results]
    tools = [*error.run_data.tool_input_guardrail_results, *error.run_data.tool_output_guardrail_results]
    assert "why" in [one.output.output_info for one in (tools if kind.endswith("tool") else results)]
    assert error.run_data.result.final_output is None
    state = error.run_data.result.to_state()
    assert state.standing == "done"
    with pytest.raises(UserError, match=r"tripwire.*fork"):
        await go(way, clerk, state)


async def test_going_on_from_a_tripwire_is_a_fork():
    clerk, _ = tripping("output")
    error = await caught("run", clerk)
    run = error.run_data.result.run
    asked = next(fact.seq for fact in run.facts if getattr(fact, "to", None) == "run_tools")
    clerk.output_guardrails.clear()
    fork = await run.fork(asked)
    assert (await fork).output == "done"
    assert run.standing == "done"


# --- an exception that isn't flowcore's -------------------------------------------------------------------------------


@ways
@pytest.mark.parametrize("parallel", [True, False])
async def test_hooks_hear_of_a_turn_that_guardrails_of_joining_input_came_before(way, parallel):
    heard: list[str] = []

    class Hooks(RunHooks):
        async def on_llm_start(self, context, agent, system_prompt, input_items):
            heard.append("llm")

    @input_guardrail(run_in_parallel=parallel)
    async def judge(ctx, agent, input):
        return GuardrailFunctionOutput(None, False)

    clerk = agent(Trouble("down"), input_guardrails=[judge])
    error = await caught(way, clerk, hooks=Hooks())
    state = error.run_data.result.to_state()
    state.add_input("more")
    clerk.model = ScriptedModel(["done"])
    assert (await go(way, clerk, state, hooks=Hooks())).final_output == "done"
    assert heard == ["llm", "llm"]


@ways
async def test_an_exception_with_slots_is_raised_as_it_is(way):
    class Tight(ValueError):
        __slots__ = ()

    error = await caught(way, in_turn(Tight("tight"), "done"))
    assert isinstance(error, Tight)


@ways
async def test_the_same_exception_object_raised_by_two_runs_carries_the_last_ones_data(way):
    shared = Trouble("shared")
    first = await caught(way, in_turn(shared), "one")
    second = await caught(way, in_turn(shared), "two")
    assert first is second is shared
    assert shared.run_data.input == "two"


@ways
async def test_a_failure_seen_in_another_process_says_what_it_was(way):
    store = MemoryStore()
    clerk = in_turn(Trouble("down"), Trouble("still down"), "done")
    error = await caught(way, clerk, store=store, run_id="r")
    assert error.run_data.result.run_id == "r"
    row = await store.get("r")
    assert (row.standing, row.error) == ("failed", "Trouble: down")


# --- error handlers ---------------------------------------------------------------------------------------------------


@ways
@pytest.mark.parametrize("answer", ["plain", "dict", "result", "async"])
async def test_a_max_turns_handler_gives_the_output_as_a_value_a_dict_or_a_result(way, answer):
    seen: list[RunErrorHandlerInput] = []

    def handle(data: RunErrorHandlerInput) -> Any:
        seen.append(data)
        made = {"plain": "gave up", "dict": {"final_output": "gave up"}, "result": RunErrorHandlerResult("gave up")}
        return made.get(answer, "gave up")

    async def handle_later(data: RunErrorHandlerInput) -> Any:
        return handle(data)

    clerk = agent(adding(), "3", tools=[add])
    handler = handle_later if answer == "async" else handle
    result = await go(way, clerk, max_turns=1, error_handlers={"max_turns": handler})
    assert result.final_output == "gave up"
    (data,) = seen
    assert isinstance(data.error, MaxTurnsExceeded)
    assert data.context is result.context_wrapper
    assert data.run_data.input in ("go", [{"role": "user", "content": "go"}])
    assert [item.type for item in data.run_data.new_items] == ["tool_call_item", "tool_call_output_item"]
    assert [item.get("type") for item in data.run_data.output] == ["function_call", "function_call_output"]
    assert len(data.run_data.history) == 3
    assert len(data.run_data.raw_responses) == 1
    assert data.run_data.last_agent is clerk
    assert [item.type for item in result.new_items][-1] == "message_output_item"  # include_in_history


@ways
async def test_a_handlers_output_stays_out_of_the_history_where_it_says_so(way):
    answer = RunErrorHandlerResult("gave up", include_in_history=False)
    clerk = agent(adding(), "3", tools=[add])
    store = MemoryStore()
    result = await go(
        way, clerk, max_turns=1, error_handlers={"max_turns": lambda data: answer}, store=store, session="s"
    )
    assert result.final_output == "gave up"
    assert [item.type for item in result.new_items] == ["tool_call_item", "tool_call_output_item"]
    assert len(await store.session_items("s")) == 3


@ways
async def test_a_handlers_message_is_in_the_session_and_hooks_and_output_guardrails_run_on_it(way):
    heard: list[Any] = []

    class Hooks(RunHooks):
        async def on_agent_end(self, context, agent, output):
            heard.append(("end", output))

    @output_guardrail
    async def judge(ctx, agent, output):
        heard.append(("judge", output))
        return GuardrailFunctionOutput(None, False)

    store = MemoryStore()
    clerk = agent(adding(), "3", tools=[add], output_guardrails=[judge])
    await go(
        way,
        clerk,
        max_turns=1,
        error_handlers={"max_turns": lambda data: "gave up"},
        hooks=Hooks(),
        store=store,
        session="s",
    )
    assert heard == [("judge", "gave up"), ("end", "gave up")]
    items = [one.item for one in await store.session_items("s")]
    assert items[-1]["content"][0]["text"] == "gave up"


@ways
async def test_a_handler_that_says_nothing_lets_the_error_be_raised(way):
    error = await caught(way, agent("hi"), max_turns=0, error_handlers={"max_turns": lambda data: None})
    assert isinstance(error, MaxTurnsExceeded)


@ways
async def test_a_handlers_output_is_held_against_the_output_type(way):
    clerk = agent(adding(), "3", tools=[add], output_type=City)
    handlers = {"max_turns": lambda data: City(name="Bern")}
    assert (await go(way, clerk, max_turns=1, error_handlers=handlers)).final_output == City(name="Bern")
    error = await caught(way, clerk, max_turns=1, error_handlers={"max_turns": lambda data: {"final_output": "x"}})
    assert isinstance(error, UserError)
    result = await go(way, clerk, error.run_data.result.to_state(), error_handlers=handlers)
    assert result.final_output == City(name="Bern")


@ways
async def test_an_invalid_final_output_handler_gives_the_output_instead(way):
    clerk = in_turn("no json", output_type=City)
    handlers = {"invalid_final_output": lambda data: City(name="Bern")}
    result = await go(way, clerk, run_config={"reasks": 0}, error_handlers=handlers)
    assert result.final_output == City(name="Bern")


@ways
async def test_a_refusal_handler_gives_the_output_instead(way):
    result = await go(
        way, in_turn(refusal("no")), error_handlers={"model_refusal": lambda data: data.error.refusal + "!"}
    )
    assert result.final_output == "no!"


@ways
async def test_a_handler_that_raises_ends_the_run_and_the_state_goes_on(way):
    once = Once()

    def handle(data: Any) -> str:
        once()
        return "gave up"

    clerk = agent("hi")
    error = await caught(way, clerk, max_turns=0, error_handlers={"max_turns": handle})
    assert error is once.error
    result = await go(way, clerk, error.run_data.result.to_state(), error_handlers={"max_turns": handle})
    assert result.final_output == "gave up"


async def test_an_error_handler_of_another_name_is_refused():
    with pytest.raises(UserError, match="'tool_failed'"):
        await Runner.run(agent("hi"), "go", error_handlers={"tool_failed": lambda data: "x"})


async def test_the_state_of_a_failed_run_can_be_taken_more_than_once():
    once = Once()
    clerk, _ = fails_in_a_tool(once)
    error = await caught("run", clerk)
    first, second = error.run_data.result.to_state(), error.run_data.result.to_state()
    results: list[RunResult] = [await Runner.run(clerk, one) for one in (first, second)]
    assert [one.final_output for one in results] == ["done", "done"]
