"""What is declared of an agent: a model with instructions, tools, handoffs and guardrails. ``flowcore.Agent`` adds
the graph and the verbs."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeAlias, TypedDict, get_origin

from typing_extensions import TypeVar

from flowcore.agents.context import RunContextWrapper
from flowcore.agents.guardrails import InputGuardrail, OutputGuardrail
from flowcore.agents.handoffs import Handoff, as_handoff
from flowcore.agents.lifecycle import AgentHooksBase, validate_agent_hooks
from flowcore.agents.namespaces import colliding, qualified_tools
from flowcore.agents.output import AgentOutputSchema, AgentOutputSchemaBase
from flowcore.agents.prompts import DynamicPromptFunction, Prompt, resolve_prompt
from flowcore.agents.tools import FunctionTool, FunctionToolResult, ToolErrorFunction, function_tool
from flowcore.errors import UserError
from flowcore.graph.state import listed
from flowcore.graph.values import shorten
from flowcore.models.base import Model
from flowcore.models.default_models import are_default, settings_of
from flowcore.models.settings import ModelSettings

TContext = TypeVar("TContext", default=Any)
MARKDOWN = "Use markdown to format your answers."
TOOL_USE = ("run_llm_again", "stop_on_first_tool")
_BY_NAME = ModelSettings()
"""Stands for settings that weren't given."""


class StopAtTools(TypedDict):
    """A ``tool_use_behavior``: a call of one of these tools ends the run, and its result is the output."""

    stop_at_tool_names: list[str]


class MCPConfig(TypedDict, total=False):
    """How an agent takes its MCP servers' tools: with strict schemas where that can be, what the model is told of an
    error (None raises it), and with the server's name before the tool's."""

    convert_schemas_to_strict: bool
    failure_error_function: ToolErrorFunction | None
    include_server_in_tool_names: bool


@dataclass(frozen=True)
class ToolsToFinalOutputResult:
    """What a ``tool_use_behavior`` function says: whether the tools' results end the run, and with which output."""

    is_final_output: bool
    final_output: Any = None


ToolsToFinalOutputFunction: TypeAlias = Callable[
    [RunContextWrapper[TContext], list[FunctionToolResult]],
    ToolsToFinalOutputResult | Awaitable[ToolsToFinalOutputResult],
]
"""A ``tool_use_behavior`` that looks at the tools' results."""


