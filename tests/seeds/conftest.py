"""A live local model behind HTTP, for programs that know nothing but OPENAI_BASE_URL; its replies are short."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from flowcore.models.local_weights import find_weights

sys.path.append(str(Path(__file__).parent.parent / "cli"))
from cli_process import programs

__all__ = ["programs"]

LONGEST = 16
"""Tokens of a reply: the programs themselves set no limit."""


class Server(NamedTuple):
    url: str
    api_key: str
    held: Any


@pytest.fixture(scope="session")
def llama() -> Server:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(find_weights())
    params.hostnames, params.port, params.api_keys = ["127.0.0.1"], 0, ["test"]
    params.n_ctx, params.n_parallel, params.cpuparams.n_threads = 1024, 1, 1
    params.n_predict = LONGEST
    params.use_jinja, params.ui, params.warmup, params.verbosity = True, False, False, -1
    server = xllamacpp.Server(params)
    return Server(f"{server.listening_address}/v1", "test", server)
