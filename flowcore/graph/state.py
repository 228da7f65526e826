"""A graph's state: its fields, how an update joins each (reducers), and the read-only view that a node gets."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, ClassVar, Generic, TypeVar, get_type_hints

from pydantic import BaseModel, Field, create_model
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from flowcore.errors import GraphError, UpdateError, UserError
from flowcore.graph.frozen import Frozen, Locked, frozen, read_only
from flowcore.graph.outcomes import Key, Of, Replace, Select
from flowcore.graph.secret import MASK, is_secret
from flowcore.graph.values import Codec, name_of, shape_of, shorten

T = TypeVar("T")
Reducer = Callable[[Any, Any], Any]


class State(BaseModel):
    """The base of a graph's state. Any pydantic model will do; this one refuses unknown fields.

    ``Annotated[list[str], append]`` gives a field its reducer: ``replace`` (default), ``append``, ``merge``, ``add``,
    or a function ``(old, new) -> joined``.
    """

    model_config = {"extra": "forbid"}

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        fields = type(self).model_fields
        for name, value in super().__repr_args__():
            yield name, MASK if name in fields and is_secret(fields[name]) else value


def replace(old: Any, new: Any) -> Any:
    """The new value takes the old one's place."""
    return new


def append(old: list[T], new: list[T]) -> list[T]:
    """The new elements come after the old ones; an update is a list of what is new."""
    return [*old, *new]


def merge(old: dict[str, T], new: dict[str, T]) -> dict[str, T]:
    """The new keys join the old ones, and win where both have a value."""
    return {**old, **new}


def add(old: Any, new: Any) -> Any:
    """``old + new``."""
    return old + new


class Elements(Locked[T], Generic[T]):
    """A read-only list that knows which fact brought each of its elements."""

    __slots__ = ("_origins",)
    _origins: dict[int, int]  # by position of the first element that a fact brought: the fact's seq; rising

    def __init__(self, elements: Iterable[T] = ()) -> None:
        super().__init__(elements)
        self._origins = {0: 0} if len(self) else {}

    def key(self, position: int) -> Key:
        """The stable name of the element at a position (negative ones count from the end)."""
        if position < 0:
            position += len(self)
        if not 0 <= position < len(self):
            raise IndexError(f"position {position} of {len(self)} elements")
        first = next(first for first in reversed(self._origins) if first <= position)
        return Key(self._origins[first], position - first)

    def keys(self) -> list[Key]:
        """Every element's key, in order."""
        ends = [*self._origins, len(self)][1:]
        return [
            Key(seq, position - first)
            for (first, seq), end in zip(self._origins.items(), ends, strict=True)
            for position in range(first, end)
        ]

    def grow(self, new: Iterable[T], seq: int) -> None:
        """For ``fold`` alone: take in what a fact brought."""
        before = len(self)
        list.extend(self, new if type(new) is Locked else map(frozen, new))
        if len(self) > before:
            self._origins[before] = seq


_EMPTY = frozenset({list, dict, set, frozenset, tuple})
_KNOWN_TO_FIT = frozenset({replace, append, merge})


_SHARED = frozenset({str, int, float, bool, type(None), Frozen})
"""Classes of values that can't be changed."""


