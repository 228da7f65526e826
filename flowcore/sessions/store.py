"""A session that a run's store keeps, through the protocol of the others: to read and edit it from outside of runs."""

from __future__ import annotations

import copy
import os

from flowcore.agents.session import SessionABC, SessionSettings, Settings, settings_of
from flowcore.models.base import Item
from flowcore.sessions.wire import decode, encode, how_many
from flowcore.stores import Store, open_store


class StoreSession(SessionABC):
    """The session ``session_id`` of ``store`` (a store, or its address: see ``open_store``).

    It is the session that runs in this store know by ``session="id"``; their facts refer to its items by position, so
    what you remove here is gone for them too.
    """

    session_settings: SessionSettings | None

    def __init__(
        self, session_id: str, store: Store | str | os.PathLike[str], session_settings: Settings = None
    ) -> None:
        self.session_id = session_id
        self.store = open_store(store)
        self.session_settings = settings_of(session_settings) or SessionSettings()

    async def get_items(self, limit: int | None = None) -> list[Item]:
        """The items, oldest first; with ``limit`` the latest so many, None: as ``session_settings`` say."""
        most = how_many(limit, self.session_settings)
        if most == 0:
            return []
        # A memory store hands out what it keeps.
        return [copy.deepcopy(one.item) for one in await self.store.session_items(self.session_id, limit=most)]

    async def add_items(self, items: list[Item]) -> None:
        """Add items at the end, all or none."""
        where = f"StoreSession {self.session_id!r}"
        plain = [decode(text, where) for text in encode(items, where)]  # nobody else's objects go into a memory store
        if plain:
            await self.store.session_write(self.session_id, plain)

    async def pop_item(self) -> Item | None:
        """Remove and return the latest item; None if there's none."""
        item: Item | None = await self.store.session_pop(self.session_id)
        return item

    async def clear_session(self) -> None:
        """Remove all items."""
        await self.store.session_clear(self.session_id)
