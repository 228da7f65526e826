"""Servers by what they're reached by: a process's pipes, server-sent events, streamable HTTP."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TextIO, TypeAlias, TypedDict

from flowcore.agents.tools import ToolErrorFunction
from flowcore.errors import UserError
from flowcore.mcp.base import UNSET, _Unset
from flowcore.mcp.client import ConnectedServer, MessageHandler
from flowcore.mcp.link import ASKED, Link, Streams
from flowcore.mcp.options import MCPToolCustomDataExtractor, MCPToolMetaResolver, RequireApproval, ToolFilter

if TYPE_CHECKING:
    from httpx2 import AsyncClient, Response

HttpClientFactory: TypeAlias = "Callable[..., AsyncClient]"
"""Makes the HTTP client of a session: ``(headers=, timeout=, auth=) -> httpx2.AsyncClient``."""


class MCPServerStdioParams(TypedDict):
    """How a server's process is started, and the encoding of its pipes.

    ``env``: added to the few variables that a server inherits. ``cwd``: its working directory.
    """

    command: str
    args: NotRequired[list[str]]
    env: NotRequired[dict[str, str]]
    cwd: NotRequired[str | Path]
    encoding: NotRequired[str]
    encoding_error_handler: NotRequired[Literal["strict", "ignore", "replace"]]


class MCPServerSseParams(TypedDict):
    """Where a server is, and how it's asked.

    ``timeout``: of a request, 5 s. ``sse_read_timeout``: how long the stream may be silent, 300 s. ``auth``: an
    ``httpx2.Auth``.
    """

    url: str
    headers: NotRequired[dict[str, str]]
    timeout: NotRequired[float | timedelta]
    sse_read_timeout: NotRequired[float | timedelta]
    auth: NotRequired[Any]
    httpx_client_factory: NotRequired[HttpClientFactory]


class MCPServerStreamableHttpParams(TypedDict):
    """Where a server is, and how it's asked.

    ``timeout``: of a request, 5 s. ``sse_read_timeout``: how long an answer may be silent, 300 s.
    ``terminate_on_close``: tell the server that its session ends. ``auth``: an ``httpx2.Auth``.
    ``ignore_initialized_notification_failure``: only False; the mcp package has no such mode any more.
    """

    url: str
    headers: NotRequired[dict[str, str]]
    timeout: NotRequired[float | timedelta]
    sse_read_timeout: NotRequired[float | timedelta]
    terminate_on_close: NotRequired[bool]
    httpx_client_factory: NotRequired[HttpClientFactory]
    auth: NotRequired[Any]
    ignore_initialized_notification_failure: NotRequired[bool]


class MCPServerStdio(ConnectedServer):
    """A server that runs as a process of ours, from ``connect`` to ``cleanup``.

    ``params``: see ``MCPServerStdioParams``. ``cache_tools_list``: list the tools once, until the server says that
    they changed or ``invalidate_tools_cache`` is called. ``name``: by default from the command.
    ``client_session_timeout_seconds``: of each request, None for no end. ``tool_filter``: which tools are offered.
    ``max_retry_attempts``: how often a request that failed is repeated, -1 for no end; a tool call then may be carried
    out more than once. ``retry_backoff_seconds_base``: the first wait, doubled each time up to
    ``retry_backoff_seconds_max``. ``message_handler``: is handed the server's notifications. ``max_list_pages``: of a
    listing. The rest: see ``MCPServer``.
    """

    def __init__(
        self,
        params: MCPServerStdioParams,
        cache_tools_list: bool = False,
        name: str | None = None,
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
        _check(params, MCPServerStdioParams, "command")
        super().__init__(
            name or f"stdio: {params['command']}",
            cache_tools_list,
            client_session_timeout_seconds,
            tool_filter,
            use_structured_content,
            max_retry_attempts,
            retry_backoff_seconds_base,
            message_handler,
            require_approval,
            failure_error_function,
            tool_meta_resolver,
            custom_data_extractor,
            retry_backoff_seconds_max,
            tool_input_guardrails=tool_input_guardrails,
            tool_output_guardrails=tool_output_guardrails,
            max_list_pages=max_list_pages,
        )
        self.params = params

    def streams(self, link: Link) -> Streams:
        from mcp import StdioServerParameters, stdio_client

        return stdio_client(StdioServerParameters(**self.params), errlog=_errors())


def _errors() -> TextIO:
    """Where a server's stderr goes: to ours, where that is a file (in a notebook it isn't)."""
    try:
        sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):
        return sys.__stderr__ or sys.stderr
    return sys.stderr


class MCPServerSse(ConnectedServer):
    """A server that is reached by HTTP with server-sent events, the older way. Parameters: see ``MCPServerStdio``."""

    def __init__(
        self,
        params: MCPServerSseParams,
        cache_tools_list: bool = False,
        name: str | None = None,
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
        _check(params, MCPServerSseParams, "url")
        super().__init__(
            name or f"sse: {params['url']}",
            cache_tools_list,
            client_session_timeout_seconds,
            tool_filter,
            use_structured_content,
            max_retry_attempts,
            retry_backoff_seconds_base,
            message_handler,
            require_approval,
            failure_error_function,
            tool_meta_resolver,
            custom_data_extractor,
            retry_backoff_seconds_max,
            tool_input_guardrails=tool_input_guardrails,
            tool_output_guardrails=tool_output_guardrails,
            max_list_pages=max_list_pages,
        )
        self.params = params

    def streams(self, link: Link) -> Streams:
        from mcp.client.sse import sse_client

        async def refused(response: Response) -> None:
            # The answer would come over the stream: it never will, and the transport wouldn't say so.
            error = _http_error(response)
            if error is not None and not (response.status_code == 401 and "auth" in self.params):
                _hear_rejection(response)
                link.leave(error)

        def factory(headers: Any = None, timeout: Any = None, auth: Any = None) -> AsyncClient:
            client = _http_client(self.params.get("httpx_client_factory"), headers=headers, timeout=timeout, auth=auth)
            client.event_hooks["response"].append(refused)
            return client

        return sse_client(
            self.params["url"],
            headers=self.params.get("headers"),
            timeout=_seconds(self.params.get("timeout", 5)),
            sse_read_timeout=_seconds(self.params.get("sse_read_timeout", 300)),
            httpx_client_factory=factory,
            auth=self.params.get("auth"),
        )


class MCPServerStreamableHttp(ConnectedServer):
    """A server that is reached by streamable HTTP. Parameters: see ``MCPServerStdio``."""

    def __init__(
        self,
        params: MCPServerStreamableHttpParams,
        cache_tools_list: bool = False,
        name: str | None = None,
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
        _check(params, MCPServerStreamableHttpParams, "url")
        if params.get("ignore_initialized_notification_failure"):
            raise UserError(
                "ignore_initialized_notification_failure can't be had: the mcp package 2 doesn't tell of that failure."
                " Leave it out"
            )
        super().__init__(
            name or f"streamable_http: {params['url']}",
            cache_tools_list,
            client_session_timeout_seconds,
            tool_filter,
            use_structured_content,
            max_retry_attempts,
            retry_backoff_seconds_base,
            message_handler,
            require_approval,
            failure_error_function,
            tool_meta_resolver,
            custom_data_extractor,
            retry_backoff_seconds_max,
            tool_input_guardrails=tool_input_guardrails,
            tool_output_guardrails=tool_output_guardrails,
            max_list_pages=max_list_pages,
        )
        self.params = params

    @property
    def session_id(self) -> str | None:
        """What the server calls the session; None where it has no sessions, or isn't connected."""
        return None if self._link is None else self._link.session_id

    @asynccontextmanager
    async def streams(self, link: Link) -> AsyncIterator[tuple[Any, Any]]:
        from httpx2 import Timeout
        from mcp.client.streamable_http import streamable_http_client

        async def heard(response: Response) -> None:
            if response.request.method != "POST":
                return
            link.refused = _http_error(response)
            if "mcp-session-id" in response.request.headers:
                _hear_rejection(response)
            link.session_id = response.headers.get("mcp-session-id", link.session_id)

        timeout = Timeout(
            _seconds(self.params.get("timeout", 5)), read=_seconds(self.params.get("sse_read_timeout", 300))
        )
        client = _http_client(
            self.params.get("httpx_client_factory"),
            headers=self.params.get("headers"),
            timeout=timeout,
            auth=self.params.get("auth"),
        )
        client.event_hooks["response"].append(heard)
        async with (
            client,
            streamable_http_client(
                self.params["url"],
                http_client=client,
                terminate_on_close=self.params.get("terminate_on_close", True),
            ) as streams,
        ):
            yield streams


