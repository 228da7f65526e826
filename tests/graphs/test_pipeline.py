"""graphs/pipeline.py: each of its edges, and that the table is written whole whatever happens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from graphs_loading import GRAPHS, load_file
from graphs_ways import ways

from flowcore import start
from flowcore.testing import ManualClock, assert_path, kill_everywhere

SAMPLE = str(GRAPHS / "orders.csv")
TOTALS = {"teapot": 96.0, "vase": 49.9, "lamp": 223.5}


@pytest.fixture
def pipeline(tmp_path: Path) -> Any:
    """``graphs/pipeline.py``, writing into a folder of the test's."""
    module = load_file("pipeline")
    module.OUTPUT = tmp_path / "out" / "totals.json"
    return module


def totals(pipeline: Any) -> Any:
    return json.loads(pipeline.OUTPUT.read_bytes())


async def test_rows_that_do_not_fit_are_told_and_the_others_are_added_up(pipeline: Any) -> None:
    result = await ways(pipeline.graph, SAMPLE)
    assert_path(
        result,
        ["load", ("validate", "otherwise"), "report", "transform", ("write", "written")],
    )
    assert totals(pipeline) == TOTALS
    assert result.output[0] == "2 of 6 rows are left out"
    assert result.output[1].startswith("line 5: count")


async def test_a_table_without_faults_needs_no_report(pipeline: Any, tmp_path: Path) -> None:
    table = tmp_path / "good.csv"
    table.write_text("item,count,price\nteapot,2,32.00,blue,round\n")
    result = await (await start(pipeline.graph, str(table)))
    assert_path(result, ["load", ("validate", "wrong is empty"), "transform", "write"])
    assert totals(pipeline) == {"teapot": 64.0}


async def test_a_table_without_a_row_that_fits_writes_nothing(pipeline: Any, tmp_path: Path) -> None:
    table = tmp_path / "bad.csv"
    table.write_text("item,count,price\n,0,free\n")
    result = await (await start(pipeline.graph, str(table)))
    assert_path(result, ["load", ("validate", "orders is empty"), "nothing"])
    assert not pipeline.OUTPUT.exists()


async def test_a_missing_table_takes_its_edge_without_a_second_try(pipeline: Any) -> None:
    result = await (await start(pipeline.graph, "no-such-table.csv"))
    assert_path(result, [("load", "FileNotFoundError"), "missing"])
    assert result.output == ["there is no file no-such-table.csv"]


async def test_a_disk_that_falters_is_tried_again(pipeline: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    left = [OSError("busy"), OSError("busy")]

    def falters(*given: Any, **more: Any) -> Any:
        if left:
            raise left.pop()
        return open(*given, **more)

    monkeypatch.setattr(pipeline, "open", falters, raising=False)
    clock = ManualClock()
    result = await (await start(pipeline.graph, SAMPLE, clock=clock))
    assert_path(result, [("load", "retry"), ("load", "retry"), ("load", "done"), ...])
    assert len(clock.waits) == 2
    assert totals(pipeline) == TOTALS


async def test_a_disk_that_stays_away_fails_the_run_which_goes_on_later(
    pipeline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*given: Any) -> None:
        raise OSError("read-only")

    run = await start(pipeline.graph, SAMPLE, clock=ManualClock())
    with monkeypatch.context() as patch:
        patch.setattr(pipeline.os, "replace", gone)
        assert await run.drive() == "failed"
    assert run.place == "write"
    await run.resume()
    assert (await run).standing == "done"
    assert totals(pipeline) == TOTALS


async def test_killed_after_any_fact_it_writes_the_same_table(pipeline: Any, make_store: Any) -> None:
    kills = await kill_everywhere(pipeline.graph, SAMPLE, store=make_store)
    assert (kills.standing, kills.kills) == ("done", 6)
    assert totals(pipeline) == TOTALS
    assert [one.name for one in pipeline.OUTPUT.parent.iterdir() if one == pipeline.OUTPUT] == ["totals.json"]


def test_nothing_is_written_that_was_not_validated(pipeline: Any) -> None:
    assert pipeline.graph.always_before("validate", "write")
    assert pipeline.graph.bounded() <= 10
