"""Appends and their fence, and what is read back."""

from __future__ import annotations

from typing import Any

import pytest

from flowcore.errors import RunConflict, RunNotFound, StoreError
from flowcore.machine.facts import Rested
from flowcore.stores.base import Letter, SessionWrite, Store
from flowcore.testing.store_suite.cases import Cases, append
from flowcore.testing.store_suite.making import (
    ME,
    OTHER,
    begin,
    effect,
    member,
    move,
    question,
    rest,
    row,
    seqs,
    started,
)


class Journals(Cases):
    """Appends and their fence, and what is read back."""

    async def test_an_old_epoch_appends_nothing(self, store: Store) -> None:
        old = await self.dies(store, "r")
        new = await store.claim("r", ME)
        [refused] = await append(store, old, member("r", move(1)))
        assert isinstance(refused, RunConflict), "a stale claim was accepted: its tree was claimed again since"
        assert len(await store.read("r")) == 1
        assert await append(store, new, member("r", move(1))) == [None]

    async def test_after_a_release_nothing_is_appended(self, store: Store) -> None:
        claim = await store.admit(begin("r"), ME)
        await store.release("r", claim)
        [refused] = await append(store, claim, member("r", move(1)))
        assert isinstance(refused, RunConflict), "a claim that was given back was accepted"
        [refused] = await append(store, claim, begin("r/n.1/k", "r"))
        assert isinstance(refused, RunConflict)
        with pytest.raises(RunNotFound):
            await store.get("r/n.1/k")

    @pytest.mark.parametrize("seq", [0, 1, 3])
    async def test_a_wrong_seq_appends_nothing(self, store: Store, seq: int) -> None:
        claim = await store.admit(member("r", started("r"), move(1)), ME)
        await store.release("r", claim)
        claim = await store.claim("r", ME)
        [refused] = await append(store, claim, member("r", move(seq, to="elsewhere")))
        assert isinstance(refused, RunConflict)
        assert refused.run_id == "r"
        assert await store.read("r") == [started("r"), move(1)], "a refused append left facts behind"

    async def test_the_same_member_again_is_a_success_and_written_once(self, store: Store) -> None:
        claim = await store.admit(begin("r"), ME)
        again = member(
            "r",
            move(1),
            effect(2),
            opened=[question("r", "q")],
            writes=[SessionWrite("s", 1, ["item"])],
            index=row("r", standing="waiting"),
        )
        assert await append(store, claim, again) == [None]
        closing = member("r", move(3), closed=["q"], index=row("r", standing="done"))
        assert await append(store, claim, closing) == [None]
        assert await append(store, claim, again) == [None]
        assert await seqs(store, "r") == [0, 1, 2, 3], "what was tried again was written twice"
        assert len(await store.session_items("s")) == 1
        assert await store.requests() == []
        assert (await store.get("r")).standing == "done"

    async def test_the_same_member_again_is_a_success_after_the_lease_was_lost(self, store: Store) -> None:
        claim = await self.dies(store, "r")
        assert await append(store, claim, member("r", move(1))) == [None]
        await store.claim("r", ME)
        assert await append(store, claim, member("r", move(1))) == [None]
        [refused] = await append(store, claim, member("r", move(1), move(2)))
        assert isinstance(refused, RunConflict)

    async def test_another_writers_facts_are_not_taken_for_ones_own(self, store: Store) -> None:
        first = await store.admit(begin("r"), ME)
        await append(store, first, member("r", move(1)))
        await store.release("r", first)
        second = await store.claim("r", OTHER)
        [refused] = await append(store, second, member("r", move(1)))
        assert isinstance(refused, RunConflict)
        await append(store, second, member("r", move(2)))
        [refused] = await append(store, second, member("r", move(1), move(2)))
        assert isinstance(refused, RunConflict)

    async def test_members_of_a_batch_fail_alone(self, store: Store) -> None:
        claim = await store.admit(begin("r"), ME)
        answers = await append(
            store,
            claim,
            begin("r/n.1/a", "r"),
            member("r", move(7)),
            begin("r/n.1/b", "r"),
            member("r/n.1/a", move(1), root="r", opened=[question("r/n.1/a", "q", "r")]),
            member("r/n.1/b", move(5), root="r", opened=[question("r/n.1/b", "q", "r")]),
        )
        assert [type(answer) for answer in answers] == [type(None), RunConflict, type(None), type(None), RunConflict]
        assert len(await store.read("r")) == 1
        assert len(await store.read("r/n.1/a")) == 2
        assert len(await store.read("r/n.1/b")) == 1
        assert [one.run for one in await store.requests("r")] == ["r/n.1/a"]

    async def test_a_value_that_is_not_json_refuses_its_member_alone(self, store: Store) -> None:
        if not self.keeps_bytes:
            pytest.skip("keeps_bytes = False: the store keeps the facts themselves")
        claim = await store.admit(begin("r"), ME)
        answers = await append(store, claim, member("r", move(1, x=object())), member("r", move(1)))
        assert isinstance(answers[0], StoreError)
        assert answers[1] is None
        assert await store.read("r") == [started("r"), move(1)]

    async def test_a_member_of_another_tree_is_refused(self, store: Store) -> None:
        claim = await store.admit(begin("r"), ME)
        await store.admit(begin("s"), OTHER)
        for wrong in (member("s", move(1), root="r"), member("s", move(1)), member("t", started("t"))):
            claim.epoch = 1 if wrong.root == "r" else 9
            [refused] = await append(store, claim, wrong)
            assert isinstance(refused, RunConflict)
        assert len(await store.read("s")) == 1

    async def test_append_now_writes_at_once_or_says_that_it_did_not(self, store: Store) -> None:
        claim = await store.admit(begin("r"), ME)
        answers = store.append_now([member("r", move(1))], claim)
        assert answers == ([None] if store.inline else None)
        assert len(await store.read("r")) == (2 if store.inline else 1)

    # Journals

    async def test_a_journal_is_read_from_a_fact_on(self, store: Store) -> None:
        claim = await store.admit(begin("r"), ME)
        await append(store, claim, member("r", move(1, text="a"), effect(2, value=[1, None, 2.5]), rest(3)))
        facts = [started("r"), move(1, text="a"), effect(2, value=[1, None, 2.5]), rest(3)]
        read = await store.read("r")
        assert [fact.seq for fact in read] == [0, 1, 2, 3], "a journal is read whole and in order"
        assert read == facts, "a fact was read other than it was written"
        assert await store.read("r", 1) == [effect(2, value=[1, None, 2.5]), rest(3)]
        assert await store.read("r", 3) == []
        assert await store.read("r", 99) == []
        assert len(await store.read("r", -5)) == 4

    @pytest.mark.parametrize(
        "text",
        ["\ud800 lone \udfff", "a\0b", "", "ä€𝄞\u2028", "x" * 10_000_000],
        ids=["surrogates", "nul", "empty", "wide", "10 MB"],
    )
    async def test_any_text_survives_in_a_fact_a_letter_a_request_and_a_session(self, store: Store, text: str) -> None:
        claim = await store.admit(begin("r", label="\udc80\0"), ME)
        key = text[:20]
        update: dict[str, Any] = {key or "k": 1}
        answers = await append(
            store,
            claim,
            member(
                "r",
                move(1, text=text, **update),
                opened=[question("r", key, data={"text": text})],
                writes=[SessionWrite("s" + key, 1, [{"content": text}])],
                index=row("r", standing="failed", error=key, label=key),
            ),
        )
        assert answers == [None]
        assert await store.signal(Letter("r", "id", "answer", key, text))
        assert (await store.read("r", 0)) == [move(1, text=text, **update)]
        [request] = await store.requests("r")
        assert (request.key, request.data) == (key, {"text": text})
        [letter] = await store.inbox("r")
        assert (letter.key, letter.value) == (key, text)
        assert [item.item for item in await store.session_items("s" + key)] == [{"content": text}]
        index = await store.get("r")
        assert (index.error, index.label) == (key, key)

    async def test_a_large_journal_is_read(self, store: Store) -> None:
        facts = [move(seq, text="x" * 1000) for seq in range(1, 300)]
        claim = await store.admit(begin("r"), ME)
        assert await append(store, claim, member("r", *facts)) == [None]
        assert await store.read("r", 0) == facts

    async def test_the_standing_of_a_rested_run_survives_a_reopening(self, store: Store, other: Store) -> None:
        claim = await store.admit(begin("r"), ME)
        rested = Rested(1, 1.0, 2.0, "first", 1, "failed", error={"kind": "ValueError", "message": "no"})
        index = row("r", standing="failed", error="no", updated=2.0)
        assert await append(store, claim, member("r", rested, index=index)) == [None]
        await store.close()
        assert (await other.read("r"))[1] == rested
        assert (await other.get("r")).error == "no"
