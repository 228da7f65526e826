"""How the sealed records of a store file come under another key: pages are read and sealed apart, then put in their
places in short transactions. All SQL is static text with bound parameters."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from flowcore.machine.wire import Row
from flowcore.stores.base import IndexRow
from flowcore.stores.rotation import AT_ONCE, BYTES, Renewal
from flowcore.stores.sealing import Bound, fact_place, item_place, letter_place, named, request_place
from flowcore.stores.sqlite_file import StoreFile
from flowcore.stores.sqlite_schema import utf8

Key = tuple[Any, ...]
Change = tuple[Any, ...]
"""What a statement is given: new records, where they stand, and the old ones."""


class _Table(NamedTuple):
    """``page``: the rows after a key whose records don't begin so: key, what their place is made of, records.
    ``change``: puts new records in the place of old ones. ``keys``, ``first``: of how many columns a key is, and one
    below all. ``places``: where the records of a row stand."""

    page: str
    change: str
    keys: int
    first: Key
    places: Callable[..., Sequence[Bound]]


async def reseal(file: StoreFile, path: str, renewal: Renewal) -> int:
    """Put what ``renewal`` gives in the place of every sealed record; how many. Raises StoreError."""
    changed = 0
    for table in (_FACTS, _LETTERS, _REQUESTS, _ITEMS):
        after: Key | None = table.first
        while after is not None:
            changes, after = await file.read_apart(partial(_page, table=table, after=after, renewal=renewal, path=path))
            if changes:
                changed += await file.write(partial(_change, sql=table.change, changes=changes))
    last: int | None = -(2**63)
    while last is not None:
        numbers, last = await file.read_apart(partial(_runs, after=last, renewal=renewal))
        if numbers:
            changed += await file.write(partial(_change_runs, numbers=numbers, renewal=renewal, path=path))
    return changed


def _page(
    connection: sqlite3.Connection, table: _Table, after: Key, renewal: Renewal, path: str
) -> tuple[list[Change], Key | None]:
    """Changes for a transaction, and after which key to go on (None: that was all)."""
    changes: list[Change] = []
    size = 0
    head = renewal.head
    given = (*(utf8(one) if isinstance(one, str) else one for one in after), len(head), head)
    for row in connection.execute(table.page, given):
        key, (*of,) = row[: table.keys], row[table.keys :]
        places = table.places(*of)
        old = of[-len(places) :]
        new = [
            renewal.record(data, place, f"{named(place)} {place[1:3]} in store file {path}")
            for data, place in zip(old, places, strict=True)
        ]
        if any(new):
            kept = [one or data for one, data in zip(new, old, strict=True)]
            changes.append((*kept, *(utf8(one) if isinstance(one, str) else one for one in key), *old))
            size += sum(map(len, kept))
        if len(changes) == AT_ONCE or size > BYTES:
            return changes, key
    return changes, None


def _change(cursor: sqlite3.Cursor, sql: str, changes: Sequence[Change]) -> int:
    cursor.executemany(sql, changes)
    return cursor.rowcount


def _runs(connection: sqlite3.Connection, after: int, renewal: Renewal) -> tuple[list[int], int | None]:
    """The numbers of index rows that are to be renewed, and after which to go on."""
    found = []
    for number, *columns in connection.execute(_INDEX, (after,)):
        if renewal.needs(IndexRow(*columns)):
            found.append(number)
        if len(found) == AT_ONCE:
            return found, number
    return found, None


def _change_runs(cursor: sqlite3.Cursor, numbers: Sequence[int], renewal: Renewal, path: str) -> int:
    """Index rows change often, and their checksum is over the whole row: they're read where they're changed."""
    changed = 0
    for number in numbers:
        found = cursor.execute(_INDEX_ROW, (number,)).fetchone()
        if found is None:
            continue
        *columns, base, base_seq, head, fixed, changing = found
        row = IndexRow(*columns)
        row.base, row.base_seq = base, base_seq
        sum = renewal.summed_index(row, head, fixed, changing, f"store file {path}")
        if sum is not None:
            error = None if row.error is None else utf8(row.error)
            cursor.execute(_SET_INDEX, (utf8(row.label), error, sum, number))
            changed += 1
    return changed


def _fact(run: str, seq: int, kind: str, node: str, visit: int, on: str, to: str, at: float, _: bytes) -> list[Bound]:
    return [fact_place(run, Row(seq, kind, node, visit, on, to, at, b""))]


def _letter(run: str, id: str, kind: str, key: str | None, at: float, _: bytes) -> list[Bound]:
    return [letter_place(run, id, kind, key, at)]


def _request(run: str, key: str, kind: str, node: str, opened: float, _: bytes, __: bytes) -> list[Bound]:
    return [request_place(part, run, key, kind, node, opened) for part in ("data", "schema")]


def _item(session: str, position: int, _: bytes) -> list[Bound]:
    return [item_place(session, position)]


_LOWEST = -(2**63)
_FACTS = _Table(
    'SELECT rowid, run, seq, kind, node, visit, "on", "to", at, payload FROM fact'
    " WHERE rowid > ? AND substr(payload, 1, ?) <> ? ORDER BY rowid",
    "UPDATE fact SET payload = ? WHERE rowid = ? AND payload = ?",
    1, (_LOWEST,), _fact,
)  # fmt: skip
_LETTERS = _Table(
    "SELECT number, run, id, kind, key, at, value FROM letter"
    " WHERE number > ? AND substr(value, 1, ?) <> ? ORDER BY number",
    "UPDATE letter SET value = ? WHERE number = ? AND value = ?",
    1, (_LOWEST,), _letter,
)  # fmt: skip
_REQUESTS = _Table(
    "SELECT root, run, key, run, key, kind, node, opened, data, schema FROM request"
    " WHERE (root, run, key) > (CAST(?1 AS TEXT), CAST(?2 AS TEXT), CAST(?3 AS TEXT))"
    " AND (substr(data, 1, ?4) <> ?5 OR substr(schema, 1, ?4) <> ?5) ORDER BY root, run, key",
    "UPDATE request SET data = ?, schema = ?"
    " WHERE root = CAST(? AS TEXT) AND run = CAST(? AS TEXT) AND key = CAST(? AS TEXT) AND data = ? AND schema = ?",
    3, ("", "", ""), _request,
)  # fmt: skip
_ITEMS = _Table(
    "SELECT position, session, position, item FROM session_item"
    " WHERE position > ? AND substr(item, 1, ?) <> ? ORDER BY position",
    "UPDATE session_item SET item = ? WHERE position = ? AND item = ?",
    1, (_LOWEST,), _item,
)  # fmt: skip
_COLUMNS = (
    """id, root, parent, graph, fingerprint, standing, node, created, updated, due, turns, tokens, error, label"""
)
_INDEX = f"SELECT rowid, {_COLUMNS} FROM run WHERE rowid > ? AND (label <> '' OR error IS NOT NULL) ORDER BY rowid"
_INDEX_ROW = f"SELECT {_COLUMNS}, base, base_seq, head, fixed, sum FROM run WHERE rowid = ?"
_SET_INDEX = "UPDATE run SET label = CAST(? AS TEXT), error = CAST(? AS TEXT), sum = ? WHERE rowid = ?"
