"""§8: function tools with every option, in runs."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from conformance_making import WAYS, agent, caught, decided, delete, deleting, go, in_turn, told
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from flowcore import (
    Agent,
    FunctionTool,
    ModelBehaviorError,
    RunConfig,
    RunContextWrapper,
    Runner,
    RunState,
    ToolContext,
    ToolExecutionConfig,
    ToolOutputFileContent,
    ToolOutputImage,
    ToolOutputText,
    ToolTimeoutError,
    UserError,
    default_tool_error_function,
    function_tool,
    tool_namespace,
)
from flowcore.decorators import tool as tool_alias
from flowcore.testing import function_call

BY_WAY = pytest.mark.parametrize("way", WAYS)
FAILED = "An error occurred while running the tool. Please try again. Error: "


def calling(tool: FunctionTool, arguments: Any = "{}", **fields: Any) -> Agent:
    """An agent that calls the tool once, and then says "done"."""
    return agent(function_call(tool.name, arguments, "c1"), "done", tools=[tool], **fields)


async def output_of(way: str, tool: FunctionTool, arguments: Any = "{}", **more: Any) -> Any:
    """What the model is told of the tool's call."""
    (output,) = told(await go(way, calling(tool, arguments), **more))
    return output


def values(result: Any) -> list[Any]:
    return [item.output for item in result.new_items if item.type == "tool_call_output_item"]


# --- what the model is offered ----------------------------------------------------------------------------------------


@function_tool
def weather(city: Annotated[str, "the city"], days: int = 1, *more: str, unit: str = "C") -> str:
    """Tells the weather.

    Args:
        days: how many days.
    """
    return f"{city} {days} {more} {unit}"


@BY_WAY
async def test_the_model_is_offered_name_description_and_schema(way):
    clerk = agent("done", tools=[weather])
    await go(way, clerk)
    (offered,) = clerk.model.calls[0].tools
    assert (offered.name, offered.description) == ("weather", "Tells the weather.")
    schema = offered.params_json_schema
    assert schema["properties"]["city"]["description"] == "the city"
    assert schema["properties"]["days"]["description"] == "how many days."
    assert schema["properties"]["more"]["type"] == "array"
    assert schema["required"] == ["city", "days", "more", "unit"]
    assert schema["additionalProperties"] is False


@BY_WAY
async def test_arguments_reach_the_function_as_it_declares_them(way):
    given = {"city": "Rome", "days": 2, "more": ["a", "b"], "unit": "F"}
    assert await output_of(way, weather, given) == "Rome 2 ('a', 'b') F"


def test_name_and_description_may_be_overridden_and_the_docstring_left_out():
    def named(x: int) -> int:
        """Says what it does.

        :param x: a number
        """
        return x

    made = function_tool(named, name_override="other", description_override="Other.")
    assert (made.name, made.description) == ("other", "Other.")
    assert made.params_json_schema["properties"]["x"]["description"] == "a number"
    bare = function_tool(named, use_docstring_info=False)
    assert (bare.description, "description" in bare.params_json_schema["properties"]["x"]) == ("", False)
    styled = function_tool(named, docstring_style="sphinx")
    assert styled.params_json_schema["properties"]["x"]["description"] == "a number"


@BY_WAY
async def test_strict_mode_off_keeps_what_is_optional_optional(way):
    def loose(a: int, b: int = 2, **more: Any) -> str:
        """Loose."""
        return f"{a} {b} {more}"

    made = function_tool(loose, strict_mode=False)
    assert made.strict_json_schema is False
    assert made.params_json_schema["required"] == ["a"]
    assert await output_of(way, made, {"a": 1, "more": {"c": 3}}) == "1 2 {'c': 3}"


