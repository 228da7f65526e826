"""§5: every field of an agent, in runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import pytest
from conformance_making import WAYS, add, adding, agent, caught, decided, delete, deleting, go, in_turn, told
from mcp_making import noted, stdio
from pydantic import BaseModel
from typing_extensions import TypedDict

from flowcore import (
    Agent,
    AgentOutputSchema,
    AgentOutputSchemaBase,
    FunctionToolResult,
    GenerateDynamicPromptData,
    ModelBehaviorError,
    ModelSettings,
    RunContextWrapper,
    Runner,
    StopAtTools,
    ToolCallOutputItem,
    ToolsToFinalOutputResult,
    UserError,
    function_tool,
    input_guardrail,
    output_guardrail,
)
from flowcore.agents.guardrails import GuardrailFunctionOutput
from flowcore.models import get_default_model_settings
from flowcore.testing import ScriptedModel, function_call

# --- the fields' types ------------------------------------------------------------------------------------------------

REFUSED: list[tuple[str, Any, str]] = [
    ("name", 3, "Agent name must be a string, got int"),
    ("name", None, "Agent name must be a string, got NoneType"),
    ("handoff_description", 3, "Agent handoff_description must be a string or None, got int"),
    ("tools", "add", "Agent tools must be a list, got str"),
    ("tools", (add,), "Agent tools must be a list, got tuple"),
    ("mcp_servers", "one", "Agent mcp_servers must be a list, got str"),
    ("mcp_config", "strict", "Agent mcp_config must be a dict, got str"),
    ("mcp_config", {"strict": True}, "Agent mcp_config has no 'strict'"),
    ("instructions", 3, "Agent instructions must be a string, list, callable, or None, got int"),
    ("prompt", 3, "Agent prompt must be a Prompt, DynamicPromptFunction, or None, got int"),
    ("handoffs", "other", "Agent handoffs must be a list, got str"),
    ("model", 3, "Agent model must be a string, Model, or None, got int"),
    ("model_settings", 3, "Agent model_settings must be a ModelSettings instance or a dict, got int"),
    ("model_settings", {"tempeture": 1}, "tempeture"),
    ("input_guardrails", "polite", "Agent input_guardrails must be a list, got str"),
    ("input_guardrails", [print], "Agent input_guardrails holds InputGuardrails, not"),
    ("output_guardrails", "polite", "Agent output_guardrails must be a list, got str"),
    ("output_guardrails", [print], "Agent output_guardrails holds OutputGuardrails, not"),
    ("output_type", 3, "Agent output_type must be a type, AgentOutputSchemaBase, or None, got int"),
    ("output_type", "Order", "Agent output_type must be a type, AgentOutputSchemaBase, or None, got str"),
    ("hooks", 3, "Agent hooks must be an AgentHooks instance or None, got int"),
    (
        "tool_use_behavior",
        3,
        "Agent tool_use_behavior must be 'run_llm_again', 'stop_on_first_tool', StopAtTools dict,",
    ),
    ("tool_use_behavior", "stop", "or callable, got str"),
    ("tool_use_behavior", {"stop_at": ["add"]}, "StopAtTools dict, or callable, got dict"),
    ("reset_tool_choice", 1, "Agent reset_tool_choice must be a boolean, got int"),
    ("nope", 1, "unexpected keyword argument 'nope'"),
]


@pytest.mark.parametrize(("name", "value", "says"), REFUSED, ids=[f"{one[0]}-{i}" for i, one in enumerate(REFUSED)])
def test_every_field_is_checked_when_the_agent_is_made(name, value, says):
    with pytest.raises(TypeError) as error:
        Agent(**{"name": "A", name: value})
    assert says in str(error.value)


def test_the_fields_stand_in_the_order_that_people_know():
    known = (
        "name handoff_description tools mcp_servers mcp_config instructions prompt handoffs model model_settings"
        " input_guardrails output_guardrails output_type hooks tool_use_behavior reset_tool_choice"
    )
    assert [one.name for one in fields(Agent)][:16] == known.split()


def test_the_defaults_are_those_that_people_know():
    plain = Agent(name="A")
    assert (plain.instructions, plain.prompt, plain.handoff_description, plain.model) == (None, None, None, None)
    assert (plain.output_type, plain.hooks, plain.tool_use_behavior) == (None, None, "run_llm_again")
    assert plain.reset_tool_choice is True
    assert plain.model_settings == get_default_model_settings()
    lists = (plain.tools, plain.mcp_servers, plain.handoffs, plain.input_guardrails, plain.output_guardrails)
    assert all(one == [] for one in lists)
    assert plain.mcp_config == {}


def test_what_is_no_tool_is_refused_by_name():
    with pytest.raises(UserError, match="agent 'A': 'add' is no tool"):
        Agent(name="A", tools=["add"])


def test_model_settings_may_be_a_dict():
    assert Agent(name="A", model_settings={"temperature": 0.5}).model_settings == ModelSettings(temperature=0.5)


@pytest.mark.parametrize(
    "kind", [int, str, None, list[int], dict[str, Any] | None, int | str, Any, AgentOutputSchema(dict[str, int], False)]
)
def test_an_output_type_is_any_type(kind):
    if kind == dict[str, Any] | None:
        kind = AgentOutputSchema(kind, strict_json_schema=False)
    assert Agent(name="A", output_type=kind).output_type is kind


def test_an_agents_class_takes_the_contexts_type():
    made = Agent[int](name="A")
    assert type(made) is Agent


# --- clone ------------------------------------------------------------------------------------------------------------


def test_a_clone_is_a_shallow_copy_with_some_fields_changed():
    one = Agent(name="A", tools=[add], handoffs=[Agent(name="C")], instructions="x")
    other = one.clone(name="B", instructions="y")
    assert (other.name, other.instructions, one.name, one.instructions) == ("B", "y", "A", "x")
    assert other.tools is one.tools
    assert other.handoffs is one.handoffs
    assert type(other) is Agent


def test_a_clone_with_a_field_that_isnt_there_is_refused():
    with pytest.raises(TypeError, match="nope"):
        Agent(name="A").clone(nope=1)


@pytest.mark.parametrize("way", WAYS)
async def test_a_clone_runs_as_itself(way):
    one = agent("as one", name="One")
    other = one.clone(name="Other", model=ScriptedModel(["as the other"]))
    assert (await go(way, other)).last_agent is other
    assert (await go(way, one)).final_output == "as one"


# --- instructions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("way", WAYS)
async def test_instructions_are_a_function_of_context_and_agent_asked_at_every_turn(way, is_async):
    asked = []

    def said(ctx, agent):
        asked.append((type(ctx), ctx.context, agent.name, ctx.usage.requests))
        return f"turn {len(asked)}"

    async def said_async(ctx, agent):
        return said(ctx, agent)

    clerk = in_turn(adding(), "3", tools=[add], instructions=said_async if is_async else said)
    await go(way, clerk, context={"app": 1})
    assert [call.system_instructions for call in clerk.model.calls] == ["turn 1", "turn 2"]
    assert asked == [(RunContextWrapper, {"app": 1}, "Assistant", n) for n in (0, 1)]


@pytest.mark.parametrize("bad", [lambda: "x", lambda ctx: "x", lambda ctx, agent, more: "x"])
def test_an_instructions_function_takes_exactly_two_arguments(bad):
    with pytest.raises(TypeError, match="takes exactly 2 arguments"):
        Agent(name="A", instructions=bad)


@pytest.mark.parametrize("way", WAYS)
async def test_what_an_instructions_function_raises_ends_the_run(way):
    def broken(ctx, agent):
        raise ValueError("no words")

    clerk = agent("never", instructions=broken)
    error = await caught(way, clerk)
    assert (type(error), str(error)) == (ValueError, "no words")
    assert clerk.model.calls == []


async def test_an_instructions_function_that_gives_no_text_is_refused():
    with pytest.raises(UserError, match="gave a int, not a str"):
        await Runner.run(agent("never", instructions=lambda ctx, agent: 3), "go")


async def test_without_instructions_the_model_gets_none():
    clerk = agent("x")
    await Runner.run(clerk, "go")
    assert clerk.model.calls[0].system_instructions is None
    assert await clerk.get_system_prompt(RunContextWrapper(None)) is None


async def test_an_object_that_can_be_called_gives_instructions():
    class Said:
        def __call__(self, ctx, agent):
            return f"said of {agent.name}"

    clerk = agent("x", instructions=Said())
    await Runner.run(clerk, "go")
    assert clerk.model.calls[0].system_instructions == "said of Assistant"


# --- prompt -----------------------------------------------------------------------------------------------------------

PROMPT: dict[str, Any] = {"id": "pmpt_1", "version": "2", "variables": {"city": "Rome"}}


@pytest.mark.parametrize("way", WAYS)
async def test_a_stored_prompt_is_handed_to_the_model(way):
    clerk = agent("x", prompt=PROMPT)
    await go(way, clerk)
    assert clerk.model.calls[0].prompt == PROMPT


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("way", WAYS)
async def test_a_prompt_may_be_made_for_the_run(way, is_async):
    seen: list[GenerateDynamicPromptData] = []

    def make(data):
        seen.append(data)
        return {"id": f"{data.agent.name}-{data.context.context}"}

    async def make_async(data):
        return make(data)

    clerk = agent("x", prompt=make_async if is_async else make)
    await go(way, clerk, context="app")
    assert clerk.model.calls[0].prompt == {"id": "Assistant-app"}
    assert isinstance(seen[0], GenerateDynamicPromptData)


@pytest.mark.parametrize("way", WAYS)
async def test_a_prompt_function_that_gives_something_else_is_refused(way):
    error = await caught(way, agent("never", prompt=lambda data: 3))
    assert isinstance(error, UserError)
    assert "Dynamic prompt function must return a Prompt" in str(error)


async def test_get_prompt_gives_what_the_model_gets():
    assert await Agent(name="A", prompt=PROMPT).get_prompt(RunContextWrapper(None)) == PROMPT
    assert await Agent(name="A").get_prompt(RunContextWrapper(None)) is None


# --- tools ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
async def test_is_enabled_functions_are_asked_at_once_each_turn(way):
    both = asyncio.Barrier(2)
    asked = []

    def enabled(answer: bool) -> Callable[..., Any]:
        async def ask(ctx, agent):
            asked.append((ctx.context, agent.name))
            await both.wait()
            return answer

        return ask

    @function_tool(is_enabled=enabled(True))
    def on() -> str:
        """On."""
        return "on"

    @function_tool(is_enabled=enabled(False))
    def off() -> str:
        """Off."""
        return "off"

    clerk = in_turn(function_call("on", call_id="c1"), "done", tools=[on, off])
    await go(way, clerk, context="app")
    assert [[tool.name for tool in call.tools] for call in clerk.model.calls] == [["on"], ["on"]]
    assert asked == [("app", "Assistant")] * 4


async def test_get_all_tools_gives_those_that_are_enabled():
    @function_tool(is_enabled=False)
    def off() -> str:
        """Off."""
        return "off"

    clerk = Agent(name="A", tools=[add, off])
    assert await clerk.get_all_tools(RunContextWrapper(None)) == [add]
    assert await clerk.get_mcp_tools(RunContextWrapper(None)) == []


@pytest.mark.parametrize("way", WAYS)
async def test_a_tool_that_was_added_later_is_the_agents(way):
    clerk = in_turn(adding(), "3")
    clerk.tools.append(add)
    assert (await go(way, clerk)).final_output == "3"


# --- mcp_servers, mcp_config ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
async def test_an_agent_has_the_tools_of_its_mcp_servers(way, tmp_path):
    async with stdio(tmp_path / "log") as server:
        clerk = in_turn(function_call("add", {"a": 2, "b": 3}, "c1"), "5", mcp_servers=[server])
        result = await go(way, clerk)
        assert "5" in json.dumps(told(result))
        assert "add" in [tool.name for tool in clerk.model.calls[0].tools]
        assert [tool.name for tool in await clerk.get_mcp_tools(RunContextWrapper(None))][:2] == ["add", "say"]
    assert "add 2 3" in noted(tmp_path / "log")


async def test_an_mcp_servers_tools_are_asked_for_at_each_turn(tmp_path):
    async with stdio(tmp_path / "log") as server:
        clerk = in_turn(function_call("grow", {"name": "later"}, "c1"), function_call("later", {}, "c2"), "ok")
        clerk.mcp_servers.append(server)
        await Runner.run(clerk, "go")
        names = [[tool.name for tool in call.tools] for call in clerk.model.calls]
        assert ("later" in names[0], "later" in names[1]) == (False, True)


async def test_mcp_config_says_how_servers_tools_are_taken(tmp_path):
    def words(ctx, error):
        return f"{type(error).__name__}: sorry"

    config = {
        "convert_schemas_to_strict": True,
        "include_server_in_tool_names": True,
        "failure_error_function": words,
    }
    async with stdio(tmp_path / "log") as server:
        name = next(one.name for one in await Agent(name="A", mcp_servers=[server], mcp_config=config)
                    .get_mcp_tools(RunContextWrapper(None)) if one.name.endswith("fail"))  # fmt: skip
        assert name != "fail"
        clerk = in_turn(function_call(name, "{no", "c1"), "ok", mcp_servers=[server], mcp_config=config)
        result = await Runner.run(clerk, "go")
        offered = {tool.name: tool for tool in clerk.model.calls[0].tools}
        assert offered[name].params_json_schema["additionalProperties"] is False
        assert told(result) == ["ModelBehaviorError: sorry"]


@pytest.mark.parametrize("way", WAYS)
async def test_a_run_that_waits_for_an_mcp_servers_tool_goes_on_elsewhere(way, tmp_path):
    async with stdio(tmp_path / "log", require_approval="always") as server:
        clerk = agent(function_call("say", {"text": "hi"}, "c1"), "said", mcp_servers=[server])
        result = await go(way, clerk)
        assert [item.tool_name for item in result.interruptions] == ["say"]
        assert "say hi" not in noted(tmp_path / "log")
        result = await decided(way, clerk, result)
        assert result.final_output == "said"
    assert noted(tmp_path / "log").count("say hi") == 1


async def test_two_tools_of_one_name_are_refused_with_the_cure(tmp_path):
    async with stdio(tmp_path / "log") as server:
        with pytest.raises(UserError, match="include_server_in_tool_names"):
            await Runner.run(agent("never", tools=[add], mcp_servers=[server]), "go")


# --- output_type ------------------------------------------------------------------------------------------------------


@dataclass
class Point:
    x: int


class Order(TypedDict):
    item: str
    count: int


class Invoice(BaseModel):
    total: int


KINDS: list[tuple[Any, str, Any, str]] = [
    (None, "plain", "plain", "str"),
    (str, "plain", "plain", "str"),
    (Invoice, '{"total": 1}', Invoice(total=1), "Invoice"),
    (Point, '{"response": {"x": 1}}', Point(1), "Point"),
    (Order, '{"item": "tea", "count": 2}', {"item": "tea", "count": 2}, "Order"),
    (list[Invoice], '{"response": [{"total": 1}]}', [Invoice(total=1)], "list[Invoice]"),
    (Invoice | int, '{"response": 3}', 3, "Union[Invoice, int]"),
    (bool, '{"response": true}', True, "bool"),
    (int, '{"response": 7}', 7, "int"),
    (AgentOutputSchema(dict[str, int], strict_json_schema=False), '{"a": 1}', {"a": 1}, "dict[str, int]"),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("kind", "text", "value", "name"), KINDS, ids=[one[3] + str(i) for i, one in enumerate(KINDS)])
async def test_the_final_output_is_of_the_output_type(way, kind, text, value, name):
    clerk = agent(text, output_type=kind)
    result = await go(way, clerk)
    assert (type(result.final_output), result.final_output) == (type(value), value)
    schema = clerk.model.calls[0].output_schema
    if value == "plain":
        assert schema is None
    else:
        assert schema.name() == name
        assert schema.is_strict_json_schema() is not isinstance(kind, AgentOutputSchema)
        assert schema.json_schema()["type"] == "object"


@pytest.mark.parametrize("way", WAYS)
async def test_a_waiting_runs_output_is_of_the_output_type_when_it_goes_on_elsewhere(way):
    clerk = agent(deleting(), '{"response": {"x": 1}}', tools=[delete], output_type=Point)
    result = await decided(way, clerk, await go(way, clerk))
    assert result.final_output == Point(1)


def test_a_type_without_a_strict_schema_is_refused_with_the_cure():
    with pytest.raises(
        UserError, match=r"Strict JSON schema is enabled, but the output type is not valid.*strict_json"
    ):
        Agent(name="A", output_type=dict[str, int])


@pytest.mark.parametrize("way", WAYS)
async def test_output_that_isnt_of_the_type_is_the_models_error(way):
    error = await caught(way, in_turn("no", output_type=Point), run_config={"reasks": 0})
    assert isinstance(error, ModelBehaviorError)
    assert "Invalid JSON when parsing model output" in str(error)


@pytest.mark.parametrize("way", WAYS)
async def test_empty_text_of_a_typed_agent_takes_another_turn_silently(way):
    clerk = in_turn("", '{"response": 1}', output_type=int)
    result = await go(way, clerk)
    assert result.final_output == 1
    assert len(clerk.model.calls) == 2


class Shout(AgentOutputSchemaBase):
    """A schema of a user's own."""

    def is_plain_text(self) -> bool:
        return False

    def name(self) -> str:
        return "Shout"

    def json_schema(self) -> dict[str, Any]:
        return {"type": "object", "properties": {"said": {"type": "string"}}}

    def is_strict_json_schema(self) -> bool:
        return False

    def validate_json(self, json_str: str) -> Any:
        return json.loads(json_str)["said"].upper()


