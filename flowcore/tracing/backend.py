"""``BackendSpanExporter``: sends traces to OpenAI's trace dashboard.

Unlike in the Agents SDK nothing is sent there unless you ask for it: no processor is registered by default, so no data
leaves the machine. To have what the SDK does: ``add_trace_processor(BatchTraceProcessor(BackendSpanExporter()))``.
"""

from __future__ import annotations

import json
import os
import random
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flowcore.engine.log import log
from flowcore.models.openai_defaults import tracing_api_key
from flowcore.tracing.processor_interface import TracingExporter

if TYPE_CHECKING:
    import httpx

    from flowcore.tracing.spans import Span
    from flowcore.tracing.traces import Trace

ENDPOINT = "https://api.openai.com/v1/traces/ingest"
FIELD_BYTES = 100_000
"""The most that one field of a span may hold, in bytes of JSON; the endpoint refuses more."""
CUT = "... [truncated]"
USAGE = ("input_tokens", "output_tokens")
"""What the endpoint takes of a generation's usage."""
TRIED_AGAIN = frozenset({408, 409, 429})
"""Statuses below 500 that are tried again."""

_KEY: str | None = None


def set_tracing_export_api_key(api_key: str) -> None:
    """The key that ``BackendSpanExporter`` uses where it was given none. It adds no exporter."""
    global _KEY
    _KEY = api_key


class BackendSpanExporter(TracingExporter):
    """Sends to OpenAI's ingest endpoint.

    ``api_key``: default ``set_tracing_export_api_key``'s, then ``set_default_openai_key``'s, then OPENAI_API_KEY; a
    trace's own (``TracingConfig["api_key"]``) goes before. ``organization``, ``project``: default OPENAI_ORG_ID,
    OPENAI_PROJECT_ID. Server errors, 408, 409 and 429 are tried again up to ``max_retries`` times, after ``base_delay``
    seconds, twice as many each time, at most ``max_delay``; anything else is logged and dropped.
    """

    def __init__(
        self,
        api_key: str | None = None,
        organization: str | None = None,
        project: str | None = None,
        endpoint: str = ENDPOINT,
        max_retries: int = 3,
        base_delay: float = 1.0,
        max_delay: float = 30.0,
    ) -> None:
        self._api_key = api_key
        self._organization = organization
        self._project = project
        self.endpoint = endpoint
        self.max_retries = max_retries
        self.base_delay = base_delay
        self.max_delay = max_delay
        self._client: httpx.Client | None = None
        self._closed = threading.Event()

    @property
    def api_key(self) -> str | None:
        return self._api_key or _KEY or tracing_api_key() or os.environ.get("OPENAI_API_KEY")

    @property
    def organization(self) -> str | None:
        return self._organization or os.environ.get("OPENAI_ORG_ID")

    @property
    def project(self) -> str | None:
        return self._project or os.environ.get("OPENAI_PROJECT_ID")

    def set_api_key(self, api_key: str) -> None:
        """Use this key from now on."""
        self._api_key = api_key

    def export(self, items: list[Trace | Span[Any]]) -> None:
        by_key: dict[str | None, list[dict[str, Any]]] = {}
        for item in items:
            data = item.export()
            if data is not None:
                by_key.setdefault(item.tracing_api_key or self.api_key, []).append(fitted(data))
        for key, batch in by_key.items():
            if key is None:
                log("traces aren't exported: OPENAI_API_KEY is not set", level="warning", items=len(batch))
            else:
                self._send(key, batch)

    def close(self) -> None:
        """Close the connection, and try nothing again any more."""
        self._closed.set()
        if self._client is not None:
            self._client.close()
            self._client = None

    def _send(self, key: str, data: list[dict[str, Any]]) -> None:
        import httpx

        if self._client is None:
            self._client = httpx.Client(timeout=httpx.Timeout(60.0, connect=5.0))
        headers = {
            "Authorization": f"Bearer {key}",
            "Content-Type": "application/json",
            "OpenAI-Beta": "traces=v1",
            **({"OpenAI-Organization": self.organization} if self.organization else {}),
            **({"OpenAI-Project": self.project} if self.project else {}),
        }
        body = json.dumps({"data": data}, default=str).encode("utf-8", "replace")
        delay = self.base_delay
        for attempt in range(self.max_retries + 1):
            try:
                answer = self._client.post(self.endpoint, headers=headers, content=body)
            except httpx.HTTPError as error:
                problem = repr(error)
            else:
                if answer.status_code < 300:
                    return
                problem = f"{answer.status_code}: {answer.text[:500]}"
                if answer.status_code < 500 and answer.status_code not in TRIED_AGAIN:
                    log("traces were refused", level="error", items=len(data), answer=problem)
                    return
            if attempt == self.max_retries or self._closed.wait(delay * random.uniform(1.0, 1.1)):
                break
            delay = min(delay * 2, self.max_delay)
        log("traces couldn't be sent", level="error", items=len(data), attempts=attempt + 1, problem=problem)


def fitted(exported: dict[str, Any]) -> dict[str, Any]:
    """An exported trace or span as the endpoint takes it: too long fields cut, usage without what it doesn't know."""
    data = exported.get("span_data")
    if not isinstance(data, dict):
        return exported
    fields = {name: _cut(value) for name, value in data.items()}
    if data.get("type") == "generation" and isinstance(data.get("usage"), Mapping):
        fields["usage"] = {name: data["usage"][name] for name in USAGE if name in data["usage"]}
    return {**exported, "span_data": fields}


def _cut(value: Any) -> Any:
    """A field of at most ``FIELD_BYTES``: a text is shortened, a list keeps its end, anything else becomes text."""
    if value is None or isinstance(value, (bool, int, float)) or _size(value) <= FIELD_BYTES:
        return value
    if isinstance(value, (list, tuple)):
        kept: list[Any] = []
        left = FIELD_BYTES - len(CUT) - 64
        for one in reversed(value):
            left -= _size(one) + 2
            if left < 0:
                break
            kept.insert(0, one)
        if kept:
            return [{"truncated": CUT, "left_out": len(value) - len(kept)}, *kept]
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    room = FIELD_BYTES - len(CUT) - 2
    while _size(text) > room:
        text = text[: max(0, min(len(text) - 1, int(len(text) * room / _size(text))))]
    return text + CUT


def _size(value: Any) -> int:
    """Bytes of JSON."""
    return len(json.dumps(value, default=str).encode("utf-8", "replace"))
