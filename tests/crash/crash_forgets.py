"""The workload, in an engine that forgets what it has recorded as soon as it looks."""

import runpy
from pathlib import Path
from unittest.mock import patch

import flowcore.testing.faults
from flowcore.engine.context import Context

graph = runpy.run_path(str(Path(flowcore.testing.faults.__file__).parent / "workload.py"))["graph"]
once = Context.once


async def forgetful(ctx, key, fn, *args, **given):
    if key in ctx.visit_record.effects:
        del ctx.visit_record.effects[key]
    return await once(ctx, key, fn, *args, **given)


patch.object(Context, "once", forgetful).start()
