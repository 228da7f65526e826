# model> @get_weather {"city": "Lima", "units": "celsius"}
# model+ @read_note {"note": {"title": "todo", "tags": ["a", "b"]}}
# model+ @whoami {}
# model> It's 18 degrees in Lima.
# prints> get_weather: The temperature in a city, measured now.
# prints> {'city': {'description': 'Its name, in English.', 'title': 'City', 'type': 'string'}, 'units': {'description': 'How to measure.', 'enum': ['celsius', 'fahrenheit'], 'title': 'Units', 'type': 'string'}}
# prints> ['city', 'units'] False
# prints> It's 18 degrees in Lima.
# prints> tool_call_output_item 18 celsius in Lima
# prints> tool_call_output_item todo: a, b
# prints> tool_call_output_item Ada
import asyncio
from dataclasses import dataclass
from typing import Annotated, Literal

from agents import Agent, RunContextWrapper, Runner, function_tool
from pydantic import BaseModel


@dataclass
class User:
    name: str


class Note(BaseModel):
    title: str
    tags: list[str]


@function_tool
def get_weather(
    city: Annotated[str, "Its name, in English."], units: Annotated[Literal["celsius", "fahrenheit"], "How to measure."]
) -> str:
    """The temperature in a city, measured now."""
    return f"18 {units} in {city}"


@function_tool
async def read_note(note: Note) -> str:
    """Read a note aloud.

    Args:
        note: The note.
    """
    return f"{note.title}: {', '.join(note.tags)}"


@function_tool(name_override="whoami", description_override="Who is asking.")
def user_name(ctx: RunContextWrapper[User]) -> str:
    return ctx.context.name


async def main():
    agent = Agent[User](name="Weather", tools=[get_weather, read_note, user_name])
    tool = agent.tools[0]
    print(f"{tool.name}: {tool.description}")
    print(tool.params_json_schema["properties"])
    print(tool.params_json_schema["required"], tool.params_json_schema["additionalProperties"])
    result = await Runner.run(agent, "How is the weather in Lima?", context=User(name="Ada"))
    print(result.final_output)
    for item in result.new_items:
        if item.type == "tool_call_output_item":
            print(item.type, item.output)


asyncio.run(main())
