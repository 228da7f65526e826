# model> @transfer_to_billing {}
# model> Billing here.
# model> You owe nothing.
# prints> Billing here.
# prints> You owe nothing.
# prints> Billing 6
import asyncio

from agents import Agent, RawResponsesStreamEvent, Runner, TResponseInputItem, trace

billing = Agent(name="Billing", handoff_description="Bills.", instructions="Billing.")
front = Agent(name="Front", instructions="Route.", handoffs=[billing])


async def main():
    agent = front
    inputs: list[TResponseInputItem] = []
    for message in ("I have a question about my bill", "How much do I owe?"):
        inputs.append({"content": message, "role": "user"})
        with trace("Conversation", group_id="thread_7"):
            result = Runner.run_streamed(agent, input=inputs)
            async for event in result.stream_events():
                if isinstance(event, RawResponsesStreamEvent) and event.data.type == "response.output_text.delta":
                    print(event.data.delta, end="", flush=True)
            print()
        inputs = result.to_input_list()
        agent = result.current_agent
    print(agent.name, len(inputs))


asyncio.run(main())
