"""``plan``: a run's state into the next command. Pure: the time is given, nothing is run, slept or written here."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

from flowcore.graph.graph import Graph
from flowcore.graph.node import LIMIT, OVER_BUDGET
from flowcore.machine.facts import Standing
from flowcore.machine.snapshot import BUDGETS, Snapshot


class Enter(NamedTuple):
    """Run the body of the current place."""


class Take(NamedTuple):
    """Take the edge ``on`` without running a body."""

    on: str
    update: dict[str, Any]


class Halt(NamedTuple):
    """Write that the run rests: it was asked to."""

    standing: Standing


class Fail(NamedTuple):
    """Write that the run failed here: a limit without an edge."""

    reason: str


class GoOn(NamedTuple):
    """Write that the run goes on: a failed one by itself (``retries``), or one whose child has something to do
    (``due``)."""

    by: str
    delay: float = 0.0


class Sleep(NamedTuple):
    """Nothing to do before ``until`` (seconds since the epoch)."""

    until: float


class Rest(NamedTuple):
    """Nothing to do at all. ``due``: from when on there is, if time alone brings it."""

    due: float | None = None


Command: TypeAlias = Enter | Take | Halt | Fail | GoOn | Sleep | Rest

_ENTER = Enter()
_REST = Rest()


def plan(graph: Graph, s: Snapshot, now: float) -> Command:
    """What comes next for a run in this state, at this time."""
    if s.standing == "running":
        if s.cancel_asked or s.stop_asked or s.not_before is not None:
            held = _held(s, now)
            if held is not None:
                return held
        visit = s.visit
        if not visit.ran:
            most = graph.nodes[visit.node].limit
            if most is not None or s.budgeted:
                return _within(graph, s, most, now)
        return _ENTER
    if s.standing == "waiting":
        return _waiting(s, now)
    if s.standing == "failed":
        retries = s.limits.get("retries") or 0
        if s.auto_resumes < retries and not (s.stop_asked or s.cancel_asked):
            delay = float(s.limits.get("delay_between_retries") or 0.0)
            return GoOn("retries", delay * 2**s.auto_resumes if s.limits.get("exponential_backoff") else delay)
    return _REST


def _held(s: Snapshot, now: float) -> Command | None:
    """What keeps a running run from going on, if anything does."""
    if s.cancel_asked:
        return Halt("cancelled")
    asked = s.stop_asked
    if asked and (asked is True or (s.visit.node in asked and not s.visit.ran)):
        return Halt("stopped")
    return Sleep(s.not_before) if s.not_before is not None and s.not_before > now else None


def _within(graph: Graph, s: Snapshot, most: int | str | None, now: float) -> Command:
    """Enter the current place if the limits admit it. ``most``: the node's own."""
    place = s.visit.node
    if most is not None:
        limit = s.limits.get(most) if isinstance(most, str) else most
        if limit is not None and s.ran.get(place, 0) >= limit:
            reason = f"node '{place}' reached its limit of {limit} visits"
            if graph.has(place, LIMIT):
                return _bodiless(graph, s, LIMIT, reason)
            return Fail(f"{reason} and has no edge 'limit'")
    if s.budgeted:
        used_up = over_budget(s, now)
        if used_up is not None:
            if graph.has(place, OVER_BUDGET):
                return _bodiless(graph, s, OVER_BUDGET, used_up)
            if not graph.budgeted:
                return Fail(f"{used_up} at node '{place}', and no node has an edge 'over_budget'")
    return _ENTER


def _bodiless(graph: Graph, s: Snapshot, on: str, reason: str) -> Take | Fail:
    """Take an edge past a body; not for ever: since the last time something must have run that is bounded itself."""
    before = s.spun.get(s.visit.node)
    if before is not None and not any(
        s.ran.get(name, 0) > before.get(name, 0)
        for name, node in graph.nodes.items()
        if node.limit is not None or node.waits
    ):
        return Fail(
            f"{reason}; its edge '{on}' has led back to it, and nothing bounds that cycle: give one of its nodes"
            " @node(limit=n), or resume with a higher limit"
        )
    return Take(on, {})


def _waiting(s: Snapshot, now: float) -> Command:
    if s.cancel_asked:
        return Halt("cancelled")
    if s.stop_asked:
        return Halt("stopped")
    pause = s.pause
    if pause is None:  # children wait: an answer to one of them appends Resumed here
        if s.due is not None and s.due <= now:
            return GoOn("due")
        return _REST if s.due is None else Rest(due=s.due)
    keys = pause["keys"]
    answered = [key for key in keys if key not in s.open]
    if keys and (len(answered) == len(keys) or (pause["enough"] == "any" and answered)):
        return Take(pause["on"], {pause["into"]: _answers(s, answered)} if pause["into"] else {})
    until = pause["until"]
    if until is None:
        return _REST
    if until <= now:
        late = pause["late"] or pause["on"]
        return Take(late, {pause["into"]: _answers(s, answered)} if pause["into"] and answered else {})
    return Rest(due=until) if keys else Sleep(until)


def _answers(s: Snapshot, keys: list[str]) -> dict[str, Any]:
    """The answers by key, wherever in the run their requests were opened; a key's latest request counts."""
    answers = {}
    for key in keys:
        asked = [visit.questions[key] for visit in s.visits.values() if key in visit.questions]
        if asked:
            answers[key] = max(asked, key=lambda one: one.request.seq).answer
    return answers


def over_budget(s: Snapshot, now: float) -> str | None:
    """The budget that is used up, in words; None while there is some left."""
    for limit, count in BUDGETS.items():
        most = s.limits.get(limit)
        if most is not None and s.usage.get(count, 0) >= most:
            return f"{limit}={most:g} is used up ({s.usage.get(count, 0):g})"
    seconds = s.limits.get("max_seconds")
    if seconds is not None and now - s.created - s.idle >= seconds:
        return f"max_seconds={seconds:g} have passed"
    return None
