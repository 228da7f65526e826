"""A run's input from a history and what is new; limits; settings; who is handed the run's context."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sessions_making import call, output, reasoning, reply, user

from flowcore import RunContextWrapper, Session, SessionABC, SessionSettings, UserError
from flowcore.agents.session import as_session, ask, limit_of, takes_wrapper
from flowcore.agents.session_input import CALL_OF, limited, merge_input, without_open_calls

HISTORY = [
    user("q1"), reasoning("r1"), call("c1"), output("c1"), reasoning("r2"), reply("m1"),
    user("q2"), call("c2"), call("c3"), output("c2"), output("c3"), reply("m2"),
]  # fmt: skip


def names(items: list[dict[str, Any]]) -> list[str]:
    return [f"{item.get('type', 'user')}:{item.get('call_id', item.get('id', ''))}" for item in items]


@pytest.mark.parametrize(
    ("limit", "gone"),
    [
        (0, []), (1, []), (2, ["c3"]), (3, ["c2", "c3"]), (4, ["c2"]), (5, []), (6, []), (8, []), (9, ["c1"]), (10, []),
        (12, []), (99, []),
    ],
)  # fmt: skip
def test_a_limit_drops_the_outputs_whose_call_fell_away(limit: int, gone: list[str]) -> None:
    window = HISTORY[-limit:] if limit else []
    dropped = [output(one) for one in gone]
    assert limited(HISTORY, limit) == [item for item in window if item not in dropped]


def test_without_a_limit_nothing_is_dropped() -> None:
    assert limited([user("a"), output("alone")], None) == [user("a"), output("alone")]


@pytest.mark.parametrize("limit", [-1, True, "3"])
def test_a_limit_is_a_number_of_items(limit: Any) -> None:
    with pytest.raises(UserError, match="number of latest items"):
        limited(HISTORY, limit)


@pytest.mark.parametrize("answer", sorted(CALL_OF))
def test_every_kind_of_answer_goes_with_its_call(answer: str) -> None:
    kind = CALL_OF[answer]
    if answer == "mcp_approval_response":
        pair = [{"type": kind, "id": "1"}, {"type": answer, "approval_request_id": "1", "approve": True}]
    else:
        pair = [{"type": kind, "call_id": "1"}, {"type": answer, "call_id": "1"}]
    items = [user("a"), *pair, user("b")]
    assert limited(items, 3) == items[1:]
    assert limited(items, 2) == [user("b")]


def test_a_shell_output_that_names_its_call_by_id_goes_with_it() -> None:
    pair = [{"type": "local_shell_call", "call_id": "c", "id": "i"}, {"type": "local_shell_call_output", "id": "i"}]
    assert limited(pair, 2) == pair
    assert limited(pair, 1) == []


def test_a_search_that_the_provider_answered_by_itself_stays() -> None:
    pair = [{"type": "tool_search_call", "call_id": None}, {"type": "tool_search_output", "call_id": None}]
    assert limited(pair, 1) == pair[1:]
    assert without_open_calls(pair) == pair


@given(st.lists(st.sampled_from(HISTORY), max_size=20), st.integers(0, 20))
def test_whatever_is_limited_has_no_output_without_its_call(items: list[dict[str, Any]], limit: int) -> None:
    kept = limited(items, limit)
    calls = {item["call_id"] for item in kept if item.get("type") == "function_call"}
    assert all(item["call_id"] in calls for item in kept if item.get("type") == "function_call_output")
    assert len(kept) <= limit
    places = iter(items)
    assert all(any(one is item for one in places) for item in kept), "the order changed"


def test_open_calls_go_with_the_reasoning_that_led_to_them() -> None:
    open_end = [user("a"), reasoning("r"), call("c")]
    assert without_open_calls(open_end) == [user("a")]
    assert without_open_calls([*open_end, output("c")]) == [*open_end, output("c")]
    assert without_open_calls(HISTORY) == HISTORY
    assert names(without_open_calls([user("a"), reasoning("r"), reply("m"), call("c"), user("b")])) == [
        "user:", "reasoning:r", "message:m", "user:",
    ]  # fmt: skip


def test_an_open_approval_stays() -> None:
    asked = {"type": "mcp_approval_request", "id": "1", "name": "n", "server_label": "s", "arguments": "{}"}
    assert without_open_calls([asked]) == [asked]


OLD = [user("q"), reply("a")]
NEW = [user("n"), user("q")]


async def test_without_a_callback_the_new_follows_the_old() -> None:
    merged = await merge_input(OLD, NEW)
    assert merged.items == OLD + NEW
    assert merged.is_new == [False, False, True, True]
    assert merged.position == [0, 1, None, None]
    assert merged.new == NEW


async def check(callback: Any, items: list[Any], new: list[Any], position: list[int | None] | None = None) -> None:
    for form in (callback, as_async(callback)):
        merged = await merge_input(OLD, NEW, form)
        assert merged.items == items
        assert merged.new == new
        if position is not None:
            assert merged.position == position


def as_async(callback: Any) -> Any:
    async def later(history: Any, new: Any) -> Any:
        return callback(history, new)

    return later


async def test_what_a_callback_leaves_out_or_reorders() -> None:
    await check(lambda history, new: history + new, OLD + NEW, NEW, [0, 1, None, None])
    await check(lambda history, new: new + history, NEW + OLD, NEW, [None, None, 0, 1])
    await check(lambda history, new: history[-1:] + new, [OLD[1], *NEW], NEW, [1, None, None])
    await check(lambda history, new: new, NEW, NEW)
    await check(lambda history, new: history, OLD, [])
    await check(lambda history, new: new[:1], NEW[:1], NEW[:1])
    await check(lambda history, new: [], [], [])


async def test_copies_are_told_by_how_often_their_content_was_there() -> None:
    # "q" stands once in the history and once in what is new.
    await check(lambda history, new: [dict(item) for item in history + new], OLD + NEW, NEW, [0, 1, None, None])
    await check(lambda history, new: [user("q")], [user("q")], [], [0])
    await check(lambda history, new: [user("q"), user("q")], [user("q")] * 2, [user("q")], [0, None])
    # The object of the history is known, so the copy must be the new one, wherever it stands.
    await check(lambda history, new: [dict(new[1]), history[0]], [user("q")] * 2, [user("q")], [None, 0])


async def test_what_a_callback_makes_or_changes_is_new() -> None:
    await check(lambda history, new: [user("summary"), *new], [user("summary"), *NEW], [user("summary"), *NEW])
    changed = {**NEW[0], "content": "N"}
    await check(lambda history, new: [*history, {**new[0], "content": "N"}], [*OLD, changed], [changed])


async def test_an_item_given_twice_keeps_what_it_is() -> None:
    await check(lambda history, new: history * 2, OLD * 2, [], [0, 1, 0, 1])
    await check(lambda history, new: [new[0], new[0]], [NEW[0]] * 2, [NEW[0]] * 2)


async def test_a_callback_that_changes_what_it_was_given_changes_only_what_it_returns() -> None:
    history, new = [user("old")], [user("new")]

    def redact(old: list[Any], fresh: list[Any]) -> list[Any]:
        old[0]["content"] = fresh[0]["content"] = "***"
        old.append(user("more"))
        return old + fresh

    merged = await merge_input(history, new, redact)
    assert merged.items == [user("***"), user("more"), user("***")]
    assert merged.is_new == [False, True, True]
    assert merged.position == [None, None, None], "a changed item isn't the history's any more"
    assert (history, new) == ([user("old")], [user("new")])


@pytest.mark.parametrize(
    ("answer", "told"),
    [(None, "NoneType"), ("text", "str"), ((user("x"),), "tuple"), ([user("x"), 3], "Item 1 is int"), ({}, "dict")],
)
async def test_a_callback_that_returns_something_else_is_refused(answer: Any, told: str) -> None:
    for callback in (lambda history, new: answer, as_async(lambda history, new: answer)):
        with pytest.raises(UserError, match=f"must return a list of input items.*{told}"):
            await merge_input(OLD, NEW, callback)


async def test_what_is_no_callback_is_refused() -> None:
    with pytest.raises(UserError, match="Invalid `session_input_callback` value: 3"):
        await merge_input(OLD, NEW, 3)  # type: ignore[arg-type]


async def test_what_a_callback_raises_comes_through() -> None:
    def fails(history: Any, new: Any) -> Any:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await merge_input(OLD, NEW, fails)


def test_settings_lie_over_one_another() -> None:
    own = SessionSettings(limit=3)
    assert own.resolve(None) == own
    assert own.resolve(SessionSettings()) == own
    assert own.resolve(SessionSettings(5)) == SessionSettings(5)
    assert own.resolve({"limit": 0}) == SessionSettings(0)
    assert own.to_dict() == {"limit": 3}
    assert own.resolve(None) is not own
    for wrong in (5, "limit"):
        with pytest.raises(UserError, match="session_settings"):
            own.resolve(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Unknown session settings: size"):
        own.resolve({"size": 1})
    with pytest.raises(UserError, match="limit=-1"):
        SessionSettings(limit=-1)


class Bare:
    """A session as somebody might write it who knows nothing of flowcore."""

    session_id = "bare"

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.seen: list[Any] = []

    async def get_items(self, limit: int | None = None, *, wrapper: Any = None) -> list[Any]:
        self.seen.append(wrapper)
        return self.items[-limit:] if limit else list(self.items)

    async def add_items(self, items: list[Any]) -> None:
        self.items += items

    async def pop_item(self) -> Any:
        return self.items.pop() if self.items else None

    async def clear_session(self, **options: Any) -> None:
        self.seen.append(options)


async def test_a_method_that_asks_for_the_wrapper_gets_it_and_others_do_not() -> None:
    session, wrapper = Bare(), RunContextWrapper("mine")
    assert [takes_wrapper(Bare, verb) for verb in ("get_items", "add_items", "pop_item", "clear_session")] == [
        True, False, False, False,
    ]  # fmt: skip
    await ask(session, "add_items", [user("x")], wrapper=wrapper)
    assert await ask(session, "get_items", 1, wrapper=wrapper) == [user("x")]
    assert await ask(session, "get_items", 1) == [user("x")]
    await ask(session, "clear_session", wrapper=wrapper)
    assert session.seen == [wrapper, None, {}]


def test_a_class_is_inspected_once() -> None:
    class Counted(Bare):
        pass

    takes_wrapper.cache_clear()
    for _ in range(5):
        takes_wrapper(Counted, "get_items")
    assert takes_wrapper.cache_info().misses == 1


def test_a_session_needs_no_settings_and_no_base() -> None:
    assert as_session(Bare())
    assert limit_of(Bare()) is None
    assert limit_of(Bare(), {"limit": 2}) == 2
    assert not isinstance(Bare(), Session), "the protocol has session_settings too"


@pytest.mark.parametrize("value", [None, "id", object(), Bare])
def test_what_is_no_session_is_refused(value: Any) -> None:
    with pytest.raises(UserError, match="is no session"):
        as_session(value)


def test_a_session_with_a_method_missing_cannot_be_made() -> None:
    class Half(SessionABC):
        async def get_items(self, limit: int | None = None) -> list[Any]:
            return []

    with pytest.raises(TypeError, match="abstract"):
        Half()  # type: ignore[abstract]