@dataclass(eq=False)
class AgentSpec(Generic[TContext]):
    """An agent, as declared.

    ``instructions``: a text, a list of texts, or a function ``(ctx, agent) -> text``, sync or async. ``model``: a
    name, a ``Model``,
    or None for the default. ``model_settings``: those that its name brings along, unless given. ``tools``: function
    tools, or plain functions, which become some. ``handoffs``: agents or
    handoffs. ``output_type``: a type that the final output is parsed
    into; text without it.
    ``tool_use_behavior``: "run_llm_again", "stop_on_first_tool", ``{"stop_at_tool_names": [...]}`` or a function
    ``(ctx, results) -> ToolsToFinalOutputResult``. ``reset_tool_choice``: a forced tool is forced only until this
    agent has used
    one. ``hooks``: called when this agent is at work. ``mcp_servers``: connected servers whose tools it has too, asked
    at each turn; ``mcp_config``: how. ``prompt``: one that OpenAI stores, or a function that gives one. ``markdown``:
    ask for markdown.

    Raises TypeError and UserError for fields that can't be.
    """

    name: str = "Agent"
    handoff_description: str | None = None
    tools: list[Any] = field(default_factory=list)
    mcp_servers: list[Any] = field(default_factory=list)
    mcp_config: MCPConfig = field(default_factory=MCPConfig)
    instructions: Any = None
    prompt: Prompt | DynamicPromptFunction | None = None
    handoffs: list[Any] = field(default_factory=list)
    model: str | Model | None = None
    model_settings: ModelSettings = field(default_factory=lambda: _BY_NAME)
    input_guardrails: list[InputGuardrail] = field(default_factory=list)
    output_guardrails: list[OutputGuardrail] = field(default_factory=list)
    output_type: Any = None
    hooks: AgentHooksBase[Any, Any] | None = None
    tool_use_behavior: Any = "run_llm_again"
    reset_tool_choice: bool = True
    description: str | None = field(default=None, kw_only=True)
    markdown: bool = field(default=False, kw_only=True)
    id: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        self._graph: tuple[Any, Any] | None = None
        self._tools: tuple[list[Any], dict[str, FunctionTool]] | None = None
        self._handoffs: tuple[Any, list[Handoff]] | None = None
        self._schema: tuple[Any, AgentOutputSchemaBase] | None = None
        self.check()
        if self.model_settings is _BY_NAME or (self.model is not None and are_default(self.model_settings)):
            self.model_settings = settings_of(self.model)

    @property
    def output_schema(self) -> AgentOutputSchemaBase:
        """The schema of ``output_type``; made once for a type."""
        kind = self.output_type
        if self._schema is None or self._schema[0] is not kind:
            made = kind if isinstance(kind, AgentOutputSchemaBase) else AgentOutputSchema(kind)
            self._schema = (kind, made)
        return self._schema[1]

    def check(self) -> None:
        """Raises TypeError and UserError for fields that can't be. Plain functions among the tools become tools."""
        if isinstance(self.tools, list) and any(_is_plain(tool) for tool in self.tools):
            self.tools = [function_tool(tool) if _is_plain(tool) else tool for tool in self.tools]
        if isinstance(self.model_settings, Mapping):
            self.model_settings = ModelSettings(**self.model_settings)
        for name, what, fits in _FIELDS:
            value = getattr(self, name)
            if not fits(value):
                raise TypeError(f"Agent {name} must be {what}, got {type(value).__name__}")
        if callable(self.instructions) and len(inspect.signature(self.instructions).parameters) != 2:
            raise TypeError(
                f"agent '{self.name}': an 'instructions' function takes exactly 2 arguments: (context, agent)"
            )
        if not _is_tool_use(self.tool_use_behavior):
            raise TypeError(
                "Agent tool_use_behavior must be 'run_llm_again', 'stop_on_first_tool', StopAtTools dict, or callable,"
                f" got {type(self.tool_use_behavior).__name__}: agent '{self.name}' has tool_use_behavior"
                f" {shorten(self.tool_use_behavior)}"
            )
        for tool in self.tools:
            if not (isinstance(tool, FunctionTool) or hasattr(tool, "to_wire")):
                raise UserError(
                    f"agent '{self.name}': {tool!r} is no tool; decorate the function with @function_tool, or for an"
                    " agent use agent.as_tool(...)"
                )
        for name, cls in (("input_guardrails", InputGuardrail), ("output_guardrails", OutputGuardrail)):
            for one in getattr(self, name):
                if not isinstance(one, cls):
                    raise TypeError(f"Agent {name} holds {cls.__name__}s, not {shorten(one)}; decorate the function")
        for server in self.mcp_servers:
            if not hasattr(server, "function_tools"):
                raise TypeError(f"Agent mcp_servers holds MCP servers (flowcore.mcp), not {shorten(server)}")
        unknown = set(self.mcp_config) - set(MCPConfig.__annotations__)
        if unknown:
            raise TypeError(
                f"Agent mcp_config has no {listed(sorted(unknown))}; it has {listed(MCPConfig.__annotations__)}"
            )
        validate_agent_hooks(self.hooks)
        twice = colliding(self.tools)
        if twice:
            raise UserError(f"agent '{self.name}' has two tools called {listed(twice)}; rename one")
        assert self.output_schema is not None  # raises for a type that can't be one

    @property
    def tools_by_name(self) -> dict[str, FunctionTool]:
        """The function tools by qualified name; made once for a list. Raises UserError for ambiguous names."""
        if self._tools is None or self._tools[0] != self.tools:
            self._tools = (list(self.tools), qualified_tools(self.tools))
        return self._tools[1]

    def clone(self, **changes: Any) -> AgentSpec[TContext]:
        """A copy with some fields changed; lists are shared unless given."""
        return replace(self, **changes)

    @property
    def resolved_handoffs(self) -> list[Handoff]:
        """The handoffs, agents among them turned into handoffs; made once for a list."""
        if self._handoffs is None or self._handoffs[0] != self.handoffs:
            self._handoffs = (list(self.handoffs), [as_handoff(one) for one in self.handoffs])
        return self._handoffs[1]

    async def get_system_prompt(self, context: RunContextWrapper[Any]) -> str | None:
        """The instructions as the model gets them."""
        text = self.instructions
        if callable(text):
            text = text(context, self)
            if inspect.isawaitable(text):
                text = await text
            if not (text is None or isinstance(text, str)):
                raise UserError(
                    f"agent '{self.name}': its instructions function gave a {type(text).__name__}, not a str"
                )
        elif isinstance(text, list):
            text = "\n".join(f"- {one}" for one in text) if len(text) > 1 else "".join(text)
        parts = [part for part in (self.description, text, MARKDOWN if self.markdown else None) if part]
        return "\n\n".join(parts) or None

    async def get_mcp_tools(
        self,
        context: RunContextWrapper[Any],
        *,
        around: Callable[[Any, Awaitable[list[FunctionTool]]], Awaitable[list[FunctionTool]]] | None = None,
    ) -> list[FunctionTool]:
        """The tools that the agent's MCP servers have now. ``around(server, listing)``: awaits a server's listing, to
        look on. Raises UserError when two of them have one name."""
        config = self.mcp_config
        how: dict[str, Any] = {
            "strict": config.get("convert_schemas_to_strict", False),
            "include_server_in_tool_names": config.get("include_server_in_tool_names", False),
        }
        if "failure_error_function" in config:
            how["failure_error_function"] = config["failure_error_function"]
        reserved = {tool.name for tool in self.tools}
        if how["include_server_in_tool_names"]:
            reserved |= {one.tool_name for one in self.resolved_handoffs}
            how["reserved_tool_names"] = reserved

        async def ask(server: Any) -> list[FunctionTool]:
            listing = server.function_tools(context, self, **how)
            tools: list[FunctionTool] = await (listing if around is None else around(server, listing))
            return tools

        if len({one.name for one in self.mcp_servers}) == len(self.mcp_servers) or len(how) < 3:
            asked = await asyncio.gather(*map(ask, self.mcp_servers))
        else:  # servers of one name: each names its tools other than those before it
            asked = []
            for server in self.mcp_servers:
                asked.append(await ask(server))
                reserved |= {tool.name for tool in asked[-1]}
        tools: list[FunctionTool] = []
        for server, found in zip(self.mcp_servers, asked, strict=True):
            names = {tool.name for tool in (*tools, *self.tools)}
            twice = sorted(tool.name for tool in found if tool.name in names)
            if twice:
                raise UserError(
                    f"agent '{self.name}': MCP server '{server.name}' has {listed(twice)}, which is there already; give"
                    " mcp_config={'include_server_in_tool_names': True}, or filter it"
                )
            tools += found
        return tools

    async def get_all_tools(self, context: RunContextWrapper[Any]) -> list[Any]:
        """The tools that the model is offered now: those of its MCP servers, and its own that are enabled."""
        tools = [*await self.get_mcp_tools(context), *self.tools] if self.mcp_servers else self.tools
        return await offered(tools, context, self)

    async def get_prompt(self, context: RunContextWrapper[Any]) -> Prompt | None:
        """The stored prompt that the model's provider is to use. Raises UserError."""
        return await resolve_prompt(self.prompt, context, self)


