"""The agent loop: the table it is, and the paths that replies take through it."""

import asyncio
import dataclasses
from typing import Any

import pytest
from agents_making import agent, begin, function_call, labels, outputs, transitions
from pydantic import BaseModel

from flowcore import (
    Agent,
    AgentsException,
    BudgetExceeded,
    FunctionTool,
    MaxTurnsExceeded,
    MemoryStore,
    MessageOutputItem,
    ModelBehaviorError,
    ModelError,
    ModelRefusalError,
    ModelSettings,
    Options,
    RunConfig,
    RunErrorHandlerResult,
    Runner,
    ToolsToFinalOutputResult,
    Usage,
    UserError,
    function_tool,
    handoff,
)
from flowcore.machine.wire import encode
from flowcore.models.settings import ModelRetryBackoffSettings, ModelRetrySettings
from flowcore.testing import ManualClock, ModelStep, ScriptedModel, message, refusal

TABLE = """
START                       -> prepare
prepare ready               -> input_guardrails
input_guardrails passed     -> call_model
input_guardrails tripped    -> blocked
call_model tool_calls       -> run_tools
call_model handoff          -> handoff
call_model output           -> output_guardrails
call_model again            -> call_model
call_model invalid_output   -> call_model
call_model retry            -> call_model (continues)
call_model refused          -> refusal
call_model tripped          -> blocked
call_model limit            -> max_turns
call_model over_budget      -> over_budget
refusal handled             -> output_guardrails
max_turns handled           -> output_guardrails
max_turns extended          -> call_model
over_budget handled         -> output_guardrails
over_budget extended        -> call_model
run_tools done              -> call_model
run_tools final             -> output_guardrails
run_tools handoff           -> handoff
run_tools needs_decision    -> await_decision
run_tools tripped           -> blocked
await_decision decided      -> run_tools (continues)
handoff done                -> call_model
output_guardrails passed    -> finalize
output_guardrails tripped   -> blocked
finalize                    -> END
blocked                     -> END
"""
"""The house plan's table, row by row."""


@function_tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@function_tool
async def note(text: str) -> str:
    """Write something down."""
    return f"noted {text}"


# --- the table --------------------------------------------------------------------------------------------------------


def test_the_graph_of_an_agent_is_the_table_of_the_house_plan():
    plain = {"START", "finalize", "blocked"}  # their only edge needs no name
    rows = {
        (edge.source, "" if edge.source in plain else edge.on, edge.target, edge.continues)
        for edge in Agent(name="A").graph.edges
    }
    wanted = set()
    for row in TABLE.strip().splitlines():
        left, right = (side.split() for side in row.split("->"))
        wanted.add((left[0], left[1] if len(left) > 1 else "", right[0], right[1:] == ["(continues)"]))
    assert rows == wanted


def test_the_drawing_tells_of_each_tool_whether_its_calls_are_approved():
    def some(ctx: Any, parameters: dict[str, Any], call_id: str) -> bool:
        return True

    tools = [
        function_tool(lambda: "", name_override=f"tool_{name}", needs_approval=needs)
        for name, needs in (("a", True), ("b", some), ("c", False))
    ]
    drawn = Agent(name="A", tools=tools).graph.mermaid()
    for line in ("tool_a (approval: always)", "tool_b (approval: sometimes)", "tool_c (approval: never)"):
        assert line in drawn
    assert "call_model --> run_tools : tool_calls" in drawn


def test_the_graph_is_made_once_and_anew_when_the_agent_changes():
    one = Agent(name="A", tools=[add])
    first = one.graph
    assert one.graph is first
    one.tools.append(note)
    assert "note (approval: never)" in one.graph.mermaid()


# --- plain answers and tools ------------------------------------------------------------------------------------------


async def test_a_plain_answer_walks_straight_through():
    result = await Runner.run(agent("hello"), "hi")
    assert result.final_output == "hello"
    assert labels(result.run) == [
        "prepare:ready",
        "input_guardrails:passed",
        "call_model:output",
        "output_guardrails:passed",
        "finalize:done",
    ]


