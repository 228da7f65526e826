# model> A red square.
# model> @draw {}
# model> I drew it.
# prints> A red square.
# prints> I drew it.
# prints> input_image
import asyncio
import base64

from agents import Agent, Runner, ToolOutputImage, function_tool

PIXEL = base64.b64encode(b"not really a picture").decode()


@function_tool
def draw() -> ToolOutputImage:
    """Draw it."""
    return ToolOutputImage(image_url=f"data:image/png;base64,{PIXEL}", detail="low")


async def main():
    agent = Agent(name="Eye", tools=[draw])
    picture = {"type": "input_image", "detail": "auto", "image_url": f"data:image/jpeg;base64,{PIXEL}"}
    result = await Runner.run(
        agent,
        [
            {"role": "user", "content": [picture]},
            {"role": "user", "content": "What do you see?"},
        ],
    )
    print(result.final_output)
    result = await Runner.run(agent, result.to_input_list() + [{"role": "user", "content": "Draw it."}])
    print(result.final_output)
    print(result.to_input_list()[-2]["output"][0]["type"])


asyncio.run(main())
