"""Faults of processes: killed at a named point, at any moment, twice; stopped until another one took over; two at once;
stores that fail around a commit. Each is ``async (new, chance) -> Trial | None``: None where it couldn't be tried."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeAlias

from flowcore.testing.faults.trial import Trial

New: TypeAlias = Callable[[], Trial]
Try: TypeAlias = Callable[[New, random.Random], Awaitable[Trial | None]]
LEASE = 1.0
"""Seconds that a lease lasts where a fault is about leases."""


class Fault(NamedTuple):
    """What is tried, by the name that the table has for it. ``share``: its part of all kills; 0: it's tried a few
    times. ``alone``: nothing else is tried meanwhile."""

    name: str
    act: Try
    share: int = 0
    alone: bool = False


def at(*points: str, lease: float | None = None, pause: float = 0.002) -> Try:
    """SIGKILL at one of these points, at any of the times that a run comes there."""

    async def act(new: New, chance: random.Random) -> Trial | None:
        trial = new()
        reached = trial.calm.reached
        known = [point for point in points if reached.get(point) or lease is not None]
        if not known:
            return None
        point = chance.choice(known)
        for nth in (chance.randint(1, max(reached.get(point, 1), 1)), 1):
            if (await trial.play(fatal=point, nth=nth, lease=lease, pause=pause)).killed:
                return await trial.finish()
            trial = new()
        return None

    return act


async def any_moment(new: New, chance: random.Random) -> Trial | None:
    """SIGKILL at any moment."""
    for part in (1.0, 0.5, 0.25):
        trial = new()
        if (await trial.play(seconds=chance.uniform(0, trial.setting.seconds * part))).killed:
            return await trial.finish()
    return None


async def time_and_again(new: New, chance: random.Random) -> Trial | None:
    """SIGKILL, and again in each of the next three processes."""
    trial = new()
    for _ in range(4):
        if not (await trial.play(seconds=chance.uniform(0, trial.setting.seconds / 2))).killed:
            break
    return await trial.finish() if trial.deaths > 1 else None


async def answer_lost(new: New, chance: random.Random) -> Trial | None:
    """A commit's answer is lost, up to three times: the store says that it failed, and it's written."""
    return await _failing(new(), chance, LOST)


async def not_written(new: New, chance: random.Random) -> Trial | None:
    """A commit fails up to three times, and nothing is written."""
    return await _failing(new(), chance, UNWRITTEN)


async def _failing(trial: Trial, chance: random.Random, points: set[str]) -> Trial | None:
    point = chance.choice([one for one in trial.calm.reached if one in points])
    nth = chance.randint(1, trial.calm.reached[point])
    victim = await trial.play(fatal=point, nth=nth, act="fail", times=chance.randint(1, 3))
    if victim.said.get("error"):
        trial.wrong(f"the process that it happened to didn't go on: {victim.said}")
    hit = victim.said.get("reached", {}).get(point, 0) >= nth
    return await trial.finish() if hit else None


async def two_at_once(new: New, chance: random.Random) -> Trial | None:
    """A run was killed, and two processes go on with it at once."""
    trial = new()
    if not (await trial.play(seconds=chance.uniform(0, trial.setting.seconds / 2))).killed:
        return None
    both = await asyncio.gather(trial.play(), trial.play())
    for one in both:
        # NotOpen: the other one has answered, and a question is answered once
        if not one.said.get("standing") and one.said.get("error") not in (*REFUSED, "NotOpen"):
            trial.wrong(f"one of the two said {one.said} (code {one.code})")
    return await trial.finish()


async def stalled(new: New, chance: random.Random) -> Trial | None:
    """A process is stopped (SIGSTOP) in an effect until its lease is over and another one has taken the run to its end;
    then it wakes up."""
    trial = new()
    point = "tool begun" if "tool begun" in trial.calm.reached else "entry begun"
    nth = chance.randint(1, trial.calm.reached[point])
    asleep = await trial.begin(fatal=point, nth=nth, act="stop", lease=LEASE)
    await asleep.stopped.wait()
    await trial.died()  # as far as anybody can tell
    await asyncio.sleep(LEASE)
    await trial.end()
    await trial.look()
    asleep.signal(signal.SIGCONT)
    await asleep.ended()
    if asleep.said.get("error") not in REFUSED:
        trial.wrong(f"the stalled process isn't refused: {asleep.said} (code {asleep.code})")
    await trial.judge()
    return trial


REFUSED = ("RunConflict", "AlreadyResumed", "RunExists", "NotPaused")


def before(what: str) -> str:
    """The point at which it's handed to the store."""
    return f"{what} handed over"


def after(what: str) -> str:
    """The point at which it's committed, and the run doesn't know yet."""
    return f"{what} committed"


def around(*what: str) -> list[str]:
    """Both points of each."""
    return [point(one) for one in what for point in (before, after)]


KINDS = ("transition", "effect", "intent", "request", "letter", "child", "child's end", "rest", "resumption")
LOST = {after(kind) for kind in KINDS}
UNWRITTEN = {before(kind) for kind in KINDS}

FAULTS = (
    Fault("kill -9 at the admission", at(*around("admission")), 4),
    Fault("kill -9 as a node or an effect begins", at("entry begun", "effect begun", "tool begun"), 10),
    Fault("kill -9 after an effect, before its record", at("effect happened", "tool happened", before("effect")), 12),
    Fault("kill -9 after the record, before anybody knows", at(after("effect")), 8),
    Fault("kill -9 before a transition is written", at(before("transition")), 8),
    Fault("kill -9 after a transition is written", at(after("transition")), 8),
    Fault("kill -9 around an intent", at(*around("intent")), 4),
    Fault("kill -9 around a request and a rest", at(*around("request", "rest")), 4),
    Fault("kill -9 around a letter's consumption", at(*around("letter")), 4),
    Fault("kill -9 around a child's start and end", at(*around("child", "child's end")), 6),
    Fault("kill -9 around a claim and a release", at(*around("claim", "release")), 6),
    Fault("kill -9 around a lease's renewal", at(*around("renewal"), lease=LEASE, pause=0.1), 2),
    Fault("kill -9 at any moment", any_moment, 16),
    Fault("kill -9 at any moment, four times", time_and_again, 8),
    Fault("a commit's answer is lost", answer_lost),
    Fault("a commit fails, nothing is written", not_written),
    Fault("two processes go on at once", two_at_once),
    Fault("a stalled writer wakes up after its lease", stalled),
)
