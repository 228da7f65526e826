"""``Run``: the handle a person holds. ``start`` and ``resume`` give one; both faces stand on them."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import AsyncIterator, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from secrets import token_hex
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from flowcore.engine.admit import started
from flowcore.engine.clock import CLOCK, Clock
from flowcore.engine.drive import drive
from flowcore.engine.events import Emitted, Event
from flowcore.engine.failure import raise_failure, tell
from flowcore.engine.fork import Change, Moment, fork, moment
from flowcore.engine.forms import check_answer
from flowcore.engine.lease import abandon, poke_local, release_left, release_quietly
from flowcore.engine.log import log
from flowcore.engine.observe import OBSERVERS
from flowcore.engine.private import PrivateStore
from flowcore.engine.tree import Live, Tree
from flowcore.errors import AlreadyResumed, NotOpen, NotPaused, RunConflict, RunError, StoreError, UserError
from flowcore.graph.draw import Drawing
from flowcore.graph.graph import Graph
from flowcore.graph.values import Json, codec_of
from flowcore.machine.explain import Choice, Difference, difference, explain
from flowcore.machine.facts import Fact, Standing
from flowcore.machine.walk import Step, drawing, path, walk_graph
from flowcore.stores.base import Letter, OpenRequest, Store

if TYPE_CHECKING:
    import networkx

BUFFER = 1_000
"""How many deltas a reader may be behind; then neighbouring ones are joined. Facts always enter."""
ALL = 1_000_000
"""Open requests of one tree that are listed at most."""


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


class Base(NamedTuple):
    """Where a fork began: a run, and the seq of the last fact that both share."""

    run: str
    seq: int


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

    def __del__(self) -> None:
        if self._tree.claim is not None and not sys.is_finalizing():
            abandon(self._tree)

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

    spent: None = None
    """What an entry that goes on has spent: see ``Context``."""

    @property
    def journal(self) -> Sequence[Fact]:
        """The journal: the list that grows with the run, to be read only."""
        return self._live.facts

    def note_usage(self, counts: dict[str, Any]) -> bool:
        """Only in an entry can something be added to what the run used."""
        return False

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
        """The walk as a networkx graph: one node per transition, edges labelled; see ``walk_graph`` for attributes."""
        return walk_graph(self._live.facts, self._live.graph)

    async def nested_graph(self) -> networkx.DiGraph[int]:
        """``graph``, with the walks of the child runs in the transitions of the visits that ran them."""
        children: dict[str, list[Fact]] = {}
        after: str | None = None
        while True:
            page = await self.store.runs(root=self._tree.root, limit=500, after=after)
            for row in page.runs:
                if row.run != self.id:
                    children[row.run] = await self.store.read(row.run)
            after = page.after
            if after is None:
                return walk_graph(self._live.facts, self._live.graph, children)

    def path(self) -> list[Step]:
        """The transitions in order."""
        return path(self._live.facts)

    def explain(self) -> list[Choice]:
        """Why each edge was taken, and which of the declared ones lost."""
        return explain(self._live.facts, self._live.graph)

    def diff(self, other: Run | Result) -> Difference | None:
        """Where this walk and another one part; None where they're the same."""
        return difference(self._live.facts, other.facts)

    async def replay(self, *, context: Any = None) -> Any:
        """Run the graph again against what is recorded, without touching the world; see ``flowcore.testing.replay``.

        Returns a ``Played``. Raises ``ReplayDiverged`` at the first difference, naming it. ``context``: the app's
        object, where nodes need one.
        """
        # The roof stands above: it's found by name when it's asked for, as the facade finds everything.
        roof = import_module("flowcore.testing")
        return await roof.replay(self, context=context)

    def drawing(self) -> Drawing:
        """The walk drawn over its graph: visits and edges counted, the place marked. ``.mermaid``, ``.dot``,
        ``.svg``."""
        return drawing(self._live.facts, self._live.graph)

    @property
    def base(self) -> Base | None:
        """The run that a fork goes on from, and the seq of the last fact that they share; None for any other run."""
        base = self._live.snapshot.base
        return None if base is None else Base(*base)

    def at(self, seq: int) -> Moment:
        """The run as of fact ``seq``, as far as this process has seen it: ``.state``, ``.place``, ``.standing``,
        ``.path``. Costs what there is to fold until then. Raises UserError where there's no such fact."""
        return moment(self._live, seq)

    async def fork(
        self,
        at: int,
        *,
        update: Mapping[str, Any] | None = None,
        input: Any = None,
        run_id: str | None = None,
        limits: Mapping[str, Any] | None = None,
        session: str | None = None,
        context: Any = ...,
        store: Store | None = None,
    ) -> Run:
        """A new run that shares this one's facts up to ``at`` and goes on by itself: ``at`` is a transition, the
        start, or where a fork began. What this one does meanwhile, and who drives it, doesn't matter.

        ``update``: joins the state as a node's update does. ``input``: new input; it joins the field that the graph
        takes, and at fact 0 it replaces the first input. ``limits`` replace those of the same name. ``session``: what
        it writes to from here on; without one it writes to none. ``context``: absent = this handle's. ``store``:
        another one than this run's: then the facts are copied.

        Requests that were open there are open in the fork too, and children that hadn't ended are forked with it.
        Raises UserError naming where a fork can begin, UpdateError, RunExists, RunNotFound, StoreError.
        """
        id = token_hex(16) if run_id is None else run_id
        change = Change(update, input, limits, session, None if store is self.store else store)
        return Run(await fork(self._live, at, id, change, self._live.context if context is ... else context))

    async def requests(self) -> list[OpenRequest]:
        """What the run and its children wait for."""
        return await self.store.requests(root=self._tree.root, limit=ALL)

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

    async def drive(self, *, patience: float | None = None) -> Standing:
        """Move the run until it rests; how it stands then. Never raises what the run's nodes raised.

        ``patience``: seconds that are slept through here, for timers and delays. A run that would sleep for longer is
        given back as it stands, and ``store.due`` names it when it's time. Without it all of it is slept through.

        Raises RunConflict when somebody else holds it, StoreError when the store can't be written.
        """
        task = self._task
        if task is not None and not task.done():
            return await asyncio.shield(task)  # somebody else's: this caller may leave, the run goes on
        self._tree.patience = patience
        return await self._begin()  # a cancel of this caller is one of the run

    def _begin(self) -> asyncio.Task[Standing]:
        """The task that moves the run; there's never more than one."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._drive(), name=f"flowcore-run-{self.id}")
            _MOVING.add(self._task)
            self._task.add_done_callback(_moved)
        return self._task

    async def _drive(self) -> Standing:
        await self._hold()
        self._tree.observe(self._live)
        try:
            return await drive(self._live)
        except BaseException as error:
            if isinstance(error, (RunConflict, StoreError)):
                log("run lost", level="warning", run=self.id, error=str(error))
            await asyncio.shield(self._let_go())
            raise

    async def _hold(self) -> None:
        """Take the lease again if it was given back, and catch up with what others wrote meanwhile."""
        tree = self._tree
        if tree.broken is not None and tree.claim is not None:  # lost while it was held and not driven
            await self._let_go()
        if tree.loop is not asyncio.get_running_loop():
            await self._let_go()
            tree.enter_loop()
        if tree.claim is not None or (self.standing == "done" and tree.broken is None):
            return
        await release_left(tree.store)
        broken = tree.broken is not None
        claim = await tree.take(tree.store.claim(tree.root, tree.holder.owner))
        stale = broken or claim.head != self._live.snapshot.seq
        try:
            if stale:
                self._live.load(await tree.store.read(self.id))
            tree.lives[self.id] = self._live
            await self._live.save_migration()
            await tree.fetch()
        except BaseException:
            await self._let_go()
            raise

    async def _let_go(self) -> None:
        """Give the lease back, whatever the store says to it."""
        tree = self._tree
        claim, tree.claim = tree.claim, None
        if claim is not None:
            if tree.loop is asyncio.get_running_loop():
                await tree.idle()
            tree.holder.drop(tree)
            await release_quietly(tree.store, tree.root, claim)

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
        buffer = _Buffer()
        tree = self._tree
        tree.listen(buffer)
        tree.readers += 1
        if self._task is None or self._task.done():
            tree.patience = None
        task = self._begin()
        task.add_done_callback(buffer.close)
        try:
            while (event := await buffer.next()) is not None:
                yield event
            error = None if task.cancelled() else task.exception()
            if error is not None:
                raise error
        finally:
            tree.leave(buffer)
            tree.readers -= 1
            task.remove_done_callback(buffer.close)

    async def __aenter__(self) -> Run:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task = self._task
        if task is not None and not task.done():
            await self.stop()
            await asyncio.wait([task])
        await self._let_go()

    async def resume(self, *, limits: dict[str, Any] | None = None) -> Run:
        """Make a run that failed, was cancelled or stopped go on at its place; ``await`` it then. ``limits`` replace
        those of the
        same name. Raises NotPaused when it's done, RunConflict when somebody else holds it."""
        await self._hold()
        await self._live.take_letters()  # a cancel of what has failed since isn't one of what begins now
        if self.standing == "done":
            raise NotPaused(f"run '{self.id}' is done: there is nothing to resume", run_id=self.id)
        log("run resumed", run=self.id, standing=self.standing, node=self.place)
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

    async def stop(self, *, before: Sequence[str] = ()) -> None:
        """Let the node that runs now finish, then rest; with ``before`` only where one of these nodes comes next."""
        await send(self.store, self.id, "stop", value=list(before) or None)
        await self._obey()

    def post(self, kind: Literal["cancel", "stop"], *, before: Sequence[str] = ()) -> asyncio.Task[None]:
        """``cancel`` or ``stop`` for code that can't wait: from this call on, the run goes to no further node here
        before it has seen it."""
        tree, earlier = self._tree, self._tree.posting

        async def bring() -> None:
            try:
                if earlier is not None:
                    await asyncio.wait([earlier])
                await send(self.store, self.id, kind, value=list(before) or None)
                if tree.claim is not None:
                    await tree.fetch()
            finally:
                if tree.posting is posting:
                    tree.posting = None

        async def obey() -> None:
            await posting
            await self._obey()

        posting = tree.posting = asyncio.get_running_loop().create_task(bring())
        return asyncio.get_running_loop().create_task(obey())

    async def _obey(self) -> None:
        """A run that nobody drives takes the letter in here and now."""
        if self._task is not None and not self._task.done():
            await self._tree.delivered()
        elif self.standing in ("running", "waiting"):
            try:
                await self.drive()
            except RunConflict:
                pass  # its owner has the letter


