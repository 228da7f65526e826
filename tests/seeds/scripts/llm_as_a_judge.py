# model[outline]> A bee goes home.
# model[judge]> {"response": {"feedback": "more bees", "score": "needs_improvement"}}
# model[outline]> Two bees go home.
# model[judge]> {"response": {"feedback": "good", "score": "pass"}}
# prints> needs_improvement
# prints> pass
# prints> Two bees go home.
import asyncio
from dataclasses import dataclass
from typing import Literal

from agents import Agent, ItemHelpers, Runner, TResponseInputItem, trace

writer = Agent(name="writer", instructions="You outline a story. Use feedback, if there is any.")


@dataclass
class Feedback:
    feedback: str
    score: Literal["pass", "needs_improvement", "fail"]


judge = Agent[None](name="judge", instructions="You judge: is the story good?", output_type=Feedback)


async def main() -> None:
    items: list[TResponseInputItem] = [{"content": "A story about bees", "role": "user"}]
    latest = None
    with trace("LLM as a judge"):
        while True:
            story = await Runner.run(writer, items)
            items = story.to_input_list()
            latest = ItemHelpers.text_message_outputs(story.new_items)
            verdict: Feedback = (await Runner.run(judge, items)).final_output
            print(verdict.score)
            if verdict.score == "pass":
                break
            items.append({"content": f"Feedback: {verdict.feedback}", "role": "user"})
    print(latest)


asyncio.run(main())
