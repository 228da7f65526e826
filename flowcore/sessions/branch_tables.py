"""The tables of an ``AdvancedSQLiteSession``: which items a branch has, in which turns, and what the turns used.

They are those of the OpenAI Agents SDK, and ``branch_deletions``. An item is stored once; each branch that has it has
a row of its own.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

from flowcore.models.base import Item
from flowcore.sessions.sqlite_tables import Tables

MAIN = "main"
"""The branch that every session has."""
_TABLES = (
    """CREATE TABLE IF NOT EXISTS message_structure (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id TEXT NOT NULL,
    message_id INTEGER NOT NULL,
    branch_id TEXT NOT NULL DEFAULT 'main',
    message_type TEXT NOT NULL,
    sequence_number INTEGER NOT NULL,
    user_turn_number INTEGER,
    branch_turn_number INTEGER,
    tool_name TEXT,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY (session_id) REFERENCES "{sessions}" (session_id) ON DELETE CASCADE,
    FOREIGN KEY (message_id) REFERENCES "{messages}" (id) ON DELETE CASCADE)""",
    """CREATE TABLE IF NOT EXISTS turn_usage (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id TEXT NOT NULL,
    branch_id TEXT NOT NULL DEFAULT 'main',
    user_turn_number INTEGER NOT NULL,
    requests INTEGER DEFAULT 0,
    input_tokens INTEGER DEFAULT 0,
    output_tokens INTEGER DEFAULT 0,
    total_tokens INTEGER DEFAULT 0,
    input_tokens_details JSON,
    output_tokens_details JSON,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY (session_id) REFERENCES "{sessions}" (session_id) ON DELETE CASCADE,
    UNIQUE (session_id, branch_id, user_turn_number))""",
    """CREATE TABLE IF NOT EXISTS branch_reservations (
    session_id TEXT NOT NULL,
    branch_id TEXT NOT NULL,
    PRIMARY KEY (session_id, branch_id))""",
    "CREATE INDEX IF NOT EXISTS idx_structure_branch_seq ON message_structure (session_id, branch_id, sequence_number)",
    "CREATE INDEX IF NOT EXISTS idx_structure_message ON message_structure (message_id)",
    "CREATE INDEX IF NOT EXISTS idx_turn_usage_session_turn ON turn_usage (session_id, branch_id, user_turn_number)",
)
_DELETIONS = """CREATE TABLE IF NOT EXISTS branch_deletions (
    session_id TEXT NOT NULL,
    branch_id TEXT NOT NULL,
    PRIMARY KEY (session_id, branch_id))"""
_COUNTS = ("requests", "input_tokens", "output_tokens", "total_tokens")
_DETAILS = ("input_tokens_details", "output_tokens_details")


class Row(NamedTuple):
    """An item's place in a branch."""

    message: int
    kind: str
    turn: int
    tool: str | None
    at: str
    text: str


def make(connection: sqlite3.Connection, tables: Tables) -> None:
    """Make what isn't there yet."""
    for statement in (*_TABLES, _DELETIONS):
        connection.execute(statement.format(sessions=tables.sessions, messages=tables.messages))


def are_there(connection: sqlite3.Connection) -> bool:
    """Whether somebody made the tables; ours is then added to the SDK's."""
    (found,) = connection.execute(
        "SELECT count(*) FROM sqlite_master WHERE type = 'table'"
        " AND name IN ('message_structure', 'turn_usage', 'branch_reservations')"
    ).fetchone()
    if found == 3:
        connection.execute(_DELETIONS)
    return bool(found == 3)


def rows(connection: sqlite3.Connection, tables: Tables, session: str, branch: str) -> list[Row]:
    """A branch's items in order."""
    found = connection.execute(
        "SELECT s.message_id, s.message_type, s.branch_turn_number, s.tool_name, s.created_at, m.message_data"
        f' FROM message_structure s JOIN "{tables.messages}" m ON m.id = s.message_id'
        " WHERE s.session_id = ? AND s.branch_id = ? ORDER BY s.sequence_number",
        (session, branch),
    )
    return [Row(*row) for row in found]


