"""``Agent.run``, ``arun``, ``print_response``: as printed in the guide that people know; what is beyond is refused."""

import asyncio
import functools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from faces_making import ADD, add, agent, delete
from pydantic import BaseModel

from flowcore import (
    Agent,
    GuardrailFunctionOutput,
    MaxTurnsExceeded,
    MemoryStore,
    ModelError,
    RunCompletedEvent,
    RunContentEvent,
    RunErrorEvent,
    RunEvent,
    RunOutput,
    RunOutputEvent,
    RunPausedEvent,
    RunStartedEvent,
    RunStatus,
    ToolCallCompletedEvent,
    ToolCallStartedEvent,
    Usage,
    UserError,
    function_tool,
    input_guardrail,
    start,
)
from flowcore.testing import ManualClock, ModelStep, ScriptedModel, function_call


def search(query: str) -> str:
    """Search the news."""
    return f"{query}: three stories"


# --- as printed in the guide ------------------------------------------------------------------------------------------


def test_run_returns_a_run_output():
    agent = Agent(
        model=ScriptedModel([function_call("search", {"query": "startups"}), "# Report"]),
        tools=[search],
        instructions="Write a report on the topic.",
        markdown=True,
    )

    # Run and get response
    response: RunOutput = agent.run("Trending startups")
    assert response.content == "# Report"
    assert agent.model.calls[0].system_instructions == (
        "Write a report on the topic.\n\nUse markdown to format your answers."
    )


def test_instructions_may_be_a_list():
    agent = Agent(model=ScriptedModel(["ha"]), instructions=["You are a helpful assistant."], markdown=True)
    response = agent.run("Tell me a joke")
    assert response.content == "ha"
    assert agent.model.calls[0].system_instructions.startswith("You are a helpful assistant.")


def test_a_run_output_tells_of_the_run():
    used = Usage(requests=1, input_tokens=3, output_tokens=4, total_tokens=7)
    clerk = agent(ModelStep(ADD, usage=used), ModelStep("done", usage=used), tools=[add], id="clerk")
    response = clerk.run("go", session_id="s1", user_id="u1", metadata={"source": "api"}, run_id="r1")
    assert (response.run_id, response.session_id, response.user_id) == ("r1", "s1", "u1")
    assert (response.agent_id, response.agent_name) == ("clerk", "Assistant")
    assert (response.content, response.content_type, response.get_content_as_string()) == ("done", "str", "done")
    assert response.status == RunStatus.completed
    assert response.metadata == {"source": "api"}
    assert response.metrics.total_tokens == 14
    assert (response.metrics.input_tokens, response.metrics.output_tokens, response.metrics.requests) == (6, 8, 2)
    assert response.metrics.duration >= 0
    assert response.metrics.time_to_first_token is None
    assert response.metrics.cost is None  # nobody told
    (tool,) = response.tools
    assert (tool.tool_name, tool.tool_args, tool.result, tool.tool_call_id) == ("add", {"a": 1, "b": 2}, "3", "c1")
    assert [item.get("type", "message") for item in response.messages] == [
        "message",
        "function_call",
        "function_call_output",
        "message",
    ]
    assert response.model == "scripted"
    assert not response.is_paused
    assert response.error is None


def test_basic_streaming(capsys):
    agent = Agent(model=ScriptedModel(["Three fine products"]), instructions="You are a helpful assistant.")

    # Stream response
    stream: Iterator[RunOutputEvent] = agent.run("Trending products", stream=True)

    # Consume stream
    for chunk in stream:
        if chunk.event == RunEvent.run_content:
            print(chunk.content, end="", flush=True)
    assert capsys.readouterr().out == "Three fine products"


def test_different_events_are_told_apart():
    agent = Agent(model=ScriptedModel([function_call("search", {"query": "usa"}), "News"]), tools=[search])
    seen = []
    stream = agent.run("What's happening in USA?", stream=True)

    for chunk in stream:
        if isinstance(chunk, RunContentEvent):
            seen.append(f"Content: {chunk.content}")

        elif isinstance(chunk, ToolCallStartedEvent):
            seen.append(f"Tool: {chunk.tool.tool_name}")
            seen.append(f"Args: {chunk.tool.tool_args}")

        elif isinstance(chunk, ToolCallCompletedEvent):
            seen.append(f"Result: {chunk.tool.result}")
    assert seen == ["Tool: search", "Args: {'query': 'usa'}", "Result: usa: three stories", "Content: News"]


def test_stream_events_tell_everything():
    stream = agent(ADD, "done", tools=[add]).run("Query", stream=True, stream_events=True)
    events = list(stream)
    assert [event.event for event in events] == [
        RunEvent.run_started,
        RunEvent.tool_call_started,
        RunEvent.tool_call_completed,
        RunEvent.run_content,
        RunEvent.run_completed,
    ]
    assert isinstance(events[0], RunStartedEvent)
    last = events[-1]
    assert isinstance(last, RunCompletedEvent)
    assert last.content == "done"
    assert last.metrics.time_to_first_token <= last.metrics.duration
    assert {event.run_id for event in events} == {events[0].run_id}
    assert events[0].model == "scripted"


