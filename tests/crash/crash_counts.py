"""Graphs that a person might try: one that does the same each time, and some that don't."""

import os
from typing import Annotated, Any, Literal

from flowcore import END, START, Ask, Context, Goto, Graph, Json, Pause, State, append, node


class Count(State):
    upto: int
    seen: Annotated[list[int], append] = []
    said: dict[str, Json] = {}


def context() -> int:
    return 2


def answers(request: Any) -> Any:
    return "fine"


@node(limit=10)
async def count(state: Count, ctx: Context) -> Goto[Literal["more", "enough"]]:
    now = await ctx.once("add", lambda: len(state.seen) + ctx.context)
    return Goto("more" if now < state.upto else "enough", seen=[now])


async def sure(state: Count) -> Pause:
    return Pause(Ask("sure"), into="said", on="answered")


async def who(state: Count) -> dict[str, Any]:
    return {"seen": [os.getpid()]}


steady = Graph("steady", Count, {START: count, count: {"more": count, "enough": sure}, sure: {"answered": END}})
fickle = Graph("fickle", Count, {START: who, who: sure, sure: {"answered": END}})


async def breaks(state: Count) -> None:
    raise SystemExit(7)


broken = Graph("broken", Count, {START: breaks, breaks: END})
