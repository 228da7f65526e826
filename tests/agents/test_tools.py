"""How a tool is declared, called, and what the model is told of it."""

import asyncio
import contextvars
import dataclasses
import inspect
import json
import threading
import typing
from typing import Any

import pytest
from pydantic import BaseModel

from flowcore.agents.context import RunContextWrapper, ToolContext
from flowcore.agents.tools import (
    FunctionTool,
    ToolOutputFileContent,
    ToolOutputImage,
    ToolOutputText,
    default_tool_error_function,
    function_tool,
    output_to_wire,
)
from flowcore.errors import ModelBehaviorError, ToolTimeoutError, UserError

APP = RunContextWrapper({"user": "ada"})


async def call(tool: FunctionTool, arguments: str = "{}") -> Any:
    ctx = ToolContext.from_agent_context(APP, "call_1", tool_name=tool.name, tool_arguments=arguments)
    return await tool.invoke(ctx, arguments)


async def by_hand(ctx: ToolContext[Any], arguments: str) -> Any:
    raise ValueError("by hand")


def hand_made(**options: Any) -> FunctionTool:
    given: dict[str, Any] = {"name": "hand", "description": "", "params_json_schema": {}, "on_invoke_tool": by_hand}
    return FunctionTool(**given | options)


def test_a_tool_is_declared_with_and_without_options():
    @function_tool
    def plain(a: int) -> int:
        """Plain."""
        return a

    @function_tool(name_override="other", description_override="Else.", on_crash="ask")
    def fancy(a: int) -> int:
        return a

    assert (plain.name, plain.description, plain.on_crash) == ("plain", "Plain.", "retry")
    assert (fancy.name, fancy.description, fancy.on_crash) == ("other", "Else.", "ask")
    assert plain.params_json_schema["required"] == ["a"]


def test_unknown_options_and_functions_that_cannot_be_tools_are_refused():
    def gives():
        yield 1

    with pytest.raises(TypeError, match="retries"):
        function_tool(retries=3)  # type: ignore[call-overload]
    with pytest.raises(UserError, match="yields"):
        function_tool(gives)
    with pytest.raises(UserError, match="lambda"):
        function_tool(lambda a: a)
    with pytest.raises(UserError, match="a tool already"):
        function_tool(hand_made())
    with pytest.raises(UserError, match="takes a function"):
        function_tool("name")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="on_crash"):
        hand_made(on_crash="again")


def test_a_tool_says_whether_it_is_approved_never_always_or_sometimes():
    assert hand_made().approval == "never"
    assert hand_made(needs_approval=True).approval == "always"
    assert hand_made(needs_approval=lambda *_: True).approval == "sometimes"


async def test_an_async_function_is_awaited_and_its_python_value_given():
    @function_tool
    async def double(n: int) -> dict[str, int]:
        return {"n": n * 2}

    assert await call(double, '{"n": 21}') == {"n": 42}


async def test_a_sync_function_runs_in_a_thread_with_the_callers_context_variables():
    name = contextvars.ContextVar("name", default="nobody")

    @function_tool
    def where() -> list[Any]:
        return [name.get(), threading.current_thread() is threading.main_thread()]

    name.set("ada")
    assert await call(where) == ["ada", False]


async def test_a_function_is_handed_the_context_first_and_no_arguments_may_be_empty_text():
    @function_tool
    async def who(ctx: ToolContext[dict[str, str]], greeting: str = "hi") -> str:
        return f"{greeting} {ctx.context['user']} {ctx.tool_call_id} {ctx.usage is APP.usage}"

    assert await call(who, "") == "hi ada call_1 True"


async def test_methods_and_callable_objects_can_be_tools():
    class Counter:
        async def __call__(self, n: int) -> int:
            return n + 1

        def add(self, n: int) -> int:
            return n + 2

    counter = Counter()
    assert await call(function_tool(counter), '{"n": 1}') == 2
    assert await call(function_tool(counter.add), '{"n": 1}') == 3


