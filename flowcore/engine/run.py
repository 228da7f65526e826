"""``Run``: the handle a person holds. ``start`` and ``resume`` give one; both faces stand on them."""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncIterator, Generator
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any

from flowcore.engine.admit import started
from flowcore.engine.clock import CLOCK, Clock
from flowcore.engine.drive import drive
from flowcore.engine.events import Emitted, Event
from flowcore.engine.failure import raise_failure, tell
from flowcore.engine.lease import holder_of, poke_local
from flowcore.engine.tree import Live, Tree
from flowcore.errors import (
    GraphChanged,
    NotOpen,
    NotPaused,
    RunConflict,
    RunError,
    RunNotFound,
    StoreError,
    UpdateError,
    UserError,
)
from flowcore.graph.graph import Graph
from flowcore.graph.outcomes import END
from flowcore.graph.values import Json, codec_of
from flowcore.machine.facts import Fact, Standing
from flowcore.machine.fold import fold
from flowcore.machine.walk import Step, path, walk_graph
from flowcore.stores.base import Letter, OpenRequest, Store
from flowcore.stores.memory import MemoryStore

if TYPE_CHECKING:
    import networkx

BUFFER = 1_000
"""How many deltas a reader may be behind; then neighbouring ones are joined. Facts always enter."""


@dataclass(slots=True)
class Result:
    """How a run stands and what came of it.

    ``output``: the graph's output (JSON) once ``standing`` is "done". ``state``: the state's fields as of now,
    read-only.
    ``requests``: what the run and its children wait for. ``usage``: counts over the whole tree. ``error``: ``{kind,
    message}``.
    """

    run_id: str
    standing: Standing
    output: Any
    state: Any
    requests: list[OpenRequest]
    usage: dict[str, Any]
    error: dict[str, Any] | None
    facts: list[Fact] = field(repr=False)

    @property
    def path(self) -> list[Step]:
        """The transitions in order."""
        return path(self.facts)

    @property
    def graph(self) -> networkx.DiGraph[int]:
        """The walk as a networkx graph: one node per transition."""
        return walk_graph(self.facts)


