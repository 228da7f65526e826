"""Facts as bytes and back: header columns that a store may query, and one payload of JSON. Nothing in it can run
code."""

from __future__ import annotations

from typing import Any, NamedTuple

from flowcore.errors import StoreError
from flowcore.graph.values import dumps, loads
from flowcore.machine.facts import KINDS, NAMES, Fact

SCHEMA_VERSION = 1
"""Version of the facts' format; it stands in every payload."""


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
    where = f"fact {row.seq!r} of kind {row.kind!r}"
    cls = KINDS.get(row.kind)
    if cls is None:
        raise StoreError(f"{where}: no such kind; was this store written by a newer flowcore?")
    try:
        body = loads(row.payload)
    except (ValueError, RecursionError, AttributeError) as error:
        raise StoreError(f"{where}: its payload isn't JSON ({error}); the store is damaged") from None
    if not isinstance(body, dict) or body.pop("v", None) != SCHEMA_VERSION:
        raise StoreError(f"{where}: unknown format version; this flowcore reads version {SCHEMA_VERSION}")
    header: dict[str, Any] = {"seq": row.seq, "node": row.node, "visit": row.visit, "at": row.at}
    if row.on is not None:
        header.update(on=row.on, to=row.to)
    try:
        return cls(**header, **body)
    except TypeError as error:
        raise StoreError(f"{where}: {error}; the store is damaged") from None
