"""One entry of a node: run its body, let its effects finish, and turn its answer into facts."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flowcore.engine.children import Suspend
from flowcore.engine.context import Context
from flowcore.engine.failure import record_of
from flowcore.engine.log import log
from flowcore.engine.observe import HERE, OBSERVERS, Where
from flowcore.engine.retry import delay_after
from flowcore.errors import GraphError, NodeTimeout, RunError, UpdateError
from flowcore.graph.node import RETRY, TIMEOUT, Node
from flowcore.graph.outcomes import Ask, Goto, Pause
from flowcore.graph.state import listed
from flowcore.machine.facts import Fact, Rested, Standing
from flowcore.machine.fold import Preview

if TYPE_CHECKING:
    from flowcore.engine.tree import Live

_WHERE: Callable[[type[Where], tuple[Any, ...]], Where] = tuple.__new__


async def enter(live: Live, task: asyncio.Task[Any] | None, started: float) -> None:
    """Enter the current place. Its outcome is committed when this returns, whatever it is. ``task``: the one that runs
    this.

    Raises RunConflict and StoreError (nothing more can be committed), and CancelledError when the task was cancelled
    from outside: then too the run rests with its place kept.
    """
    tree = live.tree
    visit = live.snapshot.visit
    node = live.graph.nodes[visit.node]
    if (tree.guarded or tree.broken is not None) and not tree.sure:
        await tree.make_sure()
    ctx = Context(live, node, visit, task)
    state = live.graph.schema.view(live.snapshot.values)
    live.task, live.interrupted = task, False
    if OBSERVERS:
        HERE.set(_WHERE(Where, (live.id, visit.node, visit.number, None)))
    outcome: Any = None
    raised: BaseException | None = None
    waiting: list[Suspend] = []
    try:
        try:
            if node.is_async and node.timeout is None:
                outcome = await (node.fn(state, ctx) if node.takes_ctx else node.fn(state))
            else:
                outcome = await _run(node, state, ctx)
        except (Suspend, Exception) as error:
            raised = error
        except BaseExceptionGroup as group:  # out of a TaskGroup: children that wait, and maybe errors
            suspended, raised = group.split(Suspend)
            if suspended is None or not (raised is None or isinstance(raised, Exception)):
                raise
            waiting = _flat(suspended)
        except asyncio.CancelledError:
            if live.interrupted or task is None or task.cancelling():
                raise
            raised = RunError(f"node '{node.name}' awaited something that was cancelled", run_id=live.id)
        if raised is not None and isinstance(raised, Suspend):
            waiting, raised = [raised], None
        if ctx._inflight:  # a timeout breaks effects off; any other error lets them finish
            waiting += [one for one in await ctx.settle(cancel=_timed_out(live, raised)) if one not in waiting]
        else:
            ctx._state = "over"
    except asyncio.CancelledError:
        live.task = None
        await _broken_off(live, ctx, started)
        if not live.interrupted:
            raise  # from outside: whoever cancelled the task gets what it asked for
        if task is not None:
            task.uncancel()
        if tree.broken is not None:
            raise tree.broken from None
        return
    live.task = None
    if live.interrupted and task is not None:
        task.uncancel()  # the body has swallowed it; the run rests when the outcome is committed
    if tree.broken is not None:
        raise tree.broken
    if raised is not None and isinstance(raised, Exception):
        await _failed(live, ctx, node, raised, started)
    elif waiting:
        dues = [one.due for one in waiting if one.due is not None]
        keys = [one.key for one in waiting]
        await live.commit(_rested(live, ctx, "waiting", started, children=keys, due=min(dues, default=None)))
    else:
        await _answered(live, ctx, node, outcome, started)


def _flat(group: BaseExceptionGroup[Suspend]) -> list[Suspend]:
    found: list[Suspend] = []
    for one in group.exceptions:
        found += _flat(one) if isinstance(one, BaseExceptionGroup) else [one]
    return found


def _timed_out(live: Live, error: BaseException | None) -> bool:
    """Whether it's this entry that ran out of time, and not a child of it."""
    return isinstance(error, NodeTimeout) and error.run_id == live.id


async def _run(node: Node, state: Any, ctx: Context) -> Any:
    """A body that is sync (it runs in a thread, which a timeout or a cancel leaves to itself) or has a timeout."""
    if node.timeout is None:
        return await _body(node, state, ctx)
    try:
        async with asyncio.timeout(node.timeout) as scope:
            return await _body(node, state, ctx)
    except TimeoutError:
        if scope.expired():
            raise NodeTimeout(
                f"node '{node.name}' ran longer than its timeout of {node.timeout:g} s", run_id=ctx.run_id
            ) from None
        raise


