# ruff: noqa: RUF043 - messages as people read them
"""Values that survive: wire and live forms, and what is refused."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import decimal
import enum
import json
import uuid
from typing import Any, NamedTuple, NewType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from flowcore.errors import UpdateError
from flowcore.graph.frozen import Frozen, Locked, frozen
from flowcore.graph.outcomes import Key
from flowcore.graph.state import Elements, State, append
from flowcore.graph.values import Codec, Json, copy_json, dumps, loads


class Color(enum.Enum):
    RED = "red"
    BLUE = 2


class Point(BaseModel):
    x: int
    label: str = ""
    color: Color = Color.RED


@dataclasses.dataclass
class Pair:
    left: int
    when: datetime.datetime


class Named(NamedTuple):
    a: int
    b: str


class Typed(TypedDict, total=False):
    a: int


class Word(str): ...


UserId = NewType("UserId", int)
any_text = st.text(st.characters(codec=None, categories=None))  # lone surrogates and NUL too
text = st.text()
numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=12,
)
moments = st.datetimes(timezones=st.none() | st.just(datetime.UTC))

TYPED: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers(-(2**70), 2**70)),
    (float, st.floats(allow_nan=False, allow_infinity=False)),
    (bool, st.booleans()),
    (str, any_text),
    (None, st.none()),
    (Json, json_values),
    (int | None, st.none() | st.integers()),
    (float | None, st.none() | st.floats(allow_nan=False, allow_infinity=False)),
    (list[str], st.lists(any_text)),
    (list[float], st.lists(st.floats(allow_nan=False, allow_infinity=False))),
    (dict[str, Json], st.dictionaries(any_text, json_values, max_size=3)),
    (dict[int, str], st.dictionaries(st.integers(), text)),
    (
        list[dict[str, Json]] | None,
        st.none() | st.lists(st.dictionaries(any_text, json_values, max_size=2), max_size=2),
    ),
    (bytes, st.binary()),
    (datetime.datetime, moments),
    (datetime.date, st.dates()),
    (datetime.timedelta, st.timedeltas(datetime.timedelta(-900), datetime.timedelta(900))),
    (decimal.Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    (uuid.UUID, st.uuids()),
    (Color, st.sampled_from(Color)),
    (Point, st.builds(Point, x=st.integers(), label=text, color=st.sampled_from(Color))),
    (list[Point], st.lists(st.builds(Point, x=st.integers(), label=text), max_size=3)),
    (Pair, st.builds(Pair, left=st.integers(), when=moments)),
    (Named, st.builds(Named, st.integers(), text)),
    (Typed, st.fixed_dictionaries({}, optional={"a": st.integers()})),
    (tuple[int, ...], st.lists(st.integers()).map(tuple)),
    (set[int], st.sets(st.integers())),
    (UserId, st.integers()),
]


READ_ONLY = {dict: Frozen, list: Locked}


@pytest.mark.parametrize(("annotation", "values"), TYPED, ids=[str(one) for one, _ in TYPED])
def test_a_value_comes_back_as_it_went(annotation: Any, values: st.SearchStrategy[Any]) -> None:
    codec = Codec(annotation, "it")

    @given(values)
    def check(value: Any) -> None:
        wire, live = codec.admit(value)
        assert live == value
        assert type(live) in (type(value), READ_ONLY.get(type(value)))
        assert codec.decode(loads(dumps(wire))) == live
        assert codec.admit(live)[0] == wire

    check()


@given(json_values)
def test_json_survives_as_bytes_and_a_copy_is_apart(value: Any) -> None:
    assert loads(dumps(value)) == value
    assert copy_json(value) == value
    assert copy_json(frozen(value)) == value


class Sub(Point):
    more: int = 0


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (str, Word("x")),
        (int, True),
        (int, "1"),
        (float, "1.0"),
        (float, float("nan")),
        (float, float("inf")),
        (list[float], [float("nan")]),
        (Json, {"a": float("-inf")}),
        (Json, {"a": Word("x")}),
        (Json, {Word("x"): 1}),
        (Json, {1: 2}),
        (Json, object()),
        (Json, b"bytes"),
        (Json, {1, 2}),
        (Json, datetime.date(2024, 1, 1)),
        (list[str], ["a", 1]),
        (list[dict[str, Json]], [1]),
        (Point, Sub(x=1, more=2)),
        (Pair, (1, 2)),
        (Color, "red"),
        (int | None, 1.5),
        (list[tuple[str, int]], [("\ud800", 1)]),
    ],
)
def test_what_isnt_of_the_declared_class_is_refused_by_name(annotation: Any, value: Any) -> None:
    with pytest.raises(UpdateError, match="^state 'S': field 'f'"):
        Codec(annotation, "state 'S': field 'f'").admit(value)


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(UpdateError, match="it: it contains itself"):
        Codec(Json, "it").admit(loop)


@pytest.mark.parametrize(
    ("annotation", "wire"), [(int, "x"), (str, 1), (Json | None, object), (Point, {"x": "no"}), (list[str], [1])]
)
def test_a_stored_value_of_the_wrong_type_is_an_error_never_none(annotation: Any, wire: Any) -> None:
    if wire is object:
        return
    with pytest.raises(UpdateError, match="^it"):
        Codec(annotation, "it").decode(wire)


def test_bytes_that_arent_json_are_refused() -> None:
    for data in (b"", b"{", b"\xff", b"{'a': 1}"):
        with pytest.raises(ValueError, match=r"."):
            loads(data)


class S(State):
    n: int = 0


def test_elements_know_the_fact_that_brought_them() -> None:
    held: Elements[str] = Elements()
    held.grow(["a", "b"], 3)
    held.grow([], 4)
    held.grow(["c"], 7)
    assert held.keys() == [Key(3, 0), Key(3, 1), Key(7, 0)]
    assert held.key(-1) == Key(7, 0)
    with pytest.raises(IndexError):
        held.key(3)


def test_a_held_value_can_be_read_copied_and_stored_but_not_changed() -> None:
    held = frozen({"a": [1, {"b": 2}]})
    assert isinstance(held, Frozen)
    assert json.loads(json.dumps(held)) == held == {"a": [1, {"b": 2}]}
    assert type(copy.deepcopy(held)) is dict
    for wrong in (
        lambda: held.__setitem__("x", 1),
        lambda: held.update(x=1),
        lambda: held["a"].append(1),
        lambda: held["a"].__iadd__([1]),
        lambda: held["a"][1].pop("b"),
        lambda: held.setdefault("x", 1),
    ):
        with pytest.raises(TypeError, match="the state is read-only"):
            wrong()
    assert held["a"] + [3] == [1, {"b": 2}, 3]
    assert append([1], [2]) == [1, 2]
