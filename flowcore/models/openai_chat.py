"""Models behind Chat Completions: OpenAI's, and every server that speaks it. Items are converted on the way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flowcore.errors import ModelError, UserError
from flowcore.models.base import HandoffSpec, Model, ModelResponse, ModelTracing, OutputSchema
from flowcore.models.chat_convert import (
    Message,
    format_to_chat,
    items_to_messages,
    message_to_items,
    tool_choice_to_chat,
    tools_to_chat,
    usage_from_chat,
)
from flowcore.models.chat_stream import ChatReply
from flowcore.models.openai_advice import openai_advice
from flowcore.models.openai_client import Clients, Endpoint
from flowcore.models.openai_errors import broke_off
from flowcore.models.retry import ModelRetryAdvice, ModelRetryAdviceRequest
from flowcore.models.settings import ModelSettings, to_wire
from flowcore.models.tool_wire import output_format, tool_choice_to_wire, tools_to_wire

if TYPE_CHECKING:
    from openai import AsyncOpenAI


class OpenAIChatCompletionsModel(Model):
    """A model behind ``/chat/completions``.

    ``model``: the provider's name for it. ``openai_client``: an ``AsyncOpenAI`` to use; by default that of
    ``set_default_openai_client``, else one is made from OPENAI_API_KEY and OPENAI_BASE_URL. Its own retries are
    switched off: each call is one request.
    """

    reads_only = True

    def __init__(self, model: str, openai_client: AsyncOpenAI | Clients | None = None) -> None:
        self.model = model
        self._clients = Clients.of(openai_client)
        self._endpoint = chat_endpoint(model, self._clients)

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
        refuse_server_state(previous_response_id, conversation_id, prompt)
        body = self._body(system_instructions, input, model_settings, tools, output_schema, handoffs)
        answer = await self._endpoint.post(body, model_settings)
        choices = answer.data.get("choices")
        if not choices:
            raise ModelError(
                f"{self._endpoint.where()}: the answer has no choices; check OPENAI_BASE_URL",
                request_id=answer.request_id,
                body=answer.data,
            )
        usage = answer.data.get("usage")
        return ModelResponse(
            output=message_to_items(choices[0].get("message") or {}, choices[0].get("finish_reason")),
            usage=usage_from_chat(usage),
            response_id=None,
            request_id=answer.request_id,
            raw_usage=usage if model_settings.preserve_raw_usage else None,
        )

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
        refuse_server_state(previous_response_id, conversation_id, prompt)
        body = self._body(system_instructions, input, model_settings, tools, output_schema, handoffs)
        if model_settings.include_usage is not False:
            body["stream_options"] = {"include_usage": True}
        reply = ChatReply(self.model)
        async with await self._endpoint.open(body, model_settings) as stream:
            async for chunk in stream:
                for event in reply.feed(chunk):
                    yield event
        if reply.finish_reason is None:
            raise broke_off(self._endpoint.where(), "without a finish_reason", stream.request_id)
        for event in reply.finish():
            yield event
        yield ModelResponse(
            output=reply.output,
            usage=reply.usage,
            response_id=None,
            request_id=stream.request_id,
            raw_usage=reply.raw_usage if model_settings.preserve_raw_usage else None,
        )

    def _body(
        self,
        system_instructions: str | None,
        input: str | Sequence[Mapping[str, Any]],
        settings: ModelSettings,
        tools: Sequence[Any],
        output_schema: OutputSchema | None,
        handoffs: Sequence[HandoffSpec],
    ) -> dict[str, Any]:
        body = chat_body(items_to_messages(system_instructions, input), settings)
        wire_tools = tools_to_wire(tools, handoffs)
        if wire_tools:
            choice = tool_choice_to_chat(tool_choice_to_wire(settings, wire_tools))
            body |= _set(
                tools=tools_to_chat(wire_tools),
                tool_choice=choice,
                parallel_tool_calls=settings.parallel_tool_calls,
            )
        body |= _set(response_format=format_to_chat(output_format(output_schema)))
        if settings.max_tokens is not None:
            # OpenAI's reasoning models refuse the old name; many other servers don't know the new one.
            official = self._endpoint.host().endswith("openai.com")
            body["max_completion_tokens" if official else "max_tokens"] = settings.max_tokens
        return body

    def get_retry_advice(self, request: ModelRetryAdviceRequest) -> ModelRetryAdvice | None:
        return openai_advice(request)

    async def close(self) -> None:
        await self._clients.close()


def chat_endpoint(model: str, clients: Clients) -> Endpoint:
    """The chat verb of a server. The client insists on ``messages``; the real ones come in the body."""
    return Endpoint(
        model,
        "/chat/completions",
        clients,
        lambda client: lambda **options: client.chat.completions.with_raw_response.create(messages=[], **options),
    )


def refuse_server_state(previous_response_id: str | None, conversation_id: str | None, prompt: Any | None) -> None:
    """Raise ``UserError`` for what only the Responses API keeps on its server."""
    given = {
        "previous_response_id": previous_response_id,
        "conversation_id": conversation_id,
        "prompt": prompt,
    }
    named = [name for name, value in given.items() if value is not None]
    if named:
        raise UserError(f"Chat Completions knows no {', '.join(named)}; leave it out or use OpenAIResponsesModel")


def chat_body(messages: list[Message], settings: ModelSettings) -> dict[str, Any]:
    """What any chat request may hold, without tools, format and ``model``."""
    reasoning = to_wire(settings.reasoning)
    return _set(
        messages=messages,
        temperature=settings.temperature,
        top_p=settings.top_p,
        frequency_penalty=settings.frequency_penalty,
        presence_penalty=settings.presence_penalty,
        reasoning_effort=reasoning.get("effort") if reasoning else None,
        verbosity=settings.verbosity,
        metadata=settings.metadata,
        store=settings.store,
        logprobs=True if settings.top_logprobs is not None else None,
        top_logprobs=settings.top_logprobs,
        prompt_cache_retention=settings.prompt_cache_retention,
        prompt_cache_options=to_wire(settings.prompt_cache_options),
    )


def _set(**fields: Any) -> dict[str, Any]:
    """The fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}
