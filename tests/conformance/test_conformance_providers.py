"""Models and their providers in whole runs: §16 of the reference, row by row."""

from __future__ import annotations

import copy
import json
from collections.abc import AsyncIterator
from importlib.util import find_spec
from typing import Any

import pytest
from conformance_making import WAYS, add, delete, go, in_turn, told
from models_loopback import Loopback, answer_json
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseCreatedEvent,
    ResponseFunctionToolCall,
    ResponseOutputItemDoneEvent,
    ResponseOutputMessage,
    ResponseOutputText,
    ResponseTextDeltaEvent,
    ResponseUsage,
)
from openai.types.responses.response_usage import InputTokensDetails, OutputTokensDetails
from pydantic import BaseModel

from flowcore import (
    Agent,
    Model,
    ModelBehaviorError,
    ModelError,
    ModelProvider,
    ModelResponse,
    ModelSettings,
    ModelTracing,
    MultiProvider,
    OpenAIChatCompletionsModel,
    OpenAIProvider,
    OpenAIResponsesModel,
    RunConfig,
    Runner,
    RunState,
    Usage,
    UserError,
    handoff,
    set_default_openai_api,
    set_default_openai_client,
    set_default_openai_key,
)
from flowcore.models import MultiProviderMap, openai_defaults
from flowcore.testing import (
    InvalidModelStep,
    ModelStep,
    ScriptedModel,
    UnconsumedModelSteps,
    UnexpectedModelCall,
    assistant_message,
    function_call,
)

SAID = {
    "type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
    "content": [{"type": "output_text", "text": "Hello.", "annotations": []}],
}  # fmt: skip
RESPONSE = {"id": "resp_1", "object": "response", "status": "completed", "error": None, "output": [SAID]}
CHAT = {
    "id": "c", "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
}  # fmt: skip


# -- models of one's own -----------------------------------------------------------------------------------------------


def text(words: str) -> ResponseOutputMessage:
    part = ResponseOutputText(text=words, type="output_text", annotations=[])
    return ResponseOutputMessage(id="msg_1", type="message", role="assistant", content=[part], status="completed")


def calling(call_id: str = "c1") -> ResponseFunctionToolCall:
    arguments = json.dumps({"a": 1, "b": 2})
    return ResponseFunctionToolCall(call_id=call_id, type="function_call", name="add", arguments=arguments)


class ForTheSDK(Model):
    """A model as it's written for the SDK: openai's own objects, every argument by its name, a stream that ends with
    ``response.completed``."""

    def __init__(self, *replies: list[Any]) -> None:
        self.replies = list(replies)
        self.asked: list[dict[str, Any]] = []

    async def get_response(
        self,
        system_instructions: str | None,
        input: Any,
        model_settings: ModelSettings,
        tools: list[Any],
        output_schema: Any,
        handoffs: list[Any],
        tracing: ModelTracing,
        *,
        previous_response_id: str | None,
        conversation_id: str | None,
        prompt: Any,
    ) -> ModelResponse:
        given = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        self.asked.append({**given, "input": copy.deepcopy(input)})
        usage = Usage(requests=1, input_tokens=10, output_tokens=5, total_tokens=15)
        return ModelResponse(output=self.replies.pop(0), usage=usage, response_id="resp_1")

    async def stream_response(
        self,
        system_instructions: str | None,
        input: Any,
        model_settings: ModelSettings,
        tools: list[Any],
        output_schema: Any,
        handoffs: list[Any],
        tracing: ModelTracing,
        *,
        previous_response_id: str | None,
        conversation_id: str | None,
        prompt: Any,
    ) -> AsyncIterator[Any]:
        given = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        self.asked.append({**given, "input": copy.deepcopy(input)})
        output = self.replies.pop(0)
        usage = ResponseUsage(
            input_tokens=10,
            output_tokens=5,
            total_tokens=15,
            input_tokens_details=InputTokensDetails(cached_tokens=4, cache_write_tokens=0),
            output_tokens_details=OutputTokensDetails(reasoning_tokens=0),
        )
        whole = Response(
            id="resp_1", created_at=1, model="m", object="response", output=output, tool_choice="auto", tools=[],
            parallel_tool_calls=True, usage=usage,
        )  # fmt: skip
        yield ResponseCreatedEvent(type="response.created", response=whole, sequence_number=0)
        for index, item in enumerate(output):
            if isinstance(item, ResponseOutputMessage):
                yield ResponseTextDeltaEvent(
                    type="response.output_text.delta", delta=item.content[0].text, item_id=item.id, output_index=index,
                    content_index=0, logprobs=[], sequence_number=1,
                )  # fmt: skip
            yield ResponseOutputItemDoneEvent(
                type="response.output_item.done", item=item, output_index=index, sequence_number=2
            )
        yield ResponseCompletedEvent(type="response.completed", response=whole, sequence_number=3)


