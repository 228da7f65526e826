"""A newcomer fills in a form by a deadline, is reminded once, and hears from us again some days later.

    flowcore run graphs/onboarding.py ann@example.org

The form's schema is a pydantic model: an answer that doesn't fit is refused, and the run waits on. The deadline is an
edge like any other (``late``). The timer is a Pause that asks nothing. So that all of it can be watched, a day lasts
ten seconds; ``'{"email": "ann@example.org", "day": 86400}'`` is the real thing. Answer on the terminal, or later:

    flowcore answer RUN form-1 '{"name": "Ann", "team": "support", "laptop": true}'
"""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from flowcore import END, START, Ask, Context, Graph, Pause, State, append, node

TO_ANSWER, TO_SETTLE = 3, 1
"""Days."""


class Profile(BaseModel):
    """The form."""

    name: str = Field(min_length=1, description="How shall we call you?")
    team: Literal["support", "sales", "kitchen"]
    laptop: bool = Field(default=True, description="Do you need a laptop?")


class Newcomer(State):
    """``day``: how long a day lasts, in seconds. ``letters``: what was sent. ``answers``: the form, by its key."""

    email: str
    day: float = 10.0
    letters: Annotated[list[str], append] = []
    answers: dict[str, Profile] = {}


def letter(state: Newcomer, text: str) -> dict[str, list[str]]:
    """A letter to the newcomer. (Send yours here: with ``ctx.idempotency_key`` it isn't sent twice after a crash.)"""
    return {"letters": [f"to {state.email}: {text}"]}


def invite(state: Newcomer) -> dict[str, list[str]]:
    """Ask the newcomer to fill in the form."""
    return letter(state, f"Welcome! Please fill in the form within {TO_ANSWER} days.")


def form(state: Newcomer, ctx: Context) -> Pause:
    """Wait for the form, till the deadline."""
    until = ctx.now + TO_ANSWER * state.day
    return Pause(Ask(f"form-{ctx.visit}", state.letters[-1], Profile, kind="form"), on="filled_in", into="answers",
                 until=until, late="late")  # fmt: skip


@node(limit=1)
def remind(state: Newcomer) -> dict[str, list[str]]:
    """Ask once more."""
    return letter(state, "We've not heard from you. Is everything all right?")


def close(state: Newcomer) -> dict[str, list[str]]:
    """Nobody answered."""
    return letter(state, "We've closed your registration. Write to us if that's a mistake.")


def profile(state: Newcomer) -> Profile:
    """The form as it was filled in."""
    return next(iter(state.answers.values()))


def prepare(state: Newcomer) -> dict[str, list[str]]:
    """Get everything ready for the newcomer."""
    one = profile(state)
    return letter(state, f"Hello {one.name}, {one.team} expects you{', your laptop is on its way' * one.laptop}.")


def settle(state: Newcomer, ctx: Context) -> Pause:
    """Leave the newcomer in peace for a while: a timer."""
    return Pause(on="settled", until=ctx.now + TO_SETTLE * state.day)


def check_in(state: Newcomer) -> dict[str, list[str]]:
    """Ask how it goes."""
    return letter(state, f"{profile(state).name}, how was your first day?")


graph = Graph(
    "onboarding",
    Newcomer,
    {
        START: invite,
        invite: form,
        form: {"filled_in": prepare, "late": remind},
        remind: {"done": form, "limit": close},
        prepare: settle,
        settle: {"settled": check_in},
        check_in: END,
        close: END,
    },
    takes="email",
    gives="letters",
)