@BY_WAY
async def test_annotated_and_field_and_untyped_parameters_are_known(way):
    def typed(a: Annotated[int, Field(description="a number", ge=1)], b=None) -> str:
        """Typed."""
        return f"{a} {b}"

    made = function_tool(typed)
    assert made.params_json_schema["properties"]["a"]["description"] == "a number"
    assert "default" not in made.params_json_schema["properties"]["b"]
    assert await output_of(way, made, {"a": 1, "b": "x"}) == "1 x"
    assert "greater than or equal to 1" in await output_of(way, made, {"a": 0, "b": None})


def test_a_context_elsewhere_than_first_is_refused():
    def late(x: int, ctx: RunContextWrapper[Any]) -> int:
        """Late."""
        return x

    with pytest.raises(UserError):
        function_tool(late)


def test_the_decorator_has_a_short_name_too():
    @tool_alias
    def short() -> str:
        """Short."""
        return "x"

    assert isinstance(short, FunctionTool)


@BY_WAY
async def test_defer_loading_and_allowed_callers_are_handed_to_the_model(way):
    @function_tool(defer_loading=True, allowed_callers=["direct"])
    def later() -> str:
        """Later."""
        return "x"

    clerk = agent("done", tools=[later])
    await go(way, clerk)
    (offered,) = clerk.model.calls[0].tools
    assert (offered.defer_loading, offered.allowed_callers) == (True, ["direct"])


# --- is_enabled, needs_approval ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [False, True])
@BY_WAY
async def test_a_tool_that_isnt_enabled_isnt_offered_and_its_call_is_the_models_error(way, is_async):
    def enabled(ctx, agent):
        return ctx.context == "on" and agent.name == "Assistant"

    async def enabled_async(ctx, agent):
        return enabled(ctx, agent)

    @function_tool(is_enabled=enabled_async if is_async else enabled)
    def maybe() -> str:
        """Maybe."""
        return "x"

    assert await output_of(way, maybe, context="on") == "x"
    clerk = calling(maybe)
    error = await caught(way, clerk, context="off")
    assert (type(error), str(error)) == (ModelBehaviorError, "Tool maybe not found in agent Assistant")
    assert clerk.model.calls[0].tools == []


@pytest.mark.parametrize("is_async", [False, True])
@BY_WAY
async def test_needs_approval_is_asked_with_context_parameters_and_call_id(way, is_async):
    asked = []

    def risky(ctx, parameters, call_id):
        asked.append((type(ctx), ctx.context, parameters, call_id))
        return parameters["amount"] > 1

    async def risky_async(ctx, parameters, call_id):
        return risky(ctx, parameters, call_id)

    @function_tool(needs_approval=risky_async if is_async else risky)
    def pay(amount: int) -> str:
        """Pay."""
        return f"paid {amount}"

    calls = [function_call("pay", {"amount": 1}, "c1"), function_call("pay", {"amount": 2}, "c2")]
    clerk = agent(calls, "done", tools=[pay])
    result = await go(way, clerk, context={"app": 1})
    assert [item.call_id for item in result.interruptions] == ["c2"]
    assert asked == [(RunContextWrapper, {"app": 1}, {"amount": n}, f"c{n}") for n in (1, 2)]
    result = await decided(way, clerk, result)
    assert told(result) == ["paid 1", "paid 2"]
    assert len(asked) == 2


@BY_WAY
async def test_what_needs_approval_raises_is_the_tools_error(way):
    def broken(ctx, parameters, call_id):
        raise ValueError("no word")

    @function_tool(needs_approval=broken)
    def pay() -> str:
        """Pay."""
        return "paid"

    error = await caught(way, calling(pay))
    assert (type(error), str(error)) == (UserError, "Error running tool pay: no word")


@pytest.mark.parametrize(
    ("message", "formatter", "says"),
    [
        (None, None, "Tool execution was not approved."),
        ("Not now.", None, "Not now."),
        (
            None,
            lambda args: f"{args.kind}: {args.default_message}",
            "approval_rejected: Tool execution was not approved.",
        ),
        ("Not now.", lambda args: "formatted", "Not now."),
    ],
)
@BY_WAY
async def test_a_rejected_call_is_told_in_the_words_that_go_first(way, message, formatter, says):
    config = RunConfig(tool_error_formatter=formatter)
    clerk = agent(deleting(), "done", tools=[delete])
    result = await go(way, clerk, run_config=config)
    state = result.to_state()
    state.reject(result.interruptions[0], rejection_message=message)
    assert told(await go(way, clerk, state, run_config=config)) == [says]