@pytest.mark.parametrize("way", WAYS)
async def test_a_model_written_for_the_sdk_works(way):
    model = ForTheSDK([calling()], [text("three")])
    result = await go(way, Agent(name="A", instructions="Add.", model=model, tools=[add]), "1+2?")
    assert result.final_output == "three"
    assert told(result) == ["3"]
    usage = result.context_wrapper.usage
    assert (usage.requests, usage.input_tokens, usage.output_tokens, usage.total_tokens) == (2, 20, 10, 30)
    assert [one.type for one in result.new_items] == ["tool_call_item", "tool_call_output_item", "message_output_item"]
    assert isinstance(result.new_items[0].raw_item, ResponseFunctionToolCall)
    assert isinstance(result.new_items[2].raw_item, ResponseOutputMessage)
    assert result.last_response_id == "resp_1"
    wire = result.to_input_list()
    assert all(type(one) is dict for one in wire)
    assert wire[1] == {"call_id": "c1", "type": "function_call", "name": "add", "arguments": '{"a": 1, "b": 2}'}


@pytest.mark.parametrize("way", WAYS)
async def test_a_model_is_asked_with_every_argument(way):
    class Sum(BaseModel):
        total: int

    other = Agent(name="B")
    model = ForTheSDK([text('{"total": 3}')])
    settings = ModelSettings(temperature=0.5)
    asking = Agent(
        name="A", instructions="Add.", model=model, tools=[add], handoffs=[other], output_type=Sum,
        model_settings=settings, prompt={"id": "p_1"},
    )  # fmt: skip
    result = await go(way, asking, "1+2?", previous_response_id="resp_0")
    assert result.final_output == Sum(total=3)
    [asked] = model.asked
    assert asked["system_instructions"] == "Add."
    assert asked["input"] == [{"role": "user", "content": "1+2?"}]
    assert asked["model_settings"].temperature == 0.5
    assert [tool.name for tool in asked["tools"]] == ["add"]
    assert asked["output_schema"].name() == "Sum"
    assert [one.tool_name for one in asked["handoffs"]] == ["transfer_to_b"]
    assert isinstance(asked["tracing"], ModelTracing)
    assert (asked["previous_response_id"], asked["conversation_id"]) == ("resp_0", None)
    assert asked["prompt"] == {"id": "p_1"}


@pytest.mark.parametrize("way", WAYS)
async def test_a_models_input_is_a_plain_list_that_it_may_write_out_and_add_to(way):
    class Careless(ForTheSDK):
        def _take(self, input: Any) -> None:
            assert isinstance(input, list)
            json.dumps(input)
            input.append({"role": "user", "content": "mine"})

        async def get_response(self, *args: Any, **given: Any) -> ModelResponse:
            self._take(given["input"])
            return await super().get_response(*args, **given)

        async def stream_response(self, system_instructions: Any, input: Any, *args: Any, **given: Any) -> Any:
            self._take(input)
            async for event in super().stream_response(system_instructions, input, *args, **given):
                yield event

    model = Careless([calling()], [text("three")])
    result = await go(way, Agent(name="A", model=model, tools=[add]), "1+2?")
    assert result.final_output == "three"
    assert [item.get("content") for item in model.asked[1]["input"]] == ["1+2?", None, None, "mine"]
    assert "mine" not in str(result.to_input_list())


@pytest.mark.parametrize("way", WAYS)
async def test_a_models_items_survive_a_pause_and_another_process(way):
    reply = ResponseFunctionToolCall(call_id="d1", type="function_call", name="delete", arguments='{"row": "a"}')
    result = await go(way, Agent(name="A", model=ForTheSDK([reply]), tools=[delete]))
    text_of_it = result.to_state().to_string()
    again = Agent(name="A", model=ForTheSDK([text("gone")]), tools=[delete])
    state = await RunState.from_string(again, text_of_it)
    state.approve(state.get_interruptions()[0])
    result = await go(way, again, state)
    assert (result.final_output, told(result)) == ("gone", ["deleted a"])


