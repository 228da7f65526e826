"""Whether a failed model call is tried again, and after how long. A policy answers; nothing here loops or sleeps.

The agents' loop asks ``decide`` once for each failed attempt.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from flowcore.engine.retry import worth_retrying
from flowcore.errors import ModelError, ModelTimeoutError
from flowcore.models.openai_errors import is_network, is_retryable_status, retry_after
from flowcore.models.settings import ModelRetryBackoffSettings, ModelRetrySettings

if TYPE_CHECKING:
    from flowcore.models.base import Model

ATTEMPTS = 3
"""Attempts at a call whose settings say nothing."""
DELAYS = ModelRetryBackoffSettings(initial_delay=0.5, max_delay=8.0)
"""The waits between them, in seconds."""
LOCKED_DELAYS = (1.0, 2.0, 4.0)
"""Seconds before each further attempt where another request holds the conversation (``conversation_locked``)."""
LONGEST_RETRY_AFTER = 300.0
"""Seconds that a provider's ``Retry-After`` may make a call wait; a longer one is cut to this."""
SAFE_EVENTS = frozenset({"response.created", "response.in_progress"})
"""The streamed events after which a call may be made again and nobody has seen anything of it."""

ReplaySafety: TypeAlias = Literal["safe", "unsafe", "unknown"]


@dataclass
class ModelRetryNormalizedError:
    """What is known of a failure, whatever raised it.

    In a ``ModelRetryAdvice``, the fields that aren't None go before what was found in the error.
    """

    status_code: int | None = None
    error_code: str | None = None
    message: str | None = None
    request_id: str | None = None
    retry_after: float | None = None
    """Seconds that the provider asked to wait."""
    is_abort: bool | None = None
    is_network_error: bool | None = None
    is_timeout: bool | None = None


@dataclass
class ModelRetryAdvice:
    """What a model's provider advises after a failure.

    ``suggested``: whether to try again; None: it doesn't say. ``replay_safety``: "safe" if the request can't have had
    an effect, "unsafe" if it may have. ``response_started``: whether the reply had begun.
    """

    suggested: bool | None = None
    retry_after: float | None = None
    replay_safety: str | None = None
    reason: str | None = None
    normalized: ModelRetryNormalizedError | None = None
    response_started: bool = False


@dataclass
class ModelRetryAdviceRequest:
    """What ``Model.get_retry_advice`` is asked with. ``attempt``: the one that failed, from 1."""

    error: Exception
    attempt: int
    stream: bool
    previous_response_id: str | None = None
    conversation_id: str | None = None


@dataclass
class RetryDecision:
    """What a policy says. ``delay``: seconds; None leaves it to the provider's wish, then to the backoff.

    ``approve_unsafe_replay``: yes, also where the request may have had an effect, or part of the reply was streamed.
    """

    retry: bool
    delay: float | None = None
    reason: str | None = None
    approve_unsafe_replay: bool = False
    _veto: Literal["", "replay", "hard"] = field(default="", init=False, repr=False, compare=False)
    """A no that combined policies keep: "hard" always, "replay" unless another approves the unsafe replay."""
    _known_safe: bool = field(default=False, init=False, repr=False, compare=False)


@dataclass
class RetryPolicyContext:
    """What a policy is asked with.

    ``attempt``: the one that failed, from 1. ``stream``: whether the call was streamed; ``response_started``: whether
    something of the reply had been handed out.
    """

    error: Exception
    attempt: int
    max_retries: int
    stream: bool
    normalized: ModelRetryNormalizedError
    provider_advice: ModelRetryAdvice | None = None
    previous_response_id: str | None = None
    conversation_id: str | None = None
    response_started: bool = False

    def __post_init__(self) -> None:
        if self.provider_advice is not None and self.provider_advice.response_started:
            self.response_started = True

    @property
    def replay_safety(self) -> ReplaySafety:
        """What the provider says of making the request once more."""
        said = self.provider_advice.replay_safety if self.provider_advice is not None else None
        return "safe" if said == "safe" else "unsafe" if said == "unsafe" else "unknown"

    @property
    def stateful_request(self) -> bool:
        """Whether the request goes on with something that the server keeps."""
        return bool(self.previous_response_id or self.conversation_id)


RetryPolicy: TypeAlias = Callable[[RetryPolicyContext], "bool | RetryDecision | Awaitable[bool | RetryDecision]"]
"""Asked after a failure: a bool or a ``RetryDecision``, sync or async."""


# --- the policies -----------------------------------------------------------------------------------------------------


