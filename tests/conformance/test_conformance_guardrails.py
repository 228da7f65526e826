"""§7: guardrails of all four kinds, in runs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from conformance_making import WAYS, add, adding, agent, caught, decided, delete, deleting, go, in_turn, told

from flowcore import (
    Agent,
    GuardrailFunctionOutput,
    InputGuardrail,
    InputGuardrailResult,
    InputGuardrailTripwireTriggered,
    OutputGuardrail,
    OutputGuardrailResult,
    OutputGuardrailTripwireTriggered,
    RunConfig,
    RunContextWrapper,
    RunHooks,
    Runner,
    SQLiteSession,
    ToolContext,
    ToolExecutionConfig,
    ToolGuardrailFunctionOutput,
    ToolInputGuardrail,
    ToolInputGuardrailData,
    ToolInputGuardrailTripwireTriggered,
    ToolOutputGuardrail,
    ToolOutputGuardrailData,
    ToolOutputGuardrailTripwireTriggered,
    UserError,
    function_tool,
    input_guardrail,
    output_guardrail,
    tool_input_guardrail,
    tool_output_guardrail,
)
from flowcore.testing import function_call

BESIDE_OR_BEFORE = pytest.mark.parametrize("parallel", [True, False], ids=["beside", "before"])
BY_WAY = pytest.mark.parametrize("way", WAYS)


def at_input(name: str, trips: bool = False, parallel: bool = True, log: list[Any] | None = None) -> Any:
    @input_guardrail(name=name, run_in_parallel=parallel)
    async def judge(ctx, agent, input):
        if log is not None:
            log.append((name, type(ctx), agent.name, input))
        return GuardrailFunctionOutput(f"info of {name}", trips)

    return judge


def at_output(name: str, trips: bool = False, log: list[Any] | None = None) -> Any:
    @output_guardrail(name=name)
    async def judge(ctx, agent, output):
        if log is not None:
            log.append((name, type(ctx), agent.name, output))
        return GuardrailFunctionOutput(f"info of {name}", trips)

    return judge


def names(results: list[Any]) -> list[str]:
    return [one.guardrail.get_name() for one in results]


# --- input guardrails -------------------------------------------------------------------------------------------------


def test_a_guardrail_is_named_after_its_function_or_as_it_is_told():
    @input_guardrail
    def polite(ctx, agent, input): ...

    @output_guardrail(name="kind")
    def nice(ctx, agent, output): ...

    assert (polite.name, polite.get_name(), polite.run_in_parallel) == ("polite", "polite", True)
    assert (nice.name, nice.get_name()) == ("kind", "kind")
    assert InputGuardrail(lambda ctx, agent, input: None, "x", run_in_parallel=False).run_in_parallel is False
    assert InputGuardrail(polite.guardrail_function).get_name() == "polite"


@pytest.mark.parametrize("kind", [InputGuardrail, OutputGuardrail, ToolInputGuardrail, ToolOutputGuardrail])
def test_a_guardrail_is_made_of_a_function(kind):
    with pytest.raises(UserError, match="Guardrail function must be callable, got 3"):
        kind(3)


@pytest.mark.parametrize(
    "input", ["go", [{"role": "user", "content": "one"}], [{"role": "user", "content": "one"}] * 2]
)
@BESIDE_OR_BEFORE
@BY_WAY
async def test_an_input_guardrail_is_given_context_agent_and_input_as_it_was_given(way, parallel, input):
    log: list[Any] = []
    await go(way, agent("x", input_guardrails=[at_input("one", parallel=parallel, log=log)]), input)
    assert log == [("one", RunContextWrapper, "Assistant", input)]


@BESIDE_OR_BEFORE
@BY_WAY
async def test_the_runs_input_guardrails_come_after_the_agents_and_all_results_stand_on_the_result(way, parallel):
    own = [at_input("one", parallel=parallel), at_input("two", parallel=parallel)]
    config = RunConfig(input_guardrails=[at_input("three", parallel=parallel)])
    result = await go(way, agent("x", input_guardrails=own), run_config=config)
    assert names(result.input_guardrail_results) == ["one", "two", "three"]
    assert all(isinstance(one, InputGuardrailResult) for one in result.input_guardrail_results)
    assert result.input_guardrail_results[0].guardrail is own[0]
    assert result.input_guardrail_results[0].output == GuardrailFunctionOutput("info of one", False)


@BESIDE_OR_BEFORE
@BY_WAY
async def test_input_guardrails_run_at_the_same_time(way, parallel):
    both = asyncio.Barrier(2)

    def meeting() -> Any:
        async def meet(ctx, agent, input):
            await both.wait()
            return GuardrailFunctionOutput(None, False)

        return InputGuardrail(meet, run_in_parallel=parallel)

    assert (await go(way, agent("x", input_guardrails=[meeting(), meeting()]))).final_output == "x"


@BESIDE_OR_BEFORE
@BY_WAY
async def test_a_tripped_input_guardrail_raises_with_its_result_and_the_runs_data(way, parallel):
    judges = [at_input("one", parallel=parallel), at_input("two", True, parallel)]
    error: Any = await caught(way, agent("x", input_guardrails=judges))
    assert type(error) is InputGuardrailTripwireTriggered
    assert str(error) == "Guardrail InputGuardrail triggered tripwire"
    assert error.guardrail_result.guardrail is judges[1]
    assert error.guardrail_result.output == GuardrailFunctionOutput("info of two", True)
    data = error.run_data
    assert (data.input, data.new_items, data.raw_responses) == ("go", [], [])
    assert "two" in names(data.input_guardrail_results)


@BY_WAY
async def test_a_tripped_blocking_guardrail_never_lets_the_model_be_called(way):
    clerk = agent("never", input_guardrails=[at_input("one", True, False)])
    await caught(way, clerk)
    assert clerk.model.calls == []


@BY_WAY
async def test_a_tripped_guardrail_beside_the_model_never_lets_a_tool_start(way):
    ran = []

    @function_tool
    async def pay() -> str:
        """Pay."""
        ran.append(1)
        return "paid"

    replied = asyncio.Event()

    async def late(ctx, agent, input):
        await replied.wait()
        await asyncio.sleep(0)
        return GuardrailFunctionOutput(None, True)

    def reply(call):
        replied.set()
        return function_call("pay", call_id="c1")

    clerk = agent(reply, "never", tools=[pay], input_guardrails=[InputGuardrail(late)])
    assert isinstance(await caught(way, clerk), InputGuardrailTripwireTriggered)
    assert ran == []


@BY_WAY
async def test_a_trip_cancels_the_model_call(way):
    cancelled, calling = [], asyncio.Event()

    async def slow(call):
        calling.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(1)
            raise

    async def trip(ctx, agent, input):
        await calling.wait()
        return GuardrailFunctionOutput(None, True)

    async with asyncio.timeout(10):
        await caught(way, agent(slow, input_guardrails=[InputGuardrail(trip)]))
    assert cancelled == [1]


@BESIDE_OR_BEFORE
@BY_WAY
async def test_what_an_input_guardrail_raises_ends_the_run(way, parallel):
    async def broken(ctx, agent, input):
        raise ValueError("no judge")

    error = await caught(way, agent("x", input_guardrails=[InputGuardrail(broken, run_in_parallel=parallel)]))
    assert (type(error), str(error)) == (ValueError, "no judge")


@BESIDE_OR_BEFORE
@BY_WAY
async def test_a_guardrail_that_gives_something_else_is_refused(way, parallel):
    judge = InputGuardrail(lambda ctx, agent, input: 3, run_in_parallel=parallel)
    assert "return a GuardrailFunctionOutput" in str(await caught(way, agent("x", input_guardrails=[judge])))


@BY_WAY
async def test_input_guardrails_look_at_the_first_turn_of_the_first_agent_only(way):
    log: list[Any] = []
    other = in_turn(adding("c2"), "done", name="Other", tools=[add], input_guardrails=[at_input("other", log=log)])
    first = in_turn(adding(), function_call("transfer_to_other", call_id="h"), name="First", tools=[add])
    first.handoffs, first.input_guardrails = [other], [at_input("first", log=log)]
    result = await go(way, first)
    assert [one[0] for one in log] == ["first"]
    assert names(result.input_guardrail_results) == ["first"]


@BESIDE_OR_BEFORE
@BY_WAY
async def test_input_guardrails_arent_asked_again_when_the_run_goes_on_elsewhere(way, parallel):
    log: list[Any] = []
    clerk = agent(deleting(), "done", tools=[delete], input_guardrails=[at_input("one", parallel=parallel, log=log)])
    result = await decided(way, clerk, await go(way, clerk))
    assert len(log) == 1
    (found,) = result.input_guardrail_results
    assert (found.guardrail, found.output.output_info) == (clerk.input_guardrails[0], "info of one")


@BY_WAY
async def test_input_that_joins_the_run_is_judged_by_the_current_agents_guardrails(way):
    log: list[Any] = []
    clerk = agent(deleting(), "done", tools=[delete], input_guardrails=[at_input("one", log=log)])
    state = (await go(way, clerk)).to_state()
    state.approve(state.get_interruptions()[0])
    state.add_input("and this")
    await go(way, clerk, state)
    assert [one[3] for one in log] == ["go", "and this"]


@BESIDE_OR_BEFORE
@BY_WAY
async def test_a_tripped_runs_input_is_in_the_session(way, parallel):
    session = SQLiteSession("s")
    await caught(way, agent("x", input_guardrails=[at_input("one", True, parallel)]), session=session)
    assert await session.get_items() == [{"role": "user", "content": "go"}]


# --- output guardrails ------------------------------------------------------------------------------------------------


@BY_WAY
async def test_an_output_guardrail_is_given_context_agent_and_output(way):
    log: list[Any] = []
    clerk = agent('{"response": [1]}', output_type=list[int], output_guardrails=[at_output("own", log=log)])
    config = RunConfig(output_guardrails=[at_output("run", log=log)])
    result = await go(way, clerk, run_config=config)
    assert log == [(name, RunContextWrapper, "Assistant", [1]) for name in ("own", "run")]
    found = result.output_guardrail_results
    assert names(found) == ["own", "run"]
    assert all(isinstance(one, OutputGuardrailResult) for one in found)
    assert (found[0].agent_output, found[0].agent, found[0].output.output_info) == ([1], clerk, "info of own")


@BY_WAY
async def test_output_guardrails_run_at_the_same_time(way):
    both = asyncio.Barrier(2)

    async def meet(ctx, agent, output):
        await both.wait()
        return GuardrailFunctionOutput(None, False)

    clerk = agent("x", output_guardrails=[OutputGuardrail(meet, "one"), OutputGuardrail(meet, "two")])
    assert (await go(way, clerk)).final_output == "x"


@BY_WAY
async def test_a_tripped_output_guardrail_raises_with_what_it_looked_at(way):
    judges = [at_output("one"), at_output("two", True)]
    clerk = agent("x", output_guardrails=judges)
    error: Any = await caught(way, clerk)
    assert type(error) is OutputGuardrailTripwireTriggered
    assert str(error) == "Guardrail OutputGuardrail triggered tripwire"
    found = error.guardrail_result
    assert (found.guardrail, found.agent_output, found.agent) == (judges[1], "x", clerk)
    data = error.run_data
    assert [item.type for item in data.new_items] == ["message_output_item"]
    assert names(data.output_guardrail_results) == ["one", "two"]


class Ends(RunHooks[Any]):
    def __init__(self, log: list[Any]) -> None:
        self.log = log

    async def on_agent_end(self, context, agent, output):
        self.log.append(("ended", output))


@pytest.mark.parametrize("trips", [False, True])
@BY_WAY
async def test_output_guardrails_come_before_the_hooks_that_tell_of_the_end(way, trips):
    log: list[Any] = []
    judge = OutputGuardrail(lambda ctx, agent, output: log.append("judged") or GuardrailFunctionOutput(None, trips))
    clerk = agent("x", output_guardrails=[judge])
    if trips:
        await caught(way, clerk, hooks=Ends(log))
        assert log == ["judged"]
    else:
        await go(way, clerk, hooks=Ends(log))
        assert log == ["judged", ("ended", "x")]


@BY_WAY
async def test_what_an_output_guardrail_raises_ends_the_run(way):
    def broken(ctx, agent, output):
        raise ValueError("no judge")

    error = await caught(way, agent("x", output_guardrails=[OutputGuardrail(broken)]))
    assert (type(error), str(error)) == (ValueError, "no judge")


@BY_WAY
async def test_output_guardrails_are_the_last_agents(way):
    log: list[Any] = []
    other = in_turn("done", name="Other", output_guardrails=[at_output("other", log=log)])
    first = in_turn(function_call("transfer_to_other", call_id="h"), handoffs=[other])
    first.output_guardrails = [at_output("first", True, log=log)]
    await go(way, first)
    assert [one[0] for one in log] == ["other"]


@BY_WAY
async def test_of_a_rejected_output_the_session_has_the_input_and_the_turns_before(way):
    session = SQLiteSession("s")
    clerk = in_turn(adding(), "rejected", tools=[add], output_guardrails=[at_output("one", True)])
    await caught(way, clerk, session=session)
    kinds = [item.get("type") or item["role"] for item in await session.get_items()]
    assert kinds == ["user", "function_call", "function_call_output"]


@BY_WAY
async def test_a_rejected_output_of_a_tool_is_withheld_in_the_session(way):
    session = SQLiteSession("s")
    clerk = in_turn(adding(), tools=[add], output_guardrails=[at_output("one", True)])
    clerk.tool_use_behavior = "stop_on_first_tool"
    error: Any = await caught(way, clerk, session=session)
    assert error.guardrail_result.agent_output == "3"
    assert (await session.get_items())[-1]["output"] == "Output withheld by an output guardrail."


@BY_WAY
async def test_output_guardrails_judge_a_run_that_went_on_elsewhere(way):
    log: list[Any] = []
    clerk = agent(deleting(), "done", tools=[delete], output_guardrails=[at_output("one", True, log=log)])
    result = await go(way, clerk)
    assert log == []
    with pytest.raises(OutputGuardrailTripwireTriggered):
        await decided(way, clerk, result)
    assert [one[3] for one in log] == ["done"]


@pytest.mark.parametrize("trips", [False, True])
async def test_a_result_that_is_read_from_the_journal_has_the_output_that_was_judged(trips):
    judge = at_output("one", trips)
    clerk = agent('{"response": [1]}', output_type=list[int], output_guardrails=[judge])
    try:
        result: Any = await Runner.run(clerk, "go")
    except OutputGuardrailTripwireTriggered as error:
        result = error.run_data.result  # type: ignore[union-attr]
    result._options.results = ()  # what only this process knows
    (found,) = result.output_guardrail_results
    assert (found.guardrail, found.agent_output, found.agent) == (judge, [1], clerk)
    assert found.output == GuardrailFunctionOutput("info of one", trips)


# --- tool guardrails --------------------------------------------------------------------------------------------------

ALLOW = ToolGuardrailFunctionOutput.allow
REJECT = ToolGuardrailFunctionOutput.reject_content
RAISE = ToolGuardrailFunctionOutput.raise_exception


class Guarded:
    """A tool with guardrails that say so, and what was asked and run."""

    def __init__(self, before: Any = (), after: Any = (), **options: Any) -> None:
        self.log: list[Any] = []
        self.ran: list[int] = []

        async def pay(amount: int) -> str:
            """Pay."""
            self.ran.append(amount)
            return f"paid {amount}"

        self.tool = function_tool(
            pay,
            tool_input_guardrails=[self._judge(ToolInputGuardrail, f"in {i}", say) for i, say in enumerate(before)],
            tool_output_guardrails=[self._judge(ToolOutputGuardrail, f"out {i}", say) for i, say in enumerate(after)],
            **options,
        )

    def _judge(self, kind: Any, name: str, say: Any) -> Any:
        def judge(data):
            self.log.append((name, data))
            return say

        return kind(judge, name)

    def agent(self, **fields: Any) -> Agent:
        return agent(function_call("pay", {"amount": 2}, "c1"), "done", tools=[self.tool], **fields)

    def asked(self) -> list[str]:
        return [name for name, _ in self.log]


@BY_WAY
async def test_a_call_that_is_allowed_is_made_and_every_verdict_stands_on_the_result(way):
    guarded = Guarded([ALLOW("fine"), ALLOW()], [ALLOW("good")])
    result = await go(way, guarded.agent())
    assert (told(result), guarded.ran) == (["paid 2"], [2])
    assert guarded.asked() == ["in 0", "in 1", "out 0"]
    found = result.tool_input_guardrail_results
    assert [(one.guardrail.get_name(), one.output.output_info) for one in found] == [("in 0", "fine"), ("in 1", None)]
    assert found[0].guardrail is guarded.tool.tool_input_guardrails[0]
    assert [one.output.output_info for one in result.tool_output_guardrail_results] == ["good"]
    assert found[0].output.behavior == {"type": "allow"}


@BY_WAY
async def test_a_tool_guardrail_is_given_the_call_and_the_agent_and_the_output(way):
    guarded = Guarded([ALLOW()], [ALLOW()])
    clerk = guarded.agent()
    await go(way, clerk, context="app")
    (_, before), (_, after) = guarded.log
    assert (type(before), type(after)) == (ToolInputGuardrailData, ToolOutputGuardrailData)
    context = before.context
    assert isinstance(context, ToolContext)
    assert (context.tool_name, context.tool_arguments, context.tool_call_id) == ("pay", '{"amount": 2}', "c1")
    assert (context.context, before.agent, after.agent, after.output) == ("app", clerk, clerk, "paid 2")


@BY_WAY
async def test_content_rejected_before_the_call_is_told_and_the_call_isnt_made(way):
    guarded = Guarded([REJECT("not that much", "why"), ALLOW()], [ALLOW()])
    result = await go(way, guarded.agent())
    assert (told(result), guarded.ran, result.final_output) == (["not that much"], [], "done")
    assert guarded.asked() == ["in 0"]
    (found,) = result.tool_input_guardrail_results
    assert found.output.behavior == {"type": "reject_content", "message": "not that much"}
    assert result.tool_output_guardrail_results == []


@BY_WAY
async def test_content_rejected_after_the_call_is_replaced(way):
    guarded = Guarded([], [REJECT("hidden", "why"), ALLOW()])
    result = await go(way, guarded.agent())
    assert (told(result), guarded.ran) == (["hidden"], [2])
    assert guarded.asked() == ["out 0"]
    assert [item.output for item in result.new_items if item.type == "tool_call_output_item"] == ["hidden"]
    assert result.tool_output_guardrail_results[0].output.output_info == "why"


@pytest.mark.parametrize(
    ("before", "after", "kind", "ran", "message"),
    [
        ([RAISE("bad")], [], ToolInputGuardrailTripwireTriggered, [],
         "Tool input guardrail ToolInputGuardrail triggered tripwire"),
        ([], [RAISE("bad")], ToolOutputGuardrailTripwireTriggered, [2],
         "Tool output guardrail ToolOutputGuardrail triggered tripwire"),
    ],
)  # fmt: skip
@BY_WAY
async def test_a_tool_guardrail_that_raises_an_exception_ends_the_run_with_its_verdict(
    way, before, after, kind, ran, message
):
    guarded = Guarded(before, after)
    error: Any = await caught(way, guarded.agent())
    assert (type(error), str(error), guarded.ran) == (kind, message, ran)
    declared = guarded.tool.tool_input_guardrails or guarded.tool.tool_output_guardrails
    assert (error.guardrail, error.output) == (declared[0], RAISE("bad"))
    data = error.run_data
    assert [item.type for item in data.new_items] == ["tool_call_item"]
    assert len(data.tool_input_guardrail_results) == len(before)
    assert len(data.tool_output_guardrail_results) == len(after)


@BY_WAY
async def test_a_tool_guardrails_trip_doesnt_lose_a_sibling_that_finished(way):
    paid = Guarded()
    guarded = Guarded([RAISE("bad")])
    guarded.tool.name = "spend"
    reply = [function_call("pay", {"amount": 2}, "c1"), function_call("spend", {"amount": 2}, "c2")]
    error: Any = await caught(way, agent(reply, "never", tools=[paid.tool, guarded.tool]))
    assert paid.ran == [2]
    assert [item.call_id for item in error.run_data.new_items if item.type == "tool_call_output_item"] == ["c1"]


@pytest.mark.parametrize("where", ["before", "after"])
@BY_WAY
async def test_what_a_tool_guardrail_raises_itself_is_the_tools_error(way, where):
    def broken(data):
        raise ValueError("no judge")

    guarded = Guarded()
    if where == "before":
        guarded.tool.tool_input_guardrails = [ToolInputGuardrail(broken)]
    else:
        guarded.tool.tool_output_guardrails = [ToolOutputGuardrail(broken)]
    error = await caught(way, guarded.agent())
    assert (type(error), str(error)) == (UserError, "Error running tool pay: no judge")
    assert isinstance(error.__cause__, ValueError)


@BY_WAY
async def test_a_tool_guardrail_that_gives_something_else_is_refused(way):
    guarded = Guarded([3])
    assert "return ToolGuardrailFunctionOutput.allow()" in str(await caught(way, guarded.agent()))


@BY_WAY
async def test_tool_guardrails_may_be_async(way):
    @tool_input_guardrail
    async def before(data):
        await asyncio.sleep(0)
        return REJECT("no")

    guarded = Guarded()
    guarded.tool.tool_input_guardrails = [before]
    assert told(await go(way, guarded.agent())) == ["no"]
    assert before.get_name() == "before"


@BY_WAY
async def test_tool_guardrails_of_a_call_that_waited_are_asked_once_when_it_runs_elsewhere(way):
    guarded = Guarded([ALLOW("fine")], [ALLOW("good")], needs_approval=True)
    clerk = guarded.agent()
    result = await go(way, clerk)
    assert (guarded.asked(), result.tool_input_guardrail_results) == ([], [])
    result = await decided(way, clerk, result)
    assert guarded.asked() == ["in 0", "out 0"]
    assert [one.output.output_info for one in result.tool_input_guardrail_results] == ["fine"]
    assert [one.output.output_info for one in result.tool_output_guardrail_results] == ["good"]


@BY_WAY
async def test_verdicts_of_finished_calls_are_read_from_the_journal_when_the_run_goes_on_elsewhere(way):
    guarded = Guarded([ALLOW("fine")], [REJECT("hidden", "why")])
    reply = [function_call("pay", {"amount": 2}, "c1"), deleting()]
    clerk = agent(reply, "done", tools=[guarded.tool, delete])
    result = await decided(way, clerk, await go(way, clerk))
    assert guarded.asked() == ["in 0", "out 0"]
    assert told(result) == ["hidden", "deleted a"]
    assert result.tool_input_guardrail_results[0].guardrail is guarded.tool.tool_input_guardrails[0]
    assert result.tool_output_guardrail_results[0].output == REJECT("hidden", "why")


PRE = RunConfig(tool_execution=ToolExecutionConfig(pre_approval_tool_input_guardrails=True))


@BY_WAY
async def test_before_an_approval_input_guardrails_are_asked_only_where_the_config_says_so(way):
    for config, asked in ((RunConfig(), []), (PRE, ["in 0"])):
        guarded = Guarded([ALLOW()], needs_approval=True)
        clerk = guarded.agent()
        result = await go(way, clerk, run_config=config)
        assert (len(result.interruptions), guarded.asked()) == (1, asked)
        result = await decided(way, clerk, result, run_config=config)
        assert guarded.asked() == [*asked, "in 0"]  # and again before it runs
        assert told(result) == ["paid 2"]


@BY_WAY
async def test_a_call_that_is_rejected_before_its_approval_isnt_asked_about(way):
    guarded = Guarded([REJECT("no")], needs_approval=True)
    result = await go(way, guarded.agent(), run_config=PRE)
    assert (result.interruptions, told(result), guarded.ran) == ([], ["no"], [])
    assert names(result.tool_input_guardrail_results) == ["in 0"]


@BY_WAY
async def test_a_guardrail_may_end_the_run_before_an_approval(way):
    guarded = Guarded([RAISE("bad")], needs_approval=True)
    error = await caught(way, guarded.agent(), run_config=PRE)
    assert isinstance(error, ToolInputGuardrailTripwireTriggered)


@tool_output_guardrail
def hiding(data):
    return REJECT("hidden")


@BY_WAY
async def test_an_output_that_a_guardrail_replaced_is_what_ends_the_run(way):
    guarded = Guarded()
    guarded.tool.tool_output_guardrails = [hiding]
    result = await go(way, guarded.agent(tool_use_behavior="stop_on_first_tool"))
    assert result.final_output == "hidden"
