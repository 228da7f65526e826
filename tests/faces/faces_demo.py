"""A conversation in a terminal, for the tests of the demo loop: ``python faces_demo.py [whole]``."""

import asyncio
import sys

from flowcore import Agent, function_tool, run_demo_loop
from flowcore.testing import ModelStep, ScriptedModel, function_call


@function_tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@function_tool(needs_approval=True)
async def delete(row: str) -> str:
    """Delete a row."""
    return f"deleted {row}"


def step(call):
    """What is said depends on what was said to it, so that the tests see that the conversation is kept."""
    last = call.input[-1]
    if last.get("type") == "function_call_output":
        return f"it gave {last['output']}"
    said = last["content"]
    if said == "add":
        return function_call("add", {"a": 1, "b": 2}, "c1")
    if said == "delete":
        return function_call("delete", {"row": "7"}, "d1")
    if said == "billing":
        return function_call("transfer_to_billing", "{}", "h1")
    if said == "loop":
        return function_call("nothing", "{}", "n1")
    if said == "wait":
        print("(asked)", flush=True)
        return ModelStep("at last", delay=60)
    return f"{said} was line {sum(one.get('role') == 'user' for one in call.input)}"


billing = Agent(name="Billing", model=ScriptedModel(lambda call: f"billing heard {call.input[-1].get('content')}"))
clerk = Agent(name="Clerk", model=ScriptedModel(step), tools=[add, delete], handoffs=[billing])

if __name__ == "__main__":
    asyncio.run(run_demo_loop(clerk, stream="whole" not in sys.argv))
    print("ended")
