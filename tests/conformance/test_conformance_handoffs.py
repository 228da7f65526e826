"""§6: handoffs, with every option, in runs."""

from __future__ import annotations

from typing import Any

import pytest
from conformance_making import WAYS, add, adding, agent, caught, decided, delete, deleting, go, in_turn, told
from pydantic import BaseModel

from flowcore import (
    Agent,
    Handoff,
    HandoffCallItem,
    HandoffInputData,
    HandoffOutputItem,
    MessageOutputItem,
    ModelBehaviorError,
    ModelSettings,
    RunConfig,
    RunContextWrapper,
    Runner,
    SQLiteSession,
    ToolCallItem,
    ToolCallOutputItem,
    UserError,
    function_tool,
    handoff,
    nest_handoff_history,
    reset_conversation_history_wrappers,
    set_conversation_history_wrappers,
)
from flowcore.extensions.handoff_filters import remove_all_tools
from flowcore.extensions.handoff_prompt import RECOMMENDED_PROMPT_PREFIX, prompt_with_handoff_instructions
from flowcore.testing import function_call, message

TO_B = function_call("transfer_to_b", {}, "h1")


def b(*steps: Any, **fields: Any) -> Agent:
    return in_turn(*(steps or ("b said",)), name="B", **fields)


def a(*steps: Any, **fields: Any) -> Agent:
    return in_turn(*steps, name="A", **fields)


def seen(agent: Agent, call: int = 0) -> list[Any]:
    """What a model call saw: roles of messages with their texts, and of other items types and outputs."""
    found = []
    for item in agent.model.calls[call].input:
        content = item.get("content")
        text = content if isinstance(content, str) else "".join(part.get("text", "") for part in content or ())
        found.append((item.get("role") or item["type"], text or item.get("output") or item.get("name")))
    return found


# --- what is declared -------------------------------------------------------------------------------------------------


def test_a_handoff_is_named_and_described_after_its_agent():
    made = handoff(Agent(name="Refund Agent 2!", handoff_description="Does refunds."))
    assert made.tool_name == "transfer_to_refund_agent_2_"
    assert made.tool_description == "Handoff to the Refund Agent 2! agent to handle the request. Does refunds."
    assert (made.agent_name, made.strict_json_schema, made.is_enabled) == ("Refund Agent 2!", True, True)
    assert (made.input_filter, made.nest_handoff_history) == (None, None)
    assert made.input_json_schema["properties"] == {}


class Reason(BaseModel):
    why: str


async def noted(ctx: Any, given: Reason) -> None:
    """Nothing."""


def test_name_description_and_input_may_be_overridden():
    made = handoff(Agent(name="B"), "go", "Go there.", noted, Reason)
    assert (made.tool_name, made.tool_description) == ("go", "Go there.")
    assert made.input_json_schema["required"] == ["why"]
    assert made.input_json_schema["additionalProperties"] is False


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"input_type": Reason}, "You must provide on_handoff when input_type is provided"),
        ({"on_handoff": 3}, "on_handoff must be callable"),
        ({"on_handoff": lambda: None}, "on_handoff must take one argument: context"),
        ({"on_handoff": lambda ctx, given: None}, "on_handoff must take one argument: context"),
        ({"on_handoff": lambda ctx: None, "input_type": Reason}, "on_handoff must take two arguments: context and"),
    ],
)
def test_on_handoff_and_input_type_belong_together(options, says):
    with pytest.raises(UserError, match=says):
        handoff(Agent(name="B"), **options)


# --- a handoff in a run -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
async def test_a_handoff_gives_the_whole_conversation_to_the_other_agent(way):
    other = b()
    first = a([message("wait"), TO_B], handoffs=[other])
    result = await go(way, first)
    assert (result.final_output, result.last_agent) == ("b said", other)
    assert seen(other) == [
        ("user", "go"), ("assistant", "wait"), ("function_call", "transfer_to_b"),
        ("function_call_output", '{"assistant": "B"}'),
    ]  # fmt: skip
    assert [one.tool_name for one in first.model.calls[0].handoffs] == ["transfer_to_b"]
    assert len(first.model.calls) == 1  # it doesn't come back by itself


