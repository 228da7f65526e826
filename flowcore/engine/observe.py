"""Who looks on: observers of every run of this process, and where the code that runs now stands.

An observer is asked once when a run is admitted (what it wants to find again in the run's ``meta``), and once when a
run begins to move here. The sink that it gives then is handed every committed fact of the tree, and what nodes note
of it. Without observers all of this costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from flowcore.engine.events import Committed

if TYPE_CHECKING:
    from flowcore.engine.tree import Live


class Noted(NamedTuple):
    """What a node tells observers beside its facts (a prompt, a model's settings); never stored.

    ``key``: of the effect that it's about, None for the visit.
    """

    run: str
    node: str
    visit: int
    key: str | None
    data: dict[str, Any]


Watch: TypeAlias = Callable[[Committed | Noted], None]
"""Takes what happens. It must not raise, and must not block."""


class Observer(Protocol):
    """Looks on at runs."""

    def admitted(self, meta: dict[str, Any]) -> dict[str, Any]:
        """What it wants to find again in the ``meta`` of a root run that is about to be admitted."""

    def watch(self, live: Live) -> Watch | None:
        """A sink for a root run that begins to move in this process; ``live.facts`` is what happened until now. None:
        it's not interested."""


OBSERVERS: list[Observer] = []
"""The observers of this process."""


class Where(NamedTuple):
    """Where code runs: inside of an entry of (``run``, ``node``, ``visit``), and in it inside of effect ``key``."""

    run: str
    node: str
    visit: int
    key: str | None = None


HERE: ContextVar[Where | None] = ContextVar("flowcore_here", default=None)
"""Where the running code stands, for observers: None outside of runs, and where nobody observes. A thread that a tool
runs in has its tool's."""
