"""One request through the openai client: JSON or events out, ``ModelError`` on failure, and never a second
try.

The body goes through ``extra_body``. Given as arguments, the client would walk the whole history through its
unions of types at each call: 0.35 s for 800 items, where writing the JSON takes 0.7 ms (openai 3.51).
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from flowcore.errors import ModelError, UserError
from flowcore.models.local_weights import INSTALL
from flowcore.models.openai_defaults import default_openai_client, default_openai_key
from flowcore.models.openai_errors import from_body, timed_out, to_model_error
from flowcore.models.settings import ModelSettings

if TYPE_CHECKING:
    from openai import AsyncOpenAI

NO_MODEL_KEY = (
    "no API key; set OPENAI_API_KEY (or OPENAI_BASE_URL, for a server of your own), pass a model of your own "
    f"(Agent(model=...)), or install the embedded one: {INSTALL}"
)
_DRAIN_SECONDS = 1.0


class Clients:
    """The openai clients of a provider's models: the user's, or our own, one for each event loop.

    ``given``: the user's. ``options``: of our own; without any, the process's default client or key counts, as of now.
    A pool of connections belongs to the loop it was made in; a cached model may be used from several, one
    after the other (``run_sync``) or at once.
    """

    def __init__(self, given: AsyncOpenAI | None = None, **options: Any) -> None:
        self._given = given
        self._options = options
        self.base_url: str | None = options.get("base_url")
        self._once: tuple[AsyncOpenAI, AsyncOpenAI] | None = None
        self._own: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[str | None, AsyncOpenAI]] = WeakKeyDictionary()

    @classmethod
    def of(cls, given: AsyncOpenAI | Clients | None) -> Clients:
        """The clients that a model is given: a provider's, a single one, or none."""
        return given if isinstance(given, Clients) else cls(given)

    def get(self) -> AsyncOpenAI:
        """The client for the running loop. Raises ``UserError`` when there is no key."""
        given = self._given or (None if self._options else default_openai_client())
        if given is not None:
            return self._asking_once(given)
        loop, key = asyncio.get_running_loop(), default_openai_key()
        made = self._own.get(loop)
        if made is None or made[0] != key:
            made = self._own[loop] = (key, self._new(key))
        return made[1]

    def _asking_once(self, given: AsyncOpenAI) -> AsyncOpenAI:
        """The user's client may retry by itself. A retry is an edge of our graph, so it's told not to."""
        if not given.max_retries:
            return given
        if self._once is None or self._once[0] is not given:
            self._once = (given, given.with_options(max_retries=0))
        return self._once[1]

    def _new(self, key: str | None) -> AsyncOpenAI:
        import openai

        options = dict(self._options)
        if key is not None:
            options.setdefault("api_key", key)
        if (os.environ.get("OPENAI_BASE_URL") or self.base_url) and not os.environ.get("OPENAI_API_KEY"):
            options.setdefault("api_key", "none")  # the client insists on a key; a server of one's own needs none
        try:
            client = openai.AsyncOpenAI(
                max_retries=0,
                # The client's own default closes itself, when collected, in whatever loop runs then.
                http_client=openai.DefaultAsyncHttpxClient(),
                **options,
            )
        except openai.OpenAIError as error:
            raise UserError(f"openai: {NO_MODEL_KEY}") from error
        if client.base_url.scheme == "http":
            # Some local servers hang up after an answer without saying so, and the next request fails. Without TLS
            # a connection costs next to nothing, so each request gets its own.
            client = client.with_options(default_headers={"Connection": "close"})
        return client

    async def close(self) -> None:
        """Close our own client of the running loop. The user's client is the user's to close."""
        made = self._own.pop(asyncio.get_running_loop(), None)
        if made is not None:
            await made[1].close()


@dataclass(slots=True)
class Answer:
    """A whole answer: its JSON, and the id that the provider gave the request."""

    data: dict[str, Any]
    request_id: str | None


