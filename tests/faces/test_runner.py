"""``Runner``: the three verbs, results, stream events, exceptions."""

import asyncio
import json
import threading
from typing import Any

import networkx
import pytest
from faces_making import ADD, add, agent, asked, delete

from flowcore import (
    Agent,
    GuardrailFunctionOutput,
    HandoffCallItem,
    InputGuardrailTripwireTriggered,
    ItemHelpers,
    MaxTurnsExceeded,
    MemoryStore,
    MessageOutputItem,
    Model,
    ModelBehaviorError,
    ModelError,
    ModelResponse,
    ModelRetryStreamEvent,
    ModelSettings,
    RawResponsesStreamEvent,
    ReasoningItem,
    RunCancelled,
    RunItemStreamEvent,
    Runner,
    RunResult,
    RunRetryEvent,
    SqliteStore,
    ToolCallItem,
    ToolCallOutputItem,
    UserError,
    function_tool,
    input_guardrail,
)
from flowcore.machine.facts import Transition
from flowcore.models.settings import ModelRetrySettings
from flowcore.testing import ModelStep, ScriptedModel, function_call, message


def names(events: list[Any]) -> list[str]:
    """Events in short: raw ones by their type, neighbours of one type once."""
    found: list[str] = []
    for event in events:
        if isinstance(event, RawResponsesStreamEvent):
            name = f"raw {event.data.type}"
        elif isinstance(event, RunItemStreamEvent):
            name = event.name
        else:
            name = f"agent {event.new_agent.name}"
        if not found or found[-1] != name:
            found.append(name)
    return found


async def read_into(seen: list[Any], result: Any) -> None:
    async for event in result.stream_events():
        seen.append(event)  # noqa: PERF401 - what came before an error is looked at


# --- as printed in the guide ------------------------------------------------------------------------------------------


async def test_the_guides_first_example(capsys):
    async def main():
        agent = Agent(
            name="Assistant", instructions="You are a helpful assistant", model=ScriptedModel(["Code within"])
        )

        result = await Runner.run(agent, "Write a haiku about recursion in programming.")
        print(result.final_output)

    await main()
    assert capsys.readouterr().out == "Code within\n"


async def test_the_guides_conversation(capsys):
    model = ScriptedModel(["San Francisco", "California"])

    async def main():
        agent = Agent(name="Assistant", instructions="Reply very concisely.", model=model)

        # First turn
        result = await Runner.run(agent, "What city is the Golden Gate Bridge in?")
        print(result.final_output)
        # San Francisco

        # Second turn
        new_input = [*result.to_input_list(), {"role": "user", "content": "What state is it in?"}]
        result = await Runner.run(agent, new_input)
        print(result.final_output)
        # California

    await main()
    assert capsys.readouterr().out == "San Francisco\nCalifornia\n"
    assert [item["role"] for item in model.calls[1].input] == ["user", "assistant", "user"]


def test_run_sync_just_runs():
    clerk = agent(ADD, "done", "again", tools=[add])
    assert Runner.run_sync(clerk, "go").final_output == "done"
    assert Runner.run_sync(clerk, "go").final_output == "again"


async def test_run_sync_inside_a_loop_says_what_to_use_instead():
    with pytest.raises(
        UserError, match=r"Runner.run_sync\(\) cannot be called when an event loop is already running; use"
    ):
        Runner.run_sync(agent("x"), "go")


def test_run_sync_works_in_threads_and_leaves_no_loop_open():
    found = []

    def work() -> None:
        found.append(Runner.run_sync(agent("x"), "go").final_output)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["x"] * 3


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["run", "run_sync", "run_streamed"])
def test_a_keyword_that_isnt_there_is_a_type_error(verb):
    with pytest.raises(TypeError, match="nope"):
        getattr(Runner, verb)(agent("x"), "go", nope=None)


async def test_a_run_config_field_that_isnt_supported_is_a_type_error():
    with pytest.raises(TypeError, match="RunConfig has no field 'tracing_off'"):
        await Runner.run(agent("x"), "go", run_config={"tracing_off": True})