def latest(
    connection: sqlite3.Connection, tables: Tables, session: str, branch: str, limit: int | None
) -> list[tuple[int, str]]:
    """A branch's latest ``limit`` items (None: all), oldest first: their ids and JSON texts."""
    found = connection.execute(
        f'SELECT m.id, m.message_data FROM message_structure s JOIN "{tables.messages}" m ON m.id = s.message_id'
        " WHERE s.session_id = ? AND s.branch_id = ? ORDER BY s.sequence_number DESC LIMIT ?",
        (session, branch, -1 if limit is None else limit),
    ).fetchall()
    return found[::-1]


def last_turn(connection: sqlite3.Connection, session: str, branch: str) -> int:
    """The number of the branch's last turn; 0: none has begun."""
    (turn,) = connection.execute(
        "SELECT coalesce(max(branch_turn_number), 0) FROM message_structure WHERE session_id = ? AND branch_id = ?",
        (session, branch),
    ).fetchone()
    return int(turn)


def add(connection: sqlite3.Connection, session: str, branch: str, new: Sequence[tuple[int, Item]]) -> None:
    """Put items, already stored under these ids, at a branch's end. Each message of the user begins a turn."""
    turn = last_turn(connection, session, branch)
    number = _last_number(connection, session)
    for message, item in new:
        number += 1
        kind = kind_of(item)
        turn += kind == "user"
        connection.execute(
            "INSERT INTO message_structure (session_id, message_id, branch_id, message_type, sequence_number,"
            " user_turn_number, branch_turn_number, tool_name) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (session, message, branch, kind, number, turn, turn, tool_of(item)),
        )


def copy(connection: sqlite3.Connection, session: str, old: str, new: str, before: int) -> None:
    """Give a new branch what an old one had before turn ``before``."""
    connection.execute(
        "INSERT INTO message_structure (session_id, message_id, branch_id, message_type, sequence_number,"
        " user_turn_number, branch_turn_number, tool_name)"
        " SELECT session_id, message_id, ?, message_type, ? + row_number() OVER (ORDER BY sequence_number),"
        " user_turn_number, branch_turn_number, tool_name FROM message_structure"
        " WHERE session_id = ? AND branch_id = ? AND branch_turn_number < ? ORDER BY sequence_number",
        (new, _last_number(connection, session), session, old, before),
    )


def _last_number(connection: sqlite3.Connection, session: str) -> int:
    (number,) = connection.execute(
        "SELECT coalesce(max(sequence_number), 0) FROM message_structure WHERE session_id = ?", (session,)
    ).fetchone()
    return int(number)


def remove(connection: sqlite3.Connection, tables: Tables, session: str, branch: str, message: int | None) -> None:
    """Take one item (None: all) out of a branch, and out of the database if no other branch has it."""
    one = "" if message is None else " AND message_id = ?"
    of_one = () if message is None else (message,)
    gone = connection.execute(
        f"SELECT message_id FROM message_structure WHERE session_id = ? AND branch_id = ?{one}",
        (session, branch, *of_one),
    ).fetchall()
    connection.execute(
        f"DELETE FROM message_structure WHERE session_id = ? AND branch_id = ?{one}", (session, branch, *of_one)
    )
    for (number,) in gone:
        connection.execute(
            f'DELETE FROM "{tables.messages}" WHERE id = ?1'
            " AND NOT EXISTS (SELECT 1 FROM message_structure WHERE message_id = ?1)",
            (number,),
        )
    connection.execute(  # turns that are no more
        "DELETE FROM turn_usage WHERE session_id = ? AND branch_id = ? AND user_turn_number > ?",
        (session, branch, last_turn(connection, session, branch)),
    )


def clear(connection: sqlite3.Connection, session: str) -> None:
    """Forget all branches but "main", and all usage; the branches' names stay taken."""
    connection.execute(
        "INSERT OR IGNORE INTO branch_reservations (session_id, branch_id)"
        " SELECT DISTINCT session_id, branch_id FROM message_structure WHERE session_id = ?",
        (session,),
    )
    connection.execute(
        "INSERT OR IGNORE INTO branch_deletions (session_id, branch_id)"
        " SELECT session_id, branch_id FROM branch_reservations WHERE session_id = ?",
        (session,),
    )
    connection.execute("DELETE FROM message_structure WHERE session_id = ?", (session,))
    connection.execute("DELETE FROM turn_usage WHERE session_id = ?", (session,))


