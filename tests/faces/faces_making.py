"""Small agents for the tests of the faces."""

import asyncio
from typing import Any

from flowcore import Agent, function_tool
from flowcore.testing import ScriptedModel, function_call


@function_tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@function_tool(needs_approval=True)
async def delete(row: str) -> str:
    """Delete a row."""
    return f"deleted {row}"


ADD = function_call("add", {"a": 1, "b": 2}, "c1")


def agent(*steps: Any, name: str = "Assistant", **fields: Any) -> Agent:
    """An agent whose model says these steps, one a call."""
    return Agent(name=name, model=ScriptedModel(list(steps)), **fields)


async def asked(model: ScriptedModel) -> None:
    """Wait until a model is asked; the test's own timeout is the limit."""
    while not model.calls:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0)
