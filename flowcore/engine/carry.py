"""A tree of runs, carried out of its store and brought into another one, or back to where it lives.

A run that is brought goes on under its own id, so under the same keys. A store that has it already gives a handle on
it, as long as it stands there as it was carried: there are never two walks of one run in one store.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from flowcore.engine.carried import Carried, Journal, SessionCopy, carried_from
from flowcore.engine.clock import CLOCK, Clock
from flowcore.engine.drive import drive
from flowcore.engine.log import log
from flowcore.engine.private import PrivateStore
from flowcore.engine.run import Run, load
from flowcore.engine.tree import Live, Tree
from flowcore.errors import AlreadyResumed, FlowcoreError, NotOpen, RunConflict, RunError, RunNotFound, StoreError
from flowcore.graph.graph import Graph
from flowcore.graph.values import dumps
from flowcore.machine.facts import Fact, Resumed, Signal, Started, Transition
from flowcore.machine.fold import outline
from flowcore.machine.migrate import fit
from flowcore.machine.snapshot import BUDGETS, Snapshot
from flowcore.stores.base import Append, IndexRow, Letter, OpenRequest, Store

T = TypeVar("T")
Position = Callable[[Mapping[str, Any]], "tuple[str, str, int] | None"]
"""Tells from a run's state by which field it reads a session of its own store: ``(session, field, position)``."""


# -- out -------------------------------------------------------------------------------------------------------------


async def collect(run: Run, position: Position | None = None) -> Carried:
    """The tree of a root run as its store has it now. ``position``: see ``Position``; without it no session is carried.

    Raises RunError for a child, RunNotFound, StoreError.
    """
    store, root = run.store, run.id
    row = await store.get(root)
    if row.root != root:
        raise RunError(f"'{root}' is a child run: carry its root '{row.root}'", run_id=root)
    rows = {row.run: row for row in await _tree(store, root)}
    rows.setdefault(root, row)
    below = [one for one in rows.values() if one.run != root]
    journals = tuple([await _journal(store, one) for one in (row, *below)])
    letters = tuple(one for one in await store.inbox(root) if one.run in rows)
    session = None
    if position is not None:
        found = position(run._live.snapshot.values)
        session = None if found is None else await _session(store, *found)
    return Carried(journals, letters, session)


async def journals(run: Run, position: Position | None = None) -> dict[str, Any]:
    """``collect`` as JSON."""
    return (await collect(run, position)).to_json()


async def _tree(store: Store, root: str) -> list[IndexRow]:
    found: list[IndexRow] = []
    after: str | None = None
    while True:
        page = await store.runs(root=root, limit=200, after=after)
        found += page.runs
        after = page.after
        if after is None:
            return found


async def _journal(store: Store, row: IndexRow) -> Journal:
    return Journal(row.run, row.label, row.turns, tuple(await store.read(row.run)))


async def _session(store: Store, session: str, field: str, position: int) -> SessionCopy:
    items = await store.session_items(session)
    read = sum(one.position <= position for one in items)
    return SessionCopy(session, field, read, tuple(one.item for one in items))


def at_once(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """What a coroutine gives that only reads a store, for code that can't wait for it.

    One that doesn't suspend, as over a store in memory, runs in line; else it's begun anew in a thread with an event
    loop of its own, and this thread is blocked until it has read.
    """
    trial = work()
    try:
        trial.send(None)
    except StopIteration as done:
        found: T = done.value
        return found
    except RuntimeError:
        pass  # it asked for an event loop, and here is none
    else:
        trial.close()
    answer: list[T] = []
    raised: list[BaseException] = []

    def read() -> None:
        try:
            answer.append(asyncio.run(work()))
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=read, name="flowcore-carry")
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
    return answer[0]


# -- in --------------------------------------------------------------------------------------------------------------


async def bring(
    carried: Carried | Mapping[str, Any],
    graph: Any,
    *,
    store: Store | None = None,
    context: Any = None,
    clock: Clock = CLOCK,
    stream: bool = False,
    sent: Collection[str] = (),
) -> Run:
    """A handle on a run that was carried, under its own id; ``await run.resume()`` goes on with it.

    Without ``store`` it's admitted to a private one, with its children, open requests, letters and session. A store
    that hasn't the run admits it likewise. One that has it is only looked at, if the run stands there as it was
    carried. ``sent``: ids of letters that this caller may have sent before it died: a run that went on by one of them
    and that nobody drives now is still this caller's.

    Raises AlreadyResumed where the store's run has gone on since; StoreError where the two differ, where the store's
    is behind, and for data that is damaged; GraphChanged; RunNotFound never.
    """
    definition: Graph = getattr(graph, "graph", graph).build()
    if not isinstance(carried, Carried):
        carried = carried_from(carried)
    id = carried.root.run
    if store is not None:
        try:
            await store.get(id)
        except RunNotFound:
            pass
        else:
            await _compare(store, carried, sent)
            return await load(id, definition, store=store, context=context, clock=clock, stream=stream)
    return await _admit(carried, definition, PrivateStore() if store is None else store, context, clock, stream)


