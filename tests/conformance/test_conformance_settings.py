"""ModelSettings and the retry of model calls, in whole runs: §9 of the reference, row by row."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest
from conformance_making import WAYS, add, adding, go, in_turn
from models_loopback import Loopback, answer_events, answer_json
from openai.types.responses import ResponseCreatedEvent, ResponseTextDeltaEvent
from openai.types.shared import Reasoning

from flowcore import (
    Agent,
    GuardrailFunctionOutput,
    HostedMCPTool,
    MCPToolChoice,
    MemoryStore,
    ModelBehaviorError,
    ModelError,
    ModelRetryBackoffSettings,
    ModelRetrySettings,
    ModelSettings,
    ModelTimeoutError,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Options,
    RetryDecision,
    RunConfig,
    RunHooks,
    Runner,
    Usage,
    UserError,
    input_guardrail,
    load,
    retry_policies,
    start,
)
from flowcore.machine.facts import Transition
from flowcore.models import ModelRetryAdvice
from flowcore.testing import Crash, CrashingStore, ManualClock, ModelStep, ScriptedModel

SAID = {
    "type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
    "content": [{"type": "output_text", "text": "Hello.", "annotations": []}],
}  # fmt: skip
RESPONSE = {"id": "resp_1", "object": "response", "status": "completed", "error": None, "output": [SAID], "usage": None}
CHAT = {
    "id": "c", "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
}  # fmt: skip


async def sent(loopback: Loopback, client: Any, settings: Any, api: str = "responses", **fields: Any) -> dict[str, Any]:
    """The body that a run with these settings sends."""
    kind, answer = (OpenAIResponsesModel, RESPONSE) if api == "responses" else (OpenAIChatCompletionsModel, CHAT)
    loopback.answers = [answer_json(answer)]
    asking = Agent(name="A", model=kind("m", client), model_settings=settings, **fields)
    assert (await Runner.run(asking, "hi")).final_output == "Hello."
    return loopback.bodies[-1]


# -- the fields --------------------------------------------------------------------------------------------------------


def test_every_setting_defaults_to_none():
    names = [one.name for one in dataclasses.fields(ModelSettings)]
    assert names == [
        "temperature", "top_p", "frequency_penalty", "presence_penalty", "tool_choice", "parallel_tool_calls",
        "truncation", "max_tokens", "reasoning", "verbosity", "metadata", "store", "prompt_cache_retention",
        "include_usage", "response_include", "top_logprobs", "extra_query", "extra_body", "extra_headers", "extra_args",
        "retry", "context_management", "prompt_cache_options", "preserve_raw_usage", "timeout",
    ]  # fmt: skip
    assert all(getattr(ModelSettings(), name) is None for name in names)


ON_THE_WIRE: list[tuple[dict[str, Any], str, Any]] = [
    ({"temperature": 0.0}, "temperature", 0.0),
    ({"top_p": 0.5}, "top_p", 0.5),
    ({"parallel_tool_calls": False}, "parallel_tool_calls", False),
    ({"truncation": "auto"}, "truncation", "auto"),
    ({"max_tokens": 7}, "max_output_tokens", 7),
    ({"reasoning": Reasoning(effort="low")}, "reasoning", {"effort": "low"}),
    ({"reasoning": {"effort": "low"}}, "reasoning", {"effort": "low"}),
    ({"verbosity": "low"}, "text", {"verbosity": "low"}),
    ({"metadata": {"a": "b"}}, "metadata", {"a": "b"}),
    ({"store": False}, "store", False),
    ({"prompt_cache_retention": "24h"}, "prompt_cache_retention", "24h"),
    ({"response_include": ["file_search_call.results"]}, "include", ["file_search_call.results"]),
    ({"top_logprobs": 3}, "top_logprobs", 3),
    ({"extra_body": {"mine": 1}}, "mine", 1),
    ({"extra_args": {"seed": 7}}, "seed", 7),
    ({"context_management": [{"type": "compaction"}]}, "context_management", [{"type": "compaction"}]),
    ({"prompt_cache_options": {"ttl": "30m"}}, "prompt_cache_options", {"ttl": "30m"}),
]


@pytest.mark.parametrize(("given", "name", "wire"), ON_THE_WIRE, ids=[next(iter(one[0])) for one in ON_THE_WIRE])
@pytest.mark.parametrize("where", ["agent", "run"])
async def test_a_setting_reaches_the_request(loopback, loopback_client, where, given, name, wire):
    loopback.answers = [answer_json(RESPONSE)]
    model = OpenAIResponsesModel("m", loopback_client)
    settings = ModelSettings(**given)
    asking = Agent(name="A", model=model, tools=[add], model_settings=settings if where == "agent" else ModelSettings())
    await Runner.run(asking, "hi", run_config={"model_settings": settings} if where == "run" else None)
    assert loopback.bodies[0][name] == wire


@pytest.mark.parametrize(
    ("choice", "wire"),
    [
        ("auto", "auto"),
        ("required", "required"),
        ("none", "none"),
        ("add", {"type": "function", "name": "add"}),
        (MCPToolChoice("deep", "ask"), {"type": "mcp", "server_label": "deep", "name": "ask"}),
        ("mcp", {"type": "mcp"}),
    ],
)
async def test_tool_choice_is_auto_required_none_a_name_or_an_mcp_tool_choice(loopback, loopback_client, choice, wire):
    mcp = HostedMCPTool({"type": "mcp", "server_label": "deep", "server_url": "https://example.org"})
    body = await sent(loopback, loopback_client, ModelSettings(tool_choice=choice), tools=[add, mcp])
    assert body["tool_choice"] == wire


@pytest.mark.parametrize("penalty", ["frequency_penalty", "presence_penalty"])
async def test_penalties_are_for_chat_completions(loopback, loopback_client, penalty):
    body = await sent(loopback, loopback_client, ModelSettings(**{penalty: 0.5}), api="chat")
    assert body[penalty] == 0.5


@pytest.mark.parametrize("include", [None, True, False])
async def test_include_usage_asks_a_streamed_chat_for_its_usage(loopback, loopback_client, include):
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    delta = {"index": 0, "delta": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}
    loopback.answers = [answer_events({**chunk, "choices": [delta]}, "[DONE]")]
    model = OpenAIChatCompletionsModel("m", loopback_client)
    asking = Agent(name="A", model=model, model_settings=ModelSettings(include_usage=include))
    await go("streamed", asking, "hi")
    asked = loopback.bodies[0].get("stream_options", {}).get("include_usage")
    assert asked == (None if include is False else True)


async def test_extra_headers_and_extra_query_travel_with_the_request(loopback, loopback_client):
    settings = ModelSettings(extra_headers={"X-Mine": "yes"}, extra_query={"q": "1"})
    await sent(loopback, loopback_client, settings)
    assert loopback.headers[0]["x-mine"] == "yes"
    assert loopback.paths[0].endswith("?q=1")


@pytest.mark.parametrize(("keep", "raw"), [(True, {"input_tokens": 1, "secret": 2}), (None, None)])
async def test_preserve_raw_usage_keeps_the_providers_own_usage(loopback, loopback_client, keep, raw):
    loopback.answers = [answer_json({**RESPONSE, "usage": {"input_tokens": 1, "secret": 2}})]
    seen: list[Any] = []

    class Hooks(RunHooks):
        async def on_llm_end(self, context: Any, agent: Any, response: Any) -> None:
            seen.append(response.raw_usage)

    model = OpenAIResponsesModel("m", loopback_client)
    asking = Agent(name="A", model=model, model_settings=ModelSettings(preserve_raw_usage=keep))
    await Runner.run(asking, "hi", hooks=Hooks())
    assert seen == [raw]


async def test_the_runs_settings_overlay_the_agents_and_extra_args_and_retry_are_merged():
    clerk = in_turn(
        "hi",
        model_settings=ModelSettings(
            temperature=0.1,
            top_p=0.2,
            extra_args={"a": 1, "b": 1},
            retry=ModelRetrySettings(max_retries=1, backoff=ModelRetryBackoffSettings(initial_delay=3)),
        ),
    )
    over = ModelSettings(top_p=0.9, extra_args={"b": 2}, retry=ModelRetrySettings(backoff={"max_delay": 9}))
    await Runner.run(clerk, "x", run_config=RunConfig(model_settings=over))
    used = clerk.model.calls[0].model_settings
    assert (used.temperature, used.top_p, used.extra_args) == (0.1, 0.9, {"a": 1, "b": 2})
    assert used.retry == ModelRetrySettings(1, ModelRetryBackoffSettings(initial_delay=3, max_delay=9))
    assert clerk.model_settings.top_p == 0.2


def test_settings_resolve_and_become_json():
    settings = ModelSettings(temperature=0.1).resolve(ModelSettings(top_p=0.2, extra_headers={"secret": "x"}))
    assert settings.to_json_dict()["top_p"] == 0.2
    assert settings.to_traceable_dict() == {"temperature": 0.1, "top_p": 0.2}


async def test_settings_may_be_a_dict():
    clerk = in_turn("hi", model_settings={"temperature": 0.3})
    await Runner.run(clerk, "x", run_config={"model_settings": {"top_p": 0.4}})
    used = clerk.model.calls[0].model_settings
    assert (used.temperature, used.top_p) == (0.3, 0.4)


# -- the timeout -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
async def test_timeout_is_seconds_per_attempt_for_any_model_and_raises_model_timeout_error(way):
    clerk = in_turn(ModelStep("late", delay=30), model_settings={"timeout": 0.01, "retry": {"max_retries": 0}})
    with pytest.raises(ModelTimeoutError, match=r"within 0\.01 seconds") as caught:
        await go(way, clerk)
    assert caught.value.timeout_seconds == 0.01


@pytest.mark.parametrize("way", WAYS)
async def test_each_attempt_has_the_timeout_for_itself(way):
    retry = ModelRetrySettings(max_retries=1, backoff={"initial_delay": 0}, policy=retry_policies.network_error())
    clerk = in_turn(
        ModelStep("late", delay=30), ModelStep("in time", delay=0), model_settings={"timeout": 0.2, "retry": retry}
    )
    result = await go(way, clerk)
    assert result.final_output == "in time"
    assert result.context_wrapper.usage.requests == 2


@pytest.mark.parametrize("seconds", [0, -1])
def test_a_timeout_is_more_than_nothing(seconds):
    with pytest.raises(UserError, match="timeout"):
        ModelSettings(timeout=seconds)


# -- retry: settings ---------------------------------------------------------------------------------------------------


def busy(**more: Any) -> ModelError:
    return ModelError("busy", status_code=503, retryable=True, **more)


def failing(*steps: Any, policy: Any = None, most: int | None = 5, **more: Any) -> Agent:
    backoff = ModelRetryBackoffSettings(**{"initial_delay": 1, "max_delay": 4, "jitter": False, **more})
    retry = ModelRetrySettings(max_retries=most, backoff=backoff, policy=policy)
    return in_turn(*steps, model_settings=ModelSettings(retry=retry))


async def driven(agent: Agent, *, streamed: bool = False, clock: Any = None, hooks: Any = None, **more: Any) -> Any:
    """A run with a manual clock, below the faces."""
    options = Options(None, RunConfig(), hooks=hooks)
    clock = clock or ManualClock()
    run = await start(agent, "go", context=options, clock=clock, stream=streamed, **more)
    if streamed:
        async for _ in run:
            pass
    else:
        await run.drive()
    return run


def retries(run: Any) -> list[Transition]:
    return [fact for fact in run.facts if isinstance(fact, Transition) and fact.on == "retry"]


def waits(run: Any) -> list[float]:
    return [0.0 if fact.not_before is None else round(fact.not_before - fact.at, 6) for fact in retries(run)]


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_retry_is_an_edge_of_the_graph_with_its_error_and_its_moment(streamed):
    clerk = failing(busy(), busy(), "fine", policy=lambda asked: True)
    clock = ManualClock()
    run = await driven(clerk, streamed=streamed, clock=clock)
    assert run.standing == "done"
    assert [(fact.node, fact.attempt, fact.error["status_code"]) for fact in retries(run)] == [
        ("call_model", 1, 503),
        ("call_model", 2, 503),
    ]
    assert waits(run) == [1, 2]
    assert clock.waits == [fact.not_before for fact in retries(run)]
    assert sum(one.node == "call_model" for one in run.path()) == 3


async def test_the_backoffs_defaults_are_a_quarter_second_doubled_up_to_two_with_jitter():
    retry = ModelRetrySettings(max_retries=5, policy=lambda asked: True)
    clerk = in_turn(*[busy()] * 5, "fine", model_settings=ModelSettings(retry=retry))
    seconds = waits(await driven(clerk))
    for wait, base in zip(seconds, [0.25, 0.5, 1, 2, 2], strict=True):
        assert base * 0.875 <= wait <= min(base * 1.125, 2)


@pytest.mark.parametrize(
    ("settings", "calls"), [(ModelRetrySettings(), 1), (ModelRetrySettings(max_retries=0), 1), ({"max_retries": 2}, 3)]
)
async def test_max_retries_are_the_attempts_after_the_first_and_none_means_none(settings, calls):
    clerk = in_turn(*[busy()] * 5, model_settings={"retry": settings})
    run = await driven(clerk)
    assert run.standing == "failed"
    assert len(clerk.model.calls) == calls


@pytest.mark.parametrize(("error", "calls"), [(RuntimeError("odd"), 1), (ConnectionError("gone"), 3), (busy(), 3)])
async def test_without_settings_only_what_a_providers_client_repeats_is_tried_again(error, calls):
    clerk = in_turn(*[error] * 5)
    run = await driven(clerk)
    assert run.standing == "failed"
    assert len(clerk.model.calls) == calls


# -- retry: policies ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_policy_is_asked_sync_or_async_with_everything_that_is_known(is_async, streamed):
    asked: list[Any] = []

    def plain(context: Any) -> bool:
        asked.append(context)
        return context.attempt < 2

    async def later(context: Any) -> bool:
        await asyncio.sleep(0)
        return plain(context)

    errors = [busy(request_id="req_1"), busy()]
    clerk = failing(*errors, "never", policy=later if is_async else plain)
    run = await driven(clerk, streamed=streamed)
    assert run.standing == "failed"
    first, second = asked
    assert (first.error, first.attempt, first.max_retries, first.stream) == (errors[0], 1, 5, streamed)
    assert (first.normalized.status_code, first.normalized.request_id) == (503, "req_1")
    assert (first.response_started, first.replay_safety, first.stateful_request) == (False, "unknown", False)
    assert (first.provider_advice, first.previous_response_id, first.conversation_id) == (None, None, None)
    assert second.attempt == 2


@pytest.mark.parametrize(
    ("answer", "wait"),
    [
        (True, 1),
        (RetryDecision(True), 1),
        (RetryDecision(True, delay=0.0), 0),
        (RetryDecision(True, delay=7.5, reason="slow"), 7.5),
        (False, None),
        (RetryDecision(False, delay=7.5), None),
    ],
)
async def test_a_policy_answers_a_bool_or_a_retry_decision(answer, wait):
    run = await driven(failing(busy(), "fine", policy=lambda asked: answer))
    assert waits(run) == ([] if wait is None else [wait])
    assert run.standing == ("failed" if wait is None else "done")


async def test_a_policy_that_raises_fails_the_run_with_its_error():
    def broken(asked: Any) -> bool:
        raise ZeroDivisionError("by zero")

    run = await driven(failing(busy(), "never", policy=broken))
    assert run.standing == "failed"
    assert (await run.result()).error["kind"] == "ZeroDivisionError"


POLICIES: list[tuple[str, Any, Any, bool]] = [
    ("never", retry_policies.never(), busy(), False),
    ("http_status", retry_policies.http_status([503]), busy(), True),
    ("http_status", retry_policies.http_status([500]), busy(), False),
    ("network_error", retry_policies.network_error(), ConnectionError("gone"), True),
    ("network_error", retry_policies.network_error(), ModelTimeoutError("slow"), True),
    ("network_error", retry_policies.network_error(), busy(), False),
    ("retry_after", retry_policies.retry_after(), busy(retry_after=3.0), True),
    ("retry_after", retry_policies.retry_after(), busy(), False),
    ("any", retry_policies.any(retry_policies.never(), retry_policies.http_status([503])), busy(), True),
    ("all", retry_policies.all(retry_policies.network_error(), retry_policies.http_status([503])), busy(), False),
]


@pytest.mark.parametrize(("name", "policy", "error", "again"), POLICIES)
async def test_the_policies_that_come_along_say_in_runs_what_their_names_say(name, policy, error, again):
    run = await driven(failing(error, "fine", policy=policy))
    assert (run.standing == "done") is again


@pytest.mark.parametrize(
    ("advice", "wait"),
    [
        (ModelRetryAdvice(suggested=True), 1),
        (ModelRetryAdvice(suggested=True, retry_after=6.0), 6),
        (ModelRetryAdvice(suggested=False), None),
        (None, None),
    ],
)
async def test_provider_suggested_does_as_the_models_get_retry_advice_says(advice, wait):
    step = ModelStep.raise_error(busy(), retry_advice=advice)
    run = await driven(failing(step, "fine", policy=retry_policies.provider_suggested()))
    assert waits(run) == ([] if wait is None else [wait])


async def test_a_providers_retry_after_is_waited_for_and_goes_before_the_backoff(loopback, loopback_client):
    error = {"error": {"message": "slow down", "type": "requests"}}
    loopback.answers = [answer_json(error, 429, retry_after="11"), answer_json(RESPONSE)]
    retry = ModelRetrySettings(max_retries=1, policy=retry_policies.http_status([429]))
    model = OpenAIResponsesModel("m", loopback_client)
    clock = ManualClock()
    run = await driven(Agent(name="A", model=model, model_settings=ModelSettings(retry=retry)), clock=clock)
    assert (run.standing, waits(run)) == ("done", [11])
    assert len(loopback.bodies) == 2


async def test_the_providers_own_client_never_retries_beside_the_graph(loopback, loopback_client):
    loopback.answers = [answer_json({"error": {"message": "no"}}, 500)]
    model = OpenAIResponsesModel("m", loopback_client)
    run = await driven(Agent(name="A", model=model, model_settings={"retry": {"max_retries": 2}}))
    assert run.standing == "failed"
    assert len(loopback.bodies) == 3


# -- retry: streams ----------------------------------------------------------------------------------------------------


def breaking(*events: Any, error: Exception | None = None) -> ModelStep:
    """A streamed reply that breaks off after these events."""

    async def stream(call: Any) -> Any:
        for event in events:
            yield event
        raise error or busy()

    return ModelStep.stream(stream)


CREATED = {"type": "response.created", "response": {"id": "resp_1"}, "sequence_number": 0}
DELTA = {"type": "response.output_text.delta", "delta": "Hel", "item_id": "m", "sequence_number": 1}
TYPED = [ResponseCreatedEvent.model_construct(**CREATED), ResponseTextDeltaEvent.model_construct(**DELTA)]


@pytest.mark.parametrize(
    ("events", "again"),
    [([], True), ([CREATED], True), (TYPED[:1], True), ([CREATED, DELTA], False), (TYPED, False)],
)
async def test_no_retry_after_retry_unsafe_stream_events_unless_approved(events, again):
    run = await driven(failing(breaking(*events), "fine", policy=lambda asked: True), streamed=True)
    assert (run.standing == "done") is again
    approved = failing(breaking(*events), "fine", policy=lambda asked: RetryDecision(True, approve_unsafe_replay=True))
    run = await driven(approved, streamed=True)
    assert run.standing == "done"


async def test_a_request_that_the_provider_calls_unsafe_to_repeat_isnt_repeated_streamed_even_when_approved():
    advice = ModelRetryAdvice(suggested=True, replay_safety="unsafe")
    approve = lambda asked: RetryDecision(True, approve_unsafe_replay=True)  # noqa: E731
    for streamed, standing in ((False, "done"), (True, "failed")):
        step = ModelStep.raise_error(busy(), retry_advice=advice)
        assert (await driven(failing(step, "fine", policy=approve), streamed=streamed)).standing == standing


@pytest.mark.parametrize("kept", [{"conversation_id": "conv_1"}, {"previous_response_id": "resp_1"}])
@pytest.mark.parametrize(("safety", "again"), [("safe", True), (None, False)])
async def test_a_stateful_request_is_repeated_only_where_its_safe(kept, safety, again):
    seen: list[Any] = []

    def policy(asked: Any) -> bool:
        seen.append((asked.stateful_request, asked.conversation_id, asked.previous_response_id))
        return True

    step = ModelStep.raise_error(busy(), retry_advice=ModelRetryAdvice(replay_safety=safety))
    clerk = failing(step, "fine", policy=policy, initial_delay=0)
    if again:
        assert (await Runner.run(clerk, "go", **kept)).final_output == "fine"
    else:
        with pytest.raises(ModelError):
            await Runner.run(clerk, "go", **kept)
    assert seen == [(True, kept.get("conversation_id"), kept.get("previous_response_id"))]


@pytest.mark.parametrize(("settings", "calls"), [(None, 4), ({"max_retries": 1}, 4), ({"max_retries": 0}, 1)])
async def test_a_locked_conversation_is_tried_again_three_times_after_one_two_and_four_seconds(settings, calls):
    locked = [ModelError("locked", status_code=400, code="conversation_locked") for _ in range(4)]
    clerk = in_turn(*locked, model_settings={"retry": settings})
    kept = {"conversation": {"conversation_id": "c", "previous_response_id": None, "auto": False}}
    run = await driven(clerk, meta=kept)
    assert run.standing == "failed"
    assert waits(run) == [1, 2, 4][: calls - 1]
    assert len(clerk.model.calls) == calls


# -- retry: what it counts, and what it isn't for ----------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
async def test_failed_attempts_are_counted_in_usage_requests(way):
    used = Usage(requests=1, input_tokens=10, output_tokens=2, total_tokens=12)
    clerk = failing(
        busy(), adding(), busy(), busy(), "fine", policy=lambda asked: True, initial_delay=0
    ).clone(tools=[add])  # fmt: skip
    clerk.model.set_default_usage(used)
    result = await go(way, clerk)
    usage = result.context_wrapper.usage
    assert (usage.requests, usage.input_tokens, usage.total_tokens) == (5, 20, 24)


async def test_attempts_are_no_turns():
    clerk = failing(busy(), busy(), "fine", policy=lambda asked: True, initial_delay=0)
    assert (await Runner.run(clerk, "go", max_turns=1)).final_output == "fine"


async def test_a_failed_runs_attempts_are_counted_too():
    with pytest.raises(ModelError) as caught:
        await Runner.run(failing(busy(), busy(), policy=lambda asked: True, most=1, initial_delay=0), "go")
    assert caught.value.run_data.context_wrapper.usage.requests == 2


class Failing(RunHooks):
    def __init__(self, when: str) -> None:
        self.when, self.calls = when, 0

    async def _fail(self, when: str) -> None:
        if when == self.when:
            self.calls += 1
            raise busy()

    async def on_llm_start(self, context: Any, agent: Any, system_prompt: Any, input_items: Any) -> None:
        await self._fail("start")

    async def on_llm_end(self, context: Any, agent: Any, response: Any) -> None:
        await self._fail("end")


@pytest.mark.parametrize("when", ["start", "end"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_errors_of_hooks_arent_tried_again_even_if_they_look_like_a_models(when, streamed):
    hooks = Failing(when)
    run = await driven(failing("fine", "fine", policy=lambda asked: True), hooks=hooks, streamed=streamed)
    assert (run.standing, hooks.calls, retries(run)) == ("failed", 1, [])


@pytest.mark.parametrize("parallel", [True, False])
async def test_errors_of_guardrails_arent_tried_again(parallel):
    asked: list[int] = []

    @input_guardrail(run_in_parallel=parallel)
    async def broken(ctx: Any, agent: Any, input: Any) -> GuardrailFunctionOutput:
        asked.append(1)
        raise busy()

    clerk = failing(ModelStep("fine", delay=0), policy=lambda asked: True).clone(input_guardrails=[broken])
    run = await driven(clerk)
    assert (run.standing, asked, retries(run)) == ("failed", [1], [])


async def test_errors_of_instructions_filters_and_what_the_model_said_arent_tried_again():
    def raising(*given: Any) -> Any:
        raise busy()

    always: Any = lambda asked: True  # noqa: E731
    for clerk, config in (
        (failing("fine", policy=always).clone(instructions=lambda ctx, agent: raising()), RunConfig()),
        (failing("fine", policy=always), RunConfig(call_model_input_filter=raising)),
        (failing(adding(), policy=always), RunConfig()),  # a tool that isn't there
    ):
        run = await start(clerk, "go", context=Options(None, config), clock=ManualClock())
        await run.drive()
        assert (run.standing, retries(run)) == ("failed", [])
    with pytest.raises(ModelBehaviorError, match="Tool add not found in agent Assistant"):
        await Runner.run(failing(adding(), policy=always), "go")


async def test_a_guardrail_beside_a_call_that_is_tried_again_is_asked_once():
    asked: list[int] = []

    @input_guardrail
    async def look(ctx: Any, agent: Any, input: Any) -> GuardrailFunctionOutput:
        asked.append(1)
        return GuardrailFunctionOutput(None, False)

    clerk = failing(busy(), busy(), "fine", policy=lambda asked: True).clone(input_guardrails=[look])
    run = await driven(clerk)
    assert (run.standing, asked) == ("done", [1])


@pytest.mark.parametrize("way", WAYS)
async def test_hooks_hear_of_a_call_that_is_tried_again_once(way):
    heard: list[str] = []

    class Hooks(RunHooks):
        async def on_llm_start(self, *given: Any) -> None:
            heard.append("start")

        async def on_llm_end(self, *given: Any) -> None:
            heard.append("end")

    await go(way, failing(busy(), "fine", policy=lambda asked: True, initial_delay=0), hooks=Hooks())
    assert heard == ["start", "end"]


async def test_a_run_that_waits_for_a_retry_may_die_and_goes_on_with_the_attempts_that_are_left():
    store = MemoryStore(keep_bytes=True)
    crashing = CrashingStore(store, 4)  # Started, prepare, input_guardrails, the first retry
    clock = ManualClock()
    with pytest.raises(Crash):
        await driven(failing(busy(), "never", policy=lambda asked: True), store=crashing, run_id="r", clock=clock)
    await crashing.bury()
    asked: list[int] = []

    def policy(context: Any) -> bool:
        asked.append(context.attempt)
        return context.attempt < 3

    again = failing(busy(), busy(), "never", policy=policy)
    run = await load("r", again, store=store, context=Options(None, RunConfig()), clock=clock)
    await (await run.resume()).drive()
    assert (run.standing, asked) == ("failed", [2, 3])
    assert clock.waits


async def test_a_model_of_ones_own_may_advise():
    class Advising(ScriptedModel):
        def get_retry_advice(self, request: Any) -> ModelRetryAdvice:
            assert (request.attempt, request.stream) == (1, False)
            return ModelRetryAdvice(suggested=True, retry_after=2.5)

    retry = ModelRetrySettings(max_retries=1, policy=retry_policies.provider_suggested())
    clerk = Agent(name="A", model=Advising([OSError("odd"), "fine"]), model_settings=ModelSettings(retry=retry))
    assert waits(await driven(clerk)) == [2.5]
