"""Models behind OpenAI's Responses API. Items go in and come out as the very dicts that travel."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flowcore.errors import ModelError, UserError
from flowcore.models.base import HandoffSpec, Item, Model, ModelResponse, ModelTracing, OutputSchema, given_back
from flowcore.models.openai_advice import openai_advice
from flowcore.models.openai_client import Clients, Endpoint
from flowcore.models.openai_errors import broke_off, from_body
from flowcore.models.openai_types import typed_event, typed_items
from flowcore.models.retry import ModelRetryAdvice, ModelRetryAdviceRequest
from flowcore.models.settings import ModelSettings, to_wire
from flowcore.models.tool_wire import includes_of, output_format, tool_choice_to_wire, tools_to_wire
from flowcore.models.usage import Usage

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})


class OpenAIResponsesModel(Model):
    """A model behind ``/responses``.

    ``model``: the provider's name for it. ``openai_client``: an ``AsyncOpenAI`` to use; by default that of
    ``set_default_openai_client``, else one is made from OPENAI_API_KEY and OPENAI_BASE_URL. Its own retries are
    switched off: each call is one request. ``model_is_explicit=False``: a stored prompt brings its own model.
    """

    reads_only = True
    span = "response"

    def __init__(
        self, model: str, openai_client: AsyncOpenAI | Clients | None = None, *, model_is_explicit: bool = True
    ) -> None:
        self.model = model
        self._model_is_explicit = model_is_explicit
        self._clients = Clients.of(openai_client)
        self._endpoint = Endpoint(
            model, "/responses", self._clients, lambda client: client.responses.with_raw_response.create
        )

    async def get_response(
        self,
        system_instructions: str | None,
        input: str | Sequence[Mapping[str, Any]],
        model_settings: ModelSettings,
        tools: Sequence[Any],
        output_schema: OutputSchema | None,
        handoffs: Sequence[HandoffSpec],
        tracing: ModelTracing,
        *,
        previous_response_id: str | None = None,
        conversation_id: str | None = None,
        prompt: Any | None = None,
    ) -> ModelResponse:
        body = request_body(
            system_instructions,
            input,
            model_settings,
            tools_to_wire(tools, handoffs),
            output_schema,
            previous_response_id,
            conversation_id,
            prompt,
            includes_of(tools),
        )
        answer = await self._endpoint.post(body, model_settings, named=self._named(prompt))
        return self._reply(answer.data, [], model_settings, answer.request_id)

    async def stream_response(
        self,
        system_instructions: str | None,
        input: str | Sequence[Mapping[str, Any]],
        model_settings: ModelSettings,
        tools: Sequence[Any],
        output_schema: OutputSchema | None,
        handoffs: Sequence[HandoffSpec],
        tracing: ModelTracing,
        *,
        previous_response_id: str | None = None,
        conversation_id: str | None = None,
        prompt: Any | None = None,
    ) -> AsyncIterator[Any]:
        body = request_body(
            system_instructions,
            input,
            model_settings,
            tools_to_wire(tools, handoffs),
            output_schema,
            previous_response_id,
            conversation_id,
            prompt,
            includes_of(tools),
        )
        finished: list[Item] = []
        async with await self._endpoint.open(body, model_settings, named=self._named(prompt)) as stream:
            async for event in stream:
                kind = event.get("type")
                if kind == "error":
                    raise from_body(event, where=self._endpoint.where(), request_id=stream.request_id)
                if kind == "response.output_item.done":
                    finished.append(event["item"])
                if kind in _TERMINAL:
                    reply = self._reply(event["response"], finished, model_settings, stream.request_id)
                    yield typed_event(event)
                    await stream.drain()
                    break
                yield typed_event(event)
            else:
                raise broke_off(self._endpoint.where(), "before response.completed", stream.request_id)
        yield reply

    def _named(self, prompt: Any | None) -> bool:
        return self._model_is_explicit or prompt is None

    def _reply(
        self, response: dict[str, Any], finished: list[Item], settings: ModelSettings, request_id: str | None
    ) -> ModelResponse:
        """The reply in a response object.

        ``finished``: its items as they were streamed, should it hold none itself.
        """
        error = response.get("error")
        if response.get("status") == "failed" or isinstance(error, Mapping):
            raise from_body(error or {}, where=self._endpoint.where(), request_id=request_id)
        output = response.get("output") or finished
        if not output and "output" not in response:
            raise ModelError(f"{self._endpoint.where()}: the answer has no output; check OPENAI_BASE_URL")
        usage = response.get("usage")
        return ModelResponse(
            output=output,
            usage=Usage.of_request(usage),
            response_id=response.get("id"),
            request_id=request_id,
            raw_usage=usage if settings.preserve_raw_usage else None,
            raw_output=typed_items(output),
        )

    def get_retry_advice(self, request: ModelRetryAdviceRequest) -> ModelRetryAdvice | None:
        return openai_advice(request)

    async def close(self) -> None:
        await self._clients.close()


def request_body(
    system_instructions: str | None,
    input: str | Sequence[Mapping[str, Any]],
    settings: ModelSettings,
    tools: list[dict[str, Any]],
    output_schema: OutputSchema | None,
    previous_response_id: str | None,
    conversation_id: str | None,
    prompt: Any | None,
    includes: Sequence[str] = (),
) -> dict[str, Any]:
    """The JSON of a request, without ``model``. The input's dicts are put in as they are, but for
    what the API doesn't take back. ``includes``: what tools want
    to be told beside the settings' ``response_include``."""
    text: dict[str, Any] = {"format": output_format(output_schema), "verbosity": settings.verbosity}
    text = {name: value for name, value in text.items() if value is not None}
    include = [*(settings.response_include or ()), *includes]
    if settings.top_logprobs is not None:
        include.append("message.output_text.logprobs")
    include = list(dict.fromkeys(include))
    body = {
        "input": input if isinstance(input, str) else [given_back(item) for item in input],  # type: ignore[arg-type]
        "instructions": system_instructions,
        "tools": tools or None,
        # A stored prompt brings tools of its own; without any tool, the settings have nothing to choose from.
        "tool_choice": tool_choice_to_wire(settings, tools) if tools or prompt is not None else None,
        "parallel_tool_calls": settings.parallel_tool_calls if tools or prompt is not None else None,
        "text": text or None,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "max_output_tokens": settings.max_tokens,
        "truncation": settings.truncation,
        "reasoning": to_wire(settings.reasoning),
        "metadata": settings.metadata,
        "store": settings.store,
        "include": include or None,
        "top_logprobs": settings.top_logprobs,
        "context_management": settings.context_management,
        "prompt_cache_retention": settings.prompt_cache_retention,
        "prompt_cache_options": to_wire(settings.prompt_cache_options),
        "previous_response_id": previous_response_id,
        "conversation": conversation_id,
        "prompt": prompt_to_wire(prompt),
    }
    return {name: value for name, value in body.items() if value is not None}


def prompt_to_wire(prompt: Any | None) -> dict[str, Any] | None:
    """A stored prompt ``{"id", "version", "variables"}`` as it travels. Raises ``UserError`` for one without an id."""
    if prompt is None:
        return None
    wire = to_wire(prompt)
    if not isinstance(wire, Mapping) or not isinstance(wire.get("id"), str):
        raise UserError(f"a prompt is a dict with an 'id' (and 'version', 'variables'), not {prompt!r}")
    return {name: value for name, value in wire.items() if value is not None}
