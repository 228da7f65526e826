"""Runs in several standings, with children, a fork, a letter and a session, and all that can be asked of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from flowcore import END, START, Ask, Context, Goto, Graph, Json, Pause, State, load, node, resume, start
from flowcore.machine.walk import path
from flowcore.stores.base import Letter, Owner, Store

WORDS = "The quick brown fox jumps over the lazy dog. " * 6
broken = {"world": True}
"""Whether the world is such that a run with the text "fails" fails."""


class S(State):
    text: str = ""
    said: str = ""
    n: int = 0
    answers: dict[str, Json] = {}


@node
async def work(state: S, ctx: Context) -> dict[str, Any]:
    return {"said": await ctx.once("effect", echo, WORDS, returns=str), "n": state.n + 1}


async def echo(text: str) -> str:
    return text


@node
async def ask(state: S) -> Goto | Pause:
    return Pause(Ask("q", {"asked": WORDS}), into="answers") if state.text == "waits" else Goto("answered")


@node
async def below(state: S, ctx: Context) -> dict[str, Any]:
    return {"said": (await ctx.child(small, {"text": state.text}, "k"))["said"][:10]}


@node
async def last(state: S) -> dict[str, Any]:
    if state.text == "fails" and broken["world"]:
        raise ValueError("It fails. " + WORDS)
    return {"n": state.n + 1}


small = Graph("small", S, {START: work, work: END})
graph = Graph("big", S, {START: ask, ask: {"answered": below}, below: last, last: END})


async def fill(store: Store) -> None:
    """Make the runs."""
    broken["world"] = True
    done = await start(graph, {"text": "done"}, store=store, run_id="done")
    await done
    for text in ("waits", "fails"):
        run = await start(graph, {"text": text}, store=store, run_id=text, label=f"label of {text}")
        try:
            await run
        except ValueError:
            assert text == "fails"
        assert run.standing == {"waits": "waiting", "fails": "failed"}[text]
    await (await done.fork(1, run_id="fork"))
    await store.session_write("s", [{"text": f"{i} {WORDS}"} for i in range(4)])
    assert await store.signal(Letter("waits", "letter", "input", None, {"text": WORDS}, 5.0))


RUNS = ("done", "done/below.1/k", "waits", "fails", "fails/below.1/k", "fork")


async def finished(store: Store, run: str) -> Any:
    """What becomes of a run that goes on."""
    handle = await resume(run, graph, store=store)
    if run == "waits":
        await handle.answer("q", "yes")
    result = await handle
    return result.standing, result.output


async def walked(store: Store, run: str) -> Any:
    handle = await load(run, graph, store=store)
    return handle.standing, handle.place, path(handle.facts), handle.state


def questions(store: Store) -> dict[str, Callable[[], Awaitable[Any]]]:
    """All that can be asked, by name; what changes something comes last."""
    asked: dict[str, Callable[[], Awaitable[Any]]] = {
        "runs": lambda: store.runs(),
        "waiting runs": lambda: store.runs(standing="waiting"),
        "tree": lambda: store.runs(root="done"),
        "found": lambda: store.find("fa"),
        "requests": lambda: store.requests(),
        "inbox": lambda: store.inbox("waits"),
        "session": lambda: store.session_items("s"),
        "due": lambda: store.due(1e12),
        "abandoned": lambda: store.abandoned(),
        "nobody's": lambda: store.waiting(Owner("x", "x", 1, "1")),
    }
    for run in RUNS:
        asked[f"get {run}"] = lambda run=run: store.get(run)  # type: ignore[misc]
        asked[f"read {run}"] = lambda run=run: store.read(run)  # type: ignore[misc]
        if "/" not in run:
            asked[f"walk {run}"] = lambda run=run: walked(store, run)  # type: ignore[misc]
    asked["finish waits"] = lambda: finished(store, "waits")
    asked["finish fails"] = lambda: finished(store, "fails")
    asked["pop"] = lambda: store.session_pop("s")
    return asked
