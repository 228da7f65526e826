"""A process that rotates the keys of a store and is killed in the middle: run by the tests as a script.

Arguments: the store's address (for PostgreSQL with its schema after it), the key, the older key, and after how many
sealed records, or, negative, after how many statements that change some, in their open transaction, it's killed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

from flowcore.stores import EncryptedStore, PostgresStore, SqliteStore, keys, postgres_rotation, sqlite_rotation


def die_after(calls: int, doing: Any) -> Any:
    """``doing``, which is the last that this process does when it was called so often."""
    left = calls

    def counted(*given: Any, **named: Any) -> Any:
        nonlocal left
        found = doing(*given, **named)
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    return counted


async def rotate(where: list[str], key: list[str], calls: int) -> None:
    sqlite_rotation.AT_ONCE = postgres_rotation.AT_ONCE = 3
    if calls > 0:
        keys.Keys.seal = die_after(calls, keys.Keys.seal)  # type: ignore[method-assign]
    else:
        sqlite_rotation._change = die_after(-calls, sqlite_rotation._change)
    inner = PostgresStore(where[0], schema=where[1]) if where[1:] else SqliteStore(where[0])
    await EncryptedStore(inner, key=key).rotate()


if __name__ == "__main__":
    *where, new, old, calls = sys.argv[1:]
    asyncio.run(rotate(where, [new, old], int(calls)))
