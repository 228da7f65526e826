# model> @roll {"sides": 6}
# model> @transfer_to_doubler {}
# model> Eight.
# prints> 1 run: Roller starts
# prints> 2 Roller: start
# prints> 3 run: llm_start 'Roll.' 1
# prints> 4 run: llm_end 1
# prints> 5 run: roll starts
# prints> 6 run: roll gave 4
# prints> 7 run: llm_start 'Roll.' 3
# prints> 8 run: llm_end 1
# prints> 9 run: Roller -> Doubler
# prints> 10 run: Doubler starts
# prints> 11 Doubler: start
# prints> 12 run: llm_start 'Double.' 5
# prints> 13 run: llm_end 1
# prints> 14 run: Doubler ends with Eight.
# prints> 15 Doubler: end Eight.
# prints> 3 requests, 45 tokens
import asyncio
from typing import Any

from agents import Agent, AgentHookContext, AgentHooks, RunContextWrapper, RunHooks, Runner, Tool, function_tool
from agents.items import ModelResponse, TResponseInputItem

count = 0


def say(*words: Any) -> None:
    global count
    count += 1
    print(count, *words)


class Log(RunHooks):
    async def on_agent_start(self, context: AgentHookContext, agent: Agent) -> None:
        say(f"run: {agent.name} starts")

    async def on_llm_start(
        self, context: RunContextWrapper, agent: Agent, system_prompt: str | None, input_items: list[TResponseInputItem]
    ) -> None:
        say(f"run: llm_start {system_prompt!r} {len(input_items)}")

    async def on_llm_end(self, context: RunContextWrapper, agent: Agent, response: ModelResponse) -> None:
        say("run: llm_end", len(response.output))

    async def on_agent_end(self, context: AgentHookContext, agent: Agent, output: Any) -> None:
        say(f"run: {agent.name} ends with {output}")

    async def on_tool_start(self, context: RunContextWrapper, agent: Agent, tool: Tool) -> None:
        say(f"run: {tool.name} starts")

    async def on_tool_end(self, context: RunContextWrapper, agent: Agent, tool: Tool, result: object) -> None:
        say(f"run: {tool.name} gave {result}")

    async def on_handoff(self, context: RunContextWrapper, from_agent: Agent, to_agent: Agent) -> None:
        say(f"run: {from_agent.name} -> {to_agent.name}")


class Own(AgentHooks):
    async def on_start(self, context: AgentHookContext, agent: Agent) -> None:
        say(f"{agent.name}: start")

    async def on_end(self, context: AgentHookContext, agent: Agent, output: Any) -> None:
        say(f"{agent.name}: end {output}")


@function_tool
def roll(sides: int) -> int:
    """Roll a die."""
    return 4


async def main():
    doubler = Agent(name="Doubler", instructions="Double.", hooks=Own())
    roller = Agent(name="Roller", instructions="Roll.", tools=[roll], handoffs=[doubler], hooks=Own())
    result = await Runner.run(roller, "Go", hooks=Log())
    usage = result.context_wrapper.usage
    print(f"{usage.requests} requests, {usage.total_tokens} tokens")


asyncio.run(main())
