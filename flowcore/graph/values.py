"""Values that survive a journal: what may stand in a state or come out of an effect, and how it becomes JSON and back.

A value's *wire* form is plain JSON (``None``, ``bool``, ``int``, ``float``, ``str``, ``list``, ``dict`` with text
keys), its *live*
form is what code sees. ``Codec.admit`` gives both, and the live one is always what ``decode`` would make of the wire
one,
so code sees the same before a crash and after it. Values of exact built-in types take a short way without pydantic.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import math
import types
import typing
import uuid
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, JsonValue, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from flowcore.errors import GraphError, UpdateError
from flowcore.graph.frozen import DICTS, LISTS, Frozen, Locked, frozen_json
from flowcore.graph.secret import MASK, SECRETS, is_secret, revealed

Json: TypeAlias = JsonValue
"""Any JSON value: the type to declare where everything that is JSON may come."""

_SCALARS = frozenset({str, int, float, bool, type(None)})
_PYDANTIC_SCALARS = (
    datetime.datetime, datetime.date, datetime.time, datetime.timedelta, decimal.Decimal, uuid.UUID, bytes,
)  # fmt: skip
_CONTAINERS = (list, dict, tuple, set, frozenset)


def copy_json(value: Any) -> Any:
    """A new JSON tree equal to ``value``; raises ValueError where something in it isn't JSON, telling the path."""
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if kind is dict or kind is Frozen:
        copy = {}
        for key, inner in value.items():
            if type(key) is not str:
                raise ValueError(f"the key {key!r} is a {type(key).__name__}, not a str")
            inner_kind = type(inner)
            copy[key] = inner if inner_kind is str or inner_kind is int else _copy_inner(inner, key)
        return copy
    if kind is list or kind is tuple or kind is Locked:
        return [inner if type(inner) is str else _copy_inner(inner, position) for position, inner in enumerate(value)]
    if kind is float:
        if not math.isfinite(value):
            raise ValueError(f"{value!r} has no JSON form")
        return value
    if isinstance(value, dict):  # another subclass: its content counts
        return copy_json(dict(value))
    if isinstance(value, list):
        return copy_json(list(value))
    raise ValueError(f"a value of class {kind.__name__} isn't JSON")


def _copy_inner(value: Any, where: object) -> Any:
    try:
        return copy_json(value)
    except ValueError as error:
        raise ValueError(f"at {where!r}: {error}") from None


def dumps(value: Any) -> bytes:
    """JSON as bytes. Lone surrogates and NUL survive. Raises ValueError for NaN and infinities."""
    return _ENCODER.encode(value).encode("utf-8", "surrogatepass")


def loads(data: bytes) -> Any:
    """The inverse of ``dumps``. Raises ValueError on anything else."""
    return _DECODER.decode(data.decode("utf-8", "surrogatepass"))


def _no_number(token: str) -> Any:
    raise ValueError(f"{token} has no JSON form")


_DECODER = json.JSONDecoder(parse_constant=_no_number)
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False, allow_nan=False)