@pytest.mark.parametrize("max_turns", ["3", True, -1, 1.5])
async def test_max_turns_is_a_number_of_turns(max_turns):
    with pytest.raises(UserError, match="neither a number of turns nor None"):
        await Runner.run(agent("x"), "go", max_turns=max_turns)


@pytest.mark.parametrize("input", [[], 3, [3], None])
async def test_an_input_that_is_none_is_refused(input):
    with pytest.raises(UserError, match="input"):
        await Runner.run(agent("x"), input)


async def test_only_agents_are_run():
    with pytest.raises(UserError, match="Runner runs an Agent"):
        await Runner.run(agent("x").graph, "go")


# --- results ----------------------------------------------------------------------------------------------------------


async def test_a_result_tells_what_the_run_brought():
    reasoning = {"type": "reasoning", "id": "r1", "summary": []}
    clerk = agent([reasoning, ADD], "done", tools=[add])
    result = await Runner.run(clerk, "go", context={"app": 1})
    assert isinstance(result, RunResult)
    assert result.input == "go"
    assert [type(item) for item in result.new_items] == [
        ReasoningItem,
        ToolCallItem,
        ToolCallOutputItem,
        MessageOutputItem,
    ]
    assert all(item.agent is clerk for item in result.new_items)
    call, output, said = result.new_items[1:]
    assert (call.tool_name, call.call_id) == ("add", "c1")
    assert (output.call_id, output.output) == ("c1", 3)
    assert output.raw_item == {"type": "function_call_output", "call_id": "c1", "output": "3"}
    assert call.raw_item.name == "add"  # openai's own class
    assert type(call.raw_item).__name__ == "ResponseFunctionToolCall"
    assert call.to_input_item()["arguments"] == '{"a": 1, "b": 2}'
    assert ItemHelpers.text_message_output(said) == "done"
    assert ItemHelpers.text_message_outputs(result.new_items) == "done"
    assert ItemHelpers.extract_last_content(said.raw_item) == "done"
    assert len(result.raw_responses) == 2
    assert [len(reply.output) for reply in result.raw_responses] == [2, 1]
    assert result.context_wrapper.context == {"app": 1}
    assert result.context_wrapper.usage.requests == 2
    assert result.last_agent is clerk
    assert result.max_turns == 10
    assert "Final output (str):\n    done" in str(result)


async def test_an_item_of_an_unknown_type_is_kept_as_it_came():
    strange = {"type": "telepathy", "id": "t", "thought": {"deep": [1]}}
    result = await Runner.run(agent([strange, message("done")]), "go")
    item = result.new_items[0]
    assert (item.type, item.raw_item, item.to_input_item()) == ("unknown_item", strange, strange)


async def test_the_input_list_is_the_readers_own():
    result = await Runner.run(agent("done"), [{"role": "user", "content": "hi"}])
    first = result.to_input_list()
    first[0]["content"] = "changed"
    first[1]["content"][0]["text"] = "changed"
    assert result.to_input_list()[0]["content"] == "hi"
    assert json.loads(json.dumps(result.to_input_list()))[1]["content"][0]["text"] == "done"
    assert result.final_output == "done"


async def test_the_graph_of_a_result_has_a_node_for_each_transition():
    result = await Runner.run(agent(ADD, "done", tools=[add]), "go")
    graph = result.graph
    assert isinstance(graph, networkx.DiGraph)
    transitions = [fact for fact in result.run.facts if isinstance(fact, Transition)]
    assert list(graph.nodes) == [fact.seq for fact in transitions]
    assert graph.number_of_edges() == len(transitions) - 1
    assert [graph.nodes[seq]["node"] for seq in graph] == [fact.node for fact in transitions]


async def test_a_result_outlives_its_run_and_is_read_from_the_store_elsewhere():
    store = MemoryStore(keep_bytes=True)
    clerk = agent(ADD, "done", tools=[add])
    result = await Runner.run(clerk, "go", store=store, run_id="mine")
    assert result.run_id == "mine"
    assert [fact.seq for fact in await store.read("mine")] == [fact.seq for fact in result.run.facts]


