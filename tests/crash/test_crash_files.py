"""What happens to an SQLite store's file: a disk that is really full, a file that is removed, a log that is lost."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flowcore import (
    END,
    START,
    Context,
    Goto,
    Graph,
    RunConflict,
    RunNotFound,
    SqliteStore,
    State,
    StoreError,
    node,
    resume,
    start,
)
from flowcore.engine import heartbeat
from flowcore.machine.facts import Effect

STEPS = 40
GIVEN_UP = (StoreError, RunConflict)
"""What a run says that couldn't write until its lease was over: which is seen first is up to chance."""


class Filling(State):
    n: int = 0
    text: str = ""


def filling(done: list[str], reached: Any = lambda n: None) -> Graph:
    """Effects one after the other, each with a record of 20 kB."""

    @node(limit=STEPS)
    async def step(state: Filling, ctx: Context) -> Goto[Any]:
        async def write() -> str:
            done.append(ctx.idempotency_key("write"))
            reached(state.n)
            return f"{state.n}" * 10_000

        text = await ctx.once("write", write)
        return Goto("more" if state.n + 1 < STEPS else "enough", n=state.n + 1, text=text[:10])

    return Graph("filling", Filling, {START: step, step: {"more": step, "enough": END}})


async def all_is_recorded_once(store: SqliteStore, done: list[str], again: int) -> None:
    """Every effect is recorded, and no more than ``again`` were made twice."""
    effects = [fact for fact in await store.read("r") if isinstance(fact, Effect)]
    assert len(effects) == len(set(done)) == STEPS
    assert len(done) <= STEPS + again


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 400 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "none", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("who runs the tests may not mount a disk; tests of a full one stand in test_faults.py, too")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.parametrize("synchronous", ["FULL", "NORMAL"])
@pytest.mark.skipif(sys.platform != "linux", reason="mounts a disk in memory")
async def test_a_run_whose_disk_is_full_rests_with_its_place_kept_and_goes_on_when_there_is_room(
    small_disk: Path, synchronous: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "MARGIN_SECONDS", heartbeat.LEASE_SECONDS - 0.3)  # how long it tries
    done: list[str] = []
    store = SqliteStore(small_disk / "runs.db", synchronous=synchronous)
    run = await start(filling(done), store=store, run_id="r")
    with pytest.raises(GIVEN_UP, match="full"):
        await run.drive()
    assert 3 < len(done) < STEPS
    with pytest.raises(GIVEN_UP, match=r"full|held by this process"):  # where the lease couldn't even be given back
        await resume("r", filling(done), store=store)
    await asyncio.to_thread(subprocess.run, ["mount", "-o", "remount,size=20m", small_disk], check=True)
    monkeypatch.undo()
    assert await (await resume("r", filling(done), store=store)).drive() == "done"
    await all_is_recorded_once(store, done, 1)
    await store.close()


@pytest.mark.parametrize("synchronous", ["FULL", "NORMAL"])
async def test_a_store_whose_file_is_removed_says_so_and_writes_to_nowhere_no_more(
    tmp_path: Path, synchronous: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "MARGIN_SECONDS", heartbeat.LEASE_SECONDS - 0.3)
    path = tmp_path / "runs.db"
    done: list[str] = []
    store = SqliteStore(path, synchronous=synchronous)
    run = await start(filling(done, lambda n: n == 5 and path.rename(tmp_path / "away.db")), store=store, run_id="r")
    with pytest.raises(GIVEN_UP, match="moved, removed or replaced while it was open; put it back, or close"):
        await run.drive()
    assert not path.exists()
    with pytest.raises(StoreError, match="put it back"):
        await store.get("r")
    (tmp_path / "away.db").rename(path)
    monkeypatch.undo()
    again = await resume("r", filling(done), store=store)
    assert await again.drive() == "done"
    await all_is_recorded_once(store, done, 1)
    path.unlink()
    with pytest.raises(StoreError, match="removed"):
        await store.get("r")
    await store.close()
    with pytest.raises(RunNotFound):  # a new file: it was told, and opened again
        await store.get("r")
    await store.close()


_DIES = """
import asyncio, os, signal, sys
sys.path.append({here!r})
from test_crash_files import filling
from flowcore import SqliteStore, start
def reached(n):
    if n == 20:
        os.kill(os.getpid(), signal.SIGKILL)
async def main():
    await (await start(filling([], reached), store=SqliteStore({path!r}), run_id="r")).drive()
asyncio.run(main())
"""


async def test_a_log_that_was_removed_after_a_crash_is_an_older_store_or_none_and_never_a_wrong_one(
    tmp_path: Path,
) -> None:
    path = tmp_path / "runs.db"
    before = SqliteStore(path)
    await (await start(filling([]), store=before, run_id="older")).drive()
    await before.close()  # all of it is in the file
    code = _DIES.format(here=str(Path(__file__).parent), path=str(path))
    killed = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code], capture_output=True, check=False)
    assert killed.returncode == -9, killed.stderr
    log = path.with_name("runs.db-wal")
    assert log.stat().st_size > 100_000
    log.unlink()
    path.with_name("runs.db-shm").unlink()
    store = SqliteStore(path)
    assert len(await store.read("older")) == 2 * STEPS + 1
    done: list[str] = []
    try:
        run = await resume("r", filling(done), store=store)
    except RunNotFound:
        run = await start(filling(done), store=store, run_id="r")
    assert await run.drive() == "done"
    assert len(await store.read("r")) >= 2 * STEPS + 1
    assert len(set(done)) == len(done)
    await store.close()
