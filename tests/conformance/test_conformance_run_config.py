"""§2 of the reference, RunConfig: each field as a sentence, in both verbs where they could part."""

import asyncio
import dataclasses
from typing import Any

import pytest
from conformance_making import WAYS, add, adding, agent, caught, delete, deleting, go, in_turn, told
from tracing_making import Kept

from flowcore import (
    Agent,
    GuardrailFunctionOutput,
    InputGuardrailTripwireTriggered,
    Model,
    ModelInputData,
    ModelProvider,
    ModelSettings,
    MultiProvider,
    OutputGuardrailTripwireTriggered,
    RunConfig,
    RunContextWrapper,
    Runner,
    RunState,
    SessionSettings,
    SQLiteSession,
    ToolErrorFormatterArgs,
    ToolExecutionConfig,
    ToolGuardrailFunctionOutput,
    UserError,
    custom_span,
    function_tool,
    gen_trace_id,
    get_current_trace,
    handoff,
    input_guardrail,
    output_guardrail,
    set_trace_processors,
    tool_input_guardrail,
    trace,
)
from flowcore.engine.log import SINKS
from flowcore.models.retry import ModelRetrySettings
from flowcore.testing import ScriptedModel, function_call, message

both_ways = pytest.mark.parametrize("way", WAYS)
TO_B = function_call("transfer_to_b", {}, "h")

# --- the class --------------------------------------------------------------------------------------------------------

FIELDS = {
    "model": None, "model_settings": None, "handoff_input_filter": None, "nest_handoff_history": False,
    "handoff_history_mapper": None, "input_guardrails": None, "output_guardrails": None, "tracing_disabled": False,
    "tracing": None, "trace_include_sensitive_data": True, "workflow_name": "Agent workflow", "trace_id": None,
    "group_id": None, "trace_metadata": None, "session_input_callback": None, "call_model_input_filter": None,
    "tool_error_formatter": None, "session_settings": None, "reasoning_item_id_policy": None, "sandbox": None,
    "tool_execution": None, "tool_not_found_behavior": "raise_error", "tool_name_collision_policy": "warn",
    "output_guardrail_blocked_message": None,
}  # fmt: skip


@pytest.fixture
def said():
    """What flowcore logged."""
    lines: list[tuple[str, str, dict[str, Any]]] = []

    def sink(level: str, event: str, given: dict[str, Any]) -> None:
        lines.append((level, event, given))

    SINKS.append(sink)
    yield lines
    SINKS.remove(sink)


def test_every_field_has_its_name_place_and_default(monkeypatch):
    monkeypatch.delenv("OPENAI_AGENTS_TRACE_INCLUDE_SENSITIVE_DATA", raising=False)
    names = [one.name for one in dataclasses.fields(RunConfig)]
    known = list(FIELDS)
    assert names[: len(known) + 1] == [known[0], "model_provider", *known[1:]]
    assert names[len(known) + 1 :] == ["reasks"]  # ours, behind theirs
    config = RunConfig()
    assert {name: getattr(config, name) for name in FIELDS} == FIELDS
    assert isinstance(config.model_provider, MultiProvider)


def test_parts_may_be_dicts_of_their_fields():
    config = RunConfig(
        model_settings={"temperature": 0.5},
        session_settings={"limit": 3},
        tool_execution={"max_function_tool_concurrency": 2},
    )
    assert config.model_settings == ModelSettings(temperature=0.5)
    assert config.session_settings == SessionSettings(limit=3)
    assert config.tool_execution == ToolExecutionConfig(2, False)


@pytest.mark.parametrize("part", ["model_settings", "session_settings", "tool_execution"])
def test_unknown_keys_and_other_types_of_a_part_are_type_errors(part):
    with pytest.raises(TypeError, match="nope"):
        RunConfig(**{part: {"nope": 1}})
    with pytest.raises(TypeError, match=part):
        RunConfig(**{part: 3})


