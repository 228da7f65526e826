"""``LitellmProvider``, by the path where others look for it."""

from flowcore.models.litellm_provider import LitellmProvider

__all__ = ["LitellmProvider"]