@pytest.mark.parametrize("approve", [True, False])
@BY_WAY
async def test_a_decision_for_always_holds_for_the_tools_later_calls(way, approve):
    clerk = agent(deleting("a", "d1"), deleting("b", "d2"), "done", tools=[delete])
    result = await go(way, clerk)
    state = await RunState.from_string(clerk, result.to_state().to_string())
    (item,) = state.get_interruptions()
    if approve:
        state.approve(item, always_approve=True)
    else:
        state.reject(item, always_reject=True)
    result = await go(way, clerk, state)
    rejected = "Tool execution was not approved."
    assert told(result) == (["deleted a", "deleted b"] if approve else [rejected, rejected])
    assert result.final_output == "done"


@BY_WAY
async def test_calls_without_approval_run_before_the_run_waits_and_only_once(way):
    ran = []

    @function_tool
    def note(x: int) -> str:
        """Note."""
        ran.append(x)
        return "noted"

    clerk = agent([deleting(), function_call("note", {"x": 1}, "n1")], "done", tools=[delete, note])
    result = await go(way, clerk)
    assert ran == [1]
    result = await decided(way, clerk, result)
    assert (ran, told(result)) == ([1], ["deleted a", "noted"])


# --- errors -----------------------------------------------------------------------------------------------------------


def boom(x: int = 1) -> str:
    """Boom."""
    raise ValueError("boom")


@BY_WAY
async def test_an_error_is_told_to_the_model_by_default(way):
    result = await go(way, calling(function_tool(boom)))
    assert (told(result), values(result), result.final_output) == ([FAILED + "boom"], [FAILED + "boom"], "done")
    assert default_tool_error_function(RunContextWrapper(None), ValueError("boom")) == FAILED + "boom"


@pytest.mark.parametrize("is_async", [False, True])
@BY_WAY
async def test_an_error_function_says_what_the_model_is_told(way, is_async):
    def say(ctx, error):
        assert isinstance(ctx, ToolContext)
        return f"{ctx.tool_name}: {type(error).__name__} {error}"

    async def say_async(ctx, error):
        return say(ctx, error)

    made = function_tool(boom, failure_error_function=say_async if is_async else say)
    assert await output_of(way, made) == "boom: ValueError boom"


@BY_WAY
async def test_without_an_error_function_an_error_is_raised_with_its_cause(way):
    error: Any = await caught(way, calling(function_tool(boom, failure_error_function=None)))
    assert (type(error), str(error)) == (UserError, "Error running tool boom: boom")
    assert isinstance(error.__cause__, ValueError)
    assert [item.type for item in error.run_data.new_items] == ["tool_call_item"]


@BY_WAY
async def test_flowcores_own_errors_are_raised_as_they_are(way):
    def mine() -> str:
        """Mine."""
        raise ModelBehaviorError("mine")

    error = await caught(way, calling(function_tool(mine, failure_error_function=None)))
    assert (type(error), str(error)) == (ModelBehaviorError, "mine")
    assert await output_of(way, function_tool(mine)) == FAILED + "mine"


@pytest.mark.parametrize(
    ("arguments", "says"), [("{no", "parsing tool arguments. Please try again with valid JSON. Error: "),
                            ('{"x": "z"}', "running the tool. Please try again. Error: Invalid JSON input for tool")]
)  # fmt: skip
@BY_WAY
async def test_bad_arguments_go_the_way_of_errors(way, arguments, says):
    assert says in await output_of(way, function_tool(boom), arguments)
    error = await caught(way, calling(function_tool(boom, failure_error_function=None), arguments))
    assert isinstance(error, ModelBehaviorError)
    assert str(error).startswith("Invalid JSON input for tool boom")
    told_by = function_tool(boom, failure_error_function=lambda ctx, error: type(error).__name__)
    assert await output_of(way, told_by, arguments) == "ModelBehaviorError"


