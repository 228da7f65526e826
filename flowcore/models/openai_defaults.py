"""What OpenAI's models use where nothing else is given: set once for the process, by hand or by the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowcore.errors import UserError

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_APIS = {"chat_completions": False, "responses": True}


@dataclass
class _Defaults:
    key: str | None = None
    client: AsyncOpenAI | None = None
    use_responses: bool | None = None
    tracing_key: str | None = None


_defaults = _Defaults()


def set_default_openai_key(key: str, use_for_tracing: bool = True) -> None:
    """The API key for models that are given none; it goes before OPENAI_API_KEY. ``use_for_tracing``: traces that are
    exported to OpenAI use it too."""
    _defaults.key = key
    if use_for_tracing:
        _defaults.tracing_key = key


def set_default_openai_client(client: AsyncOpenAI, use_for_tracing: bool = True) -> None:
    """The client for models that are given none, nor a key or an address. ``use_for_tracing``: traces that are exported
    to OpenAI use its key."""
    _defaults.client = client
    if use_for_tracing:
        _defaults.tracing_key = client.api_key


def set_default_openai_api(api: str) -> None:
    """Which API names stand for: "responses" or "chat_completions"; it goes before OPENAI_API. Raises ``UserError`` for
    another."""
    if api not in _APIS:
        raise UserError(f"set_default_openai_api: {api!r} isn't one of {', '.join(map(repr, _APIS))}")
    _defaults.use_responses = _APIS[api]


def default_openai_key() -> str | None:
    """The key that was set; None: OPENAI_API_KEY counts."""
    return _defaults.key


def default_openai_client() -> AsyncOpenAI | None:
    """The client that was set."""
    return _defaults.client


def tracing_api_key() -> str | None:
    """The key that was set for the export of traces to OpenAI."""
    return _defaults.tracing_key


def use_responses_by_default() -> bool:
    """Whether names stand for the Responses API: as set, else as OPENAI_API says ("responses" or "chat")."""
    if _defaults.use_responses is not None:
        return _defaults.use_responses
    kind = os.environ.get("OPENAI_API", "responses").strip().lower()
    if kind not in ("responses", "chat", "chat_completions"):
        raise UserError(f"OPENAI_API is {kind!r}; set it to 'responses' or to 'chat', or leave it unset")
    return kind == "responses"


def anything_of_openai() -> bool:
    """Whether the process has a key, a client or a server's address."""
    set_by_hand = _defaults.key is not None or _defaults.client is not None
    return set_by_hand or bool(os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL"))
