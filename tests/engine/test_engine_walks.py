"""Any two ways of running the same thing give the same walk, on every store."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from engine_graphs import CASES, THREE, iterate, reborn

from flowcore.engine.run import start
from flowcore.stores.base import Store
from flowcore.testing import ManualClock, finish, journals, kill_everywhere, same_walk


@THREE
@pytest.mark.parametrize("name", CASES)
async def test_a_kill_after_any_fact_changes_nothing(name: str, make_store: Callable[[], Store]) -> None:
    case = CASES[name]
    kills = await kill_everywhere(
        case.make, case.input, store=make_store, answers=case.answers, limits=case.limits, clock=ManualClock()
    )
    assert kills.standing == case.standing
    assert kills.kills > 2


@pytest.mark.parametrize("name", CASES)
async def test_running_reading_and_being_reborn_at_every_fact_give_the_same_walk(
    name: str, make_store: Callable[[], Store]
) -> None:
    case = CASES[name]
    one, two, three = make_store(), make_store(), make_store()
    run = await start(case.make(), case.input, store=one, run_id="r", clock=ManualClock(), limits=case.limits)
    assert await finish(run, case.answers) == case.standing
    reference = await journals(one, "r")
    assert same_walk(reference, await iterate(case, two, "r"))
    assert same_walk(reference, await reborn(case, three, "r"))
    for store in (one, two, three):
        await store.close()
