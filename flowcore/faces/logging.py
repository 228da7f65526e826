"""``enable_verbose_stdout_logging``: what runs do, line by line, for a person who looks on. Made from the facts."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

from flowcore.engine.events import Committed
from flowcore.engine.log import SINKS
from flowcore.engine.observe import OBSERVERS, Noted, Watch
from flowcore.engine.tree import Live
from flowcore.faces.items import ItemHelpers
from flowcore.machine.facts import Effect, Fact, Request, Rested, Resumed, Signal, Started, Transition
from flowcore.machine.redact import Redactor

LOGGER = logging.getLogger("flowcore")
LONGEST = 500
"""How many characters of a text are shown."""
_SAYS_NO = frozenset(("0", "false", "no", "off"))


def enable_verbose_stdout_logging() -> None:
    """Log every run of this process to stdout, through the logger "flowcore" of the standard library: each transition
    with its time and tokens, each call, what a run waits for and fails with. A second call changes nothing.

    What models and tools say is left out, unless the environment says otherwise: with
    ``OPENAI_AGENTS_DONT_LOG_MODEL_DATA=0`` texts are shown, with ``OPENAI_AGENTS_DONT_LOG_TOOL_DATA=0`` arguments and
    outputs, with both the messages of errors too.
    """
    LOGGER.setLevel(logging.DEBUG)
    if not any(isinstance(one, _Stdout) for one in LOGGER.handlers):
        LOGGER.addHandler(_Stdout())
    if _OBSERVER not in OBSERVERS:
        OBSERVERS.append(_OBSERVER)
    if _engine_said not in SINKS:
        SINKS.append(_engine_said)


def shows_model_data() -> bool:
    """Whether logs may carry what models are told and say."""
    return _allowed("OPENAI_AGENTS_DONT_LOG_MODEL_DATA")


def shows_tool_data() -> bool:
    """Whether logs may carry what tools are given and give."""
    return _allowed("OPENAI_AGENTS_DONT_LOG_TOOL_DATA")


def _allowed(switch: str) -> bool:
    """Only a clear no to "don't log" is a yes."""
    return os.environ.get(switch, "").strip().lower() in _SAYS_NO


class _Stdout(logging.StreamHandler[TextIO]):
    """Writes to what is stdout at the moment."""

    def __init__(self) -> None:
        super().__init__(sys.stdout)

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stdout
        super().emit(record)


class _Observer:
    """Logs the runs that begin to move."""

    def admitted(self, meta: dict[str, Any]) -> dict[str, Any]:
        return {}

    def watch(self, live: Live) -> Watch | None:
        secrets = Redactor(lambda run: live.tree.lives[run].facts if run in live.tree.lives else ())
        for fact in live.facts:
            shown = secrets.fact(live.id, fact)
            if isinstance(fact, Started):
                _say(live.id, shown)

        def told(what: Committed | Noted) -> None:
            if isinstance(what, Committed):
                _say(what.run, secrets.fact(what.run, what.fact))

        return told


_OBSERVER = _Observer()


def _say(run: str, fact: Fact) -> None:
    root, slash, path = run.partition("/")
    for level, line in _lines(fact):
        LOGGER.log(level, "[%s%s%s] %s", root[:8], slash, path, line)


def _engine_said(level: str, event: str, fields: dict[str, Any]) -> None:
    shown = dict(fields)
    if "error" in shown and not (shows_model_data() and shows_tool_data()):
        shown["error"] = str(shown["error"]).partition("(")[0].partition(":")[0]
    LOGGER.log(
        getattr(logging, level.upper()), "%s: %s", event, " ".join(f"{name}={_cut(one)}" for name, one in shown.items())
    )


def _lines(fact: Fact) -> Iterator[tuple[int, str]]:
    """What a fact is to a person who looks on."""
    match fact:
        case Started():
            yield logging.INFO, f"'{fact.graph}' started"
            yield from _items(fact.input.get("items"))
        case Transition():
            spent = (fact.usage or {}).get("total_tokens")
            more = f", {spent} tokens" if spent else ""
            yield logging.INFO, f"{fact.node} --{fact.on}--> {fact.to} ({_seconds(fact)}{more})"
            if fact.error:
                yield logging.WARNING, f"    {fact.node}, attempt {fact.attempt}: {_error(fact.error)}"
            if "agent" in fact.update:
                yield logging.INFO, f"    agent: {fact.update['agent']}"
            yield from _items(fact.update.get("items"))
        case Effect():
            what = f"child run '{fact.child}' ended" if fact.child else f"'{fact.key}' done"
            yield logging.INFO, f"{fact.node}: {what} ({_seconds(fact)})"
            yield from _items([fact.value.get("item", fact.value)] if isinstance(fact.value, Mapping) else None)
        case Request():
            yield logging.INFO, f"{fact.node} asks '{fact.key}' ({fact.kind}){_data(fact.data)}"
        case Signal():
            late = "" if fact.accepted else ", too late"
            yield (
                logging.INFO,
                f"{fact.kind} came in{f' for {fact.key!r}' if fact.key else ''}{late}{_data(fact.value)}",
            )
        case Rested():
            yield (
                logging.WARNING if fact.error else logging.INFO,
                f"{fact.standing} at {fact.node}{f': {_error(fact.error)}' if fact.error else ''}",
            )
        case Resumed():
            yield logging.INFO, f"goes on at {fact.place or fact.node} (by {fact.by})"
        case _:
            yield logging.DEBUG, f"{fact.node}: '{fact.key}' is about to start"


def _items(items: Any) -> Iterator[tuple[int, str]]:
    """Items in wire form, a line for each; parts of an update that only name what an effect gave are left out."""
    for one in items if isinstance(items, list) else ():
        item = one.get("new", one) if isinstance(one, Mapping) else {}
        if "role" in item or "type" in item:
            yield logging.DEBUG, f"    {_item(item)}"


def _item(item: Mapping[str, Any]) -> str:
    kind = item.get("type", "message")
    if kind == "message":
        text = ItemHelpers.extract_text(item) or ItemHelpers.extract_refusal(item) or ""
        return f"{item.get('role')}{f': {_cut(text)}' if shows_model_data() else ' said something'}"
    said = f"{kind} {item.get('name') or item.get('call_id') or item.get('id') or ''}".rstrip()
    given = item.get("arguments", item.get("output", item.get("input")))
    return f"{said}: {_cut(given)}" if given is not None and shows_tool_data() else said


def _data(value: Any) -> str:
    return f": {_cut(value)}" if value is not None and shows_tool_data() else ""


def _error(error: Mapping[str, Any]) -> str:
    shown = shows_model_data() and shows_tool_data()
    return f"{error.get('kind')}: {_cut(error.get('message'))}" if shown else str(error.get("kind"))


def _seconds(fact: Fact) -> str:
    return f"{max(0.0, fact.at - fact.started):.3f} s"


def _cut(value: Any) -> str:
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text)} characters)"
