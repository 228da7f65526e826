# model> Lima.
# model> @add {"a": 1, "b": 2}
# model> Three, in Peru.
# prints> Lima.
# prints> Three, in Peru.
# prints> resp_3
import asyncio

from agents import Agent, Runner, function_tool


@function_tool
def add(a: int, b: int) -> int:
    return a + b


async def main():
    agent = Agent(name="Guide", tools=[add])
    result = await Runner.run(agent, "What is the capital of Peru?")
    print(result.final_output)
    result = await Runner.run(agent, "1 + 2, and in which country?", previous_response_id=result.last_response_id)
    print(result.final_output)
    print(result.last_response_id)


asyncio.run(main())