_MOVING: set[asyncio.Task[Standing]] = set()
"""Tasks need somebody who knows them (asyncio keeps only weak references)."""


def _moved(task: asyncio.Task[Standing]) -> None:
    _MOVING.discard(task)
    if not task.cancelled():
        task.exception()  # marked as seen: the next `await run` meets the same trouble


class _Buffer:
    """Between a drive and its reader: bounded in deltas, unbounded in facts.

    When it's full, a delta is joined to the last one of its text that waits, unless a fact of the run came between.
    """

    def __init__(self) -> None:
        self._events: deque[list[Event]] = deque()
        self._deltas = 0
        self._last: dict[Any, list[Event]] = {}
        self._ready = asyncio.Event()
        self._closed = False

    def __call__(self, event: Event) -> None:
        cell = [event]
        if type(event) is Emitted:
            text = _text_of(event)
            if text is not None:
                last = self._last.get(text)
                if last is not None and self._deltas >= BUFFER:
                    last[0] = _join(last[0], event)
                    return
                self._last[text] = cell
            self._deltas += 1
        else:
            self._last.clear()
        self._events.append(cell)
        self._ready.set()

    def close(self, task: Any = None) -> None:
        """Nothing more will come."""
        self._closed = True
        self._ready.set()

    async def next(self) -> Event | None:
        """The next event; None at the end."""
        while not self._events:
            if self._closed:
                return None
            self._ready.clear()
            await self._ready.wait()
        cell = self._events.popleft()
        event = cell[0]
        if type(event) is Emitted:
            self._deltas -= 1
            text = _text_of(event)
            if self._last.get(text) is cell:
                del self._last[text]
        return event


