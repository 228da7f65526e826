"""Nested handoff history: the next agent reads what has been as one message of the assistant, a numbered transcript.

A transcript that is itself handed on is taken apart again, so summaries stay flat however often agents change.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic_core import to_jsonable_python

from flowcore.agents.handoffs import (
    Handoff,
    HandoffHistoryMapper,
    HandoffInputData,
    filtered,
    history_items,
    wire,
)
from flowcore.errors import UserError
from flowcore.models.base import Item

INTRODUCTION = "What the user and the agents before you have said and done so far:"
"""The summary's first line."""
NOTHING = "(no previous turns recorded)"
"""What a summary of nothing says."""
_WRAPPERS = ("<CONVERSATION HISTORY>", "</CONVERSATION HISTORY>")
_SUMMARIZED = frozenset({"function_call", "function_call_output", "reasoning"})
"""Items that the next agent only reads of: they'd be no input without the agent that they belong to."""


class _Wrappers:
    """The lines around a transcript, for the whole process."""

    start, end = _WRAPPERS


def set_conversation_history_wrappers(*, start: str | None = None, end: str | None = None) -> None:
    """Change the lines before and after a transcript, in this process. None leaves one as it is."""
    if start is not None:
        _Wrappers.start = start
    if end is not None:
        _Wrappers.end = end


def reset_conversation_history_wrappers() -> None:
    """Go back to ``<CONVERSATION HISTORY>`` and ``</CONVERSATION HISTORY>``."""
    _Wrappers.start, _Wrappers.end = _WRAPPERS


def get_conversation_history_wrappers() -> tuple[str, str]:
    """The lines before and after a transcript."""
    return _Wrappers.start, _Wrappers.end


# --- what a handoff's next agent sees ---------------------------------------------------------------------------------


async def handed_over(
    handoff: Handoff,
    data: HandoffInputData,
    *,
    input_filter: Any = None,
    nest: bool = False,
    history_mapper: HandoffHistoryMapper | None = None,
) -> HandoffInputData:
    """What the next agent sees of ``data``; ``data`` itself where nothing is declared.

    The handoff's filter goes first, then the run's (``input_filter``), then nesting: as the handoff says, else the run
    (``nest``, ``history_mapper``). Raises UserError for a filter that is none or gives something else.
    """
    chooser = handoff.input_filter if handoff.input_filter is not None else input_filter
    if chooser is not None:
        return await filtered(chooser, data)
    if nest if handoff.nest_handoff_history is None else handoff.nest_handoff_history:
        return nest_handoff_history(data, history_mapper=history_mapper)
    return data


def changes(handoff: Handoff, *, input_filter: Any = None, nest: bool = False) -> bool:
    """Whether ``handed_over`` would do anything for this handoff."""
    own = handoff.nest_handoff_history
    return handoff.input_filter is not None or input_filter is not None or bool(nest if own is None else own)


def nest_handoff_history(
    handoff_input_data: HandoffInputData, *, history_mapper: HandoffHistoryMapper | None = None
) -> HandoffInputData:
    """The conversation as a summary: an ``input_filter``.

    The run's input and what the agents before said and called become one message, and so do the last agent's calls and
    reasoning; its messages, and items that aren't calls of functions, are handed on as they are, in their places.
    ``history_mapper`` makes the history of the whole conversation instead. ``new_items`` stay whole for the session.
    Raises UserError: the mapper gives no items.
    """
    history = _flat(history_items(handoff_input_data.input_history))
    before = _wires(handoff_input_data.pre_handoff_items)
    new = _wires(handoff_input_data.new_items)
    if history_mapper is None:
        nested = _in_segments(history, before, new)
    else:
        nested = _mapped(history_mapper, [*history, *before, *new])
    return handoff_input_data.clone(input_history=tuple(nested), pre_handoff_items=(), input_items=())


