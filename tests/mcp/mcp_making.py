"""Real servers in processes, and clients of them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mcp.types import Tool

from flowcore import RunContextWrapper, ToolContext
from flowcore.mcp import MCPServer, MCPServerSse, MCPServerStdio, MCPServerStreamableHttp

SERVED = Path(__file__).with_name("mcp_served.py")


class Http:
    """A server process on the loopback. ``kind``: ``http``, ``legacy-http`` or ``sse``."""

    def __init__(self, kind: str, log: Path) -> None:
        self.kind = kind
        self.log = log
        self.port = 0
        self.start()

    def start(self) -> None:
        arguments = [sys.executable, str(SERVED), self.kind, str(self.log), str(self.port)]
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{'sse' if self.kind == 'sse' else 'mcp'}"

    def client(self, **options: Any) -> MCPServerSse | MCPServerStreamableHttp:
        options.setdefault("name", "served")
        options.setdefault("client_session_timeout_seconds", 30)
        kind = MCPServerSse if self.kind == "sse" else MCPServerStreamableHttp
        return kind({"url": self.url}, **options)

    def noted(self) -> list[str]:
        return noted(self.log)


def noted(log: Path) -> list[str]:
    """What the server did, line by line."""
    return log.read_text().splitlines() if log.exists() else []


def stdio(log: Path, gate: Path | None = None, env: dict[str, str] | None = None, **options: Any) -> MCPServerStdio:
    options.setdefault("name", "served")
    options.setdefault("client_session_timeout_seconds", 30)
    arguments = [str(SERVED), "stdio", str(log), *([] if gate is None else [str(gate)])]
    return MCPServerStdio({"command": sys.executable, "args": arguments, "env": env or {}}, **options)


async def until(condition: Callable[[], Any]) -> None:
    """Wait for what another process does; the test's own timeout is the limit."""
    while not condition():  # noqa: ASYNC110 - it happens in another process
        await asyncio.sleep(0.01)


def run_context(**context: Any) -> RunContextWrapper[Any]:
    return RunContextWrapper(context)


async def offered(server: MCPServer, agent: Any = "an agent", **options: Any) -> dict[str, Any]:
    """The function tools, by name."""
    return {tool.name: tool for tool in await server.function_tools(run_context(), agent, **options)}


async def call(tool: Any, arguments: str = "{}") -> Any:
    """What a model that calls the tool is told, as the loop asks for it."""
    return await tool.invoke(ToolContext(None, tool_name=tool.name, tool_call_id="call_1"), arguments)


def text(told: Any) -> str:
    assert told["type"] == "text", told
    return str(told["text"])


class Odd(MCPServer):
    """A server that cancels its own calls."""

    name = "odd"

    async def connect(self) -> None: ...
    async def cleanup(self) -> None: ...
    async def list_prompts(self) -> Any: ...
    async def get_prompt(self, name: str, arguments: Any = None) -> Any: ...

    async def list_tools(self, run_context: Any = None, agent: Any = None) -> Any:
        return [Tool(name="odd", input_schema={}), Tool(name="broken", input_schema={})]

    async def call_tool(self, tool_name: str, arguments: Any, meta: Any = None) -> Any:
        if tool_name == "broken":
            raise ZeroDivisionError("by zero")
        if arguments:
            await asyncio.Event().wait()
        raise asyncio.CancelledError