@both_ways
async def test_unknown_keys_of_a_config_in_a_dict_are_type_errors(way):
    clerk = agent("never")
    with pytest.raises(TypeError, match="'also', 'nope'"):
        await go(way, clerk, run_config={"nope": 1, "also": 2, "workflow_name": "w"})
    with pytest.raises(TypeError, match="run_config"):
        await go(way, clerk, run_config=3)
    assert clerk.model.calls == []


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        (
            {"tool_name_collision_policy": "x"},
            ValueError,
            "tool_name_collision_policy must be either 'warn' or 'error'",
        ),
        ({"tool_not_found_behavior": "x"}, ValueError, "tool_not_found_behavior must be either"),
        ({"reasoning_item_id_policy": "x"}, ValueError, "reasoning_item_id_policy must be either"),
        ({"tool_execution": {"max_function_tool_concurrency": 0}}, ValueError, "must be at least 1"),
        ({"tool_execution": {"pre_approval_tool_input_guardrails": 1}}, ValueError, "must be a bool"),
        ({"output_guardrail_blocked_message": ""}, ValueError, "must be non-empty"),
        ({"output_guardrail_blocked_message": 3}, TypeError, "must be a string, callable, or None"),
        ({"call_model_input_filter": 3}, TypeError, "call_model_input_filter must be a function"),
        ({"tool_error_formatter": "x"}, TypeError, "tool_error_formatter must be a function"),
    ],
)
def test_a_value_that_cant_be_is_refused_at_once(given, error, told):
    with pytest.raises(error, match=told):
        RunConfig(**given)


def test_a_blocked_message_is_made_without_waiting():
    async def made(args):
        return "x"

    with pytest.raises(TypeError, match="must be synchronous"):
        RunConfig(output_guardrail_blocked_message=made)


@pytest.mark.parametrize("given", [{}, {"client": None}, 3])
def test_a_sandbox_is_refused_by_name(given):
    with pytest.raises(UserError, match="flowcore has no sandboxes"):
        RunConfig(sandbox=given)


# --- model, model_provider, model_settings ----------------------------------------------------------------------------


@both_ways
async def test_the_configs_model_goes_before_every_agents(way):
    model = ScriptedModel([TO_B, "b says"])
    b = agent("never", name="B")
    a = agent("never", name="A", handoffs=[b])
    result = await go(way, a, run_config=RunConfig(model=model))
    assert (result.final_output, len(model.calls)) == ("b says", 2)
    assert a.model.calls == b.model.calls == []


class Named(ModelProvider):
    """Finds scripted models, whatever they're called."""

    def __init__(self, *steps: Any) -> None:
        self.asked: list[str | None] = []
        self.model = ScriptedModel(list(steps))

    def get_model(self, model_name: str | None) -> Model:
        self.asked.append(model_name)
        return self.model


@both_ways
async def test_the_configs_provider_resolves_names_of_agents_and_of_the_config(way):
    provider = Named("one", "two", "three")
    for clerk, model in (
        (Agent(name="A", model="mine"), None),
        (Agent(name="A", model="mine"), "yours"),
        (Agent(name="A"), None),
    ):
        await go(way, clerk, run_config=RunConfig(model=model, model_provider=provider))
    assert provider.asked == ["mine", "yours", None]


@both_ways
async def test_a_model_name_with_an_unknown_prefix_is_a_user_error(way):
    error = await caught(way, Agent(name="A", model="nowhere/x"))
    assert type(error) is UserError
    assert "nowhere" in error.message


@both_ways
async def test_the_configs_settings_overlay_the_agents_and_merge_extra_args_and_retry(way):
    own = ModelSettings(
        temperature=0.1, top_p=0.2, extra_args={"a": 1, "b": 1}, retry=ModelRetrySettings(max_retries=4)
    )
    over = ModelSettings(temperature=0.9, extra_args={"b": 2}, retry=ModelRetrySettings(backoff={"max_delay": 1.0}))
    clerk = agent("done", model_settings=own)
    await go(way, clerk, run_config=RunConfig(model_settings=over))
    sent = clerk.model.calls[0].model_settings
    assert (sent.temperature, sent.top_p, sent.extra_args) == (0.9, 0.2, {"a": 1, "b": 2})
    assert (sent.retry.max_retries, sent.retry.backoff.max_delay) == (4, 1.0)
    assert clerk.model_settings is own  # the agent's stay as they are
    assert own.temperature == 0.1


# --- handoffs ---------------------------------------------------------------------------------------------------------


def texts(call: Any) -> list[str]:
    """What a model's call was sent, in short."""
    return [str(item.get("content", item.get("type"))) for item in call.input]


@both_ways
async def test_the_configs_handoff_filter_is_used_where_the_handoff_has_none(way):
    asked: list[str] = []

    def filtered(name):
        def choose(data):
            asked.append(name)
            return data.clone(input_history=f"from {name}", pre_handoff_items=(), new_items=())

        return choose

    config = RunConfig(handoff_input_filter=filtered("config"))
    for taken, name in ((lambda b: b, "config"), (lambda b: handoff(b, input_filter=filtered("handoff")), "handoff")):
        b = in_turn("b says", name="B")
        await go(way, in_turn(TO_B, name="A", handoffs=[taken(b)]), run_config=config)
        assert asked.pop() == name
        assert texts(b.model.calls[0]) == [f"from {name}"]
    assert asked == []


