"""What of a run goes to its session, and when: with the transition that settles it.

A session in the run's own store is written in that transition's append. One that lives elsewhere is written by an
effect whose intent is recorded first; after a crash or an error its tail tells whether it happened.
"""

from __future__ import annotations

from typing import Any

from flowcore.agents.context import RunContextWrapper
from flowcore.agents.items import is_message
from flowcore.agents.loop.state import AgentState
from flowcore.agents.options import Options
from flowcore.agents.session import Session, ask
from flowcore.agents.session_input import CALL_OF, limited
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
    into = elsewhere if session is None else session
    saved = state.saved if state.saved_in in (None, into) else 0  # a fork may write to another one than its base
    unsaved = [*state.items[saved:upto], *(new or ())]
    if not unsaved:
        return {}
    if session is not None:
        ctx.to_session(session, unsaved)
    else:
        await _write(state, ctx, options, foreign_session(ctx, options), unsaved)
    noted = {} if state.saved_in == into else {"saved_in": into}
    return {"saved": saved + len(unsaved), **noted}


def foreign_session(ctx: Context, options: Options) -> Session:
    """The session that the run was begun with. Raises UserError where this process wasn't given it."""
    wanted = ctx.meta[FOREIGN]
    session = options.session
    if session is None or session.session_id != wanted:
        raise UserError(told_session(ctx.run_id, wanted))
    return session


def told_session(run_id: str, wanted: str) -> str:
    """What is said where a process wasn't given a run's session."""
    return (
        f"run '{run_id}' writes to session '{wanted}', which isn't in its store; give that session again when"
        " you go on with the run: Runner.run(agent, state, session=...)"
    )


async def _write(state: AgentState, ctx: Context, options: Options, session: Session, items: list[Item]) -> None:
    """Add items to a session elsewhere, once."""
    wrapper = options.wrapper(ctx)

    async def add(_: list[Item]) -> int:
        await ask(session, "add_items", [dict(item) for item in items], wrapper=wrapper)
        return len(items)

    async def happened() -> dict[str, Any] | None:
        expected = items * (1 + _repeats(items, [*(state.history or ()), *state.items[: state.saved]]))
        tail = await ask(session, "get_items", len(expected), wrapper=wrapper)
        same = len(tail) == len(expected) and all(map(_says_the_same, expected, tail))
        return {"value": len(items)} if same else None

    await ctx.once(SAVING, add, items, on_crash=happened)
    # A session that makes itself short does so now that it holds what was said, and the server too: a local output is
    # only known here as long as no reply follows it.
    if hasattr(session, "run_compaction") and state.response_id and not any(map(_is_local_output, items)):
        await _compacted(state, ctx, options, session)


async def _compacted(state: AgentState, ctx: Context, options: Options, session: Any) -> None:
    """Let a session make itself short, once; what that used is the run's."""
    given: dict[str, Any] = {"response_id": state.response_id}
    settings = (options.config.model_settings, ctx.bound.current(state).model_settings)
    kept = [one.store for one in settings if one is not None and one.store is not None]
    if kept:
        given["store"] = kept[0]

    async def compact() -> None:
        wrapper = RunContextWrapper(options.wrapper(ctx).context)
        await ask(session, "run_compaction", given, wrapper=wrapper)
        counts = wrapper.usage.to_counts()
        if counts:
            ctx.spend(**counts)

    await ctx.once(f"{SAVING}:compaction", compact)


def _is_local_output(item: Item) -> bool:
    return item.get("type") in CALL_OF


def _repeats(items: list[Item], before: list[Item]) -> int:
    """How often in a row a session ended with these very items before they were added: a tail like theirs then says
    nothing yet."""
    count = len(items)
    at = len(before) - count
    while at >= 0 and all(map(_says_the_same, items, before[at : at + count])):
        at -= count
    return (len(before) - count - at) // count


def _says_the_same(item: Item, kept: Item) -> bool:
    """Whether a session has kept this item; some give ids of their own, and write a text as a part."""
    if is_message(item) or "role" in item:
        return item.get("role") == kept.get("role") and _told(item) == _told(kept)
    return all(kept.get(name) == value for name, value in item.items() if name not in ("id", "status", "provider_data"))


def _told(message: Item) -> Any:
    """A message's content: its text where it's all text."""
    content = message.get("content")
    if not isinstance(content, list):
        return content
    parts = [part.get("text") if isinstance(part, dict) else None for part in content]
    return content if None in parts else "".join(map(str, parts))


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
