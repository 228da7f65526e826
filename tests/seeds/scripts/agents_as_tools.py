# model[orchestrator]> @to_spanish {"input": "Good morning"}
# model+ @to_french {"input": "Good morning"}
# model[Spanish]> Buenos días
# model[French]> Bonjour
# model[orchestrator]> Buenos días / Bonjour
# prints> to_french: French agent_updated_stream_event call_1_1
# prints> to_french: French run_item_stream_event call_1_1
# prints> outputs: ['<Buenos días>', 'Bonjour']
# prints> Buenos días / Bonjour
# prints> 4 requests
import asyncio

from agents import Agent, AgentToolStreamEvent, ItemHelpers, Runner, RunResult

spanish = Agent(name="Spanish", instructions="Put it into Spanish.")
french = Agent(name="French", instructions="Put it into French.")


async def with_brackets(result: RunResult) -> str:
    return f"<{ItemHelpers.text_message_outputs(result.new_items)}>"


def on_stream(event: AgentToolStreamEvent):
    if event["event"].type != "raw_response_event":
        print(f"to_french: {event['agent'].name} {event['event'].type} {event['tool_call'].call_id}")


orchestrator = Agent(
    name="Orchestrator",
    instructions="You are the orchestrator: use your tools.",
    tools=[
        spanish.as_tool("to_spanish", "Into Spanish", custom_output_extractor=with_brackets),
        french.as_tool(tool_name="to_french", tool_description="Into French", on_stream=on_stream),
    ],
)


async def main():
    result = await Runner.run(orchestrator, "Say good morning in Spanish and French.")
    print("outputs:", [item.output for item in result.new_items if item.type == "tool_call_output_item"])
    print(result.final_output)
    print(result.context_wrapper.usage.requests, "requests")


asyncio.run(main())
