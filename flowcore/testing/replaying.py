"""``replay``: execute a graph again against its record. Bodies run; effects, children, models, tools, handoffs, answers
and time come from the record, and what isn't recorded is an error: nothing in the world is touched.

It's an ordinary run in a store of its own: the nodes are the graph's, with a context that looks into the record.
"""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import inspect
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flowcore.agents.loop.state import Crew
from flowcore.agents.options import Options
from flowcore.engine.context import Context
from flowcore.engine.run import Run, start
from flowcore.errors import NodeTimeout, UserError
from flowcore.faces.sync import run_sync
from flowcore.graph.graph import Graph
from flowcore.graph.node import Node, Retry, rename
from flowcore.graph.values import Codec, Json, codec_of, shorten
from flowcore.machine.explain import Difference, Stretch, difference, is_end, stretches
from flowcore.machine.facts import SPENT, Fact, Standing
from flowcore.machine.fold import migrated
from flowcore.machine.walk import Step, path
from flowcore.stores.base import Letter, Store
from flowcore.stores.memory import MemoryStore
from flowcore.testing.clock import ManualClock
from flowcore.testing.paths import definition_of, facts_of
from flowcore.testing.recorded import ENTRY, TURNS, Entry, RecordedSession, Unrecorded, exception_of, recorded_crew
from flowcore.testing.recording import RecordedStep, Recording
from flowcore.testing.walks import journals as journals_of


class ReplayDiverged(AssertionError):
    """A re-execution isn't what is recorded. ``difference``: where it parts; None where something isn't recorded."""

    def __init__(self, message: str, difference: Difference | None = None) -> None:
        super().__init__(message)
        self.difference = difference


class _Off(BaseException):
    """The walk has left the record, or come to its end (``ends``)."""

    def __init__(self, message: str, ends: bool = False) -> None:
        super().__init__(message)
        self.ends = ends


@dataclass(slots=True)
class Played:
    """What a re-execution came to: as a run's result, for ``assert_path`` and ``assert_state``.

    ``off``: where it left the record, in words; empty when it didn't. ``journals``: facts by run id, the children's
    too.
    """

    run_id: str
    definition: Graph
    standing: Standing
    output: Any
    state: Any
    error: dict[str, Any] | None
    facts: list[Fact] = field(repr=False)
    journals: dict[str, list[Fact]] = field(repr=False)
    off: str = ""

    @property
    def path(self) -> list[Step]:
        """The transitions in order."""
        return path(self.facts)


async def replay(of: Any, graph: Any = None, *, context: Any = None) -> Played:
    """Execute a graph again against the record of a run; raises ReplayDiverged at the first difference, naming it.

    ``of``: a run's handle or result, its facts, or the journals of a tree by run id. ``graph``: default, the one that
    the handle knows. ``context``: the app's object (or ``Options``), as for the run itself. Differences are looked for
    in labels, updates, effects and their arguments, requests, errors and usage; times, ids, crashes and stops don't
    count. What a body does outside of ``once`` and ``child`` is done again.
    """
    recorded, history = await _record_of(of)
    definition = getattr(graph, "graph", graph) if graph is not None else definition_of(of)
    if not isinstance(definition, Graph):
        raise UserError(f"replay needs the graph that ran: replay(run, graph), not {shorten(graph)}")
    root = min(recorded, key=len)
    for run, facts in recorded.items():
        if (begun := migrated(facts)) is not None:
            raise UserError(
                f"run '{run}' was migrated to another graph with fact {begun.seq}, so no graph replays all of it;"
                f" replay what was before, facts[:{begun.seq}], with the graph of then"
            )
    record = Recording.of(recorded, root)
    record.history = history
    player = _Player(record, definition, context)
    left: BaseException | None = None
    try:
        played = await player.play()
    except (Unrecorded, _Off) as error:
        left, played = error, await player.played(str(error))
    found = _first_difference(recorded, played.journals, root, left is not None)
    if found is not None:
        run, what = found
        told = f"run '{run}'" if run == root else f"child run '{run}'"
        raise ReplayDiverged(f"{told} replays differently (one: recorded, other: replayed); {what}", what)
    if left is not None and not (isinstance(left, _Off) and left.ends):
        raise ReplayDiverged(f"run '{root}': {left}")
    return played


