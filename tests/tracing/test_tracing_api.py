"""Traces and spans made by hand: the names, arguments and exported forms that users of the Agents SDK know."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import structlog
from tracing_making import Kept, forms

import flowcore
from flowcore import UserError
from flowcore.engine.observe import OBSERVERS
from flowcore.tracing import (
    AgentSpanData,
    CustomSpanData,
    DefaultTraceProvider,
    FunctionSpanData,
    GenerationSpanData,
    GuardrailSpanData,
    HandoffSpanData,
    MCPListToolsSpanData,
    ResponseSpanData,
    Span,
    SpeechGroupSpanData,
    SpeechSpanData,
    TaskSpanData,
    Trace,
    TraceProvider,
    TranscriptionSpanData,
    TurnSpanData,
    add_trace_ids,
    add_trace_processor,
    agent_span,
    custom_span,
    flush_traces,
    function_span,
    gen_group_id,
    gen_span_id,
    gen_trace_id,
    generation_span,
    get_current_span,
    get_current_trace,
    get_trace_provider,
    guardrail_span,
    handoff_span,
    mcp_tools_span,
    response_span,
    set_trace_processors,
    set_trace_provider,
    set_tracing_disabled,
    spans_of,
    speech_group_span,
    speech_span,
    task_span,
    trace,
    transcription_span,
    turn_span,
)


def test_the_stub_names_what_the_facade_resolves() -> None:
    module = importlib.import_module("flowcore.tracing")
    stub = ast.parse(Path(str(module.__file__)).with_suffix(".pyi").read_text())
    imported = {one.name: node.module for node in stub.body if isinstance(node, ast.ImportFrom) for one in node.names}
    assert imported == module._HOME_OF
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        module.nope  # noqa: B018 - the access is what is tested


def test_without_a_processor_nothing_looks_on() -> None:
    assert OBSERVERS == []
    with trace("t") as made, custom_span("c") as span:
        assert get_current_trace() is made
        assert get_current_span() is span


def test_importing_tracing_brings_nothing_heavy() -> None:
    code = "import sys, flowcore.tracing as t; t.add_trace_processor, t.trace, t.spans_of; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"openai", "httpx", "opentelemetry", "structlog", "networkx"} & set(loaded)


def test_ids_have_the_known_forms() -> None:
    assert re.fullmatch(r"trace_[0-9a-f]{32}", gen_trace_id())
    assert re.fullmatch(r"span_[0-9a-f]{24}", gen_span_id())
    assert re.fullmatch(r"group_[0-9a-f]{24}", gen_group_id())


def test_spans_nest_and_are_told_of_in_order(kept: Kept) -> None:
    with trace("outer", group_id="g", metadata={"k": "v"}) as outer:
        with custom_span("a", {"n": 1}) as a, custom_span("b") as b:
            assert get_current_span() is b
        assert get_current_span() is None
        c = function_span("c", parent=a)
        c.start()
        c.finish()
    assert (a.parent_id, b.parent_id, c.parent_id) == (None, a.span_id, a.span_id)
    assert [one for one, _ in kept.log] == [
        "trace+", "span+", "span+", "span-", "span-", "span+", "span-", "trace-",
    ]  # fmt: skip
    exported = a.export()
    assert exported is not None
    assert list(exported) == [
        "object", "id", "trace_id", "parent_id", "started_at", "ended_at", "span_data", "error",
    ]  # fmt: skip
    assert exported["span_data"] == {"type": "custom", "name": "a", "data": {"n": 1}}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00", exported["started_at"])
    assert outer.export() == {
        "object": "trace",
        "id": outer.trace_id,
        "workflow_name": "outer",
        "group_id": "g",
        "metadata": {"k": "v"},
    }
    a.set_error({"message": "bad", "data": None})
    assert a.export()["error"] == {"message": "bad", "data": None}  # type: ignore[index]


def test_a_trace_can_be_started_and_finished_by_hand(kept: Kept) -> None:
    made = trace("t", trace_id="trace_" + "1" * 32)
    assert made.trace_id == "trace_" + "1" * 32
    made.start(mark_as_current=True)
    made.start()
    span = custom_span("c")
    span.start(mark_as_current=True)
    assert (get_current_trace(), get_current_span()) == (made, span)
    span.finish(reset_current=True)
    made.finish(reset_current=True)
    made.finish()
    assert get_current_trace() is None
    assert [one for one, _ in kept.log] == ["trace+", "span+", "span-", "trace-"]


def test_a_span_outside_of_any_trace_is_told_to_nobody(kept: Kept) -> None:
    with custom_span("lost") as span:
        assert span.export() is None
    assert kept.log == []


def test_what_is_disabled_is_told_to_nobody(kept: Kept) -> None:
    with trace("t", disabled=True) as off, custom_span("c") as span:
        assert (off.export(), span.export()) == (None, None)
    with trace("t"), custom_span("c", disabled=True):
        pass
    set_tracing_disabled(True)
    with trace("t"), custom_span("c"):
        pass
    set_tracing_disabled(False)
    assert [one for one, _ in kept.log] == ["trace+", "trace-"]


@pytest.mark.parametrize(("value", "disabled"), [("1", True), ("true", True), ("0", False), ("", False)])
def test_the_environment_disables_tracing(monkeypatch: pytest.MonkeyPatch, value: str, disabled: bool) -> None:
    monkeypatch.setenv("OPENAI_AGENTS_DISABLE_TRACING", value)
    provider = DefaultTraceProvider()
    assert provider.disabled is disabled
    provider.set_disabled(not disabled)
    assert provider.disabled is not disabled


def test_every_kind_of_span_has_a_factory_and_an_exported_form(kept: Kept) -> None:
    class Reply:
        id = "resp_1"

    with trace("t"):
        made: list[tuple[Span[Any], type, str, dict[str, Any]]] = [
            (agent_span("a", ["b"], ["t"], "str"), AgentSpanData, "agent",
             {"name": "a", "handoffs": ["b"], "tools": ["t"], "output_type": "str"}),
            (task_span("w"), TaskSpanData, "task", {"name": "task", "data": {"sdk_span_type": "task", "name": "w"}}),
            (turn_span(2, "a"), TurnSpanData, "turn",
             {"name": "turn", "data": {"sdk_span_type": "turn", "turn": 2, "agent_name": "a"}}),
            (generation_span([{"role": "user"}], None, "m", None, {"in": 1}), GenerationSpanData, "generation",
             {"input": [{"role": "user"}], "output": None, "model": "m", "model_config": None, "usage": {"in": 1}}),
            (response_span(Reply()), ResponseSpanData, "response", {"response_id": "resp_1", "usage": None}),
            (function_span("f", "{}", {"n": 1}), FunctionSpanData, "function",  # type: ignore[arg-type]
             {"name": "f", "input": "{}", "output": "{'n': 1}", "mcp_data": None}),
            (handoff_span("a", "b"), HandoffSpanData, "handoff", {"from_agent": "a", "to_agent": "b"}),
            (guardrail_span("g", True), GuardrailSpanData, "guardrail", {"name": "g", "triggered": True}),
            (custom_span("c"), CustomSpanData, "custom", {"name": "c", "data": {}}),
            (mcp_tools_span("s", ["t"]), MCPListToolsSpanData, "mcp_tools", {"server": "s", "result": ["t"]}),
            (transcription_span("m", "aGk="), TranscriptionSpanData, "transcription",
             {"input": {"data": "aGk=", "format": "pcm"}, "output": None, "model": "m", "model_config": None}),
            (speech_span("m", "hi", "aGk="), SpeechSpanData, "speech",
             {"input": "hi", "output": {"data": "aGk=", "format": "pcm"}, "model": "m", "model_config": None,
              "first_content_at": None}),
            (speech_group_span("hi"), SpeechGroupSpanData, "speech_group", {"input": "hi"}),
        ]  # fmt: skip
    for span, kind, name, exported in made:
        assert type(span.span_data) is kind
        assert span.span_data.type == name
        shown = "custom" if name in ("task", "turn") else name
        assert span.span_data.export() == {"type": shown, **exported}
        assert name in repr(span)
    task = TaskSpanData("w", {"requests": 1}).export()
    assert task["data"] == {"sdk_span_type": "task", "name": "w", "usage": {"requests": 1}}


def test_several_processors_are_told_and_one_that_raises_harms_nobody(kept: Kept) -> None:
    class Broken(Kept):
        def on_span_start(self, span: Any) -> None:
            raise RuntimeError("broken")

        on_trace_start = on_trace_end = on_span_end = on_span_start  # type: ignore[assignment]

        def force_flush(self) -> None:
            raise RuntimeError("broken")

    other = Kept()
    set_trace_processors([Broken(), kept])
    add_trace_processor(other)
    with trace("t"), custom_span("c"):
        pass
    flush_traces()
    assert kept.log == other.log
    assert [one for one, _ in kept.log] == ["trace+", "span+", "span-", "trace-", "flush"]


def test_processors_are_shut_down_when_the_process_ends() -> None:
    code = (
        "from tracing_making import Kept\n"
        "import flowcore\n"
        "class Loud(Kept):\n"
        "    def shutdown(self): print('shut down')\n"
        "flowcore.add_trace_processor(Loud())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parent
    )
    assert done.stdout == "shut down\n"


def test_the_current_span_is_the_thread_s_own(kept: Kept) -> None:
    seen: list[Any] = []
    with trace("t"), custom_span("c"):
        thread = threading.Thread(target=lambda: seen.append((get_current_trace(), get_current_span())))
        thread.start()
        thread.join()
    assert seen == [(None, None)]


def test_a_trace_s_key_goes_to_its_spans_and_into_no_export(kept: Kept) -> None:
    with trace("t", tracing={"api_key": "sk-1"}) as made, custom_span("a") as span:
        pass
    assert (made.tracing_api_key, span.tracing_api_key) == ("sk-1", "sk-1")
    assert "sk-1" not in str(made.export()) + str(span.export()) + str(made.to_json())
    assert "sk-1" in str(made.to_json(include_tracing_api_key=True))


async def test_a_provider_of_one_s_own_can_be_put_in_place(kept: Kept) -> None:
    before = get_trace_provider()

    class Counting(DefaultTraceProvider):
        made = 0

        def create_trace(self, *args: Any, **more: Any) -> Trace:
            self.made += 1
            return super().create_trace(*args, **more)

    own = Counting()
    try:
        set_trace_provider(own)
        assert OBSERVERS == []
        own.register_processor(kept)
        with flowcore.trace("t"):
            pass
        assert (own.made, len(kept.traces)) == (1, 1)
        assert isinstance(own, TraceProvider)
    finally:
        own.set_processors([])
        set_trace_provider(before)


def test_log_events_name_their_trace_and_span(kept: Kept) -> None:
    with structlog.testing.capture_logs(processors=[add_trace_ids]) as events:
        log = structlog.get_logger()
        log.info("outside")
        with trace("t") as made:
            log.info("in the trace")
            with custom_span("c") as span:
                log.info("in the span")
    structlog.reset_defaults()
    assert [(one.get("trace_id"), one.get("span_id")) for one in events] == [
        (None, None),
        (made.trace_id, None),
        (made.trace_id, span.span_id),
    ]


def test_spans_of_refuses_what_has_no_facts() -> None:
    with pytest.raises(UserError, match="spans_of takes facts"):
        spans_of(3)
    assert spans_of([]) == []
    assert forms(spans_of({})) == {}
