"""Processes beside the tests: one that drives an agent's run, one that answers a question. Run by them as a script:
``signals_worker.py WHAT WHERE …``, where WHERE is a file, or a DSN and a schema after a blank."""

from __future__ import annotations

import asyncio
import select
import sys
import time
from typing import Any

from flowcore import Agent, function_tool
from flowcore.engine.run import answer, start
from flowcore.errors import NotOpen
from flowcore.stores.postgres import PostgresStore
from flowcore.stores.sqlite import SqliteStore
from flowcore.testing import ScriptedModel, function_call
from flowcore.testing.faults.watching import short_leases


def opened(where: str) -> Any:
    """The store at a place."""
    dsn, blank, schema = where.partition(" ")
    return PostgresStore(dsn, schema=schema, connections=2) if blank else SqliteStore(where)


@function_tool
async def patient() -> str:
    """Wait in the event loop."""
    print("inside", flush=True)
    await asyncio.sleep(60)
    return "never"


@function_tool
def busy() -> str:
    """Compute in a thread, which nobody can break off."""
    print("inside", flush=True)
    until = time.monotonic() + 3
    while time.monotonic() < until:
        sum(range(1000))
    print("computed", flush=True)
    return "computed"


LEASE = 2.0
"""Seconds that the leases of who blocks last."""


@function_tool
async def blocking() -> str:
    """Block the event loop until a line comes."""
    print("inside", flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        time.sleep(0.05)  # noqa: ASYNC251 - that is what it shows
    print("computed", flush=True)
    return "computed"


def agent(tool: str) -> Agent:
    """One that calls a tool, and would then say so."""
    return Agent(
        name="worker", tools=[patient, busy, blocking], model=ScriptedModel([function_call(tool, "{}"), "done"])
    )


async def drive(where: str, tool: str) -> None:
    """Begin a run and say how it ended."""
    if tool == "blocking":
        short_leases(LEASE)
    store = opened(where)
    run = await start(agent(tool), "go", store=store, run_id="r")
    print(await run.drive(), flush=True)
    await store.close()


async def several(where: str, count: str) -> None:
    """Begin so many runs at once, and say how each ended."""
    store = opened(where)

    async def one(number: int) -> None:
        run = await start(agent("patient"), "go", store=store, run_id=f"r{number}")
        print(await run.drive(), flush=True)

    await asyncio.gather(*map(one, range(int(count))))
    await store.close()


async def say(where: str, value: str) -> None:
    """Answer the run's question when told to; say whether it was taken."""
    store = opened(where)
    await store.get("r")
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        await answer(store, "r", "q", value)
        print("taken", flush=True)
    except NotOpen as error:
        print(f"not open; open are {error.open}", flush=True)
    await store.close()


if __name__ == "__main__":
    what, place, said = sys.argv[1:]
    asyncio.run({"drive": drive, "several": several, "say": say}[what](place, said))
