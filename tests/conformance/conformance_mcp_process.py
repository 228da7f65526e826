"""Another process that goes on with a paused run of an agent with an MCP server:
``python conformance_mcp_process.py LOG STATE approve|reject``. It connects to the server anew, and prints what came."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent.parent / "mcp"))

from mcp_making import stdio

from flowcore import Agent, Runner, RunState
from flowcore.testing import ScriptedModel, function_call


def clerk(server: Any) -> Agent:
    calls = [function_call("add", {"a": 40, "b": 2}, "c1"), function_call("say", {"text": "hi"}, "c2")]
    return Agent(name="Clerk", model=ScriptedModel.by_turn([calls, "done"]), mcp_servers=[server])


async def main(log: str, text: str, verb: str) -> None:
    async with stdio(Path(log), require_approval={"add": "always"}) as server:
        agent = clerk(server)
        loaded = await RunState.from_string(agent, text)
        for item in loaded.get_interruptions():
            if verb == "approve":
                loaded.approve(item)
            else:
                loaded.reject(item, rejection_message="not now")
        result = await Runner.run(agent, loaded)
        outputs = [item["output"] for item in result.to_input_list() if item.get("type") == "function_call_output"]
        origins = [one.tool_origin.mcp_server_name for one in result.new_items if one.type == "tool_call_output_item"]
        print(json.dumps({"final": result.final_output, "outputs": outputs, "origins": origins}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]).read_text(), sys.argv[3]))
