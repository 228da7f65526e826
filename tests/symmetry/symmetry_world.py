"""The world of a script: agents, built anew for each process, and what lives on outside of them when one dies."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from functools import cache
from typing import Any

from pydantic import BaseModel
from symmetry_scripts import Agent as AgentScript
from symmetry_scripts import Call, Go, Guard, Handoff, Reply, Script, Tool

from flowcore import (
    Agent,
    AgentHooks,
    FunctionTool,
    GuardrailFunctionOutput,
    HandoffInputData,
    InputGuardrail,
    MemoryStore,
    ModelError,
    ModelSettings,
    OutputGuardrail,
    RunConfig,
    RunHooks,
    SessionSettings,
    ToolContext,
    ToolGuardrailFunctionOutput,
    ToolsToFinalOutputResult,
    Usage,
    function_tool,
    get_current_span,
    handoff,
    tool_input_guardrail,
    tool_output_guardrail,
)
from flowcore.engine.observe import HERE
from flowcore.extensions.handoff_filters import remove_all_tools
from flowcore.machine.facts import Rested, Transition
from flowcore.models.settings import ModelRetryBackoffSettings, ModelRetrySettings
from flowcore.sessions.store import StoreSession
from flowcore.stores.base import Store
from flowcore.testing import ModelCall, ScriptedModel, count_replies, function_call, message, refusal

LATE = 150
"""Turns of the loop after which a guardrail beside the model is sure to speak after it."""
BETWEEN = 60
"""Turns after which the model is sure to speak after an early guardrail, and before a late one."""
HISTORY = [
    {"role": "user", "content": "before"},
    {"type": "function_call", "name": "t0", "arguments": "{}", "call_id": "old"},
    {"type": "function_call_output", "call_id": "old", "output": "old"},
    message("earlier", id="msg_old"),
]
GOOD = {"good": '{"x": 1}', "other": '{"x": 2}', "bad json": "{", "wrong": '{"y": 1}'}


class Answer(BaseModel):
    """What a typed agent gives."""

    value: int


class Boom(Exception):
    """What an app's function raises."""


class Elsewhere:
    """A session outside of the run's store. It lives on when a process dies."""

    def __init__(self, settings: SessionSettings | None = None) -> None:
        self.session_id = "s"
        self.session_settings = settings
        self.items = [dict(one) for one in HISTORY]
        self.calls: list[str] = []

    async def get_items(self, limit: int | None = None) -> list[Any]:
        await asyncio.sleep(0)
        return [dict(one) for one in (self.items if limit is None else self.items[-limit:] if limit else [])]

    async def add_items(self, items: list[Any]) -> None:
        await asyncio.sleep(0)
        self.items += [dict(one) for one in items]
        self.calls.append(f"add {len(items)}")

    async def pop_item(self) -> Any:
        return self.items.pop() if self.items else None

    async def clear_session(self) -> None:
        self.items.clear()


class Compacting(Elsewhere):
    """One that makes itself short."""

    async def run_compaction(self, args: Any = None) -> None:
        self.calls.append("compact")


class Outside:
    """What lives on when a process dies: the store, the session elsewhere, and what was done.

    ``executed``: tools' calls by idempotency key. ``hooks``: what hooks were told, in order. ``seen``: spans that tools
    saw themselves in.
    """

    def __init__(self, script: Script) -> None:
        self.script = script
        self.store: Store | None = None
        own = script.session in ("own", "limited", "callback")
        if script.stored or own:
            self.store = MemoryStore(keep_bytes=True)
        self.elsewhere: Elsewhere | None = None
        if script.session in ("foreign", "compacting"):
            self.elsewhere = Elsewhere() if script.session == "foreign" else Compacting()
        self.executed: list[str] = []
        self.hooks: list[tuple[Any, ...]] = []
        self.seen: Counter[tuple[str, str]] = Counter()
        self.counts: Counter[Any] = Counter()
        self.living: Callable[[], None] = lambda: None
        """Raises Crash in a process that's dead: nobody hears of what its tasks still do until they're ended."""

    async def prepare(self) -> None:
        """Fill the session of the store."""
        if self.store is not None:
            await StoreSession("s", self.store).add_items([dict(one) for one in HISTORY])

    async def failures(self, what: Any) -> int:
        """How often something that fails for a while has failed at the place where it's asked, as far as that's
        committed; nobody kills a run without a store, so there it's counted."""
        where = HERE.get()
        assert where is not None
        if self.store is None:
            key = (where.run, where.node, where.visit, what)
            self.counts[key] += 1
            return self.counts[key] - 1
        facts = await self.store.read(where.run)
        return sum(
            (fact.node, fact.visit) == (where.node, where.visit)
            and (fact.on == "retry" if isinstance(fact, Transition) else fact.standing == "failed")
            for fact in facts
            if isinstance(fact, (Transition, Rested))
        )

    def hear(self, whose: str, name: str, *told: Any) -> None:
        """A hook was called."""
        self.living()
        where = HERE.get()
        assert where is not None
        self.hooks.append((where.run, whose, name, *told))


