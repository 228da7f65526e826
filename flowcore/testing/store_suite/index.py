"""What is listed of runs without their journals."""

from __future__ import annotations

from typing import Any

import pytest

from flowcore.errors import UserError
from flowcore.stores.base import Claim, Letter, Store
from flowcore.testing.store_suite.cases import Cases, append
from flowcore.testing.store_suite.making import (
    ME,
    asking,
    begin,
    effect,
    member,
    move,
    rest,
    row,
)


class Index(Cases):
    """What is listed of runs without their journals."""

    async def test_a_running_run_is_listed_where_its_last_transition_led(self, store: Store) -> None:
        claim = await store.admit(begin("r"), ME)
        await append(
            store, claim, member("r", move(1, "second")), member("r", move(2, "third")), member("r", effect(3))
        )
        index = await store.get("r")
        assert (index.node, index.updated) == ("third", 2.0)
        assert (await store.runs()).runs == [index]
        resting = row("r", standing="waiting", node="fourth", updated=9.0, turns=3, tokens=70, due=50.0)
        await append(store, claim, member("r", rest(4), index=resting))
        index = await store.get("r")
        assert (index.node, index.updated, index.turns, index.tokens, index.due) == ("fourth", 9.0, 3, 70, 50.0)

    async def test_an_index_row_keeps_when_and_below_what_its_run_began(self, store: Store) -> None:
        claim = await store.admit(begin("r", at=7.0), ME)
        await append(store, claim, begin("r/n.1/k", "r"))
        changed = row("r/n.1/k", at=99.0, standing="done", owner="x", waiting=9)
        await append(store, claim, member("r/n.1/k", move(1), root="r", index=changed))
        index = await store.get("r/n.1/k")
        assert (index.root, index.parent, index.created, index.standing) == ("r", "r", 100.0, "done")
        assert (index.owner, index.waiting) == ("me", 0)

    async def test_runs_are_listed_latest_first_in_pages(self, store: Store) -> None:
        for number in range(7):
            claim = await store.admit(begin(f"r{number}", at=float(number // 2)), ME)
            await append(store, claim, begin(f"r{number}/n.1/k", f"r{number}"))
        seen, after = [], None
        while True:
            page = await store.runs(limit=3, after=after)
            seen.append([index.run for index in page.runs])
            after = page.after
            if after is None:
                break
        listed = sorted(run for page in seen for run in page)
        assert listed == [f"r{number}" for number in range(7)], "the index lost a run, or lists one twice"
        assert seen == [["r6", "r5", "r4"], ["r3", "r2", "r1"], ["r0"]]
        assert (await store.runs(limit=7)).after is None

    async def test_runs_are_listed_by_standing_and_by_tree(self, store: Store) -> None:
        claim = await store.admit(begin("r"), ME)
        await append(store, claim, begin("r/n.1/b", "r", at=102.0), begin("r/n.1/a", "r", at=101.0))
        await append(store, claim, member("r/n.1/a", rest(1), root="r", index=row("r/n.1/a", "r", standing="done")))
        await store.admit(begin("s", at=200.0, standing="failed"), ME)
        await store.admit(begin("t", at=300.0, standing="failed"), ME)
        assert [index.run for index in (await store.runs(standing="failed")).runs] == ["t", "s"]
        page = await store.runs(standing="failed", limit=1)
        assert [index.run for index in (await store.runs(standing="failed", after=page.after)).runs] == ["s"]
        assert (await store.runs(standing="cancelled")).runs == []
        page = await store.runs(root="r", limit=2)
        assert [index.run for index in page.runs] == ["r", "r/n.1/a"]
        assert [index.run for index in (await store.runs(root="r", limit=2, after=page.after)).runs] == ["r/n.1/b"]
        assert [index.run for index in (await store.runs(root="r", standing="done")).runs] == ["r/n.1/a"]

    async def test_a_page_begins_only_where_a_page_ended(self, store: Store) -> None:
        with pytest.raises(UserError, match="after="):
            await store.runs(after="nonsense")

    async def test_due_are_the_runs_that_nobody_holds_and_that_have_something_to_do(self, store: Store) -> None:
        async def leave(run: str, **index: Any) -> Claim:
            claim = await store.admit(begin(run, **index), ME)
            assert await append(store, claim, asking(run, 1, "q")) == [None]
            return claim

        late: dict[str, Any] = {"standing": "waiting", "due": 10.0}
        await leave("held", **late)
        await store.release("late", await leave("late", **late))
        await store.release("sooner", await leave("sooner", standing="waiting", due=5.0))
        await store.release("early", await leave("early", standing="waiting", due=20.0))
        await store.release("done", await leave("done", standing="done"))
        await self.dies(store, "orphan")
        await store.release("answered", await leave("answered", standing="waiting"))
        assert await store.due(10.0) == ["sooner", "late", "orphan"]
        assert await store.due(10.0, limit=1) == ["sooner"]
        assert await store.signal(Letter("answered", "1", "answer", "q", True))
        assert "answered" in await store.due(1.0)
        known = await store.claim("answered", ME)
        await store.release("answered", known, 1)
        assert await store.due(1.0) == ["orphan"]
        assert await store.due(30.0) == ["sooner", "late", "early", "orphan"]
