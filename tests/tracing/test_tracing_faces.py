"""What a run is told of its tracing: by its configuration, the trace around it, the environment, its state."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tracing_making import Kept, everything, forms, look_up, name_of, of_facts, refund, said, tree_of, weather

from flowcore import (
    Agent,
    MemoryStore,
    RunConfig,
    Runner,
    RunState,
    custom_span,
    function_tool,
    get_current_span,
    get_current_trace,
    set_trace_processors,
    start,
    trace,
)
from flowcore.testing import function_call

ELSEWHERE = Path(__file__).with_name("tracing_state_elsewhere.py")
TRACE_ID = "trace_" + "b" * 32


def traces(kept: Kept) -> list[str]:
    return [one for one, _ in kept.log if "trace" in one]


async def approved(agent: Any, result: Any, **more: Any) -> Any:
    """The run gone on with, with every question answered by yes."""
    while result.interruptions:
        state = result.to_state()
        for item in state.get_interruptions():
            state.approve(item)
        result = await Runner.run(agent, state, **more)
    return result


# -- traces around runs ------------------------------------------------------------------------------------------------


async def test_the_turns_of_a_conversation_are_one_trace(kept: Kept) -> None:
    agent: Any = Agent("Assistant", instructions="Reply concisely.", model=said("San Francisco", "California"))
    thread_id = "thread_123"
    with trace(workflow_name="Conversation", group_id=thread_id):
        result = await Runner.run(agent, "What city is the Golden Gate Bridge in?")
        assert result.final_output == "San Francisco"
        new_input = [*result.to_input_list(), {"role": "user", "content": "What state is it in?"}]
        result = await Runner.run(agent, new_input)
        assert result.final_output == "California"
    assert [(one.name, one.group_id) for one in kept.traces] == [("Conversation", "thread_123")]
    assert traces(kept) == ["trace+", "trace-"]
    run = ["task Agent workflow", "  agent Assistant", "    turn 1", "      generation"]
    assert tree_of(kept.started) == run * 2
    assert {one.trace_id for one in kept.ended} == {kept.traces[0].trace_id}
    assert {one.trace_group_id for one in kept.ended} == {"thread_123"}
    assert len(forms(kept.ended)) == 8


def test_runs_of_sync_code_belong_to_the_trace_around_them(kept: Kept) -> None:
    agent: Any = Agent("A", model=said(function_call("look_up", {"word": "x"}), "ok"), tools=[look_up])
    with trace("Sync") as outer, custom_span("step") as step:
        Runner.run_sync(agent, "hi")
        agent.run("hi")
        for _ in agent.run("hi", stream=True):
            assert get_current_span() is step
    assert get_current_trace() is None
    assert {one.trace_id for one in kept.ended} == {outer.trace_id}
    assert [one.parent_id for one in kept.of("task")] == [step.span_id] * 3
    dictionaries = [one for one in kept.of("custom") if one.span_data.name == "dictionary"]
    assert [one.parent_id for one in dictionaries] == [one.span_id for one in kept.of("function")]


async def test_runs_at_the_same_time_keep_to_their_own_spans(kept: Kept) -> None:
    def run(name: str) -> Any:
        agent: Any = Agent(name, model=said(function_call("look_up", {"word": name}), name), tools=[look_up])
        return Runner.run(agent, "hi")

    with trace("Many"), custom_span("step") as step:
        await asyncio.gather(*(run(str(n)) for n in range(5)))
    assert [one.parent_id for one in kept.of("task")] == [step.span_id] * 5
    inputs = {one.span_id: json.loads(one.span_data.input)["word"] for one in kept.of("function")}
    made = [one for one in kept.of("custom") if one.span_data.name == "dictionary"]
    assert {one.span_data.data["word"]: inputs[one.parent_id] for one in made} == {str(n): str(n) for n in range(5)}


async def test_the_trace_around_a_run_goes_before_its_configuration(kept: Kept) -> None:
    config = RunConfig(workflow_name="Mine", trace_id=TRACE_ID, group_id="g2", trace_metadata={"k": 2})
    with trace("Outer", group_id="g1", metadata={"k": 1, "when": MemoryStore}, tracing={"api_key": "secret"}) as outer:
        await Runner.run(Agent("A", model=said("hi")), "hi", run_config=config)
        assert get_current_trace() is outer
    assert [(one.name, one.trace_id) for one in kept.traces] == [("Outer", outer.trace_id)]
    assert outer.trace_id != TRACE_ID
    assert {(one.trace_id, one.trace_group_id, one.tracing_api_key) for one in kept.ended} == {
        (outer.trace_id, "g1", "secret")
    }
    assert kept.of("task")[0].span_data.name == "Mine"


async def test_a_run_that_isn_t_traced_hides_the_trace_around_it(kept: Kept) -> None:
    found: list[Any] = []
    quiet = RunConfig(tracing_disabled=True)
    helper: Any = Agent("Helper", model=said(function_call("look_up", {"word": "x"}), "hm"), tools=[look_up])

    @function_tool
    async def looks() -> str:
        found.append((get_current_trace(), get_current_span()))
        with custom_span("mine"):
            await Runner.run(Agent("Inner", model=said("in")), "hi")
        return "ok"

    agent: Any = Agent(
        "A",
        model=said([function_call("looks"), function_call("ask", {"input": "x"})], "done"),
        tools=[looks, helper.as_tool("ask", "Asks.")],
    )
    with trace("Outer") as outer, custom_span("step") as step:
        await Runner.run(agent, "hi", run_config=quiet)
        assert (get_current_trace(), get_current_span()) == (outer, step)
    assert tree_of(kept.started) == ["custom step"]
    inside, span = found[0]
    assert (inside.export(), span.export()) == (None, None)


async def test_a_nested_run_may_say_less_than_the_run_around_it(kept: Kept) -> None:
    def helper(name: str, config: RunConfig) -> Any:
        agent: Any = Agent(name, model=said(function_call("look_up", {"word": name}), "hm"), tools=[look_up])
        return agent.as_tool(name.lower(), "Asks.", run_config=config)

    discreet = helper("Discreet", RunConfig(trace_include_sensitive_data=False))
    silent = helper("Silent", RunConfig(tracing_disabled=True))
    calls = [function_call("discreet", {"input": "x"}), function_call("silent", {"input": "y"})]
    await Runner.run(Agent("A", model=said(calls, "done"), tools=[discreet, silent]), "hi")
    assert [one.span_data.name for one in kept.of("agent")] == ["Discreet", "A"]
    inner = next(one.span_data for one in kept.of("function") if one.span_data.name == "look_up")
    assert (inner.input, inner.output) == (None, None)
    outer = {one.span_data.name: one.span_data.output for one in kept.of("function")}
    assert (outer["discreet"], outer["silent"]) == ("hm", "hm")
    nested = [one for one in kept.of("custom") if one.span_data.name == "dictionary"]
    assert len(nested) == 1


# -- configurations ----------------------------------------------------------------------------------------------------


async def test_a_run_config_says_how_a_run_is_traced(kept: Kept) -> None:
    config = RunConfig(
        workflow_name="Billing",
        trace_id=TRACE_ID,
        group_id="chat-1",
        trace_metadata={"tenant": "t1"},
        tracing={"api_key": "secret", "include_task_and_turn_spans": False},
        trace_include_sensitive_data=False,
    )
    agent: Any = Agent("A", model=said(function_call("weather", {"city": "Rome"}), "warm"), tools=[weather])
    store = MemoryStore()
    result = await Runner.run(agent, "hi", run_config=config, store=store)
    assert kept.traces[0].export() == {
        "object": "trace",
        "id": TRACE_ID,
        "workflow_name": "Billing",
        "group_id": "chat-1",
        "metadata": {"tenant": "t1"},
    }
    assert [name_of(one) for one in kept.started] == ["agent A", "generation", "function weather", "generation"]
    assert {(one.tracing_api_key, one.trace_group_id) for one in kept.ended} == {("secret", "chat-1")}
    assert kept.of("generation")[0].span_data.input is None
    assert kept.of("function")[0].span_data.output is None
    assert "secret" not in str(result.run.facts)


async def test_a_disabled_run_tells_nobody(kept: Kept) -> None:
    agent: Any = Agent("A", model=said(function_call("look_up", {"word": "x"}), "ok"), tools=[look_up])
    await Runner.run(agent, "hi", run_config=RunConfig(tracing_disabled=True))
    await agent.arun("hi", run_config=RunConfig(tracing_disabled=True))
    assert kept.log == []


async def test_the_environment_may_keep_sensitive_data_out(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_AGENTS_TRACE_INCLUDE_SENSITIVE_DATA", "false")
    agent: Any = Agent("A", model=said(function_call("weather", {"city": "Rome"}), "warm"), tools=[weather])
    await Runner.run(agent, "hi")
    await agent.arun("hi")
    run = await start(agent, "hi")
    await run
    assert len(kept.of("generation")) == 6
    assert {one.span_data.input for kind in ("generation", "function") for one in kept.of(kind)} == {None}
    assert "Rome" not in str([one.export() for one in kept.ended])


async def test_an_agent_s_own_verbs_are_traced_like_the_runner_s(kept: Kept) -> None:
    agent: Any = Agent("A", model=said("hi"))
    await agent.arun("hi")
    await agent.arun("hi", run_config=RunConfig(workflow_name="Billing", group_id="g", trace_metadata={"k": 1}))
    async for _ in agent.arun("hi", stream=True):
        pass
    assert [one.name for one in kept.traces] == ["A", "Billing", "A"]
    assert (kept.traces[1].group_id, kept.traces[1].metadata) == ("g", {"k": 1})
    lines = [line.strip() for line in tree_of(kept.started)]
    assert lines[1:4] == ["agent A", "turn 1", "generation"]
    assert len(lines) == 3 * 4


# -- the same spans ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["streamed", "resumed", "state without a store", "state from JSON"])
async def test_however_a_run_goes_its_spans_are_the_same(kept: Kept, way: str) -> None:
    agent = everything()
    result = await approved(agent, await Runner.run(agent, "hi", run_id="r", store=MemoryStore()))
    assert result.final_output == "all done"
    expected = of_facts(forms(kept.ended))
    assert traces(kept) == ["trace+", "trace-"]
    kept.__init__()  # type: ignore[misc]
    agent = everything()
    if way == "streamed":
        streamed: Any = Runner.run_streamed(agent, "hi", run_id="r")
        while True:
            async for _ in streamed.stream_events():
                pass
            if not streamed.interruptions:
                break
            state = streamed.to_state()
            state.approve(state.get_interruptions()[0])
            streamed = Runner.run_streamed(agent, state)
        result = streamed
    elif way == "resumed":
        result = await approved(agent, await Runner.run(agent, "hi", run_id="r", store=MemoryStore()))
    elif way == "state without a store":
        result = await approved(agent, await Runner.run(agent, "hi", run_id="r"))
    else:
        result = await Runner.run(agent, "hi", run_id="r")
        state = await RunState.from_json(agent, json.loads(json.dumps(result.to_state().to_json())))
        state.approve(state.get_interruptions()[0])
        result = await Runner.run(agent, state)
    assert result.final_output == "all done"
    assert of_facts(forms(kept.ended)) == expected
    assert traces(kept) == ["trace+", "trace-"]


async def test_a_state_goes_on_in_another_process_in_the_same_trace(kept: Kept) -> None:
    agent = everything()
    config = RunConfig(workflow_name="Billing", group_id="g", tracing={"api_key": "k1"})
    result = await approved(agent, await Runner.run(agent, "hi", run_id="r", run_config=config))
    expected = of_facts(forms(kept.ended))
    kept.__init__()  # type: ignore[misc]
    result = await Runner.run(everything(), "hi", run_id="r", run_config=config)
    state = result.to_state()
    assert "k1" not in state.to_string()
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, ELSEWHERE], input=state.to_string(), capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout)
    assert told["output"] == "all done"
    assert [one for one, _ in told["log"] if "trace" in one] == ["trace-"]
    assert told["keys"] == ["k2"]
    here, there = of_facts(forms(kept.ended)), of_facts(told["spans"])
    assert not here.keys() & there.keys()
    assert {**here, **there} == json.loads(json.dumps(expected))


async def test_a_state_brings_the_exporter_s_key_along_on_request(kept: Kept) -> None:
    agent: Any = Agent("A", model=said(function_call("refund", {"order": 1}, "c"), "ok"), tools=[refund])
    result = await Runner.run(agent, "hi", run_config=RunConfig(tracing={"api_key": "k1"}))
    kept.__init__()  # type: ignore[misc]
    data = result.to_state().to_json(include_tracing_api_key=True)
    state = await RunState.from_json(agent, data)
    state.approve(state.get_interruptions()[0])
    await Runner.run(agent, state)
    assert {one.tracing_api_key for one in kept.ended} == {"k1"}


async def test_a_state_may_go_on_untraced(kept: Kept) -> None:
    agent: Any = Agent("A", model=said(function_call("refund", {"order": 1}, "c"), "ok"), tools=[refund])
    result = await Runner.run(agent, "hi")
    kept.__init__()  # type: ignore[misc]
    await approved(agent, result, run_config=RunConfig(tracing_disabled=True))
    assert kept.log == []


async def test_a_run_begun_inside_of_a_trace_goes_on_in_it_after_that_has_ended(kept: Kept) -> None:
    agent: Any = Agent("A", model=said(function_call("refund", {"order": 1}, "c"), "ok"), tools=[refund])
    with trace("Outer", group_id="g") as outer, custom_span("step") as step:
        result = await Runner.run(agent, "hi")
    set_trace_processors([kept])
    await approved(agent, result)
    task = kept.of("task")[0]
    assert (task.trace_id, task.parent_id, task.trace_group_id) == (outer.trace_id, step.span_id, "g")
    assert traces(kept) == ["trace+", "trace-"]
