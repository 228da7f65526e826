"""Several works of one entry at once: what comes of them doesn't hang on which was faster."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any


async def together(works: Sequence[Awaitable[Any]]) -> list[Any]:
    """What the works give, in their order. Where some raise, all end first; then the first one's error is raised, first
    by place and not by time. An error goes before a child that waits."""
    if len(works) == 1:
        return [await works[0]]
    ended = await asyncio.gather(*works, return_exceptions=True)
    raised = [one for one in ended if isinstance(one, BaseException)]
    if raised:
        raise next((one for one in raised if isinstance(one, Exception)), raised[0])
    return ended