@both_ways
async def test_nesting_collapses_what_has_been_into_an_assistants_summary(way):
    b = in_turn("b says", name="B")
    a = in_turn(adding(), TO_B, name="A", tools=[add], handoffs=[b])
    result = await go(way, a, "hi", run_config=RunConfig(nest_handoff_history=True))
    (first, *_) = b.model.calls[0].input
    assert first["role"] == "assistant"
    assert "<CONVERSATION HISTORY>" in str(first["content"])
    assert "</CONVERSATION HISTORY>" in str(first["content"])
    assert "hi" in str(first["content"])
    assert "function_call" not in [item.get("type") for item in b.model.calls[0].input]
    assert [item.get("type", item.get("role")) for item in result.to_input_list()] == [  # history itself stays whole
        "user", "function_call", "function_call_output", "function_call", "function_call_output", "message",
    ]  # fmt: skip


@both_ways
async def test_without_it_nothing_is_nested(way):
    b = in_turn("b says", name="B")
    await go(way, in_turn(TO_B, name="A", handoffs=[b]), "hi")
    assert texts(b.model.calls[0]) == ["hi", "function_call", "function_call_output"]


@both_ways
@pytest.mark.parametrize("own", [True, False])
async def test_a_handoffs_own_word_on_nesting_goes_before_the_configs(way, own):
    b = in_turn("b says", name="B")
    a = in_turn(TO_B, name="A", handoffs=[handoff(b, nest_handoff_history=own)])
    await go(way, a, "hi", run_config=RunConfig(nest_handoff_history=not own))
    assert ("<CONVERSATION HISTORY>" in texts(b.model.calls[0])[0]) is own


@both_ways
async def test_a_mapper_writes_the_next_agents_exact_input(way):
    given: list[Any] = []

    def mapper(items):
        given.append(items)
        return [{"role": "user", "content": "in short"}]

    for nests in (True, False):
        b = in_turn("b says", name="B")
        config = RunConfig(nest_handoff_history=nests, handoff_history_mapper=mapper)
        await go(way, in_turn(TO_B, name="A", handoffs=[b]), "hi", run_config=config)
        assert (texts(b.model.calls[0]) == ["in short"]) is nests  # it's only asked where the history is nested
    assert len(given) == 1
    assert given[0][0] == {"role": "user", "content": "hi"}


# --- guardrails -------------------------------------------------------------------------------------------------------


@both_ways
async def test_the_configs_guardrails_come_after_the_agents_own(way):
    def looking(make, name):
        return make(name=name, **({"run_in_parallel": False} if make is input_guardrail else {}))(
            lambda context, agent, seen: GuardrailFunctionOutput(name, False)
        )

    clerk = agent(
        "done",
        input_guardrails=[looking(input_guardrail, "own in")],
        output_guardrails=[looking(output_guardrail, "own out")],
    )
    config = RunConfig(
        input_guardrails=[looking(input_guardrail, "config in")],
        output_guardrails=[looking(output_guardrail, "config out")],
    )
    result = await go(way, clerk, run_config=config)
    assert [one.output.output_info for one in result.input_guardrail_results] == ["own in", "config in"]
    assert [one.output.output_info for one in result.output_guardrail_results] == ["own out", "config out"]


@both_ways
async def test_input_guardrails_judge_the_first_input_of_the_first_agent_alone(way):
    judged: list[tuple[str, Any]] = []

    def looking(context, agent, input):
        judged.append((agent.name, input))
        return GuardrailFunctionOutput(None, False)

    own = input_guardrail(name="of B")(looking)
    b = in_turn(adding(), "b says", name="B", tools=[add], input_guardrails=[own])
    config = RunConfig(input_guardrails=[input_guardrail(name="of the run")(looking)])
    await go(way, in_turn(TO_B, name="A", handoffs=[b]), "hi", run_config=config)
    assert judged == [("A", "hi")]


@both_ways
@pytest.mark.parametrize("parallel", [True, False])
async def test_input_that_is_added_to_a_state_is_judged_again(way, parallel):
    judged: list[Any] = []

    @input_guardrail(run_in_parallel=parallel)
    def look(context, agent, input):
        judged.append(input)
        return GuardrailFunctionOutput(None, input == "bad")

    clerk = agent(deleting(), "done", tools=[delete])
    config = RunConfig(input_guardrails=[look])
    state = (await go(way, clerk, "hi", run_config=config)).to_state()
    state.approve(state.get_interruptions()[0])
    state.add_input("bad")
    assert type(await caught(way, clerk, state, run_config=config)) is InputGuardrailTripwireTriggered
    assert judged == ["hi", "bad"]


