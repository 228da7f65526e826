"""``LitellmModel``, by the path where others look for it."""

from flowcore.models.litellm_model import LitellmModel

__all__ = ["LitellmModel"]
