"""Small graphs that between them use everything the engine has, and ways of running them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NamedTuple

import pytest
from tenacity import retry_if_exception_type, stop_after_attempt, wait_exponential

from flowcore.engine.run import load, resume, start
from flowcore.graph.graph import Graph, continues
from flowcore.graph.node import Retry, node
from flowcore.graph.outcomes import END, START, Ask, Goto, Of, Pause, Replace, Select
from flowcore.graph.state import State, add, append, merge
from flowcore.graph.values import Json
from flowcore.stores.base import Store
from flowcore.testing import Crash, CrashingStore, ManualClock, finish, journals

THREE = pytest.mark.parametrize("make_store", ["memory", "normal", "postgres"], indirect=True)
"""What is killed after every fact: how a file is synced changes nothing about that."""


class S(State):
    n: int = 0
    total: Annotated[int, add] = 0
    log: Annotated[list[str], append] = []
    items: Annotated[list[dict[str, Json]], append] = []
    view: list[dict[str, Json]] | None = None
    seen: Annotated[dict[str, Json], merge] = {}
    answers: dict[str, Json] = {}


class Case(NamedTuple):
    """A graph, what it's started with, and how it should end."""

    make: Callable[[], Graph]
    input: Any = None
    answers: Mapping[str, Any] | None = None
    standing: str = "done"
    limits: dict[str, Any] | None = None


def loop() -> Graph:
    @node(limit=10)
    async def count(state: S, ctx: Any) -> dict[str, Any]:
        return {"n": state.n + 1, "total": 2, "log": [f"turn {state.n}"]}

    async def judge(state: S) -> Goto[Literal["again", "enough"]]:
        return Goto("again") if state.n < 3 else Goto("enough", log=["bye"])

    return Graph("loop", S, {START: count, count: judge, judge: {"again": count, "enough": END}})


def retry() -> Graph:
    policy = Retry(stop_after_attempt(3), wait_exponential(multiplier=0.5), retry_if_exception_type(OSError))

    @node(retry=policy)
    async def flaky(state: S, ctx: Any) -> dict[str, Any]:
        first = await ctx.once("first", lambda: "kept")
        if ctx.attempt < 3:
            raise OSError(f"attempt {ctx.attempt}")
        return {"log": [first, str(ctx.cause["message"])]}

    return Graph("retry", S, {START: flaky, flaky: END})


def errors() -> Graph:
    async def breaks(state: S, ctx: Any) -> None:
        await ctx.once("before", lambda: 1)
        raise KeyError("x")

    async def mend(state: S, ctx: Any) -> dict[str, Any]:
        return {"log": [ctx.cause["kind"]]}

    async def other(state: S) -> None: ...

    return Graph(
        "errors",
        S,
        {START: breaks, breaks: {"ok": END, Exception: other, LookupError: mend}, mend: END, other: END},
    )


def timeout() -> Graph:
    @node(timeout=0.005)
    async def slow(state: S, ctx: Any) -> None:
        await ctx.once("quick", lambda: 1)
        await asyncio.gather(ctx.once("slow", asyncio.Event().wait), ctx.once("slower", asyncio.Event().wait))

    async def late(state: S, ctx: Any) -> dict[str, Any]:
        return {"log": [ctx.cause["kind"]]}

    return Graph("timeout", S, {START: slow, slow: {"ok": END, "timeout": late}, late: END})


def fan_out() -> Graph:
    async def tell(n: int) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"n": n}

    async def spread(state: S, ctx: Any) -> Goto[Literal["joined"]]:
        work = [ctx.once(f"e{i}", tell, i) for i in range(3)]
        kids = [ctx.child(loop(), {"n": i}, f"c{i}") for i in range(2)]
        found = await asyncio.gather(*work, *kids)
        return Goto("joined", items=[Of("e0"), Of("e2"), {"n": found[3]["n"]}], total=Of("e1", "n"))

    async def pick(state: Any, ctx: Any) -> dict[str, Any]:
        keys = state.items.keys()
        return {"view": Select([keys[2], {"n": 7}, keys[0]], of="items"), "log": Replace(["new"])}

    return Graph("fan_out", S, {START: spread, spread: {"joined": pick}, pick: END})


def asking() -> Graph:
    async def ask(state: S, ctx: Any) -> Pause:
        return Pause(Ask("one", {"what": 1}), Ask("two"), into="answers")

    async def after(state: S, ctx: Any) -> dict[str, Any]:
        return {"log": sorted(state.answers)}

    return Graph("asking", S, {START: ask, ask: {"answered": after}, after: END})


