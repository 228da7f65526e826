"""What of a run goes to its session, and when: with the transition that settles it."""

from __future__ import annotations

from typing import Any

from flowcore.agents.loop.state import AgentState
from flowcore.engine.context import Context
from flowcore.models.base import Item


def save(state: AgentState, ctx: Context, new: list[Item] | None = None) -> dict[str, Any]:
    """Write what the session doesn't have yet, and ``new``, with this entry's transition; the update that notes it."""
    session = ctx.meta.get("session")
    if session is None:
        return {}
    unsaved = [*state.items[state.saved :], *(new or ())]
    if unsaved:
        ctx.to_session(session, unsaved)
    return {"saved": state.saved + len(unsaved)}