AgentBase = AgentSpec
"""The name that others know, for annotations: an agent of whatever kind."""


def always_offered(those: Sequence[Any]) -> bool:
    """Whether all of these tools (or handoffs) are enabled whatever the run."""
    for one in those:  # noqa: SIM110 - a generator costs more than what it asks
        if getattr(one, "is_enabled", True) is not True:
            return False
    return True


async def offered(those: list[Any], context: RunContextWrapper[Any], agent: AgentSpec[Any]) -> list[Any]:
    """Those tools (or handoffs) that are enabled now; functions that say so are asked at once."""
    if always_offered(those):
        return those
    asked = [one.enabled(context, agent) if hasattr(one, "enabled") else _yes() for one in those]
    answers = await asyncio.gather(*asked)
    return [one for one, answer in zip(those, answers, strict=True) if answer]


async def _yes() -> bool:
    return True


def _is_plain(tool: Any) -> bool:
    """Whether a tool is a function without a decorator."""
    return inspect.isfunction(tool) or inspect.ismethod(tool)


def _is_tool_use(how: Any) -> bool:
    if isinstance(how, str):
        return how in TOOL_USE
    return set(how) == set(StopAtTools.__annotations__) if isinstance(how, Mapping) else callable(how)


def _is_type(kind: Any) -> bool:
    """Whether an output type can be one: a class, a form of ``typing``, a new type, an alias, a schema, or None."""
    if kind is None or isinstance(kind, (type, AgentOutputSchemaBase)) or get_origin(kind) is not None:
        return True
    of_typing = getattr(type(kind), "__module__", "") in ("typing", "typing_extensions")
    return of_typing or kind is Any or hasattr(kind, "__supertype__")


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


