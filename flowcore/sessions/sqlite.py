"""Sessions in a SQLite file, or in memory. Nothing here blocks the event loop."""

from __future__ import annotations

import os
import sqlite3

from flowcore.agents.session import SessionABC, SessionSettings, Settings, settings_of
from flowcore.models.base import Item
from flowcore.sessions.sqlite_file import Database
from flowcore.sessions.sqlite_tables import Tables
from flowcore.sessions.wire import checked_id, checked_tables, decode, encode, how_many


class _InSQLite(SessionABC):
    """What the sessions in SQLite share. See ``SQLiteSession``."""

    session_settings: SessionSettings | None

    def __init__(
        self,
        session_id: str,
        db_path: str | os.PathLike[str] = ":memory:",
        sessions_table: str = "agent_sessions",
        messages_table: str = "agent_messages",
        session_settings: Settings = None,
    ) -> None:
        kind = type(self).__name__
        self.session_id = checked_id(session_id, kind)
        self.session_settings = settings_of(session_settings) or SessionSettings()
        self.db_path = db_path
        self.sessions_table, self.messages_table = checked_tables(sessions_table, messages_table, kind)
        self._tables = Tables(self.sessions_table, self.messages_table)
        self._database = Database(db_path, self._make_tables, kind)
        self._where = f"{kind} {os.fspath(db_path)}, session {session_id!r}"

    def _make_tables(self, connection: sqlite3.Connection) -> None:
        self._tables.make(connection)

    async def get_items(self, limit: int | None = None) -> list[Item]:
        """The items, oldest first; with ``limit`` the latest so many, None: as ``session_settings`` say."""
        most = how_many(limit, self.session_settings)

        def job(connection: sqlite3.Connection) -> list[Item]:
            texts = self._tables.latest(connection, self.session_id, most)
            return [decode(text, self._where) for text in texts]

        return await self._database.read(job)

    async def add_items(self, items: list[Item]) -> None:
        """Add items at the end, all or none."""
        texts = encode(items, self._where)
        if texts:
            await self._database.write(lambda connection: self._tables.add(connection, self.session_id, texts))

    async def pop_item(self) -> Item | None:
        """Remove and return the latest item; None if there's none."""

        def job(connection: sqlite3.Connection) -> Item | None:
            last = self._tables.last(connection, self.session_id)
            if last is None:
                return None
            item = decode(last[1], self._where)
            self._tables.drop(connection, last[0])
            return item

        return await self._database.write(job)

    async def clear_session(self) -> None:
        """Remove all items."""
        await self._database.write(lambda connection: self._tables.clear(connection, self.session_id))

    async def replace_items(self, items: list[Item]) -> None:
        """Put these items in the place of all, in one transaction."""
        texts = encode(items, self._where)

        def job(connection: sqlite3.Connection) -> None:
            self._tables.clear(connection, self.session_id)
            self._tables.add(connection, self.session_id, texts)

        await self._database.write(job)


class SQLiteSession(_InSQLite):
    """A session in a SQLite file, which several sessions, threads and processes may share.

    ``db_path``: the file, made if it isn't there; ``":memory:"``: a database of this object's own, gone with it.
    ``sessions_table``, ``messages_table``: where sessions and items are kept. ``session_settings``: how it's read.
    Methods raise StoreError when the file can't be read or written, RuntimeError once the session is closed.
    """

    def close(self) -> None:
        """Close the file, once what is under way is done. An unused session is closed by itself."""
        self._database.close()


class AsyncSQLiteSession(_InSQLite):
    """``SQLiteSession``, with an async ``close``."""

    async def close(self) -> None:
        """Close the file, after everything that was asked before."""
        await self._database.aclose()