async def _record_of(of: Any) -> tuple[dict[str, list[Fact]], list[Any]]:
    """The journals to replay, and what the run's session held."""
    if isinstance(of, Mapping):
        return {run: list(facts) for run, facts in of.items()}, []
    run = of if isinstance(of, Run) else getattr(of, "run", None)
    if isinstance(run, Run):
        return await journals_of(run.store, run.id), await history_of(run.store, run.facts)
    facts = facts_of(of)
    return {getattr(facts[0], "root", "run"): facts}, []


async def history_of(store: Store, facts: Sequence[Fact]) -> list[Any]:
    """What an agent's session held before the run began."""
    record = Recording.of({"run": facts})
    if not record.session_upto:
        return []
    kept = await store.session_items(record.meta["session"], upto=record.session_upto)
    return [one.item for one in kept]


def _first_difference(
    recorded: Mapping[str, Sequence[Fact]], played: Mapping[str, Sequence[Fact]], root: str, broken_off: bool
) -> tuple[str, Difference] | None:
    """The deepest run's first difference: its caller's follows from it. ``broken_off``: the walk left the record."""
    for run in sorted({*recorded} & {*played}, key=len, reverse=True):
        one, other = recorded[run], played[run]
        ends = [sum(map(is_end, other))] if broken_off else []
        if _breaks_off(stretches(one)[-1]):
            ends.append(sum(map(is_end, one)))
        if ends:  # what comes after isn't known: only what both have is compared
            one, other = _cut(one, min(ends)), _cut(other, min(ends))
        found = difference(one, other)
        if found is not None:
            return run, found
    return None


def _breaks_off(last: Stretch) -> bool:
    """Whether a record ends in the midst of a body; a pause that nobody has answered is an end like any other."""
    return last.end is None and (not last.rests or last.rests[-1].pause is None or bool(last.answers))


def _cut(facts: Sequence[Fact], ends: int) -> list[Fact]:
    """The facts up to the so-many-th end of a stretch."""
    kept: list[Fact] = []
    for fact in facts:
        if ends == 0 and kept:
            break
        kept.append(fact)
        ends -= is_end(fact)
    return kept


class _Course:
    """How far one run has come in its record."""

    def __init__(self, record: Recording) -> None:
        self.record = record
        self.resumed: set[tuple[int, int]] = set()
        self._seen = 0
        self._at = 0

    def at(self, facts: Sequence[Fact]) -> int:
        """The number of the step that a run with these facts is in."""
        self._at += sum(map(is_end, facts[self._seen :]))
        self._seen = len(facts)
        return self._at

    def step(self, at: int) -> RecordedStep | None:
        """A step of the record; None behind its end."""
        steps = self.record.steps
        return steps[at] if at < len(steps) else None


