"""One entry of a node: run its body, let its effects finish, and turn its answer into facts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from flowcore.engine.context import Context, Suspend
from flowcore.engine.failure import record_of
from flowcore.engine.retry import delay_after
from flowcore.errors import GraphError, NodeTimeout, RunConflict, RunError, StoreError, UpdateError
from flowcore.graph.node import RETRY, TIMEOUT, Node
from flowcore.graph.outcomes import Ask, Goto, Pause
from flowcore.graph.state import listed
from flowcore.machine.facts import Fact, Rested

if TYPE_CHECKING:
    from flowcore.engine.tree import Live


async def enter(live: Live) -> None:
    """Enter the current place. Its outcome is committed when this returns, whatever it is.

    Raises RunConflict and StoreError (nothing more can be committed), and CancelledError when the task was cancelled
    from outside:
    then too the run rests with its place kept.
    """
    visit = live.snapshot.visit
    node = live.graph.nodes[visit.node]
    live.tree.holder.check()
    task = asyncio.current_task()
    ctx = Context(live, node, visit, task)
    state = live.graph.schema.view(live.snapshot.values)
    started = live.tree.clock.time()
    live.task, live.interrupted = task, False
    outcome: Any = None
    raised: BaseException | None = None
    try:
        try:
            if node.is_async and node.timeout is None:
                outcome = await (node.fn(state, ctx) if node.takes_ctx else node.fn(state))
            else:
                outcome = await _run(node, state, ctx)
        except (Suspend, Exception) as error:
            raised = error
        except asyncio.CancelledError:
            if live.interrupted or task is None or task.cancelling():
                raise
            raised = RunError(f"node '{node.name}' awaited something that was cancelled", run_id=live.id)
        # A timeout breaks effects off; any other error lets them finish.
        waiting = await ctx.settle(cancel=isinstance(raised, NodeTimeout)) if ctx._inflight else _over(ctx)
        if isinstance(raised, Suspend) and raised not in waiting:
            waiting.append(raised)
    except asyncio.CancelledError:
        live.task = None
        await _broken_off(live, ctx, started)
        if not live.interrupted:
            raise  # from outside: whoever cancelled the task gets what it asked for
        if task is not None:
            task.uncancel()
        return
    live.task = None
    if isinstance(raised, (RunConflict, StoreError)):
        raise raised
    if waiting and (raised is None or isinstance(raised, Suspend)):
        await _suspend(live, ctx, waiting, started)
    elif isinstance(raised, Exception):
        await _failed(live, ctx, node, raised, started)
    else:
        await _answered(live, ctx, node, outcome, started)


def _over(ctx: Context) -> list[Suspend]:
    ctx._state = "over"
    return []


async def _run(node: Node, state: Any, ctx: Context) -> Any:
    """A body that is sync (it runs in a thread) or has a timeout."""
    arguments = (state, ctx) if node.takes_ctx else (state,)
    work = node.fn(*arguments) if node.is_async else asyncio.to_thread(node.fn, *arguments)
    if node.timeout is None:
        return await work
    try:
        async with asyncio.timeout(node.timeout) as scope:
            return await work
    except TimeoutError:
        if scope.expired():
            raise NodeTimeout(f"node '{node.name}' ran longer than its timeout of {node.timeout:g} s") from None
        raise


async def _answered(live: Live, ctx: Context, node: Node, outcome: Any, started: float) -> None:
    """Commit what a body answered; an answer that the graph doesn't admit fails the run at its place."""
    try:
        facts = _facts_of(live, ctx, node, outcome, started)
        writes = ctx.writes
        for write in writes:
            write.seq = facts[-1].seq
        await live.commit(*facts, writes=writes)
    except (RunConflict, StoreError):
        raise
    except Exception as error:  # from admitting the update or from a reducer: nothing was committed or folded
        await _rest_failed(live, ctx, error, started)


def _facts_of(live: Live, ctx: Context, node: Node, outcome: Any, started: float) -> list[Fact]:
    kind = type(outcome)
    on: str | None
    if kind is Goto:
        on, update = outcome.on, outcome.update
    elif kind is dict:
        on, update = None, outcome
    elif outcome is None:
        on, update = None, {}
    elif kind is str:
        on, update = outcome, {}
    elif kind is Pause:
        return _pause(live, ctx, node, outcome, started)
    else:
        raise GraphError(
            f"graph '{live.graph.name}': node '{node.name}' returned a {kind.__name__}; return a Goto, a Pause, a"
            " label, a dict of what is new, or None"
        )
    live.graph.edge_for(node.name, on)
    how = None
    if update:
        update, how = live.graph.schema.admit(update, f"graph '{live.graph.name}': node '{node.name}'")
    return [live.transition(on, update, started, how=how, usage=ctx.spent)]


