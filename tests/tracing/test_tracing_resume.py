"""However a run is driven, on whichever side of a pause or a crash: the same spans."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tracing_making import Kept, everything, forms, name_of, of_facts, refund, said, weather

from flowcore import Agent, MemoryStore, SqliteStore, answer, load, resume, set_trace_processors, start
from flowcore.testing import Crash, CrashingStore, finish, function_call, journals
from flowcore.tracing import spans_of

META = {"trace": {"workflow_name": "Agent workflow"}}


def derived(kept: Kept) -> dict[str, Any]:
    """What was told of that facts give, by id."""
    return of_facts(forms(kept.ended))


async def test_a_run_that_waits_goes_on_in_another_process_with_the_same_spans(kept: Kept, tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "runs.db")
    run = await start(everything(), "hi", store=store, run_id="r", meta=META)
    assert await run.drive() == "waiting"
    await store.close()
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, Path(__file__).parent / "tracing_elsewhere.py", tmp_path / "runs.db", "r"],
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout)
    assert told["standing"] == "done"
    assert "trace+" not in [one for one, _ in told["log"]]
    assert told["log"][-1][0] == "trace-"
    here = derived(kept)
    there = of_facts(told["spans"])
    assert not here.keys() & there.keys()
    opened = {one.span_id for one in kept.started} - {one.span_id for one in kept.ended}
    assert opened <= there.keys()  # what was open ended there
    again = SqliteStore(tmp_path / "runs.db")
    whole = forms(spans_of(await journals(again, "r"), everything()))
    await again.close()
    assert {**here, **there} == json.loads(json.dumps(of_facts(whole)))


async def test_a_run_that_is_opened_anew_at_each_rest_gives_the_same_spans(kept: Kept) -> None:
    reference = await start(everything(), "hi", run_id="r", meta=META, store=MemoryStore())
    await finish(reference)
    expected, started = derived(kept), len(kept.started)
    kept.__init__()  # type: ignore[misc]
    store = MemoryStore(keep_bytes=True)
    run = await start(everything(), "hi", run_id="r", meta=META, store=store)
    openings = 0
    while run.standing != "done":
        async with run:
            async for _ in run:
                break
        for request in await run.requests():
            await answer(store, request.run, request.key, True)
        openings += 1
        run = await load("r", everything(), store=store)
        if run.standing == "stopped":
            run = await resume("r", everything(), store=store)
    assert openings > 10
    assert derived(kept) == expected
    assert len(kept.started) == started
    assert [one for one, _ in kept.log if "trace" in one] == ["trace+", "trace-"]


async def test_a_crash_after_any_fact_changes_no_span(kept: Kept) -> None:
    calm = MemoryStore(keep_bytes=True)
    counting = CrashingStore(calm)
    await finish(await start(everything(), "hi", run_id="r", meta=META, store=counting))
    reference = derived(kept)
    assert of_facts(forms(spans_of(await journals(calm, "r"), everything()))) == reference
    for k in range(1, counting.written + 1):
        kept.__init__()  # type: ignore[misc]
        left = MemoryStore(keep_bytes=True)
        crashing = CrashingStore(left, k)
        before = asyncio.all_tasks()
        try:
            await finish(await start(everything(), "hi", run_id="r", meta=META, store=crashing))
        except Crash:
            pass
        tasks = asyncio.all_tasks() - before
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await crashing.bury()
        seen = derived(kept)
        kept.ended.clear()
        run = await resume("r", everything(), store=left) if (await left.get("r")).standing != "done" else None
        if run is not None:
            await finish(run)
        after = derived(kept)
        assert not seen.keys() & after.keys(), k
        found = {**seen, **after}
        assert found == {id: reference[id] for id in found}, k
        # What the last fact before the crash ended was told to nobody; the journal has it.
        assert of_facts(forms(spans_of(await journals(left, "r"), everything()))) == reference, k
        assert len(reference) - len(found) <= 6, k


async def test_facts_that_somebody_else_wrote_meanwhile_are_known(kept: Kept) -> None:
    store = MemoryStore(keep_bytes=True)

    def agent() -> Agent[Any]:
        calls = [function_call("refund", {"order": one}, str(one)) for one in (1, 2)]
        return Agent("A", model=said(calls, "ok"), tools=[refund])

    mine = await start(agent(), "hi", run_id="r", store=store)
    await mine.drive()
    other = await load("r", agent(), store=store)
    await other.answer("1")
    await other.drive()
    await mine.answer("2")
    await mine.drive()
    assert mine.standing == "done"
    assert sorted(name_of(one) for one in kept.ended) == sorted(
        ["generation", "function refund", "function refund", "turn 1", "generation", "turn 2", "agent A", "task A"]
    )
    assert len(forms(kept.ended)) == 8


async def test_a_fork_is_a_trace_of_its_own(kept: Kept) -> None:
    agent: Any = Agent("A", model=said(function_call("weather", {"city": "Rome"}), "warm"), tools=[weather])
    run = await start(agent, "hi")
    await finish(run)
    first = {one.span_id for one in kept.ended}
    kept.__init__()  # type: ignore[misc]
    at = next(fact.seq for fact in run.facts if getattr(fact, "to", None) == "run_tools")
    fork = await run.fork(at)
    await finish(fork)
    assert [name_of(one) for one in kept.started] == [
        "task A", "agent A", "turn 1", "function weather", "turn 2", "generation",
    ]  # fmt: skip
    assert {one.span_id for one in kept.started} == {one.span_id for one in kept.ended}
    assert not first & {one.span_id for one in kept.ended}
    assert [one for one, _ in kept.log if "trace" in one] == ["trace+", "trace-"]
    assert {one.trace_id for one in kept.ended} == {kept.traces[0].trace_id}


async def test_a_run_begun_untraced_is_traced_from_where_it_goes_on(kept: Kept) -> None:
    store = MemoryStore(keep_bytes=True)
    set_trace_processors([])
    agent: Any = Agent("A", model=said(function_call("refund", {"order": 1}, "c"), "ok"), tools=[refund])
    await (await start(agent, "hi", run_id="r", store=store)).drive()
    set_trace_processors([kept])
    run = await load("r", agent, store=store)
    await finish(run)
    assert [name_of(one) for one in kept.ended][:2] == ["function refund", "turn 1"]
    assert kept.of("turn")[0].parent_id == kept.of("agent")[0].span_id
