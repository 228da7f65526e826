"""Hosted tools: what they say on the wire is what openai's own types say it is."""

from __future__ import annotations

from typing import Any

import openai.types.responses as wire
import openai.types.responses.tool_param as tool_param
import pytest
from pydantic import ConfigDict, TypeAdapter, with_config

from flowcore import Agent
from flowcore.agents.context import RunContextWrapper
from flowcore.agents.hosted import (
    CodeInterpreterTool,
    FileSearchTool,
    HostedMCPTool,
    ImageGenerationTool,
    MCPToolApprovalRequest,
    ToolSearchTool,
    WebSearchTool,
)
from flowcore.errors import UserError

MCP = {"type": "mcp", "server_label": "deep", "server_url": "https://mcp.example", "require_approval": "always"}
ASKED = {"type": "mcp_approval_request", "id": "mcpr_1", "server_label": "deep", "name": "ask", "arguments": "{}"}


def closed(kind: Any) -> TypeAdapter[Any]:
    """The type, with unknown keys refused."""
    return TypeAdapter(with_config(ConfigDict(extra="forbid"))(kind))


@pytest.mark.parametrize(
    ("tool", "kind"),
    [
        (FileSearchTool(["vs_1"]), wire.FileSearchToolParam),
        (
            FileSearchTool(
                ["vs_1", "vs_2"],
                3,
                True,
                {"ranker": "auto", "score_threshold": 0.5},
                {"type": "eq", "key": "year", "value": 2025},
            ),
            wire.FileSearchToolParam,
        ),
        (WebSearchTool(), wire.WebSearchToolParam),
        (
            WebSearchTool({"type": "approximate", "city": "Rome"}, {"allowed_domains": ["a.example"]}, "low", False),
            wire.WebSearchToolParam,
        ),
        (
            CodeInterpreterTool({"type": "code_interpreter", "container": {"type": "auto"}}),
            tool_param.CodeInterpreter,
        ),
        (ImageGenerationTool({"type": "image_generation", "quality": "low"}), tool_param.ImageGeneration),
        (HostedMCPTool(MCP), tool_param.Mcp),
        (ToolSearchTool(), wire.ToolSearchToolParam),
        (ToolSearchTool("find", "client", {"type": "object"}), wire.ToolSearchToolParam),
    ],
    ids=lambda value: value.name if hasattr(value, "name") else None,
)
def test_a_hosted_tool_is_on_the_wire_what_openai_documents(tool: Any, kind: Any) -> None:
    closed(kind).validate_python(tool.to_wire())
    TypeAdapter(wire.ToolParam).validate_python(tool.to_wire())
    assert Agent(name="a", tools=[tool]).tools == [tool]


def test_what_is_not_given_is_not_sent() -> None:
    assert FileSearchTool(["vs"], max_num_results=0).to_wire() == {"type": "file_search", "vector_store_ids": ["vs"]}
    assert WebSearchTool().to_wire() == {"type": "web_search", "search_context_size": "medium"}
    assert ToolSearchTool().to_wire() == {"type": "tool_search"}
    images = WebSearchTool(search_content_types=["text", "image"], image_settings={"max_results": 2})
    assert images.to_wire()["image_settings"] == {"max_results": 2}


def test_settings_may_be_openais_own_objects() -> None:
    filters = wire.web_search_tool.Filters(allowed_domains=["a.example"])
    assert WebSearchTool(filters=filters).to_wire()["filters"] == {"allowed_domains": ["a.example"]}


def test_results_are_asked_for_where_they_are_wanted() -> None:
    assert FileSearchTool(["vs"], include_search_results=True).includes == ("file_search_call.results",)
    assert WebSearchTool(search_content_types=["image"]).includes == ("web_search_call.results",)
    assert FileSearchTool(["vs"]).includes == WebSearchTool().includes == ()


@pytest.mark.parametrize("kind", [CodeInterpreterTool, ImageGenerationTool, HostedMCPTool])
def test_a_config_of_another_type_is_refused(kind: Any) -> None:
    for config in ({}, {"type": "function"}, None):
        with pytest.raises(UserError, match=rf"{kind.__name__}: tool_config is a dict with 'type'"):
            kind(config)


@pytest.mark.parametrize("count", [-1, 51, True, 2.0])
def test_a_number_of_results_that_cannot_be_is_refused(count: Any) -> None:
    with pytest.raises(UserError, match="1 to 50"):
        FileSearchTool(["vs"], max_num_results=count)


async def test_a_function_approves_or_rejects_a_hosted_call() -> None:
    seen: list[MCPToolApprovalRequest] = []

    async def later(request: MCPToolApprovalRequest) -> Any:
        seen.append(request)
        return {"approve": False, "reason": "not today"}

    ctx = RunContextWrapper("app")
    response = await HostedMCPTool(MCP, later).answer(ctx, ASKED)
    assert response == {
        "type": "mcp_approval_response",
        "approval_request_id": "mcpr_1",
        "approve": False,
        "reason": "not today",
    }
    assert (seen[0].ctx_wrapper, seen[0].data.name, seen[0].data.arguments) == (ctx, "ask", "{}")
    yes = await HostedMCPTool(MCP, lambda request: {"approve": True}).answer(ctx, ASKED)
    assert yes == {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True}
    closed(wire.response_input_item_param.McpApprovalResponse).validate_python(yes)
    assert await HostedMCPTool(MCP).answer(ctx, ASKED) is None
    with pytest.raises(UserError, match="on_approval_request gave True"):
        await HostedMCPTool(MCP, lambda request: True).answer(ctx, ASKED)  # type: ignore[arg-type,return-value]
