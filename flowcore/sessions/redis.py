"""Sessions in a Redis server (or one that speaks its protocol). The extra ``redis``.

The keys are those of the OpenAI Agents SDK: ``PREFIX:ID`` is a hash with times, ``PREFIX:ID:messages`` a list of JSON.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flowcore.agents.session import SessionABC, SessionSettings, Settings, settings_of
from flowcore.errors import StoreError, UserError
from flowcore.models.base import Item
from flowcore.sessions.wire import checked_id, decode, encode, how_many

try:
    import redis.asyncio as client_of_redis
    from redis.exceptions import RedisError
except ImportError as missing:
    raise UserError(f"RedisSession: {missing}; install it with: pip install 'flowcore[redis]'") from missing

if TYPE_CHECKING:
    from redis.asyncio import Redis

_LIST = ":messages"


class RedisSession(SessionABC):
    """A session in the server of ``redis_client``, an async client (one server, no cluster: writes are transactions
    over two keys).

    ``key_prefix``: what its keys begin with. ``ttl``: seconds after the last write until the session is forgotten;
    None: it stays. Methods raise StoreError when the server can't be reached or refuses.
    """

    session_settings: SessionSettings | None

    def __init__(
        self,
        session_id: str,
        *,
        redis_client: Redis,
        key_prefix: str = "agents:session",
        ttl: int | None = None,
        session_settings: Settings = None,
    ) -> None:
        self.session_id = checked_id(session_id, "RedisSession")
        if session_id.endswith(_LIST):
            raise UserError(
                f"RedisSession: session_id={session_id!r} ends like a key of another session; choose another"
            )
        if ttl is not None and (not isinstance(ttl, int) or ttl <= 0):
            raise UserError(f"RedisSession: ttl={ttl!r}: give whole seconds above 0, or None to keep the session")
        self.session_settings = settings_of(session_settings) or SessionSettings()
        self._redis = redis_client
        self._owned = False
        self._closed = False
        self._ttl = ttl
        self._key = f"{key_prefix}:{session_id}"
        self._list = self._key + _LIST
        self._where = f"RedisSession, session {session_id!r}"

    @classmethod
    def from_url(
        cls,
        session_id: str,
        *,
        url: str,
        redis_kwargs: Mapping[str, Any] | None = None,
        session_settings: Settings = None,
        **kwargs: Any,
    ) -> RedisSession:
        """A session with a client of its own, made from a URL such as ``redis://host:6379/0``.

        ``redis_kwargs`` go to ``redis.asyncio.from_url``, ``kwargs`` to the session. ``close`` closes the client.
        """
        client = client_of_redis.from_url(url, **(redis_kwargs or {}))
        made = cls(session_id, redis_client=client, session_settings=session_settings, **kwargs)
        made._owned = True
        return made

    async def get_items(self, limit: int | None = None) -> list[Item]:
        """The items, oldest first; with ``limit`` the latest so many, None: as ``session_settings`` say."""
        most = how_many(limit, self.session_settings)
        if most == 0:
            return []
        with self._asking():
            texts: list[Any] = await self._redis.lrange(self._list, 0 if most is None else -most, -1)
        return [decode(text, self._where) for text in texts]

    async def add_items(self, items: list[Item]) -> None:
        """Add items at the end, all or none."""
        texts = encode(items, self._where)
        if texts:
            await self._write(texts, replace=False)

    async def replace_items(self, items: list[Item]) -> None:
        """Put these items in the place of all, in one transaction."""
        await self._write(encode(items, self._where), replace=True)

    async def _write(self, texts: list[str], replace: bool) -> None:
        now = str(int(time.time()))
        with self._asking():
            async with self._redis.pipeline(transaction=True) as batch:
                if replace:
                    batch.delete(self._list)
                if texts:
                    batch.rpush(self._list, *texts)
                batch.hset(self._key, mapping={"session_id": self.session_id, "updated_at": now})
                batch.hsetnx(self._key, "created_at", now)
                if self._ttl is not None:
                    batch.expire(self._key, self._ttl)
                    batch.expire(self._list, self._ttl)
                await batch.execute()

    async def pop_item(self) -> Item | None:
        """Remove and return the latest item; None if there's none."""
        with self._asking():
            text: Any = await self._redis.rpop(self._list)
        return None if text is None else decode(text, self._where)

    async def clear_session(self) -> None:
        """Remove all items."""
        with self._asking():
            await self._redis.delete(self._list, self._key)

    async def ping(self) -> bool:
        """Whether the server answers. Raises RuntimeError once the session is closed."""
        try:
            with self._asking():
                return bool(await self._redis.ping())
        except StoreError:
            return False

    async def close(self) -> None:
        """Close the client if ``from_url`` made it: then later calls raise RuntimeError. Yours is yours to close."""
        if self._owned:
            self._closed = True
            await self._redis.aclose()

    @contextmanager
    def _asking(self) -> Iterator[None]:
        if self._closed:
            raise RuntimeError("RedisSession is closed; make a new one")
        try:
            yield
        except (RedisError, OSError) as error:
            raise StoreError(f"{self._where}: {error}") from error
