"""Models of other providers, through litellm: it speaks their ways, we speak Chat Completions to it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from flowcore.errors import ModelError, UserError
from flowcore.models.base import HandoffSpec, Model, ModelResponse, ModelTracing, OutputSchema
from flowcore.models.chat_convert import (
    format_to_chat,
    items_to_messages,
    message_to_items,
    tool_choice_to_chat,
    tools_to_chat,
    usage_from_chat,
)
from flowcore.models.chat_stream import ChatReply
from flowcore.models.openai_advice import openai_advice
from flowcore.models.openai_chat import chat_body, refuse_server_state
from flowcore.models.openai_errors import broke_off, retry_after, timed_out, to_model_error
from flowcore.models.retry import ModelRetryAdvice, ModelRetryAdviceRequest
from flowcore.models.settings import ModelSettings
from flowcore.models.tool_wire import output_format, tool_choice_to_wire, tools_to_wire
from flowcore.models.usage import Usage

if TYPE_CHECKING:
    from types import ModuleType


class LitellmModel(Model):
    """A model that litellm reaches. Needs the extra ``flowcore[litellm]``.

    ``model``: litellm's name for it, e.g. ``anthropic/claude-sonnet-4-5``. ``base_url``, ``api_key``: of its server;
    by default what litellm reads from the environment. litellm's own retries are switched off: each call is one
    request.
    """

    reads_only = True

    def __init__(self, model: str, base_url: str | None = None, api_key: str | None = None) -> None:
        self.model = model
        self.base_url = base_url
        self.api_key = api_key
        self._where = f"model '{model}' through litellm"

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
        with self._mapped(model_settings):
            async with asyncio.timeout(model_settings.timeout):
                answer = await _litellm().acompletion(**body)
        data = answer.model_dump(exclude_none=True)
        choices = data.get("choices")
        if not choices:
            raise ModelError(f"{self._where}: the answer has no choices; check base_url", body=data)
        usage = data.get("usage")
        return ModelResponse(
            output=message_to_items(choices[0].get("message") or {}, choices[0].get("finish_reason")),
            usage=self._priced(usage_from_chat(usage)),
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
        body = self._body(system_instructions, input, model_settings, tools, output_schema, handoffs) | {"stream": True}
        if model_settings.include_usage is not False:
            body["stream_options"] = {"include_usage": True}
        timeout = model_settings.timeout
        deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
        reply = ChatReply(self.model)
        with self._mapped(model_settings):
            async with asyncio.timeout_at(deadline):
                stream = await _litellm().acompletion(**body)
        try:
            while True:
                # The deadline covers each wait, never the time that the reader spends on an event.
                with self._mapped(model_settings):
                    async with asyncio.timeout_at(deadline):
                        chunk = await anext(stream, None)
                if chunk is None:
                    break
                for event in reply.feed(chunk.model_dump(exclude_none=True)):
                    yield event
        finally:
            await stream.aclose()
        if reply.finish_reason is None:
            raise broke_off(self._where, "without a finish_reason")
        for event in reply.finish():
            yield event
        yield ModelResponse(
            output=reply.output,
            usage=self._priced(reply.usage),
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
        """litellm's arguments; what a provider has no word for, litellm refuses by name."""
        body = chat_body(items_to_messages(system_instructions, input, thinking=True), settings)
        wire_tools = tools_to_wire(tools, handoffs)
        if wire_tools:
            body["tools"] = tools_to_chat(wire_tools)
            body["tool_choice"] = tool_choice_to_chat(tool_choice_to_wire(settings, wire_tools))
            body["parallel_tool_calls"] = settings.parallel_tool_calls
        body |= {
            "model": self.model,
            "response_format": format_to_chat(output_format(output_schema)),
            "max_tokens": settings.max_tokens,
            "timeout": settings.timeout,
            "api_base": self.base_url,
            "api_key": self.api_key,
            "extra_headers": settings.extra_headers,
            "extra_query": settings.extra_query,
            "extra_body": settings.extra_body,
            "max_retries": 0,
            "num_retries": 0,
        }
        return {name: value for name, value in body.items() if value is not None} | (settings.extra_args or {})

    def _priced(self, usage: Usage) -> Usage:
        """With its cost, unless the provider told it: by litellm's own table of prices, if the model is in it."""
        if not usage.cost and usage.total_tokens:
            with suppress(Exception):  # litellm raises an Exception for a model that it has no price of
                usage.cost = sum(
                    _litellm().cost_per_token(
                        model=self.model,
                        prompt_tokens=usage.input_tokens,
                        completion_tokens=usage.output_tokens,
                        cache_read_input_tokens=usage.input_tokens_details.cached_tokens,
                        cache_creation_input_tokens=usage.input_tokens_details.cache_write_tokens,
                    )
                )
        return usage

    @contextmanager
    def _mapped(self, settings: ModelSettings) -> Iterator[None]:
        try:
            yield
        except (ModelError, UserError):
            raise
        except TimeoutError as error:
            raise timed_out(self._where, settings.timeout) from error
        except Exception as error:
            mapped = to_model_error(error, where=self._where, timeout_seconds=settings.timeout)
            if mapped is None:
                raise
            _complete(mapped, error)
            raise mapped from error

    def get_retry_advice(self, request: ModelRetryAdviceRequest) -> ModelRetryAdvice | None:
        return openai_advice(request)


def _complete(mapped: ModelError, error: Exception) -> None:
    """litellm's errors keep the answer's headers and its code beside where openai's have them."""
    headers = {
        str(name).lower(): value for name, value in (getattr(error, "litellm_response_headers", None) or {}).items()
    }
    if mapped.retry_after is None:
        mapped.retry_after = retry_after(headers)
    mapped.request_id = mapped.request_id or headers.get("x-request-id")
    if isinstance(mapped.body, Mapping) and isinstance(mapped.body.get("code"), str):
        mapped.code = mapped.body["code"]


def _litellm() -> ModuleType:
    """litellm, at its first use: seconds to import. Raises ``UserError`` when it isn't installed."""
    # It would fetch its table of prices when it's imported, and print advice at each failure.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    try:
        import litellm
    except ImportError as error:
        raise UserError("models named 'litellm/...' need litellm: pip install 'flowcore[litellm]'") from error
    litellm.suppress_debug_info = True
    return litellm
