"""``kill_everywhere``: stop a run after each of its facts, keep only what the store has, go on, and compare."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from flowcore.engine.clock import CLOCK, Clock
from flowcore.engine.run import Run, answer, load, resume, start
from flowcore.errors import RunNotFound
from flowcore.machine.facts import Fact, Standing
from flowcore.stores.base import Append, Claim, OpenRequest, Owner, Store
from flowcore.stores.memory import MemoryStore
from flowcore.testing.walks import journals, same_walk

Answers = Mapping[str, Any] | Callable[[OpenRequest], Any]


class Crash(BaseException):
    """The process is gone, as far as the run can tell."""


class CrashingStore:
    """A store that is pulled away after ``after`` facts: they're committed, and nothing after them happens."""

    def __init__(self, inner: Store, after: int | None = None) -> None:
        self.inner = inner
        self.left = after
        self.written = 0
        self.claim_held: tuple[str, Claim] | None = None
        self.inline = False
        self.shared = inner.shared

    def __getattr__(self, name: str) -> Any:
        self._alive()
        return getattr(self.inner, name)

    def _alive(self) -> None:
        if self.left is not None and self.left <= 0:
            raise Crash

    def _count(self, batch: Sequence[Append]) -> None:
        facts = sum(len(member.facts) for member in batch)
        self.written += facts
        if self.left is not None:
            self.left -= facts
            self._alive()

    async def admit(self, member: Append, owner: Owner, below: Sequence[Append] = ()) -> Claim:
        self._alive()
        claim = await self.inner.admit(member, owner, below)
        self.claim_held = (member.run, claim)
        self._count([member, *below])
        return claim

    async def claim(self, run: str, owner: Owner) -> Claim:
        self._alive()
        claim = await self.inner.claim(run, owner)
        self.claim_held = (run, claim)
        return claim

    async def append(self, batch: Sequence[Append], claim: Claim) -> list[Exception | None]:
        self._alive()
        answers = await self.inner.append(batch, claim)
        self._count(batch)
        return answers

    async def release(self, run: str, claim: Claim, known: int = 0) -> bool:
        self._alive()
        given = await self.inner.release(run, claim, known)
        if given:
            self.claim_held = None
        return given

    async def bury(self) -> None:
        """What time does after a crash: the dead process's lease ends."""
        if self.claim_held is not None:
            run, claim = self.claim_held
            await self.inner.release(run, claim, 1 << 30)


@dataclass(slots=True)
class Kills:
    """What ``kill_everywhere`` did: ``kills`` runs were stopped, one after each fact of the ``reference`` walk."""

    kills: int
    standing: Standing
    output: Any
    reference: dict[str, list[Fact]] = field(repr=False)


async def finish(run: Run, answers: Answers | None = None, *, most: int = 1_000) -> Standing:
    """Drive a run to its end, answering what it asks. ``answers``: by key, or a function of the request; default:
    True to all."""
    for _ in range(most):
        standing = await run.drive()
        if standing != "waiting":
            return standing
        requests = await run.requests()
        if not requests:
            return standing
        for request in requests:
            await answer(run.store, request.run, request.key, answer_to(answers, request))
    raise AssertionError(f"run '{run.id}' still asks after {most} answers")


def maker_of(graph: Any) -> Callable[[], Any]:
    """What makes a graph anew: the function that was given, or one that gives the graph."""
    return graph if callable(graph) and not hasattr(graph, "graph") and not hasattr(graph, "nodes") else lambda: graph


def starting(
    make: Callable[[], Any], input: Any, context: Callable[[], Any], limits: dict[str, Any] | None, clock: Clock,
    meta: dict[str, Any] | None,
) -> Callable[[Any, str], Awaitable[Run]]:  # fmt: skip
    """What starts such a run in a store, under an id."""

    async def started(into: Any, id: str) -> Run:
        return await start(
            make(), input, store=into, run_id=id, context=context(), limits=limits, clock=clock, meta=meta
        )

    return started


async def undisturbed(run: Run, store: Store, answers: Answers | None) -> tuple[Standing, Any, dict[str, list[Fact]]]:
    """How a run ends that nobody disturbs: its standing, its output, and the walk of its tree. Closes the store."""
    standing = await finish(run, answers)
    result = await run.result()
    reference = await journals(store, run.id)
    await store.close()
    return standing, result.output, reference


def answer_to(answers: Answers | None, request: OpenRequest) -> Any:
    """What is answered to a request."""
    if answers is None:
        return True
    return answers[request.key] if isinstance(answers, Mapping) else answers(request)


@asynccontextmanager
async def process(left: Store, after: int) -> AsyncIterator[CrashingStore]:
    """A process that's gone once it has written ``after`` facts into ``left``: what is awaited inside ends there, with
    all that it had begun, and so does its lease."""
    before = asyncio.all_tasks()
    mortal = CrashingStore(left, after)
    try:
        yield mortal
    except Crash:
        pass
    begun = asyncio.all_tasks() - before
    for task in begun:
        task.cancel()
    await asyncio.gather(*begun, return_exceptions=True)
    await mortal.bury()


async def kill_everywhere(
    graph: Any,
    input: Any = None,
    *,
    store: Callable[[], Store] = lambda: MemoryStore(keep_bytes=True),
    answers: Answers | None = None,
    context: Callable[[], Any] = lambda: None,
    limits: dict[str, Any] | None = None,
    clock: Clock = CLOCK,
    every: int = 1,
    meta: dict[str, Any] | None = None,
    begin: Callable[[CrashingStore, str], Awaitable[Run]] | None = None,
) -> Kills:
    """For every k: run, stop after fact k, keep only the store's bytes, resume; the standing, output and walk must be
    the same.

    ``store`` makes an empty store; ``context`` makes the app's object anew for each process. ``every``: only each
    n-th k. A graph may be
    given as a function that makes it anew. ``begin(store, run_id)`` makes the run some other way than ``start``, e.g.
    as a fork; what it writes to ``store.inner`` isn't killed. Raises AssertionError naming k and the difference.
    """
    make = maker_of(graph)
    begin = begin or starting(make, input, context, limits, clock, meta)
    calm = store()
    counting = CrashingStore(calm)
    standing, output, reference = await undisturbed(await begin(counting, "reference"), calm, answers)
    total = counting.written
    kills = 0
    for k in range(1, total + 1, every):
        id = f"killed-{k}-{uuid.uuid4().hex[:6]}"
        bytes_left = store()
        async with process(bytes_left, k) as mortal:
            await finish(await begin(mortal, id), answers)
        kills += 1
        try:
            again = await load(id, make(), store=bytes_left, context=context(), clock=clock)
            if again.standing != "done":
                again = await resume(id, make(), store=bytes_left, context=context(), clock=clock)
                await finish(again, answers)
            result = await again.result()
            assert (result.standing, result.output) == (standing, output), (
                f"killed after fact {k}: it ended {result.standing} with {result.output!r} ({result.error}),"
                f" without the kill {standing} with {output!r}"
            )
            same_walk(reference, await journals(bytes_left, id))
        except RunNotFound:
            raise AssertionError(f"killed after fact {k}: the run wasn't admitted") from None
        except AssertionError as error:
            error.add_note(f"killed after fact {k} of {total}")
            raise
        await bytes_left.close()
    return Kills(kills, standing, output, reference)