async def test_a_sync_function_that_gives_an_awaitable_is_awaited():
    async def inner() -> int:
        return 7

    @function_tool
    def outer() -> Any:
        return inner()

    assert await call(outer) == 7


async def test_nothing_is_inspected_when_a_tool_is_called(monkeypatch):
    @function_tool
    async def double(ctx: ToolContext[Any], n: int) -> int:
        return n * 2

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("inspected during a call")

    monkeypatch.setattr(inspect, "signature", refuse)
    monkeypatch.setattr(typing, "get_type_hints", refuse)
    assert await call(double, '{"n": 2}') == 4


async def test_errors_are_told_to_the_model_by_default():
    @function_tool
    async def fails(a: int) -> None:
        raise ValueError("no luck")

    told = "An error occurred while running the tool. Please try again. Error: "
    assert await call(fails, '{"a": 1}') == told + "no luck"
    assert (await call(fails, '{"a": "x"}')).startswith(told + "Invalid JSON input for tool fails: a: ")
    assert await call(fails, "{") == (
        "An error occurred while parsing tool arguments. Please try again with valid JSON. "
        "Error: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"
    )


async def test_a_json_error_inside_the_function_is_an_ordinary_error():
    @function_tool
    async def reads() -> Any:
        return json.loads("{")

    assert (await call(reads)).startswith("An error occurred while running the tool.")


async def test_an_error_function_may_be_sync_or_async_and_is_handed_the_error():
    async def later(ctx: RunContextWrapper[Any], error: Exception) -> str:
        return f"later: {type(error).__name__} {ctx.context['user']}"

    async def fails() -> None:
        raise KeyError("k")

    assert await call(function_tool(fails, failure_error_function=later)) == "later: KeyError ada"
    assert await call(function_tool(fails, failure_error_function=lambda c, e: f"now: {e!r}")) == "now: KeyError('k')"


async def test_without_an_error_function_an_error_is_raised_with_its_cause():
    @function_tool(failure_error_function=None)
    async def fails(kind: str) -> None:
        raise {"v": ValueError("v"), "m": ModelBehaviorError("m"), "t": TimeoutError("t")}[kind]

    with pytest.raises(UserError, match=r"^Error running tool fails: v$") as caught:
        await call(fails, '{"kind": "v"}')
    assert isinstance(caught.value.__cause__, ValueError)
    with pytest.raises(ModelBehaviorError, match=r"^m$"):
        await call(fails, '{"kind": "m"}')
    with pytest.raises(UserError, match="Error running tool fails: t"):
        await call(fails, '{"kind": "t"}')
    with pytest.raises(ModelBehaviorError, match=r"Invalid JSON input for tool fails: \{"):
        await call(fails, "{")


async def test_a_run_may_have_its_own_words_for_an_error_where_the_tool_has_none():
    async def fails() -> None:
        raise ValueError("no luck")

    asked: list[Any] = []

    async def format_error(default: str, error: Exception) -> str | None:
        asked.append((default, error))
        return "own words" if "luck" in default else None

    async def told(tool: FunctionTool, arguments: str = "{}") -> Any:
        ctx = ToolContext.from_agent_context(APP, "call_1", tool_name=tool.name, tool_arguments=arguments)
        return await tool.invoke(ctx, arguments, format_error=format_error)

    assert await told(function_tool(fails)) == "own words"
    default, error = asked.pop()
    assert default == "An error occurred while running the tool. Please try again. Error: no luck"
    assert isinstance(error, ValueError)
    assert (await told(function_tool(fails), "{")).startswith("An error occurred while parsing tool arguments.")
    renamed = dataclasses.replace(function_tool(fails), name="renamed")
    assert await told(renamed) == "own words"
    asked.clear()
    spoken = function_tool(fails, failure_error_function=default_tool_error_function)
    assert (await told(spoken)).endswith("Error: no luck")
    with pytest.raises(UserError, match="Error running tool fails: no luck"):
        await told(function_tool(fails, failure_error_function=None))
    assert asked == []


