"""What a tool's guardrails decide about a call, and how that is written down."""

import json
from typing import Any

import pytest

from flowcore.agents.context import RunContextWrapper, ToolContext
from flowcore.agents.guardrails import input_guardrail
from flowcore.agents.tool_guardrails import (
    ToolGuardrailFunctionOutput,
    ToolInputGuardrail,
    ToolInputGuardrailResult,
    ToolOutputGuardrail,
    ToolOutputGuardrailData,
    ToolOutputGuardrailResult,
    as_json,
    from_json,
    judge_input,
    judge_output,
    tool_input_guardrail,
    tool_output_guardrail,
)
from flowcore.agents.tools import FunctionTool, function_tool
from flowcore.errors import ModelBehaviorError, UserError

allow = ToolGuardrailFunctionOutput.allow
reject = ToolGuardrailFunctionOutput.reject_content
trip = ToolGuardrailFunctionOutput.raise_exception


def before(name: str, verdict: Any, asked: list[Any]) -> ToolInputGuardrail[Any]:
    @tool_input_guardrail(name=name)
    def look(data):
        asked.append((name, data.context.tool_name, data.context.tool_arguments, data.agent))
        return verdict() if callable(verdict) else verdict

    return look


def after(name: str, verdict: Any, asked: list[Any]) -> ToolOutputGuardrail[Any]:
    @tool_output_guardrail(name=name)
    async def look(data):
        asked.append((name, data.output))
        return verdict() if callable(verdict) else verdict

    return look


def tool_with(**guardrails: Any) -> FunctionTool:
    async def pay(amount: int) -> str:
        return "paid"

    return function_tool(pay, **guardrails)


def context(tool: FunctionTool) -> ToolContext[Any]:
    return ToolContext.from_agent_context(
        RunContextWrapper(None), "call_1", tool_name=tool.name, tool_arguments='{"amount": 1}'
    )


async def judged_input(*guardrails: Any) -> Any:
    tool = tool_with(tool_input_guardrails=list(guardrails))
    return await judge_input(tool, context(tool), "the agent")


async def judged_output(*guardrails: Any, output: Any = "paid") -> Any:
    tool = tool_with(tool_output_guardrails=list(guardrails))
    return await judge_output(tool, context(tool), "the agent", output)


async def test_a_call_that_all_guardrails_allow_goes_on():
    asked: list[Any] = []
    verdicts = await judged_input(before("one", allow("fine"), asked), before("two", allow(), asked))
    assert asked == [("one", "pay", '{"amount": 1}', "the agent"), ("two", "pay", '{"amount": 1}', "the agent")]
    assert [one.output.output_info for one in verdicts.results] == ["fine", None]
    assert (verdicts.message, verdicts.tripped) == (None, None)


async def test_the_first_rejection_is_the_last_word():
    asked: list[Any] = []
    verdicts = await judged_input(
        before("one", allow(), asked), before("two", reject("no!", {"why": 1}), asked), before("three", trip(), asked)
    )
    assert [name for name, *_ in asked] == ["one", "two"]
    assert verdicts.message == "no!"
    assert verdicts.tripped is None
    assert verdicts.results[1].output.behavior == {"type": "reject_content", "message": "no!"}


async def test_a_guardrail_that_wants_an_exception_is_named_and_nothing_is_raised():
    asked: list[Any] = []
    verdicts = await judged_output(after("one", trip("why"), asked), after("two", allow(), asked))
    assert asked == [("one", "paid")]
    assert verdicts.tripped is verdicts.results[0]
    assert isinstance(verdicts.tripped, ToolOutputGuardrailResult)
    assert verdicts.tripped.output == ToolGuardrailFunctionOutput("why", {"type": "raise_exception"})


async def test_an_output_guardrail_sees_the_python_value():
    asked: list[Any] = []
    verdicts = await judged_output(after("one", reject("hidden"), asked), output={"k": 1})
    assert asked == [("one", {"k": 1})]
    assert verdicts.message == "hidden"


async def test_a_tool_without_guardrails_is_judged_by_nobody():
    tool = tool_with()
    assert (await judge_input(tool, context(tool), None)).results == []
    assert (await judge_output(tool, context(tool), None, 1)).results == []