@pytest.mark.parametrize("way", WAYS)
async def test_a_schema_of_ones_own_reads_the_models_text(way):
    clerk = agent('{"said": "hey"}', output_type=Shout())
    assert (await go(way, clerk)).final_output == "HEY"
    assert clerk.model.calls[0].output_schema.name() == "Shout"


# --- tool_use_behavior ------------------------------------------------------------------------------------------------


@function_tool
def one() -> str:
    """One."""
    return "ONE"


@function_tool
def two() -> int:
    """Two."""
    return 2


BOTH = [function_call("one", call_id="c1"), function_call("two", call_id="c2")]

ENDS: list[tuple[Any, Any, Any, int]] = [
    ("run_llm_again", None, "fin", 2),
    ("stop_on_first_tool", None, "ONE", 1),
    ("stop_on_first_tool", str, "ONE", 1),
    ({"stop_at_tool_names": ["two"]}, None, "2", 1),
    ({"stop_at_tool_names": ["two"]}, int, 2, 1),
    (StopAtTools(stop_at_tool_names=["nobody"]), None, "fin", 2),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("how", "kind", "output", "calls"), ENDS)
async def test_tool_use_behavior_says_whether_tools_end_the_run(way, how, kind, output, calls):
    clerk = in_turn(BOTH, "fin", tools=[one, two], tool_use_behavior=how, output_type=kind)
    result = await go(way, clerk)
    assert (type(result.final_output), result.final_output) == (type(output), output)
    assert len(clerk.model.calls) == calls
    assert told(result) == ["ONE", "2"]  # the other call ran too


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("way", WAYS)
async def test_a_tool_use_behavior_function_is_given_the_context_and_the_results(way, is_async):
    seen = []

    def decide(ctx, results):
        assert all(type(each) is FunctionToolResult and type(each.run_item) is ToolCallOutputItem for each in results)
        seen.append([(each.tool.name, each.output, each.run_item.output, each.run_item.call_id) for each in results])
        assert (ctx.context, results[0].interruptions, results[0].agent_run_result) == ("app", [], None)
        return ToolsToFinalOutputResult(is_final_output=len(results) == 1, final_output=results[0].output)

    async def decide_async(ctx, results):
        return decide(ctx, results)

    clerk = in_turn(BOTH, function_call("two", call_id="c3"), "never", tools=[one, two])
    clerk.tool_use_behavior = decide_async if is_async else decide
    result = await go(way, clerk, context="app")
    assert result.final_output == "2"
    assert seen == [[("one", "ONE", "ONE", "c1"), ("two", 2, 2, "c2")], [("two", 2, 2, "c3")]]