async def _body(node: Node, state: Any, ctx: Context) -> Any:
    arguments = (state, ctx) if node.takes_ctx else (state,)
    outcome = await (node.fn(*arguments) if node.is_async else asyncio.to_thread(node.fn, *arguments))
    return await outcome if inspect.isawaitable(outcome) else outcome  # e.g. a lambda around an async function


async def _answered(live: Live, ctx: Context, node: Node, outcome: Any, started: float) -> None:
    """Commit what a body answered; an answer that the graph doesn't admit fails the run at its place."""
    try:
        facts = _facts_of(live, ctx, node, outcome, started)
        writes = ctx.writes
        for write in writes:
            write.seq = facts[-1].seq
        await live.commit(*facts, writes=writes)
    except Exception as error:  # from admitting the update or from a reducer: nothing was committed or folded
        if live.tree.broken is not None:
            raise
        await rest_failed(live, error, started, ctx)


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
    graph = live.graph
    edge = None if on is None and node.name in graph.conditional else graph.edge_for(node.name, on)
    how = None
    if update:
        update, how = graph.schema.admit(update, (graph.name, node.name))
    if edge is None:
        edge = graph.choose(node.name, Preview(graph.schema, live.snapshot, ctx.visit_record, update, how))
    return [live.transition(edge, update, started, how=how, usage=ctx.spent)]


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
    try:
        fact = None if isinstance(error, GraphError) else _way_out(live, ctx, node, error, started)
    except Exception as broken:  # a retry policy that raises
        broken.__context__ = error
        error, fact = broken, None
    if fact is None:
        await rest_failed(live, error, started, ctx)
    else:
        await live.commit(fact)


def _way_out(live: Live, ctx: Context, node: Node, error: Exception, started: float) -> Fact | None:
    """The transition that an exception takes, if the graph declares one."""
    if ctx.retry is not None and live.graph.has(node.name, RETRY):
        now = live.tree.clock.time()
        delay = delay_after(ctx.retry, error, ctx.attempt, now - ctx.now)
        if delay is not None:
            log(
                "attempt failed",
                run=live.id,
                node=node.name,
                attempt=ctx.attempt,
                delay=delay,
                error=live.hidden(repr(error)),
            )
            not_before = live.tree.clock.time() + delay if delay > 0 else None  # asking may have taken its time
            again, told = live.graph.out[node.name][RETRY], _told(ctx, error)
            return live.transition(again, {}, started, not_before=not_before, error=told, usage=ctx.spent)
    edge = live.graph.edge_for_error(node.name, error)
    if edge is None:
        if not (_timed_out(live, error) and live.graph.has(node.name, TIMEOUT)):
            return None
        edge = live.graph.out[node.name][TIMEOUT]
    return live.transition(edge, {}, started, error=record_of(error), usage=ctx.spent)


def _told(ctx: Context, error: Exception) -> dict[str, Any]:
    """What a journal tells of an error that the visit survives: also which effects were in doubt before this entry and
    still are, for it didn't come to them."""
    record, intents = record_of(error), ctx.visit_record.intents
    still = [key for key, one in intents.items() if one.seq <= ctx._seq and key not in ctx.visit_record.effects]
    return {**record, "in_doubt": still} if still else record


async def rest_failed(live: Live, error: Exception, started: float, ctx: Context | None = None) -> None:
    """Write that the run failed at its place. ``ctx``: of the entry that did, if a body had begun."""
    live.exception = error
    log("run failed", level="warning", run=live.id, node=live.snapshot.visit.node, error=live.hidden(repr(error)))
    await live.fail(_rested(live, ctx, "failed", started, error=_told(ctx, error) if ctx else record_of(error)))


async def rest(live: Live, standing: Standing) -> None:
    """Write that the run rests because it was asked to."""
    await live.commit(_rested(live, None, standing, live.tree.clock.time()))


async def _broken_off(live: Live, ctx: Context, started: float) -> None:
    """The entry was cancelled: break its effects off, and rest."""
    try:
        await asyncio.shield(ctx.settle(cancel=True))
    except asyncio.CancelledError:
        pass
    if live.tree.broken is None:
        await asyncio.shield(live.commit(_rested(live, ctx, "cancelled", started)))


def _rested(
    live: Live, ctx: Context | None, standing: Standing, started: float, *, children: Any = None, error: Any = None,
    due: float | None = None,
) -> Rested:  # fmt: skip
    s = live.snapshot
    return Rested(
        s.seq + 1, started, live.tree.clock.time(), s.visit.node, s.visit.number, standing, s.visit.attempt, None,
        children, error, ctx.spent if ctx else None, ctx is not None, due,
    )  # fmt: skip