def exists(connection: sqlite3.Connection, session: str, branch: str) -> bool:
    """Whether there's such a branch. It may have no items (any more), "main" always is."""
    return branch == MAIN or (
        is_taken(connection, session, branch) and not _has(connection, "branch_deletions", session, branch)
    )


def is_taken(connection: sqlite3.Connection, session: str, branch: str) -> bool:
    """Whether a branch of this name is there or ever was."""
    return branch == MAIN or any(
        _has(connection, table, session, branch) for table in ("branch_reservations", "message_structure")
    )


def _has(connection: sqlite3.Connection, table: str, session: str, branch: str) -> bool:
    found = connection.execute(
        f"SELECT 1 FROM {table} WHERE session_id = ? AND branch_id = ? LIMIT 1", (session, branch)
    ).fetchone()
    return found is not None


def reserve(connection: sqlite3.Connection, session: str, branch: str) -> None:
    """Take a name."""
    connection.execute(
        "INSERT OR IGNORE INTO branch_reservations (session_id, branch_id) VALUES (?, ?)", (session, branch)
    )


def delete(connection: sqlite3.Connection, tables: Tables, session: str, branch: str) -> None:
    """Remove a branch and the items that no other one has; its name stays taken."""
    reserve(connection, session, branch)
    connection.execute(
        "INSERT OR IGNORE INTO branch_deletions (session_id, branch_id) VALUES (?, ?)", (session, branch)
    )
    remove(connection, tables, session, branch, None)


def branches(connection: sqlite3.Connection, session: str) -> list[tuple[str, int, int, str | None]]:
    """Each branch: its name, how many items and turns it has, when it began; the oldest first."""
    return connection.execute(
        "SELECT branch_id, count(*), count(CASE WHEN message_type = 'user' THEN 1 END), min(created_at)"
        " FROM message_structure WHERE session_id = ? GROUP BY branch_id ORDER BY min(id)",
        (session,),
    ).fetchall()


def write_usage(connection: sqlite3.Connection, session: str, branch: str, turn: int, usage: dict[str, Any]) -> None:
    """Set what a turn used."""
    values = [usage[name] for name in _COUNTS] + [json.dumps(usage[name]) for name in _DETAILS]
    connection.execute(
        f"INSERT OR REPLACE INTO turn_usage (session_id, branch_id, user_turn_number, {', '.join(_COUNTS + _DETAILS)})"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (session, branch, turn, *values),
    )


def sum_usage(connection: sqlite3.Connection, session: str, branch: str | None) -> dict[str, int] | None:
    """What a branch (None: all) used; None if nothing is known."""
    where, of_branch = ("", ()) if branch is None else (" AND branch_id = ?", (branch,))
    sums = ", ".join(f"coalesce(sum({name}), 0)" for name in _COUNTS)
    row = connection.execute(
        f"SELECT {sums}, count(*) FROM turn_usage WHERE session_id = ?{where}", (session, *of_branch)
    ).fetchone()
    return dict(zip((*_COUNTS, "total_turns"), row, strict=True)) if row[-1] else None


def usage_of_turns(connection: sqlite3.Connection, session: str, branch: str) -> list[dict[str, Any]]:
    """What each turn of a branch used, in order."""
    names = ("user_turn_number", *_COUNTS, *_DETAILS)
    found = connection.execute(
        f"SELECT {', '.join(names)} FROM turn_usage WHERE session_id = ? AND branch_id = ? ORDER BY user_turn_number",
        (session, branch),
    )
    turns = [dict(zip(names, row, strict=True)) for row in found]
    for turn in turns:
        turn.update({name: json.loads(turn[name]) if turn[name] else None for name in _DETAILS})
    return turns


def kind_of(item: Item) -> str:
    """What an item is to a reader: ``user``, ``assistant``, or its type."""
    role = item.get("role")
    if role in ("user", "assistant"):
        return str(role)
    kind = item.get("type")
    return kind if isinstance(kind, str) and kind != "message" else "other"


def tool_of(item: Item) -> str | None:
    """The tool that an item calls, as ``server.tool`` where a server has it; None for what is no call."""
    kind = item.get("type")
    if not isinstance(kind, str) or not (kind.endswith("_call") or kind == "mcp_approval_request"):
        return None
    name = item.get("name")
    if not isinstance(name, str):
        return kind
    server = item.get("server_label")
    return f"{server}.{name}" if isinstance(server, str) else name
