"""Tools that the provider runs, in whole runs: §18 of the reference, row by row, through the Responses API."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conformance_making import WAYS, add, go
from models_loopback import Loopback, answer_events, answer_json
from openai.types.responses.response_output_item import McpApprovalRequest

from flowcore import (
    Agent,
    CodeInterpreterTool,
    FileSearchTool,
    HostedMCPTool,
    ImageGenerationTool,
    MaxTurnsExceeded,
    MCPToolApprovalRequest,
    ModelBehaviorError,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    RunContextWrapper,
    Runner,
    RunState,
    SQLiteSession,
    ToolSearchTool,
    UserError,
    WebSearchTool,
    function_tool,
    handoff,
    tool_namespace,
)
from flowcore.testing import function_call

MCP: dict[str, Any] = {
    "type": "mcp", "server_label": "deep", "server_url": "https://mcp.example", "require_approval": "always",
}  # fmt: skip
USAGE = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}


def asked(id: str = "r1", label: str = "deep", name: str = "ask") -> dict[str, Any]:
    return {
        "type": "mcp_approval_request", "id": id, "server_label": label, "name": name, "arguments": '{"q": 1}',
    }  # fmt: skip


def said(text: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "id": f"m_{text}", "role": "assistant", "status": "completed", "content": [part]}


class Provider:
    """The Responses API as a test wants it: a reply of these items to each request, streamed if it's asked for."""

    def __init__(self, loopback: Loopback, client: Any) -> None:
        self.loopback, self.client = loopback, client

    def replies(self, *replies: list[Any], streamed: bool = False) -> None:
        for number, output in enumerate(replies, 1):
            whole = {
                "id": f"resp_{number}", "object": "response", "status": "completed", "error": None, "output": output,
                "usage": USAGE,
            }  # fmt: skip
            if not streamed:
                self.loopback.answers.append(answer_json(whole))
                continue
            done = [
                {"type": "response.output_item.done", "item": item, "output_index": i, "sequence_number": i}
                for i, item in enumerate(output)
            ]
            events = [{"type": "response.created", "response": {**whole, "output": []}, "sequence_number": 0}, *done,
                      {"type": "response.completed", "response": whole, "sequence_number": 99}]  # fmt: skip
            self.loopback.answers.append(answer_events(*events))

    def agent(self, **fields: Any) -> Agent:
        return Agent(name="A", model=OpenAIResponsesModel("m", self.client), **fields)

    def sent(self, number: int) -> list[dict[str, Any]]:
        """The input of a request, from 0."""
        items: list[dict[str, Any]] = self.loopback.bodies[number]["input"]
        return items

    @property
    def requests(self) -> int:
        return len(self.loopback.bodies)


@pytest.fixture
def provider(loopback: Loopback, loopback_client: Any) -> Provider:
    return Provider(loopback, loopback_client)


# -- declared ----------------------------------------------------------------------------------------------------------


DECLARED: list[tuple[Any, dict[str, Any]]] = [
    (
        FileSearchTool(["vs_1"], max_num_results=3),
        {"type": "file_search", "vector_store_ids": ["vs_1"], "max_num_results": 3},
    ),
    (WebSearchTool(), {"type": "web_search", "search_context_size": "medium"}),
    (
        CodeInterpreterTool({"type": "code_interpreter", "container": {"type": "auto"}}),
        {"type": "code_interpreter", "container": {"type": "auto"}},
    ),
    (ImageGenerationTool({"type": "image_generation"}), {"type": "image_generation"}),
    (HostedMCPTool(MCP), MCP),
    (ToolSearchTool(), {"type": "tool_search"}),
]


@pytest.mark.parametrize(("tool", "wire"), DECLARED, ids=lambda one: getattr(one, "name", ""))
async def test_a_hosted_tool_is_declared_in_the_request(provider, tool, wire):
    provider.replies([said("done")])
    await Runner.run(provider.agent(tools=[tool]), "go")
    assert provider.loopback.bodies[0]["tools"] == [wire]