@function_tool
def billed() -> Invoice:
    """Bill."""
    return Invoice(total=3)


@pytest.mark.parametrize(
    ("how", "kind", "output"),
    [
        ("stop_on_first_tool", Invoice, Invoice(total=3)),
        ("stop_on_first_tool", None, "total=3"),
        (lambda ctx, results: ToolsToFinalOutputResult(True, results[0].output), Invoice, Invoice(total=3)),
        (lambda ctx, results: ToolsToFinalOutputResult(True, {"total": 4}), Invoice, Invoice(total=4)),
        (lambda ctx, results: ToolsToFinalOutputResult(True, results[0].output.total), int, 3),
        (lambda ctx, results: ToolsToFinalOutputResult(True), None, "None"),
        (lambda ctx, results: ToolsToFinalOutputResult(True, "another"), Invoice, "another"),
    ],
)
@pytest.mark.parametrize("way", WAYS)
async def test_a_tools_value_that_ends_the_run_stays_what_it_is_where_the_type_admits_it(way, how, kind, output):
    clerk = in_turn(function_call("billed", call_id="c1"), tools=[billed], tool_use_behavior=how, output_type=kind)
    result = await go(way, clerk)
    assert (type(result.final_output), result.final_output) == (type(output), output)


@pytest.mark.parametrize("way", WAYS)
async def test_a_tool_use_behavior_function_that_gives_something_else_is_refused(way):
    clerk = in_turn(function_call("two", call_id="c1"), tools=[two], tool_use_behavior=lambda ctx, results: 3)
    error = await caught(way, clerk)
    assert isinstance(error, UserError)
    assert "ToolsToFinalOutputResult" in str(error)