# --- streaming --------------------------------------------------------------------------------------------------------


async def test_stream_events_come_in_the_known_order():
    result = Runner.run_streamed(agent(ADD, "all done", tools=[add]), "go")
    events = [event async for event in result.stream_events()]
    call = [
        "raw response.created",
        "raw response.output_item.added",
        "raw response.function_call_arguments.delta",
        "raw response.output_item.done",
        "raw response.completed",
        "tool_called",
        "tool_output",
    ]
    seen = names(events)
    assert seen[0] == "agent Assistant"
    assert seen[1:8] == call
    assert seen[-2:] == ["raw response.completed", "message_output_created"]
    text = "".join(event.data.delta for event in events if _is_delta(event))
    assert text == "all done"
    assert result.final_output == "all done"
    assert result.is_complete
    assert [item.type for item in result.new_items] == [
        "tool_call_item",
        "tool_call_output_item",
        "message_output_item",
    ]


def _is_delta(event: Any) -> bool:
    return event.type == "raw_response_event" and event.data.type == "response.output_text.delta"


async def test_raw_events_are_openais_when_theyre_read():
    from openai.types.responses import ResponseTextDeltaEvent

    result = Runner.run_streamed(agent("hello"), "go")
    deltas = [event.data async for event in result.stream_events() if _is_delta(event)]
    assert all(isinstance(data, ResponseTextDeltaEvent) for data in deltas)


async def test_a_handoff_is_told_as_a_handoff_and_never_as_a_tool():
    model = ScriptedModel([function_call("transfer_to_b"), "b here"])
    b = Agent(name="B", model=model)
    result = Runner.run_streamed(Agent(name="A", model=model, handoffs=[b]), "go")
    seen = [name for name in names([event async for event in result.stream_events()]) if not name.startswith("raw")]
    assert seen == ["agent A", "handoff_requested", "handoff_occured", "agent B", "message_output_created"]
    assert result.current_agent is b
    assert isinstance(result.new_items[0], HandoffCallItem)


async def test_a_streamed_result_is_there_at_once():
    result = Runner.run_streamed(agent(ModelStep("x", delay=0.01)), "go")
    assert (result.is_complete, result.final_output, result.current_turn) == (False, None, 0)
    assert result.current_agent.name == "Assistant"
    await result.run_loop_task
    assert (result.is_complete, result.final_output, result.current_turn) == (True, "x", 1)


async def test_a_consumer_that_stops_early_leaves_the_run_going():
    done = asyncio.Event()

    @function_tool
    async def slow() -> str:
        """Slow."""
        await asyncio.sleep(0.01)
        done.set()
        return "s"

    result = Runner.run_streamed(agent(function_call("slow"), "done", tools=[slow]), "go")
    async for _ in result.stream_events():
        break
    async with asyncio.timeout(5):
        await done.wait()
        await result.run_loop_task
    assert result.final_output == "done"


async def test_several_consumers_each_see_everything():
    result = Runner.run_streamed(agent(ADD, "all done", tools=[add]), "go")

    async def read() -> list[str]:
        return names([event async for event in result.stream_events()])

    one, other = await asyncio.gather(read(), read())
    assert one == other
    assert one[-1] == "message_output_created"
    assert await read() == one  # a late one too


async def test_a_streamed_error_comes_after_the_events_before_it():
    result = Runner.run_streamed(agent(ADD, ADD, tools=[add]), "go", max_turns=1)
    seen: list[Any] = []
    with pytest.raises(MaxTurnsExceeded) as caught:
        await read_into(seen, result)
    assert names(seen)[-1] == "tool_output"
    assert len(caught.value.run_data.new_items) == 2
    assert result.run_loop_exception is caught.value
    with pytest.raises(MaxTurnsExceeded):  # to every reader
        async for _ in result.stream_events():
            pass


