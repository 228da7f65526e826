"""What is read from a PostgreSQL store. All SQL is static text with bound parameters; ``@`` is the schema."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

from flowcore.errors import StoreError
from flowcore.machine.facts import Fact
from flowcore.machine.wire import Row
from flowcore.stores import checks, checksums
from flowcore.stores.base import IndexRow, Letter, OpenRequest, Owner, Page, SessionItem, is_gone
from flowcore.stores.postgres_pack import text, utf8
from flowcore.stores.postgres_pool import Connection, Job
from flowcore.stores.postgres_schema import Names
from flowcore.stores.postgres_steps import CLOCK
from flowcore.stores.sealing import (
    Bound,
    Sealing,
    decode_fact,
    item_place,
    letter_place,
    named,
    request_place,
    value,
)

SMALL = 128 * 1024
"""Bytes of payload that are decoded on the event loop: about a millisecond."""


async def _fetch(connection: Connection, sql: bytes, given: Any) -> list[tuple[Any, ...]]:
    return await (await connection.execute(sql, given, binary=True)).fetchall()


def _text(value: bytes | None) -> str | None:
    return None if value is None else text(value)


# The whole


def flaws(names: Names) -> Job[list[str]]:
    """Rows that an index doesn't lead to, and records that belong to no run."""

    async def job(connection: Connection, again: bool) -> list[str]:
        found = []
        async with connection.transaction():
            await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", prepare=False)
            for index in COUNTED:
                counts: list[int] = []
                await connection.execute(BY_HEAP, prepare=False)
                cursor = await connection.execute(names.script(COUNTED[index][0]), prepare=False)
                counts += await cursor.fetchone() or ()
                await connection.execute(BY_INDEX, prepare=False)
                cursor = await connection.execute(names.script(COUNTED[index][1]), prepare=False)
                counts += await cursor.fetchone() or ()
                if counts[0] != counts[1]:
                    found.append(f"index {index} leads to {counts[1]} of {counts[0]} rows")
        lost = await _fetch(connection, names.sql(_LOST), None)
        return found + [f"{what} of run '{text(run)}', which isn't there" for what, run in lost]

    return job


def names_of(names: Names, kind: str, after: str | None, limit: int) -> Job[list[str]]:
    """Ids of runs or sessions, in their order, above ``after``."""

    async def job(connection: Connection, again: bool) -> list[str]:
        given = {"after": utf8(after or ""), "limit": limit}
        return [text(name) for (name,) in await _fetch(connection, names.sql(_NAMES[kind]), given)]

    return job


BY_HEAP = b"SET LOCAL enable_seqscan = on; SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off"
BY_INDEX = (
    b"SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = on;"
    b" SET LOCAL enable_sort = off; SET LOCAL enable_incremental_sort = off"
)
_INDEXED = {
    "fact_pkey": ("fact", "run >= ''::bytea", "run, seq"),
    "run_pkey": ("run", "id >= ''::bytea", "id"),
    "run_latest": ("run", "root = id", "created, id"),
    "run_standing": ("run", "root = id", "standing, created, id"),
    "run_tree": ("run", "root >= ''::bytea", "root, created"),
    "run_due": ("run", "due IS NOT NULL AND root = id", "due"),
    "run_called": (
        "run",
        "root = id AND letters > known AND standing IN ('running', 'waiting')",
        "coalesce(due, created), id",
    ),
    # by `base`, too: what run_standing isn't ordered by
    "run_loose": ("run", "root = id AND standing = 'running' AND due IS NULL", "created, id, base"),
    "run_owner": ("run", "owner IS NOT NULL", "owner"),
    "run_base": ("run", "base IS NOT NULL", "base"),
    "kept_pkey": ("kept", "id >= ''::bytea", "id"),
    "kept_loose": ("kept", "loose", "id"),
    "letter_root": ("letter", "root >= ''::bytea", "root, number"),
    "request_root": ("request", "root >= ''::bytea", "root, opened"),
    "request_opened": ("request", "opened IS NOT NULL", "opened"),
    "session_order": ("session_item", "session >= ''::bytea", "session, position"),
}
# With the settings above the first is counted from the table's pages, the second through the index.
COUNTED = {
    index: (
        f"SELECT count(*) FROM @.{table} WHERE {which}",
        f"SELECT count(*) FROM (SELECT FROM @.{table} WHERE {which} ORDER BY {order} OFFSET 0) AS ordered",
    )
    for index, (table, which, order) in _INDEXED.items()
}
_LOST = """
SELECT 'facts', run FROM (SELECT DISTINCT run FROM @.fact) AS one
WHERE NOT EXISTS (SELECT FROM @.run WHERE id = one.run) AND NOT EXISTS (SELECT FROM @.kept WHERE id = one.run)
UNION ALL SELECT 'a letter', root FROM @.letter AS one WHERE NOT EXISTS (SELECT FROM @.run WHERE id = one.root)
UNION ALL SELECT 'a request', root FROM @.request AS one WHERE NOT EXISTS (SELECT FROM @.run WHERE id = one.root)
UNION ALL SELECT 'a child', root FROM @.run AS one WHERE NOT EXISTS (SELECT FROM @.run WHERE id = one.root)
LIMIT 20"""
_NAMES = {
    "run": "SELECT id FROM @.run WHERE id > %(after)b ORDER BY id LIMIT %(limit)b",
    "session": """
SELECT DISTINCT session FROM @.session_item WHERE session > %(after)b ORDER BY session LIMIT %(limit)b""",
}


