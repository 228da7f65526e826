# model> {"name": "Standup", "date": "2026-03-02", "people": ["Ada", "Bo"]}
# model> {"response": [{"x": 1, "y": 2}, {"x": 3, "y": 4}]}
# model> {"scores": {"ada": 3}}
# model> {"name": 5}
# model> {"name": 6}
# model> {"name": 7}
# prints> CalendarEvent name='Standup' date='2026-03-02' people=['Ada', 'Bo']
# prints> Ada
# prints> [Point(x=1, y=2), Point(x=3, y=4)]
# prints> {'ada': 3}
# prints> not in the dialect of strict schemas: UserError
# prints> ModelBehaviorError
import asyncio
from dataclasses import dataclass

from agents import Agent, AgentOutputSchema, ModelBehaviorError, Runner, UserError
from pydantic import BaseModel


class CalendarEvent(BaseModel):
    name: str
    date: str
    people: list[str]


@dataclass
class Point:
    x: int
    y: int


class Board(BaseModel):
    scores: dict[str, int]


async def main():
    agent = Agent(name="Extractor", instructions="Take the event out of the text.", output_type=CalendarEvent)
    result = await Runner.run(agent, "Standup with Ada and Bo on Monday, March 2.")
    print(type(result.final_output).__name__, result.final_output)
    print(result.final_output_as(CalendarEvent).people[0])

    points = await Runner.run(Agent(name="Points", output_type=list[Point]), "two points")
    print(points.final_output)

    loose = Agent(name="Scores", output_type=AgentOutputSchema(Board, strict_json_schema=False))
    print((await Runner.run(loose, "Ada has 3")).final_output.scores)

    try:
        await Runner.run(Agent(name="Strict", output_type=Board), "Ada has 3")
    except UserError as error:
        print(f"not in the dialect of strict schemas: {type(error).__name__}")

    try:
        await Runner.run(agent, "nothing")
    except ModelBehaviorError as error:
        print(type(error).__name__)


asyncio.run(main())