async def test_an_empty_answer_of_a_text_agent_ends_the_run():
    assert (await Runner.run(agent(message("")), "hi")).final_output == ""


async def test_a_reply_without_a_message_is_asked_for_again():
    reasoning = {"type": "reasoning", "id": "r", "summary": []}
    clerk = Agent(name="A", model=ScriptedModel([[reasoning], "now"]))
    result = await Runner.run(clerk, "hi")
    assert result.final_output == "now"
    assert "call_model:again" in labels(result.run)


async def test_calls_of_one_reply_run_together_and_their_outputs_stand_in_the_order_of_the_calls():
    met = asyncio.Barrier(2)

    @function_tool
    async def slow(text: str) -> str:
        """Slow."""
        await met.wait()
        await asyncio.sleep(0.01)
        return text

    @function_tool
    async def fast(text: str) -> str:
        """Fast."""
        await met.wait()
        return text

    reply = [function_call("slow", {"text": "1"}), function_call("fast", {"text": "2"})]
    async with asyncio.timeout(5):
        result = await Runner.run(agent(reply, "done", tools=[slow, fast]), "go")
    assert outputs(result.to_input_list()) == ["1", "2"]
    assert [item.type for item in result.new_items] == [
        "tool_call_item",
        "tool_call_item",
        "tool_call_output_item",
        "tool_call_output_item",
        "message_output_item",
    ]


async def test_an_unknown_tool_fails_the_run_at_its_place_and_a_resume_asks_the_model_again():
    clerk = Agent(name="Clerk", model=ScriptedModel([function_call("nope"), "sorry"]), tools=[add])
    with pytest.raises(ModelBehaviorError, match="Tool nope not found in agent Clerk") as caught:
        await Runner.run(clerk, "go")
    result = caught.value.run_data.result
    assert (result.run.standing, result.run.place) == ("failed", "call_model")
    assert (await result.resume()).final_output == "sorry"


async def test_arguments_that_dont_parse_are_told_to_the_model():
    result = await Runner.run(agent(function_call("add", "{no"), "oh", tools=[add]), "go")
    assert outputs(result.to_input_list())[0].startswith("An error occurred while parsing tool arguments")


async def test_a_tool_that_raises_without_an_error_function_fails_the_run_where_it_stands():
    @function_tool(failure_error_function=None)
    async def broken() -> str:
        """Broken."""
        raise OSError("no disk")

    with pytest.raises(UserError, match="Error running tool broken: no disk") as caught:
        await Runner.run(agent(function_call("broken"), "x", tools=[broken]), "go")
    assert caught.value.run_data.result.run.place == "run_tools"


async def test_a_tool_is_handed_the_run_and_its_call():
    seen = []

    @function_tool
    async def look(ctx: Any, n: int) -> str:
        """Look."""
        return ""

    async def invoke(ctx: Any, arguments: str) -> str:
        seen.append(ctx)
        return "ok"

    tool = FunctionTool("look", "Look.", look.params_json_schema, invoke)
    clerk = agent(function_call("look", {"n": 1}, "c1"), "done", tools=[tool])
    result = await Runner.run(clerk, "go", context={"db": 1}, run_id="r1")
    ctx = seen[0]
    assert (ctx.context, ctx.tool_name, ctx.tool_call_id, ctx.tool_arguments) == ({"db": 1}, "look", "c1", '{"n": 1}')
    assert ctx.agent is clerk
    assert ctx.idempotency_key == "r1/run_tools.1/0:c1"
    assert result.context_wrapper.usage is ctx.usage
    assert ctx.usage.requests == 2


# --- tool_use_behavior ------------------------------------------------------------------------------------------------


class Sum(BaseModel):
    total: int


@function_tool
async def sums(a: int, b: int) -> Sum:
    """Add."""
    return Sum(total=a + b)


CALL = function_call("add", {"a": 1, "b": 2})


