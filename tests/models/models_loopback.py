"""A loopback HTTP server for exact cases: each request is kept, and answered with what the test laid ready."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Loopback:
    """``url``: the base for a client. ``answers``: one for each request, in order; the last serves all further ones."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.asked = asyncio.Event()
        self.client_left = asyncio.Event()
        self.url = ""
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()
        await asyncio.gather(*self._connections)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._answer(reader, writer)
        finally:
            writer.close()
            await _quietly(writer.wait_closed())

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = head.split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        self.paths.append(lines[0].split()[1])
        self.headers.append(headers)
        self.bodies.append(json.loads(await reader.readexactly(int(headers["content-length"]))))
        self.asked.set()
        answer = self.answers[min(len(self.bodies), len(self.answers)) - 1]
        answering = asyncio.create_task(_quietly(answer(writer)))
        watching = asyncio.create_task(self._watch(reader))
        await asyncio.wait({answering, watching}, return_when=asyncio.FIRST_COMPLETED)
        for task in (answering, watching):
            task.cancel()
        await asyncio.gather(answering, watching, return_exceptions=True)

    async def _watch(self, reader: asyncio.StreamReader) -> None:
        try:
            gone = await reader.read(1) == b""
        except ConnectionError:
            gone = True
        if gone:
            self.client_left.set()


async def _quietly(answer: Awaitable[None]) -> None:
    try:
        await answer
    except ConnectionError:
        pass


def answer_json(data: Any, status: int = 200, **headers: str) -> Answer:
    """The whole answer at once."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        body = (data if isinstance(data, str) else json.dumps(data)).encode()
        lines = [f"HTTP/1.1 {status} X", "content-type: application/json", f"content-length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "connection: close", "", ""]).encode() + body)
        await writer.drain()

    return answer


def answer_events(*events: Any, then: str = "end", **headers: str) -> Answer:
    """Server-sent events. ``then``: "end" properly, "hang_up" in the middle, or "wait" for ever."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        lines = ["HTTP/1.1 200 OK", "content-type: text/event-stream", "transfer-encoding: chunked"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "connection: close", "", ""]).encode())
        for event in events:
            text = event if isinstance(event, str) else json.dumps(event)
            data = f"data: {text}\n\n".encode()
            writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            await writer.drain()
        if then == "wait":
            await asyncio.sleep(60)
        if then == "end":
            writer.write(b"0\r\n\r\n")
            await writer.drain()

    return answer


def answer_late(seconds: float, answer: Answer) -> Answer:
    """The same, after ``seconds``."""

    async def late(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        await answer(writer)

    return late
