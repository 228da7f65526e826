"""The commands that go on with a run, as a person would type them here. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from flowcore.cli.asking import APPROVAL, can_be_approved
from flowcore.engine.forms import IN_DOUBT, WAYS
from flowcore.stores.base import OpenRequest

_PASSWORD = re.compile(r"(://[^:/@]*):[^@]*@")
"""A password in a store's address: no terminal's history needs it."""


@dataclass(frozen=True, slots=True)
class Hints:
    """``where``: the store, if it has to be named; ``file``, ``model``: the file and the model, if they were given."""

    where: str | None = None
    file: str | None = None
    model: str | None = None

    def resume(self, run: str, more: str = "") -> str:
        """Go on."""
        file = [self.file] if self.file else []
        model = ["--model", self.model] if self.model else []
        return self._command("resume", run, *file, *model) + (f" {more}" if more else "")

    def resume_all(self, which: str = "abandoned", more: str = "") -> str:
        """Go on with every run that nobody moves, or that is ``due``."""
        file = [self.file] if self.file else []
        return self._command("resume", f"--all-{which}", *file) + (f" {more}" if more else "")

    def show(self, run: str) -> str:
        """Look at it."""
        return self._command("show", run)

    def delete(self, run: str) -> str:
        """Remove it."""
        return self._command("delete", run)

    def answers(self, request: OpenRequest, among: Sequence[OpenRequest] = ()) -> list[str]:
        """The ways to answer a request. ``among``: what else is open; a child's request is named by the root's id where
        its key is enough."""
        key = request.key
        run = request.run if [one.key for one in among].count(key) > 1 else request.root
        if request.kind == APPROVAL:
            return [self._command("approve", run, key), self._command("reject", run, key, "--message", "WHY")]
        if request.kind == IN_DOUBT:
            return [self._command("answer", run, key, '{"value": RESULT}' if one == "value" else one) for one in WAYS]
        answer = self._command("answer", run, key, "VALUE")
        return [self._command("approve", run, key), answer] if can_be_approved(request) else [answer]

    def _command(self, *words: str) -> str:
        store = ["--store", _PASSWORD.sub(r"\1:***@", self.where)] if self.where else []
        return shlex.join(["flowcore", *words, *store])
