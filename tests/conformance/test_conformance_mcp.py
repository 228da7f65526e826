"""MCP servers in whole runs: §17 of the reference, row by row, with real servers."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conformance_making import WAYS, add, go, told
from conformance_mcp_process import clerk
from mcp.types import CallToolResult, TextContent, Tool
from mcp_making import Http, Odd, noted, stdio

from flowcore import (
    Agent,
    AgentsException,
    GuardrailFunctionOutput,
    MemoryStore,
    Options,
    RunConfig,
    RunContextWrapper,
    RunHooks,
    Runner,
    RunState,
    ToolGuardrailFunctionOutput,
    UserError,
    input_guardrail,
    load,
    resume,
    start,
    tool_input_guardrail,
)
from flowcore.machine.facts import Effect
from flowcore.mcp import (
    MCPServer,
    MCPServerManager,
    MCPServerSse,
    MCPServerStdio,
    MCPServerStreamableHttp,
    MCPUtil,
    create_static_tool_filter,
)
from flowcore.testing import Crash, CrashingStore, ScriptedModel, function_call

ADD = function_call("add", {"a": 40, "b": 2}, "c1")


def agent(*steps: Any, servers: Any, **fields: Any) -> Agent:
    return Agent(name="Clerk", model=ScriptedModel.by_turn(list(steps)), mcp_servers=servers, **fields)


def words(result: Any) -> list[str]:
    """What the model was told of its calls, as text."""
    return [one if isinstance(one, str) else "".join(part.get("text", "?") for part in one) for one in told(result)]


def names(agent: Agent, turn: int = 0) -> list[str]:
    """The tools that the model was offered at a turn."""
    return [tool.name for tool in agent.model.calls[turn].tools]


class Log:
    """What the shared server did since the test began."""

    def __init__(self, http: Http) -> None:
        self._http, self._from = http, len(http.noted())

    def lines(self) -> list[str]:
        return self._http.noted()[self._from :]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Http]:
    """One server process for all tests that don't kill or change it."""
    server = Http("http", tmp_path_factory.mktemp("shared") / "log")
    yield server
    server.kill()


@pytest.fixture
def log(shared: Http) -> Log:
    return Log(shared)


@pytest.fixture
async def server(shared: Http) -> AsyncIterator[MCPServerStreamableHttp]:
    async with shared.client() as connected:
        yield connected


@pytest.fixture
def own_log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
async def own(own_log: Path) -> AsyncIterator[MCPServerStdio]:
    """A server over stdio, this test's own."""
    async with stdio(own_log) as connected:
        yield connected


# -- declared ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [MCPServerStdio, MCPServerSse, MCPServerStreamableHttp])
def test_servers_are_declared_with_the_known_parameters_and_defaults(kind):
    parameters = inspect.signature(kind).parameters
    known = {
        "cache_tools_list": False, "name": None, "client_session_timeout_seconds": 5, "tool_filter": None,
        "use_structured_content": False, "max_retry_attempts": 0, "retry_backoff_seconds_base": 1.0,
        "message_handler": None, "require_approval": None, "tool_meta_resolver": None, "custom_data_extractor": None,
        "retry_backoff_seconds_max": None,
    }  # fmt: skip
    assert next(iter(parameters)) == "params"
    assert {name: parameters[name].default for name in known} == known


def test_the_server_class_has_the_known_verbs():
    verbs = ("connect", "cleanup", "list_tools", "call_tool", "list_prompts", "get_prompt", "list_resources",
             "list_resource_templates", "read_resource")  # fmt: skip
    for verb in verbs:
        assert inspect.iscoroutinefunction(getattr(MCPServer, verb)), verb
    assert inspect.isabstract(MCPServer)


# -- offered and called ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
async def test_a_stdio_servers_tools_are_offered_and_called(own, own_log, way):
    asking = agent([ADD, function_call("say", {"text": "hi"}, "c2")], "42", servers=[own], tools=[])
    result = await go(way, asking, "40+2?")
    assert result.final_output == "42"
    assert words(result) == ["42", "hi"]
    assert {"add", "say", "weather"} <= set(names(asking))
    assert {"add 40 2", "say hi"} <= set(noted(own_log))
    assert asking.model.calls[1].input[-2]["output"] == [{"type": "input_text", "text": "42"}]


