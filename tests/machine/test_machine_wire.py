"""Facts as bytes and back; damaged ones are an error that says which."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcore.errors import StoreError
from flowcore.machine.facts import KINDS, Fact, Standing, types_of
from flowcore.machine.wire import SCHEMA_VERSION, Row, decode, encode

text = st.text(st.characters(codec=None, categories=None), max_size=8)
numbers = st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
record = st.dictionaries(text, json_values, max_size=3)
BY_TYPE = {
    "int": st.integers(0, 2**40),
    "float": st.floats(0, 1e12),
    "str": text,
    "bool": st.booleans(),
    "Any": json_values,
    "Standing": st.sampled_from(get_args(Standing)),
    "dict[str, Any]": record,
    "dict[str, str]": st.dictionaries(text, text, max_size=3),
    "list[str]": st.lists(text, max_size=3),
}


BY_NAME = {
    "error": st.none() | st.fixed_dictionaries({"kind": text, "message": text}),
    "usage": st.none() | st.dictionaries(text, numbers, max_size=3),
    "pause": st.none()
    | st.fixed_dictionaries(
        {
            "on": text, "into": text | st.none(), "late": text | st.none(), "until": numbers | st.none(),
            "enough": st.sampled_from(["all", "any"]), "keys": st.lists(text, max_size=2),
        }
    ),
}  # fmt: skip
"""What holds more than its type tells."""


def values_of(annotation: str) -> st.SearchStrategy[Any]:
    plain, _, rest = annotation.partition(" | ")
    return BY_TYPE[plain] | st.none() if rest else BY_TYPE[plain]


BY_NAME = {
    "error": st.none() | record.map(lambda more: {**more, "kind": "OSError", "message": "gone"}),
    "usage": st.none() | st.dictionaries(text, numbers, max_size=3),
    "pause": st.none()
    | st.fixed_dictionaries(
        {
            "on": text, "into": st.none() | text, "until": st.none() | numbers, "late": st.none() | text,
            "enough": st.sampled_from(["all", "any"]), "keys": st.lists(text, max_size=3),
        }
    ),
}  # fmt: skip
"""Fields that have a form of their own."""


def facts_of(cls: type) -> st.SearchStrategy[Any]:
    return st.builds(cls, **{name: BY_NAME.get(name, values_of(type_)) for name, type_ in types_of(cls).items()})


@pytest.mark.parametrize("kind", KINDS)
def test_a_fact_comes_back_as_it_went(kind: str) -> None:
    @given(facts_of(KINDS[kind]))
    def check(fact: Fact) -> None:
        row = encode(fact)
        assert (row.seq, row.kind, row.node, row.visit, row.at) == (fact.seq, kind, fact.node, fact.visit, fact.at)
        assert decode(row) == fact

    check()


ROW = Row(3, "effect", "a", 1, None, None, 1.0, b'{"v":1,"started":1.0,"key":"k","value":2}')


def test_defaults_arent_written() -> None:
    now = encode(decode(ROW))
    assert now._replace(payload=now.payload.replace(b'"v":%d' % SCHEMA_VERSION, b'"v":1')) == ROW


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "odd"}, "there's no such kind; the store is damaged"),
        ({"payload": b""}, "its payload isn't JSON"),
        ({"payload": b"\xff\xfe"}, "its payload isn't JSON"),
        ({"payload": b"[" * 100_000}, "its payload isn't JSON"),
        ({"payload": None}, "its payload isn't JSON"),
        ({"payload": b"[1]"}, f"it is of no version, and this flowcore reads 1 to {SCHEMA_VERSION}; .* damaged"),
        ({"payload": b"{}"}, "it is of no version"),
        ({"payload": b'{"v":true,"started":1.0,"key":"k","value":2}'}, "it is of no version"),
        ({"payload": b'{"v":0,"started":1.0,"key":"k","value":2}'}, "it is of version 0"),
        (
            {"kind": "odd", "payload": b'{"v":99}'},
            rf"a newer flowcore wrote it \(facts of version 99; this one reads 1 to {SCHEMA_VERSION}\); update",
        ),
        ({"payload": b'{"v":1,"started":1.0,"key":"k"}'}, "value.*the store is damaged"),
        ({"payload": b'{"v":1,"started":1.0,"key":"k","value":2,"more":1}'}, "more.*the store is damaged"),
        ({"on": "x", "to": "y"}, "the store is damaged"),
    ],
)
def test_a_damaged_row_is_a_store_error_that_says_which(change: dict[str, Any], message: str) -> None:
    with pytest.raises(StoreError, match=f"fact 3 of kind.*{message}"):
        decode(ROW._replace(**change))


@given(st.binary(max_size=60))
def test_no_bytes_do_anything_but_decode_or_fail(payload: bytes) -> None:
    try:
        decode(ROW._replace(payload=payload))
    except StoreError:
        pass
