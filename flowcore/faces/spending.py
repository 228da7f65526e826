"""What nested runs used that haven't ended: their caller's journal tells of it only when they do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from flowcore.engine.carried import Carried
from flowcore.engine.carry import at_once
from flowcore.engine.run import Run
from flowcore.errors import RunNotFound
from flowcore.machine.facts import Fact
from flowcore.machine.fold import outline
from flowcore.machine.snapshot import Snapshot
from flowcore.models.usage import RequestUsage, Usage, entries_of
from flowcore.stores.base import Store


class Below(NamedTuple):
    """What such runs used, all together, and their facts."""

    usage: Mapping[str, Any] = {}
    facts: Sequence[Fact] = ()


class Spent:
    """A run at rest and what is below it, as one that has used something."""

    spent: None = None

    def __init__(self, run: Run, below: Below) -> None:
        self.usage = summed(run.usage, below.usage)
        self.journal = [*run.journal, *below.facts] if below.facts else run.journal

    def note_usage(self, counts: dict[str, Any]) -> bool:
        """Nothing goes on in which it could be noted."""
        return False


def summed(usage: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Two counts as one."""
    return {**usage, **{name: usage.get(name, 0) + count for name, count in more.items()}}


async def below(run: Run) -> Below:
    """Of a run that rests where it may go on, by its store."""
    if run.standing == "done":
        return Below()
    journals: dict[str, Sequence[Fact]] = {}
    after: str | None = None
    while True:
        page = await run.store.runs(root=run.id, limit=200, after=after)
        journals.update({row.run: await run.store.read(row.run) for row in page.runs if row.run != run.id})
        after = page.after
        if after is None:
            return _unended(run._live.snapshot, journals)


def below_carried(s: Snapshot, carried: Carried) -> Below:
    """Of a run that was carried whole; ``s``: its root's state."""
    return Below() if s.standing == "done" else _unended(s, {one.run: one.facts for one in carried.runs[1:]})


def _unended(root: Snapshot, journals: Mapping[str, Sequence[Fact]]) -> Below:
    """The sum of those whose end their caller hasn't recorded, nor what it was told instead."""
    open = {root.run: root}
    found: dict[str, Any] = {}
    facts: list[Fact] = []
    for id in sorted(journals, key=len):  # a caller's id begins those that it calls
        s = outline(id, journals[id])
        caller = open.get(s.parent or "")
        if caller is None:
            continue
        place, _, key = id.removeprefix(f"{caller.run}/").partition("/")
        node, _, number = place.rpartition(".")
        visit = caller.visits.get(node)
        if visit is None or str(visit.number) != number or key in visit.effects or f"{key}/told" in visit.effects:
            continue
        open[id] = s
        found = summed(found, s.usage)
        facts += journals[id]
    return Below(found, facts)


def nested_requests(store: Store, run: str) -> Callable[[Any], Iterable[RequestUsage]]:
    """What gives the requests of a nested run of ``run``, by the fact that tells of its end."""

    def read(fact: Any) -> Iterable[RequestUsage]:
        child = f"{run}/{fact.node}.{fact.visit}/{getattr(fact, 'key', '').removesuffix('/told')}"
        try:
            facts = at_once(lambda: store.read(child))
        except RunNotFound:
            return [Usage.from_counts(fact.usage).as_request()]
        return entries_of(facts, nested_requests(store, child))

    return read
