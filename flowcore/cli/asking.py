"""Asking a person: what a run waits for, in words, and the answer from the terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from flowcore.cli import words
from flowcore.cli.keyboard import typed_line
from flowcore.cli.screen import Screen
from flowcore.errors import UserError
from flowcore.stores.base import OpenRequest

APPROVAL: Final = "tool_approval"
IN_DOUBT: Final = "in_doubt"
LEFT: Final = object()
"""The person left without an answer."""


def question(request: OpenRequest) -> str:
    """What is asked, in a few words."""
    data = request.data
    if request.kind == APPROVAL and isinstance(data, Mapping):
        return f"approve {data.get('tool')}"
    if request.kind == IN_DOUBT and isinstance(data, Mapping):
        return f"in doubt: {data.get('key')}"
    return f"{request.kind} {request.key}"


def is_approval(request: OpenRequest) -> bool:
    """Whether yes and no are all that can be said."""
    return request.kind == APPROVAL or (request.kind != IN_DOUBT and (request.schema or {}).get("type") == "boolean")


def can_be_approved(request: OpenRequest) -> bool:
    """Whether True may be an answer. What a crash left in doubt is never settled by a mere yes."""
    return is_approval(request) or (request.kind != IN_DOUBT and request.schema is None)


def show(screen: Screen, request: OpenRequest) -> None:
    """Print what is asked: all of it, as a person has to decide on it."""
    data = request.data
    where = f"{request.run} at {request.node}" if request.run != request.root else request.node
    if request.kind == APPROVAL and isinstance(data, Mapping):
        screen.say(f"? agent '{words.one_line(str(data.get('agent')))}' wants to call"
                   f" {words.one_line(str(data.get('tool')))}   [{request.key}, {where}]", "yellow")  # fmt: skip
        for line in words.pretty(_object(data.get("arguments"))).splitlines():
            screen.say(f"    {line}")
        return
    screen.say(f"? {words.one_line(question(request))}   [{where}]", "yellow")
    if data is not None:
        for line in words.pretty(data).splitlines():
            screen.say(f"    {line}")
    if request.schema is not None:
        screen.say(f"    as {words.value(request.schema, 400)}", "dim")


def _object(arguments: Any) -> Any:
    """A call's arguments, parsed where they're JSON."""
    try:
        return json.loads(arguments) if isinstance(arguments, str) and arguments else arguments
    except ValueError:
        return arguments


async def ask(screen: Screen, request: OpenRequest) -> Any:
    """Ask on the terminal until there's an answer; LEFT at the end of input or on Ctrl-C."""
    show(screen, request)
    prompt = "  approve? y / n / why not: " if is_approval(request) else "  answer (text or JSON): "
    while True:
        typed = await typed_line(screen, prompt)
        if typed is None:
            screen.say()
            return LEFT
        given = typed.strip()
        if not given:
            continue
        if is_approval(request):
            return decision(request, given)
        try:
            return parsed(given, request.schema)
        except UserError as error:
            screen.say(f"  {error.message}", "red")


def decision(request: OpenRequest, given: str) -> Any:
    """Yes, no, or no with the reason that the model reads."""
    word = given.lower()
    if word in ("y", "yes"):
        return True
    if word in ("n", "no") or request.kind != APPROVAL:
        return False
    return {"approve": False, "message": given}


_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "boolean": (bool,), "integer": (int,), "number": (int, float), "array": (list,),
    "object": (dict,), "null": (type(None),),
}  # fmt: skip


def parsed(given: str, schema: Mapping[str, Any] | None) -> Any:
    """An answer from text: JSON if it is some, else the text itself. Raises UserError where the schema's type differs.

    Only the top of the schema is looked at; the graph's state checks the rest.
    """
    wanted = (schema or {}).get("type")
    try:
        answer: Any = json.loads(given)
    except ValueError:
        answer = given
    if wanted == "string" and not isinstance(answer, str):
        return given
    known = _TYPES.get(wanted) if isinstance(wanted, str) else None
    if known is not None and (not isinstance(answer, known) or (isinstance(answer, bool) and bool not in known)):
        raise UserError(f"the answer has to be of type {wanted} (in JSON), not {words.value(answer)!r}")
    missing = [name for name in (schema or {}).get("required", ()) if isinstance(answer, dict) and name not in answer]
    if missing:
        raise UserError(f"the answer lacks {', '.join(map(repr, missing))}")
    choices = (schema or {}).get("enum")
    if choices is not None and answer not in choices:
        raise UserError(f"the answer is one of {', '.join(map(repr, choices))}, not {answer!r}")
    return answer