@pytest.mark.parametrize("way", WAYS)
async def test_a_handoffs_items_say_who_handed_off_to_whom(way):
    other = b()
    first = a(TO_B, handoffs=[other])
    call, output, said = (await go(way, first)).new_items
    assert (type(call), type(output), type(said)) == (HandoffCallItem, HandoffOutputItem, MessageOutputItem)
    assert (call.agent, output.source_agent, output.target_agent, said.agent) == (first, first, other, other)
    assert output.raw_item["output"] == '{"assistant": "B"}'


async def test_a_stream_tells_of_a_handoff_as_of_no_tool():
    streamed = Runner.run_streamed(a(TO_B, handoffs=[b()]), "go")
    names = [getattr(event, "name", event.type) async for event in streamed.stream_events()]
    assert [name for name in names if name != "raw_response_event"] == [
        "agent_updated_stream_event", "handoff_requested", "handoff_occured", "agent_updated_stream_event",
        "message_output_created",
    ]  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
async def test_the_next_agent_has_its_own_instructions_tools_and_settings(way):
    other = b(adding(), "3", tools=[add], instructions="I am B", model_settings=ModelSettings(temperature=0.1))
    first = a(TO_B, handoffs=[other], tools=[delete], instructions="I am A")
    await go(way, first)
    call = other.model.calls[0]
    assert (call.system_instructions, call.model_settings.temperature) == ("I am B", 0.1)
    assert [tool.name for tool in call.tools] == ["add"]


@pytest.mark.parametrize("way", WAYS)
async def test_function_tools_of_the_same_reply_run_before_the_handoff(way):
    other = b()
    result = await go(way, a([TO_B, adding()], tools=[add], handoffs=[other]))
    assert seen(other)[-2:] == [("function_call_output", "3"), ("function_call_output", '{"assistant": "B"}')]
    assert result.final_output == "b said"


@pytest.mark.parametrize("way", WAYS)
async def test_of_several_handoffs_the_first_wins_and_the_others_are_told_so(way):
    c = in_turn("c said", name="C")
    other = b()
    first = a([function_call("transfer_to_c", {}, "h2"), TO_B], handoffs=[other, c])
    result = await go(way, first)
    assert result.final_output == "c said"
    assert other.model.calls == []
    outputs = {item.call_id: item for item in result.new_items if item.type.endswith("output_item") and
               item.type != "message_output_item" and hasattr(item, "call_id")}  # fmt: skip
    assert outputs["h1"].output == "Multiple handoffs detected, ignoring this one."
    assert sorted(told(result)) == ["Multiple handoffs detected, ignoring this one.", '{"assistant": "C"}']


@pytest.mark.parametrize("way", WAYS)
async def test_an_agent_may_hand_off_to_itself(way):
    first = a(function_call("transfer_to_a", {}, "h1"), "again")
    first.handoffs.append(first)
    result = await go(way, first)
    assert (result.final_output, result.last_agent) == ("again", first)
    assert [item.type for item in result.new_items] == [
        "handoff_call_item", "handoff_output_item", "message_output_item",
    ]  # fmt: skip


async def test_a_handoff_to_the_same_agent_is_told_as_an_updated_agent():
    first = a(function_call("transfer_to_a", {}, "h1"), "again")
    first.handoffs.append(first)
    streamed = Runner.run_streamed(first, "go")
    names = [event.type async for event in streamed.stream_events()]
    assert names.count("agent_updated_stream_event") == 2


@pytest.mark.parametrize("way", WAYS)
async def test_agents_hand_off_to_each_other_and_back(way):
    other = b(function_call("transfer_to_a", {}, "h2"))
    first = a(TO_B, "a again", handoffs=[other])
    other.handoffs.append(first)
    result = await go(way, first)
    assert (result.final_output, result.last_agent) == ("a again", first)