# Journals


def facts(names: Names, run: str, after: int, place: str, sealing: Sealing | None) -> Job[list[Fact]]:
    """A run's facts above ``after``. Raises RunNotFound, StoreError."""

    async def job(connection: Connection, again: bool) -> list[Fact]:
        given = {"run": utf8(run), "after": min(after, 2**63 - 1)}
        rows = await _fetch(connection, names.sql(_FACTS), given)
        if not rows:
            found = await _fetch(connection, names.sql(_BASE), given)
            if not found:
                raise checks.not_found(run)
            [(base, head)] = found
            if base is not None or head != after:  # what was added since is found now, too
                rows = await _fetch(connection, names.sql(_FACTS_OF_FORK), given)
            if not rows:
                checksums.check_head(run, place, after, head)
        if sum(len(row[7]) for row in rows) > SMALL:
            return await asyncio.to_thread(_decode, rows, run, after, place, sealing)
        return _decode(rows, run, after, place, sealing)

    return job


def _decode(rows: Sequence[tuple[Any, ...]], run: str, after: int, place: str, sealing: Sealing | None) -> list[Fact]:
    found = []
    expected = after + 1
    for seq, kind, node, visit, on, to, at, payload, writer, _ in rows:
        if seq != expected:
            raise StoreError(f"run '{run}' in {place}: fact {expected} is missing; the store is damaged", lasting=True)
        expected += 1
        row = Row(seq, kind, text(node), visit, _text(on), _text(to), at, payload)
        found.append(decode_fact(text(writer), place, row, sealing))
    if rows:
        checksums.check_head(run, place, expected - 1, rows[-1][-1])
    return found


_BASE = "SELECT base, head FROM @.run WHERE id = %(run)b"
_FACTS = """
SELECT seq, kind, node, visit, "on", "to", at, payload, run, (SELECT head FROM @.run WHERE id = %(run)b) FROM @.fact
WHERE run = %(run)b AND seq > %(after)b AND (SELECT base IS NULL FROM @.run WHERE id = %(run)b) ORDER BY seq"""
# A run, what it's a fork of, and so on; and up to which fact each belongs to it.
_FACTS_OF_FORK = """
WITH RECURSIVE line (run, upto) AS (
    SELECT id, 9223372036854775807::bigint FROM @.run WHERE id = %(run)b
    UNION ALL SELECT coalesce(run.base, kept.base), least(line.upto, coalesce(run.base_seq, kept.base_seq))
    FROM line LEFT JOIN @.run ON run.id = line.run LEFT JOIN @.kept ON kept.id = line.run
    WHERE coalesce(run.base, kept.base) IS NOT NULL
)
SELECT fact.seq, kind, node, visit, "on", "to", at, payload, fact.run, (SELECT head FROM @.run WHERE id = %(run)b)
FROM line JOIN @.fact ON fact.run = line.run AND fact.seq > %(after)b AND fact.seq <= line.upto ORDER BY fact.seq"""


# The inbox


def inbox(names: Names, root: str, place: str, sealing: Sealing | None) -> Job[list[Letter]]:
    """The letters of a tree, oldest first."""

    async def job(connection: Connection, again: bool) -> list[Letter]:
        rows = await _fetch(connection, names.sql(_INBOX), (utf8(root),))
        found = []
        for run, name, kind, key, data, at in rows:
            letter = Letter(text(run), text(name), text(kind), _text(key), None, at)
            where = letter_place(letter.run, letter.id, letter.kind, letter.key, at)
            letter.value = _value(data, where, sealing, place, letter.id)
            found.append(letter)
        return found

    return job


