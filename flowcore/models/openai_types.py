"""Wire dicts as openai's own objects, for those who read events and raw items by attribute."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, get_args

from flowcore.models.base import Item


def typed_event(event: dict[str, Any]) -> Any:
    """The event as an object of the openai package; one that this version of it doesn't know stays a dict."""
    return _typed(_event_classes(), event)


def typed_items(items: Sequence[Item]) -> list[Any]:
    """Output items as objects of the openai package.

    Those that this version of it doesn't know stay dicts.
    """
    classes = _item_classes()
    return [_typed(classes, item) for item in items]


def typed_response(response: dict[str, Any]) -> Any:
    """A reply of the Responses API as an object of the openai package."""
    from openai._models import construct_type
    from openai.types.responses import Response

    return construct_type(type_=Response, value=response)


def _typed(classes: dict[str, type], value: dict[str, Any]) -> Any:
    # How the client builds its objects: it checks nothing and keeps every key. It has no public name.
    from openai._models import construct_type

    cls = classes.get(value.get("type", ""))
    return value if cls is None else construct_type(type_=cls, value=value)


@cache
def _event_classes() -> dict[str, type]:
    from openai.types.responses import ResponseStreamEvent

    return _by_type(ResponseStreamEvent)


@cache
def _item_classes() -> dict[str, type]:
    from openai.types.responses import ResponseOutputItem

    return _by_type(ResponseOutputItem)


def _by_type(annotated_union: Any) -> dict[str, type]:
    """The members of ``Annotated[Union[...], discriminator]``, by the literal of their field ``type``."""
    union = get_args(annotated_union)[0]
    return {name: cls for cls in get_args(union) for name in get_args(cls.model_fields["type"].annotation)}
