# model> @pay {}
# model+ @book {}
# model> All done.
# prints> failed
# prints> All done. - paid 1, booked 1
# there> failed
# there> All done. - paid 1, booked 0
import asyncio

from agents import Agent, Runner, function_tool

paid = []
booked = []


@function_tool
async def pay() -> str:
    paid.append(1)
    return "paid"


@function_tool(failure_error_function=None)
async def book() -> str:
    while not paid:
        await asyncio.sleep(0)
    if len(paid) == 1:
        paid.append("and failed")
        raise OSError("no connection")
    booked.append(1)
    return "booked"


async def main():
    agent = Agent(name="Clerk", tools=[pay, book])
    result = Runner.run_streamed(agent, "Pay and book.")
    try:
        async for _ in result.stream_events():
            pass
    except Exception:
        print("failed")
    result = await Runner.run(agent, result.to_state())
    print(result.final_output, f"- paid {paid.count(1)}, booked {len(booked)}")


asyncio.run(main())
