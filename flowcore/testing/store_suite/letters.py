"""Requests, and letters to a run: each is taken in once."""

from __future__ import annotations

from typing import Any

import pytest

from flowcore.errors import RunConflict, UserError
from flowcore.machine.facts import Signal
from flowcore.stores.base import Claim, Letter, SessionWrite, Store
from flowcore.testing.store_suite.cases import Cases, append
from flowcore.testing.store_suite.making import (
    ME,
    OTHER,
    asking,
    begin,
    member,
    move,
    question,
    row,
)


async def waiting_run(store: Store, run: str = "r", key: str = "q") -> Claim:
    """A run of ours that asks something."""
    claim = await store.admit(begin(run), ME)
    assert await append(store, claim, asking(run, 1, key)) == [None]
    return claim


class Letters(Cases):
    """Requests, and letters to a run: each is taken in once."""

    async def test_an_open_request_is_listed_and_counted(self, store: Store) -> None:
        claim = await waiting_run(store)
        await append(store, claim, begin("r/n.1/k", "r"), asking("r/n.1/k", 1, "q", "r", opened=3.0))
        assert await store.requests("r") == [question("r/n.1/k", "q", "r", 3.0), question("r", "q")]
        assert (await store.get("r")).waiting == 2
        assert (await store.get("r/n.1/k")).waiting == 1
        assert len(await store.requests(limit=1)) == 1
        assert await store.requests("s") == []
        await append(store, claim, member("r", move(2), closed=["q"]))
        assert await store.requests() == [question("r/n.1/k", "q", "r", 3.0)]

    async def test_an_answer_is_accepted_while_its_request_is_open(self, store: Store) -> None:
        claim = await waiting_run(store)
        assert not await store.signal(Letter("r", "0", "answer", "other", 1))
        assert await store.signal(Letter("r", "1", "answer", "q", {"yes": True}, at=7.0))
        assert await store.inbox("r") == [Letter("r", "1", "answer", "q", {"yes": True}, 7.0)]
        assert await append(store, claim, member("r", move(2), closed=["q"], consumed=["1"])) == [None]
        assert not await store.signal(Letter("r", "2", "answer", "q", 1))
        assert await store.inbox("r") == []

    async def test_of_two_answers_the_second_is_refused(self, store: Store) -> None:
        await waiting_run(store)
        assert await store.signal(Letter("r", "1", "answer", "q", 1))
        assert not await store.signal(Letter("r", "2", "answer", "q", 2)), "a question was answered twice"
        assert [letter.id for letter in await store.inbox("r")] == ["1"]

    async def test_the_same_letter_sent_again_is_one_letter(self, store: Store) -> None:
        await waiting_run(store)
        assert await store.signal(Letter("r", "1", "answer", "q", 1))
        assert await store.signal(Letter("r", "1", "answer", "q", 1))
        assert len(await store.inbox("r")) == 1

    async def test_other_letters_are_always_taken_and_keep_their_order(self, store: Store) -> None:
        await store.admit(begin("r"), ME)
        for number, kind in enumerate(["input", "stop", "cancel", "input"]):
            assert await store.signal(Letter("r", f"id{9 - number}", kind, None, number))
        found = [letter.value for letter in await store.inbox("r")]
        assert sorted(found) == [0, 1, 2, 3], "a letter that was taken is not in the inbox"
        assert found == [0, 1, 2, 3], "the inbox gives letters in another order than they came"

    async def test_letters_to_a_child_lie_in_its_trees_inbox(self, store: Store) -> None:
        claim = await store.admit(begin("r"), ME)
        await append(store, claim, begin("r/n.1/k", "r"))
        assert await store.signal(Letter("r/n.1/k", "1", "cancel"))
        assert [letter.run for letter in await store.inbox("r")] == ["r/n.1/k"]
        assert await store.waiting(ME) == ["r"]
        assert await store.waiting(OTHER) == []
        signal = Signal(1, 1.0, 1.0, "first", 1, "1", "cancel")
        assert await append(store, claim, member("r/n.1/k", signal, root="r", consumed=["1"])) == [None]
        assert await store.waiting(ME) == []

    async def test_a_letter_is_consumed_with_its_append_or_not_at_all(self, store: Store) -> None:
        claim = await store.admit(begin("r"), ME)
        await store.signal(Letter("r", "1", "stop"))
        await store.signal(Letter("r", "2", "input"))
        everything: dict[str, Any] = {
            "consumed": ["1"],
            "opened": [question("r", "q")],
            "writes": [SessionWrite("s", 9, [1])],
            "index": row("r", standing="stopped"),
        }
        [refused] = await append(store, claim, member("r", move(9), **everything))
        assert isinstance(refused, RunConflict)
        assert [letter.id for letter in await store.inbox("r")] == ["1", "2"], "a refused append consumed a letter"
        assert await store.requests() == []
        assert await store.session_items("s") == []
        assert (await store.get("r")).standing == "running"
        assert await append(store, claim, member("r", move(1), **everything)) == [None]
        assert [letter.id for letter in await store.inbox("r")] == ["2"]
        assert len(await store.requests()) == len(await store.session_items("s")) == 1
        assert (await store.get("r")).standing == "stopped"

    async def test_a_run_is_not_released_while_unknown_letters_wait(self, store: Store) -> None:
        claim = await store.admit(begin("r"), ME)
        await store.signal(Letter("r", "1", "stop"))
        assert not await store.release("r", claim), "given back while a letter waits that its owner doesn't know"
        assert (await store.get("r")).owner == "me"
        assert not await store.release("r", claim, 0)
        assert await store.release("r", claim, 1)
        assert (await store.get("r")).owner is None

    async def test_a_letter_that_is_not_json_is_refused(self, store: Store) -> None:
        await store.admit(begin("r"), ME)
        with pytest.raises(UserError, match="'r'"):
            await store.signal(Letter("r", "1", "input", value={"x": object()}))
        assert await store.inbox("r") == []
