"""What a reader of a run is handed: committed facts, and what nodes emit while they run."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

from flowcore.machine.facts import Fact


class Committed(NamedTuple):
    """A fact of run ``run`` that is committed. A ``retry`` transition voids what its attempt emitted."""

    run: str
    fact: Fact


class Emitted(NamedTuple):
    """Something a node emitted; never stored. (``run``, ``seq``, ``attempt``, ``n``) names it: ``seq`` is the last
    fact before the
    entry, ``n`` counts from 0 in the entry."""

    run: str
    seq: int
    attempt: int
    n: int
    data: Any


Event: TypeAlias = Committed | Emitted
