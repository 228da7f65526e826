# model> @transfer_to_b {}
# model> Done.
# prints> handoff_call_item handoff_output_item message_output_item
# prints> b saw 1
# there> message_output_item
# there> b saw 1
import asyncio

from agents import Agent, RunHooks, Runner, handoff
from agents.extensions.handoff_filters import remove_all_tools


class Count(RunHooks):
    async def on_llm_start(self, context, agent, system_prompt, input_items):
        self.seen = len(input_items)


async def main():
    hooks = Count()
    agent = Agent(name="a", handoffs=[handoff(Agent(name="b"), input_filter=remove_all_tools)])
    result = await Runner.run(agent, [{"role": "user", "content": "Hi"}], hooks=hooks)
    print(*[item.type for item in result.new_items])
    print("b saw", hooks.seen)


asyncio.run(main())
