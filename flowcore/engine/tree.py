"""A tree of runs in memory: one lease, one inbox, and at most one append in flight, which carries every fact that is
ready.

``Live`` is one run of the tree: its state as folded, its facts, and what it needs to go on. Facts reach it only through
``commit``: fold, append, hand on.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

from flowcore.engine import heartbeat
from flowcore.engine.clock import Clock
from flowcore.engine.events import Committed, Event
from flowcore.engine.lease import Holder, holder_of, taken
from flowcore.engine.log import log
from flowcore.engine.observe import OBSERVERS, Noted, Watch
from flowcore.errors import FlowcoreError, GraphChanged, RunConflict, RunNotFound, StoreError
from flowcore.graph.graph import Edge, Graph
from flowcore.graph.node import Node
from flowcore.graph.outcomes import END
from flowcore.machine.facts import Effect, Fact, Request, Rested, Resumed, Signal, Standing, Transition
from flowcore.machine.fold import fold
from flowcore.machine.migrate import fit
from flowcore.machine.redact import redactor_of
from flowcore.machine.snapshot import Snapshot
from flowcore.stores.base import Append, Claim, IndexRow, Letter, OpenRequest, SessionWrite, Store

T = TypeVar("T")
_NONE: frozenset[str] = frozenset()
_MADE: Callable[[type[Transition], tuple[Any, ...]], Transition] = tuple.__new__
_TOLD: Callable[[type[Committed], tuple[Any, ...]], Committed] = tuple.__new__
_MOVING = ("running", None, 0)
"""What the index knows of a run that moves."""
Sink = Callable[[Event], None]
Drive = Callable[["Live"], Awaitable[Standing]]


class Tree:
    """What the runs of one tree share. ``drive`` is the loop, which a node needs for its children."""

    def __init__(self, root: str, store: Store, clock: Clock, drive: Drive) -> None:
        self.root = root
        self.store = store
        self.guarded = store.shared
        """Whether others may take the lease: then it's looked at before anything starts."""
        self.clock = clock
        self.drive = drive
        self.claim: Claim | None = None
        self.out: Sink | None = None
        self.lives: dict[str, Live] = {}
        self.held: dict[str, dict[str, Sequence[Append]]] = {}
        """How children failed, by parent and child: it's written with what the parent makes of it (``Live.fail``)."""
        self.mail: Sequence[Letter] = ()
        self.broken: RunConflict | StoreError | None = None
        self.watches: Sequence[Watch] | None = None
        self.patience: float | None = None
        """Seconds that are slept through here; whose timer is further off is given back until then. None: all."""
        self.readers = 0
        """How many read along in this process."""
        self.posting: asyncio.Task[None] | None = None
        """A letter of this process on its way to the inbox: the root goes to no further node before it's there."""
        self._sinks: Sequence[Sink] = ()
        self._taken = _NONE
        self._wake: asyncio.Event | None = None
        self._ready: Sequence[Append] = ()
        self._turn: asyncio.Future[None] | None = None
        self._writer: asyncio.Task[None] | None = None
        self._poking: asyncio.Task[None] | None = None
        self._poked = False
        self.enter_loop()

    def enter_loop(self) -> None:
        """Belong to the running loop from now on."""
        self.loop = asyncio.get_running_loop()
        self.thread = threading.get_ident()
        self.holder: Holder = holder_of(self.store)
        self._wake = None

    @property
    def wake(self) -> asyncio.Event:
        """Set when letters came; made when somebody sleeps."""
        if self._wake is None:
            self._wake = asyncio.Event()
        return self._wake

    async def take(self, asked: Coroutine[Any, Any, Claim]) -> Claim:
        """Begin anew under the lease that is asked for: what was in memory may be older than the store, or ahead of
        it."""
        since = heartbeat.lease_time()
        self.claim = claim = await taken(self.store, self.root, asked)
        self.broken = None
        self.lives.clear()
        self.held.clear()
        self.mail = ()
        self._taken = _NONE
        self.holder.hold(self, since)
        return claim

    @property
    def sure(self) -> bool:
        """Whether something may start at once. Raises RunConflict or StoreError when nothing may any more."""
        if self.broken is not None:
            raise self.broken
        return self.holder.sure

    async def make_sure(self) -> None:
        """Renew the lease, and return when something may start. Raises RunConflict or StoreError when nothing may any
        more: others went on, or the store can't be asked."""
        try:
            await self.holder.renew()
        except StoreError as error:
            self._break(error)
        if self.broken is not None:
            raise self.broken

    def lose(self, error: RunConflict) -> None:
        """Somebody else may go on with the runs: break off what runs here, commit nothing more."""
        if self.broken is None:
            self.broken = error
        self.holder.drop(self)
        for live in list(self.lives.values()):
            if live.task is not asyncio.current_task():  # who asks is told so
                live.interrupt()
        if self._wake is not None:
            self._wake.set()

    def reached(self) -> int:
        """The seq of the root's last fact: what children note when they begin or are taken up again."""
        return self.lives[self.root].snapshot.seq

    # -- readers --------------------------------------------------------------------------------------------------

    def listen(self, sink: Sink) -> None:
        """Hand facts and events to ``sink`` too."""
        self._sinks = [*self._sinks, sink]
        self._set_out()

    def leave(self, sink: Sink) -> None:
        """Hand ``sink`` nothing more."""
        if sink in self._sinks:
            self._sinks = [one for one in self._sinks if one != sink]
            self._set_out()

    def observe(self, live: Live) -> None:
        """Ask the observers of this process, once, for whom the root run begins to move here."""
        if self.watches is None:
            self.watches = tuple(watch for one in OBSERVERS if (watch := one.watch(live)) is not None)

    def tell(self, what: Committed | Noted) -> None:
        """Hand something to the observers. An observer's error is no trouble of the run's."""
        for watch in self.watches or ():
            self._tell(watch, what)

    def _tell(self, watch: Watch, what: Committed | Noted) -> None:
        try:
            watch(what)
        except Exception as error:
            log("observer failed", level="error", run=self.root, error=repr(error))

    def _set_out(self) -> None:
        sinks = self._sinks
        self.out = None if not sinks else sinks[0] if len(sinks) == 1 else self._to_all

    def _to_all(self, event: Event) -> None:
        for sink in self._sinks:
            sink(event)

    # -- appends --------------------------------------------------------------------------------------------------

    async def append(self, members: Sequence[Append]) -> None:
        """Write members, together with whatever else is ready. Returns when they're committed. Raises RunConflict,
        StoreError."""
        self._ready = [*self._ready, *members]
        if self._turn is None:
            self._turn = self.loop.create_future()
        turn = self._turn
        if self._writer is None:
            self._writer = self.loop.create_task(self._write(), name="flowcore-append")
        await asyncio.shield(turn)

    async def idle(self) -> None:
        """Return when no append is in flight."""
        while self._writer is not None:
            await asyncio.wait([self._writer])

    def append_now(self, members: Sequence[Append]) -> bool:
        """``append`` without suspending; False where the store isn't inline, busy or in trouble: then the long way.
        Raises RunConflict, StoreError."""
        if self.broken is not None:
            raise self.broken
        if self._writer is not None or self.claim is None or not self.store.inline:
            return False
        try:
            answers = self.store.append_now(members, self.claim)
        except StoreError:
            return False
        if answers is None:
            return False
        if self.out is None and not self.watches and not any(answers):
            return True
        self._committed(members, answers)
        return True

    async def _write(self) -> None:
        """Append what is ready, batch after batch, until nothing is."""
        turn: asyncio.Future[None] | None = None
        try:
            while self._turn is not None:
                turn, members = self._turn, self._ready
                self._turn, self._ready = None, ()
                try:
                    await self._try(members)
                except (RunConflict, StoreError) as error:
                    turn.set_exception(error)
                    turn.exception()  # marked as seen: who waits gets it through the shield
                else:
                    turn.set_result(None)
        except BaseException as error:  # the loop ends, or the store broke its promise: nobody knows what was written
            self.broken = StoreError(f"run '{self.root}': an append was broken off ({type(error).__name__})")
            for waiting in (turn, self._turn):
                if waiting is not None and not waiting.done():
                    waiting.set_exception(self.broken if isinstance(error, asyncio.CancelledError) else error)
                    waiting.exception()
            self._turn, self._ready = None, ()
            if isinstance(error, asyncio.CancelledError):
                raise
        finally:
            self._writer = None

    async def _try(self, members: Sequence[Append]) -> None:
        """One append; an I/O error is tried again while the lease holds, the facts waiting in memory."""
        pause = 0.05
        while True:
            if self.broken is not None:
                raise self.broken
            if self.claim is None:
                self._break(RunConflict(f"run '{self.root}': its lease was given back", run_id=self.root))
            try:
                answers = await self.store.append(members, self.claim)  # type: ignore[arg-type]
                break
            except StoreError as error:
                log("append failed", level="warning", run=self.root, error=str(error))
                if error.lasting or not self.store.shared:
                    self._break(error)
                if not self.holder.sure:
                    self._break(error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 1.0)
        self._committed(members, answers)

    async def ask(self, question: Callable[[], Awaitable[T]], *, again: bool = True) -> T:
        """What the store answers a node. While it can't be reached it's asked again, for as long as appends are; then
        the run is broken off where it stands: an outage is nobody's attempt. Not ``again``: at once. Raises what the
        store raises, and RunConflict and StoreError when nothing more can be done here."""
        began, pause = heartbeat.lease_time(), 0.05
        while True:
            if self.broken is not None:
                raise self.broken
            try:
                return await question()
            except StoreError as error:
                if error.lasting or not self.store.shared or self.claim is None:
                    raise
                log("read failed", level="warning", run=self.root, error=str(error))
                if not (again and self.holder.sure and heartbeat.is_held(began)):
                    self._break(error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 1.0)

    def _committed(self, members: Sequence[Append], answers: Sequence[Exception | None]) -> None:
        out, watches = self.out, self.watches or ()
        for member, answer in zip(members, answers, strict=True):
            if answer is not None:
                self._break(answer)
            for fact in member.facts:
                told = _TOLD(Committed, (member.run, fact))
                if out is not None:
                    out(told)
                for watch in watches:
                    self._tell(watch, told)

    def _break(self, error: Exception) -> None:
        """Nothing more can be committed from here: what is in memory is no longer the truth."""
        if self.broken is None:  # what comes after the first is its consequence
            self.broken = error if isinstance(error, (RunConflict, StoreError)) else StoreError(str(error))
        self.holder.drop(self)
        raise self.broken

    # -- the inbox ------------------------------------------------------------------------------------------------

    def poke(self) -> None:
        """Letters may have come: fetch them and hand them to the runs that are driven now."""
        self._poked = True
        if self._poking is None:
            self._poking = self.loop.create_task(self._deliver(), name="flowcore-letters")

    async def delivered(self) -> None:
        """``poke``, and return when the letters were handed over: no further node is entered before that."""
        self.poke()
        if self._poking is not None:
            await asyncio.wait([self._poking])

    async def _deliver(self) -> None:
        try:
            while self._poked and self.claim is not None:
                self._poked = False
                await self.fetch()
                for live in list(self.lives.values()):
                    if live.driven:  # the others' letters wait for whoever drives them again
                        await live.take_letters()
        except (StoreError, RunConflict):
            pass  # the drive meets the same trouble at its next append and reports it
        finally:
            self._poking = None
            if self._wake is not None:
                self._wake.set()

    async def fetch(self) -> int:
        """Read the inbox, and tell how many letters are in it."""
        letters = await self.store.inbox(self.root)
        for letter in letters:
            if letter.id not in self._taken:
                self._taken |= {letter.id}
                self.mail = [*self.mail, letter]
        return len(letters)


