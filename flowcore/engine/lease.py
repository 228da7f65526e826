"""The leases that this process holds: one heartbeat and one watch for each store and event loop, whatever the number
of runs. The heartbeat is a thread (see ``heartbeat``), the watch a task of the loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

from flowcore.engine.heartbeat import Heartbeat
from flowcore.engine.log import log
from flowcore.errors import RunConflict, RunNotFound, StoreError
from flowcore.stores.base import Claim, Owner, Store

if TYPE_CHECKING:
    from flowcore.engine.tree import Tree

WATCH_SECONDS = 0.1
"""How often the inbox of a shared store is looked at; a cancel from another process is seen this late at most."""


class Holder:
    """An owner's leases in one event loop: over one store that other processes reach, or over all that none does."""

    def __init__(self, store: Store | None = None) -> None:
        self.owner = Owner.this_process()
        self._store = store
        self._roots: set[str] = set()
        self._heart: Heartbeat | None = None
        self._task: asyncio.Task[None] | None = None
        self._renewing: asyncio.Lock | None = None

    def hold(self, tree: Tree, since: float) -> None:
        """Keep a tree's lease, which was asked for at ``since`` (``lease_time``), from now on."""
        _HELD[id(tree.store), tree.root] = tree
        if self._store is None:
            return
        self._roots.add(tree.root)
        if len(self._roots) == 1 or self._heart is None:
            self._begin(self._store, since)
        elif self._watched:
            self._heart.doubt(since)
        else:  # somebody has cancelled every task of the loop
            self._begin(self._store, min(since, self._heart.trusted))

    def _begin(self, store: Store, since: float) -> Heartbeat:
        heart = self._heart
        self._unwatch()
        if heart is None or not heart.take_up(store, since):
            if heart is not None:
                heart.stop()
            heart = self._heart = Heartbeat(store, self.owner, self._roots, since, self)
        self._task = asyncio.get_running_loop().create_task(self._keep(store, heart), name="flowcore-lease")
        self._task.add_done_callback(self._unwatched)
        return heart

    def _unwatch(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    def _unwatched(self, task: asyncio.Task[None]) -> None:
        """The watch has ended; where nobody here said so, the loop ends."""
        if task is self._task and self._heart is not None:
            self._heart.stop()

    @property
    def _watched(self) -> bool:
        return self._task is not None and not self._task.done()

    def drop(self, tree: Tree) -> None:
        """A tree's lease was given back."""
        self.forget(tree)
        if not self._roots:
            self._unwatch()

    def forget(self, tree: Tree) -> None:
        """``drop`` where the loop has ended, or stands still."""
        if _HELD.get((id(tree.store), tree.root)) is tree:
            del _HELD[id(tree.store), tree.root]
        self._roots.discard(tree.root)
        if not self._roots and self._heart is not None:
            self._heart.rest()

    @property
    def sure(self) -> bool:
        """Whether the leases are held for a while yet: where not, nothing may start before they're renewed."""
        return self._store is None or (self._heart is not None and self._heart.sure)

    async def renew(self) -> None:
        """Renew the leases after all the time, and end the runs that somebody else has taken over meanwhile. Raises
        StoreError where that can't be known."""
        heart = self._heart
        if self._store is None or heart is None or not self._roots:
            return
        if not self._watched:
            heart = self._begin(self._store, heart.trusted)
        if self._renewing is None:
            self._renewing = asyncio.Lock()
        queued = self._renewing.locked()
        async with self._renewing:
            if queued and heart.sure:
                return  # by the one that was waited for: a heartbeat is the process's, not each run's
            beat = await heart.beat()
            if not beat.trusted:
                log("lease renewed late", level="warning", seconds=round(beat.late, 1), runs=sorted(self._roots))
                for tree in self._mine():
                    if not await self._still_holds(tree):
                        tree.lose(RunConflict(_LOST.format(tree.root, beat.late), run_id=tree.root))
                heart.trust(beat.at)
        await release_left(self._store)

    async def _still_holds(self, tree: Tree) -> bool:
        try:
            return (await tree.store.get(tree.root)).owner == self.owner.id
        except RunNotFound:
            return False

    def _mine(self) -> list[Tree]:
        return [tree for tree in _HELD.values() if tree.holder is self]

    async def _keep(self, store: Store, heart: Heartbeat) -> None:
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                if heart.due:
                    await self.renew()
                for root in await store.waiting(self.owner):
                    tree = _HELD.get((id(store), root))
                    if tree is not None and tree.holder is self:
                        tree.poke()
            except StoreError as error:  # tried again, as long as nobody else can have taken the runs over
                log("lease not renewed", level="warning", error=str(error), runs=sorted(self._roots))
                if not heart.sure:
                    late = heart.age
                    for tree in self._mine():
                        tree.lose(RunConflict(f"{_LOST.format(tree.root, late)}: {error}", run_id=tree.root))


_LOST = (
    "run '{}': this process couldn't renew its lease for {:.0f} s, and somebody else may go on with the run; what runs"
    " here is broken off; resume it to go on"
)

_HELD: dict[tuple[int, str], Tree] = {}
"""The trees whose lease this process holds, by store (a tree keeps its store alive) and root."""

_HOLDERS: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakKeyDictionary[Store, ref[Holder]]] = WeakKeyDictionary()
"""By loop and shared store. Weak: a holder lives as long as one of its trees, and a store as long as somebody wants
it."""


