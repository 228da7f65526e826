"""What a user may have said, as the bytes that a store keeps, and the place where something may seal them.

Every store makes its bytes here, whatever it keeps them in. A record is bound to its place, what stands beside it in
the row, so that it can't be read anywhere else: sealed by who encrypts it, else by a checksum.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

from flowcore.errors import KeyMissing, StoreError
from flowcore.graph.values import loads
from flowcore.machine.facts import Fact
from flowcore.machine.wire import Row
from flowcore.stores import checks
from flowcore.stores.checksums import checked, checked_row, summed, summed_row

Bound: TypeAlias = tuple[str | int | None, ...]
"""Where a record stands: what it is, and what names it."""

MAGIC = b"\xfffc\x01"
"""How a sealed record begins, and with its last byte its format's version. No UTF-8 text begins so, and so no JSON."""


class Sealing(Protocol):
    """Seals bytes and opens them again; from any thread."""

    def seal(self, data: bytes, place: Bound) -> bytes:
        """The bytes sealed for a place, beginning with MAGIC."""

    def open(self, data: bytes, place: Bound, where: str) -> bytes:
        """The inverse of ``seal``. Raises StoreError, which begins with ``where``, for anything else."""


def fact_place(run: str, row: Row) -> Bound:
    """Of a fact: ``run`` is the one that wrote it, also where a fork shares it."""
    return "fact", run, row.seq, row.kind, row.node, row.visit, row.on, row.to, _moment(row.at)


def request_place(part: str, run: str, key: str, kind: str, node: str, opened: float) -> Bound:
    """Of an open request's ``data`` or ``schema``."""
    return part, run, key, kind, node, _moment(opened)


def letter_place(run: str, id: str, kind: str, key: str | None, at: float) -> Bound:
    """Of a letter's value."""
    return "letter", run, id, kind, key, _moment(at)


def item_place(session: str, position: int) -> Bound:
    """Of a session's item."""
    return "item", session, position


def _moment(at: Any) -> str:
    """A time. What a damaged column holds instead is something else than any."""
    return repr(float(at)) if isinstance(at, (int, float)) else f"no time: {at!r}"


def named(place: Bound) -> str:
    """What an error calls a record of a place."""
    return "request" if place[0] in ("data", "schema") else str(place[0])


def encode_fact(run: str, fact: Fact, sealing: Sealing | None) -> Row:
    """A fact as a row. Raises StoreError where a value in it isn't JSON."""
    row = checks.encode_fact(run, fact)
    if sealing is None:
        return summed_row(run, row)
    return row._replace(payload=sealing.seal(row.payload, fact_place(run, row)))


def decode_fact(run: str, where: str, row: Row, sealing: Sealing | None) -> Fact:
    """The inverse of ``encode_fact``; ``run`` is the one that wrote it. Raises StoreError for a damaged row, naming
    the run and where it's kept."""
    if sealing is not None:
        told = f"run '{run}' in {where}: fact {row.seq} of kind '{row.kind}'"
        row = row._replace(payload=sealing.open(row.payload, whole(fact_place(run, row), told), told))
        return checks.decode_row(run, where, row)
    if is_sealed(row.payload):
        raise KeyMissing(f"run '{run}' in {where}: fact {row.seq} {_SEALED}", lasting=True)
    return checks.decode_row(run, where, checked_row(run, row, f"run '{run}' in {where}: fact {row.seq}"))


def is_sealed(data: object) -> bool:
    """Whether this is a sealed record."""
    return isinstance(data, bytes) and data.startswith(MAGIC)


def sealed(data: bytes, place: Bound, sealing: Sealing | None) -> bytes:
    """Bytes as they're kept."""
    return summed(data, _known(place)) if sealing is None else sealing.seal(data, place)


def value(data: bytes, place: Bound, sealing: Sealing | None, where: str) -> Any:
    """The value of JSON bytes as they're kept. Raises StoreError, beginning with ``where``, for anything else."""
    if sealing is not None:
        data = sealing.open(data, whole(place, where), where)
    elif is_sealed(data):
        raise KeyMissing(f"{where}: it {_SEALED}", lasting=True)
    else:
        data = checked(data, _known(place), where)
    try:
        return loads(data)
    except (ValueError, RecursionError, AttributeError) as error:
        raise StoreError(f"{where}: it isn't JSON ({error})", lasting=True) from None


def whole(place: Bound, where: str) -> Bound:
    """Raises StoreError unless a place is one: a damaged column may hold anything."""
    if not {str, int, type(None)}.issuperset(map(type, place)):
        raise StoreError(f"{where}: a column beside it holds what it can't; the store is damaged", lasting=True)
    return place


def _known(place: Bound) -> Bound:
    """What is known of a place before it's written to: not the position of a session's item."""
    return place[:2] if place[0] == "item" else place


_SEALED = "is encrypted; open the store as EncryptedStore(store, key=…), or by an address that begins with 'encrypted+'"
