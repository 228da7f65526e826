"""What a model's name brings along: the settings of an agent that gives none."""

from __future__ import annotations

import copy
import subprocess
import sys
from dataclasses import replace

import pytest
from openai.types.shared import Reasoning

from flowcore import Agent, ModelSettings, Runner
from flowcore.models import (
    get_default_model,
    get_default_model_settings,
    gpt_5_reasoning_settings_required,
    is_gpt_5_default,
)
from flowcore.testing import ScriptedModel


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_DEFAULT_MODEL", raising=False)


def told(settings: ModelSettings) -> tuple[str | None, str | None]:
    return settings.reasoning and settings.reasoning.effort, settings.verbosity


@pytest.mark.parametrize(
    ("name", "effort"),
    [
        ("gpt-5", "low"), ("gpt-5-2025-08-07", "low"), ("gpt-5.1", "none"), ("gpt-5.2-pro", "medium"),
        ("gpt-5.2-codex", "low"), ("gpt-5.3-codex", "none"), ("gpt-5.4-mini", "none"), ("gpt-5.6-luna", "none"),
        ("gpt-5-mini", None), ("gpt-5.3", None),
    ],
)  # fmt: skip
def test_a_gpt_5_model_s_name_brings_low_verbosity_and_the_effort_that_is_known_of_it(name, effort):
    assert gpt_5_reasoning_settings_required(name)
    assert told(get_default_model_settings(name)) == (effort, "low")


@pytest.mark.parametrize("name", ["gpt-4.1", "gpt-5-chat-latest", "gpt-5.2-chat-latest", "openai/gpt-5", "qwen"])
def test_other_names_bring_nothing(name):
    assert not gpt_5_reasoning_settings_required(name)
    assert get_default_model_settings(name) == ModelSettings()
    assert Agent(name="A", model=name).model_settings == ModelSettings()


@pytest.mark.parametrize(
    ("set_to", "name", "is_gpt_5"),
    [
        (None, "gpt-5.6-luna", True),
        ("GPT-5", "gpt-5", True),
        ("gpt-4.1", "gpt-4.1", False),
        ("Qwen/Q3", "Qwen/Q3", False),
    ],
)
def test_the_environment_names_the_default_model(monkeypatch, set_to, name, is_gpt_5):
    if set_to is not None:
        monkeypatch.setenv("OPENAI_DEFAULT_MODEL", set_to)
    assert (get_default_model(), is_gpt_5_default()) == (name, is_gpt_5)
    assert Agent(name="A").model_settings == get_default_model_settings() == get_default_model_settings(name)


def test_settings_that_are_given_stay_as_they_are():
    given = ModelSettings(temperature=0.5)
    for model in (None, "gpt-5", ScriptedModel()):
        assert Agent(name="A", model=model, model_settings=given).model_settings is given
    assert Agent(name="A", model_settings=ModelSettings()).model_settings == ModelSettings()


def test_a_copy_with_another_model_has_that_one_s_settings():
    assert Agent(name="A").clone(model="gpt-4.1").model_settings == ModelSettings()
    assert told(Agent(name="A").clone(model="gpt-5").model_settings) == ("low", "low")
    assert Agent(name="A").clone(model=ScriptedModel()).model_settings == ModelSettings()


async def test_the_run_s_model_gets_the_settings_of_its_own_name():
    class Named:
        def get_model(self, name):
            asked.append(name)
            return model

    asked, model = [], ScriptedModel(["1", "2", "3", "4"])
    model.model = "gpt-5"
    for agent in (Agent(name="A"), Agent(name="A", model_settings=ModelSettings(temperature=0.5))):
        await Runner.run(agent, "go", run_config={"model": "gpt-5", "model_provider": Named()})
    await Runner.run(Agent(name="A"), "go", run_config={"model": model})
    await Runner.run(Agent(name="A"), "go", run_config={"model_provider": Named()})  # it says another name
    assert asked == ["gpt-5", "gpt-5", None]
    sent = [call.model_settings for call in model.calls]
    assert [told(one) for one in sent] == [("low", "low"), (None, None), (None, None), (None, None)]
    assert sent[1].temperature == 0.5


@pytest.mark.parametrize("name", ["gpt-5", "gpt-5-mini", "gpt-5.6-luna"])
def test_settings_that_a_name_brings_are_settings_like_any(name):
    brought, again = get_default_model_settings(name), get_default_model_settings(name)
    effort = {"gpt-5": "low", "gpt-5.6-luna": "none"}.get(name)
    written = ModelSettings(reasoning=effort and Reasoning(effort=effort), verbosity="low")
    assert isinstance(brought, ModelSettings)
    assert brought == written
    assert written == brought
    assert brought == again
    assert brought != ModelSettings()
    assert ModelSettings() != brought
    assert brought.to_json_dict() == written.to_json_dict()
    assert brought.resolve(ModelSettings(temperature=1)) == replace(written, temperature=1)
    assert copy.deepcopy(again) == again == replace(again)
    again.temperature = 0.5
    assert again != brought


@pytest.mark.parametrize("change", ["temperature", "reasoning", "effort"])
async def test_settings_that_a_name_brought_and_the_app_changed_go_to_any_model(change):
    agent, model = Agent(name="A"), ScriptedModel(["done"])
    if change == "effort":
        agent.model_settings.reasoning.effort = "high"
    else:
        setattr(agent.model_settings, change, 0.5 if change == "temperature" else Reasoning(effort="high"))
    await Runner.run(agent, "go", run_config={"model": model})
    sent = model.calls[0].model_settings
    assert sent == agent.model_settings
    assert sent.verbosity == "low"


def test_an_agent_that_brings_its_model_needs_no_openai():
    code = (
        "import asyncio, sys, flowcore; from flowcore.testing import ScriptedModel;"
        "flowcore.Agent(name='A', model=ScriptedModel()); flowcore.Agent(name='B', model='local');"
        "agent = flowcore.Agent(name='C').clone(name='D'); model = ScriptedModel(['hi']);"
        "asyncio.run(flowcore.Runner.run(agent, 'go', run_config={'model': model}));"
        "assert 'openai' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
