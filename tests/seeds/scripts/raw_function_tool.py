# model> @process_user {"username": "ada", "age": 36}
# model+ @fails {"why": "rain"}
# model+ @fails_quietly {}
# model+ @slow {}
# model> Done.
# model> @fails_loudly {}
# prints> ada is 36, call_1_0
# prints> An error occurred while running the tool. Please try again. Error: because of rain
# prints> sorry: ValueError
# prints> Tool 'slow' timed out after 0.05 seconds.
# prints> Done.
# prints> UserError Error running tool fails_loudly: boom
import asyncio
from typing import Any

from agents import Agent, FunctionTool, RunContextWrapper, Runner, UserError, function_tool
from agents.tool_context import ToolContext
from pydantic import BaseModel


class Args(BaseModel):
    username: str
    age: int


async def process(ctx: ToolContext[Any], args: str) -> str:
    parsed = Args.model_validate_json(args)
    return f"{parsed.username} is {parsed.age}, {ctx.tool_call_id}"


schema = Args.model_json_schema()
schema["additionalProperties"] = False
process_user = FunctionTool(
    name="process_user", description="Process a user.", params_json_schema=schema, on_invoke_tool=process
)


def sorry(ctx: RunContextWrapper[Any], error: Exception) -> str:
    return f"sorry: {type(error).__name__}"


@function_tool
def fails(why: str) -> str:
    raise ValueError(f"because of {why}")


@function_tool(failure_error_function=sorry)
def fails_quietly() -> str:
    raise ValueError("hidden")


@function_tool(failure_error_function=None)
def fails_loudly() -> str:
    raise ValueError("boom")


@function_tool(timeout=0.05)
async def slow() -> str:
    await asyncio.Event().wait()
    return "never"


async def main():
    agent = Agent(name="Worker", tools=[process_user, fails, fails_quietly, slow, fails_loudly])
    result = await Runner.run(agent, "Work.")
    for item in result.new_items:
        if item.type == "tool_call_output_item":
            print(item.output)
    print(result.final_output)
    try:
        await Runner.run(agent, "Work loudly.")
    except UserError as error:
        print(type(error).__name__, error)


asyncio.run(main())
