"""What operators ask: which runs nobody moves any more, and which run is meant."""

from __future__ import annotations

import asyncio

import pytest

from flowcore.errors import RunConflict, UserError
from flowcore.stores.base import Claim, Letter, Store
from flowcore.testing.store_suite.cases import Cases, append
from flowcore.testing.store_suite.making import ME, OTHER, begin, far_owner, member, move, owner, rest, row, run_of


async def abandoned(store: Store) -> list[str]:
    """The ids of abandoned runs."""
    return [index.run for index in (await store.abandoned()).runs]


class Operating(Cases):
    """What operators ask: which runs nobody moves any more, and which run is meant."""

    async def test_abandoned_are_runs_that_should_move_and_that_nobody_moves(self, store: Store) -> None:
        await self.dies(store, "young", at=300.0)
        await self.dies(store, "asleep", at=200.0, standing="waiting", due=9e9)
        await self.dies(store, "old", at=100.0, due=9e9)
        await self.dies(store, "finished", at=50.0, standing="done")
        await store.admit(begin("alive", at=10.0), ME)
        await store.admit(begin("elsewhere", at=20.0), far_owner("far"))
        await run_of(store, "let-go", 3, at=400.0, standing="running")
        await run_of(store, "rests", 3, at=30.0, standing="waiting")
        await run_of(store, "failed", 3, at=40.0, standing="failed")
        found = await abandoned(store)
        assert set(found) == {"old", "asleep", "young", "let-go"}, "held, resting or ended runs aren't abandoned"
        assert found == ["old", "asleep", "young", "let-go"], "abandoned runs are listed the oldest first"
        [first, *_] = (await store.abandoned()).runs
        assert first == await store.get("old")
        assert first.owner is None

    async def test_a_run_that_was_taken_over_is_abandoned_no_more(self, store: Store) -> None:
        lost = await self.dies(store, "r")
        await append(store, lost, begin("r/n.1/k", "r"), member("r", move(1)))
        assert await abandoned(store) == ["r"], "its root stands for a tree: children aren't listed"
        claim = await store.claim("r", ME)
        assert await abandoned(store) == []
        await append(store, claim, member("r", rest(2), index=row("r", standing="waiting")))
        assert await store.release("r", claim)
        assert await abandoned(store) == []

    async def test_abandoned_runs_are_listed_in_pages(self, store: Store) -> None:
        for number in range(5):
            standing = "waiting" if number % 2 else "running"
            await self.dies(store, f"r{number}", at=float(number // 2), standing=standing)
        seen, after = [], None
        while True:
            page = await store.abandoned(limit=2, after=after)
            seen.append([index.run for index in page.runs])
            after = page.after
            if after is None:
                break
        assert seen == [["r0", "r1"], ["r2", "r3"], ["r4"]]
        with pytest.raises(UserError, match="after="):
            await store.abandoned(after="nonsense")

    async def test_runs_are_found_by_the_beginning_of_their_ids(self, store: Store) -> None:
        for run in ("ab", "abc", "a%", "ab/x", "b", "aé", "a_c", "a𝄞", "aÿ"):
            await store.admit(begin(run), ME)
        claim = await store.admit(begin("r"), ME)
        await append(store, claim, begin("r/n.1/k", "r"), begin("r/n.1/l", "r"), begin("r/n.2/k", "r"))

        async def found(prefix: str, **which: str) -> list[str]:
            return [index.run for index in await store.find(prefix, **which)]  # type: ignore[arg-type]

        assert await found("ab") == ["ab", "ab/x", "abc"]
        assert await found("a%") == ["a%"], "% and _ are letters like others"
        assert await found("a_") == ["a_c"], "% and _ are letters like others"
        assert await found("a") == ["a%", "a_c", "ab", "ab/x", "abc", "aé", "aÿ", "a𝄞"], "in the order of code points"
        assert await found("r") == ["r"], "without root= only roots are looked at"
        assert await found("r/n.1/", root="r") == ["r/n.1/k", "r/n.1/l"]
        assert await found("c") == await found("A") == await found("r", root="nobody") == []
        assert [index.run for index in await store.find("a", limit=2)] == ["a%", "a_c"]
        assert await store.find("ab/x") == [await store.get("ab/x")]
        for wrong in ("", "a\n", "x" * 513):
            with pytest.raises(UserError):
                await store.find(wrong)

    async def test_of_several_that_claim_a_run_at_once_one_gets_it(self, store: Store, other: Store) -> None:
        await run_of(store, "r", 2)
        some = [owner(f"owner {number}") for number in range(6)]
        handles = [(store, other)[number % 2] for number in range(len(some))]
        asked = [handle.claim("r", one) for handle, one in zip(handles, some, strict=True)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert sum(isinstance(one, Claim) for one in answers) == 1, "more than one owner, or none, got the run"
        assert sum(isinstance(one, RunConflict) for one in answers) == 5

    async def test_what_one_handle_writes_the_other_sees(self, store: Store, other: Store) -> None:
        claim = await store.admit(begin("r"), ME)
        assert await append(store, claim, member("r", move(1))) == [None]
        assert await other.read("r") == await store.read("r"), "another handle reads another journal"
        with pytest.raises(RunConflict):
            await other.claim("r", OTHER)
        assert await other.signal(Letter("r", "1", "stop"))
        assert [letter.id for letter in await store.inbox("r")] == ["1"], "a letter from another handle was lost"
        assert await store.waiting(ME) == ["r"]
        assert [index.run for index in (await other.runs()).runs] == ["r"]
