# typed> Hello
# typed> How are you?
# typed> exit
# model> Hi there!
# model> @mood {}
# model> Fine, thanks.
# prints>  >
# prints> [Agent updated: Talker]
# prints> Hi there!
# prints>  >
# prints> [Agent updated: Talker]
# prints>
# prints> [tool called: mood]
# prints>
# prints> [tool output: fine]
# prints> Fine, thanks.
# prints>  >
import asyncio

from agents import Agent, function_tool, run_demo_loop


@function_tool
def mood() -> str:
    return "fine"


asyncio.run(run_demo_loop(Agent(name="Talker", tools=[mood])))
