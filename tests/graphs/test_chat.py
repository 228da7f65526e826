"""graphs/chat.py: it waits for each message, remembers what was said, and ends when the user says bye."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from graphs_loading import load_file, options
from graphs_ways import ways

from flowcore import MemoryStore, Run, SqliteStore, UpdateError, resume, start
from flowcore.stores.base import OpenRequest
from flowcore.testing import ModelCall, ScriptedModel, assert_path, kill_everywhere

ANSWERED = [("read", "otherwise"), "answer"]
LEFT = [("read", "leaving == True"), "leave"]
TALK = {"message-2": "How are you?", "message-3": "Bye!"}


@pytest.fixture
def chat() -> Any:
    return load_file("chat")


def remembers() -> ScriptedModel:
    """A model that says everything that it has heard from the user."""

    def reply(call: ModelCall) -> str:
        heard = [dict(item)["content"] for item in call.input if dict(item).get("role") == "user"]
        return "I've heard: " + " / ".join(heard)

    return ScriptedModel.by_turn(reply)


def say(request: OpenRequest) -> str:
    return TALK[request.key]


async def begin(chat: Any, message: Any = "Hello!", **more: Any) -> Run:
    run = await start(chat.graph, message, context=options(remembers()), **more)
    await run.drive()
    return run


async def test_it_answers_and_waits_for_the_next_message(chat: Any) -> None:
    run = await begin(chat)
    assert (run.standing, run.place) == ("waiting", "wait")
    (request,) = await run.requests()
    assert (request.key, request.kind, request.data) == ("message-2", "message", "I've heard: Hello!")


async def test_a_conversation_ends_when_the_user_says_bye(chat: Any) -> None:
    result = await ways(
        chat.graph, {"message": "Hello!", "session": "ann"}, context=lambda: options(remembers()), answers=say
    )
    assert_path(result, [*ANSWERED, "wait", *ANSWERED, "wait", *LEFT])
    assert result.output == "Bye! We've talked 2 times."


async def test_the_model_sees_what_was_said_before(chat: Any) -> None:
    run = await begin(chat)
    await run.answer(value="How are you?")
    await run.drive()
    assert run.state.reply == "I've heard: Hello! / How are you?"


async def test_another_run_of_the_same_session_remembers(chat: Any) -> None:
    store = MemoryStore()
    await begin(chat, {"message": "I'm Ann.", "session": "ann"}, store=store)
    again = await begin(chat, {"message": "Who am I?", "session": "ann"}, store=store)
    other = await begin(chat, {"message": "Who am I?"}, store=store)
    assert again.state.reply == "I've heard: I'm Ann. / Who am I?"
    assert other.state.reply == "I've heard: Who am I?"


async def test_it_goes_on_in_another_process(chat: Any, tmp_path: Path) -> None:
    first = SqliteStore(tmp_path / "runs.db")
    async with await begin(chat, store=first) as run:
        pass
    await first.close()
    second = SqliteStore(tmp_path / "runs.db")
    run = await resume(run.id, chat.graph, store=second, context=options(remembers()))
    await run.answer(value="How are you?")
    await run.drive()
    assert run.state.reply == "I've heard: Hello! / How are you?"
    await second.close()


async def test_who_says_bye_at_once_is_let_go(chat: Any) -> None:
    run = await begin(chat, "Bye bye!")
    assert_path(run, LEFT)


async def test_a_message_that_is_no_text_is_refused_and_the_run_waits_on(chat: Any) -> None:
    run = await begin(chat)
    with pytest.raises(UpdateError):
        await run.answer(value=7)
    assert run.standing == "waiting"


@pytest.mark.parametrize("text", ["bye", "Bye!", "good bye", "Goodbye.", "ok? bye now", "exit", " quit "])
def test_goodbyes(chat: Any, text: str) -> None:
    leaving = chat.read(chat.Chat(message=text))["leaving"]
    assert leaving is (not text.startswith("ok?"))


def test_a_message_that_mentions_a_goodbye_is_none(chat: Any) -> None:
    assert not chat.read(chat.Chat(message="What does bye mean?"))["leaving"]


async def test_killed_after_any_fact_nothing_is_said_twice(chat: Any, make_store: Any) -> None:
    make_store.apart = True  # the session is one of each store
    kills = await kill_everywhere(
        chat.graph, {"message": "Hello!", "session": "ann"}, store=make_store, context=lambda: options(remembers()),
        answers=say,
    )  # fmt: skip
    assert (kills.standing, kills.output) == ("done", "Bye! We've talked 2 times.")


def test_it_waits_for_the_user_between_any_two_answers(chat: Any) -> None:
    assert chat.graph.never_reaches("answer", start="answer", without="wait")
    assert chat.graph.bounded(waits=3) <= 12
