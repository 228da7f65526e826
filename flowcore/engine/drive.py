"""``drive``: THE loop. It asks ``plan`` what comes next, obeys, and commits; run, stream, resume and children all
stand on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowcore.engine.entry import enter
from flowcore.errors import LimitExceeded
from flowcore.machine.facts import Rested, Standing
from flowcore.machine.plan import Enter, Fail, GoOn, Halt, Rest, Sleep, Take, plan

if TYPE_CHECKING:
    from flowcore.engine.tree import Live


async def drive(live: Live) -> Standing:
    """Move a run until it rests, and return how it stands. Facts and events go to the tree's sink as they come."""
    tree, s, graph = live.tree, live.snapshot, live.graph
    clock = tree.clock
    while True:
        if tree.mail:
            await live.take_letters()
        command = plan(graph, s, clock.time())
        kind = type(command)
        if kind is Enter:
            await enter(live)
        elif isinstance(command, Take):
            now = clock.time()
            wire, how = graph.schema.admit(command.update, f"graph '{graph.name}': node '{s.visit.node}'")
            await live.commit(live.transition(command.on, wire, now, how=how))
        elif isinstance(command, Sleep):
            tree.wake.clear()
            if not tree.mail:
                await clock.wait(command.until, tree.wake)
        elif isinstance(command, Halt):
            await live.commit(_rest(live, "stopped" if command.standing == "stopped" else "cancelled"))
        elif isinstance(command, Fail):
            live.exception = LimitExceeded(f"graph '{graph.name}': {command.reason}", run_id=live.id)
            await live.commit(_rest(live, "failed", {"kind": "LimitExceeded", "message": str(live.exception)}))
        elif isinstance(command, GoOn):
            now = clock.time()
            await live.commit(live.resumed("retries", not_before=now + command.delay if command.delay else None))
        elif isinstance(command, Rest):
            if command.due is not None:
                live.due = command.due
            if live.above is not None or await _release(live):
                return s.standing


async def _release(live: Live) -> bool:
    """Give the root's lease back; not while letters wait: then they're fetched and the loop goes on."""
    tree = live.tree
    if tree.claim is None:
        return True
    if await tree.store.release(tree.root, tree.claim, len(tree.mail)):
        tree.claim = None
        tree.holder.drop(tree)
        return True
    await tree.fetch()
    return False


def _rest(live: Live, standing: Standing, error: dict[str, str] | None = None) -> Rested:
    s, now = live.snapshot, live.tree.clock.time()
    return Rested(
        s.seq + 1, now, now, s.visit.node, s.visit.number, standing, s.visit.attempt, None, None, error, None, False
    )
