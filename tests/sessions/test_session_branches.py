"""Branches, turns and usage of an AdvancedSQLiteSession."""

from __future__ import annotations

import sqlite3
from types import SimpleNamespace
from typing import Any

import pytest
from sessions_making import World, call, output, reasoning, reply, user

from flowcore import RunContextWrapper, UserError
from flowcore.extensions.memory import AdvancedSQLiteSession
from flowcore.models.usage import InputTokensDetails, OutputTokensDetails, Usage

FIRST = [user("q1"), reply("a1"), call("c", "search"), output("c"), reply("done")]
SECOND = [user("q2"), reply("a2")]
THIRD = [user("q3 " + "z" * 200), reply("a3")]


async def begun(world: World) -> AdvancedSQLiteSession:
    session = world.advanced()
    for turn in (FIRST, SECOND, THIRD):
        await session.add_items(turn)
    return session


async def test_a_branch_begins_before_a_turn_and_leaves_the_other_as_it_is(world: World) -> None:
    session = await begun(world)
    name = await session.create_branch_from_turn(2)
    assert name.startswith("branch_from_turn_2_")
    assert await session.get_items() == FIRST
    await session.add_items([user("other"), reply("way")])
    assert await session.get_items() == [*FIRST, user("other"), reply("way")]
    assert await session.get_items(1) == [reply("way")]
    assert await session.get_items(branch_id="main") == FIRST + SECOND + THIRD
    await session.switch_to_branch("main")
    assert await session.get_items(3) == [SECOND[-1], *THIRD]
    assert await session.get_items(2, branch_id=name) == [user("other"), reply("way")]


async def test_branches_begin_in_branches_and_share_what_is_stored(world: World) -> None:
    session = await begun(world)
    await session.create_branch_from_turn(3, "b")
    await session.add_items([user("q3b")])
    await session.create_branch_from_turn(3, "c")
    await session.add_items([user("q3c")])
    assert await session.get_items() == [*FIRST, *SECOND, user("q3c")]
    other = sqlite3.connect(world.folder / "sessions.db")
    assert other.execute("SELECT count(*) FROM agent_messages").fetchone() == (11,)
    other.close()


async def test_a_branch_may_begin_at_the_first_turn(world: World) -> None:
    session = await begun(world)
    await session.create_branch_from_turn(1, "anew")
    assert await session.get_items() == []
    assert (await session.list_branches())[0] == {
        "branch_id": "anew", "message_count": 0, "user_turns": 0, "is_current": True, "created_at": None,
    }  # fmt: skip
    await session.switch_to_branch("main")
    await session.switch_to_branch("anew")
    await session.add_items([user("x")])
    assert await session.pop_item() == user("x")
    await session.add_items([user("y")])
    assert await session.get_items() == [user("y")]
    assert await session.get_items(branch_id="main") == FIRST + SECOND + THIRD


async def test_each_object_has_its_own_current_branch(world: World) -> None:
    session = await begun(world)
    await session.create_branch_from_turn(2, "b")
    other = world.advanced()
    assert await other.get_items() == FIRST + SECOND + THIRD
    await other.switch_to_branch("b")
    assert await other.get_items() == FIRST


async def test_branches_are_listed_the_current_one_first(world: World) -> None:
    session = await begun(world)
    await session.create_branch_from_turn(2, "b")
    listed = await session.list_branches()
    assert [(one["branch_id"], one["message_count"], one["user_turns"], one["is_current"]) for one in listed] == [
        ("b", 5, 1, True),
        ("main", 9, 3, False),
    ]
    assert all(one["created_at"] for one in listed)
    assert await world.advanced("empty").list_branches() == []


async def test_a_branch_may_begin_at_words(world: World) -> None:
    session = await begun(world)
    assert await session.create_branch_from_content("Q2", "b") == "b"
    assert await session.get_items() == FIRST
    with pytest.raises(ValueError, match="No user turns found containing 'nowhere'"):
        await session.create_branch_from_content("nowhere")


