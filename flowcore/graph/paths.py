"""Walks through any directed table, each linear: what is reached, the shortest way there, and what lies on cycles."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from typing import TypeVar

N = TypeVar("N", bound=Hashable)
L = TypeVar("L")


def closure(start: N, onward: Mapping[N, Iterable[N]]) -> set[N]:
    """``start`` and everything that can be reached from it."""
    seen, todo = {start}, [start]
    while todo:
        for name in onward.get(todo.pop(), ()):
            if name not in seen:
                seen.add(name)
                todo.append(name)
    return seen


def shortest(starts: Iterable[N], goal: N, links: Callable[[N], Iterable[tuple[N, L]]]) -> list[L] | None:
    """The links of a shortest walk of at least one step from any of ``starts`` to ``goal``; None when there is none.

    ``links(place)`` gives the ``(next place, link)`` pairs of a place.
    """
    came: dict[N, tuple[N, L] | None] = dict.fromkeys(starts)
    todo = deque(came)
    while todo:
        here = todo.popleft()
        for there, link in links(here):
            if there == goal:
                return [*_back(came, here), link]
            if there not in came:
                came[there] = (here, link)
                todo.append(there)
    return None


def _back(came: Mapping[N, tuple[N, L] | None], place: N) -> list[L]:
    walked: list[L] = []
    step = came[place]
    while step is not None:
        place, link = step
        walked.append(link)
        step = came[place]
    return walked[::-1]


def cyclic(onward: Mapping[N, Collection[N]]) -> list[list[N]]:
    """The strongly connected components that hold a cycle, each in the table's order."""
    order = {name: i for i, name in enumerate(onward)}
    found = [one for one in components(onward) if len(one) > 1 or one[0] in onward[one[0]]]
    return sorted((sorted(one, key=order.__getitem__) for one in found), key=lambda one: order[one[0]])


def components(onward: Mapping[N, Iterable[N]]) -> Iterator[list[N]]:
    """Tarjan's strongly connected components, without recursion. Targets that aren't keys are left out."""
    number: dict[N, int] = {}
    low: dict[N, int] = {}
    pending: dict[N, None] = {}  # numbered, and in no component yet; in order
    for root in onward:
        stack: list[tuple[N, Iterator[N]]] = []
        if root not in number:
            number[root] = low[root] = len(number)
            pending[root] = None
            stack.append((root, iter(onward[root])))
        while stack:
            name, targets = stack[-1]
            for target in targets:
                if target not in onward:
                    continue
                if target not in number:
                    number[target] = low[target] = len(number)
                    pending[target] = None
                    stack.append((target, iter(onward[target])))
                    break
                if target in pending:
                    low[name] = min(low[name], number[target])
            else:
                stack.pop()
                if stack:
                    low[stack[-1][0]] = min(low[stack[-1][0]], low[name])
                if low[name] == number[name]:
                    yield _taken(pending, name)


def _taken(pending: dict[N, None], until: N) -> list[N]:
    taken: list[N] = []
    while not taken or taken[-1] != until:
        taken.append(pending.popitem()[0])
    return taken
