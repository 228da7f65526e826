"""A server's tools as an agent has them: offered, named, approved, called, told."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from mcp import MCPError
from mcp_making import Http, Odd, call, offered, run_context, text, until

from flowcore import Agent, FunctionTool, MCPToolCancellationError, ModelBehaviorError, Runner, ToolContext, UserError
from flowcore.errors import AgentsException
from flowcore.mcp import MCPServer, MCPUtil, create_static_tool_filter
from flowcore.testing import ScriptedModel, function_call


def listings(http: Http) -> int:
    return http.noted().count("list")


# --- offered ----------------------------------------------------------------------------------------------------------


async def test_a_servers_tool_is_a_function_tool(server):
    tools = await offered(server)
    add = tools["add"]
    assert isinstance(add, FunctionTool)
    assert (add.description, add.mcp_title) == ("Adds two numbers.", "Adding up")
    assert (add.mcp_server_name, add.mcp_tool_name) == ("served", "add")
    assert add.params_json_schema["required"] == ["a"]
    assert not add.strict_json_schema
    assert tools["nothing"].params_json_schema["properties"] == {}


async def test_schemas_are_made_strict_where_that_can_be(server):
    open_tool = (await server.list_tools())[0].model_copy(deep=True)
    open_tool.input_schema = {"type": "object", "additionalProperties": True}
    tools = await offered(server, strict=True)
    assert tools["add"].strict_json_schema
    assert tools["add"].params_json_schema["required"] == ["a", "b"]
    made = MCPUtil.to_function_tool(open_tool, server, convert_schemas_to_strict=True)
    assert not made.strict_json_schema
    assert made.params_json_schema == {"type": "object", "additionalProperties": True, "properties": {}}


async def test_a_cached_listing_asks_the_server_once_and_gives_the_same_objects(http: Http):
    async with http.client(cache_tools_list=True) as server:
        before = listings(http)
        first = await offered(server)
        assert await offered(server, agent="another") == first  # tools are compared by identity
        assert (await offered(server, strict=True))["add"] is not first["add"]
        assert listings(http) == before + 1
        assert [tool.name for tool in server.cached_tools] == list(first)
        server.invalidate_tools_cache()
        assert await offered(server) == first  # listed anew, and nothing has changed
        assert listings(http) == before + 2


async def test_without_a_cache_the_server_is_asked_each_time(http: Http, server):
    before = listings(http)
    assert await offered(server) == await offered(server)
    assert listings(http) == before + 2


async def test_a_server_that_says_its_tools_changed_is_asked_again(legacy: Http):
    heard = []

    async def handler(message: Any) -> None:
        heard.append(type(message).__name__)

    async with legacy.client(cache_tools_list=True, message_handler=handler) as server:
        assert "grown_one" not in await offered(server)
        await server.call_tool("grow", {"name": "grown_one"})
        await until(lambda: heard)
        assert "grown_one" in await offered(server)
        assert heard == ["ToolListChangedNotification"]


@pytest.mark.parametrize(
    ("tool_filter", "kept"),
    [
        (create_static_tool_filter(allowed_tool_names=["add", "say"]), {"add", "say"}),
        (create_static_tool_filter(["add", "say"], ["say"]), {"add"}),
        (create_static_tool_filter(allowed_tool_names=[]), set()),
        (lambda context, tool: tool.name.startswith("a"), {"add"}),
    ],
)
async def test_a_filter_says_which_tools_are_offered(http: Http, tool_filter, kept):
    async with http.client(tool_filter=tool_filter) as server:
        assert set(await offered(server)) == kept


async def test_a_filter_function_is_told_who_asks_and_one_that_fails_hides_the_tool(http: Http):
    asked = []

    async def tool_filter(context: Any, tool: Any) -> bool:
        asked.append((context.agent, context.server_name, context.run_context.context))
        tool.description = "spoiled"
        if tool.name == "say":
            raise ValueError("no idea")
        return tool.name in ("add", "say") and context.agent != "nobody"

    async with http.client(tool_filter=tool_filter, cache_tools_list=True) as server:
        tools = await offered(server)
        assert set(tools) == {"add"}
        assert tools["add"].description == "Adds two numbers."
        assert asked[0] == ("an agent", "served", {})
        assert await offered(server, agent="nobody") == {}
        assert (await offered(server))["add"] is tools["add"]
        with pytest.raises(UserError, match="run_context and agent are required for dynamic tool filtering"):
            await server.list_tools()


def test_no_filter_is_none():
    assert create_static_tool_filter() is None


async def test_tools_of_two_servers_may_not_have_the_same_name_unless_prefixed(http: Http, sse: Http):
    async with (
        http.client(name="git hub") as one,
        sse.client(name="git-lab") as two,
        http.client(name="git hub") as three,
    ):
        with pytest.raises(UserError, match=r"Duplicate tool names found across MCP servers: .*'add'.*include_server"):
            await MCPUtil.get_all_function_tools([one, two], False, run_context(), "an agent")
        tools = await MCPUtil.get_all_function_tools(
            [one, two, three], False, run_context(), "an agent", include_server_in_tool_names=True
        )
        names = [tool.name for tool in tools]
        assert len(set(names)) == len(names)
        assert {"mcp_git_hub__add", "mcp_git-lab__add"} < set(names)
        again = next(tool for tool in tools[len(tools) // 2 :] if tool.name.startswith("mcp_git_hub__add_"))
        assert text(await call(again, '{"a": 1}')) == "2"


async def test_prefixed_names_fit_into_64_letters_and_hide_secrets(http: Http):
    async with http.client(name=f"http://ann:pass@{'long' * 20}.example/mcp?key=secret") as server:
        names = list(await offered(server, include_server_in_tool_names=True))
        assert len(set(names)) == len(names)
        assert max(map(len, names)) <= 64
        assert "pass" not in names[0]


# --- approval ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "add", "say"),
    [
        (None, False, False),
        ("always", True, True),
        ("never", False, False),
        (True, True, True),
        ({"add": "always", "say": "never"}, True, False),
        ({"add": True}, True, False),
        ({"always": {"tool_names": ["add"]}}, True, False),
        ({"always": {"tool_names": ["say"]}, "never": {"tool_names": ["add"]}}, False, True),
        ({"always": "always"}, False, False),  # a tool may be called so
    ],
)
async def test_approval_may_be_set_for_all_or_by_name(http: Http, setting, add, say):
    async with http.client(require_approval=setting) as server:
        tools = await offered(server)
        assert (tools["add"].needs_approval, tools["say"].needs_approval) == (add, say)


async def test_approval_may_be_a_functions_to_say(http: Http):
    asked = []

    async def policy(context: Any, agent: Any, tool: Any) -> bool:
        asked.append((context, agent, tool.name))
        return tool.name == "add"

    ann, ben, context = Agent(name="Ann"), Agent(name="Ben"), run_context()
    async with http.client(require_approval=policy, cache_tools_list=True) as server:
        tools = await offered(server, agent=ann)
        assert await tools["add"].requires_approval(context, '{"a": 1}', "call_1")
        assert not await tools["say"].requires_approval(context, "{}", "call_2")
        assert asked == [(context, ann, "add"), (context, ann, "say")]
        assert (await offered(server, agent=ann))["add"] is tools["add"]
        assert (await offered(server, agent=ben))["add"] is not tools["add"]
        listed = (await server.list_tools())[0]
        assert MCPUtil.to_function_tool(listed, server, False).needs_approval is True  # nobody to ask about


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("sometimes", "Invalid require_approval value at require_approval: expected 'always' or 'never'"),
        ({"add": "maybe"}, r"at require_approval\['add'\]"),
        ({"always": {"tool_names": "add"}}, "expected a list of strings, got str"),
        ({"always": {"tool_names": [1]}}, r"tool_names\[0\]: expected a string, got int"),
        ({"always": {"tool_names": []}, "add": "never"}, "unexpected keys"),
        ({"always": {"tool_names": ["a"]}, "never": {"tool_names": ["a"]}}, "cannot appear in both"),
        ({"always": {"tool_names": ["a"]}, "never": "b"}, "Invalid require_approval.never: expected an object"),
    ],
)
def test_an_approval_setting_that_says_nothing_is_refused(http: Http, setting, words):
    with pytest.raises(UserError, match=words):
        http.client(require_approval=setting)


# --- called -----------------------------------------------------------------------------------------------------------


async def test_what_the_model_is_told_of_each_kind_of_result(server):
    tools = await offered(server)
    assert await call(tools["say"], '{"text": "hi"}') == {"type": "text", "text": "hi"}
    assert await call(tools["picture"]) == {"type": "image", "image_url": "data:image/png;base64,iVBORw=="}
    one, sound, inside = await call(tools["mixed"])
    assert one == {"type": "text", "text": "one"}
    assert json.loads(text(sound)) == {"type": "audio", "data": "UklGRg==", "mimeType": "audio/wav"}
    assert json.loads(text(inside))["resource"]["text"] == "inside"
    assert await call(tools["nothing"]) == []
    assert "21" in text(await call(tools["weather"], '{"city": "Ulm"}'))
    assert tools["say"].wire_output(await call(tools["say"], '{"text": "hi"}')) == [
        {"type": "input_text", "text": "hi"}
    ]


async def test_structured_content_is_told_where_asked_for_but_not_of_an_error(http: Http):
    async with http.client(use_structured_content=True) as server:
        tools = await offered(server)
        assert json.loads(await call(tools["add"], '{"a": 4}')) == {"result": 5}
        assert text(await call(tools["say"], '{"text": "hi"}')) == "hi"
        assert "no such thing: x" in text(await call(tools["fail"], '{"mark": "x"}'))


async def test_an_error_of_the_tool_is_told_to_the_model_in_its_own_words(server):
    tools = await offered(server)
    assert "no such thing: it" in text(await call(tools["fail"], '{"mark": "it"}'))


async def test_other_errors_go_through_the_failure_function(http: Http):
    async with http.client() as server:
        add = (await offered(server))["add"]
        assert "An error occurred while parsing tool arguments" in await call(add, "{not json")
        assert "missing required parameters: a" in await call(add, "{}")
        told = (await offered(server, failure_error_function=lambda context, error: f"told: {error}"))["add"]
        assert await call(told, "[]") == "told: Invalid JSON input for tool add: expected a JSON object"
        raising = (await offered(server, failure_error_function=None))["add"]
        with pytest.raises(ModelBehaviorError, match="Invalid JSON input for tool add"):
            await call(raising, "[]")
    async with http.client(failure_error_function=None) as server:
        with pytest.raises(ModelBehaviorError):
            await call((await offered(server))["add"], "[]")
    assert "Server not initialized" in await call(add, '{"a": 1}')


async def test_what_the_server_does_not_know_is_said_by_the_server(server):
    gone = (await server.list_tools())[0].model_copy(update={"name": "gone"})
    assert "gone" in text(await call(MCPUtil.to_function_tool(gone, server, False)))
    with pytest.raises(MCPError, match="Internal server error"):
        await server.get_prompt("gone")


async def test_meta_goes_along_with_a_call(http: Http):
    asked = []

    async def resolve(context: Any) -> dict[str, Any] | None:
        asked.append((context.server_name, context.tool_name, context.arguments))
        context.arguments["text"] = "changed"
        return {"user": "ann"} if context.tool_name == "meta" else None

    async with http.client(tool_meta_resolver=resolve) as server:
        tools = await offered(server)
        assert json.loads(text(await call(tools["meta"])))["user"] == "ann"
        assert text(await call(tools["say"], '{"text": "hi"}')) == "hi"
        assert asked[1] == ("served", "say", {"text": "changed"})
        assert json.loads(text(await _invoke(server, "meta", {"fixed": 1})))["fixed"] == 1
    async with http.client(tool_meta_resolver=lambda context: "no dict") as server:
        assert "MCP meta resolver must return a dict or None." in await call((await offered(server))["pid"])


async def _invoke(server: MCPServer, name: str, meta: dict[str, Any]) -> Any:
    tool = next(one for one in await server.list_tools() if one.name == name)
    return await MCPUtil.invoke_mcp_tool(server, tool, run_context(), "", meta=meta)


async def test_the_apps_own_data_of_a_call_is_for_its_output_item(http: Http):
    async def extract(context: Any) -> dict[str, Any]:
        return {"degrees": context.structured_content["degrees"], "tool": context.tool_display_name}

    async with http.client(custom_data_extractor=extract) as server:
        weather = (await offered(server))["weather"]
        context = ToolContext(None, tool_name="weather", tool_call_id="call_1")
        output = await weather.invoke(context, '{"city": "Ulm"}')
        assert await weather.custom_data(context, output, {}) == {"degrees": 21, "tool": "weather"}


# --- servers of one's own ---------------------------------------------------------------------------------------------


async def test_a_call_that_the_server_cancelled_is_an_error_and_the_runs_own_cancel_goes_through():
    words = "Failed to call tool 'odd' on MCP server 'odd': tool execution was cancelled."
    odd = (await offered(Odd()))["odd"]
    assert words in await call(odd)
    with pytest.raises(MCPToolCancellationError, match=words):
        await call((await offered(Odd(), failure_error_function=None))["odd"])
    calling = asyncio.create_task(call(odd, '{"wait": 1}'))
    await asyncio.sleep(0)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling


async def test_any_other_failure_names_tool_and_server():
    with pytest.raises(AgentsException, match="Error invoking MCP tool broken on server 'odd': by zero"):
        await call((await offered(Odd(), failure_error_function=None))["broken"])


async def test_a_server_without_resources_says_so():
    with pytest.raises(NotImplementedError, match="MCP server 'odd' does not support list_resources"):
        await Odd().list_resources()


async def test_an_agent_uses_a_servers_tools(server):
    tools = list((await offered(server)).values())
    model = ScriptedModel.by_turn([[function_call("add", {"a": 41}), function_call("picture", {})], "42"])
    result = await Runner.run(Agent(name="Clerk", model=model, tools=tools), "go")
    assert result.final_output == "42"
    told = [item["output"] for item in result.to_input_list() if item.get("type") == "function_call_output"]
    assert told == [
        [{"type": "input_text", "text": "42"}],
        [{"type": "input_image", "image_url": "data:image/png;base64,iVBORw=="}],
    ]
