"""Stores: where runs live. The promises stand in ``base``; the sqlite module is imported at its first use."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from flowcore.errors import UserError
from flowcore.stores.base import Store
from flowcore.stores.memory import MemoryStore

if TYPE_CHECKING:
    from flowcore.stores.sqlite import SqliteStore

__all__ = ["MemoryStore", "SqliteStore", "Store", "open_store"]


def __getattr__(name: str) -> Any:
    if name == "SqliteStore":  # 4 ms of imports that a run in memory doesn't need
        from flowcore.stores.sqlite import SqliteStore

        return SqliteStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def open_store(where: str | os.PathLike[str] | Store) -> Store:
    """A store by its address: ``":memory:"``, ``"sqlite:///runs.db"`` or a file's path; a store is returned as it is.

    As with other tools, ``sqlite:///a.db`` is relative to the working directory and ``sqlite:////a.db`` is not.
    Raises UserError for anything else.
    """
    if isinstance(where, os.PathLike):
        return _sqlite(os.fspath(where))
    if not isinstance(where, str):
        if hasattr(where, "append_now"):
            return where
        raise UserError(f"store={where!r} ({type(where).__name__}): {_KNOWN}")
    path = where
    if "://" in where:
        scheme, _, rest = where.partition("://")
        if scheme != "sqlite" or (rest and not rest.startswith("/")):
            raise UserError(f"store={where!r}: {_KNOWN}")
        path = rest[1:] or ":memory:"
    if path == ":memory:":
        return MemoryStore()
    if not path:
        raise UserError(f"store={where!r}: {_KNOWN}")
    return _sqlite(path)


def _sqlite(path: str) -> Store:
    from flowcore.stores.sqlite import SqliteStore

    return SqliteStore(path)


_KNOWN = "give ':memory:', 'sqlite:///path/to/runs.db', a file's path, or a store"
