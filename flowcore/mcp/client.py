"""A server that is asked through a session: what is listed and kept, what is tried again, and what a loss is called.

A request that surely never reached the server is sent again over a new session. One that may have reached it is sent
again only if it reads (lists, prompts, resources) or ``max_retry_attempts`` asks for it: so a tool is called at most
once by default.
"""

from __future__ import annotations

import abc
import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from flowcore.agents.context import RunContextWrapper
from flowcore.agents.tools import ToolErrorFunction
from flowcore.errors import UserError
from flowcore.mcp.base import UNSET, MCPServer, _Unset
from flowcore.mcp.filters import check_filter, filtered
from flowcore.mcp.link import Asked, Link, Streams, leaves, require_mcp
from flowcore.mcp.naming import shown_name
from flowcore.mcp.options import MCPToolCustomDataExtractor, MCPToolMetaResolver, RequireApproval, ToolFilter

if TYPE_CHECKING:
    from mcp import Client, MCPError
    from mcp.types import (
        CallToolResult,
        GetPromptResult,
        ListPromptsResult,
        ListResourcesResult,
        ListResourceTemplatesResult,
        Prompt,
        ReadResourceResult,
        Tool,
    )

logger = logging.getLogger("flowcore.mcp")
T = TypeVar("T")
MessageHandler = Callable[[Any], Awaitable[None]]
"""Is handed every notification of the server, and the transport's errors."""
LOST = "Connection lost. The server may have disconnected."


class _Lost(Exception):
    """The session ended under a request. ``unsent``: the server surely hasn't done what was asked."""

    def __init__(self, error: UserError, unsent: bool) -> None:
        super().__init__(str(error))
        self.error = error
        self.unsent = unsent


