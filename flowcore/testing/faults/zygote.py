"""The zygote: a process of one thread that has imported everything, and forks a victim for each job in some
milliseconds. ``Zygote`` is it as seen by who sends jobs; the module run as a program is it.

A job is a line on its stdin. It forks a keeper for it, which forks the victim, tells its pid, waits, and tells how it
ended. When stdin ends, so does the zygote.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import traceback
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

from flowcore.faces.loading import load
from flowcore.testing.faults.victim import Job, live

WARM = ("concurrent.futures.thread", "tenacity", "jsonschema", "structlog", "psycopg")
"""What victims would import by themselves, each anew."""


@dataclass(slots=True)
class Victim:
    """A process that does a job. ``said``: what it wrote at its end; empty if it was killed before."""

    job: Job
    pid: int = 0
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    code: int | None = None
    said: dict[str, Any] = field(default_factory=dict)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it's gone."""
        if self.code is None and self.pid:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                pass

    async def ended(self) -> Victim:
        """Wait for its end."""
        await self.over.wait()
        return self

    @property
    def killed(self) -> bool:
        """Whether it died of a SIGKILL."""
        return self.code == -signal.SIGKILL


class Zygote:
    """``async with Zygote(spec) as zygote``: begins victims for the graph of ``spec`` (FILE or FILE:name)."""

    def __init__(self, spec: str) -> None:
        self._spec = spec
        self._victims: dict[int, Victim] = {}
        self._count = 0

    async def __aenter__(self) -> Zygote:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", __name__, self._spec,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for victim in self._victims.values():
            victim.signal(signal.SIGKILL)
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        await self._reader

    async def begin(self, job: Job) -> Victim:
        """Fork a victim; it runs when this returns."""
        number = self._count = self._count + 1
        victim = self._victims[number] = Victim(job)
        assert self._process.stdin is not None
        self._process.stdin.write(f"{number} {job.to_json()}\n".encode())
        await self._process.stdin.drain()
        await victim.begun.wait()
        return victim

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            number, what, value = json.loads(line)
            victim = self._victims[number]
            if what == "pid":
                victim.pid = value
                victim.begun.set()
            elif what == "stopped":
                victim.stopped.set()
            else:
                del self._victims[number]
                victim.code = value
                victim.said = _said(Path(victim.job.said))
                victim.over.set()
        for victim in self._victims.values():  # it's gone, and so are they
            victim.code = victim.code or 1
            victim.begun.set()
            victim.over.set()


def _said(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return found


def main(spec: str) -> None:
    """Be the zygote."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who sends the jobs, whose end is ours
    for name in WARM:
        try:
            import_module(name)
        except ImportError:
            pass  # an extra that isn't there
    loaded = load(spec)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers are nobody's to wait for
    while line := sys.stdin.readline():
        number, _, text = line.partition(" ")
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _keep(int(number), Job.from_json(text), loaded)


def _keep(number: int, job: Job, loaded: Any) -> None:
    """Fork the victim, and tell what becomes of it."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            live(job, loaded)
            code = 0
        except BaseException:
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(code)
    _tell(number, "pid", pid)
    while True:
        _, status = os.waitpid(pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            break
        _tell(number, "stopped", 0)
    _tell(number, "end", os.waitstatus_to_exitcode(status))
    os._exit(0)


def _tell(number: int, what: str, value: int) -> None:
    os.write(1, json.dumps([number, what, value]).encode() + b"\n")


if __name__ == "__main__":
    main(sys.argv[1])
