"""A real MCP server: ``python mcp_served.py stdio|http|legacy-http|sse LOG [GATE|PORT]``.

What it does is written to LOG, a line each. Over stdio it says nothing before the file GATE is there; over HTTP it
prints its port once it listens. ``legacy-http`` speaks only the protocol with sessions. PAGE in the environment says
how many tools are listed at once.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

import mcp.types as wire
import uvicorn
from mcp.server.mcpserver import Context, Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError

KIND, LOG = sys.argv[1], Path(sys.argv[2])


def note(line: str) -> None:
    with LOG.open("a") as file:
        file.write(line + "\n")


class Served(MCPServer[Any]):
    async def list_tools(self) -> list[wire.Tool]:
        note("list")
        return await super().list_tools()

    async def _handle_list_tools(self, ctx: Any, params: wire.PaginatedRequestParams | None) -> wire.ListToolsResult:
        tools = await self.list_tools()
        size = int(os.environ.get("PAGE", len(tools)))
        begin = int(params.cursor) if params and params.cursor else 0
        end = begin + size
        return wire.ListToolsResult(tools=tools[begin:end], next_cursor=str(end) if end < len(tools) else None)


server = Served("served")


@server.tool(title="Adding up")
def add(a: int, b: int = 1) -> int:
    """Adds two numbers."""
    note(f"add {a} {b}")
    return a + b


@server.tool(structured_output=False)
def say(text: str) -> str:
    note(f"say {text}")
    return text


@server.tool(structured_output=False)
def pid() -> str:
    return str(os.getpid())


@server.tool(structured_output=False)
def picture() -> Image:
    return Image(data=b"\x89PNG", format="png")


@server.tool(structured_output=False)
def mixed() -> list[Any]:
    return [
        wire.TextContent(type="text", text="one"),
        wire.AudioContent(type="audio", data="UklGRg==", mime_type="audio/wav"),
        wire.EmbeddedResource(
            type="resource",
            resource=wire.TextResourceContents(uri="file:///a.txt", text="inside", mime_type="text/plain"),
        ),
    ]


@server.tool(structured_output=False)
def nothing() -> list[Any]:
    return []


@server.tool()
def weather(city: str) -> dict[str, Any]:
    return {"city": city, "degrees": 21}


@server.tool(structured_output=False)
def fail(mark: str) -> str:
    note(f"fail {mark}")
    raise ToolError(f"no such thing: {mark}")


@server.tool(structured_output=False)
async def hold(mark: str) -> str:
    """Goes on when the file LOG.MARK is there."""
    note(f"hold {mark}")
    try:
        while not LOG.with_name(f"{LOG.name}.{mark}").exists():  # noqa: ASYNC110 - the test is another process
            await asyncio.sleep(0.01)
    except asyncio.CancelledError:
        note(f"cancelled {mark}")
        raise
    return f"released {mark}"


@server.tool(structured_output=False)
async def die(mark: str) -> str:
    note(f"die {mark}")
    os._exit(3)


@server.tool(structured_output=False)
def meta(context: Context) -> str:
    sent = dict(context.request_context.meta or {})
    return json.dumps({key: value for key, value in sent.items() if "/" not in key})


@server.tool(structured_output=False)
async def grow(name: str, context: Context) -> str:
    def grown() -> str:
        return name

    server.add_tool(grown, name=name)
    await context.session.send_tool_list_changed()
    return "grown"


@server.prompt()
def greet(who: str) -> str:
    """Greets."""
    return f"Hello {who}"


@server.resource("note://one")
def one() -> str:
    return "first note"


@server.resource("note://{name}/text")
def named(name: str) -> str:
    return f"note {name}"


def legacy(app: Any) -> Any:
    """The app without the newer protocol."""

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await app(scope, receive, send)
            return
        message = await receive()
        body = json.loads(message["body"] or b"{}")
        if body.get("method") == "server/discover":
            error = {"jsonrpc": "2.0", "id": body["id"], "error": {"code": -32601, "message": "Method not found"}}
            await send(
                {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]}
            )
            await send({"type": "http.response.body", "body": json.dumps(error).encode()})
            return
        again = [message]

        async def replay() -> Any:
            return again.pop() if again else await receive()

        await app(scope, replay, send)

    return serve


def main() -> None:
    note(f"start {os.getpid()}")
    if KIND == "stdio":
        while len(sys.argv) > 3 and not Path(sys.argv[3]).exists():
            time.sleep(0.01)
        server.run("stdio")
        return
    app: Any = server.sse_app() if KIND == "sse" else server.streamable_http_app()
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", int(sys.argv[3]) if len(sys.argv) > 3 else 0))
    listening.listen(64)
    print(listening.getsockname()[1], flush=True)
    config = uvicorn.Config(legacy(app) if KIND == "legacy-http" else app, log_level="error")
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
