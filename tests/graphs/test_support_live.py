"""The graphs with the embedded model: structure is asserted, never wording."""

from __future__ import annotations

from typing import Any

import pytest
from graphs_loading import ASKED, DECIDED, END, HANDOFF, SENTENCE, START, TOOL, labels, load_file, rows

from flowcore import Run, start
from flowcore.models import close_models

pytestmark = pytest.mark.real_model


@pytest.fixture(autouse=True)
async def embedded(monkeypatch: pytest.MonkeyPatch) -> Any:
    """No model is named and the environment names none: it's the embedded one."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    yield
    await close_models()


async def begin(support: Any, text: str) -> Run:
    run = await start(support.graph, text, limits={"max_turns": 10})
    await run.drive()
    return run


@pytest.mark.parametrize(
    ("text", "order", "reason"),
    [
        (SENTENCE, 1042, "arrived broken"),
        ("Hello, I don't want the teapot any more (order #1041). Please refund it.", 1041, None),
    ],
)
async def test_a_refund_stops_is_approved_and_is_told(support: Any, text: str, order: int, reason: str | None) -> None:
    run = await begin(support, text)
    assert (run.standing, run.place) == ("waiting", "await_decision")
    assert rows(support.DATABASE) == []
    await run.answer()
    result = await run
    assert result.standing == "done"
    assert labels(run) == START + HANDOFF + TOOL + ASKED + DECIDED + HANDOFF + END
    assert str(order) in result.output
    ((refunded, _, why, _),) = rows(support.DATABASE)
    assert refunded == order
    assert reason in (None, why)
    assert result.usage["requests"] == 5
    assert result.usage["output_tokens"] > 0


async def test_a_rejected_refund_is_told(support: Any) -> None:
    run = await begin(support, SENTENCE)
    await run.answer(value={"approve": False, "message": "It's past the 30 days."})
    result = await run
    assert result.standing == "done"
    assert "30 days" in result.output
    assert rows(support.DATABASE) == []


async def test_a_question_is_answered(support: Any) -> None:
    run = await begin(support, "where is order 1043?")
    assert (await run).output
    assert labels(run) == START + HANDOFF + TOOL + HANDOFF + END


async def test_words_that_leave_a_choice_come_to_a_sensible_end(support: Any) -> None:
    run = await begin(support, "Good morning, what about 1044?")
    assert labels(run)[: len(START + HANDOFF + TOOL)] == START + HANDOFF + TOOL
    assert (run.standing, run.place) in (("done", "finalize"), ("waiting", "await_decision"))


async def test_hello_answers() -> None:
    run = await start(load_file("hello").graph, "Say hello to the world.")
    assert (await run).output
