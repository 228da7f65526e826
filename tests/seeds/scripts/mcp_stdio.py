# model> @secret_word {"language": "Spanish"}
# model> The word is manzana.
# prints> ['secret_word']
# prints> The word is manzana.
# prints> manzana
import asyncio
import sys
from pathlib import Path

from agents import Agent, Runner
from agents.mcp import MCPServerStdio, create_static_tool_filter

Path("server.py").write_text(
    """
from mcp.server.mcpserver import MCPServer

server = MCPServer("words")


@server.tool()
def secret_word(language: str) -> str:
    return {"Spanish": "manzana"}.get(language, "apple")


@server.tool()
def hidden() -> str:
    return "nothing"


server.run("stdio")
"""
)


async def main():
    async with MCPServerStdio(
        name="words",
        params={"command": sys.executable, "args": ["server.py"]},
        cache_tools_list=True,
        client_session_timeout_seconds=30,
        tool_filter=create_static_tool_filter(blocked_tool_names=["hidden"]),
    ) as server:
        agent = Agent(name="Words", instructions="Use your tools.", mcp_servers=[server])
        print([tool.name for tool in await server.list_tools()][:1])
        result = await Runner.run(agent, "What is the secret word in Spanish?")
        print(result.final_output)
        for item in result.new_items:
            if item.type == "tool_call_output_item":
                print(item.output["text"])


asyncio.run(main())