async def test_deleting_a_branch_removes_what_no_other_has(world: World) -> None:
    session = await begun(world)
    await session.create_branch_from_turn(2, "b")
    await session.add_items([user("only here")])
    with pytest.raises(ValueError, match="Cannot delete current branch 'b'"):
        await session.delete_branch("b")
    await session.delete_branch("b", force=True)
    assert await session.get_items() == FIRST + SECOND + THIRD
    other = sqlite3.connect(world.folder / "sessions.db")
    assert other.execute("SELECT count(*) FROM agent_messages").fetchone() == (9,)
    other.close()
    for gone in (session.delete_branch("b"), session.switch_to_branch("b")):
        with pytest.raises(ValueError, match="Branch 'b' does not exist"):
            await gone
    with pytest.raises(ValueError, match="has already been used"):
        await session.create_branch_from_turn(1, "b")


async def test_a_branch_that_another_deleted_is_not_written_to(world: World) -> None:
    session, other = await begun(world), world.advanced()
    await session.create_branch_from_turn(2, "b")
    await other.delete_branch("b")
    with pytest.raises(ValueError, match="was deleted meanwhile"):
        await session.add_items([user("lost")])
    assert await other.get_items() == FIRST + SECOND + THIRD


async def test_wrong_branches_are_refused(world: World) -> None:
    session = await begun(world)
    for doing, told in (
        (session.switch_to_branch("zz"), "Branch 'zz' does not exist"),
        (session.delete_branch("main"), "Cannot delete the 'main' branch"),
        (session.delete_branch(" "), "Branch ID cannot be empty"),
        (session.delete_branch("zz"), "Branch 'zz' does not exist"),
        (session.create_branch_from_turn(9), "Turn 9 does not contain a user message in branch 'main'"),
        (session.create_branch_from_turn(0), "Turn 0 does not contain a user message"),
        (session.create_branch_from_turn(1, "  "), "Branch name cannot be empty"),
        (session.create_branch_from_turn(1, "main"), "'main' has already been used"),
    ):
        with pytest.raises(ValueError, match=told):
            await doing
    assert await session.get_items() == FIRST + SECOND + THIRD


async def test_two_branches_of_one_second_have_two_names(world: World) -> None:
    session = await begun(world)
    names = set()
    for _ in range(5):
        await session.switch_to_branch("main")
        names.add(await session.create_branch_from_turn(2))
    assert len(names) == 5


async def test_turns_are_told(world: World) -> None:
    session = await begun(world)
    turns = await session.get_conversation_turns()
    assert [(turn["turn"], turn["content"], turn["can_branch"]) for turn in turns] == [
        (1, "q1", True),
        (2, "q2", True),
        (3, "q3 " + "z" * 97 + "...", True),
    ]
    assert turns[2]["full_content"] == THIRD[0]["content"]
    assert await session.get_conversation_by_turns() == {
        1: [
            {"type": "user", "tool_name": None},
            {"type": "assistant", "tool_name": None},
            {"type": "function_call", "tool_name": "search"},
            {"type": "function_call_output", "tool_name": None},
            {"type": "assistant", "tool_name": None},
        ],
        2: [{"type": "user", "tool_name": None}, {"type": "assistant", "tool_name": None}],
        3: [{"type": "user", "tool_name": None}, {"type": "assistant", "tool_name": None}],
    }
    assert [turn["turn"] for turn in await session.find_turns_by_content("Q")] == [1, 2, 3]
    assert [turn["turn"] for turn in await session.find_turns_by_content("q2")] == [2]
    assert await session.find_turns_by_content("a2") == []
    parts = [{"type": "input_text", "text": "Ärger mit Teilen"}, {"type": "input_image", "image_url": "x"}]
    await session.add_items([{"role": "user", "content": parts}])
    (found,) = await session.find_turns_by_content("ärger")
    assert found["full_content"] == parts
    assert await session.find_turns_by_content("input_image") == []


async def test_the_tools_of_each_turn_are_counted(world: World) -> None:
    session = await begun(world)
    await session.add_items([user("more"), call("1", "b"), call("2", "a"), call("3", "b"), reasoning("r")])
    hosted = [
        {"type": "web_search_call", "id": "w"},
        {"type": "mcp_call", "id": "m", "name": "read", "server_label": "files"},
        {"type": "custom_tool_call", "name": "own", "call_id": "4", "input": ""},
    ]
    await session.add_items(hosted)
    assert await session.get_tool_usage() == [
        ("search", 1, 1), ("a", 1, 4), ("b", 2, 4), ("files.read", 1, 4), ("own", 1, 4), ("web_search_call", 1, 4),
    ]  # fmt: skip


