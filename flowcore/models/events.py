"""The events of a streamed reply, shaped like those of the Responses API. Plain dicts, no I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from flowcore.models.base import Item
from flowcore.models.usage import Usage

Event = dict[str, Any]


class ReplyEvents:
    """Shapes and numbers the events of one reply."""

    def __init__(self, response_id: str, model: str) -> None:
        self.response_id = response_id
        self.model = model
        self._sequence_number = -1

    def _event(self, type: str, **fields: Any) -> Event:
        self._sequence_number += 1
        return {"type": type, "sequence_number": self._sequence_number, **fields}

    def _response(self, status: str, output: Sequence[Item], usage: Usage | None) -> dict[str, Any]:
        return {
            "id": self.response_id,
            "object": "response",
            "model": self.model,
            "status": status,
            "output": list(output),
            "usage": None if usage is None else usage_to_wire(usage),
        }

    def created(self) -> Event:
        return self._event("response.created", response=self._response("in_progress", (), None))

    def item_added(self, index: int, item: Item) -> Event:
        return self._event("response.output_item.added", output_index=index, item=item)

    def part_added(self, index: int, item_id: str, part_index: int, part: dict[str, Any]) -> Event:
        return self._event(
            "response.content_part.added",
            output_index=index,
            item_id=item_id,
            content_index=part_index,
            part=part,
        )

    def text_delta(self, index: int, item_id: str, part_index: int, delta: str) -> Event:
        return self._event(
            "response.output_text.delta",
            output_index=index,
            item_id=item_id,
            content_index=part_index,
            delta=delta,
            logprobs=[],
        )

    def refusal_delta(self, index: int, item_id: str, part_index: int, delta: str) -> Event:
        return self._event(
            "response.refusal.delta",
            output_index=index,
            item_id=item_id,
            content_index=part_index,
            delta=delta,
        )

    def reasoning_delta(self, index: int, item_id: str, delta: str) -> Event:
        return self._event(
            "response.reasoning_summary_text.delta",
            output_index=index,
            item_id=item_id,
            summary_index=0,
            delta=delta,
        )

    def arguments_delta(self, index: int, item_id: str, delta: str) -> Event:
        return self._event("response.function_call_arguments.delta", output_index=index, item_id=item_id, delta=delta)

    def part_done(self, index: int, item_id: str, part_index: int, part: dict[str, Any]) -> Event:
        return self._event(
            "response.content_part.done",
            output_index=index,
            item_id=item_id,
            content_index=part_index,
            part=part,
        )

    def item_done(self, index: int, item: Item) -> Event:
        return self._event("response.output_item.done", output_index=index, item=item)

    def completed(self, output: Sequence[Item], usage: Usage) -> Event:
        return self._event("response.completed", response=self._response("completed", output, usage))

    def whole_item(self, index: int, item: Item, split: Callable[[str], Sequence[str]]) -> Iterator[Event]:
        """The events of an item that is known already; ``split`` cuts its texts into deltas."""
        kind = item.get("type", "message")
        item_id = item.get("id") or item.get("call_id") or ""
        if kind == "message":
            yield self.item_added(index, {**item, "content": [], "status": "in_progress"})
            for part_index, part in enumerate(item["content"]):
                yield from self._whole_part(index, item_id, part_index, part, split)
        elif kind == "function_call":
            yield self.item_added(index, {**item, "arguments": "", "status": "in_progress"})
            for delta in split(item["arguments"]):
                yield self.arguments_delta(index, item_id, delta)
        else:
            yield self.item_added(index, item)
        yield self.item_done(index, item)

    def _whole_part(
        self,
        index: int,
        item_id: str,
        part_index: int,
        part: dict[str, Any],
        split: Callable[[str], Sequence[str]],
    ) -> Iterator[Event]:
        kind = part.get("type")
        if kind == "output_text":
            yield self.part_added(index, item_id, part_index, {**part, "text": ""})
            for delta in split(part["text"]):
                yield self.text_delta(index, item_id, part_index, delta)
        elif kind == "refusal":
            yield self.part_added(index, item_id, part_index, {**part, "refusal": ""})
            for delta in split(part["refusal"]):
                yield self.refusal_delta(index, item_id, part_index, delta)
        else:
            yield self.part_added(index, item_id, part_index, part)
        yield self.part_done(index, item_id, part_index, part)


def usage_to_wire(usage: Usage) -> dict[str, Any]:
    """Usage in the form that a Responses reply has."""
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.input_tokens_details.cached_tokens},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.output_tokens_details.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }
