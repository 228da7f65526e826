"""One call of a function tool: its guardrails, its hooks, the call itself, and the record of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal

from pydantic_core import to_jsonable_python

from flowcore.agents.agent import AgentSpec
from flowcore.agents.context import Decision, RunContextWrapper, ToolContext, kept_as
from flowcore.agents.items import function_output
from flowcore.agents.lifecycle import fire
from flowcore.agents.options import Options
from flowcore.agents.run_config import ToolErrorFormatterArgs
from flowcore.agents.tool_guardrails import Verdicts, as_json, judge_input, judge_output
from flowcore.agents.tools import FunctionTool
from flowcore.engine.context import Context, Doubt
from flowcore.engine.log import log
from flowcore.graph.values import shorten
from flowcore.models.base import Item

REJECTED = "Tool execution was not approved."
"""What the model reads of a call that was rejected without a message."""


class Call:
    """One call of the reply: the ``tool`` it's for (None: nobody's here), its ``key``, the key of the ``question``
    whether it may be made, what was ``decided`` of it, and the record of guardrails that ``judged`` it before that."""

    __slots__ = ("decision", "item", "judged", "key", "question", "tool")

    def __init__(self, position: int, item: Item, tool: FunctionTool | None, question: str) -> None:
        self.item = item
        self.tool = tool
        self.key = f"{position}:{item.get('call_id') or item.get('id')}"
        self.question = question
        self.decision: Decision | None = None
        self.judged: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        """The tool's name, with its namespace where it has one."""
        return str(getattr(self.tool, "qualified_name", None) or self.item["name"])

    @property
    def label(self) -> str | None:
        """The hosted server that it's for; None of any other call."""
        return str(self.item.get("server_label")) if self.item["type"] == "mcp_approval_request" else None

    @property
    def kept_as(self) -> str:
        """Under what a decision about all calls of its tool is kept."""
        return kept_as(self.name, self.label)

    @property
    def arguments(self) -> str:
        """As the model wrote them: JSON text."""
        return self.item.get("arguments") or ""

    def context(
        self, ctx: Context, options: Options, wrapper: RunContextWrapper[Any], agent: AgentSpec[Any]
    ) -> ToolContext[Any]:
        """What the tool is handed."""
        item = self.item
        return ToolContext(
            wrapper.context, wrapper.usage, wrapper.turn_input, wrapper.tool_input, wrapper.approvals,
            tool_name=item["name"], tool_call_id=item["call_id"], tool_arguments=self.arguments, tool_call=item,
            tool_namespace=getattr(self.tool, "tool_namespace", None), agent=agent, run_config=options.config,
            idempotency_key=ctx.idempotency_key(self.key),
        )  # fmt: skip


async def perform(
    ctx: Context, options: Options, wrapper: RunContextWrapper[Any], agent: AgentSpec[Any], call: Call
) -> dict[str, Any]:
    """Make the call; its record ``{item, value?, verdicts?, custom?}``, or ``{tripped, verdicts}``. Raises flowcore's
    errors as they are, and others, of hooks and guardrails too, as ``UserError`` of the tool."""
    tool = call.tool
    assert tool is not None
    tool_ctx = call.context(ctx, options, wrapper, agent)
    hooks, own = options.hooks, agent.hooks
    try:
        verdicts, stopped = await judged(options, agent, call, tool, tool_ctx)
        if stopped is not None:
            return stopped
        if hooks is not None or own is not None:
            await fire("on_tool_start", hooks, own, tool_ctx, agent, tool)
        formatter = options.config.tool_error_formatter
        noting = _noting(ctx, call) if ctx.observed else None
        if formatter is None:
            value = await tool.invoke(tool_ctx, call.arguments, on_error=noting)
        else:

            async def say(told: str, error: Exception) -> str | None:
                return await formatted(options, tool_ctx, call, "tool_exception", told, error)

            value = await tool.invoke(tool_ctx, call.arguments, format_error=say, on_error=noting)
        return await given(ctx, options, agent, call, tool, tool_ctx, value, verdicts)
    except Exception as error:
        options.wrapper(ctx)  # what the tool added to the usage is written down with its failure
        tool.blame(error)


def in_doubt(
    ctx: Context, options: Options, wrapper: RunContextWrapper[Any], agent: AgentSpec[Any], call: Call
) -> Doubt:
    """What a person is told of a call that a crash broke off, and how the tool's value that they supply becomes its
    record."""
    tool = call.tool
    assert tool is not None

    async def record(value: Any) -> dict[str, Any]:
        return await given(ctx, options, agent, call, tool, call.context(ctx, options, wrapper, agent), value, [])

    asked = {"tool": call.name, "call_id": call.item["call_id"], "arguments": call.arguments, "agent": agent.name}
    return Doubt(asked, record)


