"""What is written to a PostgreSQL store. What has to be decided at the rows is decided by the schema's functions.

All SQL is static text with bound parameters; the schema's quoted name stands in for ``@``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from secrets import token_hex
from typing import Any, NamedTuple

from flowcore.errors import RunConflict, StoreError
from flowcore.graph.values import dumps
from flowcore.machine.wire import Row
from flowcore.stores import checks, checksums
from flowcore.stores.base import LEASE_SECONDS, Append, Claim, IndexRow, Letter, OpenRequest, Owner, is_gone
from flowcore.stores.postgres_pool import Connection, Job, driver
from flowcore.stores.postgres_schema import CLOCK, Names
from flowcore.stores.sealing import Sealing, encode_fact, item_place, request_place, sealed, value

MAX_BYTES = 256 * 1024 * 1024
"""The largest member, in bytes: PostgreSQL's limit of 1 GB holds for a statement with all its values."""
_INT8 = 2**63


def utf8(text: str) -> bytes:
    """Text as it's kept: any text."""
    return text.encode("utf-8", "surrogatepass")


def text(data: bytes) -> str:
    """The inverse of ``utf8``."""
    return data.decode("utf-8", "surrogatepass")


def optional(value: str | None) -> bytes | None:
    """``utf8``, where there's something."""
    return None if value is None else utf8(value)


def digest(*parts: bytes) -> bytes:
    """What stands for long names in an index. Only the last part may hold a NUL."""
    return hashlib.sha256(b"\0".join(parts)).digest()


Item = tuple[bytes, bytes | None, bytes]
"""Session, digest, JSON."""


class Packed(NamedTuple):
    """A member as parameters. ``plain``: one fact that brings nothing else. ``given``: the rest, where there's more,
    as _MEMBER names it, and ``indexed`` likewise. ``sessions``: which it writes to. ``sealed``: session, digest and
    JSON of items that are to be sealed for their positions, which they get when they're written."""

    member: Append
    plain: bool
    rows: list[Row]
    given: dict[str, Any]
    indexed: dict[str, Any]
    sessions: frozenset[bytes]
    size: int
    sealing: Sealing | None
    sealed: list[Item]


def pack(member: Append, sealing: Sealing | None) -> Packed:
    """Encode a member. Raises StoreError for values that can't be kept, UserError for ids that aren't ids."""
    facts, run = member.facts, member.run
    plain = (
        len(facts) == 1
        and member.index is None
        and bool(facts[0].seq)
        and not (member.opened or member.closed or member.consumed or member.writes)
    )
    if not plain:
        checks.check_member(member)
    rows = [encode_fact(run, fact, sealing) for fact in facts]
    for row in rows:
        _check_numbers(run, row.seq, row.visit)
    size = sum(len(row.payload) for row in rows)
    given: dict[str, Any] = {}
    items: list[Item] = []
    if not plain:
        try:
            given, items = _pack_rest(member, sealing)
        except (TypeError, ValueError, RecursionError) as error:
            raise StoreError(f"run '{run}': what comes with fact {facts[0].seq} isn't JSON: {error}") from None
        size += sum(map(len, given["o_data"])) + sum(len(one[2]) for one in items)
    if size > MAX_BYTES:
        raise StoreError(f"run '{run}': fact {facts[0].seq} and what comes with it is larger than {MAX_BYTES} bytes")
    sessions = frozenset(one[0] for one in items)
    index = _index(member, _index_of(member), member.root, forks=False)
    return Packed(member, plain, rows, given, index, sessions, size, sealing, items if sealing is not None else [])


def _pack_rest(member: Append, sealing: Sealing | None) -> tuple[dict[str, Any], list[Item]]:
    root, run = utf8(member.root), utf8(member.run)
    opened = {one.key: one for one in member.opened}.values()
    items: list[Item] = []
    counts: dict[tuple[str, int], int] = {}
    for write in member.writes:
        checks.check_session_id(write.session)
        _check_numbers(member.run, write.seq)
        for item in write.items:
            i = counts.get((write.session, write.seq), 0)
            counts[write.session, write.seq] = i + 1
            name = utf8(write.session)
            data = dumps(item) if sealing is not None else sealed(dumps(item), item_place(write.session, 0), None)
            items.append((name, digest(run, b"%d" % write.seq, b"%d" % i, name), data))
    plain = items if sealing is None else []
    given = {
        "closed": [digest(run, utf8(key)) for key in member.closed],
        "consumed": [digest(root, utf8(letter)) for letter in member.consumed],
        "o_digests": [digest(run, utf8(one.key)) for one in opened],
        "o_keys": [utf8(one.key) for one in opened],
        "o_kinds": [utf8(one.kind) for one in opened],
        "o_nodes": [utf8(one.node) for one in opened],
        "o_opened": [float(one.opened) for one in opened],
        "o_data": [_asked("data", one.data, one, sealing) for one in opened],
        "o_schemas": [_asked("schema", one.schema, one, sealing) for one in opened],
        "s_sessions": [one[0] for one in plain],
        "s_digests": [one[1] for one in plain],
        "s_items": [one[2] for one in plain],
    }
    return given, items


