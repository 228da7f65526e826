"""An agent's output type: schema, parsing, and the way into the journal and back."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, RootModel, computed_field
from typing_extensions import TypedDict

from flowcore.agents.output import AgentOutputSchema, AgentOutputSchemaBase
from flowcore.errors import ModelBehaviorError, UserError


class Colour(Enum):
    RED = "red"


class Order(BaseModel):
    id: int
    note: str | None = None


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    when: datetime
    price: Decimal
    tags: set[str]
    colour: Colour
    pair: tuple[int, str]

    @computed_field
    @property
    def double(self) -> Decimal:
        return self.price * 2


class Aliased(BaseModel):
    a: int = Field(alias="A")
    b: int = Field(validation_alias=AliasChoices("b1", "b2"), serialization_alias="out")


class Row(TypedDict):
    a: int


@dataclass
class Point:
    x: int
    y: int = 0


class Many(RootModel[list[int]]):
    pass


@pytest.mark.parametrize("kind", [None, str])
def test_no_type_and_str_are_plain_text(kind):
    schema = AgentOutputSchema(kind)
    assert schema.is_plain_text()
    assert schema.name() == "str"
    assert schema.validate_json("not { json") == "not { json"
    assert schema.from_jsonable(schema.to_jsonable("\ud800")) == "\ud800"
    with pytest.raises(UserError, match="Output type is plain text, so no JSON schema is available"):
        schema.json_schema()
    with pytest.raises(UserError, match="plain text, not int"):
        schema.to_jsonable(3)


def test_a_model_is_asked_for_as_it_stands_and_strictly():
    schema = AgentOutputSchema(Order)
    assert not schema.is_plain_text()
    assert schema.is_strict_json_schema()
    assert schema.json_schema()["required"] == ["id", "note"]
    assert schema.json_schema()["additionalProperties"] is False
    assert schema.validate_json('{"id": 1, "note": null}') == Order(id=1)


@pytest.mark.parametrize(
    ("kind", "name", "text", "value"),
    [
        (int, "int", "3", 3),
        (list[Order], "list[Order]", '[{"id": 1}]', [Order(id=1)]),
        (Order | None, "Union[Order, NoneType]", "null", None),
        (Literal["a", 1], "Literal['a', 1]", '"a"', "a"),
        (Point, "Point", '{"x": 1}', Point(1)),
        (Many, "Many", "[1]", Many([1])),
        (Any, "Any", "[true]", [True]),
    ],
)
def test_other_types_are_wrapped_and_come_out_unwrapped(kind, name, text, value):
    schema = AgentOutputSchema(kind)
    assert schema.name() == name
    assert schema.json_schema()["title"] == "OutputType"
    assert list(schema.json_schema()["properties"]) == ["response"]
    assert schema.validate_json(f'{{"response": {text}}}') == value
    with pytest.raises(ModelBehaviorError, match="response"):
        schema.validate_json("{}")


def test_a_typed_dict_is_an_object_of_its_own():
    schema = AgentOutputSchema(Row)
    assert list(schema.json_schema()["properties"]) == ["a"]
    assert schema.validate_json('{"a": 1}') == {"a": 1}


def test_a_type_without_a_strict_schema_is_refused_at_once_with_the_cure():
    with pytest.raises(UserError, match=r"AgentOutputSchema\(dict\[str, int\], strict_json_schema=False\)"):
        AgentOutputSchema(dict[str, int])
    loose = AgentOutputSchema(dict[str, int], strict_json_schema=False)
    assert not loose.is_strict_json_schema()
    assert loose.json_schema() == {"type": "object", "additionalProperties": {"type": "integer"}}
    assert loose.validate_json('{"a": 1}') == {"a": 1}


def test_a_type_without_any_schema_is_refused_by_name():
    class Opaque: ...

    with pytest.raises(UserError, match="output type 'Opaque'"):
        AgentOutputSchema(Opaque)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"id": "x"}', r"for Order: id: Input should be a valid integer.*given: 'x'"),
        ("{", "for Order: Invalid JSON"),
        ("[]", "for Order: Input should be an object"),
        ('{"note": 1}', r"id: Field required\nnote: Input should be a valid string"),
    ],
)
def test_output_that_does_not_fit_names_the_type_and_every_error(text, says):
    with pytest.raises(ModelBehaviorError, match=says):
        AgentOutputSchema(Order).validate_json(text)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Order, Order(id=1, note="é\x00")),
        (
            Strict,
            Strict(
                when=datetime(2026, 1, 2, tzinfo=UTC),
                price=Decimal("1.10"),
                tags={"a"},
                colour=Colour.RED,
                pair=(1, "x"),
            ),
        ),
        (Aliased, Aliased(A=1, b1=2)),
        (Point, Point(1, 2)),
        (list[Point], [Point(1, 2)]),
        (Order | None, None),
        (float, float("inf")),
        (bytes, b"abc"),
        (Many, Many([1])),
        (Row, {"a": 1}),
    ],
)
def test_a_value_comes_back_from_the_journal_as_it_went_in(kind, value):
    schema = AgentOutputSchema(kind, strict_json_schema=False)
    stored = json.loads(json.dumps(schema.to_jsonable(value)))
    back = schema.from_jsonable(stored)
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize(("kind", "value"), [(Order, "text"), (int, Order(id=1)), (bytes, b"\xff")])
def test_a_value_that_the_type_cannot_hold_is_refused(kind, value):
    with pytest.raises(UserError, match="can't be written as"):
        AgentOutputSchema(kind).to_jsonable(value)


def test_stored_output_that_no_longer_fits_the_type_is_refused():
    with pytest.raises(UserError, match=r"the stored output isn't a 'Order': id"):
        AgentOutputSchema(Order).from_jsonable({"id": "gone"})


def test_a_schema_of_ones_own_needs_no_way_into_the_journal_when_its_values_are_json():
    class Words(AgentOutputSchemaBase):
        def is_plain_text(self):
            return False

        def name(self):
            return "Words"

        def json_schema(self):
            return {"type": "object"}

        def is_strict_json_schema(self):
            return False

        def validate_json(self, json_str):
            return json_str.split()

    own = Words()
    assert own.from_jsonable(own.to_jsonable(own.validate_json("a b"))) == ["a", "b"]