def test_async_execution():
    agent = Agent(model=ScriptedModel(["a story"]), markdown=True)

    async def main():
        response: RunOutput = await agent.arun("Tell me a story")
        return response.content

    assert asyncio.run(main()) == "a story"


def test_an_awaited_stream_is_the_iterator():
    agent = Agent(model=ScriptedModel(["a long story"]), markdown=True)
    seen = []

    async def main():
        stream: AsyncIterator[RunOutputEvent] = await agent.arun("Tell me a story", stream=True)

        async for chunk in stream:
            if chunk.event == RunEvent.run_content:
                seen.append(chunk.content)  # noqa: PERF401 - as printed

    asyncio.run(main())
    assert "".join(seen) == "a long story"


async def test_a_stream_may_be_iterated_without_awaiting_it():
    seen = [chunk.content async for chunk in agent("a long story").arun("go", stream=True)]
    assert "".join(seen) == "a long story"


async def test_arun_is_a_coroutine_that_tasks_take():
    task = asyncio.create_task(agent("x").arun("go"))
    assert (await task).content == "x"


def test_asyncio_run_takes_arun_itself():
    assert asyncio.run(agent("x").arun("go")).content == "x"


def test_print_response_prints(capsys):
    clerk = agent("a joke", "a story", "a joke", "a story")
    clerk.print_response("Tell me a joke")
    clerk.print_response("Story", stream=True)
    asyncio.run(clerk.aprint_response("Joke"))
    asyncio.run(clerk.aprint_response("Joke", stream=True))
    assert capsys.readouterr().out == "a joke\na story\na joke\na story\n"


async def test_runs_go_together():
    one, two, three = (agent(ModelStep(str(n), delay=0.02)) for n in range(3))
    results = await asyncio.gather(one.arun("Query 1"), two.arun("Query 2"), three.arun("Query 3"))
    assert [result.content for result in results] == ["0", "1", "2"]


class Query(BaseModel):
    question: str


@pytest.mark.parametrize(
    ("input", "text"),
    [
        ("Tell me a joke", "Tell me a joke"),
        (["Instruction 1", "Instruction 2"], "Instruction 1\nInstruction 2"),
        ({"task": "summarize", "text": "..."}, '{"task":"summarize","text":"..."}'),
        (Query(question="What is AI?"), '{"question":"What is AI?"}'),
    ],
)
def test_input_types(input, text):
    clerk = agent("ok")
    clerk.run(input=input)
    assert clerk.model.calls[0].input == [{"role": "user", "content": text}]


def test_the_next_run_of_a_session_remembers_the_context():
    clerk = agent("Hello John", "Your name is John")
    clerk.run("My name is John", user_id="user_123", session_id="session_abc")
    response = clerk.run("What's my name?", user_id="user_123", session_id="session_abc")
    assert response.content == "Your name is John"
    assert [item.get("content") for item in clerk.model.calls[1].input if item["role"] == "user"] == [
        "My name is John",
        "What's my name?",
    ]
    clerk.model._steps = ["who?"] * 9
    clerk.run("another", session_id="other")
    assert len(clerk.model.calls[-1].input) == 1


def test_a_session_in_a_store_is_any_agents():
    store = MemoryStore()
    agent("Hello John").run("My name is John", session_id="s", store=store)
    other = agent("Your name is John")
    other.run("What's my name?", session_id="s", store=store)
    assert len(other.model.calls[0].input) == 3


# --- errors -----------------------------------------------------------------------------------------------------------


def broken(*errors: Any, **fields: Any) -> Agent:
    return agent(*(errors or [ModelError("bad request", status_code=400)]), **fields)


def test_an_error_is_a_status():
    response = broken().run("go")
    assert response.status == RunStatus.error
    assert response.content == "bad request"
    assert isinstance(response.error, ModelError)
    assert response.run.place == "call_model"


def test_an_error_is_raised_where_thats_asked_for():
    with pytest.raises(ModelError, match="bad request"):
        broken().run("go", raise_on_error=True)
    with pytest.raises(ModelError, match="bad request"):
        list(broken().run("go", stream=True, raise_on_error=True))


def test_an_error_that_isnt_flowcores_is_a_status_too():
    def instructions(ctx, agent):
        raise ZeroDivisionError("mine")

    response = agent("x", instructions=instructions).run("go")
    assert (response.status, response.content) == (RunStatus.error, "mine")


def test_a_streamed_error_is_the_last_event():
    events = list(broken().run("go", stream=True))
    assert [type(event) for event in events] == [RunErrorEvent]
    assert (events[0].content, events[0].error_type) == ("bad request", "ModelError")


