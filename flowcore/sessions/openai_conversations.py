"""A session that OpenAI keeps: a conversation of its Conversations API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from flowcore.agents.session import SessionABC, SessionSettings, Settings, settings_of
from flowcore.models.base import Item
from flowcore.models.openai_client import Clients
from flowcore.models.openai_defaults import default_openai_client
from flowcore.models.openai_errors import to_model_error
from flowcore.sessions.wire import decode, encode, how_many

if TYPE_CHECKING:
    from openai import AsyncOpenAI

BATCH = 20
"""How many items one request may add (the API's limit)."""
PAGE = 100
"""How many items one request may list (the API's limit)."""
_NAMED_BY_SERVER = frozenset(
    {"message", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output"}
)
"""Items whose id the server gives anew. That of other types is part of what they say."""


class NotBegun(ValueError, AttributeError):
    """The conversation has no id yet: the server gives it one at the first call."""


class OpenAIConversationsSession(SessionABC):
    """A conversation at OpenAI: ``conversation_id``, or a new one, made at the first call.

    ``openai_client``: the client to use; None: the process's default. Adding more than 20 items takes several requests;
    when one fails, what came before it stays. Methods raise ModelError when the server can't be reached or refuses.
    """

    session_settings: SessionSettings | None

    def __init__(
        self,
        conversation_id: str | None = None,
        openai_client: AsyncOpenAI | None = None,
        session_settings: Settings = None,
    ) -> None:
        self._id = conversation_id
        self._given = openai_client or default_openai_client()
        self._clients = Clients()
        self._beginning = asyncio.Lock()
        self.session_settings = settings_of(session_settings) or SessionSettings()

    @property
    def _client(self) -> AsyncOpenAI:
        return self._given or self._clients.get()

    @property
    def session_id(self) -> str:
        """The conversation's id. Raises ValueError as long as there's none."""
        if self._id is None:
            raise NotBegun(
                "Session ID not yet available: the conversation begins at the first call. Await get_items() or "
                "add_items([...]) first, or give conversation_id="
            )
        return self._id

    @session_id.setter
    def session_id(self, value: str) -> None:
        self._id = value

    async def get_items(self, limit: int | None = None) -> list[Item]:
        """The items, oldest first; with ``limit`` the latest so many, None: as ``session_settings`` say."""
        most = how_many(limit, self.session_settings)
        conversation = await self._begun()
        if most is None:
            return [item async for item in self._listed(conversation, "asc", PAGE)]
        if most == 0:
            return []
        found: list[Item] = []
        async with aclosing(self._listed(conversation, "desc", min(most, PAGE))) as latest:
            async for item in latest:
                found.append(item)
                if len(found) == most:
                    break
        return found[::-1]

    async def add_items(self, items: list[Item]) -> None:
        """Add items at the end, 20 a request."""
        where = "OpenAIConversationsSession"
        ready = iter([_without_own_id(decode(text, where)) for text in encode(items, where)])
        while batch := list(islice(ready, BATCH)):
            conversation = await self._begun()
            with self._mapped():  # never tried twice: nobody knows whether the first try came through
                client = self._client.with_options(max_retries=0)
                await client.conversations.items.create(conversation, items=[], extra_body={"items": batch})

    async def pop_item(self) -> Item | None:
        """Remove and return the latest item; None if there's none."""
        conversation = await self._begun()
        latest = await self.get_items(1)
        if not latest:
            return None
        with self._mapped():
            await self._client.conversations.items.delete(str(latest[0]["id"]), conversation_id=conversation)
        return latest[0]

    async def clear_session(self) -> None:
        """Delete the conversation. The next call begins another one, under another id."""
        if self._id is not None:
            with self._mapped():
                await self._client.conversations.delete(self._id)
            self._id = None

    async def _begun(self) -> str:
        if self._id is None:
            async with self._beginning:
                if self._id is None:
                    with self._mapped():
                        self._id = (await self._client.conversations.create(items=[])).id
        return self._id

    async def _listed(self, conversation: str, order: Any, page: int) -> AsyncGenerator[Item, None]:
        with self._mapped():
            async for item in self._client.conversations.items.list(conversation, order=order, limit=page):
                yield item if isinstance(item, dict) else _dumped(item)

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            mapped = to_model_error(error, where=f"conversation {self._id or '(new)'}")
            if mapped is None:
                raise
            raise mapped from error


def _dumped(item: Any) -> Item:
    """An item as the server sent it; what the client's classes don't foresee passes without a word."""
    data: Item = item.model_dump(mode="json", exclude_unset=True, warnings=False)
    return data


def _without_own_id(item: Item) -> Item:
    """The item as the server takes it: it gives the ids, and knows nothing of our notes on providers."""
    own = {"provider_data"} | ({"id"} if item.get("type", "message") in _NAMED_BY_SERVER else set())
    return {name: value for name, value in item.items() if name not in own}
