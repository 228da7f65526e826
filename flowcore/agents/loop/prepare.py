"""``prepare``: what is asked once, before anything runs."""

from __future__ import annotations

from typing import Literal

from flowcore.agents.loop.state import AgentState
from flowcore.engine.context import Context
from flowcore.graph.outcomes import Goto


async def prepare(state: AgentState, ctx: Context) -> Goto[Literal["ready"]]:
    """Note where the input ends, and how far the session went when the run began."""
    session = ctx.meta.get("session")
    upto = 0
    if session is not None:
        tail = await ctx.store.session_items(session, limit=1)
        upto = tail[-1].position if tail else 0
    begun = {"agent": ctx.bound.first, "begun": len(state.items), "reply_at": len(state.items)}
    return Goto("ready", **begun) if session is None else Goto("ready", session=session, session_upto=upto, **begun)
