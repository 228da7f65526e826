"""The decorators, in one place: ``from flowcore.decorators import tool``."""

from flowcore.agents.guardrails import input_guardrail, output_guardrail
from flowcore.agents.tool_guardrails import tool_input_guardrail, tool_output_guardrail
from flowcore.agents.tools import function_tool

tool = function_tool
"""Another name of ``function_tool``."""

__all__ = [
    "function_tool",
    "input_guardrail",
    "output_guardrail",
    "tool",
    "tool_input_guardrail",
    "tool_output_guardrail",
]
