"""``faults``: kill a graph's runs everywhere, and print what was lost. Gives its exit code."""

from __future__ import annotations

import json
from dataclasses import asdict

from flowcore.cli import exits
from flowcore.cli.giving import input_of
from flowcore.cli.screen import Screen
from flowcore.errors import UserError
from flowcore.faces.loading import load
from flowcore.testing.faults.trying import WORKLOAD, Over, try_faults


async def faults(
    screen: Screen, file: str | None, text: str | None, stores: list[str], kills: int, seed: int | None, as_json: bool
) -> int:
    """Try faults on the runs of a file's graph, or of a workload of our own."""
    over = [_over(one) for one in stores]
    if file is None:
        table = await try_faults(WORKLOAD, over=over, kills=kills, seed=seed)
    else:
        table = await try_faults(file, input_of(load(file).graph, text), over=over, kills=kills, seed=seed)
    if as_json:
        total = asdict(table.total)
        told = {name: total[name] for name in ("tried", "lost", "repeated", "wrong")}
        screen.result(json.dumps({**asdict(table), **told}))
    else:
        screen.result(str(table))
    return exits.DONE if table.good else exits.FAILED


def _over(where: str) -> Over:
    if where == "sqlite":
        return Over("sqlite")
    if where.startswith(("postgresql://", "postgres://")):
        return Over("postgres", dsn=where)
    raise UserError(f"--store {where.partition('://')[0]!r}: give 'sqlite' or 'postgresql://…'")
