"""The ledger: a file beside the store in which processes write what they begin and end, and which outlives them.

One line is one ``write`` to a file opened for appending: it's whole, whoever else writes and whenever its process is
killed. It isn't synced: it has to outlive processes, and no power cut.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Literal, NamedTuple

What = Literal["entry", "effect", "tool"]
"""A node's body, an effect of ``ctx.once``, or what a tool itself notes."""


class Begun(NamedTuple):
    """Something that is begun. ``key``: its idempotency key, of an entry ``run/node.visit``."""

    what: What
    key: str


class Ledger:
    """See the module's text."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def note(self, moment: Literal["begin", "end"], what: What, key: str) -> None:
        """Write a line."""
        file = os.open(self.path, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o666)
        try:
            os.write(file, json.dumps([moment, what, key]).encode() + b"\n")
        finally:
            os.close(file)

    def read(self, moment: Literal["begin", "end"]) -> Counter[Begun]:
        """How often each thing was begun, or ended."""
        if not self.path.exists():
            return Counter()
        lines = [json.loads(line) for line in self.path.read_text().splitlines()]
        return Counter(Begun(what, key) for at, what, key in lines if at == moment)

    def size(self) -> int:
        """How many bytes were written: it grows with all that happens."""
        return self.path.stat().st_size if self.path.exists() else 0
