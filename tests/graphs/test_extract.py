"""graphs/extract.py: a hundred documents, and that those which fail take no other with them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from graphs_loading import load_file, options
from graphs_ways import ways

from flowcore import MemoryStore, start
from flowcore.testing import ModelCall, ScriptedModel, assert_path, kill_everywhere


@pytest.fixture
def extract() -> Any:
    return load_file("extract")


def reads(misread: int | None = None) -> ScriptedModel:
    """A model that reads, but for the invoice of one number."""

    def reply(call: ModelCall) -> str:
        number, total = map(int, re.findall(r"(?:number: |\$)(\d+)", dict(call.input[0])["content"]))
        return json.dumps({"number": number, "total": 999 if number == misread else total})

    return ScriptedModel.by_turn(reply)


async def test_a_hundred_documents_of_which_some_cannot_be_read(extract: Any) -> None:
    model = reads(misread=1000)
    result = await (await start(extract.graph, 100, context=options(model)))
    assert_path(result, ["collect", "extract", ("weigh", "enough"), "add_up"])
    assert [one["index"] for one in result.state.failed] == [0, 8, 17, 26, 35, 44, 53, 62, 71, 80, 89, 98]
    assert result.state.failed[0]["message"] == "the text has no total 999"
    assert result.state.failed[1] == {"index": 8, "kind": "ValueError", "message": "the page is empty"}
    assert result.state.found[1].number == 1037
    assert [one is None for one in result.state.found] == [
        any(failed["index"] == at for failed in result.state.failed) for at in range(100)
    ]
    assert result.output == "88 of 100 invoices, $6127 in all"
    assert len(model.calls) == 89, "no model is asked about an empty page"


async def test_each_document_is_a_run_of_its_own(extract: Any) -> None:
    store = MemoryStore(keep_bytes=True)
    run = await start(extract.graph, 10, store=store, context=options(reads()))
    await run
    page = await store.runs(root=run.id, limit=200)
    pages = [row for row in page.runs if row.graph == "page"]
    assert sorted(row.standing for row in pages) == ["done"] * 9 + ["failed"]


async def test_a_sum_of_too_few_is_not_given(extract: Any) -> None:
    extract.TOLERATED = 0.05
    result = await (await start(extract.graph, 10, context=options(reads())))
    assert_path(result, [..., ("weigh", "too_few"), "too_few"])
    assert result.output == "1 of 10 invoices can't be read: no sum"


async def test_run_stream_and_reopened_are_the_same_walk(extract: Any) -> None:
    result = await ways(extract.graph, 12, context=lambda: options(reads()))
    assert result.output.startswith("11 of 12 invoices")


async def test_killed_after_any_fact_it_gives_the_same_sum(extract: Any, make_store: Any) -> None:
    every = make_store.every(8)
    kills = await kill_everywhere(extract.graph, 10, store=make_store, context=lambda: options(reads()), every=every)
    assert kills.standing == "done"
    assert kills.output.startswith("9 of 10 invoices")
    assert kills.kills * every > 70


async def test_killed_among_a_hundred_it_gives_the_same_sum(extract: Any) -> None:
    kills = await kill_everywhere(extract.graph, 100, context=lambda: options(reads()), every=150)
    assert kills.output.startswith("89 of 100 invoices")
