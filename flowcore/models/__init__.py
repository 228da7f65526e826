"""Models: what answers. Names are resolved when first used, so that importing this costs nothing."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowcore.models.base import (
        HandoffSpec,
        Item,
        Model,
        ModelResponse,
        ModelTracing,
        OutputSchema,
        ToolSpec,
    )
    from flowcore.models.local import LocalModel
    from flowcore.models.openai_chat import OpenAIChatCompletionsModel
    from flowcore.models.openai_responses import OpenAIResponsesModel
    from flowcore.models.provider import DefaultModelProvider, ModelProvider, close_models, get_model
    from flowcore.models.settings import (
        MCPToolChoice,
        ModelRetryBackoffSettings,
        ModelRetrySettings,
        ModelSettings,
    )
    from flowcore.models.usage import InputTokensDetails, OutputTokensDetails, Usage

__all__ = [
    "DefaultModelProvider",
    "HandoffSpec",
    "InputTokensDetails",
    "Item",
    "LocalModel",
    "MCPToolChoice",
    "Model",
    "ModelProvider",
    "ModelResponse",
    "ModelRetryBackoffSettings",
    "ModelRetrySettings",
    "ModelSettings",
    "ModelTracing",
    "OpenAIChatCompletionsModel",
    "OpenAIResponsesModel",
    "OutputSchema",
    "OutputTokensDetails",
    "ToolSpec",
    "Usage",
    "close_models",
    "get_model",
]

_MODULES = {
    "base": (
        "HandoffSpec",
        "Item",
        "Model",
        "ModelResponse",
        "ModelTracing",
        "OutputSchema",
        "ToolSpec",
    ),
    "local": ("LocalModel",),
    "openai_chat": ("OpenAIChatCompletionsModel",),
    "openai_responses": ("OpenAIResponsesModel",),
    "provider": ("DefaultModelProvider", "ModelProvider", "close_models", "get_model"),
    "settings": ("MCPToolChoice", "ModelRetryBackoffSettings", "ModelRetrySettings", "ModelSettings"),
    "usage": ("InputTokensDetails", "OutputTokensDetails", "Usage"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