@both_ways
async def test_the_configs_output_guardrails_judge_whoever_answers(way):
    @output_guardrail
    def no(context, agent, output):
        return GuardrailFunctionOutput((agent.name, output), True)

    b = in_turn("b says", name="B")
    error = await caught(way, in_turn(TO_B, name="A", handoffs=[b]), run_config={"output_guardrails": [no]})
    assert type(error) is OutputGuardrailTripwireTriggered
    assert error.guardrail_result.output.output_info == ("B", "b says")
    assert (error.guardrail_result.agent, error.guardrail_result.agent_output) == (b, "b says")


# --- tracing ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def kept():
    """What processors are told."""
    processor = Kept()
    set_trace_processors([processor])
    yield processor
    set_trace_processors([])


@both_ways
async def test_a_trace_has_the_configs_name_id_group_and_metadata(way, kept):
    mine = gen_trace_id()
    config = RunConfig(workflow_name="Refunds", trace_id=mine, group_id="chat-7", trace_metadata={"plan": "free"})
    await go(way, agent("done"), run_config=config)
    (one,) = kept.traces
    assert (one.name, one.trace_id) == ("Refunds", mine)
    exported = one.export()
    assert (exported["workflow_name"], exported["group_id"], exported["metadata"]) == (
        "Refunds", "chat-7", {"plan": "free"},
    )  # fmt: skip
    assert {span.trace_id for span in kept.ended} == {mine}


@both_ways
async def test_a_trace_is_called_agent_workflow_where_nothing_is_said(way, kept):
    await go(way, agent("done"))
    (one,) = kept.traces
    assert one.name == "Agent workflow"
    assert one.trace_id.startswith("trace_")


@both_ways
async def test_a_trace_id_is_taken_as_it_is(way, kept):
    await go(way, agent("done"), run_config=RunConfig(trace_id="mine"))
    assert [one.trace_id for one in kept.traces] == ["mine"]


@both_ways
async def test_a_run_with_tracing_disabled_isnt_told_of(way, kept):
    @function_tool
    def look() -> str:
        """Look."""
        with custom_span("within"):
            return str(get_current_trace())

    await go(
        way, agent(function_call("look", {}, "l"), "done", tools=[look]), run_config=RunConfig(tracing_disabled=True)
    )
    assert (kept.traces, kept.started) == ([], [])


@both_ways
@pytest.mark.parametrize("sensitive", [True, False])
async def test_spans_carry_what_was_said_only_where_that_may_be(way, kept, sensitive):
    @function_tool
    def tell(name: str) -> str:
        """Tell."""
        return f"all about {name}"

    clerk = agent(function_call("tell", {"name": "Mrs Gray"}, "c"), "the answer", tools=[tell])
    await go(way, clerk, "my question", run_config=RunConfig(trace_include_sensitive_data=sensitive))
    whole = str([span.export() for span in kept.ended])
    for said in ("my question", "the answer", "Mrs Gray", "all about"):
        assert (said in whole) is sensitive
    assert [span.span_data.name for span in kept.of("function")] == ["tell"]


@pytest.mark.parametrize(
    ("said", "sensitive"), [("true", True), ("1", True), ("YES", True), (" on ", True), ("false", False), ("0", False)]
)
def test_the_environment_says_whether_traces_carry_it(monkeypatch, said, sensitive):
    monkeypatch.setenv("OPENAI_AGENTS_TRACE_INCLUDE_SENSITIVE_DATA", said)
    assert RunConfig().trace_include_sensitive_data is sensitive
    assert RunConfig.of(None).trace_include_sensitive_data is sensitive
    assert RunConfig(trace_include_sensitive_data=not sensitive).trace_include_sensitive_data is not sensitive


@both_ways
@pytest.mark.parametrize("wanted", [None, True, False])
async def test_task_and_turn_spans_may_be_left_out(way, kept, wanted):
    tracing = None if wanted is None else {"include_task_and_turn_spans": wanted}
    await go(way, agent("done"), run_config=RunConfig(tracing=tracing))
    found = {span.span_data.type for span in kept.ended}
    assert ({"task", "turn"} <= found) is (wanted is not False)
    assert {"agent", "generation"} <= found