class _RetryPolicies:
    """Policies to take and to combine, e.g. ``retry_policies.any(retry_policies.network_error(), ...)``."""

    def never(self) -> RetryPolicy:
        """No."""
        return lambda context: False

    def provider_suggested(self) -> RetryPolicy:
        """As the provider advises; its advice against it also binds the policies that this one is combined with."""

        def policy(context: RetryPolicyContext) -> bool | RetryDecision:
            advice = context.provider_advice
            if advice is None or advice.suggested is None:
                return False
            decision = RetryDecision(advice.suggested, reason=advice.reason)
            if advice.suggested:
                decision.delay = _at_most(advice.retry_after)
                decision._known_safe = context.replay_safety == "safe"
            else:
                decision._veto = "replay" if context.replay_safety == "unsafe" else "hard"
            return decision

        return policy

    def network_error(self) -> RetryPolicy:
        """After a connection that failed or broke, and after a timeout."""
        return lambda context: bool(context.normalized.is_network_error or context.normalized.is_timeout)

    def retry_after(self) -> RetryPolicy:
        """When the provider says how long to wait; then that long."""

        def policy(context: RetryPolicyContext) -> bool | RetryDecision:
            seconds = context.normalized.retry_after
            if seconds is None and context.provider_advice is not None:
                seconds = context.provider_advice.retry_after
            return False if seconds is None else RetryDecision(True, _at_most(seconds))

        return policy

    def http_status(self, statuses: Iterable[int]) -> RetryPolicy:
        """After an answer with one of these HTTP statuses."""
        allowed = frozenset(statuses)
        return lambda context: context.normalized.status_code in allowed

    def all(self, *policies: RetryPolicy) -> RetryPolicy:
        """When every one of them says yes; the later delay and reason count. None of them: never."""
        if not policies:
            return self.never()

        async def policy(context: RetryPolicyContext) -> RetryDecision:
            held: RetryDecision | None = None
            joined = RetryDecision(True)
            for one in policies:
                decision = await _ask(one, context)
                if decision._veto == "replay":
                    held = held or decision
                elif decision._veto or not decision.retry:
                    return decision
                else:
                    joined = _join(joined, decision)
            return _unless_approved(held, joined)

        return policy

    def any(self, *policies: RetryPolicy) -> RetryPolicy:
        """When one of them says yes; all are asked, and the later delay and reason count. None of them: never."""
        if not policies:
            return self.never()

        async def policy(context: RetryPolicyContext) -> RetryDecision:
            held: RetryDecision | None = None
            joined: RetryDecision | None = None
            no = RetryDecision(False)
            for one in policies:
                decision = await _ask(one, context)
                if decision._veto == "hard":
                    return decision
                if decision._veto:
                    held = held or decision
                elif decision.retry:
                    joined = decision if joined is None else _join(joined, decision)
                else:
                    no = decision
            return _unless_approved(held, joined or no)

        return policy


retry_policies = _RetryPolicies()


async def _ask(policy: RetryPolicy, context: RetryPolicyContext) -> RetryDecision:
    answer = policy(context)
    if inspect.isawaitable(answer):
        answer = await answer
    return answer if isinstance(answer, RetryDecision) else RetryDecision(bool(answer))


def _join(first: RetryDecision, later: RetryDecision) -> RetryDecision:
    joined = RetryDecision(
        True,
        first.delay if later.delay is None else later.delay,
        first.reason if later.reason is None else later.reason,
        first.approve_unsafe_replay or later.approve_unsafe_replay,
    )
    joined._known_safe = first._known_safe or later._known_safe
    return joined


def _unless_approved(held: RetryDecision | None, decision: RetryDecision) -> RetryDecision:
    """The veto that was held back, unless the decision approves the replay that it is about."""
    return decision if held is None or (decision.retry and decision.approve_unsafe_replay) else held


def _at_most(seconds: float | None) -> float | None:
    return None if seconds is None else min(seconds, LONGEST_RETRY_AFTER)


# --- what is known of a failure ---------------------------------------------------------------------------------------


def normalize(error: Exception, advice: ModelRetryAdvice | None = None) -> ModelRetryNormalizedError:
    """What an error and those that it came from tell of a failure; what ``advice`` says goes before it."""
    chain = list(_chain(error))
    wait = _first(chain, "retry_after", (int, float))
    if wait is None:
        wait = next((told for one in chain if (told := retry_after(headers_of(one))) is not None), None)
    timed_out = any(isinstance(one, (TimeoutError, ModelTimeoutError)) or _called(one, "Timeout") for one in chain)
    status = _first(chain, "status_code", int)
    found = ModelRetryNormalizedError(
        status_code=status,
        error_code=_first(chain, "code", str),
        message=str(error),
        request_id=_first(chain, "request_id", str),
        retry_after=wait,
        is_abort=any(_called(one, "AbortError", "CancelledError") for one in chain),
        # An answer came: what the HTTP library raised below it is only how the client learnt of its status.
        is_network_error=timed_out or (status is None and any(_is_network(one) for one in chain)),
        is_timeout=timed_out,
    )
    if advice is not None:
        if advice.retry_after is not None:
            found.retry_after = advice.retry_after
        for one in fields(found):
            said = getattr(advice.normalized, one.name, None)
            if said is not None and not (one.name == "is_abort" and found.is_abort):
                setattr(found, one.name, said)
    return found


def headers_of(error: BaseException) -> Mapping[str, str]:
    """The headers of the answer that an error reports; empty where it has none."""
    headers = getattr(getattr(error, "response", None), "headers", None) or getattr(error, "headers", None)
    return {str(name).lower(): value for name, value in headers.items()} if isinstance(headers, Mapping) else {}


