"""The benchmarks of stores run, and what they say is there; times are printed by benchmarks/, not asserted."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parent / "stores"))
from stores_postgres import server

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def said(command: str, *given: str) -> Any:
    """What a benchmark prints as JSON."""
    told = subprocess.run(
        [sys.executable, str(BENCHMARKS / command), *given, "--json"], capture_output=True, text=True, timeout=300
    )
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)


def test_an_append_is_measured_beside_a_raw_insert_and_runs_at_once_share_few_connections() -> None:
    small = ["--rounds", "2", "--appends", "5", "--runs", "40", "--many", "100"]
    found = said("stores.py", *small, "--postgres", server().dsn)
    assert list(found) == ["SQLite, NORMAL", "SQLite, FULL", "PostgreSQL"]
    for figures in found.values():
        assert figures["append of a transition, µs"] > figures["append, times the raw one"] > 0
        assert figures["raw INSERT + COMMIT, µs"] > 0
    for store in ("SQLite, FULL", "PostgreSQL"):
        assert found[store]["40 runs at once, times the former"] > 0
    assert 1 <= found["PostgreSQL"]["100 runs at once, connections"] <= 11


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_paused_runs_are_filled_in_answered_and_listed(store: str) -> None:
    where = "sqlite" if store == "sqlite" else server().dsn
    found = said("paused_runs.py", "--runs", "300", "600", "--times", "3", "--store", where)
    assert [one["runs"] for one in found] == [300, 600]
    for one in found:
        assert len(one["ms"]) == 13
        assert all(figure > 0 for figure in one["ms"].values())


def test_encryption_adds_a_few_bytes_to_each_record_and_all_of_them_come_under_another_key() -> None:
    found = runpy.run_path(str(BENCHMARKS / "encryption.py"))["measure"](1, 5, 10)
    more = found["a turn's payloads, encrypted, bytes"] - found["a turn's payloads, plain, bytes"]
    assert 0 < more < 150
    assert found["append of 4 kB, encrypted, µs of CPU"] > 0
    assert found["rotation, records"] >= 2 * 10 * 2


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_what_is_due_is_asked_beside_a_backlog(store: str) -> None:
    where = "sqlite" if store == "sqlite" else server().dsn
    [found] = said("due_runs.py", "--runs", "1000", "--times", "3", "--store", where)
    assert len(found["ms"]) == 2
    assert all(figure > 0 for figure in found["ms"].values())
