"""What is written to a store file, by statements on a cursor. When and on which thread is ``sqlite_file``'s matter.

All SQL is static text with bound parameters.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from secrets import token_hex
from typing import Any, NamedTuple

from flowcore.errors import FlowcoreError, StoreError
from flowcore.graph.values import dumps
from flowcore.machine.wire import Row
from flowcore.stores import checks, checksums
from flowcore.stores.base import LEASE_SECONDS, Append, Claim, IndexRow, Letter, Owner, is_gone
from flowcore.stores.sealing import Sealing, encode_fact, item_place, request_place, sealed, value
from flowcore.stores.sqlite_schema import NOW, utf8

Cursor = sqlite3.Cursor
UNSTORABLE = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    UnicodeError,
    OverflowError,
)
"""What sqlite3 raises for a value that it can't keep: the value's matter, not the file's."""


Item = tuple[str, str | None, int | None, int | None, bytes]
"""Session, run, seq, number among the fact's items, JSON."""


class Packed(NamedTuple):
    """A member with its values as bytes. ``plain``: one fact that brings nothing else, so one statement writes it.
    ``items`` are sealed when they get their positions."""

    member: Append
    plain: bool
    rows: list[Row]
    requests: list[tuple[Any, ...]]
    items: list[Item]
    sealing: Sealing | None


def pack(member: Append, sealing: Sealing | None) -> Packed:
    """Encode a member. Raises StoreError for values that aren't JSON, UserError for ids that aren't ids."""
    facts = member.facts
    run = member.run
    if (
        len(facts) == 1
        and member.index is None
        and facts[0].seq
        and not (member.opened or member.closed or member.consumed or member.writes)
    ):
        return Packed(member, True, [encode_fact(run, facts[0], sealing)], [], [], sealing)
    checks.check_member(member)
    rows = [encode_fact(run, fact, sealing) for fact in facts]
    try:
        requests = [
            (
                member.root, one.run, utf8(one.key), one.kind, one.node, one.opened,
                *(
                    sealed(dumps(part), request_place(name, one.run, one.key, one.kind, one.node, one.opened), sealing)
                    for name, part in (("data", one.data), ("schema", one.schema))
                ),
            )
            for one in member.opened
        ]  # fmt: skip
        items: list[Item] = []
        counts: dict[tuple[str, int], int] = {}
        for write in member.writes:
            checks.check_session_id(write.session)
            for item in write.items:
                i = counts.get((write.session, write.seq), 0)
                counts[write.session, write.seq] = i + 1
                items.append((write.session, run, write.seq, i, dumps(item)))
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreError(f"run '{run}': what comes with fact {facts[0].seq} isn't JSON: {error}") from None
    return Packed(member, False, rows, requests, items, sealing)


# Leases


def admit(cursor: Cursor, packed: Packed, owner: Owner, below: Sequence[Packed] = ()) -> Claim:
    """Make a root run, with the children ``below``. Raises RunExists, for a fork RunNotFound and RunConflict."""
    run = packed.member.run
    if cursor.execute("SELECT 1 FROM kept WHERE root = ?", (run,)).fetchone():
        raise checks.kept(run)
    claim = Claim(1, packed.rows[-1].seq, token_hex(6))
    _new(cursor, packed, run, (owner.id, 1), claim.nonce)
    _renew(cursor, owner)
    for one in below:
        _new(cursor, one, run, (None, 0), claim.nonce)
    return claim


def _new(cursor: Cursor, packed: Packed, root: str, lease: tuple[str | None, int], nonce: str) -> None:
    """A run with its first facts."""
    member = packed.member
    index = checks.first_index(member)
    if index.base is not None:
        _check_base(cursor, member.run, index.base, index.base_seq or 0)
    checks.first_seq(member, index)
    fixed = checksums.fixed_sum(member.run, root, index.parent, index.created, index.base, index.base_seq)
    columns = _columns(member.run, index, packed.rows)
    row = (member.run, root, index.parent, *lease, *columns, index.created, fixed, index.base, index.base_seq)
    try:
        cursor.execute(_NEW_RUN, row)
    except sqlite3.IntegrityError:
        raise checks.exists(member.run) from None
    cursor.executemany(_FACT, [_fact(member.run, row, nonce) for row in packed.rows])
    _write_rest(cursor, packed)


def _check_base(cursor: Cursor, run: str, base: str, seq: int) -> None:
    checks.check_run_id(base)
    if not cursor.execute("SELECT 1 FROM run WHERE id = ?", (base,)).fetchone():
        raise checks.not_found(base)
    head = _head(cursor, base)
    if not 0 <= seq <= head:
        raise checks.no_base(run, base, seq, head)


