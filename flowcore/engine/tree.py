"""A tree of runs in memory: one lease, one inbox, and at most one append in flight, which carries every fact that is
ready.

``Live`` is one run of the tree: its state as folded, its facts, and what it needs to go on. Facts reach it only through
``commit``: fold, append, hand on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from flowcore.engine.clock import Clock
from flowcore.engine.events import Committed, Event
from flowcore.engine.lease import Holder
from flowcore.errors import RunConflict, StoreError
from flowcore.graph.graph import Graph
from flowcore.machine.facts import Effect, Fact, Request, Resumed, Signal, Transition
from flowcore.machine.fold import fold
from flowcore.machine.snapshot import Snapshot
from flowcore.stores.base import Append, Claim, IndexRow, Letter, OpenRequest, SessionWrite, Store

Sink = Callable[[Event], None]


class Tree:
    """What the runs of one tree share."""

    def __init__(self, root: str, store: Store, holder: Holder, claim: Claim | None, clock: Clock) -> None:
        self.root = root
        self.store = store
        self.holder = holder
        self.claim = claim
        self.clock = clock
        self.out: Sink | None = None
        self.lives: dict[str, Live] = {}
        self.mail: list[Letter] = []
        self.wake = asyncio.Event()
        self.broken: Exception | None = None
        self._taken: set[str] = set()
        self._busy = False
        self._ready: list[Append] = []
        self._turn: asyncio.Future[None] | None = None
        self._poking: asyncio.Task[None] | None = None

    # -- appends --------------------------------------------------------------------------------------------------

    async def append(self, members: Sequence[Append]) -> None:
        """Write members, together with whatever else is ready. Returns when they're committed. Raises RunConflict,
        StoreError."""
        if self.broken is not None:
            raise self.broken
        if not self._busy:
            if self.store.inline and self._write_now(members):
                return
            self._busy = True
            await asyncio.shield(asyncio.ensure_future(self._write(members)))
            return
        self._ready.extend(members)
        if self._turn is None:
            self._turn = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._turn)

    def _write_now(self, members: Sequence[Append]) -> bool:
        """An append that doesn't suspend; False where the store is busy or in trouble: then the long way."""
        assert self.claim is not None
        try:
            answers = self.store.append_now(members, self.claim)
        except StoreError:
            return False
        if answers is None:
            return False
        self._committed(members, answers)
        return True

    async def _write(self, members: Sequence[Append]) -> None:
        try:
            await self._try(members)
        finally:
            turn, ready = self._turn, self._ready
            self._turn, self._ready = None, []
            if turn is None:
                self._busy = False
            else:
                task = asyncio.ensure_future(self._write(ready))
                task.add_done_callback(lambda done: _settle(turn, done))

    async def _try(self, members: Sequence[Append]) -> None:
        """One append; an I/O error is tried again while the lease holds, the facts waiting in memory."""
        if self.broken is not None:
            raise self.broken
        assert self.claim is not None
        pause = 0.05
        while True:
            try:
                answers = await self.store.append(members, self.claim)
                break
            except StoreError as error:
                try:
                    self.holder.check()
                except RunConflict:
                    self._break(error)
                if not self.store.shared:
                    self._break(error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 1.0)
        self._committed(members, answers)

    def _committed(self, members: Sequence[Append], answers: Sequence[Exception | None]) -> None:
        for answer in answers:
            if answer is not None:
                self._break(answer)
        if self.out is not None:
            for member in members:
                for fact in member.facts:
                    self.out(Committed(member.run, fact))

    def _break(self, error: Exception) -> None:
        """Nothing more can be committed from here: what is in memory is no longer the truth."""
        self.broken = error
        self.holder.drop(self)
        raise error

    # -- the inbox ------------------------------------------------------------------------------------------------

    def poke(self) -> None:
        """Letters may have come: fetch them and hand them to the runs that are in memory."""
        if self._poking is None or self._poking.done():
            self._poking = asyncio.ensure_future(self._deliver())
        self.wake.set()

    async def _deliver(self) -> None:
        try:
            await self.fetch()
            for live in list(self.lives.values()):
                await live.take_letters()
        except (StoreError, RunConflict):
            pass  # the drive meets the same trouble at its next append and reports it
        self.wake.set()

    async def fetch(self) -> None:
        """Read the inbox."""
        for letter in await self.store.inbox(self.root):
            if letter.id not in self._taken:
                self._taken.add(letter.id)
                self.mail.append(letter)

    def has_mail_below(self, run: str) -> bool:
        """Whether letters wait for a descendant of a run."""
        prefix = run + "/"
        return any(letter.run.startswith(prefix) for letter in self.mail)


def _settle(turn: asyncio.Future[None], done: asyncio.Task[None]) -> None:
    error = None if done.cancelled() else done.exception()
    if turn.done():
        return
    if error is not None:
        turn.set_exception(error)
        turn.exception()  # marked as seen: whoever waits gets it through the shield
    else:
        turn.set_result(None)


