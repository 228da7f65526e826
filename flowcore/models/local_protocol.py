"""How tools are put to a small local model, and its answers read. Pure.

Such models don't call tools dependably by the API's own means. So the tools are listed in the system prompt,
and a JSON schema constrains the answer to ``{"tool": NAME, "arguments": {...}}`` for one of them, or
``{"final_answer": ...}``: a call is valid by construction; which one is still the model's choice. What tools
answered is told in plain words.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json

from flowcore.errors import ModelBehaviorError, UserError
from flowcore.models.base import Item
from flowcore.models.chat_convert import Message, call_item, message_item, new_id, usage_from_chat
from flowcore.models.events import Event, ReplyEvents
from flowcore.models.local_schema import bounded
from flowcore.models.usage import Usage

FINAL = "final_answer"
_LONGEST_ARGUMENT = 256


@dataclass(frozen=True, slots=True)
class Question:
    """What the model may answer: which tools it may call, whether it may answer, and in what form.

    ``tools``: function tools in wire form, listed to the model. ``callable``: whether it may call one. ``final``:
    whether a final answer is allowed. ``format``: its JSON schema, None for text. Without tools, ``schema`` is that
    of the answer itself, and None for plain text.
    """

    tools: tuple[dict[str, Any], ...]
    final: bool
    format: dict[str, Any] | None
    callable: bool = True

    def schema(self) -> dict[str, Any] | None:
        """The JSON schema of the whole answer."""
        definitions: dict[str, Any] = {}
        if not self.tools:
            if self.format is None:
                return None
            schema = bounded(self.format, definitions, "output.")
        else:
            branches = [_tool_branch(tool, definitions) for tool in self.tools if self.callable]
            if self.final:
                text = {"type": "string"} if self.format is None else self.format
                branches.append(_closed({FINAL: bounded(text, definitions, "output.")}))
            schema = {"anyOf": branches} if len(branches) > 1 else branches[0]
        return {**schema, "$defs": definitions} if definitions else schema


def ask(tools: Sequence[Mapping[str, Any]], choice: Any, format: dict[str, Any] | None) -> Question:
    """What a ``tool_choice`` in wire form leaves open. Raises ``UserError`` for tools that can't run here."""
    for tool in tools:
        if tool.get("type") != "function":
            raise UserError(
                f"the hosted tool '{tool.get('type')}' can't run beside a LocalModel; give a function tool in its place"
            )
    functions = tuple(dict(tool) for tool in tools)
    if choice == "none":
        return Question((), True, format)
    if choice == "required":
        return Question(functions, not functions, format)
    if isinstance(choice, Mapping):
        forced = tuple(tool for tool in functions if tool["name"] == choice.get("name"))
        if not forced:
            known = ", ".join(repr(tool["name"]) for tool in functions) or "none"
            raise UserError(f"tool_choice names {choice.get('name')!r}, but the tools are: {known}")
        return Question(forced, False, format)
    return Question(functions, True, format)


def tool_rounds(input: str | Sequence[Mapping[str, Any]]) -> int:
    """How many times tools have answered since the user spoke last; answers to one reply's calls count once."""
    if isinstance(input, str):
        return 0
    rounds = 0
    after = ""
    for item in reversed(input):
        if item.get("role") == "user":
            break
        kind = item.get("type", "message")
        rounds += kind == "function_call_output" and after != kind
        after = kind
    return rounds


