"""Letters to a run from another process: answers, stop, cancel. Each says what comes next."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Literal

from flowcore.cli.asking import APPROVAL, can_be_approved, question
from flowcore.cli.hints import Hints
from flowcore.cli.screen import Screen
from flowcore.engine.run import answer, send
from flowcore.errors import NotOpen, UserError
from flowcore.stores.base import IndexRow, OpenRequest, Store

ALL = 10_000
"""Open requests of a tree that are looked at."""
PATIENCE_SECONDS = 2.0
"""How long a command waits to see that the owner has taken a letter in."""


async def open_requests(store: Store, row: IndexRow) -> list[OpenRequest]:
    """What a run and its descendants wait for, and to which no answer waits in the inbox yet."""
    answered = {(one.run, one.key) for one in await store.inbox(row.root) if one.kind == "answer"}
    found = await store.requests(root=row.root, limit=ALL)
    mine = [one for one in found if one.run == row.run or one.run.startswith(f"{row.run}/")]
    return [one for one in mine if (one.run, one.key) not in answered]


async def pick(store: Store, row: IndexRow, key: str | None) -> OpenRequest:
    """The open request that is meant: by its key, the beginning of it, its tool's name, or because it's the only one.

    Raises NotOpen, which lists what is open; UserError where several are meant.
    """
    found = await open_requests(store, row)
    meant = found
    if key is not None:
        meant = [one for one in found if one.key == key and one.run == row.run]
        meant = meant or [one for one in found if one.key == key]
        meant = meant or [one for one in found if one.key.startswith(key)]
        meant = meant or [one for one in found if one.kind == APPROVAL and (one.data or {}).get("tool") == key]
    if len(meant) == 1:
        return meant[0]
    if not meant:
        asked = f"request '{key}' isn't open, or answered already" if key is not None else "nothing is asked"
        listed = ", ".join(map(_listed, found)) or "none"
        raise NotOpen(f"run '{row.run}': {asked}; open are: {listed}", run_id=row.run, open=[one.key for one in found])
    raise UserError(f"run '{row.run}' asks {len(meant)} things; name one: {', '.join(map(_listed, meant))}")


def _listed(request: OpenRequest) -> str:
    return f"{request.key} ({question(request)})"


async def approve(
    store: Store, row: IndexRow, key: str | None, all_of_them: bool, screen: Screen, hints: Hints
) -> None:
    """Approve one request or all tool calls that wait. Raises NotOpen, UserError."""
    if all_of_them:
        if key is not None:
            raise UserError("give a CALL or --all, not both")
        meant = [one for one in await open_requests(store, row) if one.kind == APPROVAL]
        if not meant:
            await pick(store, row, "approval")  # raises, and lists what is open instead
    else:
        meant = [await pick(store, row, key)]
    for request in meant:
        if not can_be_approved(request):
            ways = " or ".join(hints.answers(request))
            raise UserError(f"'{request.key}' of run '{request.run}' needs more than a yes: {ways}")
        await tell_answer(store, request, True, screen)
    await next_step(store, row, screen, hints)


async def tell_answer(store: Store, request: OpenRequest, value: Any, screen: Screen) -> None:
    """Put an answer into the inbox. Raises NotOpen when somebody was faster."""
    await answer(store, request.run, request.key, value)
    screen.say(f"answered {request.key} ({question(request)})")


async def next_step(store: Store, row: IndexRow, screen: Screen, hints: Hints) -> None:
    """Say what is still open, and who goes on."""
    root = await store.get(row.root)
    for request in await open_requests(store, root):
        screen.say(f"still open: {request.key} ({question(request)})", "yellow")
    if root.owner is not None:
        screen.say(f"process {_pid(root)} holds the run and goes on by itself")
    else:
        screen.say(f"go on with: {hints.resume(row.root)}")


def _pid(row: IndexRow) -> str:
    return (row.owner or "").partition("-")[0]


async def ask_owner(store: Store, row: IndexRow, kind: Literal["stop", "cancel"], screen: Screen) -> None:
    """Tell a run's living owner to stop or cancel it, and wait a moment to see that it did."""
    await send(store, row.run, kind)
    until = time.monotonic() + PATIENCE_SECONDS
    seen = await store.get(row.run)
    while seen.standing == "running" and time.monotonic() < until:
        await asyncio.sleep(0.05)
        seen = await store.get(row.run)
    if seen.standing == "running":
        when = "finishes its node" if kind == "stop" else "takes it in"
        screen.say(f"process {_pid(row)} was told to {kind} run {row.run}; it rests when it {when}")
    else:
        screen.say(f"run {row.run} is {seen.standing} at '{seen.node}'")


def rejection(request: OpenRequest, message: str | None, hints: Hints) -> Any:
    """The answer that says no. Raises UserError where no isn't an answer."""
    if request.kind == APPROVAL:
        return False if message is None else {"approve": False, "message": message}
    if not can_be_approved(request):
        raise UserError(f"'{request.key}' needs more than a no: {' or '.join(hints.answers(request))}")
    if message is not None:
        raise UserError(f"'{request.key}' isn't a tool call, and nobody would read the message: leave it out")
    return False
