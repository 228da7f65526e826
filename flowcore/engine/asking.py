"""The run's store as its nodes are given it: what is asked through it rides an outage out as an append does."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowcore.engine.tree import Tree

READS = frozenset({"read", "inbox", "waiting", "get", "runs", "find", "requests", "abandoned", "due", "session_items"})
"""What can be asked again."""
WRITES = frozenset({"signal", "delete", "prune", "session_write", "session_pop", "session_clear"})
"""What nobody knows the end of where the answer didn't come."""


class AskedStore:
    """A store that others reach, for the nodes of a tree. See ``Tree.ask``."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def __repr__(self) -> str:
        return repr(self._tree.store)

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._tree.store, name)
        if name not in READS and name not in WRITES:
            return verb

        async def ask(*args: Any, **named: Any) -> Any:
            return await self._tree.ask(partial(verb, *args, **named), again=name in READS)

        return ask
