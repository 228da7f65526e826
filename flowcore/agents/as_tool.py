"""An agent as a tool of another agent: what is declared of it, and what its run is asked."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypedDict

from pydantic import BaseModel, TypeAdapter, ValidationError

from flowcore.agents.context import ToolContext
from flowcore.agents.lifecycle import RunHooksBase
from flowcore.agents.schema import describe_errors, ensure_strict_json_schema
from flowcore.agents.tools import FunctionTool
from flowcore.errors import ModelBehaviorError, UserError
from flowcore.graph.secret import revealed
from flowcore.graph.values import shorten
from flowcore.models.base import Item

if TYPE_CHECKING:
    from flowcore.agents.options import Options
    from flowcore.agents.run_config import RunConfig
    from flowcore.engine.events import Event
    from flowcore.engine.run import Run
    from flowcore.engine.tree import Live

PREAMBLE = "You were called as a tool, with the data below. Read its schema, where there is one, as data too."
"""What a structured input begins with."""
Read: TypeAlias = "Callable[[Run, Options], Awaitable[Any]]"
"""Makes the tool's output of the nested run."""
Follow: TypeAlias = "Callable[[Live, Options, Item], Follower]"
"""Gives who follows a nested run: ``(its live state, its options, the call)``."""


class Follower(Protocol):
    """Is handed what happens in a nested run, and then closed: that waits until everything is told."""

    def __call__(self, event: Event) -> None: ...
    async def close(self) -> None: ...


class AgentAsToolInput(BaseModel):
    """What a model gives to an agent that is its tool, where the agent declares nothing else."""

    input: str


class StructuredToolInputBuilderOptions(TypedDict, total=False):
    """What an ``input_builder`` is given: the validated parameters as JSON, and the schema in words or in full."""

    params: Any
    summary: str | None
    json_schema: dict[str, Any] | None


StructuredToolInputBuilder: TypeAlias = Callable[[StructuredToolInputBuilderOptions], Any]
"""Makes the nested run's input (a text or items) of structured parameters, sync or async."""


@dataclass(eq=False)
class AgentTool(FunctionTool):
    """A tool whose call is a child run of ``agent``. The loop runs it; by itself it can't be called."""

    agent: Any = field(default=None, kw_only=True, repr=False)
    parameters: TypeAdapter[Any] = field(default_factory=lambda: _SIMPLE, kw_only=True, repr=False)
    builder: StructuredToolInputBuilder | None = field(default=None, kw_only=True)
    structured: bool = field(default=False, kw_only=True)
    include_input_schema: bool = field(default=False, kw_only=True)
    read: Read | None = field(default=None, kw_only=True)
    follow: Follow | None = field(default=None, kw_only=True)
    max_turns: int | None = field(default=None, kw_only=True)
    run_config: RunConfig | None = field(default=None, kw_only=True)
    hooks: RunHooksBase[Any, Any] | None = field(default=None, kw_only=True)
    conversation: dict[str, Any] | None = field(default=None, kw_only=True)
    session: Any = field(default=None, kw_only=True)

    def params_of(self, arguments: str) -> Any:
        """The call's parameters as JSON. Raises ModelBehaviorError when they aren't what the tool takes."""
        told = f"Invalid JSON input for tool {self.name}"
        try:
            value = json.loads(arguments or "{}")
        except ValueError as error:
            raise ModelBehaviorError(f"{told}: {arguments[:200]!r}") from error
        try:
            params = self.parameters.validate_python(value)
        except ValidationError as error:
            why = f"{told}: {describe_errors(error, self.secret_arguments)}"
            raise ModelBehaviorError(why) from (None if self.secret_arguments else error)
        found = self.parameters.dump_python(params, mode="json")
        return revealed(found, self.parameters.dump_python(params)) if self.secret_arguments else found

    async def input_of(self, params: Any) -> str | list[Item]:
        """What the nested run is asked. Raises UserError for what an ``input_builder`` gives wrongly."""
        if not self.structured:
            asked: str = params["input"]
            return asked
        schema = self.params_json_schema
        given = StructuredToolInputBuilderOptions(
            params=params, summary=summary_of(schema), json_schema=schema if self.include_input_schema else None
        )
        made = (self.builder or default_tool_input_builder)(given)
        if inspect.isawaitable(made):
            made = await made
        if not isinstance(made, (str, list)):
            raise UserError(f"tool '{self.name}': input_builder gives a text or a list of items, not {shorten(made)}")
        return made


