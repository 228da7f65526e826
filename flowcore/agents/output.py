"""An agent's output type: the schema that the model is given, and the way from its text to a value and back to JSON."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from pydantic import BaseModel, PydanticUserError, RootModel, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from flowcore.agents.schema import JsonSchema, describe_errors, ensure_strict_json_schema, typed_dict_adapter
from flowcore.errors import ModelBehaviorError, UserError
from flowcore.graph.secret import ALL, is_secret, revealed, secret_properties, without_marks

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

    def secret_fields(self) -> frozenset[str]:
        """Fields of the output's JSON that are secret, ``"*"`` for all of it. Of a type of one's own: those that its
        schema calls ``writeOnly``."""
        return frozenset() if self.is_plain_text() else frozenset(secret_properties(self.json_schema()))

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
    T is asked for as ``{"response": T}``. What of it is marked ``Secret``, ``SecretStr`` or ``SecretBytes`` is hidden
    where runs are shown, of an object field by field, of any other type all of it. Raises ``UserError``: a type without
    a JSON schema, or without a strict one while ``strict_json_schema`` is set.
    """

    def __init__(self, output_type: Any, strict_json_schema: bool = True) -> None:
        self.output_type = output_type
        self._name = type_name(str if output_type is None else output_type)
        self._plain = output_type is None or output_type is str
        self._wrapped = not self._plain and not _is_object(output_type)
        self._strict = strict_json_schema
        self._schema: JsonSchema | None = None
        self._secrets = frozenset() if self._plain else _secret_fields(output_type, self._wrapped)
        if not self._plain:
            self._declare()

    def _declare(self) -> None:
        try:
            self._adapter: TypeAdapter[Any] = TypeAdapter(self.output_type)
            self._asked = (
                typed_dict_adapter("OutputType", {_WRAPPER_KEY: self.output_type}) if self._wrapped else self._adapter
            )
            schema = self._asked.json_schema()
            if self._secrets:
                schema = without_marks(schema)
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

    def secret_fields(self) -> frozenset[str]:
        return self._secrets

    def validate_json(self, json_str: str) -> Any:
        """The value of the model's text, T itself where it was wrapped.

        Raises ``ModelBehaviorError`` that names the type and each error; its cause is pydantic's ``ValidationError``,
        unless the type has something secret: of that nothing is told.
        """
        if self._plain:
            return json_str
        try:
            value = self._asked.validate_json(json_str)
        except ValidationError as error:
            told = describe_errors(error, self._hidden(error))
            why = f"Invalid JSON when parsing model output for {self._name}: {told}"
            raise ModelBehaviorError(why) from (None if self._secrets else error)
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
            return self._dumped(self._adapter, value, by_alias=False, round_trip=True, warnings="error")
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
            told = describe_errors(error, self._hidden(error))
            why = f"the stored output isn't a '{self._name}': {told}"
            raise UserError(why) from (None if self._secrets else error)

    def as_text(self, value: Any) -> str:
        if self._plain:
            return super().as_text(value)
        whole = self.from_jsonable(value)
        asked = {_WRAPPER_KEY: whole} if self._wrapped else whole
        if self._secrets:
            return json.dumps(self._dumped(self._asked, asked, by_alias=True), ensure_ascii=False)
        return self._asked.dump_json(asked, by_alias=True).decode()

    def _dumped(self, adapter: TypeAdapter[Any], value: Any, **how: Any) -> Any:
        """A value as JSON, with its secrets."""
        found = adapter.dump_python(value, mode="json", **how)
        return revealed(found, adapter.dump_python(value, mode="python", **how)) if self._secrets else found

    def _hidden(self, error: ValidationError) -> frozenset[Any]:
        """The fields of which an error tells nothing."""
        if ALL not in self._secrets:
            return self._secrets
        return frozenset(one["loc"][0] for one in error.errors() if one["loc"]) | {ALL}


def _secret_fields(output_type: Any, wrapped: bool) -> frozenset[str]:
    """The secret fields of a type's JSON, by every name that they go by."""
    if not is_secret(output_type):
        return frozenset()
    if wrapped:
        return frozenset({ALL})
    found: set[str] = set()
    if isinstance(output_type, type) and issubclass(output_type, BaseModel):
        for name, info in output_type.model_fields.items():
            if is_secret(info):
                aliases = (name, info.alias, info.validation_alias, info.serialization_alias)
                if not all(isinstance(one, (str, NoneType)) for one in aliases):
                    return frozenset({ALL})  # it's looked for in more than one place
                found.update(one for one in aliases if isinstance(one, str))
        return frozenset(found) or frozenset({ALL})
    hints = get_type_hints(output_type, include_extras=True) if is_typeddict(output_type) else {}
    return frozenset(name for name, one in hints.items() if is_secret(one)) or frozenset({ALL})


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