def claim(cursor: Cursor, run: str, owner: Owner, path: str) -> Claim:
    """Take a root run's lease. Raises RunNotFound, RunConflict, UserError for a child."""
    found = cursor.execute(_HOLDER, (run,)).fetchone()
    if found is None:
        raise checks.not_found(run)
    root, holder, epoch, host, pid, born = found
    if root != run:
        raise checks.not_root(run, root)
    if holder == owner.id:
        raise checks.held(run, owner.host, owner.pid, True)
    if host is not None and not is_gone(host, pid, born):
        raise checks.held(run, host, pid, False)
    _renew(cursor, owner)
    cursor.execute("UPDATE run SET owner = ?, epoch = epoch + 1 WHERE id = ?", (owner.id, run))
    head = _head(cursor, run)
    if head < 0:
        raise StoreError(f"run '{run}' in {path}: its journal is empty; the store is damaged", lasting=True)
    return Claim(epoch + 1, head, token_hex(6))


def release(cursor: Cursor, run: str, claim: Claim, known: int) -> bool:
    """Give a lease back unless letters wait. Raises RunNotFound, RunConflict."""
    cursor.execute(_RELEASE, {"run": run, "epoch": claim.epoch, "known": known})
    if cursor.rowcount == 1:
        return True
    found = cursor.execute("SELECT root, owner, epoch FROM run WHERE id = ?", (run,)).fetchone()
    if found is None:
        raise checks.not_found(run)
    root, owner, epoch = found
    if root != run or owner is None or epoch != claim.epoch:
        raise checks.released(run)
    return False


def beat(cursor: Cursor, owner: Owner) -> None:
    """Put the end of the owner's leases off, and forget owners of yesterday: their leases are free either way."""
    _renew(cursor, owner)
    cursor.execute(_SWEEP)


def _renew(cursor: Cursor, owner: Owner) -> None:
    cursor.execute(_RENEW, (*owner, LEASE_SECONDS))


_HOLDER = f"""
SELECT run.root, run.owner, run.epoch, owner.host, owner.pid, owner.born
FROM run LEFT JOIN owner ON owner.id = run.owner AND owner.expires > {NOW} WHERE run.id = ?"""
_RELEASE = """
UPDATE run SET owner = NULL, known = letters
WHERE id = :run AND root = :run AND epoch = :epoch AND owner IS NOT NULL AND letters <= :known"""
_SWEEP = f"DELETE FROM owner WHERE expires < {NOW} - 86400.0"
_RENEW = f"""
INSERT INTO owner (id, host, pid, born, expires) VALUES (?, ?, ?, ?, {NOW} + ?)
ON CONFLICT (id) DO UPDATE SET expires = excluded.expires"""


# Journals


def append(cursor: Cursor, batch: Sequence[Packed | FlowcoreError], claim: Claim) -> list[Exception | None]:
    """Write members, each of them whole or not at all. A batch of one plain member needs no transaction around it."""
    return [one if isinstance(one, Exception) else _append(cursor, one, claim) for one in batch]


def _append(cursor: Cursor, packed: Packed, claim: Claim) -> Exception | None:
    answer: Exception | None
    try:
        if packed.plain:
            return None if _write_first(cursor, packed, claim) else _refusal(cursor, packed, claim)
        cursor.execute("SAVEPOINT member")
        answer = None if _write_all(cursor, packed, claim) else _refusal(cursor, packed, claim)
    except FlowcoreError as error:
        answer = error
    except UNSTORABLE as error:
        answer = StoreError(f"run '{packed.member.run}': a fact can't be stored: {error}")
    if not packed.plain:
        if answer is not None:
            cursor.execute("ROLLBACK TO member")
        cursor.execute("RELEASE member")
    return answer


def _write_all(cursor: Cursor, packed: Packed, claim: Claim) -> bool:
    """The member with all that it brings; False, and nothing written, if the fence or the seq refuses it."""
    member, rows = packed.member, packed.rows
    if rows[0].seq == 0:
        if cursor.execute("SELECT 1 FROM run WHERE id = ?", (member.run,)).fetchone():
            return False
        index = checks.first_index(member)
        fixed = checksums.fixed_sum(member.run, member.root, index.parent, index.created, None, None)
        columns = _columns(member.run, index, rows)
        cursor.execute(_NEW_CHILD, (member.run, index.parent, *columns, index.created, fixed, member.root, claim.epoch))
        if cursor.rowcount != 1:
            return False
    if not _write_first(cursor, packed, claim):
        return False
    if len(rows) > 1:
        cursor.executemany(_FACT, [_fact(member.run, row, claim.nonce) for row in rows[1:]])
    if member.index is not None and rows[0].seq:
        cursor.execute(_INDEX, (*_columns(member.run, member.index, rows), member.run))
    _write_rest(cursor, packed)
    return True