def _asked(name: str, part: Any, one: OpenRequest, sealing: Sealing | None) -> bytes:
    return sealed(dumps(part), request_place(name, one.run, one.key, one.kind, one.node, one.opened), sealing)


def _index_of(member: Append) -> IndexRow | None:
    """The index row that comes with a member. None, too, where a journal doesn't begin as it must: it's refused."""
    if member.facts[0].seq:
        return member.index
    try:
        return checks.first_index(member)
    except StoreError:
        return None


def _check_numbers(run: str, *numbers: int) -> None:
    for number in numbers:
        if not -_INT8 <= number < _INT8:
            raise StoreError(f"run '{run}': the number {number} is too large for the store")


def _index(member: Append, index: IndexRow | None, root: str, forks: bool) -> dict[str, Any]:
    """An index row as parameters; without one, none of it changes. ``forks``: it may be a fork's first."""
    if index is None:
        return _NO_INDEX
    run, head = member.run, member.facts[-1].seq
    base, base_seq = (index.base, index.base_seq) if forks else (None, None)
    _check_numbers(run, index.turns, index.tokens, index.base_seq or 0)
    return {
        "head": head, "sum": checksums.changing_sum(run, index, head),
        "fixed": checksums.fixed_sum(run, root, index.parent, index.created, base, base_seq),
        "parent": optional(index.parent), "graph": utf8(index.graph), "fingerprint": utf8(index.fingerprint),
        "standing": index.standing, "node": utf8(index.node), "created": float(index.created),
        "updated": float(index.updated), "due": None if index.due is None else float(index.due),
        "turns": index.turns, "tokens": index.tokens, "label": utf8(index.label), "error": optional(index.error),
        "base": optional(base), "base_seq": base_seq,
    }  # fmt: skip


_NO_INDEX: dict[str, Any] = dict.fromkeys(
    ("parent", "graph", "fingerprint", "standing", "node", "created", "updated", "due", "turns", "tokens", "label",
     "error", "base", "base_seq", "head", "fixed", "sum")
)  # fmt: skip
_NOTHING: dict[str, Any] = {
    name: []
    for name in (
        "closed", "consumed", "o_digests", "o_keys", "o_kinds", "o_nodes", "o_opened", "o_data", "o_schemas",
        "s_sessions", "s_digests", "s_items",
    )
}  # fmt: skip


def _parameters(packed: Packed, root: str, epoch: int, nonce: str) -> dict[str, Any]:
    run, rows = packed.member.run, packed.rows
    return {
        "admit": False, "root": utf8(root), "epoch": epoch, "nonce": nonce, "run": utf8(run), "owner": None,
        "seqs": [row.seq for row in rows], "kinds": [row.kind for row in rows],
        "nodes": [utf8(row.node) for row in rows], "visits": [row.visit for row in rows],
        "ons": [optional(row.on) for row in rows], "tos": [optional(row.to) for row in rows],
        "ats": [float(row.at) for row in rows], "payloads": [row.payload for row in rows],
        **packed.indexed, **(packed.given or _NOTHING),
    }  # fmt: skip


_MEMBER = """
SELECT @.member(
    %(admit)b::boolean, %(root)b::bytea, %(epoch)b::bigint, %(nonce)b::text, %(run)b::bytea,
    %(seqs)b::bigint[], %(kinds)b::text[], %(nodes)b::bytea[], %(visits)b::bigint[], %(ons)b::bytea[],
    %(tos)b::bytea[], %(ats)b::float8[], %(payloads)b::bytea[],
    %(parent)b::bytea, %(graph)b::bytea, %(fingerprint)b::bytea, %(standing)b::text, %(node)b::bytea,
    %(created)b::float8, %(updated)b::float8, %(due)b::float8, %(turns)b::bigint, %(tokens)b::bigint,
    %(label)b::bytea, %(error)b::bytea, %(base)b::bytea, %(base_seq)b::bigint,
    %(head)b::bigint, %(fixed)b::bigint, %(sum)b::bigint, %(owner)b::bytea,
    %(closed)b::bytea[], %(consumed)b::bytea[],
    %(o_digests)b::bytea[], %(o_keys)b::bytea[], %(o_kinds)b::bytea[], %(o_nodes)b::bytea[], %(o_opened)b::float8[],
    %(o_data)b::bytea[], %(o_schemas)b::bytea[],
    %(s_sessions)b::bytea[], %(s_digests)b::bytea[], %(s_items)b::bytea[]
)"""


