"""Migrations, as they're declared: what leads from the state and the place of an older graph to those of a newer one.

A graph is known by its fingerprint. A migration leads from one to today's, or to one that another migration leads on
from.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from flowcore.errors import GraphError
from flowcore.graph.state import Schema
from flowcore.graph.values import shorten

Function = Callable[..., Any]
"""``(state)`` or ``(state, place)`` -> the new state as a dict, or ``(new state, new place)``."""


class Migration(NamedTuple):
    """One step. ``source``, ``to``: fingerprints; ``to`` is None where it leads to today's graph. ``schema``: of the
    state that it reads, None: today's. ``places``: whether the function is given the place too."""

    source: str
    to: str | None
    schema: Schema | None
    fn: Function
    places: bool

    @property
    def name(self) -> str:
        """What it's called in errors."""
        return getattr(self.fn, "__name__", "migration")


def declared(
    graph: str, today: str, known: Mapping[str, Migration], source: Any, to: Any, state: Any, fn: Any
) -> Migration:
    """A migration of graph ``graph``, whose fingerprint is ``today``, beside the ``known`` ones. Raises GraphError."""
    where = f"graph '{graph}': migrate({source!r})"
    _fingerprint(where, source)
    if source == today:
        raise GraphError(f"{where}: that's what the graph is now; migrate from the fingerprint that it had before")
    if source in known:
        raise GraphError(
            f"{where}: '{known[source].name}' migrates from there already; keep one of them, or give the"
            " other one its own fingerprint"
        )
    if to == today:
        to = None
    if to is not None:
        _fingerprint(f"{where}: to={to!r}", to)
        if to not in known:
            listed = ", ".join(f"'{one}'" for one in known)
            raise GraphError(
                f"{where}: to='{to}' leads nowhere: it's neither what the graph is now ('{today}') nor migrated from"
                f" ({listed or 'nothing is so far'}); declare the newest migration first"
            )
    return Migration(source, to, None if state is None else Schema(state), fn, _places(where, fn))


def chain(known: Mapping[str, Migration], source: str) -> list[Migration]:
    """The steps from a fingerprint to today's graph; none where it isn't migrated from."""
    steps: list[Migration] = []
    step = known.get(source)
    while step is not None:
        steps.append(step)
        step = None if step.to is None else known[step.to]  # it was known when this one was declared: no circle
    return steps


def _fingerprint(where: str, given: Any) -> None:
    if not isinstance(given, str) or not re.fullmatch("[0-9a-f]{16}", given):
        raise GraphError(
            f"{where}: a fingerprint is 16 hexadecimal digits; `flowcore graph FILE` prints the graph's, `flowcore"
            " show RUN` and GraphChanged a run's"
        )


def _places(where: str, fn: Any) -> bool:
    """Whether a migration's function takes the place too. Raises GraphError where it isn't one."""
    if not callable(fn):
        raise GraphError(f"{where}: it decorates a function, not {shorten(fn)}")
    if inspect.iscoroutinefunction(fn):
        raise GraphError(f"{where}: '{fn.__name__}' is async; a migration only computes, so write it with `def`")
    parameters = list(inspect.signature(fn).parameters.values())
    positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    free = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [one for one in parameters if one.default is one.empty and one.kind not in free]
    if not positional or any(one not in positional[:2] for one in needed):
        raise GraphError(
            f"{where}: '{getattr(fn, '__name__', fn)}' takes ({', '.join(map(str, parameters))}); a migration takes"
            " (state) or (state, place)"
        )
    return len(positional) > 1
