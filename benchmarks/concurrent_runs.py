"""Many runs at once: wall time of concurrent runs with a model that takes its time, beside the ideal and a bare loop.

    uv run python benchmarks/concurrent_runs.py [--runs 1000] [--turns 5] [--delay 0.05] [--rounds 5] [--json]

A run is ``turns`` turns (a model call, one tool call) and a last model call, so ideally it takes
``(turns + 1) * delay`` seconds however many there are. The bare loop is the same walk written by hand over the same
model, measured in the same process; the collector's share is what Python's garbage collection took of a round. Figures
are medians.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from flowcore import Agent, ModelSettings, RunConfig, Runner, function_tool
from flowcore.models.base import Model, ModelResponse, ModelTracing
from flowcore.models.usage import Usage
from flowcore.testing import function_call, message


@function_tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


ADDER: Agent = Agent(name="Adder", instructions="You add.", tools=[add])


class SlowModel(Model):
    """A model that takes ``delay`` seconds a call; it calls ``add`` for ``turns`` turns and then answers."""

    def __init__(self, turns: int, delay: float) -> None:
        self.turns = turns
        self.delay = delay

    async def get_response(self, *asked: Any, **more: Any) -> ModelResponse:
        await asyncio.sleep(self.delay)
        self.turns -= 1
        if self.turns < 0:
            return ModelResponse([message("done")], Usage(requests=1))
        return ModelResponse([function_call("add", {"a": 1, "b": 2}, f"call_{self.turns}")], Usage(requests=1))


async def bare(turns: int, delay: float) -> None:
    """The loop as one writes it by hand."""
    model, settings = SlowModel(turns, delay), ModelSettings()
    items: list[dict[str, Any]] = [{"role": "user", "content": "go"}]
    while True:
        reply = await model.get_response("You add.", items, settings, [add], None, [], ModelTracing.DISABLED)
        items += reply.output
        calls = [item for item in reply.output if item["type"] == "function_call"]
        if not calls:
            return
        for call in calls:
            arguments = json.loads(call["arguments"])
            total = arguments["a"] + arguments["b"]
            items.append({"type": "function_call_output", "call_id": call["call_id"], "output": str(total)})


async def agent(turns: int, delay: float) -> None:
    """The same as an agent's run."""
    config = RunConfig(model=SlowModel(turns, delay))
    result = await Runner.run(ADDER, "go", max_turns=None, run_config=config)
    assert result.final_output == "done"


class Round(NamedTuple):
    """One round's seconds: on the clock, of the processor, and of the processor in the garbage collector."""

    wall: float
    cpu: float
    collecting: float


class Collector:
    """Adds up the processor's seconds that garbage collection takes."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since = 0.0

    def __call__(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._since = time.process_time()
        else:
            self.seconds += time.process_time() - self._since


def one_round(run: Callable[[int, float], Awaitable[None]], runs: int, turns: int, delay: float) -> Round:
    """``runs`` runs at once, from the first one's start to the last one's end."""

    async def all_of_them() -> Round:
        collector = Collector()
        gc.collect()
        gc.callbacks.append(collector)
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            await asyncio.gather(*(run(turns, delay) for _ in range(runs)))
            return Round(time.perf_counter() - wall, time.process_time() - cpu, collector.seconds)
        finally:
            gc.callbacks.remove(collector)

    return asyncio.run(all_of_them())


def measure(runs: int = 1_000, turns: int = 5, delay: float = 0.05, rounds: int = 5) -> dict[str, float]:
    """All figures by name: medians over ``rounds`` rounds, ours and the bare loop's in turn."""
    ideal = (turns + 1) * delay
    pairs = [(one_round(agent, runs, turns, delay), one_round(bare, runs, turns, delay)) for _ in range(rounds)]
    ours, floor = [one for one, _ in pairs], [other for _, other in pairs]
    wall = statistics.median(one.wall for one in ours)
    bare_wall = statistics.median(one.wall for one in floor)
    return {
        "ideal, s": ideal,
        "bare loop, s": bare_wall,
        "flowcore, s": wall,
        "flowcore, times the ideal": wall / ideal,
        "flowcore, times the bare loop": wall / bare_wall,
        "bare loop, CPU µs a run": statistics.median(one.cpu for one in floor) / runs * 1e6,
        "flowcore, CPU µs a run": statistics.median(one.cpu for one in ours) / runs * 1e6,
        "flowcore, % of its CPU in garbage collection": statistics.median(
            100 * one.collecting / one.cpu for one in ours
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=1_000, help="runs at once")
    parser.add_argument("--turns", type=int, default=5, help="turns of a run, before its last model call")
    parser.add_argument("--delay", type=float, default=0.05, help="seconds of a model call")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of which the median is taken")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    figures = measure(options.runs, options.turns, options.delay, options.rounds)
    if options.json:
        print(json.dumps(figures))
        return
    for name, figure in figures.items():
        print(f"{figure:10.2f}  {name}")


if __name__ == "__main__":
    main()