@BY_WAY
async def test_an_error_function_that_fails_is_the_tools_error(way):
    def broken(ctx, error):
        raise KeyError("words")

    error = await caught(way, calling(function_tool(boom, failure_error_function=broken)))
    assert (type(error), str(error)) == (UserError, "Error running tool boom: 'words'")


@BY_WAY
async def test_the_runs_formatter_words_errors_only_of_tools_without_words_of_their_own(way):
    asked = []

    def formatted(args):
        asked.append((args.kind, args.tool_type, args.tool_name, args.call_id, args.default_message, str(args.error)))
        assert isinstance(args.run_context, ToolContext)
        return "formatted"

    config = RunConfig(tool_error_formatter=formatted)
    assert await output_of(way, function_tool(boom), run_config=config) == "formatted"
    assert asked == [("tool_exception", "function", "boom", "c1", FAILED + "boom", "boom")]
    own = function_tool(boom, failure_error_function=lambda ctx, error: "own words")
    assert await output_of(way, own, run_config=config) == "own words"
    assert len(asked) == 1


@BY_WAY
async def test_a_call_to_a_tool_that_isnt_there_may_be_told_to_the_model(way):
    clerk = agent(function_call("nope", {}, "c1"), "done")
    config = RunConfig(tool_not_found_behavior="return_error_to_model")
    assert "nope" in told(await go(way, clerk, run_config=config))[0]


@BY_WAY
async def test_a_failing_tool_never_loses_a_sibling_that_finished(way):
    ran, failing = [], [1]

    @function_tool
    async def slow() -> str:
        """Slow."""
        await asyncio.sleep(0.01)
        ran.append("slow")
        return "slow"

    @function_tool(failure_error_function=None)
    async def bad() -> str:
        """Bad."""
        if failing:
            raise ValueError("bad")
        return "good"

    clerk = agent([function_call("slow", {}, "c1"), function_call("bad", {}, "c2")], "done", tools=[slow, bad])
    error: Any = await caught(way, clerk)
    assert (str(error), ran) == ("Error running tool bad: bad", ["slow"])
    failing.clear()
    state = await RunState.from_string(clerk, error.run_data.result.to_state().to_string())
    result = await go(way, clerk, state)
    assert (told(result), ran) == (["slow", "good"], ["slow"])


# --- timeouts ---------------------------------------------------------------------------------------------------------


async def forever() -> str:
    """Forever."""
    await asyncio.Event().wait()
    raise AssertionError


@BY_WAY
async def test_a_timeout_is_told_to_the_model(way):
    assert await output_of(way, function_tool(forever, timeout=0.01)) == "Tool 'forever' timed out after 0.01 seconds."


@pytest.mark.parametrize("is_async", [False, True])
@BY_WAY
async def test_a_timeout_may_have_words_of_its_own(way, is_async):
    def say(ctx, error):
        assert isinstance(ctx, ToolContext)
        return f"{type(error).__name__} {error.tool_name} {error.timeout_seconds}"

    async def say_async(ctx, error):
        return say(ctx, error)

    made = function_tool(forever, timeout=0.01, timeout_error_function=say_async if is_async else say)
    assert await output_of(way, made) == "ToolTimeoutError forever 0.01"


@BY_WAY
async def test_a_timeout_may_be_raised(way):
    error: Any = await caught(way, calling(function_tool(forever, timeout=0.01, timeout_behavior="raise_exception")))
    assert type(error) is ToolTimeoutError
    assert (error.tool_name, error.timeout_seconds) == ("forever", 0.01)
    assert str(error) == "Tool 'forever' timed out after 0.01 seconds."


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"timeout": 0}, ValueError, "greater than 0"),
        ({"timeout": "1"}, TypeError, "positive number in seconds"),
        ({"timeout": float("inf")}, ValueError, "finite"),
        ({"timeout": 1, "timeout_behavior": "shrug"}, ValueError, "error_as_result, raise_exception"),
    ],
)
def test_a_timeout_that_cant_be_is_refused(options, error, says):
    with pytest.raises(error, match=says):
        function_tool(forever, **options)


