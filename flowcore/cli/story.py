"""What happened in a run, read from its journal: rows of the walk, what it used, how long it took. Needs no graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from flowcore.cli import words
from flowcore.graph.outcomes import END
from flowcore.machine.facts import Effect, Fact, Rested, Resumed, Signal, Started, Transition
from flowcore.machine.redact import Redactor, redactor_of
from flowcore.stores.base import IndexRow, OpenRequest, Store

PAGE = 500
OPEN = 10_000
"""Open requests of a tree that are read at most."""


@dataclass(slots=True)
class Story:
    """A run, its journal, and the stories of its children in order, without what is secret in them. ``requests``: what
    the whole tree waits for. ``secrets``: hides the same elsewhere; None where there are none."""

    row: IndexRow
    facts: list[Fact]
    children: list[Story] = field(default_factory=list)
    requests: list[OpenRequest] = field(default_factory=list)
    secrets: Redactor | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a walk. ``what``: the edge's label, or what else happened in brackets. ``seconds``: None where the line
    took no time. ``child``: the line opens the walk of a child, whose lines follow one deeper."""

    depth: int
    seq: int
    node: str
    visit: int
    what: str
    to: str
    attempt: int
    seconds: float | None
    tokens: int
    note: str
    child: str | None = None


async def read_story(store: Store, row: IndexRow) -> Story:
    """A run with all that is below it."""
    story = Story(row, await store.read(row.run))
    known = {row.run: story}
    after: str | None = None
    while True:
        page = await store.runs(root=row.root, limit=PAGE, after=after)
        for one in page.runs:
            if one.run.startswith(f"{row.run}/"):
                known[one.run] = Story(one, await store.read(one.run))
        after = page.after
        if after is None:
            break
    for run, below in known.items():
        if run != row.run:
            known.get(below.row.parent or "", story).children.append(below)
    asked = await store.requests(root=row.root, limit=OPEN)
    story.requests = [one for one in asked if one.run == row.run or one.run.startswith(f"{row.run}/")]
    secrets = redactor_of({run: one.facts for run, one in known.items()})
    if secrets is not None:
        for run, told in known.items():
            told.facts = [secrets.hidden(run, fact) for fact in told.facts]
            told.secrets = secrets
        story.requests = [replace(one, data=secrets.hide(one.data)) for one in story.requests]
    return story


def lines(story: Story, depth: int = 0) -> Iterable[Line]:
    """The walk, the children's walks within the visits that called them."""
    waiting: dict[tuple[str, int], list[Story]] = {}
    for child in story.children:
        waiting.setdefault(_caller(child), []).append(child)
    tokens = 0
    for fact in story.facts:
        usage = getattr(fact, "usage", None) or {}
        tokens += int(usage.get("total_tokens", 0))
        if isinstance(fact, Transition):  # after a mere rest the visit goes on, and its children with it
            for child in waiting.pop((fact.node, fact.visit), ()):
                yield from _child(child, depth + 1)
        line = _line(fact, depth, tokens)
        if line is not None:
            yield line
            tokens = 0
    for left in waiting.values():
        for child in left:
            yield from _child(child, depth + 1)


def _caller(child: Story) -> tuple[str, int]:
    """The node and visit of the parent that called a child: its id is ``parent/node.visit/key``."""
    rest = child.row.run[len(child.row.parent or "") + 1 :]
    node, _, visit = rest.partition("/")[0].rpartition(".")
    return node, int(visit) if visit.isdigit() else 0


def _child(child: Story, depth: int) -> Iterable[Line]:
    name = child.row.run[len(child.row.parent or "") + 1 :]
    note = f"{child.row.standing}" + (f": {child.row.error}" if child.row.error else "")
    yield Line(depth, 0, name, 0, "", "", 1, None, 0, f"graph '{child.row.graph}' · {note}", child.row.run)
    yield from lines(child, depth)