async def test_an_error_function_that_fails_is_the_users_error():
    @function_tool(failure_error_function=lambda ctx, error: str(1 / 0))
    async def fails() -> None:
        raise ValueError("no luck")

    with pytest.raises(UserError, match="Error running tool fails: division by zero") as caught:
        await call(fails)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


async def test_an_error_that_is_raised_as_it_is_keeps_its_cause():
    @function_tool(failure_error_function=None)
    async def takes(a: int) -> None: ...

    with pytest.raises(ModelBehaviorError) as caught:
        await call(takes, "{")
    assert isinstance(caught.value.__cause__, json.JSONDecodeError)


@pytest.mark.parametrize(
    ("callers", "says"),
    [
        ([], "non-empty list"),
        ("direct", "non-empty list"),
        (["remote"], "unsupported caller 'remote'"),
        (["direct", "direct"], "duplicate caller 'direct'"),
    ],
)
def test_callers_that_cannot_be_are_refused(callers, says):
    assert hand_made(allowed_callers=["direct", "programmatic"]).allowed_callers == ["direct", "programmatic"]
    with pytest.raises(UserError, match=f"Tool `hand` allowed_callers.*{says}"):
        hand_made(allowed_callers=callers)


def test_an_output_schema_written_out_is_made_strict_and_its_values_are_told_as_json():
    tool = hand_made(output_json_schema={"type": "object", "properties": {"a": {"type": "integer"}}})
    assert tool.output_json_schema == {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    assert tool.wire_output({"a": 1}) == '{"a":1}'
    assert tool.wire_output("as it is") == "as it is"
    assert hand_made().wire_output({"a": 1}) == "{'a': 1}"
    with pytest.raises(UserError, match="its output isn't JSON"):
        tool.wire_output({"a": object()})
    with pytest.raises(UserError, match="must define a JSON object schema"):
        hand_made(output_json_schema={"type": "string"})
    with pytest.raises(UserError, match="must define a strict JSON object schema"):
        hand_made(output_json_schema={"type": "object", "additionalProperties": True})


def test_options_of_a_tool_go_by_keyword():
    with pytest.raises(TypeError, match="positional"):
        function_tool(by_hand, "name")  # type: ignore[call-overload]


async def test_a_tool_made_by_hand_raises_unless_it_has_an_error_function():
    with pytest.raises(UserError, match="Error running tool hand: by hand"):
        await call(hand_made())
    told = await call(hand_made(failure_error_function=default_tool_error_function))
    assert told == "An error occurred while running the tool. Please try again. Error: by hand"


async def test_a_replaced_tool_goes_by_its_new_name_and_error_function():
    @function_tool
    async def fails(a: int) -> None:
        raise ValueError("v")

    other = dataclasses.replace(fails, name="renamed", failure_error_function=None)
    with pytest.raises(UserError, match="Error running tool renamed: v"):
        await call(other, '{"a": 1}')
    with pytest.raises(ModelBehaviorError, match="for tool renamed"):
        await call(other, "[]")
    assert "Error: v" in await call(fails, '{"a": 1}')


async def test_a_stop_iteration_in_a_thread_does_not_hang_the_run():
    @function_tool
    def stops() -> None:
        raise StopIteration("done")

    assert "stops raised StopIteration" in await asyncio.wait_for(call(stops), 5)


@pytest.mark.parametrize("timeout", [None, 5.0])
async def test_a_cancel_always_goes_through(timeout):
    started = asyncio.Event()

    @function_tool(timeout=timeout)
    async def waits() -> None:
        started.set()
        await asyncio.sleep(60)

    task = asyncio.create_task(call(waits))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("told", [default_tool_error_function, None])
async def test_a_cancelled_error_that_a_tool_raises_is_never_a_result(told):
    def cancels() -> None:
        raise asyncio.CancelledError

    async def cancels_too() -> None:
        raise asyncio.CancelledError

    for function in (cancels, cancels_too):
        with pytest.raises(asyncio.CancelledError):
            await call(function_tool(function, failure_error_function=told))


async def hangs() -> None:
    await asyncio.Event().wait()


async def test_a_timeout_is_told_to_the_model_by_default():
    assert await call(function_tool(hangs, timeout=0.01)) == "Tool 'hangs' timed out after 0.01 seconds."


async def test_a_timeout_may_be_told_in_other_words():
    tool = function_tool(hangs, timeout=0.01, timeout_error_function=lambda ctx, error: f"late: {error}")
    assert await call(tool) == "late: Tool 'hangs' timed out after 0.01 seconds."


async def test_a_timeout_may_be_raised():
    tool = function_tool(hangs, timeout=0.01, timeout_behavior="raise_exception")
    with pytest.raises(ToolTimeoutError) as caught:
        await call(tool)
    assert (caught.value.tool_name, caught.value.timeout_seconds) == ("hangs", 0.01)


async def test_a_timeout_of_the_tools_own_is_an_ordinary_error():
    @function_tool(timeout=60, timeout_behavior="raise_exception")
    async def asks() -> None:
        raise TimeoutError("the service is slow")

    assert "Error: the service is slow" in await call(asks)
    with pytest.raises(UserError, match="Error running tool asks: the service is slow"):
        await call(dataclasses.replace(asks, failure_error_function=None))


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"timeout_seconds": 0}, ValueError, "greater than 0"),
        ({"timeout_seconds": float("nan")}, ValueError, "finite"),
        ({"timeout_seconds": True}, TypeError, "positive number in seconds"),
        ({"timeout_seconds": "1"}, TypeError, "positive number in seconds"),
        ({"timeout_behavior": "shrug"}, ValueError, "must be one of"),
        ({"timeout_error_function": 3}, TypeError, "callable"),
    ],
)
def test_a_timeout_that_cannot_be_is_refused(options, error, says):
    with pytest.raises(error, match=says):
        hand_made(**options)


