"""A graph without an agent: it takes a dict, is given an app object, fails when it's told to, and asks a person."""

from pathlib import Path
from typing import Annotated, Literal

from flowcore import END, START, Ask, Goto, Graph, Json, Pause, State, append, node


class Count(State):
    upto: int
    seen: Annotated[list[int], append] = []
    answers: dict[str, Json] = {}


def context():
    return {"step": 2}


@node(limit=10)
def count(state: Count, ctx) -> Goto[Literal["more", "enough"]]:
    now = (state.seen[-1] if state.seen else 0) + ctx.context["step"]
    if Path("broken.txt").exists():
        raise ValueError(f"can't count to {now}")
    return Goto("more" if now < state.upto else "enough", seen=[now])


async def sure(state: Count, ctx) -> Pause:
    return Pause(Ask("how-many", {"seen": len(state.seen)}, schema=int), into="answers", on="answered")


async def finish(state: Count) -> None:
    return None


counter = Graph(
    "counter",
    Count,
    {START: count, count: {"more": count, "enough": sure}, sure: {"answered": finish}, finish: END},
    gives=lambda values: {"seen": list(values["seen"]), "answers": dict(values["answers"])},
)
