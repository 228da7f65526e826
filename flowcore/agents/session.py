"""What a session is: a conversation kept under an id, that runs read when they begin and add to as they go.

A session of the run's own store needs none of this (``session="id"``): it's written with the run's facts. These are the
sessions that live elsewhere. The backends are in ``flowcore.sessions``; how a run's input is made from a history, in
``flowcore.agents.session_input``.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast, runtime_checkable

from flowcore.errors import UserError
from flowcore.models.base import Item

if TYPE_CHECKING:
    from flowcore.agents.context import RunContextWrapper

VERBS = ("get_items", "add_items", "pop_item", "clear_session")
"""What every session can do."""


@dataclass
class SessionSettings:
    """How a session is read. ``limit``: only the latest so many items; None: all of them."""

    limit: int | None = None

    def __post_init__(self) -> None:
        self.limit = checked_limit(self.limit)

    def resolve(self, override: SessionSettings | Mapping[str, Any] | None) -> SessionSettings:
        """These settings, under what ``override`` sets: its None leaves this one's value."""
        over = settings_of(override)
        return SessionSettings(self.limit if over is None or over.limit is None else over.limit)

    def to_dict(self) -> dict[str, Any]:
        """The settings as a dict."""
        return {"limit": self.limit}


Settings: TypeAlias = SessionSettings | Mapping[str, Any] | None
"""What a session takes as its settings: the object, a dict of its fields, or None."""


def settings_of(value: Settings) -> SessionSettings | None:
    """Settings from what a user gave. Raises TypeError for names that aren't settings, UserError for another type."""
    if value is None or isinstance(value, SessionSettings):
        return value
    if not isinstance(value, Mapping):
        raise UserError(
            f"session_settings={value!r} ({type(value).__name__}): give SessionSettings(limit=...), a dict or None"
        )
    unknown = sorted(str(name) for name in value if name != "limit")
    if unknown:
        raise TypeError(f"Unknown session settings: {', '.join(unknown)}; there is 'limit'")
    return SessionSettings(value.get("limit"))


def checked_limit(limit: int | None) -> int | None:
    """``limit`` as it is. Raises UserError unless it's None or a whole number from 0 on."""
    if limit is None or (isinstance(limit, int) and not isinstance(limit, bool) and limit >= 0):
        return limit
    raise UserError(f"session limit={limit!r}: give the number of latest items to read (0: none), or None for all")


@runtime_checkable
class Session(Protocol):
    """A conversation kept under an id. Any object with these members is one.

    A method that also takes a keyword ``wrapper`` is given the run's ``RunContextWrapper``.
    """

    session_id: str
    session_settings: SessionSettings | None = None

    async def get_items(self, limit: int | None = None) -> list[Item]:
        """The items, oldest first; with ``limit`` the latest so many, None: as ``session_settings`` say."""
        ...

    async def add_items(self, items: list[Item]) -> None:
        """Add items at the end, all or none."""
        ...

    async def pop_item(self) -> Item | None:
        """Remove and return the latest item; None if there's none."""
        ...

    async def clear_session(self) -> None:
        """Remove all items."""
        ...


class SessionABC(Session, ABC):
    """The base of the sessions here, and a convenient one for your own."""

    session_id: str
    session_settings: SessionSettings | None = None

    @abstractmethod
    async def get_items(self, limit: int | None = None) -> list[Item]:
        """The items, oldest first; with ``limit`` the latest so many, None: as ``session_settings`` say."""

    @abstractmethod
    async def add_items(self, items: list[Item]) -> None:
        """Add items at the end, all or none."""

    @abstractmethod
    async def pop_item(self) -> Item | None:
        """Remove and return the latest item; None if there's none."""

    @abstractmethod
    async def clear_session(self) -> None:
        """Remove all items."""


def as_session(value: Any) -> Session:
    """``value`` if it can do what a session does, else UserError. It may lack ``session_settings``."""
    missing = [verb for verb in VERBS if not callable(getattr(value, verb, None))]
    if missing or isinstance(value, type):
        what = "it's a class, not an object" if not missing else f"it has no {', '.join(missing)}"
        raise UserError(f"session={value!r} ({type(value).__name__}) is no session: {what}; see flowcore.SessionABC")
    return cast(Session, value)


async def begun(session: Session) -> str:
    """The session's id. One that is given it at its first call, by a server, is called. Raises UserError where there is
    none."""
    try:
        return session.session_id
    except (AttributeError, ValueError):
        await session.get_items(0)
    found: str | None = getattr(session, "session_id", None)
    if found is None:
        raise UserError(f"session={session!r} ({type(session).__name__}) has no session_id; see flowcore.SessionABC")
    return found


@lru_cache(maxsize=1024)
def takes_wrapper(kind: Hashable, verb: str) -> bool:
    """Whether this class's ``verb`` declares a ``wrapper`` keyword. Looked up once a class."""
    try:
        parameter = inspect.signature(getattr(kind, verb)).parameters.get("wrapper")
    except (AttributeError, TypeError, ValueError):  # forwarded by __getattr__, or written in C
        return False
    return parameter is not None and parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)


async def ask(session: Any, verb: str, *given: Any, wrapper: RunContextWrapper[Any] | None = None) -> Any:
    """Call ``session.verb(*given)``, with ``wrapper`` where its class asks for it."""
    method = getattr(session, verb)
    if wrapper is not None and takes_wrapper(session.__class__, verb):
        return await method(*given, wrapper=wrapper)
    return await method(*given)


def limit_of(session: Any, override: Settings = None) -> int | None:
    """How many items a run reads: the session's own settings under the run's."""
    own = settings_of(getattr(session, "session_settings", None)) or SessionSettings()
    return own.resolve(override).limit
