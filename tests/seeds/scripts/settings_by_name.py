# prints> gpt-5.6-luna none low
import asyncio

from agents import Agent, Model, ModelProvider, ModelResponse, RunConfig, Runner, Usage


class Show(Model):
    def __init__(self, name):
        self.name = name

    async def get_response(self, system_instructions, input, model_settings, *args, **kwargs):
        reasoning = model_settings.reasoning
        print(self.name, reasoning and reasoning.effort, model_settings.verbosity)
        part = {"type": "output_text", "text": "Hi.", "annotations": []}
        message = {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [part]}
        return ModelResponse(output=[message], usage=Usage(), response_id=None)

    def stream_response(self, *args, **kwargs):
        raise NotImplementedError


class Provider(ModelProvider):
    def get_model(self, model_name):
        return Show(model_name)


async def main():
    await Runner.run(Agent(name="A", model="gpt-5.6-luna"), "Hi", run_config=RunConfig(model_provider=Provider()))


asyncio.run(main())