class StateField:
    """One field: its codec, reducer and default.

    ``made``: its default is made anew for each run, so it's written into the run's first fact. ``plain``: the class
    whose values need neither a look nor a reducer, if there is one.
    """

    __slots__ = ("_default", "codec", "info", "is_list", "made", "name", "plain", "reducer", "required")

    def __init__(self, owner: str, name: str, info: FieldInfo) -> None:
        self.name = name
        self.info = info
        reducers = [one for one in info.metadata if callable(one) and not isinstance(one, type)]
        rest = [one for one in info.metadata if one not in reducers]
        if len(reducers) > 1:
            raise GraphError(f"state '{owner}': field '{name}' has {len(reducers)} reducers; keep one")
        self.reducer: Reducer = reducers[0] if reducers else replace
        annotation = info.annotation
        if rest:
            annotation = Annotated[annotation, *rest]  # type: ignore[assignment]
        self.codec = Codec(annotation, f"state '{owner}': field '{name}'")
        self.plain = self.codec.plain if self.reducer is replace else None
        self.required = info.is_required()
        origin = getattr(info.annotation, "__origin__", None)
        self.is_list = origin is list
        if self.reducer is append and not self.is_list:
            raise GraphError(
                f"state '{owner}': field '{name}' is joined by `append` but its type is {name_of(info.annotation)};"
                " declare a list"
            )
        if self.reducer is merge and origin is not dict:
            raise GraphError(
                f"state '{owner}': field '{name}' is joined by `merge` but its type is {name_of(info.annotation)};"
                " declare a dict"
            )
        factory = info.default_factory
        self.made = factory is not None and factory not in _EMPTY
        self._default = None if self.required or self.made else self._first_default()

    def _first_default(self) -> Any:
        try:
            return self.default()
        except UpdateError as error:
            raise GraphError(f"{error}; mend the field's default") from None

    def default(self) -> Any:
        """The default's wire form. Raises UpdateError when the type doesn't admit it."""
        value = self.info.get_default(call_default_factory=True, validated_data={})
        if value is PydanticUndefined:
            raise UpdateError(f"{self.codec.label} is required")
        return self.codec.admit(value)[0]

    def begin(self) -> Any:
        """The live form of the default."""
        return self.codec.decode(self.default() if self.required or self.made else self._default)

    def join(self, old: Any, new: Any) -> Any:
        """What the reducer makes of both. Raises UpdateError when the type doesn't admit that."""
        joined = self.reducer(old, new)
        return joined if self.reducer in _KNOWN_TO_FIT else self.codec.admit(joined)[1]

    @property
    def shape(self) -> str:
        """What of the field decides how its facts are read: type and reducer."""
        return f"{shape_of(self.codec.annotation)} by {getattr(self.reducer, '__name__', type(self.reducer).__name__)}"

    def hold(self, live: Any, seq: int) -> Any:
        """A value in the form in which the state holds it: containers become read-only."""
        kind = type(live)
        if kind is list or kind is Locked:
            held: Elements[Any] = Elements()
            held.grow(live, seq)
            return held
        return frozen(live) if kind is dict else live


_SET_DICT, _SET_FIELDS_SET, _SET_EXTRA, _SET_PRIVATE = (
    BaseModel.__dict__[slot].__set__
    for slot in ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
)
"""What fills a model past its own ``__setattr__``."""