async def _admit(carried: Carried, graph: Graph, store: Store, context: Any, clock: Clock, stream: bool) -> Run:
    id = carried.root.run
    check(carried, graph)
    below = [_child(id, one) for one in carried.runs[1:]]
    facts: Sequence[Fact] = carried.root.facts
    if carried.session is not None:
        facts = _moved(facts, carried.session.field, await _seat(store, carried.session))
    tree = Tree(id, store, clock, drive)
    live = Live(tree, id, graph, context, label=carried.root.label, stream=stream)
    live.load(facts)
    member = Append(id, id, live.facts, live.index_row(), _requests(live.snapshot, id))
    live.unsaved = None  # a migration is admitted with the rest
    try:
        await tree.take(store.admit(member, tree.holder.owner, below))
        tree.lives[id] = live
        for letter in carried.letters:
            await store.signal(letter)
        await tree.fetch()
    except FlowcoreError:
        raise
    except (ValueError, TypeError, OverflowError) as error:
        raise StoreError(f"run '{id}' can't be brought into this store: {type(error).__name__}") from error
    log("run brought", run=id, facts=len(facts), children=len(below))
    return Run(live)


def check(carried: Carried, graph: Graph) -> Snapshot:
    """The root's state, once the whole tree has been folded. Raises StoreError where a journal is damaged, GraphChanged
    where it doesn't fit the graph."""
    root = carried.root
    try:
        s = fit(graph, root.run, root.facts, root.facts[-1].at).snapshot
    except FlowcoreError:
        raise
    except Exception as error:
        raise StoreError(f"run '{root.run}': its journal is damaged ({type(error).__name__})") from error
    if s.root != root.run or s.parent is not None:
        raise StoreError(f"run '{root.run}': its journal is that of another run")
    bounds = {node.limit for node in graph.nodes.values() if isinstance(node.limit, str)}
    counted = {*bounds, *BUDGETS, "max_seconds", "retries", "delay_between_retries"}
    for name in counted & set(s.limits):
        if not isinstance(s.limits[name], (int, float, type(None))):
            raise StoreError(f"run '{root.run}': its limit '{name}' isn't a number")
    runs = {one.run for one in carried.runs}
    for one in carried.runs[1:]:
        below = _outline(one)
        if below.root != root.run or below.parent not in runs or not one.run.startswith(f"{below.parent}/"):
            raise StoreError(f"run '{one.run}': its journal is that of another run")
    return s


def requests_of(carried: Carried) -> list[OpenRequest]:
    """The open requests of the tree, oldest first."""
    root = carried.root.run
    found = [one for journal in carried.runs for one in _requests(_outline(journal), root)]
    return sorted(found, key=lambda one: (one.opened, one.run, one.key))


def _outline(journal: Journal) -> Snapshot:
    try:
        return outline(journal.run, journal.facts)
    except Exception as error:
        raise StoreError(f"run '{journal.run}': its journal is damaged ({type(error).__name__})") from error


def _child(root: str, journal: Journal) -> Append:
    """What admits a child: its graph isn't known here, so its index row tells what its facts do."""
    s = _outline(journal)
    waits = s.standing == "waiting"
    due = (
        s.not_before if s.standing == "running" else (s.due if s.pause is None else s.pause["until"]) if waits else None
    )
    error = None if s.error is None else f"{s.error['kind']}: {s.error['message']}"[:500]
    row = IndexRow(
        run=journal.run, root=root, parent=s.parent, graph=s.graph, fingerprint=s.fingerprint, standing=s.standing,
        node=s.visit.node, created=s.created, updated=s.at, due=due, turns=journal.turns,
        tokens=int(s.usage.get("total_tokens", 0)), error=error and error.encode("utf-8", "replace").decode(),
        label=journal.label,
    )  # fmt: skip
    return Append(journal.run, root, list(journal.facts), row, _requests(s, root))


