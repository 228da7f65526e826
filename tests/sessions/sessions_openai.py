"""A small server of OpenAI's conversations and of its compaction, over HTTP on 127.0.0.1."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlparse

COMPACTED = [{"type": "compaction", "id": "cmp_1", "encrypted_content": "sealed", "of_tomorrow": [1]}]


class OpenAIServer:
    """``conversations``: their items by id. ``asked``: (method, path, body) of each request. ``refuse``: statuses to
    answer the next requests with. ``meanwhile``: called while a compaction is under way."""

    def __init__(self) -> None:
        self.conversations: dict[str, list[dict[str, Any]]] = {}
        self.asked: list[tuple[str, str, Any]] = []
        self.refuse: list[int] = []
        self.short: Any = COMPACTED
        self.meanwhile: Any = None
        self._numbers = iter(range(1, 10_000))
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *words: object) -> None:
                """Say nothing."""

            def _serve(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or "null")
                status, answer = outer.answer(self.command, self.path, body)
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_DELETE = _serve

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        url = urlparse(path)
        self.asked.append((method, url.path.removeprefix("/v1"), body))
        if self.refuse:
            return self.refuse.pop(0), {"error": {"message": "not now", "code": "busy"}}
        parts = url.path.removeprefix("/v1/").split("/")
        if parts == ["responses", "compact"]:
            if self.meanwhile is not None:
                self.meanwhile()
            usage = {"input_tokens": 100, "output_tokens": 7, "total_tokens": 107}
            short = {"id": "resp_c", "object": "response.compaction", "created_at": 1, "output": self.short}
            return 200, {**short, "usage": usage}
        if parts == ["conversations"]:
            made = f"conv_{next(self._numbers)}"
            self.conversations[made] = []
            return 200, self._conversation(made)
        items = self.conversations.get(parts[1])
        if items is None:
            return 404, {"error": {"message": "no such conversation", "code": "not_found"}}
        if len(parts) == 2 and method == "DELETE":
            del self.conversations[parts[1]]
            return 200, {"id": parts[1], "object": "conversation.deleted", "deleted": True}
        return self._of_items(
            method, parts, items, {name: value[0] for name, value in parse_qs(url.query).items()}, body
        )

    def _of_items(
        self, method: str, parts: list[str], items: list[dict[str, Any]], query: dict[str, str], body: Any
    ) -> tuple[int, Any]:
        if method == "POST":
            if len(body["items"]) > 20:
                return 400, {"error": {"message": "at most 20 items", "code": "too_many"}}
            new = [{"type": "message", **item, "id": f"item_{next(self._numbers)}"} for item in body["items"]]
            items += new
            return 200, self._page(new, more=False)
        if method == "DELETE":
            items[:] = [item for item in items if item["id"] != parts[3]]
            return 200, self._conversation(parts[1])
        ordered = items if query.get("order") == "asc" else items[::-1]
        if "after" in query:
            ordered = ordered[[item["id"] for item in ordered].index(query["after"]) + 1 :]
        size = int(query.get("limit", "20"))
        return 200, self._page(ordered[:size], more=len(ordered) > size)

    @staticmethod
    def _page(items: list[dict[str, Any]], more: bool) -> dict[str, Any]:
        first, last = (items[0]["id"], items[-1]["id"]) if items else ("", "")
        return {"object": "list", "data": items, "has_more": more, "first_id": first, "last_id": last}

    @staticmethod
    def _conversation(name: str) -> dict[str, Any]:
        return {"id": name, "object": "conversation", "created_at": 1, "metadata": {}}