class Run:
    """One run.

    ``await run`` moves it until it rests and gives a ``Result`` (raising what made it fail); ``async for event in
    run`` does the same and
    hands out facts and emitted events; leaving ``async with run`` stops it. A reader that leaves a loop only
    detaches. Awaiting
    again goes on, e.g. after ``answer``.
    """

    def __init__(self, live: Live) -> None:
        self._live = live
        self._tree = live.tree
        self._task: asyncio.Task[Standing] | None = None

    def __repr__(self) -> str:
        return f"<Run {self.id!r} {self.standing} at {self.place!r}>"

    # -- what is known --------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """The run's id."""
        return self._live.id

    @property
    def store(self) -> Store:
        """The store that keeps it."""
        return self._tree.store

    @property
    def definition(self) -> Graph:
        """The graph that it walks through."""
        return self._live.graph

    @property
    def standing(self) -> Standing:
        """running, waiting, stopped, failed, cancelled or done."""
        return self._live.snapshot.standing

    @property
    def place(self) -> str:
        """The node where it stands."""
        return self._live.snapshot.visit.node

    @property
    def state(self) -> Any:
        """The state as of now: an instance of the graph's state class that can't be written to."""
        return self._live.graph.schema.view(self._live.snapshot.values)

    @property
    def facts(self) -> list[Fact]:
        """The journal, as far as this process has seen it."""
        return list(self._live.facts)

    @property
    def usage(self) -> dict[str, Any]:
        """What was spent, children included."""
        return dict(self._live.snapshot.usage)

    @property
    def meta(self) -> dict[str, Any]:
        """What the face that began it wrote into it."""
        return self._live.snapshot.meta

    @property
    def exception(self) -> BaseException | None:
        """What its last failure in this process raised."""
        return self._live.exception

    @property
    def graph(self) -> networkx.DiGraph[int]:
        """The walk as a networkx graph: one node per transition, edges labelled."""
        return walk_graph(self._live.facts)

    def path(self) -> list[Step]:
        """The transitions in order."""
        return path(self._live.facts)

    async def requests(self) -> list[OpenRequest]:
        """What the run and its children wait for."""
        return await self.store.requests(root=self._tree.root)

    # -- moving it ------------------------------------------------------------------------------------------------

    def __await__(self) -> Generator[Any, None, Result]:
        return self._finish().__await__()

    async def _finish(self) -> Result:
        await self.drive()
        result = await self.result()
        if result.standing in ("failed", "cancelled"):
            try:
                raise_failure(self._live)
            except Exception as error:
                tell(error, self._live)
                raise
        return result

    async def drive(self) -> Standing:
        """Move the run until it rests; how it stands then. Never raises what the run's nodes raised.

        Raises RunConflict when somebody else holds it, StoreError when the store can't be written.
        """
        if self._task is not None and not self._task.done():
            return await asyncio.shield(self._task)
        await self._hold()
        return await self._drive()

    async def _drive(self) -> Standing:
        try:
            return await drive(self._live)
        except (RunConflict, StoreError):
            self._tree.holder.drop(self._tree)
            self._tree.claim = None
            raise
        except asyncio.CancelledError:
            await asyncio.shield(self._let_go())
            raise

    async def _hold(self) -> None:
        """Take the lease again if it was given back, and catch up with what others wrote meanwhile."""
        tree = self._tree
        if tree.claim is not None or self.standing == "done":
            return
        claim = await tree.store.claim(tree.root, tree.holder.owner)
        tree.broken = None
        tree.claim = claim
        tree.holder.hold(tree)
        if claim.head != self._live.snapshot.seq:
            await _reload(self._live)
        tree.lives[self.id] = self._live
        await tree.fetch()

    async def _let_go(self) -> None:
        tree = self._tree
        if tree.claim is not None:
            claim, tree.claim = tree.claim, None
            tree.holder.drop(tree)
            await tree.store.release(tree.root, claim, 1 << 30)

    async def result(self) -> Result:
        """How the run stands, without moving it."""
        s = self._live.snapshot
        done = s.standing == "done"
        return Result(
            self.id,
            s.standing,
            self._live.graph.output(s.values) if done else None,
            self.state,
            await self.requests() if s.standing == "waiting" else [],
            dict(s.usage),
            s.error,
            self._live.facts,
        )

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Facts as they're committed and events as they're emitted, until the run rests. Raises only RunConflict and
        StoreError."""
        await self._hold()
        buffer = _Buffer()
        tree = self._tree
        tree.out = buffer
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._drive())
        task = self._task
        task.add_done_callback(lambda _: buffer.close())
        try:
            async for event in buffer:
                yield event
            await task
        finally:
            if tree.out is buffer:
                tree.out = None

    async def __aenter__(self) -> Run:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None and not self._task.done():
            await self.stop()
            await asyncio.wait([self._task])
        await self._let_go()

    async def resume(self, *, limits: dict[str, Any] | None = None) -> Run:
        """Make a run that failed, was cancelled or stopped go on at its place; ``await`` it then. ``limits`` replace
        those of the
        same name. Raises NotPaused when it's done, RunConflict when somebody else holds it."""
        await self._hold()
        if self.standing == "done":
            raise NotPaused(f"run '{self.id}' is done: there is nothing to resume", run_id=self.id)
        if self.standing not in ("running", "waiting") or limits:
            limits = codec_of(Json, "limits").admit(limits)[0] if limits else None
            await self._live.commit(self._live.resumed("resume", limits))
        self._live.exception = None
        return self

    # -- from outside ---------------------------------------------------------------------------------------------

    async def answer(self, key: str | None = None, value: Any = True) -> None:
        """Answer an open request of the run or of a child of it; without ``key`` the only one there is. Raises
        NotOpen."""
        await answer(self.store, self.id, key, value)

    async def cancel(self) -> None:
        """Cancel what runs now; the run keeps its place and can be resumed."""
        await send(self.store, self.id, "cancel")
        await self._obey()

    async def stop(self) -> None:
        """Let the node that runs now finish, then rest."""
        await send(self.store, self.id, "stop")
        await self._obey()

    async def _obey(self) -> None:
        """A run that nobody drives takes the letter in here and now."""
        if self._tree.claim is not None:
            self._tree.poke()
        elif self.standing in ("running", "waiting"):
            try:
                await self.drive()
            except RunConflict:
                pass  # its owner has the letter


