"""One trial: a run that something is done to, looked at after each death, and held against the one that nothing
happened to."""

from __future__ import annotations

import asyncio
import difflib
import pprint
import signal
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any, Literal

from flowcore.errors import FlowcoreError, RunNotFound, StoreError
from flowcore.machine.facts import Effect, Fact, Request, Signal, Transition
from flowcore.testing.faults.ledger import Begun, Ledger
from flowcore.testing.faults.victim import Job, Place
from flowcore.testing.faults.zygote import Victim, Zygote
from flowcore.testing.walks import journals, walk_form

Journals = Mapping[str, Sequence[Fact]]
MOST = 12
"""Processes that may go on with a run before it counts as lost."""
UNTOUCHED = ("AlreadyResumed", "RunExists", "NotPaused")
"""What a process says that was refused before it touched anything."""
PARTING = 40
"""Lines that are shown of where two walks part."""
DOUBT = "in-doubt:"


@dataclass(slots=True)
class Outcome:
    """What came of a run. ``moves``: how many transitions left each place; ``begun``: how often each thing was begun;
    both by keys without the run's id. ``reached``: how often its last process reached which point."""

    standing: str
    output: Any
    failure: Any
    walk: Any
    session: list[Any]
    moves: Counter[str]
    begun: Counter[Begun]
    reached: dict[str, int]


@dataclass(slots=True)
class Verdict:
    """What came of a trial. ``repeated``: recorded effects that were begun again. ``notes``: what was wrong."""

    lost: bool = False
    repeated: int = 0
    wrong: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Nothing was lost, repeated or wrong."""
        return not (self.lost or self.repeated or self.wrong)


@dataclass(slots=True)
class Setting:
    """Where trials happen: who forks the victims, in which folder, over which store, with which input. ``calm``: what
    came of the run that nothing happened to, in ``seconds``. ``token``: what its runs' ids begin with."""

    zygote: Zygote
    folder: Path
    place: Place
    input: Any
    calm: Outcome | None = None
    seconds: float = 0.0
    token: str = field(default_factory=lambda: f"faults-{token_hex(4)}")


class Trial:
    """One run under ``setting``. ``place``: another store than the setting's."""

    def __init__(self, setting: Setting, run: str, place: Place | None = None) -> None:
        self.setting = setting
        self.run = run
        self.place = setting.place if place is None else place
        self.ledger = Ledger(setting.folder / f"{run}.ledger")
        self.verdict = Verdict()
        self.kills = 0
        self.stood_failed = 0
        self.deaths = 0
        self.last: Victim | None = None
        self._sealed: dict[Begun, int] = {}
        self._count = 0

    @property
    def calm(self) -> Outcome:
        """What came of the run that nothing happened to."""
        assert self.setting.calm is not None
        return self.setting.calm

    # -- its processes --------------------------------------------------------------------------------------------

    async def begin(self, **how: Any) -> Victim:
        """A process that begins the run or goes on with it. ``how``: see ``Job``."""
        self._count += 1
        said = str(self.setting.folder / f"{self.run}.said-{self._count}")
        job = Job(how.pop("place", self.place), self.run, str(self.ledger.path), said, self.setting.input, **how)
        self.last = await self.setting.zygote.begin(job)
        return self.last

    async def play(self, *, seconds: float | None = None, then: Callable[[], None] | None = None, **how: Any) -> Victim:
        """``begin``, and wait for its end; it's killed after so many seconds."""
        victim = await self.begin(**how)
        if seconds is not None:
            await asyncio.sleep(seconds)
            victim.signal(signal.SIGKILL)
        return await self.over(victim, then)

    async def moving(self, victim: Victim, before: int) -> None:
        """Wait until a process has begun something, so that it has its store open, or has ended. ``before``: what the
        ledger held when it wasn't there."""
        while victim.code is None and self.ledger.size() <= before:  # noqa: ASYNC110 - another process writes there
            await asyncio.sleep(0.005)

    async def over(self, victim: Victim, then: Callable[[], None] | None = None) -> Victim:
        """Wait for a process's end. If it didn't come to the run's end, the store is looked at; ``then`` is done before
        that."""
        await victim.ended()
        self.kills += victim.killed
        if then is not None:
            then()
        self.stood_failed += lacked_store(victim)
        if not ended(victim) and victim.said.get("error") not in UNTOUCHED:
            await self.died()
        return victim

    # -- looking at it --------------------------------------------------------------------------------------------

    async def died(self) -> None:
        """After a death, or after it gave up: what is recorded may never be begun again; what was in flight, once
        more."""
        self.deaths += 1
        await self.look()

    async def look(self) -> None:
        """Note which effects are recorded by now."""
        calm = self.calm
        begun, ended = self.noted("begin"), self.noted("end")
        try:
            walk = await self._journals()
        except RunNotFound:
            return
        done, moves = _recorded(self.run, walk), _moves(self.run, walk)
        left = [place for place, count in calm.moves.items() if moves[place] >= count]
        for one, times in begun.items():
            if one.key in done or any(one.key == place or one.key.startswith(f"{place}/") for place in left):
                self._sealed.setdefault(one, times)
                if one.what != "entry" and one.key in done and not ended[one]:
                    self.wrong(f"{one.key} is recorded and hasn't happened")

    def noted(self, moment: Literal["begin", "end"]) -> Counter[Begun]:
        """What the ledger says, by keys without the run's id."""
        found = self.ledger.read(moment)
        return Counter({Begun(one.what, _inside(self.run, one.key)): times for one, times in found.items()})

    async def outcome(self, victim: Victim) -> Outcome:
        """What came of the run, as its last process said it and as it's stored. Raises StoreError, RunNotFound."""
        walk, said = await self._journals(), victim.said
        store = self.place.open()
        try:
            session = [one.item for one in await store.session_items(self.run)]
            row = await store.get(self.run)
        finally:
            await store.close()
        if row.standing != said["standing"]:
            raise StoreError(f"run '{self.run}' said it's {said['standing']}; its store says {row.standing}")
        named = [said["output"], said["failure"], walk_form(_certain(walk)), session]
        output, failure, form, session = _without(self.run, named)
        moves, begun = _moves(self.run, walk), self.noted("begin")
        return Outcome(said["standing"], output, failure, form, session, moves, begun, said["reached"])

    async def _journals(self) -> Journals:
        store = self.place.open()
        try:
            return await journals(store, self.run)
        finally:
            await store.close()

    async def end(self, **how: Any) -> None:
        """Let processes go on with the run until it has ended."""
        for _ in range(MOST):
            if self.last is not None and ended(self.last):
                return
            await self.play(**how)
        assert self.last is not None
        said = self.last.said
        self.verdict.lost = True
        self.note(f"it doesn't end: {said.get('error')}: {said.get('text')} (code {self.last.code})")

    async def finish(self) -> Trial:
        """``end``, and hold what came of it against the calm run."""
        await self.end()
        await self.judge()
        return self

    async def judge(self) -> None:
        """Hold what came of it against the calm run, unless it's lost."""
        if self.verdict.lost:
            return
        assert self.last is not None
        victim = self.last
        calm = self.calm
        try:
            seen = await self.outcome(victim)
        except FlowcoreError as error:
            self.verdict.lost = True
            self.note(f"it can't be read: {error}")
            return
        for what in ("standing", "output", "failure", "session"):
            here, there = getattr(seen, what), getattr(calm, what)
            if here != there:
                self.wrong(f"its {what} is {here!r}, not {there!r}")
        there, here = calm.walk, seen.walk
        if self.stood_failed:  # to go on from there is another attempt, and the walk tells so
            there, here = _attempts_aside(there), _attempts_aside(here)
        if here != there:
            self.wrong(f"its walk is another one:\n{_parting(there, here)}")
        for one, times in seen.begun.items():
            most = self._sealed.get(one)
            if most is None and one.what != "entry":
                most = calm.begun[one] + self.deaths
            if most is not None and times > most:
                self.verdict.repeated += times - most
                self.note(f"{one.what} {one.key} was begun {times} times, {times - most} too many")

    def wrong(self, note: str) -> None:
        """Something isn't as it would be without the fault."""
        self.verdict.wrong = True
        self.note(note)

    def note(self, note: str) -> None:
        """What was wrong, for people."""
        if note not in self.verdict.notes:
            self.verdict.notes.append(note)


