"""What a tool declares and the loop doesn't do yet is refused, not ignored."""

from __future__ import annotations

from typing import Any

import pytest

from flowcore import Agent, UserError, function_tool


@pytest.mark.parametrize(
    "declared",
    [
        {"tool_input_guardrails": [object()]},
        {"tool_output_guardrails": [object()]},
        {"custom_data_extractor": lambda data: None},
        {"defer_loading": True},
    ],
    ids=lambda one: next(iter(one)),
)
def test_a_tool_that_relies_on_what_is_not_run_is_refused(declared: dict[str, Any]) -> None:
    @function_tool(**declared)
    def pay() -> str:
        """Pay."""
        return "paid"

    with pytest.raises(UserError, match=f"tool 'pay' has '{next(iter(declared))}', which this version doesn't run"):
        Agent(name="A", tools=[pay])
