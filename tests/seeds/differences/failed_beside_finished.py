# model> @pay {}
# model+ @book {}
# model> Paid and booked.
# prints> paid
# prints> failed: no connection
# prints> Paid and booked. - paid once
# there> paid
# there> failed: no connection
# there> no state to go on with
import asyncio

from agents import Agent, Runner, function_tool

paid = []
line = []


@function_tool
async def pay() -> str:
    print("paid")
    paid.append(1)
    line.append(1)
    return "paid"


@function_tool(failure_error_function=None)
async def book() -> str:
    while not line:
        await asyncio.sleep(0)
    if len(line) == 1:
        line.append(1)
        raise OSError("no connection")
    return "booked"


async def main():
    agent = Agent(name="Clerk", tools=[pay, book])
    try:
        await Runner.run(agent, "Pay and book.")
    except Exception as error:
        print("failed:", str(error).removeprefix("Error running tool book: "))
        try:
            state = error.run_data.result.to_state()
        except AttributeError:
            print("no state to go on with")
            return
        result = await Runner.run(agent, state)
        print(result.final_output, "- paid", "once" if len(paid) == 1 else f"{len(paid)} times")


asyncio.run(main())