async def test_a_stream_whose_last_event_has_no_output_has_the_items_that_were_done():
    class Bare(ForTheSDK):
        async def stream_response(self, *args: Any, **given: Any) -> Any:
            async for event in super().stream_response(*args, **given):
                if event.type == "response.completed":
                    event = event.model_copy(update={"response": event.response.model_copy(update={"output": []})})
                yield event

    assert (await go("streamed", Agent(name="A", model=Bare([text("hello")])))).final_output == "hello"


@pytest.mark.parametrize(
    ("event", "words", "retryable"),
    [
        (
            {"type": "response.failed", "response": {"error": {"code": "server_error", "message": "sorry"}}},
            "sorry",
            True,
        ),
        ({"type": "error", "code": "bad", "message": "no"}, "bad: no", False),
    ],
)
async def test_a_stream_that_ends_in_a_failure_is_a_model_error(event, words, retryable):
    class Broken(ForTheSDK):
        async def stream_response(self, *args: Any, **given: Any) -> Any:
            yield event

    with pytest.raises(ModelError, match=words) as caught:
        await go("streamed", Agent(name="A", model=Broken(), model_settings={"retry": {"max_retries": 0}}))
    assert caught.value.retryable is retryable


async def test_a_stream_without_an_end_is_the_models_error():
    class Endless(ForTheSDK):
        async def stream_response(self, *args: Any, **given: Any) -> Any:
            yield {"type": "response.created", "response": {}}

    with pytest.raises(ModelBehaviorError, match="ended without a ModelResponse or a"):
        await go("streamed", Agent(name="A", model=Endless()))


@pytest.mark.parametrize("given", [None, {"output": []}, "hello"])
async def test_what_is_no_reply_is_told_with_who_gave_it(given):
    class Odd(ForTheSDK):
        async def get_response(self, *args: Any, **more: Any) -> Any:
            return given

    with pytest.raises(UserError, match=r"Odd\.get_response gave a \w+; give a ModelResponse"):
        await Runner.run(Agent(name="A", model=Odd()), "go")


async def test_a_model_may_write_one_verb_only():
    class OneVerb(Model):
        async def stream_response(self, *args: Any, **given: Any) -> Any:
            yield ModelResponse([assistant_message("hello", item_id="m")])

    for way in WAYS:
        assert (await go(way, Agent(name="A", model=OneVerb()))).final_output == "hello"


async def test_an_unknown_item_of_a_models_own_comes_through():
    odd = {"type": "dream", "id": "x", "content": [{"deep": 1}]}
    model = ForTheSDK([odd, calling()], [text("three")])
    await Runner.run(Agent(name="A", model=model, tools=[add]), "go")
    assert model.asked[1]["input"][1] == odd


async def test_model_tracing_says_whether_and_with_what():
    assert [one.is_disabled() for one in ModelTracing] == [True, False, False]
    assert [one.include_data() for one in ModelTracing] == [False, True, False]


# -- scripted models ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
async def test_the_scripted_model_of_the_sdk_has_its_names_here(way):
    model = ScriptedModel(
        [
            ModelStep(output=[function_call("add", {"a": 1, "b": 2}, call_id="c1", item_id="i1")], response_id="r1"),
            [assistant_message("three", item_id="m1")],
        ],
        default_usage=Usage(requests=1, input_tokens=1),
    )
    result = await go(way, Agent(name="A", model=model, tools=[add]), "1+2?")
    assert result.final_output == "three"
    model.assert_complete()
    assert (model.remaining_steps, len(model.calls)) == (0, 2)
    assert model.first_call.streamed is (way == "streamed")
    assert model.last_call.input[-1]["output"] == "3"
    with pytest.raises(UnexpectedModelCall) as caught:
        await go(way, Agent(name="A", model=model, tools=[add]), "again")
    assert caught.value.call_index == 2
    model.enqueue("more")
    with pytest.raises(UnconsumedModelSteps) as left:
        model.assert_complete()
    assert left.value.remaining_steps == 1
    assert (await go(way, Agent(name="A", model=model), "again")).final_output == "more"


async def test_a_scripted_step_may_raise_respond_and_stream():
    model = ScriptedModel([
        ModelStep.raise_error(ModelError("no")),
        ModelStep.respond(lambda call: f"{len(call.input)} items"),
        ModelStep.stream([{"type": "response.completed", "response": {"id": "r", "output": [SAID]}}]),
    ])  # fmt: skip
    asking = Agent(name="A", model=model)
    with pytest.raises(ModelError):
        await Runner.run(asking, "go")
    assert (await Runner.run(asking, "go")).final_output == "1 items"
    assert (await go("streamed", asking)).final_output == "Hello."