def _line(fact: Fact, depth: int, tokens: int) -> Line | None:
    def line(what: str, note: str = "", to: str = "", attempt: int = 1, seconds: float | None = None) -> Line:
        return Line(depth, fact.seq, fact.node, fact.visit, what, to, attempt, seconds, tokens, note)

    if isinstance(fact, Transition):
        note = told(fact.error)
        if fact.not_before is not None:
            note += f" · again after {words.duration(fact.not_before - fact.at)}"
        return line(fact.on, note, target(fact), fact.attempt, fact.at - fact.started)
    if isinstance(fact, Rested):
        return line(f"({fact.standing})", told(fact.error), attempt=fact.attempt)
    if isinstance(fact, Resumed):
        if fact.by == "migrate":
            return line("(migrated)", f"to graph {fact.fingerprint}", fact.place or "")
        limits = ", ".join(f"{name}={limit}" for name, limit in (fact.limits or {}).items())
        return line("(resumed)", fact.by + (f", {limits}" if limits else ""))
    if isinstance(fact, Signal):
        ignored = "" if fact.accepted else " (came too late)"
        note = f"{fact.key}: {words.value(fact.value)}" if fact.kind == "answer" else ""
        return line(f"({fact.kind})", note + ignored)
    return None


def target(fact: Transition) -> str:
    """Where a transition leads: ``node.visit``, or END."""
    return fact.to if fact.to == END else f"{fact.to}.{fact.to_visit}"


def told(error: Mapping[str, Any] | None) -> str:
    """A recorded error in words."""
    return f"{error['kind']}: {error['message']}" if error else ""


def busy_seconds(facts: Sequence[Fact]) -> float:
    """How long a run was at work: the time that its entries, effects and the pauses before its retries cover together.

    What it rested, waited for a person, or lay dead between a crash and its resume isn't in it.
    """
    spans = [(fact.started, fact.at) for fact in facts if isinstance(fact, (Transition, Effect, Rested))]
    for fact, after in pairwise(facts):
        due = getattr(fact, "not_before", None)
        if due is not None:
            spans.append((fact.at, max(fact.at, min(due, after.at))))
    busy, reached = 0.0, 0.0
    for began, ended in sorted(spans):
        busy += max(0.0, ended - max(began, reached))
        reached = max(reached, ended)
    return busy


def usage_of(facts: Iterable[Fact]) -> dict[str, float]:
    """What a run used, its children included: the sum over its own facts."""
    total: dict[str, float] = {}
    for fact in facts:
        for name, count in (getattr(fact, "usage", None) or {}).items():
            total[name] = total.get(name, 0) + count
    return total


def steps(facts: Iterable[Fact]) -> list[str]:
    """The nodes in the order in which they were passed, END last where the run came to it."""
    names: list[str] = []
    for fact in facts:
        if isinstance(fact, Started):
            names.append(fact.node)
        elif isinstance(fact, Transition):
            names.append(fact.to)
        elif isinstance(fact, Resumed) and fact.place is not None:
            names.append(fact.place)
    return names


def path_line(facts: Iterable[Fact]) -> str:
    """``a -> b -> c``; what comes many times in a row is counted: ``a -> b x3``."""
    parts: list[list[Any]] = []
    for name in steps(facts):
        if parts and parts[-1][0] == name:
            parts[-1][1] += 1
        else:
            parts.append([name, 1])
    return " -> ".join(name if times == 1 else f"{name} x{times}" for name, times in parts)


def items_of(fact: Fact) -> list[Mapping[str, Any]]:
    """The items (wire form) that a fact of an agent's run brought: replies, tool calls, what tools gave."""
    found: list[Any] = []
    if isinstance(fact, Transition):
        new = fact.update.get("items")
        found = [one.get("new", one) if isinstance(one, dict) else one for one in new] if isinstance(new, list) else []
    elif isinstance(fact, Effect) and isinstance(fact.value, dict):
        said = fact.value.get("item", fact.value)  # a tool call's record, or a model's reply
        output = said.get("output")
        found = output if isinstance(output, list) and "type" not in said else [said]
    return [one for one in found if isinstance(one, dict) and isinstance(one.get("type", one.get("role")), str)]


def text_of(item: Mapping[str, Any]) -> str:
    """The text of a message item."""
    content = item.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(str(part.get("text") or part.get("refusal") or "") for part in parts if isinstance(part, dict))


def last_message(facts: Sequence[Fact]) -> str | None:
    """The text of the last message that a model wrote; None where none did."""
    for fact in reversed(facts):
        for item in reversed(items_of(fact)):
            if item.get("role") == "assistant":
                return text_of(item)
    return None