def test_a_tripped_guardrail_is_an_error():
    @input_guardrail(run_in_parallel=False)
    def no(ctx, agent, input):
        return GuardrailFunctionOutput("no", True)

    response = agent("x", input_guardrails=[no]).run("go")
    assert response.status == RunStatus.error
    events = list(agent("x", input_guardrails=[no]).run("go", stream=True))
    assert events[-1].error_type == "InputGuardrailTripwireTriggered"


def test_retries_go_on_with_a_failed_run(monkeypatch):
    clock = ManualClock()
    monkeypatch.setattr("flowcore.faces.agent.start", functools.partial(start, clock=clock))
    bad = ModelError("bad", status_code=400)
    clerk = agent(ADD, bad, bad, bad, "done", tools=[add])
    response = clerk.run("go", retries=3)
    assert (response.status, response.content) == (RunStatus.completed, "done")
    assert len(clerk.model.calls) == 5
    assert len(clock.waits) == 3
    assert len(response.tools) == 1  # nothing that finished ran again
    response = agent(bad, bad, "never").run("go", retries=1)
    assert response.status == RunStatus.error


def test_max_turns_is_a_limit_like_the_runners():
    response = agent(ADD, ADD, tools=[add]).run("go", max_turns=1)
    assert response.status == RunStatus.error
    assert isinstance(response.error, MaxTurnsExceeded)


def test_a_run_that_waits_is_paused():
    clerk = agent(function_call("delete", {"row": "a"}, "c1"), "done", tools=[delete])
    events = list(clerk.run("go", stream=True))
    assert isinstance(events[-1], RunPausedEvent)
    assert events[-1].tools[0].requires_confirmation
    assert events[-1].requirements[0].key == "c1"
    clerk = agent(function_call("delete", {"row": "a"}, "c1"), "done", tools=[delete])
    response = clerk.run("go")
    assert response.status == RunStatus.paused
    assert response.is_paused
    assert response.content is None
    assert [tool.requires_confirmation for tool in response.tools] == [True]


def test_a_paused_run_is_answered_and_goes_on():
    clerk = agent(function_call("delete", {"row": "a"}, "c1"), "done", tools=[delete])

    async def main():
        response = await clerk.arun("go")
        await response.run.answer("c1", True)
        return await response.run

    assert asyncio.run(main()).output == "done"


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "keyword",
    [
        "images",
        "audio",
        "session_state",
        "add_history_to_context",
        "knowledge_filters",
        "output_schema",
        "debug_mode",
        "nope",
    ],
)
def test_an_argument_that_isnt_supported_is_a_type_error(keyword):
    clerk = agent("x")
    for verb in (clerk.run, clerk.arun, clerk.print_response):
        with pytest.raises(TypeError, match=keyword):
            verb("go", **{keyword: None})
    with pytest.raises(TypeError, match=keyword):
        clerk.run("go", stream=True, **{keyword: None})


@pytest.mark.parametrize("field", ["db", "add_history_to_context", "knowledge", "retries"])
def test_an_agents_field_that_isnt_supported_is_a_type_error(field):
    with pytest.raises(TypeError, match=field):
        Agent(**{field: None})


async def test_run_inside_a_loop_says_what_to_use_instead():
    with pytest.raises(
        UserError, match=r"agent.run\(\) cannot be called when an event loop is already running; use await"
    ):
        agent("x").run("go")
    with pytest.raises(UserError, match=r"use agent.arun\(\)"):
        agent("x").run("go", stream=True)


def test_an_input_that_is_none_is_refused():
    with pytest.raises(UserError, match="the input is"):
        agent("x").run(3)


# --- details ----------------------------------------------------------------------------------------------------------


def test_content_is_of_the_output_type():
    class Total(BaseModel):
        total: int

    response = agent('{"total": 3}', output_type=Total).run("go")
    assert response.content == Total(total=3)
    assert response.content_type == "Total"
    assert response.get_content_as_string() == "total=3"


def test_dependencies_are_the_tools_context():
    seen = []

    @function_tool
    async def look(n: int) -> str:
        """Look."""
        return ""

    async def invoke(ctx: Any, arguments: str) -> str:
        seen.append(ctx.context)
        return "ok"

    tool = type(look)("look", "Look.", look.params_json_schema, invoke)
    agent(function_call("look", {"n": 1}), "done", tools=[tool]).run("go", dependencies={"db": 1})
    assert seen == [{"db": 1}]


def test_arguments_that_are_no_json_are_shown_as_they_came():
    response = agent(function_call("add", "{no", "c1"), "oh", tools=[add]).run("go")
    assert response.tools[0].tool_args == "{no"


def test_a_sync_stream_may_be_left_early():
    stream = agent("one two three").run("go", stream=True)
    for chunk in stream:
        assert chunk.content == "one"
        break
    stream.close()
    assert agent("x").run("go").content == "x"


def test_handoffs_show_in_the_agents_output():
    model = ScriptedModel([function_call("transfer_to_b"), "b here"])
    response = Agent(name="A", model=model, handoffs=[Agent(name="B", model=model)]).run("go")
    assert response.content == "b here"
    assert response.agent_name == "A"
