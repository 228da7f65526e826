# model> Hello there.
# prints> Hello there.
# prints> judged: 1 1
# prints> trace: Greeting trace_00000000000000000000000000000abc group_1 {'tier': 'free'}
# prints> ran as: gpt-4.1-nano
import asyncio

from agents import (
    Agent,
    GuardrailFunctionOutput,
    InputGuardrail,
    ModelSettings,
    MultiProvider,
    OutputGuardrail,
    RunConfig,
    Runner,
    set_trace_processors,
)
from agents.extensions.handoff_filters import remove_all_tools
from agents.tracing import TracingProcessor

asked = []


class Provider(MultiProvider):
    def get_model(self, model_name):
        asked.append(model_name)
        return super().get_model(model_name)


class Show(TracingProcessor):
    def on_trace_start(self, trace):
        told = trace.export()
        print("trace:", told["workflow_name"], told["id"], told["group_id"], told["metadata"])

    def on_trace_end(self, trace): ...

    def on_span_start(self, span): ...

    def on_span_end(self, span): ...

    def shutdown(self): ...

    def force_flush(self): ...


async def fine(ctx, agent, data):
    return GuardrailFunctionOutput(output_info=None, tripwire_triggered=False)


async def main():
    lines = []
    show = Show()
    show.on_trace_start = lambda trace, told=show.on_trace_start: lines.append(trace)
    set_trace_processors([show])
    config = RunConfig(
        model="gpt-4.1-nano",
        model_provider=Provider(),
        model_settings=ModelSettings(temperature=0.3, top_p=0.9),
        handoff_input_filter=remove_all_tools,
        input_guardrails=[InputGuardrail(guardrail_function=fine)],
        output_guardrails=[OutputGuardrail(guardrail_function=fine)],
        tracing_disabled=False,
        trace_include_sensitive_data=False,
        workflow_name="Greeting",
        trace_id="trace_00000000000000000000000000000abc",
        group_id="group_1",
        trace_metadata={"tier": "free"},
    )
    result = await Runner.run(Agent(name="Greeter", model="gpt-4.1"), "Hi", run_config=config, max_turns=3)
    print(result.final_output)
    print("judged:", len(result.input_guardrail_results), len(result.output_guardrail_results))
    for trace in lines:
        Show.on_trace_start(show, trace)
    print("ran as:", asked[0])


asyncio.run(main())
