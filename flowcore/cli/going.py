"""Moving a run from a terminal: print what happens, ask what it asks, go on, until it rests for good."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flowcore.cli import words
from flowcore.cli.asking import APPROVAL, LATE, LEFT, ask
from flowcore.cli.exits import STOPPED
from flowcore.cli.hints import Hints
from flowcore.cli.interrupts import Interrupts, leave_soon
from flowcore.cli.live import Live
from flowcore.cli.records import dumped
from flowcore.cli.screen import Screen
from flowcore.cli.summary import Summary
from flowcore.engine.run import Run, answer
from flowcore.errors import NotOpen, UpdateError
from flowcore.stores.base import OpenRequest


@dataclass(frozen=True, slots=True)
class Manner:
    """How a command goes about it. ``yes``: approve every tool call. ``asks``: a person can be asked."""

    hints: Hints
    yes: bool = False
    asks: bool = False
    json: bool = False


async def go(run: Run, screen: Screen, manner: Manner) -> int:
    """Move a run until it rests and nobody here can or will answer it; the exit code."""
    live = Live(screen, run) if screen.live else None
    while True:
        with Interrupts([run], screen) as interrupts:
            await _move(run, live)
        if run.standing != "waiting" or interrupts.ended:
            break
        requests = await run.requests()
        if not requests or not await answered(run, requests, screen, manner):
            break
    summary = Summary(run, await run.result(), await run.store.get(run.id), manner.hints)
    if manner.json:
        screen.result(dumped(summary.record()))
    else:
        summary.print(screen)
    code = STOPPED if interrupts.ended else summary.code
    if code == STOPPED:
        leave_soon(code)
    return code


async def _move(run: Run, live: Live | None) -> None:
    if live is None:
        await run.drive()  # nobody reads: models needn't stream
        return
    async for event in run:
        live.event(event)


async def answered(run: Run, requests: list[OpenRequest], screen: Screen, manner: Manner) -> bool:
    """Answer open requests, each as soon as its answer is known; whether the run can go on now.

    An answer that others gave meanwhile counts, and so does a deadline that has passed.
    """
    due = (await run.store.get(run.id)).due
    for request in requests:
        while True:
            given = await _answer_to(request, screen, manner, due)
            if given is LEFT:
                return False
            if given is LATE:
                screen.say("  it's too late now", "yellow")
                return True
            try:
                await answer(run.store, request.run, request.key, given)
            except NotOpen:
                screen.say(f"  {words.one_line(request.key)} was answered elsewhere meanwhile", "yellow")
            except UpdateError as error:
                screen.say(f"  {words.clean(error.message)}", "red")
                continue
            break
    return True


async def _answer_to(request: OpenRequest, screen: Screen, manner: Manner, due: float | None) -> Any:
    """What this command, or the person before it, says to a request."""
    if manner.yes and request.kind == APPROVAL:
        return True
    return await ask(screen, request, due) if manner.asks else LEFT
