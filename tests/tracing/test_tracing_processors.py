"""Batches in the background, the console, and OpenAI's endpoint played by a local server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from flowcore import UserError
from flowcore.models.openai_defaults import _Defaults, set_default_openai_key
from flowcore.tracing import (
    BackendSpanExporter,
    BatchTraceProcessor,
    ConsoleSpanExporter,
    CustomSpanData,
    GenerationSpanData,
    Span,
    Trace,
    TracingExporter,
    set_tracing_export_api_key,
)
from flowcore.tracing.backend import CUT, FIELD_BYTES, fitted

PATIENCE = 30.0


class Given(TracingExporter):
    """Keeps the batches that it was given. ``hold``: export waits for it."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.came = threading.Event()
        self.hold: threading.Event | None = None

    def export(self, items: list[Any]) -> None:
        self.came.set()
        if self.hold is not None:
            assert self.hold.wait(PATIENCE)
        self.batches.append(items)

    @property
    def items(self) -> list[Any]:
        return [one for batch in self.batches for one in batch]


def span(n: int = 0) -> Span[Any]:
    made = Span(Trace("t", "trace_1"), None, CustomSpanData(str(n), {}))
    made.start()
    made.finish()
    return made


def test_what_waits_is_sent_in_batches() -> None:
    given = Given()
    processor = BatchTraceProcessor(given, max_batch_size=3, schedule_delay=60)
    trace = Trace("t")
    processor.on_trace_start(trace)
    spans = [span(n) for n in range(6)]
    for one in spans:
        processor.on_span_start(one)
        processor.on_span_end(one)
    processor.on_trace_end(trace)
    processor.force_flush()
    assert given.items == [trace, *spans]
    assert [len(batch) for batch in given.batches] == [3, 3, 1]
    processor.shutdown()


def test_what_waits_is_sent_after_the_delay_without_anybody_asking() -> None:
    given = Given()
    processor = BatchTraceProcessor(given, schedule_delay=0.01)
    processor.on_span_end(span())
    assert given.came.wait(PATIENCE)
    processor.shutdown()
    assert len(given.items) == 1


def test_a_queue_that_fills_is_sent_at_once() -> None:
    given = Given()
    processor = BatchTraceProcessor(given, max_queue_size=10, schedule_delay=3600, export_trigger_ratio=0.5)
    for n in range(5):
        processor.on_span_end(span(n))
    assert given.came.wait(PATIENCE)
    processor.shutdown()
    assert len(given.items) == 5


def test_what_comes_when_the_queue_is_full_is_dropped_and_counted() -> None:
    given = Given()
    given.hold = threading.Event()
    processor = BatchTraceProcessor(given, max_queue_size=4, max_batch_size=1, schedule_delay=3600)
    for n in range(2):
        processor.on_span_end(span(n))  # 2 of 4 make the trigger
    assert given.came.wait(PATIENCE)  # one is on its way, one waits
    for n in range(2, 10):
        processor.on_span_end(span(n))
    assert processor.dropped == 5
    given.hold.set()
    processor.shutdown()
    assert len(given.items) == 5
    processor.on_span_end(span())
    assert processor.dropped == 6


def test_an_exporter_that_raises_ends_nothing() -> None:
    class Broken(Given):
        def export(self, items: list[Any]) -> None:
            super().export(items)
            if len(self.batches) == 1:
                raise RuntimeError("no")

    given = Broken()
    processor = BatchTraceProcessor(given, max_batch_size=1, schedule_delay=60)
    processor.on_span_end(span())
    processor.force_flush()
    processor.on_span_end(span())
    processor.shutdown()
    assert len(given.items) == 2


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UserError, match="export_trigger_ratio=2"):
        BatchTraceProcessor(Given(), export_trigger_ratio=2)