def waiting(names: Names, owner: Owner) -> Job[list[str]]:
    """Held root runs with letters."""

    async def job(connection: Connection, again: bool) -> list[str]:
        return [text(run) for (run,) in await _fetch(connection, names.sql(_WAITING), (utf8(owner.id),))]

    return job


_INBOX = "SELECT run, id, kind, key, value, at FROM @.letter WHERE root = %b ORDER BY number"
_WAITING = """
SELECT run.id FROM @.run CROSS JOIN LATERAL (SELECT min(number) AS first FROM @.letter WHERE root = run.id) AS oldest
WHERE run.owner = %b AND oldest.first IS NOT NULL ORDER BY oldest.first"""


# The index


def get(names: Names, run: str, place: str) -> Job[IndexRow]:
    """One index row. Raises RunNotFound."""

    async def job(connection: Connection, again: bool) -> IndexRow:
        rows = await _fetch(connection, names.sql(_ROW + "WHERE run.id = %b"), (utf8(run),))
        if not rows:
            raise checks.not_found(run)
        return _row(rows[0], {}, place)

    return job


def runs(names: Names, standing: str | None, root: str | None, limit: int, after: str | None, place: str) -> Job[Page]:
    """A page of root runs, latest first, or of one tree's, oldest first. Raises UserError."""
    created, run = (math.inf if root is None else -math.inf, "") if after is None else checks.read_cursor(after)
    given = {
        "standing": standing, "root": None if root is None else utf8(root), "created": created, "run": utf8(run),
        "limit": limit + 1,
    }  # fmt: skip
    sql = names.sql(RUNS[root is None, standing is None])

    async def job(connection: Connection, again: bool) -> Page:
        rows = await _fetch(connection, sql, given)
        gone: dict[bytes, bool] = {}
        page = [_row(row, gone, place) for row in rows[:limit]]
        return Page(page, checks.write_cursor(page[-1]) if page and len(rows) > limit else None)

    return job


def find(names: Names, prefix: str, root: str | None, limit: int, place: str) -> Job[list[IndexRow]]:
    """Root runs, or those of one tree, whose ids begin so, in the order of their ids."""
    first = utf8(prefix)
    end = first + b"\xff"  # no text in UTF-8 has this byte
    given = {"root": None if root is None else utf8(root), "first": first, "end": end, "limit": limit}

    async def job(connection: Connection, again: bool) -> list[IndexRow]:
        gone: dict[bytes, bool] = {}
        return [_row(row, gone, place) for row in await _fetch(connection, names.sql(_FIND[root is None]), given)]

    return job


def due(names: Names, now: float, limit: int) -> Job[list[str]]:
    """Root runs that nobody holds and that have something to do."""

    async def job(connection: Connection, again: bool) -> list[str]:
        given = {"now": float(now), "alive": await _alive(connection, names), "limit": limit}
        return [text(run) for run, _ in await _fetch(connection, names.sql(DUE), given)]

    return job


def abandoned(names: Names, limit: int, after: str | None, place: str) -> Job[Page]:
    """A page of root runs that should move and that nobody moves, the oldest first. Raises UserError."""
    created, run = (-math.inf, "") if after is None else checks.read_cursor(after)

    async def job(connection: Connection, again: bool) -> Page:
        alive = await _alive(connection, names)
        given = {"alive": alive, "created": created, "run": utf8(run), "limit": limit + 1}
        rows = await _fetch(connection, names.sql(ABANDONED), given)
        page = [_row(row, {}, place) for row in rows[:limit]]
        return Page(page, checks.write_cursor(page[-1]) if page and len(rows) > limit else None)

    return job


Place = tuple[float, str]
"""When a run was created, and its id."""


def old(names: Names, standing: str, before: float, after: Place, limit: int) -> Job[tuple[list[str], Place | None]]:
    """Root runs of a standing that nobody holds and whose last index row is older than ``before``, and after which to
    go on (None: that was all)."""
    given = {"standing": standing, "before": before, "created": after[0], "run": utf8(after[1]), "limit": limit}

    async def job(connection: Connection, again: bool) -> tuple[list[str], Place | None]:
        rows = await _fetch(connection, names.sql(OLD), given)
        found = [text(run) for run, _, host, pid, born in rows if host is None or is_gone(text(host), pid, text(born))]
        return found, (rows[-1][1], text(rows[-1][0])) if len(rows) == limit else None

    return job


