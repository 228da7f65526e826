# model[one]> Uno
# model[two]> Dos
# model[three]> Tres
# model[Choose]> Dos
# prints> best of ['Dos', 'Tres', 'Uno']: Dos
# prints> 1 trace, 4 agents
import asyncio
from typing import Any

from agents import Agent, ItemHelpers, Runner, add_trace_processor, set_trace_processors, trace
from agents.tracing import AgentSpanData, Span, Trace, TracingProcessor


class Counter(TracingProcessor):
    traces: set[str] = set()
    agents = 0

    def on_trace_start(self, trace: Trace) -> None:
        self.traces.add(trace.trace_id)

    def on_trace_end(self, trace: Trace) -> None: ...

    def on_span_start(self, span: Span[Any]) -> None:
        self.agents += isinstance(span.span_data, AgentSpanData)
        assert span.trace_id in self.traces

    def on_span_end(self, span: Span[Any]) -> None: ...

    def shutdown(self) -> None: ...

    def force_flush(self) -> None: ...


translator = Agent(name="Translator", instructions="Into Spanish.")
picker = Agent(name="Picker", instructions="Choose the best.")


async def main():
    counter = Counter()
    set_trace_processors([])
    add_trace_processor(counter)
    with trace("Parallel translation"):
        results = await asyncio.gather(*[Runner.run(translator, word) for word in ("one", "two", "three")])
        outputs = sorted(ItemHelpers.text_message_outputs(result.new_items) for result in results)
        best = await Runner.run(picker, f"Translations: {outputs}")
    print(f"best of {outputs}: {best.final_output}")
    print(len(counter.traces), "trace,", counter.agents, "agents")


asyncio.run(main())
