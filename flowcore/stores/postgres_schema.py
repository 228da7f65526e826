"""A PostgreSQL store's schema: its name in statements, its locks, and how it's made, known and migrated."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from flowcore.errors import StoreError, UserError
from flowcore.stores.postgres_steps import OLDEST, STEPS

if TYPE_CHECKING:
    from psycopg import AsyncConnection


class Names:
    """A schema's name as it stands in statements, and the locks that belong to it. Raises UserError."""

    def __init__(self, schema: str) -> None:
        try:
            size = len(schema.encode("utf-8")) if isinstance(schema, str) else 0
        except UnicodeEncodeError:
            size = 0
        if not 0 < size <= 63 or "\0" in schema or schema.startswith("pg_") or "$body$" in schema:
            raise UserError(
                f"PostgresStore(schema={schema!r}): a schema's name is a text of 1 to 63 bytes that doesn't begin with"
                " 'pg_'"
            )
        self.schema = schema
        self._known: dict[str, bytes] = {}
        self._scripts: dict[str, bytes] = {}
        self._quoted = '"' + schema.replace('"', '""') + '".'

    def create(self) -> bytes:
        """The statement that makes the schema."""
        return f"CREATE SCHEMA {self._quoted[:-1]}".encode()

    def table(self, name: str) -> str:
        """A table's name, quoted, with the schema's."""
        return f'{self._quoted}"{name}"'

    def script(self, text: str) -> bytes:
        """Statements without parameters, ``@.`` standing for the schema."""
        known = self._scripts.get(text)
        if known is None:
            known = self._scripts[text] = text.replace("@.", self._quoted).encode()
        return known

    def sql(self, text: str) -> bytes:
        """A statement with parameters, ``@.`` standing for the schema."""
        known = self._known.get(text)
        if known is None:
            known = self._known[text] = text.replace("@.", self._quoted.replace("%", "%%")).encode()
        return known

    def lock(self, kind: str, name: bytes = b"") -> int:
        """The number of an advisory lock: of the schema's making, of deletions, of a session."""
        told = b"\0".join((b"flowcore", self.schema.encode(), kind.encode(), name))
        return int.from_bytes(hashlib.sha256(told).digest()[:8], "big", signed=True)


async def prepare(connection: AsyncConnection, names: Names, place: str) -> None:
    """Make or migrate the schema; any number of processes may at once. Raises StoreError where it's another
    application's, or a newer flowcore's."""
    if await _version(connection, names, place) == len(STEPS):
        return
    async with connection.transaction():
        await connection.execute("SET LOCAL lock_timeout = 0")
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (names.lock("schema"),))
        version = await _version(connection, names, place)
        if version == 0 and not await _one(connection, _HAS_SCHEMA, names.schema):
            await connection.execute(names.create())
        for step in filter(None, STEPS[version:]):
            await connection.execute(names.script(step))


async def _version(connection: AsyncConnection, names: Names, place: str) -> int:
    version = 0
    found = await connection.execute(_TABLES_THERE, (names.schema, [_KNOWN_BY, *_OURS]))  # one look: others make them
    there = {name for (name,) in await found.fetchall()}
    if _KNOWN_BY in there:
        version = await _one(connection, names.script("SELECT max(version) FROM @.flowcore_store")) or 0
    elif there:
        raise StoreError(f"{place}: the schema has another application's tables; give the store another schema=")
    if version > len(STEPS):
        raise StoreError(
            f"{place}: a newer flowcore wrote it (schema {version}, this one knows {len(STEPS)}); update flowcore"
        )
    if 0 < version < OLDEST:
        raise StoreError(
            f"{place}: it is of schema version {version}, from before flowcore's first release, and this one reads"
            f" {OLDEST} and above; give the store another schema="
        )
    return version


async def _one(connection: AsyncConnection, sql: str | bytes, *given: str) -> int:
    row = await (await connection.execute(sql, given or None)).fetchone()
    return int(row[0] or 0) if row else 0


_HAS_SCHEMA = "SELECT count(*) FROM pg_catalog.pg_namespace WHERE nspname = %s"
_KNOWN_BY = "flowcore_store"
_OURS = ("run", "fact", "kept", "owner", "letter", "request")
_TABLES_THERE = """
SELECT relname FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname = %s AND relname = ANY (%s)"""
