# model> @get_time {"zone": "UTC"}
# model> It's noon.
# model> Streamed noon.
# prints> It's noon.
# prints> Streamed noon.
import asyncio
import os

from agents import (
    Agent,
    AsyncOpenAI,
    ModelSettings,
    OpenAIChatCompletionsModel,
    Runner,
    function_tool,
    set_default_openai_api,
    set_default_openai_client,
    set_tracing_disabled,
)

client = AsyncOpenAI(base_url=os.environ["OPENAI_BASE_URL"], api_key=os.environ["OPENAI_API_KEY"])
set_tracing_disabled(disabled=True)


@function_tool
def get_time(zone: str) -> str:
    return "12:00"


async def main():
    model = OpenAIChatCompletionsModel(model="llama", openai_client=client)
    agent = Agent(name="Clock", instructions="Tell the time.", model=model, tools=[get_time])
    print((await Runner.run(agent, "What time is it?")).final_output)

    set_default_openai_client(client, use_for_tracing=False)
    set_default_openai_api("chat_completions")
    agent = Agent(name="Clock", model="llama", model_settings=ModelSettings(include_usage=True))
    result = Runner.run_streamed(agent, "And now?")
    async for event in result.stream_events():
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
            print(event.data.delta, end="")
    print()


asyncio.run(main())
