"""What an agent's functions are handed: the app's object, the usage so far, and, in a tool, the call.

One ``ToolContext`` is made per tool call, so these are slotted, compared by identity, and share the run's ``usage`` and
``turn_input`` instead of copying them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic

from typing_extensions import TypeVar

from flowcore.machine.facts import Fact, Request, Signal
from flowcore.machine.snapshot import NOTHING
from flowcore.models.base import Item
from flowcore.models.openai_types import typed_items
from flowcore.models.usage import Usage

TContext = TypeVar("TContext", default=Any)


APPROVAL = "tool_approval"
"""The kind of a request that asks whether a tool may be called."""


@dataclass(slots=True, eq=False)
class Decision:
    """What was decided about a tool's call. ``always``: about all its calls. ``arguments``: the call's, where it's
    bound to them."""

    approved: bool
    always: bool = False
    message: str | None = None
    arguments: str | None = None

    def as_answer(self) -> dict[str, Any]:
        """The answer to the request that asks for it."""
        return {"approve": self.approved, "message": self.message, "always": self.always}

    @classmethod
    def of(cls, answer: Any) -> Decision:
        """A decision from an answer: a bool, or ``{"approve": bool, "message": text, "always": bool}``."""
        if not isinstance(answer, Mapping):
            return cls(answer is True)
        message = answer.get("message")
        approved, always = answer.get("approve") is True, answer.get("always") is True
        return cls(approved, always, None if message is None else str(message))


@dataclass(slots=True, eq=False)
class Approvals:
    """What was decided of a run's tool calls: by (tool, call id), and by tool where it holds for all of them.
    ``told``: what the run was told of calls that it asked about; it holds for these alone."""

    calls: Mapping[tuple[str, str], Decision] = field(default_factory=lambda: NOTHING)
    tools: Mapping[str, Decision] = field(default_factory=lambda: NOTHING)
    told: Mapping[tuple[str, str], Decision] = field(default_factory=lambda: NOTHING)

    def note(self, item: Any, decision: Decision) -> None:
        """Take in what one of the app's functions decided of a call."""
        tool = getattr(item, "qualified_name", None) or item.tool_name
        decision.arguments = getattr(item, "arguments", None)
        self.calls = {**self.calls, (tool, item.call_id): decision}
        if decision.always:
            self.tools = {**self.tools, kept_as(tool, getattr(item, "server_label", None)): decision}

    def given(self, tool: str, call_id: str, arguments: str, label: str | None = None) -> Decision | None:
        """What one of the app's functions decided of this very call, or of all of its tool's."""
        found = self.calls.get((tool, call_id))
        if found is not None and found.arguments in (None, arguments):
            return found
        return self.tools.get(kept_as(tool, label))

    def find(self, tool: str, call_id: str) -> Decision | None:
        """What was decided of a call: itself, or all of its tool's."""
        which = (tool, call_id)
        return self.calls.get(which) or self.told.get(which) or self.tools.get(tool)

    def tell(self, tool: str, call_id: str, decision: Decision, label: str | None = None) -> None:
        """Take in what the run was told of a call that it asked about."""
        self.told = {**self.told, (tool, call_id): decision}
        if decision.always:
            self.tools = {**self.tools, kept_as(tool, label): decision}

    def learn(self, facts: Iterable[Fact]) -> None:
        """Take in what a journal tells of calls that were asked about."""
        asked: dict[str, Any] = {}
        for fact in facts:
            if isinstance(fact, Request) and fact.kind == APPROVAL:
                asked[fact.key] = fact.data
            elif isinstance(fact, Signal) and fact.accepted and fact.key in asked:
                decision, call = Decision.of(fact.value), asked[fact.key]
                self.tell(call["tool"], call["call_id"], decision, call.get("server_label"))


def kept_as(tool: str, label: str | None) -> str:
    """Under what a decision about all calls of a tool is kept. ``label``: of the hosted server that it belongs to; two
    of them may have tools of one name."""
    return tool if label is None else f"mcp:{label}/{tool}"


@dataclass(slots=True, eq=False, weakref_slot=True)
class RunContextWrapper(Generic[TContext]):
    """The run as seen by instructions, guardrails, hooks and tools.

    ``context``: the object that the app gave to the run; never sent to a model, kept by no store. ``usage``: tokens and
    requests up to now, shared by all wrappers of the run. ``turn_input``: the run's items up to now.
    ``tool_input``: the validated input of the agent tool that this run serves, where there is one.
    """

    context: TContext = field(repr=False)
    usage: Usage = field(default_factory=Usage)
    turn_input: list[Item] = field(default_factory=list)
    tool_input: Any = None
    approvals: Approvals = field(default_factory=Approvals, repr=False)

    def approve_tool(self, approval_item: Any, always_approve: bool = False) -> None:
        """Approve a call that waits, or that comes; ``always_approve``: all calls of its tool in this run."""
        self.approvals.note(approval_item, Decision(True, always_approve))

    def reject_tool(
        self, approval_item: Any, always_reject: bool = False, rejection_message: str | None = None
    ) -> None:
        """Reject a call that waits, or that comes; ``always_reject``: all calls of its tool in this run.
        ``rejection_message``: what the model is told."""
        self.approvals.note(approval_item, Decision(False, always_reject, rejection_message))

    def is_tool_approved(self, tool_name: str, call_id: str) -> bool | None:
        """What was decided of a call; None: nothing yet."""
        found = self.approvals.find(tool_name, call_id)
        return None if found is None else found.approved

    def get_approval_status(self, tool_name: str, call_id: str, *, tool_namespace: str | None = None) -> bool | None:
        """``is_tool_approved``, for a tool in a namespace."""
        return self.is_tool_approved(f"{tool_namespace}.{tool_name}" if tool_namespace else tool_name, call_id)

    def get_rejection_message(self, tool_name: str, call_id: str, *, tool_namespace: str | None = None) -> str | None:
        """What was said with a rejection, if anything was."""
        name = f"{tool_namespace}.{tool_name}" if tool_namespace else tool_name
        found = self.approvals.find(name, call_id)
        return None if found is None or found.approved else found.message


@dataclass(slots=True, eq=False)
class AgentHookContext(RunContextWrapper[TContext]):
    """What the hooks at an agent's start and end are handed."""


class _Typed:
    """A field that holds an item: read, it's the openai package's object of it, made when it's first asked for."""

    def __init__(self, slot: Any) -> None:
        self.slot = slot

    def __get__(self, context: Any, owner: Any = None) -> Any:
        if context is None:
            return self.slot
        held = self.slot.__get__(context)
        if isinstance(held, dict):
            held = typed_items([held])[0]
            self.slot.__set__(context, held)
        return held

    def __set__(self, context: Any, value: Any) -> None:
        self.slot.__set__(context, value)


@dataclass(slots=True, eq=False, kw_only=True)
class ToolContext(RunContextWrapper[TContext]):
    """What a tool is handed: the run, and the call.

    ``tool_arguments``: the arguments as the model wrote them, JSON text. ``tool_call``: the call, as the openai
    package has it.
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
            context.approvals,
            tool_name=tool_name,
            tool_call_id=tool_call_id,
            tool_arguments=tool_arguments,
            tool_call=tool_call,
            tool_namespace=tool_namespace,
            agent=agent,
            run_config=run_config,
            idempotency_key=idempotency_key,
        )


ToolContext.tool_call = _Typed(ToolContext.tool_call)  # type: ignore[misc]  # the slot, behind it