async def test_stop_on_first_tool_makes_its_output_the_runs():
    clerk = agent(CALL, "never", tools=[add], tool_use_behavior="stop_on_first_tool")
    result = await Runner.run(clerk, "go")
    assert result.final_output == "3"
    assert "run_tools:final" in labels(result.run)


async def test_stop_at_tool_names_ends_with_the_named_tool_only():
    reply = [CALL, function_call("note", {"text": "x"})]
    stopping = agent(CALL, reply, tools=[add, note], tool_use_behavior={"stop_at_tool_names": ["note"]})
    result = await Runner.run(stopping, "go")
    assert result.final_output == "noted x"
    assert labels(result.run).count("run_tools:done") == 1


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_function_decides_whether_tools_end_the_run(is_async):
    def decide(ctx, results):
        total = results[0].output
        return ToolsToFinalOutputResult(total > 3, total * 10)

    async def decide_async(ctx, results):
        return decide(ctx, results)

    steps = [CALL, function_call("add", {"a": 3, "b": 4}), "never"]
    clerk = agent(*steps, tools=[add], tool_use_behavior=decide_async if is_async else decide)
    assert (await Runner.run(clerk, "go")).final_output == "70"


async def test_a_tools_value_that_ends_the_run_is_of_the_output_type():
    clerk = agent(function_call("sums", {"a": 1, "b": 2}), tools=[sums], output_type=Sum)
    clerk.tool_use_behavior = "stop_on_first_tool"
    assert (await Runner.run(clerk, "go")).final_output == Sum(total=3)


async def test_a_function_that_decides_and_raises_doesnt_make_the_tool_run_twice():
    paid = []

    @function_tool
    async def pay() -> str:
        """Pay."""
        paid.append(1)
        return "paid"

    def decide(ctx, results):
        if len(paid) == 1 and not decided:
            decided.append(1)
            raise RuntimeError("not now")
        return ToolsToFinalOutputResult(True, results[0].output)

    decided = []
    clerk = agent(function_call("pay"), tools=[pay], tool_use_behavior=decide)
    run = await begin(clerk)
    assert run.standing == "failed"
    assert (await (await run.resume())).output == "paid"
    assert paid == [1]


# --- output types -----------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Point:
    x: int
    y: int


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Sum, '{"total": 3}', Sum(total=3)),
        (list[int], '{"response": [1, 2]}', [1, 2]),
        (Point, '{"response": {"x": 1, "y": 2}}', Point(1, 2)),
    ],
)
async def test_output_is_of_the_declared_type(kind, text, value):
    result = await Runner.run(agent(text, output_type=kind), "go")
    assert result.final_output == value
    assert result.final_output_as(type(value), raise_if_incorrect_type=True) == value
    with pytest.raises(TypeError, match="Final output is not of type str"):
        result.final_output_as(str, raise_if_incorrect_type=True)


async def test_invalid_output_is_asked_for_again_with_the_error():
    model = ScriptedModel(["{}", '{"total": 1}'])
    result = await Runner.run(Agent(name="A", model=model, output_type=Sum), "go")
    assert result.final_output == Sum(total=1)
    assert "call_model:invalid_output" in labels(result.run)
    assert "isn't a valid Sum" in model.calls[1].input[-1]["content"]


@pytest.mark.parametrize(("reasks", "calls"), [(0, 1), (2, 3)])
async def test_asking_again_is_bounded(reasks, calls):
    model = ScriptedModel(["{}"] * 9)
    with pytest.raises(ModelBehaviorError, match="Invalid JSON when parsing model output for Sum"):
        await Runner.run(Agent(name="A", model=model, output_type=Sum), "go", run_config={"reasks": reasks})
    assert len(model.calls) == calls


@pytest.mark.parametrize("nothing", [message(""), []])
async def test_an_empty_reply_of_a_typed_agent_takes_another_turn(nothing):
    model = ScriptedModel([nothing, '{"total": 1}'])
    result = await Runner.run(Agent(name="A", model=model, output_type=Sum), "go")
    assert result.final_output == Sum(total=1)
    assert "call_model:again" in labels(result.run)