class Codec:
    """How values of one declared type travel.

    ``label`` names the place in errors, e.g. ``state 'Order': field 'total'``. ``plain``: the class whose values travel
    as they are, if there is one. ``secret``: no error tells its values.
    """

    __slots__ = ("_adapter", "_exact", "_tree", "annotation", "label", "native", "plain", "secret")

    def __init__(self, annotation: Any, label: str) -> None:
        self.annotation = annotation
        self.label = label
        self.secret = is_secret(annotation)
        self._adapter: TypeAdapter[Any] | None = None
        self._exact: type | None = annotation if annotation in _SCALARS else None
        if annotation is None:
            self._exact = type(None)
        self._tree = _is_tree(annotation)
        self.native = self._exact is not None or self._tree
        self.plain = None if self._exact is float else self._exact
        reason = not_closed(annotation)
        if reason:
            raise GraphError(
                f"{label}: {reason} can't be stored as JSON and read back; declare a concrete type, or `flowcore.Json`"
                " for any JSON value"
            )

    def admit(self, value: Any) -> tuple[Any, Any]:
        """``(wire, live)`` of a value that code returned. Raises UpdateError if the type doesn't admit it."""
        kind = type(value)
        if kind is self._exact and (kind is not float or math.isfinite(value)):
            return value, value
        if self._exact is not None and kind is not self._exact and isinstance(value, self._exact) and kind is not bool:
            raise UpdateError(f"{self.label}: expected exactly {name_of(self.annotation)}, got {self._shown(value)}")
        if self._tree:
            try:
                tree = frozen_json(value)
            except ValueError as error:
                raise UpdateError(f"{self.label}: {error}") from None
            except RecursionError:
                raise UpdateError(f"{self.label}: it contains itself, or is nested too deeply") from None
            if self._tree is not True and not self._tree(tree):
                raise UpdateError(f"{self.label}: expected {name_of(self.annotation)}, got {self._shown(value)}")
            return tree, tree
        return self._admit_through_pydantic(value)

    def decode(self, wire: Any) -> Any:
        """The live form of a wire form. Raises UpdateError when the type doesn't admit it."""
        if self._exact is not None:
            kind = type(wire)
            if kind is self._exact:
                return wire
            if self._exact is float and kind is int:
                return float(wire)
            raise UpdateError(f"{self.label}: expected {name_of(self.annotation)}, got {self._shown(wire)}")
        if self._tree:
            if self._tree is not True and not self._tree(wire):
                raise UpdateError(f"{self.label}: expected {name_of(self.annotation)}, got {self._shown(wire)}")
            return wire
        try:
            return self.adapter.validate_json(dumps(wire))
        except (ValidationError, UnicodeError) as error:
            raise UpdateError(f"{self.label}: {explain(error)}") from None

    @property
    def adapter(self) -> TypeAdapter[Any]:
        """pydantic's adapter of the type, made at first use."""
        if self._adapter is None:
            self._adapter = adapter_of(self.annotation)
        return self._adapter

    def _admit_through_pydantic(self, value: Any) -> tuple[Any, Any]:
        adapter = self.adapter
        try:
            checked = adapter.validate_python(value, strict=True)
            wire = adapter.dump_python(checked, mode="json", warnings="error")
            if self.secret:
                wire = revealed(wire, adapter.dump_python(checked, mode="python", warnings="error"))
            if type(checked) in (set, frozenset):
                wire.sort(key=dumps)  # the same walk in every process
            live = adapter.validate_json(dumps(wire))
        except ValidationError as error:
            raise UpdateError(f"{self.label}: {explain(error)}; got {self._shown(value)}") from None
        except (PydanticSerializationError, UnicodeError, ValueError, RecursionError) as error:
            why = type(error).__name__ if self.secret else error
            raise UpdateError(f"{self.label}: {self._shown(value)} has no JSON form: {why}") from None
        if live != checked:
            raise UpdateError(
                f"{self.label}: {self._shown(value)} doesn't survive being stored (read back it is"
                f" {self._shown(live)}); return exactly {name_of(self.annotation)}"
            )
        return wire, live

    def _shown(self, value: Any) -> str:
        return f"{MASK} ({type(value).__name__})" if self.secret else shorten(value)


def adapter_of(annotation: Any) -> TypeAdapter[Any]:
    """A pydantic adapter whose bytes are base64 in JSON."""
    try:
        return TypeAdapter(annotation, config=ConfigDict(ser_json_bytes="base64", val_json_bytes="base64"))
    except PydanticUserError:  # a model, dataclass or TypedDict has a config of its own
        return TypeAdapter(annotation)


@lru_cache(maxsize=512)
def codec_of(annotation: Any, label: str) -> Codec:
    """The codec of a hashable type, made once."""
    return Codec(annotation, label)


def _is_tree(annotation: Any) -> bool | Callable[[Any], bool]:
    """True (any JSON), a check, or False, for types that are JSON trees as they are."""
    if annotation is JsonValue:
        return True
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is dict and arguments[0] is str and arguments[1] is JsonValue:
        return lambda value: type(value) in DICTS
    if origin is dict and arguments[0] is str and arguments[1] in (bool, int, str):
        return _is_dict_of(arguments[1])
    if origin is list:
        (inner,) = arguments
        if inner is JsonValue:
            return lambda value: type(value) in LISTS
        if get_origin(inner) is dict and get_args(inner) == (str, JsonValue):
            return _is_list_of(*DICTS)
        if inner in _SCALARS and inner is not float:
            return _is_list_of(inner)
    if origin in (Union, types.UnionType) and all(one in _SCALARS for one in arguments):
        if float in arguments and int not in arguments:
            return False
        return lambda value: type(value) in arguments
    if origin in (Union, types.UnionType):
        checks = [_is_scalar(one) if one in _SCALARS and one is not float else _is_tree(one) for one in arguments]
        if all(checks):
            return lambda value: any(check is True or (check is not False and check(value)) for check in checks)
    return False


def _is_list_of(*classes: type) -> Callable[[Any], bool]:
    only = frozenset(classes)
    return lambda value: type(value) in LISTS and only.issuperset(map(type, value))