def _pause(live: Live, ctx: Context, node: Node, pause: Pause, started: float) -> list[Fact]:
    graph = live.graph
    for label in filter(None, (pause.on, pause.late)):
        graph.edge_for(node.name, label)
    if pause.until is not None and pause.late is None and not pause.requests:
        pause.late = pause.on
    if pause.into is not None and pause.into not in graph.schema.fields:
        raise UpdateError(
            f"graph '{graph.name}': node '{node.name}' returned Pause(into='{pause.into}'), but state"
            f" '{graph.schema.name}' has no such field; its fields are {listed(graph.schema.fields)}"
        )
    facts: list[Fact] = []
    keys: list[str] = []
    for request in pause.requests:
        if isinstance(request, Ask):
            question = ctx.visit_record.questions.get(request.key)
            if question is None:
                facts.append(ctx.asked(request, after=len(facts)))
            keys.append(request.key)
        elif request in live.snapshot.open or any(request in v.questions for v in live.snapshot.visits.values()):
            keys.append(request)
        else:
            raise GraphError(
                f"graph '{graph.name}': node '{node.name}' returned Pause({request!r}), but no such request was opened"
            )
    now = live.tree.clock.time()
    facts.append(
        Rested(
            live.snapshot.seq + 1 + len(facts),
            started,
            now,
            ctx.node,
            ctx.visit,
            "waiting",
            ctx.attempt,
            {
                "on": pause.on,
                "into": pause.into,
                "until": pause.until,
                "late": pause.late,
                "enough": pause.enough,
                "keys": keys,
            },
            None,
            None,
            ctx.spent,
        )
    )
    return facts


async def _failed(live: Live, ctx: Context, node: Node, error: Exception, started: float) -> None:
    """An exception: a retry, a declared edge, or a rest at the same place."""
    if not isinstance(error, GraphError):
        if ctx.retry is not None and live.graph.has(node.name, RETRY):
            now = live.tree.clock.time()
            delay = delay_after(ctx.retry, error, ctx.attempt, now - ctx.now)
            if delay is not None:
                not_before = now + delay if delay > 0 else None
                await live.commit(
                    live.transition(RETRY, {}, started, not_before=not_before, error=record_of(error), usage=ctx.spent)
                )
                return
        edge = live.graph.edge_for_error(node.name, error)
        on = (
            edge.on
            if edge
            else TIMEOUT
            if isinstance(error, NodeTimeout) and live.graph.has(node.name, TIMEOUT)
            else None
        )
        if on is not None:
            await live.commit(live.transition(on, {}, started, error=record_of(error), usage=ctx.spent))
            return
    await _rest_failed(live, ctx, error, started)


async def _rest_failed(live: Live, ctx: Context, error: Exception, started: float) -> None:
    live.exception = error
    await live.commit(_rested(live, ctx, "failed", started, error=record_of(error)))


async def _suspend(live: Live, ctx: Context, waiting: list[Suspend], started: float) -> None:
    """Rest until a child, or a question about an effect in doubt, is answered."""
    dues = [one.due for one in waiting if one.due is not None]
    live.due = min(dues, default=None)
    await live.commit(_rested(live, ctx, "waiting", started, children=[one.key for one in waiting]))


async def _broken_off(live: Live, ctx: Context, started: float) -> None:
    """The entry was cancelled: break its effects off, and rest."""
    try:
        await asyncio.shield(ctx.settle(cancel=True))
    except asyncio.CancelledError:
        pass
    if live.tree.broken is None:
        await asyncio.shield(live.commit(_rested(live, ctx, "cancelled", started)))


def _rested(
    live: Live, ctx: Context, standing: Any, started: float, *, children: Any = None, error: Any = None
) -> Rested:
    return Rested(
        live.snapshot.seq + 1, started, live.tree.clock.time(), ctx.node, ctx.visit, standing, ctx.attempt, None,
        children, error, ctx.spent,
    )  # fmt: skip