FORKING = """
import os, sys
from flowcore.tracing import *
class Out(TracingExporter):
    def export(self, items):
        names = [one.span_data.name for one in items if isinstance(one, Span)]
        os.write(1, f"{os.getpid() == parent} {names}\\n".encode())
parent = os.getpid()
add_trace_processor(BatchTraceProcessor(Out(), schedule_delay=3600))
with trace("t"):
    with custom_span("parent's"): pass
    child = os.fork()
    if not child:
        with custom_span("child's"): pass
        flush_traces()
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_sends_only_what_is_its_own_and_the_end_of_the_process_sends_the_rest() -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORKING], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ['False ["child\'s"]', 'True ["parent\'s"]']


def test_the_console_shows_what_it_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    ConsoleSpanExporter().export([Trace("work"), span(7)])
    shown = capsys.readouterr().out
    assert "name=work" in shown
    assert "'name': '7'" in shown


# -- OpenAI's endpoint ------------------------------------------------------------------------------------------------


class Endpoint:
    """A server on this machine. ``answers``: the statuses that it gives, in order; then 200."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.asked: list[tuple[dict[str, str], Any]] = []
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                endpoint.asked.append((dict(self.headers.items()), body))
                self.send_response(endpoint.answers.pop(0) if endpoint.answers else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/traces/ingest"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    yield made
    made.close()


@pytest.fixture
def exporter(endpoint: Endpoint) -> Iterator[Callable[..., BackendSpanExporter]]:
    made: list[BackendSpanExporter] = []

    def make(**given: Any) -> BackendSpanExporter:
        made.append(BackendSpanExporter(endpoint=endpoint.url, base_delay=0.001, **given))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_traces_are_sent_with_the_headers_that_the_endpoint_asks_for(endpoint: Endpoint, exporter: Any) -> None:
    exporter(api_key="sk-1", organization="org", project="proj").export([Trace("t"), span()])
    headers, body = endpoint.asked[0]
    assert headers["Authorization"] == "Bearer sk-1"
    assert headers["OpenAI-Beta"] == "traces=v1"
    assert (headers["OpenAI-Organization"], headers["OpenAI-Project"]) == ("org", "proj")
    assert [one["object"] for one in body["data"]] == ["trace", "trace.span"]


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_passing_trouble_is_tried_again(endpoint: Endpoint, exporter: Any, status: int) -> None:
    endpoint.answers = [status, status]
    exporter(api_key="k").export([span()])
    assert len(endpoint.asked) == 3


def test_trouble_that_stays_is_given_up(endpoint: Endpoint, exporter: Any) -> None:
    endpoint.answers = [500] * 9
    exporter(api_key="k", max_retries=2).export([span()])
    assert len(endpoint.asked) == 3


def test_a_refusal_is_not_tried_again(endpoint: Endpoint, exporter: Any) -> None:
    endpoint.answers = [400]
    exporter(api_key="k").export([span()])
    assert len(endpoint.asked) == 1


def test_an_endpoint_that_nobody_serves_harms_nobody(endpoint: Endpoint) -> None:
    BackendSpanExporter(api_key="k", endpoint="http://127.0.0.1:1/", base_delay=0.001, max_retries=1).export([span()])
    assert endpoint.asked == []


def test_keys_come_from_the_trace_the_exporter_the_process_or_the_environment(
    endpoint: Endpoint, exporter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr("flowcore.tracing.backend._KEY", None)
    monkeypatch.setattr("flowcore.models.openai_defaults._defaults", _Defaults())
    keyless = exporter()
    keyless.export([span()])
    assert endpoint.asked == []
    monkeypatch.setenv("OPENAI_API_KEY", "env")
    keyless.export([span()])
    set_default_openai_key("models only", use_for_tracing=False)
    keyless.export([span()])
    set_default_openai_key("models and traces")
    keyless.export([span()])
    set_tracing_export_api_key("process")
    keyless.export([span()])
    keyless.set_api_key("own")
    keyless.export([span(), Trace("t", tracing_api_key="trace")])
    keys = [headers["Authorization"] for headers, _ in endpoint.asked]
    assert [key.removeprefix("Bearer ") for key in keys] == [
        "env", "env", "models and traces", "process", "own", "trace",
    ]  # fmt: skip


def test_too_long_fields_are_cut_and_unknown_usage_is_left_out() -> None:
    messages = [{"role": "user", "content": "x" * 30_000} for _ in range(10)]
    usage = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3, "requests": 1}
    made = Span(Trace("t"), None, GenerationSpanData(messages, [{"text": "ü" * 300_000}], usage=usage))
    exported = made.export()
    assert exported is not None
    data = fitted(exported)["span_data"]
    assert data["usage"] == {"input_tokens": 1, "output_tokens": 2}
    for field in ("input", "output"):
        assert len(json.dumps(data[field]).encode()) <= FIELD_BYTES
    assert data["input"][0]["left_out"] == 7
    assert data["input"][1:] == messages[7:]
    assert data["output"].endswith(CUT)
    assert exported["span_data"]["input"] is messages  # the span keeps what it has
