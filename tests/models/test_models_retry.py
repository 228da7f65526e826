"""Whether a failed call is tried again: the policies, what a provider advises, and the decision."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest
from models_asking import ask, listen, model_for
from models_loopback import Loopback, answer_events, answer_json, answer_late

from flowcore.errors import ModelError, ModelTimeoutError, UserError
from flowcore.models import (
    Model,
    ModelRetryAdvice,
    ModelRetryAdviceRequest,
    ModelRetryBackoffSettings,
    ModelRetryNormalizedError,
    ModelRetrySettings,
    RetryDecision,
    RetryPolicyContext,
    retry_policies,
)
from flowcore.models.retry import LONGEST_RETRY_AFTER, context_for, decide, normalize

BUSY = ModelError("busy", status_code=429, retryable=True)
NO_BACKOFF = ModelRetryBackoffSettings(initial_delay=0.0)


def context(error: Exception = BUSY, attempt: int = 1, **more: Any) -> RetryPolicyContext:
    advice = more.pop("advice", None)
    return RetryPolicyContext(error, attempt, 3, more.pop("stream", False), normalize(error, advice), advice, **more)


def settings(policy: Any = None, max_retries: int | None = 3, **backoff: Any) -> ModelRetrySettings:
    return ModelRetrySettings(max_retries, ModelRetryBackoffSettings(jitter=False, **backoff), policy)


async def waits(given: ModelRetrySettings | None, error: Exception = BUSY, **more: Any) -> list[float | None]:
    return [await decide(given, context(error, attempt, **more), 0.5) for attempt in range(1, 6)]


# Without settings: the engine's own judgment


async def test_without_settings_there_are_three_attempts_with_growing_waits() -> None:
    assert await waits(None) == [0.5, 1.0, None, None, None]


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (BUSY, True),
        (ModelTimeoutError("slow", timeout_seconds=1), True),
        (ModelError("bad", status_code=400), False),
        (ConnectionResetError("gone"), True),
        (RuntimeError("who knows"), False),
        (TypeError("a bug"), False),
        (UserError("yours"), False),
    ],
)
async def test_without_settings_the_error_says_whether_it_may_go_away(error: Exception, again: bool) -> None:
    assert (await decide(None, context(error), 0.5) is not None) is again


async def test_a_reply_that_broke_off_is_repeated_for_its_deltas_are_voided() -> None:
    broken = ModelError("broke off", retryable=True)
    assert await decide(None, context(broken, stream=True, response_started=True), 0.5) == 0.5


async def test_a_request_that_may_have_reached_a_conversation_is_not_repeated() -> None:
    lost = ModelError("no connection", retryable=True)
    assert await decide(None, context(lost, conversation_id="conv_1"), 0.5) is None
    assert await decide(None, context(lost, previous_response_id="resp_1"), 0.5) == 0.5
    assert await decide(None, context(BUSY, conversation_id="conv_1"), 0.5) == 0.5


async def test_what_the_provider_asks_to_wait_is_waited_within_reason() -> None:
    asked = ModelError("busy", status_code=429, retryable=True, retry_after=7)
    assert await decide(None, context(asked), 0.5) == 7
    assert await decide(settings(lambda _: True), context(asked), 0.5) == 7
    for policy in (lambda _: True, retry_policies.retry_after(), None):
        hours = ModelError("busy", status_code=429, retryable=True, retry_after=7200)
        assert await decide(settings(policy), context(hours), 0.5) == LONGEST_RETRY_AFTER
    own = settings(lambda _: RetryDecision(True, delay=900))
    assert await decide(own, context(asked), 0.5) == 900


# With settings


async def test_settings_say_how_often_and_how_long() -> None:
    assert await waits(settings(lambda _: True)) == [0.25, 0.5, 1.0, None, None]
    assert await waits(settings(lambda _: True, initial_delay=1, multiplier=3, max_delay=5)) == [1, 3, 5, None, None]
    assert await waits(settings(lambda _: True, max_retries=None)) == [None] * 5
    assert await waits(settings(lambda _: False)) == [None] * 5
    jittery = ModelRetrySettings(1, policy=lambda _: True)
    assert [await decide(jittery, context(), chance) for chance in (0.0, 0.5)] == [0.25 * 0.875, 0.25]


async def test_settings_without_a_policy_ask_the_error() -> None:
    assert await waits(settings(max_retries=1)) == [0.25, None, None, None, None]
    assert await waits(settings(), ModelError("bad", status_code=400)) == [None] * 5


async def test_a_policy_may_be_async_and_sees_everything() -> None:
    seen: list[RetryPolicyContext] = []

    async def policy(given: RetryPolicyContext) -> RetryDecision:
        seen.append(given)
        return RetryDecision(True, delay=3.5, reason="why not")

    assert await decide(settings(policy), context(attempt=2, stream=True), 0.5) == 3.5
    assert (seen[0].error, seen[0].attempt, seen[0].stream) == (BUSY, 2, True)
    assert (seen[0].stateful_request, seen[0].response_started, seen[0].replay_safety) == (False, False, "unknown")
    assert seen[0].normalized.status_code == 429


async def test_an_abort_is_never_repeated() -> None:
    aborted = ModelRetryAdvice(suggested=True, normalized=ModelRetryNormalizedError(is_abort=True))
    assert await decide(settings(lambda _: True), context(advice=aborted), 0.5) is None


async def test_after_something_was_handed_out_a_policy_has_to_approve() -> None:
    began = context(stream=True, response_started=True)
    assert await decide(settings(lambda _: True), began, 0.5) is None
    assert await decide(settings(lambda _: RetryDecision(True, approve_unsafe_replay=True)), began, 0.5) == 0.25
    advised = context(advice=ModelRetryAdvice(response_started=True))
    assert advised.response_started
    assert await decide(settings(lambda _: True), advised, 0.5) is None


async def test_what_the_provider_calls_unsafe_needs_approval_and_streamed_it_is_never_repeated() -> None:
    unsafe = ModelRetryAdvice(suggested=False, replay_safety="unsafe")
    approving = settings(lambda _: RetryDecision(True, approve_unsafe_replay=True))
    assert await decide(settings(lambda _: True), context(advice=unsafe), 0.5) is None
    assert await decide(approving, context(advice=unsafe), 0.5) == 0.25
    assert await decide(approving, context(advice=unsafe, stream=True), 0.5) is None
    assert await decide(settings(), context(advice=unsafe), 0.5) is None


async def test_a_stateful_request_is_repeated_only_where_it_is_known_to_be_safe() -> None:
    always = settings(lambda _: True)
    for state in ({"previous_response_id": "r"}, {"conversation_id": "c"}):
        assert await decide(always, context(**state), 0.5) is None
        safe = ModelRetryAdvice(suggested=True, replay_safety="safe")
        assert await decide(always, context(advice=safe, **state), 0.5) == 0.25
        suggested = settings(retry_policies.provider_suggested())
        assert await decide(suggested, context(advice=safe, **state), 0.5) == 0.25


async def test_a_locked_conversation_is_waited_for() -> None:
    locked = ModelError("locked", status_code=400, code="conversation_locked")
    for given in (None, settings(lambda _: False), settings(max_retries=None)):
        assert await waits(given, locked, conversation_id="conv_1") == [1.0, 2.0, 4.0, None, None]
    assert await waits(settings(max_retries=0), locked, conversation_id="conv_1") == [None] * 5


# The policies


async def said(policy: Any, given: RetryPolicyContext) -> bool:
    return await decide(settings(policy), given, 0.5) is not None


async def test_the_policies_say_what_their_names_say() -> None:
    lost = ModelError("no connection", retryable=True)
    asked = ModelError("busy", status_code=429, retryable=True, retry_after=1)
    assert not await said(retry_policies.never(), context())
    assert await said(retry_policies.network_error(), context(lost))
    assert await said(retry_policies.network_error(), context(ModelTimeoutError("slow")))
    assert not await said(retry_policies.network_error(), context(BUSY))
    assert await said(retry_policies.retry_after(), context(asked))
    assert not await said(retry_policies.retry_after(), context(BUSY))
    assert await said(retry_policies.http_status([429, 503]), context(BUSY))
    assert not await said(retry_policies.http_status((503,)), context(BUSY))
    assert await said(retry_policies.provider_suggested(), context(advice=ModelRetryAdvice(suggested=True)))
    assert not await said(retry_policies.provider_suggested(), context(advice=ModelRetryAdvice(suggested=False)))
    assert not await said(retry_policies.provider_suggested(), context())


async def test_combined_policies_join_what_each_says() -> None:
    yes, no, never = (lambda _: True), (lambda _: False), retry_policies.never()
    assert await said(retry_policies.all(yes, yes), context())
    assert not await said(retry_policies.all(yes, no), context())
    assert await said(retry_policies.any(no, yes), context())
    assert not await said(retry_policies.any(no, never), context())
    assert not await said(retry_policies.all(), context())
    assert not await said(retry_policies.any(), context())
    three = retry_policies.any(lambda _: RetryDecision(True, 3), yes, lambda _: RetryDecision(True, 4))
    assert await decide(settings(three), context(), 0.5) == 4
    both = retry_policies.all(lambda _: RetryDecision(True, 3), yes)
    assert await decide(settings(both), context(), 0.5) == 3
    nested = retry_policies.all(retry_policies.any(no, yes), retry_policies.http_status([429]))
    assert await said(nested, context())


async def test_the_providers_no_binds_the_others_unless_they_approve_the_replay() -> None:
    yes = lambda _: True  # noqa: E731
    approving = lambda _: RetryDecision(True, approve_unsafe_replay=True)  # noqa: E731
    suggested = retry_policies.provider_suggested()
    no = context(advice=ModelRetryAdvice(suggested=False))
    unsafe = context(advice=ModelRetryAdvice(suggested=False, replay_safety="unsafe"))
    for combine in (retry_policies.any, retry_policies.all):
        assert not await said(combine(yes, suggested), no)
        assert not await said(combine(approving, suggested), no)
        assert not await said(combine(yes, suggested), unsafe)
        assert await said(combine(approving, suggested), unsafe)
        assert await said(combine(suggested, approving), unsafe)


# What is known of a failure


def test_an_error_is_read_with_those_it_came_from() -> None:
    outer = RuntimeError("outer")
    outer.__cause__ = ModelError("inner", status_code=503, code="x", retry_after=2, request_id="req_1")
    found = normalize(outer)
    assert (found.status_code, found.error_code, found.retry_after, found.request_id) == (503, "x", 2, "req_1")
    assert found.message == "outer"
    assert (found.is_abort, found.is_network_error, found.is_timeout) == (False, False, False)
    timed_out = ModelTimeoutError("slow")
    timed_out.__cause__ = TimeoutError()
    timed_out.__cause__.__cause__ = asyncio.CancelledError()  # that's how asyncio makes a timeout
    found = normalize(timed_out)
    assert (found.is_timeout, found.is_network_error, found.is_abort) == (True, True, False)


def test_the_advice_goes_before_what_was_found() -> None:
    advice = ModelRetryAdvice(retry_after=5, normalized=ModelRetryNormalizedError(status_code=418, is_timeout=False))
    found = normalize(ModelTimeoutError("slow"), advice)
    assert (found.status_code, found.retry_after, found.is_timeout, found.is_network_error) == (418, 5, False, True)


def test_a_model_advises_nothing_unless_it_says_so() -> None:
    assert Model().get_retry_advice(ModelRetryAdviceRequest(BUSY, 1, False)) is None
    made = context_for(Model(), BUSY, 2, None, conversation_id="conv_1")
    assert (made.attempt, made.max_retries, made.provider_advice, made.stateful_request) == (2, 2, None, True)
    assert context_for(Model(), BUSY, 1, settings()).max_retries == 3


async def failure(model: Any, streamed: bool = False) -> RetryPolicyContext:
    with pytest.raises(ModelError) as caught:
        await (listen if streamed else ask)(model, "hi")
    return context_for(model, caught.value, 1, None, stream=streamed)


async def test_a_real_failure_is_advised_upon(loopback: Loopback, loopback_model: Any, verb: str) -> None:
    error = {"error": {"message": "no", "code": "later"}}
    half = answer_events({"id": "x", "choices": [{"index": 0, "delta": {"content": "a"}}]}, then="hang_up")
    loopback.answers = [
        answer_json(error, 429, retry_after="7", x_request_id="req_9"),
        answer_json(error, 400),
        answer_json(error, 400, x_should_retry="true"),
        answer_json(error, 503, x_should_retry="false"),
        half,
    ]
    busy = await failure(loopback_model)
    assert (busy.replay_safety, busy.normalized.retry_after, busy.normalized.request_id) == ("safe", 7.0, "req_9")
    assert busy.normalized.error_code == "later"
    assert await decide(None, busy, 0.5) == 7.0
    wrong = await failure(loopback_model)
    assert wrong.provider_advice is None
    assert await decide(None, wrong, 0.5) is None
    asked = await failure(loopback_model)
    assert (asked.provider_advice.suggested, asked.replay_safety) == (True, "safe")  # type: ignore[union-attr]
    assert await decide(None, asked, 0.5) == 0.5
    forbidden = await failure(loopback_model)
    assert await decide(None, forbidden, 0.5) is None
    if verb == "chat":
        broken = await failure(loopback_model, streamed=True)
        assert (broken.normalized.is_network_error, broken.replay_safety) == (True, "unknown")
        assert await said(retry_policies.network_error(), broken)


async def test_a_real_timeout_and_no_server_are_network_errors(
    loopback: Loopback, unused_tcp_port: int, verb: str
) -> None:
    loopback.answers = [answer_late(30, answer_json({}))]
    address = f"http://127.0.0.1:{unused_tcp_port}/v1"
    async with (
        openai.AsyncOpenAI(base_url=loopback.url, api_key="k", timeout=0.2) as slow,
        openai.AsyncOpenAI(base_url=address, api_key="k") as nowhere,
    ):
        timed_out = await failure(model_for(verb, slow))
        assert timed_out.normalized.is_timeout
        lost = await failure(model_for(verb, nowhere))
    for one in (timed_out, lost):
        assert one.normalized.is_network_error
        assert not one.normalized.is_abort
        assert one.provider_advice is not None
        assert one.provider_advice.suggested is True
        assert await decide(None, one, 0.5) == 0.5
