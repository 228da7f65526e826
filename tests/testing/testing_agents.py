"""Agents whose runs take each edge of the loop, with tools that tell whether they were called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from flowcore.agents.guardrails import GuardrailFunctionOutput, input_guardrail
from flowcore.agents.handoffs import handoff
from flowcore.agents.tools import function_tool
from flowcore.errors import ModelError
from flowcore.faces.agent import Agent
from flowcore.testing import ScriptedModel, function_call

TOUCHED: list[Any] = []
"""What the world has seen."""


class Answer(BaseModel):
    n: int


@function_tool
def weather(city: str) -> str:
    """The weather."""
    TOUCHED.append(city)
    return f"22 degrees in {city}"


@function_tool(needs_approval=True)
async def refund(order: int) -> dict[str, int]:
    """Refund an order."""
    TOUCHED.append(order)
    return {"refunded": order}


@input_guardrail
def no_shouting(ctx: Any, agent: Any, input: Any) -> GuardrailFunctionOutput:
    TOUCHED.append("judged")
    return GuardrailFunctionOutput({"loud": str(input).isupper()}, str(input).isupper())


def _says(*steps: Any) -> ScriptedModel:
    return ScriptedModel(list(steps))


def _one_tool() -> Agent[Any]:
    return Agent("one_tool", tools=[weather], model=_says([function_call("weather", {"city": "Rome"})], "warm"))


def _two_tools() -> Agent[Any]:
    calls = [function_call("weather", {"city": city}) for city in ("Rome", "Oslo")]
    return Agent("two_tools", tools=[weather], model=_says(calls, "both"))


def _approval() -> Agent[Any]:
    calls = [
        function_call("weather", {"city": "Rome"}),
        function_call("refund", {"order": 1}),
        function_call("refund", {"order": 2}),
    ]
    return Agent("approval", tools=[weather, refund], model=_says(calls, "done"))


def _handoff() -> Agent[Any]:
    other = Agent("other", model=_says("from the other"), instructions=lambda ctx, agent: str(TOUCHED.append("asked")))
    given = handoff(other, on_handoff=lambda ctx: TOUCHED.append("handed off"))
    return Agent("handoff", handoffs=[given], model=_says([function_call("transfer_to_other")]))


def _filtered() -> Agent[Any]:
    other = Agent("other", model=_says("from the other"))
    given = handoff(other, input_filter=lambda data: data.clone(pre_handoff_items=()))
    return Agent("filtered", handoffs=[given], model=_says([function_call("transfer_to_other")]))


def _guarded() -> Agent[Any]:
    return Agent("guarded", input_guardrails=[no_shouting], model=_says("calm"))


def _typed() -> Agent[Any]:
    return Agent("typed", output_type=Answer, model=_says("nonsense", '{"n": 3}'))


def _flaky() -> Agent[Any]:
    busy = ModelError("busy", status_code=503, retryable=True, retry_after=2.0)
    return Agent("flaky", model=_says(busy, busy, "at last"))


def _refused() -> Agent[Any]:
    return Agent("refused", model=_says(ModelError("no", status_code=400), "never said"))


def _nested() -> Agent[Any]:
    inner = Agent("inner", tools=[refund], model=_says([function_call("refund", {"order": 7})], "inner says"))
    calls = [function_call("inner", {"input": "refund 7"}), function_call("weather", {"city": "Rome"})]
    return Agent("nested", tools=[inner.as_tool(), weather], model=_says(calls, "all done"))


AGENTS: dict[str, tuple[Callable[[], Agent[Any]], str]] = {
    "one tool": (_one_tool, "hi"),
    "two tools": (_two_tools, "hi"),
    "approval": (_approval, "hi"),
    "handoff": (_handoff, "hi"),
    "handoff with a filter": (_filtered, "hi"),
    "guardrail passed": (_guarded, "hi"),
    "guardrail tripped": (_guarded, "HI"),
    "typed output": (_typed, "hi"),
    "retried": (_flaky, "hi"),
    "failed": (_refused, "hi"),
    "agent as a tool": (_nested, "hi"),
}
