"""A process that runs a clerk with a session: ``python conformance_clerk.py FOLDER begin|resume [WHEN N]``.

With WHEN ("before" or "after") the process is killed at its N-th write to the session.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from conformance_making import add, adding, agent

from flowcore import Options, RunConfig, Runner, SQLiteSession, SqliteStore, resume


class Dying(SQLiteSession):
    """A session whose process is killed at one of its writes."""

    when, left = "never", 0

    async def add_items(self, items: list[Any]) -> None:
        self.left -= 1
        if self.left == 0 and self.when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        await super().add_items(items)
        if self.left == 0 and self.when == "after":
            os.kill(os.getpid(), signal.SIGKILL)


def clerk() -> Any:
    return agent(adding("c1"), [adding("c2"), adding("c3")], "done", tools=[add])


async def main(folder: str, verb: str, when: str = "never", nth: str = "0") -> None:
    store = SqliteStore(Path(folder) / "runs.db")
    session = Dying("s", Path(folder) / "sessions.db")
    session.when, session.left = when, int(nth)
    if verb == "begin":
        result = await Runner.run(clerk(), "go", session=session, store=store, run_id="r")
        print(result.final_output)
    else:
        run = await resume("r", clerk(), store=store, context=Options(None, RunConfig(), session=session))
        await run.drive()
        print((await run.result()).output)
    session.close()
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