OUTSIDE: ContextVar[Outside] = ContextVar("outside")
"""What is outside of the way that goes now."""


class _RunHooks(RunHooks):
    def __init__(self, outside: Outside) -> None:
        self.outside = outside

    async def on_llm_start(self, context, agent, system_prompt, input_items):
        used = context.usage.requests
        self.outside.hear("run", "llm_start", agent.name, system_prompt, [dict(one) for one in input_items], used)

    async def on_llm_end(self, context, agent, response):
        self.outside.hear("run", "llm_end", agent.name, response.output, response.response_id, context.usage.requests)

    async def on_agent_start(self, context, agent):
        self.outside.hear("run", "agent_start", agent.name, context.usage.requests)

    async def on_agent_end(self, context, agent, output):
        self.outside.hear("run", "agent_end", agent.name, repr(output), context.usage.requests)

    async def on_handoff(self, context, from_agent, to_agent):
        self.outside.hear("run", "handoff", from_agent.name, to_agent.name)

    async def on_tool_start(self, context, agent, tool):
        self.outside.hear("run", "tool_start", context.idempotency_key, agent.name, tool.name, context.tool_arguments)

    async def on_tool_end(self, context, agent, tool, result):
        self.outside.hear("run", "tool_end", context.idempotency_key, agent.name, tool.name, repr(result))


class _AgentHooks(AgentHooks):
    def __init__(self, outside: Outside) -> None:
        self.outside = outside

    async def on_start(self, context, agent):
        self.outside.hear("agent", "agent_start", agent.name)

    async def on_end(self, context, agent, output):
        self.outside.hear("agent", "agent_end", agent.name, repr(output))

    async def on_handoff(self, context, agent, source):
        self.outside.hear("agent", "handoff", source.name, agent.name)

    async def on_tool_start(self, context, agent, tool):
        self.outside.hear("agent", "tool_start", context.idempotency_key, agent.name, tool.name)

    async def on_tool_end(self, context, agent, tool, result):
        self.outside.hear("agent", "tool_end", context.idempotency_key, agent.name, tool.name, repr(result))

    async def on_llm_start(self, context, agent, system_prompt, input_items):
        self.outside.hear("agent", "llm_start", agent.name, len(input_items))

    async def on_llm_end(self, context, agent, response):
        self.outside.hear("agent", "llm_end", agent.name, len(response.output))


