"""Admission and leases: who holds a run, and who may not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flowcore.errors import RunConflict, RunExists, RunNotFound, StoreError, UserError
from flowcore.stores.base import Claim, Letter, Owner, Store
from flowcore.testing.store_suite.cases import Cases, append
from flowcore.testing.store_suite.making import (
    ME,
    OTHER,
    begin,
    far_owner,
    member,
    move,
    rest,
    row,
    started,
)


class Leases(Cases):
    """Admission and leases: who holds a run, and who may not."""

    async def test_an_admitted_run_is_there_with_its_first_fact_and_held(self, store: Store) -> None:
        claim = await store.admit(begin("r"), ME)
        assert (claim.epoch, claim.head) == (1, 0)
        assert await store.read("r") == [started("r")], (
            "an admitted run has other facts than those it was admitted with"
        )
        index = await store.get("r")
        assert (index.standing, index.node, index.owner, index.graph) == ("running", "first", "me", "graph")

    async def test_a_run_may_be_admitted_with_a_whole_journal(self, store: Store) -> None:
        claim = await store.admit(member("r", started("r"), move(1), rest(2), index=row("r", standing="waiting")), ME)
        assert claim.head == 2
        assert [fact.seq for fact in await store.read("r")] == [0, 1, 2]
        assert await append(store, claim, member("r", move(3))) == [None]

    async def test_a_run_is_admitted_once(self, store: Store) -> None:
        await store.admit(begin("r"), ME)
        with pytest.raises(RunExists, match="'r'"):
            await store.admit(begin("r"), OTHER)
        assert len(await store.read("r")) == 1, "a second admission added to the first one's journal"

    @pytest.mark.parametrize("run", ["", "a\0b", "a\nb", "\ud800", "x" * 513])
    async def test_a_run_id_that_is_not_printable_or_too_long_is_refused(self, store: Store, run: str) -> None:
        with pytest.raises(UserError):
            await store.admit(begin(run), ME)
        with pytest.raises(UserError):
            await store.get(run)

    async def test_a_journal_begins_with_fact_0_and_has_no_gap(self, store: Store) -> None:
        with pytest.raises(RunConflict):
            await store.admit(member("r", move(1), index=row("r")), ME)
        with pytest.raises(StoreError):
            await store.admit(member("r", started("r"), move(2)), ME)
        with pytest.raises(StoreError):
            await store.admit(member("r", move(0)), ME)
        with pytest.raises(RunNotFound):
            await store.get("r")

    async def test_every_question_about_an_unknown_run_is_run_not_found(self, store: Store) -> None:
        for ask in (
            store.claim("r", ME),
            store.read("r"),
            store.get("r"),
            store.signal(Letter("r", "1", "cancel")),
            store.release("r", Claim(1, 0, "n")),
        ):
            with pytest.raises(RunNotFound) as caught:
                await ask
            assert caught.value.run_id == "r"
        assert await store.inbox("r") == []
        assert (await store.runs(root="r")).runs == []

    async def test_a_held_run_is_not_claimed_and_the_holder_is_named(self, store: Store) -> None:
        await store.admit(begin("r"), ME)
        with pytest.raises(RunConflict, match=str(ME.pid)):
            await store.claim("r", OTHER)
        with pytest.raises(RunConflict):
            await store.claim("r", ME)

    async def test_a_released_run_is_claimed_with_a_new_epoch_and_the_journals_head(self, store: Store) -> None:
        first = await store.admit(begin("r"), ME)
        await append(store, first, member("r", move(1), move(2)))
        assert await store.release("r", first)
        assert (await store.get("r")).owner is None
        second = await store.claim("r", OTHER)
        assert second.epoch > first.epoch, "each claim has a new epoch: it fences the writers before it off"
        assert second.head == 2, "a claim's head is the seq of the journal's last fact"
        assert second.nonce != first.nonce, "each claim has a nonce of its own"
        assert (await store.get("r")).owner == "other"

    async def test_an_owner_whose_process_is_gone_is_dead_at_once(self, store: Store) -> None:
        await self.dies(store, "r")
        assert (await store.get("r")).owner is None, "the owner's process is gone, and the index still names it"
        assert (await store.claim("r", ME)).epoch == 2

    async def test_an_owner_on_another_host_counts_as_alive(self, store: Store) -> None:
        await store.admit(begin("r"), far_owner("far"))
        beat: Callable[[Owner], object] = store.beat
        assert beat(far_owner("far")) is None, "beat blocks: it's called on a thread that has no event loop"
        with pytest.raises(RunConflict, match="elsewhere"):
            await store.claim("r", ME)

    async def test_the_lease_of_a_tree_is_its_roots(self, store: Store) -> None:
        claim = await store.admit(begin("r"), ME)
        assert await append(store, claim, begin("r/n.1/k", "r")) == [None]
        with pytest.raises(UserError, match="'r'"):
            await store.claim("r/n.1/k", OTHER)
        assert (await store.get("r/n.1/k")).owner == "me"

    async def test_a_lease_is_given_back_once(self, store: Store) -> None:
        claim = await store.admit(begin("r"), ME)
        assert await store.release("r", claim)
        with pytest.raises(RunConflict):
            await store.release("r", claim)
