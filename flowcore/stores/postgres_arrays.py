"""Columns of values as the arrays that PostgreSQL takes, in its binary form: a statement with many rows costs a
fraction of what the driver takes that looks at each value for its type.

The form (PostgreSQL's ``array_recv``): dimensions, whether there are NULLs, the elements' type; for the one dimension
its length and lower bound; then each element behind its length in bytes, -1 for NULL. Integers are big-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from psycopg import AsyncConnection

Encode: TypeAlias = Callable[[Any], bytes]


class Kind(NamedTuple):
    """A type of elements: its number and its array's (``pg_type``), and how one is written behind its length."""

    oid: int
    array: int
    encode: Encode


class Column(NamedTuple):
    """Values of one type; None is NULL."""

    kind: Kind
    values: Sequence[Any]


_head = struct.Struct(">iiiii").pack
_size = struct.Struct(">i").pack
_whole = struct.Struct(">iq").pack
_real = struct.Struct(">id").pack
_NULL = _size(-1)


def _bytes(value: bytes) -> bytes:
    return _size(len(value)) + value


def _text(value: str) -> bytes:
    return _bytes(value.encode())


def _int8(value: int) -> bytes:
    return _whole(8, value)


def _float8(value: float) -> bytes:
    return _real(8, value)


def _bool(value: bool) -> bytes:
    return b"\0\0\0\1\1" if value else b"\0\0\0\1\0"


BYTEA = Kind(17, 1001, _bytes)
TEXT = Kind(25, 1009, _text)
INT8 = Kind(20, 1016, _int8)
FLOAT8 = Kind(701, 1022, _float8)
BOOL = Kind(16, 1000, _bool)


def columns(kinds: Sequence[Kind], rows: Iterable[tuple[Any, ...]]) -> list[Column]:
    """Rows of values as columns of these kinds."""
    turned = list(zip(*rows, strict=True))
    return [Column(kind, values) for kind, values in zip(kinds, turned or [()] * len(kinds), strict=True)]


def encoded(column: Column) -> bytes:
    """A column as PostgreSQL takes it. Raises TypeError, ValueError or struct.error for a value of another type."""
    (oid, _, encode), values = column
    if not values:
        return _head(0, 0, oid, 0, 0)[:12]
    nulls = None in values
    if nulls:
        elements = [_NULL if value is None else encode(value) for value in values]
    else:
        elements = [encode(value) for value in values]
    return b"".join((_head(1, nulls, oid, len(values), 1), *elements))


def adapt(connection: AsyncConnection[Any]) -> None:
    """Let a connection take columns."""
    connection.adapters.register_dumper(Column, _dumper())


@lru_cache(maxsize=1)
def _dumper() -> Any:
    from psycopg import DataError
    from psycopg.adapt import Dumper
    from psycopg.pq import Format

    class ColumnDumper(Dumper):
        """Writes columns; one for each kind."""

        format = Format.BINARY

        def get_key(self, obj: Column, format: Any) -> Any:
            return Column, obj.kind.oid

        def upgrade(self, obj: Column, format: Any) -> Any:
            made = type(self)(Column)
            made.oid = obj.kind.array
            return made

        def dump(self, obj: Column) -> bytes:
            try:
                return encoded(obj)
            except (TypeError, ValueError, AttributeError, struct.error) as error:
                raise DataError(f"a value can't be stored: {error}") from None

    return ColumnDumper
