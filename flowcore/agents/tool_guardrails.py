"""Tool guardrails: functions that judge one call of a tool, before it's made or after.

They're asked one after the other. ``judge_input`` and ``judge_output`` raise nothing for a verdict: what one means for
the run is the loop's to decide.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeAlias, TypedDict, overload

from flowcore.agents.context import TContext, ToolContext
from flowcore.agents.guardrails import info_as_json, name_of
from flowcore.errors import AgentsException, UserError


class AllowBehavior(TypedDict):
    """The call goes on."""

    type: Literal["allow"]


class RejectContentBehavior(TypedDict):
    """The model reads ``message`` instead; the run goes on."""

    type: Literal["reject_content"]
    message: str


class RaiseExceptionBehavior(TypedDict):
    """The run ends with a tripwire error."""

    type: Literal["raise_exception"]


ToolGuardrailBehavior: TypeAlias = AllowBehavior | RejectContentBehavior | RaiseExceptionBehavior
"""What a verdict does."""


@dataclass
class ToolGuardrailFunctionOutput:
    """A verdict. ``output_info``: whatever the guardrail wants to tell. ``behavior``: what becomes of the call."""

    output_info: Any
    behavior: ToolGuardrailBehavior = field(default_factory=lambda: AllowBehavior(type="allow"))

    @classmethod
    def allow(cls, output_info: Any = None) -> ToolGuardrailFunctionOutput:
        """The call goes on."""
        return cls(output_info, AllowBehavior(type="allow"))

    @classmethod
    def reject_content(cls, message: str, output_info: Any = None) -> ToolGuardrailFunctionOutput:
        """The model reads ``message`` in place of an output, and the run goes on. Before the call: it isn't made."""
        return cls(output_info, RejectContentBehavior(type="reject_content", message=message))

    @classmethod
    def raise_exception(cls, output_info: Any = None) -> ToolGuardrailFunctionOutput:
        """The run ends: ``ToolInputGuardrailTripwireTriggered`` or ``ToolOutputGuardrailTripwireTriggered``."""
        return cls(output_info, RaiseExceptionBehavior(type="raise_exception"))


@dataclass
class ToolInputGuardrailData:
    """What a tool input guardrail is given: the call's ``context`` (its name, arguments, id) and the agent."""

    context: ToolContext[Any]
    agent: Any


@dataclass
class ToolOutputGuardrailData(ToolInputGuardrailData):
    """What a tool output guardrail is given: the same, and what the tool gave."""

    output: Any


_InputFunction: TypeAlias = Callable[
    [ToolInputGuardrailData], ToolGuardrailFunctionOutput | Awaitable[ToolGuardrailFunctionOutput]
]
_OutputFunction: TypeAlias = Callable[
    [ToolOutputGuardrailData], ToolGuardrailFunctionOutput | Awaitable[ToolGuardrailFunctionOutput]
]


@dataclass(eq=False)
class ToolInputGuardrail(Generic[TContext]):
    """Judges a call before it's made. ``guardrail_function(data)``, sync or async, gives the verdict."""

    guardrail_function: _InputFunction
    name: str | None = None

    def __post_init__(self) -> None:
        _check(self.guardrail_function)

    def get_name(self) -> str:
        """Its name; the function's unless one was given."""
        return self.name or name_of(self.guardrail_function)

    async def run(self, data: ToolInputGuardrailData) -> ToolGuardrailFunctionOutput:
        """Ask it."""
        return await _ask(self.get_name(), self.guardrail_function(data))


@dataclass(eq=False)
class ToolOutputGuardrail(Generic[TContext]):
    """Judges what a call gave. ``guardrail_function(data)``, sync or async, gives the verdict."""

    guardrail_function: _OutputFunction
    name: str | None = None

    def __post_init__(self) -> None:
        _check(self.guardrail_function)

    def get_name(self) -> str:
        """Its name; the function's unless one was given."""
        return self.name or name_of(self.guardrail_function)

    async def run(self, data: ToolOutputGuardrailData) -> ToolGuardrailFunctionOutput:
        """Ask it."""
        return await _ask(self.get_name(), self.guardrail_function(data))


