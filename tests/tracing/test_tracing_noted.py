"""What spans tell that no fact holds: what the loop notes while it goes on."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from tracing_making import Kept, forms, name_of, of_facts, said, weather

from flowcore import (
    Agent,
    MemoryStore,
    ModelSettings,
    RunConfig,
    RunHooks,
    Runner,
    SQLiteSession,
    ToolGuardrailFunctionOutput,
    ToolInputGuardrailTripwireTriggered,
    UserError,
    custom_span,
    function_tool,
    generation_span,
    get_current_span,
    handoff,
    input_guardrail,
    output_guardrail,
    tool_input_guardrail,
    tool_output_guardrail,
)
from flowcore.agents.guardrails import GuardrailFunctionOutput
from flowcore.agents.run_config import ModelInputData, ToolExecutionConfig
from flowcore.mcp import MCPServerStdio
from flowcore.testing import ScriptedModel, function_call, journals
from flowcore.tracing import Span, spans_of

MCP = Path(__file__).with_name("tracing_mcp_server.py")


def above(kept: Kept, span: Span[Any]) -> str:
    """The name of the span that a span hangs under."""
    return next((name_of(one) for one in kept.started if one.span_id == span.parent_id), "the trace")


def custom(kept: Kept) -> dict[str, str]:
    """Where the spans that code made hang, by name."""
    return {one.span_data.name: above(kept, one) for one in kept.of("custom")}


# -- a model's call ----------------------------------------------------------------------------------------------------


async def test_a_generation_tells_its_settings_and_what_the_model_was_sent(kept: Kept, tmp_path: Path) -> None:
    session = SQLiteSession("s", tmp_path / "s.db")
    agent: Any = Agent(
        "A",
        instructions="Be brief.",
        model=said("one", "two"),
        model_settings=ModelSettings(temperature=0.5, max_tokens=9),
    )
    await Runner.run(agent, "first", session=session)
    await Runner.run(agent, "second", session=session)
    data = kept.of("generation")[-1].span_data
    assert data.model == "scripted"
    assert data.model_config == {"temperature": 0.5, "max_tokens": 9}
    assert [one["role"] for one in data.input] == ["system", "user", "assistant", "user"]
    assert (data.input[0]["content"], data.input[-1]["content"]) == ("Be brief.", "second")
    assert data.usage["input_tokens"] == 10


async def test_a_generation_s_input_is_what_the_filter_made_of_it(kept: Kept) -> None:
    def shorten(data: Any) -> ModelInputData:
        return ModelInputData(data.model_data.input[-1:], "Filtered.")

    calls = ScriptedModel([function_call("weather", {"city": "Rome"}), "warm"])
    config = RunConfig(call_model_input_filter=shorten)
    await Runner.run(Agent("A", instructions="Long.", model=calls, tools=[weather]), "hi", run_config=config)
    first, second = (one.span_data.input for one in kept.of("generation"))
    assert first == [{"role": "system", "content": "Filtered."}, {"role": "user", "content": "hi"}]
    assert [one.get("type") for one in second[1:]] == ["function_call_output"]


async def test_a_generation_s_input_is_as_it_was_then(kept: Kept) -> None:
    model = said(*[function_call("weather", {"city": str(n)}) for n in range(3)], "done")
    await Runner.run(Agent("A", model=model, tools=[weather]), "hi")
    assert [len(one.span_data.input) for one in kept.of("generation")] == [1, 3, 5, 7]


async def test_each_attempt_tells_what_it_was_sent(kept: Kept) -> None:
    @input_guardrail
    def fine(ctx: Any, agent: Any, input: Any) -> GuardrailFunctionOutput:
        return GuardrailFunctionOutput(None, False)

    agent: Any = Agent("A", instructions="Be.", model=said("hi"), input_guardrails=[fine])
    await Runner.run(agent, "hello")  # the call is an effect of its own, beside the guardrail
    assert [one["content"] for one in kept.of("generation")[0].span_data.input] == ["Be.", "hello"]


# -- a tool's call -----------------------------------------------------------------------------------------------------


async def test_an_error_that_the_model_is_told_of_is_an_error_of_the_call_alone(kept: Kept) -> None:
    @function_tool
    def fails(what: str) -> str:
        raise ValueError(f"boom {what}")

    @function_tool(timeout=0.001)
    async def sleeps() -> str:
        await asyncio.Event().wait()
        return "never"

    single, several = (
        function_call("fails", {"what": "a"}),
        [function_call("fails", {"what": "b"}), function_call("sleeps")],
    )
    result = await Runner.run(Agent("A", model=said(single, several, "ok"), tools=[fails, sleeps]), "hi")
    assert result.final_output == "ok"
    errors = [one.error for one in kept.of("function")]
    assert [one["message"] for one in errors] == ["Error running tool (non-fatal)"] * 3
    assert errors[0]["data"] == {"tool_name": "fails", "error": "boom a"}
    told = {one["data"]["error"] for one in errors[1:]}
    assert "boom b" in told
    assert any("timed out" in one for one in told)
    assert {one.error for kind in ("turn", "agent", "task", "generation") for one in kept.of(kind)} == {None}


async def test_a_nested_agent_s_failure_is_an_error_of_its_call(kept: Kept) -> None:
    helper: Any = Agent("Helper", model=said(ValueError("no model")))
    model = said(
        function_call("ask", {"input": "x"}),
        [function_call("ask", {"input": "y"}), function_call("weather", {"city": "Rome"})],
        "ok",
    )
    store = MemoryStore()
    agent: Any = Agent("A", model=model, tools=[weather, helper.as_tool("ask", "Asks.")])
    result = await Runner.run(agent, "hi", store=store)
    assert result.final_output == "ok"
    asks = [one for one in kept.of("function") if one.span_data.name == "ask"]
    assert [one.error["message"] for one in asks] == ["Error running tool (non-fatal)"] * 2
    assert "no model" in asks[0].error["data"]["error"]
    nested = [one for one in kept.of("task") if one.parent_id]
    assert [one.parent_id for one in nested] == [one.span_id for one in asks]
    assert {one.error["message"] for one in kept.of("agent") if one.span_data.name == "Helper"} == {
        "Error in agent run"
    }
    assert all(one.span_data.output for one in asks)
    for child, call in zip(nested, asks, strict=True):
        assert call.start_time <= child.start_time <= child.end_time <= call.end_time
    tree = await journals(store, result.run.id)
    assert of_facts(forms(spans_of(tree, agent))) == of_facts(forms(kept.ended))


async def test_a_nested_run_s_output_is_what_the_model_is_told(kept: Kept) -> None:
    async def shout(result: Any) -> str:
        with custom_span("extract"):
            return str(result.final_output).upper()

    helper: Any = Agent("Helper", model=said("quiet", "quiet"))
    ask = helper.as_tool("ask", "Asks.", custom_output_extractor=shout)
    one = function_call("ask", {"input": "x"})
    model = said(one, [one, function_call("weather", {"city": "Rome"})], "ok")
    await Runner.run(Agent("A", model=model, tools=[ask, weather]), "hi")
    asks = [one for one in kept.of("function") if one.span_data.name == "ask"]
    assert [one.span_data.output for one in asks] == ["QUIET", "QUIET"]
    assert [above(kept, one) for one in kept.of("custom") if one.span_data.name == "extract"] == ["function ask"] * 2


async def test_a_server_s_listing_and_calls_are_told_as_such(kept: Kept) -> None:
    model = said(function_call("read", {"name": "a"}), function_call("lose", {"name": "b"}), "ok")
    async with MCPServerStdio({"command": sys.executable, "args": [str(MCP)]}, name="files") as server:
        agent: Any = Agent("A", model=model, tools=[weather], mcp_servers=[server])
        result = await Runner.run(agent, "hi")
    assert result.final_output == "ok"
    listings = kept.of("mcp_tools")
    assert [(one.span_data.server, one.span_data.result) for one in listings] == [("files", ["read", "lose"])] * 3
    assert [above(kept, one) for one in listings] == ["turn 1", "turn 2", "turn 3"]
    assert all(one.start_time < one.end_time for one in listings)
    read, _ = kept.of("function")
    assert read.export()["span_data"]["mcp_data"] == {"server": "files"}
    assert kept.of("agent")[0].span_data.tools == ["read", "lose", "weather"]
    assert of_facts(forms(spans_of(result.run))).keys() == of_facts(forms(kept.ended)).keys()


async def test_a_server_that_can_t_be_asked_is_an_error_of_its_listing(kept: Kept) -> None:
    async with MCPServerStdio({"command": sys.executable, "args": [str(MCP)]}, name="files") as server:
        pass
    with pytest.raises(UserError, match="not initialized"):
        await Runner.run(Agent("A", model=said("hi"), mcp_servers=[server]), "hi")
    listing = kept.of("mcp_tools")[0]
    assert listing.error is not None
    assert listing.error["message"] == "Error listing MCP tools"
    assert kept.of("generation") == []
    assert {one.span_id for one in kept.started} == {one.span_id for one in kept.ended}


# -- guardrails of tools -----------------------------------------------------------------------------------------------


@tool_input_guardrail
def no_rome(data: Any) -> ToolGuardrailFunctionOutput:
    with custom_span("in guardrail"):
        if "Rome" in data.context.tool_arguments:
            return ToolGuardrailFunctionOutput.reject_content("not Rome")
        if "Hell" in data.context.tool_arguments:
            return ToolGuardrailFunctionOutput.raise_exception()
        return ToolGuardrailFunctionOutput.allow()


@tool_output_guardrail
def not_hot(data: Any) -> ToolGuardrailFunctionOutput:
    return ToolGuardrailFunctionOutput.allow()


def guarded(**more: Any) -> Any:
    @function_tool(tool_input_guardrails=[no_rome], tool_output_guardrails=[not_hot], **more)
    def forecast(city: str) -> str:
        return f"fine in {city}"

    return forecast


@pytest.mark.parametrize("several", [False, True])
async def test_a_tool_s_guardrails_are_spans_of_its_call(kept: Kept, several: bool) -> None:
    more = [function_call("weather", {"city": "Oslo"})] if several else []
    steps = [[function_call("forecast", {"city": city}), *more] for city in ("Bern", "Rome")]
    store = MemoryStore()
    agent: Any = Agent("A", model=said(*steps, "ok"), tools=[guarded(), weather])
    result = await Runner.run(agent, "hi", store=store)
    spans = [(name_of(one), one.span_data.triggered, above(kept, one)) for one in kept.of("guardrail")]
    assert spans == [
        ("guardrail no_rome", False, "function forecast"),
        ("guardrail not_hot", False, "function forecast"),
        ("guardrail no_rome", True, "function forecast"),
    ]
    outputs = [one.span_data.output for one in kept.of("function") if one.span_data.name == "forecast"]
    assert outputs == ["fine in Bern", "not Rome"]
    assert custom(kept) == {"in guardrail": "function forecast"}
    tree = await journals(store, result.run.id)
    assert of_facts(forms(spans_of(tree, agent))) == of_facts(forms(kept.ended))


@pytest.mark.parametrize("several", [False, True])
async def test_a_tool_s_guardrail_that_ends_the_run_is_an_error_of_the_call_the_turn_and_the_agent(
    kept: Kept, several: bool
) -> None:
    more = [function_call("weather", {"city": "Oslo"})] if several else []
    agent: Any = Agent(
        "A", model=said([function_call("forecast", {"city": "Hell"}), *more]), tools=[guarded(), weather]
    )
    store = MemoryStore()
    with pytest.raises(ToolInputGuardrailTripwireTriggered):
        await Runner.run(agent, "hi", store=store, run_id="r")
    error = {"message": "Guardrail tripwire triggered", "data": {"guardrail": "no_rome"}}
    function = next(one for one in kept.of("function") if one.span_data.name == "forecast")
    assert (function.error, function.span_data.output) == (error, None)
    assert [kept.of(kind)[0].error for kind in ("turn", "agent", "task")] == [error, error, None]
    assert kept.of("guardrail")[0].span_data.triggered
    assert of_facts(forms(spans_of(await journals(store, "r"), agent))) == of_facts(forms(kept.ended))


async def test_a_call_that_guardrails_stop_before_anybody_is_asked_has_its_span(kept: Kept) -> None:
    config = RunConfig(tool_execution=ToolExecutionConfig(pre_approval_tool_input_guardrails=True))
    calls = [function_call("forecast", {"city": "Rome"}), function_call("forecast", {"city": "Bern"})]
    agent: Any = Agent("A", model=said(calls, "ok"), tools=[guarded(needs_approval=True)])
    store = MemoryStore()
    result = await Runner.run(agent, "hi", store=store, run_config=config)
    state = result.to_state()
    state.approve(result.interruptions[0])
    result = await Runner.run(agent, state, run_config=config)
    assert result.final_output == "ok"
    assert sorted(str(one.span_data.output) for one in kept.of("function")) == ["fine in Bern", "not Rome"]
    assert [above(kept, one) for one in kept.of("custom") if one.span_data.name == "in guardrail"] == (
        ["function forecast"] * 3
    )
    tree = await journals(store, result.run.id)
    assert of_facts(forms(spans_of(tree, agent))) == of_facts(forms(kept.ended))


# -- spans that code makes ---------------------------------------------------------------------------------------------


class Spanning(RunHooks[Any]):
    """Opens a span in every hook."""

    async def on_agent_start(self, context: Any, agent: Any) -> None:
        with custom_span(f"start {agent.name}"):
            pass

    async def on_agent_end(self, context: Any, agent: Any, output: Any) -> None:
        with custom_span(f"end {agent.name}"):
            pass

    async def on_llm_start(self, context: Any, agent: Any, prompt: Any, items: Any) -> None:
        with custom_span(f"llm {agent.name}"):
            pass

    async def on_tool_start(self, context: Any, agent: Any, tool: Any) -> None:
        with custom_span(f"begin {tool.name}"):
            pass

    async def on_tool_end(self, context: Any, agent: Any, tool: Any, result: Any) -> None:
        with custom_span(f"done {tool.name}"):
            pass

    async def on_handoff(self, context: Any, from_agent: Any, to_agent: Any) -> None:
        with custom_span("hands off"):
            pass


async def test_spans_made_in_tools_hooks_and_guardrails_hang_where_they_were_made(kept: Kept) -> None:
    @function_tool
    def threaded(n: int) -> str:
        with custom_span("in thread"), custom_span("deeper"):
            return str(n)

    @function_tool
    async def awaited(n: int) -> str:
        async def aside() -> None:
            with custom_span("in task"):
                await asyncio.sleep(0)

        await asyncio.gather(aside(), aside())
        with generation_span(model="m") as span:
            assert get_current_span() is span
        return str(n)

    @input_guardrail
    async def watchful(ctx: Any, agent: Any, input: Any) -> GuardrailFunctionOutput:
        with custom_span("in input guardrail"):
            return GuardrailFunctionOutput(None, False)

    @output_guardrail
    async def polite(ctx: Any, agent: Any, output: Any) -> GuardrailFunctionOutput:
        with custom_span("in output guardrail"):
            return GuardrailFunctionOutput(None, False)

    def instructions(ctx: Any, agent: Any) -> str:
        with custom_span(f"instructions of {agent.name}"):
            return "Be."

    helper: Any = Agent("Helper", model=said(function_call("threaded", {"n": 1}), "hm"), tools=[threaded])
    end: Any = Agent("End", model=said(*[None] * 3, "done"), output_guardrails=[polite], instructions=instructions)
    model = said(
        [function_call("threaded", {"n": 1}), function_call("awaited", {"n": 2})],
        [function_call("ask", {"input": "x"}), function_call("awaited", {"n": 3})],
        function_call("transfer_to_end"),
    )
    agent: Any = Agent(
        "A", model=model, tools=[threaded, awaited, helper.as_tool("ask", "Asks.", hooks=Spanning())],
        handoffs=[handoff(end)], input_guardrails=[watchful],
    )  # fmt: skip
    result = await Runner.run(agent, "hi", hooks=Spanning())
    assert result.final_output == "done"
    assert custom(kept) == {
        "in input guardrail": "guardrail watchful",
        "start A": "turn 1",
        "llm A": "turn 3",
        "begin threaded": "function threaded",
        "in thread": "function threaded",
        "deeper": "custom in thread",
        "done threaded": "function threaded",
        "begin awaited": "function awaited",
        "in task": "function awaited",
        "done awaited": "function awaited",
        "begin ask": "function ask",
        "done ask": "function ask",
        "start Helper": "turn 1",
        "llm Helper": "turn 2",
        "end Helper": "agent Helper",
        "hands off": "handoff A>End",
        "start End": "turn 4",
        "instructions of End": "turn 4",
        "llm End": "turn 4",
        "in output guardrail": "guardrail polite",
        "end End": "agent End",
    }
    made = next(one for one in kept.of("generation") if one.span_data.model == "m")
    assert above(kept, made) == "function awaited"
    agents = {one.span_id: one.span_data.name for one in kept.of("agent")}
    turns = {one.span_id: agents[one.parent_id] for one in kept.of("turn")}
    nested = next(one for one in kept.of("custom") if one.span_data.name == "start Helper")
    assert turns[nested.parent_id] == "Helper"


async def test_after_a_run_inside_of_a_span_that_span_is_current_again(kept: Kept) -> None:
    agent: Any = Agent("A", model=said("hi"))

    @function_tool
    async def nests() -> str:
        with custom_span("around") as around:
            inner = await Runner.run(agent, "hi")
            assert get_current_span() is around
            with custom_span("after"):
                pass
        return str(inner.final_output)

    await Runner.run(Agent("B", model=said(function_call("nests"), "ok"), tools=[nests]), "hi")
    assert custom(kept) == {"around": "function nests", "after": "custom around"}
    assert [above(kept, one) for one in kept.of("task")] == ["custom around", "the trace"]
