"""Another process: goes on with a run from its state's JSON, and prints what its processor was told as JSON."""

from __future__ import annotations

import asyncio
import json
import sys

from tracing_making import Kept, everything, forms

from flowcore import RunConfig, Runner, RunState, set_trace_processors


async def main() -> None:
    kept = Kept()
    set_trace_processors([kept])
    agent = everything()
    state = await RunState.from_json(agent, json.load(sys.stdin))
    for item in state.get_interruptions():
        state.approve(item)
    result = await Runner.run(agent, state, run_config=RunConfig(tracing={"api_key": "k2"}))
    keys = sorted({one.tracing_api_key or "" for one in kept.ended})
    print(json.dumps({"output": result.final_output, "spans": forms(kept.ended), "log": kept.log, "keys": keys}))


asyncio.run(main())
