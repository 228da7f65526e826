"""What a span tells: a class for each kind, with its ``type`` and how it's exported."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any


class SpanData(ABC):
    """What a span tells. ``type``: its kind. ``export()``: the same as a dict."""

    __slots__ = ()

    @property
    @abstractmethod
    def type(self) -> str:
        """The kind of span."""

    @abstractmethod
    def export(self) -> dict[str, Any]:
        """The data as a dict."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.export()}>"


class AgentSpanData(SpanData):
    """An agent at work, from its first turn to its handoff or the end. ``handoffs``, ``tools``: names."""

    __slots__ = ("handoffs", "metadata", "name", "output_type", "tools")
    type = "agent"

    def __init__(
        self,
        name: str,
        handoffs: list[str] | None = None,
        tools: list[str] | None = None,
        output_type: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.handoffs = handoffs
        self.tools = tools
        self.output_type = output_type
        self.metadata = metadata

    def export(self) -> dict[str, Any]:
        return {
            "type": self.type,
            "name": self.name,
            "handoffs": self.handoffs,
            "tools": self.tools,
            "output_type": self.output_type,
        }


class TaskSpanData(SpanData):
    """A whole run of an agent. Exported as a custom span named "task"."""

    __slots__ = ("metadata", "name", "usage")
    type = "task"

    def __init__(self, name: str, usage: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None) -> None:
        self.name = name
        self.usage = usage
        self.metadata = metadata

    def export(self) -> dict[str, Any]:
        return _as_custom("task", {"name": self.name}, self.usage)


class TurnSpanData(SpanData):
    """A model call and what came of it. Exported as a custom span named "turn". ``turn`` counts from 1."""

    __slots__ = ("agent_name", "metadata", "turn", "usage")
    type = "turn"

    def __init__(
        self,
        turn: int,
        agent_name: str,
        usage: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self.turn = turn
        self.agent_name = agent_name
        self.usage = usage
        self.metadata = metadata

    def export(self) -> dict[str, Any]:
        return _as_custom("turn", {"turn": self.turn, "agent_name": self.agent_name}, self.usage)


def _as_custom(kind: str, data: dict[str, Any], usage: dict[str, Any] | None) -> dict[str, Any]:
    data = {"sdk_span_type": kind, **data}
    if usage is not None:
        data["usage"] = usage
    return {"type": "custom", "name": kind, "data": data}


class GenerationSpanData(SpanData):
    """One call of a model. ``input``, ``output``: messages or items. ``usage``: counts of tokens."""

    __slots__ = ("input", "model", "model_config", "output", "usage")
    type = "generation"

    def __init__(
        self,
        input: Sequence[Mapping[str, Any]] | None = None,
        output: Sequence[Mapping[str, Any]] | None = None,
        model: str | None = None,
        model_config: Mapping[str, Any] | None = None,
        usage: dict[str, Any] | None = None,
    ) -> None:
        self.input = input
        self.output = output
        self.model = model
        self.model_config = model_config
        self.usage = usage

    def export(self) -> dict[str, Any]:
        return {
            "type": self.type,
            "input": self.input,
            "output": self.output,
            "model": self.model,
            "model_config": self.model_config,
            "usage": self.usage,
        }


class ResponseSpanData(SpanData):
    """One reply of the Responses API. ``response``: the provider's object; only its id is exported."""

    __slots__ = ("input", "response", "usage")
    type = "response"

    def __init__(self, response: Any = None, input: Any = None, usage: dict[str, Any] | None = None) -> None:
        self.response = response
        self.input = input
        self.usage = usage

    def export(self) -> dict[str, Any]:
        return {"type": self.type, "response_id": getattr(self.response, "id", None), "usage": self.usage}


class FunctionSpanData(SpanData):
    """One call of a tool. ``input``: its arguments, JSON text. ``mcp_data``: of an MCP server's tool."""

    __slots__ = ("input", "mcp_data", "name", "output")
    type = "function"

    def __init__(
        self, name: str, input: str | None, output: Any | None, mcp_data: dict[str, Any] | None = None
    ) -> None:
        self.name = name
        self.input = input
        self.output = output
        self.mcp_data = mcp_data

    def export(self) -> dict[str, Any]:
        return {
            "type": self.type,
            "name": self.name,
            "input": self.input,
            "output": None if self.output is None else str(self.output),
            "mcp_data": self.mcp_data,
        }


class HandoffSpanData(SpanData):
    """The conversation went from one agent to another. Both are names."""

    __slots__ = ("from_agent", "to_agent")
    type = "handoff"

    def __init__(self, from_agent: str | None, to_agent: str | None) -> None:
        self.from_agent = from_agent
        self.to_agent = to_agent

    def export(self) -> dict[str, Any]:
        return {"type": self.type, "from_agent": self.from_agent, "to_agent": self.to_agent}


class GuardrailSpanData(SpanData):
    """A guardrail was asked. ``triggered``: whether it tripped."""

    __slots__ = ("name", "triggered")
    type = "guardrail"

    def __init__(self, name: str, triggered: bool = False) -> None:
        self.name = name
        self.triggered = triggered

    def export(self) -> dict[str, Any]:
        return {"type": self.type, "name": self.name, "triggered": self.triggered}


class CustomSpanData(SpanData):
    """Whatever the app wants to see; ``data`` is a dict of it."""

    __slots__ = ("data", "name")
    type = "custom"

    def __init__(self, name: str, data: dict[str, Any]) -> None:
        self.name = name
        self.data = data

    def export(self) -> dict[str, Any]:
        return {"type": self.type, "name": self.name, "data": self.data}


class MCPListToolsSpanData(SpanData):
    """An MCP server was asked for its tools. ``result``: their names."""

    __slots__ = ("result", "server")
    type = "mcp_tools"

    def __init__(self, server: str | None = None, result: list[str] | None = None) -> None:
        self.server = server
        self.result = result

    def export(self) -> dict[str, Any]:
        return {"type": self.type, "server": self.server, "result": self.result}


class TranscriptionSpanData(SpanData):
    """Speech became text. ``input``: base64 of the audio, in ``input_format``."""

    __slots__ = ("input", "input_format", "model", "model_config", "output")
    type = "transcription"

    def __init__(
        self,
        input: str | None = None,
        input_format: str | None = "pcm",
        output: str | None = None,
        model: str | None = None,
        model_config: Mapping[str, Any] | None = None,
    ) -> None:
        self.input = input
        self.input_format = input_format
        self.output = output
        self.model = model
        self.model_config = model_config

    def export(self) -> dict[str, Any]:
        return {
            "type": self.type,
            "input": {"data": self.input or "", "format": self.input_format},
            "output": self.output,
            "model": self.model,
            "model_config": self.model_config,
        }


class SpeechSpanData(SpanData):
    """Text became speech. ``output``: base64 of the audio, in ``output_format``. ``first_content_at``: ISO time of the
    first audio."""

    __slots__ = ("first_content_at", "input", "model", "model_config", "output", "output_format")
    type = "speech"

    def __init__(
        self,
        input: str | None = None,
        output: str | None = None,
        output_format: str | None = "pcm",
        model: str | None = None,
        model_config: Mapping[str, Any] | None = None,
        first_content_at: str | None = None,
    ) -> None:
        self.input = input
        self.output = output
        self.output_format = output_format
        self.model = model
        self.model_config = model_config
        self.first_content_at = first_content_at

    def export(self) -> dict[str, Any]:
        return {
            "type": self.type,
            "input": self.input,
            "output": {"data": self.output or "", "format": self.output_format},
            "model": self.model,
            "model_config": self.model_config,
            "first_content_at": self.first_content_at,
        }


class SpeechGroupSpanData(SpanData):
    """Several speech spans that belong together."""

    __slots__ = ("input",)
    type = "speech_group"

    def __init__(self, input: str | None = None) -> None:
        self.input = input

    def export(self) -> dict[str, Any]:
        return {"type": self.type, "input": self.input}