@both_ways
async def test_the_configs_tracing_key_is_its_traces_own_and_isnt_kept(way, kept):
    clerk = agent(deleting(), "done", tools=[delete])
    result = await go(way, clerk, run_config=RunConfig(tracing={"api_key": "sk-of-the-team"}))
    assert {span.tracing_api_key for span in kept.ended} <= {"sk-of-the-team"}
    assert kept.traces[0].tracing_api_key == "sk-of-the-team"
    assert "sk-of-the-team" not in result.to_state().to_string()


@both_ways
async def test_a_resumed_run_goes_on_in_its_trace_without_starting_it_again(way, kept):
    mine = gen_trace_id()
    clerk = agent(deleting(), "done", tools=[delete])
    config = RunConfig(workflow_name="Refunds", trace_id=mine, group_id="g", trace_metadata={"k": "v"})
    state = (await go(way, clerk, run_config=config)).to_state()
    state = await RunState.from_json(clerk, state.to_json())
    state.approve(state.get_interruptions()[0])
    assert (state.trace_id, state.group_id, state.workflow_name) == (mine, "g", "Refunds")
    await go(way, clerk, state)
    assert [one.trace_id for one in kept.traces] == [mine]
    assert {span.trace_id for span in kept.ended} == {mine}
    assert kept.of("task")[-1].span_data.name == "Refunds"


@both_ways
async def test_a_run_inside_of_a_trace_belongs_to_it(way, kept):
    with trace("Outer") as outer:
        await go(way, agent("done"), run_config=RunConfig(workflow_name="Inner"))
        await go(way, agent("done"))
    assert [one.name for one in kept.traces] == ["Outer"]
    assert {span.trace_id for span in kept.ended} == {outer.trace_id}


# --- sessions ---------------------------------------------------------------------------------------------------------


async def remembering(*texts: str) -> SQLiteSession:
    session = SQLiteSession("s")
    await session.add_items([{"role": "user", "content": text} for text in texts])
    return session


async def held(session: SQLiteSession) -> list[str]:
    """What a session holds, in short: of messages of the model "answer"."""
    items = await session.get_items()
    return [item["content"] if isinstance(item["content"], str) else "answer" for item in items]


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


@both_ways
@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize(
    ("choose", "sees", "keeps"),
    [
        (lambda history, new: [*new, *history[:1]], ["go", "old 1"], ["go"]),
        (lambda history, new: history[-1:], ["old 2"], []),
        (lambda history, new: [*history, user("made")], ["old 1", "old 2", "made"], ["made"]),
        (lambda history, new: [*history, *map(dict, new)], ["old 1", "old 2", "go"], ["go"]),
        (lambda history, new: [*map(dict, history), *new], ["old 1", "old 2", "go"], ["go"]),
        (lambda history, new: [*history, *history[:1], *new], ["old 1", "old 2", "old 1", "go"], ["go"]),
    ],
    ids=["reorders", "drops", "makes", "copies the new", "copies the old", "repeats"],
)
async def test_a_session_callback_chooses_what_is_seen_and_only_what_is_new_is_kept(way, waits, choose, sees, keeps):
    async def later(history, new):
        await asyncio.sleep(0)
        return choose(history, new)

    session = await remembering("old 1", "old 2")
    clerk = agent("answer")
    clerk.model = ScriptedModel(["answer"])
    await go(way, clerk, session=session, run_config=RunConfig(session_input_callback=later if waits else choose))
    assert texts(clerk.model.calls[0]) == sees
    assert await held(session) == ["old 1", "old 2", *keeps, "answer"]


@both_ways
async def test_a_session_callback_that_gives_no_list_is_a_user_error(way):
    error = await caught(
        way, agent("x"), session=await remembering("old"), run_config={"session_input_callback": lambda h, n: None}
    )
    assert type(error) is UserError
    assert "Session input callback must return a list of input items." in error.message


@both_ways
@pytest.mark.parametrize(
    ("own", "over", "sees"), [(None, 1, ["c", "go"]), (2, None, ["b", "c", "go"]), (2, 1, ["c", "go"]), (1, 0, ["go"])]
)
async def test_the_configs_session_settings_go_before_the_sessions_own(way, own, over, sees):
    session = SQLiteSession("s", session_settings=SessionSettings(limit=own))
    await session.add_items([user(text) for text in "abc"])
    clerk = in_turn("answer")
    await go(way, clerk, session=session, run_config=RunConfig(session_settings=SessionSettings(limit=over)))
    assert texts(clerk.model.calls[0]) == sees


# --- call_model_input_filter ------------------------------------------------------------------------------------------