async def test_what_comes_before_the_first_question_belongs_to_no_turn(world: World) -> None:
    session = world.advanced()
    await session.add_items([{"role": "system", "content": "s"}, reply("hello"), user("q")])
    assert await session.get_conversation_by_turns() == {
        0: [{"type": "other", "tool_name": None}, {"type": "assistant", "tool_name": None}],
        1: [{"type": "user", "tool_name": None}],
    }
    await session.create_branch_from_turn(1, "b")
    assert len(await session.get_items()) == 2


def result(tokens: int) -> Any:
    details = InputTokensDetails(cached_tokens=1), OutputTokensDetails(reasoning_tokens=2)
    usage = Usage(1, tokens, details[0], tokens, details[1], 2 * tokens)
    return SimpleNamespace(context_wrapper=RunContextWrapper(None, usage))


async def test_usage_is_kept_for_each_turn(world: World) -> None:
    session = world.advanced()
    await session.store_run_usage(result(1))
    assert await session.get_session_usage() is None
    await session.add_items(FIRST)
    await session.store_run_usage(result(5))
    await session.store_run_usage(result(10))
    await session.add_items(SECOND)
    await session.store_run_usage(result(20))
    told = {
        "requests": 1,
        "input_tokens": 20,
        "output_tokens": 20,
        "total_tokens": 40,
        "input_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 2},
    }
    assert await session.get_turn_usage(2) == told
    assert [turn["total_tokens"] for turn in await session.get_turn_usage()] == [20, 40]
    assert (await session.get_turn_usage())[1] == {"user_turn_number": 2, **told}
    assert await session.get_turn_usage(7) == {}
    sums = {"requests": 2, "input_tokens": 30, "output_tokens": 30, "total_tokens": 60, "total_turns": 2}
    assert await session.get_session_usage() == sums
    await session.create_branch_from_turn(2, "b")
    await session.add_items([user("other")])
    await session.store_run_usage(result(100))
    assert (await session.get_session_usage("b") or {})["total_tokens"] == 200
    assert (await session.get_session_usage() or {})["total_tokens"] == 260
    assert await session.get_session_usage("main") == sums
    assert await session.get_turn_usage(2, "main") == told
    assert await session.get_session_usage("nowhere") is None


async def test_pop_takes_from_the_current_branch_alone_with_the_usage_of_turns_that_are_no_more(world: World) -> None:
    session = await begun(world)
    await session.store_run_usage(result(1))
    await session.create_branch_from_turn(3, "b")
    assert await session.pop_item() == SECOND[1]
    assert await session.get_items(branch_id="main") == FIRST + SECOND + THIRD
    await session.switch_to_branch("main")
    assert await session.pop_item() == THIRD[1]
    assert await session.get_turn_usage(3) != {}
    assert await session.pop_item() == THIRD[0]
    assert await session.get_turn_usage(3) == {}
    assert [await session.pop_item() for _ in range(2)] == SECOND[::-1]
    await session.switch_to_branch("b")
    assert await session.get_items() == [*FIRST, SECOND[0]]


async def test_clearing_goes_back_to_an_empty_main_branch(world: World) -> None:
    session = await begun(world)
    await session.store_run_usage(result(1))
    await session.create_branch_from_turn(2, "b")
    await session.clear_session()
    assert await session.get_items() == []
    assert await session.list_branches() == []
    assert await session.get_session_usage() is None
    await session.add_items(FIRST)
    assert await session.get_items(branch_id="main") == FIRST
    with pytest.raises(ValueError, match="already been used"):
        await session.create_branch_from_turn(1, "b")


async def test_a_replacement_touches_the_current_branch_alone(world: World) -> None:
    session = await begun(world)
    await session.create_branch_from_turn(2, "b")
    await session.replace_items([user("short")])
    assert await session.get_items() == [user("short")]
    assert await session.get_items(branch_id="main") == FIRST + SECOND + THIRD


async def test_without_its_tables_it_says_how_to_make_them(world: World) -> None:
    session = AdvancedSQLiteSession(session_id="s", db_path=world.folder / "sessions.db")
    with pytest.raises(UserError, match="create_tables=True"):
        await session.get_items()
    session.close()
    await begun(world)
    again = AdvancedSQLiteSession(session_id="s", db_path=world.folder / "sessions.db")
    assert await again.get_items() == FIRST + SECOND + THIRD
    again.close()
    with pytest.raises(TypeError):
        AdvancedSQLiteSession(session_id="s", tables=True)