@pytest.mark.parametrize("way", WAYS)
async def test_what_a_tool_use_behavior_function_raises_ends_the_run(way):
    def broken(ctx, results):
        raise ValueError("no")

    clerk = in_turn(function_call("two", call_id="c1"), tools=[two], tool_use_behavior=broken)
    assert str(await caught(way, clerk)) == "no"


@pytest.mark.parametrize("way", WAYS)
async def test_a_handoff_of_the_same_reply_goes_before_tools_that_end_the_run(way):
    other = agent("from the other", name="Other")
    clerk = agent([*BOTH, function_call("transfer_to_other", call_id="h")], tools=[one, two], handoffs=[other])
    clerk.tool_use_behavior = "stop_on_first_tool"
    other.model = ScriptedModel(["from the other"])
    result = await go(way, clerk)
    assert (result.final_output, result.last_agent) == ("from the other", other)


@pytest.mark.parametrize("way", WAYS)
async def test_approved_tools_end_the_run_when_it_goes_on_elsewhere(way):
    clerk = agent([deleting(), adding()], "never", tools=[delete, add], tool_use_behavior="stop_on_first_tool")
    result = await go(way, clerk)
    assert result.final_output is None
    result = await decided(way, clerk, result)
    assert result.final_output == "deleted a"


@pytest.mark.parametrize("way", WAYS)
async def test_a_rejected_tools_message_is_what_ends_the_run(way):
    clerk = agent(deleting(), "never", tools=[delete], tool_use_behavior="stop_on_first_tool")
    result = await decided(way, clerk, await go(way, clerk), approve=False)
    assert result.final_output == "Tool execution was not approved."


