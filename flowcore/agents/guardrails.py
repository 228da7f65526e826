"""Guardrails: functions that look at an agent's input or output and may trip."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, overload

from pydantic_core import to_jsonable_python

from flowcore.agents.context import RunContextWrapper, TContext
from flowcore.errors import UserError

GuardrailFunction: TypeAlias = Callable[[RunContextWrapper[Any], Any, Any], Any]


@dataclass(slots=True)
class GuardrailFunctionOutput:
    """What a guardrail found. ``output_info``: what it wants to tell. ``tripwire_triggered``: the run mustn't go on."""

    output_info: Any
    tripwire_triggered: bool


@dataclass(slots=True)
class InputGuardrailResult:
    """An input guardrail and what it found."""

    guardrail: Any
    output: GuardrailFunctionOutput


@dataclass(slots=True)
class OutputGuardrailResult:
    """An output guardrail, what it looked at, and what it found."""

    guardrail: Any
    agent_output: Any
    agent: Any
    output: GuardrailFunctionOutput


@dataclass(eq=False)
class InputGuardrail(Generic[TContext]):
    """Looks at the input of a run's first agent: ``guardrail_function(ctx, agent, input)``.

    ``run_in_parallel``: beside the first model call; no transition is made before its verdict, and a trip cancels the
    call. False: before it.
    """

    guardrail_function: GuardrailFunction
    name: str | None = None
    run_in_parallel: bool = True

    def __post_init__(self) -> None:
        _check(self.guardrail_function)

    def get_name(self) -> str:
        """Its name; the function's unless one was given."""
        return self.name or name_of(self.guardrail_function)

    async def run(self, agent: Any, input: Any, context: RunContextWrapper[Any]) -> InputGuardrailResult:
        """Ask it."""
        return InputGuardrailResult(self, await _ask(self.guardrail_function, context, agent, input, self.get_name()))


@dataclass(eq=False)
class OutputGuardrail(Generic[TContext]):
    """Looks at the final output of a run's last agent: ``guardrail_function(ctx, agent, output)``."""

    guardrail_function: GuardrailFunction
    name: str | None = None

    def __post_init__(self) -> None:
        _check(self.guardrail_function)

    def get_name(self) -> str:
        """Its name; the function's unless one was given."""
        return self.name or name_of(self.guardrail_function)

    async def run(self, context: RunContextWrapper[Any], agent: Any, agent_output: Any) -> OutputGuardrailResult:
        """Ask it."""
        found = await _ask(self.guardrail_function, context, agent, agent_output, self.get_name())
        return OutputGuardrailResult(self, agent_output, agent, found)


def name_of(function: Any) -> str:
    """What a guardrail is called where it isn't told: as its function."""
    return str(getattr(function, "__name__", None) or type(function).__name__)


def _check(function: Any) -> None:
    if not callable(function):
        raise UserError(f"Guardrail function must be callable, got {function!r}")


async def _ask(
    function: GuardrailFunction, context: RunContextWrapper[Any], agent: Any, subject: Any, name: str
) -> GuardrailFunctionOutput:
    found = function(context, agent, subject)
    if inspect.isawaitable(found):
        found = await found
    if not isinstance(found, GuardrailFunctionOutput):
        raise UserError(f"guardrail '{name}' returned a {type(found).__name__}; return a GuardrailFunctionOutput")
    return found


def info_as_json(info: Any) -> Any:
    """A guardrail's info in a form that a journal can hold; what isn't data is told by its repr."""
    return to_jsonable_python(info, fallback=repr, inf_nan_mode="strings")


@overload
def input_guardrail(func: GuardrailFunction, /) -> InputGuardrail[Any]: ...
@overload
def input_guardrail(
    *, name: str | None = None, run_in_parallel: bool = True
) -> Callable[[GuardrailFunction], InputGuardrail[Any]]: ...
def input_guardrail(
    func: GuardrailFunction | None = None, /, *, name: str | None = None, run_in_parallel: bool = True
) -> InputGuardrail[Any] | Callable[[GuardrailFunction], InputGuardrail[Any]]:
    """Declare an input guardrail: ``@input_guardrail`` or ``@input_guardrail(name=..., run_in_parallel=False)``."""
    if func is not None:
        return InputGuardrail(func, name or name_of(func), run_in_parallel)
    return lambda function: InputGuardrail(function, name or name_of(function), run_in_parallel)


@overload
def output_guardrail(func: GuardrailFunction, /) -> OutputGuardrail[Any]: ...
@overload
def output_guardrail(*, name: str | None = None) -> Callable[[GuardrailFunction], OutputGuardrail[Any]]: ...
def output_guardrail(
    func: GuardrailFunction | None = None, /, *, name: str | None = None
) -> OutputGuardrail[Any] | Callable[[GuardrailFunction], OutputGuardrail[Any]]:
    """Declare an output guardrail: ``@output_guardrail`` or ``@output_guardrail(name=...)``."""
    if func is not None:
        return OutputGuardrail(func, name or name_of(func))
    return lambda function: OutputGuardrail(function, name or name_of(function))