# Leases


def admit(names: Names, packed: Packed, owner: Owner, below: Sequence[Packed]) -> Job[Claim]:
    """Make a root run, with the children ``below``. Raises RunExists, for a fork RunNotFound and RunConflict."""
    run = packed.member.run
    claim = Claim(1, packed.rows[-1].seq, token_hex(6))
    given = [_first(packed, run, owner, 1, claim.nonce), *(_first(one, run, None, 0, claim.nonce) for one in below)]
    sessions = {name for one in (packed, *below) for name in one.sessions}
    statement = names.sql(_MEMBER)

    async def job(connection: Connection, again: bool) -> Claim:
        if again and await _written(connection, names, packed, claim.nonce):
            return claim
        async with connection.pipeline(), connection.transaction():
            if sessions:
                await _lock(connection, names, [], sessions)
            await connection.execute(names.sql(_RENEW), _owner(owner))
            answers = [await connection.execute(statement, one, binary=True) for one in given]
            for one, parameters, answer in zip((packed, *below), given, answers, strict=True):
                [told] = await answer.fetchone() or [""]
                _admitted(one.member.run, parameters, told)
                await _add_sealed(connection, names, one)
        return claim

    return job


def _first(packed: Packed, root: str, owner: Owner | None, epoch: int, nonce: str) -> dict[str, Any]:
    """A new run's parameters."""
    member = packed.member
    index = checks.first_index(member)
    if index.base is not None:
        checks.check_run_id(index.base)
    checks.first_seq(member, index)
    given = _parameters(packed, root, epoch, nonce)
    indexed = _index(member, index, root, forks=True)
    return {**given, **indexed, "admit": True, "owner": None if owner is None else utf8(owner.id)}


def _admitted(run: str, given: dict[str, Any], told: str) -> None:
    if told == "exists":
        raise checks.exists(run)
    if told == "kept":
        raise checks.kept(run)
    if told == "no base":
        raise checks.not_found(text(given["base"]))
    if told.startswith("short"):
        raise checks.no_base(run, text(given["base"]), given["base_seq"], int(told.split()[1]))


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


def release(names: Names, run: str, claim: Claim, known: int) -> Job[bool]:
    """Give a lease back unless letters wait. Raises RunNotFound, RunConflict."""
    given = {"run": utf8(run), "epoch": claim.epoch, "known": min(known, _INT8 - 1)}

    async def job(connection: Connection, again: bool) -> bool:
        row = await (await connection.execute(names.sql(_RELEASE), given, binary=True)).fetchone()
        if row is None:
            raise checks.not_found(run)
        given_back, root, owner, epoch = row
        if given_back:
            return True
        if root != given["run"] or owner is None or epoch != claim.epoch:
            if again and root == given["run"] and owner is None and epoch == claim.epoch:
                return True  # by the try that was lost
            raise checks.released(run)
        return False

    return job


def beat(names: Names, owner: Owner) -> tuple[bytes, dict[str, Any]]:
    """Put the end of the owner's leases off, and forget owners of yesterday: their leases are free either way."""
    return names.sql(_BEAT), _owner(owner)


def _owner(owner: Owner) -> dict[str, Any]:
    return {
        "owner": utf8(owner.id), "host": utf8(owner.host), "pid": owner.pid, "born": utf8(owner.born),
        "seconds": LEASE_SECONDS,
    }  # fmt: skip


_RENEW = "SELECT @.renew(%(owner)b, %(host)b, %(pid)b, %(born)b, %(seconds)b)"
_CLAIM = "SELECT * FROM @.claim(%(run)b, %(mark)b, %(gone)b, %(owner)b, %(host)b, %(pid)b, %(born)b, %(seconds)b)"
_RELEASE = "SELECT * FROM @.release(%(run)b, %(epoch)b, %(known)b)"
_BEAT = f"""
WITH swept AS (DELETE FROM @.owner WHERE expires < {CLOCK} - 86400.0 AND id <> %(owner)b)
INSERT INTO @.owner (id, host, pid, born, expires)
VALUES (%(owner)b, %(host)b, %(pid)b, %(born)b, {CLOCK} + %(seconds)b)
ON CONFLICT (id) DO UPDATE SET expires = excluded.expires"""


