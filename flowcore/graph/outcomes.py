"""What a node may answer: ``Goto``, ``Pause``, and the updates that go past a reducer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Generic, Literal, NamedTuple, TypeVar

from flowcore.errors import UserError

START: Final = "START"
END: Final = "END"

L = TypeVar("L", bound=str)


class Goto(Generic[L]):
    """Take the edge ``on``; ``update`` holds what is *new* for the state, joined in by each field's reducer.

    ``Goto[Literal["done", "again"]]`` as a return annotation is checked against the node's edges.
    """

    __slots__ = ("on", "update")

    def __init__(self, on: L, /, **update: Any) -> None:
        self.on = on
        self.update = update

    def __repr__(self) -> str:
        inner = "".join(f", {name}={value!r}" for name, value in self.update.items())
        return f"Goto({self.on!r}{inner})"


class Replace(NamedTuple):
    """A whole new value for a field, past its reducer."""

    value: Any


class Key(NamedTuple):
    """An element of an ``append`` field: the fact that brought it, and its position there. ``state.field.key(i)``
    gives it."""

    seq: int
    at: int


class Select(NamedTuple):
    """A list chosen from known elements, named by ``Key``, and new ones. ``of`` names the field they're chosen from."""

    elements: Sequence[Any]
    of: str | None = None


class Of:
    """The recorded value of this visit's effect ``key``, or of a part of it: no byte is stored twice."""

    __slots__ = ("key", "path")

    def __init__(self, key: str, *path: str | int) -> None:
        self.key = key
        self.path = path

    def __repr__(self) -> str:
        return f"Of({', '.join(map(repr, (self.key, *self.path)))})"


class Ask(NamedTuple):
    """A request to open: ``key`` is unique in the run, ``data`` says what is asked (JSON), ``schema`` is the answer's
    type.

    ``schema``: a pydantic model or another type; the answer is validated against it before it's accepted.
    """

    key: str
    data: Any = None
    schema: Any = None
    kind: str = "decision"


class Pause:
    """The run waits here; the node isn't run again.

    ``requests``: ``Ask`` objects to open, or keys of requests that are open already; without any, only time ends the
    wait. ``enough``: "all" or "any" of them answered takes the edge ``on``; the answers go into the field ``into`` as
    a dict
    by key. ``until``: a moment (seconds since the epoch) after which the edge ``late`` is taken.
    """

    __slots__ = ("enough", "into", "late", "on", "requests", "until")

    def __init__(
        self,
        *requests: Ask | str,
        on: str = "answered",
        into: str | None = None,
        until: float | None = None,
        late: str | None = None,
        enough: Literal["all", "any"] = "all",
    ) -> None:
        if enough not in ("all", "any"):
            raise UserError(f"Pause(enough={enough!r}): it is 'all' or 'any'")
        if not requests and until is None:
            raise UserError("Pause() waits for nothing: give it a request, or a moment `until=`")
        self.requests = requests
        self.on = on
        self.into = into
        self.until = until
        self.late = late
        self.enough = enough
