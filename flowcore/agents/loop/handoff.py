"""``handoff``: the conversation goes to another agent."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from flowcore.agents.handoffs import Handoff, HandoffInputData, history_items, wire
from flowcore.agents.items import function_output
from flowcore.agents.lifecycle import fire
from flowcore.agents.loop.call_model import CONVERSATION
from flowcore.agents.loop.judge import subject_of
from flowcore.agents.loop.saving import FOREIGN, save, session_history
from flowcore.agents.loop.state import AgentState
from flowcore.agents.nesting import changes, handed_over
from flowcore.agents.options import Options, options_of
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
    calls = [item for item in state.pending_calls() if item.get("name") in by_name]
    taken = by_name[calls[0]["name"]]
    options = options_of(ctx, state)
    filters = _filters(ctx, options, taken)

    async def invoke(tool_name: str, arguments: str) -> str:
        wrapper = options.wrapper(ctx)
        given = taken.on_invoke_handoff(wrapper, arguments)
        name = str((await given if inspect.isawaitable(given) else given).name)
        target = ctx.bound.agents.get(name)
        if target is not None:
            await fire("on_handoff", options.hooks, target.hooks, wrapper, agent, target)
        return name

    asked = (taken.tool_name, calls[0].get("arguments") or "")
    # Without a filter or a session elsewhere it's the visit's only effect, and the transition is its record.
    alone = not filters and FOREIGN not in ctx.meta
    name = await (invoke(*asked) if alone else ctx.once("handoff", invoke, *asked))
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
    update: dict[str, Any] = {"items": outputs, "agent": name, **await save(state, ctx, options, outputs)}
    if not state.fresh:
        update["fresh"] = True
    if filters:
        update.update(await _filtered(state, ctx, options, taken, target, outputs))
    return Goto("done", **update)


def _filters(ctx: Context, options: Options, taken: Handoff) -> bool:
    """Whether the next agent sees something else than what there is. Raises UserError for a filter where the provider
    keeps the conversation: what it holds can't be changed from here."""
    config = options.config
    nests = config.nest_handoff_history if taken.nest_handoff_history is None else taken.nest_handoff_history
    if CONVERSATION in ctx.meta:
        if taken.input_filter is not None or config.handoff_input_filter is not None:
            raise UserError(
                f"handoff '{taken.tool_name}' has an input filter, but the provider keeps this conversation"
                " (conversation_id, previous_response_id): it can't be filtered; use one or the other"
            )
        if nests:
            warnings.warn(
                f"handoff '{taken.tool_name}': nest_handoff_history has no effect where the provider keeps the"
                " conversation",
                stacklevel=2,
            )
        return False
    return changes(taken, input_filter=config.handoff_input_filter, nest=config.nest_handoff_history)


async def _filtered(
    state: AgentState, ctx: Context, options: Options, taken: Handoff, target: Any, outputs: list[Item]
) -> dict[str, Any]:
    """The next agent's view, as the handoff's filter chose it: items that are there are named, not copied."""
    config = options.config
    items = list(state.items)
    history = await session_history(state, ctx, options)
    begun = max(state.begun, state.view_at)
    brought, shown_outputs = _shown(state, ctx, options, target, outputs)
    first = items[: state.begun] if state.view is None else state.view
    given_history = subject_of([*history, *first], state.listed)
    data = HandoffInputData(
        input_history=given_history if isinstance(given_history, str) else tuple(given_history),
        pre_handoff_items=tuple(brought[begun - state.begun : state.reply_at - state.begun]),
        new_items=(*brought[max(begun, state.reply_at) - state.begun :], *shown_outputs),
        run_context=options.wrapper(ctx),
    )
    chosen = await handed_over(
        taken, data, input_filter=config.handoff_input_filter, nest=config.nest_handoff_history,
        history_mapper=config.handoff_history_mapper,
    )  # fmt: skip
    same = {id(one): items[state.begun + i] for i, one in enumerate(brought)}
    same.update(zip(map(id, shown_outputs), outputs, strict=True))
    if chosen.input_history == given_history:
        head: Sequence[Item] = [*history, *first]
    else:
        head = history_items(chosen.input_history)
    last = chosen.new_items if chosen.input_items is None else chosen.input_items
    kept = [*head, *(same.get(id(one)) or wire(one) for one in (*chosen.pre_handoff_items, *last))]
    return _as_view(state, options, items, outputs, kept, history)


def _shown(
    state: AgentState, ctx: Context, options: Options, target: Any, outputs: list[Item]
) -> tuple[Sequence[Any], Sequence[Any]]:
    """What the run brought, and the handoff's outputs, as users know them: run items, or dicts where nobody shows
    them."""
    crew = ctx.bound
    if crew.shown is None:
        return state.items[state.begun :], outputs
    brought = crew.shown.items(state, ctx.facts, crew.agents, crew.first, options)
    return brought, crew.shown.handed_off(outputs, crew.current(state), target)


def _as_view(
    state: AgentState, options: Options, items: list[Item], outputs: list[Item], kept: list[Item],
    history: Sequence[Item],
) -> dict[str, Any]:  # fmt: skip
    """The update that makes ``kept`` what the next agent sees."""
    update: dict[str, Any] = {"view_at": len(items) + len(outputs)}
    if kept[-len(outputs) :] == outputs:  # they join the view as what comes after it
        del kept[-len(outputs) :]
        update["view_at"] = len(items)
    before = {id(item): position for position, item in enumerate(history)}
    if before:
        chosen = [before[id(one)] for one in kept if id(one) in before]
        at = range(len(history)) if state.history_kept is None else state.history_kept
        update["history_kept"] = [at[position] for position in chosen]
        kept = [one for one in kept if id(one) not in before]
    where: Mapping[int, int] = {id(item): position for position, item in enumerate(items)}
    elements = [state.items.key(where[id(one)]) if id(one) in where else dict(one) for one in kept]  # type: ignore[attr-defined]
    return {"view": Select(elements, of="items"), **update}