# Journals

Group = Sequence[tuple[Sequence[Packed], Claim]]
"""Batches, each of a tree of its own, that are written together."""


async def append(connection: Connection, names: Names, group: Group) -> list[list[Exception | None]]:
    """Write batches in one transaction and, but for refusals, one round trip: an answer for each member."""
    plain = [one for one in group if _is_plain(one[0])]
    other = [one for one in group if not _is_plain(one[0])]
    written: set[bytes] = set()
    told: list[list[str]] = []
    if len(group) == 1 and len(group[0][0]) == 1 and plain:
        [given] = _facts(plain)
        [done] = await (await connection.execute(names.sql(_ONE), given)).fetchone() or [False]
        written = {given[3]} if done else written
    elif not other:
        answer = await connection.execute(names.sql(_PLAIN), _plain(plain), binary=True)
        written = {run for (run,) in await answer.fetchall()}
    else:
        async with connection.pipeline(), connection.transaction():
            roots = [utf8(batch[0].member.root) for batch, _ in group]
            await _lock(
                connection, names, roots, {name for batch, _ in other for one in batch for name in one.sessions}
            )
            first = await connection.execute(names.sql(_PLAIN), _plain(plain), binary=True) if plain else None
            statement = names.sql(_MEMBER)
            answers = [
                [
                    await connection.execute(
                        statement, _parameters(one, one.member.root, claim.epoch, claim.nonce), binary=True
                    )
                    for one in batch
                ]
                for batch, claim in other
            ]
            if first is not None:
                written = {run for (run,) in await first.fetchall()}
            for (batch, _), some in zip(other, answers, strict=True):
                rows = [await one.fetchone() for one in some]
                told.append([row[0] for row in rows if row is not None])
                for one, word in zip(batch, told[-1], strict=True):
                    if word == "done":
                        await _add_sealed(connection, names, one)
    verdicts = iter(told)
    found: list[list[Exception | None]] = []
    for batch, claim in group:
        if _is_plain(batch):
            good = [utf8(one.member.run) in written for one in batch]
        else:
            good = [word == "done" for word in next(verdicts)]
        found.append(
            [
                None if done else await _refusal(connection, names, one, claim, _passed(one, batch, good, number))
                for number, (one, done) in enumerate(zip(batch, good, strict=True))
            ]
        )
    return found


def _passed(refused: Packed, batch: Sequence[Packed], good: Sequence[bool], number: int) -> bool:
    """Whether a later member of the batch wrote what this one, the ``number``-th, was refused for."""
    later = list(zip(batch, good, strict=True))[number + 1 :]
    return any(did and one.member.run == refused.member.run for one, did in later)


async def _add_sealed(connection: Connection, names: Names, packed: Packed) -> None:
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


def _is_plain(batch: Sequence[Packed]) -> bool:
    """Whether one statement can write it with others: each member plain and of a run of its own."""
    return all(one.plain for one in batch) and (len(batch) == 1 or len({one.member.run for one in batch}) == len(batch))


def _plain(group: Group) -> tuple[list[Any], ...]:
    return tuple(map(list, zip(*_facts(group), strict=True)))


def _facts(group: Group) -> list[tuple[Any, ...]]:
    """What _ONE and, column by column, _PLAIN are given."""
    return [
        (
            utf8(one.member.root), claim.epoch, claim.nonce, utf8(one.member.run), row.seq, row.kind, utf8(row.node),
            row.visit, optional(row.on), optional(row.to), float(row.at), row.payload,
        )
        for batch, claim in group for one in batch for row in one.rows
    ]  # fmt: skip


async def _refusal(
    connection: Connection, names: Names, packed: Packed, claim: Claim, passed: bool
) -> Exception | None:
    """Why a member was not written; None if that's because all of it was written before. ``passed``: what is there
    now, another member wrote after it."""
    member, rows = packed.member, packed.rows
    if not passed and await _written(connection, names, packed, claim.nonce):
        return None
    found = await connection.execute(
        names.sql(_STATE), {"root": utf8(member.root), "run": utf8(member.run)}, binary=True
    )
    epoch, owner, root, head = await found.fetchone() or (None, None, None, -1)
    if epoch is None:
        return checks.lost(member, claim.epoch, False, None)
    if epoch == claim.epoch and owner is not None and (root is None or root == utf8(member.root)):
        if root is None and rows[0].seq == 0:
            try:
                checks.first_index(member)
            except StoreError as error:
                return error
        if rows[0].seq == head + 1 and rows[0].seq:
            return RunConflict(f"run '{member.run}': it changed meanwhile; nothing was written", run_id=member.run)
        return checks.wrong_seq(member, head + 1)
    return checks.lost(member, claim.epoch, owner is not None, epoch)


