# model> A secret.
# prints> withheld
# there> ends with A secret.
# there> withheld
import asyncio

from agents import Agent, GuardrailFunctionOutput, OutputGuardrailTripwireTriggered, RunHooks, Runner, output_guardrail


class Tell(RunHooks):
    async def on_agent_end(self, context, agent, output):
        print("ends with", output)


@output_guardrail
async def no_secrets(ctx, agent, output):
    return GuardrailFunctionOutput(output_info=None, tripwire_triggered="secret" in output)


async def main():
    try:
        await Runner.run(Agent(name="A", output_guardrails=[no_secrets]), "Hi", hooks=Tell())
    except OutputGuardrailTripwireTriggered:
        print("withheld")


asyncio.run(main())
