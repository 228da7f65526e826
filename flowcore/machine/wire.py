"""Facts as bytes and back: header columns that a store may query, and one payload of JSON. Nothing in it can run
code."""

from __future__ import annotations

from typing import Any, NamedTuple

from flowcore.errors import StoreError
from flowcore.graph.values import dumps, loads
from flowcore.machine.facts import KINDS, NAMES, Fact
from flowcore.machine.shapes import misfit

SCHEMA_VERSION = 3
"""Version of the facts' format; it stands in every payload. It counts up when a field or a kind is added, or means
something else; tests/golden holds the fields of each version, and journals that were written with it.

2: ``resumed`` tells of migrations (``place``, ``fingerprint``). 3: ``effect`` tells what is secret (``secret``)."""
READS = range(1, SCHEMA_VERSION + 1)
"""Versions that ``decode`` reads. What a later one added has a default, so an older fact is read as it is."""


class Row(NamedTuple):
    """One fact as a store keeps it."""

    seq: int
    kind: str
    node: str
    visit: int
    on: str | None
    to: str | None
    at: float
    payload: bytes


_HEADER = {"seq", "node", "visit", "on", "to", "at"}
_DEFAULTS = {
    cls: [
        (name, cls._field_defaults.get(name), name not in cls._field_defaults)
        for name in cls._fields
        if name not in _HEADER
    ]
    for cls in NAMES
}


def encode(fact: Fact) -> Row:
    """A fact as a row. Fields that have their default are left out."""
    body: dict[str, Any] = {"v": SCHEMA_VERSION}
    for name, default, required in _DEFAULTS[type(fact)]:
        value = getattr(fact, name)
        if required or value != default:
            body[name] = value
    return Row(
        fact.seq,
        NAMES[type(fact)],
        fact.node,
        fact.visit,
        getattr(fact, "on", None),
        getattr(fact, "to", None),
        fact.at,
        dumps(body),
    )


def decode(row: Row) -> Fact:
    """The inverse of ``encode``. Raises StoreError on anything else, saying which fact."""
    fact = read(row)
    wrong = misfit(fact)
    if wrong is not None:
        raise StoreError(
            f"fact {row.seq!r} of kind {row.kind!r}: '{wrong}' isn't what '{row.kind}' has there; the store is damaged",
            lasting=True,
        )
    return fact


def read(row: Row) -> Fact:
    """``decode`` for who looks at the types of the fields by himself."""
    where = f"fact {row.seq!r} of kind {row.kind!r}"
    try:
        body = loads(row.payload)
    except (ValueError, RecursionError, AttributeError) as error:
        raise StoreError(f"{where}: its payload isn't JSON ({error}); the store is damaged", lasting=True) from None
    version = body.pop("v", None) if type(body) is dict else None
    if type(version) is not int or version not in READS:
        raise StoreError(f"{where}: {unread(version)}", lasting=True)
    cls = KINDS.get(row.kind) if type(row.kind) is str else None
    if cls is None:
        raise StoreError(f"{where}: there's no such kind; the store is damaged", lasting=True)
    header: dict[str, Any] = {"seq": row.seq, "node": row.node, "visit": row.visit, "at": row.at}
    if row.on is not None:
        header.update(on=row.on, to=row.to)
    try:
        return cls(**header, **body)
    except TypeError as error:
        raise StoreError(f"{where}: {error}; the store is damaged", lasting=True) from None


def unread(version: Any) -> str:
    """Why facts of a version can't be read, and what to do."""
    if type(version) is int and version > SCHEMA_VERSION:
        return (
            f"a newer flowcore wrote it (facts of version {version}; this one reads {READS[0]} to {SCHEMA_VERSION});"
            " update flowcore"
        )
    told = f"version {version}" if type(version) is int else "no version"
    return f"it is of {told}, and this flowcore reads {READS[0]} to {SCHEMA_VERSION}; the store is damaged"
