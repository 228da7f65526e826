"""Where a run is: what ``fold`` makes of its facts. Only ``fold`` writes to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flowcore.graph.frozen import Frozen
from flowcore.machine.facts import Effect, Intent, Request, Standing

NOTHING: Mapping[Any, Any] = Frozen()
"""An empty mapping that all share: most visits have neither effects nor questions, and a run has many visits."""


BUDGETS = {
    "max_tokens": "total_tokens",
    "max_input_tokens": "input_tokens",
    "max_output_tokens": "output_tokens",
    "max_cost": "cost",
    "max_requests": "requests",
}
"""Run limits that are budgets, and the count of ``usage`` that each bounds. ``max_seconds`` bounds the time since the
start in which the run didn't rest."""
BUDGETED = frozenset({*BUDGETS, "max_seconds"})


class Question:
    """A request of the run. ``answered`` tells whether ``answer`` is one (None may be an answer)."""

    __slots__ = ("answer", "answered", "request")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.answered = False
        self.answer: Any = None


class Visit:
    """One stay at a node: its effects and questions by key; ``attempt`` counts from 1; ``ran``: its body left a fact.

    ``intents``: by key, effects that began, and of which no entry has told since that they ended in good order.
    """

    __slots__ = ("attempt", "effects", "intents", "node", "number", "opened", "questions", "ran")

    def __init__(self, node: str, number: int, opened: float) -> None:
        self.node = node
        self.number = number
        self.opened = opened
        self.attempt = 1
        self.ran = False
        self.effects: Mapping[str, Effect] = NOTHING
        self.intents: Mapping[str, Intent] = NOTHING
        self.questions: Mapping[str, Question] = NOTHING

    def __repr__(self) -> str:
        return f"<{self.node}.{self.number} attempt {self.attempt}>"


class Snapshot:
    """A run's state as of fact ``seq``.

    ``values``: the state's fields. ``visit``: the current place. ``visits``: the last visit of each node. ``opened``,
    ``ran``: how many
    visits of a node were opened, and of how many the body ran. ``open``: requests without an answer, by key.
    ``pause``: what a
    waiting run waits for, ``waiting_children`` the keys of children that do, ``due``: from when on one of those has
    something to do by itself. ``usage``: counts over the run and its children. ``idle``: seconds it rested so far,
    ``idle_since``: when its rest began. ``spun``: by node, what had run when its limit was last found reached.
    ``moved``: seq of the last transition. ``above``: a child's, how far its root was when it last began or was taken
    up again. ``budgeted``: one of ``limits`` is a budget. ``base``: the run that a fork shares its prefix with, and the
    seq of the last shared fact; ``elders``: by
    place, the run in which the body of a visit of that prefix ran.
    """

    __slots__ = (
        "above", "at", "auto_resumes", "base", "budgeted", "cancel_asked", "cause", "created", "due", "elders", "error",
        "fingerprint", "graph", "idle", "idle_since", "inputs", "limits", "meta", "moved", "not_before", "open",
        "opened", "parent", "pause", "ran", "root", "run", "seq", "spun", "standing", "stop_asked", "usage", "values",
        "visit", "visits", "waiting_children",
    )  # fmt: skip

    def __init__(self, run: str) -> None:
        self.run = run
        self.root = run
        self.parent: str | None = None
        self.graph = ""
        self.fingerprint = ""
        self.seq = -1
        self.moved = -1
        self.above = -1
        self.base: tuple[str, int] | None = None
        self.elders: Mapping[tuple[str, int], str] = NOTHING
        self.created = 0.0
        self.at = 0.0
        self.standing: Standing = "running"
        self.limits: dict[str, Any] = {}
        self.budgeted = False
        self.meta: dict[str, Any] = {}
        self.values: dict[str, Any] = {}
        self.visit = Visit("START", 0, 0.0)
        self.visits: dict[str, Visit] = {}
        self.opened: dict[str, int] = {}
        self.ran: dict[str, int] = {}
        self.open: dict[str, Question] = {}
        self.pause: dict[str, Any] | None = None
        self.waiting_children: Sequence[str] = ()
        self.due: float | None = None
        self.idle = 0.0
        self.idle_since: float | None = None
        self.spun: Mapping[str, dict[str, int]] = NOTHING
        self.not_before: float | None = None
        self.error: dict[str, Any] | None = None
        self.cause: dict[str, Any] | None = None
        self.usage: dict[str, Any] = {}
        self.inputs: Sequence[Any] = ()
        self.auto_resumes = 0
        self.stop_asked: bool | list[str] = False  # True: before whatever comes; else before one of these nodes
        self.cancel_asked = False

    def turns(self, counted: str = "max_turns", nodes: Any = ()) -> int:
        """How many visits ran of the nodes that the limit ``counted`` counts."""
        return sum(self.ran.get(name, 0) for name, node in nodes if node.limit == counted)
