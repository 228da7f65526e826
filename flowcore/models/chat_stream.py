"""A streamed chat put together: chunks in, Responses-style events out, and at the end the same items as unstreamed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flowcore.models.base import Item
from flowcore.models.chat_convert import (
    FILTERED,
    THINKING,
    call_item,
    message_item,
    new_id,
    reasoning_item,
    usage_from_chat,
)
from flowcore.models.events import Event, ReplyEvents
from flowcore.models.usage import Usage


class _Growing:
    """An item that grows: its place in the output, its id, and what has come of it."""

    def __init__(self, index: int, prefix: str) -> None:
        self.index = index
        self.id = new_id(prefix)
        self.text: list[str] = []


class _GrowingCall(_Growing):
    """A tool call that grows. ``head``: everything but its arguments, as the chunks gave it."""

    def __init__(self, index: int) -> None:
        super().__init__(index, "fc")
        self.head: dict[str, Any] = {"id": new_id("call"), "function": {"name": ""}}

    def update(self, call: Mapping[str, Any]) -> str:
        """Take a chunk's part of the call in; the piece of arguments in it."""
        function = call.get("function") or {}
        for name, value in call.items():
            if name not in ("function", "index", "type") and value:
                self.head[name] = value
        # Some servers repeat the name in each chunk, some never send it twice.
        if function.get("name") and not self.head["function"]["name"]:
            self.head["function"]["name"] = function["name"]
        return function.get("arguments") or ""

    def item(self, status: str) -> Item:
        function = {**self.head["function"], "arguments": "".join(self.text)}
        return call_item({**self.head, "function": function}, status, id=self.id)


