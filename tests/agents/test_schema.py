"""From a function to its schema, and from a model's JSON to a call."""

import copy
import functools
from datetime import date
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from flowcore.agents.context import RunContextWrapper, ToolContext
from flowcore.agents.schema import ensure_strict_json_schema, function_schema
from flowcore.errors import ModelBehaviorError, UserError


class Address(BaseModel):
    street: str
    number: int | None = None


class Tree(BaseModel):
    children: list["Tree"] = []
    left: "Tree | None" = Field(None, description="the left one")


def loose(func: Any) -> Any:
    return function_schema(func, strict_json_schema=False)


def test_a_schema_holds_name_description_and_documented_parameters():
    def add(a: int, b: int = 3) -> int:
        """Add two numbers.

        Slowly.

        Args:
            a: the first
            b: the second
        """
        return a + b

    schema = function_schema(add)
    assert (schema.name, schema.description) == ("add", "Add two numbers.\n\nSlowly.")
    assert schema.params_json_schema == {
        "title": "add_args",
        "type": "object",
        "properties": {
            "a": {"title": "A", "type": "integer", "description": "the first"},
            "b": {"title": "B", "type": "integer", "description": "the second", "default": 3},
        },
        "required": ["a", "b"],
        "additionalProperties": False,
    }


def google(a: int):
    """Do.

    Args:
        a (int): the a
    """


def numpy(a: int):
    """Do.

    Parameters
    ----------
    a : int
        the a

    Returns
    -------
    int
    """


def sphinx(a: int):
    """Do.

    :param a: the a
    :returns: nothing
    """


@pytest.mark.parametrize("func", [google, numpy, sphinx])
@pytest.mark.parametrize("named", [False, True])
def test_every_docstring_style_is_read_whether_it_is_named_or_not(func, named):
    schema = function_schema(func, docstring_style=func.__name__ if named else None)
    assert schema.description == "Do."
    assert schema.params_json_schema["properties"]["a"]["description"] == "the a"


def test_the_docstring_can_be_left_out_and_the_name_and_description_overridden():
    schema = function_schema(google, name_override="go", description_override="Goes.", use_docstring_info=False)
    assert (schema.name, schema.description) == ("go", "Goes.")
    assert "description" not in schema.params_json_schema["properties"]["a"]
    unchanged = function_schema(google, name_override="", description_override="")
    assert (unchanged.name, unchanged.description) == ("google", "Do.")


def test_a_callable_object_is_described_by_its_class_before_its_call():
    class Documented:
        """Looks."""

        def __call__(self, a: int):
            """Calls."""

    class Undocumented:
        def __call__(self, a: int):
            """Calls."""

    assert function_schema(Documented()).description == "Looks."
    assert function_schema(Undocumented()).description == "Calls."


def test_prose_with_colons_and_sections_is_no_other_style():
    def notes(a: int):
        """Title: with a colon.

        Note:
            Read this.

        Args:
            a: the a. Like ``x: y`` or :class:`z`.
        """

    schema = function_schema(notes)
    assert schema.description.startswith("Title: with a colon.")
    assert schema.params_json_schema["properties"]["a"]["description"] == "the a. Like ``x: y`` or :class:`z`."


def test_an_annotation_describes_a_parameter_before_the_docstring_does_and_a_field_before_both():
    def look(a: Annotated[int, "annotated"], b: Annotated[int, "annotated", Field(description="field", gt=1)]):
        """Look.

        Args:
            a: documented
            b: documented
        """

    properties = function_schema(look).params_json_schema["properties"]
    assert properties["a"]["description"] == "annotated"
    assert properties["b"]["description"] == "field"
    assert properties["b"]["exclusiveMinimum"] == 1


def test_a_first_parameter_typed_as_context_is_not_part_of_the_schema():
    def plain(a: int): ...
    def wrapped(ctx: RunContextWrapper[Any], a: int): ...
    def tool(ctx: ToolContext, a: int): ...

    assert [function_schema(f).takes_context for f in (plain, wrapped, tool)] == [False, True, True]
    assert list(function_schema(tool).params_json_schema["properties"]) == ["a"]


