"""Real processes of the command line, in a folder of their own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
PATIENCE = 30.0
"""Seconds that a test waits for another process before it gives up."""


def until(what: Callable[[], Any], why: str) -> Any:
    """Wait until something is so."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"waited {PATIENCE:g} s in vain until {why}")


class Forks:
    """The process that forks; see ``cli_forks``. ``options``: the interpreter's."""

    def __init__(self, *options: str) -> None:
        self._one_at_a_time = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, *options, HERE / "cli_forks.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(
        self, words: Sequence[str], folder: Path, env: Mapping[str, str], program: Path | None = None, typed: str = ""
    ) -> tuple[int, str, str]:
        """The exit code, stdout and stderr of a call."""
        name = threading.get_ident()
        typing, out, err = (folder.parent / f"{name}.{end}" for end in ("in", "out", "err"))
        typing.write_text(typed, encoding="utf-8")
        call = {
            "program": program and str(program), "words": words, "cwd": str(folder), "env": dict(env),
            "in": str(typing), "out": str(out), "err": str(err),
        }  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._one_at_a_time:
            print(json.dumps(call), file=self._process.stdin, flush=True)
            code = int(self._process.stdout.readline())
        return code, out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8")

    def end(self) -> None:
        """Let it end."""
        self._process.communicate()


@pytest.fixture(scope="session")
def programs() -> Iterator[Forks]:
    """Runs programs, each in a process of its own in which every warning is an error."""
    made = Forks("-W", "error")
    yield made
    made.end()


class Cli:
    """``flowcore`` in a folder. What is started and not awaited is killed at the end.

    ``forks``: lends its imports to the calls that are awaited; without it each is ``python -m flowcore``.
    """

    def __init__(self, folder: Path, forks: Forks | None = None) -> None:
        self.folder = folder
        self.forks = forks
        self.started: list[subprocess.Popen[str]] = []
        self.forked: set[int] = set()

    def file(self, name: str) -> str:
        """A graph file, copied here."""
        shutil.copy(HERE / f"cli_{name}.py", self.folder / f"{name}.py")
        return f"{name}.py"

    def write(self, name: str, text: str) -> str:
        """A file with this text."""
        (self.folder / name).write_text(text)
        return name

    def env(self, settings: dict[str, Any]) -> dict[str, str]:
        """The environment: ours, without what a user may have set, and the test's settings as CLI_NAME."""
        kept = {name: one for name, one in os.environ.items() if not name.startswith(("FLOWCORE_", "CLI_", "COLUMNS"))}
        return {**kept, **{f"CLI_{name.upper()}": str(one) for name, one in settings.items()}}

    def start(self, *words: str, env: dict[str, str] | None = None, **settings: Any) -> subprocess.Popen[str]:
        """A process that goes on beside the test."""
        process = subprocess.Popen(
            [sys.executable, "-m", "flowcore", *words],
            cwd=self.folder,
            env={**self.env(settings), **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self.started.append(process)
        return process

    def run(self, *words: str, code: int | None = 0, env: dict[str, str] | None = None, **settings: Any) -> str:
        """Run to the end; what it wrote to stdout and stderr. Its exit code has to be ``code``."""
        out, err = self.both(*words, code=code, env=env, **settings)
        return out + err

    def both(
        self, *words: str, code: int | None = 0, env: dict[str, str] | None = None, **settings: Any
    ) -> tuple[str, str]:
        """``run``, with stdout and stderr apart."""
        if self.forks is not None:
            ended, out, err = self.forks(words, self.folder, {**self.env(settings), **(env or {})})
        else:
            process = self.start(*words, env=env, **settings)
            out, err = process.communicate(timeout=PATIENCE)
            ended = process.returncode
        assert code is None or ended == code, f"{words}: exit {ended}\n{out}\n{err}"
        assert "Traceback" not in err, err
        return out, err

    def json(self, *words: str, code: int = 0, **settings: Any) -> Any:
        """What a command with ``--json`` prints."""
        return json.loads(self.both(*words, "--json", code=code, **settings)[0])

    def show(self, run: str) -> Any:
        """A run as ``show --json`` tells it."""
        return self.json("show", run)

    def calls(self, kind: str, log: str = "calls.txt") -> list[str]:
        """The idempotency keys of calls that started or ended, in order."""
        path = self.folder / log
        lines = path.read_text().splitlines() if path.exists() else []
        return [line.split(" ", 1)[1] for line in lines if line.startswith(f"{kind} ")]

    def end(self) -> None:
        """Kill what is left."""
        for pid in self.forked:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
