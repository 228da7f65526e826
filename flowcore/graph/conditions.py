"""Edges by data: ordered conditions on the state, as values that can be drawn, checked and stored; never a lambda."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from flowcore.errors import GraphError, UpdateError

OTHERWISE: Final = "otherwise"

_OPS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "in": lambda value, among: value in among,
    "not in": lambda value, among: value not in among,
    "contains": lambda value, part: part in value,
    "is empty": lambda value, _: not value,
    "is not empty": lambda value, _: bool(value),
}
_ALONE = frozenset({"is empty", "is not empty"})
_AMONG = frozenset({"in", "not in"})


class Condition(NamedTuple):
    """``field op value``; ``field`` may be a dotted path into a dict or a model."""

    field: str
    op: str
    value: Any = None

    def __str__(self) -> str:
        return f"{self.field} {self.op}" if self.op in _ALONE else f"{self.field} {self.op} {self.value!r}"

    def holds(self, read: Callable[[str], Any]) -> bool:
        """Whether it's true of a state. ``read(name)`` gives a field. Raises UpdateError when the two can't be
        compared."""
        name, *path = self.field.split(".")
        value = read(name)
        for step in path:
            value = value.get(step) if isinstance(value, dict) else getattr(value, step, None)
        try:
            return bool(_OPS[self.op](value, self.value))
        except TypeError as error:
            raise UpdateError(f"the condition `{self}` can't be asked of {value!r}: {error}") from None


class When(NamedTuple):
    """In an edge table: go to ``target`` when ``condition`` holds; None always does."""

    condition: Condition | None
    target: Any

    @property
    def label(self) -> str:
        """What the edge is called."""
        return OTHERWISE if self.condition is None else str(self.condition)


def when(field: str, op: str, value: Any = None, target: Any = None) -> When:
    """An edge that is taken when the state's field compares so: ``when("score", ">=", 8, END)``, ``when("todo", "is
    empty", target=END)``.

    The conditions of a node are asked in order, on the state with the node's update joined in; the first that holds
    is taken. Operators:
    ``== != < <= > >=``, ``in``, ``not in``, ``contains``, ``is empty``, ``is not empty``. Raises GraphError.
    """
    if op not in _OPS:
        raise GraphError(f"when({field!r}, {op!r}): the operators are {', '.join(map(repr, _OPS))}")
    if target is None:
        raise GraphError(f"when({field!r}, {op!r}, ...): it needs a target")
    if op in _AMONG and not isinstance(value, (list, tuple, set, frozenset)):
        raise GraphError(f"when({field!r}, {op!r}, {value!r}): the value is a list of what is allowed")
    return When(Condition(field, op, value), target)


def otherwise(target: Any) -> When:
    """The edge that is taken when no condition of the node holds; every node with conditions needs one, as its last."""
    return When(None, target)
