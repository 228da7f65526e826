"""From a model's name to the model, whoever's it is. One instance for each name, so that connections and servers are
shared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from flowcore.errors import UserError
from flowcore.models.base import Model
from flowcore.models.base import ModelProvider as ModelProvider
from flowcore.models.litellm_provider import LitellmProvider
from flowcore.models.local import LocalModel
from flowcore.models.local_weights import INSTALL, missing_parts
from flowcore.models.openai_provider import OpenAIProvider

if TYPE_CHECKING:
    from openai import AsyncOpenAI


class LocalProvider(ModelProvider):
    """Embedded models. A name is a GGUF file's path or a package that holds one; None the default weights."""

    def __init__(self) -> None:
        self._models: dict[str, Model] = {}

    def get_model(self, model_name: str | None) -> Model:
        name = model_name or ""
        model = self._models.get(name)
        if model is None:
            model = self._models[name] = LocalModel(model_name)
        return model

    async def aclose(self) -> None:
        models, self._models = self._models, {}
        for model in models.values():
            await model.close()


class MultiProviderMap:
    """Prefixes of model names, and who finds the models behind each."""

    def __init__(self, mapping: Mapping[str, ModelProvider] | None = None) -> None:
        self._mapping: dict[str, ModelProvider] = dict(mapping or {})

    def has_prefix(self, prefix: str) -> bool:
        """Whether the prefix has a provider."""
        return prefix in self._mapping

    def get_mapping(self) -> dict[str, ModelProvider]:
        """A copy of the mapping."""
        return dict(self._mapping)

    def set_mapping(self, mapping: Mapping[str, ModelProvider]) -> None:
        """Put another mapping in the place of this one."""
        self._mapping = dict(mapping)

    def get_provider(self, prefix: str) -> ModelProvider | None:
        """The prefix's provider; None: it has none."""
        return self._mapping.get(prefix)

    def add_provider(self, prefix: str, provider: ModelProvider) -> None:
        """Give a prefix (without its slash) a provider, in the place of any that it had."""
        self._mapping[prefix] = provider

    def remove_provider(self, prefix: str) -> None:
        """Take a prefix out. Raises KeyError when it isn't in."""
        del self._mapping[prefix]


class MultiProvider(ModelProvider):
    """All the names that flowcore knows, by their prefix.

    ``NAME``, ``openai/NAME``: OpenAI, or the server that ``openai_base_url`` or OPENAI_BASE_URL names.
    ``litellm/PROVIDER/NAME``: whatever litellm reaches. ``local``, ``local/PATH``, ``local/PACKAGE``: the embedded
    model. None: OpenAI's default model where there is a key, a client or an address, else the embedded model when it's
    installed.

    ``provider_map``: more prefixes, or others' in the place of these. ``openai_*``: as ``OpenAIProvider`` has them.
    ``openai_prefix_mode="model_id"`` sends ``openai/NAME`` whole, ``unknown_prefix_mode="model_id"`` every name whose
    prefix nobody knows: for servers whose models have such names.
    """

    def __init__(
        self,
        provider_map: MultiProviderMap | None = None,
        *,
        openai_api_key: str | None = None,
        openai_base_url: str | None = None,
        openai_client: AsyncOpenAI | None = None,
        openai_organization: str | None = None,
        openai_project: str | None = None,
        openai_use_responses: bool | None = None,
        openai_prefix_mode: Literal["alias", "model_id"] = "alias",
        unknown_prefix_mode: Literal["error", "model_id"] = "error",
    ) -> None:
        for name, mode, known in (
            ("openai_prefix_mode", openai_prefix_mode, ("alias", "model_id")),
            ("unknown_prefix_mode", unknown_prefix_mode, ("error", "model_id")),
        ):
            if mode not in known:
                raise UserError(f"MultiProvider {name} must be one of: {', '.join(map(repr, known))}, not {mode!r}.")
        self.provider_map = provider_map
        self.openai_provider = OpenAIProvider(
            api_key=openai_api_key,
            base_url=openai_base_url,
            openai_client=openai_client,
            organization=openai_organization,
            project=openai_project,
            use_responses=openai_use_responses,
        )
        self._others: dict[str, ModelProvider] = {"litellm": LitellmProvider(), "local": LocalProvider()}
        self._openai_prefix_mode = openai_prefix_mode
        self._unknown_prefix_mode = unknown_prefix_mode

    def get_model(self, model_name: str | None) -> Model:
        if model_name is None:
            return self._default()
        prefix, slash, name = model_name.partition("/")
        mapped = self.provider_map.get_provider(prefix) if self.provider_map is not None and slash else None
        if mapped is not None:
            return mapped.get_model(name)
        if model_name == "local":
            return self._others["local"].get_model(None)
        if not slash:
            return self.openai_provider.get_model(model_name)
        if prefix == "openai" and name:
            return self.openai_provider.get_model(name if self._openai_prefix_mode == "alias" else model_name)
        if prefix in self._others and name:
            return self._others[prefix].get_model(name)
        if self._unknown_prefix_mode == "model_id":
            return self.openai_provider.get_model(model_name)
        raise UserError(
            f"Unknown prefix: {prefix}. There is no provider for the model {model_name!r}; write 'NAME' or "
            "'openai/NAME' for OpenAI and servers like it, 'litellm/PROVIDER/NAME' for others, 'local', 'local/PATH' "
            "or 'local/PACKAGE' for the embedded model, or pass a Model. For a server whose own names have slashes: "
            f"'openai/{model_name}', or MultiProvider(unknown_prefix_mode='model_id')"
        )

    def _default(self) -> Model:
        if self.openai_provider.can_default():
            return self.openai_provider.get_model(None)
        missing = missing_parts()
        if not missing:
            return self._others["local"].get_model(None)
        raise UserError(
            "no model configured; set OPENAI_API_KEY (or OPENAI_BASE_URL, for a server of your own), pass a model "
            f"(Agent(model=...)), or install the embedded one: {INSTALL} (missing here: {' and '.join(missing)})"
        )

    async def aclose(self) -> None:
        """Close each provider, those of the map too, once."""
        mapped = self.provider_map.get_mapping() if self.provider_map is not None else {}
        providers = {id(one): one for one in (self.openai_provider, *self._others.values(), *mapped.values())}
        for provider in providers.values():
            if provider is not self:
                await provider.aclose()


_default_provider = MultiProvider()


def default_provider() -> MultiProvider:
    """The provider of runs that are given none; the process has one, so that its models are shared."""
    return _default_provider


def get_model(model: str | Model | None = None) -> Model:
    """The model that is meant: a ``Model`` is itself, a name is looked up as ``MultiProvider`` does."""
    return model if isinstance(model, Model) else _default_provider.get_model(model)


async def close_models() -> None:
    """Close what ``get_model`` has made. A later call makes anew."""
    await _default_provider.aclose()
