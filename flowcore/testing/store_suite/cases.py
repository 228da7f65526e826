"""How a case of the suite is run: in an event loop of its own, with new stores, whatever plugins a project has."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flowcore.stores.base import Append, Claim, Owner, Store
from flowcore.testing.store_suite.making import begin, dead_owner

HANDLES = ("store", "other")
"""What a case is given by us; what else it takes comes from pytest."""


class Cases:
    """What a store's maker says, and what the cases ask him. ``async def test_…(self, store)`` of any subclass is run
    with a new store, ``(self, store, other)`` with two handles on one."""

    processes: bool = True
    """``make`` called again with the same folder is another handle on the same runs, as another process has."""
    keeps_bytes: bool = True
    """Values are kept as bytes, so that what isn't JSON is refused when it's appended."""
    examples: int = 25
    """How many random histories are tried where hypothesis is installed; 0: none."""

    def make(self, folder: Path) -> Any:
        """A new, empty store, or an awaitable of one; ``folder`` is an empty directory for it."""
        raise NotImplementedError(f"{type(self).__name__}.make(self, folder): return a new store")

    async def bury(self, store: Store, owner: Owner) -> None:
        """Make the leases of an owner end, as time does; its process is gone. Needed where that isn't enough."""

    async def kept(self, store: Store) -> dict[str, list[int]] | None:
        """The seqs of the facts that are kept, by the run that wrote them, so that it's seen what deletions free.
        None: nobody looks."""
        return None

    async def dies(self, store: Store, run: str, **index: Any) -> Claim:
        """A new run whose owner has died; the claim that it had."""
        gone = dead_owner(f"owner of {run}")
        claim = await store.admit(begin(run, **index), gone)
        await self.bury(store, gone)
        return claim

    async def check_kept(self, store: Store, needed: dict[str, list[int]]) -> None:
        """The store keeps exactly the facts that runs and forks need."""
        found = await self.kept(store)
        assert found is None or found == needed, "the store keeps other facts than runs and forks need"

    def __init_subclass__(cls, **given: Any) -> None:
        super().__init_subclass__(**given)
        for name, test in list(vars(cls).items()):
            if name.startswith("test_") and inspect.iscoroutinefunction(test):
                setattr(cls, name, _alone(test))


async def append(store: Store, claim: Claim, *members: Append) -> list[Exception | None]:
    """``store.append``; a batch as arguments."""
    return await store.append(members, claim)


async def made(cases: Cases, folder: Path) -> Store:
    """A store of theirs."""
    given = cases.make(folder)
    store: Store = await given if inspect.isawaitable(given) else given
    return store


def _alone(test: Callable[..., Any]) -> Callable[..., None]:
    """A case as a function that pytest runs without knowing of event loops."""
    takes = inspect.signature(test).parameters
    handles = [name for name in takes if name in HANDLES]

    @functools.wraps(test)
    def run(self: Cases, tmp_path: Path, **given: Any) -> None:
        with asyncio.Runner() as runner:
            runner.run(_within(self, test, handles, tmp_path, given))

    del run.__wrapped__  # pytest would take its parameters for ours
    rest = [one for name, one in takes.items() if name not in HANDLES]
    folder = inspect.Parameter("tmp_path", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    run.__signature__ = inspect.Signature([rest[0], folder, *rest[1:]])  # type: ignore[attr-defined]
    return run


async def _within(cases: Cases, test: Any, handles: list[str], folder: Path, given: dict[str, Any]) -> None:
    stores: dict[str, Store] = {}
    try:
        for name in handles:
            again = stores and not cases.processes
            stores[name] = stores["store"] if again else await made(cases, folder)
        await test(cases, **stores, **given)
    finally:
        for store in stores.values():
            await store.close()
