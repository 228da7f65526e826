"""``verify``: read all that a store keeps and say what is damaged. Gives its exit code."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import Any

from flowcore.cli import exits, words
from flowcore.cli.hints import Hints
from flowcore.cli.places import opened
from flowcore.cli.records import dumped
from flowcore.cli.screen import Screen
from flowcore.errors import UserError
from flowcore.stores.verify import Damage, Verified, check_cursor

AT_ONCE = 1_000
"""Runs after which what was found so far is told."""


async def verify(screen: Screen, where: str, limit: int | None, after: str | None, as_json: bool, hints: Hints) -> int:
    """Verify a store, or a page of it: what is damaged is told as it's found."""
    check_cursor(after)
    total = Verified(after=after)
    left = limit
    async with opened(where) as store:
        if not hasattr(store, "verify"):
            raise UserError(f"{type(store).__name__} keeps its runs in memory, where there's nothing to verify")
        while True:
            page: Verified = await store.verify(limit=min(left or AT_ONCE, AT_ONCE), after=total.after)
            _add(total, page)
            for one in page.damages if not as_json else ():
                _tell(screen, one, hints)
            left = None if left is None else left - page.runs - page.sessions
            if total.after is None or left == 0:
                break
    if as_json:
        screen.result(dumped(_record(total)))
    else:
        _sum_up(screen, total)
    return exits.DONE if total.sound else exits.FAILED


def _add(total: Verified, page: Verified) -> None:
    total.runs += page.runs
    total.facts += page.facts
    total.sessions += page.sessions
    total.damages += page.damages
    total.after = page.after


def _tell(screen: Screen, one: Damage, hints: Hints) -> None:
    of = f"{one.kind} {words.one_line(one.name)}" if one.name else one.kind
    screen.say(f"{of} is damaged: {words.clean(one.error)}", "red")
    screen.say(f"  {one.cure}")
    if one.root is not None:
        screen.say(f"  {hints.delete(one.root)}")


def _sum_up(screen: Screen, total: Verified) -> None:
    read = ", ".join(
        (words.counted(total.runs, "run"), words.counted(total.facts, "fact"), words.counted(total.sessions, "session"))
    )
    what = "nothing is damaged" if total.sound else words.counted(len(total.damages), "damage")
    screen.say(f"{read} read: {what}", "green" if total.sound else "red")
    if total.after is not None:
        screen.say(f"more: --after {shlex.quote(total.after)}", "dim")


def _record(total: Verified) -> dict[str, Any]:
    return {"sound": total.sound, **asdict(total)}