async def test_an_output_type_set_later_counts():
    clerk = agent('{"total": 3}')
    clerk.output_type = Sum
    assert (await Runner.run(clerk, "go")).final_output == Sum(total=3)


# --- refusals, limits, budgets ----------------------------------------------------------------------------------------


async def test_a_refusal_is_an_error_of_the_models():
    with pytest.raises(ModelRefusalError) as caught:
        await Runner.run(agent(refusal("I won't")), "go")
    assert caught.value.refusal == "I won't"
    assert caught.value.run_data.result.run.place == "refusal"


async def test_a_handler_makes_an_output_of_a_refusal():
    seen = []

    async def handle(given):
        seen.append(given)
        return {"final_output": "declined"}

    clerk = agent(refusal("I won't"))
    result = await Runner.run(clerk, "go", error_handlers={"model_refusal": handle})
    assert result.final_output == "declined"
    assert isinstance(seen[0].error, ModelRefusalError)
    assert seen[0].run_data.last_agent is clerk
    assert seen[0].run_data.input == "go"
    assert result.to_input_list()[-1]["content"][0]["text"] == "declined"


async def test_what_a_handler_leaves_out_of_the_history_isnt_in_it():
    answer = RunErrorHandlerResult("over", include_in_history=False)
    result = await Runner.run(agent(), "go", max_turns=0, error_handlers={"max_turns": lambda given: answer})
    assert result.final_output == "over"
    assert len(result.to_input_list()) == 1


async def test_no_turn_at_all_is_no_model_call():
    model = ScriptedModel(["x"])
    with pytest.raises(MaxTurnsExceeded, match=r"Max turns \(0\) exceeded"):
        await Runner.run(Agent(name="A", model=model), "go", max_turns=0)
    assert model.calls == []


async def test_a_run_whose_turns_are_used_up_goes_on_with_a_higher_limit():
    clerk = agent(CALL, CALL, "done", tools=[add])
    with pytest.raises(MaxTurnsExceeded, match=r"Max turns \(2\) exceeded") as caught:
        await Runner.run(clerk, "go", max_turns=2)
    data = caught.value.run_data
    assert [item.type for item in data.new_items] == ["tool_call_item", "tool_call_output_item"] * 2
    assert (len(data.raw_responses), data.last_agent) == (2, clerk)
    with pytest.raises(MaxTurnsExceeded, match=r"Max turns \(2\) exceeded"):
        await data.result.resume()
    result = await data.result.resume(limits={"max_turns": 3})
    assert (result.final_output, result.max_turns) == ("done", 3)
    assert "max_turns:extended" in labels(result.run)


async def test_a_handler_of_used_up_turns_gives_the_output():
    clerk = agent(CALL, CALL, tools=[add])
    result = await Runner.run(clerk, "go", max_turns=1, error_handlers={"max_turns": lambda given: "enough"})
    assert result.final_output == "enough"


async def test_an_unknown_error_handler_is_refused():
    with pytest.raises(UserError, match="error_handlers has no 'tool_failure'"):
        await Runner.run(agent("x"), "go", error_handlers={"tool_failure": print})


async def test_a_used_up_budget_stops_the_run_before_the_next_call():
    used = Usage(requests=1, input_tokens=30, output_tokens=30, total_tokens=60)
    clerk = agent(ModelStep(CALL, usage=used), ModelStep("done", usage=used), tools=[add])
    with pytest.raises(BudgetExceeded, match=r"max_tokens=50 is used up \(60\)") as caught:
        await Runner.run(clerk, "go", limits={"max_tokens": 50})
    result = caught.value.run_data.result
    assert result.run.place == "over_budget"
    assert result.context_wrapper.usage.total_tokens == 60
    result = await result.resume(limits={"max_tokens": 100})
    assert result.final_output == "done"
    assert result.context_wrapper.usage.total_tokens == 120


