"""What is written to a PostgreSQL store. What has to be decided at the rows is decided by the schema's functions.

All SQL is static text with bound parameters; the schema's quoted name stands in for ``@``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from secrets import token_hex
from typing import Any

from flowcore.errors import StoreError
from flowcore.stores import checks
from flowcore.stores.base import LEASE_SECONDS, Claim, Letter, Owner, is_gone
from flowcore.stores.postgres_pack import Item, Packed, optional, text, utf8
from flowcore.stores.postgres_pool import Connection, Job
from flowcore.stores.postgres_schema import Names
from flowcore.stores.postgres_steps import CLOCK
from flowcore.stores.sealing import Sealing, item_place, sealed, value


async def lock(connection: Connection, names: Names, roots: Collection[bytes], sessions: Collection[bytes]) -> None:
    """Lock the rows of root runs, and then sessions, for the transaction."""
    keys = [names.lock("session", one) for one in sessions]
    await connection.execute(names.sql(_LOCK), (list(roots), keys))


_LOCK = "SELECT @.lock_all(%b::bytea[], %b::bigint[])"


# Leases


def claim(names: Names, run: str, owner: Owner, place: str) -> Job[Claim]:
    """Take a root run's lease. Raises RunNotFound, RunConflict, UserError for a child."""
    nonce = token_hex(6)
    given = {"run": utf8(run), "mark": nonce, **_owner(owner), "gone": None}

    async def job(connection: Connection, again: bool) -> Claim:
        while True:
            row = await (await connection.execute(names.sql(_CLAIM), given, binary=True)).fetchone()
            if row is None:
                raise checks.not_found(run)
            root, holder, host, pid, born, epoch, head, mine = row
            if root != given["run"]:
                raise checks.not_root(run, text(root))
            if mine:
                if head < 0:
                    raise StoreError(
                        f"run '{run}' in {place}: its journal is empty; the store is damaged", lasting=True
                    )
                return Claim(epoch, head, nonce)
            if holder == given["owner"]:
                raise checks.held(run, owner.host, owner.pid, True)
            if holder == given["gone"] or not is_gone(text(host), pid, text(born)):
                raise checks.held(run, text(host), pid, False)
            given["gone"] = holder

    return job


def beat(names: Names, owner: Owner) -> tuple[bytes, dict[str, Any]]:
    """Put the end of the owner's leases off, and forget owners of yesterday: their leases are free either way."""
    return names.sql(_BEAT), _owner(owner)


def _owner(owner: Owner) -> dict[str, Any]:
    return dict(zip(("owner", "host", "pid", "born", "seconds"), owner_row(owner), strict=True))


def owner_row(owner: Owner) -> tuple[bytes, bytes, int, bytes, float]:
    """An owner's columns, and for how many seconds its leases are kept."""
    return utf8(owner.id), utf8(owner.host), owner.pid, utf8(owner.born), LEASE_SECONDS


_CLAIM = "SELECT * FROM @.claim(%(run)b, %(mark)b, %(gone)b, %(owner)b, %(host)b, %(pid)b, %(born)b, %(seconds)b)"
_BEAT = f"""
WITH swept AS (DELETE FROM @.owner WHERE expires < {CLOCK} - 86400.0 AND id <> %(owner)b)
INSERT INTO @.owner (id, host, pid, born, expires)
VALUES (%(owner)b, %(host)b, %(pid)b, %(born)b, {CLOCK} + %(seconds)b)
ON CONFLICT (id) DO UPDATE SET expires = excluded.expires"""


# Deleting


def delete(names: Names, run: str) -> Job[bool]:
    """Hide a root run and its tree, and begin to free what it took; whether that was all. Raises RunNotFound,
    RunConflict while it's held, UserError for a child."""

    async def job(connection: Connection, again: bool) -> bool:
        async with connection.transaction():
            await connection.execute(_EXCLUSIVE, (names.lock("delete"),))
            await connection.execute(names.sql(_LOCK_ROW), (utf8(run),))
            found = await (await connection.execute(names.sql(_HOLDER), (utf8(run),), binary=True)).fetchone()
            if found is None:
                if again:
                    return False  # hidden by the try that was lost
                raise checks.not_found(run)
            root, host, pid, born = found
            if text(root) != run:
                raise checks.not_root_to_delete(run, text(root))
            if host is not None and not is_gone(text(host), pid, text(born)):
                raise checks.held(run, text(host), pid, False)
            await connection.execute(names.sql(_HIDE), (utf8(run),))
            return await _free(connection, names)

    return job


def prune(names: Names, runs: Sequence[str], before: float, standing: str) -> Job[list[str]]:
    """Hide those of these root runs that still have this standing, that nobody holds and that are older than
    ``before``; their ids."""
    only = [utf8(run) for run in runs]
    given = {"before": before, "standing": standing, "only": only}

    async def job(connection: Connection, again: bool) -> list[str]:
        async with connection.transaction():
            await connection.execute(_EXCLUSIVE, (names.lock("delete"),))
            await lock(connection, names, only, set())
            found = await (await connection.execute(names.sql(_STILL_OLD), given, binary=True)).fetchall()
            old = [run for run, host, pid, born in found if host is None or is_gone(text(host), pid, text(born))]
            for run in old:
                await connection.execute(names.sql(_HIDE), (run,))
        return [text(run) for run in old]

    return job


def free(names: Names) -> Job[bool]:
    """Drop what no fork needs of hidden runs, PIECE_ROWS of it; whether that was all."""

    async def job(connection: Connection, again: bool) -> bool:
        async with connection.transaction():
            await connection.execute(_EXCLUSIVE, (names.lock("delete"),))
            return await _free(connection, names)

    return job


