"""``handoff``: the conversation goes to another agent."""

from __future__ import annotations

import inspect
from typing import Any, Literal

from flowcore.agents.handoffs import Handoff, HandoffInputData
from flowcore.agents.items import function_output
from flowcore.agents.loop.saving import save
from flowcore.agents.loop.state import AgentState
from flowcore.agents.options import options_of
from flowcore.engine.context import Context
from flowcore.errors import UserError
from flowcore.graph.outcomes import Goto, Select
from flowcore.models.base import Item

IGNORED = "Multiple handoffs detected, ignoring this one."
"""What the model reads of every handoff of a reply but the first."""


async def handoff(state: AgentState, ctx: Context) -> Goto[Literal["done"]]:
    """Take the reply's first handoff; the others are told that they're ignored."""
    agent = ctx.bound.current(state)
    by_name = {one.tool_name: one for one in agent.resolved_handoffs}
    calls = [item for item in state.pending_calls() if item["name"] in by_name]
    taken = by_name[calls[0]["name"]]
    wrapper = options_of(ctx).wrapper(ctx)
    target = taken.on_invoke_handoff(wrapper, calls[0].get("arguments") or "")
    if inspect.isawaitable(target):
        target = await target
    outputs = [
        function_output(call["call_id"], taken.get_transfer_message(target) if i == 0 else IGNORED)
        for i, call in enumerate(calls)
    ]
    update: dict[str, Any] = {"items": outputs, "agent": target.name, **save(state, ctx, outputs)}
    if taken.input_filter is not None:
        update.update(await _filtered(state, ctx, taken, outputs))
    return Goto("done", **update)


async def _filtered(state: AgentState, ctx: Context, taken: Handoff, outputs: list[Item]) -> dict[str, Any]:
    """The next agent's view, as the handoff's filter chose it: items that are there are named, not copied."""
    assert taken.input_filter is not None
    items = list(state.items)
    seen = items if state.view is None else [*state.view, *items[state.view_at :]]
    data = HandoffInputData(
        input_history=tuple(seen[: state.begun] if state.view is None else state.view),
        pre_handoff_items=tuple(items[max(state.begun, state.view_at) : state.reply_at]),
        new_items=(*items[state.reply_at :], *outputs),
        run_context=options_of(ctx).wrapper(ctx),
    )
    chosen = taken.input_filter(data)
    if inspect.isawaitable(chosen):
        chosen = await chosen
    if not isinstance(chosen, HandoffInputData):
        raise UserError(f"Invalid input filter result: {type(chosen).__name__}; return a HandoffInputData")
    history = chosen.input_history
    kept = [*history, *chosen.pre_handoff_items, *chosen.new_items]
    where = {id(item): position for position, item in enumerate(items)}
    elements = [state.items.key(where[id(one)]) if id(one) in where else dict(one) for one in kept]  # type: ignore[attr-defined]
    return {"view": Select(elements, of="items"), "view_at": len(items) + len(outputs)}