# --- reset_tool_choice ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("reset", "asked"), [(True, ["required", None, None]), (False, ["required"] * 3)])
@pytest.mark.parametrize("way", WAYS)
async def test_a_forced_tool_choice_is_reset_once_this_agent_used_a_tool(way, reset, asked):
    clerk = in_turn(adding(), adding("c2"), "3", tools=[add], reset_tool_choice=reset)
    clerk.model_settings = ModelSettings(tool_choice="required")
    await go(way, clerk)
    assert [call.model_settings.tool_choice for call in clerk.model.calls] == asked


@pytest.mark.parametrize("way", WAYS)
async def test_a_tool_choice_is_reset_of_the_agent_that_used_a_tool_and_of_no_other(way):
    forced = ModelSettings(tool_choice="required")
    other = in_turn(adding("c2"), "3", name="Other", tools=[add], model_settings=forced)
    first = in_turn(adding(), function_call("transfer_to_other", call_id="h"), tools=[add], handoffs=[other])
    first.model_settings = forced
    await go(way, first)
    assert [call.model_settings.tool_choice for call in first.model.calls] == ["required", None]
    assert [call.model_settings.tool_choice for call in other.model.calls] == ["required", None]


@pytest.mark.parametrize("way", WAYS)
async def test_a_tool_choice_stays_reset_when_the_run_goes_on_elsewhere(way):
    clerk = agent(deleting(), "done", tools=[delete], model_settings=ModelSettings(tool_choice="delete"))
    await decided(way, clerk, await go(way, clerk))
    assert [call.model_settings.tool_choice for call in clerk.model.calls] == ["delete", None]


# --- guardrails, handoffs: whose they are -----------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
async def test_input_guardrails_are_the_first_agents_and_output_guardrails_the_last_ones(way):
    seen = []

    def looking(name: str) -> dict[str, Any]:
        @input_guardrail(name=f"{name} in")
        def at_input(ctx, agent, input):
            seen.append((f"{name} in", agent.name, input))
            return GuardrailFunctionOutput(None, False)

        @output_guardrail(name=f"{name} out")
        def at_output(ctx, agent, output):
            seen.append((f"{name} out", agent.name, output))
            return GuardrailFunctionOutput(None, False)

        return {"input_guardrails": [at_input], "output_guardrails": [at_output]}

    other = in_turn("done", name="Other", **looking("other"))
    first = in_turn(function_call("transfer_to_other", call_id="h"), name="First", handoffs=[other], **looking("first"))
    await go(way, first)
    assert seen == [("first in", "First", "go"), ("other out", "Other", "done")]
