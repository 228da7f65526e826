"""llama.cpp in this process: one server per weights and size, shared by all models that ask for the same.

It listens on 127.0.0.1, on a free port, and answers only who knows its key: other users of the host don't.
"""

from __future__ import annotations

import atexit
import secrets
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowcore.errors import UserError
from flowcore.models.local_weights import INSTALL


@dataclass(frozen=True, slots=True)
class ServerSize:
    """What a server is started with. ``n_ctx``: tokens of context, of all slots together. ``slots``: calls at once."""

    weights: Path
    n_ctx: int
    threads: int
    slots: int


class LocalServer:
    """A running server. ``url``: its OpenAI-compatible base; ``api_key``: what it asks for."""

    def __init__(self, size: ServerSize) -> None:
        try:
            import xllamacpp  # type: ignore[import-untyped]  # it brings no types
        except ImportError as error:
            raise UserError(f"LocalModel: the package xllamacpp isn't installed; {INSTALL}") from error
        self.api_key = secrets.token_urlsafe(24)
        params = xllamacpp.CommonParams()
        params.model.path = str(size.weights)
        params.hostnames = ["127.0.0.1"]
        params.port = 0
        params.api_keys = [self.api_key]
        params.n_ctx = size.n_ctx
        params.n_parallel = size.slots
        params.cpuparams.n_threads = size.threads
        params.use_jinja = True
        params.ui = False
        params.warmup = False
        params.verbosity = -1
        try:
            self._server: Any = xllamacpp.Server(params)
        except Exception as error:
            raise UserError(
                f"LocalModel: llama.cpp can't load {str(size.weights)!r} ({error}); is it a whole GGUF file, and is "
                "there memory for it?"
            ) from error
        self.url = f"{self._server.listening_address}/v1"


_servers: dict[ServerSize, LocalServer] = {}
_lock = threading.Lock()


def running_server(size: ServerSize) -> LocalServer | None:
    """The shared server of this size, if it has been started."""
    return _servers.get(size)


def shared_server(size: ServerSize) -> LocalServer:
    """The shared server of this size, started if it isn't running. Blocks while the weights are loaded.

    Raises ``UserError`` when xllamacpp is missing or the file can't be loaded.
    """
    with _lock:
        server = _servers.get(size)
        if server is None:
            server = _servers[size] = LocalServer(size)
        return server


@atexit.register
def stop_servers() -> None:
    """Stop all servers of this process. A model that is used afterwards starts a new one."""
    with _lock:
        _servers.clear()
