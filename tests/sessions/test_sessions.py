"""What every session does, whatever it's kept in."""

from __future__ import annotations

import asyncio
import math

import pytest
from sessions_making import SHARED, Maker, World, call, output, reply, user

from flowcore import Session, SessionABC, SessionSettings, UserError
from flowcore.agents.session import as_session

ITEMS = [user("one"), reply("two"), call("c"), output("c"), user("five")]


async def test_a_new_session_is_empty(make: Maker) -> None:
    session = make()
    assert await session.get_items() == []
    assert await session.pop_item() is None
    await session.clear_session()
    assert session.session_id == "s"


async def test_items_come_back_as_they_were_in_the_order_in_which_they_came(make: Maker) -> None:
    session = make()
    await session.add_items(ITEMS[:2])
    await session.add_items([])
    await session.add_items(ITEMS[2:])
    assert await session.get_items() == ITEMS


async def test_unknown_types_and_keys_are_kept(make: Maker) -> None:
    session = make()
    odd = [{"type": "of_tomorrow", "deep": {"list": [1, 2.5, None, True, {"": ""}]}}, {"x": 1}]
    await session.add_items(odd)
    assert await session.get_items() == odd


@pytest.mark.parametrize(
    "text", ["", "Zażółć 😀", "a\0b", "\ud800 alone", "\udcff", '"\\\n\u2028', "x" * 300_000], ids=ascii
)
async def test_every_text_survives(make: Maker, text: str) -> None:
    session = make()
    await session.add_items([user(text)])
    assert await session.get_items() == [user(text)]
    assert await session.pop_item() == user(text)


async def test_a_limit_gives_the_latest_in_order(make: Maker) -> None:
    session = make()
    await session.add_items(ITEMS)
    assert await session.get_items(2) == ITEMS[-2:]
    assert await session.get_items(limit=100) == ITEMS
    assert await session.get_items(0) == []


async def test_the_settings_limit_where_the_call_does_not(make: Maker) -> None:
    session = make(session_settings=SessionSettings(limit=2))
    await session.add_items(ITEMS)
    assert await session.get_items() == ITEMS[-2:]
    assert await session.get_items(3) == ITEMS[-3:]
    assert session.session_settings.limit == 2


async def test_settings_may_be_a_dict(make: Maker) -> None:
    assert make(session_settings={"limit": 3}).session_settings == SessionSettings(3)
    with pytest.raises(TypeError, match="Unknown session settings: size"):
        make(session_settings={"size": 3})


@pytest.mark.parametrize("limit", [-1, 1.5, "2", True])
async def test_a_limit_that_is_none_is_refused(make: Maker, limit: object) -> None:
    with pytest.raises(UserError, match="limit"):
        await make().get_items(limit)


async def test_pop_takes_the_latest(make: Maker) -> None:
    session = make()
    await session.add_items(ITEMS)
    assert [await session.pop_item() for _ in ITEMS] == ITEMS[::-1]
    assert await session.pop_item() is None
    await session.add_items([user("again")])
    assert await session.get_items() == [user("again")]


async def test_clear_empties_one_session_alone(make: Maker) -> None:
    session, other = make("a"), make("b")
    await session.add_items(ITEMS)
    await other.add_items([user("other")])
    await session.clear_session()
    assert await session.get_items() == []
    assert await other.get_items() == [user("other")]
    await session.add_items([user("again")])
    assert await session.get_items() == [user("again")]


@pytest.mark.parametrize("session_id", ["it's", 'a"b; DROP TABLE agent_messages; --', "ü/😀 %s {} :x", "a" * 200])
async def test_an_id_is_data_never_code(make: Maker, session_id: str) -> None:
    session = make(session_id)
    await session.add_items(ITEMS)
    assert await make("other").get_items() == []
    assert await session.get_items() == ITEMS


async def test_what_is_no_json_is_refused_and_nothing_is_added(make: Maker) -> None:
    session = make()
    for wrong in (object(), "text", {"x": object()}, {"x": math.nan}, {"x": b"bytes"}):
        with pytest.raises(UserError):
            await session.add_items([user("good"), wrong])
    for wrong in ("text", user("not in a list"), None):
        with pytest.raises(UserError, match="give a list"):
            await session.add_items(wrong)
    assert await session.get_items() == []


async def test_changing_what_was_given_or_read_changes_nothing(make: Maker) -> None:
    session = make()
    given = user("as it was")
    await session.add_items([given])
    given["content"] = "changed"
    (read,) = await session.get_items()
    read["content"] = "changed"
    assert await session.get_items() == [user("as it was")]


async def test_many_tasks_at_once_lose_nothing(make: Maker) -> None:
    session = make()
    await asyncio.gather(*(session.add_items([user(f"{n}a"), user(f"{n}b")]) for n in range(20)))
    texts = [item["content"] for item in await session.get_items()]
    assert len(texts) == 40
    assert all(texts[at][:-1] == texts[at + 1][:-1] for at in range(0, 40, 2)), "an addition was torn apart"


async def test_two_that_pop_at_once_never_get_the_same_item(make: Maker) -> None:
    session = make()
    await session.add_items([user(str(n)) for n in range(10)])
    popped = await asyncio.gather(*(session.pop_item() for _ in range(12)))
    assert sorted(item["content"] for item in popped if item) == [str(n) for n in range(10)]


@pytest.mark.parametrize("kind", SHARED)
async def test_two_objects_with_one_id_are_one_session(world: World, kind: str) -> None:
    first, second = getattr(world, kind)(), getattr(world, kind)()
    await first.add_items(ITEMS)
    assert await second.get_items() == ITEMS
    assert await second.pop_item() == ITEMS[-1]
    assert await first.get_items() == ITEMS[:-1]


@pytest.mark.parametrize("kind", SHARED)
async def test_two_objects_that_write_at_once_lose_nothing(world: World, kind: str) -> None:
    sessions = [getattr(world, kind)() for _ in range(4)]
    await asyncio.gather(*(session.add_items([user(str(n))]) for n in range(10) for session in sessions))
    texts = [item["content"] for item in await sessions[0].get_items()]
    assert sorted(texts) == sorted(str(n) for n in range(10) for _ in sessions)


@pytest.mark.parametrize("kind", ["sqlite", "async_sqlite", "advanced", "sqlalchemy", "redis", "encrypted"])
async def test_all_items_are_replaced_at_once(world: World, kind: str) -> None:
    session, other = getattr(world, kind)("a"), getattr(world, kind)("b")
    await session.add_items(ITEMS)
    await other.add_items(ITEMS)
    await session.replace_items([user("short"), reply("form")])
    assert await session.get_items() == [user("short"), reply("form")]
    assert await other.get_items() == ITEMS
    await session.replace_items([])
    assert await session.get_items() == []


async def test_each_is_a_session(make: Maker) -> None:
    session = make()
    assert isinstance(session, Session)
    assert isinstance(session, SessionABC)
    assert as_session(session) is session
