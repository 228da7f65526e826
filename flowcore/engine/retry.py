"""A retry policy is asked once a failure: go on, and after how long? tenacity's values answer; nothing loops here."""

from __future__ import annotations

from typing import Any, cast

from flowcore.errors import AgentsException, FlowcoreError, ModelError, NodeTimeout
from flowcore.graph.node import Retry

_PROGRAMMING = (
    TypeError, ValueError, ArithmeticError, ImportError, LookupError, NameError, SyntaxError, AssertionError,
    NotImplementedError, AttributeError,
)  # fmt: skip


def delay_after(policy: Retry, error: BaseException, attempt: int, elapsed: float) -> float | None:
    """Seconds to wait before the next attempt; None: no further one.

    ``attempt``: the one that failed, from 1. ``elapsed``: seconds since the visit began. An error's ``retry_after``
    is the least that is waited, unless the policy's wait is exact.
    """
    from tenacity import RetryCallState  # 40 ms: paid at the first failure that asks

    state = RetryCallState(cast(Any, None), None, (), {})
    state.attempt_number = attempt
    state.set_exception((type(error), error, error.__traceback__))
    state.start_time = (state.outcome_timestamp or 0.0) - elapsed
    if not _wants(policy.retry, error, state):
        return None
    asked = float(policy.wait if isinstance(policy.wait, (int, float)) else policy.wait(state))
    least = 0.0 if policy.exact else getattr(error, "retry_after", None) or 0.0
    wait = state.upcoming_sleep = max(asked, least)  # tenacity asks in this order
    stop = policy.stop
    stops = attempt >= stop if isinstance(stop, int) else stop(state)
    return None if stops else wait


def _wants(retry: Any, error: BaseException, state: Any) -> bool:
    if retry is None:
        return worth_retrying(error)
    if isinstance(retry, tuple) or (isinstance(retry, type) and issubclass(retry, BaseException)):
        return isinstance(error, retry)
    return bool(retry(state))


def worth_retrying(error: BaseException) -> bool:
    """Whether an error may go away by itself: every ``Exception`` but programming errors and what says it won't."""
    if isinstance(error, (ModelError, NodeTimeout)):
        return getattr(error, "retryable", True)
    if isinstance(error, (FlowcoreError, AgentsException)):
        return False
    return isinstance(error, Exception) and not isinstance(error, _PROGRAMMING)