def _check(function: Any) -> None:
    if not callable(function):
        raise UserError(f"Guardrail function must be callable, got {function!r}")


_BEHAVIORS = ("allow", "reject_content", "raise_exception")


async def _ask(name: str, answer: Any) -> ToolGuardrailFunctionOutput:
    verdict = await answer if inspect.isawaitable(answer) else answer
    if not isinstance(verdict, ToolGuardrailFunctionOutput):
        raise UserError(
            f"tool guardrail '{name}' returned a {type(verdict).__name__}; return ToolGuardrailFunctionOutput.allow(),"
            " .reject_content(message) or .raise_exception()"
        )
    kind = verdict.behavior.get("type")
    if kind not in _BEHAVIORS:
        raise UserError(f"tool guardrail '{name}' gave the behavior {kind!r}; it's one of {', '.join(_BEHAVIORS)}")
    if kind == "reject_content" and not isinstance(verdict.behavior.get("message"), str):
        raise UserError(f"tool guardrail '{name}' rejects without a message that the model could read: give it a text")
    return verdict


@dataclass
class ToolInputGuardrailResult:
    """A tool input guardrail and its verdict."""

    guardrail: ToolInputGuardrail[Any]
    output: ToolGuardrailFunctionOutput


@dataclass
class ToolOutputGuardrailResult:
    """A tool output guardrail and its verdict."""

    guardrail: ToolOutputGuardrail[Any]
    output: ToolGuardrailFunctionOutput


ToolGuardrailResult: TypeAlias = ToolInputGuardrailResult | ToolOutputGuardrailResult
"""A tool guardrail of either kind, and its verdict."""


# --- judging a call ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Verdicts:
    """What a call's guardrails found: the results of those that were asked, in order.

    ``message``: what the model is told instead, where one rejected. ``tripped``: the result of one that wants the run
    to end.
    """

    results: list[Any] = field(default_factory=list)
    message: str | None = None
    tripped: Any = None


async def judge_input(tool: Any, ctx: ToolContext[Any], agent: Any) -> Verdicts:
    """Ask the tool's input guardrails, one after the other; the first that doesn't allow the call ends the asking.

    Raises flowcore's own errors as they are, and any other of a guardrail as ``UserError``.
    """
    judges: Sequence[ToolInputGuardrail[Any]] = tool.tool_input_guardrails or ()
    if not judges:
        return Verdicts()
    data = ToolInputGuardrailData(ctx, agent)
    return await _judge(tool, [(one, one.run, ToolInputGuardrailResult) for one in judges], data)


async def judge_output(tool: Any, ctx: ToolContext[Any], agent: Any, output: Any) -> Verdicts:
    """Ask the tool's output guardrails about ``output``; the first that doesn't allow it ends the asking.

    Raises as ``judge_input`` does.
    """
    judges: Sequence[ToolOutputGuardrail[Any]] = tool.tool_output_guardrails or ()
    if not judges:
        return Verdicts()
    data = ToolOutputGuardrailData(ctx, agent, output)
    return await _judge(tool, [(one, one.run, ToolOutputGuardrailResult) for one in judges], data)


async def _judge(tool: Any, judges: Sequence[tuple[Any, Callable[[Any], Awaitable[Any]], Any]], data: Any) -> Verdicts:
    found = Verdicts()
    for judge, ask, result in judges:
        try:
            verdict = await ask(data)
        except AgentsException:
            raise
        except Exception as error:
            raise UserError(f"Error running tool {tool.name}: {error}") from error
        found.results.append(result(judge, verdict))
        if verdict.behavior["type"] == "raise_exception":
            found.tripped = found.results[-1]
        elif verdict.behavior["type"] == "reject_content":
            found.message = verdict.behavior["message"]
        else:
            continue
        break
    return found


