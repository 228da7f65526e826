"""A processor that keeps what it's told, an agent that does a bit of everything, and ways to compare spans."""

from __future__ import annotations

from typing import Any

from flowcore import (
    Agent,
    GuardrailFunctionOutput,
    custom_span,
    function_tool,
    get_current_span,
    input_guardrail,
    output_guardrail,
)
from flowcore.models.usage import Usage
from flowcore.testing import ScriptedModel, function_call, message
from flowcore.tracing import Span, Trace, TracingProcessor


class Kept(TracingProcessor):
    """Keeps traces and spans. ``log``: what it was told, in order: ``("span+", span_id)`` and so on."""

    def __init__(self) -> None:
        self.log: list[tuple[str, str]] = []
        self.traces: list[Trace] = []
        self.started: list[Span[Any]] = []
        self.ended: list[Span[Any]] = []

    def on_trace_start(self, trace: Trace) -> None:
        self.log.append(("trace+", trace.trace_id))
        self.traces.append(trace)

    def on_trace_end(self, trace: Trace) -> None:
        self.log.append(("trace-", trace.trace_id))

    def on_span_start(self, span: Span[Any]) -> None:
        assert span.start_time is not None
        self.log.append(("span+", span.span_id))
        self.started.append(span)

    def on_span_end(self, span: Span[Any]) -> None:
        assert span.end_time is not None
        assert span.start_time is not None
        assert span.end_time >= span.start_time
        self.log.append(("span-", span.span_id))
        self.ended.append(span)

    def shutdown(self) -> None:
        self.log.append(("shutdown", ""))

    def force_flush(self) -> None:
        self.log.append(("flush", ""))

    def of(self, kind: str) -> list[Span[Any]]:
        """The ended spans of a kind, in order."""
        return [span for span in self.ended if span.span_data.type == kind]

    def tree(self) -> list[str]:
        """The spans as lines, in order of start, indented by depth."""
        return tree_of(self.started)


def name_of(span: Span[Any]) -> str:
    data = span.span_data
    if data.type == "turn":
        return f"turn {data.turn}"
    if data.type == "handoff":
        return f"handoff {data.from_agent}>{data.to_agent}"
    return f"{data.type} {getattr(data, 'name', '')}".strip()


def tree_of(spans: list[Span[Any]]) -> list[str]:
    """Spans as lines, indented by depth."""
    depth: dict[str | None, int] = {None: -1}
    lines = []
    for span in spans:
        depth[span.span_id] = depth.get(span.parent_id, -1) + 1
        error = f" ! {span.error['message']}" if span.error else ""
        lines.append("  " * depth[span.span_id] + name_of(span) + error)
    return lines


def forms(spans: list[Span[Any]]) -> dict[str, Any]:
    """Spans by id as they're exported, times left out. An id that came twice is an error."""
    found: dict[str, Any] = {}
    for span in spans:
        assert span.span_id not in found, f"{span} came twice"
        exported = span.export()
        assert exported is not None
        found[span.span_id] = {key: one for key, one in exported.items() if key not in ("started_at", "ended_at")}
    return found


def of_facts(found: dict[str, Any]) -> dict[str, Any]:
    """Exported spans by id, less what no fact holds: a model call's settings and instructions (and its model's name,
    where the call failed), a tool's MCP server, and errors that the model was told of; spans that code made, and MCP
    servers' listings."""
    kept = {}
    for id, one in found.items():
        data, error = dict(one["span_data"]), one["error"]
        if data["type"] == "mcp_tools" or (data["type"] == "custom" and data["name"] not in ("task", "turn")):
            continue
        if data["type"] == "generation":
            del data["model_config"]
            data["input"] = [item for item in data["input"] or () if item.get("role") != "system"]
            if data["output"] is None:
                del data["model"]
        if data["type"] == "function":
            del data["mcp_data"]
            if error is not None and error["message"].endswith("(non-fatal)"):
                error = None
        kept[id] = {**one, "span_data": data, "error": error}
    return kept


def said(*steps: Any) -> ScriptedModel:
    """A model whose steps are picked by the history, so that a resumed run finds the step that's due."""
    return ScriptedModel.by_turn(list(steps), usage=Usage(1, input_tokens=10, output_tokens=3, total_tokens=13))


@function_tool
def weather(city: str) -> str:
    """The weather."""
    return f"22 degrees in {city}"


@function_tool
async def look_up(word: str) -> str:
    """Look a word up, within a span of one's own."""
    with custom_span("dictionary", {"word": word}):
        pass
    return "found"


@function_tool(needs_approval=True)
def refund(order: int) -> str:
    """Refund an order."""
    return f"refunded {order}"


@function_tool(failure_error_function=None)
def broken() -> str:
    """It breaks."""
    raise ValueError("boom")


@function_tool
def where() -> str:
    """Which span this is."""
    span = get_current_span()
    return "none" if span is None else span.span_id


@input_guardrail
def no_shouting(ctx: Any, agent: Any, input: Any) -> GuardrailFunctionOutput:
    return GuardrailFunctionOutput(None, str(input).isupper())


@input_guardrail(run_in_parallel=False)
def no_whispering(ctx: Any, agent: Any, input: Any) -> GuardrailFunctionOutput:
    return GuardrailFunctionOutput(None, str(input).startswith("psst"))


@output_guardrail
def polite(ctx: Any, agent: Any, output: Any) -> GuardrailFunctionOutput:
    return GuardrailFunctionOutput(None, "damn" in str(output))


def everything() -> Agent[Any]:
    """Two tools at once, an agent as a tool, an approval, a handoff, guardrails before, beside and after."""
    helper: Agent[Any] = Agent(
        "Helper", model=said(function_call("weather", {"city": "Oslo"}), "cold"), tools=[weather]
    )
    closer: Agent[Any] = Agent("Closer", model=said(*[None] * 4, message("all done")), output_guardrails=[polite])
    calls = [function_call("weather", {"city": "Rome"}), function_call("look_up", {"word": "sun"})]
    steps = (
        calls,
        [function_call("ask_helper", {"input": "and Oslo?"})],
        [function_call("refund", {"order": 7}), function_call("weather", {"city": "Bern"})],
        [function_call("transfer_to_closer")],
    )
    return Agent(
        "Clerk",
        instructions="You help.",
        model=said(*steps),
        tools=[weather, look_up, refund, helper.as_tool("ask_helper", "Asks.")],
        handoffs=[closer],
        input_guardrails=[no_whispering, no_shouting],
    )


EVERYTHING = """\
task Agent workflow
  agent Clerk
    turn 1
      guardrail no_whispering
      guardrail no_shouting
      generation
      function weather
      function look_up
        custom dictionary
    turn 2
      generation
      function ask_helper
        task Agent workflow
          agent Helper
            turn 1
              generation
              function weather
            turn 2
              generation
    turn 3
      generation
      function weather
      function refund
    turn 4
      generation
      handoff Clerk>Closer
  agent Closer
    turn 5
      generation
    guardrail polite""".splitlines()
"""What the run of ``everything`` is traced as; the two tools of a turn may start in either order."""
