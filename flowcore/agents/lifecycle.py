"""Hooks: what an app wants called as a run goes on. ``RunHooks`` hear of every agent of a run, ``AgentHooks`` of one.

``fire`` is how the loop calls them; a hook that isn't overridden costs a look-up.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeAlias

from typing_extensions import TypeVar

from flowcore.agents.context import AgentHookContext, RunContextWrapper
from flowcore.models.base import Item, ModelResponse

if TYPE_CHECKING:
    from flowcore.agents.agent import AgentSpec

TContext = TypeVar("TContext", default=Any)
TAgent = TypeVar("TAgent", bound="AgentSpec[Any]", default="AgentSpec[Any]")


class RunHooksBase(Generic[TContext, TAgent]):
    """Called for whatever agent of the run is at work. Override what you want to hear of; what a hook raises ends the
    run."""

    async def on_llm_start(
        self,
        context: RunContextWrapper[TContext],
        agent: AgentSpec[TContext],
        system_prompt: str | None,
        input_items: list[Item],
    ) -> None:
        """The model is about to be called, with these items."""

    async def on_llm_end(
        self, context: RunContextWrapper[TContext], agent: AgentSpec[TContext], response: ModelResponse
    ) -> None:
        """The model replied; nothing of the reply is done yet."""

    async def on_agent_start(self, context: AgentHookContext[TContext], agent: TAgent) -> None:
        """An agent's first turn begins, or its first one after a handoff to it."""

    async def on_agent_end(self, context: AgentHookContext[TContext], agent: TAgent, output: Any) -> None:
        """An agent gave the run's output."""

    async def on_handoff(self, context: RunContextWrapper[TContext], from_agent: TAgent, to_agent: TAgent) -> None:
        """An agent gave the conversation to another one. Called by keyword."""

    async def on_tool_start(self, context: RunContextWrapper[TContext], agent: TAgent, tool: Any) -> None:
        """A tool is about to be called; of a function tool ``context`` is the call's ``ToolContext``."""

    async def on_tool_end(self, context: RunContextWrapper[TContext], agent: TAgent, tool: Any, result: Any) -> None:
        """A tool gave its result."""


class AgentHooksBase(Generic[TContext, TAgent]):
    """Called when the agent that has them is at work: ``Agent(hooks=…)``. Override what you want to hear of."""

    async def on_start(self, context: AgentHookContext[TContext], agent: TAgent) -> None:
        """The agent's first turn begins, or its first one after a handoff to it."""

    async def on_end(self, context: AgentHookContext[TContext], agent: TAgent, output: Any) -> None:
        """The agent gave the run's output."""

    async def on_handoff(self, context: RunContextWrapper[TContext], agent: TAgent, source: TAgent) -> None:
        """``source`` gave the conversation to ``agent``. These two are given by keyword."""

    async def on_tool_start(self, context: RunContextWrapper[TContext], agent: TAgent, tool: Any) -> None:
        """A tool is about to be called; of a function tool ``context`` is the call's ``ToolContext``."""

    async def on_tool_end(self, context: RunContextWrapper[TContext], agent: TAgent, tool: Any, result: Any) -> None:
        """A tool gave its result."""

    async def on_llm_start(
        self,
        context: RunContextWrapper[TContext],
        agent: AgentSpec[TContext],
        system_prompt: str | None,
        input_items: list[Item],
    ) -> None:
        """The model is about to be called, with these items."""

    async def on_llm_end(
        self, context: RunContextWrapper[TContext], agent: AgentSpec[TContext], response: ModelResponse
    ) -> None:
        """The model replied; nothing of the reply is done yet."""


class RunHooks(RunHooksBase[TContext, "AgentSpec[Any]"], Generic[TContext]):
    """``RunHooksBase`` for agents of any class; ``Runner.run(..., hooks=…)`` takes them."""


class AgentHooks(AgentHooksBase[TContext, "AgentSpec[Any]"], Generic[TContext]):
    """``AgentHooksBase`` for agents of any class; ``Agent(hooks=…)`` takes them."""