class _Buffer:
    """Between a drive and its reader: bounded in deltas, unbounded in facts."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._deltas = 0
        self._ready = asyncio.Event()
        self._closed = False

    def __call__(self, event: Event) -> None:
        if type(event) is Emitted:
            if self._deltas >= BUFFER and self._events:
                last = self._events[-1]
                joined = _join(last, event)
                if joined is not None:
                    self._events[-1] = joined
                    return
            self._deltas += 1
        self._events.append(event)
        self._ready.set()

    def close(self) -> None:
        self._closed = True
        self._ready.set()

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            while self._events:
                event = self._events.popleft()
                if type(event) is Emitted:
                    self._deltas -= 1
                yield event
            if self._closed:
                return
            self._ready.clear()
            await self._ready.wait()


def _join(last: Event, event: Emitted) -> Emitted | None:
    """Two neighbouring text deltas of the same item as one; None where they aren't."""
    if type(last) is not Emitted or last.run != event.run or last.seq != event.seq:
        return None
    a, b = last.data, event.data
    if not (isinstance(a, dict) and isinstance(b, dict) and isinstance(a.get("delta"), str)):
        return None
    if a.get("type") != b.get("type") or a.get("item_id") != b.get("item_id") or not isinstance(b.get("delta"), str):
        return None
    return event._replace(n=last.n, data={**a, "delta": a["delta"] + b["delta"]})


async def start(
    graph: Any,
    input: Any = None,
    *,
    store: Store | None = None,
    run_id: str | None = None,
    context: Any = None,
    limits: dict[str, Any] | None = None,
    meta: dict[str, Any] | None = None,
    stream: bool = False,
    label: str = "",
    clock: Clock = CLOCK,
) -> Run:
    """Admit a run of a graph (or of whatever has a ``.graph``); its first fact is committed when this returns.

    ``store``: without one the run lives in a private memory store and dies with its handle. ``run_id``: made up if
    absent.
    ``context``: the app's object for nodes, never stored. ``limits``: by name, e.g. ``{"max_turns": 10}``; None is no
    limit.
    ``meta``: JSON to find again in the run. ``stream``: let models stream though nobody listens yet. ``label``: shown
    in lists.

    Raises UpdateError (the input doesn't fit the state), GraphError, RunExists, StoreError.
    """
    definition = _graph_of(graph)
    store = MemoryStore() if store is None else store
    holder = holder_of(store)
    id = uuid.uuid4().hex if run_id is None else run_id
    tree = Tree(id, store, holder, None, clock)
    live = Live(tree, id, definition, context, label=label, stream=stream)
    first = started(live, input, limits or {}, meta)
    member = live.member([first])
    tree.claim = await store.admit(member, holder.owner)
    tree.lives[id] = live
    holder.hold(tree)
    return Run(live)


async def load(
    run_id: str, graph: Any, *, store: Store, context: Any = None, clock: Clock = CLOCK, stream: bool = False
) -> Run:
    """A handle on a stored root run, to look at or to await later; nothing is claimed.

    Raises RunNotFound, GraphChanged when the graph doesn't have what the run stands on, StoreError.
    """
    definition = _graph_of(graph)
    holder = holder_of(store)
    tree = Tree(run_id, store, holder, None, clock)
    live = Live(tree, run_id, definition, context, stream=stream)
    live.label = (await store.get(run_id)).label
    facts = await store.read(run_id)
    _load(live, facts)
    return Run(live)


async def resume(
    run_id: str,
    graph: Any,
    *,
    store: Store,
    context: Any = None,
    limits: dict[str, Any] | None = None,
    clock: Clock = CLOCK,
    stream: bool = False,
) -> Run:
    """Take a stored run over at its place; ``await`` the handle to go on.

    A failed, cancelled or stopped run gets another try, a crashed one goes on, a waiting one takes its answers in.
    ``limits``
    replace those of the same name. Raises RunNotFound, RunConflict (somebody holds it), NotPaused (it's done),
    GraphChanged.
    """
    seen = await store.get(run_id)
    if seen.root != run_id:
        raise RunError(f"'{run_id}' is a child run: resume its root '{seen.root}'", run_id=run_id)
    run = await load(run_id, graph, store=store, context=context, clock=clock, stream=stream)
    try:
        return await run.resume(limits=limits)
    except RunConflict as error:
        raise RunConflict(f"run '{run_id}' can't be resumed: {error}", run_id=run_id) from None
    except BaseException:
        await run._let_go()
        raise


