"""Checksums for a store file that was written without them: the third step of its migration."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

from flowcore.machine.wire import Row
from flowcore.stores.base import IndexRow
from flowcore.stores.checksums import changing_sum, fixed_sum, summed_row
from flowcore.stores.sealing import Bound, is_sealed, item_place, letter_place, request_place, sealed

_AT_ONCE = 1000


def add_sums(connection: sqlite3.Connection) -> None:
    """Put every record behind its checksum, in the transaction that is open. What is encrypted stays as it is."""
    for number, run, *columns in _pages(connection, _FACTS):
        fact = Row(*columns)
        if not is_sealed(fact.payload):
            connection.execute(_SET_FACT, (summed_row(run, fact).payload, number))
    for number, run, id, kind, key, at, value in _pages(connection, _LETTERS):
        connection.execute(_SET_LETTER, (_kept(value, letter_place(run, id, kind, key, at)), number))
    for position, session, item in _pages(connection, _ITEMS):
        connection.execute(_SET_ITEM, (_kept(item, item_place(session, position)), position))
    requests = connection.execute(_REQUESTS).fetchall()  # of those that are open there are few
    for root, run, key, kind, node, opened, data, schema in requests:
        kept = [
            _kept(part, request_place(name, run, key, kind, node, opened))
            for name, part in (("data", data), ("schema", schema))
        ]
        connection.execute(_SET_REQUEST, (*kept, root, run, key.encode("utf-8", "surrogatepass")))
    for number, *columns, base, base_seq, head in _pages(connection, _RUNS):
        row = IndexRow(*columns)
        fixed = fixed_sum(row.run, row.root, row.parent, row.created, base, base_seq)
        connection.execute(_SET_RUN, (head, fixed, changing_sum(row.run, row, head), number))


def _kept(data: bytes, place: Bound) -> bytes:
    return data if is_sealed(data) else sealed(data, place, None)


def _pages(connection: sqlite3.Connection, query: str) -> Iterator[tuple[Any, ...]]:
    """The rows of a query, which begin with their number, in the order of that."""
    last = -1
    while rows := connection.execute(query, (last, _AT_ONCE)).fetchall():
        yield from rows
        last = rows[-1][0]


_FACTS = """
SELECT rowid, run, seq, kind, node, visit, "on", "to", at, payload FROM fact WHERE rowid > ? ORDER BY rowid LIMIT ?"""
_SET_FACT = "UPDATE fact SET payload = ? WHERE rowid = ?"
_LETTERS = "SELECT number, run, id, kind, key, at, value FROM letter WHERE number > ? ORDER BY number LIMIT ?"
_SET_LETTER = "UPDATE letter SET value = ? WHERE number = ?"
_ITEMS = "SELECT position, session, item FROM session_item WHERE position > ? ORDER BY position LIMIT ?"
_SET_ITEM = "UPDATE session_item SET item = ? WHERE position = ?"
_REQUESTS = "SELECT root, run, key, kind, node, opened, data, schema FROM request"
_SET_REQUEST = "UPDATE request SET data = ?, schema = ? WHERE root = ? AND run = ? AND key = CAST(? AS TEXT)"
_RUNS = """
SELECT rowid, id, root, parent, graph, fingerprint, standing, node, created, updated, due, turns, tokens, error, label,
    base, base_seq, coalesce((SELECT max(seq) FROM fact WHERE fact.run = run.id), base_seq, -1)
FROM run WHERE rowid > ? ORDER BY rowid LIMIT ?"""
_SET_RUN = "UPDATE run SET head = ?, fixed = ?, sum = ? WHERE rowid = ?"
