"""How the sealed records of a PostgreSQL store come under another key: pages are read, sealed apart, and put in their
places in short transactions.

A row that somebody else has locked is left for the next look, so this waits for nobody's lock and nobody for it in a
circle. All SQL is static text with bound parameters; the schema's quoted name stands in for ``@``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from flowcore.machine.wire import Row
from flowcore.stores.base import IndexRow
from flowcore.stores.postgres_pack import optional, text, utf8
from flowcore.stores.postgres_pool import Connection, Job, Pool
from flowcore.stores.postgres_schema import Names
from flowcore.stores.rotation import AT_ONCE, BYTES, Renewal
from flowcore.stores.sealing import Bound, fact_place, item_place, letter_place, named, request_place

Key = tuple[Any, ...]
Change = tuple[Any, ...]
"""Where records stand, the old ones, and the new ones."""


class _Table(NamedTuple):
    """``page``: the rows after a key whose records don't begin so, and how many bytes they are: key, what their place
    is made of, records. ``change``: puts new records in the place of old ones, given column by column. ``keys``,
    ``first``: of how many columns a key is, and one below all. ``places``: where the records of a row stand."""

    page: str
    change: str
    keys: int
    first: Key
    places: Callable[..., Sequence[Bound]]


async def reseal(pool: Pool, names: Names, place: str, renewal: Renewal) -> int:
    """Put what ``renewal`` gives in the place of every sealed record; how many. Raises StoreError."""
    changed = 0
    for table in (_FACTS, _LETTERS, _REQUESTS, _ITEMS):
        after: Key | None = table.first
        while after is not None:
            rows = await pool.do(_fetch(names, table.page, _given(renewal, after)))
            after = tuple(rows[-1][: table.keys]) if rows else None
            changes = await asyncio.to_thread(_changes, table, rows, renewal, place)
            if changes:
                changed += await pool.do(_change(names, table.change, changes))
    last: bytes | None = b""
    while last is not None:
        found = await pool.do(_fetch(names, _INDEX, _given(renewal, (last,))))
        last = found[-1][0] if found else None
        ids = [row[0] for row in found if renewal.needs(_row(row))]
        if ids:
            changed += await pool.do(_change_runs(names, ids, renewal, place))
    return changed


def _changes(table: _Table, rows: Sequence[Any], renewal: Renewal, place: str) -> list[Change]:
    found: list[Change] = []
    for row in rows:
        key, of = row[: table.keys], row[table.keys :]
        places = table.places(*of)
        old = of[-len(places) :]
        new = [
            renewal.record(data, at, f"{named(at)} {at[1:3]} in {place}") for data, at in zip(old, places, strict=True)
        ]
        if any(new):
            found.append((*key, *old, *(one or data for one, data in zip(new, old, strict=True))))
    return found


def _given(renewal: Renewal, after: Key) -> dict[str, Any]:
    keys = {f"key{number}": one for number, one in enumerate(after)}
    return {**keys, "head": renewal.head, "length": len(renewal.head), "limit": AT_ONCE, "bytes": BYTES}


def _fetch(names: Names, sql: str, given: Any) -> Job[list[tuple[Any, ...]]]:
    async def job(connection: Connection, again: bool) -> list[tuple[Any, ...]]:
        return await (await connection.execute(names.sql(sql), given, binary=True)).fetchall()

    return job


def _change(names: Names, sql: str, changes: Sequence[Change]) -> Job[int]:
    columns = [list(column) for column in zip(*changes, strict=True)]

    async def job(connection: Connection, again: bool) -> int:
        return (await connection.execute(names.sql(sql), columns)).rowcount

    return job


def _change_runs(names: Names, ids: Sequence[bytes], renewal: Renewal, place: str) -> Job[int]:
    """Index rows change often, and their checksum is over the whole row: they're read where they're changed."""

    async def job(connection: Connection, again: bool) -> int:
        async with connection.transaction():
            answer = await connection.execute(names.sql(_LOCK_INDEX), (list(ids),), binary=True)
            changes = []
            for one in await answer.fetchall():
                *_, head, fixed, changing = one
                row = _row(one)
                sum = renewal.summed_index(row, head, fixed, changing, place)
                if sum is not None:
                    changes.append((one[0], utf8(row.label), optional(row.error), sum))
            if changes:
                await connection.execute(names.sql(_SET_INDEX), [list(column) for column in zip(*changes, strict=True)])
        return len(changes)

    return job


def _row(row: Sequence[Any]) -> IndexRow:
    (
        run, root, parent, graph, fingerprint, standing, node, created, updated, due, turns, tokens, error, label, base,
        base_seq, *_,
    ) = row  # fmt: skip
    return IndexRow(
        text(run), text(root), _text(parent), text(graph), text(fingerprint), standing, text(node), created, updated,
        due, turns, tokens, _text(error), text(label), base=_text(base), base_seq=base_seq,
    )  # fmt: skip


def _text(value: bytes | None) -> str | None:
    return None if value is None else text(value)


def _fact(
    run: bytes, seq: int, kind: str, node: bytes, visit: int, on: bytes | None, to: bytes | None, at: float, _: bytes
) -> list[Bound]:
    return [fact_place(text(run), Row(seq, kind, text(node), visit, _text(on), _text(to), at, b""))]


def _letter(run: bytes, id: bytes, kind: bytes, key: bytes | None, at: float, _: bytes) -> list[Bound]:
    return [letter_place(text(run), text(id), text(kind), _text(key), at)]


def _request(run: bytes, key: bytes, kind: bytes, node: bytes, opened: float, _: bytes, __: bytes) -> list[Bound]:
    names = text(run), text(key), text(kind), text(node), opened
    return [request_place(part, *names) for part in ("data", "schema")]


def _item(session: bytes, position: int, _: bytes) -> list[Bound]:
    return [item_place(text(session), position)]


def _pages(columns: str, table: str, key: str, after: str, records: Sequence[str]) -> str:
    """The query of a table's rows after a key whose records don't begin so: at most so many and, but for the first, of
    so many bytes."""
    size = " + ".join(f"octet_length({one})" for one in records)
    old = " OR ".join(f"substring({one} FROM 1 FOR %(length)b::int) <> %(head)b::bytea" for one in records)
    return f"""
