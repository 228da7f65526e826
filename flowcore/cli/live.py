"""A run as it happens, line by line: transitions, text as it's streamed, tool calls and what they gave.

What an agent says whose output type has something secret isn't shown as it's streamed, but when it's there, hidden.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from flowcore.cli import words
from flowcore.cli.asking import question
from flowcore.cli.screen import Screen
from flowcore.cli.story import items_of, text_of, told
from flowcore.engine.events import Committed, Emitted, Event
from flowcore.engine.run import Run
from flowcore.graph.node import RETRY
from flowcore.graph.outcomes import END
from flowcore.machine.facts import Effect, Fact, Request, Rested, Resumed, Signal, Started, Transition
from flowcore.machine.redact import Redactor, Trickle
from flowcore.stores.base import OpenRequest

WIDTH = 56
"""Columns before a transition's time and tokens."""
DELTAS = ("response.output_text.delta", "response.refusal.delta")


class Live:
    """Prints a run's events; what its children do is indented. What the run has done before isn't printed again."""

    def __init__(self, screen: Screen, run: Run) -> None:
        self._screen = screen
        self._root = root = run.id
        self._tokens: dict[str, int] = {}
        self._calls: dict[tuple[str, str], str] = {}
        self._given: set[tuple[str, str]] = set()
        self._texts: dict[str, bool] = {}
        self._trickles: dict[str, Trickle] = {}
        self._speaker: str | None = None
        self._names: dict[str, str] = {}
        self._begun: Counter[str] = Counter()
        lives = run._tree.lives
        self._secrets = Redactor(lambda id: lives[id].facts if id in lives else ())
        for fact in run.facts:
            self._secrets.learn(root, fact)
            for item in items_of(fact):
                if item.get("type") == "function_call":
                    self._calls[root, str(item.get("call_id"))] = str(item.get("name"))

    def event(self, event: Event) -> None:
        """Print one event."""
        if isinstance(event, Committed):
            self._fact(event.run, self._secrets.fact(event.run, event.fact))
        else:
            self._emitted(event)

    # -- what is emitted ----------------------------------------------------------------------------------------------

    def _emitted(self, event: Emitted) -> None:
        data = event.data
        kind, delta = _of(data, "type"), _of(data, "delta")
        if kind not in DELTAS or not isinstance(delta, str):
            return
        if self._secrets.is_hushed(event.run):
            return
        if self._secrets.active:
            delta = self._trickles.setdefault(event.run, Trickle(self._secrets)).more(delta)
        if self._speaker != event.run:
            self._screen.fresh_line()
            self._screen.stream(self._margin(event.run), "dim")
            self._speaker = event.run
        self._texts[event.run] = True
        self._screen.stream(delta, "bold")

    # -- what is committed --------------------------------------------------------------------------------------------

    def _fact(self, run: str, fact: Fact) -> None:
        trickle = self._trickles.pop(run, None)
        if trickle is not None:
            self._screen.stream(trickle.rest(), "bold")
        self._speaker = None
        usage = getattr(fact, "usage", None) or {}
        self._tokens[run] = self._tokens.get(run, 0) + int(usage.get("total_tokens", 0))
        if isinstance(fact, Transition):
            self._transition(run, fact)
        elif isinstance(fact, Effect):
            self._effect(run, fact)
        elif isinstance(fact, Started) and run != self._root:
            self._begun[fact.graph] += 1
            which = f"#{self._begun[fact.graph]}" if self._begun[fact.graph] > 1 else ""
            self._names[run] = words.one_line(fact.graph, 20) + which
            self._say(run, f"begins: {run[len(fact.parent or '') + 1 :]}", "dim")
        elif isinstance(fact, Request):
            self._say(run, f"  ? {words.one_line(_asked(fact))}   [{fact.key}]", "yellow")
        elif isinstance(fact, Signal):
            what = f"answer to {fact.key}: {words.value(fact.value)}" if fact.kind == "answer" else f"{fact.kind} asked"
            self._say(run, f"  ! {what}" + ("" if fact.accepted else " (came too late)"), "yellow")
        elif isinstance(fact, Rested):
            self._rested(run, fact)
        elif isinstance(fact, Resumed):
            how = f"migrated to graph {fact.fingerprint}," if fact.by == "migrate" else "resumed"
            self._say(run, f"  {how} at {fact.place or fact.node} ({fact.by})", "dim")

    def _transition(self, run: str, fact: Transition) -> None:
        spoke = self._texts.pop(run, False)
        took = [words.duration(fact.at - fact.started)]
        tokens = self._tokens.pop(run, 0)
        if tokens:
            took.append(words.counted(tokens, "token"))
        if fact.attempt > 1:
            took.append(f"attempt {fact.attempt}")
        move = f"{fact.node} ─ {words.one_line(fact.on, 40)} → {fact.to}"
        line = f"{self._margin(run)}{move}"
        self._screen.say(f"{line:<{WIDTH}} {' · '.join(took)}", "green" if fact.to == END else "cyan")
        if fact.on == RETRY:
            again = "" if fact.not_before is None else f"; again in {words.duration(fact.not_before - fact.at)}"
            void = "; the text above is void" if spoke else ""
            self._say(
                run, f"  attempt {fact.attempt} failed: {words.one_line(told(fact.error), 300)}{void}{again}", "red"
            )
        elif fact.error:
            self._say(run, f"  after {words.one_line(told(fact.error), 300)}", "red")
        self._items(run, fact)

    def _effect(self, run: str, fact: Effect) -> None:
        if not self._items(run, fact) and fact.child is None:
            took = words.duration(fact.at - fact.started)
            self._say(run, f"  ✓ {words.one_line(fact.key, 40)}: {words.value(fact.value)} ({took})", "dim")

    def _rested(self, run: str, fact: Rested) -> None:
        if self._texts.pop(run, False) and fact.standing in ("failed", "cancelled"):
            self._say(run, "  the text above is void: its attempt wasn't finished", "red")
        why = f": {words.one_line(told(fact.error), 300)}" if fact.error else ""
        style = "red" if fact.standing == "failed" else "yellow"
        self._say(run, f"{fact.node} ■ {fact.standing}{why}", style)

    def _items(self, run: str, fact: Fact) -> bool:
        """Print tool calls and outputs that a fact brought, each once. Whether it brought items."""
        items = items_of(fact)
        hushed = fact.node == "call_model" and self._secrets.is_hushed(run)
        for item in items:
            if hushed and item.get("role") == "assistant":
                self._say(run, f"  {words.clean(text_of(item))}", "bold")
            call = (run, str(item.get("call_id")))
            if item.get("type") == "function_call" and call not in self._calls:
                self._calls[call] = str(item.get("name"))
                self._say(run, f"  → {words.call(str(item.get('name')), item.get('arguments'))}", "blue")
            elif item.get("type") == "function_call_output" and call not in self._given:
                self._given.add(call)
                name = self._calls.get(call)
                told = f"{words.one_line(name)}: " if name else ""
                self._say(run, f"  ← {told}{words.value(item.get('output'))}", "blue")
        return bool(items)

    def _say(self, run: str, line: str, style: str = "") -> None:
        self._screen.say(f"{self._margin(run)}{line}", style)

    def _margin(self, run: str) -> str:
        """What a child's lines begin with: two columns for each level (its id adds ``/node.visit/key``), and its graph
        (numbered where there are several), or its key where it began in another process."""
        if run == self._root:
            return ""
        name = self._names.get(run) or words.one_line(run.rpartition("/")[2], 20)
        return f"{'  ' * (run[len(self._root) :].count('/') // 2)}{name}: "


def _of(data: Any, name: str) -> Any:
    return data.get(name) if isinstance(data, Mapping) else getattr(data, name, None)


def _asked(fact: Request) -> str:
    """What a request asks, on one line."""
    return question(OpenRequest("", "", fact.key, fact.kind, fact.data, fact.schema, fact.node, fact.at))
