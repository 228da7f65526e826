"""``resume --all-abandoned`` and ``--all-due``: go on with every run that nobody moves any more, or that it's time for.
It asks nobody, and says what came of each."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

from flowcore.cli import exits, words
from flowcore.cli.asking import question
from flowcore.cli.giving import Limit, context_of, limits_in, limits_of
from flowcore.cli.going import Manner, answered
from flowcore.cli.interrupts import Interrupts, leave_soon
from flowcore.cli.moving import graph_of
from flowcore.cli.places import opened
from flowcore.cli.records import dumped
from flowcore.cli.screen import Screen
from flowcore.cli.story import told
from flowcore.cli.summary import Summary
from flowcore.engine import run as engine
from flowcore.errors import FlowcoreError, NotPaused, RunConflict, RunNotFound, UserError
from flowcore.faces.loading import graphs_in, split
from flowcore.stores.base import IndexRow, Page, Store

MOST = 50
"""Runs that are gone on with, where nothing else is said."""
PATIENCE_SECONDS = 5.0
"""Timers and delays that are slept through; a run with a longer one is given back until it's due."""


@dataclass(frozen=True, slots=True)
class GoingOnWithAll:
    """What the command was given. ``which``: runs are gone on with; ``most``: how many of them."""

    which: Literal["abandoned", "due"]
    file: str | None
    model: str | None
    max_turns: int | None
    limits: dict[str, Limit]
    most: int

    @classmethod
    def of(
        cls, which: Literal["abandoned", "due"], file: str | None, model: str | None, max_turns: int | None,
        limits: list[str],
    ) -> GoingOnWithAll:  # fmt: skip
        """``limits``: NAME=VALUE, and a plain number for how many runs. Raises UserError."""
        counts = [one for one in limits if one.isdecimal()]
        if len(counts) > 1 or (counts and int(counts[0]) < 1):
            raise UserError(f"--limit {' --limit '.join(counts)}: say once how many runs, 1 or more")
        most = int(counts[0]) if counts else MOST
        given = limits_in([one for one in limits if one not in counts])
        return cls(which, file, model, max_turns, given, most)


@dataclass(frozen=True, slots=True)
class Ended:
    """What came of a run: it rests as ``summary`` tells, or it was left alone, and ``why``."""

    row: IndexRow
    code: int
    summary: Summary | None = None
    why: str = ""

    @property
    def what(self) -> str:
        """In a word."""
        return "left alone" if self.summary is None else self.summary.result.standing

    def record(self) -> dict[str, Any]:
        """For other programs."""
        if self.summary is not None:
            return self.summary.record()
        return {"run": self.row.run, "graph": self.row.graph, "status": "left", "error": self.why}


async def resume_all(screen: Screen, where: str, given: GoingOnWithAll, manner: Manner) -> int:
    """Go on with abandoned or due runs, all at once, until each rests. One that can't be gone on with doesn't keep
    others from it. Raises LoadError for a FILE that can't be loaded."""
    if given.file is not None:
        graphs_in(split(given.file)[0])
    async with opened(where) as store:
        page = await _found(store, given)
        if page.runs:
            screen.say(f"going on with {words.counted(len(page.runs), f'{given.which} run')}", "bold")
        moving: list[engine.Run] = []
        with Interrupts(moving, screen) as interrupts:
            all_of_them = [_End(screen, store, given, manner, interrupts, moving).of(row) for row in page.runs]
            ended = await asyncio.gather(*all_of_them)
        if manner.json:
            screen.result(dumped({"runs": [one.record() for one in ended], "more": page.after is not None}))
        elif not ended:
            screen.say(f"no run is {given.which}")
        else:
            counts = Counter(one.what for one in ended)
            screen.say(" · ".join(f"{count} {what}" for what, count in counts.items()), "bold")
            if page.after is not None:
                screen.say(f"more are {given.which}: {manner.hints.resume_all(given.which)}", "yellow")
    if interrupts.pressed or interrupts.ended:
        leave_soon(exits.STOPPED)
        return exits.STOPPED
    return max((one.code for one in ended), key=_WORSE.index, default=exits.DONE)


