# model> @no_such_tool {}
# model> %400
# model> !I can't help with that.
# prints> ModelBehaviorError True
# prints> BadRequestError: 400 True
# prints> I can't help with that.
# prints> UserError
# prints> TypeError
import asyncio

import openai
from agents import Agent, Runner
from agents.exceptions import AgentsException, ModelBehaviorError, ModelRefusalError, UserError
from agents.model_settings import ModelSettings


async def main():
    agent = Agent(name="Plain", instructions="Help.")
    try:
        await Runner.run(agent, "Use a tool.")
    except ModelBehaviorError as error:
        print(type(error).__name__, isinstance(error, AgentsException))
    try:
        await Runner.run(agent, "Break.")
    except openai.APIStatusError as error:
        print(f"BadRequestError: {error.status_code}", isinstance(error, openai.BadRequestError))
    try:
        await Runner.run(agent.clone(output_type=list[str]), "Be bad.")
    except ModelRefusalError as error:
        print(error.refusal)
    try:
        await Runner.run(agent.clone(model="nobody/knows", model_settings=ModelSettings()), "Hi")
    except UserError as error:
        print(type(error).__name__)
    try:
        Agent(name=5)
    except TypeError as error:
        print(type(error).__name__)


asyncio.run(main())