async def test_an_error_in_a_guardrail_is_the_users_with_its_cause():
    with pytest.raises(UserError, match="Error running tool pay: division by zero") as caught:
        await judged_input(before("one", lambda: 1 / 0, []))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)

    def gives_up():
        raise ModelBehaviorError("as it is")

    with pytest.raises(ModelBehaviorError, match="as it is"):
        await judged_output(after("one", gives_up, []))


@pytest.mark.parametrize(
    ("verdict", "says"),
    [
        (None, "'one' returned a NoneType"),
        (True, "'one' returned a bool"),
        (ToolGuardrailFunctionOutput(None, {"type": "shrug"}), "behavior 'shrug'"),  # type: ignore[arg-type,typeddict-item]
        (reject(3), "rejects without a message"),  # type: ignore[arg-type]
    ],
)
async def test_a_verdict_that_says_nothing_is_refused(verdict, says):
    with pytest.raises(UserError, match=says):
        await judged_input(before("one", verdict, []))


def test_a_guardrail_is_named_after_its_function_or_as_it_is_told():
    @tool_input_guardrail
    def no_secrets(data):
        return allow()

    class Strict:
        def __call__(self, data):
            return allow()

    assert no_secrets.get_name() == "no_secrets"
    assert tool_output_guardrail(name="told")(no_secrets.guardrail_function).get_name() == "told"
    assert ToolOutputGuardrail(Strict()).get_name() == "Strict"
    with pytest.raises(UserError, match="must be callable, got 3"):
        ToolInputGuardrail(3)  # type: ignore[arg-type]


def test_what_is_no_tool_guardrail_is_refused_where_the_tool_is_declared():
    @input_guardrail
    def of_an_agent(ctx, agent, input):
        raise AssertionError

    with pytest.raises(UserError, match=r"'pay'.*tool_input_guardrails.*@tool_input_guardrail"):
        tool_with(tool_input_guardrails=[of_an_agent])
    with pytest.raises(UserError, match=r"'pay'.*tool_output_guardrails.*ToolInputGuardrail"):
        tool_with(tool_output_guardrails=[before("one", allow(), [])])


def test_an_output_guardrails_data_is_an_input_guardrails_data_and_more():
    data = ToolOutputGuardrailData(context=None, agent="a", output=1)  # type: ignore[arg-type]
    assert (data.agent, data.output) == ("a", 1)


async def test_results_come_back_from_the_journal_with_their_guardrails():
    seen = before("seen", allow({"score": 1}), [])
    hides = after("hides", reject("hidden", object), [])
    tool = tool_with(tool_input_guardrails=[seen], tool_output_guardrails=[hides])
    ctx = context(tool)
    results = [
        *(await judge_input(tool, ctx, None)).results,
        *(await judge_output(tool, ctx, None, "paid")).results,
        ToolInputGuardrailResult(seen, trip("enough")),
    ]
    records = json.loads(json.dumps(as_json(results, tool, "call_1")))
    assert records[0] == {
        "guardrail": "seen",
        "kind": "tool_input",
        "tool": "pay",
        "call_id": "call_1",
        "behavior": "allow",
        "message": None,
        "info": {"score": 1},
    }
    back = from_json(records, [tool])
    assert [type(one) for one in back] == [type(one) for one in results]
    assert [one.guardrail for one in back] == [seen, hides, seen]
    assert [one.output.behavior for one in back] == [one.output.behavior for one in results]
    assert back[2].output.output_info == "enough"


async def test_a_guardrail_that_is_gone_keeps_its_name_and_cannot_be_asked():
    hides = after("hides", allow(), [])
    tool = tool_with(tool_output_guardrails=[hides])
    records = as_json([ToolOutputGuardrailResult(hides, reject("hidden"))], tool, "call_1")
    (back,) = from_json(records, [tool_with()])
    assert back.guardrail.get_name() == "hides"
    assert back.output == reject("hidden")
    with pytest.raises(UserError, match="only known from a stored run"):
        await back.guardrail.run(None)  # type: ignore[arg-type]
    assert from_json(records, [])[0].guardrail.get_name() == "hides"
