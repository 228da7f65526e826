"""Short ways to call a model, and stand-ins for what the agents' room brings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from flowcore.models import (
    Model,
    ModelResponse,
    ModelSettings,
    ModelTracing,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
)


@dataclass
class Tool:
    name: str
    description: str = "A tool."
    params_json_schema: dict[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})
    strict_json_schema: bool = True


@dataclass
class Handoff:
    tool_name: str
    tool_description: str = "A handoff."
    input_json_schema: dict[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})
    strict_json_schema: bool = True


@dataclass
class Hosted:
    wire: dict[str, Any]

    def to_wire(self) -> dict[str, Any]:
        return self.wire


@dataclass
class Output:
    schema: dict[str, Any]

    def is_plain_text(self) -> bool:
        return False

    def name(self) -> str:
        return "list[int]"

    def json_schema(self) -> dict[str, Any]:
        return self.schema

    def is_strict_json_schema(self) -> bool:
        return True


WEATHER = Tool(
    "get_weather",
    "The weather in a city.",
    {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
)


def arguments(input: Any, **given: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    settings = given.pop("settings", None) or ModelSettings()
    positional = (
        given.pop("system", None),
        input,
        settings,
        given.pop("tools", []),
        given.pop("output", None),
        given.pop("handoffs", []),
        ModelTracing.DISABLED,
    )
    return positional, given


async def ask(model: Model, input: Any, **given: Any) -> ModelResponse:
    positional, keywords = arguments(input, **given)
    return await model.get_response(*positional, **keywords)


async def listen(model: Model, input: Any, **given: Any) -> tuple[list[Any], ModelResponse]:
    """The events of a streamed call, and its reply."""
    positional, keywords = arguments(input, **given)
    said = [event async for event in model.stream_response(*positional, **keywords)]
    assert isinstance(said[-1], ModelResponse)
    return said[:-1], said[-1]


def kind(event: Any) -> str:
    name: str = event["type"] if isinstance(event, dict) else event.type
    return name


def deltas(events: list[Any]) -> list[str]:
    found = [event for event in events if kind(event) == "response.output_text.delta"]
    return [event["delta"] if isinstance(event, dict) else event.delta for event in found]


def text_of(response: ModelResponse) -> str:
    return "".join(
        part["text"]
        for item in response.output
        if item["type"] == "message"
        for part in item["content"]
        if part["type"] == "output_text"
    )


def model_for(verb: str, client: Any) -> Any:
    """One of the two OpenAI models, over a client."""
    classes = {"responses": OpenAIResponsesModel, "chat": OpenAIChatCompletionsModel}
    return classes[verb]("m", client)