async def _alive(connection: Connection, names: Names) -> list[bytes]:
    """The ids of living owners."""
    owners = await _fetch(connection, names.sql(_OWNERS), None)
    return [name for name, host, pid, born in owners if not is_gone(text(host), pid, text(born))]


def requests(names: Names, root: str | None, limit: int, place: str, sealing: Sealing | None) -> Job[list[OpenRequest]]:
    """Open requests, oldest first."""

    async def job(connection: Connection, again: bool) -> list[OpenRequest]:
        given = {"root": None if root is None else utf8(root), "limit": limit}
        rows = await _fetch(connection, names.sql(_REQUESTS[root is None]), given)
        found = []
        for above, run, key, kind, data, schema, node, opened in rows:
            one = OpenRequest(text(above), text(run), text(key), text(kind), None, None, text(node), opened)
            one.data, one.schema = (
                _value(part, request_place(name, one.run, one.key, one.kind, one.node, opened), sealing, place, one.key)
                for name, part in (("data", data), ("schema", schema))
            )
            found.append(one)
        return found

    return job


def _row(row: tuple[Any, ...], gone: dict[bytes, bool], place: str) -> IndexRow:
    """An index row. ``gone`` remembers which owners of this page are gone."""
    (
        run, root, parent, graph, fingerprint, standing, node, created, updated, due, turns, tokens, error, label,
        waiting, owner, host, pid, born, base, base_seq, head, fixed, changing, to, at,
    ) = row  # fmt: skip
    if owner is not None and owner not in gone:
        gone[owner] = host is None or is_gone(text(host), pid, text(born))
    index = IndexRow(
        text(run), text(root), _text(parent), text(graph), text(fingerprint), standing, text(node), created, updated,
        due, turns, tokens, _text(error), text(label), None, waiting, _text(base), base_seq,
    )  # fmt: skip
    checksums.check_index(index, fixed, changing, head, place)
    index.owner = None if owner is None or gone[owner] else text(owner)
    if standing == "running":
        index.node, index.updated = index.node if to is None else text(to), index.updated if at is None else at
    return index


