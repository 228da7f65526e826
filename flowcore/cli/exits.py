"""With which code the command line exits, and what it says of an error."""

from __future__ import annotations

from typing import Final

from flowcore.errors import FlowcoreError, NotOpen, NotPaused, RunExists, RunNotFound, UpdateError, UserError
from flowcore.machine.facts import Standing

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
WAITING: Final = 3
STOPPED: Final = 130

HELP = "Exit codes: 0 done, 1 failed, 2 called wrongly, 3 waiting for a decision, 130 stopped or cancelled."

_OF: dict[Standing, int] = {"done": DONE, "failed": FAILED, "waiting": WAITING, "stopped": STOPPED,
                            "cancelled": STOPPED, "running": FAILED}  # fmt: skip


def code_of(standing: Standing) -> int:
    """The exit code for how a run stands when its command ends."""
    return _OF[standing]


def code_of_error(error: FlowcoreError) -> int:
    """2 where another call would have helped and nothing was done, else 1."""
    wrong = (UserError, RunNotFound, RunExists, NotOpen, NotPaused, UpdateError)
    return USAGE if isinstance(error, wrong) else FAILED
