"""From a name to a model that litellm reaches."""

from __future__ import annotations

from flowcore.models.base import Model, ModelProvider
from flowcore.models.default_models import get_default_model
from flowcore.models.litellm_model import LitellmModel


class LitellmProvider(ModelProvider):
    """Every name is litellm's, e.g. ``anthropic/claude-sonnet-4-5``; keys and addresses are those that litellm reads
    from the environment. None: OPENAI_DEFAULT_MODEL, else ``gpt-5.6-luna``."""

    def __init__(self) -> None:
        self._models: dict[str, Model] = {}

    def get_model(self, model_name: str | None) -> Model:
        name = model_name or get_default_model()
        model = self._models.get(name)
        if model is None:
            model = self._models[name] = LitellmModel(name)
        return model

    async def aclose(self) -> None:
        """Forget the models. litellm keeps its connections for the whole process and shares them."""
        self._models.clear()
