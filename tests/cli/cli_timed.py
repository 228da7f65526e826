"""A graph of timers: it retries after a day, sleeps for two days, and asks a question with a deadline. It's so many
days ago as the file `ago` says."""

import time
from pathlib import Path
from typing import Annotated, Any

from flowcore import END, START, Ask, Graph, Json, Pause, Retry, State, append, node

REAL = time.time


def shifted() -> float:
    """The machine's time, some days ago."""
    return REAL() - 86_400 * int(Path("ago").read_text())


time.time = shifted


class Timed(State):
    log: Annotated[list[str], append] = []
    answers: dict[str, Json] = {}


@node(retry=Retry(3, 86_400.0))
async def fetch(state: Timed, ctx: Any) -> dict[str, Any]:
    if ctx.attempt == 1:
        raise OSError("not yet")
    return {"log": ["fetched"]}


async def nap(state: Timed) -> Pause:
    return Pause(until=time.time() + 2 * 86_400, on="awake")


async def ask(state: Timed) -> Pause:
    return Pause(Ask("sure"), on="said", into="answers", until=time.time() + 86_400, late="late")


async def late(state: Timed) -> dict[str, Any]:
    return {"log": ["late"]}


graph = Graph(
    "timed",
    Timed,
    {START: fetch, fetch: nap, nap: {"awake": ask}, ask: {"said": END, "late": late}, late: END},
    gives="log",
)
