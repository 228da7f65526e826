"""What agents' and graphs' runs are traced as."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tracing_making import (
    EVERYTHING,
    Kept,
    broken,
    everything,
    forms,
    look_up,
    name_of,
    no_shouting,
    no_whispering,
    of_facts,
    polite,
    refund,
    said,
    weather,
    where,
)

from flowcore import (
    END,
    START,
    Agent,
    Context,
    Goto,
    Graph,
    ModelError,
    ModelSettings,
    Retry,
    RunConfig,
    Runner,
    State,
    continues,
    custom_span,
    function_tool,
    get_current_span,
    get_current_trace,
    node,
    start,
    trace,
)
from flowcore.engine.observe import Noted
from flowcore.testing import ManualClock, ScriptedModel, function_call, journals
from flowcore.tracing import set_tracing_disabled, spans_of
from flowcore.tracing.derive import SpanTree

META = {"workflow_name": "Agent workflow"}


async def finished(agent: Agent[Any], input: Any = "hi", **more: Any) -> Any:
    """A run below the faces, with everything answered by yes."""
    run = await start(agent, input, **more)
    while await run.drive() == "waiting":
        for request in await run.requests():
            await run.answer(request.key)
    return run


async def test_a_run_is_traced_as_what_it_did(kept: Kept) -> None:
    run = await finished(everything(), meta={"trace": META})
    assert run.standing == "done"
    lines = kept.tree()
    assert sorted(lines) == sorted(EVERYTHING)
    assert [one for one in lines if "turn" in one or "agent" in one] == [
        one for one in EVERYTHING if "turn" in one or "agent" in one
    ]
    assert kept.log[0][0] == "trace+"
    assert kept.log[-1][0] == "trace-"
    assert {span.span_id for span in kept.started} == {span.span_id for span in kept.ended}
    assert {span.trace_id for span in kept.started} == {kept.traces[0].trace_id}
    started: set[str | None] = {None}
    for span in kept.started:  # parents start before their children
        assert span.parent_id in started
        started.add(span.span_id)


async def test_spans_tell_what_the_facts_tell(kept: Kept) -> None:
    await finished(everything(), meta={"trace": META})
    agent = kept.of("agent")[-1].span_data
    clerk = next(one.span_data for one in kept.of("agent") if one.span_data.name == "Clerk")
    assert (agent.name, agent.handoffs, agent.tools, agent.output_type) == ("Closer", [], [], "str")
    assert (clerk.handoffs, clerk.tools) == (["Closer"], ["weather", "look_up", "refund", "ask_helper"])
    function = next(one for one in kept.of("function") if one.span_data.name == "weather")
    assert function.export()["span_data"] == {
        "type": "function",
        "name": "weather",
        "input": '{"city": "Rome"}',
        "output": "22 degrees in Rome",
        "mcp_data": None,
    }
    helper = next(one for one in kept.of("function") if one.span_data.name == "ask_helper")
    assert helper.span_data.output == "cold"
    generations = kept.of("generation")
    assert generations[0].span_data.input == [
        {"role": "system", "content": "You help."},
        {"role": "user", "content": "hi"},
    ]
    assert [one["type"] for one in generations[0].span_data.output] == ["function_call", "function_call"]
    assert generations[0].span_data.usage["input_tokens"] == 10
    assert len(generations[-1].span_data.input) == 1 + 2 * 2 + 2 + 2 * 2 + 2
    assert [one.span_data.turn for one in kept.of("turn") if one.span_data.agent_name != "Helper"] == [1, 2, 3, 4, 5]
    assert kept.of("turn")[0].span_data.usage == {
        "input_tokens": 10,
        "output_tokens": 3,
        "cached_input_tokens": 0,
        "cache_write_input_tokens": 0,
    }
    task = kept.of("task")[-1].span_data  # what the agent that is a tool used is in it
    assert (task.usage["requests"], task.usage["input_tokens"], task.usage["total_tokens"]) == (7, 70, 91)


async def test_times_are_those_of_the_facts(kept: Kept) -> None:
    clock = ManualClock()

    @function_tool
    def slow() -> str:
        clock.advance(3)
        return "at last"

    await finished(Agent("A", model=said(function_call("slow"), "ok"), tools=[slow]), clock=clock)
    function, task = kept.of("function")[0], kept.of("task")[0]
    assert function.end_time - function.start_time == 3
    assert task.end_time - task.start_time == 3
    assert function.started_at == "2023-11-14T22:13:20.000000+00:00"


async def test_the_faces_are_traced_alike(kept: Kept) -> None:
    found = []
    for way in ("run", "streamed", "events"):
        agent: Any = Agent("A", model=said(function_call("weather", {"city": "Rome"}), "warm"), tools=[weather])
        before = len(kept.ended)
        if way == "run":
            await Runner.run(agent, "hi", run_id="same")
        elif way == "streamed":
            result = Runner.run_streamed(agent, "hi", run_id="same")
            async for _ in result.stream_events():
                pass
        else:
            async for _ in await start(agent, "hi", run_id="same"):
                pass
        spans = kept.ended[before:]
        found.append([(one.span_id, one.parent_id, name_of(one).replace("Agent workflow", "A")) for one in spans])
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 2 + 2 + 2 + 1


async def test_the_stored_facts_give_the_same_spans_afterwards(kept: Kept) -> None:
    agent = everything()
    run = await finished(agent, meta={"trace": META})
    derived = [span for span in kept.ended if span.span_data.type != "custom"]
    tree = await journals(run.store, run.id)
    assert of_facts(forms(spans_of(tree, agent))) == of_facts(forms(derived))
    assert {one.span_id: (one.started_at, one.ended_at) for one in spans_of(tree)} == {
        one.span_id: (one.started_at, one.ended_at) for one in derived
    }
    assert len(spans_of(run)) < len(spans_of(tree))  # a run's own facts don't hold what its children did
    assert next(one for one in spans_of(tree) if one.span_data.type == "agent").span_data.tools is None


async def test_inside_of_a_tool_its_span_is_current(kept: Kept) -> None:
    model = said(function_call("where"), [function_call("where"), function_call("weather", {"city": "Rome"})], "ok")
    await finished(Agent("A", model=model, tools=[where, weather]))
    spans = [one for one in kept.of("function") if one.span_data.name == "where"]
    assert [one.span_data.output for one in spans] == [one.span_id for one in spans]
    assert get_current_span() is None


async def test_what_code_in_a_tool_says_of_its_span_is_kept(kept: Kept) -> None:
    @function_tool
    async def careful() -> str:
        span = get_current_span()
        assert span is not None
        span.set_error({"message": "nearly", "data": None})
        trace = get_current_trace()
        assert trace is not None
        assert trace.trace_id == span.trace_id
        return "ok"

    await finished(Agent("A", model=said(function_call("careful"), "ok"), tools=[careful]))
    assert kept.of("function")[0].error == {"message": "nearly", "data": None}


async def test_a_run_inside_of_a_trace_belongs_to_it(kept: Kept) -> None:
    agent: Any = Agent("A", model=said("hi", "again"))
    with trace("outer", group_id="g", metadata={"k": 1}) as outer, custom_span("step") as step:
        await Runner.run(agent, "hi")
        await Runner.run(agent, "hi")
    assert [one[0] for one in kept.log if "trace" in one[0]] == ["trace+", "trace-"]
    assert {one.trace_id for one in kept.ended} == {outer.trace_id}
    assert [one.parent_id for one in kept.of("task")] == [step.span_id] * 2
    assert kept.of("task")[0].trace_metadata == {"k": 1}
    assert get_current_trace() is None


async def test_a_run_inside_of_a_tool_hangs_under_the_tool(kept: Kept) -> None:
    inner: Any = Agent("Inner", model=said("deep"))

    @function_tool
    async def ask() -> str:
        return str((await Runner.run(inner, "hi")).final_output)

    await finished(Agent("A", model=said(function_call("ask"), "ok"), tools=[ask]))
    within = next(one for one in kept.of("task") if one.parent_id is not None)
    assert within.parent_id == kept.of("function")[0].span_id
    assert len(kept.traces) == 1


@pytest.mark.parametrize(
    ("input", "tree"),
    [
        ("HELP", ["guardrail no_whispering", "guardrail no_shouting"]),
        ("psst", ["guardrail no_whispering"]),
    ],
)
async def test_a_tripped_guardrail_is_an_error_of_the_turn_and_the_agent(
    kept: Kept, input: str, tree: list[str]
) -> None:
    agent: Any = Agent("A", model=said("hi"), input_guardrails=[no_whispering, no_shouting])
    await finished(agent, input)
    error = {"message": "Guardrail tripwire triggered", "data": {"guardrail": tree[-1].split()[1]}}
    assert [kept.of(kind)[0].error for kind in ("turn", "agent", "task")] == [error, error, None]
    assert [name_of(one) for one in kept.of("guardrail")] == tree
    assert [one.span_data.triggered for one in kept.of("guardrail")] == [False] * (len(tree) - 1) + [True]
    assert {one.parent_id for one in kept.of("guardrail")} == {kept.of("turn")[0].span_id}


async def test_an_output_guardrail_hangs_under_the_agent(kept: Kept) -> None:
    await finished(Agent("A", model=said("damn"), output_guardrails=[polite]))
    guardrail, agent = kept.of("guardrail")[0], kept.of("agent")[0]
    assert guardrail.parent_id == agent.span_id
    assert agent.error is not None
    assert agent.error["message"] == "Guardrail tripwire triggered"


async def test_turns_that_are_used_up_are_an_error_of_the_agent(kept: Kept) -> None:
    agent: Any = Agent("A", model=said(function_call("weather", {"city": "Rome"})), tools=[weather])
    await finished(agent, limits={"max_turns": 1})
    assert kept.of("agent")[0].error == {"message": "Max turns exceeded", "data": {"max_turns": 1}}
    assert len(kept.of("turn")) == 1
    await finished(Agent("A", model=said("hi")), limits={"max_turns": 0})
    assert len(kept.of("turn")) == 1
    assert kept.of("agent")[1].error == {"message": "Max turns exceeded", "data": {"max_turns": 0}}


async def test_a_failed_tool_is_an_error_of_its_span_and_of_the_agent(kept: Kept) -> None:
    calls = [function_call("broken"), function_call("weather", {"city": "Rome"})]
    await finished(Agent("A", model=said(calls), tools=[broken, weather]))
    by_name = {one.span_data.name: one.error for one in kept.of("function")}
    assert by_name["weather"] is None
    assert by_name["broken"]["message"] == "Error running tool"
    assert by_name["broken"]["data"]["tool_name"] == "broken"
    assert "boom" in by_name["broken"]["data"]["error"]
    assert kept.of("agent")[0].error["message"] == "Error in agent run"
    assert kept.log[-1][0] == "trace-"


async def test_each_attempt_at_the_model_is_a_generation(kept: Kept) -> None:
    def step(call: Any) -> Any:
        if attempts:
            raise attempts.pop()
        return "at last"

    attempts = [ModelError("busy", retryable=True), ModelError("busy", retryable=True)]
    await finished(Agent("A", model=ScriptedModel(step)), clock=ManualClock())
    messages = [one.error and one.error["message"] for one in kept.of("generation")]
    assert messages == ["Error calling the model", "Error calling the model", None]
    assert len({one.span_id for one in kept.of("generation")}) == 3
    assert kept.of("turn")[0].error is None
    assert len(kept.of("turn")) == 1


async def test_a_model_that_fails_for_good_fails_its_generation_and_the_agent(kept: Kept) -> None:
    await finished(Agent("A", model=ScriptedModel([ValueError("no model")])))
    assert kept.of("generation")[0].error == {
        "message": "Error calling the model",
        "data": {"kind": "ValueError", "error": "no model"},
    }
    assert kept.of("agent")[0].error == {"message": "Error in agent run", "data": {"error": "no model"}}


async def test_a_call_of_an_unknown_tool_is_no_error_of_the_generation(kept: Kept) -> None:
    await finished(Agent("A", model=said(function_call("nope")), tools=[weather]))
    assert kept.of("generation")[0].error is None
    assert kept.of("agent")[0].error["data"]["error"].startswith("Tool nope not found")


async def test_several_handoffs_in_one_reply_are_an_error_of_the_handoff(kept: Kept) -> None:
    first, second = (Agent(name, model=said(None, "done")) for name in ("B", "C"))
    model = said([function_call("transfer_to_b"), function_call("transfer_to_c")])
    await finished(Agent("A", model=model, handoffs=[first, second]))
    handoff = kept.of("handoff")[0]
    assert (handoff.span_data.from_agent, handoff.span_data.to_agent) == ("A", "B")
    assert handoff.error == {"message": "Multiple handoffs requested", "data": {"requested_agents": ["B", "C"]}}


async def test_a_rejected_call_is_a_span_with_an_error(kept: Kept) -> None:
    run = await start(Agent("A", model=said(function_call("refund", {"order": 1}, "c"), "ok"), tools=[refund]), "hi")
    await run.drive()
    await run.answer("c", False)
    await run.drive()
    function = kept.of("function")[0]
    assert function.error == {"message": "Tool execution was not approved", "data": {"tool_name": "refund"}}
    assert function.span_data.output == "Tool execution was not approved."


async def test_while_a_run_waits_its_spans_stay_open(kept: Kept) -> None:
    clock = ManualClock()
    model = said(function_call("refund", {"order": 1}, "c"), "ok")
    run = await start(Agent("A", model=model, tools=[refund]), "hi", clock=clock)
    assert await run.drive() == "waiting"
    assert [name_of(one) for one in kept.ended] == ["generation"]
    assert "trace-" not in [one[0] for one in kept.log]
    clock.advance(3600)
    await run.answer("c")
    await run.drive()
    turn, function = kept.of("turn")[0], kept.of("function")[0]
    assert turn.end_time - turn.start_time == 3600
    assert function.end_time == function.start_time
    assert [one[0] for one in kept.log].count("trace+") == 1


async def test_a_failed_run_that_goes_on_begins_new_spans_in_the_same_trace(kept: Kept) -> None:
    agent: Any = Agent("A", model=said(function_call("weather", {"city": "Rome"}), "warm"), tools=[weather])
    run = await start(agent, "hi", limits={"max_turns": 1})
    await run.drive()
    await run.resume(limits={"max_turns": 5})
    await run.drive()
    assert run.standing == "done"
    assert [one.error is None for one in kept.of("agent")] == [False, True]
    assert [one.span_data.turn for one in kept.of("turn")] == [1, 2]
    assert len(forms(kept.ended)) == len(kept.ended)
    assert [one[0] for one in kept.log if "trace" in one[0]] == ["trace+", "trace-", "trace-"]
    assert kept.of("turn")[1].parent_id == kept.of("agent")[1].span_id
    assert of_facts(forms(spans_of(run, agent))) == of_facts(forms(kept.ended))


async def test_a_tool_that_failed_is_tried_again_in_a_span_of_its_own(kept: Kept) -> None:
    troubles = [ValueError("boom")]

    @function_tool(failure_error_function=None)
    def once_broken() -> str:
        if troubles:
            raise troubles.pop()
        return str(get_current_span().span_id)

    run = await start(Agent("A", model=said(function_call("once_broken"), "ok"), tools=[once_broken]), "hi")
    await run.drive()
    await run.resume()
    await run.drive()
    first, second = kept.of("function")
    assert (first.error is None, second.error is None) == (False, True)
    assert first.span_id != second.span_id == second.span_data.output
    assert of_facts(forms(spans_of(run, run.definition))) == of_facts(forms(kept.ended))


async def test_a_nested_run_that_failed_goes_on_under_the_span_of_its_new_call(kept: Kept) -> None:
    troubles = [ValueError("boom")]

    def step(call: Any) -> Any:
        if troubles:
            raise troubles.pop()
        return "better"

    helper: Any = Agent("Helper", model=ScriptedModel(step))
    ask = helper.as_tool("ask", "Asks.", failure_error_function=None)
    agent: Any = Agent("A", model=said(function_call("ask", {"input": "x"}), "ok"), tools=[ask])
    run = await start(agent, "hi")
    await run.drive()
    assert run.standing == "failed"
    await run.resume()
    await run.drive()
    assert run.standing == "done"
    functions, tasks = kept.of("function"), [one for one in kept.of("task") if one.parent_id]
    assert [one.parent_id for one in tasks] == [one.span_id for one in functions]
    assert [one.error is None for one in functions] == [False, True]
    assert of_facts(forms(spans_of(await journals(run.store, run.id), agent))) == of_facts(forms(kept.ended))


async def test_a_cancelled_run_ends_its_spans(kept: Kept) -> None:
    run: Any = None

    @function_tool
    async def endless() -> str:
        with custom_span("forever"):
            await run.cancel()
            await asyncio.Event().wait()
        return "never"

    run = await start(Agent("A", model=said(function_call("endless")), tools=[endless]), "hi")
    await run.drive()
    assert run.standing == "cancelled"
    assert {one.span_id for one in kept.started} == {one.span_id for one in kept.ended}
    assert kept.of("agent")[0].error == {"message": "Run cancelled", "data": None}


async def test_what_is_sensitive_is_left_out_on_request(kept: Kept) -> None:
    meta = {"trace": {**META, "sensitive": False}}
    calls = [function_call("broken"), function_call("weather", {"city": "Rome"})]
    await finished(Agent("A", instructions="secret", model=said(calls), tools=[broken, weather]), meta=meta)
    text = str([one.export() for one in kept.ended])
    for word in ("hi", "Rome", "22 degrees", "boom", "secret"):
        assert f"'{word}" not in text
        assert f" {word}" not in text
    assert kept.of("generation")[0].span_data.input is None
    assert kept.of("generation")[0].span_data.usage["input_tokens"] == 10


async def test_task_and_turn_spans_can_be_left_out(kept: Kept) -> None:
    await finished(everything(), meta={"trace": {**META, "tasks": False}})
    assert {one.span_data.type for one in kept.ended} == {
        "agent", "generation", "function", "guardrail", "handoff", "custom",
    }  # fmt: skip
    assert kept.started[0].span_data.type == "agent"
    assert kept.started[0].parent_id is None
    agents = {one.span_id for one in kept.of("agent")}
    assert {one.parent_id for one in kept.of("function")} <= agents


async def test_a_trace_is_named_and_numbered_as_the_run_was_told(kept: Kept) -> None:
    meta = {"workflow_name": "Billing", "trace_id": "trace_" + "a" * 32, "group_id": "chat-1", "metadata": {"n": "1"}}
    await finished(Agent("A", model=said("hi")), meta={"trace": meta})
    assert kept.traces[0].export() == {
        "object": "trace",
        "id": "trace_" + "a" * 32,
        "workflow_name": "Billing",
        "group_id": "chat-1",
        "metadata": {"n": "1"},
    }
    assert kept.of("task")[0].span_data.name == "Billing"


@pytest.mark.parametrize("how", ["of the run", "of the process", "of the trace around"])
async def test_a_disabled_trace_tells_nobody(kept: Kept, how: str) -> None:
    agent: Any = Agent("A", model=said(function_call("look_up", {"word": "x"}), "ok"), tools=[look_up])
    if how == "of the process":
        set_tracing_disabled(True)
        await finished(agent)
    elif how == "of the run":
        await finished(agent, meta={"trace": {**META, "disabled": True}})
    else:
        with trace("outer", disabled=True):
            await finished(agent)
    assert kept.log == []


async def test_what_the_loop_notes_of_a_call_is_told() -> None:
    run = await finished(Agent("A", model=said(function_call("broken"), "hi"), tools=[weather, look_up, broken]))
    told = Kept()
    tree = SpanTree(run.id, run.facts[0], told)
    noted = {
        "kind": "generation",
        "model": "m-1",
        "settings": ModelSettings(temperature=0.5),
        "instructions": "Be brief.",
        "input": list(run.facts[0].input["items"]),
    }
    for fact in run.facts:
        if getattr(fact, "to", None) == "run_tools":
            tree.note(Noted(run.id, "call_model", 1, None, noted))
        tree.take(run.id, fact)
        if getattr(fact, "to", None) == "run_tools":
            tree.note(Noted(run.id, "run_tools", 1, None, {"mcp_data": {"server": "files"}, "error": "boom"}))
    data = told.of("generation")[0].span_data
    assert (data.model, data.model_config) == ("m-1", {"temperature": 0.5})
    assert data.input == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]


class Count(State):
    n: int = 0
    seen: str = ""


async def test_a_graph_s_run_is_traced_by_visits_and_effects(kept: Kept) -> None:
    tries = [ValueError("once")]

    async def one(state: Count, ctx: Context) -> Goto[Any]:
        seen = await ctx.once("look", lambda: get_current_span().span_id)
        with custom_span("mine"):
            pass
        return Goto("on", n=state.n + 1, seen=seen)

    @node(retry=Retry(3, retry=ValueError))
    async def two(state: Count) -> Goto[Any]:
        if tries:
            raise tries.pop()
        return Goto("again" if state.n < 2 else "end")

    @node(limit=5)
    async def first(state: Count) -> Goto[Any]:
        return Goto("go")

    graph = Graph(
        "ring",
        Count,
        {
            START: first,
            first: {"go": one},
            one: {"on": two},
            two: {"again": first, "retry": continues(two), "end": END},
        },
    )
    run = await start(graph, clock=ManualClock())
    await run
    assert kept.traces[0].name == "ring"
    visits = ["custom first", "custom one", "  custom look", "  custom mine", "custom two"]
    assert kept.tree() == visits * 2
    look = [one for one in kept.ended if name_of(one) == "custom look"]
    assert [one.span_data.data["value"] for one in look] == [one.span_id for one in look]
    two = [one for one in kept.ended if name_of(one) == "custom two"]
    assert [(one.span_data.data["on"], one.span_data.data.get("attempts")) for one in two] == [
        ("again", 2),
        ("end", None),
    ]
    derived = [one for one in kept.ended if name_of(one) != "custom mine"]
    assert forms(spans_of(run)) == forms(derived)


async def test_a_failed_graph_s_run_is_an_error_of_its_visit(kept: Kept) -> None:
    async def fail(state: Count) -> None:
        raise ValueError("no")

    await (await start(Graph("g", Count, {START: fail, fail: END}))).drive()
    assert kept.ended[0].error == {"message": "Error in node", "data": {"kind": "ValueError", "message": "no"}}
    assert kept.log[-1][0] == "trace-"


async def test_a_run_config_names_the_workflow(kept: Kept) -> None:
    await Runner.run(Agent("A", model=said("hi")), "hi", run_config=RunConfig(workflow_name="Support"))
    assert kept.traces[0].name == "Support"
