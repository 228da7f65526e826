"""A form with a deadline of CLI_SECONDS: then the run goes on without an answer."""

import os
from typing import Literal

from pydantic import BaseModel

from flowcore import END, START, Ask, Context, Graph, Pause, State


class Profile(BaseModel):
    name: str
    team: Literal["support", "sales"]


class Newcomer(State):
    email: str
    answers: dict[str, Profile] = {}
    told: str = "nothing"


def form(state: Newcomer, ctx: Context) -> Pause:
    until = ctx.now + float(os.environ.get("CLI_SECONDS", "60"))
    return Pause(Ask("form", "Who are you?", Profile, kind="form"), into="answers", until=until, late="late")


def welcome(state: Newcomer) -> dict[str, str]:
    return {"told": f"Welcome, {state.answers['form'].name}."}


def close(state: Newcomer) -> dict[str, str]:
    return {"told": "Too late."}


graph = Graph(
    "newcomer",
    Newcomer,
    {START: form, form: {"answered": welcome, "late": close}, welcome: END, close: END},
    takes="email",
    gives="told",
)
