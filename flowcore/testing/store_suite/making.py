"""Facts, members, runs and owners, as the cases of the suite need them."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from typing import Any

from flowcore.machine.facts import Effect, Fact, Request, Rested, Resumed, Started, Transition
from flowcore.stores.base import Append, Claim, IndexRow, OpenRequest, Owner, Store, process_born


def owner(name: str) -> Owner:
    """Another owner in this process."""
    return Owner(name, socket.gethostname(), os.getpid(), process_born(os.getpid()) or "")


def dead_owner(name: str) -> Owner:
    """An owner whose process is gone: this pid, born at another time."""
    return Owner(name, socket.gethostname(), os.getpid(), "1")


def far_owner(name: str) -> Owner:
    """An owner on another host: nobody here can tell whether it lives."""
    return Owner(name, "elsewhere", 1, "1")


ME, OTHER = owner("me"), owner("other")


def started(run: str, root: str | None = None, parent: str | None = None, at: float = 100.0) -> Started:
    return Started(0, at, at, "first", 1, "graph", "print", {"text": "in"}, {}, root or run, parent)


def begin(run: str, root: str | None = None, at: float = 100.0, **index: Any) -> Append:
    """A run's first member."""
    parent = run.rpartition("/")[0].rpartition("/")[0] or None if root else None
    return Append(run, root or run, [started(run, root, parent, at)], row(run, root, at=at, **index) if index else None)


def row(run: str, root: str | None = None, at: float = 100.0, **changes: Any) -> IndexRow:
    parent = root if root and root != run else None
    given: dict[str, Any] = {"standing": "running", "node": "first", "created": at, "updated": at, **changes}
    return IndexRow(run, root or run, parent, "graph", "print", **given)


def move(seq: int, to: str = "next", at: float = 0.0, **update: Any) -> Transition:
    return Transition(seq, at, at or 100.0 + seq, "first", seq, "on", to, seq + 1, update)


def effect(seq: int, key: str = "key", value: Any = None) -> Effect:
    return Effect(seq, 1.0, 2.0, "first", 1, key, value, args="hash")


def rest(seq: int, standing: Any = "waiting") -> Rested:
    return Rested(seq, 1.0, 2.0, "first", 1, standing)


def fork_of(run: str, base: str, seq: int, root: str | None = None) -> Append:
    """The first member of a fork that goes on from fact ``seq`` of ``base``."""
    fact = Resumed(seq + 1, 1.0, 2.0, "first", 1, "fork", base=base, root=root or run)
    return Append(run, root or run, [fact], replace(row(run, root, at=200.0), base=base, base_seq=seq))


def member(run: str, *facts: Fact, root: str | None = None, **given: Any) -> Append:
    return Append(run, root or run, list(facts), **given)


def question(run: str, key: str, root: str | None = None, opened: float = 5.0, data: Any = None) -> OpenRequest:
    return OpenRequest(root or run, run, key, "approval", data, {"type": "boolean"}, "first", opened)


def asking(run: str, seq: int, key: str, root: str | None = None, opened: float = 5.0) -> Append:
    """A member that opens a request."""
    fact = Request(seq, 1.0, 2.0, "first", 1, key, "approval")
    return member(run, fact, root=root, opened=[question(run, key, root, opened)])


async def run_of(store: Store, run: str, facts: int, **index: Any) -> Claim:
    """A run with so many facts, that nobody holds."""
    claim = await store.admit(begin(run, **index), ME)
    if facts > 1:
        assert await store.append([member(run, *map(move, range(1, facts)))], claim) == [None]
    assert await store.release(run, claim)
    return claim


async def forked(store: Store, run: str, base: str, seq: int, more: int = 0) -> None:
    """A fork with so many facts of its own beside the first, that nobody holds."""
    claim = await store.admit(fork_of(run, base, seq), ME)
    for one in range(more):
        assert await store.append([member(run, move(seq + 2 + one))], claim) == [None]
    assert await store.release(run, claim)


async def seqs(store: Store, run: str) -> list[int]:
    """The numbers of a run's facts, as they're read."""
    return [fact.seq for fact in await store.read(run)]
