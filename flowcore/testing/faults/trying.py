"""``try_faults``: try every fault over one store or several, side by side, and count."""

from __future__ import annotations

import asyncio
import random
import secrets
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowcore.errors import UserError
from flowcore.stores.sqlite_schema import Synchronous
from flowcore.testing.faults.files import FILE_FAULTS, let_in
from flowcore.testing.faults.kills import FAULTS, Fault
from flowcore.testing.faults.servers import Server, drop_schema, server_faults, server_place
from flowcore.testing.faults.table import FaultLine, FaultTable
from flowcore.testing.faults.trial import Setting, Trial
from flowcore.testing.faults.victim import Place
from flowcore.testing.faults.zygote import Zygote

WORKLOAD = str(Path(__file__).with_name("workload.py"))
AT_ONCE = 4
"""Trials side by side."""
ANEW = 3
"""How often a fault is tried anew that came when there was nothing for it to hit."""
FEW = 20
"""So many kills go with one trial of each fault that is no kill."""


@dataclass(frozen=True, slots=True)
class Over:
    """A store to try, by the name that the table has for it: SQLite files, or a server at ``dsn``. ``server``: what
    stops and starts it, where that may be tried."""

    name: str
    synchronous: Synchronous = "FULL"
    dsn: str | None = None
    server: Server | None = None


async def try_faults(
    spec: str = WORKLOAD,
    input: Any = "Order 4 is broken.",
    *,
    over: Sequence[Over] = (Over("sqlite"),),
    kills: int = 60,
    seed: int | None = None,
    only: Callable[[str], bool] = lambda name: True,
    folder: str | None = None,
) -> FaultTable:
    """Try faults on runs of the graph in ``spec`` (FILE or FILE:name) with ``input``.

    ``kills``: how many processes are killed over each store, at least; the other faults are tried in proportion.
    ``seed``: what chance begins with. ``only``: which faults, by name. ``folder``: where files are made (and removed);
    else among temporary ones. The graph has to do the same in each run; what it asks is
    answered by the file's ``answers(request)``, else with yes. Raises UserError where the unkilled run doesn't end.
    """
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    begun = time.monotonic()
    table = FaultTable([], seed=seed)
    with tempfile.TemporaryDirectory(prefix="flowcore-faults-", dir=folder) as name:
        async with Zygote(spec) as zygote:
            for one in over:
                below = Path(name) / one.name
                below.mkdir()
                let_in(below)
                await _try_over(table, one, zygote, below, input, kills, random.Random(seed), only)
    table.seconds = time.monotonic() - begun
    return table


async def _try_over(
    table: FaultTable, over: Over, zygote: Zygote, folder: Path, input: Any, kills: int, chance: random.Random,
    only: Callable[[str], bool],
) -> None:  # fmt: skip
    place = Place(str(folder / "runs.db"), over.synchronous) if over.dsn is None else server_place(over.dsn)
    setting = Setting(zygote, folder, place, input)
    try:
        await _calm(setting)
        few = max(1, round(kills / FEW))
        own = FILE_FAULTS if over.dsn is None else server_faults(over.server)
        faults = [fault for fault in (*FAULTS, *own) if only(fault.name)]
        share = sum(fault.share for fault in faults) or 1
        lines = {fault: FaultLine(fault.name, over.name) for fault in faults}
        table.lines += lines.values()
        turns = asyncio.Semaphore(AT_ONCE)

        async def one(fault: Fault, number: int, chance: random.Random) -> None:
            async with turns:
                trials: list[Trial] = []

                def new() -> Trial:
                    trials.append(Trial(setting, f"{setting.token}-{faults.index(fault)}-{number}-{len(trials)}"))
                    return trials[-1]

                trial = None
                for _ in range(ANEW):
                    trial = await fault.act(new, chance)
                    if trial is not None:
                        break
                    table.missed += 1
                table.kills += sum(each.kills for each in trials)
                table.stood_failed += sum(each.stood_failed for each in trials)
                for each in trials:  # one that hit nothing counts where it shows something wrong
                    if each is trial or not each.verdict.good:
                        lines[fault].add(each.verdict)
                        where = f"{fault.name}, {over.name}, run {each.run}"
                        table.notes += [f"{where}: {note}" for note in each.verdict.notes]

        together: list[tuple[Fault, int, random.Random]] = []
        apart: list[tuple[Fault, int, random.Random]] = []
        for fault in faults:
            times = max(1, -(-kills * fault.share // share)) if fault.share else few
            for number in range(times):
                (apart if fault.alone else together).append((fault, number, random.Random(chance.random())))
        await asyncio.gather(*(one(*given) for given in together))
        for given in apart:
            await one(*given)
    finally:
        if over.dsn is not None:
            await drop_schema(place)


async def _calm(setting: Setting) -> None:
    """The run that nothing happens to; the second one, when everything is warm."""
    for name in ("calm-0", "calm"):
        trial = Trial(setting, f"{setting.token}-{name}")
        begun = time.monotonic()
        victim = await (await trial.begin()).ended()
        setting.seconds = time.monotonic() - begun
        said = victim.said
        if said.get("standing") != "done":
            told = said.get("text") or said.get("failure") or f"its process ended with {victim.code}, {said}"
            raise UserError(f"the graph isn't done even when nothing happens to it: {told}")
        setting.calm = await trial.outcome(victim)
