# model> @look {}
# model> Found.
# prints> Max turns (1) exceeded
# prints> Found.
# there> Max turns (1) exceeded
# there> no state to go on with
import asyncio

from agents import Agent, MaxTurnsExceeded, Runner, function_tool


@function_tool
def look() -> str:
    return "here"


async def main():
    agent = Agent(name="Seeker", tools=[look])
    try:
        await Runner.run(agent, "Seek.", max_turns=1)
    except MaxTurnsExceeded as error:
        print(error)
        try:
            state = error.run_data.result.to_state()
        except AttributeError:
            print("no state to go on with")
            return
        print((await Runner.run(agent, state, max_turns=3)).final_output)


asyncio.run(main())
