"""graphs/review_loop.py: the loop ends on a good mark, or at its limit with the best draft."""

from __future__ import annotations

import json
from typing import Any

import pytest
from graphs_loading import load_file, options
from graphs_ways import ways

from flowcore import start
from flowcore.testing import ModelCall, ScriptedModel, assert_path, kill_everywhere

PRODUCT = "a teapot that never drips"
ROUND = ["brief", ("write", "done"), "judge"]


@pytest.fixture
def graph() -> Any:
    return load_file("review_loop").graph


def follows(marks: dict[str, tuple[int, str]]) -> ScriptedModel:
    """A writer whose n-th draft is "draft n", and an evaluator that marks each as given."""

    def reply(call: ModelCall) -> str:
        (asked,) = call.input
        text = dict(asked)["content"]
        if call.output_schema is None:
            before = next((n for n in range(len(marks), 0, -1) if f"draft {n}" in text), 0)
            return f"draft {before + 1}"
        score, weakness = marks[text]
        return json.dumps({"score": score, "weakness": weakness})

    return ScriptedModel.by_turn(reply)


GOOD_AT_LAST = {"draft 1": (4, "too long"), "draft 2": (9, "none")}
NEVER_GOOD = {"draft 1": (4, "too long"), "draft 2": (7, "too dry"), "draft 3": (7, "too vague")}


async def test_a_draft_is_written_again_until_it_is_good(graph: Any) -> None:
    result = await ways(graph, PRODUCT, context=lambda: options(follows(GOOD_AT_LAST)))
    assert_path(result, [*ROUND, ("keep", "otherwise"), *ROUND, ("keep", "review.score >= 8"), "choose"])
    assert result.output == "draft 2"


async def test_the_writer_is_told_what_was_found(graph: Any) -> None:
    model = follows(GOOD_AT_LAST)
    await (await start(graph, PRODUCT, context=options(model)))
    told = [dict(call.input[0])["content"] for call in model.calls if call.output_schema is None]
    assert "last draft" not in told[0]
    assert "draft 1" in told[1]
    assert "Make it shorter." in told[1]


async def test_after_three_drafts_the_best_one_is_taken(graph: Any) -> None:
    result = await ways(graph, PRODUCT, context=lambda: options(follows(NEVER_GOOD)))
    again = [*ROUND, ("keep", "otherwise")]
    assert_path(result, [*again, *again, *again, "brief", ("write", "limit"), "choose"])
    assert result.output == "draft 2"
    assert [draft.review.score for draft in result.state.drafts] == [4, 7, 7]


async def test_killed_after_any_fact_it_comes_to_the_same_draft(graph: Any, make_store: Any) -> None:
    kills = await kill_everywhere(
        graph,
        PRODUCT,
        store=make_store,
        context=lambda: options(follows(GOOD_AT_LAST)),
    )
    assert (kills.standing, kills.output) == ("done", "draft 2")


def test_the_loop_is_bounded_and_every_draft_is_judged(graph: Any) -> None:
    assert graph.bounded(waits=0) <= 15
    assert graph.always_before("judge", "keep")