async def judged(
    options: Options, agent: AgentSpec[Any], call: Call, tool: FunctionTool, tool_ctx: ToolContext[Any]
) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """What the tool's input guardrails say of a call, and its record where they don't let it pass."""
    if not tool.tool_input_guardrails:
        return [], None
    found = await judge_input(tool, tool_ctx, agent)
    options.found(found.results)
    verdicts = as_json(found.results, tool, tool_ctx.tool_call_id)
    return verdicts, record_of(call, found, verdicts)


async def given(
    ctx: Context, options: Options, agent: AgentSpec[Any], call: Call, tool: FunctionTool, tool_ctx: ToolContext[Any],
    value: Any, verdicts: list[dict[str, Any]], told: Any = None,
) -> dict[str, Any]:  # fmt: skip
    """The record of a call that gave ``value``; ``told``: what the model is told of it, where the tool doesn't say
    that."""
    call_id = tool_ctx.tool_call_id
    hooks, own = options.hooks, agent.hooks
    if tool.tool_output_guardrails:
        found = await judge_output(tool, tool_ctx, agent, value)
        options.found(found.results)
        verdicts = verdicts + as_json(found.results, tool, call_id)
        if found.tripped is not None:
            return record_of(call, found, verdicts) or {}
        if found.message is not None:
            value, told = found.message, None
    if hooks is not None or own is not None:
        await fire("on_tool_end", hooks, own, tool_ctx, agent, tool, value)
    options.values[ctx.visit, call_id] = value
    options.wrapper(ctx)  # what the tool added to the usage is written down with its record
    record: dict[str, Any] = {"item": function_output(call_id, tool.wire_output(value) if told is None else told)}
    if verdicts:
        record["verdicts"] = verdicts
    if agent.tool_use_behavior != "run_llm_again":
        record["value"] = value_as_json(value)
    if tool.custom_data_extractor is not None:
        custom = await tool.custom_data(tool_ctx, value, record["item"])
        if custom is not None:
            record["custom"] = value_as_json(custom)
    return record


def _noting(ctx: Context, call: Call) -> Callable[[Exception], None]:
    """Tell observers what a call's record doesn't say of it; what's given back tells them of an error that the model is
    told of."""
    server = getattr(call.tool, "mcp_server_name", None)
    if server is not None:
        ctx.note(call.key, mcp_data={"server": server})
    return lambda error: ctx.note(call.key, error=str(error) or type(error).__name__)


def record_of(call: Call, found: Verdicts, verdicts: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The record of a call that its guardrails don't let pass; None: they do."""
    if found.tripped is not None:
        return {"tripped": verdicts[-1], "verdicts": verdicts}
    if found.message is None:
        return None
    return {"item": function_output(call.item["call_id"], found.message), "value": found.message, "verdicts": verdicts}


async def rejected(options: Options, wrapper: RunContextWrapper[Any], call: Call, decision: Decision) -> dict[str, Any]:
    """The record of a call that a person rejected."""
    told = decision.message
    if told is None:
        told = await formatted(options, wrapper, call, "approval_rejected", REJECTED)
    return {"item": function_output(call.item["call_id"], told), "value": told, "rejected": True}


async def unknown(options: Options, wrapper: RunContextWrapper[Any], call: Call) -> dict[str, Any]:
    """The record of a call to a tool that isn't there."""
    told = await formatted(options, wrapper, call, "tool_not_found", f"Tool '{call.item['name']}' not found.")
    return {"item": function_output(call.item["call_id"], told), "value": told}


async def formatted(
    options: Options,
    wrapper: RunContextWrapper[Any],
    call: Call,
    kind: Literal["approval_rejected", "tool_not_found", "tool_exception"],
    default: str,
    error: Exception | None = None,
) -> str:
    """What the model is told of trouble with a call, by the run's formatter where it has one. One that fails is logged,
    and the model is told the default: trouble isn't made worse by its telling."""
    formatter = options.config.tool_error_formatter
    if formatter is None:
        return default
    args = ToolErrorFormatterArgs(kind, "function", call.name, call.item["call_id"], default, wrapper, error)
    try:
        made = formatter(args)
        if inspect.isawaitable(made):
            made = await made
    except Exception as failure:
        log("tool_error_formatter failed", level="error", tool=call.name, kind=kind, error=repr(failure))
        return default
    if isinstance(made, str):
        return made
    if made is not None:
        log("tool_error_formatter gave no text", level="error", tool=call.name, kind=kind, given=shorten(made))
    return default


def value_as_json(value: Any) -> Any:
    """A tool's value as data; what isn't data is told by its text."""
    return to_jsonable_python(value, by_alias=False, fallback=str, inf_nan_mode="strings")
