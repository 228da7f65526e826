"""Where runs are kept, and which run is meant: stores by address, runs by the beginning of their id."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from flowcore.errors import RunNotFound, UserError
from flowcore.stores import Store, open_store
from flowcore.stores.base import IndexRow

DEFAULT = ".flowcore/runs.db"
VARIABLE = "FLOWCORE_STORE"
LISTED = 5
"""How many runs are listed where one was meant."""


def is_there(where: str) -> bool:
    """Whether the store exists; only files can be missing."""
    return _exists(open_store(where))


def _exists(store: Store) -> bool:
    path = getattr(store, "path", None)
    return path is None or os.path.exists(path)


@asynccontextmanager
async def opened(where: str, *, new: bool = False) -> AsyncIterator[Store]:
    """The store at an address. ``new``: it may be made. Raises UserError where there's none."""
    store = open_store(where)
    if not new and not _exists(store):
        raise UserError(f"there's no store at {where}; name another with --store, or begin a run: flowcore run FILE")
    try:
        yield store
    finally:
        await store.close()


async def find_run(store: Store, name: str) -> IndexRow:
    """The run of this id, or the only one whose id begins so. Raises RunNotFound; UserError when several do."""
    if not name:
        raise UserError("name a run by its id, or by the beginning of it")
    try:
        return await store.get(name)
    except RunNotFound:
        pass
    root, slash, rest = name.partition("/")
    if slash:
        try:
            above = await find_run(store, root)
        except RunNotFound:
            slash = ""  # roots' ids may have a slash, too
    if not slash:
        return _only(await store.find(name, limit=LISTED + 1), name)
    whole = f"{above.run}/{rest}"
    try:
        return await store.get(whole)
    except RunNotFound:
        return _only(await store.find(whole, root=above.root, limit=LISTED + 1), name)


def _only(found: list[IndexRow], name: str) -> IndexRow:
    if len(found) == 1:
        return found[0]
    if not found:
        raise RunNotFound(f"no run's id begins with '{name}'; see `flowcore runs`")
    count = f"{len(found)}" if len(found) <= LISTED else f"more than {LISTED}"
    listed = ", ".join(row.run for row in found[:LISTED]) + (", …" if len(found) > LISTED else "")
    raise UserError(f"{count} runs' ids begin with '{name}': {listed}; give more of it")
