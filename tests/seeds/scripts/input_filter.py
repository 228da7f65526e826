# model> @noop {}
# model> Done.
# prints> Done.
# prints> [(1, 'Be brief.'), (2, 'Be brief.')]
# prints> 4
import asyncio

from agents import Agent, RunConfig, Runner, function_tool
from agents.run import CallModelData, ModelInputData

seen = []


@function_tool
def noop() -> str:
    return "x" * 1000


def shorten(data: CallModelData[None]) -> ModelInputData:
    items = [item for item in data.model_data.input if item.get("role") != "user" or len(data.model_data.input) == 1]
    seen.append((len(items), data.model_data.instructions))
    return ModelInputData(input=items, instructions=f"{data.model_data.instructions} ({data.agent.name})")


async def main():
    agent = Agent(name="Short", instructions="Be brief.", tools=[noop])
    result = await Runner.run(agent, "Do it.", run_config=RunConfig(call_model_input_filter=shorten))
    print(result.final_output)
    print(seen)
    print(len(result.to_input_list()))


asyncio.run(main())