@pytest.mark.parametrize("limits", [{"max_tokns": 5}, {"retries": 2}])
async def test_a_limit_that_nothing_counts_is_refused(limits):
    with pytest.raises(UserError, match="no limit is called"):
        await Runner.run(agent("x"), "go", limits=limits)


async def test_without_a_model_one_is_told_how_to_configure_it(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "FLOWCORE_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("flowcore.models.provider.missing_parts", lambda: ["xllamacpp"])
    with pytest.raises(UserError, match="no model configured"):
        await Runner.run(Agent(name="A"), "go")


# --- provider errors --------------------------------------------------------------------------------------------------


def flaky(*errors: BaseException) -> ScriptedModel:
    return ScriptedModel([*errors, "fine"])


def busy(**more: Any) -> ModelError:
    return ModelError("busy", status_code=503, retryable=True, **more)


async def test_a_provider_that_fails_twice_is_asked_a_third_time():
    clock = ManualClock()
    run = await begin(Agent(name="A", model=flaky(busy(), busy())), clock=clock)
    assert run.standing == "done"
    retries = [fact for fact in transitions(run, "call_model") if fact.on == "retry"]
    assert [fact.attempt for fact in retries] == [1, 2]
    assert [fact.error["status_code"] for fact in retries] == [503, 503]
    first, second = (fact.not_before - fact.at for fact in retries)
    assert 0.4 <= first <= 0.6
    assert 0.8 <= second <= 1.2
    assert clock.waits == [fact.not_before for fact in retries]
    assert transitions(run, "call_model")[-1].attempt == 3


async def test_a_provider_says_how_long_to_wait():
    clock = ManualClock()
    run = await begin(Agent(name="A", model=flaky(busy(retry_after=20.0))), clock=clock)
    assert clock.waits[0] - transitions(run, "call_model")[0].at == 20.0


async def test_a_third_failure_is_the_runs_and_a_resume_tries_once_more():
    run = await begin(Agent(name="A", model=flaky(busy(), busy(), busy(), busy())), clock=ManualClock())
    assert (run.standing, run.place) == ("failed", "call_model")
    await (await run.resume()).drive()
    assert run.standing == "failed"
    await (await run.resume()).drive()
    assert run.standing == "done"


async def test_a_bad_request_isnt_tried_again():
    model = flaky(ModelError("bad", status_code=400))
    run = await begin(Agent(name="A", model=model), clock=ManualClock())
    assert run.standing == "failed"
    assert len(model.calls) == 1


@pytest.mark.parametrize(("retry", "calls"), [(ModelRetrySettings(max_retries=0), 1), ({"max_retries": 4}, 5), ({}, 1)])
async def test_settings_say_how_often_it_is_tried_again(retry, calls):
    model = ScriptedModel(lambda asked: busy())
    settings = ModelSettings(retry=retry)
    run = await begin(Agent(name="A", model=model, model_settings=settings), clock=ManualClock())
    assert run.standing == "failed"
    assert len(model.calls) == calls


async def test_settings_say_how_long_to_wait_and_a_policy_whether_to_try_again():
    clock = ManualClock()
    retry = ModelRetrySettings(
        max_retries=5,
        backoff=ModelRetryBackoffSettings(initial_delay=3, max_delay=5, jitter=False),
        policy=lambda asked: asked.normalized.status_code != 400,
    )
    model = flaky(busy(), busy(), ModelError("bad", status_code=400))
    run = await begin(Agent(name="A", model=model, model_settings=ModelSettings(retry=retry)), clock=clock)
    assert run.standing == "failed"
    retries = [fact for fact in transitions(run, "call_model") if fact.on == "retry"]
    assert [fact.not_before - fact.at for fact in retries] == [3, 5]


async def test_only_the_models_own_errors_are_tried_again():
    asked = []

    def instructions(ctx, agent):
        asked.append(1)
        raise OSError("no file")

    run = await begin(agent("x", instructions=instructions), clock=ManualClock())
    assert run.standing == "failed"
    assert asked == [1]


# --- what is resolved each turn ---------------------------------------------------------------------------------------


async def test_a_forced_tool_is_forced_only_until_one_was_used():
    model = ScriptedModel([CALL, "done", CALL, "done"])
    clerk = Agent(name="A", model=model, tools=[add], model_settings=ModelSettings(tool_choice="required"))
    await Runner.run(clerk, "go")
    assert [call.model_settings.tool_choice for call in model.calls] == ["required", None]
    clerk.reset_tool_choice = False
    await Runner.run(clerk, "go")
    assert model.calls[-1].model_settings.tool_choice == "required"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("Be brief.", "Be brief."),
        (["Be brief.", "Be kind."], "- Be brief.\n- Be kind."),
        (lambda ctx, agent: f"{agent.name} serves {ctx.context}", "A serves Ann"),
        (None, None),
    ],
)
async def test_instructions_are_a_text_texts_or_a_function(given, text):
    model = ScriptedModel(["x"])
    await Runner.run(Agent(name="A", model=model, instructions=given), "go", context="Ann")
    assert model.calls[0].system_instructions == text


