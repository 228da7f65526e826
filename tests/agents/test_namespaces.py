"""Tools in namespaces, and the decorators' short names."""

import pytest

from flowcore import decorators
from flowcore.agents.context import RunContextWrapper, ToolContext
from flowcore.agents.guardrails import input_guardrail
from flowcore.agents.namespaces import tool_namespace
from flowcore.agents.tools import function_tool
from flowcore.errors import UserError


@function_tool
async def find(name: str) -> str:
    return f"found {name}"


@function_tool
async def crm() -> str:
    return "crm"


async def test_a_namespace_gives_copies_that_are_known_by_the_whole_name():
    (own,) = tool_namespace(name=" crm ", description=" Customers. ", tools=[find])
    assert (own.name, own.qualified_name) == ("find", "crm.find")
    assert (own.tool_namespace, own.tool_namespace_description) == ("crm", "Customers.")
    assert own is not find
    assert (find.qualified_name, find.tool_namespace) == ("find", None)
    ctx = ToolContext.from_agent_context(
        RunContextWrapper(None), "c", tool_name=own.name, tool_namespace=own.tool_namespace
    )
    assert ctx.qualified_tool_name == own.qualified_name
    assert await own.invoke(ctx, '{"name": "Ada"}') == "found Ada"


def test_a_tool_may_stand_in_several_namespaces_and_move_to_another():
    one = tool_namespace(name="a", description="A.", tools=[find])
    other = tool_namespace(name="b", description="B.", tools=one)
    assert [tool.qualified_name for tool in (*one, *other)] == ["a.find", "b.find"]
    assert tool_namespace(name="a", description="A.", tools=()) == []


@pytest.mark.parametrize(
    ("name", "description", "tools", "says"),
    [
        ("", "d", [find], "requires a non-empty namespace name"),
        ("  ", "d", [find], "requires a non-empty namespace name"),
        (3, "d", [find], "requires a non-empty namespace name"),
        ("a", None, [find], "requires a non-empty description"),
        ("a", " ", [find], "requires a non-empty description"),
        ("a", "d", ["find"], "only supports FunctionTool instances"),
        ("crm", "d", [crm], "rename the namespace 'crm' or its tool"),
    ],
)
def test_a_namespace_that_cannot_be_is_refused(name, description, tools, says):
    with pytest.raises(UserError, match=says):
        tool_namespace(name=name, description=description, tools=tools)


def test_the_decorators_go_by_their_short_names():
    assert decorators.tool is decorators.function_tool is function_tool
    assert decorators.input_guardrail is input_guardrail
    assert sorted(decorators.__all__) == decorators.__all__
