# model> @send_mail {"to": "ada@example.com", "body": "my key is sk-123"}
# model+ @send_mail {"to": "bo@example.com", "body": "hello"}
# model+ @read_mail {}
# model> One mail went out.
# model> @send_mail {"to": "x", "body": "DROP"}
# prints> sent to bo@example.com
# prints> ["Don't send keys.", 'sent', 'Withheld: a number.']
# prints> One mail went out.
# prints> 3 1
# prints> stopped by no_attack
import asyncio
import json

from agents import (
    Agent,
    Runner,
    ToolGuardrailFunctionOutput,
    ToolInputGuardrailData,
    ToolInputGuardrailTripwireTriggered,
    ToolOutputGuardrailData,
    function_tool,
    tool_input_guardrail,
    tool_output_guardrail,
)


@tool_input_guardrail
def no_keys(data: ToolInputGuardrailData) -> ToolGuardrailFunctionOutput:
    arguments = json.loads(data.context.tool_arguments or "{}")
    if "sk-" in arguments.get("body", ""):
        return ToolGuardrailFunctionOutput.reject_content("Don't send keys.", output_info={"found": "key"})
    return ToolGuardrailFunctionOutput.allow()


@tool_input_guardrail
def no_attack(data: ToolInputGuardrailData) -> ToolGuardrailFunctionOutput:
    if "DROP" in data.context.tool_arguments:
        return ToolGuardrailFunctionOutput.raise_exception(output_info="sql")
    return ToolGuardrailFunctionOutput.allow()


@tool_output_guardrail
def no_numbers(data: ToolOutputGuardrailData) -> ToolGuardrailFunctionOutput:
    if any(letter.isdigit() for letter in str(data.output)):
        return ToolGuardrailFunctionOutput.reject_content("Withheld: a number.")
    return ToolGuardrailFunctionOutput.allow()


@function_tool(tool_input_guardrails=[no_keys, no_attack])
def send_mail(to: str, body: str) -> str:
    """Send a mail."""
    print(f"sent to {to}")
    return "sent"


@function_tool(tool_output_guardrails=[no_numbers])
def read_mail() -> str:
    """Read the last mail."""
    return "call 555-1234"


async def main():
    agent = Agent(name="Mail", tools=[send_mail, read_mail])
    result = await Runner.run(agent, "Send both, then read.")
    print([item.output for item in result.new_items if item.type == "tool_call_output_item"])
    print(result.final_output)
    print(len(result.tool_input_guardrail_results), len(result.tool_output_guardrail_results))
    try:
        await Runner.run(agent, "attack")
    except ToolInputGuardrailTripwireTriggered as error:
        print("stopped by", error.guardrail.get_name())


asyncio.run(main())
