"""Settings, and what a retry's backoff comes to."""

from __future__ import annotations

import dataclasses
import json

import openai
import pytest

from flowcore.errors import UserError
from flowcore.models import ModelRetryBackoffSettings, ModelRetrySettings, ModelSettings


def test_only_what_the_override_sets_is_overlaid() -> None:
    base = ModelSettings(temperature=0.2, top_p=0.5, extra_args={"a": 1, "b": 2})
    override = ModelSettings(temperature=0.0, extra_args={"b": 3}, store=False)
    resolved = base.resolve(override)
    assert (resolved.temperature, resolved.top_p, resolved.store) == (0.0, 0.5, False)
    assert resolved.extra_args == {"a": 1, "b": 3}
    assert base == ModelSettings(temperature=0.2, top_p=0.5, extra_args={"a": 1, "b": 2})
    assert base.resolve(None) is base


def test_retry_settings_are_merged_to_the_bottom() -> None:
    base = ModelSettings(retry=ModelRetrySettings(max_retries=2, backoff=ModelRetryBackoffSettings(initial_delay=1)))
    override = ModelSettings(retry=ModelRetrySettings(backoff=ModelRetryBackoffSettings(jitter=False)))
    assert base.resolve(override).retry == ModelRetrySettings(
        max_retries=2, backoff=ModelRetryBackoffSettings(initial_delay=1, jitter=False)
    )


def test_all_fields_become_json_and_the_policy_is_left_out() -> None:
    settings = ModelSettings(
        reasoning=openai.types.shared.Reasoning(effort="low"),
        retry=ModelRetrySettings(max_retries=1, policy=lambda context: True),
        extra_headers={"authorization": "secret"},
    )
    data = json.loads(json.dumps(settings.to_json_dict()))
    assert data["reasoning"] == {"effort": "low"}
    assert data["retry"] == {"max_retries": 1, "backoff": None}
    assert set(data) == {field.name for field in dataclasses.fields(ModelSettings)}
    assert set(settings.to_traceable_dict()) == {"reasoning", "retry"}


def test_settings_can_be_made_from_plain_data_and_unknown_keys_are_refused() -> None:
    settings = ModelSettings(**{"retry": {"max_retries": 1, "backoff": {"max_delay": 9}}})  # type: ignore[arg-type]
    assert settings.retry == ModelRetrySettings(1, ModelRetryBackoffSettings(max_delay=9))
    with pytest.raises(TypeError, match="temprature"):
        ModelSettings(temprature=1)  # type: ignore[call-arg]


def test_impossible_values_are_refused() -> None:
    with pytest.raises(UserError, match="more than 0 seconds"):
        ModelSettings(timeout=0)
    with pytest.raises(UserError, match="max_retries"):
        ModelRetrySettings(max_retries=-1)
    with pytest.raises(UserError, match="multiplier"):
        ModelRetryBackoffSettings(multiplier=-1)


def test_a_wait_grows_up_to_its_limit() -> None:
    calm = ModelRetryBackoffSettings(jitter=False)
    assert [calm.delay(attempt) for attempt in (1, 2, 3, 4, 5, 5000)] == [0.25, 0.5, 1.0, 2.0, 2.0, 2.0]
    spread = ModelRetryBackoffSettings()
    assert spread.delay(1, 0.0) == 0.25 * 0.875
    assert spread.delay(1, 1.0) == 0.25 * 1.125
    assert spread.delay(9, 1.0) == 2.0
