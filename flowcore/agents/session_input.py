"""A run's first input, made from a session's history and what is new. Nothing here reads or writes a session."""

from __future__ import annotations

import copy
import inspect
import json
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, NamedTuple, TypeAlias

from flowcore.agents.session import checked_limit
from flowcore.errors import UserError
from flowcore.models.base import Item

SessionInputCallback: TypeAlias = Callable[[list[Item], list[Item]], list[Item] | Awaitable[list[Item]]]
"""``(history, new) -> input``: what the model is given, made of both lists. It may leave out, reorder and change."""

CALL_OF = {
    "function_call_output": "function_call",
    "custom_tool_call_output": "custom_tool_call",
    "computer_call_output": "computer_call",
    "shell_call_output": "shell_call",
    "local_shell_call_output": "local_shell_call",
    "apply_patch_call_output": "apply_patch_call",
    "tool_search_output": "tool_search_call",
    "program_output": "program",
    "mcp_approval_response": "mcp_approval_request",
}
"""The type of an answer, and the type of what it answers."""
ANSWERED_HERE = frozenset(CALL_OF.values()) - {"mcp_approval_request"}
"""Calls that a provider refuses to read without their output. An approval may stay open."""


def limited(items: Sequence[Item], limit: int | None) -> list[Item]:
    """The latest ``limit`` items (None: all, untouched), less the outputs whose call fell away: no provider takes
    those."""
    if checked_limit(limit) is None:
        return list(items)
    window = list(items[-limit:]) if limit else []
    calls = {one for item in window for one in _call_keys(item)}
    return [item for item in window if not (answered := _answered(item)) or answered & calls]


def without_open_calls(items: Sequence[Item]) -> list[Item]:
    """The items, less the calls that nothing answers and the reasoning that led to them alone.

    A conversation that was cut short, by a limit, a pause or a crash, may end in such a call; no provider takes it.
    """
    answers = {one for item in items for one in _answered(item)}
    kept: list[Item] = []
    for item in items:
        keys = _call_keys(item)
        if item.get("type") in ANSWERED_HERE and keys and answers.isdisjoint(keys) and not _on_server(item):
            while kept and kept[-1].get("type") == "reasoning":
                kept.pop()
        else:
            kept.append(item)
    return kept


def _call_keys(item: Item) -> set[tuple[str, str]]:
    """Under what a call may be answered: its type and its call id, or its own id."""
    kind = item.get("type")
    if kind not in CALL_OF.values():
        return set()
    names = ("id",) if kind == "mcp_approval_request" else ("call_id", "id")
    return {(str(kind), value) for name in names if isinstance(value := item.get(name), str)}


def _answered(item: Item) -> set[tuple[str, str]]:
    """What an output answers: one call, under either of its names; nothing for other items."""
    call = CALL_OF.get(str(item.get("type")))
    if call is None:
        return set()
    if call == "mcp_approval_request":
        return {(call, str(item.get("approval_request_id")))}
    value = item.get("call_id") or item.get("id")
    return {(call, value)} if isinstance(value, str) else set()  # a provider's own search names no call


def _on_server(item: Item) -> bool:
    """A search that the provider does by itself."""
    return item.get("type") == "tool_search_call" and item.get("execution") != "client"


class Merged(NamedTuple):
    """A run's input. ``items``: what the model is given. ``is_new``: for each, whether it's input of this turn, so
    that the session should keep it. ``position``: for each, its place in the history if it's an unchanged item of it.
    """

    items: list[Item]
    is_new: list[bool]
    position: list[int | None]

    @property
    def new(self) -> list[Item]:
        """The input of this turn: what the session should keep."""
        return [item for item, new in zip(self.items, self.is_new, strict=True) if new]


async def merge_input(
    history: Sequence[Item], new: Sequence[Item], callback: SessionInputCallback | None = None
) -> Merged:
    """A run's input: the history and then what is new, or what ``callback(history, new)`` makes of them.

    The callback is given copies, and may be async. Each item that it returns is told by identity, if it's one of the
    objects it was given, else by its content as often as that content was given (the history first); what is neither,
    say an item it changed or made, counts as new. Raises UserError for a callback that returns something else than a
    list of items, and whatever the callback raises.
    """
    if callback is None:
        old = len(history)
        return Merged(
            [*history, *new],
            [False] * old + [True] * len(new),
            [*range(old), *[None] * len(new)],
        )
    if not callable(callback):
        raise UserError(
            f"Invalid `session_input_callback` value: {callback!r}."
            " Choose between `None` or a custom callable function."
        )
    given_old, given_new = copy.deepcopy(list(history)), copy.deepcopy(list(new))
    made = callback(list(given_old), list(given_new))
    if inspect.isawaitable(made):
        made = await made
    _refuse_others(made)
    assert isinstance(made, list)
    return _told(made, given_old, given_new, list(history))


def _refuse_others(made: Any) -> None:
    rule = "Session input callback must return a list of input items."
    if not isinstance(made, list):
        raise UserError(f"{rule} It returned {type(made).__name__}.")
    for place, item in enumerate(made):
        if not isinstance(item, dict):
            raise UserError(f"{rule} Item {place} is {type(item).__name__}, not a dict.")


def _told(made: list[Item], old: list[Item], new: list[Item], history: list[Item]) -> Merged:
    """Which of the returned items are old and which are new."""
    old_at = {id(item): place for place, item in enumerate(old)}
    new_ids = {id(item) for item in new}
    is_new: list[bool] = [False] * len(made)
    position: list[int | None] = [None] * len(made)
    unknown: list[int] = []
    used: set[int] = set()
    for at, item in enumerate(made):
        if id(item) in new_ids:
            is_new[at] = True
            used.add(id(item))
        elif id(item) in old_at:
            place = old_at[id(item)]
            position[at] = place if item == history[place] else None
            used.add(id(item))
        else:
            unknown.append(at)
    by_content: defaultdict[Hashable, deque[int]] = defaultdict(deque)
    if unknown:
        for place, item in enumerate(old):
            if id(item) not in used:
                by_content[_content(history[place])].append(place)
    for at in unknown:
        places = by_content[_content(made[at])]
        if places:
            position[at] = places.popleft()
        else:
            is_new[at] = True
    return Merged(made, is_new, position)


def _content(item: Item) -> str:
    return json.dumps(item, sort_keys=True, default=repr)
