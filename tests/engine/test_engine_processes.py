"""Signals between real processes, over the stores that processes share."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_graphs import S
from signals_worker import LEASE, agent
from stores_postgres import LentStore, server

from flowcore.engine.run import resume, send, start
from flowcore.errors import AlreadyResumed
from flowcore.graph.graph import Graph
from flowcore.graph.outcomes import END, START, Ask, Pause
from flowcore.machine.facts import Effect, Rested, Resumed, Signal, Transition
from flowcore.stores.sqlite import SqliteStore

SCRIPT = Path(__file__).with_name("signals_worker.py")


@pytest.fixture(params=["sqlite", "postgres"])
async def shared(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    store: Any = LentStore() if request.param == "postgres" else SqliteStore(tmp_path / "runs.db")
    yield store
    await store.close()


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    """Those that were started; what is left of them is killed."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for one in started:
        one.kill()
        one.communicate()


def begin(processes: list[subprocess.Popen[str]], what: str, store: Any, said: str) -> subprocess.Popen[str]:
    where = f"{server().dsn} {store.schema}" if isinstance(store, LentStore) else store.path
    command = [sys.executable, str(SCRIPT), what, where, said]
    processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    return processes[-1]


async def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return (await asyncio.to_thread(process.stdout.readline)).strip()


@pytest.mark.parametrize("tool", ["patient", "busy"])
async def test_a_cancel_breaks_a_tool_of_another_process_off_and_no_model_is_called_after_it(
    shared: Any, processes: Any, tool: str
) -> None:
    """A thread that computes goes on until it's through, and what it gives is dropped; the run rests at once."""
    if isinstance(shared, LentStore):
        await shared.due(0.0)  # the schema is there
    worker = begin(processes, "drive", shared, tool)
    assert await line(worker) == "inside"
    await send(shared, "r", "cancel")
    said = [await line(worker)]
    if said == ["computed"]:  # on a machine that is busy, too
        said.append(await line(worker))
    assert said[-1] == "cancelled"
    facts = await shared.read("r")
    (told,) = [fact for fact in facts if isinstance(fact, Signal)]
    (rest,) = [fact for fact in facts if isinstance(fact, Rested)]
    assert (rest.standing, rest.node) == ("cancelled", "run_tools")
    assert rest.at - told.started < 10  # a second, where nothing else runs
    assert [fact.on for fact in facts if isinstance(fact, Transition) and fact.node == "call_model"] == ["tool_calls"]
    assert not [fact for fact in facts if isinstance(fact, Effect) and "call" in fact.key]
    assert (await shared.get("r")).owner is None
    run = await resume("r", agent(tool), store=shared)
    assert run.standing == "running"
    await run._let_go()


async def test_a_cancel_from_another_process_is_obeyed_within_a_second(shared: Any, processes: Any) -> None:
    """The quickest of three counts: the machine may have other things to do."""
    if isinstance(shared, LentStore):
        await shared.due(0.0)
    worker = begin(processes, "several", shared, "3")
    assert [await line(worker) for _ in range(3)] == ["inside"] * 3
    took = []
    for run in ("r0", "r1", "r2"):
        before = time.time()
        await send(shared, run, "cancel")
        assert await line(worker) == "cancelled"
        took.append((await shared.read(run))[-1].at - before)
    assert min(took) < 1


async def test_a_tool_that_blocks_its_event_loop_for_longer_than_a_lease_isnt_run_a_second_time(
    tmp_path: Path, processes: Any
) -> None:
    """Over both stores at once, for it takes as long as a lease: in one process it goes on and comes to its end,
    another one is killed in the midst of it, and what it held is free."""
    stores: list[Any] = [SqliteStore(tmp_path / "runs.db"), LentStore()]
    await stores[1].due(0.0)
    workers = [begin(processes, "drive", store, "blocking") for store in stores]
    assert [await line(worker) for worker in workers] == ["inside"] * 2
    until = time.time() + LEASE * 1.2
    while time.time() < until:
        assert [(await store.abandoned()).runs for store in stores] == [[], []]
        await asyncio.sleep(0.05)
    for store in stores:
        with pytest.raises(AlreadyResumed, match="held by process"):
            await resume("r", agent("blocking"), store=store)
    (done, killed), (kept, left) = workers, stores
    done.stdin.write("go on\n")
    done.stdin.flush()
    assert [await line(done), await line(done)] == ["computed", "done"]
    assert len([fact for fact in await kept.read("r") if isinstance(fact, Resumed)]) == 0
    killed.kill()
    await asyncio.to_thread(killed.wait)
    assert [row.run for row in (await left.abandoned()).runs] == ["r"]
    run = await resume("r", agent("blocking"), store=left)
    assert (run.standing, run.place) == ("running", "run_tools")
    await run._let_go()
    for store in stores:
        await store.close()


async def test_of_two_processes_that_answer_at_once_one_is_told_that_it_came_second(
    shared: Any, processes: Any
) -> None:
    async def ask(state: S) -> Pause:
        return Pause(Ask("q"), on="ok", into="answers")

    graph = Graph("one", S, {START: ask, ask: {"ok": END}})
    await (await start(graph, store=shared, run_id="r"))
    both = [begin(processes, "say", shared, name) for name in ("anna", "ben")]
    assert [await line(one) for one in both] == ["ready", "ready"]
    for one in both:
        one.stdin.write("go\n")
        one.stdin.flush()
    said = [await line(one) for one in both]
    assert sorted(said) == ["not open; open are []", "taken"]
    run = await resume("r", graph, store=shared)
    assert (await run).output["answers"] == {"q": ["anna", "ben"][said.index("taken")]}
    assert len([fact for fact in run.facts if isinstance(fact, Signal)]) == 1
