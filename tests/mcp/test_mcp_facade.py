"""What the room exports, and what it costs."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest


def test_the_stub_names_what_the_package_resolves():
    module = importlib.import_module("flowcore.mcp")
    stub = ast.parse(Path(module.__file__).with_suffix(".pyi").read_text())
    imported = {
        alias.asname: node.module for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert imported == module._HOME_OF
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nope'"):
        module.Nope  # noqa: B018 - the access is what is tested


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_a_server_is_declared_without_the_package_and_says_at_connect_what_is_missing():
    told = run(
        "import asyncio, sys\n"
        "sys.modules['mcp'] = None  # as if it weren't installed\n"
        "import flowcore, flowcore.mcp\n"
        "for name in flowcore.mcp.__all__: getattr(flowcore.mcp, name)\n"
        "server = flowcore.mcp.MCPServerStdio({'command': 'x'}, require_approval='always')\n"
        "try: asyncio.run(server.connect())\n"
        "except flowcore.UserError as error: print(error)\n"
        "print(*(name for name in ('httpx2', 'anyio', 'openai') if name in sys.modules))\n"
    ).splitlines()
    assert told == ["MCP servers need the package mcp: pip install 'flowcore[mcp]'", ""]


def test_importing_the_room_does_not_import_the_package():
    assert "mcp" not in run("import flowcore.mcp.transports, flowcore.mcp.manager, sys; print(*sys.modules)").split()
