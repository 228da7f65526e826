"""What is said when a command rests a run: what came of it, the way it took, what it used, and how to go on."""

from __future__ import annotations

import sysconfig
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from flowcore.cli import words
from flowcore.cli.exits import FAILED, code_of
from flowcore.cli.hints import Hints
from flowcore.cli.records import request_record
from flowcore.cli.screen import Screen
from flowcore.cli.story import busy_seconds, path_line, steps, told
from flowcore.engine.run import Result, Run
from flowcore.machine.redact import redactor_of
from flowcore.stores.base import IndexRow, OpenRequest

PACKAGE = str(Path(__file__).parent.parent)
STANDARD = sysconfig.get_path("stdlib")


class Summary:
    """How a run rests. ``row``: its index row, as of that rest."""

    def __init__(self, run: Run, result: Result, row: IndexRow, hints: Hints) -> None:
        self.run = run
        self.result = result
        self.row = row
        self.hints = hints
        self.tripped = _tripped(result)
        lives = {**run._tree.lives, run.id: run._live}
        secrets = redactor_of({id: live.facts for id, live in lives.items()})
        if secrets is not None:
            self.tripped = secrets.hide(self.tripped)
            self.result = replace(
                result, output=secrets.output(run.id, result.output), error=secrets.hide(result.error),
                requests=[replace(one, data=secrets.hide(one.data)) for one in result.requests],
            )  # fmt: skip

    @property
    def code(self) -> int:
        """The exit code. A guardrail that tripped is an outcome of the graph, but not what was asked for."""
        return FAILED if self.tripped is not None else code_of(self.result.standing)

    def record(self) -> dict[str, Any]:
        """For other programs. Times are in seconds."""
        result = self.result
        return {
            "run": result.run_id,
            "graph": self.row.graph,
            "status": result.standing,
            "place": self.run.place,
            "output": result.output,
            "error": result.error,
            "tripped": self.tripped,
            "requests": [request_record(one) for one in result.requests],
            "path": steps(result.facts),
            "turns": self.row.turns,
            "usage": result.usage,
            "seconds": busy_seconds(result.facts),
        }

    def print(self, screen: Screen) -> None:
        """For people; the output goes to stdout even where nothing else does."""
        result = self.result
        if result.standing == "done" and self.tripped is None:
            screen.say()
            screen.result((words.exact if screen.exact else words.pretty)(result.output))
        screen.say()
        tell = screen.say if screen.live else screen.tell
        if self.tripped is not None:
            info = self.tripped.get("info")
            tell(f"blocked: {self.tripped.get('kind')} guardrail '{self.tripped.get('guardrail')}' tripped"
                 + (f" ({words.value(info)})" if info is not None else ""), "red")  # fmt: skip
        elif result.standing == "failed":
            tell(f"failed at '{self.run.place}': {words.clean(told(result.error))}", "red")
            source = origin(self.run.exception)
            if source:
                tell(f"  raised at {source}", "red")
            limit = raised_limit(result.error)
            tell(f"go on with: {self.hints.resume(result.run_id, limit)}")
        elif result.standing in ("stopped", "cancelled"):
            tell(f"{result.standing} at '{self.run.place}'; go on with: {self.hints.resume(result.run_id)}", "magenta")
        elif result.standing == "waiting":
            self._waiting(tell, result.requests)
        self._figures(screen)

    def _waiting(self, tell: Any, requests: Sequence[OpenRequest]) -> None:
        if requests:
            tell(f"waiting at '{self.run.place}' for {words.counted(len(requests), 'decision')}:", "yellow")
        for request in requests:
            for command in self.hints.answers(request, requests):
                tell(f"  {command}")
        due = self.row.due
        if due is not None:
            left = words.duration(max(0.0, due - time.time()))
            tell(f"waiting at '{self.run.place}' for {left} to pass" if not requests else f"until {left} have passed")
        tell(f"then go on with: {self.hints.resume(self.result.run_id)}")

    def _figures(self, screen: Screen) -> None:
        result = self.result
        screen.say(path_line(result.facts), "dim")
        figures = [words.counted(self.row.turns, "turn")] if self.row.turns else []
        tokens = result.usage.get("total_tokens")
        if tokens:
            figures.append(words.counted(tokens, "token"))
        figures.append(words.duration(busy_seconds(result.facts)))
        screen.say(f"run {result.run_id} · {result.standing} · {' · '.join(figures)}", "dim")


def _tripped(result: Result) -> dict[str, Any] | None:
    """The verdict of the guardrail that ended an agent's run, if one did."""
    tripped: Any = getattr(result.state, "tripped", None)
    return dict(tripped) if result.standing == "done" and hasattr(tripped, "get") and "guardrail" in tripped else None


def raised_limit(error: dict[str, Any] | None) -> str:
    """What to add to a resume so that it doesn't fail for the same limit again."""
    return "--max-turns N" if error and error.get("kind") == "MaxTurnsExceeded" else ""


def origin(error: BaseException | None) -> str | None:
    """``file:line in function`` of the innermost line of the user's own code that raised."""
    if error is None:
        return None
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith((PACKAGE, STANDARD, "<")) and "site-packages" not in frame.filename:
            return f"{frame.filename}:{frame.lineno} in {frame.name}"
    return None