class Live:
    """One run in memory.

    ``above``: where its end is recorded: (parent, node, visit, key, hash of the input). ``driven``: a loop is at work
    on it. ``exception``: what its last failure raised in this process. ``scratch``: what nodes keep for this process
    alone. ``unsaved``: the migration that loading it made.
    """

    __slots__ = (
        "above", "context", "driven", "exception", "facts", "graph", "id", "indexed", "interrupted", "label", "nudged",
        "scratch", "snapshot", "stream", "task", "tree", "unsaved",
    )  # fmt: skip

    def __init__(
        self,
        tree: Tree,
        id: str,
        graph: Graph,
        context: Any,
        *,
        above: tuple[Live, str, int, str, str] | None = None,
        label: str = "",
        stream: bool = False,
    ) -> None:
        self.tree = tree
        self.id = id
        self.graph = graph
        self.context = context
        self.above = above
        self.label = label
        self.stream = stream
        self.snapshot = Snapshot(id)
        self.facts: list[Fact] = []
        self.driven = False
        self.nudged = _NONE
        self.exception: BaseException | None = None
        self.indexed: tuple[Any, ...] | None = None
        self.interrupted = False
        self.task: asyncio.Task[Any] | None = None
        self.scratch: dict[Any, Any] = {}
        self.unsaved: Append | None = None

    @property
    def nodes(self) -> Iterable[tuple[str, Node]]:
        """The graph's nodes by name."""
        return self.graph.nodes.items()

    def load(self, facts: Sequence[Fact]) -> None:
        """Fold a stored journal from its beginning, with the graph of today, and migrate it if that's declared.

        What a migration says isn't written yet: see ``save_migration``. Raises GraphChanged, StoreError.
        """
        if not facts:
            raise RunNotFound(f"run '{self.id}' has no facts", run_id=self.id)
        try:
            fitted = fit(self.graph, self.id, facts, self.tree.clock.time())
        except FlowcoreError:
            raise
        except Exception as error:
            raise StoreError(f"run '{self.id}': its journal is damaged ({error!r})") from error
        done = fitted.snapshot.standing == "done"  # then its migration is for looking at it, today and here
        new = () if fitted.migration is None or done else (fitted.migration,)
        self.snapshot, self.facts = fitted.snapshot, [*facts, *new]
        self.indexed = self._index_key()
        self.unsaved = Append(self.id, self.tree.root, new, self.index_row(), (), fitted.closed) if new else None

    async def save_migration(self) -> None:
        """Write down what a migration said when the run was loaded, before anything rests on it.

        Raises GraphChanged where it leads away from children that haven't ended.
        """
        unsaved = self.unsaved
        if unsaved is None:
            return
        fact: Any = unsaved.facts[0]
        if fact.place is not None:
            await self._nothing_below(fact.node, fact.visit, fact.place)
        log("run migrated", run=self.id, fingerprint=fact.fingerprint, node=self.snapshot.visit.node)
        await self.tree.append([unsaved])
        self.unsaved = None

    async def _nothing_below(self, node: str, visit: int, place: str) -> None:
        below, after = f"{self.id}/{node}.{visit}/", None
        while True:
            page = await self.tree.ask(partial(self.tree.store.runs, root=self.tree.root, limit=500, after=after))
            left = [one.run for one in page.runs if one.run.startswith(below) and one.standing != "done"]
            if left:
                raise GraphChanged(
                    f"run '{self.id}': its migration leads from '{node}' to '{place}', but children of it haven't ended"
                    f" there ({', '.join(left)}): keep the place, or let them end with the graph as it was"
                )
            after = page.after
            if after is None:
                return

    async def commit(self, *facts: Fact, consumed: Sequence[str] = (), writes: Sequence[SessionWrite] = ()) -> None:
        """Fold facts, append them, hand them on. Returns when they're committed."""
        tree = self.tree
        members = [self.member(facts, consumed, writes)]
        if self.above is not None and any(type(fact) is Transition and fact.to == END for fact in facts):
            members.append(self.above[0].member((self._end(),)))
        if len(tree.lives) > 1:
            members += self._abandoned(facts)
        noticed = self._noticed(facts) if tree.held else ()
        if noticed:
            members = [*noticed, *members]
        if not tree.append_now(members):
            await tree.append(members)
        for failed in noticed:
            if failed.run != self.id:
                tree.lives.pop(failed.run, None)

    async def fail(self, rested: Rested) -> None:
        """Commit that the run failed. A child's failure is committed with what its parent makes of it: until then its
        call is in flight, and a process that dies in between leaves nothing that the next one would take up otherwise.
        """
        if self.above is None:
            await self.commit(rested)
        else:
            held = self.tree.held
            before = self._noticed((rested,)) if held else ()
            held.setdefault(self.above[0].id, {})[self.id] = [*before, self.member((rested,))]

    def _noticed(self, facts: Sequence[Fact]) -> list[Append]:
        """How children failed of which these facts are the outcome: those that end a visit are of all of its children,
        an effect is of the child of its key or above it. And how the run itself failed, when it goes on."""
        held = self.tree.held
        found: list[Append] = []
        if self.above is not None:
            found += _taken(held, self.above[0].id, [self.id])
        mine = held.get(self.id)
        if mine is not None:
            ends = tuple(f"{self.id}/{fact.node}.{fact.visit}/{fact.key}/" for fact in facts if type(fact) is Effect)
            if any(type(fact) in (Transition, Rested) for fact in facts):
                ids = list(mine)
            else:
                ids = [id for id in mine if any(end.startswith(f"{id}/") for end in ends)]
            found += _taken(held, self.id, ids)
        return found

    def _abandoned(self, facts: Sequence[Fact]) -> list[Append]:
        """What is written of children that haven't ended when the visit that they belong to is left."""
        here = self.snapshot.visit
        members: list[Append] = []
        for fact in facts:
            if type(fact) is not Transition or (here.node, here.number) == (fact.node, fact.visit):
                continue
            below = f"{self.id}/{fact.node}.{fact.visit}/"
            for child in [one for one in self.tree.lives.values() if one.id.startswith(below) and one._unended]:
                s, now = child.snapshot, self.tree.clock.time()
                rest = Rested(
                    s.seq + 1, now, now, s.visit.node, s.visit.number, "cancelled", s.visit.attempt, abandoned=True
                )
                members.append(child.member((rest,)))
                del self.tree.lives[child.id]
        return members

    def member(
        self, facts: Sequence[Fact], consumed: Sequence[str] = (), writes: Sequence[SessionWrite] = ()
    ) -> Append:
        """Fold facts, and put them into an append with what becomes true with them."""
        s = self.snapshot
        schema = self.graph.schema
        asked: Sequence[OpenRequest] = ()
        closed: Sequence[str] = ()
        before = set(s.open) if s.open else ()
        for fact in facts:
            fold(schema, s, fact)
        if s.open or before:
            asked = [self._row_of(fact) for fact in facts if type(fact) is Request and fact.key in s.open]
            closed = [key for key in before if key not in s.open]
        self.facts.extend(facts)
        index = None
        if s.standing != "running" or self.indexed is not _MOVING or s.not_before is not None or s.open:
            key = self._index_key()
            if key != self.indexed or asked or closed:
                self.indexed = key
                index = self.index_row()
        return Append(self.id, self.tree.root, facts, index, asked, closed, consumed, writes)

    def _index_key(self) -> tuple[Any, ...]:
        s = self.snapshot
        key = (s.standing, self.due, len(s.open))
        return _MOVING if key == _MOVING else key

    @property
    def due(self) -> float | None:
        """From when on the run has something to do by itself, if time alone brings that."""
        s = self.snapshot
        if s.standing == "running":
            return s.not_before
        if s.standing != "waiting":
            return None
        until: float | None = s.due if s.pause is None else s.pause["until"]
        return until

    def index_row(self) -> IndexRow:
        """What can be listed of the run, as of its last fact."""
        s = self.snapshot
        error = s.error
        return IndexRow(
            run=self.id,
            root=self.tree.root,
            parent=s.parent,
            graph=s.graph,
            fingerprint=s.fingerprint,
            standing=s.standing,
            node=s.visit.node,
            created=s.created,
            updated=s.at if s.at else self.tree.clock.time(),
            due=self.due,
            turns=s.turns(nodes=self.nodes),
            tokens=int(s.usage.get("total_tokens", 0)),
            error=_printable(self.hidden(f"{error['kind']}: {error['message']}")[:500]) if error else None,
            label=self.label,
        )

    @property
    def _unended(self) -> bool:
        """Whether nobody is at work on it, and no end or failure of it is on its way."""
        return not self.driven and self.snapshot.standing != "failed"

    def hidden(self, text: str) -> str:
        """A text about the run as it may be shown: what is secret in its tree is hidden."""
        lives = {self.id: self, **self.tree.lives}
        redactor = redactor_of({id: live.facts for id, live in lives.items()})
        return text if redactor is None else redactor.text(text)

    def _row_of(self, fact: Request) -> OpenRequest:
        return OpenRequest(self.tree.root, self.id, fact.key, fact.kind, fact.data, fact.schema, fact.node, fact.at)

    def _end(self) -> Effect:
        """The fact that tells the parent of this run's end."""
        assert self.above is not None
        parent, node, visit, key, args = self.above
        s = self.snapshot
        return Effect(
            seq=parent.snapshot.seq + 1,
            started=s.created,
            at=s.at,
            node=node,
            visit=visit,
            key=key,
            value=self.graph.output(s.values),
            args=args,
            child=self.id,
            usage=dict(s.usage) or None,
        )

    def has_mail(self) -> bool:
        """Whether letters wait for this very run."""
        return any(letter.run == self.id for letter in self.tree.mail)

    def _has_mail_below(self) -> bool:
        """Whether letters came for a descendant; each is a reason once, so that one nobody takes in moves nothing."""
        prefix = self.id + "/"
        fresh = {one.id for one in self.tree.mail if one.run.startswith(prefix)} - self.nudged
        self.nudged |= fresh
        return bool(fresh)

    async def take_letters(self) -> None:
        """Take in the letters that wait for this run; each becomes a fact, in the transaction that removes it from
        the inbox."""
        mail = self.tree.mail
        if not mail or self.tree.claim is None:
            return
        s = self.snapshot
        # A root that is done takes in what nobody else will any more; those letters have no effect.
        all_of_it = s.standing == "done" and self.above is None
        mine = [letter for letter in mail if all_of_it or letter.run == self.id]
        if mine:
            self.tree.mail = [letter for letter in mail if letter not in mine]
            await self.commit(*self._signals(mine), consumed=[letter.id for letter in mine])
            if s.cancel_asked:
                self.interrupt()
        if s.standing == "waiting" and s.waiting_children and self._has_mail_below():
            await self.commit(self.resumed("child"))

    def _signals(self, letters: Sequence[Letter]) -> list[Fact]:
        s, now = self.snapshot, self.tree.clock.time()
        facts: list[Fact] = []
        answered: set[str | None] = set()
        for letter in letters:
            accepted = letter.kind != "answer" or (
                letter.run == self.id and letter.key in s.open and letter.key not in answered
            )
            if letter.kind == "answer":
                answered.add(letter.key)
            facts.append(
                Signal(
                    s.seq + 1 + len(facts), letter.at or now, now, s.visit.node, s.visit.number,
                    letter.id, letter.kind, letter.key, letter.value, accepted,
                )
            )  # fmt: skip
        told = any(type(fact) is Signal and fact.kind == "answer" and fact.accepted for fact in facts)
        if told and s.standing == "waiting" and s.pause is None:  # the entry itself waits, for a child or in doubt
            facts.append(self.resumed("answer", after=len(facts)))
        return facts

    def resumed(
        self, by: str, limits: dict[str, Any] | None = None, not_before: float | None = None, after: int = 0
    ) -> Resumed:
        """The fact that the run goes on; ``after`` facts are put before it."""
        s, now = self.snapshot, self.tree.clock.time()
        above = self.tree.reached() if by == "parent" else None
        return Resumed(s.seq + 1 + after, now, now, s.visit.node, s.visit.number, by, limits, not_before, above)

    def transition(
        self,
        edge: Edge,
        update: dict[str, Any],
        started: float,
        *,
        how: dict[str, str] | None = None,
        not_before: float | None = None,
        error: dict[str, Any] | None = None,
        usage: dict[str, Any] | None = None,
        after: int = 0,
    ) -> Transition:
        """The fact that an edge of the current place was taken; ``after`` facts are put before it."""
        s = self.snapshot
        visit = s.visit
        on, target = edge.on, edge.target
        opened = s.opened.get(target, 0)
        told = (
            s.seq + 1 + after, started, self.tree.clock.time(), visit.node, visit.number, on, target,
            opened if edge.continues and opened else opened + 1,
            update, how, visit.attempt, not_before, error, usage,
        )  # fmt: skip
        return _MADE(Transition, told)  # past the named tuple's own function: there's one at every step

    def interrupt(self) -> None:
        """Cancel the body that runs now, if one does."""
        if self.task is not None and not self.interrupted:
            self.interrupted = True
            self.task.cancel()


def _taken(held: dict[str, dict[str, Sequence[Append]]], parent: str, ids: Sequence[str]) -> list[Append]:
    """What is held of these children of a parent; it's held no longer."""
    mine = held.get(parent, {})
    found = [member for id in ids for member in mine.pop(id, ())]
    if not mine:
        held.pop(parent, None)
    return found


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