class World:
    """A script's agents, and what its runs are given, in one process."""

    def __init__(self, script: Script, outside: Outside) -> None:
        self.script = script
        self.outside = outside
        self.helpers: dict[int, Agent] = {}
        for n in reversed(range(len(script.helpers))):
            self.helpers[n] = self._agent(f"h{n}", script.helpers[n], len(script.helpers))
        self.agents = [self._agent(f"a{n}", one, 0) for n, one in enumerate(script.agents)]
        for agent, one in zip(self.agents, script.agents, strict=True):
            agent.handoffs = [self._handoff(each) for each in one.handoffs]
        self.agent = self.agents[0]

    def given(self) -> dict[str, Any]:
        """What ``Runner`` is given besides the agent and the input."""
        script, outside = self.script, self.outside
        given: dict[str, Any] = {"context": {"app": 1}, "max_turns": script.max_turns, "run_config": self._config()}
        if script.max_tokens is not None:
            given["limits"] = {"max_tokens": script.max_tokens}
        if script.hooks:
            given["hooks"] = _RunHooks(outside)
        if script.handlers:
            given["error_handlers"] = {one: _handler(one) for one in script.handlers}
        if outside.store is not None:
            given["store"] = outside.store
        if outside.elsewhere is not None:
            given["session"] = outside.elsewhere
        elif script.session != "none":
            given["session"] = "s"
        return given

    @property
    def input(self) -> Any:
        """What the run is asked."""
        return [{"role": "user", "content": "go"}, {"role": "user", "content": "on"}] if self.script.items else "go"

    def _config(self) -> RunConfig:
        script = self.script
        return RunConfig(
            handoff_input_filter=(lambda data: data.clone(pre_handoff_items=())) if script.run_filter else None,
            nest_handoff_history=script.nest,
            input_guardrails=[self._guard(f"rg{n}", one) for n, one in enumerate(script.run_guards)] or None,
            output_guardrails=[_judge(f"ro{n}", one) for n, one in enumerate(script.run_output_guards)] or None,
            session_input_callback=(lambda old, new: [*new, *old[-1:]]) if script.session == "callback" else None,
            session_settings=SessionSettings(2) if script.session == "limited" else None,
            call_model_input_filter=_shorten if script.input_filter else None,
            tool_error_formatter=_format if script.formatter else None,
            tool_execution={
                "max_function_tool_concurrency": script.at_a_time,
                "pre_approval_tool_input_guardrails": script.pre_approval,
            },
            tool_not_found_behavior="return_error_to_model" if script.unknown_told else "raise_error",
            reasks=script.reasks,
        )

    # -- agents ----------------------------------------------------------------------------------------------------

    def _agent(self, name: str, one: AgentScript, helpers: int) -> Agent:
        return Agent(
            name,
            instructions=(lambda context, agent: f"{agent.name} after {context.usage.requests}")
            if one.dynamic
            else f"You are {name}.",
            model=ScriptedModel(
                _Model(self, one), record=False, usage=Usage(1, input_tokens=5, output_tokens=5, total_tokens=10)
            ),
            model_settings=ModelSettings(
                retry=ModelRetrySettings(2, ModelRetryBackoffSettings(0.0, 0.0, jitter=False))
            ),
            tools=[self._tool(each) for each in one.tools],
            input_guardrails=[self._guard(f"{name}g{n}", each) for n, each in enumerate(one.input_guards)],
            output_guardrails=[_judge(f"{name}o{n}", each) for n, each in enumerate(one.output_guards)],
            output_type=Answer if one.typed else None,
            tool_use_behavior={"stop at t0": {"stop_at_tool_names": ["t0"]}, "function": _ends}.get(
                one.behavior, one.behavior
            ),
            hooks=_AgentHooks(self.outside) if one.hooks else None,
        )

    def _handoff(self, one: Handoff) -> Any:
        filters: dict[str, Any] = {
            "none": None, "same": lambda data: data, "cut": _cut, "tools": remove_all_tools, "raise": _raises,
        }  # fmt: skip
        more: dict[str, Any] = {}
        if one.typed:
            more = {"input_type": Answer, "on_handoff": lambda context, given: None}
        return handoff(self.agents[one.to], input_filter=filters[one.filter], nest_handoff_history=one.nest, **more)

    def _guard(self, name: str, one: Guard) -> InputGuardrail:
        async def look(context, agent, subject):
            for _ in range(LATE if one.late else 0):
                await asyncio.sleep(0)
            if one.verdict == "raise":
                raise Boom(name)
            return GuardrailFunctionOutput({"said": name, "of": str(subject)[:40]}, one.verdict == "trip")

        return InputGuardrail(look, name, one.parallel)

    # -- tools -----------------------------------------------------------------------------------------------------

    def _tool(self, one: Tool) -> Any:
        if one.does != "agent":
            return _function(one)
        more: dict[str, Any] = {} if one.words else {"failure_error_function": None}
        if one.reads:
            more["custom_output_extractor"] = _extract
        return self.helpers[one.helper].as_tool(
            one.name, "Helps.", needs_approval=APPROVALS[one.approval], max_turns=4,
            hooks=_RunHooks(self.outside) if self.script.hooks else None, parameters=X, **more,
        )  # fmt: skip


@cache
def _function(one: Tool) -> FunctionTool:
    """A function tool. Declaring one costs more than running it, so that all worlds share it."""
    approval: Any = APPROVALS[one.approval]

    def note(context: Any) -> None:
        outside = OUTSIDE.get()
        outside.living()
        outside.executed.append(context.idempotency_key)
        span = get_current_span()
        outside.seen[context.idempotency_key, "none" if span is None else span.span_id] += 1

    async def act(context: ToolContext[Any], x: int) -> Any:
        """Do it."""
        note(context)
        for _ in range(one.steps):
            await asyncio.sleep(0)
        if one.does in ("slow", "slow raises"):
            await asyncio.Event().wait()
        if one.does in ("raise", "told", "worded"):
            raise Boom(f"{one.name} {x}")
        if one.does == "flaky" and await OUTSIDE.get().failures(context.idempotency_key) == 0:
            raise Boom(f"{one.name} once")
        return {"gave": x} if one.does == "data" else f"{one.name} gave {x}"

    def act_sync(context: ToolContext[Any], x: int) -> Any:
        """Do it."""
        note(context)
        if one.does in ("raise", "told"):
            raise Boom(f"{one.name} {x}")
        return {"gave": x} if one.does == "data" else f"{one.name} gave {x}"

    options: dict[str, Any] = {}
    if one.does in ("raise", "flaky"):
        options["failure_error_function"] = None
    elif one.does == "worded":
        options["failure_error_function"] = lambda context, error: f"sorry: {error}"
    elif one.does in ("slow", "slow raises"):
        raises = one.does == "slow raises"
        options.update(timeout=0.001, timeout_behavior="raise_exception" if raises else "error_as_result")
    if one.before is not None:
        options["tool_input_guardrails"] = [tool_input_guardrail(_saying(one.before), name=f"{one.name} in")]
    if one.after is not None:
        options["tool_output_guardrails"] = [tool_output_guardrail(_saying(one.after), name=f"{one.name} out")]
    if one.custom:
        options["custom_data_extractor"] = lambda given: {"call": given.tool_context.tool_call_id}
    return function_tool(
        act_sync if one.sync else act, name_override=one.name, needs_approval=approval, on_crash=one.on_crash,
        **options,
    )  # fmt: skip


