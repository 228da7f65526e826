"""A fork: a run of its own that goes on from a fact of another one and shares the facts until there.

A fork begins between visits: at the start, at a transition, or where a fork began. ``Moment`` looks at any fact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flowcore.engine.log import log
from flowcore.engine.tree import Live, Tree
from flowcore.errors import FlowcoreError, GraphChanged, RunError, RunNotFound, UpdateError, UserError
from flowcore.graph.graph import Graph
from flowcore.graph.outcomes import END
from flowcore.graph.values import Json, codec_of
from flowcore.machine.facts import Fact, Request, Resumed, Standing, Started, Transition
from flowcore.machine.fold import fold_all, outline
from flowcore.machine.migrate import schema_of, written_with
from flowcore.machine.snapshot import Snapshot, Visit
from flowcore.machine.walk import Step, path
from flowcore.stores.base import Append, IndexRow, OpenRequest, Store


@dataclass(frozen=True, slots=True)
class Moment:
    """A run as of fact ``seq``. ``state``: its fields then, read-only. ``place``: the node where it stood."""

    seq: int
    state: Any
    place: str
    standing: Standing
    path: list[Step]


@dataclass(frozen=True, slots=True)
class Change:
    """What a fork has of its own. ``update``: as a node's; ``input``: as ``start``'s; ``session``: what it writes to.
    ``store``: where it's kept, None for its base's."""

    update: Mapping[str, Any] | None = None
    input: Any = None
    limits: Mapping[str, Any] | None = None
    session: str | None = None
    store: Store | None = None


def moment(live: Live, seq: int) -> Moment:
    """The run as of a fact. Costs what a resume from there would. Raises UserError where there's no such fact."""
    facts = live.facts
    _exists(live.id, seq, len(facts))
    prefix = facts[: seq + 1]
    schema = schema_of(live.graph, written_with(prefix))  # the one of then, where the run was migrated since
    try:
        s = fold_all(schema, live.id, prefix)
    except FlowcoreError as error:
        raise GraphChanged(
            f"run '{live.id}': fact {seq} was written with another graph than today's, and its state doesn't fit the"
            f" state '{schema.name}': {error}; declare @graph.migrate('{written_with(prefix)}', state=...)"
        ) from error
    return Moment(seq, schema.view(s.values), s.visit.node, s.standing, path(prefix))


async def fork(base: Live, at: int, run_id: str, change: Change, context: Any) -> Live:
    """Admit a fork of a stored run at fact ``at``; it's held by this process when this returns.

    Raises UserError (no fork can begin there), UpdateError, RunExists, RunNotFound, GraphChanged, StoreError.
    """
    source, graph = base.tree.store, base.graph
    row = await source.get(base.id)
    if row.root != base.id:
        raise RunError(f"'{base.id}' is a child run: fork its root '{row.root}'", run_id=base.id)
    facts = await source.read(base.id)
    _exists(base.id, at, len(facts))
    _between_visits(base.id, facts, at)
    prefix = facts[: at + 1]
    owner = _owner(base.id, facts, at)
    try:
        row = await source.get(owner)
    except RunNotFound:  # deleted; its facts are still there, for the run that is forked now
        owner = ""
    store = source if change.store is None else change.store
    shared = store is source
    tree = Tree(run_id, store, base.tree.clock, base.tree.drive)
    live = Live(tree, run_id, graph, context, label=row.label, stream=base.stream)
    live.load(prefix)
    below = await _children(base, owner, live.snapshot, at, run_id, tree.clock.time())
    member = _member(live, _owner(base.id, facts, at), at, prefix, change)
    first = member.facts[0]
    member.index = replace(
        live.index_row(), created=first.at, base=row.run if shared else None, base_seq=at if shared else None
    )
    member.opened = _requests(live.snapshot, run_id)
    if not shared:
        member.facts = [*prefix, *member.facts]
    members = [one.member(run_id, shared) for one in below]
    await tree.take(store.admit(member, tree.holder.owner, members))
    tree.lives[run_id] = live
    log("run forked", run=run_id, base=base.id, at=at, children=len(members))
    return live


