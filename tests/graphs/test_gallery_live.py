"""Graphs with agents inside, on the embedded model: they end and their structure holds; wording is never asserted."""

from __future__ import annotations

from typing import Any

import pytest
from graphs_loading import load_file

from flowcore import start
from flowcore.models import close_models

pytestmark = pytest.mark.real_model


@pytest.fixture(autouse=True)
async def embedded(monkeypatch: pytest.MonkeyPatch) -> Any:
    """No model is named and the environment names none: it's the embedded one."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    yield
    await close_models()


async def test_research_ends_with_a_report_on_two_or_three_questions() -> None:
    result = await (await start(load_file("research").graph, "why bees dance"))
    assert [step.node for step in result.path][:5] == ["plan_questions", "split", "answer", "join", "write"]
    assert 1 <= len(result.state.questions) == len(result.state.answers) <= 3
    assert result.output


async def test_extract_reads_most_invoices_and_believes_none_that_it_cannot_find_in_the_text() -> None:
    result = await (await start(load_file("extract").graph, 9))
    failed = {one["index"] for one in result.state.failed}
    assert 8 in failed, "an empty page"
    assert len(failed) < 9
    assert {at for at, one in enumerate(result.state.found) if one is None} == failed
    assert result.path[-1].node in ("add_up", "too_few")
