"""What is read from a store file, by statements on a connection. All SQL is static text with bound parameters."""

from __future__ import annotations

import json
import math
import sqlite3
from typing import Any

from flowcore.errors import StoreError
from flowcore.machine.facts import Fact
from flowcore.machine.wire import Row
from flowcore.stores import checks, checksums
from flowcore.stores.base import IndexRow, Letter, OpenRequest, Owner, Page, SessionItem, is_gone
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
from flowcore.stores.sqlite_schema import NOW, is_busy, utf8

Connection = sqlite3.Connection

SMALL = 128 * 1024
"""Bytes of payload that are read and decoded on the event loop: about a millisecond."""

# The whole


def flaws(connection: Connection) -> list[str]:
    """What SQLite's own check of a file's structure finds, and records that belong to no run."""
    try:
        told = [str(told) for (told,) in connection.execute("PRAGMA integrity_check(20)")]
        found = [] if told == ["ok"] else told
        return found + [f"{what} of run '{run}', which isn't there" for what, run in connection.execute(_LOST)]
    except sqlite3.DatabaseError as error:
        if is_busy(error):
            raise
        return [str(error)]


def names(connection: Connection, kind: str, after: str | None, limit: int) -> list[str]:
    """Ids of runs or sessions, in their order, above ``after``."""
    first = utf8(after or "")
    return [name for (name,) in connection.execute(_NAMES[kind], {"after": first, "limit": limit})]


_LOST = """
SELECT 'facts', run FROM (SELECT DISTINCT run FROM fact)
WHERE run NOT IN (SELECT id FROM run UNION ALL SELECT id FROM kept)
UNION ALL SELECT 'a letter', root FROM letter WHERE root NOT IN (SELECT id FROM run)
UNION ALL SELECT 'a request', root FROM request WHERE root NOT IN (SELECT id FROM run)
UNION ALL SELECT 'a child', root FROM run WHERE root NOT IN (SELECT id FROM run)
LIMIT 20"""
_NAMES = {
    "run": "SELECT id FROM run WHERE id > CAST(:after AS TEXT) ORDER BY id LIMIT :limit",
    "session": """
SELECT DISTINCT session FROM session_item WHERE session > CAST(:after AS TEXT) ORDER BY session LIMIT :limit""",
}


# Journals


def small_facts(connection: Connection, run: str, after: int, path: str, sealing: Sealing | None) -> list[Fact] | None:
    """``facts``; None if they aren't SMALL."""
    (size,) = connection.execute(_FACTS_SIZE, {"run": run, "after": after}).fetchone()
    return facts(connection, run, after, path, sealing) if size <= SMALL else None


def facts(connection: Connection, run: str, after: int, path: str, sealing: Sealing | None) -> list[Fact]:
    """A run's facts above ``after``. Raises RunNotFound, StoreError."""
    rows = connection.execute(_FACTS, (run, after)).fetchall()
    where = f"store file {path}"
    if not rows:
        found = connection.execute("SELECT base, head FROM run WHERE id = ?", (run,)).fetchone()
        if found is None:
            raise checks.not_found(run)
        base, head = found
        if base is not None or head != after:  # what was added since is found now, too
            rows = connection.execute(_FACTS_OF_FORK, {"run": run, "after": after}).fetchall()
        if not rows:
            checksums.check_head(run, where, after, head)
    facts = []
    expected = after + 1
    for *columns, writer, _ in rows:
        if columns[0] != expected:
            raise StoreError(f"run '{run}' in {where}: fact {expected} is missing; the store is damaged", lasting=True)
        expected += 1
        facts.append(decode_fact(writer, where, Row(*columns), sealing))
    if rows:
        checksums.check_head(run, where, expected - 1, rows[-1][-1])
    return facts


