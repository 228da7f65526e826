"""Another process: goes on with a stored run, and prints what its processor was told as JSON."""

from __future__ import annotations

import asyncio
import json
import sys

from tracing_making import Kept, everything, forms

from flowcore import SqliteStore, resume, set_trace_processors
from flowcore.testing import finish


async def main(path: str, run_id: str) -> None:
    kept = Kept()
    set_trace_processors([kept])
    store = SqliteStore(path)
    run = await resume(run_id, everything(), store=store)
    standing = await finish(run)
    await store.close()
    print(json.dumps({"standing": standing, "spans": forms(kept.ended), "log": kept.log}))


asyncio.run(main(*sys.argv[1:]))
