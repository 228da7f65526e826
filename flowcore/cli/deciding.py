"""``approve``, ``reject``, ``answer``: the commands that tell a run what a person decided. Each gives its exit code."""

from __future__ import annotations

from flowcore.cli import exits, letters
from flowcore.cli.asking import parsed
from flowcore.cli.hints import Hints
from flowcore.cli.places import find_run, opened
from flowcore.cli.screen import Screen


async def approve(screen: Screen, where: str, name: str, call: str | None, all_of_them: bool, hints: Hints) -> int:
    """Say yes."""
    async with opened(where) as store:
        await letters.approve(store, await find_run(store, name), call, all_of_them, screen, hints)
    return exits.DONE


async def reject(screen: Screen, where: str, name: str, call: str | None, message: str | None, hints: Hints) -> int:
    """Say no."""
    async with opened(where) as store:
        row = await find_run(store, name)
        request = await letters.pick(store, row, call)
        await letters.tell_answer(store, request, letters.rejection(request, message, hints), screen)
        await letters.next_step(store, row, screen, hints)
    return exits.DONE


async def answer(screen: Screen, where: str, name: str, key: str, value: str, hints: Hints) -> int:
    """Say anything."""
    async with opened(where) as store:
        row = await find_run(store, name)
        request = await letters.pick(store, row, key)
        await letters.tell_answer(store, request, parsed(value, request.schema), screen)
        await letters.next_step(store, row, screen, hints)
    return exits.DONE
