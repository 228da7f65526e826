"""What many runs bring at the same time, written together: appends, admissions, and leases that are given back.

One statement, so one round trip and one commit, but for batches in which a run occurs twice (these go on in a further
statement of the transaction) and for items that are sealed for positions which they get there.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from secrets import token_hex
from typing import Any, NamedTuple, TypeAlias

from flowcore.errors import FlowcoreError, RunConflict, StoreError
from flowcore.stores import checks
from flowcore.stores.base import Append, Claim, Owner
from flowcore.stores.postgres_arrays import BOOL, BYTEA, FLOAT8, INT8, TEXT, Column, columns
from flowcore.stores.postgres_pack import INT8_END, Packed, optional, pack, utf8
from flowcore.stores.postgres_pool import Connection, Job, driver
from flowcore.stores.postgres_schema import Names
from flowcore.stores.postgres_write import add_sealed, lock, owner_row
from flowcore.stores.sealing import Sealing

Answer: TypeAlias = "list[Exception | None] | Claim | bool | FlowcoreError"
"""What an entry is answered: a batch for each member; an admission with its lease; a release whether it was given back.
An error is why one was refused."""


class Batch(NamedTuple):
    """Members of one tree, for an append under its lease."""

    members: Sequence[Packed]
    claim: Claim

    @property
    def size(self) -> int:
        """Bytes of payload."""
        return sum(one.size for one in self.members)

    def about(self) -> set[str]:
        """The trees and runs that it's about: of one tree, or run, at most one entry goes in a group."""
        return {name for one in self.members for name in (one.member.root, one.member.run)}


class Admission(NamedTuple):
    """A new root run, its first facts and who holds it."""

    packed: Packed
    claim: Claim
    owner: Owner

    @property
    def size(self) -> int:
        """Bytes of payload."""
        return self.packed.size

    def about(self) -> set[str]:
        """The run."""
        return {self.packed.member.run}


class Release(NamedTuple):
    """A lease to be given back, unless more than ``known`` letters wait."""

    run: str
    claim: Claim
    known: int
    size: int = 0

    def about(self) -> set[str]:
        """The run."""
        return {self.run}


Entry: TypeAlias = Batch | Admission | Release


def admission(member: Append, owner: Owner, sealing: Sealing | None) -> Admission:
    """A new root run. Raises StoreError, UserError and RunConflict for what can't be a run's beginning."""
    packed = _begins(member, member.run, sealing)
    return Admission(packed, Claim(1, packed.rows[-1].seq, token_hex(6)), owner)


def _begins(member: Append, tree: str, sealing: Sealing | None) -> Packed:
    checks.check_run_id(member.run)
    index = checks.first_index(member)
    if index.base is not None:
        checks.check_run_id(index.base)
    checks.first_seq(member, index)
    return pack(member, sealing, tree)


def admit_tree(
    names: Names, member: Append, owner: Owner, below: Sequence[Append], sealing: Sealing | None
) -> Job[Claim]:
    """Admit a run and the children below it in a transaction of their own: what refuses one refuses all."""
    packed, claim, _ = admission(member, owner, sealing)
    wave = [_Member(0, packed, claim, owner, True)]
    wave += [_Member(0, _begins(one, member.run, sealing), claim, None, True) for one in below]
    sessions = {name for one in wave for name in one.packed.sessions}

    async def job(connection: Connection, again: bool) -> Claim:
        if again and await _written(connection, names, packed, claim.nonce):
            return claim
        async with connection.transaction():
            _, _, told = await _call(connection, names, (), sessions, (), wave)
            for one, word in zip(wave, told or (), strict=True):
                error = _not_admitted(one.packed.member, word)
                if error is not None:
                    raise error
                await add_sealed(connection, names, one.packed)
        return claim

    return job


# Writing


