"""A child run: found, made or gone on with, under its parent's lease."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowcore.engine.admit import started
from flowcore.engine.context import Suspend
from flowcore.engine.drive import drive
from flowcore.engine.failure import raise_failure
from flowcore.errors import RunNotFound

if TYPE_CHECKING:
    from flowcore.engine.tree import Live
    from flowcore.graph.graph import Graph


async def run_child(
    parent: Live,
    graph: Graph,
    input: Any,
    above: tuple[Live, str, int, str, str],
    limits: dict[str, Any] | None,
    meta: dict[str, Any] | None,
    context: Any,
) -> Any:
    """Drive the child to its end and return its output. Raises ``Suspend`` while it waits, else what made it fail."""
    from flowcore.engine.tree import Live

    tree = parent.tree
    _, node, visit, key, _ = above
    id = f"{parent.id}/{node}.{visit}/{key}"
    live = tree.lives.get(id)
    if live is None:
        live = Live(tree, id, graph.build(), context, above=above, stream=parent.stream)
        try:
            facts = await tree.store.read(id)
        except RunNotFound:
            await live.commit(started(live, input, limits or {}, meta, parent=parent.id))
        else:
            live.load(facts)
        tree.lives[id] = live
    else:
        live.above = above
    if live.snapshot.standing in ("failed", "cancelled", "stopped"):
        await live.commit(live.resumed("parent", limits))
    live.exception = None
    standing = await drive(live)
    if standing == "waiting":
        raise Suspend(key, live.due)
    del tree.lives[id]
    if standing == "done":
        return parent.snapshot.visits[node].effects[key].value
    raise_failure(live)
    return None
