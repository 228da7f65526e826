"""What is left of a run that was deleted or pruned."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from flowcore.errors import RunConflict, RunExists, RunNotFound, UserError
from flowcore.stores.base import Append, Letter, SessionWrite, Store
from flowcore.testing.store_suite.cases import Cases
from flowcore.testing.store_suite.making import (
    ME,
    begin,
    far_owner,
    fork_of,
    forked,
    member,
    move,
    question,
    run_of,
    seqs,
)


class Deleting(Cases):
    """What is left of a run that was deleted or pruned."""

    async def test_a_deleted_run_is_gone_with_its_tree_and_its_id_is_free(self, store: Store) -> None:
        claim = await store.admit(begin("r"), ME)
        below = Append("r/n.1/k", "r", begin("r/n.1/k", "r").facts, opened=[question("r/n.1/k", "q", "r")])
        await store.append([below, member("r", move(1), writes=[SessionWrite("s", 1, ["old"])])], claim)
        await store.signal(Letter("r/n.1/k", "1", "answer", "q", 1))
        await store.signal(Letter("r", "2", "stop"))
        with pytest.raises(RunConflict):
            await store.delete("r")
        assert await store.release("r", claim, 2)
        with pytest.raises(UserError, match="'r'"):
            await store.delete("r/n.1/k")
        await store.delete("r")
        for run in ("r", "r/n.1/k"):
            for ask in (store.get(run), store.read(run), store.signal(Letter(run, "3", "stop")), store.claim(run, ME)):
                with pytest.raises(RunNotFound):
                    await ask
        assert (await store.runs()).runs == (await store.runs(root="r")).runs == []
        for left in (await store.requests(), await store.inbox("r"), await store.due(1e12)):
            assert left == [], "a deleted run left something behind"
        await self.check_kept(store, {})
        with pytest.raises(RunNotFound):
            await store.delete("r")
        [refused] = await store.append([member("r", move(2))], claim)
        assert isinstance(refused, RunConflict)
        claim = await store.admit(begin("r"), ME)
        await store.append([member("r", move(1), writes=[SessionWrite("s", 1, ["new"])])], claim)
        assert [one.item for one in await store.session_items("s")] == ["old", "new"]

    async def test_a_run_whose_owner_is_gone_may_be_deleted_and_one_elsewhere_may_not(self, store: Store) -> None:
        await self.dies(store, "r")
        await store.delete("r")
        await store.admit(begin("far"), far_owner("far"))
        with pytest.raises(RunConflict, match="elsewhere"):
            await store.delete("far")

    async def test_a_shared_prefix_stays_until_the_last_fork_goes(self, store: Store) -> None:
        await run_of(store, "r", 6)
        await forked(store, "f", "r", 1)
        await forked(store, "g", "r", 3, more=1)
        await store.delete("r")
        await self.check_kept(store, {"r": [0, 1, 2, 3], "f": [2], "g": [4, 5]})
        for ask in (store.get("r"), store.read("r"), store.claim("r", ME), store.signal(Letter("r", "1", "stop"))):
            with pytest.raises(RunNotFound):
                await ask
        with pytest.raises(RunNotFound):
            await store.delete("r")
        assert {one.run for one in (await store.runs()).runs} == {"f", "g"}
        with pytest.raises(RunExists):
            await store.admit(begin("r"), ME)
        with pytest.raises(RunNotFound):
            await store.admit(fork_of("h", "r", 1), ME)
        assert await seqs(store, "g") == [0, 1, 2, 3, 4, 5]
        await store.delete("g")
        await self.check_kept(store, {"r": [0, 1], "f": [2]})
        assert await seqs(store, "f") == [0, 1, 2]
        await store.delete("f")
        await self.check_kept(store, {})
        await store.admit(begin("r"), ME)

    async def test_a_chain_of_forks_is_freed_from_its_end(self, store: Store) -> None:
        await run_of(store, "r", 4)
        await forked(store, "f", "r", 3, more=3)
        await forked(store, "g", "f", 5)
        await forked(store, "h", "f", 1)
        await store.delete("r")
        await store.delete("f")
        await self.check_kept(store, {"r": [0, 1, 2, 3], "f": [4, 5], "g": [6], "h": [2]})
        assert await seqs(store, "g") == [0, 1, 2, 3, 4, 5, 6]
        assert await seqs(store, "h") == [0, 1, 2]
        await store.delete("g")
        await self.check_kept(store, {"r": [0, 1], "h": [2]})
        assert await seqs(store, "h") == [0, 1, 2]
        await store.delete("h")
        await self.check_kept(store, {})

    async def test_the_children_that_a_fork_shares_stay_with_it(self, store: Store) -> None:
        claim = await store.admit(begin("r"), ME)
        await store.append([begin("r/n.1/k", "r"), member("r/n.1/k", move(1), root="r")], claim)
        await store.append([begin("r/n.1/l", "r")], claim)
        await store.release("r", claim)
        claim = await store.admit(fork_of("f", "r", 0), ME, [fork_of("f/n.1/k", "r/n.1/k", 0, "f")])
        await store.release("f", claim)
        await store.delete("r")
        await self.check_kept(store, {"r": [0], "r/n.1/k": [0], "f": [1], "f/n.1/k": [1]})
        assert await seqs(store, "f/n.1/k") == [0, 1]
        await store.delete("f")
        await self.check_kept(store, {})

    async def test_old_runs_of_a_standing_that_nobody_holds_are_pruned(self, store: Store) -> None:
        await run_of(store, "done", 2, standing="done")
        await run_of(store, "failed", 2, standing="failed")
        await run_of(store, "waiting", 2, standing="waiting")
        await store.admit(begin("held", standing="done"), ME)
        await run_of(store, "young", 2, standing="done", updated=4e9)
        assert await store.prune(60, dry_run=True) == ["done"]
        assert (await store.get("done")).standing == "done", "dry_run=True deleted"
        assert await store.prune(60) == ["done"]
        assert await store.prune(datetime.now() - timedelta(days=1), status=["failed", "done"]) == ["failed"]
        assert await store.prune(datetime.fromtimestamp(1.0), status="waiting") == []
        assert {one.run for one in (await store.runs()).runs} == {"waiting", "held", "young"}

    async def test_more_runs_are_pruned_than_go_into_one_transaction(self, store: Store) -> None:
        for number in range(205):
            await store.release(f"r{number}", await store.admit(begin(f"r{number}", standing="done"), ME))
        assert len(await store.prune(0)) == 205
        await self.check_kept(store, {})

    @pytest.mark.parametrize("wrong", [-1, True, "yesterday", None, float("nan")])
    async def test_what_to_prune_is_said_clearly(self, store: Store, wrong: Any) -> None:
        with pytest.raises(UserError, match="older_than"):
            await store.prune(wrong)
        with pytest.raises(UserError, match="status"):
            await store.prune(1, status="old")