_FACTS = """
SELECT seq, kind, node, visit, "on", "to", at, payload, run, (SELECT head FROM run WHERE id = ?1) FROM fact
WHERE run = ?1 AND seq > ?2 AND (SELECT base IS NULL FROM run WHERE id = ?1) ORDER BY seq"""
# A run, what it's a fork of, and so on; and up to which fact each belongs to it.
_LINE = """
WITH RECURSIVE line (run, upto) AS (
    SELECT id, 9223372036854775807 FROM run WHERE id = :run
    UNION ALL SELECT coalesce(run.base, kept.base), min(line.upto, coalesce(run.base_seq, kept.base_seq))
    FROM line LEFT JOIN run ON run.id = line.run LEFT JOIN kept ON kept.id = line.run
    WHERE coalesce(run.base, kept.base) IS NOT NULL
)
"""
_OF_LINE = "FROM line JOIN fact ON fact.run = line.run AND fact.seq > :after AND fact.seq <= line.upto"
_FACTS_OF_FORK = f"""{_LINE}
SELECT fact.seq, kind, node, visit, "on", "to", at, payload, fact.run, (SELECT head FROM run WHERE id = :run) {_OF_LINE}
ORDER BY fact.seq"""
_FACTS_SIZE = f"{_LINE} SELECT total(length(payload) + 200) {_OF_LINE}"


# The inbox


def inbox(connection: Connection, root: str, path: str, sealing: Sealing | None) -> list[Letter]:
    """The letters of a tree, oldest first."""
    rows = connection.execute(_INBOX, (root,)).fetchall()
    return [
        Letter(run, name, kind, key, _value(data, letter_place(run, name, kind, key, at), sealing, path, name), at)
        for run, name, kind, key, data, at in rows
    ]


def waiting(connection: Connection, owner: Owner) -> list[str]:
    """Held root runs with letters."""
    return [root for (root,) in connection.execute(_WAITING, (owner.id,))]


_INBOX = "SELECT run, id, kind, key, value, at FROM letter WHERE root = ? ORDER BY number"
# From the held runs to their letters: of either there may be many more that the other doesn't lead to.
_WAITING = """
SELECT run.id FROM run INDEXED BY run_held CROSS JOIN letter ON letter.root = run.id
WHERE run.owner IS NOT NULL AND run.root = run.id AND run.owner = ?
GROUP BY run.id ORDER BY min(letter.number)"""


# The index


def get(connection: Connection, run: str, path: str) -> IndexRow:
    """One index row. Raises RunNotFound, StoreError."""
    row = connection.execute(_ROW + "WHERE run.id = ?", (run,)).fetchone()
    if row is None:
        raise checks.not_found(run)
    return _row(row, {}, path)


def runs(
    connection: Connection, standing: str | None, root: str | None, limit: int, after: str | None, path: str
) -> Page:
    """A page of root runs, latest first, or of one tree's, oldest first."""
    created, run = (math.inf if root is None else -math.inf, "") if after is None else checks.read_cursor(after)
    given = {"standing": standing, "root": root, "created": created, "run": run, "limit": limit + 1}
    rows = connection.execute(_RUNS[root is None, standing is None], given).fetchall()
    gone: dict[str, bool] = {}
    page = [_row(row, gone, path) for row in rows[:limit]]
    return Page(page, checks.write_cursor(page[-1]) if page and len(rows) > limit else None)


def find(connection: Connection, prefix: str, root: str | None, limit: int, path: str) -> list[IndexRow]:
    """Root runs, or those of one tree, whose ids begin so, in the order of their ids."""
    first = utf8(prefix)
    given = {"root": root, "first": first, "end": first + b"\xff", "limit": limit}  # no text in UTF-8 has this byte
    gone: dict[str, bool] = {}
    return [_row(row, gone, path) for row in connection.execute(_FIND[root is None], given)]


def due(connection: Connection, now: float, limit: int) -> list[str]:
    """Root runs that nobody holds and that have something to do."""
    rows = connection.execute(DUE, {"now": now, "alive": _alive(connection), "limit": limit})
    return [run for run, _ in rows]


def abandoned(connection: Connection, limit: int, after: str | None, path: str) -> Page:
    """A page of root runs that should move and that nobody moves, the oldest first."""
    created, run = (-math.inf, "") if after is None else checks.read_cursor(after)
    given = {"alive": _alive(connection), "created": created, "run": run, "limit": limit + 1}
    rows = connection.execute(ABANDONED, given).fetchall()
    page = [_row(row, {}, path) for row in rows[:limit]]
    return Page(page, checks.write_cursor(page[-1]) if page and len(rows) > limit else None)


