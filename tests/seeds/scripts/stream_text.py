# model> Why did the bee get married? Because he found his honey.
# prints> Why did the bee get married? Because he found his honey.
# prints> 11 pieces, complete: True
import asyncio

from agents import Agent, Runner
from openai.types.responses import ResponseTextDeltaEvent


async def main():
    agent = Agent(name="Joker", instructions="Tell jokes.")
    result = Runner.run_streamed(agent, input="One joke, please.")
    pieces = 0
    async for event in result.stream_events():
        if event.type == "raw_response_event" and isinstance(event.data, ResponseTextDeltaEvent):
            print(event.data.delta, end="", flush=True)
            pieces += 1
    print()
    print(f"{pieces} pieces, complete: {result.is_complete}")


asyncio.run(main())