async def test_instructions_are_asked_for_at_every_turn_and_may_be_async():
    async def instructions(ctx, agent):
        return f"{ctx.usage.requests} so far, {len(ctx.turn_input)} items"

    model = ScriptedModel([CALL, "done"])
    await Runner.run(Agent(name="A", model=model, instructions=instructions, tools=[add]), "go")
    assert [call.system_instructions for call in model.calls] == ["0 so far, 1 items", "1 so far, 3 items"]


async def test_tools_and_handoffs_that_arent_enabled_arent_offered():
    async def ready(ctx, agent):
        return ctx.usage.requests > 0

    model = ScriptedModel([CALL, "done"])
    later = function_tool(lambda: "", name_override="later", is_enabled=ready)
    other = Agent(name="Other")
    clerk = Agent(name="A", model=model, tools=[add, later], handoffs=[handoff(other, is_enabled=ready)])
    await Runner.run(clerk, "go")
    assert [[tool.name for tool in call.tools] for call in model.calls] == [["add"], ["add", "later"]]
    assert [len(call.handoffs) for call in model.calls] == [0, 1]


async def test_a_call_of_a_tool_that_isnt_enabled_is_the_models_error():
    hidden = function_tool(lambda: "", name_override="hidden", is_enabled=False)
    with pytest.raises(ModelBehaviorError, match="Tool hidden not found in agent Clerk"):
        await Runner.run(agent(function_call("hidden"), tools=[hidden]), "go")


async def test_the_runs_config_goes_before_the_agents_own():
    own, runs = ScriptedModel(["own"]), ScriptedModel(["run's"])
    clerk = Agent(name="A", model=own, model_settings=ModelSettings(temperature=0.1, top_p=0.5))
    config = RunConfig(model=runs, model_settings=ModelSettings(temperature=0.9))
    assert (await Runner.run(clerk, "go", run_config=config)).final_output == "run's"
    settings = runs.calls[0].model_settings
    assert (settings.temperature, settings.top_p) == (0.9, 0.5)


# --- handoffs ---------------------------------------------------------------------------------------------------------

TO_B = function_call("transfer_to_b")


def pair(*steps: Any, **handing: Any) -> tuple[Agent, Agent, ScriptedModel]:
    """Agent A that hands off to B, on one script."""
    model = ScriptedModel(list(steps))
    b = Agent(name="B", model=model, instructions="I am B")
    return Agent(name="A", model=model, instructions="I am A", handoffs=[handoff(b, **handing)]), b, model


async def test_a_handoff_gives_the_conversation_to_another_agent():
    a, b, model = pair(TO_B, "b here")
    result = await Runner.run(a, "go")
    assert result.final_output == "b here"
    assert result.last_agent is b
    assert [call.system_instructions for call in model.calls] == ["I am A", "I am B"]
    assert outputs(model.calls[1].input) == ['{"assistant": "B"}']
    assert "call_model:handoff" in labels(result.run)