class X(BaseModel):
    """What agent tools are given."""

    x: int


class _Model:
    """What the model of one agent says: a function of what it's given, and of how often it has failed."""

    def __init__(self, world: World, one: AgentScript) -> None:
        self.world = world
        self.one = one
        guards = [*one.input_guards, *world.script.run_guards]
        self.between = any(each.parallel and not each.late and each.verdict != "pass" for each in guards)

    async def __call__(self, call: ModelCall) -> Any:
        for _ in range(BETWEEN if self.between else 0):
            await asyncio.sleep(0)
        replies = self.one.replies
        at = count_replies(call.input) % (len(replies) + 1)
        if at == len(replies):
            return '{"value": 7}' if self.one.typed else f"done after {len(call.input)}"
        reply = replies[at]
        if reply.fails and await self.world.outside.failures("model") < reply.fails:
            if reply.error == "foreign":
                raise Boom("model")
            raise ModelError("the model is away", status_code=503, retryable=reply.error == "retryable")
        return [self._part(one, n) for n, one in enumerate(reply.parts)]

    def _part(self, part: Any, n: int) -> Any:
        if isinstance(part, Call):
            return function_call(part.tool, GOOD[part.arguments], "same" if part.same else None)
        if isinstance(part, Go):
            return function_call(f"transfer_to_a{part.to}", '{"value": 1}' if part.good else '{"value": "x"}')
        if part == "hosted":
            return {
                "type": "web_search_call",
                "id": f"ws_{n}",
                "status": "completed",
                "action": {"type": "search", "query": "q"},
            }
        if part == "reasoning":
            return {"type": "reasoning", "id": f"rs_{n}", "summary": []}
        return refusal("no") if part == "refusal" else message(_TEXTS[part])


_TEXTS = {"text": "some words here", "json": '{"value": 3}', "broken": '{"value": ', "empty": ""}


# -- small functions that an app has ---------------------------------------------------------------------------------


def _judge(name: str, verdict: str) -> OutputGuardrail:
    async def look(context, agent, output):
        if verdict == "raise":
            raise Boom(name)
        return GuardrailFunctionOutput({"said": name, "of": repr(output)[:40]}, verdict == "trip")

    return OutputGuardrail(look, name)


def _saying(said: str) -> Any:
    def judge(data: Any) -> ToolGuardrailFunctionOutput:
        if said == "raise":
            raise Boom("tool guardrail")
        if said == "reject":
            return ToolGuardrailFunctionOutput.reject_content("not that", {"of": data.context.tool_call_id})
        if said == "trip":
            return ToolGuardrailFunctionOutput.raise_exception({"of": data.context.tool_call_id})
        return ToolGuardrailFunctionOutput.allow({"of": data.context.tool_call_id})

    return judge


def _sometimes(context: Any, parameters: dict[str, Any], call_id: str) -> bool:
    return parameters.get("x") == 1


APPROVALS = {"never": False, "always": True, "sometimes": _sometimes}


def _ends(context: Any, results: list[Any]) -> ToolsToFinalOutputResult:
    found = [one.output for one in results if one.tool.name == "t1"]
    return ToolsToFinalOutputResult(bool(found), found[0] if found else None)


async def _extract(result: Any) -> str:
    return f"read {result.final_output!r} of {len(result.new_items)}"


def _cut(data: HandoffInputData) -> HandoffInputData:
    return data.clone(input_history="cut", pre_handoff_items=())


def _raises(data: HandoffInputData) -> HandoffInputData:
    raise Boom("filter")


def _shorten(data: Any) -> Any:
    data.model_data.input = data.model_data.input[-3:]
    return data.model_data


def _format(args: Any) -> str | None:
    return None if args.kind == "tool_exception" else f"{args.kind} of {args.tool_name}"


def _handler(kind: str) -> Any:
    def handle(given: Any) -> Any:
        if kind == "invalid_final_output":
            return {"final_output": Answer(value=0)} if given.run_data.last_agent.output_type else "instead"
        if given.run_data.last_agent.output_type:
            return None
        return {
            "final_output": f"{kind} after {len(given.run_data.new_items)}",
            "include_in_history": kind != "max_turns",
        }

    return handle


def describe(reply: Reply) -> str:
    """A reply in words, for a failing test's output."""
    return ", ".join(str(one) for one in reply.parts)
