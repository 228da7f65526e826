"""An agent's output type: the schema that the model is given, and the way from its text to a value and back to JSON."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, PydanticUserError, RootModel, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from flowcore.agents.schema import JsonSchema, describe_errors, ensure_strict_json_schema, typed_dict_adapter
from flowcore.errors import ModelBehaviorError, UserError

_WRAPPER_KEY = "response"


class AgentOutputSchemaBase(ABC):
    """What an agent's output is. Subclass it where a type isn't enough."""

    @abstractmethod
    def is_plain_text(self) -> bool:
        """Whether the output is the model's text as it is."""

    @abstractmethod
    def name(self) -> str:
        """The type's name, for the model's provider and for errors."""

    @abstractmethod
    def json_schema(self) -> JsonSchema:
        """The schema of the output. Raises ``UserError`` where it's plain text."""

    @abstractmethod
    def is_strict_json_schema(self) -> bool:
        """Whether the schema keeps the strict dialect."""

    @abstractmethod
    def validate_json(self, json_str: str) -> Any:
        """The value of the model's text. Raises ``ModelBehaviorError`` where it doesn't fit."""

    def to_jsonable(self, value: Any) -> Any:
        """The value as plain JSON, for the journal. A value that is JSON already is returned as it is."""
        return value

    def from_jsonable(self, value: Any) -> Any:
        """The inverse of ``to_jsonable``."""
        return value

    def as_text(self, value: Any) -> str:
        """What the model would have written for a value that ``to_jsonable`` gave."""
        return value if self.is_plain_text() and isinstance(value, str) else json.dumps(value, ensure_ascii=False)


class AgentOutputSchema(AgentOutputSchemaBase):
    """The output schema of a Python type.

    None and ``str`` are plain text. A pydantic model, a TypedDict and a dict are objects as they stand; any other type
    T is asked for as ``{"response": T}``. Raises ``UserError``: a type without a JSON schema, or without a strict one
    while ``strict_json_schema`` is set.
    """

    def __init__(self, output_type: Any, strict_json_schema: bool = True) -> None:
        self.output_type = output_type
        self._name = type_name(str if output_type is None else output_type)
        self._plain = output_type is None or output_type is str
        self._wrapped = not self._plain and not _is_object(output_type)
        self._strict = strict_json_schema
        self._schema: JsonSchema | None = None
        if not self._plain:
            self._declare()

    def _declare(self) -> None:
        try:
            self._adapter: TypeAdapter[Any] = TypeAdapter(self.output_type)
            self._asked = (
                typed_dict_adapter("OutputType", {_WRAPPER_KEY: self.output_type}) if self._wrapped else self._adapter
            )
            schema = self._asked.json_schema()
        except PydanticUserError as error:
            raise UserError(f"output type '{self._name}' has no JSON schema: {error}") from error
        try:
            self._schema = ensure_strict_json_schema(schema) if self._strict else schema
        except UserError as error:
            raise UserError(
                "Strict JSON schema is enabled, but the output type is not valid. Either make the output type strict, "
                f"or wrap your type with AgentOutputSchema({self._name}, strict_json_schema=False). {error}"
            ) from error

    def is_plain_text(self) -> bool:
        return self._plain

    def name(self) -> str:
        return self._name

    def is_strict_json_schema(self) -> bool:
        return self._strict

    def json_schema(self) -> JsonSchema:
        if self._schema is None:
            raise UserError("Output type is plain text, so no JSON schema is available")
        return self._schema

    def validate_json(self, json_str: str) -> Any:
        """The value of the model's text, T itself where it was wrapped.

        Raises ``ModelBehaviorError`` that names the type and each error; its cause is pydantic's ``ValidationError``.
        """
        if self._plain:
            return json_str
        try:
            value = self._asked.validate_json(json_str)
        except ValidationError as error:
            raise ModelBehaviorError(
                f"Invalid JSON when parsing model output for {self._name}: {describe_errors(error)}"
            ) from error
        return value[_WRAPPER_KEY] if self._wrapped else value

    def to_jsonable(self, value: Any) -> Any:
        """A T as plain JSON, for the journal: by field names, without the wrapper and computed fields.

        Raises ``UserError`` where the value isn't a T, or its JSON wouldn't give the value back (bytes that aren't
        UTF-8).
        """
        if self._plain:
            if not isinstance(value, str):
                raise UserError(f"the output is plain text, not {type(value).__name__}: set an output_type")
            return value
        try:
            return self._adapter.dump_python(value, mode="json", by_alias=False, round_trip=True, warnings="error")
        except (PydanticSerializationError, ValueError) as error:
            raise UserError(f"a {type(value).__name__} can't be written as '{self._name}': {error}") from error

    def from_jsonable(self, value: Any) -> Any:
        """The inverse of ``to_jsonable``. Raises ``UserError`` where the JSON isn't a T: the type was changed since."""
        if self._plain:
            return value
        try:
            # As JSON, not as Python: a strict model takes a date or a set from JSON only.
            return self._adapter.validate_json(json.dumps(value), by_alias=False, by_name=True)
        except ValidationError as error:
            raise UserError(f"the stored output isn't a '{self._name}': {describe_errors(error)}") from error

    def as_text(self, value: Any) -> str:
        if self._plain:
            return super().as_text(value)
        whole = self.from_jsonable(value)
        return self._asked.dump_json({_WRAPPER_KEY: whole} if self._wrapped else whole, by_alias=True).decode()


def _is_object(output_type: Any) -> bool:
    """Whether the type's JSON is an object of its own. (A RootModel is a model, but its JSON may be anything.)"""
    kind = get_origin(output_type) or output_type
    return isinstance(kind, type) and issubclass(kind, (BaseModel, dict)) and not issubclass(kind, RootModel)


def type_name(kind: Any) -> str:
    """A type as one writes it: ``list[Order]``, ``Union[Order, NoneType]``."""
    origin = get_origin(kind)
    if origin is None:
        return "NoneType" if kind in (None, NoneType) else str(getattr(kind, "__name__", kind))
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, get_args(kind)))}]"
    outer = "Union" if origin in (Union, UnionType) else str(getattr(origin, "__name__", origin))
    inner = ["..." if arg is Ellipsis else type_name(arg) for arg in get_args(kind)]
    return f"{outer}[{', '.join(inner)}]"