def test_a_timeout_is_only_for_async_tools():
    with pytest.raises(ValueError, match="only supported for async"):
        function_tool(boom, timeout=1)


# --- concurrency ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [None, 1, 2])
@BY_WAY
async def test_calls_of_a_turn_start_together_up_to_the_cap_and_outputs_keep_the_order_of_the_calls(way, most):
    now, seen, ended = [], [], []

    @function_tool
    async def work(i: int) -> str:
        """Work."""
        now.append(i)
        seen.append(len(now))
        await asyncio.sleep(0.01 * (4 - i))
        now.remove(i)
        ended.append(i)
        return str(i)

    clerk = agent([function_call("work", {"i": i}, f"c{i}") for i in range(4)], "done", tools=[work])
    config = RunConfig(tool_execution=ToolExecutionConfig(max_function_tool_concurrency=most))
    result = await go(way, clerk, run_config=config)
    assert told(result) == ["0", "1", "2", "3"]
    assert max(seen) == (most or 4)
    assert ended != [0, 1, 2, 3] or most == 1


@BY_WAY
async def test_sync_functions_run_in_threads(way):
    meeting = threading.Barrier(2)

    @function_tool
    def meet() -> str:
        """Meet."""
        meeting.wait(10)
        return str(threading.current_thread() is threading.main_thread())

    clerk = agent([function_call("meet", {}, "c1"), function_call("meet", {}, "c2")], "done", tools=[meet])
    assert told(await go(way, clerk)) == ["False", "False"]


# --- outputs ----------------------------------------------------------------------------------------------------------


@dataclass
class Point:
    x: int


class Invoice(BaseModel):
    total: int


IMAGE = {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"}
OUTPUTS: list[tuple[Any, Any]] = [
    ("text", "text"),
    ("", ""),
    (3, "3"),
    (None, "None"),
    (True, "True"),
    (1.5, "1.5"),
    ([1, 2], "[1, 2]"),
    ([], "[]"),
    ({"a": 1}, "{'a': 1}"),
    (b"x", "b'x'"),
    (Point(1), "Point(x=1)"),
    (Invoice(total=1), "total=1"),
    (ToolOutputText(text="t"), [{"type": "input_text", "text": "t"}]),
    (ToolOutputImage(image_url="data:image/png;base64,AA==", detail="low"), [IMAGE]),
    (ToolOutputFileContent(file_data="QQ==", filename="a"),
     [{"type": "input_file", "file_data": "QQ==", "filename": "a"}]),
    ({"type": "text", "text": "t"}, [{"type": "input_text", "text": "t"}]),
    ({"type": "image", "image_url": "u"}, [{"type": "input_image", "image_url": "u"}]),
    ({"type": "file", "file_id": "f"}, [{"type": "input_file", "file_id": "f"}]),
    ([ToolOutputText(text="t"), {"type": "image", "file_id": "f"}],
     [{"type": "input_text", "text": "t"}, {"type": "input_image", "file_id": "f"}]),
    ((ToolOutputText(text="t"),), [{"type": "input_text", "text": "t"}]),
    ([ToolOutputText(text="t"), "x"], "[ToolOutputText(type='text', text='t'), 'x']"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "wire"), OUTPUTS, ids=[str(i) for i in range(len(OUTPUTS))])
@BY_WAY
async def test_an_output_is_the_python_value_and_told_in_wire_form(way, value, wire):
    def give():
        """Give."""
        return value

    result = await go(way, calling(function_tool(give)))
    assert told(result) == [wire]
    assert values(result) == [value]


class Order(TypedDict):
    item: str


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (Invoice, Invoice(total=1), '{"total":1}'),
        (Order, {"item": "tea"}, '{"item":"tea"}'),
        (Point, Point(1), '{"x":1}'),
    ],
)
@BY_WAY
async def test_an_output_of_a_declared_type_is_told_as_json(way, kind, value, text):
    def give():
        """Give."""
        return value

    made = function_tool(give, output_type=kind)
    assert made.output_json_schema["type"] == "object"
    assert json.loads(await output_of(way, made)) == json.loads(text)

    def wrong():
        """Wrong."""
        return 3

    assert "does not match its declared output type" in await output_of(way, function_tool(wrong, output_type=kind))


