"""Many servers, connected and let go of together. Each is kept by a task of its own, which connects it and cleans it
up: what a server enters, the same task leaves."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from flowcore.mcp.base import MCPServer
from flowcore.mcp.naming import shown_name

logger = logging.getLogger("flowcore.mcp")


class MCPServerManager:
    """Connects servers and offers those that are there: ``async with MCPServerManager([...]) as manager``, then
    ``Agent(mcp_servers=manager.active_servers)``.

    ``connect_timeout_seconds``, ``cleanup_timeout_seconds``: for each server, None for no end. ``drop_failed_servers``:
    ``active_servers`` holds only the connected ones. ``strict``: the first failure is raised, and everything is cleaned
    up. ``suppress_cancelled_error``: a server whose connecting was cancelled from within counts as failed; without it
    that cancel is raised. ``connect_in_parallel``: all at once instead of one by one.

    Raises TypeError and ValueError for timeouts that can't be.
    """

    def __init__(
        self,
        servers: Iterable[MCPServer],
        *,
        connect_timeout_seconds: float | None = 10.0,
        cleanup_timeout_seconds: float | None = 10.0,
        drop_failed_servers: bool = True,
        strict: bool = False,
        suppress_cancelled_error: bool = True,
        connect_in_parallel: bool = False,
    ) -> None:
        self.connect_timeout_seconds = _timeout("connect_timeout_seconds", connect_timeout_seconds)
        self.cleanup_timeout_seconds = _timeout("cleanup_timeout_seconds", cleanup_timeout_seconds)
        self.drop_failed_servers = drop_failed_servers
        self.strict = strict
        self.suppress_cancelled_error = suppress_cancelled_error
        self.connect_in_parallel = connect_in_parallel
        self._servers = list(dict.fromkeys(servers))
        self._keepers: dict[MCPServer, _Keeper] = {}
        self._errors: dict[MCPServer, BaseException] = {}
        self._failed: list[MCPServer] = []
        self._active = list(self._servers)
        self._lock = asyncio.Lock()

    @property
    def all_servers(self) -> list[MCPServer]:
        """Every server, connected or not."""
        return list(self._servers)

    @property
    def active_servers(self) -> list[MCPServer]:
        """The servers to give to an agent, as of the last connecting or cleaning up."""
        return list(self._active)

    @property
    def failed_servers(self) -> list[MCPServer]:
        """The servers that couldn't be connected."""
        return list(self._failed)

    @property
    def errors(self) -> dict[MCPServer, BaseException]:
        """What went wrong, by server."""
        return dict(self._errors)

    async def __aenter__(self) -> Self:
        await self.connect_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.cleanup_all()

    async def connect_all(self) -> list[MCPServer]:
        """Connect those that aren't connected, and give the active servers. Raises as ``strict`` says."""
        async with self._lock:
            self._failed, self._errors = [], {}
            return await self._connect([one for one in self._servers if one not in self._keepers])

    async def reconnect(self, *, failed_only: bool = True) -> list[MCPServer]:
        """Connect the failed servers, or all of them anew, and give the active servers. Raises as ``strict`` says."""
        async with self._lock:
            if failed_only:
                again = list(self._failed)
            else:
                await self._cleanup(self._servers)
                again, self._failed, self._errors = self._servers, [], {}
            return await self._connect(again)

    async def cleanup_all(self) -> None:
        """Clean up every server, the last one first. What goes wrong is logged, and stands in ``errors``."""
        async with self._lock:
            try:
                await self._cleanup(self._servers)
            finally:
                self._refresh()

    async def _connect(self, servers: list[MCPServer]) -> list[MCPServer]:
        begun: list[MCPServer] = []
        try:
            if self.connect_in_parallel:
                begun = servers
                keepers = [self._keep(server) for server in servers]
                await asyncio.gather(*(keeper.opened() for keeper in keepers))
                for server, keeper in zip(servers, keepers, strict=True):
                    self._take(server, keeper)
            else:
                for server in servers:
                    begun.append(server)
                    keeper = self._keep(server)
                    await keeper.opened()
                    self._take(server, keeper)
        except BaseException:
            await self._cleanup(begun)
            raise
        finally:
            self._refresh()
        return self.active_servers

    def _keep(self, server: MCPServer) -> _Keeper:
        keeper = self._keepers[server] = _Keeper(server, self.connect_timeout_seconds, self.cleanup_timeout_seconds)
        return keeper

    def _take(self, server: MCPServer, keeper: _Keeper) -> None:
        """Book a server as connected or as failed. Raises its error where that's asked for."""
        error = keeper.error
        if error is None:
            self._errors.pop(server, None)
            self._failed = [one for one in self._failed if one is not server]
            return
        logger.error(
            "Failed to connect MCP server '%s': %s", shown_name(server.name), str(error) or type(error).__name__
        )
        del self._keepers[server]
        self._errors[server] = error
        if server not in self._failed:
            self._failed.append(server)
        cancelled = isinstance(error, asyncio.CancelledError)
        if (cancelled and not self.suppress_cancelled_error) or (self.strict and not cancelled):
            raise error

    async def _cleanup(self, servers: Iterable[MCPServer]) -> None:
        for server in reversed(list(servers)):
            keeper = self._keepers.pop(server, None)
            if keeper is None:
                continue
            error = await keeper.close()
            if error is not None:
                _log("clean up", server, error)
                self._errors[server] = error

    def _refresh(self) -> None:
        gone = set(self._servers) - set(self._keepers) if self.drop_failed_servers else set()
        self._active = [server for server in self._servers if server not in gone]


class _Keeper:
    """One server's task. ``error``: what kept it from being connected, else what went wrong with its cleanup."""

    def __init__(self, server: MCPServer, connect_timeout: float | None, cleanup_timeout: float | None) -> None:
        self.error: BaseException | None = None
        self._server = server
        self._connect_timeout = connect_timeout
        self._cleanup_timeout = cleanup_timeout
        self._decided = asyncio.Event()
        self._leave = asyncio.Event()
        self._task = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        try:
            async with asyncio.timeout(self._connect_timeout):
                await self._server.connect()
        except (Exception, asyncio.CancelledError) as error:
            self.error = error
            await self._undo()
            return
        finally:
            self._decided.set()
        try:
            await self._leave.wait()
        finally:
            await self._clean()

    async def _undo(self) -> None:
        """Let go of what a failed connect may have taken."""
        first = self.error
        await self._clean()
        self.error = first

    async def _clean(self) -> None:
        try:
            async with asyncio.timeout(self._cleanup_timeout):
                await self._server.cleanup()
        except (Exception, asyncio.CancelledError) as error:
            self.error = error

    async def opened(self) -> None:
        """Wait until it's known whether the server is there."""
        await self._decided.wait()
        if self.error is not None:
            await asyncio.wait([self._task])

    async def close(self) -> BaseException | None:
        """Clean up, and wait until that's done; what went wrong."""
        if not self._decided.is_set():
            self._task.cancel()
        self._leave.set()
        await asyncio.wait([self._task])
        return self.error


def _log(what: str, server: MCPServer, error: BaseException) -> None:
    logger.error("Failed to %s MCP server '%s': %s", what, shown_name(server.name), str(error) or type(error).__name__)


def _timeout(name: str, seconds: float | None) -> float | None:
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"{name} must be a positive number in seconds or None.")
    if not math.isfinite(seconds) or seconds <= 0:
        raise ValueError(f"{name} must be a positive finite number of seconds or None.")
    return seconds
