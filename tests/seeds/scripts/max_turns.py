# model> @again {}
# model> @again {}
# model> @again {}
# model> @again {}
# model> @again {}
# prints> Max turns (2) exceeded
# prints> Looper 4 2
# prints> Out of turns after 4 items.
# prints> ['tool_call_item', 'tool_call_output_item', 'tool_call_item', 'tool_call_output_item', 'message_output_item']
# prints> given up
import asyncio

from agents import Agent, MaxTurnsExceeded, RunErrorHandlerInput, RunErrorHandlerResult, Runner, function_tool


@function_tool
def again() -> str:
    return "once more"


async def give_up(data: RunErrorHandlerInput[None]) -> RunErrorHandlerResult:
    return RunErrorHandlerResult(final_output=f"Out of turns after {len(data.run_data.new_items)} items.")


async def main():
    agent = Agent(name="Looper", tools=[again])
    try:
        await Runner.run(agent, "Loop", max_turns=2)
    except MaxTurnsExceeded as error:
        print(error)
        print(error.run_data.last_agent.name, len(error.run_data.new_items), len(error.run_data.raw_responses))

    result = await Runner.run(agent, "Loop", max_turns=2, error_handlers={"max_turns": give_up})
    print(result.final_output)
    print([item.type for item in result.new_items])

    result = await Runner.run(
        agent,
        "Loop",
        max_turns=1,
        error_handlers={"max_turns": lambda _: {"final_output": "given up", "include_in_history": False}},
    )
    print(result.final_output)


asyncio.run(main())
