"""Sessions of every kind for whole runs: made, read, torn and killed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from sessions_making import SHARED, World

from flowcore import MemoryStore, Options, RunConfig, SessionABC, SqliteStore, load, resume, start
from flowcore.agents.loop.saving import FOREIGN
from flowcore.testing import Crash, CrashingStore

ELSEWHERE = tuple(kind for kind in SHARED if not kind.startswith("store"))
"""Kinds that aren't in the run's store."""
OWN = ("id_memory", "id_sqlite", "store_session", "store_session_sqlite")
"""Ways of naming a session of the run's store."""
KINDS = (*OWN, "other_store", *ELSEWHERE)


class Place:
    """Where one test's conversation is: ``given`` for each run, and ``items`` that are there."""

    def __init__(self, kind: str, world: World) -> None:
        self.kind, self.world = kind, world

    def given(self, **settings: Any) -> dict[str, Any]:
        """What each run is given: another object each time, as another process would."""
        world = self.world
        if self.kind.startswith("id_"):
            return {"session": "s", "store": world.stores[self.kind == "id_sqlite"]}
        if self.kind == "store_session":
            return {"session": world.store_memory(**settings)}
        if self.kind == "store_session_sqlite":
            return {"session": world.store_sqlite(**settings), "store": world.stores[1]}
        if self.kind == "other_store":
            return {"session": world.store_memory(**settings), "store": world.stores[1]}
        return {"session": getattr(world, self.kind)(**settings)}

    async def items(self) -> list[dict[str, Any]]:
        """The session's items."""
        given = self.given()
        session: Any = given["session"]
        if isinstance(session, str):
            return [one.item for one in await given["store"].session_items(session)]
        found: list[dict[str, Any]] = await session.get_items()
        return found

    async def said(self) -> list[str]:
        """The session in words."""
        return said(await self.items())


def said(items: Any) -> list[str]:
    """Items in words: what was said, ``name()`` of a call, ``-> text`` of an output."""
    words = []
    for item in items:
        kind, content = item.get("type", "message"), item.get("content")
        if kind == "message":
            words.append(content if isinstance(content, str) else "".join(part["text"] for part in content))
        elif kind == "function_call":
            words.append(f"{item['name']}()")
        elif kind == "function_call_output":
            words.append(f"-> {item['output']}")
        else:
            words.append(kind)
    return words


class Logged(SessionABC):
    """A session in memory that notes what is done with it. ``trouble``: asked before and after each write with how
    many there were; what it gives is raised."""

    def __init__(self, items: list[Any] | None = None, trouble: Callable[[str, int], Any] | None = None) -> None:
        self.session_id = "s"
        self.session_settings = None
        self.items: list[Any] = [] if items is None else items
        self.log: list[tuple[str, Any]] = []
        self.trouble = trouble
        self.writes = 0

    def _trouble(self, when: str) -> None:
        error = self.trouble(when, self.writes) if self.trouble is not None else None
        if error is not None:
            raise error

    async def get_items(self, limit: int | None = None) -> list[Any]:
        self.log.append(("get", limit))
        return list(self.items if limit is None else self.items[-limit:] if limit else [])

    async def add_items(self, items: list[Any]) -> None:
        self.writes += 1
        self._trouble("before")
        self.log.append(("add", said(items)))
        self.items += items
        self._trouble("after")

    async def pop_item(self) -> Any:
        return self.items.pop() if self.items else None

    async def clear_session(self) -> None:
        self.items.clear()

    @property
    def added(self) -> list[list[str]]:
        """What was written, write by write."""
        return [what for verb, what in self.log if verb == "add"]


async def begin(agent: Any, session: Any, store: Any, id: str = "r", input: Any = "go", **config: Any) -> Any:
    """Admit a run with a session elsewhere, below the faces."""
    context = Options(None, RunConfig(**config), session=session)
    return await start(agent, input, store=store, run_id=id, context=context, meta={FOREIGN: session.session_id})


async def go_on(agent: Any, session: Any, store: Any, id: str = "r", **config: Any) -> Any:
    """Go on with it as another process would, to its end."""
    context = Options(None, RunConfig(**config), session=session)
    run = await load(id, agent, store=store, context=context)
    if run.standing != "done":
        run = await resume(id, agent, store=store, context=context)
        await run.drive()
    return run


async def killed_everywhere(make: Callable[[], Any], session: Callable[[int], Any], **config: Any) -> None:
    """Kill a run after each of its facts and go on with it; each time its session holds the same, once.

    ``session(k)``: another object over the k-th session, 0 is for the run that isn't killed."""
    store: Any = MemoryStore(keep_bytes=True)
    run = await begin(make(), session(0), store, **config)
    assert await run.drive() == "done"
    wanted = await session(0).get_items()
    total = len(run.facts)
    for k in range(1, total + 1):
        store = MemoryStore(keep_bytes=True)
        crashing = CrashingStore(store, k)
        before = asyncio.all_tasks()
        try:
            await (await begin(make(), session(k), crashing, **config)).drive()
        except Crash:
            pass
        left = asyncio.all_tasks() - before
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await crashing.bury()
        again = await go_on(make(), session(k), store, **config)
        assert again.standing == "done", f"killed after fact {k}: {again.standing}"
        assert await session(k).get_items() == wanted, f"killed after fact {k} of {total}"


__all__ = [
    "ELSEWHERE", "KINDS", "OWN", "Crash", "Logged", "MemoryStore", "Place", "SqliteStore", "begin", "go_on",
    "killed_everywhere", "said",
]  # fmt: skip
