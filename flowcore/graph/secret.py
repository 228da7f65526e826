"""What is marked secret: ``Secret`` and pydantic's ``SecretStr`` and ``SecretBytes`` in declared types. Which fields of
a graph's state, which arguments and outputs of tools these are is decided here and nowhere else.

A journal keeps such a value, as every other. Whoever shows what happened shows MASK (see ``machine.redact``).
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, get_args, get_origin, get_type_hints

from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic.fields import FieldInfo

MASK: Final = "**********"
"""What is shown of a secret."""
ALL: Final = "*"
"""Stands for every field where all of a value is secret."""
SECRETS = (SecretStr, SecretBytes)


class Secret:
    """Marks a type: ``token: Annotated[str, Secret]``. The code sees the value, a store keeps it, and traces, logs, the
    command line, reprs and error messages show ``**********``.

    It may stand in a state's field, a tool's parameter, the type that a tool returns, an agent's ``output_type``, and
    in ``ctx.once(returns=…)``. What holds a secret somewhere inside is hidden as a whole, of an output type each field.
    Arguments and results of an MCP server's tools are secret where its schemas say ``writeOnly``, as pydantic writes
    ``SecretStr``.

    Hidden, too, is every text of four characters or more that was in such a place, wherever it turns up later in the
    run: in what a model says, in another tool's arguments, in an error. Not hidden is what the program is given (the
    output, items' fields, raw stream events, exceptions' messages as a tool raised them), what a provider's own tools
    take and give (hosted MCP), a secret that was rewritten (split, encoded), one that was shown before it came to a
    marked place, and the file that ``flowcore test-case`` writes.
    """


def is_secret(annotation: Any, seen: frozenset[Any] = frozenset()) -> bool:
    """Whether values of a type are secret, or hold something secret."""
    if annotation is Secret or isinstance(annotation, Secret):
        return True
    if get_origin(annotation) is Annotated:
        return any(is_secret(one, seen) for one in get_args(annotation))
    if any(is_secret(one, seen) for one in get_args(annotation)):
        return True
    if isinstance(annotation, FieldInfo):
        return any(is_secret(one, seen) for one in (annotation.annotation, *annotation.metadata))
    named: Any = getattr(annotation, "__value__", getattr(annotation, "__supertype__", None))  # `type X = …`, NewType
    if named is not None and annotation not in seen:
        return is_secret(named, seen | {annotation})
    if not isinstance(annotation, type) or annotation in seen:
        return False
    if issubclass(annotation, SECRETS):
        return True
    return any(is_secret(one, seen | {annotation}) for one in _parts(annotation))


def _parts(cls: type) -> Iterable[Any]:
    """The types of a record's fields; nothing where it's none."""
    if issubclass(cls, BaseModel):
        return cls.model_fields.values()
    if dataclasses.is_dataclass(cls) or hasattr(cls, "__total__") or hasattr(cls, "_fields"):
        try:
            return get_type_hints(cls, include_extras=True).values()
        except (NameError, TypeError):
            return ()
    return ()


def returns_secret(function: Any) -> bool:
    """Whether what a function is declared to return is secret; also where the annotation can't be resolved."""
    hint = getattr(function, "__annotations__", {}).get("return")
    if not isinstance(hint, str):
        return is_secret(hint)
    try:
        return is_secret(get_type_hints(function, include_extras=True).get("return"))
    except Exception:  # a name that's only there for a type checker, in whatever parameter
        return "Secret" in hint


def secret_properties(schema: Mapping[str, Any]) -> set[str]:
    """The properties of an object's JSON schema that are ``writeOnly``, as pydantic writes its secrets."""
    properties = schema.get("properties")
    found = properties.items() if isinstance(properties, Mapping) else ()
    return {str(name) for name, one in found if _write_only(one, schema.get("$defs"), ())}


def is_secret_schema(schema: Mapping[str, Any] | None) -> bool:
    """Whether something in a JSON schema is ``writeOnly``."""
    return schema is not None and _write_only(schema, schema.get("$defs"), ())


def _write_only(schema: Any, named: Any, seen: tuple[str, ...]) -> bool:
    if isinstance(schema, list):
        return any(_write_only(one, named, seen) for one in schema)
    if not isinstance(schema, Mapping):
        return False
    ref = schema.get("$ref")
    if isinstance(ref, str) and ref not in seen and isinstance(named, Mapping):
        return _write_only(named.get(ref.rpartition("/")[2]), named, (*seen, ref))
    if schema.get("writeOnly") is True:
        return True
    inner = [schema.get(key) for key in ("anyOf", "oneOf", "allOf", "prefixItems", "items")]
    properties = schema.get("properties")
    return _write_only([*inner, *(properties.values() if isinstance(properties, Mapping) else ())], named, seen)


def without_marks(schema: Any) -> Any:
    """A JSON schema without what providers' strict dialects don't know of secrets."""
    if isinstance(schema, list):
        return [without_marks(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    marked = schema.get("writeOnly") is True
    return {
        key: without_marks(one)
        for key, one in schema.items()
        if not (marked and (key == "writeOnly" or (key == "format" and one == "password")))
    }


def revealed(masked: Any, live: Any) -> Any:
    """pydantic's JSON form, in which secrets are masked, with the secrets of its Python form in their places."""
    if isinstance(live, SecretStr):
        return live.get_secret_value()
    if isinstance(live, SecretBytes):
        return base64.urlsafe_b64encode(live.get_secret_value()).decode()
    if isinstance(live, Mapping) and isinstance(masked, dict):
        return {key: revealed(one, inner) for (key, one), inner in zip(masked.items(), live.values(), strict=True)}
    if isinstance(live, (list, tuple, set, frozenset)) and isinstance(masked, list):
        return [revealed(one, inner) for one, inner in zip(masked, live, strict=True)]
    return masked