def test_a_context_elsewhere_than_first_is_refused():
    def late(a: int, ctx: RunContextWrapper[Any]): ...

    with pytest.raises(UserError, match="non-first position in function late"):
        function_schema(late)


def test_an_annotation_that_cannot_be_resolved_is_refused_by_name():
    def lost(a: "Nowhere"): ...  # noqa: F821

    with pytest.raises(UserError, match=r"function 'lost'.*'Nowhere' can't be resolved"):
        function_schema(lost)


def test_what_a_function_returns_need_not_be_resolvable():
    def found(a: int) -> "Nowhere": ...  # noqa: F821

    assert function_schema(found).name == "found"


def test_a_type_without_a_json_schema_is_refused_by_function():
    class Opaque: ...

    def odd(a: Opaque): ...

    odd.__annotations__["a"] = Opaque
    with pytest.raises(UserError, match="function 'odd'"):
        function_schema(odd)


def test_a_partial_and_a_function_without_a_signature_are_refused():
    with pytest.raises(UserError, match="partial"):
        function_schema(functools.partial(google, 1))
    with pytest.raises(UserError, match="no signature"):
        function_schema(max)


def test_var_arguments_are_a_list_and_a_dict():
    def many(a: int, /, b: int = 2, *args: int, c: str = "c", **rest: float): ...

    schema = loose(many)
    assert schema.params_json_schema["properties"]["args"]["items"] == {"type": "integer"}
    assert schema.params_json_schema["properties"]["rest"]["additionalProperties"] == {"type": "number"}
    assert schema.params_json_schema["additionalProperties"] is False
    assert schema.bind('{"a": 1, "args": [5, 6], "rest": {"x": 1}}') == ((1, 2, 5, 6), {"x": 1.0})
    assert schema.bind('{"a": 1}') == ((1, 2), {})
    with pytest.raises(UserError, match="strict_mode=False"):
        function_schema(many)


def test_a_key_given_beside_the_var_keywords_and_in_them_is_refused():
    def many(*, a: int, **rest: int): ...

    with pytest.raises(ModelBehaviorError, match="a given twice"):
        loose(many).bind('{"a": 1, "rest": {"a": 2}}')


def test_untyped_parameters_take_anything():
    def free(x, *args): ...

    assert function_schema(free).bind('{"x": {"y": [1]}, "args": ["a", null]}') == (({"y": [1]}, "a", None), {})


def test_parameters_may_be_named_like_the_methods_of_a_model():
    def awkward(json: str, copy: int, _hidden: int, model_config: int, self_: int): ...

    text = '{"json": "a", "copy": 1, "_hidden": 2, "model_config": 3, "self_": 4}'
    assert function_schema(awkward).bind(text)[1] == {
        "json": "a",
        "copy": 1,
        "_hidden": 2,
        "model_config": 3,
        "self_": 4,
    }


def test_values_are_converted_to_the_declared_types():
    def visit(address: Address, day: date, kind: Literal["a", "b"] = "a"): ...

    bound = function_schema(visit).bind('{"address": {"street": "x"}, "day": "2026-01-02", "kind": "b"}')
    assert bound == ((), {"address": Address(street="x"), "day": date(2026, 1, 2), "kind": "b"})


def test_a_dict_of_arguments_binds_like_its_text():
    def visit(address: Address): ...

    schema = function_schema(visit)
    assert schema.bind({"address": {"street": "x"}}) == schema.bind('{"address": {"street": "x"}}')


def test_left_out_parameters_keep_the_defaults_of_the_function_and_of_its_fields():
    def f(
        a: int = 1,
        b: int = Field(2, gt=0),
        c: list[int] = Field(default_factory=list),  # noqa: B008 (a tool's parameters are declared so)
    ): ...

    schema = loose(f)
    assert schema.bind("") == ((), {"b": 2, "c": []})
    assert schema.params_json_schema.get("required", []) == []
    assert [schema.params_json_schema["properties"][n].get("default") for n in "abc"] == [1, 2, None]