async def test_of_several_handoffs_the_first_is_taken_and_the_others_are_told_so():
    model = ScriptedModel([[function_call("transfer_to_c"), TO_B], "c here"])
    b, c = Agent(name="B", model=model), Agent(name="C", model=model)
    result = await Runner.run(Agent(name="A", model=model, handoffs=[b, c]), "go")
    assert result.last_agent is c
    assert outputs(result.to_input_list()) == [
        '{"assistant": "C"}',
        "Multiple handoffs detected, ignoring this one.",
    ]
    assert [item.type for item in result.new_items[:4]] == [
        "handoff_call_item",
        "handoff_call_item",
        "handoff_output_item",
        "tool_call_output_item",
    ]
    moved = result.new_items[2]
    assert (moved.source_agent.name, moved.target_agent.name) == ("A", "C")


async def test_tools_of_a_reply_that_hands_off_run_first():
    a, b, _ = pair([TO_B, CALL], "b here")
    a.tools.append(add)
    result = await Runner.run(a, "go")
    assert result.last_agent is b
    assert outputs(result.to_input_list()) == ["3", '{"assistant": "B"}']
    assert [label for label in labels(result.run) if "handoff" in label] == ["run_tools:handoff", "handoff:done"]


async def test_a_handoffs_input_is_validated_and_handed_to_its_function():
    seen = []

    class Reason(BaseModel):
        why: str

    async def note_it(ctx, reason):
        seen.append((ctx.context, reason))

    a, b, _ = pair(function_call("transfer_to_b", {"why": "angry"}), "b", on_handoff=note_it, input_type=Reason)
    result = await Runner.run(a, "go", context="app")
    assert seen == [("app", Reason(why="angry"))]
    assert result.last_agent is b


async def test_a_handoff_with_bad_input_is_the_models_error():
    class Reason(BaseModel):
        why: str

    a, _, _ = pair(function_call("transfer_to_b", {}), on_handoff=lambda ctx, reason: None, input_type=Reason)
    with pytest.raises(ModelBehaviorError, match="handoff to 'B' was called with invalid input"):
        await Runner.run(a, "go")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_type": Sum}, "You must provide on_handoff when input_type is provided"),
        ({"on_handoff": lambda: None}, "on_handoff must take one argument: context"),
        ({"on_handoff": lambda ctx: None, "input_type": Sum}, "on_handoff must take two arguments: context and input"),
    ],
)
def test_a_handoff_that_cant_be_called_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        handoff(Agent(name="B"), **arguments)


async def test_a_filter_chooses_what_the_next_agent_sees_and_copies_nothing():
    long = "x" * 10_000

    def without_tools(data):
        def keep(items):
            return tuple(item for item in items if isinstance(item, MessageOutputItem))

        assert data.input_history == long
        return data.clone(
            pre_handoff_items=keep(data.pre_handoff_items),
            new_items=keep(data.new_items),
        )

    a, b, model = pair(CALL, TO_B, CALL, "b here", input_filter=without_tools)
    a.tools.append(add)
    b.tools.append(add)
    result = await Runner.run(a, long)
    assert result.final_output == "b here"
    assert model.calls[2].input == [{"role": "user", "content": long}]
    assert outputs(model.calls[3].input) == ["3"]  # what came after the handoff
    assert len(result.to_input_list()) == 8  # everything that happened
    fact = transitions(result.run, "handoff")[0]
    assert len(encode(fact).payload) < 500


async def test_a_filter_that_keeps_everything_writes_positions_only():
    a, _, model = pair(TO_B, "b here", input_filter=lambda data: data)
    result = await Runner.run(a, "y" * 10_000)
    assert [len(call.input) for call in model.calls] == [1, 3]
    assert len(encode(transitions(result.run, "handoff")[0]).payload) < 400