async def _written(connection: Connection, names: Names, packed: Packed, nonce: str) -> bool:
    rows = packed.rows
    given = (utf8(packed.member.run), rows[0].seq, rows[-1].seq, nonce)
    [count] = await (await connection.execute(names.sql(_WRITTEN), given)).fetchone() or [0]
    return bool(count == len(rows))


async def _lock(connection: Connection, names: Names, roots: list[bytes], sessions: set[bytes]) -> None:
    keys = [names.lock("session", one) for one in sessions]
    await connection.execute(names.sql("SELECT @.lock_all(%b::bytea[], %b::bigint[])"), (roots, keys))


_ONE = """
SELECT @.one(
    %b::bytea, %b::bigint, %b::text, %b::bytea, %b::bigint, %b::text, %b::bytea, %b::bigint, %b::bytea, %b::bytea,
    %b::float8, %b::bytea
)"""
_PLAIN = """
SELECT * FROM @.plain(
    %b::bytea[], %b::bigint[], %b::text[], %b::bytea[], %b::bigint[], %b::text[], %b::bytea[], %b::bigint[],
    %b::bytea[], %b::bytea[], %b::float8[], %b::bytea[]
)"""
_WRITTEN = "SELECT count(*) FROM @.fact WHERE run = %b AND seq BETWEEN %b AND %b AND nonce = %b"
_STATE = """
SELECT epoch, owner, (SELECT root FROM @.run WHERE id = %(run)b),
    (SELECT coalesce(max(seq), -1) FROM @.fact WHERE run = %(run)b)
FROM @.run WHERE id = root AND id = %(root)b"""


# Deleting


def delete(names: Names, run: str) -> Job[None]:
    """Remove a root run and its tree. Raises RunNotFound, RunConflict while it's held, UserError for a child."""

    async def job(connection: Connection, again: bool) -> None:
        async with connection.transaction():
            await connection.execute(_EXCLUSIVE, (names.lock("delete"),))
            await connection.execute(names.sql(_LOCK_ROW), (utf8(run),))
            found = await (await connection.execute(names.sql(_HOLDER), (utf8(run),), binary=True)).fetchone()
            if found is None:
                if again:
                    return  # by the try that was lost
                raise checks.not_found(run)
            root, host, pid, born = found
            if text(root) != run:
                raise checks.not_root_to_delete(run, text(root))
            if host is not None and not is_gone(text(host), pid, text(born)):
                raise checks.held(run, text(host), pid, False)
            await connection.execute(names.sql(_REMOVE), (utf8(run),))

    return job


def prune(names: Names, runs: Sequence[str], before: float, standing: str) -> Job[list[str]]:
    """Remove those of these root runs that still have this standing, that nobody holds and that are older than
    ``before``; their ids."""
    only = [utf8(run) for run in runs]
    given = {"before": before, "standing": standing, "only": only}

    async def job(connection: Connection, again: bool) -> list[str]:
        async with connection.transaction():
            await connection.execute(_EXCLUSIVE, (names.lock("delete"),))
            await _lock(connection, names, only, set())
            found = await (await connection.execute(names.sql(_STILL_OLD), given, binary=True)).fetchall()
            old = [run for run, host, pid, born in found if host is None or is_gone(text(host), pid, text(born))]
            for run in old:
                await connection.execute(names.sql(_REMOVE), (run,))
        return [text(run) for run in old]

    return job


PRUNE_AT_ONCE = 100
"""Runs that go in one transaction: other writers aren't kept waiting for long."""
_EXCLUSIVE = "SELECT pg_advisory_xact_lock(%b)"
_REMOVE = "SELECT @.remove(%b)"
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


def session_write(names: Names, session: bytes, items: list[bytes], sealing: Sealing | None) -> Job[None]:
    """Add items from outside of a run."""

    async def job(connection: Connection, again: bool) -> None:
        async with connection.pipeline(), connection.transaction():
            await _lock(connection, names, [], {session})
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
            await _lock(connection, names, [], {session})
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
            await _lock(connection, names, [], {session})
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


def is_ones_own(error: Exception) -> bool:
    """Whether a statement failed for what it was given, so that others' needn't fail with it."""
    psycopg = driver()
    kinds = (psycopg.DataError, psycopg.IntegrityError, psycopg.NotSupportedError, psycopg.errors.ProgramLimitExceeded)
    return isinstance(error, kinds)
