# prints> parrot: Hello!
# prints> asked for 'polly': Hello!
# prints> pol ly
import asyncio
from collections.abc import AsyncIterator

from agents import Agent, Model, ModelProvider, ModelResponse, RunConfig, Runner, Usage
from agents.models.interface import ModelTracing
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseOutputMessage,
    ResponseOutputText,
    ResponseTextDeltaEvent,
)


def message(text: str) -> ResponseOutputMessage:
    part = ResponseOutputText(type="output_text", text=text, annotations=[])
    return ResponseOutputMessage(id="m1", type="message", role="assistant", status="completed", content=[part])


class Parrot(Model):
    def __init__(self, prefix: str):
        self.prefix = prefix

    async def get_response(
        self,
        system_instructions,
        input,
        model_settings,
        tools,
        output_schema,
        handoffs,
        tracing: ModelTracing,
        *,
        previous_response_id,
        conversation_id,
        prompt,
    ) -> ModelResponse:
        last = input if isinstance(input, str) else input[-1]["content"]
        return ModelResponse(output=[message(f"{self.prefix}: {last}")], usage=Usage(requests=1), response_id=None)

    async def stream_response(
        self,
        system_instructions,
        input,
        model_settings,
        tools,
        output_schema,
        handoffs,
        tracing,
        *,
        previous_response_id,
        conversation_id,
        prompt,
    ) -> AsyncIterator:
        for n, delta in enumerate(("pol", " ly")):
            yield ResponseTextDeltaEvent(
                type="response.output_text.delta",
                item_id="m1",
                output_index=0,
                content_index=0,
                delta=delta,
                sequence_number=n,
                logprobs=[],
            )
        response = Response(
            id="r1",
            created_at=0,
            model="parrot",
            object="response",
            output=[message("pol ly")],
            tool_choice="auto",
            tools=[],
            parallel_tool_calls=False,
        )
        yield ResponseCompletedEvent(type="response.completed", response=response, sequence_number=2)


class Parrots(ModelProvider):
    def get_model(self, model_name: str | None) -> Model:
        return Parrot(f"asked for {model_name!r}")


async def main():
    print((await Runner.run(Agent(name="A", model=Parrot("parrot")), "Hello!")).final_output)

    agent = Agent(name="B", model="polly")
    config = RunConfig(model_provider=Parrots(), tracing_disabled=True)
    print((await Runner.run(agent, "Hello!", run_config=config)).final_output)

    result = Runner.run_streamed(agent, "Hello!", run_config=config)
    async for event in result.stream_events():
        if event.type == "raw_response_event" and isinstance(event.data, ResponseTextDeltaEvent):
            print(event.data.delta, end="", flush=True)
    print()


asyncio.run(main())
