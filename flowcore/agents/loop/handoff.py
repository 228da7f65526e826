"""``handoff``: the conversation goes to another agent."""

from __future__ import annotations

import inspect
from typing import Any, Literal

from flowcore.agents.handoffs import Handoff, HandoffInputData
from flowcore.agents.items import function_output
from flowcore.agents.loop.saving import save, session_history
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
    options = options_of(ctx, state)

    async def invoke(tool_name: str, arguments: str) -> str:
        given = taken.on_invoke_handoff(options.wrapper(ctx), arguments)
        return str((await given if inspect.isawaitable(given) else given).name)

    asked = (taken.tool_name, calls[0].get("arguments") or "")
    # Without a filter it's the visit's only effect, and the transition is its record.
    name = await (invoke(*asked) if taken.input_filter is None else ctx.once("handoff", invoke, *asked))
    target = ctx.bound.agents.get(name)
    if target is None:
        raise UserError(
            f"handoff '{taken.tool_name}' of agent '{agent.name}' gave agent '{name}', which isn't one that"
            f" '{ctx.bound.first}' leads to; name it: Handoff(..., agent=...)"
        )
    outputs = [
        function_output(call["call_id"], taken.get_transfer_message(target) if i == 0 else IGNORED)
        for i, call in enumerate(calls)
    ]
    update: dict[str, Any] = {"items": outputs, "agent": name, **save(state, ctx, outputs)}
    if taken.input_filter is not None:
        update.update(await _filtered(state, ctx, taken, outputs))
    return Goto("done", **update)


async def _filtered(state: AgentState, ctx: Context, taken: Handoff, outputs: list[Item]) -> dict[str, Any]:
    """The next agent's view, as the handoff's filter chose it: items that are there are named, not copied."""
    assert taken.input_filter is not None
    options = options_of(ctx, state)
    items = list(state.items)
    history = await session_history(state, ctx, options)
    begun = max(state.begun, state.view_at)
    data = HandoffInputData(
        input_history=(*history, *(items[: state.begun] if state.view is None else state.view)),
        pre_handoff_items=tuple(items[begun : state.reply_at]),
        new_items=(*items[max(begun, state.reply_at) :], *outputs),
        run_context=options.wrapper(ctx),
    )
    chosen = taken.input_filter(data)
    if inspect.isawaitable(chosen):
        chosen = await chosen
    if not isinstance(chosen, HandoffInputData):
        raise UserError(f"Invalid input filter result: {type(chosen).__name__}; return a HandoffInputData")
    kept = [*chosen.input_history, *chosen.pre_handoff_items, *chosen.new_items]
    update: dict[str, Any] = {"view_at": len(items) + len(outputs)}
    if kept[-len(outputs) :] == outputs:  # they join the view as what comes after it
        del kept[-len(outputs) :]
        update["view_at"] = len(items)
    before = {id(item): position for position, item in enumerate(options.history or ())}
    if before:
        update["history_kept"] = [before[id(one)] for one in kept if id(one) in before]
        kept = [one for one in kept if id(one) not in before]
    where = {id(item): position for position, item in enumerate(items)}
    elements = [state.items.key(where[id(one)]) if id(one) in where else dict(one) for one in kept]  # type: ignore[attr-defined]
    return {"view": Select(elements, of="items"), **update}