@both_ways
@pytest.mark.parametrize("waits", [False, True])
async def test_a_filter_has_the_last_word_on_each_call_and_changes_no_history(way, waits):
    given: list[Any] = []

    def choose(data):
        given.append(data)
        return ModelInputData([*data.model_data.input[-1:], user("added")], f"{data.model_data.instructions}!")

    async def later(data):
        return choose(data)

    clerk = in_turn(adding(), "done", tools=[add], instructions="sys")
    session = SQLiteSession("s")
    config = RunConfig(call_model_input_filter=later if waits else choose)
    result = await go(way, clerk, "hi", run_config=config, context={"app": 1}, session=session)
    assert [texts(call) for call in clerk.model.calls] == [["hi", "added"], ["function_call_output", "added"]]
    assert [call.system_instructions for call in clerk.model.calls] == ["sys!", "sys!"]
    assert [(data.agent, data.context) for data in given] == [(clerk, {"app": 1})] * 2
    assert [len(data.model_data.input) for data in given] == [1, 3]
    assert "added" not in str(result.to_input_list())
    assert "added" not in str(await session.get_items())


@both_ways
async def test_a_filter_may_change_what_it_is_given_and_harms_nobody(way):
    def spoil(data):
        for item in data.model_data.input:
            item["content"] = "spoiled"
        return data.model_data

    clerk = in_turn("done")
    result = await go(way, clerk, "hi", run_config=RunConfig(call_model_input_filter=spoil))
    assert texts(clerk.model.calls[0]) == ["spoiled"]
    assert result.to_input_list()[0]["content"] == "hi"


@both_ways
@pytest.mark.parametrize("answer", [None, [], "text", ModelInputData("text", None)])  # type: ignore[arg-type]
async def test_a_filter_that_gives_something_else_is_a_user_error(way, answer):
    clerk = agent("never")
    error = await caught(way, clerk, run_config=RunConfig(call_model_input_filter=lambda data: answer))
    assert type(error) is UserError
    assert "call_model_input_filter must return" in error.message
    assert clerk.model.calls == []


@both_ways
async def test_what_a_filter_raises_is_raised(way):
    error = await caught(way, agent("never"), run_config=RunConfig(call_model_input_filter=lambda data: 1 / 0))
    assert type(error) is ZeroDivisionError


# --- tool_error_formatter ---------------------------------------------------------------------------------------------


@function_tool
def broken() -> str:
    """Broken."""
    raise ValueError("bang")


KINDS = {
    "approval_rejected": (deleting(), "delete", "d1", "Tool execution was not approved."),
    "tool_not_found": (function_call("nope", {}, "n"), "nope", "n", "Tool 'nope' not found."),
    "tool_exception": (function_call("broken", {}, "b"), "broken", "b", "An error occurred while running the tool."),
}


async def troubled(way: str, kind: str, formatter: Any, message: str | None = None) -> Any:
    """A run with this kind of trouble, to its end."""
    clerk = agent(KINDS[kind][0], "done", tools=[delete, broken])
    config = RunConfig(tool_error_formatter=formatter, tool_not_found_behavior="return_error_to_model")
    result = await go(way, clerk, run_config=config, context="app")
    if result.interruptions:
        state = result.to_state()
        state.reject(state.get_interruptions()[0], rejection_message=message)
        result = await go(way, clerk, state, run_config=config)
    assert result.final_output == "done"
    return told(result)


@both_ways
@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("waits", [False, True])
async def test_the_formatter_says_what_the_model_is_told_of_trouble(way, kind, waits):
    given: list[ToolErrorFormatterArgs] = []

    def say(args):
        given.append(args)
        return f"sorry: {args.tool_name}"

    async def later(args):
        return say(args)

    _, name, call_id, default = KINDS[kind]
    assert await troubled(way, kind, later if waits else say) == [f"sorry: {name}"]
    (args,) = given
    assert (args.kind, args.tool_type, args.tool_name, args.call_id) == (kind, "function", name, call_id)
    assert args.default_message.startswith(default)
    assert isinstance(args.run_context, RunContextWrapper)
    assert args.run_context.context == "app"
    assert (repr(args.error) == "ValueError('bang')") is (kind == "tool_exception")


@both_ways
@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("formatter", [None, lambda args: None])
async def test_the_default_is_told_where_there_is_no_formatter_or_it_says_nothing(way, kind, formatter):
    (output,) = await troubled(way, kind, formatter)
    assert output.startswith(KINDS[kind][3])


@both_ways
@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("formatter", [lambda args: 3, lambda args: 1 / 0], ids=["no text", "raises"])
async def test_a_formatter_that_fails_is_logged_and_the_default_is_told(way, kind, formatter, said):
    (output,) = await troubled(way, kind, formatter)
    assert output.startswith(KINDS[kind][3])
    (line,) = [one for one in said if "tool_error_formatter" in one[1]]
    assert line[0] == "error"
    assert (line[2]["tool"], line[2]["kind"]) == (KINDS[kind][1], kind)


