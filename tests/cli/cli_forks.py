"""A process that has imported the command line once and forks for each call: real processes without the 0.4 s of
imports each. Run by tests as a script; a line of JSON on stdin is a call, a line on stdout its exit code."""

from __future__ import annotations

import json
import os
import sys

import flowcore.faces.agent
import flowcore.faces.runner
import flowcore.stores.sqlite
import flowcore.testing.scripted  # noqa: F401 - so that what is forked has it
from flowcore.cli import app


def call(given: dict[str, object]) -> None:
    """Be the process of one call; never returns."""
    code: object = 1
    try:
        os.chdir(str(given["cwd"]))
        os.environ.clear()
        os.environ.update(given["env"])  # type: ignore[call-overload]
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(str(given[name]), os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
        sys.argv = ["flowcore", *given["words"]]  # type: ignore[misc]
        app.enter()
    except SystemExit as ending:
        code = ending.code
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)


for line in sys.stdin:
    child = os.fork()
    if child == 0:
        call(json.loads(line))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