def test_keys_that_no_parameter_has_are_dropped():
    assert function_schema(google).bind('{"a": 1, "zz": 2}') == ((), {"a": 1})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", r"Invalid JSON input for tool google: \{"),
        ("[1]", "object"),
        ("null", "object"),
        ('{"a": "x"}', r"a: .*integer.*given: 'x'"),
        ("{}", "a: Field required"),
        ("[" * 5000, "tool google"),
    ],
)
def test_bad_arguments_name_the_tool_and_what_did_not_parse(text, says):
    with pytest.raises(ModelBehaviorError, match=says) as caught:
        function_schema(google).bind(text)
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_strict_schema_closes_and_requires_everything_however_deep():
    def visit(address: Address, more: list[Address], either: Address | int | None = None): ...

    schema = function_schema(visit).params_json_schema
    assert schema["required"] == ["address", "more", "either"]
    assert "default" not in schema["properties"]["either"]
    assert schema["$defs"]["Address"]["required"] == ["street", "number"]
    assert schema["$defs"]["Address"]["additionalProperties"] is False
    assert "default" not in schema["$defs"]["Address"]["properties"]["number"]


def test_a_schema_that_is_not_strict_keeps_optional_parameters():
    def visit(a: int, b: int | None = None): ...

    schema = loose(visit).params_json_schema
    assert schema["required"] == ["a"]
    assert schema["properties"]["b"]["default"] is None
    assert "additionalProperties" not in schema


@pytest.mark.parametrize("kind", [dict, dict[str, int], list[dict[str, str]]])
def test_an_open_ended_dict_is_refused_in_a_strict_schema_with_the_cure(kind):
    def f(prices): ...

    f.__annotations__["prices"] = kind
    with pytest.raises(UserError, match=r"function 'f': prices.*strict_mode=False"):
        function_schema(f)
    assert loose(f).name == "f"


def test_making_a_schema_strict_leaves_the_given_one_alone_and_is_stable():
    given = {
        "type": "object",
        "properties": {
            "a": {"$ref": "#/$defs/A", "description": "d"},
            "b": {"oneOf": [{"type": "object"}, {"type": "null"}]},
        },
        "$defs": {"A": {"type": "object", "properties": {"n": {"type": "string", "default": None}}}},
    }
    before = copy.deepcopy(given)
    strict = ensure_strict_json_schema(given)
    assert given == before
    assert strict["properties"]["a"] == {
        "description": "d",
        "type": "object",
        "properties": {"n": {"type": "string"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    assert strict["properties"]["b"] == {"anyOf": [{"type": "object", "additionalProperties": False}, {"type": "null"}]}
    assert ensure_strict_json_schema(strict) == strict


def test_a_property_may_be_named_like_a_keyword_of_json_schema():
    given = {"type": "object", "properties": {"properties": {"type": "string"}, "default": {"type": "string"}}}
    assert ensure_strict_json_schema(given)["required"] == ["properties", "default"]


def test_a_default_of_null_goes_and_leaves_a_reference_alone():
    def move(to: Address = None): ...  # type: ignore[assignment]

    assert function_schema(move).params_json_schema["properties"]["to"] == {"$ref": "#/$defs/Address"}


def test_an_empty_schema_is_an_object_without_properties():
    assert ensure_strict_json_schema({}) == {
        "type": "object",
        "properties": {},
        "required": [],
        "additionalProperties": False,
    }


def test_an_all_of_one_is_lifted():
    given = {"type": "object", "properties": {"x": {"allOf": [{"type": "object"}], "title": "X"}}}
    assert ensure_strict_json_schema(given)["properties"]["x"] == {
        "type": "object",
        "additionalProperties": False,
        "title": "X",
    }


def test_a_recursive_type_has_a_finite_strict_schema():
    strict = ensure_strict_json_schema(Tree.model_json_schema())
    assert strict["type"] == "object"
    assert strict["$defs"]["Tree"]["required"] == ["children", "left"]
    looped = {
        "$defs": {"N": {"type": "object", "properties": {"n": {"$ref": "#/$defs/N", "title": "again"}}}},
        "$ref": "#/$defs/N",
    }
    assert ensure_strict_json_schema(looped)["properties"]["n"] == {"$ref": "#/$defs/N"}


def test_a_reference_to_nothing_is_refused_by_name():
    with pytest.raises(UserError, match=r"#/\$defs/Gone"):
        ensure_strict_json_schema({"$ref": "#/$defs/Gone", "title": "x"})
