"""Small agents, and the ways of running them, for the conformance tests."""

from typing import Any

from flowcore import Agent, Runner, RunState, function_tool
from flowcore.testing import ScriptedModel, function_call

WAYS = ("run", "streamed")


@function_tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@function_tool(needs_approval=True)
async def delete(row: str) -> str:
    """Delete a row."""
    return f"deleted {row}"


def adding(call_id: str = "c1") -> dict[str, Any]:
    return function_call("add", {"a": 1, "b": 2}, call_id)


def deleting(row: str = "a", call_id: str = "d1") -> dict[str, Any]:
    return function_call("delete", {"row": row}, call_id)


def agent(*steps: Any, name: str = "Assistant", **fields: Any) -> Agent:
    """An agent whose model finds the step that's due by the history, so that it may be resumed anywhere."""
    return Agent(name=name, model=ScriptedModel.by_turn(list(steps)), **fields)


def in_turn(*steps: Any, name: str = "Assistant", **fields: Any) -> Agent:
    """An agent whose model says these steps, one a call, whatever the history."""
    return Agent(name=name, model=ScriptedModel(list(steps)), **fields)


async def go(way: str, agent: Agent, input: Any = "go", **more: Any) -> Any:
    """Run an agent one way or the other, to the end; raises what it raises."""
    if way == "run":
        return await Runner.run(agent, input, **more)
    result = Runner.run_streamed(agent, input, **more)
    async for _ in result.stream_events():
        pass
    return result


async def caught(way: str, agent: Agent, input: Any = "go", **more: Any) -> BaseException:
    """What a run raises."""
    try:
        await go(way, agent, input, **more)
    except Exception as error:
        return error
    raise AssertionError("the run raised nothing")


async def until_raised(result: Any) -> tuple[list[Any], BaseException]:
    """A stream's events, and what it raises after them."""
    seen: list[Any] = []
    try:
        async for event in result.stream_events():
            seen.append(event)  # noqa: PERF401 - what came before the error is wanted
    except Exception as error:
        return seen, error
    raise AssertionError("the stream raised nothing")


def told(result: Any) -> list[Any]:
    """What the model was told of its calls, in order."""
    return [item["output"] for item in result.run.state.items if item.get("type") == "function_call_output"]


async def decided(way: str, agent: Agent, result: Any, approve: bool = True, **more: Any) -> Any:
    """Go on with a run that waits, as another process does: from its JSON, with everything that it asks about
    approved or rejected."""
    state = await RunState.from_string(agent, result.to_state().to_string())
    for item in state.get_interruptions():
        if approve:
            state.approve(item)
        else:
            state.reject(item)
    return await go(way, agent, state, **more)
