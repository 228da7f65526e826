"""``drive``: THE loop. It asks ``plan`` what comes next, obeys, and commits; run, stream, resume and children all
stand on it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from flowcore.engine.entry import enter, rest, rest_failed
from flowcore.errors import LimitExceeded, StoreError
from flowcore.machine.facts import Standing
from flowcore.machine.plan import Enter, Fail, GoOn, Halt, Rest, Sleep, Take, plan

if TYPE_CHECKING:
    from flowcore.engine.tree import Live

READER_STEPS = 3
"""How many steps of the event loop a fact takes to a face's reader: the run's buffer, the face's, the reader."""


async def drive(live: Live) -> Standing:
    """Move a run until it rests, and return how it stands. Facts and events go to the tree's sink as they come."""
    tree, s, graph = live.tree, live.snapshot, live.graph
    clock, task = tree.clock, asyncio.current_task()
    live.driven = True
    try:
        while True:
            if tree.readers:
                await _let_read()
            if tree.posting is not None:
                await asyncio.wait([tree.posting])
            if tree.mail:
                await live.take_letters()
            now = clock.time()
            command = plan(graph, s, now)
            if type(command) is Enter:
                await enter(live, task, now)
            elif isinstance(command, Take):
                await _take(live, command)
            elif isinstance(command, Sleep):
                if tree.broken is not None:
                    raise tree.broken
                if tree.patience is not None and command.until - now > tree.patience:
                    if live.above is not None or await _release(live):
                        return s.standing
                    continue
                tree.wake.clear()
                if not live.has_mail():
                    await clock.wait(command.until, tree.wake)
            elif isinstance(command, Halt):
                await rest(live, command.standing)
            elif isinstance(command, Fail):
                error = LimitExceeded(f"graph '{graph.name}': {command.reason}", run_id=live.id)
                await rest_failed(live, error, clock.time())
            elif isinstance(command, GoOn):
                not_before = clock.time() + command.delay if command.delay else None
                await live.commit(live.resumed(command.by, not_before=not_before))
            elif isinstance(command, Rest) and (live.above is not None or await _release(live)):
                return s.standing
    finally:
        live.driven = False


async def _let_read() -> None:
    """Let those who read along take in what happened before anything else does: what they say to it (stop, cancel)
    comes in time. Nobody waits for one who is slow."""
    for _ in range(READER_STEPS):
        await asyncio.sleep(0)


async def _take(live: Live, command: Take) -> None:
    """Write a transition that runs no body."""
    graph, started = live.graph, live.tree.clock.time()
    try:
        node = live.snapshot.visit.node
        wire, how = graph.schema.admit(command.update, (graph.name, node))
        await live.commit(live.transition(graph.out[node][command.on], wire, started, how=how))
    except Exception as error:  # answers that the state doesn't admit: nothing was committed or folded
        if live.tree.broken is not None:
            raise
        await rest_failed(live, error, started)


async def _release(live: Live) -> bool:
    """Give the root's lease back; not while letters wait: then they're fetched and the loop goes on."""
    tree = live.tree
    await tree.idle()
    claim, tree.claim = tree.claim, None  # no letter is taken in while the lease is on its way back
    known = mail = len(tree.mail)
    while claim is not None and not await tree.store.release(tree.root, claim, known):
        waiting = await tree.fetch()
        if len(tree.mail) > mail or waiting <= known:
            tree.claim = claim
        if len(tree.mail) > mail:  # brought now, or by who watches
            return False
        if waiting <= known:
            raise StoreError(
                f"run '{tree.root}': letters wait for it that the store doesn't give; the store is damaged",
                lasting=True,
            )
        known = waiting  # what was taken in before and sent once more
    tree.holder.drop(tree)
    tree.lives.clear()  # a run that rests is nobody's but its handle's: freed with it, without the collector
    return True