async def send(store: Store, run_id: str, kind: str, key: str | None = None, value: Any = None) -> None:
    """Put a letter for a run into its tree's inbox, from any process. Raises RunNotFound; NotOpen for an answer
    without request."""
    row = await store.get(run_id)
    wire = codec_of(Json, f"{kind} for run '{run_id}'").admit(value)[0]
    letter = Letter(run_id, uuid.uuid4().hex, kind, key, wire, CLOCK.time())
    if not await store.signal(letter):
        raise await _not_open(store, row.root, key)
    poke_local(store, row.root)


async def answer(store: Store, run_id: str, key: str | None = None, value: Any = True) -> OpenRequest:
    """Answer an open request of a run or of a child of it; without ``key`` the only one there is.

    Raises NotOpen, which lists what is open.
    """
    root = (await store.get(run_id)).root
    there = [one for one in await store.requests(root=root) if one.run == run_id or one.run.startswith(f"{run_id}/")]
    found = [one for one in there if key is None or one.key == key]
    if len(found) != 1:
        if not found:
            raise await _not_open(store, root, key)
        which = ", ".join(f"'{one.key}' of {one.run}" for one in found)
        raise NotOpen(f"run '{run_id}' has several open requests: {which}; name one", run_id=run_id)
    await send(store, found[0].run, "answer", found[0].key, value)
    return found[0]


async def _not_open(store: Store, root: str, key: str | None) -> NotOpen:
    keys = [one.key for one in await store.requests(root=root)]
    listed = ", ".join(f"'{one}'" for one in keys) or "none"
    what = f"request '{key}' is" if key is not None else "no request is"
    return NotOpen(
        f"run '{root}': {what} not open; open are: {listed}".replace("no request is not", "no request is"),
        run_id=root,
        open=keys,
    )


def _graph_of(graph: Any) -> Graph:
    found = getattr(graph, "graph", graph)
    if not isinstance(found, Graph):
        raise UserError(f"a run walks through a Graph or something with a .graph, not a {type(graph).__name__}")
    return found.build()


async def _reload(live: Live) -> None:
    """Fold the journal anew: somebody else may have written to it."""
    facts = await live.tree.store.read(live.id)
    fresh = Live(live.tree, live.id, live.graph, live.context, label=live.label, stream=live.stream)
    _load(fresh, facts)
    live.snapshot, live.facts, live.indexed = fresh.snapshot, fresh.facts, fresh.indexed
    live.due = None
    live.tree.lives.clear()


def _load(live: Live, facts: list[Fact]) -> None:
    """Fold a stored journal with the graph of today. Raises GraphChanged, StoreError."""
    graph = live.graph
    first: Any = facts[0] if facts else None
    if first is None:
        raise RunNotFound(f"run '{live.id}' has no facts", run_id=live.id)
    try:
        for fact in facts:
            fold(graph.schema, live.snapshot, fact)
    except (UpdateError, StoreError) as error:
        if first.fingerprint == graph.fingerprint:
            raise StoreError(f"run '{live.id}': {error}; its journal is damaged") from error
        raise GraphChanged(
            f"run '{live.id}' was begun with graph '{first.graph}' ({first.fingerprint}) and doesn't fit graph"
            f" '{graph.name}' ({graph.fingerprint}): {error}"
        ) from error
    live.facts = list(facts)
    live.indexed = live._index_key()
    place = live.snapshot.visit.node
    if place not in graph.nodes and place != END:
        raise GraphChanged(
            f"run '{live.id}' stands at '{place}', which graph '{graph.name}' doesn't have any more; its nodes are "
            + ", ".join(f"'{name}'" for name in graph.nodes)
        )
    if graph.verify is not None and live.snapshot.standing != "done":
        graph.verify(graph.schema.view(live.snapshot.values), place)


__all__ = ["Result", "Run", "answer", "load", "resume", "send", "start"]
