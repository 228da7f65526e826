"""``close_everywhere``: close a run after each of its facts, open it in another process, and compare."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from flowcore.engine.clock import CLOCK, Clock
from flowcore.engine.run import Run, answer, load, resume
from flowcore.machine.facts import Fact, Standing
from flowcore.stores.base import Store
from flowcore.stores.memory import MemoryStore
from flowcore.testing.crash import Answers, answer_to, maker_of, starting, undisturbed
from flowcore.testing.walks import journals, same_moves

MOST = 10_000
"""Processes after which a run is taken not to end."""


@dataclass(slots=True)
class Closes:
    """What ``close_everywhere`` did: the run went on in ``processes``, each of which closed it after a fact.
    ``reference``: the walk of a run that nobody closed."""

    processes: int
    standing: Standing
    output: Any
    reference: dict[str, list[Fact]] = field(repr=False)


async def close_everywhere(
    graph: Any,
    input: Any = None,
    *,
    store: Callable[[], Store] = lambda: MemoryStore(keep_bytes=True),
    answers: Answers | None = None,
    context: Callable[[], Any] = lambda: None,
    limits: dict[str, Any] | None = None,
    clock: Clock = CLOCK,
    meta: dict[str, Any] | None = None,
    begin: Callable[[Store, str], Awaitable[Run]] | None = None,
) -> Closes:
    """Run, and run once more so that each process closes the run (leaves ``async with run``) after its first fact and
    another opens it from the store's bytes; the standing, output and walk must be the same.

    What is given is as of ``kill_everywhere``. Raises AssertionError naming the difference.
    """
    make = maker_of(graph)
    begin = begin or starting(make, input, context, limits, clock, meta)
    calm, left = store(), store()
    standing, output, reference = await undisturbed(await begin(calm, "reference"), calm, answers)

    async def again() -> Run:
        return await load("closed", make(), store=left, context=context(), clock=clock)

    async def resumed() -> Run:
        return await resume("closed", make(), store=left, context=context(), clock=clock)

    async def answered(run: Run) -> bool:
        requests = await run.requests() if run.standing == "waiting" else []
        for request in requests:
            await answer(run.store, request.run, request.key, answer_to(answers, request))
        return bool(requests)

    closed, processes = await closing(await begin(left, "closed"), again, resumed, answered)
    result = await closed.result()
    assert (result.standing, result.output) == (standing, output), (
        f"closed after every fact it ended {result.standing} with {result.output!r} ({result.error}), otherwise"
        f" {standing} with {output!r}"
    )
    same_moves(reference, await journals(left, "closed"))
    await left.close()
    return Closes(processes, standing, output, reference)


async def closing(
    run: Run,
    again: Callable[[], Awaitable[Run]],
    resumed: Callable[[], Awaitable[Run]],
    goes_on: Callable[[Run], Awaitable[bool]],
) -> tuple[Run, int]:
    """Move a run so that each process closes it after its first fact; the run at its end, and how many processes there
    were.

    ``again`` loads it in another process, ``resumed`` resumes it there where it was stopped. ``goes_on(run)``: asked
    when it rests by itself; does what lets another process go on, or says that nothing does.
    """
    for processes in range(1, MOST):
        if run.standing in ("running", "waiting", "stopped"):
            if run.standing == "stopped":
                run = await resumed()
            async with run:
                async for _ in run:
                    break
        if run.standing != "stopped" and not await goes_on(run):
            return run, processes
        run = await again()
    raise AssertionError(f"run '{run.id}' hasn't ended after {MOST} processes")
