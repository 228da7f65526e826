"""Between items and the messages of Chat Completions. Pure.

A conversion is shallow: texts and unknown parts are shared with the item, never copied, about 1 µs an item. It isn't
kept between calls: an item that a filter has changed in place would be sent as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import uuid4

from flowcore.errors import UserError
from flowcore.models.base import Item
from flowcore.models.usage import Usage

Message = dict[str, Any]

PROVIDER_DATA = "provider_data"
"""Where a function_call item keeps what a provider put beside its tool call, e.g. a signature it wants to see again."""

THINKING = "thinking_blocks"
"""What some providers put beside their reasoning, signed, and want to see again before the calls that it led to."""

_FUNCTION_KEYS = ("name", "description", "parameters", "strict")
_CALL_KEYS = frozenset({"id", "type", "index", "function", "custom"})


class _Messages:
    """Messages as they're being put together.

    ``thinking``: whether the provider wants to see the thinking blocks again that it put beside its reasoning.
    """

    def __init__(self, thinking: bool) -> None:
        self.messages: list[Message] = []
        self.thinking = thinking
        self.thought: list[Any] = []
        self._attachments: list[dict[str, Any]] = []

    def add(self, message: Message) -> None:
        if message["role"] != "tool":
            self.flush()
        if self.thought:
            blocks, self.thought = self.thought, []
            if message["role"] == "assistant":
                message[THINKING] = blocks
        self.messages.append(message)

    def add_tool_call(self, call: dict[str, Any]) -> None:
        """Calls of one reply stand in one message, which is the assistant's last if nothing came after it."""
        last = self.messages[-1] if self.messages else None
        if last is None or last["role"] != "assistant":
            last = {"role": "assistant", "content": None}
            self.add(last)
        last.setdefault("tool_calls", []).append(call)

    def attach(self, parts: list[dict[str, Any]]) -> None:
        """Parts that a tool's message can't hold; they follow as the user's, once all tools have answered."""
        self._attachments += parts

    def flush(self) -> None:
        if self._attachments:
            parts, self._attachments = self._attachments, []
            self.messages.append({"role": "user", "content": parts})


def items_to_messages(
    system_instructions: str | None, input: str | Sequence[Mapping[str, Any]], *, thinking: bool = False
) -> list[Message]:
    """The messages of a chat. ``thinking``: give back the thinking blocks that the provider put beside its reasoning.

    Raises ``UserError`` for an item that Chat Completions has no form for."""
    made = _Messages(thinking)
    if system_instructions is not None:
        made.add({"role": "system", "content": system_instructions})
    if isinstance(input, str):
        made.add({"role": "user", "content": input})
        return made.messages
    for item in input:
        _convert_item(item, made)
    made.flush()
    return made.messages


def _convert_item(item: Mapping[str, Any], made: _Messages) -> None:
    kind = item.get("type", "message")
    convert = _CONVERTERS.get(kind)
    if convert is None:
        raise UserError(
            f"an item of type '{kind}' can't be sent through Chat Completions; use OpenAIResponsesModel, or leave "
            "such items out (a handoff's input_filter, call_model_input_filter)"
        )
    convert(item, made)


def _message(item: Mapping[str, Any], made: _Messages) -> None:
    role, content = item["role"], item["content"]
    if role == "assistant":
        made.add(_assistant_message(content))
    elif isinstance(content, str):
        made.add({"role": role, "content": content})
    else:
        made.add({"role": role, "content": [part_to_chat(part) for part in content]})


def _assistant_message(content: str | Sequence[Mapping[str, Any]]) -> Message:
    if isinstance(content, str):
        return {"role": "assistant", "content": content}
    texts = [part["text"] for part in content if "text" in part]
    refusals = [part["refusal"] for part in content if part.get("type") == "refusal"]
    message: Message = {"role": "assistant", "content": "".join(texts) if texts else None}
    if refusals:
        message["refusal"] = "".join(refusals)
    return message


def _function_call(item: Mapping[str, Any], made: _Messages) -> None:
    made.add_tool_call(
        {
            **item.get(PROVIDER_DATA, {}),
            "id": item["call_id"],
            "type": "function",
            "function": {"name": item["name"], "arguments": item["arguments"]},
        }
    )


def _custom_tool_call(item: Mapping[str, Any], made: _Messages) -> None:
    custom = {"name": item["name"], "input": item["input"]}
    made.add_tool_call({"id": item["call_id"], "type": "custom", "custom": custom})


def _tool_output(item: Mapping[str, Any], made: _Messages) -> None:
    output = item["output"]
    if isinstance(output, str):
        content: Any = output
    else:
        parts = [part_to_chat(part) for part in output]
        content = [part for part in parts if part["type"] == "text"]
        attachments = [part for part in parts if part["type"] != "text"]
        made.attach(attachments)
        if not content:
            content = "The output follows." if attachments else ""
    made.add({"role": "tool", "tool_call_id": item["call_id"], "content": content})


def _reasoning(item: Mapping[str, Any], made: _Messages) -> None:
    """A chat has no place for it; its blocks go with the message that it led to."""
    if made.thinking:
        made.thought = list(item.get(PROVIDER_DATA, {}).get(THINKING, ()))


_CONVERTERS: dict[str, Callable[[Mapping[str, Any], _Messages], None]] = {
    "message": _message,
    "function_call": _function_call,
    "custom_tool_call": _custom_tool_call,
    "function_call_output": _tool_output,
    "custom_tool_call_output": _tool_output,
    "reasoning": _reasoning,
}