def _chain(error: Exception) -> Iterator[Exception]:
    """The error and what it came from. A cancel in between ends it: that's how a timeout is made."""
    seen: set[int] = set()
    one: BaseException | None = error
    while isinstance(one, Exception) and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__


def _first(chain: Iterable[Exception], name: str, kind: Any) -> Any:
    for one in chain:
        value = getattr(one, name, None)
        if isinstance(value, kind) and not isinstance(value, bool):
            return value
    return None


def _called(error: Exception, *parts: str) -> bool:
    return any(part in type(error).__name__ for part in parts)


def _is_network(error: Exception) -> bool:
    if isinstance(error, ModelError):  # ours: neither an answer nor an error inside of one
        return error.retryable and error.status_code is None and error.code is None
    return isinstance(error, ConnectionError) or _called(error, "APIConnectionError") or is_network(error)


def context_for(
    model: Model,
    error: Exception,
    attempt: int,
    settings: ModelRetrySettings | None,
    *,
    stream: bool = False,
    response_started: bool = False,
    previous_response_id: str | None = None,
    conversation_id: str | None = None,
) -> RetryPolicyContext:
    """What ``decide`` is asked with: the failure, and what the model's provider advises."""
    asked = ModelRetryAdviceRequest(error, attempt, stream, previous_response_id, conversation_id)
    advice = model.get_retry_advice(asked)
    return RetryPolicyContext(
        error=error,
        attempt=attempt,
        max_retries=ATTEMPTS - 1 if settings is None else settings.max_retries or 0,
        stream=stream,
        normalized=normalize(error, advice),
        provider_advice=advice,
        previous_response_id=previous_response_id,
        conversation_id=conversation_id,
        response_started=response_started,
    )


# --- the decision -----------------------------------------------------------------------------------------------------


async def decide(settings: ModelRetrySettings | None, context: RetryPolicyContext, chance: float) -> float | None:
    """Seconds to wait before the next attempt; None: there is none. ``chance``: a random number of [0, 1).

    Without settings: up to ``ATTEMPTS`` at an error of the network or one that says it's ``retryable``, after
    ``DELAYS``, as a provider's own client would; what else a model raises fails the run at once. With settings:
    ``max_retries`` more, after their backoff, if the policy says yes; settings without a policy ask the error, too.
    A policy isn't asked after an abort, nor after a streamed failure that the provider calls unsafe to repeat; its yes
    isn't enough where something of the reply was handed out, where the provider calls it unsafe, or where the request
    is stateful and nobody calls it safe, unless it approves the replay. The engine's own judgment repeats a reply that
    broke off (a retry voids what was streamed), but no request that may have been added to a conversation.

    A provider's ``Retry-After`` is waited, to ``LONGEST_RETRY_AFTER``; a policy's own ``delay`` goes before it. A
    locked conversation is tried again after ``LOCKED_DELAYS``, whatever the settings, but for ``max_retries=0``.
    """
    if is_locked(context) and (settings is None or settings.max_retries != 0) and context.attempt <= len(LOCKED_DELAYS):
        return LOCKED_DELAYS[context.attempt - 1]
    retries = ATTEMPTS - 1 if settings is None else settings.max_retries or 0
    if context.attempt > retries or context.normalized.is_abort:
        return None
    backoff = DELAYS if settings is None else settings.backoff or ModelRetryBackoffSettings()
    asked = _at_most(context.normalized.retry_after)
    own = backoff.delay(context.attempt, chance)
    if settings is None or settings.policy is None:
        return max(own, asked or 0.0) if _worth_another(context, settings) else None
    if context.replay_safety == "unsafe" and context.stream:
        return None
    decision = await _ask(settings.policy, context)
    if not decision.retry or not _may_replay(context, decision):
        return None
    delay = decision.delay if decision.delay is not None else asked
    return own if delay is None else delay


def is_locked(context: RetryPolicyContext) -> bool:
    """Whether another request holds the conversation that this one goes on with."""
    return context.normalized.status_code == 400 and context.normalized.error_code == "conversation_locked"


def _worth_another(context: RetryPolicyContext, settings: ModelRetrySettings | None) -> bool:
    """Whether an error may go away by itself, and another request does no harm. Without settings nobody asked for
    retries: then an error has to say so."""
    error, advice = context.error, context.provider_advice
    if context.replay_safety == "unsafe" or (advice is not None and advice.suggested is False):
        return False
    status = context.normalized.status_code
    if context.conversation_id and status is None and context.replay_safety != "safe":
        return False
    if advice is not None and advice.suggested:
        return True
    if status is not None and not isinstance(error, ModelError):
        return is_retryable_status(status)
    if settings is None and not isinstance(error, ModelError):
        return bool(context.normalized.is_network_error)
    return worth_retrying(error)


def _may_replay(context: RetryPolicyContext, decision: RetryDecision) -> bool:
    approved = decision.approve_unsafe_replay
    if context.response_started and not approved:
        return False
    unsafe = context.replay_safety == "unsafe"
    if unsafe and not approved:
        return False
    known_safe = decision._known_safe or context.replay_safety == "safe"
    return not context.stateful_request or known_safe or (approved and unsafe)