def test_a_timeout_on_a_sync_function_is_refused():
    with pytest.raises(ValueError, match="only supported for async @function_tool handlers"):
        function_tool(lambda a: a, name_override="sync", timeout=1)


async def test_approval_is_asked_with_the_call_sync_or_async():
    asked = []

    def sync(ctx: RunContextWrapper[Any], params: dict[str, Any], call_id: str) -> bool:
        asked.append((params, call_id))
        return bool(params.get("big"))

    async def later(ctx: RunContextWrapper[Any], params: dict[str, Any], call_id: str) -> bool:
        return sync(ctx, params, call_id)

    for function in (sync, later):
        tool = hand_made(needs_approval=function)
        assert await tool.requires_approval(APP, '{"big": true}', "c1") is True
        assert await tool.requires_approval(APP, "", "c2") is False
    assert asked == [({"big": True}, "c1"), ({}, "c2")] * 2
    assert await hand_made(needs_approval=True).requires_approval(APP, "{", "c") is True
    assert await hand_made().requires_approval(APP, "{", "c") is False


async def test_arguments_that_cannot_be_judged_wait_for_a_person():
    tool = hand_made(needs_approval=lambda ctx, params, call_id: False)
    assert [await tool.requires_approval(APP, text, "c") for text in ("{", "[1]", "null")] == [True] * 3


async def test_a_tool_may_be_disabled_by_a_bool_or_a_function():
    async def later(ctx: RunContextWrapper[Any], agent: Any) -> bool:
        return bool(agent == "triage")

    assert await hand_made().enabled(APP, "triage") is True
    assert await hand_made(is_enabled=False).enabled(APP, "triage") is False
    assert await hand_made(is_enabled=later).enabled(APP, "triage") is True
    assert await hand_made(is_enabled=lambda ctx, agent: False).enabled(APP, "triage") is False


