# model> @find_faq {"topic": "refunds"}
# model> @escalate_case {"reason": "broken vase"}
# model> We'll pay you back.
# model> @transfer_to_spanish_agent {}
# model> Hola, ¿qué tal?
# prints> escalated: broken vase
# prints> Refund Agent We'll pay you back.
# prints> tool_call_item tool_call_output_item handoff_call_item handoff_output_item message_output_item
# prints> what the refund agent saw: user
# prints> filtered 1 2
# prints> Spanish Agent Hola, ¿qué tal?
# prints> {"assistant": "Spanish Agent"}
import asyncio

from agents import Agent, HandoffInputData, HandoffOutputItem, RunContextWrapper, Runner, function_tool, handoff
from agents.extensions import handoff_filters
from agents.extensions.handoff_prompt import RECOMMENDED_PROMPT_PREFIX
from pydantic import BaseModel

seen = []


class Escalation(BaseModel):
    reason: str


async def on_escalation(ctx: RunContextWrapper[None], data: Escalation):
    print(f"escalated: {data.reason}")


def only_the_question(data: HandoffInputData) -> HandoffInputData:
    data = handoff_filters.remove_all_tools(data)
    history = data.input_history if isinstance(data.input_history, str) else data.input_history[-1:]
    seen.append((len(history) if isinstance(history, tuple) else 1, len(data.new_items)))
    return data.clone(input_history=history)


def keep(data: HandoffInputData) -> HandoffInputData:
    print("filtered", 1, len(data.new_items))
    return data


@function_tool
def find_faq(topic: str) -> str:
    """Look into the frequently asked questions."""
    return f"nothing about {topic}"


refunds = Agent(name="Refund Agent", instructions=f"{RECOMMENDED_PROMPT_PREFIX}\nPay people back.")
spanish = Agent(name="Spanish Agent", handoff_description="Speaks Spanish.", instructions="Habla español.")
triage = Agent(
    name="Triage Agent",
    instructions="Find out who can help.",
    tools=[find_faq],
    handoffs=[
        handoff(
            refunds,
            tool_name_override="escalate_case",
            tool_description_override="For broken things.",
            on_handoff=on_escalation,
            input_type=Escalation,
            input_filter=only_the_question,
        ),
        handoff(spanish, input_filter=keep),
    ],
)


async def main():
    result = await Runner.run(triage, "My vase arrived broken!")
    print(result.last_agent.name, result.final_output)
    print(*[item.type for item in result.new_items])
    print("what the refund agent saw:", *[item["role"] for item in result.to_input_list()[:1]])

    result = await Runner.run(triage, [{"role": "user", "content": "Hola"}])
    print(result.last_agent.name, result.final_output)
    for item in result.new_items:
        if isinstance(item, HandoffOutputItem):
            print(item.raw_item["output"])


asyncio.run(main())
