# model> @transfer_to_b {}
# model> Done.
# prints> the hooks of b hear of it
# there> the hooks of a hear of it
import asyncio

from agents import Agent, AgentHooks, Runner


class Tell(AgentHooks):
    def __init__(self, name):
        self.name = name

    async def on_handoff(self, context, agent, source):
        print(f"the hooks of {self.name} hear of it")


async def main():
    b = Agent(name="b", hooks=Tell("b"))
    await Runner.run(Agent(name="a", handoffs=[b], hooks=Tell("a")), "Hi")


asyncio.run(main())
