"""What tracing costs: CPU microseconds of an agent's turn, with nobody told and with every span kept, in the same run.

    uv run python benchmarks/tracing.py [--json]

In memory, with an instant scripted model, like benchmarks/turn.py. Figures are medians of several rounds; traced and
untraced runs take turns, so that a busy machine slows both.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import time
from typing import Any

from flowcore import Agent, RunConfig, Runner, function_tool
from flowcore.testing import ScriptedModel, function_call, message
from flowcore.tracing import Span, Trace, TracingProcessor, set_trace_processors


@function_tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


ADDER: Agent = Agent(name="Adder", instructions="You add.", tools=[add])


class Keep(TracingProcessor):
    """Keeps every span that ended."""

    def __init__(self) -> None:
        self.spans: list[Span[Any]] = []

    def on_trace_start(self, trace: Trace) -> None: ...

    def on_trace_end(self, trace: Trace) -> None: ...

    def on_span_start(self, span: Span[Any]) -> None: ...

    def on_span_end(self, span: Span[Any]) -> None:
        self.spans.append(span)

    def shutdown(self) -> None: ...

    def force_flush(self) -> None: ...


async def agent(turns: int) -> None:
    """A run of ``turns`` calls of ``add`` and an answer."""
    call, end = [function_call("add", {"a": 1, "b": 2})], [message("done")]
    model = ScriptedModel(lambda asked: call if asked.turn < turns else end, record=False)
    result = await Runner.run(ADDER, "go", max_turns=None, run_config=RunConfig(model=model))
    assert result.final_output == "done"


async def traced(turns: int) -> int:
    """The same, told to a processor that keeps the spans; how many there were."""
    keep = Keep()
    set_trace_processors([keep])
    try:
        await agent(turns)
    finally:
        set_trace_processors([])
    return len(keep.spans)


def cpu(work: Any, turns: int, repeats: int) -> float:
    """CPU microseconds a turn."""

    async def several() -> None:
        for _ in range(repeats):
            await work(turns)

    gc.collect()
    before = time.process_time()
    asyncio.run(several())
    return (time.process_time() - before) / (turns * repeats) * 1e6


def measure(turns: int = 50, repeats: int = 20, rounds: int = 7) -> dict[str, float]:
    """All figures by name."""
    pairs = [(cpu(agent, turns, repeats), cpu(traced, turns, repeats)) for _ in range(rounds)]
    off, on = (statistics.median(column) for column in zip(*pairs, strict=True))
    return {
        "untraced, µs a turn": off,
        "traced, µs a turn": on,
        "ratio": statistics.median(on / off for off, on in pairs),
        "spans a turn": asyncio.run(traced(turns)) / turns,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of which the median is taken")
    options = parser.parse_args()
    figures = measure(rounds=options.rounds)
    if options.json:
        print(json.dumps(figures))
        return
    for name, figure in figures.items():
        print(f"{figure:10.2f}  {name}")


if __name__ == "__main__":
    main()
