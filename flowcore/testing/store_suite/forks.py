"""Forks: facts that runs share."""

from __future__ import annotations

import pytest

from flowcore.errors import RunConflict, RunExists, RunNotFound
from flowcore.stores.base import Store
from flowcore.testing.store_suite.cases import Cases
from flowcore.testing.store_suite.making import (
    ME,
    OTHER,
    begin,
    fork_of,
    forked,
    member,
    move,
    question,
    rest,
    row,
    run_of,
    seqs,
)


class Forks(Cases):
    """Forks: facts that runs share."""

    async def test_a_fork_is_read_with_what_it_shares_and_keeps_only_its_own(self, store: Store) -> None:
        await run_of(store, "r", 5)
        await forked(store, "f", "r", 2, more=1)
        assert await seqs(store, "f") == [0, 1, 2, 3, 4]
        assert (await store.read("f"))[:3] == (await store.read("r"))[:3]
        assert [fact.seq for fact in await store.read("f", 1)] == [2, 3, 4]
        assert [fact.seq for fact in await store.read("f", 3)] == [4]
        assert await store.read("f", 9) == []
        await self.check_kept(store, {"r": [0, 1, 2, 3, 4], "f": [3, 4]})
        index = await store.get("f")
        assert (index.base, index.base_seq, index.root, index.parent) == ("r", 2, "f", None)
        assert [one.base for one in (await store.runs()).runs] == ["r", None]

    async def test_a_fork_is_claimed_appended_to_and_fenced_like_any_run(self, store: Store) -> None:
        await run_of(store, "r", 3)
        claim = await store.admit(fork_of("f", "r", 1), ME)
        assert claim.head == 2
        assert await store.append([member("f", move(3))], claim) == [None]
        assert await store.append([member("f", move(3))], claim) == [None]
        [refused] = await store.append([member("f", move(3, "other"), move(4))], claim)
        assert isinstance(refused, RunConflict)
        [refused] = await store.append([member("f", move(1))], claim)
        assert isinstance(refused, RunConflict)
        await store.append([member("f", rest(4), index=row("f", standing="stopped"))], claim)
        assert ((await store.get("f")).base, (await store.get("f")).base_seq) == ("r", 1)
        assert await store.release("f", claim)
        assert (await store.claim("f", OTHER)).head == 4

    async def test_a_fork_of_what_there_is_not_is_refused(self, store: Store) -> None:
        await run_of(store, "r", 3)
        with pytest.raises(RunNotFound):
            await store.admit(fork_of("f", "none", 0), ME)
        with pytest.raises(RunConflict):
            await store.admit(fork_of("f", "r", 3), ME)
        wrong = fork_of("f", "r", 1)
        wrong.facts = [move(1)]
        with pytest.raises(RunConflict):
            await store.admit(wrong, ME)
        with pytest.raises(RunExists):
            await store.admit(fork_of("r", "r", 1), ME)
        with pytest.raises(RunNotFound):
            await store.get("f")

    async def test_children_are_forked_with_their_root_or_nothing_is(self, store: Store) -> None:
        claim = await store.admit(begin("r"), ME)
        await store.append([begin("r/n.1/k", "r"), member("r/n.1/k", move(1), root="r")], claim)
        child = fork_of("f/n.1/k", "r/n.1/k", 1, "f")
        child.opened = [question("f/n.1/k", "q", "f")]
        with pytest.raises(RunConflict):
            await store.admit(fork_of("f", "r", 0), OTHER, [fork_of("f/n.1/k", "r/n.1/k", 7, "f")])
        with pytest.raises(RunNotFound):
            await store.get("f")
        claim = await store.admit(fork_of("f", "r", 0), OTHER, [child])
        assert await seqs(store, "f/n.1/k") == [0, 1, 2]
        assert {one.run for one in (await store.runs(root="f")).runs} == {"f", "f/n.1/k"}
        assert [one.run for one in await store.requests("f")] == ["f/n.1/k"]
        assert await store.append([member("f/n.1/k", move(3), root="f")], claim) == [None]
        await self.check_kept(store, {"r": [0], "r/n.1/k": [0, 1], "f": [1], "f/n.1/k": [2, 3]})
