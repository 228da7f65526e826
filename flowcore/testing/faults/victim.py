"""A victim: a process that begins a run or goes on with it until it ends, or until the process does."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import signal
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flowcore.cli.giving import context_of, is_agents, limits_at_start
from flowcore.engine.run import load, resume, start
from flowcore.errors import FlowcoreError, RunNotFound
from flowcore.faces.loading import Loaded
from flowcore.stores import PostgresStore, SqliteStore, Store
from flowcore.stores.base import OpenRequest
from flowcore.stores.sqlite_schema import Synchronous
from flowcore.testing.crash import finish
from flowcore.testing.faults.ledger import Ledger
from flowcore.testing.faults.points import Act, PointedStore, Points
from flowcore.testing.faults.watching import WATCH, short_leases

LIFETIME = 90
"""Seconds after which a victim that nobody killed kills itself."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a store is: a file, and how it's synced, or a server and a schema. ``patience``: seconds that it waits for
    others' locks, or for a connection."""

    path: str | None = None
    synchronous: Synchronous = "FULL"
    dsn: str | None = None
    schema: str = ""
    patience: float = 5.0

    def open(self) -> Store:
        """The store there."""
        if self.path is not None:
            return SqliteStore(self.path, synchronous=self.synchronous, busy_timeout=self.patience)
        assert self.dsn is not None
        return PostgresStore(self.dsn, schema=self.schema, connections=2, timeout=self.patience)


@dataclass(frozen=True, slots=True)
class Job:
    """What a victim does. ``fatal``, ``nth``, ``act``, ``times``: see ``Points``. ``lease``: seconds that its leases
    last. ``pause``: seconds that a tool of the workload takes. ``fsize``: bytes that a file may have: what is more
    can't be written. ``user``: whom it becomes, if it's root. ``said``: the file for what it has to say."""

    place: Place
    run: str
    ledger: str
    said: str
    input: Any = None
    fatal: str | None = None
    nth: int = 1
    act: Act = "kill"
    times: int = 1
    lease: float | None = None
    pause: float = 0.002
    fsize: int | None = None
    user: int | None = None

    def to_json(self) -> str:
        """As one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """From ``to_json``."""
        given = json.loads(text)
        return cls(**{**given, "place": Place(**given["place"])})


def live(job: Job, loaded: Loaded) -> None:
    """Do a job, and write what came of it."""
    signal.alarm(LIFETIME)
    if job.fsize is not None:  # Python ignores SIGXFSZ: write(2) fails
        resource.setrlimit(resource.RLIMIT_FSIZE, (job.fsize, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    if job.user is not None and os.geteuid() == 0:
        os.setgroups([])
        os.setgid(job.user)
        os.setuid(job.user)
    logging.getLogger("psycopg").setLevel(logging.CRITICAL)  # it tells of each connection that is cut
    if job.lease is not None:
        short_leases(job.lease)
    points = Points(job.fatal, job.nth, job.act, job.times)
    WATCH.begin(Ledger(job.ledger), points, job.pause)
    try:
        said = asyncio.run(_live(job, loaded, points))
    except FlowcoreError as error:
        said = {"error": type(error).__name__, "text": str(error)}
    Path(job.said).write_text(json.dumps({**said, "reached": points.reached}))


async def _live(job: Job, loaded: Loaded, points: Points) -> dict[str, Any]:
    graph, context = loaded.graph, await context_of(loaded, None)
    answers = getattr(loaded.module, "answers", default_answer)
    store: Any = PointedStore(job.place.open(), points)
    try:
        try:
            row = await store.get(job.run)
        except RunNotFound:
            meta = {"session": job.run} if is_agents(graph) else None
            run = await start(
                loaded.target, job.input, store=store, run_id=job.run, context=context, meta=meta,
                limits=limits_at_start(graph, {}, None),
            )  # fmt: skip
        else:
            go_on = load if row.standing == "done" else resume
            run = await go_on(job.run, loaded.target, store=store, context=context)
        if run.standing != "done":
            await finish(run, answers)
        result = await run.result()
        return {"standing": result.standing, "output": result.output, "failure": result.error}
    finally:
        await store.close()


def default_answer(request: OpenRequest) -> Any:
    """Yes to everything; what may have happened is done again."""
    return "retry" if request.kind == "in_doubt" else True