@both_ways
async def test_a_rejections_own_message_goes_before_the_formatter(way):
    assert await troubled(way, "approval_rejected", lambda args: "formatted", "not today") == ["not today"]


@both_ways
async def test_a_tools_own_error_function_goes_before_the_formatter(way):
    @function_tool(failure_error_function=lambda context, error: f"own: {error}")
    def own() -> str:
        """Own."""
        raise ValueError("bang")

    config = RunConfig(tool_error_formatter=lambda args: "formatted")
    result = await go(way, agent(function_call("own", {}, "o"), "done", tools=[own]), run_config=config)
    assert told(result) == ["own: bang"]


# --- reasoning_item_id_policy -----------------------------------------------------------------------------------------

REASONING = {"type": "reasoning", "id": "rs_1", "summary": []}


def reasoned(items: Any) -> list[Any]:
    return [item.get("id") for item in items if item.get("type") == "reasoning"]


@both_ways
@pytest.mark.parametrize(("policy", "ids"), [(None, ["rs_1"]), ("preserve", ["rs_1"]), ("omit", [None])])
async def test_reasoning_ids_are_left_out_of_what_is_sent_again_where_the_policy_says_so(way, policy, ids):
    clerk = in_turn([REASONING, adding()], "done", tools=[add])
    result = await go(way, clerk, run_config=RunConfig(reasoning_item_id_policy=policy))
    assert reasoned(clerk.model.calls[1].input) == ids
    assert reasoned(result.to_input_list()) == ids
    assert result.raw_responses[0].output[0]["id"] == "rs_1"


@both_ways
async def test_a_resumed_run_keeps_its_policy_of_reasoning_ids(way):
    clerk = in_turn([REASONING, deleting()], "done", tools=[delete])
    state = (await go(way, clerk, run_config=RunConfig(reasoning_item_id_policy="omit"))).to_state()
    state = await RunState.from_json(clerk, state.to_json())
    state.approve(state.get_interruptions()[0])
    result = await go(way, clerk, state)
    assert reasoned(clerk.model.calls[1].input) == [None]
    assert reasoned(result.to_input_list()) == [None]


# --- tool_execution ---------------------------------------------------------------------------------------------------


def counting() -> tuple[Any, list[int]]:
    """A tool that tells how many of its calls run at a time."""
    running = 0
    most: list[int] = [0]

    @function_tool
    async def work(n: int) -> str:
        """Work."""
        nonlocal running
        running += 1
        most[0] = max(most[0], running)
        for _ in range(5):
            await asyncio.sleep(0)
        running -= 1
        return str(n)

    return work, most


@both_ways
@pytest.mark.parametrize(("cap", "at_once"), [(None, 4), (1, 1), (2, 2), (9, 4)])
async def test_calls_of_a_reply_run_at_once_up_to_the_cap_and_answer_in_order(way, cap, at_once):
    work, most = counting()
    calls = [function_call("work", {"n": n}, f"c{n}") for n in range(4)]
    config = RunConfig(tool_execution=ToolExecutionConfig(max_function_tool_concurrency=cap))
    result = await go(way, agent(calls, "done", tools=[work]), run_config=config)
    assert most == [at_once]
    assert told(result) == ["0", "1", "2", "3"]


@both_ways
@pytest.mark.parametrize("before", [False, True])
async def test_a_tools_input_guardrails_may_look_before_a_person_is_asked(way, before):
    looked: list[str] = []

    @tool_input_guardrail
    def look(data):
        looked.append(data.context.tool_call_id)
        return ToolGuardrailFunctionOutput.allow()

    @function_tool(needs_approval=True, tool_input_guardrails=[look])
    def wipe() -> str:
        """Wipe."""
        return "wiped"

    clerk = agent(function_call("wipe", {}, "w"), "done", tools=[wipe])
    config = RunConfig(tool_execution={"pre_approval_tool_input_guardrails": before})
    result = await go(way, clerk, run_config=config)
    assert looked == (["w"] if before else [])
    state = result.to_state()
    state.approve(state.get_interruptions()[0])
    assert (await go(way, clerk, state, run_config=config)).final_output == "done"
    assert looked == (["w", "w"] if before else ["w"])  # and once more before it runs


