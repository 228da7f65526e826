"""Assertions on walks and states, each with a difference that a person can read."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from types import EllipsisType
from typing import Any, TypeAlias

from flowcore.errors import UserError
from flowcore.graph.graph import Graph
from flowcore.graph.state import listed
from flowcore.graph.values import shorten
from flowcore.machine import explain as explaining
from flowcore.machine.explain import Choice, Difference
from flowcore.machine.facts import Fact, Rested, Started, Transition
from flowcore.machine.walk import Step, path
from flowcore.testing.literals import literal

Expected: TypeAlias = "str | tuple[str, ...] | EllipsisType"
"""A step of a walk: a node, ``(node, label)``, ``(node, label, target)``, or ``...`` for any steps at all."""


def facts_of(of: Any) -> list[Fact]:
    """The facts of a run, of its handle, its result (of either face), a simulation, or a list of facts itself.

    Raises UserError on anything else.
    """
    facts = getattr(of, "facts", None)
    if facts is None:
        run = getattr(of, "run", None)
        facts = getattr(run, "facts", None) if run is not None else of
    if isinstance(facts, Sequence) and not isinstance(facts, str) and (not facts or type(facts[0]) is Started):
        return list(facts)
    raise UserError(f"a walk is read from a run, its result or its facts (from the first on), not from {shorten(of)}")


def definition_of(of: Any) -> Graph | None:
    """The graph that a run walked through, where its handle or result knows it."""
    for one in (of, getattr(of, "run", None)):
        graph = getattr(one, "definition", None)
        if isinstance(graph, Graph):
            return graph
    return None


def state_of(of: Any) -> Any:
    """The state of a run, of its handle, its result (of either face) or a simulation."""
    for one in (of, getattr(of, "run", None)):
        state = getattr(one, "state", None)
        if state is not None:
            return state
    raise UserError(f"a state is read from a run or its result, not from {shorten(of)}")


def run_path(of: Any) -> list[Step]:
    """The transitions of a run in order, each ``(node, on, to)``. ``of``: a run, its result or its facts."""
    return path(facts_of(of))


def explain(of: Any, graph: Any = None) -> list[Choice]:
    """Why each edge of a walk was taken, and why its node's other edges weren't.

    ``of``: a run, its result or its facts. ``graph``: the graph that ran, where only facts are given.
    """
    return explaining.explain(facts_of(of), _graph(of, graph))


def diff(one: Any, other: Any) -> Difference | None:
    """Where two walks part: node, visit, and what differs; None where they're the same.

    ``one``, ``other``: runs, their results or their facts. Times, ids, crashes and rests don't count.
    """
    return explaining.difference(facts_of(one), facts_of(other))


def _graph(of: Any, graph: Any) -> Graph:
    found = getattr(graph, "graph", graph) if graph is not None else definition_of(of)
    if not isinstance(found, Graph):
        raise UserError("which graph ran? Give it: explain(facts, graph)")
    return found


# --- paths ------------------------------------------------------------------------------------------------------------


def assert_path(run: Any, expected: Sequence[Expected], *, exact: bool = True, graph: Any = None) -> None:
    """Assert which way a run went.

    ``expected``: nodes, ``(node, label)`` or ``(node, label, target)`` in order, one for each transition; ``...``
    stands for any number of them. The place where the run stands (``"END"`` of one that's done) may follow as the last
    element. ``exact=False``: other steps may stand before, between and after. ``graph``: names the edges that would
    have been possible, where ``run`` is a list of facts.

    Raises AssertionError with both walks side by side.
    """
    facts = facts_of(run)
    wanted = [_as_step(one) for one in expected]
    if not exact:
        wanted = [None, *(one for step in wanted for one in (step, None))]
    walked: list[tuple[str, ...]] = [tuple(step) for step in path(facts)]
    place = (_place(facts),)
    far, farther = _reach(wanted, walked), _reach(wanted, [*walked, place])
    if farther[0] or farther[2] > far[2]:
        far = max(far, farther)
    if far[0]:
        return
    found = getattr(graph, "graph", graph) if graph is not None else definition_of(run)
    told = _told(wanted, walked, facts, far[2], far[1], found if isinstance(found, Graph) else None)
    off = getattr(run, "off", "")
    raise AssertionError(f"{told}\nit was played by a record: {off}" if off else told)


def _as_step(one: Any) -> tuple[str, ...] | None:
    if one is ...:
        return None
    step = (one,) if isinstance(one, str) else tuple(one) if isinstance(one, (tuple, list)) else ()
    if not 1 <= len(step) <= 3 or not all(isinstance(part, str) for part in step):
        raise UserError(f"a step is a node, (node, label), (node, label, target) or ..., not {shorten(one)}")
    return step


def _place(facts: Sequence[Fact]) -> str:
    for fact in reversed(facts):
        if type(fact) is Transition:
            return fact.to
    return facts[0].node if facts else "START"


def _reach(wanted: Sequence[tuple[str, ...] | None], walked: Sequence[tuple[str, ...]]) -> tuple[bool, int, int]:
    """Whether all fits, and how many of ``walked`` and of ``wanted`` go together from the start."""
    live = _past_gaps(wanted, {0})
    best = (0, max(live))
    for position, step in enumerate(walked):
        moved = set()
        for at in live:
            if at < len(wanted):
                one = wanted[at]
                if one is None:
                    moved.add(at)
                elif step[: len(one)] == one:
                    moved.add(at + 1)
        live = _past_gaps(wanted, moved)
        if not live:
            return False, *best
        best = (position + 1, max(live))
    return len(wanted) in live, *best


def _past_gaps(wanted: Sequence[Any], at: set[int]) -> set[int]:
    """The positions, and those behind the gaps that stand there."""
    found: set[int] = set()
    for one in at:
        found.add(one)
        found.update(
            range(one + 1, next((i for i in range(one, len(wanted)) if wanted[i] is not None), len(wanted)) + 1)
        )
    return found


def _told(
    wanted: Sequence[Any], walked: Sequence[tuple[str, ...]], facts: Sequence[Fact], fits: int, steps: int,
    graph: Graph | None,
) -> str:  # fmt: skip
    """Both walks side by side, the first difference marked, and what would have been possible there."""
    left = ["..." if one is None else _arrow(one) for one in wanted]
    right = [_arrow(step) for step in walked]
    if steps > len(walked):
        right.append(f"{_place(facts)} (stands here)")
    width = max([8, *map(len, left)])
    gaps = any(one is None for one in wanted[:fits])
    rows = [f"     {'expected':<{width}}   walked"]
    rows += _rows(left, right, fits, steps, width, gaps)
    name = f"graph '{graph.name}': " if graph is not None else ""
    lines = [f"{name}the walk parts from what was expected at step {steps + 1}", *rows]
    lines += _possible(wanted, walked, facts, fits, steps, graph)
    return "\n".join(lines)


def _rows(left: list[str], right: list[str], fits: int, steps: int, width: int, gaps: bool) -> list[str]:
    """The rows of the table; after a gap the columns are shifted so that the difference stands in one row."""
    shift = steps - fits if gaps else 0
    pairs = []
    for row in range(max(len(left) + max(shift, 0), len(right))):
        at = row - shift
        one = left[at] if 0 <= at < len(left) else ""
        pairs.append((one, right[row] if row < len(right) else ""))
    return [
        f"{'>' if row == steps else ' '}{row + 1:>3} {one:<{width}}   {other}".rstrip()
        for row, (one, other) in enumerate(pairs)
    ]


def _arrow(step: Sequence[str]) -> str:
    if len(step) == 1:
        return step[0]
    return f"{step[0]} --{step[1]}--> {step[2]}" if len(step) == 3 else f"{step[0]} --{step[1]}-->"


def _possible(
    wanted: Sequence[Any], walked: Sequence[tuple[str, ...]], facts: Sequence[Fact], fits: int, steps: int,
    graph: Graph | None,
) -> list[str]:  # fmt: skip
    """What stands there instead, and the edges that the graph has."""
    lines = []
    rest = next((one for one in wanted[fits:] if one is not None), None)
    here = walked[steps][0] if steps < len(walked) else _place(facts)
    if steps >= len(walked):
        lines.append(f"the run stands at '{here}'{_standing(facts)}; expected was {_said(rest)}")
    elif rest is None:
        lines.append(f"nothing more was expected, but it went on with {_arrow(walked[steps])}")
    else:
        lines.append(f"expected was {_said(rest)}, but it took {_arrow(walked[steps])}")
    if graph is not None and here in graph.nodes:
        edges = ", ".join(f"'{edge.on}' to {edge.target}" for edge in graph.out.get(here, {}).values())
        lines.append(f"possible at '{here}': {edges}")
        if rest is not None and rest[0] == here and len(rest) > 1 and not graph.has(here, rest[1]):
            close = difflib.get_close_matches(rest[1], graph.out[here], 1)
            lines.append(f"'{rest[1]}' is no edge of '{here}'{f'; did you mean {close[0]!r}?' if close else ''}")
        if rest is not None and rest[0] not in graph.nodes and rest[0] != "END":
            lines.append(f"'{rest[0]}' is no node; the nodes are {listed(graph.nodes)}")
    return lines


def _said(step: Any) -> str:
    return "nothing more" if step is None else _arrow(step)


def _standing(facts: Sequence[Fact]) -> str:
    last = facts[-1] if facts else None
    if type(last) is Rested:
        error = f": {last.error['kind']}: {last.error['message']}" if last.error else ""
        return f" ({last.standing}{error})"
    return ""


# --- states -----------------------------------------------------------------------------------------------------------


def assert_state(run: Any, expected: Mapping[str, Any] | None = None, /, **fields: Any) -> None:
    """Assert what a run's state holds: ``assert_state(run, total=3)``; nested parts by dotted path, with positions of
    lists: ``assert_state(run, {"order.items.0.name": "tea"})``.

    ``run``: a run, its result (of either face) or a simulation. Raises AssertionError naming each field that differs,
    UserError for a path that the state doesn't have.
    """
    state = state_of(run)
    wrong = []
    for where, wanted in {**(expected or {}), **fields}.items():
        value = _at(state, where)
        if value != wanted:
            wrong.append(_differs(where, wanted, value))
    if wrong:
        raise AssertionError("the state differs:\n" + "\n".join(wrong))


def _at(state: Any, where: str) -> Any:
    value = state
    for depth, name in enumerate(where.split(".")):
        try:
            value = _part(value, name)
        except (KeyError, IndexError, AttributeError, ValueError, TypeError):
            so_far = ".".join(where.split(".")[:depth]) or f"state '{type(state).__name__}'"
            raise UserError(f"{so_far} has no '{name}'; it has {_parts(value)}") from None
    return value


def _part(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return value[name]
    if isinstance(value, (list, tuple)):
        return value[int(name)]
    return getattr(value, name)


def _parts(value: Any) -> str:
    if isinstance(value, Mapping):
        return listed(value)
    if isinstance(value, (list, tuple)):
        return f"{len(value)} elements"
    return listed(getattr(type(value), "model_fields", ())) if hasattr(type(value), "model_fields") else shorten(value)


def _differs(where: str, wanted: Any, value: Any) -> str:
    one, other = literal(wanted), literal(value)
    if "\n" not in one + other:
        return f"  {where}:\n    expected {one}\n    found    {other}"
    one, other = literal(wanted, width=0), literal(value, width=0)
    lines = difflib.unified_diff(one.splitlines(), other.splitlines(), "expected", "found", lineterm="")
    return f"  {where}:\n" + "\n".join(f"    {line}" for line in lines)
