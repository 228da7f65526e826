"""What calls of a turn gave while others of it wait: it's recorded, and joins the run's items when the turn goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from flowcore.machine.facts import Effect, Fact, Rested, Transition
from flowcore.models.base import Item

_TURN = frozenset({"run_tools", "await_decision"})
"""The places of a turn's calls."""


class Meanwhile(NamedTuple):
    """``visit``: of ``run_tools``; ``records``: of the calls that have ended, in the calls' order."""

    visit: int
    records: Sequence[dict[str, Any]]

    @property
    def items(self) -> list[Item]:
        """The calls' outputs."""
        return [one["item"] for one in self.records]

    @property
    def verdicts(self) -> list[dict[str, Any]]:
        """What the calls' guardrails said."""
        return [verdict for one in self.records for verdict in one.get("verdicts", ())]

    @property
    def custom(self) -> dict[str, Any]:
        """The app's own data of the calls, by call id."""
        return {one["item"].get("call_id"): one["custom"] for one in self.records if "custom" in one}


NOTHING = Meanwhile(0, ())


def meanwhile(facts: Sequence[Fact]) -> Meanwhile:
    """What had ended when a run came to its last rest in which it waits; nothing where it has left the turn since."""
    visit: int | None = None
    rested = False
    found: list[Effect] = []
    for fact in reversed(facts):
        if fact.node not in _TURN:
            if visit is None or isinstance(fact, Transition):
                break  # it's elsewhere, or this is how it came here
            continue
        if isinstance(fact, Transition) and fact.on not in ("needs_decision", "decided"):
            break
        rested = rested or (isinstance(fact, Rested) and fact.standing == "waiting")
        if fact.node == "run_tools":
            visit = fact.visit if visit is None else visit
            if rested and isinstance(fact, Effect) and fact.visit == visit and _is_record(fact.value):
                found.append(fact)
    if visit is None:
        return NOTHING
    found.sort(key=lambda fact: int(fact.key.partition(":")[0]))
    return Meanwhile(visit, [fact.value for fact in found])


def _is_record(value: Any) -> bool:
    """Whether an effect's value is the record of a call that has ended with an output."""
    return isinstance(value, dict) and isinstance(value.get("item"), dict)