def _requests(s: Snapshot, root: str) -> list[OpenRequest]:
    asked = [one.request for one in s.open.values()]
    return [OpenRequest(root, s.run, one.key, one.kind, one.data, one.schema, one.node, one.at) for one in asked]


async def _seat(store: Store, session: SessionCopy) -> int:
    """Put the session's items where the run will read them; the position of the last one that it reads.

    Raises StoreError where the session holds other items there.
    """
    there = [one.item for one in await store.session_items(session.session)]
    if there[: len(session.items)] != list(session.items[: len(there)]):
        raise StoreError(
            f"session '{session.session}' holds other items in this store than where the run read it; bring the run"
            " into a store that has no such session, or into none"
        )
    await store.session_write(session.session, session.items[len(there) :])
    seats = await store.session_items(session.session)
    return seats[session.read - 1].position if session.read else 0


def _moved(facts: Sequence[Fact], field: str, position: int) -> list[Fact]:
    """The facts, with another position in the session for those that told one."""
    moved: list[Fact] = []
    for fact in facts:
        if isinstance(fact, (Transition, Resumed)) and fact.update and type(fact.update.get(field)) is int:
            fact = fact._replace(update={**fact.update, field: position})
        if isinstance(fact, (Started, Resumed)) and fact.input and type(fact.input.get(field)) is int:
            fact = fact._replace(input={**fact.input, field: position})
        moved.append(fact)
    return moved


async def _compare(store: Store, carried: Carried, sent: Collection[str]) -> None:
    """Raises unless the store's tree stands as it was carried."""
    id = carried.root.run
    beyond: list[Fact] = []
    for journal in carried.runs:
        try:
            facts = await store.read(journal.run)
        except RunNotFound:
            facts = []
        known = min(len(facts), len(journal.facts))
        if list(journal.facts[:known]) != facts[:known]:
            raise StoreError(
                f"run '{journal.run}': what the store has of it differs from what was carried; they are two walks, take"
                " another store, or none"
            )
        if known < len(journal.facts):
            raise StoreError(
                f"run '{journal.run}': the store has {len(facts)} facts of it, and {len(journal.facts)} were carried:"
                " it has gone on elsewhere; take the store where it did, or none"
            )
        beyond += facts[known:]
    if beyond:
        row = await store.get(id)
        ours = {fact.id for fact in beyond if isinstance(fact, Signal)} | {one.id for one in await store.inbox(id)}
        if ours.isdisjoint(sent) or row.standing != "running" or row.owner is not None:
            raise gone_on(id, row.standing)


def gone_on(run: str, standing: str) -> AlreadyResumed:
    """The run has moved since somebody looked."""
    return AlreadyResumed(
        f"run '{run}' has gone on since this was taken from it, and is {standing} now; take it from its store as it"
        f" stands: flowcore.load('{run}', …), or resume",
        run_id=run,
    )


# -- letters ---------------------------------------------------------------------------------------------------------


def letter(run: str, kind: str, key: str | None, value: Any, salt: Any, at: float) -> Letter:
    """A letter whose id is what it says and ``salt`` (JSON): sent again it's the same one."""
    told = dumps([run, kind, key, value, salt])
    return Letter(run, hashlib.sha256(told).hexdigest()[:32], kind, key, value, at)


async def take_over(run: Run, letters: Sequence[Letter]) -> None:
    """Claim a run as this handle knows it, and hand letters in, each once, whoever tries how often.

    Raises AlreadyResumed when somebody else holds it or has gone on with it, NotOpen for an answer to what isn't asked
    any more; nothing is held then.
    """
    seen = run._live.snapshot.seq
    try:
        await run._hold()
    except RunConflict as error:
        raise AlreadyResumed(f"run '{run.id}' can't be resumed: {error}", run_id=run.id) from None
    try:
        if run._live.snapshot.seq != seen:
            raise gone_on(run.id, run.standing)
        for one in letters:
            await _hand_in(run, one)
        await run._tree.fetch()
    except BaseException:
        await run._let_go()
        raise


async def _hand_in(run: Run, letter: Letter) -> None:
    store = run.store
    facts = run._live.facts if letter.run == run.id else await store.read(letter.run)
    if any(isinstance(fact, Signal) and fact.id == letter.id for fact in facts):
        return
    if not await store.signal(letter):
        open = [one.key for one in await store.requests(root=run.id, limit=1_000_000)]
        raise NotOpen(
            f"run '{letter.run}': request '{letter.key}' was answered already, or isn't asked any more; open are:"
            f" {', '.join(map(repr, open)) or 'none'}",
            run_id=run.id,
            open=open,
        )
