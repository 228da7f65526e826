"""The table of faults: what was tried against every store, and what was lost.

    uv run python benchmarks/faults.py [--kills N] [--seed S] [--store sqlite|normal|postgres ...]

Processes are killed at named points between an effect, its record and what comes after, disks are filled, files are
locked and servers crash, under a run of agents that use all that the loop has. `flowcore faults` does the same with
your graph and your store; here a PostgreSQL server is started, so that it can be stopped, too. Exits with 1 where
anything was lost, repeated or wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from flowcore.testing import Over, try_faults

sys.path.append(str(Path(__file__).parent.parent / "tests" / "stores"))
STORES = ("sqlite", "normal", "postgres")


@contextmanager
def stores(names: Sequence[str]) -> Iterator[list[Over]]:
    """The stores of these names; a server lives as long as this."""
    found = []
    if "sqlite" in names:
        found.append(Over("sqlite"))
    if "normal" in names:
        found.append(Over("normal", synchronous="NORMAL"))
    if "postgres" not in names:
        yield found
        return
    from stores_postgres import Server

    server = Server(fsync=True)
    try:
        yield [*found, Over("postgres", dsn=server.dsn, server=server)]
    finally:
        server.end()


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="over each store, at least")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--store", action="append", choices=STORES)
    given = parser.parse_args()
    with stores(given.store or STORES) as over:
        table = asyncio.run(try_faults(over=over, kills=given.kills, seed=given.seed))
    print(table)
    return 0 if table.good else 1


if __name__ == "__main__":
    sys.exit(main())
