# ruff: noqa: PT011, ASYNC220, ASYNC240 - the class alone is what is raised; processes are started and read at rest
"""One writer: leases, conflicts, what is in memory and what is committed."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import textwrap
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from engine_graphs import YES, S, asking, fan_out, loop, nested

from flowcore.engine.run import Run, load, resume, start
from flowcore.errors import RunConflict, StoreError
from flowcore.graph.graph import Graph
from flowcore.graph.outcomes import END, START
from flowcore.machine.facts import Effect
from flowcore.stores.base import Append, Claim, Store
from flowcore.stores.memory import MemoryStore
from flowcore.stores.sqlite import SqliteStore
from flowcore.testing import finish


class Watched:
    """A store that sees what is appended, slowly, and can refuse."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.inline = False
        self.shared = inner.shared
        self.flying = self.most = 0
        self.committed: set[tuple[str, str]] = set()
        self.fail: Exception | None = None
        self.batches: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def append(self, batch: Sequence[Append], claim: Claim) -> Any:
        self.flying += 1
        self.most = max(self.most, self.flying)
        await asyncio.sleep(0.001)
        self.flying -= 1
        if self.fail is not None:
            raise self.fail
        answers = await self.inner.append(batch, claim)
        self.batches.append(len(batch))
        for member in batch:
            for fact in member.facts:
                if isinstance(fact, Effect):
                    self.committed.add((member.run, fact.key))
        return answers


def one(fn: Any) -> Graph:
    return Graph("one", S, {START: fn, fn: END})


async def test_at_most_one_append_of_a_tree_is_in_flight(store: Store) -> None:
    watched: Any = Watched(store)
    run = await start(fan_out(), store=watched, run_id="r")
    assert (await run).standing == "done"
    assert watched.most == 1
    assert max(watched.batches) > 1  # what was ready went together


async def test_nothing_starts_before_what_it_rests_on_is_committed(store: Store) -> None:
    watched: Any = Watched(store)

    async def work(state: S, ctx: Any) -> dict[str, Any]:
        async def branch(name: str) -> None:
            first = await ctx.once(f"{name}1", lambda: name)
            assert (ctx.run_id, f"{name}1") in watched.committed
            await ctx.once(f"{name}2", lambda: first)
            assert (ctx.run_id, f"{name}2") in watched.committed

        await asyncio.gather(*(branch(name) for name in "abcd"))
        return {}

    assert (await (await start(one(work), store=watched))).standing == "done"
    assert watched.most == 1


async def test_a_second_resume_while_the_first_holds_the_run_is_a_conflict(store: Store) -> None:
    run = await start(asking(), store=store, run_id="r")
    with pytest.raises(RunConflict, match="run 'r' can't be resumed"):
        await resume("r", asking(), store=store)
    await run
    first = await resume("r", asking(), store=store)
    with pytest.raises(RunConflict):
        await resume("r", asking(), store=store)
    with pytest.raises(RunConflict):
        await (await load("r", asking(), store=store))
    assert (await first).standing == "waiting"
    assert (await (await resume("r", asking(), store=store))).standing == "waiting"


