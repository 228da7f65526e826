"""graphs/research.py: questions side by side, answers in their order, and a critic that can't go on for ever."""

from __future__ import annotations

import json
from typing import Any

import pytest
from graphs_loading import load_file, options
from graphs_ways import ways

from flowcore import start
from flowcore.testing import ModelCall, ModelStep, ScriptedModel, assert_path, kill_everywhere

QUESTIONS = ["Who dances?", "Where do they dance?", "Who watches?"]
BEGINNING = ["plan_questions", "split", "answer", "join"]


@pytest.fixture
def graph() -> Any:
    return load_file("research").graph


def scholars(*verdicts: str, questions: list[str] = QUESTIONS) -> ScriptedModel:
    """Each role's replies; the n-th report is "report n", and the critic says of it the n-th verdict."""

    def reply(call: ModelCall) -> Any:
        role = (call.system_instructions or "").split()[0]
        text = dict(call.input[0])["content"]
        if role == "Ask":
            return json.dumps({"questions": questions})
        if role == "Answer":  # the first takes longest: the order is the questions' all the same
            return ModelStep(f"About: {text}", delay=0.002 * (3 - questions.index(text)))
        number = next((n for n in range(9, 0, -1) if f"report {n}" in text), 0)
        return json.dumps({"verdict": verdicts[number - 1]}) if role == "Judge" else f"report {number + 1}"

    return ScriptedModel.by_turn(reply)


async def test_a_report_that_is_good_ends_the_run(graph: Any) -> None:
    result = await ways(graph, "bees", context=lambda: options(scholars("good")))
    assert_path(result, [*BEGINNING, "write", ("criticize", "critique.verdict == 'good'")])
    assert result.output == "report 1"
    assert list(result.state.answers) == [f"About: {one}" for one in QUESTIONS]


async def test_the_critic_sends_it_back_with_a_cure(graph: Any) -> None:
    model = scholars("too short", "good")
    result = await (await start(graph, "bees", context=options(model)))
    assert_path(result, [*BEGINNING, "write", ("criticize", "otherwise"), "revise", "write", "criticize"])
    told = [dict(call.input[0])["content"] for call in model.calls if "reports" in (call.system_instructions or "")]
    assert told[1] == "Write a little more. This is the report:\n\nreport 1"


async def test_a_critic_that_is_never_content_is_heard_twice_more(graph: Any) -> None:
    result = await ways(graph, "bees", context=lambda: options(scholars("unclear", "unclear", "too short")))
    again = ["write", ("criticize", "otherwise"), "revise"]
    assert_path(result, [*BEGINNING, *again, *again, *again, ("write", "limit")])
    assert result.output == "report 3"


async def test_a_question_that_is_asked_twice_is_answered_once(graph: Any) -> None:
    model = scholars("good", questions=[QUESTIONS[0], QUESTIONS[0]])
    result = await (await start(graph, "bees", context=options(model)))
    assert list(result.state.questions) == QUESTIONS[:1]


async def test_killed_after_any_fact_it_comes_to_the_same_report(graph: Any, make_store: Any) -> None:
    kills = await kill_everywhere(
        graph, "bees", store=make_store, every=make_store.every(4),
        context=lambda: options(scholars("unclear", "good")),
    )  # fmt: skip
    assert (kills.standing, kills.output) == ("done", "report 2")


def test_the_critic_can_send_it_back_only_so_often(graph: Any) -> None:
    assert graph.bounded(waits=0) <= 14
    assert graph.always_before("join", "write")