class Schema:
    """A state class, read once."""

    _views: ClassVar[dict[type, type]] = {}

    def __init__(self, cls: type[Any]) -> None:
        self.cls = cls
        self.name = getattr(cls, "__name__", "")
        self.fields = {name: StateField(self.name, name, info) for name, info in fields_of(cls).items()}
        self._view = self._views.get(cls) or self._views.setdefault(cls, _view_class(cls))
        self._names = set(self.fields)
        self.secrets = tuple(name for name, field in self.fields.items() if field.codec.secret)
        self._is_model = issubclass(cls, BaseModel)
        self._same: dict[str, Any] = {}  # defaults that every run may share: they can't be written to
        self._anew: list[StateField] = []
        for name, field in self.fields.items():
            held = None if field.required or field.made else field.hold(field.begin(), 0)
            stays = type(held) in _SHARED or (held == [] and field.reducer is not append)
            if field.required or field.made or not stays:
                self._anew.append(field)
            else:
                self._same[name] = held

    def initial(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The wire form of a first state from what was given. Raises UpdateError on unknown or missing fields."""
        self._known(given)
        missing = [name for name, field in self.fields.items() if field.required and name not in given]
        if missing:
            raise UpdateError(f"state '{self.name}' needs {listed(missing)} to start")
        return {name: self.fields[name].codec.admit(value)[0] for name, value in given.items()}

    def filled(self, given: dict[str, Any]) -> dict[str, Any]:
        """``given`` and the defaults that are made anew for each run, all in wire form."""
        made = {name: field.default() for name, field in self.fields.items() if field.made and name not in given}
        return {**given, **made} if made else given

    def begin(self, wire: Mapping[str, Any]) -> dict[str, Any]:
        """The first values, from their wire form."""
        self._known(wire)
        values = self._same.copy()
        for field in self._anew:
            if field.name not in wire:
                values[field.name] = field.hold(field.begin(), 0)
        for name, one in wire.items():
            field = self.fields[name]
            values[name] = field.hold(field.codec.decode(one), 0)
        return values

    def view(self, values: dict[str, Any]) -> Any:
        """What a node sees: an instance of the state class that can't be written to; nothing is copied or validated."""
        view: Any = object.__new__(self._view)
        if not self._is_model:
            set_ = object.__setattr__
            for name, value in values.items():
                set_(view, name, value)
            return view
        _SET_DICT(view, values.copy())
        _SET_FIELDS_SET(view, self._names)
        _SET_EXTRA(view, None)
        _SET_PRIVATE(view, None)
        return view

    def _known(self, names: Iterable[str]) -> None:
        if not self.fields.keys() >= set(names):
            unknown = [name for name in names if name not in self.fields]
            raise UpdateError(
                f"state '{self.name}' has no field {listed(unknown)}; its fields are {listed(self.fields)}"
            )

    def admit(
        self, update: Mapping[str, Any], where: str | tuple[str, str]
    ) -> tuple[dict[str, Any], dict[str, str] | None]:
        """The wire form of a node's update and how each field is meant where it's not simply joined.

        ``how`` maps a field to ``replace``, ``select`` or ``of``. Raises UpdateError naming ``where`` (in words, or the
        graph and the node), field and cure.
        """
        wire: dict[str, Any] = {}
        how: dict[str, str] | None = None
        fields = self.fields
        for name, value in update.items():
            field = fields.get(name)
            if field is None:
                raise UpdateError(
                    f"{_in_words(where)} updates '{name}', but state '{self.name}' has no such field; its fields are"
                    f" {listed(fields)}"
                )
            kind = type(value)
            if kind is field.plain:
                wire[name] = value
                continue
            try:
                if kind is Replace:
                    wire[name] = field.codec.admit(value.value)[0]
                    how = {**(how or {}), name: "replace"}
                elif kind is Select:
                    wire[name] = self._admit_select(field, value)
                    how = {**(how or {}), name: "select"}
                elif kind is Of:
                    wire[name] = [value.key, *value.path]
                    how = {**(how or {}), name: "of"}
                elif (kind is list and Of in map(type, value)) or (kind is dict and Of in map(type, value.values())):
                    wire[name] = self._admit_parts(field, value)
                    how = {**(how or {}), name: "parts"}
                else:
                    wire[name] = field.codec.admit(value)[0]
            except UpdateError as error:
                raise UpdateError(f"{_in_words(where)}: {error}") from None
        return wire, how

    def _admit_parts(self, field: StateField, value: Any) -> Any:
        if isinstance(value, dict):
            known = field.codec.admit({key: one for key, one in value.items() if type(one) is not Of})[0]
            return {
                key: {"of": [one.key, *one.path]} if type(one) is Of else {"new": known[key]}
                for key, one in value.items()
            }
        new = iter(field.codec.admit([one for one in value if type(one) is not Of])[0])
        return [{"of": [one.key, *one.path]} if type(one) is Of else {"new": next(new)} for one in value]

    def _admit_select(self, field: StateField, select: Select) -> dict[str, Any]:
        source = select.of or field.name
        if source not in self.fields or not self.fields[source].is_list:
            raise UpdateError(f"{field.codec.label}: Select(of={source!r}) names no list field of '{self.name}'")
        elements = list(select.elements)
        news = iter(self.fields[source].codec.admit([one for one in elements if type(one) is not Key])[0])
        return {
            "of": source,
            "pick": [list(one) if type(one) is Key else {"new": next(news)} for one in elements],
        }


def fields_of(cls: Any) -> dict[str, FieldInfo]:
    """The fields of a state class: a pydantic model, or a dataclass, read as pydantic reads it. Raises GraphError."""
    if isinstance(cls, type) and issubclass(cls, BaseModel):
        return cls.model_fields
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        raise GraphError(
            f"a state is a pydantic model (e.g. a subclass of flowcore.State) or a dataclass, not {shorten(cls)}"
        )
    hints = get_type_hints(cls, include_extras=True)
    declared: dict[str, Any] = {}
    for one in dataclasses.fields(cls):
        if one.default_factory is not dataclasses.MISSING:
            declared[one.name] = (hints[one.name], Field(default_factory=one.default_factory))
        else:
            declared[one.name] = (hints[one.name], ... if one.default is dataclasses.MISSING else one.default)
    model: type[BaseModel] = create_model(cls.__name__, **declared)
    return model.model_fields


def _in_words(where: str | tuple[str, str]) -> str:
    return where if isinstance(where, str) else f"graph '{where[0]}': node '{where[1]}'"


def pick(part: Any, path: Iterable[str | int], where: str) -> Any:
    """A part of a recorded value."""
    for step in path:
        try:
            part = part[step]
        except (LookupError, TypeError):
            raise UserError(f"{where}: the recorded value has no {step!r}") from None
    return part


def listed(names: Iterable[Any]) -> str:
    """Names in quotes, with commas."""
    return ", ".join(f"'{name}'" for name in names) or "none"


def _view_class(cls: type[Any]) -> type:
    """A subclass whose instances refuse to be written to."""
    return type(
        cls.__name__,
        (cls,),
        {
            "__setattr__": read_only,
            "__delattr__": read_only,
            "__module__": cls.__module__,
            "__qualname__": cls.__qualname__,
            "__doc__": cls.__doc__,
        },
    )
