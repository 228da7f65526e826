"""The commands that go on with a run, as a person would type them here. Pure."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from flowcore.cli.asking import APPROVAL, IN_DOUBT, can_be_approved
from flowcore.stores.base import OpenRequest


@dataclass(frozen=True, slots=True)
class Hints:
    """``where``: the store, if it has to be named; ``file``: the graph's file, if it was named."""

    where: str | None = None
    file: str | None = None

    def resume(self, run: str, more: str = "") -> str:
        """Go on."""
        return self._command("resume", run, *([self.file] if self.file else [])) + (f" {more}" if more else "")

    def show(self, run: str) -> str:
        """Look at it."""
        return self._command("show", run)

    def answers(self, request: OpenRequest) -> list[str]:
        """The ways to answer a request."""
        run, key = request.run, request.key
        if request.kind == APPROVAL:
            return [self._command("approve", run, key), self._command("reject", run, key, "--message", "WHY")]
        if request.kind == IN_DOUBT:
            return [self._command("answer", run, key, "retry"), self._command("answer", run, key, '{"value": RESULT}')]
        answer = self._command("answer", run, key, "VALUE")
        return [self._command("approve", run, key), answer] if can_be_approved(request) else [answer]

    def _command(self, *words: str) -> str:
        store = ["--store", self.where] if self.where else []
        return shlex.join(["flowcore", *words, *store])