@pytest.mark.parametrize("input", [[], 3])
async def test_a_run_that_isnt_admitted_tells_it_in_its_stream(input):
    result = Runner.run_streamed(agent("x"), input)
    with pytest.raises(UserError, match="input"):
        async for _ in result.stream_events():
            pass
    assert result.is_complete
    with pytest.raises(UserError, match="wasn't admitted"):
        _ = result.run
    assert result.final_output is None


async def test_a_streamed_trip_raises_after_the_stream():
    @input_guardrail
    async def no(ctx, agent, input):
        return GuardrailFunctionOutput("no", True)

    result = Runner.run_streamed(agent(ModelStep("never", delay=5), input_guardrails=[no]), "go")
    with pytest.raises(InputGuardrailTripwireTriggered):
        async for _ in result.stream_events():
            pass


async def test_a_streamed_run_waits_for_a_decision_and_goes_on():
    result = Runner.run_streamed(agent(function_call("delete", {"row": "a"}, "c1"), "done", tools=[delete]), "go")
    seen = [event async for event in result.stream_events()]
    assert names(seen)[-1] == "tool_called"
    assert [item.call_id for item in result.interruptions] == ["c1"]
    await result.run.answer("c1", True)
    again = await result.resume()
    assert again.final_output == "done"
    assert result.final_output == "done"


async def test_a_run_goes_on_as_a_stream():
    result = await Runner.run(agent(function_call("delete", {"row": "a"}, "c1"), "done", tools=[delete]), "go")
    await result.run.answer("c1", True)
    again = result.resume_streamed()
    seen = names([event async for event in again.stream_events()])
    assert seen[0] == "agent Assistant"
    assert [name for name in seen if not name.startswith("raw")][1:] == ["tool_output", "message_output_created"]
    assert again.final_output == "done"


async def test_a_cancel_before_the_run_began_ends_the_stream():
    result = Runner.run_streamed(agent("x"), "go")
    result.cancel()
    async with asyncio.timeout(5):
        events = [event async for event in result.stream_events()]
    assert events == []
    assert result.is_complete


async def test_a_cancel_at_once_and_a_resume():
    model = ScriptedModel([ModelStep("never", delay=60), "done"])
    result = Runner.run_streamed(Agent(name="A", model=model), "go")
    await asked(model)
    result.cancel()
    async with asyncio.timeout(5):
        assert [event async for event in result.stream_events()] == []  # what nobody read is dropped
    assert (result.run.standing, result.run.place) == ("cancelled", "call_model")
    with pytest.raises(RunCancelled):
        await result.run
    assert (await result.resume()).final_output == "done"


def test_a_cancel_knows_two_modes():
    async def main() -> None:
        result = Runner.run_streamed(agent("x"), "go")
        with pytest.raises(ValueError, match="it is 'immediate' or 'after_turn'"):
            result.cancel("soon")
        await result.run_loop_task

    asyncio.run(main())


async def test_a_cancelled_await_cancels_the_run():
    model = ScriptedModel([ModelStep("never", delay=60)])
    store = MemoryStore()
    task = asyncio.create_task(Runner.run(Agent(name="A", model=model), "go", store=store, run_id="r"))
    await asked(model)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await store.get("r")).standing == "cancelled"


class Breaking(Model):
    """Breaks off in the middle of its first reply."""

    model = "breaking"

    def __init__(self) -> None:
        self.inner = ScriptedModel(["half a reply", "the whole reply"])
        self.calls = 0

    async def stream_response(self, *arguments, **more):
        self.calls += 1
        async for event in self.inner.stream_response(*arguments, **more):
            yield event
            if self.calls == 1 and isinstance(event, dict) and event.get("type") == "response.output_text.delta":
                raise ModelError("broke off", status_code=503, retryable=True)


QUICK = ModelSettings(retry=ModelRetrySettings(max_retries=1, backoff={"initial_delay": 0}))


