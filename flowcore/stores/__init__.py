"""Stores: where runs live. The promises stand in ``base``; the modules of those with a database are
imported at their first use."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from flowcore.errors import UserError
from flowcore.stores.base import Store
from flowcore.stores.memory import MemoryStore

if TYPE_CHECKING:
    from flowcore.stores.encrypted import EncryptedStore
    from flowcore.stores.postgres import PostgresStore
    from flowcore.stores.sqlite import SqliteStore

__all__ = ["EncryptedStore", "MemoryStore", "PostgresStore", "SqliteStore", "Store", "open_store"]


def __getattr__(name: str) -> Any:
    if name == "SqliteStore":  # 4 ms of imports that a run in memory doesn't need
        from flowcore.stores.sqlite import SqliteStore

        return SqliteStore
    if name == "PostgresStore":
        from flowcore.stores.postgres import PostgresStore

        return PostgresStore
    if name == "EncryptedStore":
        from flowcore.stores.encrypted import EncryptedStore

        return EncryptedStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def open_store(where: str | os.PathLike[str] | Store) -> Store:
    """A store by its address: ``":memory:"``, ``"sqlite:///runs.db"``, ``"postgresql://user:password@host:port/database"``
    (the extra ``postgres``) or a file's path; a store is returned as it is. With ``encrypted+`` before it, any of them
    is an EncryptedStore with the key in the environment variable ``FLOWCORE_KEY``.

    As with other tools, ``sqlite:///a.db`` is relative to the working directory and ``sqlite:////a.db`` is not.
    Raises UserError for anything else.
    """
    if isinstance(where, os.PathLike):
        return _sqlite(os.fspath(where))
    if not isinstance(where, str):
        if hasattr(where, "append_now"):
            return where
        raise UserError(f"store={where!r} ({type(where).__name__}): {_KNOWN}")
    if where.startswith(ENCRYPTED):
        return _encrypted(where.removeprefix(ENCRYPTED))
    path = where
    if "://" in where:
        scheme, _, rest = where.partition("://")
        if scheme in ("postgresql", "postgres"):
            return _postgres(where)
        if scheme != "sqlite":  # of what may hold a password, only the beginning is told
            raise UserError(f"store='{scheme}://…': {_KNOWN}")
        if rest and not rest.startswith("/"):
            raise UserError(f"store={where!r}: {_KNOWN}")
        path = rest[1:] or ":memory:"
    if path == ":memory:":
        return MemoryStore()
    if not path:
        raise UserError(f"store={where!r}: {_KNOWN}")
    return _sqlite(path)


def _encrypted(where: str) -> Store:
    from flowcore.stores.encrypted import EncryptedStore

    store = open_store(where)
    return EncryptedStore(MemoryStore(keep_bytes=True) if isinstance(store, MemoryStore) else store)


def _sqlite(path: str) -> Store:
    from flowcore.stores.sqlite import SqliteStore

    return SqliteStore(path)


def _postgres(dsn: str) -> Store:
    from flowcore.stores.postgres import PostgresStore

    return PostgresStore(dsn)


ENCRYPTED = "encrypted+"
_KNOWN = (
    "give ':memory:', 'sqlite:///path/to/runs.db', 'postgresql://…', a file's path, one of them after 'encrypted+', or"
    " a store"
)