# -- where a fork can begin ------------------------------------------------------------------------------------------


def _exists(run: str, seq: Any, length: int) -> None:
    if type(seq) is not int or not 0 <= seq < length:
        raise UserError(f"run '{run}' has no fact {seq!r}; its facts are 0 to {length - 1}")


def _between_visits(run: str, facts: Sequence[Fact], at: int) -> None:
    """Raises UserError inside a visit and at the end, naming where a fork can begin."""
    if _begins(facts[at]):
        return
    before = next((fact for fact in reversed(facts[:at]) if _begins(fact)), None)
    after = next((fact for fact in facts[at + 1 :] if _begins(fact)), None)
    near = " or ".join(f"{fact.seq} ({_told(fact)})" for fact in (before, after) if fact is not None)
    fact = facts[at]
    why = (
        f"run '{run}' ended with fact {at}, so nothing goes on from there"
        if isinstance(fact, Transition)
        else f"fact {at} of run '{run}' lies inside visit {fact.visit} of '{fact.node}'"
    )
    raise UserError(f"{why}; a fork begins at a transition or at the start: take {near}")


def _begins(fact: Fact) -> bool:
    if isinstance(fact, Transition):
        return fact.to != END
    return isinstance(fact, Started) or (isinstance(fact, Resumed) and fact.by == "fork")


def _told(fact: Fact) -> str:
    if isinstance(fact, Transition):
        return f"'{fact.node}' --{fact.on}--> '{fact.to}'"
    return "the start" if isinstance(fact, Started) else "where it was forked"


def _owner(run: str, facts: Sequence[Fact], at: int) -> str:
    """The run that wrote fact ``at``: where forks are forked, one before them may have."""
    forks = (fact for fact in facts[at + 1 :] if isinstance(fact, Resumed) and fact.by == "fork")
    return next((fact.base for fact in forks if fact.base is not None), run)


# -- what is new -----------------------------------------------------------------------------------------------------


def _member(live: Live, base: str, at: int, prefix: list[Fact], change: Change) -> Append:
    """What admits the fork, folded. Where the graph has changed since, it's forked and then migrated, and what is new
    comes with that: it's of today's shape."""
    first = _first(live, base, at, change)
    if live.unsaved is None:
        return live.member([first])
    told: Any = live.unsaved.facts[0]
    there = outline(live.id, prefix).visit
    plain = first._replace(node=there.node, visit=there.number, input=None, update=None, how=None)
    told = told._replace(seq=at + 2, input=first.input or told.input, update=first.update, how=first.how)
    live.load([*prefix, plain, told])
    return Append(live.id, live.id, [plain, told])


def _first(live: Live, base: str, at: int, change: Change) -> Resumed:
    """The fork's first own fact."""
    graph, s = live.graph, live.snapshot
    where = f"graph '{graph.name}': the fork of run '{base}' at fact {at}"
    update = dict(change.update or {})
    input: dict[str, Any] | None = None
    if change.input is not None and at == 0:
        input = graph.schema.filled(graph.initial(change.input))
    elif change.input is not None:
        given = _fields(graph, change.input, where)
        twice = [name for name in given if name in update]
        if twice:
            raise UpdateError(f"{where}: '{twice[0]}' is given by input and by update; give it once")
        update = {**given, **update}
    wire, how = graph.schema.admit(update, where) if update else (None, None)
    limits = codec_of(Json, "limits").admit(dict(change.limits))[0] if change.limits else None
    now = live.tree.clock.time()
    return Resumed(
        at + 1, now, now, s.visit.node, s.visit.number, "fork", limits, s.not_before, None, base, live.id, None,
        change.session, input, wire, how,
    )  # fmt: skip