@pytest.mark.parametrize("kind", ["http", "sse"])
@pytest.mark.parametrize("way", WAYS)
async def test_a_server_over_http_is_used_the_same(own_log, kind, way):
    server = Http(kind, own_log)
    try:
        async with server.client() as client:
            assert words(await go(way, agent(ADD, "42", servers=[client]))) == ["42"]
    finally:
        server.kill()


async def test_a_streamed_run_tells_of_calls_and_outputs_as_of_any_tool(server):
    result = Runner.run_streamed(agent(ADD, "42", servers=[server]), "go")
    seen = [event async for event in result.stream_events() if event.type == "run_item_stream_event"]
    assert [event.name for event in seen] == ["tool_called", "tool_output", "message_output_created"]
    assert seen[0].item.tool_name == "add"


async def test_servers_tools_and_ones_own_stand_together(server):
    asking = agent([function_call("say", {"text": "hi"}, "c1"), function_call("plus", {"a": 1, "b": 2}, "c2")], "done",
                   servers=[server], tools=[replace(add, name="plus")])  # fmt: skip
    assert words(await Runner.run(asking, "go")) == ["hi", "3"]
    assert "plus" in names(asking)


async def test_hooks_are_told_of_a_servers_tools(server):
    heard: list[Any] = []

    class Hooks(RunHooks):
        async def on_tool_start(self, context: Any, agent: Any, tool: Any) -> None:
            heard.append(("start", tool.name, context.tool_call_id))

        async def on_tool_end(self, context: Any, agent: Any, tool: Any, result: Any) -> None:
            heard.append(("end", tool.name, result["text"]))

    await Runner.run(agent(ADD, "42", servers=[server]), "go", hooks=Hooks())
    assert heard == [("start", "add", "c1"), ("end", "add", "42")]


async def test_a_tools_output_may_end_the_run(server):
    asking = agent(function_call("say", {"text": "that's it"}, "c1"), servers=[server],
                   tool_use_behavior={"stop_at_tool_names": ["say"]})  # fmt: skip
    assert "that's it" in str((await Runner.run(asking, "go")).final_output)


async def test_structured_content_is_what_the_model_is_told_where_its_asked_for(shared):
    async with shared.client(use_structured_content=True) as server:
        result = await Runner.run(agent(function_call("weather", {"city": "Rome"}, "c1"), "ok", servers=[server]), "go")
    assert json.loads(words(result)[0]) == {"city": "Rome", "degrees": 21}


async def test_a_picture_is_told_as_a_picture(server):
    result = await Runner.run(agent(function_call("picture", {}, "c1"), "seen", servers=[server]), "go")
    assert told(result) == [[{"type": "input_image", "image_url": "data:image/png;base64,iVBORw=="}]]


async def test_tool_meta_resolver_and_the_runs_context_reach_the_server(shared):
    def resolve(asked: Any) -> dict[str, Any]:
        return {"tenant": asked.run_context.context["tenant"], "tool": asked.tool_name, "server": asked.server_name}

    async with shared.client(tool_meta_resolver=resolve) as server:
        asking = agent(function_call("meta", {}, "c1"), "ok", servers=[server])
        result = await Runner.run(asking, "go", context={"tenant": 7})
    assert json.loads(words(result)[0]) == {"tenant": 7, "tool": "meta", "server": "served"}


async def test_a_server_that_isnt_connected_says_what_to_do(shared):
    with pytest.raises(UserError, match=r"not (initialized|connected)"):
        await Runner.run(agent("never", servers=[shared.client()]), "go")


# -- approval ----------------------------------------------------------------------------------------------------------


def by_function(context: Any, agent: Any, tool: Any) -> bool:
    return tool.name == "add" and agent.name == "Clerk" and context.context == "app"


async def by_async_function(context: Any, agent: Any, tool: Any) -> bool:
    return by_function(context, agent, tool)


FORMS: list[tuple[Any, list[str]]] = [
    (None, []),
    ("never", []),
    (False, []),
    ("always", ["add", "say"]),
    (True, ["add", "say"]),
    ({"add": "always", "say": "never"}, ["add"]),
    ({"add": True}, ["add"]),
    ({"always": {"tool_names": ["say"]}, "never": {"tool_names": ["add"]}}, ["say"]),
    (by_function, ["add"]),
    (by_async_function, ["add"]),
]


