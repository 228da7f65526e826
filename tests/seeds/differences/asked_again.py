# model> {"age": "forty"}
# model> {"age": 40}
# prints> 40
# there> ModelBehaviorError
import asyncio

from agents import Agent, ModelBehaviorError, Runner
from pydantic import BaseModel


class Person(BaseModel):
    age: int


async def main():
    try:
        print((await Runner.run(Agent(name="A", output_type=Person), "How old is she?")).final_output.age)
    except ModelBehaviorError as error:
        print(type(error).__name__)


asyncio.run(main())