@pytest.mark.parametrize("way", WAYS)
async def test_a_handoff_beside_a_tool_that_waits_is_done_after_the_decision(way):
    other = agent("never", "b said", name="B")
    first = agent([TO_B, deleting(), adding()], name="A", tools=[delete, add], handoffs=[other])
    result = await go(way, first)
    assert (result.last_agent, [item.tool_name for item in result.interruptions]) == (first, ["delete"])
    assert other.model.calls == []
    result = await decided(way, first, result)
    assert (result.final_output, result.last_agent.name) == ("b said", "B")
    assert told(result) == ["deleted a", "3", '{"assistant": "B"}']


@pytest.mark.parametrize("way", WAYS)
async def test_a_run_that_waits_after_a_handoff_goes_on_with_the_agent_it_was_handed_to(way):
    other = agent("never", deleting(), "b said", name="B", tools=[delete])
    first = agent(TO_B, name="A", handoffs=[other])
    result = await go(way, first)
    assert (result.last_agent, result.interruptions[0].agent) == (other, other)
    result = await decided(way, first, result)
    assert (result.final_output, result.last_agent) == ("b said", other)


# --- a handoff made by hand -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
async def test_a_handoff_made_by_hand_says_itself_who_goes_on(way):
    given = []
    other = b()

    async def invoke(ctx, arguments):
        given.append((type(ctx), arguments))
        return other

    made = Handoff("go_there", "Go.", {"type": "object", "properties": {}}, invoke, "B", agent=other)
    result = await go(way, a(function_call("go_there", {"x": 1}, "h1"), handoffs=[made]))
    assert result.final_output == "b said"
    assert given == [(RunContextWrapper, '{"x": 1}')]


async def test_a_handoff_to_an_agent_that_nobody_named_is_refused_with_the_cure():
    async def invoke(ctx, arguments):
        return b()

    made = Handoff("go_there", "Go.", {"type": "object", "properties": {}}, invoke, "B")
    with pytest.raises(UserError, match=r"name it: Handoff\(\.\.\., agent=\.\.\.\)"):
        await Runner.run(a(function_call("go_there", {}, "h1"), handoffs=[made]), "go")


# --- on_handoff, input_type -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("way", WAYS)
async def test_on_handoff_is_called_with_the_context_and_the_validated_input(way, is_async):
    heard = []

    def hear(ctx, given):
        heard.append((ctx.context, given))

    async def hear_async(ctx, given):
        hear(ctx, given)

    made = handoff(b(), on_handoff=hear_async if is_async else hear, input_type=Reason)
    result = await go(way, a(function_call("transfer_to_b", {"why": "x"}, "h1"), handoffs=[made]), context="app")
    assert heard == [("app", Reason(why="x"))]
    assert result.final_output == "b said"


@pytest.mark.parametrize("way", WAYS)
async def test_without_an_input_type_on_handoff_gets_the_context_alone(way):
    heard = []
    made = handoff(b(), on_handoff=lambda ctx: heard.append(type(ctx)))
    await go(way, a(function_call("transfer_to_b", '{"x": 1}', "h1"), handoffs=[made]))
    assert heard == [RunContextWrapper]


@pytest.mark.parametrize("arguments", ['{"why": 3}', "{}", "", "{no", "null", "[]"])
@pytest.mark.parametrize("way", WAYS)
async def test_input_that_isnt_of_the_type_is_the_models_error(way, arguments):
    heard = []

    async def hear(ctx, given):
        heard.append(given)

    made = handoff(b(), on_handoff=hear, input_type=Reason)
    error = await caught(way, a(function_call("transfer_to_b", arguments, "h1"), handoffs=[made]))
    assert isinstance(error, ModelBehaviorError)
    assert "Invalid JSON when parsing model output" in str(error)
    assert heard == []


async def test_input_that_is_none_is_the_models_error():
    made = handoff(b(), on_handoff=noted, input_type=Reason)
    with pytest.raises(ModelBehaviorError, match="Handoff function expected non-null input, but got None"):
        await made.on_invoke_handoff(RunContextWrapper(None), None)  # type: ignore[arg-type]


@pytest.mark.parametrize("way", WAYS)
async def test_what_on_handoff_raises_ends_the_run_before_the_handoff(way):
    def broken(ctx):
        raise ValueError("not there")

    other = b()
    first = a(TO_B, handoffs=[handoff(other, on_handoff=broken)])
    error: Any = await caught(way, first)
    assert (type(error), str(error)) == (ValueError, "not there")
    assert error.run_data.last_agent is first
    assert other.model.calls == []


