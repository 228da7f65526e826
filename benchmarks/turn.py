"""What a turn costs: CPU microseconds of a model call and a tool call, beside a bare hand-written loop in the same run.

    uv run python benchmarks/turn.py [--json]

In memory, with an instant scripted model: everything that's measured is flowcore's own work. The model is the same
object in both
loops; its own cost is part of both. Figures are medians of several rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from flowcore import END, START, Agent, Goto, Graph, ModelSettings, RunConfig, Runner, State, function_tool, node, start
from flowcore.models.base import ModelTracing
from flowcore.testing import ScriptedModel, function_call, message


@function_tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def scripted(turns: int) -> ScriptedModel:
    """A model that calls ``add`` for ``turns`` turns and then answers."""
    call, end = [function_call("add", {"a": 1, "b": 2})], [message("done")]
    return ScriptedModel(lambda asked: call if asked.turn < turns else end, record=False)


async def bare(turns: int) -> None:
    """The loop as one writes it by hand: no state, no journal, no checks."""
    model, settings = scripted(turns), ModelSettings()
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


ADDER: Agent = Agent(name="Adder", instructions="You add.", tools=[add])


async def agent(turns: int) -> None:
    """The same as an agent's run; the agent is declared once, as one does."""
    result = await Runner.run(ADDER, "go", max_turns=None, run_config=RunConfig(model=scripted(turns)))
    assert result.final_output == "done"


class Count(State):
    n: int = 0


def loop_of(visits: int) -> Graph:
    """Three nodes in a ring."""

    @node(limit=visits + 1)
    async def one(state: Count) -> dict[str, int]:
        return {"n": state.n + 1}

    async def two(state: Count) -> None:
        return None

    async def three(state: Count) -> Goto[Any]:
        return Goto("again" if state.n < visits else "end")

    return Graph("ring", Count, {START: one, one: two, two: three, three: {"again": one, "end": END}})


def cpu(work: Callable[[], Any], rounds: int) -> float:
    """Median CPU seconds of a coroutine function."""
    times = []
    for _ in range(rounds):
        gc.collect()
        before = time.process_time()
        asyncio.run(work())
        times.append(time.process_time() - before)
    return statistics.median(times)


def per_turn(run: Callable[[int], Any], turns: int, rounds: int, repeats: int) -> float:
    """CPU microseconds a turn over whole runs of ``turns`` turns."""

    async def several() -> None:
        for _ in range(repeats):
            await run(turns)

    return cpu(several, rounds) / (turns * repeats) * 1e6


def at_turn(run: Callable[[int], Any], turn: int, rounds: int) -> float:
    """CPU microseconds of the turns around ``turn``: a longer run less a shorter one, so that what is fixed falls
    out."""
    span = max(5, turn // 5)
    repeats = max(1, 2000 // turn)

    async def several(turns: int) -> None:
        for _ in range(repeats):
            await run(turns)

    pairs = []
    for _ in range(rounds):
        longer = cpu(lambda: several(turn + span), 1)
        shorter = cpu(lambda: several(turn - span), 1)
        pairs.append((longer - shorter) / (2 * span * repeats) * 1e6)
    return statistics.median(pairs)


def per_transition(rounds: int, visits: int = 3_000) -> float:
    """CPU microseconds of a bare transition."""
    graph = loop_of(visits)

    async def run() -> None:
        result = await (await start(graph))
        assert result.state.n == visits

    return cpu(run, rounds) / (visits * 3) * 1e6


def import_ms(rounds: int) -> float:
    """CPU milliseconds of ``import flowcore``, over a bare interpreter."""

    def child(code: str) -> float:
        program = f"import time; t = time.process_time(); {code}; print((time.process_time() - t) * 1e3)"
        times = [float(subprocess.check_output([sys.executable, "-c", program])) for _ in range(rounds)]
        return statistics.median(times)

    return child("import flowcore")


def measure(rounds: int = 7) -> dict[str, float]:
    """All figures by name."""
    return {
        "bare loop, µs a turn (10 turns)": per_turn(bare, 10, rounds, 50),
        "flowcore, µs a turn (10 turns)": per_turn(agent, 10, rounds, 50),
        "flowcore, µs at turn 10": at_turn(agent, 10, rounds),
        "flowcore, µs at turn 1,000": at_turn(agent, 1_000, rounds),
        "µs a bare transition (three-node loop)": per_transition(rounds),
        "import flowcore, ms": import_ms(rounds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of which the median is taken")
    options = parser.parse_args()
    figures = measure(options.rounds)
    if options.json:
        print(json.dumps(figures))
        return
    for name, figure in figures.items():
        print(f"{figure:10.1f}  {name}")
    growth = figures["flowcore, µs at turn 1,000"] / figures["flowcore, µs at turn 10"]
    print(f"{growth:10.2f}  growth from turn 10 to turn 1,000")


if __name__ == "__main__":
    main()
