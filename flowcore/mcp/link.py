"""One session with a server, in a task of its own: whoever opens, asks or closes it does so from any task.

The session's scopes belong to the task that entered them, so one task enters, waits and leaves; nobody else does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from flowcore.errors import UserError

if TYPE_CHECKING:
    from mcp import Client
    from mcp.client.session import MessageHandlerFnT

logger = logging.getLogger("flowcore.mcp")
T = TypeVar("T")

Streams: TypeAlias = AbstractAsyncContextManager[tuple[Any, Any]]
"""A transport: entered, it's what is read and what is written."""


def require_mcp() -> None:
    """Raises ``UserError`` where the package isn't installed."""
    try:
        import mcp  # noqa: F401
    except ImportError as error:
        raise UserError("MCP servers need the package mcp: pip install 'flowcore[mcp]'") from error


class Asked:
    """One request. ``rejected``: the server knows no such session, and so didn't do what was asked."""

    __slots__ = ("rejected",)

    def __init__(self) -> None:
        self.rejected = False


ASKED: ContextVar[Asked | None] = ContextVar("flowcore_mcp_asked", default=None)
"""The request that a transport is busy with: it sends in the context of whoever asks."""


class Link:
    """A session: ``opened`` waits until it's there, ``ask`` uses it, ``close`` ends it.

    ``over``: it ended or is ending, by our hand or the server's. ``error``: what it ended with. ``refused``: an HTTP
    error that the server answered with. ``session_id``: what the server calls it, where it does.
    """

    def __init__(
        self,
        streams: Callable[[Link], Streams],
        read_timeout_seconds: float | None,
        message_handler: MessageHandlerFnT,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.over = False
        self.error: BaseException | None = None
        self.refused: Exception | None = None
        self.session_id: str | None = None
        self.asking_at_end = 0
        self._asking = 0
        self._waiting = 0
        self._client: Client | None = None
        self._there = asyncio.Event()
        self._leave = asyncio.Event()
        self._task = asyncio.create_task(self._own(streams, read_timeout_seconds, message_handler))
        self._task.add_done_callback(self._done)

    async def _own(
        self,
        streams: Callable[[Link], Streams],
        read_timeout_seconds: float | None,
        message_handler: MessageHandlerFnT,
    ) -> None:
        from mcp import Client

        try:
            watched = _watched(streams(self), self._ended)
            async with Client(
                watched, cache=None, read_timeout_seconds=read_timeout_seconds, message_handler=message_handler
            ) as client:
                self._client = client
                self._there.set()
                try:
                    await self._leave.wait()
                finally:
                    self.over = True
                    self.asking_at_end = self._asking
        except (Exception, asyncio.CancelledError) as error:
            if self.error is None:
                self.error = error

    def _done(self, task: asyncio.Task[None]) -> None:
        """Whatever became of the task, even if it was cancelled before it began."""
        self.over = True
        self._there.set()

    async def opened(self) -> None:
        """Wait until the session is there. Raises what kept it from being.

        When the last that waits is cancelled, so is the opening, and what it began is undone.
        """
        self._waiting += 1
        try:
            await self._there.wait()
        except asyncio.CancelledError:
            if self._waiting == 1 and not self._there.is_set():
                await self.close()
            raise
        finally:
            self._waiting -= 1
        if self._client is None:
            await asyncio.wait([self._task])
            raise self.error or ConnectionError("closed while it was opened")

    async def ask(self, question: Callable[[Client], Awaitable[T]], asked: Asked) -> T:
        """Ask the open session; ``asked`` learns what became of the request."""
        assert self._client is not None, "ask() before opened()"
        self._asking += 1
        token = ASKED.set(asked)
        try:
            return await question(self._client)
        finally:
            ASKED.reset(token)
            self._asking -= 1

    def leave(self, error: BaseException | None = None) -> None:
        """Have the session ended, because of ``error`` if there is one; don't wait for it."""
        self.over = True
        if self.error is None:
            self.error = error
        self._leave.set()
        if self._client is None and not self._task.cancelling():  # a second cancel would tear what the first undoes
            self._task.cancel()

    def _ended(self) -> None:
        """The server has nothing more to say. A handshake that is under way notices by itself."""
        self.over = True
        self._leave.set()

    async def close(self) -> None:
        """End the session and wait until nothing is left of it: no process, no connection."""
        self.leave()
        await asyncio.wait([self._task])


def leaves(error: BaseException | None) -> Iterator[BaseException]:
    """The errors within an error: those of groups and of causes, the innermost last."""
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from leaves(one)
    elif error is not None:
        yield error
        yield from leaves(error.__cause__)


@asynccontextmanager
async def _watched(streams: Streams, on_end: Callable[[], None]) -> AsyncIterator[tuple[Any, Any]]:
    """The same streams; ``on_end`` is called as soon as the server has nothing more to say."""
    async with streams as (read, write):
        yield _Watched(read, on_end), write


class _Watched:
    """A read stream that tells when it ends."""

    def __init__(self, inner: Any, on_end: Callable[[], None]) -> None:
        self._inner = inner
        self._on_end = on_end

    @property
    def last_context(self) -> Any:
        """The sender's context of the last message, where the stream has it."""
        return getattr(self._inner, "last_context", None)

    async def receive(self) -> Any:
        return await self._inner.receive()

    async def aclose(self) -> None:
        await self._inner.aclose()

    def __aiter__(self) -> _Watched:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._inner.__anext__()
        except asyncio.CancelledError:
            raise
        except BaseException:  # the end, or a stream that was closed: either way nothing more comes
            self._on_end()
            raise

    async def __aenter__(self) -> _Watched:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> Any:
        return await self._inner.__aexit__(*error)