def _check(params: Any, declared: type[Any], needed: str) -> None:
    kind = declared.__name__
    if not isinstance(params, dict) or not params.get(needed):
        raise UserError(f"{kind} needs '{needed}'")
    unknown = sorted(set(params) - set(declared.__annotations__))
    if unknown:
        raise UserError(f"{kind} has no {', '.join(map(repr, unknown))}; it has {sorted(declared.__annotations__)}")


def _seconds(value: float | timedelta) -> float:
    return value.total_seconds() if isinstance(value, timedelta) else value


def _http_client(factory: HttpClientFactory | None, **options: Any) -> AsyncClient:
    from httpx2 import AsyncClient, Auth

    auth = options.get("auth")
    if auth is not None and not isinstance(auth, Auth):
        raise UserError(f"auth must be an httpx2.Auth, not {type(auth).__name__}; or set an Authorization header")
    client = AsyncClient(**_given(options)) if factory is None else factory(**options)
    if not isinstance(client, AsyncClient):
        raise UserError(f"httpx_client_factory must give an httpx2.AsyncClient, not {type(client).__name__}")
    return client


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _hear_rejection(response: Response) -> None:
    """Tell a request that its session isn't known any more."""
    asked = ASKED.get()
    if asked is not None and response.status_code == 404:
        asked.rejected = True


def _http_error(response: Response) -> Exception | None:
    from httpx2 import HTTPStatusError

    if response.status_code < 400:
        return None
    return HTTPStatusError(f"HTTP error {response.status_code}", request=response.request, response=response)
