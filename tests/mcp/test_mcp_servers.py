"""Sessions: connecting, asking, losing and ending them, over each transport."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest
from mcp import MCPError
from mcp_making import Http, noted, stdio, until

from flowcore import UserError
from flowcore.mcp import MCPServer, MCPServerSse, MCPServerStdio, MCPServerStreamableHttp


@pytest.fixture(params=["stdio", "http", "legacy", "sse"])
def any_server(request, tmp_path) -> MCPServer:
    if request.param == "stdio":
        return stdio(tmp_path / "log")
    return request.getfixturevalue(request.param).client()


async def test_tools_prompts_and_resources_over_every_transport(any_server):
    async with any_server as server:
        tools = {tool.name: tool for tool in await server.list_tools()}
        assert tools["add"].description == "Adds two numbers."
        assert (await server.call_tool("add", {"a": 2, "b": 3})).structured_content == {"result": 5}
        assert (await server.call_tool("fail", {"mark": "x"})).is_error
        assert [prompt.name for prompt in (await server.list_prompts()).prompts] == ["greet"]
        prompt = await server.get_prompt("greet", {"who": "Ann"})
        assert prompt.messages[0].content.text == "Hello Ann"
        assert [str(one.uri) for one in (await server.list_resources()).resources] == ["note://one"]
        templates = (await server.list_resource_templates()).resource_templates
        assert [one.uri_template for one in templates] == ["note://{name}/text"]
        assert (await server.read_resource("note://seven/text")).contents[0].text == "note seven"


async def test_concurrent_calls_are_answered_each_with_its_own(any_server):
    async with any_server as server:
        answers = await asyncio.gather(*(server.call_tool("add", {"a": number}) for number in range(20)))
        assert [answer.structured_content["result"] for answer in answers] == list(range(1, 21))


async def test_a_session_is_opened_used_and_ended_by_different_tasks(any_server):
    await asyncio.create_task(any_server.connect())
    await asyncio.create_task(any_server.list_tools())
    await asyncio.create_task(any_server.cleanup())
    assert len(asyncio.all_tasks()) == 1


async def test_a_server_may_be_connected_again_after_its_cleanup(any_server):
    for _ in range(2):
        async with any_server as server:
            await server.connect()  # it's connected: nothing happens
            assert await server.list_tools()
    with pytest.raises(UserError, match=r"Server not initialized. Make sure you call `connect\(\)` first."):
        await any_server.list_tools()


async def test_a_cancelled_call_is_cancelled_on_the_server_and_the_session_lives_on(any_server, request, tmp_path):
    shared = request.node.callspec.params["any_server"]
    log = tmp_path / "log" if shared == "stdio" else request.getfixturevalue(shared).log
    mark = f"cancel-{shared}"
    async with any_server as server:
        calling = asyncio.create_task(server.call_tool("hold", {"mark": mark}))
        await until(lambda: f"hold {mark}" in noted(log))
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        await until(lambda: f"cancelled {mark}" in noted(log))
        assert (await server.call_tool("add", {"a": 1})).structured_content == {"result": 2}


async def test_a_call_that_takes_too_long_is_a_timeout_and_the_session_lives_on(http: Http):
    async with http.client(client_session_timeout_seconds=1) as server:
        with pytest.raises(MCPError, match="timed out"):
            await server.call_tool("hold", {"mark": "late"})
        await until(lambda: "cancelled late" in http.noted())  # the server isn't left to it
        assert await server.list_tools()


async def test_a_process_ends_with_its_session(tmp_path):
    async with stdio(tmp_path / "log") as server:
        pid = int((await server.call_tool("pid", None)).content[0].text)
        os.kill(pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_cancelled_connect_leaves_no_process(tmp_path):
    log = tmp_path / "log"
    server = stdio(log, tmp_path / "never")
    connecting = asyncio.create_task(server.connect())
    await until(lambda: noted(log))
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    with pytest.raises(ProcessLookupError):
        os.kill(int(noted(log)[0].split()[1]), 0)
    assert len(asyncio.all_tasks()) == 1


async def test_several_may_wait_for_one_connect(tmp_path):
    log, gate = tmp_path / "log", tmp_path / "gate"
    server = stdio(log, gate)
    first, *others = [asyncio.create_task(server.connect()) for _ in range(3)]
    await until(lambda: noted(log))
    first.cancel()  # the others still want it
    with pytest.raises(asyncio.CancelledError):
        await first
    gate.touch()
    await asyncio.gather(*others)
    assert len([line for line in noted(log) if line.startswith("start")]) == 1
    await server.cleanup()


async def test_a_connect_that_is_crossed_by_a_cleanup_is_told(tmp_path):
    server = stdio(tmp_path / "log")
    connecting, cleaning = asyncio.create_task(server.connect()), asyncio.create_task(server.cleanup())
    with pytest.raises(UserError, match="Failed to connect to MCP server 'served': closed while it was"):
        await connecting
    await cleaning
    assert len(asyncio.all_tasks()) == 1


async def test_a_connect_that_is_cancelled_twice_leaves_no_process(tmp_path):
    log = tmp_path / "log"
    server = stdio(log, tmp_path / "never")
    connecting = asyncio.create_task(server.connect())
    await until(lambda: noted(log))
    connecting.cancel()
    await asyncio.sleep(0)
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    await server.cleanup()
    with pytest.raises(ProcessLookupError):
        os.kill(int(noted(log)[0].split()[1]), 0)


async def test_a_listing_in_pages_is_read_to_its_end(tmp_path):
    async with stdio(tmp_path / "log", env={"PAGE": "3"}) as server:
        tools = await server.list_tools()
        assert {"add", "grow"} < {tool.name for tool in tools}
        server.max_list_pages = 2
        with pytest.raises(UserError, match="more pages than max_list_pages=2"):
            await server.list_tools()
    async with stdio(tmp_path / "log", env={"PAGE": "0"}) as server:
        with pytest.raises(UserError, match="MCP server 'served': the server returned a repeated cursor"):
            await server.list_tools()


async def test_a_call_under_way_is_told_that_the_session_was_ended(http: Http):
    server = http.client()
    await server.connect()
    calling = asyncio.create_task(server.call_tool("hold", {"mark": "ended"}))
    await until(lambda: "hold ended" in http.noted())
    await server.cleanup()
    with pytest.raises(UserError, match="Failed to call tool 'hold' on MCP server 'served': Connection lost"):
        await calling


async def test_a_command_that_is_not_there_is_named(tmp_path):
    server = MCPServerStdio({"command": "no-such-command-anywhere"})
    with pytest.raises(UserError, match=r"MCP server 'stdio: no-such-command-anywhere': .*No such file"):
        await server.connect()
    with pytest.raises(UserError, match="Failed to connect to MCP server 'quitter': Connection closed"):
        await MCPServerStdio({"command": sys.executable, "args": ["-c", ""]}, name="quitter").connect()
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("kind", [MCPServerSse, MCPServerStreamableHttp])
async def test_http_errors_name_the_server_but_no_secret(kind, http: Http):
    nowhere = http.url.replace(str(http.port), "1").replace("http://", "http://ann:pass@") + "?key=secret"
    with pytest.raises(UserError) as caught:
        await kind({"url": nowhere}).connect()
    assert str(caught.value).endswith("127.0.0.1:1/mcp': Could not reach the server.")
    assert "secret" not in str(caught.value)
    assert "pass" not in str(caught.value)
    with pytest.raises(UserError, match="HTTP error 404"):
        await kind({"url": f"http://127.0.0.1:{http.port}/elsewhere"}).connect()


async def test_headers_reach_the_server_and_a_client_of_ones_own_is_used(http: Http):
    import httpx2

    made = []

    def factory(headers=None, timeout=None, auth=None):
        made.append(httpx2.AsyncClient(headers=headers, timeout=timeout, auth=auth))
        return made[-1]

    params = {"url": http.url, "headers": {"x-key": "k"}, "timeout": 3, "httpx_client_factory": factory}
    async with MCPServerStreamableHttp(params) as server:
        assert await server.list_tools()
    assert made[0].headers["x-key"] == "k"
    assert made[0].timeout.connect == 3
    assert made[0].is_closed


async def test_a_session_of_the_older_protocol_has_an_id(legacy: Http, http: Http):
    server = legacy.client()
    assert server.session_id is None
    async with server:
        assert server.session_id
    async with http.client() as newer:
        assert newer.session_id is None


# --- losing a server --------------------------------------------------------------------------------------------------


async def test_a_call_that_may_have_been_carried_out_is_not_repeated(tmp_path):
    log = tmp_path / "log"
    async with stdio(log) as server:
        before = (await server.call_tool("pid", None)).content[0].text
        with pytest.raises(UserError, match="Failed to call tool 'die' on MCP server 'served': Connection lost"):
            await server.call_tool("die", {"mark": "once"})
        assert noted(log).count("die once") == 1
        after = (await server.call_tool("pid", None)).content[0].text  # a new process is there for the next
        assert after != before


async def test_a_call_is_repeated_as_often_as_asked(tmp_path):
    log = tmp_path / "log"
    async with stdio(log, max_retry_attempts=2, retry_backoff_seconds_base=0.001) as server:
        with pytest.raises(UserError, match="Connection lost"):
            await server.call_tool("die", {"mark": "thrice"})
    assert noted(log).count("die thrice") == 3


@pytest.mark.parametrize("kind", ["http", "legacy-http", "sse"])
async def test_a_server_that_was_started_again_is_found_again(kind, tmp_path):
    served = Http(kind, tmp_path / "log")
    try:
        async with served.client() as server:
            assert await server.list_tools()
            calling = asyncio.create_task(server.call_tool("hold", {"mark": "killed"}))
            await until(lambda: "hold killed" in served.noted())
            served.kill()
            with pytest.raises(UserError, match=r"on MCP server 'served': (Connection lost|Request failed)"):
                await calling
            with pytest.raises(UserError, match="on MCP server 'served': Connection lost"):
                await server.call_tool("add", {"a": 1})
            served.start()
            assert (await server.call_tool("add", {"a": 1})).structured_content == {"result": 2}
            served.kill()
            served.start()
            assert await server.list_tools()
            assert (await server.call_tool("add", {"a": 2})).structured_content == {"result": 3}
        assert [line for line in served.noted() if line.startswith("hold")] == ["hold killed"]
        assert [line for line in served.noted() if line.startswith("add")] == ["add 1 1", "add 2 1"]
    finally:
        served.kill()


@pytest.mark.parametrize("kind", ["http", "legacy-http"])
async def test_a_call_that_the_restarted_server_turned_away_is_made_in_a_new_session(kind, tmp_path):
    served = Http(kind, tmp_path / "log")
    try:
        async with served.client() as server:
            assert await server.list_tools()
            served.kill()
            served.start()
            assert (await server.call_tool("add", {"a": 2})).structured_content == {"result": 3}
        assert served.noted().count("add 2 1") == 1
    finally:
        served.kill()


async def test_a_listing_survives_the_death_of_its_process(tmp_path):
    async with stdio(tmp_path / "log") as server:
        pid = int((await server.call_tool("pid", None)).content[0].text)
        os.kill(pid, 9)
        assert await server.list_tools()


def test_a_server_that_is_connected_in_another_loop_says_so(http: Http):
    server = http.client()
    loop = asyncio.new_event_loop()
    loop.run_until_complete(server.connect())
    with pytest.raises(UserError, match="connected in another event loop"):
        asyncio.run(server.list_tools())
    loop.run_until_complete(server.cleanup())
    loop.close()
    asyncio.run(_used(server))


async def _used(server: MCPServer) -> None:
    async with server:
        assert await server.list_tools()


def test_parameters_that_cannot_be_are_refused():
    with pytest.raises(UserError, match="MCPServerStdioParams needs 'command'"):
        MCPServerStdio({})
    with pytest.raises(UserError, match="has no 'headrs'"):
        MCPServerSse({"url": "http://127.0.0.1/sse", "headrs": {}})
    with pytest.raises(UserError, match="ignore_initialized_notification_failure"):
        MCPServerStreamableHttp({"url": "http://127.0.0.1", "ignore_initialized_notification_failure": True})
    with pytest.raises(UserError, match="max_retry_attempts"):
        MCPServerStdio({"command": "x"}, max_retry_attempts=-2)
    with pytest.raises(UserError, match="unknown keys"):
        MCPServerStdio({"command": "x"}, tool_filter={"allowed": []})
    with pytest.raises(TypeError):
        MCPServerStdio({"command": "x"}, no_such_option=1)
