# model[pirate]> Arr!
# model[haiku]> Still pond.
# prints> Arr!
# prints> Still pond.
import asyncio
from dataclasses import dataclass
from typing import Literal

from agents import Agent, RunContextWrapper, Runner


@dataclass
class Style:
    name: Literal["pirate", "haiku"]


def instructions(ctx: RunContextWrapper[Style], agent: Agent[Style]) -> str:
    return f"You are {agent.name}. Only speak in the style: {ctx.context.name}."


async def main():
    agent = Agent(name="Chat", instructions=instructions)
    for style in ("pirate", "haiku"):
        result = await Runner.run(agent, "Tell me a story.", context=Style(style))
        print(result.final_output)


asyncio.run(main())