async def test_deferred_tools_and_namespaces_are_declared_for_tool_search(provider):
    @function_tool(defer_loading=True)
    def refund(order: str) -> str:
        """Refunds."""
        return f"refunded {order}"

    provider.replies(
        [
            {"type": "tool_search_call", "id": "s1", "arguments": {"query": "refund"}, "execution": "server"},
            {"type": "tool_search_output", "id": "s2", "tools": [], "execution": "server"},
            {**function_call("refund", {"order": "7"}, "c1"), "id": "f1", "namespace": "shop"},
        ],
        [said("done")],
    )
    tools = [ToolSearchTool(), *tool_namespace(name="shop", description="The shop", tools=[refund])]
    result = await Runner.run(provider.agent(tools=tools), "go")
    declared = provider.loopback.bodies[0]["tools"]
    assert [tool["type"] for tool in declared] == ["tool_search", "namespace"]
    assert declared[1]["tools"][0]["defer_loading"] is True
    assert provider.sent(1)[-1]["output"] == "refunded 7"
    assert [item.type for item in result.new_items[:2]] == ["tool_search_call_item", "tool_search_output_item"]


async def test_chat_completions_has_no_hosted_tools(loopback_client):
    asking = Agent(name="A", model=OpenAIChatCompletionsModel("m", loopback_client), tools=[WebSearchTool()])
    with pytest.raises(UserError, match="web_search"):
        await Runner.run(asking, "go")


# -- what they leave ---------------------------------------------------------------------------------------------------


SEARCH = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}}
CALLS: list[dict[str, Any]] = [
    SEARCH,
    {"type": "file_search_call", "id": "fs_1", "status": "completed", "queries": ["q"], "results": None},
    {
        "type": "code_interpreter_call", "id": "ci_1", "status": "completed", "code": "1", "container_id": "c",
        "outputs": [],
    },
    {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "aGk="},
    {"type": "mcp_call", "id": "mc_1", "server_label": "deep", "name": "ask", "arguments": "{}", "output": "hi"},
]  # fmt: skip


@pytest.mark.parametrize("call", CALLS, ids=[call["type"] for call in CALLS])
@pytest.mark.parametrize("way", WAYS)
async def test_a_reply_of_hosted_calls_alone_runs_again_and_is_sent_along(provider, way, call):
    provider.replies([call], [said("done")], streamed=way == "streamed")
    result = await go(way, provider.agent(tools=[WebSearchTool()]), "go")
    assert result.final_output == "done"
    assert provider.requests == 2
    assert provider.sent(1) == [{"role": "user", "content": "go"}, call]
    assert [item.type for item in result.new_items] == ["tool_call_item", "message_output_item"]
    assert result.new_items[0].tool_origin is None


async def test_hosted_calls_beside_a_message_end_the_run(provider):
    provider.replies([SEARCH, said("done")])
    assert (await Runner.run(provider.agent(tools=[WebSearchTool()]), "go")).final_output == "done"
    assert provider.requests == 1


@pytest.mark.parametrize("way", WAYS)
async def test_hosted_calls_beside_a_function_call_wait_for_it(provider, way):
    call = {**function_call("add", {"a": 1, "b": 2}, "c1"), "id": "f1"}
    provider.replies([SEARCH, call], [said("three")], streamed=way == "streamed")
    result = await go(way, provider.agent(tools=[WebSearchTool(), add]), "go")
    assert result.final_output == "three"
    assert [item.get("type") for item in provider.sent(1)] == [
        None, "web_search_call", "function_call", "function_call_output",
    ]  # fmt: skip


async def test_replies_of_hosted_calls_are_turns(provider):
    provider.replies(*[[{**SEARCH, "id": f"ws_{i}"}] for i in range(3)])
    with pytest.raises(MaxTurnsExceeded):
        await Runner.run(provider.agent(tools=[WebSearchTool()]), "go", max_turns=3)
    assert provider.requests == 3


