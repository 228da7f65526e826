"""Named points between an effect, its record and what comes after, and what happens to a process that reaches one.

The points lie in what surrounds a run: a store around its store, and a wrapper around its effects. The engine has none.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

from flowcore.errors import StoreError
from flowcore.machine.facts import Effect, Intent, Request, Rested, Resumed, Signal, Started, Transition
from flowcore.stores.base import Append, Claim, Owner, Store

Act = Literal["kill", "stop", "fail"]
"""SIGKILL; SIGSTOP; or a StoreError (only at points of the store)."""

_KINDS: dict[type, str] = {
    Started: "child", Transition: "transition", Effect: "effect", Intent: "intent", Request: "request",
    Signal: "letter", Rested: "rest", Resumed: "resumption",
}  # fmt: skip


FAILED = "append failed"
"""The point after an append that the store itself couldn't do."""


class Points:
    """Counts the points that a process reaches. At the ``nth`` time that it reaches ``fatal`` it's killed, stopped, or
    its store fails, ``times`` times in a row."""

    def __init__(self, fatal: str | None = None, nth: int = 1, act: Act = "kill", times: int = 1) -> None:
        self.fatal, self.nth, self.act, self.times = fatal, nth, act, times
        self.reached: Counter[str] = Counter()

    def reach(self, name: str) -> None:
        """The process is here. Raises StoreError where the store fails here."""
        self.reached[name] += 1
        if name != self.fatal or not self.nth <= self.reached[name] < self.nth + self.times:
            return
        if self.act == "fail":
            raise StoreError(f"the store fails: {name}, for the {self.reached[name]}. time")
        os.kill(os.getpid(), signal.SIGKILL if self.act == "kill" else signal.SIGSTOP)


class PointedStore:
    """A store with a point before and after everything that it writes: ``"WHAT handed over"`` before it's written,
    ``"WHAT committed"`` before the answer is given. WHAT: admission, claim, release, renewal, and the kinds of facts;
    a child's end is ``child's end``."""

    def __init__(self, inner: Store, points: Points) -> None:
        self.inner = inner
        self.points = points
        self.inline = inner.inline
        self.shared = inner.shared

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def admit(self, member: Append, owner: Owner, below: Sequence[Append] = ()) -> Claim:
        self.points.reach("admission handed over")
        claim = await self.inner.admit(member, owner, below)
        self.points.reach("admission committed")
        return claim

    async def claim(self, run: str, owner: Owner) -> Claim:
        self.points.reach("claim handed over")
        claim = await self.inner.claim(run, owner)
        self.points.reach("claim committed")
        return claim

    async def release(self, run: str, claim: Claim, known: int = 0) -> bool:
        self.points.reach("release handed over")
        given = await self.inner.release(run, claim, known)
        self.points.reach("release committed")
        return given

    def beat(self, owner: Owner) -> None:
        self.points.reach("renewal handed over")
        self.inner.beat(owner)
        self.points.reach("renewal committed")

    async def append(self, batch: Sequence[Append], claim: Claim) -> list[Exception | None]:
        self._reach(batch, "handed over")
        try:
            answers = await self.inner.append(batch, claim)
        except StoreError:
            self.points.reach(FAILED)
            raise
        self._reach(batch, "committed")
        return answers

    def append_now(self, batch: Sequence[Append], claim: Claim) -> list[Exception | None] | None:
        if not self.inner.inline:
            return None
        self._reach(batch, "handed over")
        answers = self.inner.append_now(batch, claim)
        if answers is not None:
            self._reach(batch, "committed")
        return answers

    def _reach(self, batch: Sequence[Append], moment: str) -> None:
        kinds = {_kind(fact): None for member in batch for fact in member.facts}
        for kind in kinds:
            self.points.reach(f"{kind} {moment}")


def _kind(fact: Any) -> str:
    return "child's end" if isinstance(fact, Effect) and fact.child is not None else _KINDS[type(fact)]
