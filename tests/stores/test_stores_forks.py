"""Forks, and what is left of a run that was deleted: asked of every store."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from stores_making import begin, dead_owner, far_owner, fork_of, member, move, owner, question, rest, row
from stores_postgres import server

from flowcore.errors import RunConflict, RunExists, RunNotFound, UserError
from flowcore.stores import MemoryStore, PostgresStore, Store
from flowcore.stores.base import Append, Claim, Letter, SessionWrite

ME, OTHER = owner("me"), owner("other")


async def run_of(store: Store, run: str, facts: int, **index: Any) -> Claim:
    """A run with so many facts, that nobody holds."""
    claim = await store.admit(begin(run, **index), ME)
    if facts > 1:
        assert await store.append([member(run, *map(move, range(1, facts)))], claim) == [None]
    assert await store.release(run, claim)
    return claim


async def forked(store: Store, run: str, base: str, seq: int, more: int = 0) -> None:
    claim = await store.admit(fork_of(run, base, seq), ME)
    for one in range(more):
        assert await store.append([member(run, move(seq + 2 + one))], claim) == [None]
    assert await store.release(run, claim)


async def stored(store: Any) -> dict[str, list[int]]:
    """The seqs of the rows that the store keeps, by the run that wrote them."""
    store = getattr(store, "store", store)
    if isinstance(store, MemoryStore):
        kept = [journal for journals in store._kept.values() for journal in journals]
        every = [*store._journals.values(), *kept]
        return {one.index.run: list(range(one.first, one.first + len(one.facts))) for one in every if len(one.facts)}
    if isinstance(store, PostgresStore):
        sql = f'SELECT run, seq FROM "{store._names.schema}".fact ORDER BY run, seq'
        rows = [(run.decode(), seq) for run, seq in server().ask(sql)]
    else:
        rows = await store._open().read(lambda c: c.execute("SELECT run, seq FROM fact ORDER BY run, seq").fetchall())
    found: dict[str, list[int]] = {}
    for run, seq in rows:
        found.setdefault(run, []).append(seq)
    return found


async def seqs(store: Store, run: str) -> list[int]:
    return [fact.seq for fact in await store.read(run)]


# Forks


async def test_a_fork_is_read_with_what_it_shares_and_keeps_only_its_own(store: Store) -> None:
    await run_of(store, "r", 5)
    await forked(store, "f", "r", 2, more=1)
    assert await seqs(store, "f") == [0, 1, 2, 3, 4]
    assert (await store.read("f"))[:3] == (await store.read("r"))[:3]
    assert [fact.seq for fact in await store.read("f", 1)] == [2, 3, 4]
    assert [fact.seq for fact in await store.read("f", 3)] == [4]
    assert await store.read("f", 9) == []
    assert await stored(store) == {"r": [0, 1, 2, 3, 4], "f": [3, 4]}
    index = await store.get("f")
    assert (index.base, index.base_seq, index.root, index.parent) == ("r", 2, "f", None)
    assert [one.base for one in (await store.runs()).runs] == ["r", None]


async def test_a_fork_is_claimed_appended_to_and_fenced_like_any_run(store: Store) -> None:
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


async def test_a_fork_of_what_there_is_not_is_refused(store: Store) -> None:
    await run_of(store, "r", 3)
    with pytest.raises(RunNotFound, match="'none'"):
        await store.admit(fork_of("f", "none", 0), ME)
    with pytest.raises(RunConflict, match="fact 3 of run 'r', whose last is 2"):
        await store.admit(fork_of("f", "r", 3), ME)
    wrong = fork_of("f", "r", 1)
    wrong.facts = [move(1)]
    with pytest.raises(RunConflict):
        await store.admit(wrong, ME)
    with pytest.raises(RunExists):
        await store.admit(fork_of("r", "r", 1), ME)
    with pytest.raises(RunNotFound):
        await store.get("f")


async def test_children_are_forked_with_their_root_or_nothing_is(store: Store) -> None:
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
    assert await stored(store) == {"r": [0], "r/n.1/k": [0, 1], "f": [1], "f/n.1/k": [2, 3]}


# Deleting


async def test_a_deleted_run_is_gone_with_its_tree_and_its_id_is_free(store: Store) -> None:
    claim = await store.admit(begin("r"), ME)
    below = Append("r/n.1/k", "r", begin("r/n.1/k", "r").facts, opened=[question("r/n.1/k", "q", "r")])
    await store.append([below, member("r", move(1), writes=[SessionWrite("s", 1, ["old"])])], claim)
    await store.signal(Letter("r/n.1/k", "1", "answer", "q", 1))
    await store.signal(Letter("r", "2", "stop"))
    with pytest.raises(RunConflict, match="held by"):
        await store.delete("r")
    assert await store.release("r", claim, 2)
    with pytest.raises(UserError, match="delete 'r'"):
        await store.delete("r/n.1/k")
    await store.delete("r")
    for run in ("r", "r/n.1/k"):
        for ask in (store.get(run), store.read(run), store.signal(Letter(run, "3", "stop")), store.claim(run, ME)):
            with pytest.raises(RunNotFound):
                await ask
    assert (await store.runs()).runs == (await store.runs(root="r")).runs == []
    assert await store.requests() == await store.inbox("r") == await store.due(1e12) == []
    assert await stored(store) == {}
    with pytest.raises(RunNotFound):
        await store.delete("r")
    [refused] = await store.append([member("r", move(2))], claim)
    assert isinstance(refused, RunConflict)
    claim = await store.admit(begin("r"), ME)
    await store.append([member("r", move(1), writes=[SessionWrite("s", 1, ["new"])])], claim)
    assert [one.item for one in await store.session_items("s")] == ["old", "new"]


async def test_a_run_whose_owner_is_gone_may_be_deleted_and_one_elsewhere_may_not(store: Store) -> None:
    await store.admit(begin("r"), dead_owner("dead"))
    await store.delete("r")
    await store.admit(begin("far"), far_owner("far"))
    with pytest.raises(RunConflict, match="host 'elsewhere'"):
        await store.delete("far")


async def test_a_shared_prefix_stays_until_the_last_fork_goes(store: Store) -> None:
    await run_of(store, "r", 6)
    await forked(store, "f", "r", 1)
    await forked(store, "g", "r", 3, more=1)
    await store.delete("r")
    assert await stored(store) == {"r": [0, 1, 2, 3], "f": [2], "g": [4, 5]}
    for ask in (store.get("r"), store.read("r"), store.claim("r", ME), store.signal(Letter("r", "1", "stop"))):
        with pytest.raises(RunNotFound):
            await ask
    with pytest.raises(RunNotFound):
        await store.delete("r")
    assert {one.run for one in (await store.runs()).runs} == {"f", "g"}
    with pytest.raises(RunExists, match="forks of it share its facts"):
        await store.admit(begin("r"), ME)
    with pytest.raises(RunNotFound):
        await store.admit(fork_of("h", "r", 1), ME)
    assert await seqs(store, "g") == [0, 1, 2, 3, 4, 5]
    await store.delete("g")
    assert await stored(store) == {"r": [0, 1], "f": [2]}
    assert await seqs(store, "f") == [0, 1, 2]
    await store.delete("f")
    assert await stored(store) == {}
    await store.admit(begin("r"), ME)


async def test_a_chain_of_forks_is_freed_from_its_end(store: Store) -> None:
    await run_of(store, "r", 4)
    await forked(store, "f", "r", 3, more=3)
    await forked(store, "g", "f", 5)
    await forked(store, "h", "f", 1)
    await store.delete("r")
    await store.delete("f")
    assert await stored(store) == {"r": [0, 1, 2, 3], "f": [4, 5], "g": [6], "h": [2]}
    assert await seqs(store, "g") == [0, 1, 2, 3, 4, 5, 6]
    assert await seqs(store, "h") == [0, 1, 2]
    await store.delete("g")
    assert await stored(store) == {"r": [0, 1], "h": [2]}
    assert await seqs(store, "h") == [0, 1, 2]
    await store.delete("h")
    assert await stored(store) == {}


async def test_the_children_that_a_fork_shares_stay_with_it(store: Store) -> None:
    claim = await store.admit(begin("r"), ME)
    await store.append([begin("r/n.1/k", "r"), member("r/n.1/k", move(1), root="r")], claim)
    await store.append([begin("r/n.1/l", "r")], claim)
    await store.release("r", claim)
    claim = await store.admit(fork_of("f", "r", 0), ME, [fork_of("f/n.1/k", "r/n.1/k", 0, "f")])
    await store.release("f", claim)
    await store.delete("r")
    assert await stored(store) == {"r": [0], "r/n.1/k": [0], "f": [1], "f/n.1/k": [1]}
    assert await seqs(store, "f/n.1/k") == [0, 1]
    await store.delete("f")
    assert await stored(store) == {}


# Pruning


async def test_old_runs_of_a_standing_that_nobody_holds_are_pruned(store: Store) -> None:
    await run_of(store, "done", 2, standing="done")
    await run_of(store, "failed", 2, standing="failed")
    await run_of(store, "waiting", 2, standing="waiting")
    await store.admit(begin("held", standing="done"), ME)
    await run_of(store, "young", 2, standing="done", updated=4e9)
    assert await store.prune(60) == ["done"]
    assert await store.prune(datetime.now() - timedelta(days=1), status=["failed", "done"]) == ["failed"]
    assert await store.prune(datetime.fromtimestamp(1.0), status="waiting") == []
    assert {one.run for one in (await store.runs()).runs} == {"waiting", "held", "young"}


async def test_more_runs_are_pruned_than_go_into_one_transaction(store: Store) -> None:
    for number in range(205):
        await store.release(f"r{number}", await store.admit(begin(f"r{number}", standing="done"), ME))
    assert len(await store.prune(0)) == 205
    assert await stored(store) == {}


@pytest.mark.parametrize("wrong", [-1, True, "yesterday", None, float("nan")])
async def test_what_to_prune_is_said_clearly(store: Store, wrong: Any) -> None:
    with pytest.raises(UserError, match="older_than"):
        await store.prune(wrong)
    with pytest.raises(UserError, match=r"status='old'.*running, waiting"):
        await store.prune(1, status="old")