def old(
    connection: Connection, standing: str, before: float, after: tuple[float, str], limit: int
) -> tuple[list[str], tuple[float, str] | None]:
    """Root runs of a standing that nobody holds and whose last index row is older than ``before``, and after which
    (created, run) to go on (None: that was all)."""
    given = {"standing": standing, "before": before, "created": after[0], "run": after[1], "limit": limit}
    rows = connection.execute(OLD, given).fetchall()
    found = [run for run, _, host, pid, born in rows if host is None or is_gone(host, pid, born)]
    return found, (rows[-1][1], rows[-1][0]) if len(rows) == limit else None


def _alive(connection: Connection) -> str:
    """The ids of living owners, as a JSON list."""
    owners = connection.execute(f"SELECT id, host, pid, born FROM owner WHERE expires > {NOW}").fetchall()
    return json.dumps([name for name, host, pid, born in owners if not is_gone(host, pid, born)])


def requests(
    connection: Connection, root: str | None, limit: int, path: str, sealing: Sealing | None
) -> list[OpenRequest]:
    """Open requests, oldest first."""
    rows = connection.execute(_REQUESTS[root is None], {"root": root, "limit": limit}).fetchall()
    found = []
    for root, run, key, kind, data, schema, node, opened in rows:
        asked, form = (
            _value(part, request_place(name, run, key, kind, node, opened), sealing, path, key)
            for name, part in (("data", data), ("schema", schema))
        )
        found.append(OpenRequest(root, run, key, kind, asked, form, node, opened))
    return found


def _row(row: tuple[Any, ...], gone: dict[str, bool], path: str) -> IndexRow:
    """An index row. ``gone`` remembers which owners of this page are gone."""
    *columns, waiting, owner, host, pid, born, base, base_seq, head, fixed, changing, to, at = row
    if owner is not None and owner not in gone:
        gone[owner] = host is None or is_gone(host, pid, born)
    index = IndexRow(*columns)
    index.base, index.base_seq = base, base_seq
    checksums.check_index(index, fixed, changing, head, f"store file {path}")
    index.owner = None if owner is None or gone[owner] else owner
    index.waiting = waiting
    if index.standing == "running":
        index.node, index.updated = index.node if to is None else to, index.updated if at is None else at
    return index


