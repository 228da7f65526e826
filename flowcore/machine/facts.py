"""The facts of a run: everything that happened, and nothing else. Frozen, numbered, timed; their values are plain JSON.

``seq`` counts from 0 without a gap. ``started`` and ``at`` are seconds since the epoch: when what the fact tells
began, and when it was
written down. ``node`` and ``visit`` name the place that it happened at. Eight kinds, for good.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias

Standing: TypeAlias = Literal["running", "waiting", "stopped", "failed", "cancelled", "done"]
"""How a run stands. Not a node: an error or a cancel without a declared edge changes it and leaves the place."""


SPENT = "~spent:"
"""Before an effect's key: what a try used that failed."""


class Started(NamedTuple):
    """The run was admitted. ``input``: the first state's given fields. ``meta``: whatever a face wants to find
    again. ``above``: a child's, how far its root was when it began (the seq of the root's last fact)."""

    seq: int
    started: float
    at: float
    node: str
    visit: int
    graph: str
    fingerprint: str
    input: dict[str, Any]
    limits: dict[str, Any]
    root: str
    parent: str | None = None
    meta: dict[str, Any] | None = None
    above: int | None = None


class Transition(NamedTuple):
    """An edge was taken from (``node``, ``visit``) to ``to``; ``to_visit`` is the visit of the target.

    ``update``: what is new, by field; ``how``: the fields that aren't simply joined (``replace``, ``select``, ``of``,
    ``parts``).
    ``attempt``: which attempt of the visit this ended. ``not_before``: the target isn't entered earlier. ``error``:
    ``{kind, message}``
    of what was raised, on an error or retry edge. ``usage``: counts spent since the visit's last fact.
    """

    seq: int
    started: float
    at: float
    node: str
    visit: int
    on: str
    to: str
    to_visit: int
    update: dict[str, Any]
    how: dict[str, str] | None = None
    attempt: int = 1
    not_before: float | None = None
    error: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None


class Effect(NamedTuple):
    """An effect finished, or a child run ended (``child`` is its id). ``args``: hash of the arguments it was called
    with. ``secret``: "value" where the value is, and "marks" where it tells what is secret from here on, as
    ``Started.meta["secret"]`` does.

    Under ``SPENT`` before its key stands what a try of it used that failed, and how (``{kind, message}``): what else
    the entry does may take long, and the process may die.
    """

    seq: int
    started: float
    at: float
    node: str
    visit: int
    key: str
    value: Any
    args: str = ""
    child: str | None = None
    usage: dict[str, Any] | None = None
    secret: str | None = None


class Intent(NamedTuple):
    """An effect that may not be repeated is about to start. ``on_crash``: ``ask``, ``fail``, or ``check``: the world is
    asked whether it happened."""

    seq: int
    started: float
    at: float
    node: str
    visit: int
    key: str
    args: str
    on_crash: str


class Request(NamedTuple):
    """A question was opened. ``data``: what is asked. ``schema``: JSON schema of the answer, if it has one."""

    seq: int
    started: float
    at: float
    node: str
    visit: int
    key: str
    kind: str
    data: Any = None
    schema: dict[str, Any] | None = None


class Signal(NamedTuple):
    """Something from outside was taken in. ``kind``: ``answer`` (of request ``key``), ``cancel``, ``stop``, ``input``.

    ``accepted`` is False for an answer whose request was no longer open; the fact remains, the answer has no effect.
    """

    seq: int
    started: float
    at: float
    node: str
    visit: int
    id: str
    kind: str
    key: str | None = None
    value: Any = None
    accepted: bool = True


class Rested(NamedTuple):
    """The run stopped moving and keeps its place. ``pause``: what it waits for (``on, into, until, late, enough,
    keys``).

    ``children``: keys of children that wait, where the run waits for them, and ``due``: from when on one of them has
    something to do by itself. ``error``: ``{kind, message}`` where it failed. ``ran``: the body of the visit had begun;
    without that the run was asked to rest, and what it waited for it waits for still. ``abandoned``: the parent has
    left the visit that this child belongs to; its requests are closed.
    """

    seq: int
    started: float
    at: float
    node: str
    visit: int
    standing: Standing
    attempt: int = 1
    pause: dict[str, Any] | None = None
    children: list[str] | None = None
    error: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None
    ran: bool = True
    due: float | None = None
    abandoned: bool = False


class Resumed(NamedTuple):
    """The run goes on at its place. ``limits`` replace those of the same name. ``by``: who said so: "resume",
    "retries", "parent", or "answer", "child" and "due" for what it waited for. ``above``: a child's, how far its root
    was.

    With ``by="fork"`` it's the first fact that a fork doesn't share with ``base``, and it tells what is new: ``root``
    and ``parent``, the fork's own; ``input``, the whole first state where another one was given; ``update`` and
    ``how``, as in a transition; ``session``, which it writes to (without one to none).

    With ``by="migrate"`` the run came to fit another graph: ``fingerprint`` is that graph's, ``input`` the whole state
    in its shape, ``place`` the node that a new visit was opened of where the place isn't the same any more. What the
    facts before it say of the state's values is only readable with the graph that wrote them.
    """

    seq: int
    started: float
    at: float
    node: str
    visit: int
    by: str
    limits: dict[str, Any] | None = None
    not_before: float | None = None
    above: int | None = None
    base: str | None = None
    root: str | None = None
    parent: str | None = None
    session: str | None = None
    input: dict[str, Any] | None = None
    update: dict[str, Any] | None = None
    how: dict[str, str] | None = None
    fingerprint: str | None = None
    place: str | None = None


Fact: TypeAlias = Started | Transition | Effect | Intent | Request | Signal | Rested | Resumed

KINDS: dict[str, type[Fact]] = {
    "started": Started,
    "transition": Transition,
    "effect": Effect,
    "intent": Intent,
    "request": Request,
    "signal": Signal,
    "rested": Rested,
    "resumed": Resumed,
}
NAMES: dict[type[Fact], str] = {cls: name for name, cls in KINDS.items()}


def types_of(cls: type[Fact]) -> dict[str, str]:
    """A kind's fields, in order, and their types as they're written here."""
    return {name: one.__forward_arg__ for name, one in cls.__annotations__.items()}
