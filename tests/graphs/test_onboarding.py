"""graphs/onboarding.py: the form, the deadline, the reminder, and the timer; time is moved by hand."""

from __future__ import annotations

from typing import Any

import pytest
from graphs_loading import load_file
from graphs_ways import ways

from flowcore import MemoryStore, Run, UpdateError, load, resume, start
from flowcore.stores.base import OpenRequest
from flowcore.testing import ManualClock, assert_path, kill_everywhere

ANN = {"name": "Ann", "team": "support"}
DAY = 86_400.0
NEWCOMER = {"email": "ann@example.org", "day": DAY}
FILLED_IN = ["prepare", ("settle", "settled"), "check_in"]


@pytest.fixture
def graph() -> Any:
    return load_file("onboarding").graph


async def begin(graph: Any, clock: ManualClock, **more: Any) -> Run:
    run = await start(graph, NEWCOMER, clock=clock, **more)
    await run.drive()
    return run


async def test_a_form_that_is_filled_in_is_acted_on_and_we_ask_again_a_day_later(graph: Any) -> None:
    clock = ManualClock()
    run = await begin(graph, clock)
    (request,) = await run.requests()
    assert (request.key, request.kind) == ("form-1", "form")
    assert request.schema["properties"]["team"]["enum"] == ["support", "sales", "kitchen"]
    clock.advance(DAY)
    await run.answer(value=ANN)
    result = await run
    assert_path(result, ["invite", ("form", "filled_in"), *FILLED_IN])
    assert clock.waits[-1] == pytest.approx(1_700_000_000 + 2 * DAY)
    assert result.output[1:] == [
        "to ann@example.org: Hello Ann, support expects you, your laptop is on its way.",
        "to ann@example.org: Ann, how was your first day?",
    ]


@pytest.mark.parametrize("wrong", [{"name": "Ann"}, {"name": "", "team": "sales"}, {"name": "Ann", "team": "x"}, True])
async def test_an_answer_that_does_not_fit_is_refused_and_the_run_waits_on(graph: Any, wrong: Any) -> None:
    run = await begin(graph, ManualClock())
    with pytest.raises(UpdateError):
        await run.answer(value=wrong)
    assert len(await run.requests()) == 1


async def test_who_lets_the_deadline_pass_is_reminded(graph: Any) -> None:
    clock = ManualClock()
    run = await begin(graph, clock)
    clock.advance(3 * DAY + 1)
    await run.drive()
    (request,) = await run.requests()
    assert request.key == "form-2"
    assert "Is everything all right?" in request.data
    await run.answer(value=ANN)
    assert_path(await run, ["invite", ("form", "late"), "remind", ("form", "filled_in"), *FILLED_IN])


async def test_who_never_answers_is_let_go_after_the_reminder(graph: Any) -> None:
    clock = ManualClock()
    run = await begin(graph, clock)
    for _ in range(2):
        clock.advance(3 * DAY + 1)
        await run.drive()
    result = await run
    assert_path(
        result, ["invite", ("form", "late"), ("remind", "done"), ("form", "late"), ("remind", "limit"), "close"]
    )
    assert len(result.output) == 3, "one reminder, and no second one with the farewell"


async def test_a_deadline_passes_while_no_process_lives(graph: Any) -> None:
    clock, store = ManualClock(), MemoryStore(keep_bytes=True)
    async with await begin(graph, clock, store=store) as run:
        pass
    clock.advance(4 * DAY)
    run = await resume(run.id, graph, store=store, clock=clock)
    await run.drive()
    assert run.path()[1].on == "late"


async def test_the_timer_is_slept_through_once_and_not_begun_anew_by_another_process(graph: Any) -> None:
    clock, store = ManualClock(auto=False), MemoryStore(keep_bytes=True)
    run = await begin(graph, clock, store=store)
    await run.answer(value=ANN)
    async with run:
        async for _ in run:
            if run.place == "settle" and run.standing == "waiting":
                break
    clock.advance(DAY / 2)
    assert (await load(run.id, graph, store=store, clock=clock)).place == "settle"
    clock.advance(DAY / 2)
    again = await resume(run.id, graph, store=store, clock=clock)
    assert (await again).standing == "done"
    assert set(clock.waits) <= {clock.now}, "nobody waits for another moment: a timer begun anew would end a day later"


def fill_in(request: OpenRequest) -> dict[str, str]:
    return ANN


async def test_run_stream_and_reopened_are_the_same_walk(graph: Any) -> None:
    result = await ways(graph, NEWCOMER, answers=fill_in, clock=ManualClock())
    assert_path(result, ["invite", "form", *FILLED_IN])


async def test_killed_after_any_fact_no_letter_is_missing_or_doubled(graph: Any, make_store: Any) -> None:
    kills = await kill_everywhere(graph, NEWCOMER, store=make_store, answers=fill_in, clock=ManualClock())
    assert kills.standing == "done"
    assert len(kills.output) == 3


def test_nobody_is_expected_who_has_not_filled_in_the_form(graph: Any) -> None:
    assert graph.always_before(("form", "filled_in"), "prepare")
    assert graph.bounded() <= 8
