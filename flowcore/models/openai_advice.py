"""What OpenAI, and servers like it, advise after a failed call."""

from __future__ import annotations

from flowcore.models.openai_errors import is_retryable_status
from flowcore.models.retry import ModelRetryAdvice, ModelRetryAdviceRequest, headers_of, normalize


def openai_advice(request: ModelRetryAdviceRequest) -> ModelRetryAdvice | None:
    """The advice in a failure: the header ``x-should-retry`` where there is one, else by status and network.

    A status that may pass is an answer that was refused, so making the request again is safe. None: there is none.
    """
    error = request.error
    found = normalize(error)
    advice = ModelRetryAdvice(retry_after=found.retry_after, reason=str(error), normalized=found)
    said = _should_retry(error)
    if said is not None:
        advice.suggested = said
        advice.replay_safety = "safe" if said else None
    elif found.is_network_error or found.is_timeout:
        advice.suggested = True
    elif found.status_code is not None and is_retryable_status(found.status_code):
        advice.suggested, advice.replay_safety = True, "safe"
    elif found.retry_after is None:
        return None
    return advice


def _should_retry(error: BaseException | None) -> bool | None:
    while isinstance(error, Exception):
        said = headers_of(error).get("x-should-retry", "").strip().lower()
        if said in ("true", "false"):
            return said == "true"
        error = error.__cause__
    return None
