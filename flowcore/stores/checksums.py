"""Checksums: what was changed by anything but flowcore is an error when it's read, never another value.

SQLite doesn't notice a flipped bit in what it keeps, and PostgreSQL not everywhere. A record that isn't encrypted
begins with 8 hexadecimal digits: the CRC-32 of its bytes and of its place (``sealing.Bound``), so that neither may
change alone and no two may change places. An index row has two checksums of its own, one for what never changes in it
and one for what does; with the latter stands ``head``, the last fact that was there when it was written: a journal that
ends before it has lost something.

A checksum finds accidents: who can write to a store can also write a checksum. Against that there's ``EncryptedStore``.
"""

from __future__ import annotations

import json
import struct
from typing import Any
from zlib import crc32

from flowcore.errors import StoreError
from flowcore.machine.wire import Row
from flowcore.stores.base import IndexRow

DIGITS = 8
"""Bytes that a checksum takes."""
DAMAGED = "its checksum doesn't fit; the store is damaged"
_UNFIT = (TypeError, ValueError, AttributeError, OverflowError, struct.error)
"""What a damaged column raises where its type isn't what was written."""
_numbers = struct.Struct("<qqd").pack

# Records


def summed(data: bytes, place: tuple[Any, ...]) -> bytes:
    """``data`` behind its checksum."""
    return b"%08x" % crc32(data, _sum(place)) + data


def checked(kept: bytes, place: tuple[Any, ...], where: str) -> bytes:
    """The inverse of ``summed``. Raises StoreError, which begins with ``where``, for anything else."""
    try:
        data = kept[DIGITS:]
        fits = kept[:DIGITS] == b"%08x" % crc32(data, _sum(place))
    except _UNFIT:
        fits = False
    if not fits:
        raise StoreError(f"{where}: {DAMAGED}", lasting=True)
    return data


def summed_row(run: str, row: Row) -> Row:
    """A fact's row with its payload behind its checksum: a microsecond for 1 kB. -0.0 is 0.0, as in SQLite."""
    return row._replace(payload=b"%08x" % _row_sum(run, row, row.payload) + row.payload)


def checked_row(run: str, row: Row, where: str) -> Row:
    """The inverse of ``summed_row``. Raises StoreError, which begins with ``where``, for anything else."""
    kept = row.payload
    try:
        payload = kept[DIGITS:]
        fits = kept[:DIGITS] == b"%08x" % _row_sum(run, row, payload)
    except _UNFIT:
        fits = False
    if not fits:
        raise StoreError(f"{where}: {DAMAGED}", lasting=True)
    return row._replace(payload=payload)


def _row_sum(run: str, row: Row, payload: bytes) -> int:
    seq, kind, node, visit, on, to, at, _ = row
    names = "\0".join((run, kind, node, "\1" if on is None else on, "\1" if to is None else to))
    return crc32(payload, crc32(names.encode("utf-8", "surrogatepass"), crc32(_numbers(seq, visit, at + 0.0))))


def _sum(values: tuple[Any, ...]) -> int:
    return crc32(json.dumps(values).encode())


# Index rows


def fixed_sum(run: str, root: str, parent: str | None, created: float, base: str | None, base_seq: int | None) -> int:
    """The checksum of what never changes in an index row."""
    return _sum((run, root, parent, created + 0.0, base, base_seq))


def changing_sum(run: str, row: IndexRow, head: int) -> int:
    """The checksum of what may change in an index row; ``head``: the run's last fact as it's written."""
    due = None if row.due is None else row.due + 0.0
    return _sum(
        (run, row.graph, row.fingerprint, row.standing, row.node, row.updated + 0.0, due, row.turns, row.tokens,
         row.label, row.error, head)
    )  # fmt: skip


def check_index(row: IndexRow, fixed: Any, changing: Any, head: Any, where: str) -> None:
    """Raises StoreError unless an index row, as it was written, fits its checksums."""
    try:
        told = fixed_sum(row.run, row.root, row.parent, row.created, row.base, row.base_seq)
        fits = told == fixed and changing == changing_sum(row.run, row, head)
    except _UNFIT:
        fits = False
    if not fits:
        raise StoreError(f"run {row.run!r} in {where}: its index row: {DAMAGED}", lasting=True)


def check_head(run: str, where: str, last: int, head: Any) -> None:
    """Raises StoreError where a journal ends before the fact ``head``, which it had."""
    if type(head) is not int or last < head:
        raise StoreError(f"run '{run}' in {where}: fact {last + 1} is missing; the store is damaged", lasting=True)
