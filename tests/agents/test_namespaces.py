"""Tools in namespaces, and the decorators' short names."""

from dataclasses import replace

import pytest

from flowcore import decorators
from flowcore.agents.context import RunContextWrapper, ToolContext
from flowcore.agents.guardrails import input_guardrail
from flowcore.agents.namespaces import called_name, called_tool, colliding, qualified_tools, tool_namespace
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


def call(name: str, namespace: str | None = None) -> dict[str, str]:
    item = {"type": "function_call", "call_id": "c", "name": name, "arguments": "{}"}
    return item if namespace is None else {**item, "namespace": namespace}


def test_a_call_finds_its_tool_by_its_whole_name():
    (inside,) = tool_namespace(name="people", description="d", tools=[find])
    tools = qualified_tools([find, inside, object()])
    assert called_tool(tools, call("find")) is find
    assert called_tool(tools, call("find", "people")) is inside
    assert called_tool(tools, call("find", "places")) is None
    assert called_tool(tools, call("people.find")) is inside
    assert called_tool(qualified_tools([inside]), call("find")) is None
    assert (called_name(call("find")), called_name(call("find", "people"))) == ("find", "people.find")


def test_a_tool_that_was_searched_for_is_called_in_a_namespace_of_its_own_name():
    late = replace(find, name="late", defer_loading=True)
    tools = qualified_tools([late, find])
    assert called_tool(tools, call("late", "late")) is late
    assert called_tool(tools, call("find", "find")) is None


def test_of_tools_with_one_plain_name_the_last_is_called():
    other = replace(crm, name="find")
    assert qualified_tools([find, other])["find"] is other
    assert colliding([find, other, crm, object()]) == ["find"]


def test_a_namespace_that_makes_a_name_ambiguous_is_refused():
    (inside,) = tool_namespace(name="people", description="d", tools=[find])
    (twin,) = tool_namespace(name="people", description="d", tools=[find])
    dotted = replace(crm, name="people.find")
    for other in (twin, dotted):
        with pytest.raises(UserError, match=r"qualified name `people\.find` is used by multiple tools"):
            qualified_tools([inside, other])
    (elsewhere,) = tool_namespace(name="people", description="else", tools=[crm])
    with pytest.raises(UserError, match="namespace 'people' must share the same description"):
        qualified_tools([inside, elsewhere])