class ConnectedServer(MCPServer):
    """A server with a session. Its subclasses say by which transport."""

    def __init__(
        self,
        name: str,
        cache_tools_list: bool = False,
        client_session_timeout_seconds: float | None = 5,
        tool_filter: ToolFilter = None,
        use_structured_content: bool = False,
        max_retry_attempts: int = 0,
        retry_backoff_seconds_base: float = 1.0,
        message_handler: MessageHandler | None = None,
        require_approval: RequireApproval = None,
        failure_error_function: ToolErrorFunction | _Unset | None = UNSET,
        tool_meta_resolver: MCPToolMetaResolver | None = None,
        custom_data_extractor: MCPToolCustomDataExtractor | None = None,
        retry_backoff_seconds_max: float | None = None,
        *,
        tool_input_guardrails: list[Any] | None = None,
        tool_output_guardrails: list[Any] | None = None,
        max_list_pages: int | None = None,
    ) -> None:
        super().__init__(
            use_structured_content,
            require_approval,
            failure_error_function,
            tool_meta_resolver,
            custom_data_extractor,
            tool_input_guardrails=tool_input_guardrails,
            tool_output_guardrails=tool_output_guardrails,
        )
        check_filter(tool_filter)
        _check_numbers(
            client_session_timeout_seconds,
            max_retry_attempts,
            retry_backoff_seconds_base,
            retry_backoff_seconds_max,
            max_list_pages,
        )
        self._name = name
        self.cache_tools_list = cache_tools_list
        self.client_session_timeout_seconds = client_session_timeout_seconds
        self.tool_filter = tool_filter
        self.max_retry_attempts = max_retry_attempts
        self.retry_backoff_seconds_base = retry_backoff_seconds_base
        self.retry_backoff_seconds_max = retry_backoff_seconds_max
        self.message_handler = message_handler
        self.max_list_pages = max_list_pages
        self._link: Link | None = None
        self._tools: list[Tool] | None = None
        self._fresh = False
        self._listings = 0

    @property
    def name(self) -> str:
        return self._name

    @abc.abstractmethod
    def streams(self, link: Link) -> Streams:
        """The transport of one session."""

    # --- the session --------------------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Connect; does nothing where it's connected. May be called and cancelled in any task.

        Raises ``UserError`` naming the server: it can't be reached, it refuses, it doesn't speak MCP, or the package
        isn't installed.
        """
        require_mcp()
        link = self._link
        if link is None or link.loop.is_closed():
            link = self._open()
        await self._opened(await self._renewed(link) or self._open())

    async def cleanup(self) -> None:
        """End the session, in whatever task it was begun, and wait until it's gone."""
        link, self._link = self._link, None
        self.invalidate_tools_cache()
        self._tools = None
        if link is not None and not link.loop.is_closed():
            self._check_loop(link)
            await link.close()

    def _open(self) -> Link:
        self._link = Link(self.streams, self.client_session_timeout_seconds, self._on_message)
        return self._link

    async def _renewed(self, link: Link) -> Link | None:
        """This session, or the one after it where it's over; None where it was cleaned up meanwhile."""
        self._check_loop(link)
        current: Link | None = link
        while current is not None and current.over:
            await current.close()  # no two processes of one server at a time
            if self._link is current:
                self._open()
            current = self._link
        return current

    async def _opened(self, link: Link) -> None:
        try:
            await link.opened()
        except asyncio.CancelledError as error:
            if error is not link.error:
                raise
            cause = None  # the session's own cancel, not ours
        except Exception as error:
            cause = None if _http_words(link, connecting=True) else error
        else:
            return
        raise self._unreachable(link) from cause

    def _check_loop(self, link: Link) -> None:
        if link.loop is not asyncio.get_running_loop():
            raise UserError(
                f"MCP server '{shown_name(self.name)}' was connected in another event loop; connect it in the loop"
                " that uses it"
            )

    def _connected(self) -> Link:
        if self._link is None:
            raise UserError("Server not initialized. Make sure you call `connect()` first.")
        self._check_loop(self._link)
        return self._link

    async def _live(self, what: str) -> Link:
        """The session; a new one where the last is lost, for then nothing is asked twice."""
        link = self._connected()
        again = link.over
        if again:
            logger.warning("MCP server '%s': the session was lost; connecting again", shown_name(self.name))
            self.invalidate_tools_cache()
            link = await self._renewed(link) or self._connected()
        try:
            await self._opened(link)
        except UserError as error:
            if not again:
                raise
            raise UserError(f"{self._failed(what)}{LOST} Connecting again failed: {error}") from error
        return link

    async def _on_message(self, message: Any) -> None:
        from mcp.types import ToolListChangedNotification

        if isinstance(message, ToolListChangedNotification):
            self.invalidate_tools_cache()
        if self.message_handler is not None:
            await self.message_handler(message)

    # --- a request ----------------------------------------------------------------------------------------------------

    async def _ask(self, what: str, question: Callable[[Client], Awaitable[T]], reads: bool = True) -> T:
        """Ask, and ask again as the module's rule says. ``reads``: it does no harm twice."""
        self._connected()
        if self.max_retry_attempts == 0:
            return await self._ask_once(what, question, reads)
        from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, stop_never, wait_exponential

        longest = self.retry_backoff_seconds_max
        wait = wait_exponential(self.retry_backoff_seconds_base, **({} if longest is None else {"max": longest}))
        stop = stop_never if self.max_retry_attempts == -1 else stop_after_attempt(self.max_retry_attempts + 1)
        retrying = AsyncRetrying(stop=stop, wait=wait, retry=retry_if_exception_type(Exception), reraise=True)
        return await retrying(self._ask_once, what, question, reads)

    async def _ask_once(self, what: str, question: Callable[[Client], Awaitable[T]], reads: bool) -> T:
        try:
            return await self._sent(what, question)
        except _Lost as lost:
            if not (lost.unsent or reads):
                raise lost.error from None
        try:
            return await self._sent(what, question)
        except _Lost as lost:
            raise lost.error from None

    async def _sent(self, what: str, question: Callable[[Client], Awaitable[T]]) -> T:
        from mcp import MCPError

        link, asked = await self._live(what), Asked()
        try:
            return await link.ask(question, asked)
        except MCPError as error:
            if asked.rejected:
                words = "The server ended the session."
            elif _is_cut(error):  # this answer won't come; the session may be well
                words = LOST
            elif _is_closed(error):
                words = None
            else:
                raise
        if words != LOST:
            await link.close()  # what it ended with is known only when it has ended
        unsent = asked.rejected or (words is None and _is_unreachable(link) and link.asking_at_end == 1)
        raise _Lost(UserError(self._failed(what) + (words or _http_words(link) or LOST)), unsent)

    def _failed(self, what: str) -> str:
        return f"Failed to {what} on MCP server '{shown_name(self.name)}': "

    def _unreachable(self, link: Link) -> UserError:
        words = _http_words(link, connecting=True)
        if words is None:
            last = next((one for one in reversed(list(leaves(link.error))) if str(one)), link.error)
            words = "closed while it was connected." if last is None else f"{str(last) or type(last).__name__}"
        return UserError(f"Failed to connect to MCP server '{shown_name(self.name)}': {words}")

    # --- what is asked ------------------------------------------------------------------------------------------------

    def invalidate_tools_cache(self) -> None:
        """Have the tools listed anew when they're asked for next."""
        self._fresh = False
        self._listings += 1

    @property
    def cached_tools(self) -> list[Tool] | None:
        return self._tools

    async def list_tools(self, run_context: RunContextWrapper[Any] | None = None, agent: Any = None) -> list[Tool]:
        """The tools that the filter lets through; with ``cache_tools_list`` the server is asked once.

        Raises ``UserError`` (not connected, lost, a filter function without context and agent) and ``MCPError``.
        """
        tools = self._tools if self.cache_tools_list and self._fresh else None
        if tools is None or self._link is None:
            tools = await self._listed()
        return await filtered(tools, self.tool_filter, self.name, run_context, agent)

    async def _listed(self) -> list[Tool]:
        before = self._listings
        tools: list[Tool] = await self._pages(
            "list tools", lambda client, cursor: client.list_tools(cursor=cursor), "tools"
        )
        if before == self._listings:  # no word of a change came meanwhile
            self._tools, self._fresh = tools, True
        return tools

    async def _pages(self, what: str, page: Callable[[Client, str | None], Awaitable[Any]], items: str) -> list[Any]:
        """Everything that a listing holds, page by page."""
        found: list[Any] = []
        cursors: set[str | None] = set()
        cursor: str | None = None
        while True:
            if self.max_list_pages is not None and len(cursors) >= self.max_list_pages:
                raise UserError(
                    f"{self._failed(what)}it has more pages than max_list_pages={self.max_list_pages};"
                    " allow more, or see why the server's listing doesn't end"
                )
            cursors.add(cursor)
            result = await self._ask(what, lambda client, at=cursor: page(client, at))  # type: ignore[misc]
            found.extend(getattr(result, items))
            cursor = result.next_cursor
            if cursor is None:
                return found
            if cursor in cursors:
                raise UserError(f"{self._failed(what)}the server returned a repeated cursor.")

    async def call_tool(
        self, tool_name: str, arguments: dict[str, Any] | None, meta: dict[str, Any] | None = None
    ) -> CallToolResult:
        """Call a tool. A call that may have reached the server is repeated only as ``max_retry_attempts`` says.

        Raises ``UserError`` (not connected, lost, a required parameter is missing) and ``MCPError`` (the server
        refused, or didn't answer within ``client_session_timeout_seconds``).
        """
        what = f"call tool '{tool_name}'"
        if self._link is not None:  # else it's said that it isn't connected
            self._check_required(what, tool_name, arguments)
        sent: Any = meta
        return await self._ask(what, lambda client: client.call_tool(tool_name, arguments, meta=sent), reads=False)

    def _check_required(self, what: str, tool_name: str, arguments: Any) -> None:
        tool = next((one for one in self._tools or () if one.name == tool_name), None) if self._fresh else None
        required = tool.input_schema.get("required") if tool is not None else None
        if not isinstance(required, list) or not required:
            return
        given = {} if arguments is None else arguments
        if not isinstance(given, dict):
            raise UserError(f"{self._failed(what)}arguments must be an object.")
        missing = sorted(name for name in required if isinstance(name, str) and name not in given)
        if missing:
            raise UserError(f"{self._failed(what)}missing required parameters: {', '.join(missing)}")

    async def list_prompts(self) -> ListPromptsResult:
        """All of the server's prompts."""
        from mcp.types import ListPromptsResult

        prompts: list[Prompt] = await self._pages(
            "list prompts", lambda client, cursor: client.list_prompts(cursor=cursor), "prompts"
        )
        return ListPromptsResult(prompts=prompts)

    async def get_prompt(self, name: str, arguments: dict[str, Any] | None = None) -> GetPromptResult:
        """One prompt, filled with ``arguments``."""
        return await self._ask(f"get prompt '{name}'", lambda client: client.get_prompt(name, arguments))

    async def list_resources(self, cursor: str | None = None) -> ListResourcesResult:
        """A page of the server's resources; ``cursor`` is the last page's ``next_cursor``."""
        return await self._ask("list resources", lambda client: client.list_resources(cursor=cursor))

    async def list_resource_templates(self, cursor: str | None = None) -> ListResourceTemplatesResult:
        """A page of the server's resource templates; ``cursor`` is the last page's ``next_cursor``."""
        return await self._ask("list resource templates", lambda client: client.list_resource_templates(cursor=cursor))

    async def read_resource(self, uri: str) -> ReadResourceResult:
        """The content of a resource."""
        return await self._ask(f"read resource '{uri}'", lambda client: client.read_resource(uri))


