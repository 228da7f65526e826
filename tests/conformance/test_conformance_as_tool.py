"""§5: an agent as a tool of another, with every option."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import pytest
import structlog.testing
from conformance_making import WAYS, agent, caught, decided, delete, deleting, go, in_turn, told
from pydantic import BaseModel, Field

from flowcore import (
    Agent,
    FunctionTool,
    GuardrailFunctionOutput,
    InputGuardrailTripwireTriggered,
    MaxTurnsExceeded,
    MemoryStore,
    ModelBehaviorError,
    OutputGuardrailTripwireTriggered,
    RunConfig,
    RunHooks,
    Runner,
    RunResult,
    RunState,
    SQLiteSession,
    ToolContext,
    ToolGuardrailFunctionOutput,
    ToolInputGuardrailTripwireTriggered,
    Usage,
    UserError,
    function_tool,
    input_guardrail,
    output_guardrail,
    tool_input_guardrail,
    tool_output_guardrail,
)
from flowcore.testing import ModelStep, ScriptedModel, function_call

FAILED = "An error occurred while running the tool. Please try again. Error: "


def asking(arguments: Any = '{"input": "x"}', call_id: str = "t1") -> dict[str, Any]:
    return function_call("ask", arguments, call_id)


def above(tool: Any, *steps: Any, **fields: Any) -> Agent:
    """An agent that calls the tool ``ask``, and then says "done"."""
    return agent(*(steps or (asking(), "done")), name="Top", tools=[tool], **fields)


# --- what the caller's model is offered -------------------------------------------------------------------------------


def test_a_tools_name_is_the_agents_made_an_identifier():
    tool = Agent(name="My Inner-Agent 2").as_tool(None, "What it does.")
    assert isinstance(tool, FunctionTool)
    assert (tool.name, tool.description) == ("my_inner_agent_2", "What it does.")
    assert Agent(name="In").as_tool("ask", "Ask.").name == "ask"


def test_the_default_schema_takes_a_text_called_input():
    schema = Agent(name="In").as_tool("ask", "Ask.").params_json_schema
    assert schema["properties"] == {"input": {"title": "Input", "type": "string"}}
    assert (schema["required"], schema["additionalProperties"]) == (["input"], False)


@pytest.mark.parametrize("way", WAYS)
async def test_the_nested_agent_is_asked_the_input_and_its_final_output_is_told(way):
    inner = agent("inner said", name="In")
    top = above(inner.as_tool("ask", "Ask."))
    result = await go(way, top)
    assert inner.model.calls[0].input == [{"role": "user", "content": "x"}]
    assert told(result) == ["inner said"]
    assert result.final_output == "done"
    assert result.last_agent is top


@pytest.mark.parametrize("way", WAYS)
async def test_the_nested_conversation_isnt_the_callers(way):
    top = above(agent("inner said", name="In").as_tool("ask", "Ask."))
    result = await go(way, top)
    assert [item.type for item in result.new_items] == [
        "tool_call_item", "tool_call_output_item", "message_output_item",
    ]  # fmt: skip
    assert len(result.raw_responses) == 2


# --- is_enabled, needs_approval ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("enabled", [False, lambda ctx, agent: agent.name != "Top"])
@pytest.mark.parametrize("way", WAYS)
async def test_an_agent_tool_that_isnt_enabled_isnt_offered(way, enabled):
    top = above(Agent(name="In").as_tool("ask", "Ask.", is_enabled=enabled), "done")
    await go(way, top)
    assert top.model.calls[0].tools == []


@pytest.mark.parametrize("way", WAYS)
async def test_an_agent_tool_may_wait_for_approval_by_its_parameters(way):
    seen = []

    async def risky(ctx, parameters, call_id):
        seen.append((parameters, call_id))
        return parameters["input"] == "x"

    inner = agent("inner said", name="In")
    top = above(inner.as_tool("ask", "Ask.", needs_approval=risky))
    result = await go(way, top)
    assert [(item.tool_name, item.agent) for item in result.interruptions] == [("ask", top)]
    assert (seen, inner.model.calls) == ([({"input": "x"}, "t1")], [])
    result = await decided(way, top, result)
    assert (told(result), result.final_output) == (["inner said"], "done")


@pytest.mark.parametrize("way", WAYS)
async def test_a_rejected_agent_tool_never_runs(way):
    inner = agent("never", name="In")
    top = above(inner.as_tool("ask", "Ask.", needs_approval=True))
    result = await decided(way, top, await go(way, top), approve=False)
    assert told(result) == ["Tool execution was not approved."]
    assert inner.model.calls == []


# --- custom_output_extractor ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("way", WAYS)
async def test_an_extractor_is_given_the_nested_result_which_knows_its_call(way, is_async):
    seen: list[RunResult] = []

    def extract(result):
        seen.append(result)
        return 42

    async def extract_async(result):
        return extract(result)

    inner = agent("inner said", name="In")
    tool = inner.as_tool("ask", "Ask.", custom_output_extractor=extract_async if is_async else extract)
    result = await go(way, above(tool), context="app")
    (nested,) = seen
    assert isinstance(nested, RunResult)
    assert (nested.final_output, nested.input, nested.last_agent) == ("inner said", "x", inner)
    call = nested.agent_tool_invocation
    assert call is not None
    assert (call.tool_name, call.tool_call_id, call.tool_arguments) == ("ask", "t1", '{"input": "x"}')
    assert nested.context_wrapper.context == "app"
    assert told(result) == ["42"]
    assert [item.output for item in result.new_items if item.type == "tool_call_output_item"] == [42]
    assert result.agent_tool_invocation is None


@pytest.mark.parametrize("way", WAYS)
async def test_an_extractor_sees_a_nested_run_that_waited(way):
    seen = []

    def extract(result):
        seen.append((result.agent_tool_invocation.tool_call_id, [item.type for item in result.new_items]))
        return "extracted"

    inner = agent(deleting(), "inner done", name="In", tools=[delete])
    top = above(inner.as_tool("ask", "Ask.", custom_output_extractor=extract))
    result = await decided(way, top, await go(way, top))
    assert told(result) == ["extracted"]
    call, items = seen[0]
    assert (call, items[0], items[-1]) == ("t1", "tool_call_item", "message_output_item")


@pytest.mark.parametrize("way", WAYS)
async def test_what_an_extractor_raises_is_the_tools_failure(way):
    def extract(result):
        raise ValueError("no extract")

    inner = agent("inner said", name="In")
    assert told(await go(way, above(inner.as_tool("ask", "Ask.", extract)))) == [FAILED + "no extract"]
    error = await caught(way, above(inner.as_tool("ask", "Ask.", extract, failure_error_function=None)))
    assert (type(error), str(error)) == (UserError, "Error running tool ask: no extract")
    assert isinstance(error.__cause__, ValueError)


# --- on_stream --------------------------------------------------------------------------------------------------------


def named(event: Any) -> str:
    return getattr(event, "name", event.type)


@function_tool
def add() -> int:
    """Add."""
    return 3


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("way", WAYS)
async def test_on_stream_is_told_every_event_of_the_nested_run_in_order(way, is_async):
    seen: list[Any] = []

    def tell(event):
        seen.append(event)

    async def tell_async(event):
        await asyncio.sleep(0)
        seen.append(event)

    other = in_turn("from the other", name="Other")
    inner = in_turn(function_call("add", call_id="c1"), function_call("transfer_to_other", call_id="h"), name="In")
    inner.tools, inner.handoffs = [add], [other]
    tool = inner.as_tool("ask", "Ask.", on_stream=tell_async if is_async else tell)
    result = await go(way, above(tool))
    assert told(result) == ["from the other"]
    events = [(named(one["event"]), one["agent"].name) for one in seen]
    assert [one for one in events if one[0] != "raw_response_event"] == [
        ("agent_updated_stream_event", "In"),
        ("tool_called", "In"),
        ("tool_output", "In"),
        ("handoff_requested", "In"),
        ("handoff_occured", "In"),
        ("agent_updated_stream_event", "Other"),
        ("message_output_created", "Other"),
    ]
    assert ("raw_response_event", "Other") in events
    assert {one["tool_call"].call_id for one in seen} == {"t1"}
    assert [call.streamed for call in inner.model.calls] == [True, True]


@pytest.mark.parametrize("way", WAYS)
async def test_what_on_stream_raises_is_only_logged(way):
    def tell(event):
        raise ValueError("no ear")

    try:
        with structlog.testing.capture_logs() as logs:
            result = await go(way, above(agent("inner said", name="In").as_tool("ask", "Ask.", on_stream=tell)))
    finally:
        structlog.reset_defaults()  # capturing leaves it configured, and then every later test logs
    assert (told(result), result.final_output) == (["inner said"], "done")
    assert any("no ear" in str(one) for one in logs)


async def test_a_slow_on_stream_holds_nothing_up_until_the_nested_run_is_over():
    release, seen = asyncio.Event(), []

    async def tell(event):
        await release.wait()
        seen.append(named(event["event"]))

    inner = in_turn(function_call("add", call_id="c1"), "inner said", name="In", tools=[add])
    top = above(inner.as_tool("ask", "Ask.", on_stream=tell))
    going = asyncio.ensure_future(Runner.run(top, "go"))
    while len(inner.model.calls) < 2:  # noqa: ASYNC110 - the nested run goes on though nobody has listened yet
        await asyncio.sleep(0)
    assert seen == []
    release.set()
    assert (await going).final_output == "done"
    assert seen[-1] == "message_output_created"


async def test_more_waiting_events_than_allowed_are_the_tools_failure():
    held = asyncio.Event()

    async def tell(event):
        await asyncio.wait_for(held.wait(), 0.01)

    inner = agent("a lot of words to say", name="In")
    tool = inner.as_tool("ask", "Ask.", on_stream=tell, on_stream_max_pending_events=1)
    result = await Runner.run(above(tool), "go")
    assert "on_stream of agent 'In' was too slow" in told(result)[0]


@pytest.mark.parametrize("most", [0, -1])
def test_on_streams_options_are_checked(most):
    with pytest.raises(UserError, match="on_stream_max_pending_events"):
        Agent(name="A").as_tool("a", "b", on_stream=print, on_stream_max_pending_events=most)
    with pytest.raises(UserError, match="on_stream must be callable"):
        Agent(name="A").as_tool("a", "b", on_stream=3)  # type: ignore[arg-type]


@pytest.mark.parametrize("way", WAYS)
async def test_on_stream_is_told_of_a_nested_run_that_goes_on(way):
    seen = []
    inner = agent(deleting(), "inner done", name="In", tools=[delete])
    top = above(inner.as_tool("ask", "Ask.", on_stream=lambda event: seen.append(named(event["event"]))))
    result = await go(way, top)
    assert "tool_called" in seen
    seen.clear()
    await decided(way, top, result)
    assert [name for name in seen if name in ("tool_called", "tool_output", "message_output_created")] == [
        "tool_output", "message_output_created",
    ]  # fmt: skip


# --- run_config -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
async def test_the_nested_run_has_the_callers_run_config(way):
    model = ScriptedModel([asking(), "nested", "top done"])
    top = Agent(name="Top", tools=[Agent(name="In").as_tool("ask", "Ask.")])
    result = await go(way, top, run_config=RunConfig(model=model))
    assert (told(result), result.final_output) == (["nested"], "top done")


@pytest.mark.parametrize("config", [RunConfig(model=ScriptedModel(lambda call: "its own")), None])
@pytest.mark.parametrize("way", WAYS)
async def test_a_run_config_of_its_own_goes_before_the_callers(way, config):
    given = config or {"model": ScriptedModel(lambda call: "its own")}
    tool = agent("never", name="In").as_tool("ask", "Ask.", run_config=given)
    assert told(await go(way, above(tool))) == ["its own"]


# --- max_turns --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("most", "calls"), [(1, 1), (3, 3), (None, 10)])
@pytest.mark.parametrize("way", WAYS)
async def test_a_nested_run_has_turns_of_its_own(way, most, calls):
    def inner() -> Agent:
        return Agent(name="In", tools=[add], model=ScriptedModel(lambda call: function_call("add")))

    first = inner()
    result = await go(way, above(first.as_tool("ask", "Ask.", max_turns=most)), max_turns=2)
    assert told(result) == [f"{FAILED}Max turns ({calls}) exceeded"]
    assert len(first.model.calls) == calls
    error = await caught(way, above(inner().as_tool("ask", "Ask.", max_turns=most, failure_error_function=None)))
    assert isinstance(error, MaxTurnsExceeded)


# --- hooks ------------------------------------------------------------------------------------------------------------


class Noting(RunHooks[Any]):
    def __init__(self, log: list[Any], name: str) -> None:
        self.log = log
        self.name = name

    async def on_agent_start(self, context, agent):
        self.log.append((self.name, "start", agent.name))

    async def on_agent_end(self, context, agent, output):
        self.log.append((self.name, "end", agent.name, output))

    async def on_tool_start(self, context, agent, tool):
        assert isinstance(context, ToolContext)
        self.log.append((self.name, "tool", agent.name, tool.name, context.tool_call_id))

    async def on_tool_end(self, context, agent, tool, result):
        self.log.append((self.name, "tool done", agent.name, tool.name, result))


@pytest.mark.parametrize("way", WAYS)
async def test_the_nested_run_has_hooks_of_its_own_and_the_callers_hear_of_the_tool(way):
    log: list[Any] = []
    tool = agent("inner said", name="In").as_tool("ask", "Ask.", hooks=Noting(log, "nested"))
    await go(way, above(tool), hooks=Noting(log, "run"))
    assert log == [
        ("run", "start", "Top"),
        ("run", "tool", "Top", "ask", "t1"),
        ("nested", "start", "In"),
        ("nested", "end", "In", "inner said"),
        ("run", "tool done", "Top", "ask", "inner said"),
        ("run", "end", "Top", "done"),
    ]


@pytest.mark.parametrize("way", WAYS)
async def test_hooks_of_a_nested_run_that_waited_are_called_once(way):
    log: list[Any] = []
    inner = agent(deleting(), "inner done", name="In", tools=[delete])
    top = above(inner.as_tool("ask", "Ask.", hooks=Noting(log, "nested")))
    result = await go(way, top, hooks=Noting(log, "run"))
    assert log == [("run", "start", "Top"), ("run", "tool", "Top", "ask", "t1"), ("nested", "start", "In")]
    log.clear()
    await decided(way, top, result, hooks=Noting(log, "run"))
    assert log == [
        ("nested", "tool", "In", "delete", "d1"),
        ("nested", "tool done", "In", "delete", "deleted a"),
        ("nested", "end", "In", "inner done"),
        ("run", "tool done", "Top", "ask", "inner done"),
        ("run", "end", "Top", "done"),
    ]


def test_agent_hooks_are_no_hooks_of_a_nested_run():
    with pytest.raises(TypeError, match="Run hooks must be instances of RunHooks"):
        Agent(name="A").as_tool("a", "b", hooks=3)  # type: ignore[arg-type]


# --- conversations and sessions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [{"previous_response_id": "resp_1"}, {"conversation_id": "conv_1"}])
@pytest.mark.parametrize("way", WAYS)
async def test_the_nested_run_joins_a_conversation_that_the_provider_keeps(way, kept):
    inner = agent("inner said", name="In")
    await go(way, above(inner.as_tool("ask", "Ask.", **kept)))
    call = inner.model.calls[0]
    assert {"previous_response_id": call.previous_response_id, "conversation_id": call.conversation_id} == {
        "previous_response_id": None, "conversation_id": None, **kept,
    }  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
async def test_the_nested_run_reads_and_writes_a_session_of_its_own(way):
    session = SQLiteSession("s")
    await session.add_items([{"role": "user", "content": "earlier"}])
    inner = agent("inner said", name="In")
    await go(way, above(inner.as_tool("ask", "Ask.", session=session)))
    assert [item["content"] for item in inner.model.calls[0].input] == ["earlier", "x"]
    assert [item["role"] for item in await session.get_items()] == ["user", "user", "assistant"]


@pytest.mark.parametrize("way", WAYS)
async def test_a_nested_session_by_id_is_in_the_runs_store(way):
    store = MemoryStore()
    await go(way, above(agent("inner said", name="In").as_tool("ask", "Ask.", session="s")), store=store)
    assert [one.item["role"] for one in await store.session_items("s")] == ["user", "assistant"]


# --- failure_error_function -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
async def test_a_nested_failure_is_told_to_the_model_by_default(way):
    result = await go(way, above(agent(ValueError("no model"), name="In").as_tool("ask", "Ask.")))
    assert (told(result), result.final_output) == ([FAILED + "no model"], "done")


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("way", WAYS)
async def test_a_function_says_what_the_model_is_told_of_a_nested_failure(way, is_async):
    def say(ctx, error):
        assert isinstance(ctx, ToolContext)
        return f"{ctx.tool_name}: {type(error).__name__}"

    async def say_async(ctx, error):
        return say(ctx, error)

    inner = agent(ValueError("no model"), name="In")
    tool = inner.as_tool("ask", "Ask.", failure_error_function=say_async if is_async else say)
    assert told(await go(way, above(tool))) == ["ask: ValueError"]


@pytest.mark.parametrize("way", WAYS)
async def test_without_a_failure_error_function_a_nested_failure_is_raised(way):
    tool = agent(ValueError("no model"), name="In").as_tool("ask", "Ask.", failure_error_function=None)
    error = await caught(way, above(tool))
    assert (type(error), str(error)) == (UserError, "Error running tool ask: no model")
    assert isinstance(error.__cause__, ValueError)


@pytest.mark.parametrize("way", WAYS)
async def test_a_nested_failure_that_was_raised_is_gone_on_with_where_it_failed(way):
    inner = in_turn(function_call("add", call_id="c1"), ValueError("not now"), "inner done", name="In", tools=[add])
    top = above(inner.as_tool("ask", "Ask.", failure_error_function=None))
    error = await caught(way, top)
    result = await go(way, top, error.run_data.result.to_state())
    assert told(result) == ["inner done"]
    assert len(inner.model.calls) == 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [("{no", "parsing tool arguments"), ("{}", "input: Field required"), ('{"input": 3}', "valid string"),
     ("[]", "Invalid JSON input"), ("", "input: Field required")],
)  # fmt: skip
@pytest.mark.parametrize("way", WAYS)
async def test_arguments_that_arent_the_tools_are_told_to_the_model(way, arguments, says):
    inner = agent("never", name="In")
    result = await go(way, above(inner.as_tool("ask", "Ask."), asking(arguments), "done"))
    assert says in told(result)[0]
    assert inner.model.calls == []
    strict = inner.as_tool("ask", "Ask.", failure_error_function=None)
    assert isinstance(await caught(way, above(strict, asking(arguments))), ModelBehaviorError)


# --- parameters, input_builder, include_input_schema ------------------------------------------------------------------


class Search(BaseModel):
    """What to look for."""

    query: str = Field(description="the words")
    most: int = 3


@dataclass
class Bare:
    query: str


@pytest.mark.parametrize("way", WAYS)
async def test_structured_parameters_are_told_with_a_summary_of_their_schema(way):
    inner = agent("found", name="In")
    tool = inner.as_tool("ask", "Ask.", parameters=Search)
    assert tool.params_json_schema["required"] == ["query", "most"]
    await go(way, above(tool, asking({"query": "tea", "most": 1}), "done"))
    text = inner.model.calls[0].input[0]["content"]
    assert '"query": "tea"' in text
    assert "What to look for." in text
    assert "- query (string, required)" in text
    assert "the words" in text
    assert "JSON Schema" not in text


@pytest.mark.parametrize("way", WAYS)
async def test_include_input_schema_tells_the_schema_itself(way):
    inner = agent("found", name="In")
    tool = inner.as_tool("ask", "Ask.", parameters=Search, include_input_schema=True)
    await go(way, above(tool, asking({"query": "tea", "most": 1}), "done"))
    text = inner.model.calls[0].input[0]["content"]
    assert "## Input JSON Schema:" in text
    assert '"additionalProperties": false' in text


@pytest.mark.parametrize("way", WAYS)
async def test_a_dataclass_without_descriptions_is_told_as_json(way):
    inner = agent("found", name="In")
    await go(way, above(inner.as_tool("ask", "Ask.", parameters=Bare), asking({"query": "tea"}), "done"))
    assert json.loads(inner.model.calls[0].input[0]["content"]) == {"query": "tea"}


@pytest.mark.parametrize("kind", ["text", "items", "async"])
@pytest.mark.parametrize("way", WAYS)
async def test_an_input_builder_makes_the_nested_input(way, kind):
    given = []

    def build(options):
        given.append(options)
        text = f"look for {options['params']['query']}"
        return text if kind == "text" else [{"role": "user", "content": text}, {"role": "user", "content": "please"}]

    async def build_async(options):
        return build(options)

    inner = agent("found", name="In")
    tool = inner.as_tool("ask", "Ask.", parameters=Search, input_builder=build_async if kind == "async" else build,
                         include_input_schema=kind == "items")  # fmt: skip
    await go(way, above(tool, asking({"query": "tea", "most": 1}), "done"))
    said = [item["content"] for item in inner.model.calls[0].input]
    assert said == (["look for tea"] if kind == "text" else ["look for tea", "please"])
    (options,) = given
    assert options["params"] == {"query": "tea", "most": 1}
    assert "query (string, required)" in options["summary"]
    assert (options["json_schema"] is not None) == (kind == "items")


@pytest.mark.parametrize("way", WAYS)
async def test_an_input_builder_also_makes_of_the_plain_input(way):
    inner = agent("found", name="In")
    tool = inner.as_tool("ask", "Ask.", input_builder=lambda options: f"<{options['params']['input']}>")
    await go(way, above(tool))
    assert inner.model.calls[0].input[0]["content"] == "<x>"


@pytest.mark.parametrize("way", WAYS)
async def test_an_input_builder_is_asked_once_however_long_the_nested_run_waits(way):
    asked = []

    def build(options):
        asked.append(1)
        return f"asked {len(asked)}"

    inner = agent(deleting(), "inner done", name="In", tools=[delete])
    top = above(inner.as_tool("ask", "Ask.", parameters=Bare, input_builder=build), asking({"query": "x"}), "done")
    result = await decided(way, top, await go(way, top))
    assert (told(result), asked) == (["inner done"], [1])


async def test_an_input_builder_that_gives_something_else_is_the_tools_failure():
    tool = agent("never", name="In").as_tool("ask", "Ask.", parameters=Bare, input_builder=lambda options: 3)
    result = await Runner.run(above(tool, asking({"query": "x"}), "done"), "go")
    assert "input_builder gives a text or a list of items" in told(result)[0]


@pytest.mark.parametrize("kind", [int, dict, "Search"])
def test_parameters_are_a_dataclass_or_a_pydantic_model(kind):
    with pytest.raises(TypeError, match="Agent tool parameters must be a dataclass or Pydantic model type"):
        Agent(name="A").as_tool("a", "b", parameters=kind)


@pytest.mark.parametrize("way", WAYS)
async def test_the_nested_run_knows_its_structured_input(way):
    seen = []
    inner = agent("found", name="In", instructions=lambda ctx, agent: seen.append(ctx.tool_input) or "")
    await go(way, above(inner.as_tool("ask", "Ask.", parameters=Search), asking({"query": "tea", "most": 1}), "done"))
    assert seen == [{"query": "tea", "most": 1}]


# --- context, usage, approvals ----------------------------------------------------------------------------------------

TOKENS = Usage(requests=1, input_tokens=1, output_tokens=2, total_tokens=3)


@pytest.mark.parametrize("way", WAYS)
async def test_a_nested_run_shares_the_apps_object_and_its_usage_is_part_of_the_callers(way):
    seen: list[Any] = []
    app = {"app": 1}
    inner = agent(ModelStep("inner", usage=TOKENS), name="In")
    inner.instructions = lambda ctx, agent: seen.append(ctx.context) or ""
    top = above(inner.as_tool("ask", "Ask."), ModelStep(asking(), usage=TOKENS), ModelStep("done", usage=TOKENS))
    usage = (await go(way, top, context=app)).context_wrapper.usage
    assert seen[0] is app
    assert (usage.requests, usage.input_tokens, usage.output_tokens, usage.total_tokens) == (3, 3, 6, 9)


@pytest.mark.parametrize("way", WAYS)
async def test_usage_of_a_nested_run_that_failed_or_waited_counts_once(way):
    failing = agent(ModelStep(function_call("nope", call_id="c1"), usage=TOKENS), name="In")
    steps = ModelStep(asking(), usage=TOKENS), ModelStep("done", usage=TOKENS)
    usage = (await go(way, above(failing.as_tool("ask", "Ask."), *steps))).context_wrapper.usage
    assert (usage.requests, usage.total_tokens) == (3, 9)
    waiting = agent(ModelStep(deleting(), usage=TOKENS), ModelStep("inner", usage=TOKENS), name="In", tools=[delete])
    top = above(waiting.as_tool("ask", "Ask."), *steps)
    usage = (await decided(way, top, await go(way, top))).context_wrapper.usage
    assert (usage.requests, usage.total_tokens) == (4, 12)


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("way", WAYS)
async def test_nested_interruptions_are_the_callers_and_are_approved_there(way, depth):
    inner = agent(deleting(), "inner done", name="In", tools=[delete])
    tool: Any = inner.as_tool("ask", "Ask.")
    for i in range(depth - 1):
        tool = agent(asking(), "middle done", name=f"Middle {i}", tools=[tool]).as_tool("ask", "Ask.")
    top = above(tool)
    result = await go(way, top)
    (item,) = result.interruptions
    assert (item.tool_name, item.call_id, json.loads(item.arguments)) == ("delete", "d1", {"row": "a"})
    assert item.agent is inner
    result = await decided(way, top, result)
    assert result.final_output == "done"
    assert told(result) == ["inner done" if depth == 1 else "middle done"]


@pytest.mark.parametrize("way", WAYS)
async def test_a_nested_call_may_be_rejected_with_a_message(way):
    inner = agent(deleting(), "inner done", name="In", tools=[delete])
    top = above(inner.as_tool("ask", "Ask."))
    result = await go(way, top)
    state = result.to_state()
    state.reject(result.interruptions[0], rejection_message="Not that row.")
    await go(way, top, state)
    assert inner.model.calls[1].input[-1]["output"] == "Not that row."


@pytest.mark.parametrize("way", WAYS)
async def test_a_nested_run_begins_without_the_callers_approvals(way):
    inner = agent(deleting("b", "d2"), "inner done", name="In", tools=[delete])
    tool = inner.as_tool("ask", "Ask.")
    top = agent(deleting(), asking(), "done", name="Top", tools=[delete, tool])
    result = await go(way, top)
    state = await RunState.from_string(top, result.to_state().to_string())
    state.approve(state.get_interruptions()[0], always_approve=True)
    result = await go(way, top, state)
    assert [(item.call_id, item.agent) for item in result.interruptions] == [("d2", inner)]


@pytest.mark.parametrize("way", WAYS)
async def test_two_calls_of_one_agent_wait_each_for_itself(way):
    inner = agent(deleting(), "inner done", name="In", tools=[delete])
    top = above(inner.as_tool("ask", "Ask."), [asking(call_id="t1"), asking(call_id="t2")], "done")
    result = await go(way, top)
    assert len(result.interruptions) == 2
    state = result.to_state()
    state.approve(result.interruptions[0])
    result = await go(way, top, state)
    assert len(result.interruptions) == 1
    result = await decided(way, top, result)
    assert told(result) == ["inner done"] * 2


# --- guardrails -------------------------------------------------------------------------------------------------------


@input_guardrail
def no_input(ctx, agent, input):
    return GuardrailFunctionOutput("seen", True)


@output_guardrail
def no_output(ctx, agent, output):
    return GuardrailFunctionOutput("seen", True)


@tool_input_guardrail
def no_call(data):
    return ToolGuardrailFunctionOutput.raise_exception("seen")


@function_tool(tool_input_guardrails=[no_call])
def guarded() -> str:
    """Guarded."""
    raise AssertionError


TRIPS: list[tuple[dict[str, Any], str, Any]] = [
    ({"input_guardrails": [no_input]}, "no_input", InputGuardrailTripwireTriggered),
    ({"output_guardrails": [no_output]}, "no_output", OutputGuardrailTripwireTriggered),
    ({"tools": [guarded]}, "no_call", ToolInputGuardrailTripwireTriggered),
]


@pytest.mark.parametrize(("fields", "name", "kind"), TRIPS, ids=[one[1] for one in TRIPS])
@pytest.mark.parametrize("way", WAYS)
async def test_a_nested_tripwire_is_the_tools_failure(way, fields, name, kind):
    def inner() -> Agent:
        return agent(function_call("guarded", call_id="c1") if "tools" in fields else "said", name="In", **fields)

    result = await go(way, above(inner().as_tool("ask", "Ask.")))
    assert told(result) == [f"{FAILED}guardrail '{name}' of agent 'In' triggered its tripwire"]
    assert result.input_guardrail_results == result.tool_input_guardrail_results == []
    error: Any = await caught(way, above(inner().as_tool("ask", "Ask.", failure_error_function=None)))
    assert type(error) is kind
    found = error if "tools" in fields else error.guardrail_result
    assert (found.guardrail.get_name(), found.output.output_info) == (name, "seen")


@pytest.mark.parametrize("way", WAYS)
async def test_a_tripwire_of_an_agent_that_the_nested_one_handed_off_to_is_found(way):
    other = agent("said", name="Other", output_guardrails=[no_output])
    inner = agent(function_call("transfer_to_other", call_id="h"), name="In", handoffs=[other])
    other.model = ScriptedModel(["said"])
    error: Any = await caught(way, above(inner.as_tool("ask", "Ask.", failure_error_function=None)))
    assert error.guardrail_result.guardrail is no_output
    assert error.guardrail_result.agent is other
    assert error.guardrail_result.agent_output == "said"


@pytest.mark.parametrize("way", WAYS)
async def test_guardrails_of_the_tool_itself_judge_its_call_once(way):
    asked = []

    @tool_input_guardrail
    def before(data):
        asked.append(("before", data.context.tool_arguments))
        return ToolGuardrailFunctionOutput.allow()

    @tool_output_guardrail
    def after(data):
        asked.append(("after", data.output))
        return ToolGuardrailFunctionOutput.reject_content("hidden")

    inner = agent(deleting(), "inner done", name="In", tools=[delete])
    tool = inner.as_tool("ask", "Ask.")
    tool.tool_input_guardrails, tool.tool_output_guardrails = [before], [after]
    top = above(tool)
    result = await decided(way, top, await go(way, top))
    assert told(result) == ["hidden"]
    assert asked == [("before", '{"input": "x"}'), ("after", "inner done")]
    assert len(result.tool_input_guardrail_results) == len(result.tool_output_guardrail_results) == 1


# --- outputs ----------------------------------------------------------------------------------------------------------


class Sum(BaseModel):
    total: int


@pytest.mark.parametrize(
    ("kind", "said", "text", "value"),
    [
        (Sum, '{"total": 3}', '{"total": 3}', Sum(total=3)),
        (list[int], '{"response": [1, 2]}', "[1, 2]", [1, 2]),
        (int, '{"response": 3}', "3", 3),
        (list[int], '{"response": []}', "[]", []),
    ],
)
@pytest.mark.parametrize("way", WAYS)
async def test_a_nested_output_of_a_type_is_a_value_and_told_as_json(way, kind, said, text, value):
    result = await go(way, above(agent(said, name="In", output_type=kind).as_tool("ask", "Ask.")))
    assert told(result) == [text]
    assert [item.output for item in result.new_items if item.type == "tool_call_output_item"] == [value]


@function_tool
def speak() -> str:
    """Speak."""
    return "tool said"


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([function_call("speak", call_id="c1"), ""], "tool said"),
        ([""], ""),
        ([[{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "so"}]},
           function_call("speak", call_id="c1")], ""], "tool said"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("way", WAYS)
async def test_an_empty_nested_output_is_the_last_text_there_was(way, steps, said):
    inner = agent(*steps, name="In", tools=[speak])
    assert told(await go(way, above(inner.as_tool("ask", "Ask.")))) == [said]


@pytest.mark.parametrize("way", WAYS)
async def test_an_agent_tools_output_may_end_the_run(way):
    tool = agent('{"total": 3}', name="In", output_type=Sum).as_tool("ask", "Ask.")
    result = await go(way, above(tool, output_type=Sum, tool_use_behavior="stop_on_first_tool"))
    assert result.final_output == Sum(total=3)


@pytest.mark.parametrize("way", WAYS)
async def test_items_say_which_agent_a_tool_is(way):
    inner = agent("inner", name="In")
    result = await go(way, above(inner.as_tool("ask", "Ask.")))
    call, output = result.new_items[:2]
    for item in (call, output):
        assert (item.tool_origin.type.value, item.tool_origin.agent_name) == ("agent_as_tool", "In")
    assert (call.tool_name, call.description) == ("ask", "Ask.")