def ended(victim: Victim) -> bool:
    """Whether a process brought its run to the end."""
    return "standing" in victim.said and not lacked_store(victim)


def lacked_store(victim: Victim) -> bool:
    """Whether the run stands failed because a node couldn't read the store: it keeps its place, and goes on when the
    store is back."""
    said = victim.said
    return said.get("standing") == "failed" and said["failure"]["kind"] == "StoreError"


def _attempts_aside(walk: Any) -> Any:
    """A walk without the numbers of its transitions' attempts (see ``same_form``)."""
    return {
        run: [
            [place, effects, [[*move[:6], None, *move[7:]] if move[0] == "transition" else move for move in moves]]
            for place, effects, moves in form
        ]
        for run, form in walk.items()
    }


def _moves(root: str, walk: Journals) -> Counter[str]:
    """How many transitions left each place, of all runs of a tree."""
    return Counter(
        _inside(root, f"{run}/{fact.node}.{fact.visit}")
        for run, facts in walk.items()
        for fact in facts
        if isinstance(fact, Transition)
    )


def _recorded(root: str, walk: Journals) -> set[str]:
    """The keys of the effects that are recorded."""
    return {
        _inside(root, f"{run}/{fact.node}.{fact.visit}/{fact.key}")
        for run, facts in walk.items()
        for fact in facts
        if isinstance(fact, Effect)
    }


def _certain(walk: Journals) -> dict[str, list[Fact]]:
    """The walk without questions about effects in doubt: only a run that was killed asks those."""
    return {run: [fact for fact in facts if not _doubts(fact)] for run, facts in walk.items()}


def _doubts(fact: Fact) -> bool:
    return isinstance(fact, (Request, Signal)) and (fact.key or "").startswith(DOUBT)


def _parting(there: Any, here: Any) -> str:
    """Where two walks part, for people: the first lines of it."""
    one, other = (pprint.pformat(walk, width=110).splitlines() for walk in (there, here))
    return "\n".join([*difflib.unified_diff(one, other, "calm", "here", lineterm="", n=1)][:PARTING])


def _without(run: str, value: Any) -> Any:
    """A value without the run's id in its texts."""
    if isinstance(value, str):
        return value.replace(run, "RUN")
    if isinstance(value, dict):
        return {_without(run, name): _without(run, one) for name, one in value.items()}
    return [_without(run, one) for one in value] if isinstance(value, (list, tuple)) else value


def _inside(root: str, key: str) -> str:
    """A key without the run's id."""
    return key[len(root) + 1 :]