async def test_a_forced_hosted_tool_is_forced_once(provider):
    provider.replies([SEARCH], [said("done")])
    settings = ModelSettings(tool_choice="web_search")
    await Runner.run(provider.agent(tools=[WebSearchTool()], model_settings=settings), "go")
    assert provider.loopback.bodies[0]["tool_choice"] == {"type": "web_search"}
    assert "tool_choice" not in provider.loopback.bodies[1]


async def test_tool_use_behavior_is_for_function_tools_only(provider):
    provider.replies([SEARCH], [said("done")])
    asking = provider.agent(tools=[WebSearchTool(), add], tool_use_behavior="stop_on_first_tool")
    assert (await Runner.run(asking, "go")).final_output == "done"


UNKNOWN = {"type": "dream", "id": "x_1", "content": [{"deep": {"er": [1, None, "é\x00"]}}], "new": True}


@pytest.mark.parametrize("way", WAYS)
async def test_an_item_of_an_unknown_type_passes_verbatim_into_the_next_request(provider, way):
    call = {**function_call("add", {"a": 1, "b": 2}, "c1"), "id": "f1", "of_tomorrow": {"a": [1]}}
    provider.replies([UNKNOWN, call], [said("three")], streamed=way == "streamed")
    result = await go(way, provider.agent(tools=[add]), "go")
    assert provider.sent(1)[1:3] == [UNKNOWN, call]
    assert result.new_items[0].type == "unknown_item"
    assert result.to_input_list()[1] == UNKNOWN


async def test_unknown_items_live_through_a_session_a_handoff_and_another_process(provider, tmp_path):
    provider.replies(
        [UNKNOWN, {**function_call("transfer_to_b", {}, "h1"), "id": "f1"}], [asked()], [said("done")], [said("again")]
    )
    session = SQLiteSession("s", tmp_path / "s.db")

    def make() -> Agent:
        b = Agent(name="B", model=OpenAIResponsesModel("m", provider.client), tools=[HostedMCPTool(MCP)])
        return provider.agent(handoffs=[handoff(b)])

    result = await Runner.run(make(), "go", session=session)
    state = await RunState.from_string(make(), result.to_state().to_string())
    state.approve(state.get_interruptions()[0])
    assert (await Runner.run(make(), state, session=session)).final_output == "done"
    assert provider.sent(2)[1] == UNKNOWN
    await Runner.run(make(), "more", session=session)
    assert UNKNOWN in provider.sent(3)
    assert [item.get("type") for item in provider.sent(3)] == [
        None, "dream", "function_call", "function_call_output", "mcp_approval_request", "mcp_approval_response",
        "message", None,
    ]  # fmt: skip
    session.close()


# -- approval by a function --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    ("answer", "wire"),
    [
        ({"approve": True}, {"approve": True}),
        ({"approve": False}, {"approve": False}),
        ({"approve": False, "reason": "not on Sundays"}, {"approve": False, "reason": "not on Sundays"}),
    ],
)
@pytest.mark.parametrize("way", WAYS)
async def test_on_approval_request_decides_without_a_pause(provider, way, answer, wire, is_async):
    seen: list[MCPToolApprovalRequest] = []

    def plain(request: MCPToolApprovalRequest) -> Any:
        seen.append(request)
        return answer

    async def later(request: MCPToolApprovalRequest) -> Any:
        return plain(request)

    provider.replies([asked()], [said("done")], streamed=way == "streamed")
    tool = HostedMCPTool(MCP, on_approval_request=later if is_async else plain)
    result = await go(way, provider.agent(tools=[tool]), "go", context="app")
    assert (result.final_output, result.interruptions) == ("done", [])
    assert provider.sent(1) == [
        {"role": "user", "content": "go"},
        asked(),
        {"type": "mcp_approval_response", "approval_request_id": "r1", **wire},
    ]
    [request] = seen
    assert isinstance(request.ctx_wrapper, RunContextWrapper)
    assert request.ctx_wrapper.context == "app"
    assert isinstance(request.data, McpApprovalRequest)
    assert (request.data.id, request.data.name, json.loads(request.data.arguments)) == ("r1", "ask", {"q": 1})
    assert [item.type for item in result.new_items] == [
        "mcp_approval_request_item", "mcp_approval_response_item", "message_output_item",
    ]  # fmt: skip


