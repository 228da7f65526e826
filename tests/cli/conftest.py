"""The command line, as a person has it: processes in a folder."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_process import Cli, Forks


@pytest.fixture(scope="session", autouse=True)
def _signals() -> None:
    """Processes get their signals even where the tests run under nohup or in the background."""
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    made = Forks()
    yield made
    made.end()


@pytest.fixture
def cli(tmp_path: Path, forks: Forks) -> Iterator[Cli]:
    made = Cli(tmp_path / "work", forks)
    made.folder.mkdir()
    yield made
    made.end()


@pytest.fixture
def cold_cli(tmp_path: Path) -> Iterator[Cli]:
    """Each call is a ``python -m flowcore`` of its own, imports included."""
    made = Cli(tmp_path)
    yield made
    made.end()