async def write(connection: Connection, names: Names, group: Sequence[Entry], again: bool) -> list[Answer]:
    """Write entries, no two of them about one run: an answer for each. ``again``: an earlier try of it may have been
    committed."""
    if len(group) == 1 and isinstance(group[0], Batch) and len(group[0].members) == 1 and group[0].members[0].plain:
        [given] = _plain_rows(group[0])
        [done] = await (await connection.execute(names.sql(_ONE), given)).fetchone() or [False]
        return [await _batch_answer(connection, names, group[0], [done])]
    waves = _waves(group)
    sealed = [one for wave in waves for one in wave if one.packed.sealed]
    locked = {utf8(_root(entry)) for entry in group}
    sessions = {name for wave in waves for one in wave for name in one.packed.sessions}
    told: list[list[str]] = [[] for _ in group]
    if len(waves) <= 1 and not sealed:
        written, released, words = await _call(connection, names, locked, sessions, group, waves[0] if waves else ())
        _note(told, waves[:1], words)
    else:
        async with connection.transaction():
            await lock(connection, names, locked, sessions)
            written, released, words = await _call(connection, names, (), (), group, waves[0])
            _note(told, waves[:1], words)
            for number in range(1, len(waves)):
                _, _, words = await _call(connection, names, (), (), (), waves[number])
                _note(told, waves[number : number + 1], words)
            for one in sealed:
                if "done" in told[one.entry]:
                    await add_sealed(connection, names, one.packed)
    facts, leases = set(written or ()), set(released or ())
    found: list[Answer] = []
    for entry, some in zip(group, told, strict=True):
        if isinstance(entry, Release):
            found.append(utf8(entry.run) in leases or await _unreleased(connection, names, entry, again))
        elif isinstance(entry, Admission):
            found.append(await _admitted(connection, names, entry, some[0]))
        else:
            plain = [utf8(one.member.run) in facts for one in entry.members]
            good = [word == "done" for word in some] if some else plain
            found.append(await _batch_answer(connection, names, entry, good))
    return found


class _Member(NamedTuple):
    """A member that isn't plain, or that comes with one that isn't. ``entry``: whose it is, by number."""

    entry: int
    packed: Packed
    claim: Claim
    owner: Owner | None
    admits: bool


def _waves(group: Sequence[Entry]) -> list[list[_Member]]:
    """The members of a group that aren't plain, in the order of their batches: in each wave a run occurs once."""
    waves: list[list[_Member]] = []
    for number, entry in enumerate(group):
        if isinstance(entry, Admission):
            found = [[_Member(number, entry.packed, entry.claim, entry.owner, True)]]
        elif isinstance(entry, Batch) and not _is_plain(entry):
            found = [[]]
            for one in entry.members:
                if any(one.member.run == other.packed.member.run for other in found[-1]):
                    found.append([])
                found[-1].append(_Member(number, one, entry.claim, None, False))
        else:
            continue
        waves += [[] for _ in found[len(waves) :]]
        for wave, some in zip(waves, found, strict=False):
            wave += some
    return waves


def _is_plain(batch: Batch) -> bool:
    """Whether each member is plain and of a run of its own."""
    members = batch.members
    return all(one.plain for one in members) and (
        len(members) == 1 or len({one.member.run for one in members}) == len(members)
    )


def _root(entry: Entry) -> str:
    if isinstance(entry, Batch):
        return entry.members[0].member.root
    return entry.run if isinstance(entry, Release) else entry.packed.member.run


def _note(told: list[list[str]], waves: Sequence[Sequence[_Member]], words: Sequence[str] | None) -> None:
    for wave in waves:
        for one, word in zip(wave, words or (), strict=True):
            told[one.entry].append(word)


Told: TypeAlias = "tuple[Sequence[bytes] | None, Sequence[bytes] | None, Sequence[str] | None]"
"""Runs whose plain facts were written, runs that were given back, and a word for each member."""


async def _call(
    connection: Connection, names: Names, locked: Collection[bytes], sessions: Collection[bytes],
    group: Sequence[Entry], wave: Sequence[_Member],
) -> Told:  # fmt: skip
    """Call the schema's function ``write`` with what is plain in a group, its releases, and a wave of its members."""
    owners = {one.owner.id: one.owner for one in wave if one.owner is not None}
    each = list(enumerate((one.packed for one in wave), 1))
    rows: list[list[tuple[Any, ...]]] = [
        [(root,) for root in locked],
        [(names.lock("session", session),) for session in sessions],
        [row for entry in group if isinstance(entry, Batch) and _is_plain(entry) for row in _plain_rows(entry)],
        [
            (utf8(entry.run), entry.claim.epoch, min(entry.known, INT8_END - 1))
            for entry in group if isinstance(entry, Release)
        ],
        [owner_row(owner) for owner in owners.values()],
        [_member_row(one) for one in wave],
        [
            (n, row.seq, row.kind, utf8(row.node), row.visit, optional(row.on), optional(row.to), float(row.at),
             row.payload)
            for n, packed in each for row in packed.rows
        ],
        [(n, gone) for n, packed in each for gone in packed.gone],
        [(n, *opened) for n, packed in each for opened in packed.opened],
        [(n, *item) for n, packed in each for item in packed.items],
    ]  # fmt: skip
    given: list[Column] = []
    for kinds, some in zip(_KINDS, rows, strict=True):
        given += columns(kinds, some)
    cursor = driver().AsyncRawCursor(connection)
    await cursor.execute(names.script(_WRITE), given, prepare=True, binary=True)
    found: Told | None = await cursor.fetchone()
    return found or (None, None, None)