def _fields(graph: Graph, input: Any, where: str) -> dict[str, Any]:
    """New input as an update."""
    takes = graph.takes
    if takes is not None and not (isinstance(input, Mapping) and takes in input):
        return {takes: graph.convert(input) if graph.convert is not None else input}
    if not isinstance(input, Mapping):
        raise UpdateError(f"{where}: this graph's input is a dict of its state's fields, not a {type(input).__name__}")
    return dict(input)


def _requests(s: Snapshot, root: str) -> list[OpenRequest]:
    """The run's open requests, as the fork's."""
    return [_request(one.request, root, s.run) for one in s.open.values()]


def _request(fact: Request, root: str, run: str) -> OpenRequest:
    return OpenRequest(root, run, fact.key, fact.kind, fact.data, fact.schema, fact.node, fact.at)


# -- children --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Child:
    """A child that is forked with its root: what it shares, and its state after its own first fact."""

    row: IndexRow
    prefix: list[Fact]
    first: Resumed
    snapshot: Snapshot

    def member(self, root: str, shared: bool) -> Append:
        """What admits it."""
        s, row, first = self.snapshot, self.row, self.first
        index = replace(
            row, run=s.run, root=root, parent=first.parent, standing=s.standing, node=s.visit.node, created=first.at,
            updated=first.at, due=None, tokens=int(s.usage.get("total_tokens", 0)), owner=None, waiting=0,
            base=row.run if shared else None, base_seq=first.seq - 1 if shared else None,
        )  # fmt: skip
        if s.error is None:
            index.error = None
        facts = [first] if shared else [*self.prefix, first]
        return Append(s.run, root, facts, index, _requests(s, root))


async def _children(base: Live, owner: str, s: Snapshot, at: int, root: str, now: float) -> list[_Child]:
    """The children that hadn't ended at fact ``at`` and whose visit may still be continued, at any depth."""
    store, graph = base.tree.store, base.graph
    if s.moved < 0 or not owner:  # no owner: it was deleted with its children, which begin anew
        return []
    rows = await _tree(store, owner)
    continued = {edge.target for edge in graph.edges if edge.continues and edge.source != edge.target}
    visits = [visit for visit in s.visits.values() if visit is s.visit or visit.node in continued]
    found: list[_Child] = []
    above = [(owner, root, visits)]
    while above:
        old, parent, visits = above.pop(0)
        for one in rows:
            if one.parent != old or not _unended(one.run, old, visits):
                continue
            child = _child(one, await store.read(one.run), at, root, parent, parent + one.run[len(old) :], now)
            if child is not None:
                found.append(child)
                above.append((one.run, child.snapshot.run, list(child.snapshot.visits.values())))
    return found


def _unended(run: str, parent: str, visits: Sequence[Visit]) -> bool:
    """Whether a child belongs to one of these visits of its parent, which has no record of its end."""
    for visit in visits:
        below = f"{parent}/{visit.node}.{visit.number}/"
        if run.startswith(below):
            return run[len(below) :] not in visit.effects
    return False


def _child(row: IndexRow, facts: list[Fact], at: int, root: str, parent: str, id: str, now: float) -> _Child | None:
    """A child as it was when its root stood at fact ``at``; None if it didn't exist.

    What a child did after its root had moved follows a fact that notes how far the root was (``above``).
    """
    notes = (fact for fact in facts if isinstance(fact, (Started, Resumed)) and fact.above is not None)
    end = next((fact.seq for fact in notes if fact.above is not None and fact.above >= at), len(facts))
    if end == 0:
        return None
    s = outline(id, facts[:end])
    place = s.visit
    first = Resumed(end, now, now, place.node, place.number, "fork", None, s.not_before, at, row.run, root, parent)
    return _Child(row, facts[:end], first, outline(id, [*facts[:end], first]))


async def _tree(store: Store, root: str) -> list[IndexRow]:
    found: list[IndexRow] = []
    after: str | None = None
    while True:
        page = await store.runs(root=root, limit=200, after=after)
        found += page.runs
        after = page.after
        if after is None:
            return found
