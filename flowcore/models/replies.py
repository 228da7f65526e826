"""A model's reply in whatever form it comes: as dicts or objects of a client, whole or at a stream's end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flowcore.errors import ModelBehaviorError, UserError
from flowcore.models.base import Item, ModelResponse
from flowcore.models.openai_errors import from_body
from flowcore.models.usage import Usage

_ENDS = frozenset({"response.completed", "response.incomplete"})
_FAILURES = frozenset({"response.failed", "error", "response.error"})


def as_reply(given: Any, model: object) -> ModelResponse:
    """A reply with its output as plain dicts; a client's objects stay beside them. Raises UserError for what is none.
    ``model``: who gave it."""
    if not isinstance(given, ModelResponse):
        raise UserError(f"{type(model).__name__}.get_response gave a {type(given).__name__}; give a ModelResponse")
    for item in given.output:
        if type(item) is not dict:
            break
    else:
        return given
    raw = [None if type(item) is dict else item for item in given.output]
    return replace(given, output=[_plain(item, model) for item in given.output], raw_output=raw)


def kind_of(event: Any) -> str | None:
    """A streamed event's type."""
    kind: str | None = event.get("type") if isinstance(event, Mapping) else getattr(event, "type", None)
    return kind


class Heard:
    """The reply that a stream comes to: the ``ModelResponse`` that it ends with, or the response in its last event."""

    def __init__(self, model: object) -> None:
        self._model = model
        self._finished: list[Any] = []
        self._reply: ModelResponse | None = None
        self._last: Any = None

    def hear(self, event: Any) -> None:
        """Take in what the stream gave."""
        if isinstance(event, ModelResponse):
            self._reply = as_reply(event, self._model)
            return
        kind = kind_of(event)
        if kind == "response.output_item.done":
            self._finished.append(_of(event, "item"))
        elif kind in _ENDS or kind in _FAILURES:
            self._last = event

    def reply(self) -> ModelResponse:
        """What it came to. Raises ModelError where its last event tells of a failure, ModelBehaviorError where the
        stream had no end."""
        if self._reply is not None:
            return self._reply
        if self._last is None:
            raise ModelBehaviorError(
                f"{type(self._model).__name__}.stream_response ended without a ModelResponse or a response.completed"
            )
        if kind_of(self._last) in _FAILURES:
            wire = _dumped(self._last)
            raise from_body((wire.get("response") or wire).get("error") or wire, where=type(self._model).__name__)
        response = _of(self._last, "response")
        output = list(_of(response, "output") or self._finished)
        usage = Usage.of_request(_dumped(_of(response, "usage")))
        return as_reply(ModelResponse(output, usage, _of(response, "id")), self._model)


def _of(holder: Any, name: str) -> Any:
    return holder.get(name) if isinstance(holder, Mapping) else getattr(holder, name, None)


def _dumped(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    return value if dump is None else dump(mode="json", exclude_unset=True, warnings=False)


def _plain(item: Any, model: object) -> Item:
    wire = _dumped(item)
    if not isinstance(wire, Mapping):
        raise UserError(
            f"{type(model).__name__} gave an output item of type {type(item).__name__}; an item is a dict or an object"
            " of the openai package"
        )
    return dict(wire)
