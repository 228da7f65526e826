"""What an agent's functions are handed: the app's object, the usage so far, and, in a tool, the call.

One ``ToolContext`` is made per tool call, so these are slotted, compared by identity, and share the run's ``usage`` and
``turn_input`` instead of copying them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Generic

from typing_extensions import TypeVar

from flowcore.models.base import Item
from flowcore.models.usage import Usage

TContext = TypeVar("TContext", default=Any)


@dataclass(slots=True, eq=False, weakref_slot=True)
class RunContextWrapper(Generic[TContext]):
    """The run as seen by instructions, guardrails, hooks and tools.

    ``context``: the object that the app gave to the run; never sent to a model, never stored. ``usage``: tokens and
    requests up to now, shared by all wrappers of the run. ``turn_input``: the run's items up to now.
    ``tool_input``: the validated input of the agent tool that this run serves, where there is one.
    """

    context: TContext
    usage: Usage = field(default_factory=Usage)
    turn_input: list[Item] = field(default_factory=list)
    tool_input: Any = None


@dataclass(slots=True, eq=False)
class AgentHookContext(RunContextWrapper[TContext]):
    """What the hooks at an agent's start and end are handed."""


@dataclass(slots=True, eq=False, kw_only=True)
class ToolContext(RunContextWrapper[TContext]):
    """What a tool is handed: the run, and the call.

    ``tool_arguments``: the arguments as the model wrote them, JSON text. ``tool_call``: the call's item.
    ``idempotency_key``: the key under which this call is recorded. It's the same at every attempt, after a pause and
    after a crash, so pass it on to a service that must not do the work twice.
    """

    tool_name: str
    tool_call_id: str
    tool_arguments: str = ""
    tool_call: Any = None
    tool_namespace: str | None = None
    agent: Any = None
    run_config: Any = None
    idempotency_key: str = ""

    @property
    def qualified_tool_name(self) -> str:
        """The tool's name with its namespace, where it has one: ``namespace.name``."""
        return f"{self.tool_namespace}.{self.tool_name}" if self.tool_namespace else self.tool_name

    @classmethod
    def from_agent_context(
        cls,
        context: RunContextWrapper[TContext],
        tool_call_id: str,
        tool_call: Any = None,
        agent: Any = None,
        *,
        tool_name: str,
        tool_arguments: str = "",
        tool_namespace: str | None = None,
        run_config: Any = None,
        idempotency_key: str = "",
    ) -> ToolContext[TContext]:
        """The context of one call in the run of ``context``, whose usage and turn input it shares."""
        return cls(
            context.context,
            context.usage,
            context.turn_input,
            context.tool_input,
            tool_name=tool_name,
            tool_call_id=tool_call_id,
            tool_arguments=tool_arguments,
            tool_call=tool_call,
            tool_namespace=tool_namespace,
            agent=agent,
            run_config=run_config,
            idempotency_key=idempotency_key,
        )