class ChatReply:
    """Takes a chat's chunks one by one.

    ``finish_reason``: None until the provider has said that the reply is whole. ``finish`` gives the last events;
    after it, ``output`` and ``usage`` are the reply's.
    """

    def __init__(self, model: str) -> None:
        self.model = model
        self.finish_reason: str | None = None
        self.response_id: str | None = None
        self.raw_usage: dict[str, Any] | None = None
        self.output: list[Item] = []
        self.usage = Usage(requests=1)
        self._events: ReplyEvents | None = None
        self._count = 0
        self._reasoning: _Growing | None = None
        self._thought: list[dict[str, Any]] = []
        self._message: _Growing | None = None
        self._refusal: list[str] = []
        self._annotations: list[Any] = []
        self._calls: dict[int, _GrowingCall] = {}

    def feed(self, chunk: Mapping[str, Any]) -> Iterator[Event]:
        """The events that a chunk makes."""
        if self._events is None:
            self.response_id = chunk.get("id")
            self._events = ReplyEvents(self.response_id or new_id("resp"), chunk.get("model") or self.model)
            yield self._events.created()
        if chunk.get("usage"):
            self.raw_usage = chunk["usage"]
        for choice in chunk.get("choices") or ():
            if choice.get("index", 0) == 0:
                yield from self._feed_delta(self._events, choice.get("delta") or {})
                self.finish_reason = choice.get("finish_reason") or self.finish_reason

    def _feed_delta(self, events: ReplyEvents, delta: Mapping[str, Any]) -> Iterator[Event]:
        reasoning = delta.get("reasoning_content") or delta.get("reasoning")
        blocks = delta.get(THINKING) or ()
        if blocks or (isinstance(reasoning, str) and reasoning):
            yield from self._feed_reasoning(events, reasoning if isinstance(reasoning, str) else "")
        for block in blocks:
            self._think(block)
        if delta.get("content"):
            yield from self._feed_text(events, delta["content"])
        if delta.get("refusal"):
            yield from self._feed_refusal(events, delta["refusal"])
        self._annotations += delta.get("annotations") or ()
        for call in delta.get("tool_calls") or ():
            yield from self._feed_call(events, call)

    def _grow(self, prefix: str) -> _Growing:
        growing = _Growing(self._count, prefix)
        self._count += 1
        return growing

    def _feed_reasoning(self, events: ReplyEvents, text: str) -> Iterator[Event]:
        if self._reasoning is None:
            self._reasoning = self._grow("rs")
            empty = {"id": self._reasoning.id, "type": "reasoning", "summary": []}
            yield events.item_added(self._reasoning.index, empty)
        if text:
            self._reasoning.text.append(text)
            yield events.reasoning_delta(self._reasoning.index, self._reasoning.id, text)

    def _think(self, block: Mapping[str, Any]) -> None:
        """Take a piece of a thinking block in. Its signature ends it; a block without text comes whole."""
        last = self._thought[-1] if self._thought else None
        if "thinking" not in block or last is None or "thinking" not in last or last.get("signature"):
            self._thought.append(dict(block))
        else:
            text = last["thinking"] + (block["thinking"] or "")
            last.update({name: value for name, value in block.items() if value}, thinking=text)

    def _open_message(self, events: ReplyEvents) -> Iterator[Event]:
        if self._message is None:
            self._message = self._grow("msg")
            empty = message_item("", "", "in_progress", id=self._message.id) | {"content": []}
            yield events.item_added(self._message.index, empty)

    def _feed_text(self, events: ReplyEvents, text: str) -> Iterator[Event]:
        yield from self._open_message(events)
        message = self._message
        assert message is not None
        if not message.text:
            part = {"type": "output_text", "text": "", "annotations": []}
            yield events.part_added(message.index, message.id, 0, part)
        message.text.append(text)
        yield events.text_delta(message.index, message.id, 0, text)

    def _feed_refusal(self, events: ReplyEvents, text: str) -> Iterator[Event]:
        yield from self._open_message(events)
        message = self._message
        assert message is not None
        part_index = 1 if message.text else 0
        if not self._refusal:
            yield events.part_added(message.index, message.id, part_index, {"type": "refusal", "refusal": ""})
        self._refusal.append(text)
        yield events.refusal_delta(message.index, message.id, part_index, text)

    def _feed_call(self, events: ReplyEvents, call: Mapping[str, Any]) -> Iterator[Event]:
        key = call.get("index", len(self._calls))
        growing = self._calls.get(key)
        known = growing is not None
        if growing is None:
            growing = self._calls[key] = _GrowingCall(self._count)
            self._count += 1
        arguments = growing.update(call)
        if not known:
            yield events.item_added(growing.index, growing.item("in_progress"))
        if arguments:
            growing.text.append(arguments)
            yield events.arguments_delta(growing.index, growing.id, arguments)

    def finish(self) -> Iterator[Event]:
        """The events that end the reply."""
        events = self._events or ReplyEvents(new_id("resp"), self.model)
        if self.finish_reason == "content_filter" and not (self._message or self._calls):
            yield from self._feed_refusal(events, FILTERED)
        if self._count == 0:
            yield from self._open_message(events)
        self.usage = usage_from_chat(self.raw_usage)
        for index, item in sorted(self._items(), key=lambda pair: pair[0]):
            self.output.append(item)
            for part_index, part in enumerate(item.get("content", ())):
                yield events.part_done(index, item["id"], part_index, part)
            yield events.item_done(index, item)
        yield events.completed(self.output, self.usage)

    def _items(self) -> Iterator[tuple[int, Item]]:
        status = "incomplete" if self.finish_reason == "length" else "completed"
        if self._reasoning is not None:
            yield (
                self._reasoning.index,
                reasoning_item("".join(self._reasoning.text), self._reasoning.id, self._thought),
            )
        if self._message is not None:
            item = message_item(
                "".join(self._message.text),
                "".join(self._refusal),
                status,
                id=self._message.id,
                annotations=self._annotations,
            )
            yield self._message.index, item
        for call in self._calls.values():
            yield call.index, call.item(status)
