"""What comes with an append, as the values that a PostgreSQL store keeps."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

from flowcore.errors import StoreError
from flowcore.graph.values import dumps
from flowcore.machine.wire import Row
from flowcore.stores import checks, checksums
from flowcore.stores.base import Append, IndexRow, OpenRequest
from flowcore.stores.sealing import Sealing, encode_fact, item_place, request_place, sealed

MAX_BYTES = 256 * 1024 * 1024
"""The largest member, in bytes: PostgreSQL's limit of 1 GB holds for a statement with all its values."""
INT8_END = 2**63
"""The first whole number that is too large."""


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
    """A member as values. ``tree``: its root run. ``plain``: one fact that brings nothing else. ``indexed``: the
    columns of its index row from ``parent`` to ``sum``, in the order in which the function ``write`` takes them.
    ``gone``: digests of the requests that close and of the letters that it takes in. ``opened``: rows of the requests
    that open. ``items`` for sessions, which are named in ``sessions``; ``sealed``: those that are to be sealed for
    their positions, which they get when they're written."""

    member: Append
    tree: str
    plain: bool
    rows: list[Row]
    size: int
    sealing: Sealing | None
    indexed: tuple[Any, ...]
    gone: list[bytes]
    opened: list[tuple[Any, ...]]
    items: list[Item]
    sealed: list[Item]
    sessions: frozenset[bytes]


def pack(member: Append, sealing: Sealing | None, tree: str | None = None) -> Packed:
    """Encode a member. ``tree``: the root run that it's admitted with. Raises StoreError for values that can't be kept,
    UserError for ids that aren't ids."""
    facts, run = member.facts, member.run
    plain = (
        len(facts) == 1
        and member.index is None
        and bool(facts[0].seq)
        and not (member.opened or member.closed or member.consumed or member.writes)
    )
    if plain:
        row = encode_fact(run, facts[0], sealing)
        _check_numbers(run, row.seq, row.visit)
        size = len(row.payload)
        _check_size(member, size)
        return Packed(member, member.root, True, [row], size, sealing, _NO_INDEX, [], [], [], [], _NONE)
    checks.check_member(member)
    rows = [encode_fact(run, fact, sealing) for fact in facts]
    for row in rows:
        _check_numbers(run, row.seq, row.visit)
    try:
        gone, opened, items = _pack_rest(member, sealing)
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreError(f"run '{run}': what comes with fact {facts[0].seq} isn't JSON: {error}") from None
    size = sum(len(row.payload) for row in rows) + sum(len(one[5]) for one in opened)
    size += sum(len(one[2]) for one in items)
    _check_size(member, size)
    sessions = frozenset(one[0] for one in items)
    now, later = (items, []) if sealing is None else ([], items)
    index = _index_columns(member, _index_of(member), tree)
    return Packed(member, tree or member.root, False, rows, size, sealing, index, gone, opened, now, later, sessions)


_NONE: frozenset[bytes] = frozenset()


def _pack_rest(member: Append, sealing: Sealing | None) -> tuple[list[bytes], list[tuple[Any, ...]], list[Item]]:
    root, run = utf8(member.root), utf8(member.run)
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
    gone = [digest(run, utf8(key)) for key in member.closed]
    gone += [digest(root, utf8(letter)) for letter in member.consumed]
    opened = [
        (
            digest(run, utf8(one.key)), utf8(one.key), utf8(one.kind), utf8(one.node), float(one.opened),
            _asked("data", one.data, one, sealing), _asked("schema", one.schema, one, sealing),
        )
        for one in {one.key: one for one in member.opened}.values()
    ]  # fmt: skip
    return gone, opened, items


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
        if not -INT8_END <= number < INT8_END:
            raise StoreError(f"run '{run}': the number {number} is too large for the store")


def _check_size(member: Append, size: int) -> None:
    if size > MAX_BYTES:
        raise StoreError(
            f"run '{member.run}': fact {member.facts[0].seq} and what comes with it is larger than {MAX_BYTES} bytes"
        )


def _index_columns(member: Append, index: IndexRow | None, tree: str | None) -> tuple[Any, ...]:
    """An index row's columns; without one, none of it changes. Only what is admitted may be a fork."""
    if index is None:
        return _NO_INDEX
    run, head = member.run, member.facts[-1].seq
    base, base_seq = (None, None) if tree is None else (index.base, index.base_seq)
    _check_numbers(run, index.turns, index.tokens, index.base_seq or 0)
    return (
        optional(index.parent), utf8(index.graph), utf8(index.fingerprint), index.standing, utf8(index.node),
        float(index.created), float(index.updated), None if index.due is None else float(index.due), index.turns,
        index.tokens, utf8(index.label), optional(index.error), optional(base), base_seq, head,
        checksums.fixed_sum(run, tree or member.root, index.parent, index.created, base, base_seq),
        checksums.changing_sum(run, index, head),
    )  # fmt: skip


_NO_INDEX: tuple[Any, ...] = (None,) * 17
