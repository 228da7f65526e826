"""Many servers together."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from mcp_making import Http, Odd, stdio

from flowcore import UserError
from flowcore.mcp import MCPServerManager, MCPServerStdio, MCPServerStreamableHttp


def broken() -> MCPServerStdio:
    return MCPServerStdio({"command": "no-such-command-anywhere"}, name="broken")


class Slow(Odd):
    """A server that connects when it's let, and notes which task does what."""

    name = "slow"

    def __init__(self, ready: bool = False) -> None:
        super().__init__()
        self.may = asyncio.Event()
        self.begun = asyncio.Event()
        self.tasks: list[tuple[str, object]] = []
        if ready:
            self.may.set()

    async def connect(self) -> None:
        self.tasks.append(("connect", asyncio.current_task()))
        self.begun.set()
        await self.may.wait()

    async def cleanup(self) -> None:
        self.tasks.append(("cleanup", asyncio.current_task()))


@pytest.mark.parametrize("in_parallel", [False, True])
async def test_the_servers_that_are_there_are_offered(http: Http, sse: Http, tmp_path, in_parallel):
    good, failing, other, third = http.client(), broken(), sse.client(), stdio(tmp_path / "log")
    manager = MCPServerManager([good, failing, other, third, good], connect_in_parallel=in_parallel)
    async with manager:
        assert manager.all_servers == [good, failing, other, third]
        assert manager.active_servers == [good, other, third]
        assert manager.failed_servers == [failing]
        assert list(manager.errors) == [failing]
        assert "MCP server 'broken'" in str(manager.errors[failing])
        for server in manager.active_servers:
            assert await server.list_tools()
    assert manager.active_servers == []
    assert len(asyncio.all_tasks()) == 1


async def test_failed_servers_may_be_offered_all_the_same():
    failing = broken()
    async with MCPServerManager([failing], drop_failed_servers=False) as manager:
        assert manager.active_servers == [failing]
        assert manager.failed_servers == [failing]


@pytest.mark.parametrize("in_parallel", [False, True])
async def test_strict_raises_the_first_failure_and_lets_go_of_the_rest(http: Http, in_parallel):
    good = http.client()
    manager = MCPServerManager([good, broken()], strict=True, connect_in_parallel=in_parallel)
    with pytest.raises(UserError, match="MCP server 'broken'"):
        await manager.connect_all()
    with pytest.raises(UserError, match="not initialized"):
        await good.list_tools()
    assert manager.active_servers == []
    assert len(asyncio.all_tasks()) == 1


async def test_a_failed_server_is_connected_when_it_is_there(tmp_path, http: Http):
    served = Http("http", tmp_path / "log")
    served.kill()
    late, good = served.client(), http.client()
    async with MCPServerManager([late, good]) as manager:
        assert manager.active_servers == [good]
        assert await manager.reconnect() == [good]
        served.start()
        try:
            assert await manager.reconnect() == [late, good]
            assert manager.failed_servers == []
            assert manager.errors == {}
            assert await late.list_tools()
            assert await manager.reconnect(failed_only=False) == [late, good]
            assert await good.list_tools()
        finally:
            served.kill()


async def test_connect_and_cleanup_of_a_server_are_one_tasks():
    slow = Slow(ready=True)
    manager = MCPServerManager([slow])
    await asyncio.create_task(manager.connect_all())
    await asyncio.create_task(manager.cleanup_all())
    assert [what for what, _ in slow.tasks] == ["connect", "cleanup"]
    assert len({task for _, task in slow.tasks}) == 1


async def test_servers_are_connected_at_the_same_time_where_asked_for():
    one, two = Slow(), Slow()
    connecting = asyncio.create_task(MCPServerManager([one, two], connect_in_parallel=True).connect_all())
    await one.begun.wait()
    await two.begun.wait()
    one.may.set()
    two.may.set()
    assert await connecting == [one, two]


async def test_a_server_that_does_not_come_in_time_failed_and_is_cleaned_up():
    slow = Slow()
    async with MCPServerManager([slow], connect_timeout_seconds=0.01) as manager:
        assert isinstance(manager.errors[slow], TimeoutError)
        assert [what for what, _ in slow.tasks] == ["connect", "cleanup"]


async def test_a_cancelled_manager_lets_go_of_everything(http: Http):
    good, slow = http.client(), Slow()
    connecting = asyncio.create_task(MCPServerManager([good, slow]).connect_all())
    await slow.begun.wait()
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    assert [what for what, _ in slow.tasks] == ["connect", "cleanup"]
    assert len(asyncio.all_tasks()) == 1


async def test_a_server_that_cancels_its_own_connect_failed_or_raises():
    class Cancelling(Odd):
        async def connect(self) -> None:
            raise asyncio.CancelledError

    async with MCPServerManager([Cancelling()], strict=True) as manager:
        assert len(manager.failed_servers) == 1
    with pytest.raises(asyncio.CancelledError):
        await MCPServerManager([Cancelling()], suppress_cancelled_error=False).connect_all()


async def test_a_cleanup_that_fails_is_told_and_the_others_go_on(http: Http):
    class Sticky(Odd):
        async def cleanup(self) -> None:
            raise ValueError("stuck")

    good, sticky = http.client(), Sticky()
    manager = MCPServerManager([good, sticky])
    async with manager:
        pass
    assert str(manager.errors[sticky]) == "stuck"
    with pytest.raises(UserError, match="not initialized"):
        await good.list_tools()


def test_timeouts_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="connect_timeout_seconds"):
        MCPServerManager([], connect_timeout_seconds=0)
    with pytest.raises(TypeError, match="cleanup_timeout_seconds"):
        MCPServerManager([], cleanup_timeout_seconds="1")


def test_a_program_that_ends_without_cleanup_leaves_no_process_and_says_nothing(tmp_path):
    code = (
        "import asyncio, sys\n"
        "from mcp_making import stdio\n"
        "from pathlib import Path\n"
        "async def main():\n"
        "    server = stdio(Path(sys.argv[1]))\n"
        "    await server.connect()\n"
        "    print((await server.call_tool('pid', None)).content[0].text)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(tmp_path / "log")],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert not Path(f"/proc/{done.stdout.strip()}").exists()


async def test_an_unused_manager_needs_nothing():
    assert await MCPServerManager([]).connect_all() == []
    assert MCPServerStreamableHttp({"url": "http://127.0.0.1/x"}).name == "streamable_http: http://127.0.0.1/x"
