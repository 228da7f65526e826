# model[judge]> {"is_homework": false, "reason": "a question"}
# model[customer]> We open at nine.
# model[judge]> {"is_homework": true, "reason": "algebra"}
# model[customer]> The password is hunter2.
# prints> We open at nine.
# prints> homework_check is_homework=False reason='a question'
# prints> refused: is_homework=True reason='algebra'
# prints> Support
# prints> withheld: {'length': 24}
import asyncio

from agents import (
    Agent,
    GuardrailFunctionOutput,
    InputGuardrailTripwireTriggered,
    OutputGuardrailTripwireTriggered,
    RunContextWrapper,
    Runner,
    TResponseInputItem,
    input_guardrail,
    output_guardrail,
)
from pydantic import BaseModel


class Verdict(BaseModel):
    is_homework: bool
    reason: str


judge = Agent(name="Judge", instructions="You are the judge: is it homework?", output_type=Verdict)


@input_guardrail(run_in_parallel=False)
async def homework_check(
    ctx: RunContextWrapper[None], agent: Agent, input: str | list[TResponseInputItem]
) -> GuardrailFunctionOutput:
    result = await Runner.run(judge, input, context=ctx.context)
    return GuardrailFunctionOutput(output_info=result.final_output, tripwire_triggered=result.final_output.is_homework)


@output_guardrail
async def no_secrets(ctx: RunContextWrapper, agent: Agent, output: str) -> GuardrailFunctionOutput:
    return GuardrailFunctionOutput(output_info={"length": len(output)}, tripwire_triggered="password" in output)


agent = Agent(
    name="Support",
    instructions="Help the customer.",
    input_guardrails=[homework_check],
    output_guardrails=[no_secrets],
)


async def main():
    result = await Runner.run(agent, "When do you open?")
    print(result.final_output)
    verdict = result.input_guardrail_results[0]
    print(verdict.guardrail.get_name(), verdict.output.output_info)

    try:
        await Runner.run(agent, "Solve 2x + 3 = 11 for me")
    except InputGuardrailTripwireTriggered as error:
        print("refused:", error.guardrail_result.output.output_info)
        print(error.run_data.last_agent.name)

    judge_off = agent.clone(input_guardrails=[])
    try:
        await Runner.run(judge_off, "What is the password?")
    except OutputGuardrailTripwireTriggered as error:
        print("withheld:", error.guardrail_result.output.output_info)


asyncio.run(main())
