"""Sessions of every kind, made fresh, and items for them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import create_async_engine

from flowcore import MemoryStore, SQLiteSession, SqliteStore, StoreSession
from flowcore.extensions.memory import (
    AdvancedSQLiteSession,
    AsyncSQLiteSession,
    EncryptedSession,
    RedisSession,
    SQLAlchemySession,
)
from flowcore.sessions.compaction import OpenAIResponsesCompactionSession

Maker = Callable[..., Any]
"""``make(session_id, **settings)``: each call makes another object, over the same storage where it's shared."""
KEY = "a long and random text, not a password"


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def reply(text: str, id: str = "m") -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "role": "assistant", "id": id, "status": "completed", "content": [part]}


def call(call_id: str, name: str = "tool") -> dict[str, Any]:
    return {"type": "function_call", "name": name, "call_id": call_id, "arguments": "{}"}


def output(call_id: str) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": "done"}


def reasoning(id: str) -> dict[str, Any]:
    return {"type": "reasoning", "id": id, "summary": []}


class World:
    """Where the sessions of one test live."""

    def __init__(self, folder: Path, ends: AsyncExitStack, redis_url: Callable[[], str]) -> None:
        self.folder = folder
        self.ends = ends
        self.redis_url = redis_url
        self.stores = (MemoryStore(), SqliteStore(folder / "runs.db"))
        self.ends.push_async_callback(self.stores[1].close)
        self._engines: dict[str, Any] = {}

    def sqlite(self, session_id: str = "s", **given: Any) -> SQLiteSession:
        made = SQLiteSession(session_id, self.folder / "sessions.db", **given)
        self.ends.callback(made.close)
        return made

    def memory(self, session_id: str = "s", **given: Any) -> SQLiteSession:
        made = SQLiteSession(session_id, **given)
        self.ends.callback(made.close)
        return made

    def async_sqlite(self, session_id: str = "s", **given: Any) -> AsyncSQLiteSession:
        made = AsyncSQLiteSession(session_id, self.folder / "sessions.db", **given)
        self.ends.push_async_callback(made.close)
        return made

    def advanced(self, session_id: str = "s", **given: Any) -> AdvancedSQLiteSession:
        made = AdvancedSQLiteSession(
            session_id=session_id, db_path=self.folder / "sessions.db", create_tables=True, **given
        )
        self.ends.callback(made.close)
        return made

    def sqlalchemy(self, session_id: str = "s", **given: Any) -> SQLAlchemySession:
        return self._over(f"sqlite+aiosqlite:///{self.folder / 'alchemy.db'}", session_id, **given)

    def sqlalchemy_memory(self, session_id: str = "s", **given: Any) -> SQLAlchemySession:
        return self._over("sqlite+aiosqlite:///:memory:", session_id, **given)

    def _over(self, url: str, session_id: str, **given: Any) -> SQLAlchemySession:
        if url not in self._engines:
            self._engines[url] = create_async_engine(url)
            self.ends.push_async_callback(self._engines[url].dispose)
        return SQLAlchemySession(session_id, engine=self._engines[url], create_tables=True, **given)

    def redis(self, session_id: str = "s", **given: Any) -> RedisSession:
        made = RedisSession.from_url(session_id, url=self.redis_url(), **given)
        self.ends.push_async_callback(made.close)
        return made

    def store_memory(self, session_id: str = "s", **given: Any) -> StoreSession:
        return StoreSession(session_id, self.stores[0], **given)

    def store_sqlite(self, session_id: str = "s", **given: Any) -> StoreSession:
        return StoreSession(session_id, self.stores[1], **given)

    def encrypted(self, session_id: str = "s", **given: Any) -> EncryptedSession:
        return EncryptedSession(session_id, self.sqlite(session_id, **given), KEY)

    def compacting(self, session_id: str = "s", **given: Any) -> OpenAIResponsesCompactionSession:
        return OpenAIResponsesCompactionSession(session_id, self.sqlite(session_id, **given))


SHARED = (
    "sqlite", "async_sqlite", "advanced", "sqlalchemy", "sqlalchemy_memory", "redis", "store_memory", "store_sqlite",
    "encrypted", "compacting",
)  # fmt: skip
"""Kinds of which two objects with one id are one session."""
KINDS = ("memory", *SHARED)