async def _free(connection: Connection, names: Names) -> bool:
    [done] = await (await connection.execute(names.sql(_FREE), (PIECE_ROWS,))).fetchone() or [True]
    return bool(done)


PRUNE_AT_ONCE = 100
"""Runs that are hidden in one transaction: who deletes, too, isn't kept waiting for long."""
PIECE_ROWS = 5_000
"""Rows that are freed in one transaction: some 20 ms."""
_EXCLUSIVE = "SELECT pg_advisory_xact_lock(%b)"
_HIDE = "SELECT @.hide(%b)"
_FREE = "SELECT @.free(%b)"
_LOCK_ROW = "SELECT 1 FROM @.run WHERE id = %b FOR UPDATE"
_HOLDER = f"""
SELECT run.root, owner.host, owner.pid, owner.born
FROM @.run LEFT JOIN @.owner ON owner.id = run.owner AND owner.expires > {CLOCK} WHERE run.id = %b"""
_STILL_OLD = f"""
SELECT run.id, owner.host, owner.pid, owner.born
FROM @.run LEFT JOIN @.owner ON owner.id = run.owner AND owner.expires > {CLOCK}
WHERE run.root = run.id AND run.id = ANY (%(only)b::bytea[]) AND run.standing = %(standing)b
AND CASE WHEN run.standing = 'running' THEN coalesce(
    (SELECT at FROM @.fact WHERE fact.run = run.id ORDER BY seq DESC LIMIT 1), run.updated
) ELSE run.updated END <= %(before)b
ORDER BY run.id"""


# The inbox


def signal(names: Names, letter: Letter, value: bytes) -> Job[bool]:
    """Put a letter into its tree's inbox; False for an answer to what isn't open. Raises RunNotFound."""
    given = (
        utf8(letter.run), utf8(letter.id), utf8(letter.kind), optional(letter.key), float(letter.at), value,
    )  # fmt: skip

    async def job(connection: Connection, again: bool) -> bool:
        [told] = await (await connection.execute(names.sql(_SIGNAL), given)).fetchone() or [""]
        if told == "not found":
            raise checks.not_found(letter.run)
        return bool(told == "sent")

    return job


_SIGNAL = "SELECT @.signal(%b::bytea, %b::bytea, %b::bytea, %b::bytea, %b::float8, %b::bytea)"


# Sessions


async def add_sealed(connection: Connection, names: Names, packed: Packed) -> None:
    """Add what of a member that was just written is bound to its positions. Its sessions are locked."""
    if packed.sealed and packed.sealing is not None:
        given = await _positioned(connection, names, packed.sealed, packed.sealing)
        await connection.execute(names.sql(_ADD_SEALED), (utf8(packed.member.run), *given), binary=True)


async def _positioned(
    connection: Connection, names: Names, items: Sequence[Item], sealing: Sealing
) -> tuple[list[Any], ...]:
    """Positions, sessions, digests and sealed items."""
    answer = await connection.execute(names.sql(_POSITIONS), (names.table("session_item"), len(items)), binary=True)
    positions = [position for (position,) in await answer.fetchall()]
    kept = [
        sealing.seal(data, item_place(text(session), position))
        for position, (session, _, data) in zip(positions, items, strict=True)
    ]
    return positions, [one[0] for one in items], [one[1] for one in items], kept


def session_write(names: Names, session: bytes, items: list[bytes], sealing: Sealing | None) -> Job[None]:
    """Add items from outside of a run."""

    async def job(connection: Connection, again: bool) -> None:
        async with connection.pipeline(), connection.transaction():
            await lock(connection, names, [], {session})
            if sealing is None:
                kept = [sealed(item, item_place(text(session), 0), None) for item in items]
                await connection.execute(names.sql(_ADD), (session, kept))
            else:
                given = await _positioned(connection, names, [(session, None, item) for item in items], sealing)
                await connection.execute(names.sql(_ADD_SEALED), (None, *given), binary=True)

    return job


def session_pop(names: Names, session: bytes, place: str, sealing: Sealing | None) -> Job[Any]:
    """Remove and return the latest item; one that can't be read stays. Raises StoreError."""

    async def job(connection: Connection, again: bool) -> Any:
        async with connection.pipeline(), connection.transaction():
            await lock(connection, names, [], {session})
            answer = await connection.execute(names.sql(_POP), (session,), binary=True)
            found = await answer.fetchone()
            if found is None:
                return None
            item, position = found
            return value(item, item_place(text(session), position), sealing, f"item '{position}' in {place}")

    return job


def session_clear(names: Names, session: bytes) -> Job[None]:
    """Remove all items."""

    async def job(connection: Connection, again: bool) -> None:
        async with connection.pipeline(), connection.transaction():
            await lock(connection, names, [], {session})
            await connection.execute(names.sql(_CLEAR), (session,))

    return job


_ADD = """
INSERT INTO @.session_item (session, item)
SELECT %b::bytea, one.item FROM unnest(%b::bytea[]) WITH ORDINALITY AS one (item, i) ORDER BY one.i"""
_POSITIONS = "SELECT nextval(pg_get_serial_sequence(%b, 'position')) FROM generate_series(1, %b::bigint)"
_ADD_SEALED = """
INSERT INTO @.session_item (run, position, session, digest, item) OVERRIDING SYSTEM VALUE
SELECT %b::bytea, one.* FROM unnest(%b::bigint[], %b::bytea[], %b::bytea[], %b::bytea[]) AS one
ON CONFLICT DO NOTHING"""
_POP = """
DELETE FROM @.session_item WHERE position = (
    SELECT position FROM @.session_item WHERE session = %b ORDER BY position DESC LIMIT 1
) RETURNING item, position"""
_CLEAR = "DELETE FROM @.session_item WHERE session = %b"
