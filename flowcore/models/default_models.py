"""The model where none is named, and the settings that a model's name brings along."""

from __future__ import annotations

import os
import re
from typing import Any

from flowcore.models.base import Model
from flowcore.models.settings import ModelSettings

DEFAULT_OPENAI_MODEL = "gpt-5.6-luna"
"""The model where none is named, here or by OPENAI_DEFAULT_MODEL."""

_DATED = r"(?:-\d{4}-\d{2}-\d{2})?"
_EFFORTS: tuple[tuple[str, str], ...] = (
    (rf"gpt-5{_DATED}|gpt-5\.2-codex", "low"),
    (rf"gpt-5\.[12456]{_DATED}|gpt-5\.4-(?:mini|nano){_DATED}|gpt-5\.6-(?:sol|terra|luna){_DATED}", "none"),
    (r"gpt-5\.3-codex", "none"),
    (rf"gpt-5\.[24]-pro{_DATED}", "medium"),
)
"""Names of models, and the least reasoning effort that each takes together with all hosted tools: as openai-agents 0.24
has them."""
_CHAT = r"gpt-5(?:\.[123])?-chat-latest"
"""Those that take no effort."""


def get_default_model() -> str:
    """The model where none is named: OPENAI_DEFAULT_MODEL, else ``gpt-5.6-luna``. A name of OpenAI's own (``gpt-…``) in
    lower case; another server's may need its capitals."""
    name = os.environ.get("OPENAI_DEFAULT_MODEL") or DEFAULT_OPENAI_MODEL
    return name.lower() if name.lower().startswith("gpt-") else name


def gpt_5_reasoning_settings_required(model_name: str) -> bool:
    """Whether a name is that of a GPT-5 model that reasons."""
    return model_name.startswith("gpt-5") and re.fullmatch(_CHAT, model_name) is None


def is_gpt_5_default() -> bool:
    """Whether the model where none is named is a GPT-5 model that reasons."""
    return gpt_5_reasoning_settings_required(get_default_model())


def get_default_model_settings(model: str | None = None) -> ModelSettings:
    """The settings of an agent that gives none: of a GPT-5 model a low verbosity and, where its name is known, a
    reasoning effort; of any other nothing. ``model``: its name; None: ``get_default_model()``."""
    name = get_default_model() if model is None else model
    if not gpt_5_reasoning_settings_required(name):
        return ModelSettings()
    from openai.types.shared import Reasoning

    effort: Any = next((effort for known, effort in _EFFORTS if re.fullmatch(known, name)), None)
    return ModelSettings(reasoning=None if effort is None else Reasoning(effort=effort), verbosity="low")


def are_default(settings: ModelSettings) -> bool:
    """Whether settings are those of an agent that gives none and names no model."""
    if is_gpt_5_default() and settings.verbosity != "low":
        return False  # most agents; asking further would import openai
    return settings == get_default_model_settings()


def settings_of(model: str | Model | None) -> ModelSettings:
    """The settings of an agent with this model that gives none."""
    return ModelSettings() if isinstance(model, Model) else get_default_model_settings(model)


def settings_for(
    settings: ModelSettings, own: str | Model | None, chosen: str | Model | None, model: Model
) -> ModelSettings:
    """An agent's settings for the model that a run asks in the place of the agent's ``own``: those that its name
    brought along don't go to another.

    ``chosen``: what the run names, ``model`` what was found under it: where nothing is named, that may be an embedded
    one, which says its own name.
    """
    if settings != settings_of(own):
        return settings
    if chosen is None and getattr(model, "model", get_default_model()) != get_default_model():
        return ModelSettings()
    return settings_of(chosen)
