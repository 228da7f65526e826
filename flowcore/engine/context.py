"""``Context``: what a node is given besides the state. Effects, children, requests, emitting; time and chance, fixed
per visit."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import random
import threading
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, TypeVar

from pydantic_core import PydanticSerializationError, to_json

from flowcore.engine.asking import AskedStore
from flowcore.engine.children import Suspend, run_child
from flowcore.engine.events import Emitted, Event
from flowcore.engine.failure import record_of
from flowcore.engine.forms import IN_DOUBT, WAYS
from flowcore.engine.observe import HERE, OBSERVERS, Noted, Where
from flowcore.errors import EffectInDoubt, GraphError, ReplayMismatch, RunError, RunNotFound, UserError
from flowcore.graph.frozen import DICTS, LISTS
from flowcore.graph.node import Node, Retry
from flowcore.graph.outcomes import Ask
from flowcore.graph.values import Codec, Json, adapter_of, codec_of, copy_json, dumps
from flowcore.machine.facts import SPENT, Effect, Fact, Intent, Request, Signal
from flowcore.machine.plan import over_budget
from flowcore.machine.snapshot import NOTHING, Question, Visit
from flowcore.stores.base import SessionWrite

if TYPE_CHECKING:
    from flowcore.engine.tree import Live
    from flowcore.graph.graph import Graph

T = TypeVar("T")
_NOTED: Callable[[type[Noted], tuple[Any, ...]], Noted] = tuple.__new__
Check: TypeAlias = Callable[[], Awaitable[dict[str, Any] | None]]
"""Asks the world whether an effect happened: its value, as ``{"value": …}``, or None."""


class Doubt(NamedTuple):
    """Of an effect that may be in doubt after a crash. ``about``: what a person is told of it beside its key.
    ``record``: makes the effect's record of the value that the person supplies; without it that's the record."""

    about: dict[str, Any]
    record: Callable[[Any], Awaitable[Any]] | None = None


class Context:
    """What a node is given. It's good for one entry; afterwards it refuses. A sync body has no ``once``, ``child`` or
    ``request``.

    ``run_id``: the run's id; a child's is ``run/node.visit/key``. ``context``: the app's own object, as given to
    ``start`` or ``resume`` (never stored). ``bound``: what the graph carries for its nodes. ``meta``: what the face
    that began the run wrote into it. ``answers``: the answers to this visit's requests so far, by key.
    """

    __slots__ = (
        "_caller", "_emitted", "_inflight", "_live", "_random", "_seq", "_state", "_used",
        "answers", "attempt", "bound", "context", "meta", "node", "retry", "run_id", "spent", "visit", "visit_record",
        "writes",
    )  # fmt: skip

    def __init__(self, live: Live, node: Node, visit: Visit, caller: asyncio.Task[Any] | None) -> None:
        self._live = live
        self.run_id = live.id
        self.context = live.context
        self.bound = live.graph.bound
        self.meta = live.snapshot.meta
        self.visit_record = visit
        self.node = node.name
        self.visit = visit.number
        self.attempt = visit.attempt
        self.retry: Retry | None = node.retry
        self.spent: dict[str, Any] | None = None
        self.writes: Sequence[SessionWrite] = ()
        self._seq = live.snapshot.seq
        self._caller = caller
        self._emitted = 0
        self._inflight: Sequence[asyncio.Task[Any]] = ()
        self._used: set[str] | None = None
        self._random: random.Random | None = None
        self._state = "open"
        questions = visit.questions
        self.answers: Mapping[str, Any] = (
            {key: copy_json(question.answer) for key, question in questions.items() if question.answered}
            if questions
            else NOTHING
        )

    # -- what is known --------------------------------------------------------------------------------------------

    @property
    def graph(self) -> Graph:
        """The graph that runs."""
        return self._live.graph

    @property
    def scratch(self) -> dict[Any, Any]:
        """What nodes keep of this run in this process alone (caches); a resume elsewhere begins with an empty one."""
        return self._live.scratch

    @property
    def limits(self) -> dict[str, Any]:
        """The run's limits by name."""
        return dict(self._live.snapshot.limits)

    @property
    def usage(self) -> dict[str, Any]:
        """What the run has spent so far, its children included, as of this entry's last committed fact."""
        return dict(self._live.snapshot.usage)

    @property
    def cause(self) -> dict[str, Any] | None:
        """``{kind, message}`` of the error that led here, on an error or retry edge and after a failure."""
        return self._live.snapshot.cause

    @property
    def used_up(self) -> str | None:
        """The run's budget that is used up, in words; None while there is some left."""
        return over_budget(self._live.snapshot, self._live.tree.clock.time())

    @property
    def turns(self) -> int:
        """How many visits ran of the nodes that ``max_turns`` counts."""
        return self._live.snapshot.turns(nodes=self._live.nodes)

    @property
    def listening(self) -> bool:
        """Whether what is emitted reaches anybody, or the run was started with ``stream=True``."""
        return self._live.tree.out is not None or self._live.stream

    @property
    def journal(self) -> Sequence[Fact]:
        """The run's facts: the list that grows with it, to be read only."""
        return self._live.facts

    @property
    def facts(self) -> list[Fact]:
        """The run's facts so far."""
        return list(self._live.facts)

    @property
    def observed(self) -> bool:
        """Whether anybody is told what is noted."""
        return bool(self._live.tree.watches)

    @property
    def inputs(self) -> Sequence[Any]:
        """What was sent to the run as input since it began, oldest first. A node notes in the state what it took."""
        return self._live.snapshot.inputs

    @property
    def open_requests(self) -> list[str]:
        """Keys of the run's requests that have no answer."""
        return list(self._live.snapshot.open)

    @property
    def store(self) -> Any:
        """The store that keeps the run (its sessions are read through it). While it can't be reached, what is asked
        waits for it as long as the run's lease allows; then the run rests where it stands. No attempt is used up."""
        tree = self._live.tree
        return AskedStore(tree) if tree.guarded else tree.store

    @property
    def now(self) -> float:
        """When this visit began, in seconds since the epoch: the same at every entry of it."""
        return self.visit_record.opened

    @property
    def random(self) -> random.Random:
        """Chance that is the same at every entry of this visit."""
        if self._random is None:
            run = self._live.snapshot.elders.get((self.node, self.visit), self.run_id)
            self._random = random.Random(f"{run}/{self.node}.{self.visit}")
        return self._random

    def uuid(self) -> uuid.UUID:
        """A UUID; the n-th of a visit is the same at every entry."""
        return uuid.UUID(int=self.random.getrandbits(128), version=4)

    def idempotency_key(self, key: str) -> str:
        """The name of an effect for the world outside: the same before and after a retry, a pause, a failure and a
        crash."""
        return f"{self.run_id}/{self.node}.{self.visit}/{key}"

    # -- what can be done -----------------------------------------------------------------------------------------

    async def once(
        self,
        key: str,
        fn: Callable[..., Any],
        *args: Any,
        returns: Any = Json,
        on_crash: Literal["retry", "ask", "fail"] | Check = "retry",
        doubt: Doubt | None = None,
    ) -> Any:
        """Run ``fn(*args)`` and record its value under ``key``; at a later entry of the visit the record is given
        instead.

        ``returns``: the value's type (it's stored as JSON and checked). Of one that is secret (``Annotated[str,
        Secret]``, ``SecretStr``, or something that holds one) traces, logs and the command line never show the value.
        Of any other type it's shown when it's recorded; that it comes to a marked field of the state hides it from then
        on, and in what is read from the journal afterwards (``flowcore show``), but not in what was told before.
        ``on_crash``: what a crash between start and
        record means:
        run again, ask a person (a request of kind ``in_doubt``, answered by ``"retry"``, ``{"value": …}`` or
        ``"fail"``), or fail; or a function ``() -> {"value": …} | None`` that asks the world whether it
        happened (it's asked after an error too). ``doubt``: see ``Doubt``.

        Raises what ``fn`` raises (nothing is recorded then), ReplayMismatch
        when the record was made with other arguments, EffectInDoubt.
        """
        self._use(key)
        codec = _codec(returns, key)
        digest = _digest(args) if args else ""
        found = self.visit_record.effects.get(key)
        if found is not None:
            self._same(found.args, digest, key)
            return _handed_out(codec, found.value)
        intent = self.visit_record.intents.get(key)
        if intent is not None and on_crash != "retry":
            if callable(on_crash):
                decided = await on_crash()
                wire = None if decided is None else codec.admit(codec.decode(decided["value"]))[0]
            else:
                decided, wire = await self._doubt(intent, on_crash, codec, doubt or _PLAIN)
            if decided is not None:
                now, secret = self._live.tree.clock.time(), "value" if codec.secret else None
                return _handed_out(codec, await self._record(key, wire, digest, now, secret))
        work = self._perform(key, fn, args, codec, digest, on_crash)
        return _handed_out(codec, await (work if asyncio.current_task() is self._caller else self._guard(work)))

    async def _perform(
        self, key: str, fn: Callable[..., Any], args: tuple[Any, ...], codec: Codec, digest: str, on_crash: Any
    ) -> Any:
        live = self._live
        if not live.tree.sure:
            await live.tree.make_sure()
        started = live.tree.clock.time()
        if on_crash != "retry":
            how = "check" if callable(on_crash) else on_crash
            await live.commit(Intent(live.snapshot.seq + 1, started, started, self.node, self.visit, key, digest, how))
        token = HERE.set(Where(live.id, self.node, self.visit, key)) if OBSERVERS else None
        try:
            value = fn(*args)
            if inspect.isawaitable(value):
                value = await value
            wire = codec.admit(value)[0]
        except Exception as error:
            if self.spent:
                await self._record(f"{SPENT}{key}", record_of(error), "", started)
            raise
        finally:
            if token is not None:
                HERE.reset(token)
        return await self._record(key, wire, digest, started, "value" if codec.secret else None)

    async def mark_secret(self, key: str, marks: dict[str, Any]) -> None:
        """Write down, once a visit, what is secret of what comes from here on: ``arguments`` by tool, tools of secret
        ``outputs``."""
        self._use(key)
        if key not in self.visit_record.effects:
            await self._record(key, marks, "", self._live.tree.clock.time(), "marks")

    async def _record(self, key: str, wire: Any, digest: str, started: float, secret: str | None = None) -> Any:
        live = self._live
        usage, self.spent = self.spent, None
        await live.commit(
            Effect(
                live.snapshot.seq + 1,
                started,
                live.tree.clock.time(),
                self.node,
                self.visit,
                key,
                wire,
                digest,
                None,
                usage,
                secret,
            )
        )
        return wire

    async def _doubt(
        self, intent: Intent, on_crash: str, codec: Codec, doubt: Doubt
    ) -> tuple[dict[str, Any] | None, Any]:
        """What a person said about an effect that may have happened, and the record that this makes: None = do it
        again."""
        key, name = intent.key, self.idempotency_key(intent.key)
        if on_crash == "fail":
            raise EffectInDoubt(
                f"{name}: a crash came after this effect had begun and before it was recorded; it may have happened."
                " Look, and go on from before it (run.fork), or declare on_crash='ask' and resume to say what happened",
                run_id=self.run_id,
            )
        asked = 0
        while True:
            asked += 1
            at = f"in-doubt:{key}" if asked == 1 else f"in-doubt:{key}#{asked}"
            question = self.visit_record.questions.get(at)
            if question is not None and question.request.seq < intent.seq:
                continue  # that was about an earlier try
            if question is None or not question.answered:
                about = {"key": key, "idempotency_key": name, "choices": list(WAYS), "attempt": self.attempt}
                if codec is not _ANY:
                    about["returns"] = adapter_of(codec.annotation).json_schema()
                await self.request(at, {**doubt.about, **about}, kind=IN_DOUBT)
                raise Suspend(at)
            answer, spent = question.answer, question.request.data.get("attempt", 1) < self.attempt
            if answer == "retry":
                return None, None
            if answer == "fail" or not isinstance(answer, dict):
                if not spent:
                    raise EffectInDoubt(f"{name}: given up, as answered; resume to be asked again", run_id=self.run_id)
                continue  # an attempt has failed of it: whoever made the run go on is asked again
            try:
                value = copy_json(answer["value"])
                value = value if doubt.record is None else await doubt.record(value)
                return answer, codec.admit(codec.decode(value))[0]
            except Exception as error:
                if not spent:
                    raise EffectInDoubt(
                        f"{name}: what was answered can't be its value: {error}; resume to be asked again",
                        run_id=self.run_id,
                    ) from error

    async def child(
        self, graph: Any, input: Any, key: str, *, limits: dict[str, Any] | None = None, meta: dict[str, Any] | None =
        None,
        context: Any = None, watch: Callable[[Live], Callable[[Event], None]] | None = None,
    ) -> Any:  # fmt: skip
        """Run a graph (or whatever has a ``.graph``) as a child run and return its output (JSON).

        At a later entry of the visit a child that ended is found under its key, one that didn't goes on where it was.
        While it
        waits for an answer, this entry ends and the run waits with it. ``watch``: gives a sink for what happens in the
        tree while the child goes on. Raises what made the child fail.
        """
        self._use(key)
        graph = getattr(graph, "graph", graph)
        found = self.visit_record.effects.get(key)
        digest = _digest((input,))
        if found is not None:
            self._same(found.args, digest, key)
            return copy_json(found.value)
        work = run_child(
            self._live, graph, input, (self._live, self.node, self.visit, key, digest), limits, meta,
            self._live.context if context is None else context, watch,
        )  # fmt: skip
        return await self._guard(work)

    async def has_child(self, key: str) -> bool:
        """Whether an earlier entry of this visit began the child run of this key."""
        live = self._live
        id = f"{live.id}/{self.node}.{self.visit}/{key}"
        if key in self.visit_record.effects or id in live.tree.lives:
            return True
        if not self.visit_record.ran:
            return False
        try:
            await live.tree.ask(partial(live.tree.store.get, id))
        except RunNotFound:
            return False
        return True

    def spent_by_child(self, key: str) -> dict[str, Any]:
        """What a child of this entry had spent when it failed; nothing of one that ended (its end tells that)."""
        return dict(self._live.scratch.get(("spent", self.node, self.visit, key), {}))

    async def request(self, key: str, data: Any = None, *, schema: Any = None, kind: str = "decision") -> Question:
        """Open a request (or find it open or answered from an earlier entry); never waits. ``key`` is unique in the
        run."""
        self._open("closing")
        question = self.visit_record.questions.get(key)
        if question is None:
            await self._live.commit(self.asked(Ask(key, data, schema, kind)))
            question = self.visit_record.questions[key]
        return question

    async def answer(self, key: str, value: Any) -> None:
        """Answer an open request of this visit from inside, e.g. by an order that holds for all of its kind. One that
        was answered meanwhile stays as it is."""
        self._open("closing")
        question = self.visit_record.questions[key]
        if not question.answered:
            live = self._live
            now = live.tree.clock.time()
            wire = codec_of(Json, f"answer to '{key}'").admit(value)[0]
            id = f"{self.idempotency_key(key)}/answer"
            await live.commit(
                Signal(live.snapshot.seq + 1, now, now, self.node, self.visit, id, "answer", key, wire, True)
            )
        self.answers = {**self.answers, key: copy_json(question.answer)}

    def asked(self, ask: Ask, after: int = 0) -> Request:
        """The fact that a request was opened; ``after`` facts are put before it."""
        live = self._live
        if ask.key in live.snapshot.open:
            raise GraphError(f"node '{self.node}': a request '{ask.key}' is open already; its key must be unique")
        now = live.tree.clock.time()
        data = codec_of(Json, f"request '{ask.key}'").admit(ask.data)[0]
        schema = None if ask.schema is None else adapter_of(ask.schema).json_schema()
        return Request(live.snapshot.seq + 1 + after, now, now, self.node, self.visit, ask.key, ask.kind, data, schema)

    def emit(self, data: Any) -> None:
        """Hand something to whoever listens, now. It's never stored."""
        self._open("closing")
        tree = self._live.tree
        out = tree.out
        if out is not None:
            event = Emitted(self._live.id, self._seq, self.attempt, self._emitted, data)
            if threading.get_ident() == tree.thread:
                out(event)
            else:  # a sync body, in a thread of its own
                tree.loop.call_soon_threadsafe(out, event)
        self._emitted += 1

    def note(self, key: str | None = None, **data: Any) -> None:
        """Tell observers (traces) something about this visit, or about its effect ``key``; never stored."""
        tree = self._live.tree
        if tree.watches:
            tree.tell(_NOTED(Noted, (self.run_id, self.node, self.visit, key, data)))

    @contextmanager
    def inside(self, key: str) -> Iterator[None]:
        """Let the code within stand inside of effect ``key`` for observers, e.g. before and after a child run."""
        token = HERE.set(Where(self._live.id, self.node, self.visit, key))
        try:
            yield
        finally:
            HERE.reset(token)

    def spend(self, **counts: float) -> None:
        """Add to what the run has used (``input_tokens=…``, ``cost=…``); written down with this entry's next fact, at
        the latest when the effect that does it ends or fails."""
        spent = self.spent
        if spent is None:
            self.spent = counts
            return
        for name, count in counts.items():
            spent[name] = spent.get(name, 0) + count

    def note_usage(self, counts: dict[str, Any]) -> bool:
        """Take in what somebody else counted; whether it was: a run that isn't in an entry can't."""
        self.spend(**counts)
        return True

    def to_session(self, session: str, items: list[Any]) -> None:
        """Add items to a session, in the transaction that commits this entry's outcome."""
        self._open()
        self.writes = [*self.writes, SessionWrite(session, 0, items)]

    # -- the entry's end ------------------------------------------------------------------------------------------

    async def settle(self, cancel: bool = False) -> list[Suspend]:
        """Close the context and let its effects finish (``cancel``: break them off). Returns who waits."""
        self._state = "closing"
        tasks = self._inflight
        if cancel:
            for task in tasks:
                task.cancel()
        try:
            results = await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            self._state = "over"
        return [result for result in results if isinstance(result, Suspend)]

    async def _guard(self, work: Coroutine[Any, Any, T]) -> T:
        """Run in a task of its own: a sibling's failure doesn't break it off."""
        task = asyncio.ensure_future(work)
        self._inflight = [*self._inflight, task]
        return await asyncio.shield(task)

    def _use(self, key: str) -> None:
        self._open()
        if not isinstance(key, str) or not key:
            raise UserError(f"node '{self.node}': an effect's key is a non-empty str, not {key!r}")
        if self._used is None:
            self._used = set()
        if key in self._used:
            raise GraphError(f"node '{self.node}' used the key '{key}' twice in one entry; keys name one effect each")
        self._used.add(key)

    def _open(self, until: str = "open") -> None:
        """An effect that ends after its body may still do what is open until the entry is over."""
        if self._state not in ("open", until):
            raise RunError(
                f"node '{self.node}': this context's entry is over; nothing can be done through it any more",
                run_id=self._live.id,
            )

    def _same(self, recorded: str, digest: str, key: str) -> None:
        if recorded != digest:
            raise ReplayMismatch(
                f"node '{self.node}', visit {self.visit}: '{key}' is recorded with other arguments; between effects a"
                " body may compute only from its state, answers and recorded values"
            )


def _codec(returns: Any, key: str) -> Codec:
    if returns is Json:
        return _ANY
    try:
        return codec_of(returns, "an effect's value")
    except TypeError:
        return Codec(returns, f"effect '{key}'")


def _handed_out(codec: Codec, wire: Any) -> Any:
    """A recorded value for a body: a tree of its own, which it may change."""
    live = codec.decode(wire)
    return copy_json(live) if live is wire and type(live) in _TREES else live


_ANY = Codec(Json, "an effect's value")
_PLAIN = Doubt({})
_TREES = DICTS | LISTS


def _digest(args: tuple[Any, ...]) -> str:
    """A short hash of arguments: what isn't data counts by its class."""
    try:
        data = to_json(args, fallback=_class_of, inf_nan_mode="strings")
    except PydanticSerializationError:  # a lone surrogate or deep nesting, which pydantic's own JSON can't hold
        try:
            data = dumps(args)
        except (TypeError, ValueError, RecursionError) as error:
            raise UserError(
                f"arguments of an effect or a child can't be told apart: {error}; give plain JSON"
            ) from None
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def _class_of(one: Any) -> str:
    return f"<{type(one).__qualname__}>"


Body = Callable[[Any, Context], Awaitable[Any]]