async def test_custom_data_is_taken_from_a_call():
    ctx = ToolContext(None, tool_name="hand", tool_call_id="c")
    tool = hand_made(custom_data_extractor=lambda data: {"seen": data.output, "id": data.raw_item["call_id"]})
    assert await tool.custom_data(ctx, 5, {"call_id": "c"}) == {"seen": 5, "id": "c"}
    assert await hand_made().custom_data(ctx, 5, {}) is None
    with pytest.raises(UserError, match="must return a mapping or None"):
        await hand_made(custom_data_extractor=lambda data: 3).custom_data(ctx, 5, {})
    with pytest.raises(UserError, match="must return JSON-compatible data"):
        await hand_made(custom_data_extractor=lambda data: {"a": object()}).custom_data(ctx, 5, {})


class Weather(BaseModel):
    city: str
    celsius: float


async def test_an_output_type_is_validated_and_told_as_json():
    async def weather(city: str) -> Any:
        return {"city": city, "celsius": 21} if city else "no idea"

    tool = function_tool(weather, output_type=Weather, failure_error_function=None)
    assert tool.output_json_schema is not None
    assert tool.output_json_schema["required"] == ["city", "celsius"]
    value = await call(tool, '{"city": "Rome"}')
    assert value == Weather(city="Rome", celsius=21)
    assert tool.wire_output(value) == '{"city":"Rome","celsius":21.0}'
    with pytest.raises(UserError, match="does not match its declared output type"):
        await call(tool, '{"city": ""}')
    with pytest.raises(UserError, match="has to be an object"):
        function_tool(weather, output_type=int)
    with pytest.raises(UserError, match="cannot both be provided"):
        function_tool(weather, output_type=Weather, output_json_schema={})


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        ("a", "a"),
        (1, "1"),
        (None, "None"),
        ({"a": 1}, "{'a': 1}"),
        ([1, 2], "[1, 2]"),
        ([], "[]"),
        (ToolOutputText(text="x"), [{"type": "input_text", "text": "x"}]),
        ({"type": "text", "text": "x"}, [{"type": "input_text", "text": "x"}]),
        ({"type": "text"}, "{'type': 'text'}"),
        ({"type": ["text"]}, "{'type': ['text']}"),
        (
            {"type": "image", "image_url": "http://u", "detail": "low"},
            [{"type": "input_image", "image_url": "http://u", "detail": "low"}],
        ),
        (
            [ToolOutputImage(file_id="f"), {"type": "file", "file_data": "ZZ", "filename": "n"}],
            [
                {"type": "input_image", "file_id": "f"},
                {"type": "input_file", "file_data": "ZZ", "filename": "n"},
            ],
        ),
        (["a", {"type": "text", "text": "b"}], "['a', {'type': 'text', 'text': 'b'}]"),
    ],
)
def test_what_the_model_is_told_of_a_value(value, wire):
    assert output_to_wire(value) == wire


def test_an_image_and_a_file_need_a_source():
    with pytest.raises(ValueError, match="image_url or file_id"):
        ToolOutputImage()
    with pytest.raises(ValueError, match="file_data, file_url, or file_id"):
        ToolOutputFileContent(filename="x")


def test_contexts_share_the_runs_usage_and_are_told_apart_by_identity():
    first = ToolContext.from_agent_context(
        APP, "c1", tool_name="t", tool_namespace="crm", idempotency_key="run/run_tools.1/0:c1"
    )
    second = ToolContext.from_agent_context(APP, "c1", tool_name="t")
    assert first.usage is second.usage is APP.usage
    assert first.turn_input is APP.turn_input
    assert (first.qualified_tool_name, second.qualified_tool_name) == ("crm.t", "t")
    assert first.idempotency_key == "run/run_tools.1/0:c1"
    assert len({first, second, APP}) == 3
