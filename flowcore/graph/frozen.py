"""Read-only lists and dicts: what a state holds and what a fact tells can't part, for they are the same objects."""

from __future__ import annotations

import math
from copy import deepcopy
from typing import Any, Generic, NoReturn, TypeVar

T = TypeVar("T")


def read_only(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
    raise TypeError("the state is read-only: return what is new, e.g. Goto('done', field=value)")


class Locked(list[T], Generic[T]):
    """A read-only list."""

    __slots__ = ()

    append = extend = insert = remove = clear = pop = sort = reverse = read_only
    __setitem__ = __delitem__ = __iadd__ = __imul__ = read_only

    def __reduce__(self) -> Any:
        return list, (list(self),)

    def __deepcopy__(self, memo: Any) -> list[T]:
        return deepcopy(list(self), memo)


class Frozen(dict[str, T], Generic[T]):
    """A read-only dict."""

    __slots__ = ()

    __setitem__ = __delitem__ = __ior__ = read_only
    update = clear = pop = popitem = setdefault = read_only

    def __reduce__(self) -> Any:
        return dict, (dict(self),)

    def __deepcopy__(self, memo: Any) -> dict[str, T]:
        return deepcopy(dict(self), memo)


def frozen(value: Any) -> Any:
    """A value whose lists and dicts are read-only, all the way down: what a node sees can't part from the journal."""
    kind = type(value)
    if kind is dict:
        return Frozen({key: inner if type(inner) is str else frozen(inner) for key, inner in value.items()})
    if kind is list:
        return Locked([frozen(inner) for inner in value])
    return value


def frozen_json(value: Any) -> Any:
    """A read-only JSON tree equal to ``value``, which is copied as far as it can be written to; raises ValueError where
    something in it isn't JSON, telling the path."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is dict or kind is Frozen:
        if not _KEYS.issuperset(map(type, value)):
            key = next(key for key in value if type(key) is not str)
            raise ValueError(f"the key {key!r} is a {type(key).__name__}, not a str")
        if _PLAIN.issuperset(map(type, value.values())):
            return value if kind is Frozen else Frozen(value)
        return Frozen({key: inner if type(inner) in _PLAIN else _inner(inner, key) for key, inner in value.items()})
    if kind is list or kind is tuple or kind is Locked:
        return Locked(
            [inner if type(inner) in _PLAIN else _inner(inner, position) for position, inner in enumerate(value)]
        )
    if kind is float:
        if not math.isfinite(value):
            raise ValueError(f"{value!r} has no JSON form")
        return value
    if isinstance(value, dict):  # another subclass: its content counts
        return frozen_json(dict(value))
    if isinstance(value, list):
        return frozen_json(list(value))
    raise ValueError(f"a value of class {kind.__name__} isn't JSON")


def _inner(value: Any, where: object) -> Any:
    try:
        return frozen_json(value)
    except ValueError as error:
        raise ValueError(f"at {where!r}: {error}") from None


_PLAIN = frozenset({str, int, bool, type(None)})
_KEYS = frozenset({str})
DICTS: frozenset[Any] = frozenset((dict, Frozen))
LISTS: frozenset[Any] = frozenset((list, Locked))
"""Classes of JSON's objects and arrays, read-only or not."""