def _write_first(cursor: Cursor, packed: Packed, claim: Claim) -> bool:
    """The member's first fact: its statement carries the fence. False if it wrote nothing."""
    member = packed.member
    try:
        cursor.execute(_FENCED_FACT, (*_fact(member.run, packed.rows[0], claim.nonce), member.root, claim.epoch))
    except sqlite3.IntegrityError:
        return False
    return cursor.rowcount == 1


def _refusal(cursor: Cursor, packed: Packed, claim: Claim) -> Exception | None:
    """Why the first statement wrote nothing; None if that's because all is written already."""
    member, rows = packed.member, packed.rows
    (written,) = cursor.execute(_WRITTEN, (member.run, rows[0].seq, rows[-1].seq, claim.nonce)).fetchone()
    if written == len(rows):
        return None
    found = cursor.execute("SELECT epoch, owner FROM run WHERE id = root AND id = ?", (member.root,)).fetchone()
    if found is None:
        return checks.lost(member, claim.epoch, False, None)
    epoch, owner = found
    if epoch == claim.epoch and owner is not None:
        root = cursor.execute("SELECT root FROM run WHERE id = ?", (member.run,)).fetchone()
        if root is None or root[0] == member.root:
            return checks.wrong_seq(member, _head(cursor, member.run) + 1)
    return checks.lost(member, claim.epoch, owner is not None, epoch)


def _write_rest(cursor: Cursor, packed: Packed) -> None:
    """Requests, letters and sessions of a member whose facts are written."""
    member = packed.member
    for key in member.closed:
        cursor.execute(_CLOSE, (member.root, member.run, utf8(key)))
    if packed.requests:
        cursor.executemany(_OPEN, packed.requests)
    for letter in member.consumed:
        cursor.execute("DELETE FROM letter WHERE root = ? AND id = CAST(? AS TEXT)", (member.root, utf8(letter)))
    if packed.items:
        _add_items(cursor, packed.items, packed.sealing)


def _add_items(cursor: Cursor, items: Sequence[Item], sealing: Sealing | None) -> None:
    """Add items; sealed ones are bound to their positions, so these are chosen here."""
    if sealing is None:
        kept = [(utf8(one[0]), *one[1:4], sealed(one[4], item_place(one[0], 0), None)) for one in items]
        cursor.executemany(_ITEM, kept)
        return
    (last,) = cursor.execute(_LAST_POSITION).fetchone()
    cursor.executemany(
        _ITEM_AT,
        [
            (position, utf8(session), run, seq, i, sealing.seal(data, item_place(session, position)))
            for position, (session, run, seq, i, data) in enumerate(items, last + 1)
        ],
    )


def _fact(run: str, row: Row, nonce: str) -> tuple[Any, ...]:
    seq, kind, node, visit, on, to, at, payload = row
    return run, seq, kind, node, visit, on, to, at, nonce, payload


def _head(cursor: Cursor, run: str) -> int:
    (head,) = cursor.execute("SELECT max(seq) FROM fact WHERE run = ?", (run,)).fetchone()
    return -1 if head is None else int(head)


def _columns(run: str, index: IndexRow, rows: Sequence[Row]) -> tuple[Any, ...]:
    """What may change in an index row, in the order of _INDEX, _NEW_RUN and _NEW_CHILD."""
    head = rows[-1].seq
    return (
        index.graph, index.fingerprint, index.standing, index.node, index.updated, index.due, index.turns,
        index.tokens, utf8(index.label), None if index.error is None else utf8(index.error),
        head, checksums.changing_sum(run, index, head),
    )  # fmt: skip


