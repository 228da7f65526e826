"""What of a run goes to its session, and when: with the transition that settles it."""

from __future__ import annotations

from typing import Any

from flowcore.agents.loop.state import AgentState
from flowcore.agents.options import Options
from flowcore.engine.context import Context
from flowcore.models.base import Item


def save(state: AgentState, ctx: Context, new: list[Item] | None = None, *, upto: int | None = None) -> dict[str, Any]:
    """Write what the session doesn't have yet (of the first ``upto`` items), and ``new``, with this entry's
    transition; the update that notes it."""
    session = ctx.meta.get("session")
    if session is None:
        return {}
    unsaved = [*state.items[state.saved : upto], *(new or ())]
    if unsaved:
        ctx.to_session(session, unsaved)
    return {"saved": state.saved + len(unsaved)}


async def session_history(state: AgentState, ctx: Context, options: Options) -> list[Item]:
    """What the session held when the run began, less what a handoff filter left out; read once a process."""
    if not state.session_upto or state.session is None:
        return []
    which = (state.session, state.session_upto)
    if options.history is None or options.history_of != which:  # a fork may share the options and read another one
        options.history_of = which
        kept = await ctx.store.session_items(state.session, upto=state.session_upto)
        options.history = [one.item for one in kept]
    if state.history_kept is None:
        return options.history
    return [options.history[position] for position in state.history_kept]
