"""Models: what answers. Names are resolved when first used, so that importing this costs nothing."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowcore.models.base import (
        HandoffSpec,
        Item,
        Model,
        ModelProvider,
        ModelResponse,
        ModelTracing,
        OutputSchema,
        ToolSpec,
    )
    from flowcore.models.default_models import (
        get_default_model,
        get_default_model_settings,
        gpt_5_reasoning_settings_required,
        is_gpt_5_default,
    )
    from flowcore.models.litellm_model import (
        LitellmModel,
    )
    from flowcore.models.litellm_provider import (
        LitellmProvider,
    )
    from flowcore.models.local import (
        LocalModel,
    )
    from flowcore.models.openai_chat import (
        OpenAIChatCompletionsModel,
    )
    from flowcore.models.openai_defaults import (
        set_default_openai_api,
        set_default_openai_client,
        set_default_openai_key,
    )
    from flowcore.models.openai_provider import (
        OpenAIProvider,
    )
    from flowcore.models.openai_responses import (
        OpenAIResponsesModel,
    )
    from flowcore.models.provider import (
        LocalProvider,
        MultiProvider,
        MultiProviderMap,
        close_models,
        default_provider,
        get_model,
    )
    from flowcore.models.retry import (
        ModelRetryAdvice,
        ModelRetryAdviceRequest,
        ModelRetryNormalizedError,
        RetryDecision,
        RetryPolicy,
        RetryPolicyContext,
        retry_policies,
    )
    from flowcore.models.settings import (
        MCPToolChoice,
        ModelRetryBackoffSettings,
        ModelRetrySettings,
        ModelSettings,
    )
    from flowcore.models.usage import (
        InputTokensDetails,
        OutputTokensDetails,
        RequestUsage,
        Usage,
        deserialize_usage,
        serialize_usage,
    )

__all__ = [
    "HandoffSpec",
    "InputTokensDetails",
    "Item",
    "LitellmModel",
    "LitellmProvider",
    "LocalModel",
    "LocalProvider",
    "MCPToolChoice",
    "Model",
    "ModelProvider",
    "ModelResponse",
    "ModelRetryAdvice",
    "ModelRetryAdviceRequest",
    "ModelRetryBackoffSettings",
    "ModelRetryNormalizedError",
    "ModelRetrySettings",
    "ModelSettings",
    "ModelTracing",
    "MultiProvider",
    "MultiProviderMap",
    "OpenAIChatCompletionsModel",
    "OpenAIProvider",
    "OpenAIResponsesModel",
    "OutputSchema",
    "OutputTokensDetails",
    "RequestUsage",
    "RetryDecision",
    "RetryPolicy",
    "RetryPolicyContext",
    "ToolSpec",
    "Usage",
    "close_models",
    "default_provider",
    "deserialize_usage",
    "get_default_model",
    "get_default_model_settings",
    "get_model",
    "gpt_5_reasoning_settings_required",
    "is_gpt_5_default",
    "retry_policies",
    "serialize_usage",
    "set_default_openai_api",
    "set_default_openai_client",
    "set_default_openai_key",
]

_MODULES = {
    "base": (
        "HandoffSpec",
        "Item",
        "Model",
        "ModelProvider",
        "ModelResponse",
        "ModelTracing",
        "OutputSchema",
        "ToolSpec",
    ),
    "default_models": (
        "get_default_model",
        "get_default_model_settings",
        "gpt_5_reasoning_settings_required",
        "is_gpt_5_default",
    ),
    "litellm_model": ("LitellmModel",),
    "litellm_provider": ("LitellmProvider",),
    "local": ("LocalModel",),
    "openai_chat": ("OpenAIChatCompletionsModel",),
    "openai_defaults": (
        "set_default_openai_api",
        "set_default_openai_client",
        "set_default_openai_key",
    ),
    "openai_provider": ("OpenAIProvider",),
    "openai_responses": ("OpenAIResponsesModel",),
    "provider": (
        "LocalProvider",
        "MultiProvider",
        "MultiProviderMap",
        "close_models",
        "default_provider",
        "get_model",
    ),
    "retry": (
        "ModelRetryAdvice",
        "ModelRetryAdviceRequest",
        "ModelRetryNormalizedError",
        "RetryDecision",
        "RetryPolicy",
        "RetryPolicyContext",
        "retry_policies",
    ),
    "settings": (
        "MCPToolChoice",
        "ModelRetryBackoffSettings",
        "ModelRetrySettings",
        "ModelSettings",
    ),
    "usage": (
        "InputTokensDetails",
        "OutputTokensDetails",
        "RequestUsage",
        "Usage",
        "deserialize_usage",
        "serialize_usage",
    ),
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
