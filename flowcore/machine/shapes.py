"""What the fields of a fact hold, by kind: held against it when a fact is read, so that no fold meets anything else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

from flowcore.machine.facts import KINDS, Fact, Rested, Signal, Standing, Transition, types_of

_NUMBERS = frozenset({int, float})
_STANDINGS = frozenset(get_args(Standing))


def misfit(fact: Fact) -> str | None:
    """The name of a field that holds what its kind never has there; None where there's none."""
    for name, fits in _CHECKS[type(fact)]:
        if not fits(getattr(fact, name)):
            return name
    if isinstance(fact, (Transition, Rested)) and fact.error is not None and not _error(fact.error):
        return "error"
    if isinstance(fact, Rested) and fact.pause is not None and not _pause(fact.pause):
        return "pause"
    if isinstance(fact, Signal):
        if fact.kind == "answer" and fact.key is None:
            return "key"
        if fact.kind == "stop" and fact.value is not None and not _texts(fact.value):
            return "value"
    usage = getattr(fact, "usage", None)
    return "usage" if usage and not _NUMBERS.issuperset(map(type, usage.values())) else None


def _is(*types: type) -> Callable[[Any], bool]:
    known = frozenset(types)
    return lambda value: type(value) in known


def _texts(value: Any) -> bool:
    return type(value) is list and all(type(one) is str for one in value)


def _error(value: Mapping[str, Any]) -> bool:
    return type(value.get("kind")) is str and type(value.get("message")) is str


def _pause(value: Mapping[str, Any]) -> bool:
    return (
        type(value.get("on")) is str
        and all(name in value and type(value[name]) in (str, type(None)) for name in ("into", "late"))
        and "until" in value
        and type(value["until"]) in (int, float, type(None))
        and value.get("enough") in ("all", "any")
        and _texts(value.get("keys"))
    )


_BY_TYPE: Mapping[str, Callable[[Any], bool]] = {
    "int": _is(int),
    "int | None": _is(int, type(None)),
    "float": _is(int, float),
    "float | None": _is(int, float, type(None)),
    "str": _is(str),
    "str | None": _is(str, type(None)),
    "bool": _is(bool),
    "Standing": lambda value: type(value) is str and value in _STANDINGS,
    "dict[str, Any]": _is(dict),
    "dict[str, Any] | None": _is(dict, type(None)),
    "dict[str, str] | None": lambda value: value is None or (type(value) is dict and _texts(list(value.values()))),
    "list[str] | None": lambda value: value is None or _texts(value),
}
"""What a field may hold, by its annotation."""

_CHECKS: Mapping[type, Sequence[tuple[str, Callable[[Any], bool]]]] = {
    cls: [(name, _BY_TYPE[written]) for name, written in types_of(cls).items() if written != "Any"]
    for cls in KINDS.values()
}
