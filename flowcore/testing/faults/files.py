"""Faults of SQLite's file: a full disk, a file that can't be written, that is locked, moved away, and a log whose tail
is gone. Each trial has a file of its own."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from flowcore.testing.faults.kills import LEASE, Fault, New
from flowcore.testing.faults.points import FAILED
from flowcore.testing.faults.trial import Trial
from flowcore.testing.faults.zygote import Victim

NOBODY = 65_534
PAUSE = 0.02
"""Seconds that a tool takes where something has to happen meanwhile."""
ROOM = 120_000
"""Bytes, by rough count, that a run of the workload still writes when it has begun."""


def _apart(new: New) -> tuple[Trial, Path]:
    """A trial in a file of its own."""
    trial = new()
    path = trial.setting.folder / trial.run / "runs.db"
    path.parent.mkdir()
    trial.place = replace(trial.setting.place, path=str(path))
    return trial, path


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


async def _begun(trial: Trial, chance: random.Random) -> bool:
    """Begin the run, and kill it somewhere, so that it has a place to keep."""
    return (await trial.play(fatal="transition committed", nth=chance.randint(1, _moves(trial) // 2))).killed


def _moves(trial: Trial) -> int:
    return max(2, trial.calm.reached.get("transition committed", 2))


def _hit(victim: Victim) -> bool:
    """Whether the fault came while the run was writing: else nothing was tried."""
    return bool(victim.said.get("reached", {}).get(FAILED)) or victim.said.get("error") == "StoreError"


def _told(trial: Trial, victim: Victim, *errors: str) -> None:
    """The run has ended in spite of it, or its process said so in one of these errors."""
    if not victim.said.get("standing") and victim.said.get("error") not in errors:
        trial.wrong(f"its process said {victim.said} (code {victim.code})")


async def disk_full(new: New, chance: random.Random) -> Trial | None:
    """The disk is full until the run has given up."""
    trial, path = _apart(new)
    if not await _begun(trial, chance):
        return None
    room = max(_size(_log_of(path)), _size(path)) + chance.randint(0, ROOM // 2)
    victim = await trial.play(fsize=room, lease=LEASE)
    _told(trial, victim, "StoreError", "RunConflict")
    return await trial.finish() if _hit(victim) else None


async def disk_full_for_a_moment(new: New, chance: random.Random) -> Trial | None:
    """The disk is full for a moment; the same process goes on."""
    trial, path = _apart(new)
    if not await _begun(trial, chance):
        return None
    room = max(_size(_log_of(path)), _size(path)) + chance.randint(ROOM // 4, ROOM // 2)
    victim = await trial.begin(fsize=room, pause=PAUSE)
    await asyncio.sleep(chance.uniform(0.5, 1.0))
    try:
        resource.prlimit(victim.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (ProcessLookupError, PermissionError):
        pass  # it has ended, or the hard limit was lower
    _told(trial, await trial.over(victim), "StoreError")
    return await trial.finish() if _hit(victim) else None


async def read_only(new: New, chance: random.Random) -> Trial | None:
    """The file can't be written when somebody wants to go on."""
    trial, path = _apart(new)
    if not await _begun(trial, chance):
        return None
    for there in (path.parent, *path.parent.iterdir()):
        there.chmod(0o555 if there.is_dir() else 0o444)
    victim = await trial.play(user=NOBODY)
    if victim.said.get("error") != "StoreError":
        trial.wrong(f"its process said {victim.said} (code {victim.code})")
    for there in (path.parent, *path.parent.iterdir()):
        there.chmod(0o755 if there.is_dir() else 0o644)
    return await trial.finish()


async def locked(new: New, chance: random.Random) -> Trial | None:
    """Another program keeps the file locked for longer than the store waits, and maybe than the lease lasts."""
    trial, path = _apart(new)
    if not await _begun(trial, chance):
        return None
    lease = chance.choice([None, LEASE])
    before = trial.ledger.size()
    victim = await trial.begin(place=replace(trial.place, patience=0.1), pause=PAUSE, lease=lease)
    await trial.moving(victim, before)
    await asyncio.sleep(chance.uniform(0, 0.1))
    with closing(sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)) as other:
        await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")
        await asyncio.sleep(0.5 if lease is None else 2 * LEASE)
        other.execute("ROLLBACK")
    _told(trial, await trial.over(victim), "StoreError", "RunConflict")
    return await trial.finish() if _hit(victim) else None


async def moved_away(new: New, chance: random.Random) -> Trial | None:
    """The file is moved away under the run, and put back later."""
    trial, path = _apart(new)
    if not await _begun(trial, chance):
        return None
    before = trial.ledger.size()
    victim = await trial.begin(pause=PAUSE, lease=LEASE)
    await trial.moving(victim, before)
    await asyncio.sleep(chance.uniform(0, 0.1))
    away = path.with_name("away.db")
    path.rename(away)
    await asyncio.sleep(2 * LEASE)
    if path.exists():
        trial.wrong("another file was made in its place")
        path.unlink()
    away.rename(path)
    _told(trial, await trial.over(victim), "StoreError", "RunConflict")
    return await trial.finish() if _hit(victim) else None


def _cut(path: Path, chance: random.Random) -> Callable[[], None]:
    """What a power cut may do to a log that isn't synced: its tail is gone, or isn't what was written."""

    def cut() -> None:
        log = _log_of(path)
        size = _size(log)
        keep = chance.randint(size // 4, size)
        with log.open("r+b") as file:
            file.truncate(keep)
            if chance.random() < 0.5:
                file.seek(keep)
                file.write(chance.randbytes(size - keep))

    return cut


async def log_cut(new: New, chance: random.Random) -> Trial | None:
    """A process is killed, and the log's tail is gone or scrambled. Recorded is what is still there."""
    trial, path = _apart(new)
    nth = chance.randint(2, _moves(trial))
    victim = await trial.play(fatal="transition committed", nth=nth, then=_cut(path, chance))
    return await trial.finish() if victim.killed else None


FILE_FAULTS = (
    Fault("the disk is full", disk_full),
    Fault("the disk is full for a moment", disk_full_for_a_moment),
    Fault("the file can't be written", read_only),
    Fault("the file is locked by another program", locked),
    Fault("the file is moved away and put back", moved_away),
    Fault("kill -9, and the log's tail is lost or scrambled", log_cut, 6),
)


def let_in(folder: Path) -> None:
    """Let victims that become somebody else in."""
    if os.geteuid() == 0:
        for there in (folder.parent, folder):
            there.chmod(0o777)