async def test_a_filter_may_put_new_items_in():
    def brief(data):
        return data.clone(input_history=({"role": "user", "content": "short"},), pre_handoff_items=(), new_items=())

    a, _, model = pair(TO_B, "b here", input_filter=brief)
    await Runner.run(a, "long")
    assert model.calls[1].input == [{"role": "user", "content": "short"}]


async def test_a_filter_that_raises_doesnt_make_the_handoff_happen_twice():
    moved, failed = [], []

    def filtering(data):
        if not failed:
            failed.append(1)
            raise RuntimeError("no")
        return data

    a, _, _ = pair(TO_B, "b here", on_handoff=lambda ctx: moved.append(1), input_filter=filtering)
    run = await begin(a)
    assert (run.standing, run.place) == ("failed", "handoff")
    assert (await (await run.resume())).output == "b here"
    assert moved == [1]


async def test_a_filter_that_gives_something_else_is_refused():
    a, _, _ = pair(TO_B, "b here", input_filter=lambda data: [])
    with pytest.raises(UserError, match=r"Invalid input filter result: \[\] \(list\)"):
        await Runner.run(a, "go")


def test_two_agents_of_one_name_cant_hand_off_to_each_other():
    with pytest.raises(UserError, match="two agents are called 'B'"):
        _ = Agent(name="A", handoffs=[Agent(name="B"), Agent(name="B")]).graph


def test_what_an_agent_may_call_has_different_names():
    b = Agent(name="B b")
    with pytest.raises(UserError, match="several handoffs are called 'transfer_to_b_b'"):
        _ = Agent(name="A", handoffs=[b, Agent(name="b-b")]).graph
    with pytest.raises(UserError, match="two tools called 'add'"):
        Agent(name="A", tools=[add, add])


async def test_agents_may_hand_off_to_each_other_and_back():
    model = ScriptedModel([TO_B, function_call("transfer_to_a"), "a again"])
    a, b = Agent(name="A", model=model), Agent(name="B", model=model)
    a.handoffs.append(b)
    b.handoffs.append(a)
    result = await Runner.run(a, "go")
    assert result.last_agent is a
    assert result.final_output == "a again"


# --- declaring --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"name": 3}, TypeError, "name must be a string"),
        ({"instructions": 3}, TypeError, "instructions must be"),
        ({"instructions": lambda ctx: ""}, TypeError, "takes exactly 2 arguments"),
        ({"tools": add}, TypeError, "tools must be a list"),
        ({"tools": ["add"]}, UserError, "is no tool"),
        ({"model": 3}, TypeError, "model must be"),
        ({"model_settings": 3}, TypeError, "model_settings must be"),
        ({"tool_use_behavior": "stop"}, TypeError, "tool_use_behavior 'stop'"),
        ({"nope": 1}, TypeError, "nope"),
    ],
)
def test_a_field_that_cant_be_is_refused(fields, error, words):
    with pytest.raises(error, match=words):
        Agent(**{"name": "A", **fields})


def test_a_clone_is_another_agent():
    one = Agent(name="A", tools=[add], instructions="x")
    other = one.clone(name="B")
    assert (other.name, other.instructions, other.tools is one.tools) == ("B", "x", True)
    assert isinstance(other, Agent)


async def test_a_run_without_a_face_takes_the_apps_own_object():
    seen = []
    clerk = agent("x", instructions=lambda ctx, agent: seen.append(ctx.context) or "")
    run = await begin(clerk, context="app", store=MemoryStore())
    assert run.standing == "done"
    assert seen == ["app"]
    assert (await begin(clerk, context=Options("mine"))).standing == "done"
    assert seen == ["app", "mine"]


async def test_a_tools_own_agents_exception_is_raised_as_it_is():
    class Mine(AgentsException):
        """Mine."""

    @function_tool(failure_error_function=None)
    async def broken() -> str:
        """Broken."""
        raise Mine("no")

    with pytest.raises(Mine):
        await Runner.run(agent(function_call("broken"), tools=[broken]), "go")
