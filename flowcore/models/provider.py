"""From a model's name to the model. One instance for each name, so that connections and servers are shared."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import ClassVar

from flowcore.errors import UserError
from flowcore.models.base import Model
from flowcore.models.local import LocalModel
from flowcore.models.local_weights import INSTALL, missing_parts
from flowcore.models.openai_chat import OpenAIChatCompletionsModel
from flowcore.models.openai_responses import OpenAIResponsesModel

DEFAULT_OPENAI_MODEL = "gpt-5-mini"
"""Used when the environment names a server or a key, but no model."""


class ModelProvider:
    """Finds models by name. Subclass it to bring models of your own, and give it to a run."""

    def get_model(self, model_name: str | None) -> Model:
        """The model of this name; None asks for the default. Raises ``UserError`` for a name it doesn't know."""
        raise NotImplementedError(f"{type(self).__name__} has to define get_model")

    async def aclose(self) -> None:
        """Give back what the models hold."""


class DefaultModelProvider(ModelProvider):
    """The names that flowcore knows by itself.

    ``NAME`` or ``openai/NAME``: OpenAI, or the server that OPENAI_BASE_URL names; through the Responses API,
    or through Chat Completions where OPENAI_API is ``chat``. ``local``, ``local/PATH``, ``local/PACKAGE``:
    the embedded model. None: OpenAI's model OPENAI_DEFAULT_MODEL (``gpt-5-mini``) when OPENAI_API_KEY or
    OPENAI_BASE_URL is set, else the embedded model when it's installed.
    """

    prefixes: ClassVar[tuple[str, ...]] = ("openai", "local")

    def __init__(self) -> None:
        self._models: dict[tuple[str, str], Model] = {}

    def get_model(self, model_name: str | None) -> Model:
        kind, name = _default() if model_name is None else _parse(model_name)
        model = self._models.get((kind, name))
        if model is None:
            model = self._models[kind, name] = _MAKERS[kind](name)
        return model

    async def aclose(self) -> None:
        models, self._models = self._models, {}
        for model in models.values():
            await model.close()


def _openai_kind() -> str:
    kind = os.environ.get("OPENAI_API", "responses").strip().lower()
    if kind not in ("responses", "chat"):
        raise UserError(f"OPENAI_API is {kind!r}; set it to 'responses' or to 'chat', or leave it unset")
    return kind


def _default() -> tuple[str, str]:
    if os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL"):
        return _openai_kind(), os.environ.get("OPENAI_DEFAULT_MODEL") or DEFAULT_OPENAI_MODEL
    missing = missing_parts()
    if not missing:
        return "local", ""
    raise UserError(
        "no model configured; set OPENAI_API_KEY (or OPENAI_BASE_URL, for a server of your own), pass a model "
        f"(Agent(model=...)), or install the embedded one: {INSTALL} (missing here: {' and '.join(missing)})"
    )


def _parse(model_name: str) -> tuple[str, str]:
    prefix, slash, name = model_name.partition("/")
    if model_name == "local":
        return "local", ""
    if not slash:
        return _openai_kind(), model_name
    if prefix not in DefaultModelProvider.prefixes or not name:
        raise UserError(
            f"no provider for the model {model_name!r}; write 'NAME' or 'openai/NAME' for OpenAI and servers like it, "
            "'local', 'local/PATH' or 'local/PACKAGE' for the embedded one, or pass a Model: for a server's model "
            f"whose name has a slash, OpenAIChatCompletionsModel({model_name!r}), or 'openai/{model_name}'"
        )
    return ("local" if prefix == "local" else _openai_kind()), name


_MAKERS: dict[str, Callable[[str], Model]] = {
    "responses": OpenAIResponsesModel,
    "chat": OpenAIChatCompletionsModel,
    "local": lambda name: LocalModel(name or None),
}

_default_provider = DefaultModelProvider()


def get_model(model: str | Model | None = None) -> Model:
    """The model that is meant: a ``Model`` is itself, a name is looked up as ``DefaultModelProvider`` does."""
    return model if isinstance(model, Model) else _default_provider.get_model(model)


async def close_models() -> None:
    """Close what ``get_model`` has made. A later call makes anew."""
    await _default_provider.aclose()
