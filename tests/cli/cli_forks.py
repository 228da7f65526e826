"""A process that has imported flowcore once and forks for each call: real processes without the 0.4 s of imports each.
Run by tests as a script; a line of JSON on stdin is a call, a line on stdout its exit code. A call runs a ``program``,
or, without one, the command line."""

from __future__ import annotations

import json
import os
import runpy
import sys
from collections.abc import Mapping
from typing import Any

import openai

import flowcore.faces.agent
import flowcore.faces.runner
import flowcore.stores.sqlite
import flowcore.testing.scripted
import flowcore.tracing  # noqa: F401 - so that what is forked has it
from flowcore.cli import app

openai.AsyncOpenAI(api_key="none", base_url="http://127.0.0.1").responses  # noqa: B018 - brings what it consists of


def become(given: Mapping[str, Any]) -> None:
    """Stand where the process of this call stands."""
    os.chdir(given["cwd"])
    os.environ.clear()
    os.environ.update(given["env"])
    os.dup2(os.open(given["in"], os.O_RDONLY), 0)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(given[name], os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)


def command(words: list[str]) -> None:
    """Be the command line; never returns."""
    code: object = 1
    try:
        sys.argv = ["flowcore", *words]
        app.enter()
    except SystemExit as ending:
        code = ending.code
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)


def call() -> Mapping[str, Any] | None:
    """The next call, for the process that is forked for it; None once there's none more."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            return dict(json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    return None


if (given := call()) is not None:
    become(given)
    if given["program"] is None:
        command(given["words"])
    sys.argv, sys.path[0] = [given["program"], *given["words"]], os.path.dirname(given["program"])
    runpy.run_path(given["program"], run_name="__main__")  # and the end is a program's own, with what is done at exit