async def test_a_streamed_approval_tells_of_the_request_and_of_the_response(provider):
    provider.replies([asked()], [said("done")], streamed=True)
    tool = HostedMCPTool(MCP, on_approval_request=lambda request: {"approve": True})
    result = Runner.run_streamed(provider.agent(tools=[tool]), "go")
    seen = [event.name async for event in result.stream_events() if event.type == "run_item_stream_event"]
    assert seen == ["mcp_approval_requested", "mcp_approval_response", "message_output_created"]


async def test_each_server_asks_its_own_function(provider):
    provider.replies([asked("r1", "deep"), asked("r2", "wide")], [said("done")])
    tools = [
        HostedMCPTool({**MCP, "server_label": label}, on_approval_request=lambda request, yes=yes: {"approve": yes})
        for label, yes in (("deep", True), ("wide", False))
    ]
    await Runner.run(provider.agent(tools=tools), "go")
    assert [item["approve"] for item in provider.sent(1)[-2:]] == [True, False]


async def test_an_approval_function_that_raises_fails_the_run_and_is_asked_again(provider):
    asked_times: list[int] = []

    def decide(request: Any) -> Any:
        asked_times.append(1)
        if len(asked_times) == 1:
            raise OSError("down")
        return {"approve": True}

    provider.replies([asked()], [said("done")])
    with pytest.raises(OSError, match="down") as caught:
        await Runner.run(provider.agent(tools=[HostedMCPTool(MCP, on_approval_request=decide)]), "go")
    result = await caught.value.run_data.result.resume()
    assert (result.final_output, len(asked_times), provider.requests) == ("done", 2, 2)


async def test_an_approval_function_that_says_neither_is_refused(provider):
    provider.replies([asked()])
    with pytest.raises(UserError, match="on_approval_request gave 'yes'"):
        await Runner.run(provider.agent(tools=[HostedMCPTool(MCP, on_approval_request=lambda request: "yes")]), "go")


@pytest.mark.parametrize("way", WAYS)
async def test_a_request_of_a_server_that_the_agent_doesnt_have_is_the_models_error(provider, way):
    provider.replies([asked(label="stranger")], streamed=way == "streamed")
    with pytest.raises(ModelBehaviorError, match="MCP server label stranger not found"):
        await go(way, provider.agent(tools=[HostedMCPTool(MCP)]), "go")


# -- approval by a person ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "wire"),
    [
        ("approve", {"approve": True}),
        ("reject", {"approve": False}),
        ("explain", {"approve": False, "reason": "not now"}),
    ],
)
@pytest.mark.parametrize("way", WAYS)
async def test_without_a_function_the_run_pauses_and_a_state_decides_in_another_process(provider, way, verb, wire):
    provider.replies([asked()], [said("done")], streamed=way == "streamed")

    def make() -> Agent:
        return provider.agent(tools=[HostedMCPTool(MCP)])

    result = await go(way, make(), "go")
    [item] = result.interruptions
    assert (item.name, item.tool_name, item.qualified_name, item.call_id) == ("ask", "ask", "ask", "r1")
    assert json.loads(item.arguments) == {"q": 1}
    assert isinstance(item.raw_item, McpApprovalRequest)
    assert item.raw_item.server_label == "deep"
    assert [one.type for one in result.new_items] == ["mcp_approval_request_item", "tool_approval_item"]
    state = await RunState.from_string(make(), result.to_state().to_string())
    [item] = state.get_interruptions()
    assert isinstance(item.raw_item, McpApprovalRequest)
    if verb == "approve":
        state.approve(item)
    else:
        state.reject(item, rejection_message="not now" if verb == "explain" else None)
    result = await go(way, make(), state)
    assert result.final_output == "done"
    assert provider.sent(1)[1:] == [
        asked(), {"type": "mcp_approval_response", "approval_request_id": "r1", **wire},
    ]  # fmt: skip
    assert [one.type for one in result.new_items] == [
        "mcp_approval_request_item", "tool_approval_item", "mcp_approval_response_item", "message_output_item",
    ]  # fmt: skip


