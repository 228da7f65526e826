"""A model behind HTTP that says what a script lays ready, for both OpenAI APIs, whole and streamed.

A script says it in comments, and what it prints::

    # model> The text of a reply.
    # model> @tool {"a": 1}          a reply that calls a tool
    # model+ @other {}               one more item in the same reply
    # model[Spanish]> ¡Hola!         only for a request that says "Spanish" in its instructions or last message
    # model> !Not that.              a refusal
    # model> ={"type": "reasoning"}  an item, as it is
    # model> %503                    an HTTP error
    # prints> a line of output
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_LINE = re.compile(r"# (?:model(?:\[(?P<need>.+?)\])?(?P<more>[>+])|(?P<prints>prints>)) ?(?P<said>.*)")


@dataclass
class Reply:
    """One answer. ``need``: what the request has to say for it."""

    items: list[str]
    need: str | None = None
    used: bool = False


@dataclass
class Laid:
    """What a script lays ready, and what it prints."""

    replies: list[Reply] = field(default_factory=list)
    prints: list[str] = field(default_factory=list)


def laid_by(source: str) -> Laid:
    laid = Laid()
    for line in source.splitlines():
        found = _LINE.fullmatch(line)
        if found is None:
            continue
        if found["prints"]:
            laid.prints.append(found["said"])
        elif found["more"] == "+":
            laid.replies[-1].items.append(found["said"])
        else:
            laid.replies.append(Reply([found["said"]], found["need"]))
    return laid


class ModelServer:
    """``url``: the base for a client. ``bodies``: the requests, as they came."""

    def __init__(self, replies: list[Reply]) -> None:
        self.replies = replies
        self.bodies: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.model = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> ModelServer:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def unsaid(self) -> list[Reply]:
        return [reply for reply in self.replies if not reply.used]

    def take(self, body: dict[str, Any]) -> tuple[int, Reply | None]:
        """The request's number and the first reply for it that isn't used yet."""
        asked = _asked(body)
        with self._lock:
            self.bodies.append(body)
            for reply in self.replies:
                if not reply.used and (reply.need is None or reply.need in asked):
                    reply.used = True
                    return len(self.bodies), reply
            return len(self.bodies), None


def _asked(body: dict[str, Any]) -> str:
    last = (body.get("input") or body.get("messages") or "")[-1:] if not isinstance(body.get("input"), str) else body
    return json.dumps([body.get("instructions"), (body.get("messages") or [None])[0], last], ensure_ascii=False)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        number, reply = self.server.model.take(body)  # type: ignore[attr-defined]
        if reply is None:
            self._whole(500, {"error": {"message": f"no reply is laid ready for request {number}: {_asked(body)}"}})
        elif reply.items[0].startswith("%"):
            self._whole(int(reply.items[0][1:]), {"error": {"message": "try again"}}, {"retry-after-ms": "1"})
        elif self.path.endswith("/chat/completions"):
            completion = _completion(number, reply.items)
            if body.get("stream"):
                self._events([*_chunks(completion), "[DONE]"])
            else:
                self._whole(200, completion)
        else:
            response = _response(number, reply.items, body)
            if body.get("stream"):
                self._events(list(_response_events(response)))
            else:
                self._whole(200, response)

    def _whole(self, status: int, data: Any, headers: dict[str, str] | None = None) -> None:
        payload = json.dumps(data).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def _events(self, events: list[Any]) -> None:
        lines = []
        for event in events:
            kind = f"event: {event['type']}\n" if isinstance(event, dict) and "type" in event else ""
            lines.append(f"{kind}data: {event if isinstance(event, str) else json.dumps(event)}\n\n")
        payload = "".join(lines).encode()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)


_USAGE = {
    "input_tokens": 10, "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
    "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 1}, "total_tokens": 15,
}  # fmt: skip


def _response(number: int, said: list[str], body: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": f"resp_{number}", "object": "response", "created_at": int(time.time()), "model": body.get("model"),
        "status": "completed", "output": [_item(number, n, one) for n, one in enumerate(said)], "usage": _USAGE,
        "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "error": None, "incomplete_details": None,
        "instructions": None, "metadata": {}, "temperature": 1.0, "top_p": 1.0,
    }  # fmt: skip


def _item(number: int, n: int, said: str) -> dict[str, Any]:
    if said.startswith("={"):
        item: dict[str, Any] = json.loads(said[1:])
        return item
    if said.startswith("@"):
        name, _, arguments = said[1:].partition(" ")
        return {
            "type": "function_call", "id": f"fc_{number}_{n}", "call_id": f"call_{number}_{n}", "name": name,
            "arguments": arguments or "{}", "status": "completed",
        }  # fmt: skip
    part: dict[str, Any] = {"type": "output_text", "text": said, "annotations": [], "logprobs": []}
    if said.startswith("!"):
        part = {"type": "refusal", "refusal": said[1:]}
    return {
        "type": "message", "id": f"msg_{number}_{n}", "role": "assistant", "status": "completed", "content": [part],
    }  # fmt: skip


def _response_events(response: dict[str, Any]) -> Iterator[dict[str, Any]]:
    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
    ]
    for index, item in enumerate(response["output"]):
        events.append({"type": "response.output_item.added", "output_index": index, "item": _begun(item)})
        events += _parts(index, item)
        events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    events.append({"type": "response.completed", "response": response})
    for n, event in enumerate(events):
        yield {**event, "sequence_number": n}


def _begun(item: dict[str, Any]) -> dict[str, Any]:
    empty = {"content": []} if item["type"] == "message" else {"arguments": ""}
    return {**item, **empty, "status": "in_progress"}


def _parts(index: int, item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    at = {"item_id": item.get("id"), "output_index": index}
    if item["type"] == "function_call":
        for piece in _pieces(item["arguments"]):
            yield {"type": "response.function_call_arguments.delta", **at, "delta": piece}
        done = {"name": item["name"], "arguments": item["arguments"]}
        yield {"type": "response.function_call_arguments.done", **at, **done}
    for n, part in enumerate(item.get("content") or ()):
        at = {**at, "content_index": n}
        what, key = ("output_text", "text") if part["type"] == "output_text" else ("refusal", "refusal")
        yield {"type": "response.content_part.added", **at, "part": {**part, key: ""}}
        for piece in _pieces(part[key]):
            yield {"type": f"response.{what}.delta", **at, "delta": piece, "logprobs": []}
        yield {"type": f"response.{what}.done", **at, key: part[key], "logprobs": []}
        yield {"type": "response.content_part.done", **at, "part": part}


def _pieces(text: str) -> list[str]:
    return re.findall(r"\S+\s*|\s+", text) or [text]


def _completion(number: int, said: list[str]) -> dict[str, Any]:
    items = [_item(number, n, one) for n, one in enumerate(said)]
    message: dict[str, Any] = {"role": "assistant", "content": None}
    for item in items:
        if item["type"] == "message":
            part = item["content"][0]
            message["refusal" if part["type"] == "refusal" else "content"] = part.get("text") or part.get("refusal")
        else:
            function = {"name": item["name"], "arguments": item["arguments"]}
            call = {"id": item["call_id"], "type": "function", "function": function}
            message.setdefault("tool_calls", []).append(call)
    return {
        "id": f"chatcmpl_{number}", "object": "chat.completion", "created": int(time.time()), "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }  # fmt: skip


def _chunks(completion: dict[str, Any]) -> Iterator[dict[str, Any]]:
    head = {key: completion[key] for key in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    message = completion["choices"][0]["message"]
    for piece in _pieces(message["content"]) if message["content"] else []:
        yield {**head, "choices": [{"index": 0, "delta": {"role": "assistant", "content": piece}}]}
    for n, call in enumerate(message.get("tool_calls", ())):
        yield {**head, "choices": [{"index": 0, "delta": {"tool_calls": [{"index": n, **call}]}}]}
    yield {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    yield {**head, "choices": [], "usage": completion["usage"]}
