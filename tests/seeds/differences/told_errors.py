# model> @look {}
# model> Sorry.
# prints> An error occurred while running the tool. Please try again. Error: it rains
# there> An error occurred while running the tool. Please try again.
import asyncio

from agents import Agent, Runner, function_tool


@function_tool
def look() -> str:
    raise ValueError("it rains")


async def main():
    result = await Runner.run(Agent(name="A", tools=[look]), "Look.")
    print(result.new_items[1].output)


asyncio.run(main())
