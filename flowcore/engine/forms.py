"""Answers that have a form: held against it before they're accepted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from flowcore.errors import UpdateError, UserError
from flowcore.stores.base import OpenRequest

IN_DOUBT: Final = "in_doubt"
"""The kind of a request about an effect that a crash broke off: it may have happened."""
WAYS: Final = ("retry", "value", "fail")
"""What can be said of it: do it again; it happened, and gave ``{"value": …}``; let the run fail."""


def check_answer(request: OpenRequest, value: Any) -> None:
    """Raises UpdateError, naming the request and what doesn't fit, when its schema doesn't admit the value (JSON).

    The schema is data in the store, so any process can check, without the code that asked. JSON Schema draft 2020-12,
    as pydantic
    writes it; by the jsonschema package (the ``forms`` extra). Raises UserError where that isn't installed.
    """
    if request.kind == IN_DOUBT:
        _check_doubt(request, value)
        return
    if request.schema is None:
        return
    try:
        _check(request, request.schema, value)
    except ImportError:
        raise UserError(
            f"request '{request.key}' has a schema; to check answers against it: pip install 'flowcore[forms]'"
        ) from None


def says_of_doubt(value: Any) -> bool:
    """Whether this is one of the things that can be said of an effect in doubt."""
    return (
        value in ("retry", "fail") if isinstance(value, str) else isinstance(value, Mapping) and set(value) == {"value"}
    )


def _check_doubt(request: OpenRequest, value: Any) -> None:
    if not says_of_doubt(value):
        raise UpdateError(
            f"request '{request.key}' of run '{request.run}' asks about an effect that may have happened: answer"
            ' "retry" (do it again), {"value": RESULT} (it happened, and gave this), or "fail"'
        )
    schema = request.data.get("returns") if isinstance(request.data, Mapping) else None
    if isinstance(value, Mapping) and schema is not None:
        try:
            _check(request, schema, value["value"])
        except ImportError:
            pass  # the run holds it against its type, too


def _check(request: OpenRequest, schema: Mapping[str, Any], value: Any) -> None:
    import jsonschema  # an extra: only answers with a schema need it

    validator = jsonschema.Draft202012Validator(schema)
    errors = sorted(validator.iter_errors(value), key=lambda error: list(error.absolute_path))
    if errors:
        what = "; ".join(
            f"{'.'.join(str(step) for step in error.absolute_path) or 'the answer'}: {error.message}"
            for error in errors[:5]
        )
        raise UpdateError(f"the answer to request '{request.key}' of run '{request.run}' doesn't fit: {what}")