@BY_WAY
async def test_an_output_schema_may_be_written_out(way):
    def give():
        """Give."""
        return {"a": 1}

    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    assert json.loads(await output_of(way, function_tool(give, output_json_schema=schema))) == {"a": 1}
    with pytest.raises(UserError, match="cannot both be provided"):
        function_tool(give, output_type=Invoice, output_json_schema=schema)


# --- custom data ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [False, True])
@BY_WAY
async def test_custom_data_stands_on_the_item_and_the_model_never_sees_it(way, is_async):
    given = []

    def extract(data):
        given.append((type(data.tool_context), data.tool.name, data.output, data.raw_item["output"]))
        return {"mark": 7}

    async def extract_async(data):
        return extract(data)

    @function_tool(custom_data_extractor=extract_async if is_async else extract)
    def find() -> int:
        """Find."""
        return 3

    clerk = agent([function_call("find", {}, "c1"), deleting()], "done", tools=[find, delete])
    result = await decided(way, clerk, await go(way, clerk))
    found = {item.call_id: item.custom_data for item in result.new_items if item.type == "tool_call_output_item"}
    assert found == {"c1": {"mark": 7}, "d1": None}
    assert given == [(ToolContext, "find", 3, "3")]
    assert "mark" not in json.dumps([dict(item) for item in clerk.model.calls[1].input])


@pytest.mark.parametrize(
    ("data", "says"),
    [(3, "custom_data_extractor must return a mapping or None"),
     ({"x": object()}, "custom_data_extractor must return JSON-compatible data")],
)  # fmt: skip
@BY_WAY
async def test_custom_data_that_cant_be_kept_is_refused(way, data, says):
    @function_tool(custom_data_extractor=lambda given: data)
    def find() -> str:
        """Find."""
        return "x"

    error = await caught(way, calling(find))
    assert isinstance(error, UserError)
    assert says in str(error)


@BY_WAY
async def test_what_an_extractor_of_custom_data_raises_is_the_tools_error(way):
    def broken(given):
        raise ValueError("no data")

    @function_tool(custom_data_extractor=broken)
    def find() -> str:
        """Find."""
        return "x"

    assert str(await caught(way, calling(find))) == "Error running tool find: no data"


# --- the context ------------------------------------------------------------------------------------------------------


@BY_WAY
async def test_a_tools_context_tells_of_the_run_and_the_call(way):
    seen: list[ToolContext[Any]] = []

    @function_tool
    async def look(ctx: ToolContext[Any], x: int) -> str:
        """Look."""
        seen.append(ctx)
        return ctx.tool_name

    assert list(look.params_json_schema["properties"]) == ["x"]
    config = RunConfig(workflow_name="w")
    clerk = calling(look, '{"x": 1}')
    result = await go(way, clerk, context="app", run_config=config)
    (ctx,) = seen
    assert (ctx.context, ctx.tool_name, ctx.tool_call_id, ctx.tool_arguments) == ("app", "look", "c1", '{"x": 1}')
    assert (ctx.tool_namespace, ctx.qualified_tool_name, ctx.tool_input) == (None, "look", None)
    assert (ctx.agent, ctx.run_config) == (clerk, config)
    assert (ctx.tool_call.name, ctx.tool_call.call_id, ctx.tool_call.arguments) == ("look", "c1", '{"x": 1}')
    assert ctx.turn_input[0] == {"role": "user", "content": "go"}
    assert ctx.idempotency_key
    assert ctx.usage is result.context_wrapper.usage


