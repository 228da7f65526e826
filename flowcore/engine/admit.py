"""The first fact of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowcore.graph.values import Json, codec_of
from flowcore.machine.facts import Started
from flowcore.machine.redact import KEY, marks

if TYPE_CHECKING:
    from flowcore.engine.tree import Live
    from flowcore.graph.graph import Graph


def started(
    live: Live, input: Any, limits: dict[str, Any], meta: dict[str, Any] | None, parent: str | None = None
) -> Started:
    """The fact that admits a run. Raises UpdateError when the input doesn't fit the graph's state."""
    now = live.tree.clock.time()
    graph = live.graph
    secret = secrets_of(graph)
    if secret is not None:
        meta = {**(meta or {}), KEY: secret}
    return Started(
        seq=0,
        started=now,
        at=now,
        node=graph.first,
        visit=1,
        graph=graph.name,
        fingerprint=graph.fingerprint,
        input=graph.schema.filled(graph.initial(input)),
        limits=codec_of(Json, "limits").admit({**graph.limits, **limits})[0],
        root=live.tree.root,
        parent=parent,
        meta=codec_of(Json, "meta").admit(meta)[0] if meta else None,
        above=None if parent is None else live.tree.reached(),
    )


def secrets_of(graph: Graph) -> dict[str, Any] | None:
    """What is secret in runs of a graph: fields of its state, and what ``graph.bound.secrets`` tells of tools and
    agents."""
    state = graph.schema.secrets
    return marks(state, graph.gives in state, getattr(graph.bound, "secrets", None) or {})
