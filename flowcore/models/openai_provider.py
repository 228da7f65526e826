"""From a name to a model at OpenAI, or at a server like it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowcore.errors import UserError
from flowcore.models.base import Model, ModelProvider
from flowcore.models.default_models import get_default_model
from flowcore.models.openai_chat import OpenAIChatCompletionsModel
from flowcore.models.openai_client import Clients
from flowcore.models.openai_defaults import anything_of_openai, use_responses_by_default
from flowcore.models.openai_responses import OpenAIResponsesModel

if TYPE_CHECKING:
    from openai import AsyncOpenAI


class OpenAIProvider(ModelProvider):
    """Models of one account at one server. A name is always the same instance, and all share one client.

    ``api_key``, ``base_url``, ``organization``, ``project``: of the client that is made; ``openai_client``: one that
    exists, then not these. Where none of them is given, what ``set_default_openai_client`` or ``_key`` set, else
    OPENAI_API_KEY and OPENAI_BASE_URL. ``use_responses``: the Responses API or Chat Completions; None as
    ``set_default_openai_api`` or OPENAI_API says.

    Raises ``UserError`` for a client beside what one is made of.
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        openai_client: AsyncOpenAI | None = None,
        organization: str | None = None,
        project: str | None = None,
        use_responses: bool | None = None,
    ) -> None:
        options = {"api_key": api_key, "base_url": base_url, "organization": organization, "project": project}
        given = {name: value for name, value in options.items() if value is not None}
        if openai_client is not None and given:
            raise UserError(
                f"OpenAIProvider: {' and '.join(given)} beside openai_client; give them to the client, or leave it out"
            )
        self.configured = openai_client is not None or bool(given)
        """Whether anything was given: a key, an address, a client."""
        self._use_responses = use_responses
        self._clients = Clients(openai_client, **given)
        self._models: dict[tuple[bool, str, bool], Model] = {}

    def get_model(self, model_name: str | None) -> Model:
        """The model of this name; None: OPENAI_DEFAULT_MODEL, else ``gpt-5.6-luna``."""
        responses = use_responses_by_default() if self._use_responses is None else self._use_responses
        name, explicit = model_name or get_default_model(), model_name is not None
        model = self._models.get((responses, name, explicit))
        if model is None:
            if responses:
                model = OpenAIResponsesModel(name, self._clients, model_is_explicit=explicit)
            else:
                model = OpenAIChatCompletionsModel(name, self._clients)
            self._models[responses, name, explicit] = model
        return model

    def can_default(self) -> bool:
        """Whether there is a key, an address or a client to call a model with."""
        return self.configured or anything_of_openai()

    async def aclose(self) -> None:
        """Close the connections of the running loop. A client that was given is the giver's to close."""
        self._models.clear()
        await self._clients.close()