class _Player:
    """One re-execution."""

    def __init__(self, record: Recording, graph: Graph, context: Any) -> None:
        self.record = record
        self.graph = graph.build()
        self.context = _offline(context)
        self.clock = ManualClock(record.started)
        self.store = MemoryStore()
        self.courses = {"": _Course(record)}
        self.staged: dict[int, tuple[Graph, Graph]] = {}
        self.run: Run | None = None
        self.entered: list[Context] = []

    async def play(self) -> Played:
        """Walk until the run rests for good. Raises _Off where the record ends or the walk leaves it; Unrecorded."""
        try:
            self.run = await start(
                self.stage(self.graph), self._input(), store=self.store, run_id=self.record.run_id,
                context=self.context, limits=self.record.limits, meta=self.record.meta or None, clock=self.clock,
            )  # fmt: skip
            while await self._go_on(await self.run.drive()):
                pass
        except (_Off, Unrecorded, BaseExceptionGroup) as error:
            cause = _cause(error)
            await self._break_off()
            raise cause from None
        return await self.played("")

    async def played(self, off: str) -> Played:
        """What has been walked so far."""
        assert self.run is not None
        result = await self.run.result()
        found = await journals_of(self.store, self.run.id)
        return Played(
            self.run.id, self.graph, result.standing, result.output, result.state, result.error, result.facts, found,
            off,
        )  # fmt: skip

    def _input(self) -> Any:
        schema = self.graph.schema
        given = {
            name: schema.fields[name].codec.decode(value) if name in schema.fields else value
            for name, value in self.record.input.items()
        }
        if self.graph.takes is not None and self.graph.takes not in given:
            return schema.cls(**given)
        return given

    async def _break_off(self) -> None:
        """End the effects and children of the bodies that the end of the walk has left standing."""
        left = [task for ctx in self.entered for task in ctx._inflight]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    # -- between drives -------------------------------------------------------------------------------------------

    async def _go_on(self, standing: Standing) -> bool:
        """Do what was done to the recorded run where this one rests; False where nothing was."""
        assert self.run is not None
        course = self.courses[""]
        at = course.at(self.run.facts)
        step = course.step(at)
        if standing == "waiting":
            if await self._answer():
                return True
            due = (await self.store.get(self.run.id)).due
            if due is None or step is None or step.open == "waits":
                return False
            self.clock.now = max(self.clock.now, due)
            return True
        if standing == "failed" and step is not None:
            for nth, limits in enumerate(step.resumes):
                if (at, nth) not in course.resumed:
                    course.resumed.add((at, nth))
                    await self.run.resume(limits=limits)
                    return True
        return False

    async def _answer(self) -> bool:
        """Give the answers that the record has for what is open; whether there were any."""
        assert self.run is not None
        given = False
        for request in await self.run.requests():
            course = self.courses[request.run[len(self.run.id) + 1 :]]
            at = course.at(await self.store.read(request.run))
            step = course.step(at)
            if step is not None and request.key in step.answers:
                await self._send(request.run, request.key, step.answers[request.key])
                given = True
        return given

    async def _send(self, run: str, key: str, value: Any) -> None:
        """Put an answer into the inbox: it was held against its schema when it was recorded."""
        await self.store.signal(Letter(run, f"answer to {run} {key}", "answer", key, value, self.clock.now))

    # -- the graph on its stage -----------------------------------------------------------------------------------

    def stage(self, graph: Graph) -> Graph:
        """The same graph, its bodies given the record."""
        known = self.staged.get(id(graph))
        if known is None:
            staged = copy.copy(graph.build())
            staged.nodes = {
                name: rename(node, fn=self._body(node), is_async=True, takes_ctx=True, timeout=None)
                for name, node in graph.nodes.items()
            }
            if type(graph.bound) is Crew:
                staged.bound = recorded_crew(graph.bound)
            known = self.staged[id(graph)] = graph, staged
        return known[1]

    def _body(self, node: Node) -> Any:
        async def body(state: Any, ctx: Context) -> Any:
            course = self.courses[ctx.run_id[len(self.record.run_id) + 1 :]]
            at = course.at(ctx._live.facts)
            entry = Entry(course.record, _step_for(course, at, ctx), ctx)
            token = ENTRY.set(entry)
            self.entered.append(ctx)
            try:
                return await _perform(node, state, RecordedContext(self, entry), entry)
            finally:
                ENTRY.reset(token)
                if not isinstance(sys.exception(), (_Off, Unrecorded, BaseExceptionGroup)):
                    self.entered.remove(ctx)
                await self._after(course.step(at + 1), ctx)

        return body

    async def _after(self, following: RecordedStep | None, ctx: Context) -> None:
        """Move the clock to the next step, and put the answers into the inbox that it begins with."""
        if following is None:
            return
        self.clock.now = max(self.clock.now, following.now)
        for key, value in following.early.items():
            await self._send(ctx.run_id, key, value)
        if following.early:
            await ctx._live.tree.fetch()


def _step_for(course: _Course, at: int, ctx: Context) -> RecordedStep:
    """The record of this entry. Raises _Off where there's none."""
    step = course.step(at)
    if step is None or step.open == "broken":
        raise _Off(f"the record ends after {at} steps", ends=True)
    if (step.node, step.visit) != (ctx.node, ctx.visit):
        raise _Off(
            f"step {at + 1} of the record is node '{step.node}', visit {step.visit}, but the walk came to"
            f" '{ctx.node}', visit {ctx.visit}"
        )
    return step


async def _perform(node: Node, state: Any, ctx: Any, entry: Entry) -> Any:
    """Run a body; one that is recorded as having run out of time does so at once."""
    arguments = (state, ctx) if node.takes_ctx else (state,)
    error = entry.step.error
    if node.timeout is None or error is None or error["kind"] != NodeTimeout.__name__:
        return await _called(node, arguments)
    task = asyncio.ensure_future(_called(node, arguments))
    for _ in range(2 * TURNS):
        await asyncio.sleep(0)
        if task.done():
            return task.result()
    task.cancel()
    await asyncio.wait([task])
    raise exception_of(error, entry.ctx.graph, node.name, entry.step.retried, entry.ctx.run_id)


