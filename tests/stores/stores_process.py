"""What the tests of several processes let another process do: run by them as a script."""

from __future__ import annotations

import asyncio
import sys

from flowcore.machine.facts import Started, Transition
from flowcore.stores import SqliteStore
from flowcore.stores.base import Append, Owner


async def hold(path: str) -> None:
    """Admit a run and stay."""
    store = SqliteStore(path)
    await store.admit(Append("r", "r", [Started(0, 1.0, 1.0, "a", 1, "g", "f", {}, {}, "r")]), Owner.this_process())
    print("held", flush=True)
    await asyncio.sleep(60)


async def race(path: str) -> None:
    """Admit a run of its own and append to it as fast as others let."""
    store = SqliteStore(path, synchronous="NORMAL")
    owner = Owner.this_process()
    run = owner.id
    claim = await store.admit(Append(run, run, [Started(0, 1.0, 1.0, "a", 1, "g", "f", {}, {}, run)]), owner)
    for seq in range(1, 301):
        fact = Transition(seq, 1.0, 1.0, "a", seq, "on", "b", seq + 1, {"text": "x" * 200})
        assert await store.append([Append(run, run, [fact])], claim) == [None]
    await store.close()
    print("done", flush=True)


async def leave(path: str) -> None:
    """Append and end without closing."""
    store = SqliteStore(path, synchronous="NORMAL")
    claim = await store.admit(
        Append("r", "r", [Started(0, 1.0, 1.0, "a", 1, "g", "f", {}, {}, "r")]), Owner.this_process()
    )
    await store.release("r", claim)
    globals()["kept"] = store


if __name__ == "__main__":
    asyncio.run({"hold": hold, "race": race, "leave": leave}[sys.argv[1]](sys.argv[2]))