def _is_dict_of(cls: type) -> Callable[[Any], bool]:
    only = frozenset({cls})
    return lambda value: type(value) in DICTS and only.issuperset(map(type, value.values()))


def _is_scalar(cls: type) -> Callable[[Any], bool]:
    return lambda value: type(value) is cls


def not_closed(annotation: Any, seen: frozenset[Any] = frozenset()) -> str:
    """Why values of a type may not survive JSON: the part that's to blame, in words; empty when they do."""
    if annotation in _SCALARS or annotation is None or annotation is JsonValue:
        return ""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is Any or annotation is object:
        return f"`{name_of(annotation)}`"
    if origin is Annotated or origin is typing.Required or origin is typing.NotRequired:
        return not_closed(arguments[0], seen)
    if origin is Literal:
        return ""
    if origin in (Union, types.UnionType) or origin in _CONTAINERS:
        return next(filter(None, (not_closed(one, seen) for one in arguments if one is not ...)), "")
    if annotation in _CONTAINERS:
        return f"`{name_of(annotation)}` without the type of its elements"
    if _stands_for(annotation) is not None:
        return not_closed(_stands_for(annotation), seen)
    if isinstance(annotation, type):
        return _class_not_closed(annotation, seen)
    return f"`{name_of(annotation)}`"


def _class_not_closed(cls: type, seen: frozenset[Any]) -> str:
    if cls in seen or issubclass(cls, (*_PYDANTIC_SCALARS, *SECRETS, enum.Enum)):
        return ""
    seen = seen | {cls}
    fields = _fields_of(cls)
    if fields is None:
        return f"a value of class `{cls.__name__}`"
    for name, annotation in fields.items():
        reason = not_closed(annotation, seen)
        if reason:
            return f"{reason} (in `{cls.__name__}.{name}`)"
    return ""


def _fields_of(cls: type) -> dict[str, Any] | None:
    """A record's fields and their types; None when the class is no record."""
    if issubclass(cls, BaseModel):
        return {name: info.annotation for name, info in cls.model_fields.items()}
    typed_dict = issubclass(cls, dict) and hasattr(cls, "__total__")  # typing's, or typing_extensions'
    if dataclasses.is_dataclass(cls) or typed_dict or hasattr(cls, "_fields"):
        return get_type_hints(cls, include_extras=True)
    return None


def _stands_for(annotation: Any) -> Any:
    """What a ``type X = …`` or a ``NewType`` is a name of; None for anything else."""
    if isinstance(annotation, typing.NewType):
        return annotation.__supertype__
    return getattr(annotation, "__value__", None)


def shape_of(annotation: Any, seen: frozenset[Any] = frozenset()) -> str:
    """A type written out, records with the types of their fields and enums with their values.

    The same in every process. Constraints are left out: they say what is admitted, not how it's read.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated or origin is typing.Required or origin is typing.NotRequired:
        return shape_of(arguments[0], seen)
    if origin is Literal:
        return f"Literal{sorted(map(repr, arguments))}"
    if arguments:
        name = "Union" if origin is types.UnionType else name_of(origin)
        return f"{name}[{', '.join(shape_of(one, seen) for one in arguments)}]"
    if _stands_for(annotation) is not None:
        return shape_of(_stands_for(annotation), seen)
    if annotation in seen or not isinstance(annotation, type):
        return name_of(annotation)
    if issubclass(annotation, enum.Enum):
        return f"{annotation.__name__}({', '.join(f'{one.name}={one.value!r}' for one in annotation)})"
    fields = _fields_of(annotation) or {}
    inner = ", ".join(f"{name}: {shape_of(one, seen | {annotation})}" for name, one in fields.items())
    return f"{annotation.__name__}({inner})" if inner else annotation.__name__


def explain(error: Exception) -> str:
    """The first complaint of a pydantic error in one line, with its path."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    path = ".".join(str(part) for part in first["loc"])
    return f"{path}: {first['msg']}" if path else str(first["msg"])


def name_of(annotation: Any) -> str:
    """A type as people write it."""
    if annotation is JsonValue:
        return "Json"
    if isinstance(annotation, type) and not get_args(annotation):
        return annotation.__name__
    return str(annotation).replace("typing.", "")


def shorten(value: Any, most: int = 80) -> str:
    """A value's repr with its class, cut for an error message."""
    try:
        text = repr(value)
    except RecursionError:
        text = "nested too deeply to be shown"
    return f"{text if len(text) <= most else text[: most - 1] + '…'} ({type(value).__name__})"