def _plain_rows(batch: Batch) -> list[tuple[Any, ...]]:
    claim = batch.claim
    return [
        (
            utf8(one.member.root), claim.epoch, claim.nonce, utf8(one.member.run), row.seq, row.kind, utf8(row.node),
            row.visit, optional(row.on), optional(row.to), float(row.at), row.payload,
        )
        for one in batch.members for row in one.rows
    ]  # fmt: skip


def _member_row(one: _Member) -> tuple[Any, ...]:
    member, claim = one.packed.member, one.claim
    owner = None if one.owner is None else utf8(one.owner.id)
    epoch = 0 if one.admits and owner is None else claim.epoch
    return (
        one.admits, utf8(one.packed.tree), epoch, claim.nonce, utf8(member.run), owner, one.packed.rows[0].seq,
        *one.packed.indexed,
    )  # fmt: skip


_KIND = {"B": BYTEA, "I": INT8, "F": FLOAT8, "T": TEXT, "?": BOOL}
_KINDS = [
    [_KIND[one] for one in kinds]
    for kinds in (
        "B", "I", "BITBITBIBBFB", "BII", "BBIBF", "?BITBBI" "BBBTBFFFIIBBBIIII", "IITBIBBFB", "IB", "IBBBBFBB", "IBBB"
    )
]  # fmt: skip
"""The kinds of the columns of each part, in the order of the function's parameters."""
_WRITE = f"SELECT * FROM @.write({', '.join(f'${number}' for number in range(1, sum(map(len, _KINDS)) + 1))})"
_ONE = """
SELECT @.one(
    %b::bytea, %b::bigint, %b::text, %b::bytea, %b::bigint, %b::text, %b::bytea, %b::bigint, %b::bytea, %b::bytea,
    %b::float8, %b::bytea
)"""


# Answering


async def _batch_answer(
    connection: Connection, names: Names, batch: Batch, good: Sequence[bool]
) -> list[Exception | None]:
    if all(good):
        return [None] * len(good)
    return [
        None if done else await _refusal(connection, names, one, batch.claim, _passed(one, batch.members, good, number))
        for number, (one, done) in enumerate(zip(batch.members, good, strict=True))
    ]


def _passed(refused: Packed, batch: Sequence[Packed], good: Sequence[bool], number: int) -> bool:
    """Whether a later member of the batch wrote what this one, the ``number``-th, was refused for."""
    later = list(zip(batch, good, strict=True))[number + 1 :]
    return any(did and one.member.run == refused.member.run for one, did in later)


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


async def _admitted(connection: Connection, names: Names, one: Admission, told: str) -> Claim | FlowcoreError:
    """The lease of a run that was admitted now, or by a try whose answer was lost; else why not."""
    error = _not_admitted(one.packed.member, told)
    if error is None or await _written(connection, names, one.packed, one.claim.nonce):
        return one.claim
    return error


def _not_admitted(member: Append, told: str) -> FlowcoreError | None:
    index = member.index
    if told == "done":
        return None
    if told == "kept":
        return checks.kept(member.run)
    if index is not None and index.base is not None:
        if told == "no base":
            return checks.not_found(index.base)
        if told.startswith("short"):
            return checks.no_base(member.run, index.base, index.base_seq or 0, int(told.split()[1]))
    return checks.exists(member.run)


async def _unreleased(connection: Connection, names: Names, one: Release, again: bool) -> bool | FlowcoreError:
    """Why a lease wasn't given back: False where letters wait."""
    found = await (await connection.execute(names.sql(_HELD), (utf8(one.run),), binary=True)).fetchone()
    if found is None:
        return checks.not_found(one.run)
    root, owner, epoch = found
    if root == utf8(one.run) and epoch == one.claim.epoch:
        if owner is not None:
            return False
        if again:
            return True  # by the try that was lost
    return checks.released(one.run)


_WRITTEN = "SELECT count(*) FROM @.fact WHERE run = %b AND seq BETWEEN %b AND %b AND nonce = %b"
_STATE = """
SELECT epoch, owner, (SELECT root FROM @.run WHERE id = %(run)b),
    (SELECT coalesce(max(seq), -1) FROM @.fact WHERE run = %(run)b)
FROM @.run WHERE id = root AND id = %(root)b"""
_HELD = "SELECT root, owner, epoch FROM @.run WHERE id = %b"