async def test_always_approve_holds_for_the_servers_tool_and_for_no_other_servers(provider):
    provider.replies([asked("r1")], [asked("r2"), asked("r3", "wide"), asked("r4", name="other")], [said("done")])
    asking = provider.agent(tools=[HostedMCPTool(MCP), HostedMCPTool({**MCP, "server_label": "wide"})])
    result = await Runner.run(asking, "go")
    state = result.to_state()
    state.approve(state.get_interruptions()[0], always_approve=True)
    result = await Runner.run(asking, state)
    assert [item.call_id for item in result.interruptions] == ["r3", "r4"]


async def test_always_approve_of_a_hosted_tool_holds_for_no_function_tool_of_its_name(provider):
    ran: list[int] = []

    @function_tool(needs_approval=True)
    def ask(q: int) -> str:
        ran.append(q)
        return "asked"

    call = {**function_call("ask", {"q": 2}, "c1"), "id": "f1"}
    provider.replies([asked("r1")], [call], [said("done")])
    asking = provider.agent(tools=[HostedMCPTool(MCP), ask])
    state = (await Runner.run(asking, "go")).to_state()
    state.approve(state.get_interruptions()[0], always_approve=True)
    result = await Runner.run(asking, state)
    assert [item.call_id for item in result.interruptions] == ["c1"]
    assert ran == []


async def test_function_calls_beside_a_request_run_before_the_pause_and_once(provider):
    ran: list[int] = []

    @function_tool
    def count() -> str:
        ran.append(1)
        return "counted"

    call = {**function_call("count", {}, "c1"), "id": "f1"}
    provider.replies([asked(), call], [said("done")])
    asking = provider.agent(tools=[HostedMCPTool(MCP), count])
    result = await Runner.run(asking, "go")
    assert ran == [1]
    state = result.to_state()
    state.approve(state.get_interruptions()[0])
    await Runner.run(asking, state)
    assert ran == [1]
    assert [item.get("type") for item in provider.sent(1)] == [
        None, "mcp_approval_request", "function_call", "mcp_approval_response", "function_call_output",
    ]  # fmt: skip


async def test_requests_may_be_decided_one_by_one(provider):
    provider.replies([asked("r1"), asked("r2")], [said("done")])
    asking = provider.agent(tools=[HostedMCPTool(MCP)])
    state = (await Runner.run(asking, "go")).to_state()
    first, _ = state.get_interruptions()
    state.approve(first)
    result = await Runner.run(asking, state)
    [left] = result.interruptions
    assert left.call_id == "r2"
    state = result.to_state()
    state.reject(left)
    assert (await Runner.run(asking, state)).final_output == "done"
    assert [(item["approval_request_id"], item["approve"]) for item in provider.sent(1)[-2:]] == [
        ("r1", True), ("r2", False),
    ]  # fmt: skip


async def test_with_a_conversation_that_the_provider_keeps_only_the_answer_is_sent(provider):
    provider.replies([asked()], [said("done")])
    asking = provider.agent(tools=[HostedMCPTool(MCP)])
    result = await Runner.run(asking, "go", auto_previous_response_id=True)
    state = result.to_state()
    state.approve(state.get_interruptions()[0])
    await Runner.run(asking, state)
    assert provider.sent(1) == [{"type": "mcp_approval_response", "approval_request_id": "r1", "approve": True}]
    assert provider.loopback.bodies[1]["previous_response_id"] == "resp_1"
