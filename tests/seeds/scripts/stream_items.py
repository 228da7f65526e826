# model> @how_many_jokes {}
# model> @transfer_to_teller {}
# model> Knock, knock.
# prints> now: Joker
# prints> tool_called how_many_jokes
# prints> tool_output 3
# prints> handoff_requested transfer_to_teller
# prints> handoff_occured Joker -> Teller
# prints> now: Teller
# prints> message_output_created Knock, knock.
# prints> Teller 3 Knock, knock.
import asyncio

from agents import Agent, ItemHelpers, Runner, function_tool


@function_tool
def how_many_jokes() -> int:
    """How many jokes to tell."""
    return 3


async def main():
    teller = Agent(name="Teller", instructions="Tell them.")
    agent = Agent(name="Joker", tools=[how_many_jokes], handoffs=[teller])
    result = Runner.run_streamed(agent, "Hello")
    async for event in result.stream_events():
        if event.type == "raw_response_event":
            continue
        if event.type == "agent_updated_stream_event":
            print("now:", event.new_agent.name)
        elif event.type == "run_item_stream_event":
            item = event.item
            if item.type == "tool_call_item":
                print(event.name, item.raw_item.name)
            elif item.type == "tool_call_output_item":
                print(event.name, item.output)
            elif item.type == "handoff_call_item":
                print(event.name, item.raw_item.name)
            elif item.type == "handoff_output_item":
                print(event.name, item.source_agent.name, "->", item.target_agent.name)
            elif item.type == "message_output_item":
                print(event.name, ItemHelpers.text_message_output(item))
    print(result.current_agent.name, result.current_turn, result.final_output)


asyncio.run(main())