async def test_what_is_no_step_is_refused():
    with pytest.raises(InvalidModelStep):
        await Runner.run(in_turn(ModelStep(output=7)), "go")  # type: ignore[arg-type]


# -- providers ---------------------------------------------------------------------------------------------------------


class Named(ModelProvider):
    """Gives each name a model that says it."""

    def __init__(self, prefix: str = "") -> None:
        self.prefix, self.asked, self.closed = prefix, [], 0

    def get_model(self, model_name: str | None) -> Model:
        self.asked.append(model_name)
        return ScriptedModel(lambda call: f"{self.prefix}{model_name}", name=str(model_name))

    async def aclose(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("way", WAYS)
async def test_a_provider_in_the_run_config_resolves_agents_models_by_name(way):
    provider = Named()
    config = RunConfig(model_provider=provider)
    assert (await go(way, Agent(name="A", model="small"), run_config=config)).final_output == "small"
    assert (await go(way, Agent(name="A"), run_config=config)).final_output == "None"
    assert provider.asked == ["small", None]


async def test_each_agent_of_a_run_has_the_model_that_it_names():
    provider = Named()
    replies = {"one": function_call("transfer_to_b", call_id="h"), "two": "here is two"}
    provider.get_model = lambda name: ScriptedModel(lambda call: replies[name])  # type: ignore[method-assign]
    b = Agent(name="B", model="two")
    result = await Runner.run(
        Agent(name="A", model="one", handoffs=[handoff(b)]), "go", run_config={"model_provider": provider}
    )
    assert result.final_output == "here is two"


async def test_the_runs_model_goes_before_every_agents():
    provider = Named()
    asking = Agent(name="A", model="small")
    named = await Runner.run(asking, "go", run_config=RunConfig(model="large", model_provider=provider))
    assert named.final_output == "large"
    given = await Runner.run(asking, "go", run_config=RunConfig(model=ScriptedModel(["mine"]), model_provider=provider))
    assert given.final_output == "mine"
    assert provider.asked == ["large"]


async def test_an_agents_own_model_object_asks_no_provider():
    provider = Named()
    assert (await Runner.run(in_turn("mine"), "go", run_config={"model_provider": provider})).final_output == "mine"
    assert provider.asked == []


async def test_a_multi_providers_map_brings_prefixes():
    mapped = MultiProviderMap()
    mapped.add_provider("mine", Named("mine:"))
    config = RunConfig(model_provider=MultiProvider(provider_map=mapped))
    result = await Runner.run(Agent(name="A", model="mine/a/b"), "go", run_config=config)
    assert result.final_output == "mine:a/b"


@pytest.mark.parametrize(
    ("name", "modes", "sent"),
    [
        ("gpt-x", {}, "gpt-x"),
        ("openai/gpt-x", {}, "gpt-x"),
        ("openai/gpt-x", {"openai_prefix_mode": "model_id"}, "openai/gpt-x"),
        ("meta/llama", {"unknown_prefix_mode": "model_id"}, "meta/llama"),
        ("openai/meta/llama", {}, "meta/llama"),
    ],
)
async def test_a_multi_providers_prefixes_say_which_model_is_asked(loopback: Loopback, name, modes, sent):
    loopback.answers = [answer_json(RESPONSE)]
    provider = MultiProvider(openai_api_key="k", openai_base_url=loopback.url, **modes)
    await Runner.run(Agent(name="A", model=name), "go", run_config={"model_provider": provider})
    assert loopback.bodies[0]["model"] == sent
    await provider.aclose()


async def test_an_unknown_prefix_is_a_user_error_before_anything_is_sent(loopback: Loopback):
    provider = MultiProvider(openai_api_key="k", openai_base_url=loopback.url)
    with pytest.raises(UserError, match="Unknown prefix: meta"):
        await Runner.run(Agent(name="A", model="meta/llama"), "go", run_config={"model_provider": provider})
    assert loopback.bodies == []


@pytest.mark.skipif(find_spec("litellm") is None, reason="the extra litellm isn't installed here")
@pytest.mark.filterwarnings("ignore")  # litellm's own ways with its clients
async def test_litellm_is_behind_its_prefix(loopback: Loopback, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    loopback.answers = [answer_json(CHAT)]
    settings = ModelSettings(extra_args={"api_base": loopback.url, "api_key": "k"})
    result = await Runner.run(Agent(name="A", model="litellm/openai/gpt-x", model_settings=settings), "go")
    assert result.final_output == "Hello."
    assert (loopback.paths, loopback.bodies[0]["model"]) == (["/v1/chat/completions"], "gpt-x")


@pytest.mark.parametrize(("responses", "path"), [(True, "/v1/responses"), (False, "/v1/chat/completions")])
async def test_an_openai_provider_speaks_the_api_that_its_told(loopback: Loopback, responses, path):
    loopback.answers = [answer_json(RESPONSE if responses else CHAT)]
    provider = OpenAIProvider(
        api_key="k", base_url=loopback.url, organization="org", project="proj", use_responses=responses
    )
    result = await Runner.run(Agent(name="A", model="m"), "go", run_config={"model_provider": provider})
    assert (result.final_output, loopback.paths) == ("Hello.", [path])
    headers = loopback.headers[0]
    assert headers["authorization"] == "bearer k"
    assert (headers["openai-organization"], headers["openai-project"]) == ("org", "proj")
    await provider.aclose()


async def test_both_openai_models_end_a_run(loopback: Loopback, loopback_client: Any):
    for kind, answer in ((OpenAIResponsesModel, RESPONSE), (OpenAIChatCompletionsModel, CHAT)):
        loopback.answers = [answer_json(answer)]
        loopback.bodies.clear()
        assert (await Runner.run(Agent(name="A", model=kind("m", loopback_client)), "go")).final_output == "Hello."


# -- the process's defaults --------------------------------------------------------------------------------------------


@pytest.fixture
def defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process's defaults, put back afterwards."""
    monkeypatch.setattr(openai_defaults, "_defaults", openai_defaults._Defaults())
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_API", "OPENAI_DEFAULT_MODEL"):
        monkeypatch.delenv(name, raising=False)


async def test_set_default_openai_client_is_asked_by_agents_that_name_a_model(defaults, loopback, loopback_client):
    loopback.answers = [answer_json(RESPONSE)]
    set_default_openai_client(loopback_client, use_for_tracing=False)
    assert (await Runner.run(Agent(name="A", model="m"), "go")).final_output == "Hello."
    assert loopback.bodies[0]["model"] == "m"


async def test_without_a_model_the_default_one_is_asked(defaults, loopback, loopback_client, monkeypatch):
    loopback.answers = [answer_json(RESPONSE)]
    set_default_openai_client(loopback_client)
    await Runner.run(Agent(name="A"), "go")
    monkeypatch.setenv("OPENAI_DEFAULT_MODEL", "gpt-mine")
    await Runner.run(Agent(name="A"), "go")
    assert [body["model"] for body in loopback.bodies] == ["gpt-5.6-luna", "gpt-mine"]


async def test_set_default_openai_key_is_the_key_that_is_sent(defaults, loopback: Loopback, monkeypatch):
    loopback.answers = [answer_json(RESPONSE)]
    monkeypatch.setenv("OPENAI_BASE_URL", loopback.url)
    monkeypatch.setenv("OPENAI_API_KEY", "of-the-environment")
    set_default_openai_key("set-by-hand", use_for_tracing=False)
    provider = MultiProvider()
    await Runner.run(Agent(name="A", model="m"), "go", run_config={"model_provider": provider})
    assert loopback.headers[0]["authorization"] == "bearer set-by-hand"
    await provider.aclose()


@pytest.mark.parametrize(
    ("api", "path", "answer"),
    [("chat_completions", "/v1/chat/completions", CHAT), ("responses", "/v1/responses", RESPONSE)],
)
async def test_set_default_openai_api_says_which_api_is_asked(defaults, loopback, loopback_client, api, path, answer):
    loopback.answers = [answer_json(answer)]
    set_default_openai_client(loopback_client)
    set_default_openai_api(api)
    assert (await Runner.run(Agent(name="A", model="m"), "go")).final_output == "Hello."
    assert loopback.paths == [path]


async def test_a_model_is_found_again_by_its_name_in_another_process(defaults, loopback, loopback_client):
    call = {"type": "function_call", "id": "f", "call_id": "d1", "name": "delete", "arguments": '{"row": "a"}'}
    loopback.answers = [answer_json({**RESPONSE, "output": [call]}), answer_json(RESPONSE)]
    set_default_openai_client(loopback_client)
    result = await Runner.run(Agent(name="A", model="m", tools=[delete]), "go")
    again = Agent(name="A", model="m", tools=[delete])
    state = await RunState.from_json(again, result.to_state().to_json())
    state.approve(state.get_interruptions()[0])
    assert (await Runner.run(again, state)).final_output == "Hello."
    assert [item.get("type") for item in loopback.bodies[1]["input"]] == [None, "function_call", "function_call_output"]
