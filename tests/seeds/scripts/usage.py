# model> @add {"a": 1, "b": 2}
# model> Three.
# prints> 2 20 10 30
# prints> cached 8 reasoning 2
# prints> [(10, 5), (10, 5)]
# prints> ['resp_1', 'resp_2'] resp_2
import asyncio

from agents import Agent, Runner, Usage, function_tool


@function_tool
def add(a: int, b: int) -> int:
    return a + b


async def main():
    result = await Runner.run(Agent(name="Adder", tools=[add]), "1 + 2?")
    usage: Usage = result.context_wrapper.usage
    print(usage.requests, usage.input_tokens, usage.output_tokens, usage.total_tokens)
    print(
        "cached",
        usage.input_tokens_details.cached_tokens,
        "reasoning",
        usage.output_tokens_details.reasoning_tokens,
    )
    print([(one.input_tokens, one.output_tokens) for one in usage.request_usage_entries])
    print([response.response_id for response in result.raw_responses], result.last_response_id)


asyncio.run(main())
