# model> @pay {}
# prints> refused
# prints> paid 0
# there> refused
# there> paid 1
import asyncio

from agents import (
    Agent,
    GuardrailFunctionOutput,
    InputGuardrailTripwireTriggered,
    RunHooks,
    Runner,
    function_tool,
    input_guardrail,
)

replied = asyncio.Event()
paid = asyncio.Event()


class Tell(RunHooks):
    async def on_llm_end(self, context, agent, response):
        replied.set()


@input_guardrail
async def slow(ctx, agent, input):
    await replied.wait()
    try:
        await asyncio.wait_for(paid.wait(), timeout=0.3)
    except TimeoutError:
        pass
    return GuardrailFunctionOutput(output_info=None, tripwire_triggered=True)


@function_tool
async def pay() -> str:
    paid.set()
    return "paid"


async def main():
    agent = Agent(name="Cashier", tools=[pay], input_guardrails=[slow])
    try:
        await Runner.run(agent, "Pay!", hooks=Tell())
    except InputGuardrailTripwireTriggered:
        print("refused")
    print("paid", int(paid.is_set()))


asyncio.run(main())
