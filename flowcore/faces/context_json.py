"""The app's context as JSON and back, for a state that travels. Nothing of it is taken along unsaid."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_jsonable_python

from flowcore.errors import UserError
from flowcore.graph.values import copy_json

Serializer = Callable[[Any], Mapping[str, Any]]
Deserializer = Callable[[Mapping[str, Any]], Any]
KINDS = ("mapping", "serializer", "pydantic", "dataclass", "left_out")


def context_to_json(context: Any, serializer: Serializer | None, strict: bool) -> dict[str, Any] | None:
    """``{"kind", "class", "value"}`` of a context; None where there is none.

    A mapping is kept. With ``serializer`` what that gives is. A pydantic model or a dataclass becomes its fields and
    anything else ``{}``, both with a warning; under ``strict`` they raise UserError.
    """
    if context is None:
        return None
    name = type(context).__name__
    if serializer is not None:
        try:
            value = serializer(context)
        except Exception as error:
            raise UserError(f"Context serializer failed: {type(error).__name__}") from error
        if not isinstance(value, Mapping):
            raise UserError(f"Context serializer must return a mapping; it gave a {type(value).__name__}")
        return _kept("serializer", name, _json(value, "what context_serializer gave"))
    if isinstance(context, Mapping):
        return _kept("mapping", name, _json(context, "the context"))
    if strict:
        raise UserError(
            "RunState serialization requires context to be a mapping when strict_context is True; this one is a"
            f" {name}. Give context_serializer="
        )
    if isinstance(context, BaseModel):
        kind, fields = "pydantic", _fields(lambda: context.model_dump(mode="json"))
    elif is_dataclass(context):
        kind, fields = "dataclass", _fields(lambda: to_jsonable_python(asdict(context)))  # type: ignore[arg-type]
    else:
        kind, fields = "left_out", None
    if fields is None:
        _warn(f"the context, a {name}, can't be taken along in the state's JSON: it's left out, as {{}}")
        return _kept("left_out", name, {})
    _warn(f"the context, a {name}, is taken along as its fields and comes back as a dict")
    return _kept(kind, name, fields)


def context_from_json(data: Any, override: Any, deserializer: Deserializer | None, strict: bool) -> Any:
    """The context of a loaded state: ``override`` where there's one, else what was kept, through ``deserializer`` where
    there's one.

    Without either, what was no mapping comes back as a dict, with a warning; under ``strict`` that raises UserError.
    """
    if data is not None:
        kind = data.get("kind") if type(data) is dict else None
        well = kind in KINDS and type(data.get("class")) is str and type(data.get("value")) is dict
        if not well or set(data) != {"kind", "class", "value"}:
            raise UserError("this state's 'context' is malformed: it isn't one that to_json wrote")
    if override is not None:
        return override
    if data is None:
        return None
    kind, name, value = data["kind"], data["class"][:80], copy_json(data["value"])
    if deserializer is not None and kind != "left_out":
        return deserializer(value)
    if kind == "mapping":
        return value
    what = (
        f"the context, a {name!r}, was left out of this state; give context_override="
        if kind == "left_out"
        else f"the context was a {name!r} and comes back as a dict; give context_override= or context_deserializer="
    )
    if strict:
        raise UserError(f"strict_context: {what}")
    _warn(what)
    return value


def _kept(kind: str, name: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"kind": kind, "class": name, "value": value}


def _json(value: Mapping[str, Any], what: str) -> dict[str, Any]:
    try:
        copy = copy_json(dict(value))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{what} isn't JSON: {error}; give context_serializer=") from None
    assert isinstance(copy, dict)
    return copy


def _fields(read: Callable[[], Any]) -> dict[str, Any] | None:
    """The fields as JSON; None where they have no JSON form."""
    try:
        fields = copy_json(read())
    except (ValueError, TypeError, RecursionError, PydanticSerializationError):
        return None
    return fields if isinstance(fields, dict) else None


def _warn(what: str) -> None:
    warnings.warn(what, UserWarning, stacklevel=4)