@pytest.mark.parametrize(("setting", "asked"), FORMS)
@pytest.mark.parametrize("way", WAYS)
async def test_require_approval_pauses_the_run_for_the_calls_that_it_names(shared, log, way, setting, asked):
    async with shared.client(require_approval=setting) as server:
        asking = clerk(server)
        result = await go(way, asking, context="app")
        assert [item.name for item in result.interruptions] == asked
        assert all(f"{name} " not in " ".join(log.lines()) for name in asked)
        if asked:
            state = result.to_state()
            for item in state.get_interruptions():
                state.approve(item)
            result = await go(way, asking, state)
        assert (result.final_output, words(result)) == ("done", ["42", "hi"])
        assert sorted(line for line in log.lines() if line[:3] in ("add", "say")) == ["add 40 2", "say hi"]


async def test_a_rejected_call_never_reaches_the_server(shared, log):
    async with shared.client(require_approval={"add": "always"}) as server:
        asking = clerk(server)
        result = await Runner.run(asking, "go")
        state = result.to_state()
        state.reject(state.get_interruptions()[0])
        result = await Runner.run(asking, state)
    assert words(result) == ["Tool execution was not approved.", "hi"]
    assert not any(line.startswith("add") for line in log.lines())


async def test_always_approve_holds_for_the_servers_tool(shared):
    async with shared.client(require_approval="always") as server:
        asking = agent(ADD, function_call("add", {"a": 1, "b": 1}, "c2"), "done", servers=[server])
        result = await Runner.run(asking, "go")
        state = result.to_state()
        state.approve(state.get_interruptions()[0], always_approve=True)
        result = await Runner.run(asking, state)
        assert words(result) == ["42", "2"]


@pytest.mark.parametrize(("way", "verb", "outputs"), [("run", "approve", "42"), ("streamed", "reject", "not now")])
async def test_a_paused_run_goes_on_in_another_process_with_the_server_connected_anew(
    own_log, tmp_path, way, verb, outputs
):
    async with stdio(own_log, require_approval={"add": "always"}) as server:
        result = await go(way, clerk(server))
        (tmp_path / "state").write_text(result.to_state().to_string())
    script = Path(__file__).with_name("conformance_mcp_process.py")
    said = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, str(script), str(own_log), str(tmp_path / "state"), verb],
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    answer = json.loads(said.stdout)
    assert answer["final"] == "done"
    assert outputs in str(answer["outputs"][0])
    assert answer["origins"] == ["served", "served"]
    lines = noted(own_log)
    assert len({line for line in lines if line.startswith("start")}) == 2  # two processes of the server
    assert lines.count("say hi") == 1  # it ran beside the question, and isn't called again
    assert lines.count("add 40 2") == (verb == "approve")


async def test_a_paused_call_of_a_tool_that_the_server_no_longer_has_is_told_by_name(shared):
    async with shared.client(require_approval={"add": "always"}) as server:
        state = (await Runner.run(clerk(server), "go")).to_state()
    text = state.to_string()
    async with shared.client(tool_filter={"blocked_tool_names": ["add"]}) as server:
        asking = clerk(server)
        loaded = await RunState.from_string(asking, text)
        loaded.approve(loaded.get_interruptions()[0])
        with pytest.raises(Exception, match="add"):
            await Runner.run(asking, loaded)


# -- filters -----------------------------------------------------------------------------------------------------------


async def test_create_static_tool_filter_offers_the_allowed_and_hides_the_blocked(shared):
    allowed = create_static_tool_filter(allowed_tool_names=["add", "say"], blocked_tool_names=["say"])
    async with shared.client(tool_filter=allowed) as server:
        asking = agent("done", servers=[server])
        await Runner.run(asking, "go")
    assert names(asking) == ["add"]


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_filter_function_chooses_by_the_runs_context_and_the_agent(shared, is_async):
    def plain(context: Any, tool: Any) -> bool:
        assert context.server_name == "served"
        return tool.name in context.run_context.context[context.agent.name]

    async def later(context: Any, tool: Any) -> bool:
        return plain(context, tool)

    async with shared.client(tool_filter=later if is_async else plain) as server:
        b = Agent(name="B", model=ScriptedModel(["b here"]), mcp_servers=[server])
        a = Agent(name="A", model=ScriptedModel([function_call("transfer_to_b")]), mcp_servers=[server], handoffs=[b])
        await Runner.run(a, "go", context={"A": ["add", "say"], "B": ["weather"]})
        assert (names(a), names(b)) == (["add", "say"], ["weather"])


async def test_a_call_of_a_tool_that_a_filter_hides_is_the_models_error(shared):
    async with shared.client(tool_filter={"blocked_tool_names": ["add"]}) as server:
        with pytest.raises(Exception, match="Tool add not found in agent Clerk"):
            await Runner.run(agent(ADD, servers=[server]), "go")


