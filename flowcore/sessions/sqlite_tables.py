"""The two tables of a SQLite session, and what is asked of them.

Their names and columns are those of the OpenAI Agents SDK, so that its database files open here and ours there. The
names of the tables are checked identifiers; every value is bound.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tables:
    """The names of the tables, already checked."""

    sessions: str
    messages: str

    def make(self, connection: sqlite3.Connection) -> None:
        """Make what isn't there yet."""
        connection.execute(
            f'CREATE TABLE IF NOT EXISTS "{self.sessions}" ('
            " session_id TEXT PRIMARY KEY,"
            " created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,"
            " updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP)"
        )
        connection.execute(
            f'CREATE TABLE IF NOT EXISTS "{self.messages}" ('
            " id INTEGER PRIMARY KEY AUTOINCREMENT,"
            " session_id TEXT NOT NULL,"
            " message_data TEXT NOT NULL,"
            " created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,"
            f' FOREIGN KEY (session_id) REFERENCES "{self.sessions}" (session_id) ON DELETE CASCADE)'
        )
        connection.execute(
            f'CREATE INDEX IF NOT EXISTS "idx_{self.messages}_session_id" ON "{self.messages}" (session_id, id)'
        )

    def latest(self, connection: sqlite3.Connection, session: str, limit: int | None) -> list[str]:
        """The latest ``limit`` items (None: all), oldest first, as JSON texts."""
        rows = connection.execute(
            f'SELECT message_data FROM "{self.messages}" WHERE session_id = ? ORDER BY id DESC LIMIT ?',
            (session, -1 if limit is None else limit),
        ).fetchall()
        return [text for (text,) in reversed(rows)]

    def add(self, connection: sqlite3.Connection, session: str, texts: Sequence[str]) -> list[int]:
        """Add items at the end; their ids."""
        self.touch(connection, session)
        ids = []
        for text in texts:
            cursor = connection.execute(
                f'INSERT INTO "{self.messages}" (session_id, message_data) VALUES (?, ?)', (session, text)
            )
            assert cursor.lastrowid is not None
            ids.append(cursor.lastrowid)
        return ids

    def touch(self, connection: sqlite3.Connection, session: str) -> None:
        """The session's own row, made or marked as written now."""
        connection.execute(
            f'INSERT INTO "{self.sessions}" (session_id) VALUES (?)'
            " ON CONFLICT (session_id) DO UPDATE SET updated_at = CURRENT_TIMESTAMP",
            (session,),
        )

    def last(self, connection: sqlite3.Connection, session: str) -> tuple[int, str] | None:
        """The latest item: its id and its JSON text."""
        row: tuple[int, str] | None = connection.execute(
            f'SELECT id, message_data FROM "{self.messages}" WHERE session_id = ? ORDER BY id DESC LIMIT 1', (session,)
        ).fetchone()
        return row

    def drop(self, connection: sqlite3.Connection, message: int) -> None:
        """Remove one item."""
        connection.execute(f'DELETE FROM "{self.messages}" WHERE id = ?', (message,))

    def clear(self, connection: sqlite3.Connection, session: str) -> None:
        """Remove all items of the session and its own row."""
        connection.execute(f'DELETE FROM "{self.messages}" WHERE session_id = ?', (session,))
        connection.execute(f'DELETE FROM "{self.sessions}" WHERE session_id = ?', (session,))