def validate_run_hooks(hooks: Any) -> RunHooksBase[Any, Any] | None:
    """What was given as a run's hooks, if it can be. Raises TypeError."""
    if hooks is None or isinstance(hooks, RunHooksBase):
        return hooks
    if isinstance(hooks, AgentHooksBase):
        raise TypeError(
            "Run hooks must be instances of RunHooks. Received agent-scoped hooks"
            f" ({type(hooks).__name__}, an AgentHooks): give those to their agent, Agent(..., hooks=...)"
        )
    raise TypeError(f"Run hooks must be instances of RunHooks. Received {_kind(hooks)}.")


def validate_agent_hooks(hooks: Any) -> AgentHooksBase[Any, Any] | None:
    """What was given as an agent's hooks, if it can be. Raises TypeError."""
    if hooks is None or isinstance(hooks, AgentHooksBase):
        return hooks
    raise TypeError(f"Agent hooks must be an AgentHooks instance or None, got {_kind(hooks)}")


def _kind(value: Any) -> str:
    return f"the class {value.__name__}; make an instance of it" if isinstance(value, type) else type(value).__name__


HookName: TypeAlias = Literal[
    "on_agent_start", "on_agent_end", "on_llm_start", "on_llm_end", "on_tool_start", "on_tool_end", "on_handoff"
]
"""The events, by their names among ``RunHooks``."""

_AGENTS: Final[Mapping[str, str]] = {"on_agent_start": "on_start", "on_agent_end": "on_end"}
"""What an event is called among ``AgentHooks``, where it's called otherwise."""


def hears(
    name: HookName, run_hooks: RunHooksBase[Any, Any] | None, agent_hooks: AgentHooksBase[Any, Any] | None
) -> bool:
    """Whether anybody wants to hear of an event: ask before you make something costly for ``fire``."""
    return (run_hooks is not None and _overridden(run_hooks, RunHooksBase, name) is not None) or (
        agent_hooks is not None and _overridden(agent_hooks, AgentHooksBase, _AGENTS.get(name, name)) is not None
    )


async def fire(
    name: HookName,
    run_hooks: RunHooksBase[Any, Any] | None,
    agent_hooks: AgentHooksBase[Any, Any] | None,
    *args: Any,
) -> None:
    """Call the run's hook and the agent's for one event, both at once, and wait for both.

    ``name`` and ``args`` are those of ``RunHooks``: ``fire("on_handoff", run_hooks, agent_hooks, context, source,
    target)`` too. Raises what a hook raised, the run's before the agent's, when both are through.
    """
    if run_hooks is None and agent_hooks is None:
        return
    calls = [one for one in (_of_run(name, run_hooks, args), _of_agent(name, agent_hooks, args)) if one is not None]
    if len(calls) == 1:
        await calls[0]
    elif calls:
        for said in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(said, BaseException):
                raise said


def _of_run(name: str, hooks: RunHooksBase[Any, Any] | None, args: tuple[Any, ...]) -> Awaitable[None] | None:
    call = None if hooks is None else _overridden(hooks, RunHooksBase, name)
    if call is None:
        return None
    if name == "on_handoff":
        context, source, target = args
        return _settled(call(context=context, from_agent=source, to_agent=target))
    return _settled(call(*args))


def _of_agent(name: str, hooks: AgentHooksBase[Any, Any] | None, args: tuple[Any, ...]) -> Awaitable[None] | None:
    call = None if hooks is None else _overridden(hooks, AgentHooksBase, _AGENTS.get(name, name))
    if call is None:
        return None
    if name == "on_handoff":
        context, source, target = args
        return _settled(call(context, agent=target, source=source))
    return _settled(call(*args))


def _overridden(hooks: Any, base: type, name: str) -> Any:
    """A hook's method, None where it's the base's own. Asked of the object each time: it's as cheap as a table, and a
    method that a test replaced is seen."""
    method = getattr(hooks, name)
    return None if getattr(method, "__func__", None) is base.__dict__[name] else method


async def _settled(answer: Any) -> None:
    """What a hook returned, awaited if it has to be: a hook may be a plain method."""
    if inspect.isawaitable(answer):
        await answer