# -- names -------------------------------------------------------------------------------------------------------------


async def test_tools_carry_their_servers_name_where_the_agent_wants_it(server, log):
    asking = agent(function_call("mcp_served__add", {"a": 1, "b": 1}, "c1"), "2", servers=[server],
                   mcp_config={"include_server_in_tool_names": True})  # fmt: skip
    result = await Runner.run(asking, "go")
    assert words(result) == ["2"]
    assert all(name.startswith("mcp_served__") for name in names(asking))
    assert "add 1 1" in log.lines()


async def test_two_servers_with_a_tool_of_one_name_are_refused_unless_prefixed(shared):
    async with shared.client(name="one") as one, shared.client(name="two") as two:
        asking = agent("never", servers=[one, two])
        with pytest.raises(UserError, match=r"MCP server 'two' has .*'add'.*include_server_in_tool_names"):
            await Runner.run(asking, "go")
        assert asking.model.calls == []
        prefixed = agent("done", servers=[one, two], mcp_config={"include_server_in_tool_names": True})
        await Runner.run(prefixed, "go")
        assert {"mcp_one__add", "mcp_two__add"} <= set(names(prefixed))


async def test_two_servers_of_one_name_are_told_apart_where_their_names_are_included(shared):
    async with shared.client() as one, shared.client() as two:
        asking = agent("done", servers=[one, two], mcp_config={"include_server_in_tool_names": True})
        await Runner.run(asking, "go")
        assert len(names(asking)) == len(set(names(asking)))


async def test_a_servers_tool_and_ones_own_of_one_name_are_refused_unless_prefixed(server):
    with pytest.raises(UserError, match="'add', which is there already"):
        await Runner.run(agent("never", servers=[server], tools=[add]), "go")
    asking = agent("done", servers=[server], tools=[add], mcp_config={"include_server_in_tool_names": True})
    await Runner.run(asking, "go")
    assert {"add", "mcp_served__add"} <= set(names(asking))


async def test_a_prefixed_name_never_stands_for_another_tool(server):
    own = replace(add, name="mcp_served__add")
    asking = agent("done", servers=[server], tools=[own], mcp_config={"include_server_in_tool_names": True})
    await Runner.run(asking, "go")
    assert names(asking).count("mcp_served__add") == 1
    assert len(set(names(asking))) == len(names(asking))


# -- listing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("cached", "lists"), [(False, 3), (True, 1)])
async def test_a_server_lists_its_tools_once_a_turn_or_once_where_theyre_cached(shared, log, way, cached, lists):
    async with shared.client(cache_tools_list=cached) as server:
        asking = agent(ADD, function_call("say", {"text": "hi"}, "c2"), "done", servers=[server])
        await go(way, asking)
        assert log.lines().count("list") == lists
        if cached:
            server.invalidate_tools_cache()
            await go(way, agent("done", servers=[server]))
            assert log.lines().count("list") == lists + 1


async def test_a_tool_that_appears_during_the_run_is_offered_at_the_next_turn(own):
    asking = agent(function_call("grow", {"name": "fresh"}, "c1"), function_call("fresh", {}, "c2"), "done",
                   servers=[own])  # fmt: skip
    result = await Runner.run(asking, "go")
    assert "fresh" not in names(asking)
    assert "fresh" in names(asking, 1)
    assert words(result) == ["grown", "fresh"]


async def test_schemas_are_strict_where_the_agent_asks_for_it_and_they_can_be(server):
    for strict in (False, True):
        asking = agent("done", servers=[server], mcp_config={"convert_schemas_to_strict": strict})
        await Runner.run(asking, "go")
        [tool] = [one for one in asking.model.calls[0].tools if one.name == "add"]
        assert tool.strict_json_schema is strict
        assert tool.params_json_schema.get("additionalProperties") is (False if strict else None)


# -- failures ----------------------------------------------------------------------------------------------------------


FAIL = function_call("fail", {"mark": "x"}, "c1")
BAD = function_call("weather", {}, "c1")
"""A call without what the tool needs."""
DIE = function_call("die", {"mark": "x"}, "c1")


async def test_an_error_of_the_tool_is_told_to_the_model(server):
    assert "no such thing: x" in words(await Runner.run(agent(FAIL, "sorry", servers=[server]), "go"))[0]


