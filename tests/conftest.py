"""How the suite runs: in two processes, and with its files in memory, where there is room. Stores sync theirs to the
disk thousands of times, and what a power cut would leave of them isn't tested by files in ``tmp_path``."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")
ROOM = 2 * 1024**3
"""Bytes that have to be free there; all tests together leave a tenth of it."""

if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """The whole suite runs in two processes; where tests are named, they run in this one."""
    return 2 if config.args_source is pytest.Config.ArgsSource.TESTPATHS else 0


def pytest_sessionfinish() -> None:
    """The database ends with the tests: what these processes do at their exit has to be done in seconds."""
    postgres = sys.modules.get("stores_postgres")
    if postgres is not None and postgres.server.cache_info().currsize:
        postgres.server().end()