def _text_of(event: Emitted) -> tuple[Any, ...] | None:
    """Which text a delta belongs to; None where it's no delta."""
    data = event.data
    if isinstance(data, dict) and isinstance(data.get("delta"), str):
        return (event.run, event.seq, event.attempt, data.get("type"), data.get("item_id"))
    return None


def _join(last: Any, event: Emitted) -> Emitted:
    """Two deltas of one text as one."""
    return event._replace(n=last.n, data={**last.data, "delta": last.data["delta"] + event.data["delta"]})


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
    store = PrivateStore() if store is None else store
    id = token_hex(16) if run_id is None else run_id
    tree = Tree(id, store, clock, drive)
    live = Live(tree, id, definition, context, label=label, stream=stream)
    if OBSERVERS:
        meta = dict(meta or {})
        for observer in OBSERVERS:
            meta.update(observer.admitted(meta))
    first = started(live, input, limits or {}, meta)
    member = live.member([first])
    await tree.take(store.admit(member, tree.holder.owner))
    tree.lives[id] = live
    log("run admitted", run=id, graph=definition.name)
    return Run(live)


async def load(
    run_id: str, graph: Any, *, store: Store, context: Any = None, clock: Clock = CLOCK, stream: bool = False
) -> Run:
    """A handle on a stored root run, to look at or to await later; nothing is claimed.

    Raises RunNotFound, GraphChanged when the graph doesn't have what the run stands on, StoreError.
    """
    definition = _graph_of(graph)
    tree = Tree(run_id, store, clock, drive)
    live = Live(tree, run_id, definition, context, stream=stream)
    live.label = (await store.get(run_id)).label
    live.load(await store.read(run_id))
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
        log("run held by somebody else", level="warning", run=run_id, error=str(error))
        raise AlreadyResumed(f"run '{run_id}' can't be resumed: {error}", run_id=run_id) from None
    except BaseException:
        await run._let_go()
        raise


