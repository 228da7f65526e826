"""The sessions that need an extra or offer more, under the names by which the SDK's users know them.

Each is imported when it's first used; one whose extra isn't installed says how to install it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowcore.sessions.advanced import AdvancedSQLiteSession
    from flowcore.sessions.encrypted import EncryptedSession
    from flowcore.sessions.redis import RedisSession
    from flowcore.sessions.sqlalchemy import SQLAlchemySession
    from flowcore.sessions.sqlite import AsyncSQLiteSession

_HOME_OF = {
    "AdvancedSQLiteSession": "flowcore.sessions.advanced",
    "AsyncSQLiteSession": "flowcore.sessions.sqlite",
    "EncryptedSession": "flowcore.sessions.encrypted",
    "RedisSession": "flowcore.sessions.redis",
    "SQLAlchemySession": "flowcore.sessions.sqlalchemy",
}

__all__ = [
    "AdvancedSQLiteSession",
    "AsyncSQLiteSession",
    "EncryptedSession",
    "RedisSession",
    "SQLAlchemySession",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'flowcore.extensions.memory' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return __all__
