# model> @step {"n": 1}
# model> @step {"n": 2}
# model> Both steps are done.
# prints> step 1
# prints> stopped after a turn: None
# prints> step 2
# prints> Both steps are done.
# prints> [1, 2]
import asyncio

from agents import Agent, Runner, function_tool

done = []


@function_tool
def step(n: int) -> str:
    """One step."""
    print("step", n)
    done.append(n)
    return "ok"


async def main():
    agent = Agent(name="Stepper", tools=[step])
    result = Runner.run_streamed(agent, "Do two steps.")
    async for event in result.stream_events():
        if event.type == "run_item_stream_event" and event.item.type == "tool_call_item":
            result.cancel(mode="after_turn")
    print("stopped after a turn:", result.final_output)
    state = result.to_state()
    result = await Runner.run(agent, state)
    print(result.final_output)
    print(done)


asyncio.run(main())
