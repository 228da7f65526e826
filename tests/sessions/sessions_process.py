"""What the tests of several processes let another process do: run by them as a script."""

from __future__ import annotations

import asyncio
import sys

from flowcore import SQLiteSession


async def write(path: str, name: str, count: str) -> None:
    """Add pairs as fast as others let, once somebody says go."""
    session = SQLiteSession("shared", path)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    for n in range(int(count)):
        await session.add_items([{"role": "user", "content": f"{name}-{n}-{half}"} for half in "ab"])
    session.close()


if __name__ == "__main__":
    asyncio.run(write(*sys.argv[1:]))
