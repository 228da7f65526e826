"""Spans in OpenTelemetry, by its conventions for generative AI."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from opentelemetry import trace as otel
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracerProvider, SpanKind, StatusCode
from tracing_making import Kept, broken, everything, said

from flowcore import (
    Agent,
    UserError,
    custom_span,
    generation_span,
    mcp_tools_span,
    response_span,
    set_trace_processors,
    start,
    trace,
)
from flowcore.testing import finish, function_call
from flowcore.tracing import OpenTelemetryProcessor


@pytest.fixture
def seen(kept: Kept) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource.create({"service.name": "clerk"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    set_trace_processors([kept, OpenTelemetryProcessor(provider)])
    return exporter


def named(spans: Any, name: str) -> ReadableSpan:
    return next(one for one in spans if one.name == name)


async def test_a_run_is_a_tree_in_opentelemetry_with_the_same_ids_and_times(
    kept: Kept, seen: InMemorySpanExporter
) -> None:
    await finish(await start(everything(), "hi", meta={"trace": {"group_id": "chat-1"}}))
    spans = {one.context.span_id: one for one in seen.get_finished_spans()}
    assert len(spans) == len(kept.ended)
    for ours in kept.ended:
        theirs = spans[int(ours.span_id[5:21], 16)]
        assert theirs.context.trace_id == int(ours.trace_id[6:], 16)
        above = None if theirs.parent is None else theirs.parent.span_id
        assert above == (None if ours.parent_id is None else int(ours.parent_id[5:21], 16))
        assert theirs.start_time == round(ours.start_time * 1e9)
        assert theirs.end_time == round(ours.end_time * 1e9)
        assert theirs.attributes["gen_ai.conversation.id"] == "chat-1"
        assert theirs.resource.attributes["service.name"] == "clerk"


async def test_spans_are_described_by_the_conventions(seen: InMemorySpanExporter) -> None:
    await finish(await start(everything(), "hi"))
    spans = seen.get_finished_spans()
    agent = named(spans, "invoke_agent Clerk").attributes
    assert (agent["gen_ai.operation.name"], agent["gen_ai.agent.name"]) == ("invoke_agent", "Clerk")
    assert agent["flowcore.agent.handoffs"] == ("Closer",)
    chat = named(spans, "chat scripted")
    assert chat.kind is SpanKind.CLIENT
    assert chat.attributes["gen_ai.operation.name"] == "chat"
    assert chat.attributes["gen_ai.usage.input_tokens"] == 10
    assert chat.attributes["gen_ai.usage.output_tokens"] == 3
    assert chat.attributes["gen_ai.response.finish_reasons"] == ("tool_calls",)
    assert json.loads(chat.attributes["gen_ai.input.messages"]) == [
        {"role": "system", "content": "You help."},
        {"role": "user", "content": "hi"},
    ]
    tool = named(spans, "execute_tool weather").attributes
    assert tool["gen_ai.operation.name"] == "execute_tool"
    assert tool["gen_ai.tool.name"] == "weather"
    assert tool["gen_ai.tool.call.id"].startswith("call_")
    assert tool["gen_ai.tool.call.arguments"].startswith("{")
    assert named(spans, "handoff Closer").attributes["flowcore.handoff.from"] == "Clerk"
    assert named(spans, "guardrail polite").attributes["flowcore.guardrail.triggered"] is False
    assert named(spans, "turn 1").attributes["flowcore.turn"] == 1


async def test_errors_are_statuses(seen: InMemorySpanExporter) -> None:
    await finish(await start(Agent("A", model=said(function_call("broken")), tools=[broken]), "hi"))
    tool = named(seen.get_finished_spans(), "execute_tool broken")
    assert tool.status.status_code is StatusCode.ERROR
    assert tool.status.description == "Error running tool"
    assert tool.attributes["error.type"] == "Error running tool"


async def test_content_can_be_left_out(kept: Kept) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    set_trace_processors([OpenTelemetryProcessor(provider, include_content=False)])
    await finish(await start(everything(), "hello there"))
    text = str([dict(one.attributes) for one in exporter.get_finished_spans()])
    for word in ("hello there", "Rome", "22 degrees", "all done"):
        assert word not in text


def test_spans_made_by_hand_go_along(seen: InMemorySpanExporter) -> None:
    class Reply:
        id = "resp_1"
        model = "m-1-2025"

    with trace("work", metadata={"tenant": "t1"}):
        with custom_span("step", {"n": 1, "list": [1]}):
            with generation_span(model="m-1", model_config={"temperature": 0.2}, usage={"input_tokens": 4}):
                pass
            with response_span(Reply()):
                pass
        with mcp_tools_span("files", ["read"]):
            pass
    spans = seen.get_finished_spans()
    step = named(spans, "step")
    assert (step.attributes["flowcore.n"], step.attributes["flowcore.list"]) == (1, "[1]")
    assert step.attributes["flowcore.trace.metadata.tenant"] == "t1"
    assert named(spans, "chat m-1").parent.span_id == step.context.span_id
    assert named(spans, "chat m-1").attributes["gen_ai.request.temperature"] == 0.2
    assert named(spans, "chat m-1-2025").attributes["gen_ai.response.id"] == "resp_1"
    assert named(spans, "tools/list").attributes["mcp.server.name"] == "files"


def test_a_trace_links_to_the_span_that_it_began_in(seen: InMemorySpanExporter) -> None:
    around = TracerProvider().get_tracer("app").start_span("request")
    with otel.use_span(around), trace("t", trace_id="my own"), custom_span("a", span_id="mine"), custom_span("b"):
        pass
    a, b = named(seen.get_finished_spans(), "a"), named(seen.get_finished_spans(), "b")
    assert [one.context.span_id for one in a.links] == [around.get_span_context().span_id]
    assert (len(b.links), b.parent.span_id) == (0, a.context.span_id)
    assert a.context.trace_id == b.context.trace_id != 0


async def test_spans_pass_through_an_exporter_as_json(kept: Kept, tmp_path: Any) -> None:
    with (tmp_path / "spans.json").open("w+") as out:
        provider = TracerProvider()
        provider.add_span_processor(
            SimpleSpanProcessor(ConsoleSpanExporter(out=out, formatter=lambda one: one.to_json(indent=None) + "\n"))
        )
        processor = OpenTelemetryProcessor(provider)
        set_trace_processors([kept, processor])
        await finish(await start(everything(), "hi"))
        processor.force_flush()
        out.seek(0)
        told = [json.loads(line) for line in out]
    assert {one["context"]["span_id"] for one in told} == {f"0x{one.span_id[5:21]}" for one in kept.ended}


def test_a_provider_without_the_sdk_is_refused() -> None:
    with pytest.raises(UserError, match="not a NoOpTracerProvider"):
        OpenTelemetryProcessor(NoOpTracerProvider())


def test_without_the_extra_the_error_names_it() -> None:
    code = (
        "import sys\n"
        "sys.modules['opentelemetry'] = None\n"
        "import flowcore\n"
        "from flowcore import tracing\n"
        "try: tracing.OpenTelemetryProcessor\n"
        "except flowcore.UserError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'flowcore[otel]'" in done.stdout