class Live:
    """One run in memory.

    ``above``: where its end is recorded: (parent, node, visit, key, hash of the input). ``due``: when it has
    something to do by itself.
    ``exception``: what its last failure raised in this process. ``scratch``: what nodes keep for this process alone.
    """

    __slots__ = (
        "above", "context", "due", "exception", "facts", "graph", "id", "indexed", "interrupted", "label", "nodes",
        "scratch",
        "snapshot", "stream", "task", "tree",
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
        self.due: float | None = None
        self.exception: BaseException | None = None
        self.indexed: tuple[Any, ...] | None = None
        self.interrupted = False
        self.task: asyncio.Task[Any] | None = None
        self.nodes = list(graph.nodes.items())
        self.scratch: dict[str, Any] = {}

    def load(self, facts: Sequence[Fact]) -> None:
        """Take in facts that are committed already."""
        for fact in facts:
            fold(self.graph.schema, self.snapshot, fact)
            self.facts.append(fact)
        self.indexed = self._index_key()

    async def commit(self, *facts: Fact, consumed: Sequence[str] = (), writes: Sequence[SessionWrite] = ()) -> None:
        """Fold facts, append them, hand them on. Returns when they're committed."""
        member = self.member(facts, consumed, writes)
        if self.above is not None and self.snapshot.standing == "done":
            parent = self.above[0]
            await self.tree.append([member, parent.member([self._end()])])
        else:
            await self.tree.append([member])

    def member(
        self, facts: Sequence[Fact], consumed: Sequence[str] = (), writes: Sequence[SessionWrite] = ()
    ) -> Append:
        """Fold facts, and put them into an append with what becomes true with them."""
        s = self.snapshot
        schema = self.graph.schema
        asked: list[OpenRequest] = []
        closed: list[str] = []
        if s.open or any(type(fact) is Request for fact in facts):
            before = set(s.open)
            for fact in facts:
                fold(schema, s, fact)
            asked = [self._row_of(fact) for fact in facts if type(fact) is Request and fact.key in s.open]
            closed = [key for key in before if key not in s.open]
        else:
            for fact in facts:
                fold(schema, s, fact)
        self.facts.extend(facts)
        index = None
        key = self._index_key()
        if key != self.indexed or asked or closed:
            self.indexed = key
            index = self.index_row()
        return Append(self.id, self.tree.root, facts, index, asked, closed, consumed, writes)

    def _index_key(self) -> tuple[Any, ...]:
        s = self.snapshot
        return (s.standing, s.not_before if s.standing == "running" else self._due(), len(s.open))

    def _due(self) -> float | None:
        pause = self.snapshot.pause
        return pause["until"] if pause is not None else self.due if self.snapshot.standing == "waiting" else None

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
            due=s.not_before if s.standing == "running" else self._due(),
            turns=s.turns(nodes=self.nodes),
            tokens=int(s.usage.get("total_tokens", 0)),
            error=f"{error['kind']}: {error['message']}"[:500] if error else None,
            label=self.label,
        )

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

    async def take_letters(self) -> None:
        """Take in the letters that wait for this run; each becomes a fact, in the transaction that removes it from
        the inbox."""
        mail = self.tree.mail
        if not mail:
            return
        s = self.snapshot
        # A root that is done takes in what nobody else will any more; those letters have no effect.
        all_of_it = s.standing == "done" and self.above is None
        mine = [letter for letter in mail if all_of_it or letter.run == self.id]
        if mine:
            mail[:] = [letter for letter in mail if letter not in mine]
            now = self.tree.clock.time()
            facts: list[Fact] = []
            answered: set[str | None] = set()
            for letter in mine:
                accepted = letter.kind != "answer" or (letter.key in s.open and letter.key not in answered)
                answered.add(letter.key)
                facts.append(
                    Signal(
                        s.seq + 1 + len(facts),
                        letter.at or now,
                        now,
                        s.visit.node,
                        s.visit.number,
                        letter.id,
                        letter.kind,
                        letter.key,
                        letter.value,
                        accepted,
                    )
                )
            told = any(type(fact) is Signal and fact.kind == "answer" and fact.accepted for fact in facts)
            if told and s.standing == "waiting" and s.pause is None:  # the entry itself waits, for a child or in doubt
                facts.append(self.resumed("answer", after=len(facts)))
            await self.commit(*facts, consumed=[letter.id for letter in mine])
            if s.cancel_asked:
                self.interrupt()
        if s.standing == "waiting" and s.waiting_children and self.tree.has_mail_below(self.id):
            await self.commit(self.resumed("child"))

    def resumed(
        self, by: str, limits: dict[str, Any] | None = None, not_before: float | None = None, after: int = 0
    ) -> Resumed:
        """The fact that the run goes on; ``after`` facts are put before it."""
        s, now = self.snapshot, self.tree.clock.time()
        return Resumed(s.seq + 1 + after, now, now, s.visit.node, s.visit.number, by, limits, not_before)

    def transition(
        self,
        on: str | None,
        update: dict[str, Any],
        started: float,
        *,
        how: dict[str, str] | None = None,
        not_before: float | None = None,
        error: dict[str, Any] | None = None,
        usage: dict[str, Any] | None = None,
        after: int = 0,
    ) -> Transition:
        """The fact that the edge ``on`` (a declared label) was taken from the current place; ``after`` facts are put
        before it."""
        s = self.snapshot
        visit = s.visit
        edge = self.graph.out[visit.node][on] if on is not None else self.graph.edge_for(visit.node, None)
        opened = s.opened.get(edge.target, 0)
        return Transition(
            s.seq + 1 + after, started, self.tree.clock.time(), visit.node, visit.number, edge.on, edge.target,
            opened if edge.continues and opened else opened + 1,
            update, how, visit.attempt, not_before, error, usage,
        )  # fmt: skip

    def interrupt(self) -> None:
        """Cancel the body that runs now, if one does."""
        if self.task is not None and not self.interrupted:
            self.interrupted = True
            self.task.cancel()
