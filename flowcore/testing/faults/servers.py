"""Faults of a PostgreSQL server: connections that are cut, and a server that is stopped and started again."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from secrets import token_hex
from typing import Any, Protocol

from flowcore.testing.faults.kills import LEASE, Fault, New
from flowcore.testing.faults.trial import Trial
from flowcore.testing.faults.victim import Place

PAUSE = 0.02
"""Seconds that a tool takes where something has to happen meanwhile."""
_CUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = current_setting('application_name')
AND pid <> pg_backend_pid()"""


class Server(Protocol):
    """A server that may be stopped and started again."""

    def halt(self) -> None:
        """Stop it as if it crashed."""

    def start(self) -> None:
        """Start it again where it was."""


def server_place(dsn: str) -> Place:
    """A schema of our own in a server's database. Its connections are known by their name."""
    from psycopg import conninfo

    name = f"flowcore_faults_{token_hex(6)}"
    return Place(dsn=conninfo.make_conninfo(dsn, application_name=name), schema=name)


async def drop_schema(place: Place) -> None:
    """Remove what was tried."""
    await ask(place, f'DROP SCHEMA IF EXISTS "{place.schema}" CASCADE')


async def ask(place: Place, sql: str) -> int:
    """Have a statement done on a connection of its own; how many rows it gives."""
    import psycopg

    assert place.dsn is not None
    async with await psycopg.AsyncConnection.connect(place.dsn, autocommit=True) as connection:
        return (await connection.execute(sql.encode())).rowcount


async def connections_cut(new: New, chance: random.Random) -> Trial | None:
    """All connections are cut, several times; the same process goes on."""
    trial = new()
    victim = await trial.begin(pause=PAUSE)
    cut = 0
    for _ in range(4):
        await asyncio.sleep(chance.uniform(0, trial.setting.seconds / 2))
        cut += await ask(trial.place, _CUT)
    await trial.over(victim)
    if not victim.said.get("standing"):
        trial.wrong(f"its process said {victim.said} (code {victim.code})")
    return await trial.finish() if cut else None


def restarted(server: Server, *, lasting: bool) -> Any:
    """The server crashes in mid-run and comes back: soon, or when the run's lease is over."""

    async def act(new: New, chance: random.Random) -> Trial | None:
        trial = new()
        place = replace(trial.place, patience=1.0) if lasting else trial.place
        victim = await trial.begin(place=place, pause=PAUSE, lease=LEASE if lasting else None)
        await asyncio.sleep(chance.uniform(0.05, trial.setting.seconds))
        await asyncio.to_thread(server.halt)
        hit = victim.code is None
        try:
            if lasting:
                await victim.ended()
        finally:
            await asyncio.to_thread(server.start)
        await trial.over(victim)
        if not victim.said.get("standing") and victim.said.get("error") not in ("StoreError", "RunConflict"):
            trial.wrong(f"its process said {victim.said} (code {victim.code})")
        return await trial.finish() if hit else None

    return act


def server_faults(server: Server | None) -> tuple[Fault, ...]:
    """Those that can be tried. Without ``server`` it can't be stopped."""
    cut = Fault("all connections are cut, four times", connections_cut, alone=True)
    if server is None:
        return (cut,)
    soon, late = restarted(server, lasting=False), restarted(server, lasting=True)
    return (
        cut,
        Fault("the server crashes and starts again", soon, alone=True),
        Fault("the server is gone until the run has given up", late, alone=True),
    )
