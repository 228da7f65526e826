"""Sessions that OpenAI keeps or shortens, through the real client."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from openai import AsyncOpenAI
from sessions_making import World, call, output, reasoning, reply, user
from sessions_openai import COMPACTED, OpenAIServer

from flowcore import (
    ModelBehaviorError,
    ModelError,
    OpenAIConversationsSession,
    OpenAIResponsesCompactionSession,
    RunContextWrapper,
    Session,
    SessionSettings,
    UserError,
    is_openai_responses_compaction_aware_session,
)
from flowcore.extensions.memory import EncryptedSession

TEN = [reply(f"{n}") for n in range(10)]


def texts(items: list[dict[str, Any]]) -> list[Any]:
    return [item["content"] for item in items]


def paths(server: OpenAIServer) -> list[str]:
    return [f"{method} {path}" for method, path, _ in server.asked]


async def test_a_conversation_begins_at_the_first_call(client: AsyncOpenAI, openai_server: OpenAIServer) -> None:
    session = OpenAIConversationsSession(openai_client=client)
    assert isinstance(session, Session)
    with pytest.raises(ValueError, match="Session ID not yet available"):
        _ = session.session_id
    assert await session.get_items() == []
    assert session.session_id in openai_server.conversations
    other = OpenAIConversationsSession(conversation_id=session.session_id, openai_client=client)
    await session.add_items([user("hello")])
    assert texts(await other.get_items()) == ["hello"]


async def test_two_first_calls_at_once_begin_one_conversation(client: AsyncOpenAI, openai_server: OpenAIServer) -> None:
    session = OpenAIConversationsSession(openai_client=client)
    await asyncio.gather(*(session.add_items([user(str(n))]) for n in range(5)))
    assert len(openai_server.conversations) == 1
    assert sorted(texts(await session.get_items())) == list("01234")


async def test_a_conversation_is_read_added_to_popped_and_deleted(
    client: AsyncOpenAI, openai_server: OpenAIServer
) -> None:
    session = OpenAIConversationsSession(openai_client=client, session_settings=SessionSettings(limit=3))
    await session.add_items([])
    assert openai_server.asked == []
    await session.add_items([user(str(n)) for n in range(130)])
    added = [len(body["items"]) for method, path, body in openai_server.asked if path.endswith("/items")]
    assert added == [20] * 6 + [10]
    assert texts(await session.get_items()) == ["127", "128", "129"]
    assert texts(await session.get_items(120)) == [str(n) for n in range(10, 130)]
    assert await session.get_items(0) == []
    session.session_settings = None
    assert texts(await session.get_items()) == [str(n) for n in range(130)]
    last = await session.pop_item()
    assert last is not None
    assert last["content"] == "129"
    assert texts(await session.get_items(1)) == ["128"]
    old = session.session_id
    await session.clear_session()
    assert old not in openai_server.conversations
    assert await session.pop_item() is None
    assert session.session_id != old


async def test_ids_that_the_server_gives_are_not_sent(client: AsyncOpenAI, openai_server: OpenAIServer) -> None:
    session = OpenAIConversationsSession(openai_client=client)
    await session.add_items([reply("x", id="msg_1"), {**call("c"), "id": "fc_1", "provider_data": {"a": 1}}])
    await session.add_items([reasoning("rs_1")])
    sent = [item for method, path, body in openai_server.asked if path.endswith("/items") for item in body["items"]]
    assert ["id" in item for item in sent] == [False, False, True]
    assert "provider_data" not in sent[1]


async def test_a_failed_addition_is_not_tried_again(openai_server: OpenAIServer) -> None:
    async with AsyncOpenAI(base_url=openai_server.url, api_key="none", max_retries=3) as patient:
        session = OpenAIConversationsSession(openai_client=patient)
        await session.get_items()
        openai_server.refuse = [500]
        with pytest.raises(ModelError, match="not now") as caught:
            await session.add_items([user("x")])
        assert caught.value.status_code == 500
        assert session.session_id in str(caught.value)
        assert await session.get_items() == []


async def test_an_unknown_conversation_is_an_error(client: AsyncOpenAI) -> None:
    with pytest.raises(ModelError, match="no such conversation"):
        await OpenAIConversationsSession("conv_gone", client).get_items()


async def test_ten_candidates_are_compacted_and_nine_are_not(
    world: World, client: AsyncOpenAI, openai_server: OpenAIServer
) -> None:
    session = OpenAIResponsesCompactionSession("s", world.sqlite(), client=client)
    await session.add_items([user(str(n)) for n in range(20)] + TEN[:9])
    await session.run_compaction({"response_id": "resp_1"})
    assert openai_server.asked == []
    await session.add_items(TEN[9:])
    wrapper = RunContextWrapper(None)
    await session.run_compaction({"response_id": "resp_2"}, wrapper=wrapper)
    assert openai_server.asked == [
        ("POST", "/responses/compact", {"model": "gpt-4.1", "previous_response_id": "resp_2"})
    ]
    assert await session.get_items() == COMPACTED
    assert await world.sqlite().get_items() == COMPACTED
    assert (wrapper.usage.requests, wrapper.usage.total_tokens) == (1, 107)


@pytest.mark.parametrize(
    "kind", ["memory", "sqlalchemy", "redis", "store_memory", "store_sqlite", "encrypted", "advanced"]
)
async def test_whatever_keeps_it_can_be_compacted(world: World, client: AsyncOpenAI, kind: str) -> None:
    session = OpenAIResponsesCompactionSession("s", getattr(world, kind)(), client=client)
    await session.add_items(TEN)
    await session.run_compaction()
    assert await session.get_items() == COMPACTED
    await session.add_items([user("next")])
    assert await session.get_items() == [*COMPACTED, user("next")]


async def test_the_items_are_sent_where_the_server_does_not_know_them(
    world: World, client: AsyncOpenAI, openai_server: OpenAIServer
) -> None:
    session = OpenAIResponsesCompactionSession("s", world.sqlite(), client=client)
    for args in ({}, {"response_id": "r", "store": False}, {"response_id": "r", "compaction_mode": "input"}):
        await session.clear_session()
        await session.add_items(TEN)
        await session.run_compaction(args)
        assert openai_server.asked.pop()[2] == {"model": "gpt-4.1", "input": TEN}
    await session.clear_session()
    await session.add_items(TEN)
    await session.run_compaction({"response_id": "stale", "compaction_mode": "input", "force": False})
    await session.add_items([user("added since"), *TEN])
    await session.run_compaction()
    assert openai_server.asked.pop()[2]["input"] == [*COMPACTED, user("added since"), *TEN]


async def test_the_trigger_is_asked_and_force_goes_past_it(
    world: World, client: AsyncOpenAI, openai_server: OpenAIServer
) -> None:
    asked: list[dict[str, Any]] = []

    def never(context: dict[str, Any]) -> bool:
        asked.append(context)
        return False

    session = OpenAIResponsesCompactionSession("s", world.sqlite(), client=client, should_trigger_compaction=never)
    items = [user("a"), reply("b"), *COMPACTED]
    await session.add_items(items)
    await session.run_compaction({"response_id": "r"})
    assert asked == [
        {
            "response_id": "r",
            "compaction_mode": "previous_response_id",
            "compaction_candidate_items": [reply("b")],
            "session_items": items,
        }
    ]
    assert openai_server.asked == []
    await session.run_compaction({"response_id": "r", "force": True})
    assert await session.get_items() == COMPACTED


async def test_a_call_that_waits_for_its_output_survives_compaction(
    world: World, client: AsyncOpenAI, openai_server: OpenAIServer
) -> None:
    session = OpenAIResponsesCompactionSession("s", world.sqlite(), client=client)
    waiting = [reasoning("r"), call("open")]
    await session.add_items([*TEN, call("c"), output("c"), *waiting])
    await session.run_compaction({"response_id": "resp"})
    assert openai_server.asked[0][2]["input"] == [*TEN, call("c"), output("c")]
    assert await session.get_items() == [*COMPACTED, *waiting]


async def test_what_is_added_meanwhile_is_kept(world: World, client: AsyncOpenAI, openai_server: OpenAIServer) -> None:
    other = world.sqlite()
    session = OpenAIResponsesCompactionSession("s", world.sqlite(), client=client)
    await session.add_items(TEN)
    openai_server.meanwhile = lambda: asyncio.run(other.add_items([user("meanwhile")]))
    await session.run_compaction()
    assert await session.get_items() == [*COMPACTED, user("meanwhile")]


async def test_a_history_that_was_changed_meanwhile_is_left_alone(
    world: World, client: AsyncOpenAI, openai_server: OpenAIServer
) -> None:
    other = world.sqlite()
    session = OpenAIResponsesCompactionSession("s", world.sqlite(), client=client)
    await session.add_items(TEN)
    openai_server.meanwhile = lambda: asyncio.run(other.pop_item())
    await session.run_compaction()
    assert await session.get_items() == TEN[:-1]


async def test_a_compaction_that_fails_leaves_the_history(
    world: World, client: AsyncOpenAI, openai_server: OpenAIServer
) -> None:
    session = OpenAIResponsesCompactionSession("s", world.sqlite(), client=client)
    await session.add_items(TEN)
    openai_server.refuse = [400]
    with pytest.raises(ModelError, match=r"compaction of session 's' by model 'gpt-4\.1'"):
        await session.run_compaction()
    openai_server.short = []
    with pytest.raises(ModelBehaviorError, match="no items"):
        await session.run_compaction()
    assert await session.get_items() == TEN


async def test_a_replacement_that_fails_half_way_is_taken_back(world: World, client: AsyncOpenAI) -> None:
    class Full:
        """A session that can't replace at once, and has no room for what is compacted."""

        def __init__(self) -> None:
            self.inner = world.sqlite()
            self.get_items, self.clear_session, self.pop_item = (
                self.inner.get_items, self.inner.clear_session, self.inner.pop_item,
            )  # fmt: skip

        async def add_items(self, items: list[Any]) -> None:
            if items == COMPACTED:
                raise OSError("full")
            await self.inner.add_items(items)

    session = OpenAIResponsesCompactionSession("s", Full(), client=client)
    await session.add_items(TEN)
    with pytest.raises(OSError, match="full"):
        await session.run_compaction()
    assert await session.get_items() == TEN