# A running run stands where its last transition led: found from the journal's end, without its payloads.
_ROW = f"""
SELECT run.id, run.root, run.parent, run.graph, run.fingerprint, run.standing, run.node, run.created, run.updated,
    run.due, run.turns, run.tokens, run.error, run.label,
    (SELECT count(*) FROM @.request WHERE request.root = run.root AND (
        run.id = run.root OR request.run = run.id
        OR (request.run > run.id || '/'::bytea AND request.run < run.id || '0'::bytea)
    )),
    tree.owner, owner.host, owner.pid, owner.born, run.base, run.base_seq, run.head, run.fixed, run.sum,
    CASE WHEN run.standing = 'running' THEN
        (SELECT "to" FROM @.fact WHERE fact.run = run.id AND kind = 'transition' ORDER BY seq DESC LIMIT 1)
    END,
    CASE WHEN run.standing = 'running' THEN
        (SELECT at FROM @.fact WHERE fact.run = run.id ORDER BY seq DESC LIMIT 1)
    END
FROM @.run JOIN @.run AS tree ON tree.id = run.root
LEFT JOIN @.owner ON owner.id = tree.owner AND owner.expires > {CLOCK}
"""
_LATEST = """
AND (run.created, run.id) < (%(created)b::float8, %(run)b::bytea)
ORDER BY run.created DESC, run.id DESC LIMIT %(limit)b"""
_OLDEST = """
AND run.created >= %(created)b::float8 AND (run.created, run.id) > (%(created)b::float8, %(run)b::bytea)
ORDER BY run.created, run.id LIMIT %(limit)b"""
# The latest come with `infinity` in the first page, which is above every time.
RUNS = {
    (True, True): f"{_ROW} WHERE run.root = run.id {_LATEST}",
    (True, False): f"{_ROW} WHERE run.root = run.id AND run.standing = %(standing)b {_LATEST}",
    (False, True): f"{_ROW} WHERE run.root = %(root)b {_OLDEST}",
    (False, False): f"{_ROW} WHERE run.root = %(root)b AND run.standing = %(standing)b {_OLDEST}",
}
_OWNERS = f"SELECT id, host, pid, born FROM @.owner WHERE expires > {CLOCK}"
# Root runs, said so that the planner doesn't take an index over all of them where another leads to fewer.
_IS_ROOT = "{0}.root <= {0}.id AND {0}.root >= {0}.id"
_BEGINS = "AND run.id >= %(first)b AND run.id < %(end)b ORDER BY run.id LIMIT %(limit)b"
_FIND = {
    True: f"{_ROW} WHERE {_IS_ROOT.format('run')} {_BEGINS}",
    False: f"{_ROW} WHERE run.root = %(root)b {_BEGINS}",
}
_LEFT = """
AND created >= %(created)b::float8 AND (created, id) > (%(created)b::float8, %(run)b::bytea)
AND (owner IS NULL OR owner <> ALL (%(alive)b::bytea[])) ORDER BY created, id LIMIT %(limit)b"""
ABANDONED = f"""{_ROW} WHERE run.id IN (
    (SELECT id FROM @.run WHERE standing = 'running' AND root = id {_LEFT})
    UNION ALL (
        SELECT id FROM @.run WHERE owner IS NOT NULL AND standing = 'waiting' AND {_IS_ROOT.format("run")} {_LEFT}
    )
) ORDER BY run.created, run.id LIMIT %(limit)b"""
OLD = f"""
SELECT run.id, run.created, owner.host, owner.pid, owner.born
FROM @.run LEFT JOIN @.owner ON owner.id = run.owner AND owner.expires > {CLOCK}
WHERE run.root = run.id AND run.standing = %(standing)b
AND run.created >= %(created)b::float8 AND (run.created, run.id) > (%(created)b::float8, %(run)b::bytea)
AND run.created <= %(before)b
AND CASE WHEN run.standing = 'running' THEN coalesce(
    (SELECT at FROM @.fact WHERE fact.run = run.id ORDER BY seq DESC LIMIT 1), run.updated
) ELSE run.updated END <= %(before)b
ORDER BY run.created, run.id LIMIT %(limit)b"""
_FREE = "AND root = id AND (owner IS NULL OR owner <> ALL (%(alive)b::bytea[]))"
# The first of each kind, by an index that holds them in their order: whatever else there is isn't looked at.
DUE = f"""
(
    SELECT id, due AS since FROM @.run WHERE due IS NOT NULL AND due <= %(now)b {_FREE}
    ORDER BY due, id LIMIT %(limit)b
) UNION (
    SELECT id, created FROM @.run WHERE standing = 'running' AND due IS NULL {_FREE}
    ORDER BY created, id LIMIT %(limit)b
) UNION (
    SELECT id, coalesce(due, created) FROM @.run
    WHERE letters > known AND standing IN ('running', 'waiting') {_FREE}
    ORDER BY coalesce(due, created), id LIMIT %(limit)b
) ORDER BY since, id LIMIT %(limit)b"""
_REQUESTS = {
    True: """
SELECT root, run, key, kind, data, schema, node, opened FROM @.request ORDER BY opened, run, key LIMIT %(limit)b""",
    False: """
SELECT root, run, key, kind, data, schema, node, opened FROM @.request WHERE root = %(root)b
ORDER BY opened, run, key LIMIT %(limit)b""",
}


# Sessions


def session_items(
    names: Names, session: str, upto: int | None, limit: int | None, place: str, sealing: Sealing | None
) -> Job[list[SessionItem]]:
    """A session's items, oldest first."""
    given = {
        "session": utf8(session), "upto": 2**63 - 1 if upto is None else upto,
        "limit": None if limit is None else max(limit, 0),
    }  # fmt: skip

    async def job(connection: Connection, again: bool) -> list[SessionItem]:
        rows = await _fetch(connection, names.sql(_ITEMS), given)
        rows.reverse()
        if sum(len(row[1]) for row in rows) > SMALL:
            return await asyncio.to_thread(_items, rows, session, place, sealing)
        return _items(rows, session, place, sealing)

    return job


def _items(rows: Sequence[tuple[Any, ...]], session: str, place: str, sealing: Sealing | None) -> list[SessionItem]:
    return [
        SessionItem(position, _value(item, item_place(session, position), sealing, place, str(position)))
        for position, item in rows
    ]


_ITEMS = """
SELECT position, item FROM @.session_item WHERE session = %(session)b AND position <= %(upto)b
ORDER BY position DESC LIMIT %(limit)b::bigint"""


def _value(data: bytes, of: Bound, sealing: Sealing | None, place: str, name: str) -> Any:
    return value(data, of, sealing, f"{named(of)} '{name}' in {place}")
