"""``delete`` and ``prune``: the commands that remove runs. Each gives its exit code."""

from __future__ import annotations

import re
from collections.abc import Sequence

from flowcore.cli import exits, words
from flowcore.cli.places import find_run, is_there, opened
from flowcore.cli.records import dumped
from flowcore.cli.screen import Screen
from flowcore.errors import RunNotFound, StoreError, UserError
from flowcore.stores import Store

SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 604_800}


LONGEST = 1e11
"""Seconds that an age may have: more than since the epoch, less than what no clock can be put back by."""


async def delete(screen: Screen, where: str, name: str, json: bool) -> int:
    """Remove a run and all that is below it."""
    async with opened(where) as store:
        run = await _deleted(store, name)
    if json:
        screen.result(dumped({"runs": [run], "deleted": True}))
    else:
        screen.say(f"deleted run {run} and its children; what it wrote to sessions stays")
    return exits.DONE


async def _deleted(store: Store, name: str) -> str:
    """Delete a run by the beginning of its id, or one whose row is damaged by its whole id."""
    try:
        run = (await find_run(store, name)).run
    except StoreError as damage:
        try:
            await store.delete(name)
        except RunNotFound:
            raise damage from None
        return name
    await store.delete(run)
    return run


async def prune(screen: Screen, where: str, age: str, statuses: Sequence[str], dry_run: bool, json: bool) -> int:
    """Remove old runs that nobody holds."""
    seconds = seconds_of(age)
    found: list[str] = []
    if is_there(where):
        async with opened(where) as store:
            found = await store.prune(seconds, statuses, dry_run=dry_run)
    if json:
        screen.result(dumped({"runs": found, "deleted": not dry_run}))
        return exits.DONE
    which = f"{words.counted(len(found), 'run')} ({' or '.join(statuses)}, unchanged for {words.duration(seconds)})"
    if dry_run:
        if found:
            screen.result("\n".join(map(words.clean, found)))
        screen.say(f"{which} would be deleted; nothing was")
    else:
        screen.say(f"deleted {which}")
    return exits.DONE


def seconds_of(age: str) -> float:
    """An age like ``30d``, ``12h``, ``1.5h``, ``90min``, ``45s`` or ``2w`` in seconds. Raises UserError."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*", age)
    if found is None or found[2] not in SECONDS:
        raise UserError(f"--older-than {age!r}: give a number and a unit, e.g. 30d, 12h, 90min, 45s or 2w")
    seconds = float(found[1]) * SECONDS[found[2]]
    if seconds > LONGEST:
        raise UserError(f"--older-than {words.one_line(age)!r}: no run is older than {words.duration(LONGEST)}")
    return seconds
