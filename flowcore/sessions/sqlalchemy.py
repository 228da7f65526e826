"""Sessions in any database for which SQLAlchemy has an async driver. The extra ``sqlalchemy``; bring the driver.

The tables are those of the OpenAI Agents SDK, so that a database made there is read here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from flowcore.agents.session import SessionABC, SessionSettings, Settings, settings_of
from flowcore.errors import StoreError, UserError
from flowcore.models.base import Item
from flowcore.sessions.wire import checked_id, checked_tables, decode, encode, how_many

try:
    import sqlalchemy as sa
    from sqlalchemy.dialects.mysql import LONGTEXT
    from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
    from sqlalchemy.pool import StaticPool
except ImportError as missing:
    raise UserError(f"SQLAlchemySession: {missing}; install it with: pip install 'flowcore[sqlalchemy]'") from missing

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_turns: WeakKeyDictionary[AsyncEngine, asyncio.Lock] = WeakKeyDictionary()
"""For engines with one connection for all (databases in memory): there, transactions have to take turns."""


class SQLAlchemySession(SessionABC):
    """A session in the database of ``engine``.

    ``create_tables``: make the tables, where they aren't there, at the first use. ``sessions_table``,
    ``messages_table``: their names. ``ensure_ascii``: write texts as ASCII JSON; else as UTF-8 where that can be.
    Methods raise StoreError when the database can't be read or written.
    """

    session_settings: SessionSettings | None

    def __init__(
        self,
        session_id: str,
        *,
        engine: AsyncEngine,
        create_tables: bool = False,
        sessions_table: str = "agent_sessions",
        messages_table: str = "agent_messages",
        session_settings: Settings = None,
        ensure_ascii: bool = True,
    ) -> None:
        self.session_id = checked_id(session_id, "SQLAlchemySession")
        self.session_settings = settings_of(session_settings) or SessionSettings()
        self._engine = engine
        self._owned = False
        self._to_make = create_tables
        self._ensure_ascii = ensure_ascii
        self._metadata = sa.MetaData()
        names = checked_tables(sessions_table, messages_table, "SQLAlchemySession")
        self._sessions, self._messages = _tables(self._metadata, *names)
        self._where = f"SQLAlchemySession {engine.url.render_as_string()}, session {session_id!r}"

    @classmethod
    def from_url(
        cls,
        session_id: str,
        *,
        url: str,
        engine_kwargs: Mapping[str, Any] | None = None,
        session_settings: Settings = None,
        **kwargs: Any,
    ) -> SQLAlchemySession:
        """A session with an engine of its own, made from a URL such as ``postgresql+asyncpg://user:pass@host/db``.

        ``engine_kwargs`` go to ``create_async_engine``, ``kwargs`` to the session. ``close`` gives the engine back.
        """
        engine = create_async_engine(url, **(engine_kwargs or {}))
        made = cls(session_id, engine=engine, session_settings=session_settings, **kwargs)
        made._owned = True
        return made

    @property
    def engine(self) -> AsyncEngine:
        """The engine."""
        return self._engine

    async def close(self) -> None:
        """Give back the engine's connections if ``from_url`` made it; yours is yours to dispose of."""
        if self._owned:
            await self._engine.dispose()

    async def get_items(self, limit: int | None = None) -> list[Item]:
        """The items, oldest first; with ``limit`` the latest so many, None: as ``session_settings`` say."""
        most = how_many(limit, self.session_settings)
        table = self._messages
        wanted = sa.select(table.c.message_data).where(table.c.session_id == self.session_id)
        wanted = wanted.order_by(table.c.id.desc())
        if most is not None:
            wanted = wanted.limit(most)
        async with self._transaction() as connection:
            texts = (await connection.execute(wanted)).scalars().all()
        return [decode(text, self._where) for text in reversed(texts)]

    async def add_items(self, items: list[Item]) -> None:
        """Add items at the end, all or none."""
        texts = encode(items, self._where, ensure_ascii=self._ensure_ascii)
        if texts:
            async with self._transaction() as connection:
                await self._add(connection, texts)

    async def replace_items(self, items: list[Item]) -> None:
        """Put these items in the place of all, in one transaction."""
        texts = encode(items, self._where, ensure_ascii=self._ensure_ascii)
        async with self._transaction() as connection:
            await self._touch(connection)
            await connection.execute(sa.delete(self._messages).where(self._messages.c.session_id == self.session_id))
            if texts:
                await self._add(connection, texts)

    async def pop_item(self) -> Item | None:
        """Remove and return the latest item; None if there's none."""
        table = self._messages
        last = sa.select(table.c.id, table.c.message_data).where(table.c.session_id == self.session_id)
        last = last.order_by(table.c.id.desc()).limit(1)
        while True:
            async with self._transaction() as connection:
                row = (await connection.execute(last)).first()
                if row is None:
                    return None
                item = decode(row.message_data, self._where)
                gone = await connection.execute(sa.delete(table).where(table.c.id == row.id))
                if gone.rowcount:  # else another one popped it meanwhile
                    return item

    async def clear_session(self) -> None:
        """Remove all items."""
        async with self._transaction() as connection:
            for table in (self._messages, self._sessions):
                await connection.execute(sa.delete(table).where(table.c.session_id == self.session_id))

    async def _touch(self, connection: AsyncConnection) -> None:
        """The session's own row, made or marked as written now. It comes first: others who write wait here."""
        mark = (
            sa.update(self._sessions)
            .where(self._sessions.c.session_id == self.session_id)
            .values(updated_at=sa.func.current_timestamp())
        )
        if (await connection.execute(mark)).rowcount:
            return
        try:
            async with connection.begin_nested():
                await connection.execute(sa.insert(self._sessions).values(session_id=self.session_id))
        except sa.exc.IntegrityError:  # another one made it meanwhile
            await connection.execute(mark)

    async def _add(self, connection: AsyncConnection, texts: list[str]) -> None:
        await self._touch(connection)
        rows = [{"session_id": self.session_id, "message_data": text} for text in texts]
        await connection.execute(sa.insert(self._messages), rows)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        async with AsyncExitStack() as stack:
            if isinstance(self._engine.sync_engine.pool, StaticPool):
                await stack.enter_async_context(_turns.setdefault(self._engine, asyncio.Lock()))
            try:
                if self._to_make:
                    await self._make_tables()
                async with self._engine.begin() as connection:
                    yield connection
            except sa.exc.SQLAlchemyError as error:
                what = getattr(error, "orig", None) or error  # its own text quotes what was to be written
                raise StoreError(f"{self._where}: {what}{self._advice(error)}") from what

    async def _make_tables(self) -> None:
        for again in (True, False):
            try:
                async with self._engine.begin() as connection:
                    await connection.run_sync(self._metadata.create_all)
                break
            except sa.exc.DBAPIError:  # another one made them between the look and the making
                if not again:
                    raise
        self._to_make = False

    def _advice(self, error: Exception) -> str:
        missing = isinstance(error, (sa.exc.OperationalError, sa.exc.ProgrammingError))
        if missing and any(table in str(error) for table in (self._sessions.name, self._messages.name)):
            return "; if the tables aren't there yet, pass create_tables=True"
        return ""


def _tables(metadata: sa.MetaData, sessions: str, messages: str) -> tuple[sa.Table, sa.Table]:
    """The two tables. MySQL wants a length for keys, and its TEXT ends at 64 kB."""
    key = sa.String().with_variant(sa.String(255), "mysql", "mariadb")
    text = sa.Text().with_variant(LONGTEXT(), "mysql", "mariadb")

    def moment(name: str) -> sa.Column[Any]:
        kind = sa.TIMESTAMP(timezone=False)
        return sa.Column(name, kind, server_default=sa.text("CURRENT_TIMESTAMP"), nullable=False)

    first = sa.Table(
        sessions, metadata, sa.Column("session_id", key, primary_key=True), moment("created_at"), moment("updated_at")
    )
    second = sa.Table(
        messages,
        metadata,
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("session_id", key, sa.ForeignKey(first.c.session_id, ondelete="CASCADE"), nullable=False),
        sa.Column("message_data", text, nullable=False),
        moment("created_at"),
        sa.Index(f"idx_{messages}_session_time", "session_id", "created_at"),
        sqlite_autoincrement=True,
    )
    return first, second