@pytest.mark.parametrize("way", WAYS)
async def test_a_server_that_dies_during_a_call_is_told_of_and_started_again_at_the_next_turn(own, own_log, way):
    asking = agent(DIE, ADD, "done", servers=[own])
    result = await go(way, asking)
    assert result.final_output == "done"
    first, second = words(result)
    assert "die" in first
    assert second == "42"
    lines = noted(own_log)
    assert lines.count("die x") == 1  # it may have done what it was asked: it isn't asked again
    assert len([line for line in lines if line.startswith("start")]) == 2


async def test_a_server_that_dies_between_turns_is_started_again(own, own_log):
    def kill(call: Any) -> Any:
        started = [line for line in noted(own_log) if line.startswith("start")][-1]
        os.kill(int(started.split()[1]), signal.SIGKILL)
        return ADD

    asking = Agent(name="Clerk", model=ScriptedModel([function_call("say", {"text": "hi"}, "c0"), kill, "done"]),
                   mcp_servers=[own])  # fmt: skip
    result = await Runner.run(asking, "go")
    assert result.final_output == "done"
    assert words(result)[0] == "hi"


@pytest.mark.parametrize("where", ["agent", "server"])
async def test_a_failure_error_function_says_what_the_model_is_told(shared, where):
    def say(context: Any, error: Exception) -> str:
        return f"{context.tool_name} failed"

    async def say_async(context: Any, error: Exception) -> str:
        return say(context, error)

    for one in (say, say_async):
        options = {"failure_error_function": one} if where == "server" else {}
        config: Any = {"failure_error_function": one} if where == "agent" else {}
        async with shared.client(**options) as server:
            asking = agent(BAD, "sorry", servers=[server], mcp_config=config)
            assert words(await Runner.run(asking, "go")) == ["weather failed"]


async def test_the_servers_failure_error_function_goes_before_the_agents(shared):
    async with shared.client(failure_error_function=lambda context, error: "the server's") as server:
        asking = agent(BAD, "ok", servers=[server], mcp_config={"failure_error_function": lambda c, e: "the agent's"})
        assert words(await Runner.run(asking, "go")) == ["the server's"]


async def test_without_a_failure_error_function_the_error_is_raised_and_a_resume_calls_again(shared, log):
    class Weak(Odd):
        name = "weak"
        weak = True

        async def list_tools(self, run_context: Any = None, agent: Any = None) -> Any:
            return [Tool(name="pull", input_schema={})]

        async def call_tool(self, tool_name: str, arguments: Any, meta: Any = None) -> Any:
            if self.weak:
                self.weak = False
                raise ZeroDivisionError("by zero")
            return CallToolResult(content=[TextContent(type="text", text="pulled")])

    async with shared.client() as server:
        calls = [function_call("pull", {}, "c1"), function_call("say", {"text": "hi"}, "c2")]
        asking = agent(calls, "done", servers=[server, Weak()], mcp_config={"failure_error_function": None})
        with pytest.raises(AgentsException, match="Error invoking MCP tool pull on server 'weak': by zero") as caught:
            await Runner.run(asking, "go")
        result = await caught.value.run_data.result.resume()
        assert (result.final_output, words(result)) == ("done", ["pulled", "hi"])
        assert log.lines().count("say hi") == 1


async def test_a_listing_that_fails_fails_the_run_before_the_model_is_asked_and_a_resume_asks_again():
    class Shut(Odd):
        name = "shut"
        shut = True

        async def list_tools(self, run_context: Any = None, agent: Any = None) -> Any:
            if self.shut:
                raise OSError("shut")
            return []

    server = Shut()
    asking = agent("done", servers=[server])
    with pytest.raises(OSError, match="shut") as caught:
        await Runner.run(asking, "go")
    assert asking.model.calls == []
    server.shut = False
    assert (await caught.value.run_data.result.resume()).final_output == "done"


async def test_a_blocking_guardrail_trips_before_any_server_is_asked(server, log):
    @input_guardrail(run_in_parallel=False)
    async def no(ctx: Any, agent: Any, input: Any) -> GuardrailFunctionOutput:
        return GuardrailFunctionOutput(None, True)

    before = log.lines().count("list")
    with pytest.raises(Exception, match="tripwire"):
        await Runner.run(agent("never", servers=[server], input_guardrails=[no]), "go")
    assert log.lines().count("list") == before