def asking_any() -> Graph:
    """The agent loop's shape: requests are opened by one node, waited for by another, and the visit goes on."""

    @node(limit=5)
    async def work(state: S, ctx: Any) -> Goto[Literal["done", "decide"]]:
        await ctx.request("a", {"tool": "x"})
        await ctx.request("b", {"tool": "y"})
        done = await ctx.once("free", lambda: "ran")
        for key in ("a", "b"):
            if key in ctx.answers:
                await ctx.once(f"call-{key}", lambda key=key: key)
        if len(ctx.answers) < 2:
            return Goto("decide")
        return Goto("done", log=[done, Of("call-a"), Of("call-b")])

    async def decide(state: S, ctx: Any) -> Pause:
        return Pause(*ctx.open_requests, on="decided", enough="any")

    return Graph(
        "asking_any", S, {START: work, work: {"done": END, "decide": decide}, decide: {"decided": continues(work)}}
    )


def nested() -> Graph:
    async def outer(state: S, ctx: Any) -> dict[str, Any]:
        before = await ctx.once("before", lambda: "once")
        one, two = await asyncio.gather(ctx.child(middle(), {"n": 1}, "m1"), ctx.child(asking(), None, "m2"))
        return {"log": [before, *one["log"], *two["log"]]}

    return Graph("nested", S, {START: outer, outer: END})


def middle() -> Graph:
    async def inner(state: S, ctx: Any) -> dict[str, Any]:
        got = await ctx.child(asking_any(), {}, "deep")
        return {"log": got["log"]}

    return Graph("middle", S, {START: inner, inner: END})


def threads() -> Graph:
    def block(state: S, ctx: Any) -> dict[str, Any]:
        ctx.emit("from a thread")
        return {"n": state.n + 1}

    def plain(state: S) -> str:
        return "ok"

    return Graph("threads", S, {START: block, block: plain, plain: {"ok": END}})


def limited() -> Graph:
    @node(limit=2)
    async def turn(state: S) -> dict[str, Any]:
        return {"total": 1}

    async def over(state: S) -> dict[str, Any]:
        return {"log": ["over"]}

    return Graph("limited", S, {START: turn, turn: {"again": turn, "limit": over}, over: END})


def fails() -> Graph:
    async def good(state: S, ctx: Any) -> dict[str, Any]:
        return {"log": ["good"]}

    async def bad(state: S, ctx: Any) -> None:
        await ctx.once("paid", lambda: 1)
        raise ValueError("never")

    return Graph("fails", S, {START: good, good: bad, bad: END})


YES: dict[str, Any] = {"one": True, "two": {"text": "no \0 \ud800"}, "a": 1, "b": None}
CASES: dict[str, Case] = {
    "loop": Case(loop),
    "retry": Case(retry),
    "errors": Case(errors),
    "timeout": Case(timeout),
    "fan_out": Case(fan_out),
    "asking": Case(asking, answers=YES),
    "asking_any": Case(asking_any, answers=YES),
    "nested": Case(nested, answers=YES),
    "threads": Case(threads),
    "limited": Case(limited),
    "fails": Case(fails, standing="failed"),
}


async def iterate(case: Case, store: Store, id: str) -> Any:
    """Run it by reading its events."""
    run = await start(case.make(), case.input, store=store, run_id=id, clock=ManualClock(), limits=case.limits)
    for _ in range(50):
        async for _event in run:
            pass
        if run.standing != "waiting":
            break
        for request in await run.requests():
            await run.answer(request.key, (case.answers or {})[request.key])
    return await journals(store, id)


async def reborn(case: Case, store: Store, id: str) -> Any:
    """Run it in processes that each die after a single append."""
    for _ in range(300):
        crashing: Any = CrashingStore(store, 1)
        before = asyncio.all_tasks()
        try:
            if not (await store.runs(limit=1)).runs:
                await start(case.make(), case.input, store=crashing, run_id=id, clock=ManualClock(), limits=case.limits)
            seen = await load(id, case.make(), store=store, clock=ManualClock())
            if seen.standing in ("done", case.standing):
                return await journals(store, id)
            run = await resume(id, case.make(), store=crashing, clock=ManualClock())
            await finish(run, case.answers)
        except Crash:
            pass
        left = asyncio.all_tasks() - before
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await crashing.bury()
    raise AssertionError("it never ended")