_FIELDS: tuple[tuple[str, str, Callable[[Any], bool]], ...] = (
    ("name", "a string", lambda value: isinstance(value, str) and value != ""),
    ("handoff_description", "a string or None", _is_text),
    ("tools", "a list", _is_list),
    ("mcp_servers", "a list", _is_list),
    ("mcp_config", "a dict", lambda value: isinstance(value, Mapping)),
    ("instructions", "a string, list, callable, or None",
     lambda value: _is_text(value) or isinstance(value, list) or callable(value)),
    ("prompt", "a Prompt, DynamicPromptFunction, or None",
     lambda value: value is None or isinstance(value, Mapping) or callable(value)),
    ("handoffs", "a list", _is_list),
    ("model", "a string, Model, or None", lambda value: _is_text(value) or isinstance(value, Model)),
    ("model_settings", "a ModelSettings instance or a dict", lambda value: isinstance(value, ModelSettings)),
    ("input_guardrails", "a list", _is_list),
    ("output_guardrails", "a list", _is_list),
    ("output_type", "a type, AgentOutputSchemaBase, or None", _is_type),
    ("reset_tool_choice", "a boolean", lambda value: isinstance(value, bool)),
)  # fmt: skip
"""Fields of an agent: what each must be, in words, and whether a value is that."""


def reachable(root: AgentSpec[Any]) -> dict[str, AgentSpec[Any]]:
    """Every agent that handoffs lead to, by name. Raises UserError when two of them, or two things that an agent may
    call, have one name."""
    found: dict[str, AgentSpec[Any]] = {}
    todo: list[AgentSpec[Any]] = [root]
    while todo:
        agent = todo.pop()
        there = found.get(agent.name)
        if there is agent:
            continue
        if there is not None:
            raise UserError(
                f"two agents are called '{agent.name}'; agents that hand off to each other need different names"
            )
        found[agent.name] = agent
        todo.extend(one.agent for one in agent.resolved_handoffs if one.agent is not None)
    for agent in found.values():
        agent.check()
        names = [one.tool_name for one in agent.resolved_handoffs]
        if len(set(names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise UserError(
                f"agent '{agent.name}': several handoffs are called {listed(twice)}; rename one"
                " (handoff(..., tool_name_override=...))"
            )
    return found