async def test_wrong_compactions_are_refused(world: World, client: AsyncOpenAI) -> None:
    def make(**given: Any) -> OpenAIResponsesCompactionSession:
        return OpenAIResponsesCompactionSession("s", world.sqlite(), client=client, **given)

    with pytest.raises(ValueError, match="Unsupported model for OpenAI responses compaction: claude-x"):
        make(model="claude-x")
    for good in ("gpt-5.6", "o3", "ft:gpt-4.1:mine"):
        assert make(model=good).model == good
    with pytest.raises(UserError, match="compaction_mode='zip'"):
        make(compaction_mode="zip")
    with pytest.raises(ValueError, match="cannot wrap OpenAIConversationsSession"):
        OpenAIResponsesCompactionSession("s", OpenAIConversationsSession(openai_client=client))
    with pytest.raises(UserError, match="is no session"):
        OpenAIResponsesCompactionSession("s", object())
    with pytest.raises(UserError, match="response_id, compaction_mode, store, force"):
        await make().run_compaction({"id": "r"})
    with pytest.raises(ValueError, match="requires a response_id"):
        await make(compaction_mode="previous_response_id").run_compaction()
    with pytest.raises(UserError, match="the other way round"):
        EncryptedSession("s", make(), "key")


def test_sessions_that_compact_are_known_by_it(world: World) -> None:
    assert is_openai_responses_compaction_aware_session(world.compacting())
    assert not is_openai_responses_compaction_aware_session(world.sqlite())
    assert not is_openai_responses_compaction_aware_session(None)
