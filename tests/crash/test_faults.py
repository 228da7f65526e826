"""The table of faults, with fewer rounds: real processes killed with -9 at named points, over every store."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
from stores_everywhere import quick_folder
from stores_postgres import Server

from flowcore import UserError
from flowcore.cli.faulting import faults
from flowcore.cli.screen import Screen
from flowcore.testing import FaultTable, Over, try_faults

pytestmark = pytest.mark.timeout(300)  # 10 s alone; the machine may be busy
HERE = Path(__file__).parent
KILLS = {"sqlite": 20, "normal": 14, "postgres": 20}


def seed() -> int:
    """What chance begins with; FAULTS_SEED tries the same again."""
    found = int(os.environ.get("FAULTS_SEED", secrets.randbelow(1_000_000)))
    print(f"FAULTS_SEED={found}")
    return found


def nothing_is_lost(table: FaultTable, kills: int) -> None:
    print(table)
    assert table.good, str(table)
    assert table.kills >= kills
    assert sum(not line.tried for line in table.lines) <= 2, str(table)  # chance may miss the one moment that it has


async def test_over_sqlite_nothing_is_lost_whatever_happens() -> None:
    over = [Over("sqlite")]
    table = await try_faults(over=over, kills=KILLS["sqlite"], seed=seed(), folder=quick_folder())
    nothing_is_lost(table, KILLS["sqlite"])


async def test_over_sqlite_that_writes_in_line_nothing_is_lost_whatever_happens() -> None:
    over = [Over("normal", synchronous="NORMAL")]
    table = await try_faults(
        over=over, kills=KILLS["normal"], seed=seed(), folder=quick_folder(),
        only=lambda name: name.startswith(("kill -9", "a commit")),
    )  # fmt: skip
    nothing_is_lost(table, KILLS["normal"])


async def test_over_postgres_nothing_is_lost_whatever_happens() -> None:
    server = Server()  # its own: it's stopped and started
    try:
        over = [Over("postgres", dsn=server.dsn, server=server)]
        table = await try_faults(over=over, kills=KILLS["postgres"], seed=seed(), folder=quick_folder())
    finally:
        server.end()
    nothing_is_lost(table, KILLS["postgres"])


def test_a_run_of_the_tests_kills_fifty_processes() -> None:
    assert sum(KILLS.values()) >= 50


# That the table would tell


async def test_an_engine_that_repeats_what_is_recorded_is_found_out() -> None:
    table = await try_faults(
        str(HERE / "crash_forgets.py"), kills=6, seed=seed(), folder=quick_folder(),
        only=lambda name: name == "kill -9 after the record, before anybody knows",
    )  # fmt: skip
    assert table.total.repeated, str(table)
    assert re.search(r"effect \S+ was begun 2 times, 1 too many", str(table))


async def test_a_graph_that_does_something_else_each_time_is_found_out() -> None:
    table = await try_faults(
        f"{HERE / 'crash_counts.py'}:fickle", {"upto": 3}, kills=2, seed=seed(), folder=quick_folder(),
        only=lambda name: name == "kill -9 before a transition is written",
    )  # fmt: skip
    assert table.total.wrong == table.total.tried == 2
    assert "its output is" in str(table)


async def test_a_graph_that_never_ends_is_refused() -> None:
    with pytest.raises(UserError, match="isn't done even when nothing happens to it: its process ended with 1"):
        await try_faults(f"{HERE / 'crash_counts.py'}:broken", {"upto": 3}, folder=quick_folder())


# The command


def test_the_command_tries_faults_on_ones_own_graph() -> None:
    file = f"{HERE / 'crash_counts.py'}:steady"
    words = ["faults", file, '{"upto": 4}', "--kills", "4", "--seed", "7", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "flowcore", *words], capture_output=True, text=True, timeout=100, check=False,
        env={**os.environ, "TMPDIR": quick_folder() or ""},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert (told["seed"], told["lost"], told["repeated"], told["wrong"]) == (7, 0, 0, 0)
    assert told["kills"] >= 4
    assert {line["store"] for line in told["lines"]} == {"sqlite"}


@pytest.mark.parametrize(
    ("file", "store", "told"),
    [
        ("nowhere.py", "sqlite", "there's no file nowhere.py"),
        (str(HERE / "crash_counts.py"), "sqlite", "choose one"),
        (None, "mysql://x", "give 'sqlite' or 'postgresql://…'"),
    ],
)
async def test_the_command_says_what_is_wrong_with_what_it_is_given(file: str | None, store: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        await faults(Screen(), file, None, [store], 1, None, False)