# --- is_enabled -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("enabled", "offered"),
    [
        (True, True),
        (False, False),
        (lambda ctx, agent: ctx.context == "yes" and agent.name == "A", True),
        (lambda ctx, agent: agent.name == "B", False),
    ],
)
@pytest.mark.parametrize("way", WAYS)
async def test_a_handoff_that_isnt_enabled_isnt_offered(way, enabled, offered):
    first = a("done", handoffs=[handoff(b(), is_enabled=enabled)])
    await go(way, first, context="yes")
    assert len(first.model.calls[0].handoffs) == offered


@pytest.mark.parametrize("way", WAYS)
async def test_is_enabled_may_be_async(way):
    async def enabled(ctx, agent):
        return False

    first = a("done", handoffs=[handoff(b(), is_enabled=enabled)])
    await go(way, first)
    assert first.model.calls[0].handoffs == []


@pytest.mark.parametrize("way", WAYS)
async def test_a_call_of_a_handoff_that_isnt_enabled_is_the_models_error(way):
    error = await caught(way, a(TO_B, handoffs=[handoff(b(), is_enabled=False)]))
    assert isinstance(error, ModelBehaviorError)
    assert str(error) == "Tool transfer_to_b not found in agent A"


# --- input filters ----------------------------------------------------------------------------------------------------


def filtering(filter: Any, **more: Any) -> tuple[Agent, Agent]:
    """An agent that calls a tool twice and then hands off through a filter, and the other one."""
    other = b()
    replies = [adding("c1"), [message("hm"), adding("c2"), TO_B]]
    return a(*replies, tools=[add], handoffs=[handoff(other, input_filter=filter, **more)]), other


ALL = [
    ("user", "go"), ("function_call", "add"), ("function_call_output", "3"), ("assistant", "hm"),
    ("function_call", "add"), ("function_call", "transfer_to_b"), ("function_call_output", "3"),
    ("function_call_output", '{"assistant": "B"}'),
]  # fmt: skip
GIVEN: list[tuple[Any, Any]] = [
    ("go", "go"),
    ([{"role": "user", "content": "go"}], ({"role": "user", "content": "go"},)),
    ([{"role": "user", "content": "go"}] * 2, ({"role": "user", "content": "go"},) * 2),
]


@pytest.mark.parametrize(("input", "history"), GIVEN)
@pytest.mark.parametrize("way", WAYS)
async def test_a_filter_is_given_the_input_and_run_items(way, input, history):
    seen_by_filter: list[HandoffInputData] = []

    def keep(data):
        seen_by_filter.append(data)
        return data

    first, other = filtering(keep)
    await go(way, first, input)
    (data,) = seen_by_filter
    assert data.input_history == history
    assert [type(item) for item in data.pre_handoff_items] == [ToolCallItem, ToolCallOutputItem]
    assert [type(item) for item in data.new_items] == [
        MessageOutputItem, ToolCallItem, HandoffCallItem, ToolCallOutputItem, HandoffOutputItem,
    ]  # fmt: skip
    assert data.input_items is None
    assert isinstance(data.run_context, RunContextWrapper)
    assert seen(other)[-7:] == ALL[1:]


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("way", WAYS)
async def test_a_filter_chooses_what_the_next_agent_sees(way, is_async):
    def choose(data):
        return data.clone(pre_handoff_items=(), new_items=data.new_items[-1:])

    async def choose_async(data):
        return choose(data)

    first, other = filtering(choose_async if is_async else choose)
    result = await go(way, first)
    assert seen(other) == [("user", "go"), ("function_call_output", '{"assistant": "B"}')]
    assert len(result.to_input_list(mode="normalized")) == 3
    assert len(result.to_input_list()) == 9


@pytest.mark.parametrize("way", WAYS)
async def test_a_filter_may_rewrite_the_history(way):
    first, other = filtering(lambda data: data.clone(input_history="rewritten", pre_handoff_items=(), new_items=()))
    await go(way, first)
    assert seen(other) == [("user", "rewritten")]