async def _called(node: Node, arguments: tuple[Any, ...]) -> Any:
    outcome = node.fn(*arguments) if node.is_async else await asyncio.to_thread(node.fn, *arguments)
    return await outcome if inspect.isawaitable(outcome) else outcome


class RecordedContext:
    """A node's context whose effects and children are found in the record."""

    def __init__(self, player: _Player, entry: Entry) -> None:
        object.__setattr__(self, "_player", player)
        object.__setattr__(self, "_entry", entry)
        object.__setattr__(self, "_real", entry.ctx)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._real, name, value)

    @property
    def now(self) -> float:
        """When the recorded visit began."""
        now: float = self._entry.step.now
        return now

    @property
    def store(self) -> Any:
        """The session as it was; nothing else of the store."""
        return RecordedSession(self._entry.record)

    async def once(
        self, key: str, fn: Any, *args: Any, returns: Any = Json, on_crash: Any = "retry", doubt: Any = None
    ) -> Any:
        """The recorded value; ``fn`` isn't called."""
        step, ctx = self._entry.step, self._real

        async def give(*_: Any) -> Any:
            spent = step.used.get(key if key in step.effects else f"{SPENT}{key}")
            if spent is not None:
                ctx.spend(**spent)
            if key not in step.effects:
                error = await self._entry.missing(f"effect '{key}'")
                if step.retried:  # what decided that isn't called
                    ctx.retry = Retry(1_000, 0, type(error), exact=True)
                raise error
            return _codec(returns, key).decode(step.effects[key])

        return await ctx.once(key, give, *args, returns=returns)

    async def child(self, graph: Any, input: Any, key: str, *, context: Any = None, **more: Any) -> Any:
        """The child, executed again against its own record; where there's none, its recorded output."""
        ctx, player, step = self._real, self._player, self._entry.step
        path = f"{ctx.run_id}/{ctx.node}.{ctx.visit}/{key}"[len(player.record.run_id) + 1 :]
        record = player.record.children.get(path)
        if record is None and key in step.effects:
            return await self.once(key, None, input)
        if record is None:
            raise await self._entry.missing(f"child '{key}'")
        player.courses.setdefault(path, _Course(record))
        staged = player.stage(getattr(graph, "graph", graph))
        return await ctx.child(staged, input, key, context=_offline(context), **more)


def _codec(returns: Any, key: str) -> Codec:
    try:
        return codec_of(returns, "an effect's value")
    except TypeError:  # a type that can't be hashed
        return Codec(returns, f"effect '{key}'")


def _offline(context: Any) -> Any:
    """The app's object without a model of its own in the run's configuration."""
    if not isinstance(context, Options):
        return context
    offline = copy.copy(context)
    offline.config = dataclasses.replace(context.config, model=None)
    return offline


def _cause(error: BaseException) -> BaseException:
    """What ended the walk: the first of its kind, out of a group too."""
    if isinstance(error, BaseExceptionGroup):
        found = error.split((_Off, Unrecorded))[0]
        return _cause(found.exceptions[0]) if found is not None else error
    return error


# --- from data --------------------------------------------------------------------------------------------------------


async def play(recording: Recording | Mapping[str, Any], graph: Any, *, context: Any = None) -> Played:
    """Walk a graph by a recording (or its data): bodies run, and what they ask for comes from the record.

    Unlike ``replay`` it doesn't compare; assert what matters, e.g. with ``assert_path``. A walk that leaves the record
    ends there (``off`` says how). Raises ReplayDiverged for something that isn't recorded.
    """
    record = recording if isinstance(recording, Recording) else Recording.from_data(recording)
    definition = getattr(graph, "graph", graph)
    if not isinstance(definition, Graph):
        raise UserError(f"play walks through a Graph or something with a .graph, not a {type(graph).__name__}")
    player = _Player(record, definition, context)
    try:
        return await player.play()
    except _Off as error:
        return await player.played(str(error))
    except Unrecorded as error:
        raise ReplayDiverged(f"run '{record.run_id}': {error}") from None


def play_sync(recording: Recording | Mapping[str, Any], graph: Any, *, context: Any = None) -> Played:
    """``play`` for a test without an event loop. Raises UserError inside of one."""
    return run_sync(play(recording, graph, context=context), "play_sync()", "await play()")