# A running run stands where its last transition led: found from the journal's end, without its payloads.
_ROW = f"""
SELECT run.id, run.root, run.parent, run.graph, run.fingerprint, run.standing, run.node, run.created, run.updated,
    run.due, run.turns, run.tokens, run.error, run.label,
    (SELECT count(*) FROM request WHERE request.root = run.root AND (
        run.id = run.root OR request.run = run.id OR (request.run > run.id || '/' AND request.run < run.id || '0')
    )),
    tree.owner, owner.host, owner.pid, owner.born, run.base, run.base_seq, run.head, run.fixed, run.sum,
    CASE WHEN run.standing = 'running' THEN
        (SELECT "to" FROM fact WHERE fact.run = run.id AND kind = 'transition' ORDER BY seq DESC LIMIT 1)
    END,
    CASE WHEN run.standing = 'running' THEN
        (SELECT at FROM fact WHERE fact.run = run.id ORDER BY seq DESC LIMIT 1)
    END
FROM run JOIN run AS tree ON tree.id = run.root
LEFT JOIN owner ON owner.id = tree.owner AND owner.expires > {NOW}
"""
_LATEST = "(run.created, run.id) < (:created, :run) ORDER BY run.created DESC, run.id DESC LIMIT :limit"
_OLDEST = "(run.created, run.id) > (:created, :run) ORDER BY run.created, run.id LIMIT :limit"
_RUNS = {
    (True, True): f"{_ROW} WHERE run.root = run.id AND {_LATEST}",
    (True, False): f"{_ROW} WHERE run.root = run.id AND run.standing = :standing AND {_LATEST}",
    (False, True): f"{_ROW} WHERE run.root = :root AND {_OLDEST}",
    (False, False): f"{_ROW} WHERE run.root = :root AND run.standing = :standing AND {_OLDEST}",
}
_BEGINS = "run.id >= CAST(:first AS TEXT) AND run.id < CAST(:end AS TEXT) ORDER BY run.id LIMIT :limit"
_FIND = {
    True: f"{_ROW} WHERE run.root = run.id AND {_BEGINS}",
    False: f"{_ROW} WHERE run.root = :root AND {_BEGINS}",
}
_LEFT = """
AND root = id AND (created, id) > (:created, :run)
AND (owner IS NULL OR owner NOT IN (SELECT value FROM json_each(:alive))) ORDER BY created, id LIMIT :limit"""
ABANDONED = f"""{_ROW} WHERE run.id IN (
    SELECT id FROM (SELECT id FROM run WHERE standing = 'running' {_LEFT})
    UNION ALL SELECT id FROM (
        SELECT id FROM run INDEXED BY run_held WHERE owner IS NOT NULL AND standing = 'waiting' {_LEFT}
    )
) ORDER BY run.created, run.id LIMIT :limit"""
OLD = f"""
SELECT run.id, run.created, owner.host, owner.pid, owner.born
FROM run LEFT JOIN owner ON owner.id = run.owner AND owner.expires > {NOW}
WHERE run.root = run.id AND run.standing = :standing
AND (run.created, run.id) > (:created, :run) AND run.created <= :before
AND CASE WHEN run.standing = 'running' THEN coalesce(
    (SELECT at FROM fact WHERE fact.run = run.id ORDER BY seq DESC LIMIT 1), run.updated
) ELSE run.updated END <= :before
ORDER BY run.created, run.id LIMIT :limit"""
_FREE = "AND root = id AND (owner IS NULL OR owner NOT IN (SELECT value FROM json_each(:alive)))"
# The first of each kind, by an index that holds them in their order: whatever else there is isn't looked at.
DUE = f"""
SELECT * FROM (
    SELECT id, due AS since FROM run INDEXED BY run_due WHERE due IS NOT NULL AND due <= :now {_FREE}
    ORDER BY due, id LIMIT :limit
) UNION SELECT * FROM (
    SELECT id, created FROM run INDEXED BY run_loose WHERE standing = 'running' AND due IS NULL {_FREE}
    ORDER BY created, id LIMIT :limit
) UNION SELECT * FROM (
    SELECT id, coalesce(due, created) FROM run INDEXED BY run_called
    WHERE letters > known AND standing IN ('running', 'waiting') {_FREE}
    ORDER BY coalesce(due, created), id LIMIT :limit
) ORDER BY since, id LIMIT :limit"""
_REQUESTS = {
    True: "SELECT root, run, key, kind, data, schema, node, opened FROM request ORDER BY opened, run, key LIMIT :limit",
    False: """
SELECT root, run, key, kind, data, schema, node, opened FROM request WHERE root = :root
ORDER BY opened, run, key LIMIT :limit""",
}


# Sessions


def which_items(session: str, upto: int | None, limit: int | None) -> dict[str, Any]:
    """The parameters of the queries below."""
    last = 2**63 - 1 if upto is None else upto
    return {"session": utf8(session), "upto": last, "limit": -1 if limit is None else max(limit, 0)}


def small_session(
    connection: Connection, session: str, which: dict[str, Any], path: str, sealing: Sealing | None
) -> list[SessionItem] | None:
    """``session_items``; None if they aren't SMALL."""
    (size,) = connection.execute(_ITEMS_SIZE, which).fetchone()
    return session_items(connection, session, which, path, sealing) if size <= SMALL else None


def session_items(
    connection: Connection, session: str, which: dict[str, Any], path: str, sealing: Sealing | None
) -> list[SessionItem]:
    """A session's items, oldest first."""
    rows = connection.execute(_ITEMS, which).fetchall()
    rows.reverse()
    return [
        SessionItem(position, _value(item, item_place(session, position), sealing, path, str(position)))
        for position, item in rows
    ]


_ITEMS = """
SELECT position, item FROM session_item WHERE session = CAST(:session AS TEXT) AND position <= :upto
ORDER BY position DESC LIMIT :limit"""
_ITEMS_SIZE = f"SELECT total(length(item) + 100) FROM ({_ITEMS})"


def _value(data: bytes, place: Bound, sealing: Sealing | None, path: str, name: str) -> Any:
    return value(data, place, sealing, f"{named(place)} '{name}' in store file {path}")
