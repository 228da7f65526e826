"""What guardrails said, as users know it: results and tripwire exceptions, made of a journal's verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowcore.agents.guardrails import (
    GuardrailFunctionOutput,
    InputGuardrailResult,
    OutputGuardrailResult,
    info_as_json,
)
from flowcore.agents.loop.state import AgentState, Crew, typed_output
from flowcore.agents.options import Options
from flowcore.agents.tool_guardrails import from_json
from flowcore.errors import (
    AgentsException,
    InputGuardrailTripwireTriggered,
    OutputGuardrailTripwireTriggered,
    ToolInputGuardrailTripwireTriggered,
    ToolOutputGuardrailTripwireTriggered,
)

OF_AGENTS = ("input", "output")
"""The kinds of verdicts that agents' guardrails give; a tool's are "tool_input" and "tool_output"."""


def results_of(
    verdicts: Sequence[dict[str, Any]], crew: Crew, options: Options, state: AgentState | None = None
) -> list[Any]:
    """Results of agents' guardrails, those of this process as they were, others rebuilt; of output guardrails with the
    output of ``state``."""
    here = [one for one in options.results if isinstance(one, (InputGuardrailResult, OutputGuardrailResult))]
    return [_result(one, crew, options, here, state) for one in verdicts if one["kind"] in OF_AGENTS]


def tripwire_of(
    verdict: dict[str, Any], crew: Crew, options: Options, state: AgentState | None = None
) -> AgentsException:
    """The exception of a run that the guardrail of this verdict ended."""
    if verdict["kind"] not in OF_AGENTS:
        tools = [tool for agent in crew.agents.values() for tool in agent.tools]
        found = from_json([verdict], tools)[0]
        of_input = verdict["kind"] == "tool_input"
        raised = ToolInputGuardrailTripwireTriggered if of_input else ToolOutputGuardrailTripwireTriggered
        return raised(found.guardrail, found.output)
    here = [one for one in options.results if getattr(one.output, "tripwire_triggered", False)]
    result = _result(verdict, crew, options, here, state)
    cls = InputGuardrailTripwireTriggered if verdict["kind"] == "input" else OutputGuardrailTripwireTriggered
    return cls(result)


def _is(result: Any, verdict: dict[str, Any]) -> bool:
    """Whether a result of this process may be the recorded one: the same guardrail may have said more things than one,
    here and in other processes."""
    said = result.output
    same_guardrail = result.guardrail.get_name() == verdict["guardrail"]
    same_trip = bool(said.tripwire_triggered) == verdict["tripped"]
    return bool(same_guardrail and same_trip and info_as_json(said.output_info) == verdict["info"])


def _result(
    verdict: dict[str, Any], crew: Crew, options: Options, here: list[Any], state: AgentState | None
) -> InputGuardrailResult | OutputGuardrailResult:
    """One result; of those that are ``here`` the first that it can be, which is then taken out."""
    name, of_input = verdict["guardrail"], verdict["kind"] == "input"
    for result in here:
        if isinstance(result, InputGuardrailResult) == of_input and _is(result, verdict):
            here.remove(result)
            return result  # type: ignore[no-any-return]
    agent = crew.agents.get(verdict["agent"])
    config = options.config
    own = [] if agent is None else agent.input_guardrails if of_input else agent.output_guardrails
    more = config.input_guardrails if of_input else config.output_guardrails
    guardrail = next((one for one in [*own, *(more or ())] if one.get_name() == name), None)
    output = GuardrailFunctionOutput(verdict["info"], verdict["tripped"])
    if of_input:
        return InputGuardrailResult(guardrail, output)
    judged = None if state is None or agent is None else typed_output(state, agent)
    return OutputGuardrailResult(guardrail, judged, agent, output)