async def test_of_many_threads_that_resume_one_run_one_goes_on(store: Store) -> None:
    paid: list[int] = []
    broken = [True]

    async def work(state: S, ctx: Any) -> None:
        if broken.pop() if broken else False:
            raise OSError
        await ctx.once("pay", lambda: paid.append(1))
        await asyncio.sleep(0.02)

    with pytest.raises(OSError):
        await (await start(one(work), store=store, run_id="r"))
    outcomes: list[str] = []

    async def attempt() -> None:
        try:
            outcomes.append((await (await resume("r", one(work), store=store))).standing)
        except Exception as error:
            outcomes.append(type(error).__name__)

    threads = [threading.Thread(target=lambda: asyncio.run(attempt())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert outcomes.count("done") == 1
    assert set(outcomes) <= {"done", "AlreadyResumed", "NotPaused"}
    assert paid == [1]


PROCESS = """
    import asyncio, sys
    sys.path[:0] = [{here!r}]
    from flowcore.engine.run import resume, start
    from flowcore.errors import NotPaused, RunConflict
    from flowcore.graph.graph import Graph
    from flowcore.graph.outcomes import END, START
    from flowcore.stores.sqlite import SqliteStore
    from engine_graphs import S

    async def work(state, ctx):
        def pay():
            with open({paid!r}, "a") as file:
                file.write("paid\\n")
        await ctx.once("pay", pay)
        await asyncio.sleep(0.3)

    async def main():
        store = SqliteStore({path!r})
        print("ready", flush=True)
        sys.stdin.readline()
        try:
            run = await resume("r", Graph("one", S, {{START: work, work: END}}), store=store)
            print((await run).standing)
        except (RunConflict, NotPaused) as error:
            print(type(error).__name__)

    asyncio.run(main())
"""


async def test_of_two_processes_that_resume_one_run_one_goes_on(tmp_path: Path) -> None:
    path, paid = str(tmp_path / "runs.db"), str(tmp_path / "paid")
    store = SqliteStore(path)

    async def work(state: S, ctx: Any) -> None:
        raise OSError

    with pytest.raises(OSError):
        await (await start(one(work), store=store, run_id="r"))
    await store.close()
    code = textwrap.dedent(PROCESS.format(here=str(Path(__file__).parent), path=path, paid=paid))
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in both:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = sorted([(await asyncio.to_thread(process.communicate))[0].strip() for process in both])
    assert said in (["AlreadyResumed", "done"], ["NotPaused", "done"])
    assert Path(paid).read_text() == "paid\n"


async def test_after_a_refused_append_the_handle_shows_and_goes_on_from_the_store(store: Store) -> None:
    watched: Any = Watched(store)
    run = await start(loop(), store=watched, run_id="r")

    async def steal() -> None:  # as after a lease that ran out: somebody else has the run, and writes to it
        await store.release("r", run._tree.claim, 1 << 30)  # type: ignore[arg-type]
        thief = await resume("r", loop(), store=store)
        assert (await thief).standing == "done"

    await steal()
    with pytest.raises(RunConflict):
        await run
    assert (await run).standing == "done"  # read from the store, whatever memory said
    assert run.facts == await store.read("r")


async def test_a_store_that_fails_leaves_a_run_that_can_go_on() -> None:
    watched: Any = Watched(MemoryStore(keep_bytes=True))
    run = await start(nested(), store=watched, run_id="r")
    watched.fail = StoreError("disk full")
    with pytest.raises(StoreError, match="disk full"):
        await run
    watched.fail = None
    assert await finish(run, YES) == "done"
    assert run.facts == await watched.inner.read("r")


async def test_a_store_that_fails_for_a_moment_is_tried_again(tmp_path: Path) -> None:
    watched: Any = Watched(SqliteStore(tmp_path / "runs.db"))
    run = await start(loop(), store=watched, run_id="r")
    watched.fail = StoreError("busy")
    asyncio.get_running_loop().call_later(0.02, setattr, watched, "fail", None)
    assert (await run).standing == "done"
    await watched.inner.close()


async def test_a_dropped_handle_lets_others_resume(store: Store) -> None:
    run: Run | None = await start(loop(), store=store, run_id="r")
    with pytest.raises(RunConflict):
        await resume("r", loop(), store=store)
    run = None
    gc.collect()
    assert run is None
    async with asyncio.timeout(30):
        while (await store.get("r")).owner is not None:  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)
    assert (await (await resume("r", loop(), store=store))).standing == "done"


def test_a_handle_may_outlive_its_loop(make_store: Any) -> None:
    store = make_store()
    run = asyncio.run(start(loop(), store=store, run_id="r"))

    async def again() -> Any:
        return await run

    assert asyncio.run(again()).standing == "done"
    dropped: Any = asyncio.run(start(loop(), store=store, run_id="s"))
    del dropped
    gc.collect()

    async def other() -> Any:
        return await (await resume("s", loop(), store=store))

    assert asyncio.run(other()).standing == "done"


async def test_runs_that_ended_leave_nothing_in_memory() -> None:
    import weakref

    stores = []
    for _ in range(3):
        run = await start(fan_out())
        await run
        stores.append(weakref.ref(run.store))
        del run
    await asyncio.sleep(0)
    gc.collect()
    assert [ref() for ref in stores] == [None] * 3


async def test_a_handle_awaited_twice_at_once_drives_once(store: Store) -> None:
    calls: list[int] = []

    async def work(state: S, ctx: Any) -> dict[str, Any]:
        calls.append(1)
        await asyncio.sleep(0.002)
        return {"n": 1}

    run = await start(one(work), store=store)
    one_, two, three = await asyncio.gather(run, run, run.drive())
    assert (one_.standing, two.standing, three, calls) == ("done", "done", "done", [1])