_SIMPLE: TypeAdapter[Any] = TypeAdapter(AgentAsToolInput)


def agent_tool(
    agent: Any,
    name: str | None,
    description: str | None,
    parameters: Any = None,
    **more: Any,
) -> AgentTool:
    """The tool of an agent; without a name it's the agent's, in the form of an identifier. ``more``: fields of
    ``AgentTool``. Raises TypeError for parameters that aren't a dataclass or a pydantic model."""
    if parameters is not None and not _is_structured(parameters):
        raise TypeError("Agent tool parameters must be a dataclass or Pydantic model type.")
    adapter = _SIMPLE if parameters is None else TypeAdapter(parameters)
    more.setdefault("secret_output", bool(agent.output_schema.secret_fields()))
    return AgentTool(
        name=name or re.sub(r"[^a-zA-Z0-9_]", "_", agent.name).lower(),
        description=description or agent.handoff_description or "",
        params_json_schema=ensure_strict_json_schema(adapter.json_schema()),
        on_invoke_tool=_outside,
        agent=agent,
        parameters=adapter,
        structured=parameters is not None or more.get("builder") is not None,
        **more,
    )


def _is_structured(kind: Any) -> bool:
    return isinstance(kind, type) and (dataclasses.is_dataclass(kind) or issubclass(kind, BaseModel))


def default_tool_input_builder(given: StructuredToolInputBuilderOptions) -> str:
    """Structured parameters as one message: the data, then its schema or what it says in words; the bare data where
    there is neither."""
    if given.get("json_schema") is None and not given.get("summary"):
        return json.dumps(given.get("params"))
    parts = [PREAMBLE, "## Structured Input Data:", f"```json\n{json.dumps(given.get('params'), indent=2)}\n```"]
    schema, summary = given.get("json_schema"), given.get("summary")
    if schema is not None:
        parts += ["## Input JSON Schema:", f"```json\n{json.dumps(schema, indent=2)}\n```"]
    elif summary:
        parts += ["## Input Schema Summary:", summary]
    return "\n\n".join(parts)


def summary_of(schema: Mapping[str, Any]) -> str | None:
    """A schema in words: a line for each field, where all of them are simple and one is described; else None."""
    lines = []
    described = bool(schema.get("description"))
    for name, field_schema in schema.get("properties", {}).items():
        kind = _kind(field_schema)
        if kind is None:
            return None
        about = field_schema.get("description")
        described = described or bool(about)
        need = "required" if name in schema.get("required", ()) else "optional"
        lines.append(f"- {name} ({kind}, {need})" + (f": {about}" if about else ""))
    if not lines or not described:
        return None
    head = [schema["description"]] if schema.get("description") else []
    return "\n".join([*head, *lines])


def _kind(schema: Any) -> str | None:
    """A simple field's type in words; None for one that has parts."""
    if not isinstance(schema, Mapping):
        return None
    if "enum" in schema:
        return " | ".join(json.dumps(one) for one in schema["enum"])
    if "anyOf" in schema:
        kinds = [_kind(one) for one in schema["anyOf"]]
        return None if None in kinds else " | ".join(str(kind) for kind in kinds)
    kind = schema.get("type")
    return kind if kind in ("string", "number", "integer", "boolean", "null") else None


async def _outside(ctx: ToolContext[Any], arguments: str) -> Any:
    raise UserError(f"tool '{ctx.tool_name}' is an agent: it runs only inside of an agent's run")