@both_ways
async def test_a_call_that_its_guardrails_reject_isnt_asked_about(way):
    @tool_input_guardrail
    def no(data):
        return ToolGuardrailFunctionOutput.reject_content("not this way")

    @function_tool(needs_approval=True, tool_input_guardrails=[no])
    def wipe() -> str:
        """Wipe."""
        return "wiped"

    config = RunConfig(tool_execution={"pre_approval_tool_input_guardrails": True})
    result = await go(way, agent(function_call("wipe", {}, "w"), "done", tools=[wipe]), run_config=config)
    assert (result.interruptions, told(result), result.final_output) == ([], ["not this way"], "done")


# --- tool_not_found_behavior, tool_name_collision_policy --------------------------------------------------------------


@both_ways
async def test_a_model_that_is_told_of_an_unknown_tool_goes_on(way):
    clerk = agent(function_call("nope", {}, "n"), "sorry", tools=[add])
    result = await go(way, clerk, run_config={"tool_not_found_behavior": "return_error_to_model"})
    assert (result.final_output, told(result)) == ("sorry", ["Tool 'nope' not found."])
    assert [item.type for item in result.new_items] == [
        "tool_call_item",
        "tool_call_output_item",
        "message_output_item",
    ]


def colliding() -> tuple[Agent, Agent, list[str]]:
    """An agent whose tool and handoff have one name."""
    ran: list[str] = []

    @function_tool(name_override="transfer_to_b")
    def same() -> str:
        """The same name."""
        ran.append("tool")
        return "tool"

    b = in_turn("b says", name="B")
    return in_turn(TO_B, name="A", tools=[same, add], handoffs=[b]), b, ran


@both_ways
async def test_of_a_tool_and_a_handoff_with_one_name_the_handoff_is_offered_with_a_warning(way):
    a, b, ran = colliding()
    with pytest.warns(UserWarning, match="'transfer_to_b' names a tool and a handoff"):
        result = await go(way, a)
    assert (result.final_output, result.last_agent, ran) == ("b says", b, [])
    assert [tool.name for tool in a.model.calls[0].tools] == ["add"]
    assert [one.tool_name for one in a.model.calls[0].handoffs] == ["transfer_to_b"]


@both_ways
async def test_a_collision_is_a_user_error_before_the_model_call_where_the_policy_says_so(way):
    a, _, _ = colliding()
    error = await caught(way, a, run_config=RunConfig(tool_name_collision_policy="error"))
    assert type(error) is UserError
    assert "'transfer_to_b' names a tool and a handoff" in error.message
    assert a.model.calls == []


# --- output_guardrail_blocked_message ---------------------------------------------------------------------------------


@output_guardrail(name="no secrets")
def no_secrets(context, agent, output):
    return GuardrailFunctionOutput(None, True)


async def withheld(way: str, said: Any) -> Any:
    """What a session is told of a tool's output that would have ended the run and was rejected."""
    session = SQLiteSession("s")
    clerk = agent(
        adding(), name="Clerk", tools=[add], tool_use_behavior="stop_on_first_tool", output_guardrails=[no_secrets]
    )
    config = RunConfig(output_guardrail_blocked_message=said)
    error = await caught(way, clerk, run_config=config, session=session)
    assert type(error) is OutputGuardrailTripwireTriggered
    question, call, output = await session.get_items()
    assert (question["content"], call["name"], output["call_id"]) == ("go", "add", "c1")
    return output["output"]


DEFAULT = "Output withheld by an output guardrail."


@both_ways
async def test_a_rejected_output_of_a_tool_is_withheld_in_the_configs_words(way):
    assert await withheld(way, None) == DEFAULT
    assert await withheld(way, "Gone.") == "Gone."
    made = await withheld(
        way,
        lambda args: (
            f"{args.default_message} {args.guardrail_name} {args.agent.name} {args.run_context.usage.requests}"
        ),
    )
    assert made == f"{DEFAULT} no secrets Clerk 1"
    assert await withheld(way, lambda args: None) == DEFAULT


@both_ways
@pytest.mark.parametrize(
    "fails", [lambda args: 3, lambda args: "", lambda args: 1 / 0], ids=["no text", "empty", "raises"]
)
async def test_a_blocked_message_that_fails_hides_no_verdict_and_is_logged(way, fails, said):
    assert await withheld(way, fails) == DEFAULT
    assert [one[0] for one in said if "output_guardrail_blocked_message" in one[1]] == ["error"]


# --- what holds for all of them ---------------------------------------------------------------------------------------


def test_run_sync_takes_a_config_as_the_others_do():
    result = Runner.run_sync(agent("never"), "go", run_config={"model": ScriptedModel([message("from the config")])})
    assert result.final_output == "from the config"
