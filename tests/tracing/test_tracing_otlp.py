"""Spans through OpenTelemetry's own exporter, over HTTP, to a receiver on the loopback."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from tracing_making import Kept, everything, refund, said

from flowcore import Agent, MemoryStore, RunConfig, Runner, function_tool, set_trace_processors
from flowcore.testing import function_call
from flowcore.tracing import OpenTelemetryProcessor, flush_traces


class Receiver(HTTPServer):
    """Takes traces in as a collector does."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[ExportTraceServiceRequest] = []

    @property
    def spans(self) -> dict[bytes, WireSpan]:
        """What came, by span id; each came once."""
        scopes = [scope for one in self.requests for resource in one.resource_spans for scope in resource.scope_spans]
        spans = [span for scope in scopes for span in scope.spans]
        found = {span.span_id: span for span in spans}
        assert len(found) == len(spans)
        return found


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        assert self.path == "/v1/traces"
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.requests.append(ExportTraceServiceRequest.FromString(body))
        answer = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture
def receiver(kept: Kept) -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    provider = TracerProvider(resource=Resource.create({"service.name": "clerk"}))
    exporter = OTLPSpanExporter(f"http://127.0.0.1:{server.server_port}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    set_trace_processors([kept, OpenTelemetryProcessor(provider)])
    yield server
    provider.shutdown()
    server.shutdown()
    thread.join()
    server.server_close()


def attributes(span: WireSpan) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


async def test_a_run_arrives_at_a_collector_as_the_tree_it_was(kept: Kept, receiver: Receiver) -> None:
    agent, store = everything(), MemoryStore()
    result = await Runner.run(
        agent, "hi", store=store, run_config=RunConfig(workflow_name="Support", group_id="chat-1")
    )
    state = result.to_state()
    state.approve(state.get_interruptions()[0])
    result = await Runner.run(agent, state)
    assert result.final_output == "all done"
    flush_traces()
    spans = receiver.spans
    assert len(spans) == len(kept.ended)
    for ours in kept.ended:
        theirs = spans[bytes.fromhex(ours.span_id[5:21])]
        assert theirs.trace_id == bytes.fromhex(ours.trace_id[6:])
        assert theirs.parent_span_id == (b"" if ours.parent_id is None else bytes.fromhex(ours.parent_id[5:21]))
        assert theirs.start_time_unix_nano == round((ours.start_time or 0) * 1e9)
        assert theirs.end_time_unix_nano == round((ours.end_time or 0) * 1e9)
        assert attributes(theirs)["gen_ai.conversation.id"] == "chat-1"
    names = {one.name for one in spans.values()}
    assert {
        "Support",
        "invoke_agent Clerk",
        "turn 1",
        "chat scripted",
        "execute_tool refund",
        "handoff Closer",
    } <= names
    chat = next(one for one in spans.values() if one.name == "chat scripted")
    assert chat.kind == WireSpan.SpanKind.SPAN_KIND_CLIENT
    assert attributes(chat)["gen_ai.request.model"] == "scripted"
    assert "You help." in attributes(chat)["gen_ai.input.messages"]
    resource = receiver.requests[0].resource_spans[0].resource
    assert {one.key: one.value.string_value for one in resource.attributes}["service.name"] == "clerk"


async def test_an_error_that_the_model_is_told_of_arrives_as_one(receiver: Receiver) -> None:
    @function_tool
    def fails() -> str:
        raise ValueError("boom")

    await Runner.run(Agent("A", model=said(function_call("fails"), "ok"), tools=[fails]), "hi")
    flush_traces()
    by_name = {one.name: one.status.code for one in receiver.spans.values()}
    assert by_name["execute_tool fails"] == Status.StatusCode.STATUS_CODE_ERROR
    assert by_name["invoke_agent A"] == Status.StatusCode.STATUS_CODE_UNSET


async def test_what_is_kept_out_of_a_trace_isn_t_sent(receiver: Receiver) -> None:
    agent: Any = Agent(
        "A", instructions="secret", model=said(function_call("refund", {"order": 4711}, "c")), tools=[refund]
    )
    await Runner.run(agent, "hello there", run_config=RunConfig(trace_include_sensitive_data=False))
    flush_traces()
    assert receiver.requests
    for word in (b"secret", b"4711", b"hello there"):
        assert not any(word in one.SerializeToString() for one in receiver.requests)
