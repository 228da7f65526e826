# model> @add {"a": 1, "b": 2}
# model> Three.
# prints> trace starts: Sums group=thread_1 {'user': 'u_1'}
# prints> - custom prepare {'step': 1}
# prints> Three.
# prints> trace ends: Sums
# prints> function add {"a": 1, "b": 2} 3
# prints> agent Adder ['add']
# prints> model calls: 2
import asyncio
from typing import Any

from agents import Agent, RunConfig, Runner, Span, Trace, custom_span, function_tool, set_trace_processors, trace
from agents.tracing import TracingProcessor
from agents.tracing.span_data import AgentSpanData, CustomSpanData, FunctionSpanData


class Collect(TracingProcessor):
    def __init__(self) -> None:
        self.spans: list[Span[Any]] = []

    def on_trace_start(self, trace: Trace) -> None:
        exported = trace.export()
        print("trace starts:", trace.name, f"group={exported['group_id']}", exported["metadata"])

    def on_trace_end(self, trace: Trace) -> None:
        print("trace ends:", trace.name)

    def on_span_start(self, span: Span[Any]) -> None:
        if isinstance(span.span_data, CustomSpanData) and span.span_data.name == "prepare":
            print("-", span.span_data.type, span.span_data.name, span.span_data.data)

    def on_span_end(self, span: Span[Any]) -> None:
        self.spans.append(span)

    def shutdown(self) -> None:
        pass

    def force_flush(self) -> None:
        pass


@function_tool
def add(a: int, b: int) -> int:
    return a + b


async def main():
    processor = Collect()
    set_trace_processors([processor])
    agent = Agent(name="Adder", tools=[add])
    with trace("Sums", group_id="thread_1", metadata={"user": "u_1"}):
        with custom_span("prepare", {"step": 1}):
            pass
        result = await Runner.run(agent, "1 + 2?", run_config=RunConfig(workflow_name="unused"))
        print(result.final_output)
    for span in processor.spans:
        data = span.span_data
        if isinstance(data, AgentSpanData):
            print(data.type, data.name, data.tools)
        elif isinstance(data, FunctionSpanData):
            print(data.type, data.name, data.input, data.output)
    print("model calls:", sum(span.span_data.type in ("response", "generation") for span in processor.spans))


asyncio.run(main())