def part_to_chat(part: Mapping[str, Any]) -> dict[str, Any]:
    """A part of a message's content; one that isn't of the Responses API goes through as it is."""
    kind = part.get("type")
    if kind in ("input_text", "output_text"):
        return {"type": "text", "text": part["text"]}
    if kind == "input_image":
        return _image_to_chat(part)
    if kind == "input_file":
        return _file_to_chat(part)
    return dict(part)


def _image_to_chat(part: Mapping[str, Any]) -> dict[str, Any]:
    if not part.get("image_url"):
        raise UserError(
            "an input_image with a file_id can't be sent through Chat Completions; give its image_url (an address or "
            "a data: URL), or use OpenAIResponsesModel"
        )
    image = {"url": part["image_url"]}
    if part.get("detail"):
        image["detail"] = part["detail"]
    return {"type": "image_url", "image_url": image}


def _file_to_chat(part: Mapping[str, Any]) -> dict[str, Any]:
    file = {name: part[name] for name in ("file_data", "file_id", "filename") if part.get(name)}
    if "file_data" not in file and "file_id" not in file:
        raise UserError(
            "an input_file with a file_url can't be sent through Chat Completions; give its file_data or file_id, or "
            "use OpenAIResponsesModel"
        )
    return {"type": "file", "file": file}


def tools_to_chat(tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Tools in wire form as a chat has them. Raises ``UserError`` for what a chat can't have: hosted tools, namespaces,
    tools that only code may call."""
    converted = []
    for tool in tools:
        if tool.get("type") == "namespace":
            raise UserError(
                f"the namespace '{tool['name']}' can't be sent through Chat Completions; use OpenAIResponsesModel, or "
                "give its tools without a namespace"
            )
        if tool.get("type") != "function":
            raise UserError(
                f"the hosted tool '{tool.get('type')}' runs at OpenAI's Responses API; use OpenAIResponsesModel, or "
                "a function tool in its place"
            )
        if "direct" not in tool.get("allowed_callers", ("direct",)):
            raise UserError(
                f"the tool '{tool['name']}' may be called by code only, and in Chat Completions the model calls; use "
                "OpenAIResponsesModel, or allow 'direct'"
            )
        function = tool.get("function") or {name: tool[name] for name in _FUNCTION_KEYS if name in tool}
        converted.append({"type": "function", "function": function})
    return converted


def tool_choice_to_chat(choice: Any) -> Any:
    """A choice in wire form as a chat has it."""
    if isinstance(choice, Mapping) and choice.get("type") == "function" and "name" in choice:
        return {"type": "function", "function": {"name": choice["name"]}}
    return choice


def format_to_chat(format: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """An output format in wire form as a chat's ``response_format``."""
    if format is None:
        return None
    return {
        "type": "json_schema",
        "json_schema": {name: value for name, value in format.items() if name != "type"},
    }


def message_to_items(message: Mapping[str, Any], finish_reason: str | None) -> list[Item]:
    """The items in a chat's reply: reasoning, the message, the calls."""
    status = "incomplete" if finish_reason == "length" else "completed"
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    text, refusal = message.get("content") or "", message.get("refusal") or ""
    reasoning = reasoning if isinstance(reasoning, str) else ""
    blocks = message.get(THINKING)
    items = [reasoning_item(reasoning, blocks=blocks)] if reasoning or blocks else []
    if not text and not refusal and finish_reason == "content_filter":
        refusal = FILTERED
    if text or refusal:
        items.append(message_item(text, refusal, status, annotations=message.get("annotations")))
    items += [call_item(call, status) for call in message.get("tool_calls") or ()]
    # A reply of nothing is a message of nothing: what the reply means is for the agent's loop to say.
    return items or [message_item("", "", status)]


FILTERED = "The provider's content filter stopped the reply."
"""The refusal of a reply that a provider's filter has emptied."""


def new_id(prefix: str) -> str:
    """An id for an item; a chat gives none to its parts."""
    return f"{prefix}_{uuid4().hex}"


def reasoning_item(text: str, id: str | None = None, blocks: Sequence[Any] | None = None) -> Item:
    """What a model thought, where a chat tells it. ``blocks``: its thinking blocks, kept under ``provider_data``."""
    item = {
        "id": id or new_id("rs"),
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": text}] if text else [],
    }
    return item | {PROVIDER_DATA: {THINKING: list(blocks)}} if blocks else item


def message_item(
    text: str, refusal: str, status: str, *, id: str | None = None, annotations: Sequence[Any] | None = None
) -> Item:
    """An assistant's message; without a refusal it has a text, if an empty one."""
    content: list[dict[str, Any]] = []
    if text or not refusal:
        content.append({"type": "output_text", "text": text, "annotations": list(annotations or ())})
    if refusal:
        content.append({"type": "refusal", "refusal": refusal})
    return {
        "id": id or new_id("msg"),
        "type": "message",
        "role": "assistant",
        "status": status,
        "content": content,
    }


def call_item(call: Mapping[str, Any], status: str, id: str | None = None) -> Item:
    """A tool call; what its provider put beside it is kept under ``provider_data``."""
    extra = {name: value for name, value in call.items() if name not in _CALL_KEYS}
    call_id = call.get("id") or new_id("call")
    custom = call.get("custom")
    if custom:
        item: Item = {"type": "custom_tool_call", "name": custom.get("name"), "input": custom.get("input", "")}
    else:
        function = call.get("function") or {}
        item = {
            "type": "function_call",
            "name": function.get("name") or "",
            "arguments": function.get("arguments") or "",
            "status": status,
        }
    item |= {"id": id or new_id("fc"), "call_id": call_id}
    return item | {PROVIDER_DATA: extra} if extra else item


def usage_from_chat(usage: Mapping[str, Any] | None) -> Usage:
    """The usage of one request, from a chat's ``usage``."""
    return Usage.of_request(usage, "prompt", "completion")
