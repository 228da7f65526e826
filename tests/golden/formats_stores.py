"""A golden store file, as it was, and brought byte by byte into stores of another kind."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

from stores_postgres import new_store, server

from flowcore.machine.wire import Row, decode
from flowcore.stores import MemoryStore, PostgresStore, SqliteStore
from flowcore.stores.base import Append, IndexRow, Owner, Store
from flowcore.stores.checksums import checked_row, summed_row


def file_from(text: str, path: Path) -> Path:
    """The store file that a dump tells of."""
    connection = sqlite3.connect(path)
    connection.executescript(text)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    return path


def rows_of(path: Path) -> dict[str, list[Row]]:
    """Each run's own rows, as they stand in the file."""
    connection = sqlite3.connect(path)
    found: dict[str, list[Row]] = {}
    for run, *rest in connection.execute(
        'SELECT run, seq, kind, node, visit, "on", "to", at, payload FROM fact ORDER BY run, seq'
    ):
        row = Row(*rest)
        if not row.payload.startswith(b"{"):  # the file was opened, and so everything in it is behind its checksum
            row = checked_row(run, row, "golden")
        found.setdefault(run, []).append(row)
    connection.close()
    return found


async def brought(path: Path, into: MemoryStore | PostgresStore) -> None:
    """Bring everything of a store file into another store, the facts byte by byte."""
    rows = rows_of(path)
    source = SqliteStore(path)
    roots = sorted(await _all(source, None), key=lambda one: (one.base is not None, one.created))
    for root in roots:
        tree = [root, *[one for one in await _all(source, root.run) if one.run != root.run]]
        asked = await source.requests(root=root.run, limit=1000)
        members = [
            Append(
                one.run, root.run, [decode(row) for row in rows[one.run]], replace(one, owner=None, waiting=0),
                [request for request in asked if request.run == one.run],
            )
            for one in tree
        ]  # fmt: skip
        claim = await into.admit(members[0], Owner.this_process(), members[1:])
        await into.release(root.run, claim)
        for letter in await source.inbox(root.run):
            await into.signal(letter)
    connection = sqlite3.connect(path)
    items = connection.execute("SELECT session FROM session_item GROUP BY session ORDER BY min(position)").fetchall()
    connection.close()
    for (session,) in items:
        await into.session_write(session, [one.item for one in await source.session_items(session)])
    await source.close()
    _put(into, rows)


async def _all(store: Store, root: str | None) -> list[IndexRow]:
    return (await store.runs(root=root, limit=1000)).runs


def _put(into: Any, rows: dict[str, list[Row]]) -> None:
    """Put the very bytes of the file, behind their checksums, in the place of those that this version made of the same
    facts."""
    for run, raw in rows.items():
        own = [summed_row(run, row) for row in raw]
        if isinstance(into, MemoryStore):
            into._journals[run].facts[:] = own
            continue
        for row in own:
            server().ask(
                f'UPDATE "{into._names.schema}".fact SET payload = %s WHERE run = %s AND seq = %s',
                row.payload, run.encode(), row.seq,
            )  # fmt: skip


def postgres() -> PostgresStore:
    """A PostgreSQL store of its own."""
    return new_store()