def default_handoff_history_mapper(transcript: list[Item]) -> list[Item]:
    """One message of the assistant that tells of the whole transcript, an item a line."""
    start, end = get_conversation_history_wrappers()
    lines = [f"{i}. {_line(item)}" for i, item in enumerate(transcript, 1)] or [NOTHING]
    return [{"role": "assistant", "content": "\n".join([INTRODUCTION, start, *lines, end])}]


def _wires(items: Iterable[Any]) -> list[Item]:
    """Items in wire form; a call that waits for a person isn't one."""
    return [wire(one) for one in items if getattr(one, "type", None) != "tool_approval_item"]


def _mapped(mapper: HandoffHistoryMapper, transcript: list[Item]) -> list[Item]:
    mapped: Any = mapper(transcript)
    if not isinstance(mapped, (list, tuple)):
        raise UserError(f"a handoff_history_mapper gives a list of items, not a {type(mapped).__name__}")
    return [wire(one) for one in mapped]


def _in_segments(history: list[Item], before: list[Item], new: list[Item]) -> list[Item]:
    """Summaries, and between them the items that are handed on."""
    nested: list[Item] = []
    segment = list(history)
    told = [*((item, _is_told_of(item) or item.get("role") == "assistant") for item in before)]
    told += [(item, _is_told_of(item)) for item in new]
    for item, summarized in told:
        if summarized:
            segment.append(item)
            continue
        if segment or not nested:
            nested += default_handoff_history_mapper(segment)
            segment = []
        nested.append(item)
    if segment or not nested:
        nested += default_handoff_history_mapper(segment)
    return nested


def _is_told_of(item: Item) -> bool:
    return "role" not in item and item.get("type") in _SUMMARIZED


# --- the transcript ---------------------------------------------------------------------------------------------------

_SPEAKER = re.compile(r"(?P<role>\w+)(?: \((?P<name>[^()\n]+)\))?: ?(?P<content>.*)", re.DOTALL)
_NUMBER = re.compile(r"\d+\. ")


def _line(item: Item) -> str:
    """An item on one line: ``role (name): text`` of a plain message, else JSON."""
    content, role, name = item.get("content"), item.get("role"), item.get("name") or ""
    plain = isinstance(role, str) and (content is None or isinstance(content, str))
    if plain:
        line = f"{role} ({name}): {content or ''}" if name else f"{role}: {content or ''}"
        if "\n" not in line and "\r" not in line and _spoken(line) == (role, name, content or ""):
            return line
    return json.dumps(to_jsonable_python(item, fallback=str), ensure_ascii=False)


def _spoken(line: str) -> tuple[str, str, str] | None:
    """Role, name and text of a line."""
    found = _SPEAKER.fullmatch(line)
    return None if found is None else (found["role"], found["name"] or "", found["content"])


def _flat(items: Sequence[Item]) -> list[Item]:
    """The items, with what they tell of in place of summaries."""
    flat: list[Item] = []
    for item in items:
        told = _told_by(item)
        flat += [item] if told is None else told
    return flat


def _told_by(item: Item) -> list[Item] | None:
    """The items that a summary tells of; None of an item that isn't one. Only the assistant's whole message is."""
    content = item.get("content")
    if item.get("role") != "assistant" or not isinstance(content, str):
        return None
    start, end = get_conversation_history_wrappers()
    head, tail = f"{INTRODUCTION}\n{start}\n", f"\n{end}"
    if not (content.startswith(head) and content.endswith(tail) and len(content) >= len(head) + len(tail)):
        return None
    body = content[len(head) : -len(tail)]
    if body == NOTHING:
        return []
    told: list[Item] = []
    for line in body.split("\n"):
        number = _NUMBER.match(line)
        one = None if number is None else _item(line[number.end() :])
        if one is None:
            return None  # not of our making: a message like another
        told.append(one)
    return told


def _item(line: str) -> Item | None:
    if line.startswith("{"):
        try:
            value = json.loads(line)
        except ValueError:
            return None
        return value if isinstance(value, dict) else None
    spoken = _spoken(line)
    if spoken is None:
        return None
    role, name, content = spoken
    return {"role": role, **({"name": name} if name else {}), "content": content}