async def _found(store: Store, given: GoingOnWithAll) -> Page:
    """The runs that are meant; ``after`` of the page only tells whether there are more."""
    if given.which == "abandoned":
        return await store.abandoned(limit=given.most)
    found: list[IndexRow] = []
    due = await store.due(time.time(), given.most + 1)
    for run in due[: given.most]:
        try:
            found.append(await store.get(run))
        except RunNotFound:
            pass  # deleted meanwhile
    return Page(found, due[given.most] if len(due) > given.most else None)


_WORSE = [exits.DONE, exits.STOPPED, exits.WAITING, exits.FAILED]


@dataclass(frozen=True, slots=True)
class _End:
    """Brings runs to their rest. ``moving``: those that are on their way."""

    screen: Screen
    store: Store
    given: GoingOnWithAll
    manner: Manner
    interrupts: Interrupts
    moving: list[engine.Run]

    async def of(self, row: IndexRow) -> Ended:
        """Go on with a run, and say what came of it."""
        try:
            ended = await self._go_on(row)
        except (RunConflict, NotPaused, RunNotFound) as error:  # somebody was faster, which is as good
            ended = Ended(row, exits.DONE, why=error.message)
        except FlowcoreError as error:
            ended = Ended(row, exits.FAILED, why=error.message)
        except Exception as error:  # the file's own context()
            ended = Ended(row, exits.FAILED, why=f"{type(error).__name__}: {error}")
        self._tell(ended)
        return ended

    async def _go_on(self, row: IndexRow) -> Ended:
        loaded = graph_of(self.screen, row, self.given.file).loaded
        limits = limits_of(loaded.graph, self.given.limits, self.given.max_turns)
        context = await context_of(loaded, self.given.model)
        if self._interrupted:
            return Ended(row, exits.STOPPED, why="interrupted before its turn")
        run = await engine.resume(row.run, loaded.target, store=self.store, context=context, limits=limits or None)
        self.moving.append(run)
        try:
            await self._move(run)
        finally:
            self.moving.remove(run)
        summary = Summary(run, await run.result(), await self.store.get(run.id), self.manner.hints)
        sleeps = run.standing in ("running", "waiting") and not summary.result.requests and summary.row.due is not None
        return Ended(row, exits.DONE if sleeps else summary.code, summary)

    async def _move(self, run: engine.Run) -> None:
        while await run.drive(patience=PATIENCE_SECONDS) == "waiting" and self.manner.yes and not self._interrupted:
            requests = await run.requests()
            if not requests or not await answered(run, requests, self.screen, self.manner):
                return

    @property
    def _interrupted(self) -> bool:
        return bool(self.interrupts.pressed or self.interrupts.ended)

    def _tell(self, ended: Ended) -> None:
        """One run in a line or two: what it does now, and what it needs."""
        say = self.screen.tell if ended.code == exits.FAILED and not self.manner.json else self.screen.say
        head = f"{ended.row.run} · {words.one_line(ended.row.graph)} · {ended.what}"
        summary = ended.summary
        if summary is None:
            say(f"{head}: {words.clean(ended.why)}", "red" if ended.code == exits.FAILED else "yellow")
            return
        result, hints = summary.result, summary.hints
        if result.standing == "done":
            blocked = "" if summary.tripped is None else f", blocked by guardrail '{summary.tripped.get('guardrail')}'"
            say(head + blocked, "red" if blocked else "green")
            return
        head += f" at '{summary.run.place}'"
        if result.standing == "failed":
            say(f"{head}: {words.clean(told(result.error))}", "red")
            say(f"  {hints.resume(result.run_id)}")
        elif result.standing == "waiting" and result.requests:
            say(f"{head} for: {', '.join(words.one_line(question(one)) for one in result.requests)}", "yellow")
            for command in [one for request in result.requests for one in hints.answers(request, result.requests)]:
                say(f"  {command}")
        elif summary.row.due is not None:
            say(f"{head} for {words.duration(max(0.0, summary.row.due - time.time()))} to pass", "yellow")
        else:
            say(f"{head}; {hints.resume(result.run_id)}", "magenta")
