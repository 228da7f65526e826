"""A graph whose process dies at its node as long as the file `kill` is there; then it does what it was told: it's done,
fails, asks, or works until the file `go` is there."""

import os
import signal
import time
from pathlib import Path
from typing import Literal

from flowcore import END, START, Ask, Goto, Graph, Json, Pause, State


class Mortal(State):
    how: str
    answers: dict[str, Json] = {}


def work(state: Mortal) -> Goto[Literal["done", "ask"]]:
    if Path("kill").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    if state.how == "fail":
        raise ValueError("not today")
    if state.how == "slow":
        with open("working", "a") as file:
            file.write("x")
        while not Path("go").exists():
            time.sleep(0.01)
    return Goto("ask" if state.how == "ask" else "done")


def ask(state: Mortal) -> Pause:
    return Pause(Ask("sure", {}, schema=bool), into="answers", on="answered")


async def last(state: Mortal) -> None:
    return None


graph = Graph(
    "mortal",
    Mortal,
    {START: work, work: {"done": last, "ask": ask}, ask: {"answered": last}, last: END},
    takes="how",
    gives="how",
)