def _tool_branch(tool: Mapping[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    parameters = tool.get("parameters") or {"type": "object", "properties": {}}
    arguments = bounded(parameters, definitions, f"{tool['name']}.", _LONGEST_ARGUMENT)
    return _closed({"tool": {"const": tool["name"]}, "arguments": arguments})


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def messages_for(
    system_instructions: str | None, input: str | Sequence[Mapping[str, Any]], question: Question
) -> list[Message]:
    """The chat in words that any template knows: system, user and assistant, neighbours of one role joined."""
    messages: list[Message] = []
    system = "\n\n".join(part for part in (system_instructions, _tools_in_words(question)) if part)
    if system:
        messages.append({"role": "system", "content": system})
    items = [{"role": "user", "content": input}] if isinstance(input, str) else input
    names: dict[str, str] = {}
    for item in items:
        said = _in_words(item, names)
        if said is None:
            continue
        role, text = said
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += "\n\n" + text
        else:
            messages.append({"role": role, "content": text})
    return messages


def _tools_in_words(question: Question) -> str:
    if not question.tools:
        return ""
    lines = ["You can use these tools:"]
    for tool in question.tools:
        parameters = tool.get("parameters") or {}
        arguments = json.dumps(parameters.get("properties", {}), ensure_ascii=False)
        lines.append(f"- {tool['name']}: {tool.get('description') or ''} Arguments: {arguments}")
    lines.append("")
    lines.append("Reply with one JSON object and nothing else:")
    call = '{"tool": "<name of the tool>", "arguments": {...}} to call a tool'
    answer = f'{{"{FINAL}": "<your answer>"}} to answer'
    allowed = [call] * question.callable + [answer] * question.final
    lines.append(", or\n".join(allowed) + ".")
    return "\n".join(lines)


def _in_words(item: Mapping[str, Any], names: dict[str, str]) -> tuple[str, str] | None:
    """Who says what in an item; None for one that the model needn't see. ``names``: of the calls seen so far."""
    kind = item.get("type", "message")
    if kind == "message":
        role = item["role"]
        return ("system" if role == "developer" else role), _text_of(item["content"])
    if kind == "function_call":
        names[item["call_id"]] = item["name"]
        return "assistant", f'{{"tool": {json.dumps(item["name"])}, "arguments": {item["arguments"] or "{}"}}}'
    if kind == "function_call_output":
        name = names.get(item["call_id"], "tool")
        return "user", f"The tool {name} answered: {_text_of(item['output'])}"
    if kind == "reasoning":
        return None
    raise UserError(f"an item of type '{kind}' can't be put to a LocalModel; leave such items out")


def _text_of(content: str | Sequence[Mapping[str, Any]]) -> str:
    if isinstance(content, str):
        return content
    texts = [part.get("text", part.get("refusal")) for part in content]
    if None in texts:
        kinds = ", ".join(sorted({str(part.get("type")) for part in content} - {"input_text", "output_text"}))
        raise UserError(f"LocalModel reads text only, not {kinds}; leave it out or use another model")
    return "\n".join(str(text) for text in texts)


class ToolReply:
    """Takes the chunks of an answer that follows a ``Question`` with tools; the same face as ``ChatReply``."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.finish_reason: str | None = None
        self.raw_usage: dict[str, Any] | None = None
        self.output: list[Item] = []
        self.usage = Usage(requests=1)
        self._events: ReplyEvents | None = None
        self._json = ""
        self._said = ""
        self._message_id = new_id("msg")

    def feed(self, chunk: Mapping[str, Any]) -> Iterator[Event]:
        """The events that a chunk makes: those of the final answer's text, as it grows."""
        if self._events is None:
            self._events = ReplyEvents(chunk.get("id") or new_id("resp"), self.model)
            yield self._events.created()
        if chunk.get("usage"):
            self.raw_usage = chunk["usage"]
        for choice in chunk.get("choices") or ():
            self.finish_reason = choice.get("finish_reason") or self.finish_reason
            self._json += (choice.get("delta") or {}).get("content") or ""
        yield from self._say(self._events, _final_so_far(self._json))

    def _say(self, events: ReplyEvents, text: str) -> Iterator[Event]:
        if len(text) <= len(self._said):
            return
        if not self._said:
            empty = message_item("", "", "in_progress", id=self._message_id) | {"content": []}
            yield events.item_added(0, empty)
            yield events.part_added(0, self._message_id, 0, {"type": "output_text", "text": "", "annotations": []})
        yield events.text_delta(0, self._message_id, 0, text[len(self._said) :])
        self._said = text

    def finish(self) -> Iterator[Event]:
        """The events that end the reply. Raises ``ModelBehaviorError`` for an answer that can't be read."""
        events = self._events or ReplyEvents(new_id("resp"), self.model)
        answer = self._read()
        self.usage = usage_from_chat(self.raw_usage)
        if "tool" in answer:
            call = {"function": {"name": answer["tool"], "arguments": json.dumps(answer["arguments"])}}
            item = call_item(call, "completed")
            yield from events.whole_item(0, item, lambda text: [text])
        else:
            value = answer[FINAL]
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            status = "incomplete" if self.finish_reason == "length" else "completed"
            item = message_item(text, "", status, id=self._message_id)
            yield from self._say(events, text)
            yield events.part_done(0, item["id"], 0, item["content"][0])
            yield events.item_done(0, item)
        self.output = [item]
        yield events.completed(self.output, self.usage)

    def _read(self) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = from_json(self._json)
        except ValueError as error:
            if self._said:  # cut in the middle of its final answer: what there is of it is worth having
                return {FINAL: self._said}
            raise ModelBehaviorError(
                f"model '{self.model}' was cut off before its answer was whole ({self.finish_reason}): "
                f"{self._json[-200:]!r}; raise ModelSettings(max_tokens=...), or n_ctx if the history is long"
            ) from error
        return answer


def _final_so_far(text: str) -> str:
    """The final answer's text in the beginning of a JSON answer; empty if it isn't one."""
    try:
        answer = from_json(text, allow_partial="trailing-strings")
    except ValueError:
        return ""
    value = answer.get(FINAL) if isinstance(answer, dict) else None
    return value if isinstance(value, str) else ""