async def test_tool_guardrails_of_a_server_look_at_its_calls(shared, log):
    @tool_input_guardrail
    def look(data: Any) -> ToolGuardrailFunctionOutput:
        return ToolGuardrailFunctionOutput.reject_content(f"no {data.context.tool_name}")

    async with shared.client(tool_input_guardrails=[look]) as server:
        assert words(await Runner.run(agent(ADD, "ok", servers=[server]), "go")) == ["no add"]
    assert "add 40 2" not in log.lines()


# -- what items tell ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
async def test_items_tell_where_a_tool_comes_from_and_the_apps_own_data(shared, way):
    def extract(asked: Any) -> dict[str, Any]:
        return {
            "degrees": asked.structured_content["degrees"],
            "by": asked.server_name,
            "tool": asked.tool_display_name,
        }

    async with shared.client(custom_data_extractor=extract) as server:
        asking = agent(function_call("weather", {"city": "Rome"}, "c1"), "ok", servers=[server])
        result = await go(way, asking)
        call, output = result.new_items[:2]
        for item in (call, output):
            assert (item.tool_origin.type, item.tool_origin.mcp_server_name) == ("mcp", "served")
        assert output.custom_data == {"degrees": 21, "by": "served", "tool": "weather"}
        assert "custom" not in json.dumps(asking.model.calls[1].input)


async def test_a_calls_item_has_the_tools_title_and_description(server):
    result = await Runner.run(agent(ADD, "42", servers=[server]), "go")
    call = result.new_items[0]
    assert (call.title, call.description) == ("Adding up", "Adds two numbers.")


async def test_an_interruption_tells_its_tools_origin(shared):
    async with shared.client(require_approval="always") as server:
        [item] = (await Runner.run(agent(ADD, servers=[server]), "go")).interruptions
        assert (item.name, item.tool_origin.mcp_server_name) == ("add", "served")


# -- managers and tools by hand ----------------------------------------------------------------------------------------


def test_the_managers_defaults():
    parameters = inspect.signature(MCPServerManager).parameters
    known = {"connect_timeout_seconds": 10, "drop_failed_servers": True, "strict": False, "connect_in_parallel": False}
    assert {name: parameters[name].default for name in known} == known


async def test_a_manager_connects_the_servers_of_an_agent_and_drops_those_that_failed(shared):
    broken = MCPServerStdio({"command": "no-such-command-anywhere"}, name="broken")
    async with MCPServerManager([shared.client(), broken]) as manager:
        assert [one.name for one in manager.active_servers] == ["served"]
        assert words(await Runner.run(agent(ADD, "42", servers=manager.active_servers), "go")) == ["42"]


async def test_tools_made_by_hand_are_tools_like_others(server):
    asking = agent(ADD, "42", servers=[])
    asking.tools = await MCPUtil.get_all_function_tools([server], False, RunContextWrapper(None), asking)
    assert words(await Runner.run(asking, "go")) == ["42"]


async def test_the_agent_tells_all_its_tools(server):
    asking = agent("x", servers=[server], tools=[replace(add, name="plus")])
    found = [tool.name for tool in await asking.get_all_tools(RunContextWrapper(None))]
    assert {"add", "plus"} <= set(found)
    assert "plus" not in [tool.name for tool in await asking.get_mcp_tools(RunContextWrapper(None))]


# -- durability --------------------------------------------------------------------------------------------------------


async def test_a_run_killed_after_any_fact_goes_on_and_calls_no_tool_whose_output_is_recorded(shared, log):
    def make(server: Any) -> Agent:
        return agent([ADD, function_call("say", {"text": "hi"}, "c2")], "done", servers=[server])

    async with shared.client() as server:
        calm = MemoryStore(keep_bytes=True)
        run = await start(make(server), "go", store=calm, context=Options(None, RunConfig()))
        await run.drive()
        for k in range(1, len(run.facts) + 1):
            store = MemoryStore(keep_bytes=True)
            crashing = CrashingStore(store, k)
            with contextlib.suppress(Crash):
                broken = await start(make(server), "go", store=crashing, run_id="r", context=Options(None, RunConfig()))
                await broken.drive()
            await crashing.bury()
            again = await load("r", make(server), store=store, context=Options(None, RunConfig()))
            recorded = {fact.key for fact in again.facts if isinstance(fact, Effect)}
            before = log.lines()
            if again.standing != "done":
                again = await resume("r", make(server), store=store, context=Options(None, RunConfig()))
                await again.drive()
            assert (await again.result()).output == "done"
            after = log.lines()[len(before) :]
            assert not ("0:c1" in recorded and "add 40 2" in after)
            assert not ("1:c2" in recorded and "say hi" in after)
