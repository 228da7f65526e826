# model> @pay {"amount": 10}
# model> @pay {"amount": 20}
# model> Both are paid.
# prints> asks for pay {"amount": 10}
# prints> tool_output paid 10
# prints> tool_output paid 20
# prints> Both are paid.
import asyncio

from agents import Agent, Runner, RunState, function_tool


@function_tool(needs_approval=True)
async def pay(amount: int) -> str:
    """Pay."""
    return f"paid {amount}"


async def main():
    agent = Agent(name="Cashier", tools=[pay])
    result = Runner.run_streamed(agent, "Pay 10, then 20.")
    async for _ in result.stream_events():
        pass
    while result.interruptions:
        text = result.to_state().to_string()
        state = await RunState.from_string(agent, text)
        for one in state.get_interruptions():
            print("asks for", one.name, one.arguments)
            state.approve(one, always_approve=True)
        result = Runner.run_streamed(agent, state)
        async for event in result.stream_events():
            if event.type == "run_item_stream_event" and event.item.type == "tool_call_output_item":
                print(event.name, event.item.output)
    print(result.final_output)


asyncio.run(main())
