"""All items of a session replaced by others: at once where the session can, else so that a failure puts them back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowcore.agents.session import ask
from flowcore.models.base import Item

if TYPE_CHECKING:
    from flowcore.agents.context import RunContextWrapper

EVERYTHING = 2**31 - 1
"""A limit beyond every session, where a session's own settings would read less."""


async def everything(session: Any, wrapper: RunContextWrapper[Any] | None = None) -> list[Item]:
    """All items, whatever the session's settings say."""
    items: list[Item] = await ask(session, "get_items", EVERYTHING, wrapper=wrapper)
    return items


async def replace(session: Any, items: list[Item], wrapper: RunContextWrapper[Any] | None = None) -> None:
    """Put ``items`` in the place of all. ``replace_items`` of the session does it, where it has one; else they are
    cleared and added, and put back when that fails."""
    if callable(getattr(session, "replace_items", None)):
        await ask(session, "replace_items", items, wrapper=wrapper)
        return
    before = await everything(session, wrapper)
    await ask(session, "clear_session", wrapper=wrapper)
    try:
        await ask(session, "add_items", items, wrapper=wrapper)
    except BaseException:
        await ask(session, "clear_session", wrapper=wrapper)
        await ask(session, "add_items", before, wrapper=wrapper)
        raise