@pytest.mark.parametrize("way", WAYS)
async def test_input_items_are_what_the_next_agent_sees_while_new_items_stay_whole(way):
    session = SQLiteSession("s")
    first, other = filtering(lambda data: data.clone(input_items=data.new_items[:1]))
    result = await go(way, first, session=session)
    assert seen(other) == [*ALL[:3], ("assistant", "hm")]
    assert [item.type for item in result.new_items][-2:] == ["handoff_output_item", "message_output_item"]
    assert len(await session.get_items()) == 9


@pytest.mark.parametrize("bad", [lambda data: 3, lambda data: None])
@pytest.mark.parametrize("way", WAYS)
async def test_a_filter_that_gives_something_else_is_refused(way, bad):
    first, other = filtering(bad)
    error = await caught(way, first)
    assert isinstance(error, UserError)
    assert "Invalid input filter result" in str(error)
    assert other.model.calls == []


@pytest.mark.parametrize("way", WAYS)
async def test_what_a_filter_raises_ends_the_run(way):
    def broken(data):
        raise ValueError("no filter")

    assert str(await caught(way, filtering(broken)[0])) == "no filter"


@pytest.mark.parametrize(("own", "heard"), [(True, ["own"]), (False, ["run"])])
@pytest.mark.parametrize("way", WAYS)
async def test_the_runs_filter_is_used_where_the_handoff_has_none(way, own, heard):
    called = []

    def of(name: str) -> Any:
        def keep(data):
            called.append(name)
            return data

        return keep

    first, _ = filtering(of("own") if own else None)
    await go(way, first, run_config=RunConfig(handoff_input_filter=of("run")))
    assert called == heard


@pytest.mark.parametrize("way", WAYS)
async def test_remove_all_tools_leaves_messages(way):
    first, other = filtering(remove_all_tools)
    await go(way, first)
    assert seen(other) == [("user", "go"), ("assistant", "hm")]


@pytest.mark.parametrize("way", WAYS)
async def test_what_a_filter_left_out_stays_out_in_later_turns_and_elsewhere(way):
    other = agent("never", deleting(), "b said", name="B", tools=[delete])
    choose = handoff(other, input_filter=lambda data: data.clone(pre_handoff_items=(), new_items=data.new_items[:1]))
    other.model = in_turn(deleting(), "b said").model
    first = agent(adding("c1"), [message("hm"), TO_B], name="A", tools=[add], handoffs=[choose])
    result = await decided(way, first, await go(way, first))
    assert result.final_output == "b said"
    assert seen(other, 1) == [
        ("user", "go"), ("assistant", "hm"), ("function_call", "delete"), ("function_call_output", "deleted a"),
    ]  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
async def test_a_filter_where_the_provider_keeps_the_conversation_is_refused(way):
    first, _ = filtering(remove_all_tools)
    error = await caught(way, first, conversation_id="conv_1")
    assert isinstance(error, UserError)
    assert "it can't be filtered" in str(error)


# --- nested history ---------------------------------------------------------------------------------------------------

WRAPPED = "<CONVERSATION HISTORY>"


@pytest.mark.parametrize(
    ("of_run", "of_handoff", "nests"),
    [(True, None, True), (False, True, True), (True, False, False), (False, None, False)],
)
@pytest.mark.parametrize("way", WAYS)
async def test_nested_history_is_opt_in_for_a_run_or_a_handoff(way, of_run, of_handoff, nests):
    first, other = filtering(None, nest_handoff_history=of_handoff)
    result = await go(way, first, run_config=RunConfig(nest_handoff_history=of_run))
    shown = seen(other)
    if not nests:
        assert shown == ALL
        return
    assert [role for role, _ in shown] == ["assistant", "assistant", "assistant"]
    assert shown[0][1].count(WRAPPED) == 1
    assert "user: go" in shown[0][1]
    assert shown[1] == ("assistant", "hm")
    assert len(result.new_items) == 8  # the run's own items stay whole


