"""What is killed where nobody gives a graph: agents that use all that the loop has. Their model is a script.

A call alone and calls side by side, a helper that is a child run, an approval, a call that may not be repeated unasked
(its intent is committed first), guardrails before and beside the model, a handoff, a session.
"""

from typing import Any

from flowcore import (
    Agent,
    GuardrailFunctionOutput,
    ToolContext,
    Usage,
    function_tool,
    handoff,
    input_guardrail,
    output_guardrail,
)
from flowcore.testing import ScriptedModel, function_call
from flowcore.testing.faults.watching import WATCH


@function_tool
async def look_up(ctx: ToolContext[Any], order: int) -> str:
    """Look an order up."""
    await WATCH.work(ctx.idempotency_key)
    return f"order {order}: a vase"


@function_tool(needs_approval=True)
async def refund(ctx: ToolContext[Any], order: int) -> str:
    """Pay an order back."""
    await WATCH.work(ctx.idempotency_key)
    return f"order {order} is paid back"


@function_tool(on_crash="ask")
async def ship(ctx: ToolContext[Any], order: int) -> str:
    """Send a new one; nobody wants two."""
    await WATCH.work(ctx.idempotency_key)
    return f"order {order} is sent again"


@input_guardrail(run_in_parallel=False)
async def polite(ctx: Any, agent: Any, input: Any) -> GuardrailFunctionOutput:
    """Judge before the model is asked."""
    return GuardrailFunctionOutput("polite", False)


@input_guardrail
async def sane(ctx: Any, agent: Any, input: Any) -> GuardrailFunctionOutput:
    """Judge beside the model."""
    return GuardrailFunctionOutput("sane", False)


@output_guardrail
async def kind(ctx: Any, agent: Any, output: Any) -> GuardrailFunctionOutput:
    """Judge the answer."""
    return GuardrailFunctionOutput("kind", False)


def calls(name: str, *orders: int) -> list[Any]:
    """Calls of a tool, side by side."""
    return [function_call(name, {"order": order}) for order in orders]


USAGE = Usage(requests=1, input_tokens=10, output_tokens=5, total_tokens=15)


def scripted(*steps: Any) -> ScriptedModel:
    """A model that says these, turn by turn."""
    return ScriptedModel.by_turn(steps, usage=USAGE)


helper: Agent[Any] = Agent(
    name="Helper", model=scripted(calls("look_up", 10), calls("look_up", 11, 12), "All three."), tools=[look_up]
)
script = scripted(
    calls("look_up", 1),
    [*calls("look_up", 2, 3), function_call("ask_helper", {"input": "Which were there?"})],
    [*calls("look_up", 4), *calls("refund", 4)],
    [*calls("ship", 4), *calls("look_up", 5)],
    function_call("transfer_to_farewell"),
    calls("look_up", 6),
    "It's on its way.",
)
farewell: Agent[Any] = Agent(name="Farewell", model=script, tools=[look_up], output_guardrails=[kind])
graph: Agent[Any] = Agent(
    name="Clerk",
    model=script,
    tools=[look_up, refund, ship, helper.as_tool("ask_helper", "Ask the helper.")],
    handoffs=[handoff(farewell)],
    input_guardrails=[polite, sane],
)
