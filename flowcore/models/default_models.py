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
    effort = next((effort for known, effort in _EFFORTS if re.fullmatch(known, name)), None)
    return SettingsByName(verbosity="low").bringing(effort)


class SettingsByName(ModelSettings):
    """What a model's name brings along. ``reasoning`` is made when it's first read: most programs' agents never get to
    OpenAI's package."""

    __slots__ = ("_effort", "_touched")
    _touched: bool

    def bringing(self, effort: str | None) -> SettingsByName:
        """Itself, with the reasoning effort that the name brings."""
        self._effort = effort
        del self.__dict__["reasoning"]
        object.__setattr__(self, "_touched", False)
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        object.__setattr__(self, "_touched", True)

    @property
    def reasoning(self) -> Any:
        kept = self.__dict__
        if "reasoning" not in kept:
            kept["reasoning"] = self._brought()
            object.__setattr__(self, "_touched", True)  # it can be changed in place now
        return kept["reasoning"]

    @reasoning.setter
    def reasoning(self, value: Any) -> None:
        self.__dict__["reasoning"] = value

    def _brought(self) -> Any:
        effort: Any = getattr(self, "_effort", None)
        if effort is None:
            return None
        from openai.types.shared import Reasoning

        return Reasoning(effort=effort)

    @property
    def changed(self) -> bool:
        """Whether they aren't what the name brought any more."""
        effort = getattr(self, "_effort", None)
        return self._touched and self != SettingsByName(verbosity="low").bringing(effort)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ModelSettings):
            return NotImplemented
        mine, theirs = self.__dict__, other.__dict__
        if type(other) is SettingsByName and mine.keys() == theirs.keys() == _NAMED.keys():
            return mine == theirs and self._effort == other._effort
        return {**mine, "reasoning": self.reasoning} == {**theirs, "reasoning": other.reasoning}

    __hash__ = None  # type: ignore[assignment]


_NAMED = vars(SettingsByName(verbosity="low").bringing(None)).copy()


def _none() -> ModelSettings:
    """Settings that say nothing, for their class has all the defaults: there may be one at every turn."""
    return object.__new__(ModelSettings)


def _is_none(settings: ModelSettings) -> bool:
    return all(one is None for one in settings.__dict__.values())


def are_default(settings: ModelSettings) -> bool:
    """Whether settings are those of an agent that gives none and names no model."""
    return (settings.verbosity == "low") is is_gpt_5_default() and settings == get_default_model_settings()


def settings_of(model: str | Model | None) -> ModelSettings:
    """The settings of an agent with this model that gives none."""
    return _none() if isinstance(model, Model) else get_default_model_settings(model)


def settings_for(
    settings: ModelSettings, own: str | Model | None, chosen: str | Model | None, model: Model
) -> ModelSettings:
    """An agent's settings for the model that a run asks in the place of the agent's ``own``: those that its name
    brought along don't go to another.

    ``chosen``: what the run names, ``model`` what was found under it: where nothing is named, that may be an embedded
    one, which says its own name.
    """
    if type(settings) is SettingsByName:
        given = settings.changed
    elif isinstance(own, Model):
        given = not _is_none(settings)
    else:
        given = not (settings.verbosity == "low" or _is_none(settings)) or settings != settings_of(own)
    if given:
        return settings
    if chosen is model:
        return _none()
    if chosen is None and getattr(model, "model", get_default_model()) != get_default_model():
        return _none()
    return settings_of(chosen)