_FACT = 'INSERT INTO fact (run, seq, kind, node, visit, "on", "to", at, nonce, payload) VALUES (?,?,?,?,?,?,?,?,?,?)'
_FENCED_FACT = """
INSERT INTO fact (run, seq, kind, node, visit, "on", "to", at, nonce, payload)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10 FROM run AS tree
WHERE tree.id = ?11 AND tree.epoch = ?12 AND tree.owner IS NOT NULL
AND (?1 = ?11 OR EXISTS (SELECT 1 FROM run WHERE id = ?1 AND root = ?11))
AND (?2 = 0 OR EXISTS (SELECT 1 FROM fact WHERE run = ?1 AND seq = ?2 - 1))"""
_WRITTEN = "SELECT count(*) FROM fact WHERE run = ? AND seq BETWEEN ? AND ? AND nonce = ?"
_NEW_RUN = """
INSERT INTO run (id, root, parent, owner, epoch, known,
graph, fingerprint, standing, node, updated, due, turns, tokens, label, error, head, sum, created, fixed, base,
base_seq)
VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?, CAST(? AS TEXT), CAST(? AS TEXT), ?, ?, ?, ?, ?, ?)"""
_NEW_CHILD = """
INSERT INTO run (id, root, parent, owner, epoch, known,
graph, fingerprint, standing, node, updated, due, turns, tokens, label, error, head, sum, created, fixed)
SELECT ?1, ?17, ?2, NULL, 0, 0, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, CAST(?11 AS TEXT), CAST(?12 AS TEXT), ?13, ?14, ?15,
?16
FROM run AS tree WHERE tree.id = ?17 AND tree.root = ?17 AND tree.epoch = ?18 AND tree.owner IS NOT NULL"""
_INDEX = """
UPDATE run SET graph = ?, fingerprint = ?, standing = ?, node = ?, updated = ?, due = ?, turns = ?, tokens = ?,
label = CAST(? AS TEXT), error = CAST(? AS TEXT), head = ?, sum = ? WHERE id = ?"""
_OPEN = """
INSERT OR REPLACE INTO request (root, run, key, kind, node, opened, data, schema)
VALUES (?, ?, CAST(? AS TEXT), ?, ?, ?, ?, ?)"""
_CLOSE = "DELETE FROM request WHERE root = ? AND run = ? AND key = CAST(? AS TEXT)"
_ITEM = """
INSERT OR IGNORE INTO session_item (session, run, seq, i, item) VALUES (CAST(? AS TEXT), ?, ?, ?, ?)"""
_ITEM_AT = """
INSERT OR IGNORE INTO session_item (position, session, run, seq, i, item) VALUES (?, CAST(? AS TEXT), ?, ?, ?, ?)"""
_LAST_POSITION = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'session_item'"


# Deleting


def delete(cursor: Cursor, run: str) -> bool:
    """Hide a root run and its tree, and begin to free what it took; whether that was all. Raises RunNotFound,
    RunConflict while it's held, UserError for a child."""
    found = cursor.execute(_HOLDER, (run,)).fetchone()
    if found is None:
        raise checks.not_found(run)
    root, _, _, host, pid, born = found
    if root != run:
        raise checks.not_root_to_delete(run, root)
    if host is not None and not is_gone(host, pid, born):
        raise checks.held(run, host, pid, False)
    _hide(cursor, run)
    return free(cursor)


def prune(cursor: Cursor, runs: Sequence[str], before: float, of: str) -> tuple[list[str], list[str]]:
    """Hide those of these root runs that still stand ``of``, that nobody holds and that are older than ``before``,
    until PIECE_ROWS are touched; the ids of those hidden, and the runs that are left to look at."""
    gone: list[str] = []
    first = cursor.connection.total_changes
    for number, run in enumerate(runs):
        if cursor.connection.total_changes - first >= PIECE_ROWS:
            return gone, list(runs[number:])
        found = cursor.execute(_STILL_OLD, {"run": run, "standing": of, "before": before}).fetchone()
        if found is not None and (found[0] is None or is_gone(*found)):
            _hide(cursor, run)
            gone.append(run)
    return gone, []


def _hide(cursor: Cursor, root: str) -> None:
    """From here on a tree isn't there, but for the forks that share its facts. Some 10 µs for each run in it."""
    cursor.execute("INSERT INTO kept SELECT id, root, base, base_seq, 1 FROM run WHERE root = ?", (root,))
    cursor.execute("DELETE FROM run WHERE root = ?", (root,))
    cursor.execute("DELETE FROM letter WHERE root = ?", (root,))
    cursor.execute("DELETE FROM request WHERE root = ?", (root,))


