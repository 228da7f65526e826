"""Three ways through one graph: awaited, streamed, and left at every pause and taken up again. The walk is the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flowcore import MemoryStore, Run, resume, start
from flowcore.engine.clock import CLOCK, Clock
from flowcore.engine.run import answer
from flowcore.machine.facts import Fact
from flowcore.stores.base import OpenRequest, Store
from flowcore.testing import finish, journals, same_walk

Saying = Callable[[OpenRequest], Any]
Making = Callable[[], Any]


async def ways(
    graph: Any, input: Any, *, context: Making = lambda: None, answers: Saying | None = None, clock: Clock = CLOCK
) -> Any:
    """Run it in each way, hold the walks against each other, and give the result."""

    async def begin(store: Store) -> Run:
        return await start(graph, input, store=store, context=context(), clock=clock)

    async def say(run: Run) -> bool:
        asked = await run.requests() if run.standing == "waiting" else []
        for one in asked:
            await answer(run.store, one.run, one.key, True if answers is None else answers(one))
        return bool(asked)

    async def awaited(store: Store) -> Run:
        run = await begin(store)
        await finish(run, answers)
        return run

    async def streamed(store: Store) -> Run:
        run = await begin(store)
        async for _ in run:
            pass
        while await say(run):
            async for _ in run:
                pass
        return run

    async def reopened(store: Store) -> Run:
        """Stopped as soon as it has begun, then another handle from each rest on."""
        run = await begin(store)
        await run.stop()
        while True:
            async with run:
                await run.drive()
                if run.standing == "waiting" and not await say(run):
                    return run
            if run.standing == "done":
                return run
            run = await resume(run.id, graph, store=store, context=context(), clock=clock)

    walks: list[dict[str, list[Fact]]] = []
    results = []
    for way in (awaited, streamed, reopened):
        store = MemoryStore(keep_bytes=True)
        run = await way(store)
        results.append(await run)
        walks.append(await journals(store, run.id))
    for walk, result in zip(walks, results, strict=True):
        assert same_walk(walks[0], walk)
        assert result.output == results[0].output
    return results[0]