@pytest.mark.parametrize("way", WAYS)
async def test_nested_history_stays_flat_through_a_chain_of_handoffs(way):
    c = in_turn("c said", name="C")
    other = b([message("to c"), function_call("transfer_to_c", {}, "h2")], handoffs=[c])
    first = a(adding("c1"), [message("hm"), TO_B], tools=[add], handoffs=[other])
    await go(way, first, run_config=RunConfig(nest_handoff_history=True))
    shown = seen(c)
    assert all(text.count(WRAPPED) <= 1 for _, text in shown)
    assert "user: go" in shown[0][1]
    assert sum("go" in text.split() for _, text in shown) == 1
    assert ("assistant", "to c") in shown


@pytest.mark.parametrize("way", WAYS)
async def test_a_mapper_gets_the_whole_transcript_and_makes_the_exact_next_input(way):
    given = []

    def mapper(history):
        given.append([item.get("role") or item["type"] for item in history])
        return [{"role": "user", "content": "mapped"}]

    first, other = filtering(None)
    config = RunConfig(nest_handoff_history=True, handoff_history_mapper=mapper)
    await go(way, first, run_config=config)
    assert given == [[role for role, _ in ALL]]
    assert seen(other) == [("user", "mapped")]


@pytest.mark.parametrize("way", WAYS)
async def test_a_mapper_without_nesting_isnt_asked(way):
    first, other = filtering(None)
    await go(way, first, run_config=RunConfig(handoff_history_mapper=lambda history: 1 / 0))
    assert seen(other) == ALL


@pytest.mark.parametrize("way", WAYS)
async def test_a_filter_goes_before_nesting(way):
    first, other = filtering(lambda data: data.clone(pre_handoff_items=(), new_items=()), nest_handoff_history=True)
    await go(way, first, run_config=RunConfig(nest_handoff_history=True))
    assert seen(other) == [("user", "go")]


@pytest.mark.parametrize("way", WAYS)
async def test_nest_handoff_history_is_a_filter_too(way):
    first, other = filtering(nest_handoff_history)
    await go(way, first)
    assert WRAPPED in seen(other)[0][1]


@pytest.mark.parametrize("way", WAYS)
async def test_the_wrappers_of_nested_history_may_be_changed(way):
    set_conversation_history_wrappers(start="<<", end=">>")
    try:
        first, other = filtering(nest_handoff_history)
        await go(way, first)
        assert "\n<<\n" in seen(other)[0][1]
    finally:
        reset_conversation_history_wrappers()
    first, other = filtering(nest_handoff_history)
    await go(way, first)
    assert WRAPPED in seen(other)[0][1]


async def test_nesting_where_the_provider_keeps_the_conversation_warns_and_does_nothing():
    first, other = filtering(None)
    with pytest.warns(UserWarning, match="nest_handoff_history has no effect"):
        result = await Runner.run(first, "go", conversation_id="c", run_config=RunConfig(nest_handoff_history=True))
    assert result.final_output == "b said"
    assert not any(WRAPPED in str(text) for _, text in seen(other))


# --- names that clash -------------------------------------------------------------------------------------------------


@function_tool(name_override="transfer_to_b")
def clashing() -> str:
    """Clash."""
    return "tool"


async def test_a_tool_and_a_handoff_of_one_name_warn_and_the_handoff_is_offered():
    other = b()
    first = a(TO_B, tools=[clashing], handoffs=[other])
    with pytest.warns(UserWarning, match="names a tool and a handoff"):
        result = await Runner.run(first, "go")
    assert result.last_agent is other
    assert first.model.calls[0].tools == []


@pytest.mark.parametrize("way", WAYS)
async def test_a_clash_may_be_an_error_before_the_model_is_called(way):
    first = a("never", tools=[clashing], handoffs=[b()])
    error = await caught(way, first, run_config=RunConfig(tool_name_collision_policy="error"))
    assert isinstance(error, UserError)
    assert first.model.calls == []


def test_the_recommended_prompt_goes_before_an_agents_own():
    assert prompt_with_handoff_instructions("Mine.") == f"{RECOMMENDED_PROMPT_PREFIX}\n\nMine."