class Endpoint:
    """One verb of one server, for one model: ``/responses`` or ``/chat/completions``."""

    def __init__(self, model: str, path: str, clients: Clients, create: Callable[[AsyncOpenAI], Any]) -> None:
        self.model = model
        self.clients = clients
        self._path = path
        self._create = create

    def where(self) -> str:
        """The model and its address, for messages."""
        return f"model '{self.model}' at {str(self.clients.get().base_url).rstrip('/')}{self._path}"

    def host(self) -> str:
        """The server's host name."""
        return self.clients.get().base_url.host

    async def post(self, body: dict[str, Any], settings: ModelSettings, *, named: bool = True) -> Answer:
        """Send the request and read its answer. ``named``: whether it names the model. Raises ``ModelError``."""
        with self._mapped(settings):
            async with asyncio.timeout(settings.timeout):
                raw = await self._send(body, settings, stream=False, named=named)
            data = raw.http_response.json()
        if not isinstance(data, dict):
            raise ModelError(f"{self.where()}: the answer is no JSON object; check OPENAI_BASE_URL")
        if isinstance(data.get("error"), dict):
            raise from_body(data["error"], where=self.where(), request_id=raw.request_id)
        return Answer(data, raw.request_id)

    async def open(self, body: dict[str, Any], settings: ModelSettings, *, named: bool = True) -> EventStream:
        """Send the request and give its events as they come. Use it with ``async with``.

        Raises ``ModelError``.
        """
        from openai import AsyncStream

        timeout = settings.timeout
        deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
        with self._mapped(settings):
            async with asyncio.timeout_at(deadline):
                raw = await self._send(body, settings, stream=True, named=named)
            stream = raw.parse(to=AsyncStream[object])
        return EventStream(stream, raw.request_id, deadline, lambda: self._mapped(settings))

    async def _send(self, body: dict[str, Any], settings: ModelSettings, *, stream: bool, named: bool) -> Any:
        body = {**body, **(settings.extra_args or {}), **(settings.extra_body or {})}
        try:
            return await self._request(body, settings, stream, named)
        except UnicodeEncodeError:  # before anything was sent
            return await self._request(_without_lone_surrogates(body), settings, stream, named)
        except ValueError as error:
            raise UserError(f"{self.where()}: the request can't be written as JSON ({error})") from error

    async def _request(self, body: dict[str, Any], settings: ModelSettings, stream: bool, named: bool) -> Any:
        options: dict[str, Any] = {} if settings.timeout is None else {"timeout": settings.timeout}
        if named:
            options["model"] = self.model
        if stream:
            options["stream"] = True
        return await self._create(self.clients.get())(
            extra_body=body,
            extra_headers=settings.extra_headers,
            extra_query=settings.extra_query,
            **options,
        )

    @contextmanager
    def _mapped(self, settings: ModelSettings) -> Iterator[None]:
        try:
            yield
        except (ModelError, UserError):
            raise
        except TimeoutError as error:
            raise timed_out(self.where(), settings.timeout) from error
        except Exception as error:
            seconds = settings.timeout or _read_timeout(self.clients.get())
            mapped = to_model_error(error, where=self.where(), timeout_seconds=seconds)
            if mapped is None:
                raise
            raise mapped from error


class EventStream:
    """The events of one streamed answer, as plain dicts.

    Leaving ``async with`` closes the connection at once.
    """

    def __init__(self, stream: Any, request_id: str | None, deadline: float | None, mapped: Callable[[], Any]) -> None:
        self.request_id = request_id
        self._stream = stream
        self._deadline = deadline
        self._mapped = mapped

    async def __aenter__(self) -> EventStream:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stream.close()

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> dict[str, Any]:
        # The deadline covers each wait, never the time that the reader spends on an event.
        with self._mapped():
            async with asyncio.timeout_at(self._deadline):
                event = await self._stream.__anext__()
            if not isinstance(event, dict):
                raise ValueError(f"an event that is no JSON object: {event!r:.200}")
            return event

    async def drain(self) -> None:
        """Read what follows the reply's last event, so that the connection can be used again.

        Not for long.
        """
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                async for _ in self:
                    pass
        except (ModelError, TimeoutError):
            pass  # the reply is whole; closing the stream gives the connection up


def _without_lone_surrogates(body: dict[str, Any]) -> dict[str, Any]:
    """The body with U+FFFD for what UTF-8 has no form for; tools that read odd file names give such text."""
    text = json.dumps(body, ensure_ascii=False)
    mended: dict[str, Any] = json.loads(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))
    return mended


def _read_timeout(client: AsyncOpenAI) -> float | None:
    timeout = client.timeout
    seconds = getattr(timeout, "read", timeout)
    return float(seconds) if isinstance(seconds, (int, float)) else None