def holder_of(store: Store) -> Holder:
    """The running loop's holder for a store."""
    if not store.shared:
        return _holder_here(os.getpid())
    stores = _HOLDERS.setdefault(asyncio.get_running_loop(), WeakKeyDictionary())
    known = stores.get(store)
    holder = known() if known is not None else None
    if holder is None:
        holder = Holder(store)
        stores[store] = ref(holder)
    return holder


@lru_cache(maxsize=1)
def _holder_here(pid: int) -> Holder:
    """The one for stores that no other process reaches; a forked process has its own."""
    return Holder()


def poke_local(store: Store, root: str) -> None:
    """Wake the tree if this process drives it, in whichever loop."""
    tree = _HELD.get((id(store), root))
    if tree is not None and not tree.loop.is_closed():
        _call(tree.loop, tree.poke)


_LEFT: list[tuple[ref[Store], str, Claim]] = []
"""Leases of handles that were dropped when their loop had ended, and those that couldn't be given back: given back by
whoever claims from that store next, or renews its leases."""


def abandon(tree: Tree) -> None:
    """Give back the lease of a tree whose handle was dropped. May be called from anywhere, by the garbage collector."""
    claim, tree.claim = tree.claim, None
    if claim is None:
        return
    if tree.loop.is_running():
        try:
            tree.loop.call_soon_threadsafe(_give_back, tree, claim)
            return
        except RuntimeError:
            pass  # it has been closed since
    tree.holder.forget(tree)
    _LEFT.append((ref(tree.store), tree.root, claim))


def _give_back(tree: Tree, claim: Claim) -> None:
    tree.holder.drop(tree)
    task = tree.loop.create_task(release_quietly(tree.store, tree.root, claim))
    _GIVING.add(task)
    task.add_done_callback(_GIVING.discard)


_GIVING: set[asyncio.Task[None]] = set()
"""Tasks need somebody who knows them (asyncio keeps only weak references)."""


async def release_quietly(store: Store, root: str, claim: Claim) -> None:
    """Give a lease back, if it's still ours; later, if the store can't be reached."""
    try:
        await store.release(root, claim, 1 << 30)
    except (StoreError, RunConflict, RunNotFound) as error:
        log("lease not given back", level="warning", run=root, error=str(error))
        if isinstance(error, StoreError):  # else this process, as long as it lives, would keep a run that it gave up
            _LEFT.append((ref(store), root, claim))


async def taken(store: Store, root: str, asked: Coroutine[Any, Any, Claim]) -> Claim:
    """The lease that was asked for. If it comes when who asked has been cancelled, it's given back: nobody would drive
    the run, and this process would hold it as long as it lives."""
    if not store.shared:
        return await asked
    task = asyncio.ensure_future(asked)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(partial(_unwanted, store, root))
        raise


def _unwanted(store: Store, root: str, task: asyncio.Task[Claim]) -> None:
    if not task.cancelled() and task.exception() is None:
        giving = asyncio.ensure_future(release_quietly(store, root, task.result()))
        _GIVING.add(giving)
        giving.add_done_callback(_GIVING.discard)


async def release_left(store: Store) -> None:
    """Give back what was left by handles that outlived their loop."""
    for one in [left for left in _LEFT if left[0]() is store]:
        try:
            _LEFT.remove(one)
        except ValueError:
            continue  # another loop of this process is at it
        await release_quietly(store, one[1], one[2])
    _LEFT[:] = [left for left in _LEFT if left[0]() is not None]


def _call(loop: asyncio.AbstractEventLoop, fn: Callable[[], None]) -> None:
    try:
        here = asyncio.get_running_loop() is loop
    except RuntimeError:
        here = False
    if here:
        fn()
    else:
        loop.call_soon_threadsafe(fn)


def _after_fork() -> None:
    """In a child process: its parent's leases aren't its own, to keep or to give back."""
    for tree in _HELD.values():
        if tree.guarded:
            tree.claim = None
    for key in [key for key, tree in _HELD.items() if tree.guarded]:
        del _HELD[key]
    _LEFT.clear()
    _HOLDERS.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
