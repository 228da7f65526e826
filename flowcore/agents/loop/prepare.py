"""``prepare``: what is asked once, before anything runs."""

from __future__ import annotations

from typing import Any, Literal

from flowcore.agents.loop.judge import LISTED
from flowcore.agents.loop.saving import FOREIGN, foreign_session
from flowcore.agents.loop.state import AgentState
from flowcore.agents.options import Options, options_of
from flowcore.agents.session import ask, limit_of
from flowcore.agents.session_input import limited, merge_input, without_open_calls
from flowcore.engine.context import Context
from flowcore.graph.outcomes import Goto, Replace
from flowcore.models.base import Item


async def prepare(state: AgentState, ctx: Context) -> Goto[Literal["ready"]]:
    """Note where the input ends, and what the session held when the run began."""
    update: dict[str, Any] = {"agent": ctx.bound.first, "begun": len(state.items), "reply_at": len(state.items)}
    meta = ctx.meta
    if meta.get(LISTED):
        update["listed"] = True
    if "session" in meta or FOREIGN in meta:
        update.update(await _with_session(state, ctx, options_of(ctx, state)))
    return Goto("ready", **update)


async def _with_session(state: AgentState, ctx: Context, options: Options) -> dict[str, Any]:
    """A session of the run's store is noted by position, one elsewhere by its items; a callback chooses from either."""
    own, callback = ctx.meta.get("session"), options.config.session_input_callback
    limit = limit_of(options.session, options.config.session_settings)
    if own is not None and callback is None:
        tail = await ctx.store.session_items(own, limit=1)
        noted: dict[str, Any] = {"session": own, "session_upto": tail[-1].position if tail else 0}
        return noted if limit is None else {**noted, "session_limit": limit}
    if own is not None:
        history = limited([one.item for one in await ctx.store.session_items(own, limit=limit)], limit)
    else:
        history = without_open_calls(await _elsewhere(ctx, options, limit))
    noted = {"session": own} if own is not None else {}
    if callback is None:
        return {**noted, "history": history}
    merged = await merge_input(history, state.items, callback)
    chosen, new = merged.items, merged.new
    return {
        **noted,
        "items": Replace([dict(item) for item in new]),
        "view": [dict(item) for item in chosen],
        "view_at": len(new),
        "begun": len(new),
        "reply_at": len(new),
    }


async def _elsewhere(ctx: Context, options: Options, limit: int | None) -> list[Item]:
    session = foreign_session(ctx, options)
    items = await ask(session, "get_items", limit, wrapper=options.wrapper(ctx))
    return limited([dict(item) for item in items], limit)