@BY_WAY
async def test_a_tools_context_may_be_declared_as_the_runs(way):
    @function_tool
    def look(ctx: RunContextWrapper[dict[str, int]]) -> str:
        """Look."""
        return f"{ctx.context['app']} {ctx.usage.requests}"

    assert await output_of(way, look, context={"app": 1}) == "1 1"


@BY_WAY
async def test_the_key_of_a_call_stays_the_same_when_it_is_made_again(way):
    keys = []

    @function_tool(failure_error_function=None)
    async def pay(ctx: ToolContext[Any]) -> str:
        """Pay."""
        keys.append(ctx.idempotency_key)
        if len(keys) == 1:
            raise ValueError("not now")
        return "paid"

    clerk = calling(pay)
    error: Any = await caught(way, clerk)
    await go(way, clerk, await RunState.from_string(clerk, error.run_data.result.to_state().to_string()))
    assert len(keys) == 2
    assert keys[0] == keys[1]


@BY_WAY
async def test_a_namespaced_tool_is_known_by_its_whole_name(way):
    seen = []

    @function_tool
    def find(ctx: ToolContext[Any]) -> str:
        """Find."""
        seen.append((ctx.tool_namespace, ctx.qualified_tool_name))
        return "found"

    tools = tool_namespace(name="crm", description="Customers.", tools=[find])
    clerk = agent(function_call("find", {}, "c1", namespace="crm"), "done", tools=tools)
    assert told(await go(way, clerk)) == ["found"]
    assert seen == [("crm", "crm.find")]


# --- tools made by hand -----------------------------------------------------------------------------------------------


@BY_WAY
async def test_a_tool_made_by_hand_is_given_the_context_and_the_arguments_text(way):
    given = []

    async def invoke(ctx, arguments):
        given.append((type(ctx), ctx.tool_call_id, arguments))
        return 5

    made = FunctionTool("hand", "By hand.", {"type": "object", "properties": {}}, invoke)
    assert await output_of(way, made, '{"x": 1}') == "5"
    assert given == [(ToolContext, "c1", '{"x": 1}')]


@BY_WAY
async def test_a_tool_made_by_hand_raises_its_errors_as_the_tools(way):
    async def invoke(ctx, arguments):
        raise ValueError("by hand")

    made = FunctionTool("hand", "By hand.", {"type": "object", "properties": {}}, invoke)
    error = await caught(way, calling(made))
    assert (type(error), str(error)) == (UserError, "Error running tool hand: by hand")


@BY_WAY
async def test_empty_arguments_are_no_arguments(way):
    @function_tool
    def plain() -> str:
        """Plain."""
        return "x"

    assert await output_of(way, plain, "") == "x"


# --- items ------------------------------------------------------------------------------------------------------------


@BY_WAY
async def test_items_tell_of_the_tool(way):
    result = await go(way, calling(weather, {"city": "Rome", "days": 1, "more": [], "unit": "C"}))
    call, output = result.new_items[:2]
    assert (call.tool_name, call.call_id, call.description) == ("weather", "c1", "Tells the weather.")
    assert (output.call_id, output.output) == ("c1", "Rome 1 () C")
    assert call.tool_origin.type.value == output.tool_origin.type.value == "function"


async def test_a_call_id_that_a_model_uses_in_two_turns_names_two_calls():
    ran = []

    @function_tool
    def note(x: int) -> str:
        """Note."""
        ran.append(x)
        return str(x)

    calls = [function_call("note", {"x": x}, "same") for x in (1, 2)]
    result = await Runner.run(in_turn(*calls, "done", tools=[note]), "go")
    assert (ran, values(result)) == ([1, 2], ["1", "2"])