async def send(store: Store, run_id: str, kind: str, key: str | None = None, value: Any = None) -> None:
    """Put a letter for a run into its tree's inbox, from any process. Raises RunNotFound; NotOpen for an answer
    without request."""
    row = await store.get(run_id)
    wire = codec_of(Json, f"{kind} for run '{run_id}'").admit(value)[0]
    letter = Letter(run_id, token_hex(16), kind, key, wire, CLOCK.time())
    if not await store.signal(letter):
        raise await _not_open(store, row.root, key)
    poke_local(store, row.root)


async def answer(store: Store, run_id: str, key: str | None = None, value: Any = True) -> OpenRequest:
    """Answer an open request of a run or of a child of it; without ``key`` the only one there is.

    Raises NotOpen, which lists what is open, and UpdateError when the request has a schema that the answer doesn't fit.
    """
    root = (await store.get(run_id)).root
    asked = await store.requests(root=root, limit=ALL)
    found = [
        one
        for one in asked
        if (one.run == run_id or one.run.startswith(f"{run_id}/")) and (key is None or one.key == key)
    ]
    if key is not None and any(one.run == run_id for one in found):  # the run's own before those of its children
        found = [one for one in found if one.run == run_id]
    if len(found) != 1:
        if not found:
            raise await _not_open(store, root, key)
        which = ", ".join(f"'{one.key}' of {one.run}" for one in found)
        raise NotOpen(f"run '{run_id}' has several open requests: {which}; name one", run_id=run_id)
    check_answer(found[0], value)
    await send(store, found[0].run, "answer", found[0].key, value)
    return found[0]


async def _not_open(store: Store, root: str, key: str | None) -> NotOpen:
    answered = {(one.run, one.key) for one in await store.inbox(root) if one.kind == "answer"}
    keys = [one.key for one in await store.requests(root=root, limit=ALL) if (one.run, one.key) not in answered]
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


__all__ = ["Base", "Moment", "Result", "Run", "answer", "load", "resume", "send", "start"]
