"""What a model is to the rest of flowcore: two verbs, one reply. Nothing here imports a provider.

Items, in and out, are plain dicts of the OpenAI Responses wire form, kept verbatim. A model needs ``stream_response``;
``get_response`` drains it. ``stream_response`` yields the provider's events (objects of the openai package, or plain
dicts with a ``type``) and, last of all, the ``ModelResponse``: both verbs end in the same reply.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias

from flowcore.errors import ModelBehaviorError
from flowcore.models.usage import Usage

if TYPE_CHECKING:
    from flowcore.models.retry import ModelRetryAdvice, ModelRetryAdviceRequest
    from flowcore.models.settings import ModelSettings

Item: TypeAlias = dict[str, Any]
"""One item of a conversation in the wire form of the OpenAI Responses API."""


def given_back(item: Item) -> Item:
    """An item as its provider takes it back: without ``created_by`` and a status of null, which only a provider writes.
    The same dict where it has neither."""
    if "created_by" not in item and item.get("status", "") is not None:
        return item
    return {name: one for name, one in item.items() if name != "created_by" and (name != "status" or one is not None)}


class ModelTracing(Enum):
    """What a model call may write into traces."""

    DISABLED = 0
    ENABLED = 1
    ENABLED_WITHOUT_DATA = 2

    def is_disabled(self) -> bool:
        return self is ModelTracing.DISABLED

    def include_data(self) -> bool:
        return self is ModelTracing.ENABLED


class ToolSpec(Protocol):
    """What a model needs to know of a function tool (``FunctionTool`` is one)."""

    name: str
    description: str
    params_json_schema: dict[str, Any]
    strict_json_schema: bool


class HandoffSpec(Protocol):
    """What a model needs to know of a handoff (``Handoff`` is one)."""

    tool_name: str
    tool_description: str
    input_json_schema: dict[str, Any]
    strict_json_schema: bool


class OutputSchema(Protocol):
    """What a model needs to know of an output type (``AgentOutputSchemaBase`` is one)."""

    def is_plain_text(self) -> bool: ...
    def name(self) -> str: ...
    def json_schema(self) -> dict[str, Any]: ...
    def is_strict_json_schema(self) -> bool: ...


@dataclass(slots=True)
class ModelResponse:
    """What a model call gives.

    ``output``: items in wire form. ``usage``: tokens of this call. ``response_id``: the provider's id, for
    ``previous_response_id``. ``raw_output``: the very objects that the provider's client made of ``output``, where it
    made any; only in this process, never stored.
    """

    output: list[Item]
    usage: Usage = field(default_factory=Usage)
    response_id: str | None = None
    request_id: str | None = None
    raw_usage: dict[str, Any] | None = None
    raw_output: list[Any] | None = field(default=None, repr=False, compare=False)

    def to_input_items(self) -> list[Item]:
        """The output as input for a next call (the same dicts, not copies)."""
        return list(self.output)


class Model:
    """A model: subclass it and write ``stream_response`` (or both verbs).

    ``reads_only``: it doesn't add to the list of items that it's given. Then it gets the run's own, which can't be
    written to, instead of a copy: what a call costs doesn't grow with what has been. ``span``: the kind of span that a
    trace has of its calls: "response" of a model behind the Responses API, else "generation".
    """

    reads_only: ClassVar[bool] = False
    span: ClassVar[Literal["generation", "response"]] = "generation"

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
        """One reply of the model.

        ``input``: a text, or items in wire form. ``tools``: ``ToolSpec`` objects or hosted tools (with a
        ``to_wire()``).
        Raises ``ModelError`` (the world's fault), ``ModelBehaviorError`` (the model's), ``UserError`` (yours).
        """
        stream = self.stream_response(
            system_instructions,
            input,
            model_settings,
            tools,
            output_schema,
            handoffs,
            tracing,
            previous_response_id=previous_response_id,
            conversation_id=conversation_id,
            prompt=prompt,
        )
        reply: ModelResponse | None = None
        async for event in stream:
            if isinstance(event, ModelResponse):
                reply = event
        if reply is not None:
            return reply
        raise ModelBehaviorError(f"{type(self).__name__}.stream_response ended without a ModelResponse")

    def stream_response(
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
        """The same call, streamed: the provider's events, then the ``ModelResponse``."""
        raise NotImplementedError(f"{type(self).__name__} has to define stream_response")

    def get_retry_advice(self, request: ModelRetryAdviceRequest) -> ModelRetryAdvice | None:
        """What the provider advises after a failed call; None: nothing but what the error tells."""
        return None

    async def close(self) -> None:
        """Give back what the model holds (connections, a local server)."""


class ModelProvider:
    """Finds models by name. Subclass it to bring models of your own, and give it to a run."""

    def get_model(self, model_name: str | None) -> Model:
        """The model of this name; None asks for the default. Raises ``UserError`` for a name it doesn't know."""
        raise NotImplementedError(f"{type(self).__name__} has to define get_model")

    async def aclose(self) -> None:
        """Give back what the models hold."""
