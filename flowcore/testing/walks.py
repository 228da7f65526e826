"""Comparing walks: two ways of running the same thing must give the same one."""

from __future__ import annotations

import difflib
import pprint
from collections.abc import Sequence
from typing import Any

from flowcore.machine.facts import Fact
from flowcore.machine.walk import same_form
from flowcore.stores.base import Store


async def journals(store: Store, root: str) -> dict[str, list[Fact]]:
    """The journals of a tree of runs by run id."""
    found: dict[str, list[Fact]] = {root: await store.read(root)}
    after: str | None = None
    while True:
        page = await store.runs(root=root, limit=200, after=after)
        for row in page.runs:
            if row.run not in found:
                found[row.run] = await store.read(row.run)
        after = page.after
        if after is None:
            return found


def walk_form(walk: Any) -> Any:
    """The normal form of a walk: of a list of facts, of something with ``.facts``, or of a tree's journals by run id.

    Run ids are left out: a tree's journals are named by what follows the root's id.
    """
    if isinstance(walk, dict):
        root = min(walk, key=len)
        return {run[len(root) :]: same_form(facts) for run, facts in sorted(walk.items())}
    facts: Sequence[Fact] = walk if isinstance(walk, (list, tuple)) else walk.facts
    return same_form(facts)


def same_walk(one: Any, other: Any) -> bool:
    """Whether two walks are the same: equal facts once times, ids, nonces and intents are left out and the facts
    within a visit
    are ordered by key. Raises AssertionError with a readable difference where they aren't."""
    return _same(walk_form(one), walk_form(other))


def same_moves(one: dict[str, list[Fact]], other: dict[str, list[Fact]]) -> bool:
    """``same_walk`` of trees, of which one was closed on its way."""
    return _same(moves(walk_form(one)), moves(walk_form(other)))


def moves(walk: Any) -> Any:
    """The normal form of a tree's walk without the usage of single facts: what was spent beside others is written with
    whichever fact comes next, and that's another one where a run is closed or killed in between."""
    return walk and {
        run: [
            (place, effects, [one[:-1] if one[0] == "transition" else one for one in moved])
            for place, effects, moved in visits
        ]
        for run, visits in walk.items()
    }


def _same(a: Any, b: Any) -> bool:
    if a == b:
        return True
    lines = difflib.unified_diff(
        pprint.pformat(a, width=110).splitlines(),
        pprint.pformat(b, width=110).splitlines(),
        "one",
        "other",
        lineterm="",
    )
    raise AssertionError("the walks differ:\n" + "\n".join(lines))
