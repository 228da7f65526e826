"""What of a run goes to its session, and when: with the transition that settles it.

A session in the run's own store is written in that transition's append. One that lives elsewhere is written by an
effect whose intent is recorded first; after a crash or an error its tail tells whether it happened.
"""

from __future__ import annotations

from typing import Any

from flowcore.agents.loop.state import AgentState
from flowcore.agents.options import Options
from flowcore.agents.session import Session, ask
from flowcore.agents.session_input import limited
from flowcore.engine.context import Context
from flowcore.errors import UserError
from flowcore.models.base import Item

FOREIGN = "session_elsewhere"
"""The run's ``meta`` names a session here that isn't in the run's store."""
SAVING = "session"
"""The key of the effect that writes to such a session."""


async def save(
    state: AgentState, ctx: Context, options: Options, new: list[Item] | None = None, *, upto: int | None = None
) -> dict[str, Any]:
    """Write what the session doesn't have yet (of the first ``upto`` items), and ``new``; the update that notes it."""
    meta = ctx.meta
    session, elsewhere = meta.get("session"), meta.get(FOREIGN)
    if session is None and elsewhere is None:
        return {}
    unsaved = [*state.items[state.saved : upto], *(new or ())]
    if unsaved and session is not None:
        ctx.to_session(session, unsaved)
    elif unsaved:
        await _write(ctx, options, foreign_session(ctx, options), unsaved, state.response_id)
    return {"saved": state.saved + len(unsaved)}


def foreign_session(ctx: Context, options: Options) -> Session:
    """The session that the run was begun with. Raises UserError where this process wasn't given it."""
    wanted = ctx.meta[FOREIGN]
    session = options.session
    if session is None or session.session_id != wanted:
        raise UserError(
            f"run '{ctx.run_id}' writes to session '{wanted}', which isn't in its store; give that session again when"
            " you go on with the run: Runner.run(agent, state, session=...)"
        )
    return session


async def _write(ctx: Context, options: Options, session: Session, items: list[Item], response_id: str | None) -> None:
    """Add items to a session elsewhere, once."""
    wrapper = options.wrapper(ctx)

    async def add(_: list[Item]) -> int:
        await ask(session, "add_items", [dict(item) for item in items], wrapper=wrapper)
        return len(items)

    async def happened() -> dict[str, Any] | None:
        tail = await ask(session, "get_items", len(items), wrapper=wrapper)
        return {"value": len(items)} if [dict(item) for item in tail] == items else None

    await ctx.once(SAVING, add, items, on_crash=happened)
    if hasattr(session, "run_compaction"):  # one that makes itself short, now that it holds what was said

        async def compact() -> None:
            await ask(session, "run_compaction", {"response_id": response_id}, wrapper=wrapper)

        await ctx.once(f"{SAVING}:compaction", compact)


async def session_history(state: AgentState, ctx: Context, options: Options) -> list[Item]:
    """What the session held when the run began, less what a handoff filter left out; read once a process."""
    if state.history is not None:
        before = state.history
    elif not state.session_upto or state.session is None:
        return []
    else:
        before = await _own_history(state, ctx, options, state.session, state.session_upto)
    return before if state.history_kept is None else [before[position] for position in state.history_kept]


async def _own_history(state: AgentState, ctx: Context, options: Options, session: str, upto: int) -> list[Item]:
    which = (session, upto)
    if options.history is None or options.history_of != which:  # a fork may share the options and read another one
        options.history_of = which
        kept = await ctx.store.session_items(session, upto=upto, limit=state.session_limit)
        options.history = limited([one.item for one in kept], state.session_limit)
    return options.history
