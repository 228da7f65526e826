"""What a provider's failure is to flowcore: the one place where openai's exceptions become ``ModelError``."""

from __future__ import annotations

import email.utils
import math
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from flowcore.errors import ModelError, ModelTimeoutError

_RETRYABLE_STATUS = frozenset({408, 409, 429})
_RETRYABLE_CODES = frozenset(
    {"server_error", "internal_server_error", "rate_limit_exceeded", "rate_limit_error", "overloaded_error"}
)
_NETWORK_PACKAGES = frozenset({"httpx", "httpx2", "httpcore", "httpcore2", "h11", "anyio"})

_HOW_TO_MEND = {
    400: "the server says what is wrong with the request",
    401: "check OPENAI_API_KEY, or the api_key of the client you passed",
    403: "the key is known but may not do this: check its project and its rights",
    404: "check the model's name and OPENAI_BASE_URL",
    413: "the input is too large: shorten the history",
    422: "the server says what is wrong with the request",
    429: "wait and try again, or let flowcore do it: ModelSettings(retry=ModelRetrySettings(max_retries=3))",
}
_SERVER_TROUBLE = (
    "the server's trouble, it may pass: ModelSettings(retry=ModelRetrySettings(max_retries=3)) tries again"
)
_NO_SERVER = (
    "check the network, OPENAI_BASE_URL and that the server runs; "
    "ModelSettings(retry=ModelRetrySettings(max_retries=3)) tries again"
)


def to_model_error(error: Exception, *, where: str, timeout_seconds: float | None = None) -> ModelError | None:
    """The ``ModelError`` for an exception of the openai client or of the network below it.

    ``where``: the model and its address, as the message names them. ``timeout_seconds``: what a timeout is
    reported with. None for an exception that is neither of these: it's the caller's to raise. What is made of an
    ``openai.RateLimitError`` is one too, with its attributes: code that catches that goes on catching it.
    """
    import openai

    made = _model_error(error, where, timeout_seconds)
    if made is not None and isinstance(error, openai.APIError):
        kinds: tuple[Any, Any] = type(made), type(error)
        made.__class__ = _both(*kinds)
        for name, value in vars(error).items():
            made.__dict__.setdefault(name, value)
    return made


@lru_cache(maxsize=64)
def _both(ours: Any, theirs: Any) -> Any:
    named = {"__module__": ours.__module__, "__doc__": ours.__doc__}
    return type(ours.__name__, (ours, theirs), named)


def _model_error(error: Exception, where: str, timeout_seconds: float | None) -> ModelError | None:
    import openai

    if isinstance(error, (openai.APITimeoutError, TimeoutError)):
        return timed_out(where, timeout_seconds)
    if isinstance(error, openai.APIStatusError):
        return _from_status(error, where)
    if isinstance(error, openai.APIConnectionError) or is_network(error):
        cause = error.__cause__ or error
        return ModelError(
            f"{where}: no connection, or it broke off ({type(cause).__name__}: {cause}); {_NO_SERVER}",
            retryable=True,
        )
    if isinstance(error, openai.APIError):
        body = error.body if isinstance(error.body, Mapping) else {"message": error.message, "code": error.code}
        return from_body(body, where=where)
    if isinstance(error, (openai.OpenAIError, ValueError)):
        return ModelError(f"{where}: the answer can't be read ({type(error).__name__}: {error})")
    return None


def timed_out(where: str, seconds: float | None) -> ModelTimeoutError:
    """The error of an answer that took longer than ``seconds``."""
    within = f" within {seconds:g} seconds" if seconds is not None else " in time"
    return ModelTimeoutError(
        f"{where}: no whole answer{within}; raise ModelSettings(timeout=...), or let flowcore try again with "
        "ModelSettings(retry=...)",
        timeout_seconds=seconds,
    )


def from_body(body: Mapping[str, Any], *, where: str, request_id: str | None = None) -> ModelError:
    """The error that a provider reports inside an answer of HTTP 200: an error event, a reply that failed."""
    code = body.get("code") or body.get("type")
    message = body.get("message") or "the provider gave no reason"
    status = int(code) if isinstance(code, int) or (isinstance(code, str) and code.isdigit()) else None
    retryable = is_retryable_status(status) if status else {code, body.get("type")} & _RETRYABLE_CODES != set()
    mend = _mend(status) if status else _SERVER_TROUBLE if retryable else "the provider says what is wrong"
    return ModelError(
        f"{where}: {code or 'error'}: {message}; {mend}",
        status_code=status,
        code=None if code is None else str(code),
        retryable=retryable,
        request_id=request_id,
        body=dict(body),
    )


def broke_off(where: str, what: str, request_id: str | None = None) -> ModelError:
    """The error of a stream that ended before the reply was whole."""
    return ModelError(f"{where}: the stream ended {what}; {_SERVER_TROUBLE}", retryable=True, request_id=request_id)


def is_retryable_status(status: int) -> bool:
    """Whether the same request may succeed later: 408, 409, 429 and 5xx."""
    return status in _RETRYABLE_STATUS or status >= 500


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the headers ask to wait: ``retry-after-ms``, ``retry-after`` in seconds or as an HTTP date."""
    for name, divisor in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) / divisor
        except ValueError:
            continue
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    try:
        date = email.utils.parsedate_to_datetime(headers.get("retry-after", ""))
        return max(0.0, date.timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None


def _from_status(error: Any, where: str) -> ModelError:
    status: int = error.status_code
    body = error.body
    said = body.get("message") if isinstance(body, Mapping) else None
    said = said or (error.response.text or error.message)[:500]
    code = error.code or error.type
    wait = retry_after(error.response.headers)
    asked = f" (it asks to wait {wait:g} s)" if wait is not None else ""
    named = f" {code}" if code and str(code) != str(status) else ""
    return ModelError(
        f"{where}: HTTP {status}{named}: {said}{asked}; {_mend(status)}",
        status_code=status,
        code=None if code is None else str(code),
        retry_after=wait,
        retryable=is_retryable_status(status),
        request_id=error.request_id,
        body=body,
    )


def _mend(status: int) -> str:
    return _HOW_TO_MEND.get(status) or (_SERVER_TROUBLE if status >= 500 else "see what the server says")


def is_network(error: Exception) -> bool:
    """Whether an HTTP library raised this. openai 2 lets the errors of a broken stream through as they are; openai 3
    wraps them."""
    return type(error).__module__.partition(".")[0] in _NETWORK_PACKAGES
