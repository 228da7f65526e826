# model> @delete_file {"path": "a.txt"}
# model+ @delete_file {"path": "/etc/passwd"}
# model+ @list_files {}
# model> a.txt is gone; the other one stays.
# prints> listed
# prints> interrupted: 2
# prints> Janitor delete_file {"path": "a.txt"}
# prints> Janitor delete_file {"path": "/etc/passwd"}
# prints> deleted a.txt
# prints> a.txt is gone; the other one stays.
# prints> function_call_output Not that one.
# prints> function_call_output a.txt, b.txt
# prints> function_call_output deleted a.txt
import asyncio
import json
from pathlib import Path

from agents import Agent, Runner, RunState, function_tool


async def is_dangerous(ctx, params, call_id) -> bool:
    return params["path"] != "tmp.txt"


@function_tool(needs_approval=is_dangerous)
async def delete_file(path: str) -> str:
    """Delete a file."""
    print(f"deleted {path}")
    return f"deleted {path}"


@function_tool
def list_files() -> str:
    """Which files there are."""
    print("listed")
    return "a.txt, b.txt"


agent = Agent(name="Janitor", instructions="Clean up.", tools=[delete_file, list_files])
file = Path("state.json")


async def main():
    result = await Runner.run(agent, "Clean up, please.")
    print("interrupted:", len(result.interruptions))
    file.write_text(json.dumps(result.to_state().to_json()))

    # Another day.
    state = await RunState.from_json(agent, json.loads(file.read_text()))
    for interruption in state.get_interruptions():
        print(interruption.agent.name, interruption.name, interruption.arguments)
        if "passwd" in interruption.arguments:
            state.reject(interruption, rejection_message="Not that one.")
        else:
            state.approve(interruption)
    result = await Runner.run(agent, state)
    print(result.final_output)
    outputs = [item for item in result.to_input_list() if item.get("type") == "function_call_output"]
    for item in sorted(outputs, key=lambda item: item["output"]):
        print(item["type"], item["output"])


asyncio.run(main())
