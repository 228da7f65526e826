"""What goes into a graph and what comes out of it, where those have types of their own: parts of the state."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from flowcore.errors import GraphError, UpdateError
from flowcore.graph.state import Schema, fields_of, listed
from flowcore.graph.values import Codec, shorten


class End:
    """An input or output type: a model or dataclass whose fields are fields of the state."""

    def __init__(self, graph: str, schema: Schema, role: str, cls: type[Any]) -> None:
        where = f"graph '{graph}': {role} type '{getattr(cls, '__name__', cls)}'"
        if not (isinstance(cls, type) and (issubclass(cls, BaseModel) or dataclasses.is_dataclass(cls))):
            raise GraphError(f"{where} is no pydantic model and no dataclass")
        self.names = list(fields_of(cls))
        unknown = [name for name in self.names if name not in schema.fields]
        if unknown:
            raise GraphError(f"{where} has fields that state '{schema.name}' doesn't have: {listed(unknown)}")
        missing = [name for name, field in schema.fields.items() if field.required and name not in self.names]
        if role == "input" and missing:
            raise GraphError(f"{where} lacks {listed(missing)}, which state '{schema.name}' needs to start")
        self.cls = cls
        self.codec = Codec(cls, where)

    def taken(self, given: Any) -> dict[str, Any]:
        """The state's first fields from what ``start`` was given: an instance, or a dict that makes one. Raises
        UpdateError."""
        if isinstance(given, self.cls):
            value = self.codec.admit(given)[1]
        elif isinstance(given, Mapping) or given is None:
            value = self.codec.decode(dict(given or {}))
        else:
            raise UpdateError(f"{self.codec.label}: expected one or a dict, got {shorten(given)}")
        return {name: getattr(value, name) for name in self.names}

    def made(self, values: Mapping[str, Any]) -> Any:
        """The output in wire form: the state's values of this type's fields, held against it. Raises UpdateError."""
        if issubclass(self.cls, BaseModel):
            value: Any = self.cls.model_construct(**{name: values[name] for name in self.names})
        else:
            value = self.cls(**{name: values[name] for name in self.names})
        return self.codec.admit(value)[0]
