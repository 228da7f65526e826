# model> @weather {"city": "Lima"}
# model> @weather {"city": "Oslo"}
# model+ @save {"text": "cold"}
# model> @weather {"city": "Rome"}
# model> @weather {"city": "Bern"}
# model> Warm enough.
# prints> Lima: sunny
# prints> saved cold
# prints> custom: Rome: sunny
# prints> Warm enough.
import asyncio

from agents import (
    Agent,
    FunctionToolResult,
    ModelSettings,
    RunContextWrapper,
    Runner,
    StopAtTools,
    ToolsToFinalOutputResult,
    function_tool,
)


@function_tool
def weather(city: str) -> str:
    return f"{city}: sunny"


@function_tool
def save(text: str) -> str:
    return f"saved {text}"


async def decide(ctx: RunContextWrapper, results: list[FunctionToolResult]) -> ToolsToFinalOutputResult:
    output = results[0].output
    if "Rome" in output:
        return ToolsToFinalOutputResult(is_final_output=True, final_output=f"custom: {output}")
    return ToolsToFinalOutputResult(is_final_output=False)


async def main():
    settings = ModelSettings(tool_choice="required")
    agent = Agent(name="First", tools=[weather, save], tool_use_behavior="stop_on_first_tool", model_settings=settings)
    print((await Runner.run(agent, "Lima?")).final_output)
    agent = agent.clone(tool_use_behavior=StopAtTools(stop_at_tool_names=["save"]))
    print((await Runner.run(agent, "Oslo? Save it.")).final_output)
    agent = agent.clone(tool_use_behavior=decide)
    print((await Runner.run(agent, "Rome?")).final_output)
    print((await Runner.run(agent, "Bern?")).final_output)


asyncio.run(main())
