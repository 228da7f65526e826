"""A run with everything that can make it wait, the world that it works in (its ``context``), and a model of both
that knows no journal.

Two rounds, each: a question with a deadline; work (a plain effect, a payment that mustn't be made twice, a child that
asks); an attempt that fails and is made again after a delay; a nap. What a round brought goes into the log.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from flowcore.graph.graph import Graph
from flowcore.graph.node import Retry, node
from flowcore.graph.outcomes import END, START, Ask, Goto, Pause
from flowcore.graph.state import State, append
from flowcore.graph.values import Json

ROUNDS = 2
PATIENCE, DELAY, NAP = 1000.0, 50.0, 500.0


class Course(State):
    round: int = 0
    answers: dict[str, Json] = {}
    log: Annotated[list[Json], append] = []


class Small(State):
    answers: dict[str, Json] = {}
    output: Json = None


class World:
    """What effects did, whatever became of their records. ``deadly``: the effect in which the process is killed next;
    ``mid``: a letter that comes while the plain effect runs."""

    def __init__(self) -> None:
        self.done: dict[str, int] = {}
        self.sent: list[str] = []
        self.deadly: str | None = None
        self.mid: Literal["cancel", "stop"] | None = None
        self.run: Any = None
        self.store: Any = None

    async def act(self, name: str, key: str) -> str:
        self.done[key] = self.done.get(key, 0) + 1
        if self.deadly == name:
            self.deadly, self.store.left = None, 0
        elif name == "plain" and self.mid is not None:
            mid, self.mid = self.mid, None
            self.sent.append(mid)
            if mid == "stop":
                await self.run.stop()
            else:
                asking = asyncio.ensure_future(self.run.cancel())
                try:
                    await asyncio.Event().wait()
                finally:
                    await asking
        return f"{name} done"


def course() -> Graph:
    child = small()

    async def ask(state: Course, ctx: Any) -> Pause:
        key = f"q{state.round}"
        return Pause(Ask(key), into="answers", until=ctx.now + PATIENCE, late="late")

    async def said(state: Course) -> dict[str, Any]:
        return {"log": [state.answers[f"q{state.round}"]]}

    async def late(state: Course) -> dict[str, Any]:
        return {"log": ["late"]}

    async def work(state: Course, ctx: Any) -> dict[str, Any]:
        act = ctx.context.act
        first = await ctx.once("plain", act, "plain", ctx.idempotency_key("plain"))
        paid, told = await asyncio.gather(
            ctx.once("pay", act, "pay", ctx.idempotency_key("pay"), on_crash="ask"),
            ctx.child(child, {}, "child"),
        )
        return {"log": [first, paid, told]}

    @node(retry=Retry(2, DELAY))
    async def flaky(state: Course, ctx: Any) -> None:
        if ctx.attempt == 1:
            raise OSError("once more")

    async def nap(state: Course, ctx: Any) -> Pause:
        return Pause(until=ctx.now + NAP, on="awake")

    @node(limit=ROUNDS)
    async def count(state: Course) -> Goto[Literal["again", "end"]]:
        return Goto("again" if state.round + 1 < ROUNDS else "end", round=state.round + 1)

    return Graph(
        "course",
        Course,
        {
            START: ask, ask: {"answered": said, "late": late}, said: work, late: work, work: flaky, flaky: nap,
            nap: {"awake": count}, count: {"again": ask, "end": END},
        },
        gives="log",
    )  # fmt: skip


def small() -> Graph:
    async def ask(state: Small) -> Pause:
        return Pause(Ask("cq"), into="answers")

    async def deep(state: Small, ctx: Any) -> dict[str, Any]:
        await ctx.once("deep", ctx.context.act, "deep", ctx.idempotency_key("deep"))
        return {"output": state.answers["cq"]}

    return Graph("small", Small, {START: ask, ask: {"answered": deep}, deep: END}, gives="output")


COURSE = course()


class Model:
    """Where the run should be. ``accepted``: answers by question; ``doubt``: what was said of a payment in doubt."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.round = 0
        self.gate = "ask"
        self.entered = now
        self.log: list[Any] = []
        self.accepted: dict[str, Any] = {}
        self.standing = "running"
        self.doubtful = False
        self.said: Any = None
        self.at_once = False

    def drive(self) -> None:
        """Go on until something is waited for; what has been said and what time it is decides."""
        while self._passes():
            pass

    def _passes(self) -> bool:
        if self.gate == "ask":
            key = f"q{self.round}"
            if key in self.accepted:
                self.log.append(self.accepted[key])
            elif self.now >= self.entered + PATIENCE:
                self.log.append("late")
            else:
                return self._rest("waiting")
            return self._enter("work")
        if self.gate == "work":
            if self.doubtful and self.said == "fail":
                self.said = None
                return self._rest("failed")
            child = self.child
            if (self.doubtful and self.said is None) or child not in self.accepted:
                return self._rest("waiting")
            paid = self.said["value"] if self.doubtful and self.said != "retry" else "pay done"
            self.log += ["plain done", paid, self.accepted[child]]
            self.doubtful, self.said = False, None
            return self._enter("flaky")
        if self.gate == "flaky":
            over = self.at_once or self.now >= self.entered + DELAY
            return self._enter("nap") if over else self._rest("running")
        if self.gate == "nap":
            if self.now < self.entered + NAP:
                return self._rest("waiting")
            self.round += 1
            return self._enter("ask") if self.round < ROUNDS else self._rest("done")
        return self._rest("done")

    def _rest(self, standing: str) -> bool:
        self.standing = standing
        if standing == "done":
            self.gate = "end"
        return False

    def _enter(self, gate: str) -> bool:
        self.gate, self.entered, self.at_once = gate, self.now, gate == "flaky" and self.at_once
        return True

    @property
    def child(self) -> str:
        """The id of the child of this round's work."""
        return f"r/work.{self.round + 1}/child"

    @property
    def due(self) -> float | None:
        """When it goes on by itself."""
        waits = {"ask": PATIENCE, "flaky": DELAY, "nap": NAP}
        moves = self.standing in ("running", "waiting") and self.gate in waits
        return self.entered + waits[self.gate] if moves else None

    @property
    def open(self) -> set[tuple[str, str]]:
        """What is asked, by whom."""
        if self.gate == "ask":
            return {("r", f"q{self.round}")}
        if self.gate != "work":
            return set()
        asked = set() if self.child in self.accepted else {(self.child, "cq")}
        doubt = self.doubtful and self.said is None and self.standing != "failed"  # that is asked by whoever resumes it
        return asked | ({("r", "in-doubt")} if doubt else set())
