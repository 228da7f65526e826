"""A child run: found, made or gone on with, under its parent's lease."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from flowcore.engine.admit import started
from flowcore.engine.events import Event
from flowcore.engine.failure import raise_failure
from flowcore.engine.tree import Live
from flowcore.errors import ReplayMismatch, RunNotFound
from flowcore.graph.values import copy_json

if TYPE_CHECKING:
    from flowcore.graph.graph import Graph


class Suspend(BaseException):
    """The entry ends here: child or request ``key`` waits, till ``due`` at the latest. Not an ``Exception``, so that
    no node's ``except`` swallows it."""

    def __init__(self, key: str, due: float | None = None) -> None:
        super().__init__(key)
        self.key = key
        self.due = due


async def run_child(
    parent: Live,
    graph: Graph,
    input: Any,
    above: tuple[Live, str, int, str, str],
    limits: dict[str, Any] | None,
    meta: dict[str, Any] | None,
    context: Any,
    watch: Callable[[Live], Callable[[Event], None]] | None = None,
) -> Any:
    """Drive the child to its end and return its output. Raises ``Suspend`` while it waits, else what made it fail."""
    tree = parent.tree
    _, node, visit, key, _ = above
    id = f"{parent.id}/{node}.{visit}/{key}"
    live = tree.lives.get(id)
    if live is None:
        live = Live(tree, id, graph.build(), context, above=above, stream=parent.stream)
        try:
            facts = await tree.ask(partial(tree.store.read, id))
        except RunNotFound:
            first = started(live, input, limits or {}, meta, parent=parent.id)
            tree.lives[id] = live
            await live.commit(first)
        else:
            live.load(facts)
            tree.lives[id] = live
            await live.save_migration()
    live.above = above
    _same_input(live, input)
    s = live.snapshot
    if s.standing in ("failed", "cancelled", "stopped"):
        await live.commit(live.resumed("parent", limits))
    elif s.above < tree.lives[tree.root].snapshot.moved:  # its root has moved since: a fork there is before what comes
        await live.commit(live.resumed("parent", not_before=s.not_before))
    live.exception = None
    if watch is None:
        standing = await tree.drive(live)
    else:
        sink = watch(live)
        live.stream = True
        tree.listen(sink)
        try:
            standing = await tree.drive(live)
        finally:
            tree.leave(sink)
    if standing in ("waiting", "running"):  # running: it sleeps for longer than is slept here
        raise Suspend(key, live.due)
    if standing != "failed":  # how it failed is written with what the parent makes of it
        del tree.lives[id]
    if standing != "done":
        parent.scratch["spent", node, visit, key] = live.snapshot.usage
        raise_failure(live)
    return copy_json(parent.snapshot.visits[node].effects[key].value)


def _same_input(live: Live, input: Any) -> None:
    recorded: Any = live.facts[0]
    if live.snapshot.fingerprint != recorded.fingerprint:
        return  # it was migrated since: today's input is of another shape than what it was begun with
    given = live.graph.initial(input)
    if any(recorded.input.get(name) != value for name, value in given.items()):
        raise ReplayMismatch(
            f"child run '{live.id}' was begun with another input; between effects a body may compute only from its"
            " state, answers and recorded values"
        )
