# model> Calls fold inward,
# prints> Calls fold inward,
import asyncio

from agents import Agent, Runner


async def main():
    agent = Agent(name="Poet", instructions="You only answer with one line of a haiku.")
    result = await Runner.run(agent, "What is recursion?")
    print(result.final_output)


if __name__ == "__main__":
    asyncio.run(main())
