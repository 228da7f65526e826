"""The app's context as JSON and back, for a state that travels. Nothing of it is taken along unsaid."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_jsonable_python

from flowcore.errors import UserError
from flowcore.graph.secret import is_secret
from flowcore.graph.values import copy_json

Serializer = Callable[[Any], Mapping[str, Any]]
Deserializer = Callable[[Mapping[str, Any]], Any]
KINDS = ("mapping", "serializer", "pydantic", "dataclass", "left_out")


def context_to_json(context: Any, serializer: Serializer | None, strict: bool) -> dict[str, Any] | None:
    """``{"kind", "class", "value"}`` of a context; None where there is none.

    A mapping is kept, whole: its values aren't declared, so nobody can say which are secret (a ``SecretStr`` among them
    isn't JSON, and raises). With ``serializer`` what that gives is kept. A pydantic model or a dataclass becomes its
    fields, but for those marked secret, and anything else ``{}``, both with a warning; under ``strict`` they raise
    UserError.
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
        kind, kept = "pydantic", _fields(lambda: context.model_dump(mode="json", exclude=set(_secret(context))))
    elif is_dataclass(context):
        kind, kept = "dataclass", _fields(lambda: _of_dataclass(context))
    else:
        kind, kept = "left_out", None
    if kept is None:
        _warn(f"the context, a {name}, can't be taken along in the state's JSON: it's left out, as {{}}")
        return _kept("left_out", name, {})
    _warn(f"the context, a {name}, is taken along as its fields and comes back as a dict")
    return _kept(kind, name, kept)


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


def _secret(context: Any) -> list[str]:
    """The fields that are marked secret: they're left out, as a mask in their place would be taken for the value."""
    if isinstance(context, BaseModel):
        computed = type(context).model_computed_fields.items()
        found = [name for name, info in type(context).model_fields.items() if is_secret(info)]
        return found + [name for name, info in computed if is_secret(info.return_type)]
    hints = get_type_hints(type(context), include_extras=True)
    return [name for name, hint in hints.items() if is_secret(hint)]


def _of_dataclass(context: Any) -> Any:
    left = {one.name: getattr(context, one.name) for one in fields(context)}
    for name in _secret(context):
        left.pop(name, None)
    return to_jsonable_python(left)


def _fields(read: Callable[[], Any]) -> dict[str, Any] | None:
    """The fields as JSON; None where they have no JSON form."""
    try:
        found = copy_json(read())
    except (NameError, ValueError, TypeError, RecursionError, PydanticSerializationError):
        return None
    return found if isinstance(found, dict) else None


def _warn(what: str) -> None:
    warnings.warn(what, UserWarning, stacklevel=4)
