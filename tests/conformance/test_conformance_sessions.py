"""Sessions in whole runs: §10 of the reference, row by row, and what happens to them when a run breaks."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conformance_making import WAYS, add, adding, agent, delete, deleting, go, in_turn
from conformance_sessions import ELSEWHERE, KINDS, OWN, Logged, Place, begin, go_on, killed_everywhere, said
from openai import AsyncOpenAI
from sessions_making import KEY, World, call, output, user
from sessions_openai import OpenAIServer

from flowcore import (
    Agent,
    GuardrailFunctionOutput,
    InputGuardrailTripwireTriggered,
    MaxTurnsExceeded,
    MemoryStore,
    ModelError,
    ModelSettings,
    OpenAIConversationsSession,
    OutputGuardrailTripwireTriggered,
    RunConfig,
    RunContextWrapper,
    Runner,
    RunState,
    Session,
    SessionSettings,
    SQLiteSession,
    SqliteStore,
    UserError,
    function_tool,
    handoff,
    input_guardrail,
    output_guardrail,
)
from flowcore.extensions.memory import EncryptedSession
from flowcore.sessions.compaction import OpenAIResponsesCompactionSession
from flowcore.testing import Crash, ModelStep, ScriptedModel, assistant_message, function_call


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, world: World) -> Place:
    return Place(request.param, world)


def judge(kind: Any, *, trips: bool, **more: Any) -> Any:
    async def verdict(ctx: Any, agent: Any, subject: Any) -> GuardrailFunctionOutput:
        return GuardrailFunctionOutput("judged", trips)

    return kind(**more)(verdict)


# -- the protocol ------------------------------------------------------------------------------------------------------


class Plain:
    """What somebody wrote for the SDK: no base class, no settings, only what the protocol asks for."""

    def __init__(self) -> None:
        self.session_id = "plain"
        self.kept: list[Any] = []
        self.asked: list[int | None] = []

    async def get_items(self, limit: int | None = None) -> list[Any]:
        self.asked.append(limit)
        return self.kept[-limit:] if limit else list(self.kept)

    async def add_items(self, items: list[Any]) -> None:
        self.kept.extend(items)

    async def pop_item(self) -> Any:
        return self.kept.pop() if self.kept else None

    async def clear_session(self) -> None:
        self.kept.clear()


@pytest.mark.parametrize("way", WAYS)
async def test_any_object_with_the_protocols_four_async_methods_and_an_id_is_a_session(way):
    session = Plain()
    clerk = agent(adding(), "three", "still three", tools=[add])
    await go(way, clerk, "1+2?", session=session)
    await go(way, clerk, "and?", session=session)
    assert said(session.kept) == ["1+2?", "add()", "-> 3", "three", "and?", "still three"]
    assert said(clerk.model.calls[-1].input) == ["1+2?", "add()", "-> 3", "three", "and?"]


def test_the_kinds_of_sessions_are_sessions(world: World):
    for kind in ELSEWHERE:
        assert isinstance(getattr(world, kind)(), Session), kind


@pytest.mark.parametrize("way", WAYS)
async def test_a_session_that_opts_in_by_a_keyword_wrapper_is_given_the_run_context_wrapper(way):
    seen: list[tuple[str, Any]] = []

    class Opting(Plain):
        async def get_items(self, limit: int | None = None, *, wrapper: Any = None) -> list[Any]:
            seen.append(("get", wrapper))
            return await super().get_items(limit)

        async def add_items(self, items: list[Any], *, wrapper: Any = None) -> None:
            seen.append(("add", wrapper))
            await super().add_items(items)

    app = {"tenant": 7}
    await go(way, agent("hello"), "hi", session=Opting(), context=app)
    assert [verb for verb, _ in seen] == ["get", "add", "add"]
    assert all(isinstance(wrapper, RunContextWrapper) and wrapper.context is app for _, wrapper in seen)


async def test_what_is_no_session_is_refused_before_anything_runs():
    clerk = agent("never")
    with pytest.raises(UserError, match="is no session: it has no get_items"):
        await Runner.run(clerk, "hi", session=object())
    assert clerk.model.calls == []


async def test_a_session_without_an_id_is_refused_before_anything_runs():
    session = Plain()
    del session.session_id
    clerk = agent("never")
    with pytest.raises(UserError, match="has no session_id"):
        await Runner.run(clerk, "hi", session=session)
    assert clerk.model.calls == []


# -- every kind --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
async def test_a_conversation_of_several_turns_works_with_every_kind(place: Place, way):
    clerk = agent(adding("c1"), "three", [adding("c2"), adding("c3")], "six", "bye", tools=[add])
    for said_first, answer in (("1+2?", "three"), ("twice?", "six"), ("thanks", "bye")):
        assert (await go(way, clerk, said_first, **place.given())).final_output == answer
    whole = ["1+2?", "add()", "-> 3", "three", "twice?", "add()", "add()", "-> 3", "-> 3", "six", "thanks", "bye"]
    assert await place.said() == whole
    assert said(clerk.model.calls[-1].input) == whole[:-1]


async def test_a_streamed_run_leaves_the_same_items_as_one_that_isnt(place: Place, world: World, tmp_path):
    async def left(way: str, place: Place) -> list[Any]:
        clerk = agent(adding("c1"), "three", tools=[add])
        await go(way, clerk, "1+2?", **place.given())
        return await place.items()

    other = World(tmp_path / "other", world.ends, world.redis_url)
    (tmp_path / "other").mkdir()
    plain = await left("run", place)
    if place.kind == "redis":
        await place.given()["session"].clear_session()
    assert await left("streamed", Place(place.kind, other)) == plain


async def test_without_a_store_a_session_by_id_lives_as_long_as_the_agent():
    clerk = agent("one", "two")
    await Runner.run(clerk, "a", session="s")
    await Runner.run(clerk, "b", session="s")
    assert said(clerk.model.calls[-1].input) == ["a", "one", "b"]
    other = agent("one", "two")
    await Runner.run(other, "c", session="s")
    assert said(other.model.calls[-1].input) == ["c"]


async def test_an_in_memory_sqlite_session_is_its_objects_own():
    one, other = SQLiteSession("s"), SQLiteSession("s")
    await Runner.run(agent("one"), "a", session=one)
    assert (said(await one.get_items()), await other.get_items()) == (["a", "one"], [])
    one.close()
    other.close()


async def test_sessions_of_other_ids_arent_seen(world: World):
    await Runner.run(agent("one"), "a", session=world.sqlite("s"))
    clerk = agent("two")
    await Runner.run(clerk, "b", session=world.sqlite("t"))
    assert said(clerk.model.calls[0].input) == ["b"]


async def test_an_encrypted_session_holds_nothing_readable_and_forgets_after_its_time(world: World):
    inner = world.sqlite()
    session = EncryptedSession("s", inner, KEY, ttl=600)
    await Runner.run(agent("the secret answer"), "a secret", session=session)
    assert "secret" not in str(await inner.get_items())
    assert EncryptedSession("s", inner, KEY).ttl == 600
    other = agent("hm")
    await Runner.run(other, "again", session=EncryptedSession("s", inner, "another key"))
    assert said(other.model.calls[0].input) == ["again"]


async def test_a_branch_goes_on_from_an_earlier_turn(world: World):
    session = world.advanced()
    clerk = agent("one", "two", "other two")
    result = await Runner.run(clerk, "first", session=session)
    await session.store_run_usage(result)
    await Runner.run(clerk, "second", session=session)
    assert (await session.get_session_usage())["requests"] == 1
    await session.create_branch_from_turn(2, "other")
    clerk = agent("one", "other two")
    await Runner.run(clerk, "second, again", session=session)
    assert said(clerk.model.calls[-1].input) == ["first", "one", "second, again"]
    await session.switch_to_branch("main")
    assert said(await session.get_items()) == ["first", "one", "second", "two"]


@pytest.mark.parametrize("way", WAYS)
async def test_a_conversation_at_openai_is_a_session(openai_server: OpenAIServer, way):
    async with AsyncOpenAI(base_url=openai_server.url, api_key="none", max_retries=0) as client:
        session = OpenAIConversationsSession(openai_client=client)
        clerk = agent(adding("c1"), "three", "bye", tools=[add])
        await go(way, clerk, "1+2?", session=session)
        result = await go(way, clerk, "thanks", session=session)
        assert result.final_output == "bye"
        [kept] = openai_server.conversations.values()
        assert said(kept) == ["1+2?", "add()", "-> 3", "three", "thanks", "bye"]
        assert said(clerk.model.calls[-1].input) == ["1+2?", "add()", "-> 3", "three", "thanks"]


# -- when it's written -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
async def test_the_input_is_there_when_the_model_is_called(place: Place, way):
    there: list[list[str]] = []

    async def look(call: Any) -> str:
        there.append(await place.said())
        return "hello"

    await go(way, in_turn(look), "hi", **place.given())
    assert there == [["hi"]]


@pytest.mark.parametrize("way", WAYS)
async def test_a_turns_calls_and_outputs_are_written_together_when_it_ends(place: Place, way):
    there: list[list[str]] = []

    async def look(call: Any) -> str:
        there.append(await place.said())
        return "done"

    clerk = in_turn([adding("c1"), deleting()], look, tools=[add, delete])
    result = await go(way, clerk, **place.given())
    assert [item.name for item in result.interruptions] == ["delete"]
    assert await place.said() == ["go"]
    state = result.to_state()
    state.approve(state.get_interruptions()[0])
    given = place.given()
    result = await go(way, clerk, state, **({"session": given["session"]} if place.kind not in OWN else {}))
    assert there == [["go", "add()", "delete()", "-> 3", "-> deleted a"]]
    assert await place.said() == [*there[0], "done"]


@pytest.mark.parametrize("way", WAYS)
async def test_the_last_message_is_written_after_the_output_guardrails(place: Place, way):
    there: list[list[str]] = []

    @output_guardrail
    async def look(ctx: Any, agent: Any, out: Any) -> GuardrailFunctionOutput:
        there.append(await place.said())
        return GuardrailFunctionOutput(None, False)

    await go(way, agent(adding(), "done", tools=[add], output_guardrails=[look]), **place.given())
    assert there == [["go", "add()", "-> 3"]]
    assert await place.said() == ["go", "add()", "-> 3", "done"]


@pytest.mark.parametrize("way", WAYS)
async def test_the_input_isnt_written_before_it_is_guarded(place: Place, way):
    there: list[list[str]] = []

    def looking(parallel: bool) -> Any:
        @input_guardrail(run_in_parallel=parallel)
        async def look(ctx: Any, agent: Any, input: Any) -> GuardrailFunctionOutput:
            there.append(await place.said())
            return GuardrailFunctionOutput(None, False)

        return look

    async def called(call: Any) -> Any:
        there.append(await place.said())
        return "done"

    await go(way, in_turn(called, input_guardrails=[looking(False), looking(True)]), **place.given())
    assert there == [[], [], []]
    assert await place.said() == ["go", "done"]


@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("way", WAYS)
async def test_an_input_guardrails_trip_persists_the_input(place: Place, way, parallel):
    guard = judge(input_guardrail, trips=True, run_in_parallel=parallel)
    with pytest.raises(InputGuardrailTripwireTriggered):
        await go(way, agent("never", input_guardrails=[guard]), "bad", **place.given())
    assert await place.said() == ["bad"]


@pytest.mark.parametrize("way", WAYS)
async def test_an_output_guardrails_trip_persists_finished_tool_turns_but_not_what_was_rejected(place: Place, way):
    guard = judge(output_guardrail, trips=True)
    clerk = agent(adding(), "secret", tools=[add], output_guardrails=[guard])
    with pytest.raises(OutputGuardrailTripwireTriggered):
        await go(way, clerk, **place.given())
    assert await place.said() == ["go", "add()", "-> 3"]


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (None, "Output withheld by an output guardrail."),
        ("It's a secret.", "It's a secret."),
        (lambda args: f"{args.guardrail_name}: {args.default_message[:6]}", "verdict: Output"),
    ],
)
@pytest.mark.parametrize("way", WAYS)
async def test_the_output_of_a_tool_that_ended_the_run_and_was_blocked_is_withheld(world: World, way, message, told):
    place = Place("sqlite", world)
    guard = judge(output_guardrail, trips=True)
    clerk = agent(adding(), tools=[add], tool_use_behavior="stop_on_first_tool", output_guardrails=[guard])
    config = RunConfig(output_guardrail_blocked_message=message)
    with pytest.raises(OutputGuardrailTripwireTriggered):
        await go(way, clerk, run_config=config, **place.given())
    assert await place.said() == ["go", "add()", f"-> {told}"]


@pytest.mark.parametrize("way", WAYS)
async def test_the_input_stays_when_the_model_fails_and_a_resume_writes_it_no_second_time(place: Place, way):
    clerk = in_turn(ModelError("no"), "hello")
    with pytest.raises(ModelError) as caught:
        await go(way, clerk, "hi", **place.given())
    assert await place.said() == ["hi"]
    await caught.value.run_data.result.resume()
    assert await place.said() == ["hi", "hello"]


@pytest.mark.parametrize("way", WAYS)
async def test_finished_turns_stay_when_the_turns_are_used_up(place: Place, way):
    with pytest.raises(MaxTurnsExceeded):
        await go(way, agent(adding(), "never", tools=[add]), max_turns=1, **place.given())
    assert await place.said() == ["go", "add()", "-> 3"]


@pytest.mark.parametrize("include", [True, False])
async def test_a_handlers_final_output_is_in_the_session_if_it_is_in_the_history(world: World, include):
    place = Place("sqlite", world)
    answer = {"final_output": "enough", "include_in_history": include}
    clerk = agent(adding(), tools=[add])
    handlers = {"max_turns": lambda asked: answer}
    result = await Runner.run(clerk, "go", max_turns=1, error_handlers=handlers, **place.given())
    assert result.final_output == "enough"
    assert await place.said() == ["go", "add()", "-> 3", *(["enough"] if include else [])]


@pytest.mark.parametrize("way", WAYS)
async def test_a_handoff_is_a_turn_of_the_session(place: Place, way):
    model = ScriptedModel.by_turn([[adding("c1"), function_call("transfer_to_b", call_id="h1")], "b here"])
    b = Agent(name="B", model=model)
    a = Agent(name="A", model=model, tools=[add], handoffs=[handoff(b, input_filter=lambda data: data.clone())])
    await go(way, a, **place.given())
    assert await place.said() == ["go", "add()", "transfer_to_b()", "-> 3", '-> {"assistant": "B"}', "b here"]


@pytest.mark.parametrize("way", WAYS)
async def test_input_that_is_added_to_a_paused_run_is_in_the_session_in_its_place(world: World, way):
    place = Place("sqlite", world)
    clerk = agent(deleting(), "done", tools=[delete])
    result = await go(way, clerk, **place.given())
    state = result.to_state()
    state.approve(state.get_interruptions()[0])
    state.add_input("and hurry")
    await go(way, clerk, state, **place.given())
    assert await place.said() == ["go", "delete()", "-> deleted a", "and hurry", "done"]


async def test_what_a_nested_agent_said_isnt_in_its_callers_session(place: Place):
    inner = agent("inner answer", name="Inner")
    outer = agent(function_call("ask", {"input": "x"}, "c1"), "outer answer", tools=[inner.as_tool("ask", "asks")])
    await Runner.run(outer, "go", **place.given())
    assert await place.said() == ["go", "ask()", "-> inner answer", "outer answer"]


async def test_an_agent_tool_may_have_a_session_of_its_own(world: World):
    inner = agent("first", "second", name="Inner")
    own = world.sqlite("inner")
    asking = inner.as_tool("ask", "asks", session=own)
    outer = agent(
        function_call("ask", {"input": "x"}, "c1"), function_call("ask", {"input": "y"}, "c2"), "done", tools=[asking]
    )
    await Runner.run(outer, "go", session=world.sqlite("outer"))
    assert said(await own.get_items()) == ["x", "first", "y", "second"]
    assert said(inner.model.calls[-1].input) == ["x", "first", "y"]


# -- settings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
async def test_session_settings_limit_says_how_many_items_are_read(place: Place, way):
    for turn in range(3):
        await go(way, in_turn(f"answer {turn}"), f"question {turn}", **place.given())
    clerk = in_turn("done")
    config = RunConfig(session_settings=SessionSettings(limit=3))
    await go(way, clerk, "now", run_config=config, **place.given())
    assert said(clerk.model.calls[0].input) == ["answer 1", "question 2", "answer 2", "now"]
    assert len(await place.items()) == 8


async def test_the_runs_session_settings_lie_over_the_sessions_own(world: World):
    session = world.sqlite(session_settings=SessionSettings(limit=1))
    await Runner.run(in_turn("one"), "a", session=session)
    clerk = in_turn("two", "three", "four")
    await Runner.run(clerk, "b", session=session)
    await Runner.run(clerk, "c", session=session, run_config={"session_settings": {"limit": 2}})
    await Runner.run(clerk, "d", session=session, run_config={"session_settings": {"limit": None}})
    assert [said(one.input) for one in clerk.model.calls] == [["one", "b"], ["b", "two", "c"], ["three", "d"]]


async def test_a_limit_of_nothing_reads_nothing(place: Place):
    await Runner.run(in_turn("one"), "a", **place.given())
    clerk = in_turn("two")
    await Runner.run(clerk, "b", run_config={"session_settings": {"limit": 0}}, **place.given())
    assert said(clerk.model.calls[0].input) == ["b"]


@pytest.mark.parametrize("way", WAYS)
async def test_a_limit_prunes_outputs_whose_call_fell_away(place: Place, way):
    await go(way, in_turn(adding("c1"), "three", tools=[add]), "1+2?", **place.given())
    clerk = in_turn("hm")
    await go(way, clerk, "b", run_config={"session_settings": {"limit": 2}}, **place.given())
    assert said(clerk.model.calls[0].input) == ["three", "b"]


async def test_a_call_that_nothing_answers_isnt_sent_again(world: World):
    session = world.sqlite()
    await session.add_items([user("a"), call("c1"), call("c2"), output("c2")])
    clerk = in_turn("b")
    await Runner.run(clerk, "b", session=session)
    assert [item.get("call_id") for item in clerk.model.calls[0].input] == [None, "c2", "c2", None]


# -- the callback ------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "id_sqlite"])
async def old(request: pytest.FixtureRequest, world: World) -> Place:
    """A conversation of two turns."""
    place = Place(request.param, world)
    clerk = agent("one", "two")
    await Runner.run(clerk, "a", **place.given())
    await Runner.run(clerk, "b", **place.given())
    return place


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("callback", "seen", "kept"),
    [
        (lambda old, new: new + old, ["c", "d", "a", "one", "b", "two"], ["c", "d"]),
        (lambda old, new: [*old[-1:], *new], ["two", "c", "d"], ["c", "d"]),
        (lambda old, new: [*old, new[1]], ["a", "one", "b", "two", "d"], ["d"]),
        (lambda old, new: [*old, *reversed(new)], ["a", "one", "b", "two", "d", "c"], ["d", "c"]),
        (lambda old, new: [*new, {**new[0], "content": "C"}], ["c", "d", "C"], ["c", "d", "C"]),
        (lambda old, new: [{**item, "content": item["content"].upper()} for item in new], ["C", "D"], ["C", "D"]),
        (lambda old, new: list(old), ["a", "one", "b", "two"], []),
    ],
)
async def test_a_session_input_callback_may_reorder_drop_and_change_and_only_new_items_are_persisted(
    old: Place, way, callback, seen, kept
):
    clerk = in_turn(adding(), "done", tools=[add])
    config = RunConfig(session_input_callback=callback)
    await go(way, clerk, [user("c"), user("d")], run_config=config, **old.given())
    assert said(clerk.model.calls[0].input) == seen
    assert said(clerk.model.calls[1].input) == [*seen, "add()", "-> 3"]
    assert await old.said() == ["a", "one", "b", "two", *kept, "add()", "-> 3", "done"]


async def test_a_session_input_callback_may_be_async_and_is_asked_once_a_run(old: Place):
    asked: list[Any] = []

    async def callback(history: list[Any], new: list[Any]) -> list[Any]:
        asked.append((said(history), said(new)))
        return [*history, *new]

    config = RunConfig(session_input_callback=callback)
    await Runner.run(in_turn(adding(), "done", tools=[add]), "c", run_config=config, **old.given())
    assert asked == [(["a", "one", "b", "two"], ["c"])]


async def test_a_session_input_callback_sees_what_the_limit_leaves(old: Place):
    clerk = in_turn("done")
    config = RunConfig(session_input_callback=lambda history, new: history + new, session_settings={"limit": 1})
    await Runner.run(clerk, "c", run_config=config, **old.given())
    assert said(clerk.model.calls[0].input) == ["two", "c"]


async def test_a_session_input_callback_that_returns_no_list_is_refused(old: Place):
    with pytest.raises(UserError, match="Session input callback must return a list of input items"):
        await Runner.run(in_turn("never"), "c", run_config={"session_input_callback": lambda a, b: None}, **old.given())
    assert await old.said() == ["a", "one", "b", "two"]


# -- exactly once ------------------------------------------------------------------------------------------------------


def clerk_of_three_turns(**more: Any) -> Agent:
    return agent(adding("c1"), [adding("c2"), adding("c3")], "done", tools=[add], **more)


WHOLE = ["go", "add()", "-> 3", "add()", "add()", "-> 3", "-> 3", "done"]


@pytest.mark.parametrize("kind", [*ELSEWHERE, "store_sqlite"])
async def test_a_run_killed_after_any_fact_leaves_each_item_once(world: World, kind):
    made = getattr(world, kind)
    await killed_everywhere(clerk_of_three_turns, lambda k: made(f"s{k}"))
    assert said(await made("s0").get_items()) == WHOLE


@pytest.mark.parametrize("name", ["guarded", "handing", "callback", "approved"])
async def test_every_form_of_run_killed_after_any_fact_leaves_each_item_once(world: World, name):
    def make() -> Agent:
        if name == "guarded":
            guards = [judge(input_guardrail, trips=False), judge(input_guardrail, trips=False, run_in_parallel=False)]
            return clerk_of_three_turns(
                input_guardrails=guards, output_guardrails=[judge(output_guardrail, trips=False)]
            )
        if name == "handing":
            model = ScriptedModel.by_turn([[adding("c1"), function_call("transfer_to_b", call_id="h1")], "b here"])
            b = Agent(name="B", model=model)
            return Agent(name="A", model=model, tools=[add], handoffs=[handoff(b, input_filter=lambda data: data)])
        return clerk_of_three_turns()

    config: dict[str, Any] = {}
    if name == "callback":
        config["session_input_callback"] = lambda history, new: [*new, *history]
    await killed_everywhere(make, lambda k: world.sqlite(f"s{k}"), **config)


@pytest.mark.parametrize("nth", [1, 2, 3, 4])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_crash_around_the_sessions_write_leaves_each_item_once(when, nth):
    kept: list[Any] = []
    store: Any = MemoryStore(keep_bytes=True)
    session = Logged(kept, lambda now, count: Crash() if (now, count) == (when, nth) else None)
    run = await begin(clerk_of_three_turns(), session, store)
    with pytest.raises(Crash):
        await run.drive()
    await run._let_go()
    again = await go_on(clerk_of_three_turns(), Logged(kept), store)
    assert again.standing == "done"
    assert said(kept) == WHOLE


@pytest.mark.parametrize("nth", [1, 2, 3, 4])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("way", WAYS)
async def test_a_session_that_raises_once_is_written_to_again_where_it_wasnt(way, when, nth):
    error = OSError("disk")
    session = Logged(trouble=lambda now, count: error if (now, count) == (when, nth) else None)
    with pytest.raises(OSError, match="disk") as caught:
        await go(way, clerk_of_three_turns(), session=session)
    result = await caught.value.run_data.result.resume()
    assert result.final_output == "done"
    assert said(session.items) == WHOLE


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_tail_that_says_the_same_already_isnt_taken_for_the_write(when, nth):
    before = [user("x"), user("go"), user("go")]
    session = Logged(list(before), lambda now, count: OSError("disk") if (now, count) == (when, nth) else None)
    with pytest.raises(OSError, match="disk") as caught:
        await Runner.run(agent("done"), "go", session=session)
    await caught.value.run_data.result.resume()
    assert said(session.items) == ["x", "go", "go", "go", "done"]


async def test_a_session_that_cannot_be_read_fails_the_run_and_a_resume_reads_it():
    class Shut(Logged):
        shut = True

        async def get_items(self, limit: int | None = None) -> list[Any]:
            if self.shut:
                raise OSError("shut")
            return await super().get_items(limit)

    session = Shut([user("a"), assistant_message("b", item_id="m")])
    clerk = agent("one", "two")
    with pytest.raises(OSError, match="shut") as caught:
        await Runner.run(clerk, "go", session=session)
    session.shut = False
    await caught.value.run_data.result.resume()
    assert said(session.items) == ["a", "b", "go", "two"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("nth", [1, 2, 3, 4])
def test_a_killed_process_leaves_each_item_once_when_another_goes_on(tmp_path: Path, when, nth):
    script = Path(__file__).with_name("conformance_clerk.py")

    def process(*words: Any) -> subprocess.CompletedProcess[str]:
        told = [sys.executable, str(script), str(tmp_path), *map(str, words)]
        return subprocess.run(told, capture_output=True, text=True, timeout=60, check=False)

    assert process("begin", when, nth).returncode == -9
    went_on = process("resume")
    assert went_on.stdout.strip() == "done", went_on.stderr
    session = SQLiteSession("s", tmp_path / "sessions.db")
    assert said(asyncio.run(session.get_items())) == WHOLE
    session.close()


@pytest.mark.parametrize("nth", [1, 2, 3, 4])
async def test_a_conversation_at_openai_whose_answer_is_lost_holds_each_item_once(openai_server, nth):
    """The server took the items and the client never learnt of it; what it keeps has other ids than what was sent."""
    async with AsyncOpenAI(base_url=openai_server.url, api_key="none", max_retries=0) as client:

        class Losing(OpenAIConversationsSession):
            left = nth

            async def add_items(self, items: list[Any]) -> None:
                await super().add_items(items)
                self.left -= 1
                if self.left == 0:
                    raise ConnectionError("lost")

        session = Losing(openai_client=client)
        with pytest.raises(ConnectionError, match="lost") as caught:
            await Runner.run(clerk_of_three_turns(), "go", session=session)
        await caught.value.run_data.result.resume()
        [kept] = openai_server.conversations.values()
        assert said(kept) == WHOLE


# -- several runs, several processes -----------------------------------------------------------------------------------


async def test_two_runs_at_once_in_one_session_lose_nothing_and_tear_no_turn(place: Place):
    def slow(name: str) -> Agent:
        model = ScriptedModel([ModelStep([adding("c1"), adding("c2")], delay=0.005), ModelStep(name, delay=0.005)])
        return Agent(name=name, model=model, tools=[add])

    await asyncio.gather(*(Runner.run(slow(f"done {i}"), f"go {i}", **place.given()) for i in range(4)))
    words = await place.said()
    assert sorted(words) == sorted([w for i in range(4) for w in (f"go {i}", *["add()", "-> 3"] * 2, f"done {i}")])
    turns = " ".join(words).replace("add() add() -> 3 -> 3", "turn")
    assert turns.count("turn") == 4


async def test_a_state_goes_on_in_another_process_with_the_session_given_again(tmp_path: Path):
    path = tmp_path / "sessions.db"
    first = SQLiteSession("s", path)
    await Runner.run(agent("hello"), "hi", session=first)

    def make() -> Agent:
        return agent("hello", deleting(), "done", tools=[delete])

    result = await Runner.run(make(), "go", session=first)
    text = result.to_state().to_string()
    first.close()
    state = await RunState.from_string(make(), text)
    state.approve(state.get_interruptions()[0])
    again = SQLiteSession("s", path)
    clerk = make()
    assert (await Runner.run(clerk, state, session=again)).final_output == "done"
    assert said(clerk.model.calls[-1].input) == ["hi", "hello", "go", "delete()", "-> deleted a"]
    assert said(await again.get_items()) == ["hi", "hello", "go", "delete()", "-> deleted a", "done"]
    again.close()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("given", [None, "another"])
async def test_a_state_whose_session_isnt_given_again_is_refused_before_anything_runs(world: World, way, given):
    calls: list[str] = []

    @function_tool(needs_approval=True)
    def delete(row: str) -> str:
        calls.append(row)
        return f"deleted {row}"

    def make() -> Agent:
        return agent(deleting(), "done", tools=[delete])

    result = await Runner.run(make(), "go", session=world.sqlite())
    state = await RunState.from_json(make(), result.to_state().to_json())
    state.approve(state.get_interruptions()[0])
    session = None if given is None else world.sqlite(given)
    with pytest.raises(UserError, match=r"session 's'.*give that session again"):
        await go(way, make(), state, session=session)
    assert calls == []
    result = await go(way, make(), state, session=world.sqlite())
    assert calls == ["a"]
    assert result.final_output == "done"
    assert said(await world.sqlite().get_items()) == ["go", "delete()", "-> deleted a", "done"]


async def test_a_run_that_began_without_a_session_isnt_given_one_later(world: World):
    result = await Runner.run(agent(deleting(), tools=[delete]), "go")
    state = result.to_state()
    with pytest.raises(UserError, match="began without a session"):
        await Runner.run(agent(deleting(), tools=[delete]), state, session=world.sqlite())


async def test_a_session_and_a_conversation_that_the_provider_keeps_dont_go_together(world: World):
    for kept in ({"conversation_id": "c"}, {"previous_response_id": "r"}, {"auto_previous_response_id": True}):
        for session in ("s", world.sqlite()):
            with pytest.raises(UserError, match="session can't be combined with"):
                await Runner.run(agent("never"), "go", session=session, **kept)


async def test_a_session_of_the_runs_store_survives_the_store_being_reopened(tmp_path: Path):
    for turn, words in enumerate((["a"], ["a", "answer 0", "b"])):
        store = SqliteStore(tmp_path / "runs.db")
        clerk = in_turn(f"answer {turn}")
        await Runner.run(clerk, "ab"[turn], session="s", store=store)
        assert said(clerk.model.calls[0].input) == words
        await store.close()


# -- compaction --------------------------------------------------------------------------------------------------------


def compacting(server: OpenAIServer, client: AsyncOpenAI, world: World, least: int = 3) -> Any:
    return OpenAIResponsesCompactionSession(
        "s",
        world.sqlite(),
        client=client,
        should_trigger_compaction=lambda asked: len(asked["compaction_candidate_items"]) >= least,
    )


@pytest.mark.parametrize("way", WAYS)
async def test_a_compacting_session_is_compacted_after_the_reply_that_covers_everything(openai_server, world, way):
    async with AsyncOpenAI(base_url=openai_server.url, api_key="none", max_retries=0) as client:
        session = compacting(openai_server, client, world, 2)
        model = ScriptedModel([ModelStep(adding("c1"), response_id="resp_1"), ModelStep("three", response_id="resp_2")])
        clerk = Agent(name="A", model=model, tools=[add])
        result = await go(way, clerk, "1+2?", session=session)
        asked = [body for verb, path, body in openai_server.asked if path == "/responses/compact"]
        # After the first turn the tool's output is in no reply of the server's: it waits.
        assert asked == [{"model": "gpt-4.1", "previous_response_id": "resp_2"}]
        assert said(await session.get_items()) == ["compaction"]
        usage = result.context_wrapper.usage
        assert (usage.requests, usage.input_tokens, usage.output_tokens) == (3, 100, 7)


async def test_a_compacting_session_is_told_where_the_server_keeps_no_replies(openai_server, world):
    async with AsyncOpenAI(base_url=openai_server.url, api_key="none", max_retries=0) as client:
        session = compacting(openai_server, client, world, 1)
        model = ScriptedModel([ModelStep("hello", response_id="resp_1")])
        clerk = Agent(name="A", model=model, model_settings=ModelSettings(store=False))
        await Runner.run(clerk, "hi", session=session)
        [asked] = [body for verb, path, body in openai_server.asked if path == "/responses/compact"]
        assert said(asked["input"]) == ["hi", "hello"]


async def test_a_conversation_goes_on_after_its_compaction(openai_server, world):
    async with AsyncOpenAI(base_url=openai_server.url, api_key="none", max_retries=0) as client:
        session = compacting(openai_server, client, world, 1)
        model = ScriptedModel([ModelStep("hello", response_id="resp_1"), ModelStep("bye", response_id="resp_2")])
        clerk = Agent(name="A", model=model)
        await Runner.run(clerk, "hi", session=session)
        await Runner.run(clerk, "thanks", session=session)
        assert said(model.calls[1].input) == ["compaction", "thanks"]


async def test_a_compaction_that_fails_fails_the_run_which_goes_on_with_what_was_said(openai_server, world):
    async with AsyncOpenAI(base_url=openai_server.url, api_key="none", max_retries=0) as client:
        session = compacting(openai_server, client, world, 1)
        openai_server.refuse = [500]
        model = ScriptedModel([ModelStep("hello", response_id="resp_1")])
        with pytest.raises(ModelError) as caught:
            await Runner.run(Agent(name="A", model=model), "hi", session=session)
        assert said(await session.get_items()) == ["hi", "hello"]
        result = await caught.value.run_data.result.resume()
        assert result.final_output == "hello"
        assert said(await session.get_items()) == ["compaction"]