async def test_a_retry_says_that_what_its_attempt_streamed_is_void():
    result = Runner.run_streamed(Agent(name="A", model=Breaking(), model_settings=QUICK), "go")
    events = [event async for event in result.stream_events()]
    at = next(i for i, event in enumerate(events) if isinstance(event, ModelRetryStreamEvent))
    assert (events[at].attempt, events[at].error["message"]) == (1, "broke off")
    assert "".join(event.data.delta for event in events[:at] if _is_delta(event)) == "half"
    assert "".join(event.data.delta for event in events[at:] if _is_delta(event)) == "the whole reply"
    assert result.final_output == "the whole reply"


def test_content_that_a_retry_voids_is_told_to_the_reader():
    said = ""
    for chunk in Agent(name="A", model=Breaking(), model_settings=QUICK).run("go", stream=True):
        said = "" if isinstance(chunk, RunRetryEvent) else said + chunk.content
    assert said == "the whole reply"


async def test_a_retry_of_a_call_that_streamed_nothing_isnt_an_event():
    clerk = Agent(name="A", model=ScriptedModel([ModelError("busy", status_code=503, retryable=True), "done"]))
    clerk.model_settings = QUICK
    result = Runner.run_streamed(clerk, "go")
    assert names([event async for event in result.stream_events()])[-1] == "message_output_created"


async def test_a_nested_agents_events_arent_the_callers():
    inner = agent("inner says", name="Inner")
    top = agent(function_call("inner", {"input": "x"}), "top says", tools=[inner.as_tool()])
    result = Runner.run_streamed(top, "go")
    events = [event async for event in result.stream_events()]
    assert "".join(event.data.delta for event in events if _is_delta(event)) == "top says"
    assert [name for name in names(events) if not name.startswith("raw")] == [
        "agent Assistant",
        "tool_called",
        "tool_output",
        "message_output_created",
    ]


@pytest.mark.parametrize("parallel", [True, False])
async def test_a_raw_item_is_the_very_object_of_the_models_client(parallel):
    @input_guardrail(run_in_parallel=parallel)
    def fine(ctx, agent, input):
        return GuardrailFunctionOutput(None, False)

    raws = [object(), object()]
    replies = [ModelResponse([ADD], raw_output=[raws[0]]), ModelResponse([message("done")], raw_output=[raws[1]])]
    result = await Runner.run(agent(*replies, tools=[add], input_guardrails=[fine]), "go")
    assert result.new_items[0].raw_item is raws[0]
    assert result.new_items[2].raw_item is raws[1]


# --- exceptions -------------------------------------------------------------------------------------------------------


async def test_an_exception_carries_what_the_run_had_done():
    clerk = agent(ADD, function_call("nope"), "sorry", tools=[add])
    with pytest.raises(ModelBehaviorError, match="Tool nope not found") as caught:
        await Runner.run(clerk, "go")
    data = caught.value.run_data
    assert data.input == "go"
    assert [item.type for item in data.new_items] == ["tool_call_item", "tool_call_output_item"]
    assert len(data.raw_responses) == 1
    assert data.last_agent is clerk
    assert data.context_wrapper.usage.requests == 2
    assert (data.input_guardrail_results, data.output_guardrail_results) == ([], [])
    assert "2 new item(s)" in str(data)
    assert (await data.result.resume()).final_output == "sorry"


async def test_an_error_of_a_node_that_isnt_flowcores_is_raised_as_it_is():
    def instructions(ctx, agent):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        await Runner.run(agent("x", instructions=instructions), "go")


# --- sessions ---------------------------------------------------------------------------------------------------------


async def test_a_session_without_a_store_lives_as_long_as_the_agent():
    clerk = agent("hello Ann", "you're Ann")
    await Runner.run(clerk, "I am Ann", session="s")
    await Runner.run(clerk, "who am I?", session="s")
    assert [item.get("content") for item in clerk.model.calls[1].input if item["role"] == "user"] == [
        "I am Ann",
        "who am I?",
    ]


async def test_a_session_in_a_file_is_there_in_the_next_process(tmp_path):
    for text in ("one", "two"):
        store = SqliteStore(tmp_path / "runs.db")
        clerk = agent(f"said {text}")
        await Runner.run(clerk, text, session="s", store=store)
        await store.close()
    assert len(clerk.model.calls[0].input) == 3
