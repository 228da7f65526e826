"""The agent that the command line is tested with; it's run by other processes. Nothing is made up by chance but waits.

Each tool call leaves two lines in CLI_LOG, at its start and at its end, with its idempotency key. CLI_SLOW: seconds
that `slow` takes. CLI_JITTER: calls take up to so many seconds. CLI_SCRIPT: which of the scripts below is played.
"""

import asyncio
import os
import random
import time
from pathlib import Path

from flowcore import Agent, ToolContext, Usage, function_tool
from flowcore.testing import ScriptedModel, function_call

LOG = Path(os.environ.get("CLI_LOG", "calls.txt"))
SLOW = float(os.environ.get("CLI_SLOW", "0"))
JITTER = float(os.environ.get("CLI_JITTER", "0"))


def note(line: str) -> None:
    """One line, appended by one write."""
    file = os.open(LOG, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    os.write(file, f"{line}\n".encode())
    os.close(file)


@function_tool
async def look_up(ctx: ToolContext, order: int) -> str:
    """Look an order up."""
    note(f"start {ctx.idempotency_key}")
    await asyncio.sleep(random.uniform(0, JITTER))
    note(f"end {ctx.idempotency_key}")
    return f"order {order}: a vase"


@function_tool(needs_approval=True)
async def refund(ctx: ToolContext, order: int, cents: int) -> str:
    """Pay back."""
    note(f"start {ctx.idempotency_key}")
    await asyncio.sleep(random.uniform(0, JITTER))
    note(f"end {ctx.idempotency_key}")
    return f"paid {cents} for {order}"


@function_tool
async def slow(ctx: ToolContext, order: int) -> str:
    """Take some time."""
    note(f"start {ctx.idempotency_key}")
    await asyncio.sleep(SLOW)
    note(f"end {ctx.idempotency_key}")
    return f"order {order} at last"


@function_tool
def stubborn(ctx: ToolContext, order: int) -> str:
    """Take some time in a thread, which nobody can break off."""
    note(f"start {ctx.idempotency_key}")
    time.sleep(SLOW)
    note(f"end {ctx.idempotency_key}")
    return f"order {order} at last"


def calls(name, *orders, **more):
    return [function_call(name, {"order": order, **more}) for order in orders]


SCRIPTS = {
    "plain": [calls("look_up", 1), "It's a vase."],
    "refund": [[*calls("look_up", 1), *calls("refund", 1, cents=250)], "Your money is on its way."],
    "two": [[*calls("refund", 1, 2, cents=250)], "Both are paid."],
    "slow": [calls("slow", 1), "It took a while."],
    "stubborn": [calls("stubborn", 1), "It took a while."],
    "approve-while-slow": [[*calls("slow", 1), *calls("refund", 1, cents=250)], "Done while you waited."],
    "six": [
        calls("look_up", 1),
        calls("look_up", 2, 3, 4),
        [*calls("look_up", 5), *calls("refund", 5, cents=70)],
        [*calls("look_up", 6), *calls("refund", 7, cents=30)],
        calls("look_up", 8, 9),
        "All of it is done.",
    ],
}
usage = Usage(requests=1, input_tokens=10, output_tokens=5, total_tokens=15)
model = ScriptedModel.by_turn(SCRIPTS[os.environ.get("CLI_SCRIPT", "plain")], usage=usage)
graph = Agent(name="clerk", model=model, tools=[look_up, refund, slow, stubborn])