# --- for the journal --------------------------------------------------------------------------------------------------


def as_json(results: Iterable[ToolGuardrailResult], tool: Any, call_id: str) -> list[dict[str, Any]]:
    """Results as data: ``{guardrail, kind, tool, call_id, behavior, message, info}`` each."""
    return [
        {
            "guardrail": one.guardrail.get_name(),
            "kind": "tool_input" if isinstance(one, ToolInputGuardrailResult) else "tool_output",
            "tool": getattr(tool, "qualified_name", None) or tool.name,
            "call_id": call_id,
            "behavior": one.output.behavior["type"],
            "message": one.output.behavior.get("message"),
            "info": info_as_json(one.output.output_info),
        }
        for one in results
    ]


def from_json(records: Iterable[Mapping[str, Any]], tools: Iterable[Any]) -> list[ToolGuardrailResult]:
    """The results that ``as_json`` told of; guardrails are found by name on ``tools``.

    A guardrail that the tool no longer has is stood for by one of its name that can't be asked.
    """
    by_name = {getattr(tool, "qualified_name", None) or tool.name: tool for tool in tools}
    return [_result(record, by_name.get(record["tool"])) for record in records]


def _result(record: Mapping[str, Any], tool: Any) -> ToolGuardrailResult:
    name, of_input = record["guardrail"], record["kind"] == "tool_input"
    declared = (tool.tool_input_guardrails if of_input else tool.tool_output_guardrails) if tool is not None else None
    judge = next((one for one in declared or () if one.get_name() == name), None)
    output = ToolGuardrailFunctionOutput(record["info"], _behavior(record))
    if of_input:
        return ToolInputGuardrailResult(judge or ToolInputGuardrail(_gone, name), output)
    return ToolOutputGuardrailResult(judge or ToolOutputGuardrail(_gone, name), output)


def _behavior(record: Mapping[str, Any]) -> ToolGuardrailBehavior:
    if record["behavior"] == "reject_content":
        return RejectContentBehavior(type="reject_content", message=record["message"])
    if record["behavior"] == "raise_exception":
        return RaiseExceptionBehavior(type="raise_exception")
    return AllowBehavior(type="allow")


def _gone(data: Any) -> ToolGuardrailFunctionOutput:
    raise UserError("this guardrail is only known from a stored run: its tool no longer has it")


# --- declaring --------------------------------------------------------------------------------------------------------


@overload
def tool_input_guardrail(func: _InputFunction, /) -> ToolInputGuardrail[Any]: ...
@overload
def tool_input_guardrail(*, name: str | None = None) -> Callable[[_InputFunction], ToolInputGuardrail[Any]]: ...
def tool_input_guardrail(
    func: _InputFunction | None = None, /, *, name: str | None = None
) -> ToolInputGuardrail[Any] | Callable[[_InputFunction], ToolInputGuardrail[Any]]:
    """Declare a tool input guardrail: ``@tool_input_guardrail`` or ``@tool_input_guardrail(name=...)``."""
    if func is not None:
        return ToolInputGuardrail(func, name or name_of(func))
    return lambda function: ToolInputGuardrail(function, name or name_of(function))


@overload
def tool_output_guardrail(func: _OutputFunction, /) -> ToolOutputGuardrail[Any]: ...
@overload
def tool_output_guardrail(*, name: str | None = None) -> Callable[[_OutputFunction], ToolOutputGuardrail[Any]]: ...
def tool_output_guardrail(
    func: _OutputFunction | None = None, /, *, name: str | None = None
) -> ToolOutputGuardrail[Any] | Callable[[_OutputFunction], ToolOutputGuardrail[Any]]:
    """Declare a tool output guardrail: ``@tool_output_guardrail`` or ``@tool_output_guardrail(name=...)``."""
    if func is not None:
        return ToolOutputGuardrail(func, name or name_of(func))
    return lambda function: ToolOutputGuardrail(function, name or name_of(function))