def free(cursor: Cursor) -> bool:
    """Drop what no fork needs of hidden runs, and then maybe of what these were forks of, until PIECE_ROWS are touched;
    whether that was all."""
    first = cursor.connection.total_changes
    while found := cursor.execute("SELECT id, base, base_seq FROM kept WHERE loose ORDER BY id LIMIT 1").fetchone():
        hidden, base, shared = found
        (upto,) = cursor.execute(_NEEDED, (hidden,)).fetchone()
        # What it wrote stays, and isn't taken for something that a later run of this id writes.
        left = PIECE_ROWS - (cursor.connection.total_changes - first)
        if left <= 0 or cursor.execute(_FORGET, (hidden, left)).rowcount == left:
            return False
        left = PIECE_ROWS - (cursor.connection.total_changes - first)
        if cursor.execute(_FREE, (hidden, -1 if upto is None else upto, left)).rowcount == left:
            return False
        if upto is None:
            cursor.execute("DELETE FROM kept WHERE id = ?", (hidden,))
        else:
            lower = None if base is None else min(upto, shared)
            cursor.execute("UPDATE kept SET base_seq = ?, loose = 0 WHERE id = ?", (lower, hidden))
        if base is not None and (upto is None or upto < shared):
            cursor.execute("UPDATE kept SET loose = 1 WHERE id = ?", (base,))
    return True


PIECE_ROWS = 2_000
"""Rows after which a transaction ends that deletes: some 10 ms, other writers aren't kept waiting for long."""
_FORGET = """
UPDATE session_item SET run = NULL, seq = NULL, i = NULL
WHERE position IN (SELECT position FROM session_item WHERE run = ? LIMIT ?)"""
_FREE = "DELETE FROM fact WHERE rowid IN (SELECT rowid FROM fact WHERE run = ? AND seq > ? LIMIT ?)"
_NEEDED = """
SELECT max(base_seq) FROM (
    SELECT base_seq FROM run WHERE base = ?1 UNION ALL SELECT base_seq FROM kept WHERE base = ?1
)"""
_STILL_OLD = f"""
SELECT owner.host, owner.pid, owner.born
FROM run LEFT JOIN owner ON owner.id = run.owner AND owner.expires > {NOW}
WHERE run.id = :run AND run.root = :run AND run.standing = :standing
AND CASE WHEN run.standing = 'running' THEN coalesce(
    (SELECT at FROM fact WHERE fact.run = run.id ORDER BY seq DESC LIMIT 1), run.updated
) ELSE run.updated END <= :before"""


# The inbox


def signal(cursor: Cursor, letter: Letter, value: bytes) -> bool:
    """Put a letter into its tree's inbox; False for an answer to what isn't open. Raises RunNotFound."""
    found = cursor.execute("SELECT root FROM run WHERE id = ?", (letter.run,)).fetchone()
    if found is None:
        raise checks.not_found(letter.run)
    (root,) = found
    name = utf8(letter.id)
    if cursor.execute("SELECT 1 FROM letter WHERE root = ? AND id = CAST(? AS TEXT)", (root, name)).fetchone():
        return True
    key = None if letter.key is None else utf8(letter.key)
    if letter.kind == "answer":
        (acceptable,) = cursor.execute(_ACCEPTABLE, {"root": root, "run": letter.run, "key": key}).fetchone()
        if not acceptable:
            return False
    cursor.execute(_LETTER, (root, name, letter.run, letter.kind, key, letter.at, value))
    return True


_ACCEPTABLE = """
SELECT EXISTS (SELECT 1 FROM request WHERE root = :root AND run = :run AND key = CAST(:key AS TEXT))
AND NOT EXISTS (
    SELECT 1 FROM letter WHERE root = :root AND run = :run AND kind = 'answer' AND key = CAST(:key AS TEXT)
)"""
_LETTER = """
INSERT INTO letter (root, id, run, kind, key, at, value) VALUES (?, CAST(? AS TEXT), ?, ?, CAST(? AS TEXT), ?, ?)"""


# Sessions


def session_write(cursor: Cursor, session: str, items: Sequence[bytes], sealing: Sealing | None) -> None:
    """Add items from outside of a run."""
    _add_items(cursor, [(session, None, None, None, item) for item in items], sealing)


def session_pop(cursor: Cursor, session: str, path: str, sealing: Sealing | None) -> Any | None:
    """Remove and return the latest item; one that can't be read stays. Raises StoreError."""
    found = cursor.execute(_LATEST, (utf8(session),)).fetchone()
    if found is None:
        return None
    position, item = found
    told = f"item '{position}' in store file {path}"
    popped = value(item, item_place(session, position), sealing, told)
    cursor.execute("DELETE FROM session_item WHERE position = ?", (position,))
    return popped


def session_clear(cursor: Cursor, session: str) -> None:
    """Remove all items."""
    cursor.execute("DELETE FROM session_item WHERE session = CAST(? AS TEXT)", (utf8(session),))


_LATEST = "SELECT position, item FROM session_item WHERE session = CAST(? AS TEXT) ORDER BY position DESC LIMIT 1"
