"""Asking a person: what a run waits for, in words, and the answer from the terminal."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, Final

from flowcore.cli import words
from flowcore.cli.keyboard import typed_line
from flowcore.cli.screen import Screen
from flowcore.engine.forms import IN_DOUBT
from flowcore.machine.redact import hide_data
from flowcore.stores.base import OpenRequest

APPROVAL: Final = "tool_approval"
LEFT: Final = object()
"""The person left without an answer."""
LATE: Final = object()
"""The time for an answer is over."""


def question(request: OpenRequest) -> str:
    """What is asked, in a few words."""
    data = request.data
    if request.kind == APPROVAL and isinstance(data, Mapping):
        return f"approve {data.get('tool')}"
    if request.kind == IN_DOUBT and isinstance(data, Mapping):
        what = words.call(str(data["tool"]), data.get("arguments")) if "tool" in data else data.get("key")
        return f"in doubt: {what}"
    return f"{request.kind} {request.key}"


def is_approval(request: OpenRequest) -> bool:
    """Whether yes and no are all that can be said."""
    return request.kind == APPROVAL or (request.kind != IN_DOUBT and (request.schema or {}).get("type") == "boolean")


def can_be_approved(request: OpenRequest) -> bool:
    """Whether True may be an answer. What a crash left in doubt is never settled by a mere yes."""
    return is_approval(request) or (request.kind != IN_DOUBT and request.schema is None)


def show(screen: Screen, request: OpenRequest) -> None:
    """Print what is asked: all of it, as a person has to decide on it."""
    data = hide_data(request.data)
    where = f"{request.run} at {request.node}" if request.run != request.root else request.node
    if request.kind == APPROVAL and isinstance(data, Mapping):
        screen.say(f"? agent '{words.one_line(str(data.get('agent')))}' wants to call"
                   f" {words.one_line(str(data.get('tool')))}   [{request.key}, {where}]", "yellow")  # fmt: skip
        for line in words.pretty(_object(data.get("arguments"))).splitlines():
            screen.say(f"    {line}")
        return
    if request.kind == IN_DOUBT and isinstance(data, Mapping):
        what = words.one_line(str(data.get("tool", data.get("key"))))
        screen.say(f"? a crash broke {what} off: it may have happened   [{request.key}, {where}]", "yellow")
        if "arguments" in data:
            for line in words.pretty(_object(data["arguments"])).splitlines():
                screen.say(f"    {line}")
        screen.say(f"    its idempotency key: {words.one_line(str(data.get('idempotency_key')), 300)}")
        screen.say(
            '    retry: do it again; {"value": RESULT}: it happened, and gave this; fail: let the run fail', "dim"
        )
        return
    screen.say(f"? {words.one_line(question(request))}   [{where}]", "yellow")
    if data is not None:
        for line in words.pretty(data).splitlines():
            screen.say(f"    {line}")
    for line in expected(request.schema):
        screen.say(f"    {words.one_line(line, 300)}", "dim")


def expected(schema: Mapping[str, Any] | None) -> list[str]:
    """What an answer has to look like, a line for each field of a form; nothing for a plain text."""
    if schema is None or schema == {"type": "string"}:
        return []
    fields = schema.get("properties")
    if not isinstance(fields, Mapping):
        return [f"as JSON: {words.value(schema, 250)}"]
    needed = schema.get("required", ())
    return ["as a JSON object with", *(_field(name, of, name in needed) for name, of in fields.items())]


def _field(name: str, of: Any, needed: bool) -> str:
    of = of if isinstance(of, Mapping) else {}
    kind = " | ".join(json.dumps(one) for one in of["enum"]) if "enum" in of else str(of.get("type", "any"))
    default = "" if needed else f", {json.dumps(of['default'])} if left out" if "default" in of else ", may be left out"
    about = of.get("description")
    return f"  {name} ({kind}{default})" + (f": {about}" if about else "")


def _object(arguments: Any) -> Any:
    """A call's arguments, parsed where they're JSON."""
    try:
        return json.loads(arguments) if isinstance(arguments, str) and arguments else arguments
    except ValueError:
        return arguments


async def ask(screen: Screen, request: OpenRequest, until: float | None = None) -> Any:
    """Ask on the terminal until there's an answer; LEFT at the end of input or on Ctrl-C, LATE when it's ``until``
    (seconds since the epoch)."""
    show(screen, request)
    prompt = _prompt(request)
    while True:
        try:
            typed = await typed_line(screen, prompt, None if until is None else max(0.0, until - time.time()))
        except TimeoutError:
            return LATE
        if typed is None:
            screen.say()
            return LEFT
        given = typed.strip()
        if not given:
            continue
        return decision(request, given) if is_approval(request) else parsed(given, request.schema)


def _prompt(request: OpenRequest) -> str:
    if is_approval(request):
        return "  approve? y / n / why not: " if request.kind == APPROVAL else "  y / n: "
    if request.kind == IN_DOUBT:
        return '  retry / {"value": RESULT} / fail: '
    kind = (request.schema or {}).get("type")
    return "  answer: " if kind == "string" else "  answer (JSON): " if kind else "  answer (text or JSON): "


def decision(request: OpenRequest, given: str) -> Any:
    """Yes, no, or no with the reason that the model reads."""
    word = given.lower()
    if word in ("y", "yes"):
        return True
    if word in ("n", "no") or request.kind != APPROVAL:
        return False
    return {"approve": False, "message": given}


def parsed(given: str, schema: Mapping[str, Any] | None) -> Any:
    """An answer from text: JSON if it is some, else the text itself; text where text is asked for. The engine holds it
    against the schema."""
    try:
        answer: Any = json.loads(given)
    except ValueError:
        return given
    return given if (schema or {}).get("type") == "string" and not isinstance(answer, str) else answer
