"""Answers that have a schema: held against it before they're accepted."""

from __future__ import annotations

from typing import Any

from flowcore.errors import UpdateError, UserError
from flowcore.stores.base import OpenRequest


def check_answer(request: OpenRequest, value: Any) -> None:
    """Raises UpdateError, naming the request and what doesn't fit, when its schema doesn't admit the value (JSON).

    The schema is data in the store, so any process can check, without the code that asked. JSON Schema draft 2020-12,
    as pydantic
    writes it; by the jsonschema package (the ``forms`` extra). Raises UserError where that isn't installed.
    """
    if request.schema is None:
        return
    try:
        import jsonschema  # an extra: only answers with a schema need it
    except ImportError:
        raise UserError(
            f"request '{request.key}' has a schema; to check answers against it: pip install 'flowcore[forms]'"
        ) from None
    validator = jsonschema.Draft202012Validator(request.schema)
    errors = sorted(validator.iter_errors(value), key=lambda error: list(error.absolute_path))
    if errors:
        what = "; ".join(
            f"{'.'.join(str(step) for step in error.absolute_path) or 'the answer'}: {error.message}"
            for error in errors[:5]
        )
        raise UpdateError(f"the answer to request '{request.key}' of run '{request.run}' doesn't fit: {what}")
