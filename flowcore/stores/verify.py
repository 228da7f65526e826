"""``verify``: read everything that a store keeps, and say of what can't be read what it is and what can be done.

A store that can be verified has, besides what every store has, ``flaws`` and ``names``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, cast

from flowcore.errors import KeyMissing, RunNotFound, StoreError, UserError
from flowcore.graph.values import shorten
from flowcore.stores.base import Store

Kind = Literal["run", "session"]

_RUNS, _SESSIONS = "r", "s"
"""How a cursor begins that stands among the runs, and among the sessions."""


class Verifiable(Store, Protocol):
    """A store that can tell all that it keeps."""

    async def flaws(self) -> list[str]:
        """What the database finds wrong with the whole: rows that a damaged index hides, records of no run."""

    async def names(self, kind: Kind, after: str | None, limit: int) -> list[str]:
        """Ids of runs, children too, or of sessions, in their order, above ``after``; told though they can't be
        read."""


@dataclass(frozen=True, slots=True)
class Damage:
    """Something that can't be read as it was written. ``kind``: "store", "run" or "session"; ``name``: its id ("" of
    the store). ``error``: what is wrong. ``cure``: what can be done about it. ``root``: of a run that only a copy can
    bring back, its root's id, as far as that can be read: what may be deleted to be rid of it."""

    kind: Literal["store", "run", "session"]
    name: str
    error: str
    cure: str
    root: str | None = None


@dataclass(slots=True)
class Verified:
    """A page of what was verified: how many ``runs`` (children too), ``facts`` and ``sessions`` were read, and what is
    damaged. ``after``: where the next page begins; None: this was the last."""

    runs: int = 0
    facts: int = 0
    sessions: int = 0
    damages: list[Damage] = field(default_factory=list)
    after: str | None = None

    @property
    def sound(self) -> bool:
        """Whether nothing is damaged."""
        return not self.damages


async def verify(given: Store, limit: int | None, after: str | None) -> Verified:
    """A store's ``verify``. Raises UserError for a store that keeps nothing that could be damaged, and for no cursor;
    StoreError where the store can't be reached."""
    if not hasattr(given, "flaws"):
        raise UserError(f"{type(given).__name__} keeps its runs in memory, where there's nothing to verify")
    if limit is not None and (type(limit) is not int or limit < 1):
        raise UserError(f"verify(limit={limit!r}): give a whole number above 0, or None for all")
    check_cursor(after)
    one = _Verifying(cast(Verifiable, given), Verified())
    await one.go(limit, after)
    return one.told


def check_cursor(after: str | None) -> None:
    """Raises UserError for what is no page's ``after``."""
    if after is not None and after[:1] not in (_RUNS, _SESSIONS):
        raise UserError(f"after={shorten(after)}: give the `after` of an earlier page")


AT_ONCE = 500
"""Names that are asked for at a time."""


@dataclass(frozen=True, slots=True)
class _Verifying:
    store: Verifiable
    told: Verified

    async def go(self, limit: int | None, after: str | None) -> None:
        if after is None:
            for flaw in await self.store.flaws():
                self._flawed(flaw)
        left = limit
        begin = after or _RUNS
        for mark, kind in ((_RUNS, "run"), (_SESSIONS, "session")):
            if begin[0] > mark:
                continue
            last = begin[1:] or None if begin[0] == mark else None
            while names := await self._names(cast(Kind, kind), last, AT_ONCE if left is None else min(AT_ONCE, left)):
                for name in names:
                    await (self._run(name) if kind == "run" else self._session(name))
                if last is not None and names[-1] <= last:
                    self._flawed(f"the list of its {kind}s goes round; what comes after '{last}' wasn't read")
                    break
                last = names[-1]
                if left is not None:
                    left -= len(names)
                    if left == 0:
                        self.told.after = mark + last if await self._more(mark, last) else None
                        return

    async def _more(self, mark: str, last: str) -> bool:
        """Whether anything is left after a name."""
        if mark == _RUNS and await self._names("run", last, 1):
            return True
        return bool(await self._names("session", last if mark == _SESSIONS else None, 1))

    async def _names(self, kind: Kind, last: str | None, limit: int) -> list[str]:
        try:
            return await self.store.names(kind, last, limit)
        except StoreError as error:
            if not error.lasting:
                raise
            self._flawed(f"{error.message}; what comes after '{last or ''}' in the list of its {kind}s wasn't read")
            return []

    def _flawed(self, error: str) -> None:
        self.told.damages.append(Damage("store", "", error, str(getattr(self.store, "CURE", _OF_STORE))))

    async def _run(self, run: str) -> None:
        root = run

        async def index() -> None:
            nonlocal root
            root = (await self.store.get(run)).root

        async def journal() -> None:
            self.told.facts += len(await self.store.read(run))

        async def questions() -> None:
            await self.store.requests(run, limit=2**31)

        self.told.runs += 1
        errors = [await self._error_of(one) for one in (index, journal)]
        if root == run:
            errors += [await self._error_of(one) for one in (questions, lambda: self.store.inbox(run))]
        for error in {one.message: one for one in errors if one is not None}.values():
            missing = isinstance(error, KeyMissing)
            cure, above = (_KEY, None) if missing else (_OF_RUN, root)
            self.told.damages.append(Damage("run", run, error.message, cure, above))

    async def _session(self, session: str) -> None:
        self.told.sessions += 1
        error = await self._error_of(lambda: self.store.session_items(session))
        if error is not None:
            cure = _KEY if isinstance(error, KeyMissing) else _OF_SESSION
            self.told.damages.append(Damage("session", session, error.message, cure))

    async def _error_of(self, ask: Callable[[], Awaitable[Any]]) -> StoreError | None:
        """What is wrong with an answer; None: nothing, or it's gone. Raises StoreError where it's the store itself
        that doesn't answer."""
        try:
            await ask()
        except RunNotFound:
            return None  # deleted meanwhile
        except StoreError as error:
            if not error.lasting:
                await self.store.names("run", None, 1)
            return error
        return None


_OF_STORE = "put it back from a copy in which it's whole"
_KEY = "verify it again with the key; where no such key was ever used, put the store back from a copy"
_OF_RUN = "put the store back from a copy in which it's whole, or give its whole tree up: delete its root"
_OF_SESSION = "put the store back from a copy in which it's whole, or give its items up: await store.session_clear(…)"