SELECT {columns} FROM (
    SELECT *, sum({size}) OVER (ORDER BY {key} ROWS UNBOUNDED PRECEDING) - ({size}) AS before FROM @.{table}
    WHERE ({key}) > ({after}) AND ({old}) ORDER BY {key} LIMIT %(limit)b::bigint
) AS page WHERE before < %(bytes)b::bigint ORDER BY {key}"""


def _puts(table: str, key: Sequence[str], types: str, records: Sequence[str]) -> str:
    """The statement that puts new records in the place of old ones, where nobody holds them."""
    old, new = [f"old_{one}" for one in records], [f"new_{one}" for one in records]
    given = ", ".join(f"%b::{one}[]" for one in types.split(", ") + ["bytea"] * (2 * len(records)))
    same = [f"here.{one} = given.{one}" for one in key]
    same += [f"here.{one} = given.old_{one}" for one in records]
    return f"""
WITH mine AS (
    SELECT given.* FROM unnest({given}) AS given ({", ".join((*key, *old, *new))})
    JOIN @.{table} AS here ON {" AND ".join(same)} FOR NO KEY UPDATE OF here SKIP LOCKED
)
UPDATE @.{table} AS here SET {", ".join(f"{one} = mine.new_{one}" for one in records)}
FROM mine WHERE {" AND ".join(f"here.{one} = mine.{one}" for one in key)}"""


_FACTS = _Table(
    _pages(
        'run, seq, run, seq, kind, node, visit, "on", "to", at, payload',
        "fact", "run, seq", "%(key0)b::bytea, %(key1)b::bigint", ["payload"],
    ),
    _puts("fact", ["run", "seq"], "bytea, bigint", ["payload"]),
    2, (b"", -1), _fact,
)  # fmt: skip
_LETTERS = _Table(
    _pages("number, run, id, kind, key, at, value", "letter", "number", "%(key0)b::bigint", ["value"]),
    _puts("letter", ["number"], "bigint", ["value"]),
    1, (-1,), _letter,
)  # fmt: skip
_REQUESTS = _Table(
    _pages(
        "digest, run, key, kind, node, opened, data, schema", "request", "digest", "%(key0)b::bytea", ["data", "schema"]
    ),
    _puts("request", ["digest"], "bytea", ["data", "schema"]),
    1, (b"",), _request,
)  # fmt: skip
_ITEMS = _Table(
    _pages("position, session, position, item", "session_item", "position", "%(key0)b::bigint", ["item"]),
    _puts("session_item", ["position"], "bigint", ["item"]),
    1, (-1,), _item,
)  # fmt: skip
_COLUMNS = """id, root, parent, graph, fingerprint, standing, node, created, updated, due, turns, tokens, error, label,
    base, base_seq"""
_INDEX = f"""
SELECT {_COLUMNS} FROM @.run
WHERE id > %(key0)b::bytea AND (label <> ''::bytea OR error IS NOT NULL) ORDER BY id LIMIT %(limit)b::bigint"""
_LOCK_INDEX = f"""
SELECT {_COLUMNS}, head, fixed, sum FROM @.run WHERE id = ANY (%b::bytea[]) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED"""
_SET_INDEX = """
UPDATE @.run AS here SET label = given.label, error = given.error, sum = given.sum
FROM unnest(%b::bytea[], %b::bytea[], %b::bytea[], %b::bigint[]) AS given (id, label, error, sum)
WHERE here.id = given.id"""