def _check_numbers(timeout: float | None, attempts: int, base: float, longest: float | None, pages: int | None) -> None:
    if timeout is not None and not timeout > 0:
        raise UserError(f"client_session_timeout_seconds must be more than 0, or None; it's {timeout!r}")
    if attempts < -1:
        raise UserError(f"max_retry_attempts must be 0 or more, or -1 for no end; it's {attempts!r}")
    if not base >= 0 or (longest is not None and not longest >= 0):
        raise UserError("retry_backoff_seconds_base and retry_backoff_seconds_max must be 0 or more")
    if pages is not None and pages < 1:
        raise UserError(f"max_list_pages must be 1 or more, or None; it's {pages!r}")


def _is_closed(error: MCPError) -> bool:
    from mcp.types import CONNECTION_CLOSED

    return error.code == CONNECTION_CLOSED and error.message == "Connection closed"


def _is_cut(error: MCPError) -> bool:
    """Whether the stream of this one answer ended. Servers use the same code for errors of their own."""
    from mcp.types import CONNECTION_CLOSED

    return error.code == CONNECTION_CLOSED and error.message.startswith("SSE stream ")


def _is_unreachable(link: Link) -> bool:
    from httpx2 import ConnectError

    return any(isinstance(one, ConnectError) for one in leaves(link.error))


def _http_words(link: Link, connecting: bool = False) -> str | None:
    """What HTTP says of a session's end, None if nothing. Never its URL: that may hold a secret."""
    from httpx2 import ConnectError, HTTPStatusError, RequestError, TimeoutException

    for error in [*leaves(link.error), *(leaves(link.refused) if connecting else ())]:
        if isinstance(error, HTTPStatusError):
            reason = f" ({error.response.reason_phrase})" if connecting and error.response.reason_phrase else ""
            return f"HTTP error {error.response.status_code}{reason}"
        if isinstance(error, ConnectError):
            return "Could not reach the server." if connecting else LOST
        if isinstance(error, TimeoutException):
            return "Connection timeout."
        if isinstance(error, RequestError):
            return "Request failed."
    return None
